//! What the API server and `kubectl explain` ask of the schemas.

use kube::CustomResourceExt;
use serde_json::Value;

use super::{registry::CargoRegistry, token::CargoToken, yaml};

fn schemas() -> Vec<(String, Value)> {
    [CargoRegistry::crd(), CargoToken::crd()]
        .iter()
        .map(|crd| {
            let schema = &crd.spec.versions[0].schema.as_ref().expect("a schema").open_api_v3_schema;
            (crd.spec.names.kind.clone(), serde_json::to_value(schema).expect("JSON"))
        })
        .collect()
}

/// Calls `look` with the path and the schema of every property below `schema`.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        look(&path, property);
        walk(&path, property, look);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&format!("{path}[]"), &schema[inner], look);
        }
    }
}

#[test]
fn the_files_in_crds_are_what_this_version_says() {
    for (file, yaml) in yaml().expect("YAML") {
        let path = format!("{}/../crds/{file}", env!("CARGO_MANIFEST_DIR"));
        let stored = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(stored == yaml, "{path} is stale: run `supercargo-operator crds --output-dir crds`");
    }
}

#[test]
fn every_field_is_explained() {
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, property| {
            // What Kubernetes defines itself is explained there.
            let inherited = path.ends_with(".metadata") || path.contains(".conditions[]");
            let text = property["description"].as_str().unwrap_or_default();
            assert!(inherited || text.len() > 8, "{path} has no description");
        });
    }
}

#[test]
fn schemas_are_structural_and_signed() {
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, property| {
            assert!(!property["format"].as_str().unwrap_or_default().starts_with("uint"), "{path} is unsigned");
            assert_ne!(property["additionalProperties"], Value::Bool(false), "{path}: not structural");
            assert_ne!(property["additionalProperties"], Value::Bool(true), "{path}: not structural");
        });
    }
}

#[test]
fn conditions_merge_by_type() {
    for (kind, schema) in schemas() {
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{kind}");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{kind}");
    }
}

#[test]
fn every_rule_has_a_message() {
    for (kind, schema) in schemas() {
        let mut rules = 0;
        let mut check = |path: &str, schema: &Value| {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                rules += 1;
                assert!(rule["message"].as_str().is_some_and(|m| m.len() > 10), "{path}: {rule}");
            }
        };
        check(&kind, &schema);
        walk(&kind, &schema, &mut check);
        assert!(rules >= 3, "{kind} has {rules} rules");
    }
}

#[test]
fn the_registry_scales_and_is_found_by_category() {
    let crd = CargoRegistry::crd();
    let scale = crd.spec.versions[0].subresources.as_ref().unwrap().scale.as_ref().unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
    for crd in [crd, CargoToken::crd()] {
        assert_eq!(crd.spec.names.categories, Some(vec!["cargo".to_owned()]));
    }
}

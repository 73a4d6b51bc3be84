//! Strict JSON schemas for `kubeconform`, without the internet: Kubernetes' own kinds from the `swagger.json` that its
//! Go module carries, ours from the CRDs.
//!
//! Strict means that a field which no schema names is refused, as the API server does with `fieldValidation=Strict`.
//! File names are what `kubeconform -schema-location '…/{{ .ResourceKind }}{{ .KindSuffix }}.json'` looks for.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The file that holds all definitions of Kubernetes, to which the schemas of its kinds refer.
const DEFINITIONS: &str = "_definitions.json";

/// File name -> schema.
pub(super) type Schemas = BTreeMap<String, Value>;

/// Schemas of all kinds in a Kubernetes `swagger.json`.
pub(super) fn of_kubernetes(swagger: &Value) -> Result<Schemas> {
    let definitions = swagger["definitions"].as_object().context("swagger.json has no definitions")?;
    let fixed: Map<String, Value> =
        definitions.iter().map(|(name, schema)| (name.clone(), definition(name, schema))).collect();
    let mut schemas = Schemas::new();
    for (name, schema) in definitions {
        // Kinds of many groups (DeleteOptions, WatchEvent) are not resources.
        let Some([kind]) = schema["x-kubernetes-group-version-kind"].as_array().map(Vec::as_slice) else { continue };
        let text = |field: &str| kind[field].as_str().unwrap_or_default();
        let (group, version, kind) = (text("group"), text("version"), text("kind"));
        schemas.insert(file_name(group, version, kind), of_kind(fixed[name].clone(), group, version, kind));
    }
    schemas.insert(DEFINITIONS.to_owned(), json!({"definitions": fixed}));
    Ok(schemas)
}

/// Schemas of the kind that a `CustomResourceDefinition` defines, one for each version.
pub(super) fn of_crd(crd: &Value) -> Result<Schemas> {
    let text = |pointer: &str| {
        crd.pointer(pointer).and_then(Value::as_str).with_context(|| format!("a CRD without {pointer}"))
    };
    let (group, kind) = (text("/spec/group")?, text("/spec/names/kind")?);
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).context("a CRD without versions")?;
    let mut schemas = Schemas::new();
    for version in versions {
        let name = version["name"].as_str().context("a version of a CRD without name")?;
        let schema = version.pointer("/schema/openAPIV3Schema").context("a version of a CRD without schema")?;
        let mut schema = strict(schema);
        schema["properties"]["metadata"] = json!({"type": "object"});
        schemas.insert(file_name(group, name, kind), of_kind(schema, group, name, kind));
    }
    Ok(schemas)
}

fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().filter(|first| !first.is_empty());
    let group = group.map(|first| format!("-{first}")).unwrap_or_default();
    format!("{}{group}-{version}.json", kind.to_lowercase())
}

fn of_kind(mut schema: Value, group: &str, version: &str, kind: &str) -> Value {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    schema["properties"]["apiVersion"] = json!({"const": api_version});
    schema["properties"]["kind"] = json!({"const": kind});
    schema
}

fn definition(name: &str, schema: &Value) -> Value {
    if name.ends_with("resource.Quantity") {
        return json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
    }
    let mut schema = schema.clone();
    // Only here: a schema inside one that is named has been written down as a definition of its own.
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = json!(false);
    }
    translate(&schema)
}

/// OpenAPI 2 to JSON schema: integers or strings, and where definitions are.
fn translate(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) if fields.get("format").is_some_and(|format| format == "int-or-string") => {
            json!({"oneOf": [{"type": "string"}, {"type": "integer"}]})
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::String(target) if key == "$ref" => {
                    (key.clone(), json!(target.replace("#/definitions/", &format!("{DEFINITIONS}#/definitions/"))))
                }
                _ => (key.clone(), translate(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(translate).collect(),
        other => other.clone(),
    }
}

/// A CRD's structural schema, refusing fields that it does not name. `null` in a `nullable` place is allowed.
fn strict(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        return json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
    }
    let mut result = Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(inner)) => {
                inner.iter().map(|(name, schema)| (name.clone(), strict(schema))).collect()
            }
            ("items" | "additionalProperties", inner) => strict(inner),
            // Branches of a choice (allOf, anyOf, oneOf) name only the fields they speak of and must not refuse the others.
            (_, other) => other.clone(),
        };
        result.insert(key.clone(), value);
    }
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if fields.contains_key("properties") && !open && !fields.contains_key("additionalProperties") {
        result.insert("additionalProperties".to_owned(), json!(false));
    }
    if fields.get("nullable") == Some(&json!(true)) {
        return json!({"anyOf": [result, {"type": "null"}]});
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_get_the_file_names_that_kubeconform_looks_for() {
        assert_eq!(file_name("", "v1", "Service"), "service-v1.json");
        assert_eq!(file_name("networking.k8s.io", "v1", "NetworkPolicy"), "networkpolicy-networking-v1.json");
        assert_eq!(file_name("supercargo.dev", "v1alpha1", "CargoToken"), "cargotoken-supercargo-v1alpha1.json");
    }

    #[test]
    fn definitions_become_strict_and_refer_to_the_file() {
        let swagger = json!({"definitions": {
            "a.Thing": {
                "type": "object",
                "properties": {"port": {"format": "int-or-string", "type": "string"}, "other": {"$ref": "#/definitions/a.Other"}},
                "x-kubernetes-group-version-kind": [{"group": "apps", "version": "v1", "kind": "Thing"}],
            },
            "a.Other": {"type": "object"},
        }});
        let schemas = of_kubernetes(&swagger).expect("a good swagger.json");
        let thing = &schemas["thing-apps-v1.json"];
        assert_eq!(thing["additionalProperties"], json!(false));
        assert_eq!(thing["properties"]["apiVersion"], json!({"const": "apps/v1"}));
        assert_eq!(thing["properties"]["other"]["$ref"], "_definitions.json#/definitions/a.Other");
        assert_eq!(thing["properties"]["port"]["oneOf"][1]["type"], "integer");
        assert_eq!(schemas.len(), 2, "the kind and the definitions");
    }

    #[test]
    fn a_crd_refuses_unknown_fields_and_takes_null_where_it_may() {
        let crd = json!({"spec": {"group": "supercargo.dev", "names": {"kind": "Thing"}, "versions": [{"name": "v1", "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                "type": "object",
                "properties": {"size": {"x-kubernetes-int-or-string": true}, "user": {"type": "string", "nullable": true}},
            }}},
        }}]}});
        let schemas = of_crd(&crd).expect("a good CRD");
        let spec = &schemas["thing-supercargo-v1.json"]["properties"]["spec"];
        assert_eq!(spec["additionalProperties"], json!(false));
        assert_eq!(spec["properties"]["user"]["anyOf"][1], json!({"type": "null"}));
        assert_eq!(spec["properties"]["size"]["oneOf"][0]["type"], "string");
    }
}

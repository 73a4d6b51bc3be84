//! Each refusal by itself, and the defaults.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::registry::fixtures::{UID, config, found, internal, named, on_s3, on_volume, registry, valid};
use crate::registry::model::Referenced;

fn problems(registry: &CargoRegistry, observed: &Observed) -> Vec<Problem> {
    match validate(registry, observed, &config(), internal()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    }
}

/// The first problem of `on_s3` with `path` set to `value`.
fn refusal(path: &str, value: Value) -> Option<String> {
    let mut spec = on_s3();
    *spec.pointer_mut(path).expect("a path of the fixture") = value;
    problems(&registry(spec), &found()).first().map(|p| format!("{}: {}", p.reason, p.message))
}

#[test]
fn both_forms_are_fine_with_their_defaults() {
    let s3 = valid(&registry(on_s3()));
    assert_eq!(
        (s3.replicas, s3.image.as_str(), s3.image_pull_policy.as_str()),
        (2, "supercargo/registry:0.1.0", "IfNotPresent")
    );
    let volume = valid(&registry(on_volume()));
    assert_eq!(volume.replicas, 1);
}

#[test]
fn storage_is_exactly_one_of_two() {
    let both = json!({ "s3": { "bucket": "crates" }, "volume": { "size": "1Gi" } });
    assert!(refusal("/storage", both).unwrap().starts_with("InvalidSpec: set exactly one of"));
    assert!(refusal("/storage", json!({})).unwrap().starts_with("InvalidSpec: set exactly one of"));
}

#[test]
fn a_volume_has_one_replica_and_no_bucket() {
    let mut spec = on_volume();
    spec["replicas"] = json!(2);
    spec["bucket"] = json!({});
    let found = problems(&registry(spec), &Observed::default());
    assert_eq!(found.len(), 2, "all problems at once: {found:?}");
    assert!(found[0].message.contains("one replica") && found[1].message.contains("bucket"), "{found:?}");
}

#[test]
fn urls_are_base_urls() {
    for bad in [
        "s3.example",
        "ftp://s3",
        "https://",
        "https:///x",
        "https://s3/",
        "https://u:p@s3",
        "https://s3?x",
        "https://a b",
        "https://s3:65536",
    ] {
        assert!(refusal("/storage/s3/endpoint", json!(bad)).is_some(), "{bad}");
        let mut spec = on_s3();
        spec["storage"]["s3"]["publicEndpoint"] = json!(bad);
        assert_eq!(problems(&registry(spec), &found()).len(), 1, "{bad}");
        let mut spec = on_s3();
        spec["expose"] = json!({ "url": bad });
        assert_eq!(problems(&registry(spec), &found()).len(), 1, "{bad}");
    }
    assert_eq!(refusal("/storage/s3/endpoint", json!("https://minio.storage.svc:9000")), None);
}

/// The schema says so, too; the cluster may hold that of an older version.
#[test]
fn an_endpoint_of_s3_has_no_path_and_a_registry_may() {
    let with_path = "https://crates.example.com/team";
    for field in ["endpoint", "publicEndpoint"] {
        let mut spec = on_s3();
        spec["storage"]["s3"][field] = json!(with_path);
        let found = problems(&registry(spec), &found());
        assert!(found.len() == 1 && found[0].message.contains("without a path"), "{found:?}");
    }
    for (url, fits) in [(with_path, true), ("https://crates.example.com/team.git", false)] {
        let mut spec = on_s3();
        spec["expose"] = json!({ "url": url });
        assert_eq!(problems(&registry(spec), &found()).is_empty(), fits, "{url}");
    }
}

#[test]
fn nobody_is_sent_to_the_registry_itself_for_a_file() {
    let mut spec = on_s3();
    for (own, url, fits) in [
        ("https://Crates.example.com/team", "https://crates.example.com", false),
        ("https://Crates.example.com/team", "https://crates.example.com:443", false),
        ("https://crates.example.com:443", "https://crates.example.com", false),
        ("http://crates.example.com", "http://crates.example.com:80", false),
        ("http://crates.example.com:443", "https://crates.example.com", false),
        ("https://crates.example.com", "http://crates.example.com", true),
        ("https://crates.example.com", "https://crates.example.com:9000", true),
        ("https://crates.example.com", "https://s3.example.com", true),
    ] {
        spec["expose"] = json!({ "url": own });
        spec["storage"]["s3"]["publicEndpoint"] = json!(url);
        let problems = problems(&registry(spec.clone()), &found());
        assert_eq!(problems.is_empty(), fits, "{own} {url}: {problems:?}");
        assert!(
            problems.iter().all(|problem| problem.message.contains("the host and port of expose.url")),
            "{problems:?}"
        );
    }
}

#[test]
fn names_leave_room_for_internal() {
    for (name, fits) in [("a".repeat(54), true), ("a".repeat(55), false), ("1a".into(), false), ("a.b".into(), false)] {
        assert_eq!(problems(&named(&name, on_s3()), &found()).is_empty(), fits, "{name}");
    }
}

#[test]
fn credentials_come_from_one_place() {
    let mut spec = on_s3();
    spec["storage"]["s3"]["serviceAccountName"] = json!("irsa");
    let found = problems(&registry(spec), &found());
    assert!(found[0].message.contains("at most one of"), "{found:?}");
}

#[test]
fn what_cannot_be_used_is_passed_on() {
    let mut observed = found();
    observed.credentials = Referenced::Unusable(Problem::new("SecretNotFound", "Secret s3 does not exist"));
    let found = problems(&registry(on_s3()), &observed);
    assert_eq!((found.len(), found[0].reason), (1, "SecretNotFound"));
    assert!(bucket_target(&registry(on_s3()).spec, &observed).is_none(), "nor is the bucket looked at");
}

#[test]
fn a_foreign_child_is_left_alone_and_named() {
    let mut observed = found();
    observed.live.deployment = Some(Deployment::default());
    let found = problems(&registry(on_s3()), &observed);
    assert_eq!(found[0].reason, "NameTaken");
    assert!(
        found[0].message.starts_with("Deployment company exists and does not belong to CargoRegistry company"),
        "{found:?}"
    );
}

#[test]
fn a_predecessors_child_is_waited_for() {
    let mut owner = names::owner_reference(&registry(on_s3())).unwrap();
    owner.uid = "another".into();
    owner.controller = Some(true);
    let mut observed = found();
    let metadata = ObjectMeta { owner_references: Some(vec![owner.clone()]), ..ObjectMeta::default() };
    observed.live.deployment = Some(Deployment { metadata, ..Deployment::default() });
    assert_eq!(problems(&registry(on_s3()), &observed)[0].reason, "WaitingForDeletion");
    owner.uid = UID.into();
    let metadata = ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    observed.live.deployment = Some(Deployment { metadata, ..Deployment::default() });
    assert_eq!(problems(&registry(on_s3()), &observed), []);
}

#[test]
fn a_claim_is_known_by_its_labels_and_never_shrinks() {
    let claim = |labels, size: &str| -> PersistentVolumeClaim {
        let spec = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
        let mut claim: PersistentVolumeClaim = serde_json::from_value(spec).unwrap();
        claim.metadata.name = Some("company-data".into());
        claim.metadata.labels = labels;
        claim
    };
    let with = |claim| Observed { live: Live { volume_claim: Some(claim), ..Live::default() }, ..Observed::default() };
    let reason = |observed| problems(&registry(on_volume()), &observed).first().map(|p| p.reason);
    let ours = || Some(names::labels("company"));
    assert_eq!(reason(with(claim(ours(), "10Gi"))), None);
    assert_eq!(reason(with(claim(ours(), "5Gi"))), None, "may grow");
    assert_eq!(reason(with(claim(ours(), "20Gi"))), Some("VolumeCannotShrink"));
    assert_eq!(reason(with(claim(None, "10Gi"))), Some("NameTaken"));
    assert_eq!(reason(with(claim(Some(names::labels("other")), "10Gi"))), Some("NameTaken"));
}

#[test]
fn resources_fit_together_whatever_is_given() {
    let given = |resources: Value| {
        let mut spec = on_s3();
        spec["resources"] = resources;
        let valid = valid(&registry(spec));
        (valid.requests["memory"].0.clone(), valid.limits["memory"].0.clone())
    };
    assert_eq!(given(json!({})), ("64Mi".into(), "256Mi".into()));
    assert_eq!(
        given(json!({ "requests": { "memory": "1Gi" } })),
        ("1Gi".into(), "1Gi".into()),
        "a limit below it would be refused"
    );
    assert_eq!(given(json!({ "limits": { "memory": "32Mi" } })), ("32Mi".into(), "32Mi".into()));
    assert_eq!(given(json!({ "limits": { "memory": "4Gi" } })), ("64Mi".into(), "4Gi".into()));
}

#[test]
fn nonsense_amounts_are_named() {
    let mut spec = on_s3();
    spec["resources"] = json!({ "limits": { "cpu": "lots" } });
    let found = problems(&registry(spec), &found());
    assert!(found[0].message.contains("resources.limits.cpu") && found[0].message.contains("lots"), "{found:?}");
}

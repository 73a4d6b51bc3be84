//! Passes over one CargoRegistry.

use std::sync::Arc;

use clap::Parser;
use http::Method;
use serde_json::{Value, json};
use supercargo_operator::config::{Cli, Command, Config};
use supercargo_operator::context::Context;
use supercargo_operator::controller::Reconcile;
use supercargo_operator::crd::conditions::{self, DEGRADED, PROGRESSING, READY};
use supercargo_operator::crd::registry::CargoRegistry;
use supercargo_operator::error::{Error, Result};
use supercargo_operator::registry::Registries;

use crate::fake_api::FakeApi;

pub(crate) const REGISTRY: &str = "/apis/supercargo.dev/v1alpha1/namespaces/demo/cargoregistries/company";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/demo/deployments/company";
const CONFIG_MAP: &str = "/api/v1/namespaces/demo/configmaps/company-config";
const INTERNAL_SECRET: &str = "/api/v1/namespaces/demo/secrets/company-internal";
pub(crate) const S3_SECRET: &str = "/api/v1/namespaces/demo/secrets/s3";
pub(crate) const FSCK: &str = "/apis/batch/v1/namespaces/demo/cronjobs/company-fsck";
pub(crate) const GC: &str = "/apis/batch/v1/namespaces/demo/cronjobs/company-gc";
pub(crate) const BUDGET: &str = "/apis/policy/v1/namespaces/demo/poddisruptionbudgets/company";

pub(crate) fn config() -> Config {
    let Ok(Cli { command: Command::Run(config) }) = Cli::try_parse_from(["supercargo-operator", "run"]) else {
        panic!("the defaults parse");
    };
    *config
}

pub(crate) fn context(api: &FakeApi) -> Arc<Context> {
    let now = || "2026-11-21T10:00:00Z".parse().expect("a timestamp");
    Arc::new(Context::new(api.client(), config(), now, |bytes| rand::fill(bytes)))
}

pub(crate) struct Scene {
    pub(crate) api: FakeApi,
    pub(crate) context: Arc<Context>,
    pub(crate) registries: Registries,
}

impl Scene {
    pub(crate) fn new(spec: Value) -> Scene {
        let api = FakeApi::default();
        api.put(
            REGISTRY,
            json!({ "apiVersion": "supercargo.dev/v1alpha1", "kind": "CargoRegistry",
                    "metadata": { "generation": 1 }, "spec": spec }),
        );
        let context = context(&api);
        Scene { api, context, registries: nobody_answers() }
    }

    pub(crate) fn registry(&self) -> CargoRegistry {
        serde_json::from_value(self.api.get(REGISTRY).expect("the registry")).expect("a CargoRegistry")
    }

    pub(crate) async fn pass(&self) -> Result<()> {
        self.registries.reconcile(Arc::new(self.registry()), Arc::clone(&self.context)).await.map(|_| ())
    }

    /// `Status/Reason` of a condition, and its message.
    pub(crate) fn condition(&self, type_: &str) -> (String, String) {
        let status = self.registry().status.expect("a status");
        let found = conditions::get(&status.conditions, type_).unwrap_or_else(|| panic!("no {type_}: {status:?}"));
        (format!("{}/{}", found.status, found.reason), found.message.clone())
    }

    /// As the Deployment's controller and the kubelet would, once all replicas are ready.
    pub(crate) fn all_replicas_ready(&self) {
        self.api.edit(DEPLOYMENT, |deployment| {
            let n = deployment["spec"]["replicas"].clone();
            deployment["status"] =
                json!({ "observedGeneration": 1, "replicas": n, "updatedReplicas": n, "availableReplicas": n });
        });
    }

    pub(crate) fn short_writes(&self) -> Vec<String> {
        self.api.take_writes().iter().map(|sent| sent.short()).collect()
    }
}

/// A controller as it is just after its start. No replica listens there, which the kernel says at once.
pub(crate) fn nobody_answers() -> Registries {
    Registries::reaching(|_, _| "https://127.0.0.1:1".to_owned())
}

pub(crate) fn on_volume() -> Value {
    json!({ "storage": { "volume": { "size": "1Gi" } } })
}

/// A store that refuses connections: the operator says so and goes on.
pub(crate) fn on_s3() -> Value {
    json!({ "storage": { "s3": { "bucket": "crates", "endpoint": "http://127.0.0.1:1", "forcePathStyle": true,
                                 "credentialsSecretRef": { "name": "s3" } } } })
}

pub(crate) fn s3_secret() -> Value {
    // "id" and "key"
    json!({ "apiVersion": "v1", "kind": "Secret", "data": { "AWS_ACCESS_KEY_ID": "aWQ=", "AWS_SECRET_ACCESS_KEY": "a2V5" } })
}

#[tokio::test]
async fn the_first_pass_applies_every_child_and_writes_conditions() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    let writes = scene.api.take_writes();
    let short: Vec<_> = writes.iter().map(|sent| sent.short()).collect();
    assert_eq!(
        short,
        [
            "PATCH cargoregistries/company/status",
            "PATCH configmaps/company-config",
            "PATCH secrets/company-internal",
            "PATCH serviceaccounts/company",
            "PATCH persistentvolumeclaims/company-data",
            "PATCH networkpolicies/company",
            "PATCH services/company-internal",
            "PATCH services/company",
            "PATCH deployments/company",
            "PATCH cargoregistries/company/status",
        ]
    );
    for sent in &writes {
        let manager = if sent.path == format!("{REGISTRY}/status") { "status" } else { "registry" };
        assert!(
            sent.query.contains(&format!("fieldManager=supercargo%2F{manager}")),
            "{}: {}",
            sent.short(),
            sent.query
        );
        assert!(sent.query.contains("force=true"), "{}", sent.query);
    }
    assert_eq!(scene.condition(READY).0, "False/Starting");
    assert_eq!(scene.condition(PROGRESSING).0, "True/RollingOut");
    assert_eq!(scene.registry().status.unwrap().observed_generation, Some(1));
}

#[tokio::test]
async fn children_belong_to_the_registry_but_its_volume_claim_does_not() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    let uid = scene.registry().metadata.uid.unwrap();
    for sent in scene.api.take_writes().iter().filter(|sent| !sent.path.starts_with(REGISTRY)) {
        let owner = &sent.body["metadata"]["ownerReferences"][0];
        if sent.path.contains("persistentvolumeclaims") {
            assert!(owner.is_null(), "deleting the registry must not delete crates");
        } else {
            assert_eq!(
                (owner["uid"].as_str(), owner["controller"].as_bool()),
                (Some(uid.as_str()), Some(true)),
                "{}",
                sent.short()
            );
        }
    }
}

#[tokio::test]
async fn a_pass_over_an_unchanged_object_writes_nothing() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    scene.all_replicas_ready();
    scene.pass().await.unwrap();
    assert_eq!(scene.condition(READY).0, "True/Serving");
    scene.api.take_log();
    scene.pass().await.unwrap();
    let log = scene.api.take_log();
    let writes: Vec<_> = log.iter().filter(|sent| sent.method != Method::GET).map(|sent| sent.short()).collect();
    assert_eq!(writes, Vec::<String>::new(), "not even an event");
    assert!(!log.is_empty(), "it did look");
}

#[tokio::test]
async fn an_edit_by_hand_is_undone_and_nothing_else_is_written() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    scene.all_replicas_ready();
    scene.pass().await.unwrap();
    for (path, pointer, value, expected) in [
        (DEPLOYMENT, "/spec/template/spec/containers/0/image", json!("evil:1"), "PATCH deployments/company"),
        (DEPLOYMENT, "/metadata/labels/app.kubernetes.io~1managed-by", json!("me"), "PATCH deployments/company"),
        (CONFIG_MAP, "/data/registry.toml", json!("nonsense"), "PATCH configmaps/company-config"),
        (INTERNAL_SECRET, "/data/ca.crt", json!(""), "PATCH secrets/company-internal"),
    ] {
        let before = scene.api.get(path).unwrap().pointer(pointer).cloned();
        scene.api.edit(path, |object| *object.pointer_mut(pointer).expect("the field") = value);
        scene.api.take_log();
        scene.pass().await.unwrap();
        let writes = scene.short_writes();
        assert!(writes.contains(&expected.to_owned()), "{path} {pointer}: {writes:?}");
        if path != INTERNAL_SECRET {
            assert_eq!(writes.len(), 1, "{path} {pointer}: {writes:?}");
            assert_eq!(scene.api.get(path).unwrap().pointer(pointer).cloned(), before);
        }
        scene.all_replicas_ready();
        scene.pass().await.unwrap();
        scene.api.take_log();
    }
}

#[tokio::test]
async fn a_deleted_child_comes_back() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    scene.api.remove(DEPLOYMENT);
    scene.api.take_log();
    scene.pass().await.unwrap();
    assert_eq!(scene.short_writes(), ["PATCH deployments/company"]);
}

#[tokio::test]
async fn a_foreign_child_is_left_alone_and_nothing_is_written() {
    let scene = Scene::new(on_volume());
    scene.api.put(CONFIG_MAP, json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "mine": "yes" } }));
    scene.pass().await.unwrap();
    let writes = scene.short_writes();
    assert!(writes.iter().all(|w| w == "PATCH cargoregistries/company/status"), "{writes:?}");
    let (reason, message) = scene.condition(READY);
    assert_eq!(reason, "False/NameTaken");
    assert!(message.contains("ConfigMap company-config"), "{message}");
    assert_eq!(scene.api.get(CONFIG_MAP).unwrap()["data"]["mine"], "yes");

    scene.api.remove(CONFIG_MAP);
    scene.pass().await.unwrap();
    assert_eq!(scene.condition(READY).0, "False/Starting", "heals by itself");
}

#[tokio::test]
async fn a_missing_secret_is_named_and_waited_for() {
    let scene = Scene::new(on_s3());
    scene.pass().await.unwrap();
    let (reason, message) = scene.condition(READY);
    assert_eq!(reason, "False/SecretNotFound");
    assert!(message.contains("Secret s3 does not exist in namespace demo"), "{message}");
    assert!(scene.short_writes().iter().all(|w| w == "PATCH cargoregistries/company/status"));

    let mut incomplete = s3_secret();
    incomplete["data"].as_object_mut().unwrap().remove("AWS_SECRET_ACCESS_KEY");
    scene.api.put(S3_SECRET, incomplete);
    scene.pass().await.unwrap();
    let (reason, message) = scene.condition(DEGRADED);
    assert_eq!(reason, "True/SecretInvalid");
    assert!(message.contains("AWS_SECRET_ACCESS_KEY"), "{message}");

    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    assert!(scene.api.get(DEPLOYMENT).is_some(), "goes on by itself");
}

#[tokio::test]
async fn a_rotated_secret_rolls_out() {
    let scene = Scene::new(on_s3());
    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    let template =
        |scene: &Scene| scene.api.get(DEPLOYMENT).unwrap()["spec"]["template"]["metadata"]["annotations"].clone();
    let before = template(&scene);
    scene.api.edit(S3_SECRET, |secret| secret["data"]["AWS_SECRET_ACCESS_KEY"] = json!("b3RoZXI="));
    scene.pass().await.unwrap();
    assert_ne!(template(&scene), before);
}

#[tokio::test]
async fn scaling_to_one_takes_the_budget_away() {
    let scene = Scene::new(on_s3());
    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    assert!(scene.api.get(BUDGET).is_some());
    scene.api.edit(REGISTRY, |registry| registry["spec"]["replicas"] = json!(1));
    scene.pass().await.unwrap();
    assert!(scene.api.get(BUDGET).is_none());
    assert_eq!(scene.api.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 1);
}

#[tokio::test]
async fn paused_reports_and_changes_nothing() {
    let scene = Scene::new(on_volume());
    scene.pass().await.unwrap();
    scene.all_replicas_ready();
    scene.api.edit(REGISTRY, |registry| registry["spec"]["paused"] = json!(true));
    scene.api.edit(CONFIG_MAP, |map| map["data"]["registry.toml"] = json!("edited while paused"));
    scene.api.take_log();
    scene.pass().await.unwrap();
    let writes = scene.short_writes();
    assert!(!writes.is_empty() && writes.iter().all(|w| w == "PATCH cargoregistries/company/status"), "{writes:?}");
    assert_eq!(scene.condition(PROGRESSING).0, "False/Paused");
    assert_eq!(scene.condition(READY).0, "True/Serving");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told() {
    let scene = Scene::new(on_volume());
    scene.api.refuse(Method::PATCH, "/deployments/company", 403);
    let error = scene.pass().await.unwrap_err();
    assert_eq!(error.label(), "forbidden");
    scene.registries.failed(Arc::new(scene.registry()), &error, Arc::clone(&scene.context)).await;
    let (reason, message) = scene.condition(READY);
    assert_eq!(reason, "False/Forbidden");
    assert!(message.contains("apply Deployment company"), "{message}");
    assert!(matches!(error, Error::Kube { .. }));
    scene.api.allow_all();
    scene.pass().await.unwrap();
    assert_eq!(scene.condition(DEGRADED).0, "False/AsExpected");
}

#[tokio::test]
async fn the_finalizer_is_there_while_the_bucket_may_have_to_go() {
    let finalizers = |scene: &Scene| scene.registry().metadata.finalizers.unwrap_or_default();
    let mut spec = on_s3();
    spec["bucket"] = json!({ "deletionPolicy": "Delete" });
    let scene = Scene::new(spec);
    scene.api.put(S3_SECRET, s3_secret());
    scene.pass().await.unwrap();
    assert_eq!(finalizers(&scene), ["supercargo.dev/registry"]);
    scene.api.edit(REGISTRY, |registry| registry["spec"]["bucket"]["deletionPolicy"] = json!("Retain"));
    scene.pass().await.unwrap();
    assert_eq!(finalizers(&scene), Vec::<String>::new());
}

#[tokio::test]
async fn deletion_without_our_finalizer_is_not_our_business() {
    let scene = Scene::new(on_volume());
    scene.api.edit(REGISTRY, |registry| registry["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z"));
    scene.pass().await.unwrap();
    assert_eq!(scene.api.take_log().len(), 0);
}

#[tokio::test]
async fn deletion_lets_go_of_a_bucket_that_was_adopted() {
    let mut spec = on_s3();
    spec["bucket"] = json!({ "deletionPolicy": "Delete" });
    let scene = Scene::new(spec);
    scene.api.put(S3_SECRET, s3_secret());
    scene.api.edit(REGISTRY, |registry| {
        registry["metadata"]["finalizers"] = json!(["supercargo.dev/registry", "someone.else/finalizer"]);
        registry["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z");
        registry["status"] = json!({ "bucket": { "name": "crates", "region": "us-east-1", "endpoint": "http://127.0.0.1:1", "origin": "Adopted" } });
    });
    scene.pass().await.unwrap();
    let event = scene.api.take_log().into_iter().find(|sent| sent.path.contains("/events")).expect("an event");
    assert_eq!(event.body["reason"], "BucketKept");
    assert_eq!(scene.registry().metadata.finalizers.unwrap(), ["someone.else/finalizer"]);
}

#[tokio::test]
async fn deletion_does_not_wait_for_a_secret_that_is_gone() {
    let mut spec = on_s3();
    spec["bucket"] = json!({ "deletionPolicy": "Delete" });
    let scene = Scene::new(spec);
    scene.api.edit(REGISTRY, |registry| {
        registry["metadata"]["finalizers"] = json!(["supercargo.dev/registry"]);
        registry["metadata"]["deletionTimestamp"] = json!("2026-11-21T10:00:00Z");
    });
    scene.pass().await.unwrap();
    assert_eq!(scene.registry().metadata.finalizers.unwrap_or_default(), Vec::<String>::new());
}

#[tokio::test]
async fn no_secret_goes_anywhere_but_into_the_secret() {
    let scene = Scene::new(on_s3());
    let mut secret = s3_secret();
    // "hush-hush-hush"
    secret["data"]["AWS_SECRET_ACCESS_KEY"] = json!("aHVzaC1odXNoLWh1c2g=");
    scene.api.put(S3_SECRET, secret);
    scene.pass().await.unwrap();
    let log = scene.api.take_log();
    let internal =
        log.iter().find(|sent| sent.path == INTERNAL_SECRET && sent.method == Method::PATCH).expect("the Secret");
    let token = internal.body["data"]["admin-token"].as_str().unwrap().to_owned();
    for sent in log.iter().filter(|sent| sent.path != INTERNAL_SECRET) {
        let text = sent.body.to_string();
        for value in [token.as_str(), "hush", "aHVza", "PRIVATE KEY"] {
            assert!(!text.contains(value), "{} tells {value}", sent.short());
        }
    }
}

//! What is taken away comes back, and nothing that was acknowledged is ever lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use supercargo_tests::{
    cargo::Toolchain,
    kube::is_true,
    node::kill_9,
    operator,
    registry::{self, PATIENCE, on_bucket, ready, s3_secret},
    s3::{Account, ROOT_KEY, ROOT_SECRET, Server, Store},
    scratch::{Package, Scratch},
};

use crate::{
    turns::in_namespace,
    waves::{Wave, all_are_there},
};

#[tokio::test]
async fn a_deployment_deleted_by_hand_comes_back() -> Result<()> {
    in_namespace("a_deployment_deleted_by_hand", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        let before = namespace.get("Deployment", "company").await?.as_ref().and_then(uid);
        ensure!(before.is_some(), "the registry has no Deployment");
        namespace.delete("Deployment", "company").await?;
        namespace
            .wait("Deployment", "company", "another one stands in its place", Duration::from_secs(30), |object| {
                uid(object).is_some_and(|now| Some(now) != before)
            })
            .await?;
        running.rolled_out(2).await?;
        let subject = ready(&namespace, "company").await?.subject(Toolchain::Workspace).await?;
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("after-return", "0.1.0"))?;
        subject.developer()?.cargo(scratch.path(), "publish").await?.succeeded()?;
        Ok(())
    })
    .await
}

/// An edit by hand is taken back, and only that: what others added stays.
#[tokio::test]
async fn an_edit_by_hand_is_taken_back() -> Result<()> {
    in_namespace("an_edit_by_hand", async |namespace| {
        registry::start(&namespace, "company", |_| {}).await?;
        let edit = json!({"metadata": {"annotations": {"example.com/mine": "yes"}}, "spec": {"replicas": 5}});
        namespace.patch("Deployment", "company", &edit).await?;
        let mended = namespace
            .wait("Deployment", "company", "it has two replicas again", Duration::from_secs(30), |object| {
                object.pointer("/spec/replicas") == Some(&json!(2))
            })
            .await?;
        let annotation = mended.pointer("/metadata/annotations/example.com~1mine");
        ensure!(annotation == Some(&json!("yes")), "the annotation of somebody else is gone: {mended:#}");
        Ok(())
    })
    .await
}

/// New keys in the Secret roll out; publishers do not notice, and the old keys can be taken away afterwards.
#[tokio::test]
async fn publish_survives_secret_rotation() -> Result<()> {
    in_namespace("publish_survives_secret_rotation", async |namespace| {
        let store = Store::of(Server::Honest).await?;
        let old = Account::create(&store, &format!("{}-old", namespace.name())).await?;
        namespace.apply_object(&s3_secret("s3", &old.access_key, &old.secret_key)).await?;
        namespace.apply_object(&on_bucket("company", namespace.name())).await?;
        let running = ready(&namespace, "company").await?;
        running.rolled_out(2).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let mut wave = Wave::start(&subject, "rotated", 30);
        wave.reaches(5).await?;

        let old_pods = running.pods().await?;
        let new = Account::create(&store, &format!("{}-new", namespace.name())).await?;
        let template = "/spec/template/metadata/annotations/supercargo.dev~1s3-credentials-hash";
        let hash = |object: &Value| object.pointer(template).cloned();
        let before = namespace.get("Deployment", "company").await?.as_ref().and_then(hash);
        ensure!(before.is_some(), "the pod template does not carry the hash of the credentials");
        namespace.apply_object(&s3_secret("s3", &new.access_key, &new.secret_key)).await?;
        namespace
            .wait("Deployment", "company", "the new credentials roll out", PATIENCE, |object| hash(object) != before)
            .await?;
        running.rolled_out(2).await?;
        // They serve with the old credentials until they end.
        for pod in old_pods {
            namespace.wait("Pod", &pod.name_any(), "it is gone", PATIENCE, Value::is_null).await?;
        }
        old.delete(&store).await?;

        let ledger = wave.finish().await?;
        let failures: String = ledger.failed.iter().map(ToString::to_string).collect();
        ensure!(ledger.failed.is_empty(), "{} publishes failed:\n{failures}", ledger.failed.len());
        all_are_there(&subject, &running.base, &ledger.acknowledged).await
    })
    .await
}

/// `kill -9` of registry processes and of the operator in the middle of 50 publishes.
#[tokio::test]
async fn no_acknowledged_crate_is_lost_to_kill_9() -> Result<()> {
    in_namespace("no_acknowledged_crate_is_lost", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        running.rolled_out(2).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let mut wave = Wave::start(&subject, "survivor", 50);
        wave.reaches(8).await?;
        kill_9(&running.some_pod().await?.1, "supercargo-registry")?;
        wave.reaches(20).await?;
        operator::kill_9(namespace.client()).await?;
        wave.reaches(32).await?;
        kill_9(&running.some_pod().await?.1, "supercargo-registry")?;
        let ledger = wave.finish().await?;
        ensure!(ledger.acknowledged.len() == 50, "only {} of 50 were published", ledger.acknowledged.len());
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;
        nothing_dangles(&Store::of(Server::Honest).await?, namespace.name()).await?;
        operator::is_available(namespace.client()).await?;
        running.rolled_out(2).await
    })
    .await
}

/// Every version in a record has its bytes in the bucket, under the key that the record names.
async fn nothing_dangles(store: &Store, bucket: &str) -> Result<()> {
    let keys = store.keys(bucket, "v1/").await?;
    let mut versions = 0;
    for key in keys.iter().filter(|key| key.starts_with("v1/crate/")) {
        let record = store.get(bucket, key).await?;
        let mut lines = String::new();
        std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&record[..]), &mut lines)
            .with_context(|| format!("unpacking {key}"))?;
        for line in lines.lines() {
            for blob in blob_keys(&serde_json::from_str(line)?) {
                ensure!(keys.contains(&blob), "{key} names {blob}, which is not in the bucket");
                versions += 1;
            }
        }
    }
    ensure!(versions >= 50, "only {versions} versions in the records: the check does not see what it should");
    Ok(())
}

/// All texts in a line of a record that are keys of blobs.
fn blob_keys(line: &Value) -> Vec<String> {
    match line {
        Value::String(text) if text.starts_with("v1/blob/") => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(blob_keys).collect(),
        Value::Object(fields) => fields.values().flat_map(blob_keys).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn deleting_the_registry_keeps_the_bucket_and_a_new_one_serves_everything() -> Result<()> {
    in_namespace("deleting_the_registry_keeps_the_bucket", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let ledger = Wave::start(&subject, "kept", 4).finish().await?;
        let store = Store::of(Server::Honest).await?;
        let before = store.keys(namespace.name(), "v1/blob/").await?;
        namespace.delete("CargoToken", "developer").await?;
        namespace.delete("CargoRegistry", "company").await?;
        for kind in ["CargoRegistry", "Deployment", "Service", "ConfigMap"] {
            let name = if kind == "ConfigMap" { "company-config" } else { "company" };
            namespace.wait(kind, name, "it is gone", PATIENCE, Value::is_null).await?;
        }
        ensure!(store.keys(namespace.name(), "v1/blob/").await? == before, "blobs went with the registry");

        namespace.apply_object(&s3_secret("s3", ROOT_KEY, ROOT_SECRET)).await?;
        namespace.apply_object(&on_bucket("successor", namespace.name())).await?;
        let successor = ready(&namespace, "successor").await?;
        let subject = successor.subject(Toolchain::Workspace).await?;
        all_are_there(&subject, &successor.base, &ledger.acknowledged).await
    })
    .await
}

/// `paused` stops changes and nothing else.
#[tokio::test]
async fn a_paused_registry_serves_and_is_left_alone() -> Result<()> {
    in_namespace("a_paused_registry", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        namespace.patch("CargoRegistry", "company", &json!({"spec": {"paused": true, "replicas": 1}})).await?;
        registry::says(&namespace, "company", "Progressing", "False", "Paused").await?;
        let deployment = namespace.get("Deployment", "company").await?.context("the Deployment is gone")?;
        ensure!(
            deployment.pointer("/spec/replicas") == Some(&json!(2)),
            "a paused registry was scaled: {deployment:#}"
        );
        let ledger = Wave::start(&subject, "while-paused", 2).finish().await?;
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;

        namespace.patch("CargoRegistry", "company", &json!({"spec": {"paused": false}})).await?;
        running.rolled_out(1).await?;
        namespace
            .wait("CargoRegistry", "company", "Ready is True", PATIENCE, |object| is_true(object, "Ready"))
            .await?;
        Ok(())
    })
    .await
}

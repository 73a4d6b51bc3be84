//! Every file in `deploy/examples`, applied as it is but for the address of the S3 server.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::LogParams};
use serde_json::{Value, json};
use supercargo_dev::paths;
use supercargo_tests::{
    cargo::Toolchain,
    conformance,
    http::get,
    kube::TestNamespace,
    node::kill_9,
    registry::{self, PATIENCE, ready, s3_secret, says},
    s3::{ROOT_KEY, ROOT_SECRET, Server, Store},
    volume,
};

use crate::{
    turns::in_namespace,
    waves::{Wave, all_are_there},
};

/// The example, with the suite's S3 server in place of the one that it imagines, and buckets of the test's own.
fn example(file: &str, namespace: &TestNamespace) -> Result<String> {
    let path = paths::workspace().join("deploy/examples").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text
        .replace("http://s3.example.svc:7070", &Server::Honest.endpoint())
        .replace("open-source-crates", namespace.name())
        .replace("production-crates", namespace.name()))
}

async fn apply(namespace: &TestNamespace, file: &str) -> Result<()> {
    Store::of(Server::Honest).await?;
    namespace.apply_object(&s3_secret("s3", ROOT_KEY, ROOT_SECRET)).await?;
    namespace.apply(&example(file, namespace)?).await
}

/// `public.yaml`: who reaches it reads it; who publishes needs a token.
#[tokio::test]
async fn a_public_registry_lets_anyone_read_and_nobody_write() -> Result<()> {
    in_namespace("a_public_registry", async |namespace| {
        apply(&namespace, "public.yaml").await?;
        let running = ready(&namespace, "open-source").await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let ledger = Wave::start(&subject, "open", 1).finish().await?;
        let (status, config) = get(&format!("{}/index/config.json", running.base), None).await?;
        ensure!(status == StatusCode::OK, "anyone may read config.json: {status}");
        ensure!(serde_json::from_slice::<Value>(&config)?["auth-required"] != json!(true), "it asks for a token");
        let anyone = conformance::Subject { token: String::new(), ..subject.clone() };
        let home = anyone.stranger()?;
        let scratch = supercargo_tests::scratch::Scratch::new()?;
        let table = format!("[dependencies]\n{}", anyone.dependency("open-0", "0.1", ""));
        scratch.package("", &supercargo_tests::scratch::Package::program("consumer", "").tables(&table))?;
        home.cargo(scratch.path(), "build").await?.succeeded()?;
        home.cargo(scratch.path(), "publish --no-verify --allow-dirty").await?.refused(&["no token found"])?;
        all_are_there(&subject, &running.base, &ledger.acknowledged).await
    })
    .await
}

/// `volume.yaml`: what was published survives the process and the pod.
#[tokio::test]
async fn a_registry_on_a_volume_keeps_its_crates() -> Result<()> {
    in_namespace("a_registry_on_a_volume", async |namespace| {
        let _volume = volume::provide(&namespace, "on-volume-data").await?;
        namespace.apply(&example("volume.yaml", &namespace)?).await?;
        let running = ready(&namespace, "on-volume").await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let ledger = Wave::start(&subject, "on-volume", 3).finish().await?;
        let (pod, uid) = running.some_pod().await?;
        kill_9(&uid, "supercargo-registry")?;
        let restarted = |object: &Value| {
            object.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64) > Some(0)
                && object.pointer("/status/containerStatuses/0/ready") == Some(&json!(true))
        };
        namespace.wait("Pod", &pod, "its container was restarted", PATIENCE, restarted).await?;
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;
        namespace.delete("Pod", &pod).await?;
        namespace.wait("Pod", &pod, "it is gone", PATIENCE, Value::is_null).await?;
        running.rolled_out(1).await?;
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;
        let more = Wave::start(&subject, "on-volume-later", 1).finish().await?;
        all_are_there(&subject, &running.base, &more.acknowledged).await
    })
    .await
}

/// `production.yaml`: each aspect of the bucket is set or said to be unknown to the store; nothing fails for what it lacks.
#[tokio::test]
async fn each_aspect_of_a_bucket_has_a_condition() -> Result<()> {
    in_namespace("each_aspect_of_a_bucket", async |namespace| {
        apply(&namespace, "production.yaml").await?;
        let running = ready(&namespace, "production").await?;
        running.rolled_out(2).await?;
        says(&namespace, "production", "BucketVersioned", "True", "Enforced").await?;
        says(&namespace, "production", "BucketTagged", "True", "Enforced").await?;
        for lacking in ["BucketEncrypted", "BucketPrivate", "BucketLifecycle"] {
            let message = says(&namespace, "production", lacking, "Unknown", "Unsupported").await?;
            ensure!(message.contains("501"), "{lacking} does not say what the store answered: {message}");
        }
        says(&namespace, "production", "Degraded", "False", "AsExpected").await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let ledger = Wave::start(&subject, "produced", 2).finish().await?;
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;
        for pod in running.pods().await? {
            let log = namespace.api::<Pod>().logs(&pod.name_any(), &LogParams::default()).await?;
            ensure!(log.contains("the disk cache is open"), "{} keeps no crate files on a disk: {log}", pod.name_any());
        }
        Ok(())
    })
    .await
}

/// `tokens.yaml`: three tokens in three Secrets, each with what Cargo needs.
#[tokio::test]
async fn tokens_are_written_into_their_secrets() -> Result<()> {
    in_namespace("tokens_are_written", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        namespace.apply(&example("tokens.yaml", &namespace)?).await?;
        for (token, secret) in
            [("builds", "builds"), ("payments-ci", "payments-ci"), ("registry-admin", "registry-admin-token")]
        {
            namespace
                .wait("CargoToken", token, "Ready is True", PATIENCE, |object| {
                    supercargo_tests::kube::is_true(object, "Ready")
                })
                .await?;
            let value = running.secret_text(secret, "token").await?;
            ensure!(value.starts_with("scg_"), "the token in {secret} does not look like one");
            let credentials = running.secret_text(secret, "credentials.toml").await?;
            ensure!(
                credentials.contains(&value) && credentials.contains("[registries.company]"),
                "{secret}: {credentials}"
            );
            let (status, _) = get(&format!("{}/index/config.json", running.base), Some(&value)).await?;
            ensure!(status == StatusCode::OK, "the token in {secret} gets {status}");
        }
        let object = namespace.get("CargoToken", "payments-ci").await?.context("the CargoToken is gone")?;
        ensure!(object.pointer("/status/expiresAt").is_some_and(Value::is_string), "no expiry is shown: {object:#}");
        Ok(())
    })
    .await
}

/// `quickstart.yaml` in a namespace of the test's own, on a port that Kubernetes picks.
#[tokio::test]
async fn the_quickstart_becomes_ready_by_itself() -> Result<()> {
    in_namespace("the_quickstart", async |namespace| {
        let text = example("quickstart.yaml", &namespace)?;
        // The namespace is there, with the same label.
        let (_, objects) = text.split_once("\n---\n").context("the quickstart has several documents")?;
        let objects = objects
            .replace("namespace: demo", &format!("namespace: {}", namespace.name()))
            .replace("s3.demo.svc", &format!("s3.{}.svc", namespace.name()))
            .replace("      nodePort: 30080\n", "");
        namespace.apply(&objects).await?;
        let running = ready(&namespace, "company").await?;
        let token = running.token("developer").await?;
        let (status, _) = get(&format!("{}/index/config.json", running.base), Some(&token)).await?;
        ensure!(status == StatusCode::OK, "the quickstart's token gets {status}");
        Ok(())
    })
    .await
}

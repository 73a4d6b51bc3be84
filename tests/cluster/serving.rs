//! What a healthy registry does, in its different forms.

use anyhow::{Context, Result, ensure};
use http::{Request, StatusCode};
use kube::ResourceExt;
use serde_json::json;
use supercargo_tests::{
    cargo::{Home, Toolchain},
    conformance::{self, Subject},
    http::get,
    registry::{self, Running},
    s3::{Server, Store},
    scratch::{Package, Scratch},
};

use crate::turns::in_namespace;

/// What one replica has published, every other one serves at once: in both directions, and a yank as well. Because it was told, and not only
/// because a lease had ended.
#[tokio::test]
async fn two_replicas_both_serve() -> Result<()> {
    in_namespace("two_replicas_both_serve", async |namespace| {
        let running = registry::start(&namespace, "company", |object| object["spec"]["replicas"] = json!(2)).await?;
        running.rolled_out(2).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let [first, second] = replicas(&running, &subject).await?;
        for (writer, reader, name) in [(&first, &second, "by-the-first"), (&second, &first, "by-the-second")] {
            let (home, scratch) = (writer.developer()?, Scratch::new()?);
            scratch.package("", &Package::library(name, "0.1.0"))?;
            home.cargo(scratch.path(), "publish").await?.succeeded()?;
            let consumer = consumer_of(reader, name)?;
            reader.developer()?.cargo(consumer.path(), "run").await?.succeeded()?;
            home.cargo(scratch.path(), &format!("yank --registry company --version 0.1.0 {name}"))
                .await?
                .succeeded()?;
            let again = consumer_of(reader, name)?;
            reader.developer()?.cargo(again.path(), "generate-lockfile").await?.refused(&[name])?;
        }
        for pod in running.pods().await? {
            let metrics = metrics_of(&running, &pod.name_any()).await?;
            let count = |outcome| counted(&metrics, &format!("supercargo_registry_clears_total{{outcome={outcome:?}}}"));
            let (acknowledged, outlasted) = (count("acknowledged"), count("outlasted"));
            ensure!(
                acknowledged > 0 && outlasted == 0,
                "{} waited for the other replica's lease instead of its answer: {acknowledged} acknowledged, {outlasted} outlasted\n{metrics}",
                pod.name_any()
            );
        }
        Ok(())
    })
    .await
}

/// What a pod shows Prometheus, by way of the API server.
async fn metrics_of(running: &Running, pod: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/pods/https:{pod}:8081/proxy/metrics", running.namespace.name());
    let request = Request::get(&path).body(Vec::new())?;
    running.namespace.client().request_text(request).await.with_context(|| format!("GET {path}"))
}

/// The value of a counter; one that was never counted is not shown.
fn counted(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    values.sum()
}

/// The registry as seen through each of its two pods alone.
async fn replicas(running: &Running, subject: &Subject) -> Result<[Subject; 2]> {
    let mut subjects = Vec::new();
    for pod in running.pods().await? {
        let ip = pod.status.and_then(|status| status.pod_ip).context("a pod without an address")?;
        subjects.push(Subject { index: format!("sparse+http://{ip}:8080/index/"), ..subject.clone() });
    }
    subjects.try_into().map_err(|subjects: Vec<Subject>| anyhow::anyhow!("expected two pods, found {}", subjects.len()))
}

fn consumer_of(subject: &Subject, name: &str) -> Result<Scratch> {
    let scratch = Scratch::new()?;
    let table = format!("[dependencies]\n{}", subject.dependency(name, "0.1", ""));
    let main = format!("println!(\"{{}}\", {}::VERSION)", name.replace('-', "_"));
    scratch.package("", &Package::program("consumer", &main).tables(&table))?;
    Ok(scratch)
}

/// Without a token nothing is shown, neither by Cargo nor by plain HTTP; with one, everything works.
#[tokio::test]
async fn a_private_index_refuses_without_token_and_works_with_one() -> Result<()> {
    in_namespace("a_private_index", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        conformance::a_stranger_is_refused(&subject).await?;
        let config = format!("{}/index/config.json", running.base);
        let file = format!("{}/index/fo/r-/for-members", running.base);
        let download = format!("{}/api/v1/crates/for-members/0.1.0/download", running.base);
        for url in [&config, &file, &download] {
            let (status, body) = get(url, None).await?;
            ensure!(status == StatusCode::UNAUTHORIZED, "GET {url} without a token: {status} {body:?}");
            let (status, _) = get(url, Some(&subject.token)).await?;
            ensure!(status == StatusCode::OK, "GET {url} with a token: {status}");
        }
        let consumer = consumer_of(&subject, "for-members")?;
        subject.developer()?.cargo(consumer.path(), "run").await?.succeeded()?;
        Ok(())
    })
    .await
}

/// The Secret of a `CargoToken` is a CARGO_HOME: its files, as they are, are all that a build needs.
#[tokio::test]
async fn the_secret_of_a_token_is_a_cargo_home() -> Result<()> {
    in_namespace("the_secret_of_a_token_is_a_cargo_home", async |namespace| {
        // The host has no DNS of the cluster, so the URL for people has to be one that it reaches.
        let running = registry::start(&namespace, "company", |_| {}).await?;
        namespace.patch("CargoRegistry", "company", &json!({"spec": {"expose": {"url": running.base}}})).await?;
        let index = running.index();
        namespace
            .wait("CargoRegistry", "company", "its index URL is the exposed one", registry::PATIENCE, |object| {
                object.pointer("/status/indexUrl").is_some_and(|url| *url == index)
            })
            .await?;
        running.rolled_out(2).await?;
        running.subject(Toolchain::Workspace).await?;
        let home = Home::empty(Toolchain::Workspace)?;
        for file in ["config.toml", "credentials.toml"] {
            home.write(file, &running.secret_text("developer", file).await?)?;
        }
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("from-a-build", "0.1.0"))?;
        home.cargo(scratch.path(), "publish --registry company").await?.succeeded()?;
        Ok(())
    })
    .await
}

/// A deleted `CargoToken` opens nothing any more, on any replica, from the moment it is gone.
#[tokio::test]
async fn a_deleted_token_is_refused_at_once() -> Result<()> {
    in_namespace("a_deleted_token_is_refused_at_once", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let config = format!("{}/index/config.json", running.base);
        let (status, _) = get(&config, Some(&subject.token)).await?;
        ensure!(status == StatusCode::OK, "the token does not work: {status}");
        namespace.delete("CargoToken", "developer").await?;
        namespace.wait("CargoToken", "developer", "it is gone", registry::PATIENCE, serde_json::Value::is_null).await?;
        for pod in replicas(&running, &subject).await? {
            let base = pod.index.trim_start_matches("sparse+").to_owned();
            let (status, _) = get(&format!("{base}config.json"), Some(&subject.token)).await?;
            ensure!(status == StatusCode::UNAUTHORIZED, "a revoked token gets {status} from {base}");
        }
        Ok(())
    })
    .await
}

/// A token is good for what it grants, on the crates it names, and hides the rest.
#[tokio::test]
async fn grants_are_kept_to() -> Result<()> {
    in_namespace("grants_are_kept_to", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        for name in ["payments-api", "secret-plans"] {
            let scratch = Scratch::new()?;
            scratch.package("", &Package::library(name, "0.1.0"))?;
            subject.developer()?.cargo(scratch.path(), "publish").await?.succeeded()?;
        }
        let grants = json!([{"verbs": ["Read"], "crates": ["payments-*"]}]);
        namespace.apply_object(&registry::token_with("payments", "company", &grants)).await?;
        let payments = Subject { token: running.token("payments").await?, ..subject.clone() };
        let home = payments.developer()?;
        home.cargo(consumer_of(&payments, "payments-api")?.path(), "run").await?.succeeded()?;
        home.cargo(consumer_of(&payments, "secret-plans")?.path(), "generate-lockfile")
            .await?
            .refused(&["no matching package", "secret-plans"])?;
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("payments-new", "0.1.0"))?;
        home.cargo(scratch.path(), "publish").await?.refused(&["payments-new"])?;
        let found = home.cargo(scratch.path(), "search --registry company secret").await?.succeeded()?;
        ensure!(!found.stdout.contains("secret-plans"), "search shows what the token may not read\n{found}");
        Ok(())
    })
    .await
}

/// The bucket is made as the defaults want it, and everything in it lies below the prefix.
#[tokio::test]
async fn a_bucket_is_made_versioned_and_kept_to_its_prefix() -> Result<()> {
    in_namespace("a_bucket_is_made_versioned", async |namespace| {
        let running = registry::start(&namespace, "company", |object| {
            object["spec"]["storage"]["s3"]["prefix"] = json!("teams/one");
        })
        .await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("below-prefix", "0.1.0"))?;
        subject.developer()?.cargo(scratch.path(), "publish").await?.succeeded()?;
        let store = Store::of(Server::Honest).await?;
        ensure!(store.is_versioned(namespace.name()).await?, "the bucket is not versioned");
        let keys = store.keys(namespace.name(), "").await?;
        ensure!(keys.iter().all(|key| key.starts_with("teams/one/")), "keys outside of the prefix: {keys:#?}");
        ensure!(keys.iter().any(|key| key.contains("v1/crate/")), "no crate record: {keys:#?}");
        ensure!(
            registry::says(&namespace, "company", "BucketVersioned", "True", "Enforced").await.is_ok(),
            "the versioned bucket is not told"
        );
        Ok(())
    })
    .await
}

//! The operator comes and goes by its chart; registries serve on.

use anyhow::{Context, Result, ensure};
use supercargo_dev::paths;
use supercargo_tests::{
    cargo::Toolchain,
    kube,
    operator::{self, RELEASE, helm},
    registry,
    scratch::{Package, Scratch},
};

use crate::{
    turns::{alone, in_namespace},
    waves::{Wave, all_are_there},
};

fn chart() -> String {
    paths::workspace().join("charts/supercargo").display().to_string()
}

/// An upgrade that changes the operator's pods, in the middle of publishes.
#[tokio::test]
async fn helm_upgrade_leaves_registries_serving() -> Result<()> {
    in_namespace("helm_upgrade_leaves_registries", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let pods = names(&running).await?;
        let mut wave = Wave::start(&subject, "upgraded", 12);
        wave.reaches(3).await?;
        // Another annotation on the pods is what an upgrade to another version comes to.
        let mark = format!("podAnnotations.supercargo-tests/run={}", namespace.name());
        helm(&["upgrade", RELEASE, &chart(), "--reuse-values", "--set-string", &mark, "--wait"]).await?;
        operator::is_available(namespace.client()).await?;
        let ledger = wave.finish().await?;
        ensure!(ledger.failed.is_empty(), "publishes failed: {:#?}", ledger.failed);
        all_are_there(&subject, &running.base, &ledger.acknowledged).await?;
        ensure!(names(&running).await? == pods, "the registry's pods were replaced although nothing of theirs changed");
        // And it is the new operator that works: it rolls a change out.
        namespace.patch("CargoRegistry", "company", &serde_json::json!({"spec": {"replicas": 1}})).await?;
        running.rolled_out(1).await
    })
    .await
}

async fn names(running: &registry::Running) -> Result<Vec<String>> {
    let mut names: Vec<String> = running.pods().await?.into_iter().filter_map(|pod| pod.metadata.name).collect();
    names.sort();
    Ok(names)
}

/// Without an operator nothing is deleted, everything serves; and after another installation it is in charge again.
#[tokio::test]
async fn helm_uninstall_leaves_registries_serving() -> Result<()> {
    let _alone = alone().await;
    kube::in_namespace("helm_uninstall_leaves_registries", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        let subject = running.subject(Toolchain::Workspace).await?;
        let values = helm(&["get", "values", RELEASE, "--output", "yaml"]).await?;
        helm(&["uninstall", RELEASE, "--wait"]).await?;
        let reinstalled = async {
            ensure!(operator::deployment(namespace.client()).await?.is_none(), "the operator is still there");
            let pod = running.some_pod().await?.0;
            namespace.delete("Pod", &pod).await?;
            running.rolled_out(2).await?;
            let ledger = Wave::start(&subject, "alone", 4).finish().await?;
            all_are_there(&subject, &running.base, &ledger.acknowledged).await
        }
        .await;
        // Others need it, whatever was found.
        let file = Scratch::new()?;
        file.write("values.yaml", &values)?;
        let path = file.path().join("values.yaml").display().to_string();
        helm(&["install", RELEASE, &chart(), "--values", &path, "--wait"]).await?;
        reinstalled?;
        namespace.patch("CargoRegistry", "company", &serde_json::json!({"spec": {"replicas": 1}})).await?;
        running.rolled_out(1).await?;
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("after-reinstallation", "0.1.0"))?;
        subject.developer()?.cargo(scratch.path(), "publish").await?.succeeded()?;
        Ok(())
    })
    .await
    .context("helm uninstall")
}

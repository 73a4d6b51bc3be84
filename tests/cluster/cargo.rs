//! The Cargos that people have, against a registry on the cluster.

use anyhow::Result;
use supercargo_tests::{cargo::Toolchain, conformance, registry};

use crate::turns::in_namespace;

/// Every story of a developer, with the Cargo of this workspace.
#[tokio::test]
async fn cargo_does_all_it_can_do() -> Result<()> {
    in_namespace("cargo_does_all_it_can_do", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        conformance::all(&running.subject(Toolchain::Workspace).await?).await
    })
    .await
}

/// The same with the newest nightly that is installed; without one there is nothing to find out, which is said.
#[tokio::test]
async fn the_newest_nightly_does_all_it_can_do() -> Result<()> {
    let Some(nightly) = Toolchain::newest_nightly().await? else {
        eprintln!("no nightly toolchain is installed: nothing was tried");
        return Ok(());
    };
    in_namespace("the_newest_nightly_does_all_it_can_do", async |namespace| {
        let running = registry::start(&namespace, "company", |_| {}).await?;
        conformance::all(&running.subject(nightly).await?).await
    })
    .await
}

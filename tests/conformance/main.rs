//! The installed Cargo, and the newest nightly that is installed, against a registry on a directory in this process: every
//! story of `supercargo_tests::conformance` as a test of its own.

use anyhow::Result;
use supercargo_tests::{cargo::Toolchain, conformance, local::LocalRegistry};

macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $story() -> Result<()> {
                let local = LocalRegistry::start("").await?;
                let subject = local.subject(Toolchain::Workspace).await?;
                conformance::$story(&subject).await?;
                local.stop().await
            }
        )+
    };
}

stories! {
    names_of_every_length_and_case,
    twins_by_name_are_refused,
    every_kind_of_dependency,
    rust_version_guides_the_resolver,
    a_version_is_for_ever,
    missing_metadata_is_a_warning,
    yank_hides_from_new_locks_only,
    a_stranger_is_refused,
    login_then_publish,
    owners_come_and_go,
}

/// Without a nightly there is nothing to find out, which is said.
#[tokio::test]
async fn the_newest_nightly_gets_along_too() -> Result<()> {
    let Some(nightly) = Toolchain::newest_nightly().await? else {
        eprintln!("no nightly toolchain is installed: nothing was tried");
        return Ok(());
    };
    let local = LocalRegistry::start("").await?;
    conformance::all(&local.subject(nightly).await?).await?;
    local.stop().await
}

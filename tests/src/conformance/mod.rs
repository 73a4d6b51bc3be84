//! What every Cargo must be able to do with a registry, wherever the registry runs and whichever Cargo it is.
//!
//! Each function is one story of a developer, told in packages of its own names, so that all of them can be
//! told to one registry, at once or one after the other, but each only once.

mod access;
mod manifest;
mod names;
mod versions;

pub use access::{a_stranger_is_refused, login_then_publish, owners_come_and_go};
pub use manifest::{every_kind_of_dependency, rust_version_guides_the_resolver};
pub use names::{names_of_every_length_and_case, twins_by_name_are_refused};
pub use versions::{a_version_is_for_ever, missing_metadata_is_a_warning, yank_hides_from_new_locks_only};

use anyhow::Result;

use crate::cargo::{Home, Toolchain};

/// A registry as its users know it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The name it has in Cargo's configuration.
    pub registry: String,
    /// The index URL, with `sparse+`.
    pub index: String,
    /// A token that may do everything.
    pub token: String,
    /// The Cargo that its users have.
    pub toolchain: Toolchain,
}

impl Subject {
    /// The home of somebody with the token.
    pub fn developer(&self) -> Result<Home> {
        Home::with_registry(self.toolchain.clone(), &self.registry, &self.index, Some(&self.token))
    }

    /// The home of somebody who knows the URL and has no token.
    pub fn stranger(&self) -> Result<Home> {
        Home::with_registry(self.toolchain.clone(), &self.registry, &self.index, None)
    }

    /// A `[dependencies]` line on this registry.
    #[must_use]
    pub fn dependency(&self, name: &str, version: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        format!("{name} = {{ version = \"{version}\", registry = \"{}\"{comma}{more} }}", self.registry)
    }
}

/// Tell every story to one registry, each named when it fails.
pub async fn all(subject: &Subject) -> Result<()> {
    use anyhow::Context as _;
    names_of_every_length_and_case(subject).await.context("names_of_every_length_and_case")?;
    twins_by_name_are_refused(subject).await.context("twins_by_name_are_refused")?;
    every_kind_of_dependency(subject).await.context("every_kind_of_dependency")?;
    rust_version_guides_the_resolver(subject).await.context("rust_version_guides_the_resolver")?;
    a_version_is_for_ever(subject).await.context("a_version_is_for_ever")?;
    missing_metadata_is_a_warning(subject).await.context("missing_metadata_is_a_warning")?;
    yank_hides_from_new_locks_only(subject).await.context("yank_hides_from_new_locks_only")?;
    a_stranger_is_refused(subject).await.context("a_stranger_is_refused")?;
    login_then_publish(subject).await.context("login_then_publish")?;
    owners_come_and_go(subject).await.context("owners_come_and_go")
}

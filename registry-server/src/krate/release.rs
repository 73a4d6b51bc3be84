//! A version that may enter the index: its packed `Cargo.toml` is read and agrees with what Cargo said of it.

mod agree;
mod limits;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::index::{CRATES_IO_INDEX, IndexDependency};
use super::manifest::{ManifestError, PackedManifest};
use super::metadata::PublishMetadata;
use super::tarball::Unpacked;
use super::text::shown;
use super::{Cksum, CrateName, IndexEntry, Version};

pub use agree::Disagreement;
pub use limits::LimitError;

/// The index URLs of this registry, such as `sparse+https://crates.example.com/index/`. A dependency on one of them is a
/// dependency on this registry, which index lines write by leaving the registry out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnIndexUrls(Vec<String>);

impl OwnIndexUrls {
    /// These URLs; a trailing slash does not matter.
    pub fn new<T: Into<String>>(urls: impl IntoIterator<Item = T>) -> Self {
        Self(urls.into_iter().map(Into::into).collect())
    }

    fn contains(&self, url: &str) -> bool {
        self.0.iter().any(|own| same_index(own, url))
    }
}

fn same_index(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// A version that passed all checks which look at the upload alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    name: CrateName,
    version: Version,
    about: About,
    warnings: Vec<String>,
    deps: Vec<IndexDependency>,
    features: BTreeMap<String, Vec<String>>,
    links: Option<String>,
    rust_version: Option<String>,
}

/// What search and pages show of a crate: from the packed Cargo.toml of its newest version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `package.description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `package.keywords`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// `package.categories`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// `package.license`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// `package.homepage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// `package.documentation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// `package.repository`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Fields of a later version.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Release {
    /// Compares what Cargo said with what it packed. What goes into the index comes from the packed manifest; of the
    /// metadata only one thing is believed: that a registry named in the manifest is the one published to.
    ///
    /// # Errors
    /// [`ReleaseError`] names the field and both values.
    pub fn check(metadata: &PublishMetadata, unpacked: &Unpacked, own: &OwnIndexUrls) -> Result<Self, ReleaseError> {
        let manifest = PackedManifest::parse(&unpacked.manifest)?;
        limits::check(&manifest)?;
        let registries = agree::agree(metadata, &manifest)?;
        let deps = manifest.deps.iter().zip(registries).map(|(dep, registry)| IndexDependency {
            name: dep.name_in_toml.clone(),
            req: dep.req.to_string(),
            features: dep.features.clone(),
            optional: dep.optional,
            default_features: dep.default_features,
            target: dep.target.as_ref().map(ToString::to_string),
            kind: dep.kind,
            registry: registry.index_url(own),
            package: dep.package.clone(),
            public: dep.public.then_some(true),
            artifact: dep.artifact.clone(),
        });
        let deps = deps.collect();
        let warnings = warnings(&manifest);
        let PackedManifest { name, version, features, links, rust_version, description, keywords, .. } = manifest;
        let PackedManifest { categories, license, homepage, documentation, repository, .. } = manifest;
        let about = About {
            description,
            keywords,
            categories,
            license,
            homepage,
            documentation,
            repository,
            extra: Map::new(),
        };
        Ok(Self { name, version, about, warnings, deps, features, links, rust_version })
    }

    /// The crate, as its author spells it.
    #[must_use]
    pub fn name(&self) -> &CrateName {
        &self.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// What search and pages show of it.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What the publisher should know; Cargo prints each string if it is put into `warnings.other` of the reply.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The index line of this version, with the checksum of its bytes and the time of publishing.
    #[must_use]
    pub fn entry(&self, cksum: Cksum, at: Timestamp) -> IndexEntry {
        IndexEntry {
            name: self.name.clone(),
            vers: self.version.clone(),
            deps: self.deps.clone(),
            cksum,
            features: self.features.clone(),
            links: self.links.clone(),
            rust_version: self.rust_version.clone(),
            pubtime: at,
        }
    }
}

/// Where a dependency lives.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DependencyRegistry {
    /// In the registry that is published to: so Cargo says.
    This,
    /// On crates.io.
    CratesIo,
    /// In the registry with this index URL, which may be this one under a name that the client does not know.
    Index(String),
}

impl DependencyRegistry {
    /// What the index line says.
    fn index_url(self, own: &OwnIndexUrls) -> Option<String> {
        match self {
            Self::This => None,
            Self::CratesIo => Some(CRATES_IO_INDEX.to_owned()),
            Self::Index(url) if own.contains(&url) => None,
            Self::Index(url) => Some(url),
        }
    }
}

/// Things that are allowed and should not be so.
fn warnings(manifest: &PackedManifest) -> Vec<String> {
    let is_missing = |field: &Option<String>| field.as_deref().is_none_or(|text| text.trim().is_empty());
    let mut warnings = Vec::new();
    if is_missing(&manifest.description) {
        warnings.push("`package.description` is missing: `cargo search` has nothing to show of the crate".to_owned());
    }
    match &manifest.license {
        license if is_missing(license) && is_missing(&manifest.license_file) => warnings.push(
            "neither `package.license` nor `package.license-file` is set: nobody can tell how the crate may be used"
                .to_owned(),
        ),
        Some(license) if !is_missing(&manifest.license) => {
            // Lax: Cargo's older `MIT/Apache-2.0` is fine.
            if let Err(error) = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX) {
                warnings.push(format!(
                    "`package.license` is `{}`, which is not an SPDX expression ({}): see https://spdx.org/licenses",
                    shown(license),
                    error.reason
                ));
            }
        }
        _ => {}
    }
    warnings
}

/// Why upload and manifest do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The packed manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It says too much.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The two say different things.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
}

#[cfg(test)]
mod tests;

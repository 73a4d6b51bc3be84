//! One line of an index file, for a version that is being published.

use std::collections::BTreeMap;

use cargo_util_schemas::index::IndexPackage;
use jiff::Timestamp;
use serde::Serialize;

use crate::krate::{Cksum, CrateName, Version};

/// How an index line and a publish name crates.io, whatever protocol Cargo speaks to it (cargo, `SourceId::crates_io`).
pub const CRATES_IO_INDEX: &str = "https://github.com/rust-lang/crates.io-index";

/// A version, ready to become a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The crate, as its author spells it.
    pub name: CrateName,
    /// The version.
    pub vers: Version,
    /// All dependencies of all kinds, in any order; lines have them sorted.
    pub deps: Vec<IndexDependency>,
    /// SHA-256 of the `.crate` file.
    pub cksum: Cksum,
    /// The `[features]` table; [`IndexEntry::to_line`] splits it into `features` and `features2`.
    pub features: BTreeMap<String, Vec<String>>,
    /// `package.links`.
    pub links: Option<String>,
    /// `package.rust-version`.
    pub rust_version: Option<String>,
    /// When it was published; written to the second.
    pub pubtime: Timestamp,
}

/// A dependency in an index line. The fields stand in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexDependency {
    /// Its name in Cargo.toml: the alias if it is renamed. (In the JSON of a publish it is the other way round.)
    pub name: String,
    /// The version requirement, as the `semver` crate prints it.
    pub req: String,
    /// The features asked for.
    pub features: Vec<String>,
    /// Whether it is optional.
    pub optional: bool,
    /// Whether its default features are on.
    pub default_features: bool,
    /// The platform it is for: a target triple or `cfg(…)`.
    pub target: Option<String>,
    /// Normal, build or dev.
    pub kind: DependencyKind,
    /// The index URL of its registry; `None` is the registry of this index, [`CRATES_IO_INDEX`] is crates.io.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The real name if it is renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Part of the public interface (unstable in Cargo, RFC 1977); written only if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Kinds of artifacts wanted of it (unstable in Cargo, RFC 3028): makes the line one of version 3.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<IndexArtifact>,
}

/// What is special about an artifact dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexArtifact {
    /// `bin`, `bin:name`, `cdylib`, `staticlib`.
    pub artifact: Vec<String>,
    /// The platform to build it for: a triple, or `target`.
    pub bindep_target: Option<String>,
    /// Whether it is an ordinary dependency as well.
    pub lib: bool,
}

/// The kind of a dependency, in the order in which crates.io sorts equal names: old Cargos want normal ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DependencyKind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

impl DependencyKind {
    /// The word for it in index lines and in the JSON of a publish.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Build => "build",
            Self::Dev => "dev",
        }
    }
}

/// A line, its fields in the order of crates.io (`crates/crates_io_index/src/data.rs`).
#[derive(Serialize)]
struct Line<'a> {
    name: &'a CrateName,
    vers: &'a Version,
    deps: Vec<&'a IndexDependency>,
    cksum: &'a Cksum,
    features: BTreeMap<&'a str, &'a [String]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    features2: BTreeMap<&'a str, &'a [String]>,
    yanked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rust_version: Option<&'a str>,
    pubtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
}

impl IndexEntry {
    /// The line, with the newline at its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut deps: Vec<_> = self.deps.iter().collect();
        deps.sort_by(|one, other| one.rank().cmp(&other.rank()));
        let (features, features2) = self.split_features();
        let v = if self.deps.iter().any(|dep| dep.artifact.is_some()) {
            Some(3)
        } else {
            (!features2.is_empty()).then_some(2)
        };
        let line = Line {
            name: &self.name,
            vers: &self.vers,
            deps,
            cksum: &self.cksum,
            features,
            features2,
            yanked: false,
            links: self.links.as_deref(),
            rust_version: self.rust_version.as_deref(),
            pubtime: pubtime(self.pubtime),
            v,
        };
        let mut line = serde_json::to_string(&line).expect("an index line has string keys only");
        let read: IndexPackage<'_> = serde_json::from_str(&line).expect("Cargo's own type reads what is written");
        assert_eq!(
            (read.name.as_ref(), &read.vers, read.deps.len()),
            (self.name.as_str(), self.vers.as_semver(), self.deps.len())
        );
        line.push('\n');
        line
    }

    /// Features whose values are understood by every Cargo, and those that need Cargo 1.60 (`dep:`, `?/`) together with the
    /// features that turn them on. As crates.io splits them (`crates/crates_io_index/src/features.rs`, RFC 3143).
    #[expect(clippy::type_complexity, reason = "two borrowed feature tables, used once")]
    fn split_features(&self) -> (BTreeMap<&str, &[String]>, BTreeMap<&str, &[String]>) {
        let is_new = |value: &String| value.starts_with("dep:") || value.contains("?/");
        let all = self.features.iter().map(|(name, values)| (name.as_str(), values.as_slice()));
        let (mut features2, mut features): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, values)| values.iter().any(is_new));
        loop {
            let (moved, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut features)
                .into_iter()
                .partition(|(_, values)| values.iter().any(|value| features2.contains_key(value.as_str())));
            features = left;
            if moved.is_empty() {
                return (features, features2);
            }
            features2.extend(moved);
        }
    }
}

impl IndexDependency {
    /// What lines are sorted by, as on crates.io.
    fn rank(&self) -> impl Ord + '_ {
        let Self { name, req, features, optional, default_features, target, kind, registry, package, .. } = self;
        (name, kind, req, optional, default_features, target, package, registry, features)
    }
}

/// A time as `pubtime` wants it: `YYYY-MM-DDTHH:MM:SSZ`, exactly 20 bytes; Cargo drops the line otherwise. Fractions of
/// a second are cut off.
#[must_use]
pub fn pubtime(at: Timestamp) -> String {
    cargo_util_schemas::index::format_pubtime(at)
}

#[cfg(test)]
mod tests;

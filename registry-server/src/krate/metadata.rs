//! The JSON of a publish: what Cargo *says* about the crate. Nothing of it enters the index; it must agree with the packed
//! `Cargo.toml` ([`super::release`]).
//!
//! Fields as in `crates/crates-io/lib.rs`, `NewCrate` and `NewCrateDependency`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::name::{CrateName, NameError};
use super::version::{Version, VersionError};

/// Most dependencies of one version, of all kinds and for all platforms together.
pub const DEPENDENCIES_MAX: usize = 5000;

/// What `cargo publish` says about the crate. Unknown fields are ignored: newer Cargos add some.
#[derive(Debug, Clone, Deserialize)]
pub struct PublishMetadata {
    /// `package.name`.
    pub name: String,
    /// `package.version`.
    pub vers: String,
    /// All dependencies of all kinds, but for dev-dependencies without a version.
    pub deps: Vec<MetadataDependency>,
    /// The `[features]` table.
    #[serde(default)]
    pub features: BTreeMap<String, Vec<String>>,
    /// `package.license`.
    #[serde(default, deserialize_with = "stated")]
    pub license: Claim,
    /// `package.license-file`.
    #[serde(default, deserialize_with = "stated")]
    pub license_file: Claim,
    /// `package.links`.
    #[serde(default, deserialize_with = "stated")]
    pub links: Claim,
    /// `package.rust-version`. Cargo before 1.72 does not send it.
    #[serde(default, deserialize_with = "stated")]
    pub rust_version: Claim,
}

/// A field that old clients leave out: not mentioned, or stated as a value or as absent (`null`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Claim {
    /// The client does not know the field.
    #[default]
    Unmentioned,
    /// The client says what it is, and `None` that it is not set.
    Stated(Option<String>),
}

fn stated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Claim, D::Error> {
    Option::deserialize(deserializer).map(Claim::Stated)
}

/// A dependency as `cargo publish` says it.
#[derive(Debug, Clone, Deserialize)]
pub struct MetadataDependency {
    /// The **real** name of the dependency, also when it is renamed.
    pub name: String,
    /// The version requirement, as the `semver` crate prints it (`^1.2`).
    pub version_req: String,
    /// The features asked for.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether it is optional.
    #[serde(default)]
    pub optional: bool,
    /// Whether its default features are on.
    #[serde(default = "yes")]
    pub default_features: bool,
    /// The platform it is for.
    #[serde(default)]
    pub target: Option<String>,
    /// `normal`, `dev` or `build`; absent means normal.
    #[serde(default)]
    pub kind: Option<String>,
    /// The index URL of its registry, `None` if it is the registry that is published to.
    #[serde(default)]
    pub registry: Option<String>,
    /// The name in Cargo.toml if that differs from `name`.
    #[serde(default)]
    pub explicit_name_in_toml: Option<String>,
    /// Kinds of artifacts (unstable in Cargo).
    #[serde(default)]
    pub artifact: Option<Vec<String>>,
    /// Platform of the artifacts (unstable in Cargo).
    #[serde(default)]
    pub bindep_target: Option<String>,
    /// Whether an artifact dependency is an ordinary one too (unstable in Cargo).
    #[serde(default)]
    pub lib: bool,
}

fn yes() -> bool {
    true
}

impl PublishMetadata {
    /// Reads the JSON, and the name and version in it. A new crate's name must further pass
    /// [`CrateName::check_reserved`].
    ///
    /// # Errors
    /// Not JSON of this form, or the name or version breaks its rules.
    pub fn parse(json: &[u8]) -> Result<(Self, CrateName, Version), MetadataError> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| MetadataError::Json(error.to_string()))?;
        if metadata.deps.len() > DEPENDENCIES_MAX {
            return Err(MetadataError::TooManyDependencies { count: metadata.deps.len() });
        }
        let name = CrateName::parse(&metadata.name)?;
        let version = Version::parse(&metadata.vers)?;
        Ok((metadata, name, version))
    }
}

/// Why the metadata is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Not JSON, or not of Cargo's form.
    #[error("the metadata of the publish is not what Cargo sends: {0}")]
    Json(String),
    /// More than [`DEPENDENCIES_MAX`].
    #[error("the crate has {count} dependencies: at most {DEPENDENCIES_MAX} are allowed")]
    TooManyDependencies {
        /// How many.
        count: usize,
    },
    /// The name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The version.
    #[error(transparent)]
    Version(#[from] VersionError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_text() {
        for (json, part) in [
            (&b"nonsense"[..], "not what Cargo sends: expected"),
            (b"{\"name\":\"a\xff\"}", "not what Cargo sends: invalid unicode"),
            (br#"{"name":"a","vers":"1.0.0"}"#, "missing field `deps`"),
            (br#"{"name":"a","vers":"1.0.0","deps":[{"name":"b"}]}"#, "missing field `version_req`"),
            (br#"{"name":"9","vers":"1.0.0","deps":[]}"#, "must start with an ASCII letter"),
            (br#"{"name":"a","vers":"1","deps":[]}"#, "`1` is not a semantic version"),
            (br#"{"name":"a","vers":"1.0.0","deps":[]} x"#, "trailing characters"),
        ] {
            let error = PublishMetadata::parse(json).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn depth_takes_no_stack() {
        let nested = |field: &str| {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            format!(r#"{{"name":"a","vers":"1.0.0","deps":[],"{field}":{open}{close}}}"#)
        };
        // What is ignored is skipped without descending into it; what is read has a type, and no type here is deep.
        PublishMetadata::parse(nested("unknown").as_bytes()).expect("newer Cargos send more");
        let error = PublishMetadata::parse(nested("license").as_bytes()).unwrap_err().to_string();
        assert!(error.contains("invalid type: sequence"), "{error}");
    }

    #[test]
    fn absent_null_and_set_are_three_things() {
        let json = br#"{"name":"a","vers":"1.0.0","deps":[],"license":null,"links":"z","badges":{},"new_field":1}"#;
        let (metadata, name, version) = PublishMetadata::parse(json).unwrap();
        assert_eq!((name.as_str(), version.to_string().as_str()), ("a", "1.0.0"));
        assert_eq!(metadata.license, Claim::Stated(None));
        assert_eq!(metadata.links, Claim::Stated(Some("z".into())));
        assert_eq!(metadata.rust_version, Claim::Unmentioned);
    }
}

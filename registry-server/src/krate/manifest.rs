//! The packed `Cargo.toml`: what the index and the pages say of a version comes from here and from nowhere else.
//!
//! Cargo packs a normalised manifest (`src/cargo/util/toml/mod.rs`, `prepare_toml_for_publish`): workspace inheritance is
//! resolved, `path` and `git` are gone, `registry` has become `registry-index`, dev-dependencies without a version are
//! left out. A manifest that is not so was not packed by Cargo, and what cannot be read without guessing is refused.

use std::collections::BTreeMap;

use cargo_platform::Platform;
use cargo_util_schemas::manifest::{
    InheritableDependency, PackageName, TomlDependency, TomlDetailedDependency, TomlManifest, TomlPackage,
    UnresolvedError,
};

use super::text::shown;

use super::index::{DependencyKind, IndexArtifact};
use super::name::NameError;
use super::version::VersionError;
use super::{CrateName, Version, platform};

/// What is taken from a packed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedManifest {
    /// `package.name`.
    pub name: CrateName,
    /// `package.version`.
    pub version: Version,
    /// The dependencies of all tables; without dev-dependencies that have no version, which Cargo does not publish.
    pub deps: Vec<PackedDependency>,
    /// The `[features]` table.
    pub features: BTreeMap<String, Vec<String>>,
    /// `package.links`.
    pub links: Option<String>,
    /// `package.rust-version`.
    pub rust_version: Option<String>,
    /// `package.license`.
    pub license: Option<String>,
    /// `package.license-file`.
    pub license_file: Option<String>,
    /// `package.description`.
    pub description: Option<String>,
    /// `package.keywords`.
    pub keywords: Vec<String>,
    /// `package.categories`.
    pub categories: Vec<String>,
    /// `package.homepage`.
    pub homepage: Option<String>,
    /// `package.documentation`.
    pub documentation: Option<String>,
    /// `package.repository`.
    pub repository: Option<String>,
}

/// A dependency in a packed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedDependency {
    /// Its key in the table: the alias if it is renamed.
    pub name_in_toml: String,
    /// `package`: the real name if it is renamed.
    pub package: Option<String>,
    /// `version`, parsed.
    pub req: semver::VersionReq,
    /// `features`.
    pub features: Vec<String>,
    /// `optional`.
    pub optional: bool,
    /// `default-features`.
    pub default_features: bool,
    /// The `[target.…]` it stands under, parsed by Cargo's own parser.
    pub target: Option<Platform>,
    /// The table it stands in.
    pub kind: DependencyKind,
    /// `registry-index`; without it the dependency is on crates.io.
    pub registry_index: Option<String>,
    /// `public` (unstable in Cargo).
    pub public: bool,
    /// `artifact`, `target` and `lib` (unstable in Cargo).
    pub artifact: Option<IndexArtifact>,
}

impl PackedManifest {
    /// Reads a packed manifest.
    ///
    /// # Errors
    /// [`ManifestError`]: not a manifest, or not one that Cargo packs.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let toml: TomlManifest =
            toml::from_str(text).map_err(|error| ManifestError::Toml(shown_lines(&error.to_string())))?;
        if toml.patch.as_ref().is_some_and(|patch| !patch.is_empty())
            || toml.replace.as_ref().is_some_and(|replace| !replace.is_empty())
        {
            return Err(ManifestError::Patch);
        }
        let package = toml.package().ok_or(ManifestError::NoPackage)?;
        let mut deps = Vec::new();
        let no_target = None;
        let tables = [
            (DependencyKind::Normal, toml.dependencies.as_ref()),
            (DependencyKind::Build, toml.build_dependencies()),
            (DependencyKind::Dev, toml.dev_dependencies()),
        ];
        for (kind, table) in tables {
            read_table(&mut deps, &no_target, kind, table)?;
        }
        for (target, tables) in toml.target.iter().flatten() {
            let platform = platform::parse(target)
                .map_err(|error| ManifestError::Target { target: shown(target), why: shown(&error.to_string()) })?;
            let platform = Some(platform);
            read_table(&mut deps, &platform, DependencyKind::Normal, tables.dependencies.as_ref())?;
            read_table(&mut deps, &platform, DependencyKind::Build, tables.build_dependencies())?;
            read_table(&mut deps, &platform, DependencyKind::Dev, tables.dev_dependencies())?;
        }
        let features = toml.features().cloned().unwrap_or_default();
        let features = features.into_iter().map(|(name, values)| (name.to_string(), values)).collect();
        Self::read_package(package, deps, features)
    }

    fn read_package(
        package: &TomlPackage,
        deps: Vec<PackedDependency>,
        features: BTreeMap<String, Vec<String>>,
    ) -> Result<Self, ManifestError> {
        let owned = |text: Option<&String>| text.cloned();
        let list = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
        let version = resolved("package.version", package.normalized_version())?.ok_or(ManifestError::NoVersion)?;
        Ok(Self {
            name: CrateName::parse(resolved("package.name", package.normalized_name())?)?,
            version: Version::parse(&version.to_string())?,
            deps,
            features,
            links: package.links.clone(),
            rust_version: resolved("package.rust-version", package.normalized_rust_version())?.map(ToString::to_string),
            license: owned(resolved("package.license", package.normalized_license())?),
            license_file: owned(resolved("package.license-file", package.normalized_license_file())?),
            description: owned(resolved("package.description", package.normalized_description())?),
            keywords: list(resolved("package.keywords", package.normalized_keywords())?),
            categories: list(resolved("package.categories", package.normalized_categories())?),
            homepage: owned(resolved("package.homepage", package.normalized_homepage())?),
            documentation: owned(resolved("package.documentation", package.normalized_documentation())?),
            repository: owned(resolved("package.repository", package.normalized_repository())?),
        })
    }
}

type Table = BTreeMap<PackageName, InheritableDependency>;

fn read_table(
    deps: &mut Vec<PackedDependency>,
    target: &Option<Platform>,
    kind: DependencyKind,
    table: Option<&Table>,
) -> Result<(), ManifestError> {
    for (name, dependency) in table.into_iter().flatten() {
        let detailed = match resolved(name, dependency.normalized())? {
            TomlDependency::Simple(version) => {
                TomlDetailedDependency { version: Some(version.clone()), ..TomlDetailedDependency::default() }
            }
            TomlDependency::Detailed(detailed) => detailed.clone(),
        };
        deps.extend(read_dependency(name, detailed, target.clone(), kind)?);
    }
    Ok(())
}

fn read_dependency(
    name: &PackageName,
    toml: TomlDetailedDependency,
    target: Option<Platform>,
    kind: DependencyKind,
) -> Result<Option<PackedDependency>, ManifestError> {
    let dependency = || name.to_string();
    let Some(version) = &toml.version else {
        return if kind == DependencyKind::Dev {
            Ok(None)
        } else {
            Err(ManifestError::NoRequirement { dependency: dependency() })
        };
    };
    let req = semver::VersionReq::parse(version).map_err(|error| ManifestError::Requirement {
        dependency: dependency(),
        req: shown(version),
        why: error.to_string(),
    })?;
    if let Some(registry) = &toml.registry {
        return Err(ManifestError::RegistryName { dependency: dependency(), registry: registry.to_string() });
    }
    let artifact = toml.artifact.clone().map(|kinds| IndexArtifact {
        artifact: kinds.0,
        bindep_target: toml.target.clone(),
        lib: toml.lib.unwrap_or(false),
    });
    Ok(Some(PackedDependency {
        name_in_toml: dependency(),
        package: toml.package.as_ref().map(ToString::to_string).filter(|real| *real != dependency()),
        req,
        optional: toml.optional.unwrap_or(false),
        default_features: toml.default_features().unwrap_or(true),
        features: toml.features.unwrap_or_default(),
        target,
        kind,
        registry_index: toml.registry_index,
        public: toml.public.unwrap_or(false),
        artifact,
    }))
}

/// Why the packed `Cargo.toml` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or not a manifest.
    #[error("the packed Cargo.toml is not a manifest: {0}")]
    Toml(String),
    /// A virtual one.
    #[error("the packed Cargo.toml has no `[package]`: publish a member of the workspace, not its root")]
    NoPackage,
    /// No version.
    #[error("the packed Cargo.toml has no `package.version`")]
    NoVersion,
    /// `field.workspace = true`.
    #[error(
        "in the packed Cargo.toml, `{field}` is left to the workspace: `cargo package` would have put the value there; \
             pack it again with it"
    )]
    Inherited {
        /// Which.
        field: String,
    },
    /// `[patch]` or `[replace]`, which would act on whoever installs the crate.
    #[error("the packed Cargo.toml has a `[patch]` or `[replace]` table, which a published crate must not have")]
    Patch,
    /// The name.
    #[error("in the packed Cargo.toml, {0}")]
    Name(#[from] NameError),
    /// The version.
    #[error("in the packed Cargo.toml, {0}")]
    Version(#[from] VersionError),
    /// A `[target.…]` key.
    #[error("in the packed Cargo.toml, `[target.'{target}']` cannot be used: {why}")]
    Target {
        /// The key.
        target: String,
        /// What is wrong with it.
        why: String,
    },
    /// A dependency without version.
    #[error(
        "in the packed Cargo.toml, the dependency `{dependency}` has no version: all but dev-dependencies need one to be \
             published"
    )]
    NoRequirement {
        /// Its name in Cargo.toml.
        dependency: String,
    },
    /// A version requirement.
    #[error("in the packed Cargo.toml, the dependency `{dependency}` has the version requirement `{req}`: {why}")]
    Requirement {
        /// Its name in Cargo.toml.
        dependency: String,
        /// The requirement.
        req: String,
        /// What the parser says.
        why: String,
    },
    /// `registry = "name"`, which means something else on every machine.
    #[error(
        "in the packed Cargo.toml, the dependency `{dependency}` names its registry `{registry}`: `cargo package` would \
             have written its address as `registry-index`; pack it again with it"
    )]
    RegistryName {
        /// Its name in Cargo.toml.
        dependency: String,
        /// The name of the registry.
        registry: String,
    },
}

/// The value of a field that the workspace may not be asked for any more.
fn resolved<T>(field: &str, value: Result<T, UnresolvedError>) -> Result<T, ManifestError> {
    value.map_err(|_| ManifestError::Inherited { field: field.to_owned() })
}

/// A message of several lines, such as the TOML parser's with its excerpt.
fn shown_lines(text: &str) -> String {
    text.trim_end().lines().take(8).map(shown).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;

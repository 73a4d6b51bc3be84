//! The JSON of the publish against the packed `Cargo.toml`, field by field.

use cargo_platform::Platform;

use super::{DependencyRegistry, same_index};
use crate::krate::index::{CRATES_IO_INDEX, DependencyKind};
use crate::krate::manifest::{PackedDependency, PackedManifest};
use crate::krate::metadata::{Claim, MetadataDependency, PublishMetadata};
use crate::krate::platform;
use crate::krate::text::shown;

/// The packed `Cargo.toml` and the metadata of the publish say different things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the packed Cargo.toml and the metadata of the publish disagree on {what}: {packed} in Cargo.toml, {said} in the \
         metadata; publish with `cargo publish`, which makes both from one source"
)]
pub struct Disagreement {
    /// What they disagree on, such as `package.license` or a field of a dependency.
    pub what: String,
    /// What the packed manifest says.
    pub packed: String,
    /// What the metadata says.
    pub said: String,
}

fn disagree(what: impl Into<String>, packed: impl Into<String>, said: impl Into<String>) -> Disagreement {
    Disagreement { what: what.into(), packed: shown(&packed.into()), said: shown(&said.into()) }
}

/// Compares all that index and pages use. Gives the registry of each dependency, in the order of the manifest's.
pub(super) fn agree(
    metadata: &PublishMetadata,
    manifest: &PackedManifest,
) -> Result<Vec<DependencyRegistry>, Disagreement> {
    text("`package.name`", manifest.name.as_str(), &metadata.name)?;
    text("`package.version`", &manifest.version.to_string(), &metadata.vers)?;
    claim("`package.license`", manifest.license.as_ref(), &metadata.license)?;
    claim("`package.links`", manifest.links.as_ref(), &metadata.links)?;
    claim("`package.rust-version`", manifest.rust_version.as_ref(), &metadata.rust_version)?;
    license_file(manifest.license_file.as_ref(), &metadata.license_file)?;
    features(manifest, metadata)?;
    dependencies(manifest, metadata)
}

fn text(what: &str, packed: &str, said: &str) -> Result<(), Disagreement> {
    if packed == said { Ok(()) } else { Err(disagree(what, format!("`{packed}`"), format!("`{said}`"))) }
}

fn optional(value: Option<&String>) -> String {
    value.map_or_else(|| "not set".to_owned(), |text| format!("`{text}`"))
}

fn claim(what: &str, packed: Option<&String>, said: &Claim) -> Result<(), Disagreement> {
    match said {
        Claim::Stated(said) if said.as_ref() != packed => {
            Err(disagree(what, optional(packed), optional(said.as_ref())))
        }
        _ => Ok(()),
    }
}

/// A licence file outside the package is packed into its root, and Cargo before 1.84 still says where it came from.
fn license_file(packed: Option<&String>, said: &Claim) -> Result<(), Disagreement> {
    let file_name = |path: &String| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    match said {
        Claim::Stated(Some(said)) if packed.map(file_name) == Some(file_name(said)) => Ok(()),
        _ => claim("`package.license-file`", packed, said),
    }
}

fn features(manifest: &PackedManifest, metadata: &PublishMetadata) -> Result<(), Disagreement> {
    let list = |values: Option<&Vec<String>>| match values {
        None => "not there".to_owned(),
        Some(values) => format!("[{}]", values.join(", ")),
    };
    let names = manifest.features.keys().chain(metadata.features.keys());
    for name in names {
        let (packed, said) = (manifest.features.get(name), metadata.features.get(name));
        if packed != said {
            return Err(disagree(format!("the feature `{}`", shown(name)), list(packed), list(said)));
        }
    }
    Ok(())
}

fn dependencies(
    manifest: &PackedManifest,
    metadata: &PublishMetadata,
) -> Result<Vec<DependencyRegistry>, Disagreement> {
    let mut said: Vec<_> = metadata.deps.iter().map(Said::read).collect::<Result<_, _>>()?;
    let mut registries = Vec::with_capacity(manifest.deps.len());
    for packed in &manifest.deps {
        let compared: Vec<_> = said.iter().map(|said| said.is_for(packed).then(|| said.agrees_with(packed))).collect();
        let found = compared.iter().position(|result| matches!(result, Some(Ok(_))));
        let Some(place) = found.or_else(|| compared.iter().position(Option::is_some)) else {
            return Err(disagree(describe(packed), "there", "not there"));
        };
        registries.extend(compared.into_iter().nth(place).flatten().transpose()?);
        said.swap_remove(place);
    }
    match said.first() {
        None => Ok(registries),
        Some(more) => {
            let target = more.target.as_ref().map_or_else(String::new, |target| format!(" for {target}"));
            let kind = more.kind.as_str();
            let what = format!("the {kind} dependency `{}`{target}", shown(more.name_in_toml));
            Err(disagree(what, "not there", "there"))
        }
    }
}

fn describe(dep: &PackedDependency) -> String {
    let target = dep.target.as_ref().map_or_else(String::new, |target| format!(" for {target}"));
    format!("the {} dependency `{}`{target}", dep.kind.as_str(), shown(&dep.name_in_toml))
}

/// A dependency of the metadata, with what must be parsed before it can be compared.
struct Said<'a> {
    metadata: &'a MetadataDependency,
    name_in_toml: &'a str,
    kind: DependencyKind,
    target: Option<Platform>,
    req: semver::VersionReq,
}

impl<'a> Said<'a> {
    fn read(metadata: &'a MetadataDependency) -> Result<Self, Disagreement> {
        let name_in_toml = metadata.explicit_name_in_toml.as_deref().unwrap_or(&metadata.name);
        let bad = |field: &str, value: &str, expected: &str| {
            disagree(
                format!("the {field} of the dependency `{}`", shown(name_in_toml)),
                expected,
                format!("`{}`", shown(value)),
            )
        };
        let kinds = [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Dev];
        let kind_said = metadata.kind.as_deref().unwrap_or("normal");
        let kind = kinds.into_iter().find(|kind| kind.as_str() == kind_said);
        let target = metadata
            .target
            .as_deref()
            .map(|target| platform::parse(target).map_err(|error| bad("target", target, &error.expected())));
        let req = semver::VersionReq::parse(&metadata.version_req);
        Ok(Self {
            metadata,
            name_in_toml,
            kind: kind.ok_or_else(|| bad("kind", kind_said, "`normal`, `build` or `dev`"))?,
            target: target.transpose()?,
            req: req.map_err(|_| bad("version requirement", &metadata.version_req, "a version requirement"))?,
        })
    }

    /// Whether both speak of the same entry of a dependency table.
    fn is_for(&self, packed: &PackedDependency) -> bool {
        self.name_in_toml == packed.name_in_toml && self.kind == packed.kind && self.target == packed.target
    }

    fn agrees_with(&self, packed: &PackedDependency) -> Result<DependencyRegistry, Disagreement> {
        let what = |field: &str| format!("the {field} of {}", describe(packed));
        let same = |field: &str, packed: &str, said: &str| text(&what(field), packed, said);
        let real_name = packed.package.as_ref().unwrap_or(&packed.name_in_toml);
        same("package name", real_name, &self.metadata.name)?;
        same("version requirement", &packed.req.to_string(), &self.req.to_string())?;
        same("`optional`", &packed.optional.to_string(), &self.metadata.optional.to_string())?;
        same("`default-features`", &packed.default_features.to_string(), &self.metadata.default_features.to_string())?;
        same("features", &sorted(&packed.features), &sorted(&self.metadata.features))?;
        let artifact = packed.artifact.as_ref();
        let kinds = artifact.map(|artifact| artifact.artifact.as_slice()).unwrap_or_default();
        same("artifacts", &sorted(kinds), &sorted(self.metadata.artifact.as_deref().unwrap_or_default()))?;
        let lib = artifact.is_some_and(|artifact| artifact.lib);
        same("`lib`", &lib.to_string(), &self.metadata.lib.to_string())?;
        let bindep_target = artifact.and_then(|artifact| artifact.bindep_target.as_ref());
        same("artifact target", &optional(bindep_target), &optional(self.metadata.bindep_target.as_ref()))?;
        self.registry(packed).ok_or_else(|| {
            let in_toml = packed.registry_index.as_deref().unwrap_or(CRATES_IO_INDEX);
            let said = self.metadata.registry.as_deref().unwrap_or("the registry that is published to");
            disagree(what("registry"), in_toml, said)
        })
    }

    /// In Cargo.toml no registry means crates.io, in the metadata the registry that is published to. Only Cargo knows
    /// under which URL it reached this one, so its word counts when it says that a URL is ours.
    fn registry(&self, packed: &PackedDependency) -> Option<DependencyRegistry> {
        let packed = packed.registry_index.as_deref().unwrap_or(CRATES_IO_INDEX);
        let is_crates_io = same_index(packed, CRATES_IO_INDEX);
        match self.metadata.registry.as_deref() {
            None if is_crates_io => None,
            None => Some(DependencyRegistry::This),
            Some(said) if !same_index(said, packed) => None,
            Some(_) if is_crates_io => Some(DependencyRegistry::CratesIo),
            Some(_) => Some(DependencyRegistry::Index(packed.to_owned())),
        }
    }
}

fn sorted(list: &[String]) -> String {
    let mut list = list.to_vec();
    list.sort();
    list.join(", ")
}

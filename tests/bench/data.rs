//! What the registries hold: thousands of crates shaped like those of the public index, made from one seed.
//!
//! The number of versions follows a table of quantiles, lines have about 540 bytes, as on crates.io. Crate files exist of the newest
//! version only: of the others nobody asks for more than the index line, and a hundred thousand files would take minutes to write.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use supercargo_registry::{
    krate::{
        Cksum, CrateName, Owner, Record, Release,
        metadata::PublishMetadata,
        packed::Packed,
        record::{Change, NewVersion, OpId},
        release::OwnIndexUrls,
        tarball::Unpacked,
    },
    store::{Body, Cond, FileStore, Key, KeyPrefix, Put, Sha256Digest, Store, Ulid},
};

/// How many crates there are.
pub(crate) const CRATES: usize = 5_000;
/// How many of them form the graph that `cargo fetch` gets.
pub(crate) const GRAPH: usize = 500;
/// A crate with one version.
pub(crate) const SMALL: &str = "bench-small";
/// A crate with a hundred.
pub(crate) const LARGE: &str = "bench-large";
/// A crate with two thousand.
pub(crate) const VAST: &str = "bench-vast";
/// What `VAST` has.
pub(crate) const VAST_VERSIONS: usize = 2_000;

/// As Cargo writes the registry of a dependency into what it packs; the metadata beside it says that it is the one published to.
const INDEX: &str = "sparse+http://127.0.0.1/index/";
/// Versions per crate, by tenths of all crates.
const VERSIONS: [usize; 11] = [1, 2, 5, 9, 14, 20, 28, 40, 60, 100, 250];
/// Length of a crate file, in bytes, by tenths of all crate files.
const FILE_BYTES: [usize; 11] =
    [1_000, 4_000, 8_000, 12_000, 20_000, 32_000, 50_000, 80_000, 140_000, 262_000, 1_000_000];

/// One crate.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) name: String,
    /// How many versions it has: 1.0.0, 1.1.0, …
    pub(crate) versions: usize,
    /// What it needs to build: all of these have a crate file.
    needs: Vec<String>,
    /// Length of the file of the newest version, in bytes; none is written if it is `None`.
    file_bytes: Option<usize>,
    seed: u64,
}

/// A crate as it is stored.
pub(crate) struct Made {
    pub(crate) name: CrateName,
    pub(crate) record: Record,
    /// The file of the newest version, with its key.
    pub(crate) file: Option<(Key, Vec<u8>)>,
    pub(crate) newest: String,
}

/// All crates.
pub(crate) fn plans() -> Vec<Plan> {
    let mut rng = StdRng::seed_from_u64(17);
    let mut plans: Vec<Plan> = (0..CRATES - 3)
        .map(|number| {
            let in_graph = number < GRAPH;
            let children = [2 * number + 1, 2 * number + 2].into_iter().filter(|child| *child < GRAPH && in_graph);
            Plan {
                name: name(number),
                versions: quantile(&VERSIONS, &mut rng),
                needs: children.map(name).collect(),
                file_bytes: in_graph.then(|| quantile(&FILE_BYTES, &mut rng)),
                seed: rng.random(),
            }
        })
        .collect();
    for (name, versions, file_bytes) in [(SMALL, 1, 5_000), (LARGE, 100, 5_000_000), (VAST, VAST_VERSIONS, 100_000_000)]
    {
        let seed = rng.random();
        plans.push(Plan { name: name.to_owned(), versions, needs: Vec::new(), file_bytes: Some(file_bytes), seed });
    }
    plans
}

/// The root of the graph.
pub(crate) fn root() -> String {
    name(0)
}

/// A word or two and a number, as names are.
fn name(number: usize) -> String {
    const FIRST: [&str; 12] =
        ["async", "tiny", "fast", "core", "data", "http", "json", "log", "net", "proto", "test", "web"];
    const SECOND: [&str; 10] =
        ["api", "cache", "client", "codec", "derive", "error", "macros", "pool", "stream", "utils"];
    format!("{}-{}-{number}", FIRST[number % FIRST.len()], SECOND[number / FIRST.len() % SECOND.len()])
}

fn quantile(table: &[usize; 11], rng: &mut impl Rng) -> usize {
    let at = rng.random_range(0.0..10.0_f64);
    let (low, share) = (at.floor() as usize, at.fract());
    let (from, to) = (table[low] as f64, table[low + 1] as f64);
    (from + (to - from) * share) as usize
}

impl Plan {
    /// The newest version.
    pub(crate) fn newest(&self) -> String {
        format!("1.{}.0", self.versions - 1)
    }

    /// The crate of one version as Cargo would send it, without what makes its file long.
    pub(crate) fn packed(&self, version: &str) -> Packed {
        let mut packed = Packed::new(&self.name, version);
        let about = format!("The {} part of a company's services, in version {version}", self.name.replace('-', " "));
        packed.manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"{about}\"\nlicense = \"MIT\"\n\
             keywords = [\"company\", \"services\"]\n",
            self.name
        );
        packed.metadata["description"] = about.into();
        packed.metadata["keywords"] = json!(["company", "services"]);
        let optional = ["serde-like", "tracing-like", "tokio-like"].map(str::to_owned);
        let mut deps = Vec::new();
        for (need, is_optional) in
            self.needs.iter().map(|need| (need, false)).chain(optional.iter().map(|need| (need, true)))
        {
            let kind = format!(
                "[dependencies.{need}]\nversion = \"1\"\noptional = {is_optional}\nregistry-index = \"{INDEX}\"\n"
            );
            packed.manifest.push_str(&kind);
            deps.push(json!({
                "name": need, "version_req": "^1", "features": [], "optional": is_optional, "default_features": true,
                "target": null, "kind": "normal", "registry": null, "explicit_name_in_toml": null
            }));
        }
        packed.metadata["deps"] = deps.into();
        packed
    }

    /// The newest version with all of its file, which is about as long as planned. What fills it hardly compresses.
    pub(crate) fn newest_packed(&self) -> Packed {
        let mut rng = StdRng::seed_from_u64(!self.seed);
        // 94 characters carry 6.55 bits each.
        let length = self.file_bytes.unwrap_or_default() * 6 / 5;
        let text: String = (0..length).map(|_| rng.random_range(b'!'..=b'~') as char).collect();
        self.packed(&self.newest()).with_source(&format!("// {text}\npub fn f() {{}}\n"))
    }

    /// Makes the record, and the newest version's file.
    fn make(&self) -> Result<Made> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        let name = CrateName::parse(&self.name)?;
        let owner = Owner::parse("bench")?;
        let change = Change { op: OpId::generate(&mut rng), actor: owner.clone(), at: "2026-01-01T00:00:00Z".parse()? };
        let file = self.file_bytes.is_some().then(|| self.newest_packed().krate());
        let releases = (0..self.versions)
            .map(|number| {
                let packed = self.packed(&format!("1.{number}.0"));
                let (metadata, ..) = PublishMetadata::parse(packed.metadata.to_string().as_bytes())?;
                let unpacked = Unpacked { manifest: packed.manifest, files: 2, bytes: 1000 };
                Ok(Release::check(&metadata, &unpacked, &OwnIndexUrls::default())?)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut versions = Vec::new();
        let mut stored = None;
        for (number, release) in releases.iter().enumerate() {
            let newest = file.as_ref().filter(|_| number + 1 == self.versions);
            let sha256 = newest
                .map_or_else(|| Sha256Digest::of(format!("{name} {number}").as_bytes()), |file| Sha256Digest::of(file));
            let attempt = Ulid::from(rng.random::<u128>());
            let blob = Key::blob(name.canonical().as_str(), release.version().as_semver(), sha256, attempt)?;
            let size = newest.map_or(10_000, Vec::len) as u64;
            versions.push(NewVersion {
                release,
                cksum: Cksum::from_bytes(*sha256.as_bytes()),
                size,
                blob: blob.to_string(),
            });
            stored = newest.map(|file| (blob, file.clone()));
        }
        let mut record = Record::new(name.clone(), [owner].into());
        let _ = record.insert_versions(&versions, &change)?;
        Ok(Made { name, record, file: stored, newest: self.newest() })
    }
}

/// Makes all crates and hands each to `keep`, on all cores.
pub(crate) fn make_all(plans: &[Plan], keep: impl Fn(Made) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = plan.make().and_then(&keep) {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(error.context(format!("making the crate {}", plan.name)));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Writes a crate as a registry on files keeps it. The directory must not be in use.
pub(crate) fn store(store: &FileStore, runtime: &tokio::runtime::Handle, made: &Made) -> Result<()> {
    let record = Key::krate(made.name.canonical().as_str())?;
    let mut objects = vec![(record, made.record.to_bytes())];
    objects.extend(made.file.iter().map(|(key, bytes)| (key.clone(), bytes.clone().into())));
    for (key, bytes) in objects {
        match runtime.block_on(store.put(&key, Body::Bytes(bytes), Cond::Absent)) {
            Put::Stored(_) => {}
            other => bail!("{key}: {other:?}"),
        }
    }
    Ok(())
}

/// A store on this directory.
pub(crate) fn file_store(directory: &Path) -> Result<FileStore> {
    FileStore::open(directory, KeyPrefix::default()).context("opening the directory of a registry")
}

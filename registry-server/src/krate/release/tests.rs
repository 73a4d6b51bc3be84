//! Uploads as the real `cargo publish` sent them, whole; then the same with one thing changed.

use bytes::Bytes;

use super::*;
use crate::krate::metadata::Claim;
use crate::krate::publish_body::{BodyEvent, BodyLimits, BodyParser};
use crate::krate::tarball::TarballLimits;

const THIS: &str = "sparse+http://127.0.0.1:18099/index/";

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/publish/", $name))
    };
}

fn own() -> OwnIndexUrls {
    OwnIndexUrls::new([THIS])
}

/// Metadata and crate of a captured body.
fn split(body: &'static [u8]) -> (Bytes, Bytes) {
    let mut parser = BodyParser::new(BodyLimits { metadata_bytes_max: 1 << 20, crate_bytes_max: 1 << 20 });
    let mut chunk = Bytes::from_static(body);
    let (mut metadata, mut krate) = (Bytes::new(), Bytes::new());
    while let Some(event) = parser.next(&mut chunk).unwrap() {
        match event {
            BodyEvent::Metadata(bytes) => metadata = bytes,
            BodyEvent::CrateLength(_) => {}
            BodyEvent::Crate(bytes) => krate = bytes,
        }
    }
    parser.finish().unwrap();
    (metadata, krate)
}

fn open(body: &'static [u8]) -> (PublishMetadata, Unpacked, Cksum) {
    let (metadata, krate) = split(body);
    let (metadata, name, version) = PublishMetadata::parse(&metadata).unwrap();
    let limits = TarballLimits { unpacked_bytes_max: 1 << 20, entries_max: 100 };
    let unpacked = Unpacked::open(&krate[..], krate.len() as u64, &name, &version, &limits).unwrap();
    (metadata, unpacked, Cksum::of(&krate))
}

fn line(release: &Release, cksum: Cksum) -> String {
    release.entry(cksum, "2026-11-21T09:46:00Z".parse().unwrap()).to_line()
}

#[test]
fn a_real_publish_with_everything() {
    let (metadata, unpacked, cksum) = open(golden!("demo-app.body"));
    let release = Release::check(&metadata, &unpacked, &own()).unwrap();
    assert_eq!(line(&release, cksum).as_bytes(), golden!("demo-app.json"));
    assert_eq!(release.warnings(), [] as [&str; 0]);
    let about = release.about();
    assert_eq!(about.description.as_deref(), Some("inherited description"));
    assert_eq!(about.license.as_deref(), Some("MIT OR Apache-2.0"));
    assert_eq!((about.keywords.join(" ").as_str(), about.categories.join(" ").as_str()), ("one two", "parsing"));
}

#[test]
fn a_real_publish_with_nothing() {
    let (metadata, unpacked, cksum) = open(golden!("demo-lib.body"));
    let release = Release::check(&metadata, &unpacked, &own()).unwrap();
    assert_eq!(line(&release, cksum).as_bytes(), golden!("demo-lib.json"));
    let [description, license] = release.warnings() else { panic!("{:?}", release.warnings()) };
    assert!(description.contains("`package.description` is missing"));
    assert!(license.contains("neither `package.license` nor `package.license-file`"));
    assert_eq!(*release.about(), About::default());
}

#[test]
fn the_registry_of_a_dependency() {
    let (metadata, unpacked, _) = open(golden!("demo-app.body"));
    let registry = |metadata: &PublishMetadata, own: &OwnIndexUrls, dep: &str| {
        let release = Release::check(metadata, &unpacked, own).unwrap();
        release.deps.iter().find(|found| found.name == dep).unwrap().registry.clone()
    };
    let other = "sparse+http://127.0.0.1:18099/other/";
    // Cargo knows under which URL it reached us, so its `null` counts even if we do not know that URL.
    assert_eq!(registry(&metadata, &OwnIndexUrls::default(), "demo-lib"), None);
    assert_eq!(registry(&metadata, &own(), "far").as_deref(), Some(other));
    assert_eq!(registry(&metadata, &own(), "itoa").as_deref(), Some(CRATES_IO_INDEX));
    // Published through another URL of ours, Cargo names us as a foreign registry.
    let mut through_other_url = metadata.clone();
    through_other_url.deps[0].registry = Some(THIS.to_owned());
    assert_eq!(registry(&through_other_url, &own(), "demo-lib"), None);
    let slashless = OwnIndexUrls::new([THIS.trim_end_matches('/'), other]);
    assert_eq!(registry(&through_other_url, &slashless, "demo-lib"), None);
    assert_eq!(registry(&metadata, &slashless, "far"), None);
    assert_eq!(registry(&through_other_url, &OwnIndexUrls::default(), "demo-lib").as_deref(), Some(THIS));
}

#[test]
fn every_disagreement_names_the_field_and_both_values() {
    type Edit = fn(&mut PublishMetadata);
    let edits: &[(Edit, &str, &str)] = &[
        (|m| m.name = "demo-app".into(), "`package.name`", "`Demo_App` in Cargo.toml, `demo-app` in the metadata"),
        (|m| m.vers = "0.3.2".into(), "`package.version`", "`0.3.1` in Cargo.toml, `0.3.2` in"),
        (|m| m.license = stated("MIT"), "`package.license`", "`MIT OR Apache-2.0` in Cargo.toml, `MIT` in"),
        (|m| m.license_file = stated("X"), "`package.license-file`", "not set in Cargo.toml, `X` in"),
        (|m| m.links = Claim::Stated(None), "`package.links`", "`demo_app` in Cargo.toml, not set in"),
        (|m| m.rust_version = stated("1.75"), "`package.rust-version`", "`1.74` in Cargo.toml, `1.75` in"),
        (|m| drop(m.features.remove("std")), "the feature `std`", "[] in Cargo.toml, not there in"),
        (|m| drop(m.features.insert("x".into(), vec![])), "the feature `x`", "not there in Cargo.toml, [] in"),
        (|m| m.features.get_mut("ser").unwrap().push("y".into()), "the feature `ser`", "[dep:serde, y] in"),
        (|m| drop(m.deps.remove(2)), "the normal dependency `itoa`", "there in Cargo.toml, not there in"),
        (
            |m| {
                let dep = m.deps[2].clone();
                m.deps.push(dep)
            },
            "the normal dependency `itoa`",
            "not there in Cargo.toml, there in",
        ),
        (
            |m| m.deps[7].target = None,
            "the normal dependency `libc` for cfg(all(unix",
            "there in Cargo.toml, not there in",
        ),
        (
            |m| m.deps[5].kind = Some("normal".into()),
            "the dev dependency `proptest`",
            "there in Cargo.toml, not there in",
        ),
        (|m| m.deps[5].kind = Some("odd".into()), "the kind of the dependency `proptest`", "`odd` in"),
        (
            |m| m.deps[7].target = Some("cfg(".into()),
            "the target of the dependency `libc`",
            "a platform or a `cfg()` in Cargo.toml, `cfg(` in",
        ),
        (
            |m| m.deps[7].target = Some(format!("cfg({}", "not(".repeat(100_000))),
            "the target of the dependency `libc`",
            "at most 1024 bytes in Cargo.toml, `cfg(not(",
        ),
        (
            |m| m.deps[7].target = Some(format!("cfg({}", "not(".repeat(100))),
            "the target of the dependency `libc`",
            "at most 32 nested parentheses in Cargo.toml, `cfg(not(",
        ),
        (|m| m.deps[2].version_req = "one".into(), "the version requirement of the dependency `itoa`", "`one` in"),
        (
            |m| m.deps[2].version_req = "^1".into(),
            "the version requirement of the normal dependency `itoa`",
            "`>=1.0, <2` in Cargo.toml, `^1` in",
        ),
        (
            |m| m.deps[3].name = "slog".into(),
            "the package name of the normal dependency `renamed`",
            "`log` in Cargo.toml, `slog` in",
        ),
        (
            |m| m.deps[3].explicit_name_in_toml = None,
            "the normal dependency `renamed`",
            "there in Cargo.toml, not there in",
        ),
        (
            |m| m.deps[3].optional = false,
            "the `optional` of the normal dependency `renamed`",
            "`true` in Cargo.toml, `false` in",
        ),
        (|m| m.deps[3].default_features = true, "the `default-features` of", "`false` in Cargo.toml, `true` in"),
        (
            |m| m.deps[6].features.clear(),
            "the features of the build dependency `cc`",
            "`parallel` in Cargo.toml, `` in",
        ),
        (
            |m| m.deps[2].artifact = Some(vec!["bin".into()]),
            "the artifacts of the normal dependency `itoa`",
            "`bin` in",
        ),
        (|m| m.deps[2].registry = None, "the registry of the normal dependency `itoa`", "published to in the metadata"),
        (|m| m.deps[2].registry = Some(THIS.into()), "the registry of the normal dependency `itoa`", THIS),
        (
            |m| m.deps[1].registry = Some(CRATES_IO_INDEX.into()),
            "the registry of the normal dependency `far`",
            "/other/ in",
        ),
    ];
    let (metadata, unpacked, _) = open(golden!("demo-app.body"));
    for (edit, what, values) in edits {
        let mut metadata = metadata.clone();
        edit(&mut metadata);
        let error = Release::check(&metadata, &unpacked, &own()).unwrap_err().to_string();
        assert!(error.contains(&format!("disagree on {what}")) && error.contains(values), "{what}: {error}");
    }
}

fn stated(text: &str) -> Claim {
    Claim::Stated(Some(text.to_owned()))
}

#[test]
fn older_cargos_say_less_or_otherwise() {
    let (mut metadata, mut unpacked, _) = open(golden!("demo-app.body"));
    metadata.rust_version = Claim::Unmentioned;
    metadata.links = Claim::Unmentioned;
    metadata.license_file = stated("../../LICENSE");
    metadata.deps.reverse();
    metadata.deps[9].kind = None;
    unpacked.manifest = unpacked.manifest.replace("resolver = \"3\"", "license-file = \"LICENSE\"");
    let release = Release::check(&metadata, &unpacked, &own()).unwrap();
    assert!(line(&release, Cksum::of(b"")).contains("\"links\":\"demo_app\",\"rust_version\":\"1.74\""));
}

#[test]
fn warnings_are_no_refusals() {
    let (mut metadata, unpacked, _) = open(golden!("demo-app.body"));
    let mut warnings = |license: &str| {
        let packed = format!("license = \"{license}\"");
        let manifest = unpacked.manifest.replace("license = \"MIT OR Apache-2.0\"", &packed);
        metadata.license = stated(license);
        let unpacked = Unpacked { manifest, ..unpacked.clone() };
        Release::check(&metadata, &unpacked, &own()).unwrap().warnings().to_vec()
    };
    assert_eq!(warnings("MIT/Apache-2.0"), [] as [String; 0]);
    let odd = warnings("do what you want");
    assert!(odd[0].contains("`do what you want`, which is not an SPDX expression"), "{odd:?}");
    assert!(warnings(" ")[0].contains("neither"));
}

#[test]
fn what_a_crate_says_about_itself_has_an_end() {
    let (metadata, unpacked, _) = open(golden!("demo-app.body"));
    let check = |line: &str| {
        let field = line.split(' ').next().unwrap();
        let is_it = |old: &&str| old.split(' ').next() == Some(field);
        let manifest = unpacked.manifest.replace("keywords = [\n    \"one\",\n    \"two\",\n]", "keywords = []");
        let manifest = manifest.replace("categories = [\"parsing\"]", "categories = []");
        let rest: Vec<_> = manifest.lines().filter(|old| !is_it(old)).collect();
        let manifest = rest.join("\n").replace("[package]", &format!("[package]\n{line}"));
        let said = |at: &str, claim: &Claim| if at == field { Claim::Unmentioned } else { claim.clone() };
        let metadata = PublishMetadata {
            license: said("license", &metadata.license),
            license_file: said("license-file", &metadata.license_file),
            links: said("links", &metadata.links),
            ..metadata.clone()
        };
        Release::check(&metadata, &Unpacked { manifest, ..unpacked.clone() }, &own()).map_err(|error| error.to_string())
    };
    for (field, limit) in [
        ("description", 4096),
        ("license", 2048),
        ("license-file", 2048),
        ("homepage", 2048),
        ("documentation", 2048),
        ("repository", 2048),
        ("links", 256),
    ] {
        let text = |bytes: usize| format!("{field} = \"{}\"", "x".repeat(bytes));
        assert!(check(&text(limit)).is_ok(), "{field}: {:?}", check(&text(limit)));
        let error = check(&text(limit + 1)).unwrap_err();
        let part = format!("`package.{field}` has {} bytes: at most {limit} are allowed", limit + 1);
        assert!(error.contains(&part), "{error}");
    }
    for field in ["keywords", "categories"] {
        let list = |count: usize, bytes: usize| {
            format!("{field} = [{}]", vec![format!("\"{}\"", "x".repeat(bytes)); count].join(", "))
        };
        assert!(check(&list(32, 128)).is_ok(), "{field}: {:?}", check(&list(32, 128)));
        let error = check(&list(33, 1)).unwrap_err();
        assert!(error.contains(&format!("`package.{field}` has 33 entries: at most 32 are allowed")), "{error}");
        let error = check(&list(1, 129)).unwrap_err();
        assert!(error.contains(&format!("in `package.{field}` has 129 bytes: at most 128 are allowed")), "{error}");
    }
}

//! Lines byte for byte, against files written by hand (`tests/golden/index/`).

use super::*;

fn entry(name: &str, vers: &str) -> IndexEntry {
    IndexEntry {
        name: CrateName::parse(name).unwrap(),
        vers: Version::parse(vers).unwrap(),
        deps: Vec::new(),
        cksum: Cksum::of(b"test"),
        features: BTreeMap::new(),
        links: None,
        rust_version: None,
        // The fraction must not be written.
        pubtime: "2026-01-02T03:04:05.999Z".parse().unwrap(),
    }
}

fn dep(name: &str, req: &str, kind: DependencyKind) -> IndexDependency {
    IndexDependency {
        name: name.to_owned(),
        req: req.to_owned(),
        features: Vec::new(),
        optional: false,
        default_features: true,
        target: None,
        kind,
        registry: None,
        package: None,
        public: None,
        artifact: None,
    }
}

fn features(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    list.iter()
        .map(|(name, values)| ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
        .collect()
}

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/index/", $name, ".json"))
    };
}

/// Cargo's own type reads the golden file, so the expectation is one that Cargo understands.
fn assert_golden(entry: &IndexEntry, golden: &str) {
    let read: IndexPackage<'_> = serde_json::from_str(golden).unwrap();
    assert_eq!(read.name, entry.name.as_str());
    assert_eq!(read.pubtime.unwrap().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(entry.to_line(), golden);
}

#[test]
fn minimal() {
    assert_golden(&entry("a", "0.1.0"), golden!("minimal"));
}

#[test]
fn every_field() {
    let mut entry = entry("Every-Field_1", "1.2.3-rc.1+build.5");
    // Given in the wrong order: lines are sorted by name, then normal before build before dev.
    entry.deps = vec![
        IndexDependency {
            target: Some("x86_64-pc-windows-gnu".to_owned()),
            registry: Some("sparse+https://other.example/index/".to_owned()),
            ..dep("alias", "*", DependencyKind::Dev)
        },
        dep("alias", "^1", DependencyKind::Build),
        IndexDependency {
            features: vec!["x".to_owned(), "y".to_owned()],
            optional: true,
            default_features: false,
            target: Some("cfg(all(unix, not(target_os = \"macos\")))".to_owned()),
            registry: Some(CRATES_IO_INDEX.to_owned()),
            package: Some("real-name".to_owned()),
            public: Some(true),
            ..dep("alias", "^1.2.3", DependencyKind::Normal)
        },
    ];
    entry.features =
        features(&[("opt", &["dep:alias", "alias?/x"]), ("default", &["std"]), ("std", &[]), ("full", &["opt"])]);
    entry.links = Some("z".to_owned());
    entry.rust_version = Some("1.74".to_owned());
    assert_golden(&entry, golden!("every_field"));
}

#[test]
fn alias() {
    let mut entry = entry("alias", "1.0.0");
    entry.deps = vec![IndexDependency {
        package: Some("log".to_owned()),
        registry: Some(CRATES_IO_INDEX.to_owned()),
        ..dep("renamed", "^0.4", DependencyKind::Normal)
    }];
    assert_golden(&entry, golden!("alias"));
}

#[test]
fn features2() {
    let mut entry = entry("features", "1.0.0");
    entry.features = features(&[
        ("plain", &["other", "x/y"]),
        ("other", &[]),
        ("a_direct", &["dep:x"]),
        ("b_weak", &["x?/y"]),
        ("c_leads_to", &["a_direct", "other"]),
        ("d_leads_further", &["c_leads_to"]),
    ]);
    assert_golden(&entry, golden!("features2"));
}

#[test]
fn links_and_rust_version() {
    let links = IndexEntry { links: Some("git2".to_owned()), ..entry("links", "1.0.0") };
    assert_golden(&links, golden!("links"));
    let rust_version = IndexEntry { rust_version: Some("1.85.0".to_owned()), ..entry("rust_version", "1.0.0") };
    assert_golden(&rust_version, golden!("rust_version"));
}

#[test]
fn artifact_dependencies_make_a_line_of_version_3() {
    let mut entry = entry("artifact", "1.0.0");
    let artifact = IndexArtifact {
        artifact: vec!["bin:tool".to_owned(), "cdylib".to_owned()],
        bindep_target: Some("target".to_owned()),
        lib: true,
    };
    entry.deps = vec![IndexDependency { artifact: Some(artifact), ..dep("tool", "^1", DependencyKind::Build) }];
    assert_golden(&entry, golden!("artifact"));
}

#[test]
fn pubtime_is_20_bytes_at_any_time() {
    for at in
        ["2026-11-21T09:08:07.123456789Z", "0999-01-01T00:00:00Z", "9999-12-30T21:59:59Z", "1969-12-31T23:59:59.9Z"]
    {
        let text = pubtime(at.parse().unwrap());
        assert_eq!((text.len(), &text[..19]), (20, &at[..19]), "{text}");
        cargo_util_schemas::index::parse_pubtime(&text).unwrap();
    }
}

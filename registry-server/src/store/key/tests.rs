//! The layout of the bucket, pinned: a change here loses every existing registry.

use proptest::prelude::*;

use super::*;

fn ulid() -> Ulid {
    Ulid::from_string("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap()
}

fn blob(version: &str) -> Key {
    Key::blob("foo_bar", &version.parse().unwrap(), Sha256Digest::of(b""), ulid()).unwrap()
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn a_blob_of_a_known_version_is_read_as_any_key() {
    let versions = ["1.0.0", "1.0.0-alpha.1", "1.0.0+build.5", "1.0.0-rc.1+a-b", "1.0.0+a.b", "10.0.0", "1.0.0+build"];
    let versions = versions.map(|version| version.parse::<semver::Version>().unwrap());
    let mut texts: Vec<String> = versions.iter().map(|version| blob(&version.to_string()).to_string()).collect();
    // Spelled as nobody spells it here, cut, longer, of another crate.
    texts.extend(texts.clone().iter().flat_map(|text| {
        let lower = text.to_lowercase();
        let upper = text.replace(EMPTY, &EMPTY.to_uppercase());
        let odd = ["foo_bar2", "foo", "FOO_BAR"].map(|krate| text.replace("foo_bar", krate));
        let cuts = (0..text.len()).map(|at| text[..at].to_owned());
        odd.into_iter().chain([lower, upper, format!("{text}0"), format!("{text}/x")]).chain(cuts)
    }));
    for text in &texts {
        for version in &versions {
            let expected = match Key::parse(text) {
                Some(Key::Blob { krate, version: of, sha256, attempt })
                    if krate.as_str() == "foo_bar" && of.version() == *version =>
                {
                    Some((sha256, attempt))
                }
                _ => None,
            };
            assert_eq!(Key::parse_blob_of(text, "foo_bar", version), expected, "{text} {version}");
        }
    }
}

#[test]
fn every_key_has_its_place() {
    let table = [
        (Key::Format, "v1/meta/format".to_owned()),
        (Key::Head, "v1/head".to_owned()),
        (Key::krate("serde").unwrap(), "v1/crate/8b/serde".to_owned()),
        (Key::krate("a").unwrap(), "v1/crate/ca/a".to_owned()),
        (Key::krate("foo_bar").unwrap(), "v1/crate/49/foo_bar".to_owned()),
        (blob("1.0.0"), format!("v1/blob/foo_bar/1.0.0/{EMPTY}-{}", ulid())),
        (blob("1.0.0-alpha.1"), format!("v1/blob/foo_bar/1.0.0-alpha.1/{EMPTY}-{}", ulid())),
        // `+` reads as a space to some servers and proxies; `_` occurs in no version.
        (blob("1.0.0+build.5"), format!("v1/blob/foo_bar/1.0.0_build.5/{EMPTY}-{}", ulid())),
        (blob("1.0.0-rc.1+a-b"), format!("v1/blob/foo_bar/1.0.0-rc.1_a-b/{EMPTY}-{}", ulid())),
        (Key::Token(Sha256Digest::of(b"")), format!("v1/token/e3/{EMPTY}")),
        (Key::CatalogCurrent, "v1/catalog/current".to_owned()),
        (Key::Catalog(CatalogFile { seq: 42, attempt: ulid() }), format!("v1/catalog/00000000000000000042-{}", ulid())),
        (Key::DownloadsTotal, "v1/downloads/total".to_owned()),
        (
            Key::DownloadsDelta { counter: ulid(), number: 7 },
            format!("v1/downloads/delta/{}/00000000000000000007", ulid()),
        ),
        (
            Key::Audit(AuditKey::new("2026-11-03T07:59:59Z".parse().unwrap(), &EMPTY[..32]).unwrap()),
            format!("v1/audit/2026/11/03/07/{}", &EMPTY[..32]),
        ),
        (Key::GcPlan(ulid()), format!("v1/gc/plan/{}", ulid())),
        (Key::probe(ulid(), "race-1").unwrap(), format!("v1/probe/{}/race-1", ulid())),
    ];
    for (key, text) in table {
        assert_eq!(key.to_string(), text);
        assert_eq!(Key::parse(&text).as_ref(), Some(&key), "{text}");
    }
    assert_eq!(Prefix::Crates.to_string(), "v1/crate/");
    assert_eq!(Prefix::Blobs(CanonicalName::new("serde").unwrap()).to_string(), "v1/blob/serde/");
    assert_eq!(Prefix::AllBlobs.to_string(), "v1/blob/");
    assert_eq!(Prefix::Audits.to_string(), "v1/audit/");
    assert_eq!(Prefix::GcPlans.to_string(), "v1/gc/plan/");
    assert_eq!(Prefix::Everything.to_string(), "v1/");
    assert_eq!(Prefix::Tokens.to_string(), "v1/token/");
    assert_eq!(Prefix::Catalogs.to_string(), "v1/catalog/");
    assert_eq!(Prefix::DownloadsDeltas.to_string(), "v1/downloads/delta/");
    assert_eq!(Prefix::Probe(ulid()).to_string(), format!("v1/probe/{}/", ulid()));
}

#[test]
fn what_is_not_ours_does_not_parse() {
    let wrong_shard = "v1/crate/00/serde";
    let lower_ulid = format!("v1/blob/a/1.0.0/{EMPTY}-{}", ulid().to_string().to_lowercase());
    for text in [
        "",
        "v1",
        "v1/",
        "v1/meta/format/",
        "v2/meta/format",
        "v1/crate/8b/",
        "v1/crate/8b/Serde",
        "v1/crate/8b/serde/x",
        wrong_shard,
        "v1/crate/../serde",
        "v1/blob/a/1.0.0/x",
        "v1/blob/a/1.0/e3b0-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        lower_ulid.as_str(),
        "v1/token/e3/e3",
        "v1/token/E3/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        "v1/catalog/42-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "v1/catalog/+0000000000000000042-01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "v1/downloads/delta/01ARZ3NDEKTSV4RRFFQ69G5FAV/7",
        "v1/audit/2026/11/03/7/e3b0c44298fc1c149afbf4c8996fb924",
        "v1/audit/2026/11/03/07/gc-01arz3ndektsv4rrffq69g5fav",
        "v1/audit/2026/11/03/07/gc-e3b0c44298fc1c149afbf4c8996fb924",
        "v1/audit/2026/11/03/07/E3B0C44298FC1C149AFBF4C8996FB924",
        "v1/gc/plan/x",
        "v1/probe/x/y",
        "v1/probe/01ARZ3NDEKTSV4RRFFQ69G5FAV/UPPER",
        "v1/probe/01ARZ3NDEKTSV4RRFFQ69G5FAV/../../x",
    ] {
        assert_eq!(Key::parse(text), None, "{text}");
    }
}

#[test]
fn names_that_are_not_canonical_make_no_key() {
    for name in ["", "Serde", "foo-bar", "1abc", "_x", "a/b", "..", "ä", "a b", &"n".repeat(65)] {
        let err = Key::krate(name).unwrap_err();
        assert!(err.to_string().contains(&format!("`{name}`")), "{err}");
    }
    let long = format!("1.0.0-{}", "a".repeat(VERSION_BYTES_MAX));
    assert!(Key::blob("a", &long.parse().unwrap(), Sha256Digest::of(b""), ulid()).is_err());
}

proptest! {
    /// What goes into a bucket comes back as the same key, in plain characters, within S3's and the file system's limits.
    #[test]
    fn keys_come_back(
        name in "[a-z][a-z0-9_]{0,63}",
        (major, minor, patch) in (any::<u64>(), any::<u64>(), any::<u64>()),
        pre in prop::option::of("[a-zA-Z-][0-9A-Za-z-]{0,20}(\\.[a-zA-Z-][0-9A-Za-z-]{0,5}){0,2}"),
        build in prop::option::of("[0-9A-Za-z-]{1,20}(\\.[0-9A-Za-z-]{1,5}){0,2}"),
        digest in any::<[u8; 32]>(),
        attempt in any::<u128>(),
    ) {
        let mut version = format!("{major}.{minor}.{patch}");
        if let Some(pre) = pre { version = format!("{version}-{pre}"); }
        if let Some(build) = build { version = format!("{version}+{build}"); }
        let version: semver::Version = version.parse().unwrap();
        let attempt = Ulid::from(attempt);
        let key = Key::blob(&name, &version, Sha256Digest::from_bytes(digest), attempt).unwrap();
        let text = key.to_string();
        prop_assert_eq!(Key::parse(&text), Some(key.clone()));
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b)), "{}", text);
        prop_assert!(text.split('/').all(|s| !s.is_empty() && !s.starts_with('.') && s.len() < 255), "{}", text);
        prop_assert!(text.len() < 600);
        let Key::Blob { version: stored, .. } = key else { unreachable!() };
        prop_assert_eq!(stored.version(), version);
    }

    /// No key is another's directory: some stores cannot hold both.
    #[test]
    fn parsing_is_exact(text in "v1/(crate|blob|token|probe|meta|catalog|downloads)/[a-z0-9./_-]{0,40}") {
        if let Some(key) = Key::parse(&text) {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}

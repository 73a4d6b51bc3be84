//! Records: what is stored, what is refused, and that a change is whole or not at all.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use super::*;
use crate::krate::metadata::PublishMetadata;
use crate::krate::release::{OwnIndexUrls, Release};
use crate::krate::tarball::Unpacked;
use crate::krate::{Cksum, IndexEntry};

fn release(name: &str, version: &str) -> Release {
    let metadata = json!({ "name": name, "vers": version, "deps": [] }).to_string();
    let (metadata, ..) = PublishMetadata::parse(metadata.as_bytes()).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nlicense = \"MIT\"\ndescription = \"{version} says\"\n"
    );
    let unpacked = Unpacked { manifest, files: 1, bytes: 1 };
    Release::check(&metadata, &unpacked, &OwnIndexUrls::default()).unwrap()
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

/// The n-th change, by `ann`.
fn change(n: u64) -> Change {
    Change {
        op: OpId::generate(&mut StdRng::seed_from_u64(n)),
        actor: owner("ann"),
        at: format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60).parse().unwrap(),
    }
}

fn new(name: &str) -> Record {
    Record::new(name.parse().unwrap(), BTreeSet::from([owner("ann")]))
}

fn insert(record: &mut Record, version: &str, contents: &str, n: u64) -> Result<Outcome, WriteError> {
    let release = release(record.name().as_str(), version);
    let cksum = Cksum::of(contents.as_bytes());
    let blob = format!("v1/blob/foo_bar/{version}/{cksum}-{n}");
    record.insert_version(&NewVersion { release: &release, cksum, size: contents.len() as u64, blob }, &change(n))
}

/// A record with 1.0.0 (yanked) and 1.1.0, of two owners.
fn sample() -> Record {
    let mut record = new("Foo-bar");
    assert_eq!(insert(&mut record, "1.0.0", "one", 1), Ok(Outcome::Changed));
    assert_eq!(insert(&mut record, "1.1.0", "two", 2), Ok(Outcome::Changed));
    assert_eq!(record.set_yanked(&v("1.0.0"), true, &change(3)), Ok(Outcome::Changed));
    assert_eq!(record.add_owners(&[owner("bob"), owner("ann")], &change(4)), Ok(Outcome::Changed));
    record
}

fn zcat(object: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(object).read_to_string(&mut text).unwrap();
    text
}

/// What the three members of a record with so many versions say.
fn parts(text: &str, versions: usize) -> (&str, &str, &str) {
    let (header, rest) = text.split_once('\n').unwrap();
    let end = rest.match_indices('\n').nth(versions - 1).unwrap().0 + 1;
    (header, &rest[..end], &rest[end..])
}

fn joined(header: &str, versions: &str, lines: &str) -> Bytes {
    [header, versions, lines].map(|part| gzip::deflate(part.as_bytes())).concat().into()
}

/// Equal in all that is stored.
fn assert_same(one: &Record, other: &Record) {
    assert_eq!(one.header, other.header);
    assert_eq!((one.versions(), one.versions.gzip()), (other.versions(), other.versions.gzip()));
    assert_eq!(one.index_gzip, other.index_gzip);
    assert_eq!(one.index(), other.index());
}

#[test]
fn zcat_prints_the_header_the_versions_and_the_lines() {
    let record = sample();
    let text = zcat(&record.to_bytes());
    let (header, versions, lines) = parts(&text, 2);
    assert_eq!(lines.as_bytes(), record.index().unwrap().as_bytes());
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&record.index_gzip()[..]).read_to_end(&mut inflated).unwrap();
    assert_eq!(inflated, lines.as_bytes(), "the last member alone is the index file");

    // The form of the header is a promise to later versions.
    let op = |n| change(n).op.to_string();
    let cksum = |contents: &str| Cksum::of(contents.as_bytes());
    assert!(
        header.starts_with(&format!(
            "{{\"op\":\"{}\",\"rev\":4,\"name\":\"Foo-bar\",\"owners\":[\"ann\",\"bob\"],",
            op(4)
        ))
    );
    let expected = json!({
        "op": op(4), "rev": 4, "name": "Foo-bar", "owners": ["ann", "bob"],
        "index_etag": index::etag(lines.as_bytes()), "max_version": "1.1.0",
        "about": { "description": "1.1.0 says", "license": "MIT" },
        "ops": [
            { "op": op(1), "kind": "publish", "actor": "ann", "at": "2026-01-01T00:00:01Z", "rev": 1, "vers": "1.0.0" },
            { "op": op(2), "kind": "publish", "actor": "ann", "at": "2026-01-01T00:00:02Z", "rev": 2, "vers": "1.1.0" },
            { "op": op(3), "kind": "yank", "actor": "ann", "at": "2026-01-01T00:00:03Z", "rev": 3, "vers": "1.0.0" },
            { "op": op(4), "kind": "owner-add", "actor": "ann", "at": "2026-01-01T00:00:04Z", "rev": 4, "owners": ["bob"] },
        ],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(header).unwrap(), expected);
    let line = |vers, contents, n| {
        let blob = format!("v1/blob/foo_bar/{vers}/{}-{n}", cksum(contents));
        format!(
            "{{\"vers\":\"{vers}\",\"blob\":\"{blob}\",\"size\":3,\"publisher\":\"ann\",\"at\":\"2026-01-01T00:00:0{n}Z\"}}\n"
        )
    };
    assert_eq!(versions, line("1.0.0", "one", 1) + &line("1.1.0", "two", 2));
    let yanked: Vec<_> = lines.lines().map(|line| line.contains("\"yanked\":true")).collect();
    assert_eq!(yanked, [true, false]);
}

#[test]
fn reads_back_as_itself() {
    let record = sample();
    let bytes = record.to_bytes();
    let read = Record::parse(&bytes).unwrap();
    assert!(read.index.get().is_none(), "nothing is inflated before it is asked for");
    assert_same(&record, &read);
    assert_eq!(read.to_bytes(), bytes);
    assert!(bytes.as_ptr_range().contains(&read.index_gzip().as_ptr()), "the stored bytes are not copied");
    assert_eq!(read.index_etag(), index::etag(read.index().unwrap().as_bytes()));
    assert!(read.is_visible() && read.contains(&change(1).op) && !read.contains(&change(9).op));
    assert_eq!((read.rev(), read.op(), read.name().as_str()), (4, &change(4).op, "Foo-bar"));
    assert_eq!(read.canonical().as_str(), "foo_bar");
}

#[test]
fn publishing_again() {
    let mut record = sample();
    let before = record.clone();
    assert_eq!(insert(&mut record, "1.1.0", "two", 5), Ok(Outcome::Unchanged));
    let taken = insert(&mut record, "1.1.0", "other", 5).unwrap_err();
    assert!(
        matches!(taken, WriteError::Taken { .. }) && taken.to_string().contains("a version never changes"),
        "{taken}"
    );
    let twin = insert(&mut record, "1.1.0+b", "two", 5).unwrap_err();
    assert!(twin.to_string().contains("version 1.1.0+b of `Foo-bar` is the same as 1.1.0"), "{twin}");
    for name in ["foo-bar", "foo_bar", "Foo_Bar"] {
        let release = release(name, "2.0.0");
        let new = NewVersion { release: &release, cksum: Cksum::of(b""), size: 0, blob: String::new() };
        let error = record.insert_version(&new, &change(5)).unwrap_err();
        assert!(error.to_string().contains("this crate is named `Foo-bar`"), "{error}");
    }
    assert_same(&record, &before);
}

#[test]
fn new_crates() {
    let record = new("foo");
    assert!(!record.is_visible());
    assert_eq!((record.rev(), record.index_etag()), (0, "\"e3b0c44298fc1c149afbf4c8996fb924\""));
    assert_eq!(insert(&mut new("nul"), "1.0.0", "x", 1).unwrap_err().to_string().matches("Windows").count(), 1);
    let mut record = new("foo");
    assert_eq!(insert(&mut record, "0.1.0-rc.1", "x", 1), Ok(Outcome::Changed));
    assert!(record.is_visible());
    assert_eq!((record.rev(), record.max_version(), record.versions().len()), (1, Some(&v("0.1.0-rc.1")), 1));
}

#[test]
#[should_panic(expected = "a crate without any change is not stored")]
fn an_empty_record_is_never_written() {
    let _ = new("foo").to_bytes();
}

#[test]
fn what_is_shown_comes_from_the_version_that_is_shown() {
    let mut record = new("foo");
    let shown =
        |record: &Record| (record.max_version().unwrap().to_string(), record.about().description.clone().unwrap());
    assert_eq!(insert(&mut record, "2.0.0", "a", 1), Ok(Outcome::Changed));
    assert_eq!(insert(&mut record, "1.0.5", "b", 2), Ok(Outcome::Changed));
    assert_eq!(insert(&mut record, "3.0.0-rc.1", "c", 3), Ok(Outcome::Changed));
    assert_eq!(shown(&record), ("2.0.0".to_owned(), "2.0.0 says".to_owned()));
    assert_eq!(insert(&mut record, "2.1.0", "d", 4), Ok(Outcome::Changed));
    assert_eq!(shown(&record), ("2.1.0".to_owned(), "2.1.0 says".to_owned()));
    assert_eq!(record.set_yanked(&v("2.1.0"), true, &change(5)), Ok(Outcome::Changed));
    assert_eq!(shown(&record).0, "2.0.0");
}

#[test]
fn yanking() {
    let mut record = sample();
    let etag = record.index_etag().to_owned();
    assert_eq!(record.set_yanked(&v("1.0.0"), true, &change(5)), Ok(Outcome::Unchanged));
    let error = record.set_yanked(&v("9.0.0"), true, &change(5)).unwrap_err();
    assert_eq!(error.to_string(), "`Foo-bar` has no version 9.0.0");
    assert_eq!((record.rev(), record.index_etag()), (4, etag.as_str()));
    assert_eq!(record.set_yanked(&v("1.0.0"), false, &change(5)), Ok(Outcome::Changed));
    assert_ne!(record.index_etag(), etag);
    assert_eq!(record.ops().last().unwrap().kind, OpKind::Unyank);
}

#[test]
fn owners() {
    let mut record = sample();
    let (etag, gzip) = (record.index_etag().to_owned(), record.index_gzip().clone());
    assert_eq!(record.add_owners(&[owner("bob")], &change(5)), Ok(Outcome::Unchanged));
    assert_eq!(record.remove_owners(&[owner("nobody")], &change(5)), Ok(Outcome::Unchanged));
    let before = record.clone();
    let error = record.remove_owners(&[owner("bob"), owner("ann")], &change(5)).unwrap_err();
    assert!(error.to_string().contains("add another one first"), "{error}");
    let many: Vec<_> = (0..OWNERS_MAX).map(|n| owner(&format!("user-{n}"))).collect();
    let error = record.add_owners(&many, &change(5)).unwrap_err();
    assert!(error.to_string().contains("258 owners: at most 256"), "{error}");
    assert_same(&record, &before);
    assert_eq!(record.remove_owners(&[owner("ann"), owner("x")], &change(5)), Ok(Outcome::Changed));
    assert_eq!(record.owners(), &BTreeSet::from([owner("bob")]));
    let last = record.ops().last().unwrap();
    assert_eq!((&last.kind, &last.owners, &last.vers), (&OpKind::OwnerRemove, &vec![owner("ann")], &None));
    assert_eq!((record.index_etag(), record.index_gzip()), (etag.as_str(), &gzip), "the index is not touched");
}

#[test]
fn only_the_last_changes_are_kept() {
    let mut record = sample();
    for n in 5..100 {
        let yanked = n % 2 == 0;
        let change = Change { op: OpId::generate(&mut StdRng::seed_from_u64(n)), ..change(5) };
        assert_eq!(record.set_yanked(&v("1.0.0"), yanked, &change), Ok(Outcome::Changed));
    }
    let revs: Vec<_> = record.ops().iter().map(|op| op.rev).collect();
    assert_eq!((revs.len(), revs[0], record.rev()), (OPS_MAX, 99 - OPS_MAX as u64 + 1, 99));
    assert!(!record.contains(&change(1).op));
    assert_same(&record, &Record::parse(&record.to_bytes()).unwrap());
}

/// The record with its header, and its versions as the array `versions`, edited as JSON.
fn edited(record: &Record, edit: impl FnOnce(&mut serde_json::Value)) -> Bytes {
    let text = zcat(&record.to_bytes());
    let (header, versions, lines) = parts(&text, record.versions().len());
    let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
    header["versions"] =
        versions.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    edit(&mut header);
    let versions = header.as_object_mut().unwrap().shift_remove("versions").unwrap();
    let versions: String = versions.as_array().unwrap().iter().map(|version| format!("{version}\n")).collect();
    joined(&format!("{header}\n"), &versions, lines)
}

#[test]
fn what_later_versions_add_is_kept() {
    let object = edited(&sample(), |header| {
        header["downloads"] = json!({ "total": 7 });
        header["versions"][0]["quarantine"] = json!(true);
        header["about"]["readme"] = json!("key");
        header["ops"][0]["from"] = json!("10.0.0.1");
        header["ops"][1]["kind"] = json!("import");
    });
    let mut record = Record::parse(&object).unwrap();
    assert_eq!(record.ops()[1].kind, OpKind::Other("import".to_owned()));
    assert_eq!(record.set_yanked(&v("1.1.0"), true, &change(5)), Ok(Outcome::Changed));
    let text = zcat(&record.to_bytes());
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(header["downloads"]["total"], 7);
    assert!(text.lines().nth(1).unwrap().ends_with(",\"quarantine\":true}"), "{text}");
    assert_eq!(header["about"]["readme"], "key");
    assert_eq!((&header["ops"][0]["from"], &header["ops"][1]["kind"]), (&json!("10.0.0.1"), &json!("import")));
}

#[test]
fn a_mark_reserves_a_name_and_is_overtaken() {
    let mark = change(50).op;
    let object = edited(&sample(), |header| header["mark"] = json!(mark.as_str()));
    let mut record = Record::parse(&object).unwrap();
    assert_eq!((record.mark(), record.is_visible()), (Some(&mark), true));
    assert_eq!(record.set_yanked(&v("1.1.0"), true, &change(5)), Ok(Outcome::Changed));
    assert_eq!(record.mark(), None);

    let header = json!({ "op": mark.as_str(), "rev": 0, "name": "foo", "owners": ["ann"], "index_etag": index::etag(b""),
        "mark": mark.as_str(), "ops": [] });
    let mut record = Record::parse(&joined(&format!("{header}\n"), "", "")).unwrap();
    assert!(!record.is_visible());
    assert_eq!(record.index().unwrap().lines().len(), 0);
    assert_eq!(insert(&mut record, "1.0.0", "x", 1), Ok(Outcome::Changed));
    assert_eq!((record.rev(), record.is_visible(), record.mark()), (1, true, None));
}

#[test]
fn a_marked_state_reads_as_the_state_that_it_will_replace() {
    let record = sample();
    let mark = change(51).op;
    let marked = Record::parse(&record.marked(mark.clone()).to_bytes()).unwrap();
    assert_eq!((marked.mark(), marked.op(), marked.rev()), (Some(&mark), &mark, record.rev()));
    assert_eq!((marked.index_etag(), marked.index_gzip()), (record.index_etag(), record.index_gzip()));
    assert!(!marked.contains(&mark), "a mark is not a change");

    let reserved = Record::parse(&record.reservation(mark.clone()).to_bytes()).unwrap();
    assert_eq!((reserved.rev(), reserved.is_visible(), reserved.mark()), (0, false, Some(&mark)));
}

#[test]
fn corruption_is_told_precisely() {
    let record = sample();
    let cases: &[(fn(&mut serde_json::Value), &str)] = &[
        (|h| h["rev"] = json!(0), "its `rev` is 0"),
        (|h| h["rev"] = json!(3), "`ops` has the `rev` 4 after 3"),
        (|h| h["ops"][1]["rev"] = json!(1), "`ops` has the `rev` 1 after 1"),
        (|h| h["owners"] = json!([]), "it has no owners"),
        (|h| h["name"] = json!("9"), "must start with an ASCII letter"),
        (|h| h["op"] = json!("x"), "32 lower-case hexadecimal digits"),
        (|h| h["versions"][1]["vers"] = json!("1.0.0+b"), "it has a version twice: 1.0.0 and 1.0.0+b"),
        (
            |h| h["versions"][1]["vers"] = json!("1.0.0"),
            "line 2 of its list of versions is not readable: the version 1.0.0 is there",
        ),
        (|h| h["versions"][1]["blob"] = json!(1), "line 2 of its list of versions is not readable: invalid type"),
        (|h| h["ops"] = serde_json::Value::Array(vec![h["ops"][0].clone(); 65]), "it has 65 changes"),
        (
            |h| {
                let op = h.as_object_mut().unwrap().shift_remove("op").unwrap();
                h["op"] = op;
            },
            "its first field is not `op`",
        ),
    ];
    for (edit, part) in cases {
        let error = Record::parse(&edited(&record, edit)).unwrap_err().to_string();
        assert!(error.contains("the crate record is corrupt") && error.contains(part), "{part}: {error}");
    }
    // Header and index apart are sound.
    let cases: &[(fn(&mut serde_json::Value), &str)] = &[
        (|h| h["index_etag"] = json!("\"x\""), "its header says \"x\""),
        (|h| drop(h["versions"].as_array_mut().unwrap().remove(0)), "its index has 2 lines, its list has 1 versions"),
        (|h| h["name"] = json!("foo-bar"), "its index is of the crate `Foo-bar`, its header of `foo-bar`"),
        (|h| h["versions"][0]["vers"] = json!("1.0.1"), "its index has the version 1.0.0, its list has not"),
    ];
    for (edit, part) in cases {
        let mut broken = Record::parse(&edited(&record, edit)).unwrap();
        let error = broken.index().unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {error}");
        // Nothing writes over it.
        let rev = broken.rev();
        assert_eq!(broken.set_yanked(&v("1.1.0"), true, &change(5)), Err(WriteError::Corrupt(error.clone())));
        assert_eq!(broken.add_owners(&[owner("eve")], &change(5)), Err(WriteError::Corrupt(error.clone())));
        assert!(insert(&mut broken, "9.0.0", "x", 5).is_err());
        assert_eq!((broken.rev(), broken.owners().len()), (rev, 2));
    }
}

#[test]
fn damaged_objects() {
    let object = sample().to_bytes();
    let versions_end = object.len() - sample().index_gzip().len();
    let header_end = versions_end - sample().versions.gzip().len();
    for (end, after) in [(header_end, "header"), (versions_end, "list of versions")] {
        assert_eq!(Record::parse(&object.slice(..end)).unwrap_err(), RecordError::Ends { after });
    }
    for cut in (0..object.len()).filter(|cut| ![header_end, versions_end].contains(cut)) {
        let read = Record::parse(&object.slice(..cut)).and_then(|record| record.index().cloned());
        assert!(matches!(read, Err(RecordError::Gzip { .. })), "cut at {cut}: {read:?}");
    }
    let longer: Bytes = [object.clone(), Bytes::from_static(b"more")].concat().into();
    assert_eq!(Record::parse(&longer).unwrap().index().unwrap_err(), RecordError::Trailing { bytes: 4 });
    for (header, part) in [("{}", "no newline"), ("{}\n{}\n", "more than one line"), ("x\n", "expected value")] {
        let error = Record::parse(&joined(header, "", "")).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let bytes = zcat(&object).len();
    assert!(Record::parse_within(&object, bytes).unwrap().index().is_ok());
    let read = |bytes_max| Record::parse_within(&object, bytes_max).and_then(|record| record.index().cloned());
    let error = read(bytes - 1).unwrap_err().to_string();
    assert!(error.contains("its index is not a sound gzip member: it inflates to more than"), "{error}");
    let error = read(100).unwrap_err().to_string();
    assert!(error.contains("its header is not a sound gzip member: it inflates to more than 100 bytes"), "{error}");
}

#[test]
fn what_grew_by_versions_is_what_was_made_at_once() {
    let mut grown = new("foo");
    for n in 0..150 {
        assert_eq!(insert(&mut grown, &format!("1.{n}.0"), &n.to_string(), n), Ok(Outcome::Changed));
    }
    let read = Record::parse(&grown.to_bytes()).unwrap();
    assert_same(&grown, &read);
    for (member, bytes) in [
        (grown.index_gzip(), read.index().unwrap().as_bytes()),
        (grown.versions.gzip(), zcat(grown.versions.gzip()).as_bytes()),
    ] {
        let at_once = gzip::deflate(bytes).len();
        assert!(member.len() < at_once * 3 / 2, "{} bytes, {at_once} at once", member.len());
    }
    // A yank in the middle compresses everything anew, and the next publish goes on from there.
    assert_eq!(grown.set_yanked(&v("1.7.0"), true, &change(200)), Ok(Outcome::Changed));
    assert_eq!(insert(&mut grown, "2.0.0", "two", 201), Ok(Outcome::Changed));
    assert_same(&grown, &Record::parse(&grown.to_bytes()).unwrap());
}

/// One thing that somebody does to a crate.
#[derive(Debug, Clone)]
enum Step {
    Publish(u8, u8, u8),
    Yank(u8, bool),
    Add(u8),
    Remove(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_u8, 0..3_u8, 0..2_u8).prop_map(|(major, build, contents)| Step::Publish(major, build, contents)),
        (0..3_u8, any::<bool>()).prop_map(|(major, yanked)| Step::Yank(major, yanked)),
        (0..3_u8).prop_map(Step::Add),
        (0..3_u8).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 1..30)
}

fn take(record: &mut Record, step: &Step, n: u64) -> Result<Outcome, WriteError> {
    let version = |major: &u8, build: &u8| match build {
        0 => format!("{major}.0.0"),
        build => format!("{major}.0.0+b{build}"),
    };
    match step {
        Step::Publish(major, build, contents) => insert(record, &version(major, build), &contents.to_string(), n),
        Step::Yank(major, yanked) => record.set_yanked(&v(&version(major, &0)), *yanked, &change(n)),
        Step::Add(who) => record.add_owners(&[owner(&format!("user-{who}"))], &change(n)),
        Step::Remove(who) => record.remove_owners(&[owner(&format!("user-{who}"))], &change(n)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The invariants after every step of any history.
    #[test]
    fn any_history_keeps_the_invariants(steps in steps()) {
        let mut record = new("Foo-bar");
        let mut cksums = BTreeMap::new();
        for (n, step) in (1..).zip(&steps) {
            let before = record.clone();
            match take(&mut record, step, n) {
                Ok(Outcome::Changed) => {
                    prop_assert_eq!(record.rev(), before.rev() + 1);
                    prop_assert_eq!(record.op(), &change(n).op);
                    prop_assert!(record.contains(&change(n).op));
                }
                Ok(Outcome::Unchanged) | Err(_) => assert_same(&record, &before),
            }
            for line in record.index().unwrap().lines() {
                let without_build = line.vers.to_string().split('+').next().map(str::to_owned);
                let first = *cksums.entry(without_build).or_insert(line.cksum);
                prop_assert_eq!(first, line.cksum, "one checksum per version for ever");
            }
            prop_assert_eq!(cksums.len(), record.index().unwrap().lines().len(), "nothing vanishes, no twins");
            if record.rev() > 0 {
                assert_same(&record, &Record::parse(&record.to_bytes()).unwrap());
            }
        }
    }
}

/// The invariants that the types keep: an entry of another crate cannot enter.
#[test]
fn entries_go_with_their_crate() {
    let entry: IndexEntry = release("foo", "1.0.0").entry(Cksum::of(b""), change(1).at);
    assert_eq!(entry.name.as_str(), "foo");
    let mut index = sample().index().unwrap().clone();
    assert!(index.insert(&entry).is_err());
}

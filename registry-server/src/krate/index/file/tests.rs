//! Index files: what is read, what is refused, and that a flag is all that ever changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CKSUM: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn line(vers: &str, rest: &str) -> String {
    format!("{{\"name\":\"a\",\"vers\":\"{vers}\",\"deps\":[],\"cksum\":\"{CKSUM}\"{rest}}}\n")
}

fn parse(text: &str) -> Result<IndexFile, IndexError> {
    IndexFile::parse(text.as_bytes().to_vec())
}

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

fn entry(vers: &str) -> IndexEntry {
    IndexEntry {
        name: CrateName::parse("a").unwrap(),
        vers: v(vers),
        deps: Vec::new(),
        cksum: Cksum::of(b"test"),
        features: BTreeMap::new(),
        links: None,
        rust_version: None,
        pubtime: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

#[test]
fn reads_what_others_wrote() {
    let text = [
        line("1.0.0", ""),
        line("1.0.1+x", ",\"yanked\":null,\"future\":{\"yanked\":true}"),
        line("0.9.0", ", \"yanked\" : true , \"v\": 2").replace(':', " : "),
    ]
    .concat();
    let file = parse(&text).unwrap();
    let lines: Vec<_> = file.lines().map(|line| (line.vers.to_string(), line.yanked)).collect();
    assert_eq!(lines, [("1.0.0".to_owned(), false), ("1.0.1+x".to_owned(), false), ("0.9.0".to_owned(), true)]);
    assert_eq!(file.get(&v("1.0.1")), None);
    assert_eq!(file.twin_of(&v("1.0.1")).unwrap().vers, v("1.0.1+x"));
    assert_eq!(file.as_bytes(), text.as_bytes());
    assert_eq!(file.line_bytes(file.get(&v("1.0.0")).unwrap()), line("1.0.0", "").trim_end().as_bytes());
    assert_eq!(parse("").unwrap(), IndexFile::default());
}

#[test]
fn each_refusal_names_the_line() {
    let good = line("1.0.0", "");
    let cases = [
        (good.trim_end().to_owned(), "line 1 has no newline"),
        (format!("{good}\n"), "line 2 is not readable: EOF"),
        (format!("{good}{{}}\n"), "line 2 is not readable: missing field `name`"),
        (format!("{good}{good}"), "line 2 has the version 1.0.0, but there is 1.0.0"),
        (format!("{good}{}", line("1.0.0+b", "")), "line 2 has the version 1.0.0+b, but there is 1.0.0"),
        (format!("{good}{}", line("2.0.0", "").replace("\"a\"", "\"b\"")), "line 2 is of the crate `b`"),
        (line("1.0", ""), "`1.0` is not a semantic version"),
        (line("1.0.0", ",\"yanked\":1"), "`yanked` is not a boolean"),
        (line("1.0.0", ",\"yanked\":false,\"yanked\":true"), "duplicate field `yanked`"),
        (good.replace("9f86", "9F86"), "64 lower-case hexadecimal digits"),
        (good.replace('{', "[{").replace('}', "}]"), "not readable"),
    ];
    for (text, part) in cases {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn yanking_changes_one_value() {
    let before =
        [line("1.0.0", ",\"yanked\":false,\"x\":\"yanked\""), line("1.1.0", ""), line("1.2.0", ",\"yanked\" : null ")];
    let mut file = parse(&before.concat()).unwrap();
    assert_eq!(file.set_yanked(&v("9.0.0"), true), None);
    assert_eq!(file.set_yanked(&v("1.0.0+b"), true), None, "a twin is not the version");
    assert_eq!(file.set_yanked(&v("1.0.0"), false), Some(false));
    assert_eq!(file.as_bytes(), before.concat().as_bytes());
    for vers in ["1.0.0", "1.1.0", "1.2.0"] {
        assert_eq!(file.set_yanked(&v(vers), true), Some(true));
        assert_eq!(file.set_yanked(&v(vers), true), Some(false));
    }
    let after = [
        line("1.0.0", ",\"yanked\":true,\"x\":\"yanked\""),
        line("1.1.0", ",\"yanked\":true"),
        line("1.2.0", ",\"yanked\" : true "),
    ];
    assert_eq!(String::from_utf8_lossy(file.as_bytes()), after.concat());
}

#[test]
fn insert_appends_and_refuses_twins() {
    let mut file = parse(&line("1.0.0", ",\"unknown\":[1, 2]")).unwrap();
    file.insert(&entry("1.1.0+b")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(file.as_bytes()),
        format!("{}{}", line("1.0.0", ",\"unknown\":[1, 2]"), entry("1.1.0+b").to_line())
    );
    assert_eq!(file, IndexFile::parse(file.as_bytes().to_vec()).unwrap());
    let before = file.clone();
    let error = file.insert(&entry("1.1.0")).unwrap_err();
    assert_eq!(error, IndexError::Twin { line: 3, vers: v("1.1.0"), twin: v("1.1.0+b") });
    let other = IndexEntry { name: CrateName::parse("A").unwrap(), ..entry("3.0.0") };
    assert!(matches!(file.insert(&other).unwrap_err(), IndexError::Name { line: 3, .. }));
    assert_eq!(file, before);
}

#[test]
fn the_first_line_that_repeats_a_version_is_named() {
    let lines = ["2.0.0", "1.0.0", "3.0.0", "1.0.0+b", "3.0.0", "2.0.0", "1.0.0"].map(|version| line(version, ""));
    let error = IndexFile::parse(lines.concat().into()).unwrap_err();
    assert_eq!(error, IndexError::Twin { line: 4, vers: v("1.0.0+b"), twin: v("1.0.0") });
    let file = IndexFile::parse(lines[..3].concat().into()).unwrap();
    for version in ["1.0.0", "2.0.0+x", "3.0.0"] {
        assert!(file.twin_of(&v(version)).unwrap().vers.is_twin_of(&v(version)), "{version}");
    }
    assert!(file.twin_of(&v("1.0.1")).is_none() && file.get(&v("2.0.0+x")).is_none());
}

#[test]
fn a_file_that_grows_has_the_etag_of_its_bytes() {
    let mut file = IndexFile::default();
    for number in 0..20 {
        if number % 3 > 0 {
            assert_eq!(file.etag(), etag(file.as_bytes()), "asked before line {number}");
        }
        file.insert(&entry(&format!("1.{number}.0"))).unwrap();
        assert_eq!(file.clone().etag(), etag(file.as_bytes()), "line {number}");
    }
    file.set_yanked(&v("1.3.0"), true);
    assert_eq!(file.etag(), etag(file.as_bytes()));
}

#[test]
fn etags_are_pinned() {
    assert_eq!(etag(b"test"), "\"9f86d081884c7d659a2feaa0c55ad015\"");
    assert!(etag(b"").bytes().all(|byte| byte.is_ascii_graphic()), "Cargo panics on anything else");
}

/// A line with `yanked` in any state and fields that nobody knows around it.
fn any_rest() -> impl Strategy<Value = String> {
    let flag = prop_oneof![
        Just(String::new()),
        Just(",\"yanked\":true".to_owned()),
        Just(",\"yanked\":false".to_owned()),
        Just(" , \"yanked\" :  null ".to_owned()),
    ];
    ("[ -!#-\\[\\]-~é]{0,12}", flag, "[ -!#-\\[\\]-~]{0,12}").prop_map(|(one, flag, two)| {
        format!(",\"p\":{{\"yanked\":\"{one}\"}}{flag},\"q\":\"{two}\\\"yanked\\\":true\"")
    })
}

proptest! {
    #[test]
    fn set_yanked_leaves_all_other_bytes_alone(rests in prop::collection::vec(any_rest(), 1..6), at in any::<prop::sample::Index>(), yanked: bool) {
        let lines: Vec<_> = rests.iter().enumerate().map(|(i, rest)| line(&format!("1.{i}.0"), rest)).collect();
        let before = parse(&lines.concat()).unwrap();
        let at = at.index(lines.len());
        let mut after = before.clone();
        let changed = after.set_yanked(&v(&format!("1.{at}.0")), yanked).unwrap();
        let flag = |file: &IndexFile| file.lines().nth(at).unwrap().yanked;
        prop_assert_eq!(flag(&after), yanked);
        prop_assert_eq!(changed, flag(&before) != yanked);
        let text = String::from_utf8(after.as_bytes().to_vec()).unwrap();
        for (i, line) in text.split_inclusive('\n').enumerate() {
            if i != at {
                prop_assert_eq!(line, &lines[i]);
                continue;
            }
            let mut expected: serde_json::Value = serde_json::from_str(&lines[i]).unwrap();
            if changed { expected["yanked"] = yanked.into(); }
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap(), expected);
        }
        // And back again: the bytes return, unless the flag was missing or null.
        let _ = after.set_yanked(&v(&format!("1.{at}.0")), flag(&before));
        if rests[at].contains("true,") || rests[at].contains("\"yanked\":false") {
            prop_assert_eq!(after.as_bytes(), before.as_bytes());
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = IndexFile::parse(bytes.clone()) {
            prop_assert_eq!(file.as_bytes(), bytes);
        }
    }
}

//! Names: the rules one by one, then their laws over arbitrary text.

use proptest::prelude::*;

use super::*;

#[test]
fn each_refusal_has_its_own_text() {
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    let endless = "a".repeat(100_000);
    let cases: [(&str, NameError, &str); 8] = [
        ("", NameError::Empty, "is empty"),
        (&long, NameError::TooLong { name: long.clone(), bytes: 65 }, "has 65 characters"),
        (&endless, NameError::TooLong { name: format!("{}…", &endless[..200]), bytes: 100_000 }, "at most 64"),
        ("1st", NameError::Start { name: "1st".into(), char: '1' }, "starts with '1'"),
        ("_x", NameError::Start { name: "_x".into(), char: '_' }, "must start with an ASCII letter"),
        ("caffè", NameError::Char { name: "caffè".into(), char: 'è' }, "character 'è'"),
        ("../etc", NameError::Char { name: "../etc".into(), char: '.' }, "character '.'"),
        ("a b", NameError::Char { name: "a b".into(), char: ' ' }, "character ' '"),
    ];
    for (name, expected, text) in cases {
        let error = CrateName::parse(name).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(CrateName::parse(&long[1..]).is_ok());
}

#[test]
fn reserved_names_are_refused_in_every_spelling() {
    let reserved = |name: &str| CrateName::parse(name).unwrap().check_reserved();
    for name in ["nul", "NUL", "Com1", "lpt0", "aux"] {
        assert_eq!(reserved(name), Err(NameError::ReservedWindows { name: name.into() }));
    }
    for name in ["std", "Std", "proc-macro", "proc_macro", "test"] {
        assert_eq!(reserved(name), Err(NameError::ReservedRust { name: name.into() }));
    }
    for name in ["fn", "Self", "gen", "union2"].iter().take(3) {
        assert_eq!(reserved(name), Err(NameError::ReservedKeyword { name: (*name).into() }));
    }
    for name in ["macros", "testing", "nully", "core-types", "union", "a"] {
        assert_eq!(reserved(name), Ok(()), "{name}");
    }
}

#[test]
fn index_paths() {
    for (name, path) in [
        ("a", "1/a"),
        ("aB", "2/ab"),
        ("Abc", "3/a/abc"),
        ("a-b", "3/a/a-b"),
        ("abcd", "ab/cd/abcd"),
        ("Cargo-Util_X", "ca/rg/cargo-util_x"),
    ] {
        let crate_name = CrateName::parse(name).unwrap();
        assert_eq!(crate_name.index_path(), path);
        assert_eq!(CrateName::from_index_path(path).unwrap().as_str(), name.to_ascii_lowercase());
    }
    for wrong in ["", "a", "1/A", "2/a", "1/ab", "3/b/abc", "ab/cd/abce/", "ab/ce/abcd", "Ab/cd/abcd", "/1/a", "1//a"] {
        assert_eq!(CrateName::from_index_path(wrong), None, "{wrong}");
    }
}

#[test]
fn spellings() {
    let name = |text: &str| CrateName::parse(text).unwrap();
    for other in ["foo-bar", "foo_bar", "Foo_Bar", "FOO-BAR"] {
        assert_eq!(name(other).canonical().as_str(), "foo_bar");
    }
    assert!(name("Foo-Bar").answers_to(&name("foo-bar")));
    assert!(!name("foo-bar").answers_to(&name("foo_bar")));
    assert_eq!(Canonical::parse("foo_bar").unwrap().as_str(), "foo_bar");
    assert_eq!(Canonical::parse("foo-bar"), None);
    assert_eq!(Canonical::parse("Foo"), None);
}

proptest! {
    /// The canonical form is a fixed point, and names share it exactly if they differ in case and `-`/`_` alone.
    #[test]
    fn canonical_is_a_fixed_point(a in "[A-Ca-c][A-Ca-c_-]{0,5}", b in "[A-Ca-c][A-Ca-c_-]{0,5}") {
        let (a, b) = (CrateName::parse(&a).unwrap(), CrateName::parse(&b).unwrap());
        let canonical = a.canonical();
        prop_assert_eq!(&CrateName::parse(canonical.as_str()).unwrap().canonical(), &canonical);
        prop_assert_eq!(Canonical::parse(canonical.as_str()), Some(canonical.clone()));
        let fold = |name: &CrateName| name.as_str().chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect::<String>();
        prop_assert_eq!(fold(&a) == fold(&b), canonical == b.canonical());
    }

    /// No text makes the parser panic, and what it takes is safe as a key and a path.
    #[test]
    fn any_text(text in any::<String>()) {
        if let Ok(name) = CrateName::parse(&text) {
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            let back = CrateName::from_index_path(&name.index_path()).unwrap();
            prop_assert_eq!(back.as_str(), text.to_ascii_lowercase());
        }
        let _ = CrateName::from_index_path(&text);
    }
}

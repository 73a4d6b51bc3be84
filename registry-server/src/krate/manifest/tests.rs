//! Packed manifests: what is taken from them, and what is refused.

use super::*;

fn parse(text: &str) -> Result<PackedManifest, ManifestError> {
    PackedManifest::parse(text)
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const PACKAGE: &str = "[package]\nname = \"Foo-Bar\"\nversion = \"1.2.3+b\"\n";

fn with(rest: &str) -> Result<PackedManifest, ManifestError> {
    parse(&format!("{PACKAGE}{rest}"))
}

#[test]
fn dependencies_of_all_tables() {
    let manifest = with(
        r#"
        [dependencies]
        plain = "1.2"
        renamed = { version = "0.4", package = "log", optional = true, default-features = false, features = ["b", "a"] }
        same = { version = "1", package = "same", registry-index = "sparse+https://x.example/index/", public = true }
        [build-dependencies.tool]
        version = "1"
        artifact = ["bin:tool"]
        target = "target"
        [dev-dependencies]
        local = { path = "../local" }
        test-it = "*"
        [target.'cfg( all(unix,not(target_os="macos")) )'.dependencies]
        libc = "0.2"
        [target.x86_64-pc-windows-gnu.dev_dependencies]
        win = "=1.0.0"
        [target.'cfg(windows)'.build_dependencies]
        win = ">=1, <3"
        "#,
    )
    .unwrap();
    let seen: Vec<_> = manifest
        .deps
        .iter()
        .map(|dep| {
            let target = dep.target.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {} {target}", dep.kind.as_str(), dep.name_in_toml, dep.req)
        })
        .collect();
    assert_eq!(
        seen,
        [
            "normal plain ^1.2 ",
            "normal renamed ^0.4 ",
            "normal same ^1 ",
            "build tool ^1 ",
            "dev test-it * ",
            "normal libc ^0.2 cfg(all(unix, not(target_os = \"macos\")))",
            "build win >=1, <3 cfg(windows)",
            "dev win =1.0.0 x86_64-pc-windows-gnu",
        ]
    );
    let [plain, renamed, same, tool, ..] = &manifest.deps[..] else { panic!("{:?}", manifest.deps) };
    assert!(plain.default_features && !plain.optional && plain.features.is_empty() && !plain.public);
    assert_eq!((renamed.package.as_deref(), renamed.features.join(" ").as_str()), (Some("log"), "b a"));
    assert!(renamed.optional && !renamed.default_features);
    assert_eq!((same.package.as_ref(), same.public), (None, true));
    assert_eq!(same.registry_index.as_deref(), Some("sparse+https://x.example/index/"));
    let artifact = tool.artifact.clone().unwrap();
    assert_eq!(
        (artifact.artifact[0].as_str(), artifact.bindep_target.as_deref(), artifact.lib),
        ("bin:tool", Some("target"), false)
    );
}

#[test]
fn the_package_table() {
    let manifest = with(
        "rust-version = \"1.70\"\nlinks = \"z\"\nlicense = \"MIT\"\nlicense-file = \"L\"\ndescription = \"d\"\n\
         keywords = [\"k\"]\ncategories = [\"c\"]\nhomepage = \"h\"\ndocumentation = \"o\"\nrepository = \"r\"\n\
         edition = \"2024\"\nsomething-new = 1\n[features]\na = [\"dep:x\"]\n[lints.rust]\nunsafe_code = \"forbid\"\n",
    )
    .unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.to_string().as_str()), ("Foo-Bar", "1.2.3+b"));
    let text = |value: &Option<String>| value.clone().unwrap();
    assert_eq!(text(&manifest.rust_version), "1.70");
    assert_eq!([text(&manifest.links), text(&manifest.license), text(&manifest.license_file)], ["z", "MIT", "L"]);
    assert_eq!(text(&manifest.description), "d");
    assert_eq!([text(&manifest.homepage), text(&manifest.documentation), text(&manifest.repository)], ["h", "o", "r"]);
    assert_eq!((&manifest.keywords[..], &manifest.categories[..]), (&["k".to_owned()][..], &["c".to_owned()][..]));
    assert_eq!(manifest.features["a"], ["dep:x"]);
    assert_eq!(parse(&PACKAGE.replace("package", "project")).unwrap().name.as_str(), "Foo-Bar");
}

#[test]
fn each_refusal_has_its_own_text() {
    for (text, part) in [
        ("[package", "is not a manifest: TOML parse error at line 1"),
        ("package = 1", "is not a manifest"),
        ("", "has no `[package]`"),
        ("[workspace]\nmembers = [\"a\"]", "publish a member of the workspace"),
        ("[package]\nname = \"a\"", "has no `package.version`"),
        ("[package]\nname = \"a\"\nversion = \"1\"", "is not a manifest"),
        ("[package]\nname = \"9\"\nversion = \"1.0.0\"", "is not a manifest"),
        ("[package]\nname = \"é\"\nversion = \"1.0.0\"", "in the packed Cargo.toml, the crate name `é`"),
        ("[package]\nname = \"a\"\nversion.workspace = true", "`package.version` is left to the workspace"),
    ] {
        assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
    }
    for (rest, part) in [
        ("description.workspace = true", "`package.description` is left to the workspace"),
        ("rust-version.workspace = true", "`package.rust-version` is left to the workspace"),
        ("[dependencies]\nx.workspace = true", "`x` is left to the workspace"),
        ("[target.\"cfg(unix)\".dev-dependencies]\nx.workspace = true", "`x` is left to the workspace"),
        ("[patch.crates-io]\nx = { path = \"y\" }", "`[patch]` or `[replace]`"),
        ("[replace]\n\"x:1.0.0\" = { path = \"y\" }", "`[patch]` or `[replace]`"),
        ("[target.'cfg(']\n[target.'cfg('.dependencies]\nx = \"1\"", "`[target.'cfg(']`"),
        ("[dependencies]\nx = { path = \"y\" }", "the dependency `x` has no version"),
        ("[build-dependencies]\nx = { git = \"https://x.example\" }", "the dependency `x` has no version"),
        ("[dependencies]\nx = \"one\"", "the dependency `x` has the version requirement `one`"),
        ("[dependencies]\nx = { version = \"1\", registry = \"company\" }", "names its registry `company`"),
        ("[features]\n\"a/b\" = []", "is not a manifest"),
    ] {
        let error = with(rest).unwrap_err().to_string();
        assert!(error.contains(part), "{rest}: {error}");
    }
    let not = "not(".repeat(100_000);
    for (target, part) in [
        (format!("cfg({not}"), "it has 400004 bytes, and 1024 are allowed"),
        (format!("cfg({}", &not[..400]), "it opens more than 32 parentheses within each other"),
    ] {
        let error = with(&format!("[target.'{target}'.dependencies]\nx = \"1\"")).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // The TOML parser has a limit of its own.
    let deep = with(&format!("x = {}", "[".repeat(100_000))).unwrap_err().to_string();
    assert!(deep.contains("recurs"), "{deep}");
    let long = refusal(&format!("[package]\nname = {}", "x".repeat(1_000_000)));
    assert!(long.len() < 2000, "{} bytes", long.len());
}

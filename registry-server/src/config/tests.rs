//! Configuration: what is refused, in which words, and that the table is the truth.

use super::*;

fn no_env() -> Vec<(String, String)> {
    Vec::new()
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn problems(toml: &str, pairs: &[(&str, &str)]) -> String {
    Config::from_sources(Some(toml), env(pairs)).expect_err("has to be refused").to_string()
}

#[test]
fn nothing_given_is_a_private_registry_on_loopback_in_a_directory() {
    let config = Config::from_sources(None, no_env()).expect("the defaults are valid");
    assert_eq!(config.public.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.internal.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.visibility, Visibility::Private);
    assert_eq!(config.storage.backend, Backend::File { directory: "./supercargo-data".into() });
    assert_eq!(config.limits.crate_bytes_max, 10 * 1024 * 1024);
    assert_eq!(config.admin_token_file, None);
}

#[test]
fn the_environment_wins_over_the_file() {
    let toml = "[public]\nlisten = \"0.0.0.0:1\"\n[limits]\ncrate_bytes_max = 5\n";
    let config = Config::from_sources(Some(toml), env(&[("SUPERCARGO_PUBLIC_LISTEN", "0.0.0.0:2"), ("PATH", "/bin")]))
        .expect("valid");
    assert_eq!(config.public.listen.port(), 2);
    assert_eq!(config.limits.crate_bytes_max, 5);
}

#[test]
fn every_default_has_the_shape_of_its_key_and_every_key_is_read() {
    for key in keys::KEYS {
        // A value of the wrong shape must be noticed, which proves that the parser reads the key.
        let wrong = match key.kind {
            keys::Kind::Text | keys::Kind::Path => continue,
            _ => "certainly not",
        };
        let storage = if key.name.starts_with("s3.") { "s3" } else { "file" };
        let mut pairs = vec![(key.variable(), wrong.to_owned())];
        if key.name != "storage.kind" {
            pairs.push(("SUPERCARGO_STORAGE_KIND".to_owned(), storage.to_owned()));
        }
        if storage == "s3" {
            pairs.push(("SUPERCARGO_S3_BUCKET".into(), "b".into()));
        }
        let error = Config::from_sources(None, pairs).expect_err(key.name).to_string();
        assert!(error.contains(&key.variable()) && error.contains("certainly not"), "{}: {error}", key.name);
    }
}

#[test]
fn unknown_names_are_refused_and_the_nearest_is_named() {
    let text = problems("[public]\nlitsen = \"0.0.0.0:1\"\n", &[("SUPERCARGO_S3_BUKET", "x")]);
    assert!(text.contains("\"public.litsen\" is unknown; the nearest known one is \"public.listen\""), "{text}");
    assert!(text.contains("SUPERCARGO_S3_BUKET is unknown; the nearest known one is SUPERCARGO_S3_BUCKET"), "{text}");
    let text = problems("listen = \"0.0.0.0:1\"\n", &[]);
    assert!(text.contains("\"listen\"") && text.contains("section"), "{text}");
}

#[test]
fn variables_of_others_are_left_alone() {
    let pairs = [
        ("SUPERCARGO_OPERATOR_LISTEN", "x"),
        ("SUPERCARGO_REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ("SUPERCARGO_REGISTRY_SERVICE_PORT_HTTP", "80"),
        ("SUPERCARGO_REGISTRY_PORT", "tcp://10.0.0.1:80"),
        ("SUPERCARGO_REGISTRY_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    Config::from_sources(None, env(&pairs)).expect("none of these is ours");
}

#[test]
fn all_problems_are_told_at_once_and_values_of_a_wrong_type_are_not_repeated() {
    let toml = "[public]\nlisten = 80\nurl = \"ftp://x\"\n[limits]\ncrate_bytes_max = \"10MiB\"\nentries_max = 0\n[s3]\nbucket = \"b\"\n";
    let text = problems(toml, &[]);
    for part in [
        "\"public.listen\" is a whole number, but has to be an address and port",
        "\"public.url\" is \"ftp://x\", but has to begin with http:// or https://",
        "\"limits.crate_bytes_max\" is a text, but has to be a whole number of bytes",
        "\"limits.entries_max\" is 0",
        "\"s3.bucket\" has no effect while storage.kind is \"file\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("10MiB"), "{text}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    assert!(problems("[storage]\nkind = \"s3\"\n", &[]).contains("\"s3.bucket\" is missing"));
    assert!(problems("[public]\ntls_certificate = \"a.pem\"\n", &[]).contains("needs \"public.tls_private_key\" too"));
    assert!(problems("[limits]\ncrate_bytes_max = 536870913\n", &[]).contains("512 MiB"));
    let text = problems("[limits]\ncrate_bytes_max = 20\nspool_bytes_max = 10\n", &[]);
    assert!(
        text.contains("\"limits.spool_bytes_max\" is 10, which holds no crate of limits.crate_bytes_max (20"),
        "{text}"
    );
    assert!(problems("[storage]\nprefix = \"/a\"\n", &[]).contains("storage.prefix"));
    assert!(problems("[replicas]\nlease_millis = 50\n", &[]).contains("from 100 to 60000"));
    assert!(problems("[replicas]\naddress = \"10.0.0.7\"\n", &[]).contains("a host and a port"));
    assert!(problems("[public\n", &[]).contains("line 1"));
}

#[test]
fn base_urls() {
    for (text, expected) in [
        ("https://crates.example.com", Ok("https://crates.example.com")),
        ("https://crates.example.com/", Ok("https://crates.example.com")),
        ("http://10.0.0.1:30080/crates", Ok("http://10.0.0.1:30080/crates")),
        ("crates.example.com", Err(())),
        ("https://user@crates.example.com", Err(())),
        ("https://crates.example.com/?a", Err(())),
        ("https://crates.example.com/x.git", Err(())),
        ("", Err(())),
    ] {
        let parsed = BaseUrl::parse(text);
        assert_eq!(parsed.as_ref().map(BaseUrl::as_str).map_err(|_| ()), expected, "{text}: {parsed:?}");
    }
    assert_eq!(BaseUrl::parse("http://a").expect("valid").index(), "sparse+http://a/index/");
}

#[test]
fn the_readme_has_the_table() {
    let readme = include_str!("../../README.md");
    let table = keys::markdown();
    assert!(
        readme.contains(&table),
        "registry-server/README.md does not hold this table (supercargo-registry config --markdown):\n{table}"
    );
}

#[test]
fn passwords_in_urls_are_not_repeated() {
    let secret = "s3cr/t:p@ss";
    for text in [
        format!("https://ann:{secret}@crates.example.com"),
        format!("https:/ann:{secret}@crates.example.com"),
        format!("ann:{secret}@crates.example.com"),
    ] {
        let s3 = [("SUPERCARGO_STORAGE_KIND", "s3"), ("SUPERCARGO_S3_BUCKET", "bucket")];
        let told = [
            problems("", &[("SUPERCARGO_PUBLIC_URL", &text)]),
            problems("", &[("SUPERCARGO_S3_ENDPOINT", text.as_str()), s3[0], s3[1]]),
            // Without quotes it is not TOML, and the parser shows the line.
            problems(&format!("[public]\nurl = {text}\n"), &[]),
        ];
        for told in told {
            assert!(told.contains("***@crates.example.com"), "{told}");
            assert!(!["ann", "s3cr", "p@ss"].iter().any(|part| told.contains(part)), "{told}");
        }
    }
    assert_eq!(masked("https://a:b@c"), "https://***@c");
    assert_eq!(masked("https://crates.example.com"), "https://crates.example.com");
}

#[test]
fn nobody_is_sent_from_the_registry_to_itself() {
    let of = |public: &str, url: &str| {
        let toml = format!(
            "[public]\nurl = \"{url}\"\n[storage]\nkind = \"s3\"\n[s3]\nbucket = \"crates\"\npublic_endpoint = \"{public}\"\n"
        );
        Config::from_sources(Some(&toml), []).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(of("https://s3.example.com", "https://crates.example.com"), Ok(()));
    assert_eq!(of("https://crates.example.com:9000", "https://crates.example.com"), Ok(()));
    for public in ["https://crates.example.com", "https://Crates.example.com:443"] {
        let error = of(public, "https://crates.example.com/here").expect_err("the same host and port");
        assert!(error.contains("s3.public_endpoint") && error.contains("public.url"), "{error}");
    }
    for (public, words) in [
        ("crates", "has to begin with"),
        ("https://s3.example.com:65536", "up to 65535"),
        ("https://s3.example.com:", "up to 65535"),
    ] {
        let error = of(public, "https://crates.example.com").expect_err(public);
        assert!(error.contains("s3.public_endpoint") && error.contains(words), "{error}");
    }
}

#[test]
fn a_disk_cache_is_for_what_is_in_a_bucket() {
    let s3 = [("SUPERCARGO_STORAGE_KIND", "s3"), ("SUPERCARGO_S3_BUCKET", "bucket")];
    let disk = |toml: &str, env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_sources(Some(toml), env).map(|config| config.cache.disk).map_err(|error| error.to_string())
    };
    assert_eq!(disk("", &s3), Ok(None));
    let found = disk("[cache]\ndirectory = \"/cache\"\n", &s3).expect("valid").expect("a disk");
    assert_eq!((found.directory.display().to_string().as_str(), found.bytes), ("/cache", 10 << 30));
    for (toml, env, place, words) in [
        ("[cache]\ndirectory = \"/cache\"\n", &s3[..0], "cache.directory", "storage.kind is \"file\""),
        ("[cache]\ndisk_bytes = 1000\n", &s3[..], "cache.disk_bytes", "needs \"cache.directory\""),
        ("[cache]\ndirectory = \"/cache\"\ndisk_bytes = 0\n", &s3[..], "cache.disk_bytes", "is 0"),
    ] {
        let told = disk(toml, env).expect_err("wrong");
        assert!(told.contains(place) && told.contains(words), "{told}");
    }
}

//! Who may know whom: the order of the house, by the words that a file uses.

use std::fs;

use crate::sources::{all, none, root};

/// A word and the only places that may use it.
struct Reserved {
    word: &'static str,
    places: &'static [&'static str],
    reason: &'static str,
}

const RESERVED: [Reserved; 7] = [
    Reserved {
        word: "aws_sdk_s3",
        places: &["registry-server/src/store/s3", "registry-server/tests/", "operator/src/bucket/", "tests/"],
        reason: "S3 has one adapter per program",
    },
    Reserved {
        word: "warp::",
        // Telemetry names it in a filter: what warp logs of paths may hold a token.
        places: &[
            "registry-server/src/http/",
            "registry-server/src/server/",
            "registry-server/src/telemetry.rs",
            "operator/src/http",
            "tests/",
        ],
        reason: "HTTP stays at the rim",
    },
    Reserved { word: "SystemTime::now", places: CLOCKS, reason: "take the time as an argument" },
    Reserved { word: "Timestamp::now", places: CLOCKS, reason: "take the time as an argument" },
    Reserved { word: "rand::rng()", places: CLOCKS, reason: "take the randomness as an argument" },
    Reserved { word: "rand::random", places: CLOCKS, reason: "take the randomness as an argument" },
    Reserved { word: "Uuid::now_v7", places: CLOCKS, reason: "take the time and the randomness as arguments" },
];

/// Where a program meets the clock and the randomness of its machine.
const CLOCKS: &[&str] = &[
    "operator/src/main.rs",
    "operator/src/runtime.rs",
    "operator/src/context.rs",
    "registry-server/src/main.rs",
    "registry-server/src/ambient.rs",
    "deploy/dev/",
    "tests/",
];

/// Modules that must not use other modules: `(file or folder, what it must not name, reason)`.
const FORBIDDEN: [(&str, &str, &str); 17] = [
    ("registry-server/src/krate/", "crate::store", "meaning does not know bytes"),
    ("registry-server/src/krate/", "crate::registry", "meaning knows no one above"),
    ("registry-server/src/access/", "crate::store", "a decision reads nothing"),
    ("registry-server/src/store/", "crate::krate", "bytes do not know meaning"),
    ("registry-server/src/store/", "crate::registry", "the store knows no one above"),
    ("registry-server/src/replicas/", "crate::catalog", "replicas do not know who follows them"),
    ("registry-server/src/catalog/", "crate::registry", "what search knows knows no one above"),
    ("registry-server/src/downloads/", "crate::registry", "what counts knows no one above"),
    ("registry-server/src/registry/", "crate::http", "the registry does not know HTTP"),
    ("registry-server/src/registry/", "crate::maintenance", "requests wait for no job"),
    ("registry-server/src/maintenance/", "crate::http", "jobs do not know HTTP"),
    ("registry-server/src/http/", "crate::store", "HTTP goes through the registry"),
    ("operator/src/crd/", "kube::Client", "types hold no client"),
    ("operator/src/names.rs", "kube::Client", "names are pure"),
    ("operator/src/registry/build", "Client", "building is pure"),
    ("operator/src/registry/validate", "Client", "validating is pure"),
    ("operator/src/registry/status", "Client", "status is computed, not fetched"),
];

#[test]
fn reserved_words_stay_in_their_places() {
    let mut breaches = Vec::new();
    for source in all() {
        if source.is_test() {
            continue;
        }
        for (number, line) in source.code() {
            for Reserved { word, places, reason } in &RESERVED {
                let allowed = places.iter().any(|place| source.path.starts_with(place));
                if line.contains(word) && !allowed {
                    breaches.push(format!("{}:{number}: `{word}`: {reason}", source.path));
                }
            }
        }
    }
    none(&breaches, "some words are for some files only");
}

#[test]
fn lower_layers_do_not_know_higher_ones() {
    let mut breaches = Vec::new();
    for source in all() {
        if source.is_test() {
            continue;
        }
        for (number, line) in source.code() {
            for (place, word, reason) in &FORBIDDEN {
                if source.path.starts_with(place) && line.contains(word) {
                    breaches.push(format!("{}:{number}: `{word}`: {reason}", source.path));
                }
            }
        }
    }
    none(&breaches, "a file uses only what stands below it");
}

#[test]
fn the_two_programs_do_not_depend_on_each_other() {
    let mut breaches = Vec::new();
    for (folder, others) in [
        ("operator", ["supercargo-registry", "supercargo-dev", "supercargo-tests"]),
        ("registry-server", ["supercargo-operator", "supercargo-dev", "supercargo-tests"]),
        ("deploy/dev", ["supercargo-operator", "supercargo-registry", "supercargo-tests"]),
    ] {
        let path = root().join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("a member's manifest");
        for line in manifest.lines() {
            for other in others.iter().filter(|other| line.starts_with(**other)) {
                breaches.push(format!("{folder}/Cargo.toml depends on {other}"));
            }
        }
    }
    none(&breaches, "only tests/ sees both programs");
}

#[test]
fn every_place_of_a_rule_exists() {
    let sources = all();
    let places = RESERVED.iter().flat_map(|rule| rule.places.iter().copied());
    let gone: Vec<String> = places
        .chain(FORBIDDEN.iter().map(|(place, ..)| *place))
        .filter(|place| !sources.iter().any(|source| source.path.starts_with(place)))
        .map(|place| format!("{place}: no such file; correct the rule"))
        .collect();
    none(&gone, "a rule about a file that is gone guards nothing");
}

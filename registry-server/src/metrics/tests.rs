//! That the table is the truth, and that the README shows it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Counts everything there is to count, once.
fn count_everything() {
    describe();
    Answers::new("public").count("index", StatusCode::OK, Duration::from_millis(1));
    panicked();
    // The gauge stays when the connection has gone.
    drop(OpenConnection::new("public"));
    commit("publish", "ok");
    commit_attempt("publish", "stored");
    head_write("stored", 2);
    cleared("acknowledged");
    evicted(1);
    Reads::new().count(Source::Memory);
    kept_records(1, 0, 1000, 1);
    FileReads::new().count(FileSource::Memory);
    kept_files(1, 1000, 1);
    disk_files(1, 1000, 1);
    disk_trouble("write");
    store_call("get", "found", Duration::from_millis(1));
    audited("written");
    store_proven(true);
    catalog(3, 1, 2);
    downloads_flushed(2);
    downloads_folded("stored");
    compaction("stored");
}

#[test]
fn what_is_counted_is_what_the_table_says() {
    let recorder = builder().build_recorder();
    metrics::with_local_recorder(&recorder, count_everything);
    let text = recorder.handle().render();
    let mut found: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some(("#", rest)) => {
                let mut words = rest.splitn(3, ' ');
                let (what, name, said) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                let entry = found.entry(name).or_default();
                if what == "HELP" { entry.1 = said } else { entry.0 = said }
            }
            _ => {
                let name = line.split(['{', ' ']).next().unwrap();
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                let inside = line.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
                let pairs = inside.split(',').filter_map(|pair| pair.split_once('='));
                labels.entry(name).or_default().extend(pairs.map(|(label, _)| label).filter(|label| *label != "le"));
            }
        }
    }
    let table: BTreeMap<_, _> = METRICS.iter().map(|row| (row.name, (row.kind.word(), row.meaning))).collect();
    assert_eq!(found, table);
    let table: BTreeMap<_, _> = METRICS.iter().map(|row| (row.name, row.labels.iter().copied().collect())).collect();
    assert_eq!(labels, table);
}

/// Whoever counts something new without a row in the table is found here.
#[test]
fn every_name_comes_from_the_table() {
    let source = include_str!("mod.rs");
    for call in ["counter!(", "gauge!(", "histogram!("] {
        for rest in source.split(call).skip(1) {
            let name = rest.split(['.', ',', ')']).next().unwrap();
            assert!(
                name == "metric" || name.chars().all(|char| char.is_ascii_uppercase() || char == '_'),
                "{call}{name}"
            );
        }
    }
}

#[test]
fn the_readme_has_the_table() {
    let readme = include_str!("../../README.md");
    let table = markdown();
    assert!(readme.contains(&table), "registry-server/README.md does not hold this table:\n{table}");
}

//! The faults that a registry over object storage has to survive, each with the tests that are it; and the rules that can be broken, each with the
//! test that breaks it and sees something notice.

#![allow(clippy::unwrap_used, reason = "a test says no by panicking")]
#![allow(missing_docs)]

/// What happens; files of this folder with tests in them.
const SCENARIOS: [(&str, &[(&str, &[&str])]); 12] = [
    (
        "a reply is lost, for a new record, a change, the head; the process dies before it announces, and the command is repeated elsewhere",
        &[
            (
                "faults.rs",
                &[
                    "a_lost_reply_is_recognised_as_our_own_write",
                    "an_outcome_that_stays_unknown_is_told_as_such_and_the_command_can_be_repeated",
                ],
            ),
            ("crashes/main.rs", &["publish_of_a_new_crate_killed_at_every_step"]),
        ],
    ),
    (
        "a put that was given up lands later",
        &[("faults.rs", &["a_write_that_lands_late_lands_once"]), ("crashes/main.rs", &["yank_killed_at_every_step"])],
    ),
    (
        "one version, two replicas, the same bytes or others",
        &[("faults.rs", &["two_replicas_and_one_version_end_with_one_checksum"])],
    ),
    (
        "three spellings of one name on three replicas",
        &[
            ("faults.rs", &["one_of_three_replicas_gets_the_name_and_the_others_are_told"]),
            ("simulation/main.rs", &["no_seed_shows_a_violation"]),
        ],
    ),
    (
        "kill -9 at every step of every change",
        &[(
            "crashes/main.rs",
            &[
                "publish_of_a_new_crate_killed_at_every_step",
                "publish_of_a_version_killed_at_every_step",
                "yank_killed_at_every_step",
                "a_new_owner_killed_at_every_step",
                "an_owner_less_killed_at_every_step",
                "a_new_token_killed_at_every_step",
                "a_revocation_killed_at_every_step",
                "a_crash_that_does_harm_is_noticed",
            ],
        )],
    ),
    (
        "the garbage collection against a publish: it stands still between its listing and a deletion while the same bytes are published; a publish stands still for days; files of 49 hours that nothing names",
        &[
            (
                "maintenance/gc.rs",
                &[
                    "a_gc_paused_between_list_and_delete_while_identical_bytes_are_published_deletes_nothing_referenced",
                    "a_publish_that_sleeps_for_two_days_names_nothing_that_is_gone",
                    "a_ghost_of_49_hours_goes_in_two_runs_and_one_of_47_stays",
                    "what_is_in_doubt_is_left_alone",
                ],
            ),
            ("crashes/maintenance.rs", &["collecting_garbage_killed_at_every_step"]),
            ("crashes/main.rs", &["publish_of_a_version_killed_at_every_step"]),
        ],
    ),
    (
        "a replica is stopped or cut off while others change things; clocks that differ by as much as is allowed, and by more",
        &[
            ("peers.rs", &["a_replica_that_was_stopped_shows_nothing_old"]),
            ("replicas.rs", &["cut_off_from_the_store_strict_answers_nothing_and_available_index_files_for_a_while"]),
            ("simulation/main.rs", &["no_seed_shows_a_violation", "soak_clocks_beyond_the_bound_are_noticed"]),
        ],
    ),
    (
        "a read is overtaken by a change",
        &[
            ("replicas.rs", &["a_read_that_a_change_overtook_is_not_kept_and_not_shared"]),
            ("simulation/main.rs", &["every_broken_rule_is_noticed"]),
        ],
    ),
    (
        "the head is throttled for long; more changes than its ring holds",
        &[
            ("faults.rs", &["a_head_that_is_throttled_for_long_loses_nothing"]),
            ("replicas.rs", &["more_changes_than_the_ring_holds_while_a_replica_slept_empty_its_memory"]),
        ],
    ),
    (
        "a store that lies",
        &[(
            "store_proof.rs",
            &[
                "a_store_that_ignores_the_condition_header_is_refused",
                "a_store_that_checks_before_the_body_is_refused",
                "a_store_whose_nodes_do_not_know_of_each_other_is_refused",
                "a_store_with_stale_gets_is_refused",
                "a_store_with_stale_lists_is_refused",
                "s3s_fs_is_refused",
                "a_store_that_wants_bare_etags_is_proven_and_spoken_to",
            ],
        )],
    ),
    (
        "a token is revoked under load",
        &[
            ("replicas.rs", &["a_revoked_token_is_refused_everywhere_when_the_call_returns"]),
            ("faults.rs", &["tokens_survive_lost_replies_and_stay_revoked"]),
            ("simulation/main.rs", &["no_seed_shows_a_violation"]),
        ],
    ),
    (
        "jobs in the background are killed, or run twice; bytes are cut or turned over; every status there is on every call",
        &[
            (
                "crashes/jobs.rs",
                &["adding_up_downloads_killed_at_every_step", "writing_the_catalog_killed_at_every_step"],
            ),
            (
                "crashes/maintenance.rs",
                &["sweeping_marks_killed_at_every_step", "putting_back_what_was_damaged_killed_at_every_step"],
            ),
            ("maintenance/gc.rs", &["two_collections_at_once_are_harmless_and_old_probes_go_too"]),
            ("downloads.rs", &["every_download_is_counted_once"]),
            ("catalog.rs", &["of_two_that_write_the_catalog_one_is_overtaken"]),
            ("faults.rs", &["a_read_that_breaks_off_is_begun_again", "a_bit_that_was_turned_over_is_never_shown"]),
            ("../src/store/s3/tests.rs", &["no_status_is_taken_for_success"]),
        ],
    ),
];

/// A rule that can be broken, by the name of its mutant, and what goes wrong then.
type Broken = (&'static str, &'static str);

/// Where rules are; per test that breaks some of them and sees something notice, those rules. A file of tests is this folder's.
const MUTANTS: [(&str, &[(&str, &str, &[Broken])]); 4] = [
    (
        "src/replicas/rules.rs",
        &[
            (
                "simulation/main.rs",
                "every_broken_rule_is_noticed",
                &[
                    ("CommitBeforeAcks", "the answer comes before the acknowledgements"),
                    ("MarkIgnored", "a marked record is kept in memory"),
                    ("LateReaderShares", "a late reader shares a read"),
                    ("EvictAtOnce", "a silent member is evicted by removing it at once"),
                    ("AckBeforeApply", "a notice is acknowledged before it is applied"),
                    ("EpochNotCompared", "the epoch is not compared"),
                    ("ServesBeforeJoined", "a replica serves from memory before it has joined"),
                    ("MembersBeforeCas", "the members are those of a head before the swap"),
                    ("EvictingRenews", "a member that is being evicted renews its lease"),
                    ("NoMinRev", "nobody remembers what was announced"),
                    ("JoinReplacesAddress", "a join replaces the member of the same address"),
                    ("ValueBeforeClock", "first the value, then the clock"),
                    ("NoLeaseCheck", "the lease is not looked at"),
                    ("TokenNotCleared", "a token is revoked without clearing it"),
                    ("BlobAfterRecord", "the bytes come after the record"),
                    ("NameNotFolded", "the canonical name is not folded"),
                ],
            ),
            (
                "simulation/main.rs",
                "soak_every_broken_rule_is_noticed",
                &[
                    ("PollStampedAtEnd", "a lease counts from the end of the poll"),
                    ("GapKeepsFills", "a gap in the ring keeps reads under way"),
                    ("LeaveCasFirst", "who leaves goes out of the head first"),
                    ("LeaveRevalidates", "who leaves renews its lease"),
                    ("NoMargin", "no margin for clocks"),
                    ("JoinStampedAtEnd", "a join counts from its end"),
                    ("JoinEpochReused", "an epoch is used for two joins"),
                ],
            ),
            (
                "replicas.rs",
                "without_a_lease_a_head_that_was_asked_for_before_the_reader_came_proves_nothing",
                &[("SoloOnOlderHead", "a lone replica trusts an older head")],
            ),
            (
                "faults.rs",
                "a_refusal_after_an_unknown_outcome_is_looked_into",
                &[("RefusedAfterUnknown", "412 is read as a failure after an unknown outcome")],
            ),
        ],
    ),
    (
        "src/downloads/rules.rs",
        &[(
            "downloads.rs",
            "every_broken_rule_is_noticed",
            &[
                ("FoldRetriedBlindly", "a counter is added up twice"),
                ("DeletedBeforeNamed", "what was counted is deleted before the total names it"),
                ("RenumberedAfterUnknown", "what may be stored is stored again under another number"),
                ("GapFolded", "a delta is added over a gap"),
                ("ForgottenAtOnce", "a counter is forgotten while its deltas may still land"),
            ],
        )],
    ),
    (
        "src/maintenance/gc/rules.rs",
        &[(
            "maintenance/gc.rs",
            "every_broken_rule_of_the_collection_loses_a_file",
            &[
                ("NoGrace", "garbage is collected without a grace"),
                ("MarksIgnored", "a write under way is not respected"),
                ("NoSecondLook", "a plan is acted on without a second look"),
            ],
        )],
    ),
    (
        "src/store/s3/rules.rs",
        &[(
            "../src/store/s3/tests.rs",
            "a_writer_whose_put_is_repeated_takes_its_own_success_for_a_defeat",
            &[("ConditionalPutRepeated", "the SDK repeats a compare-and-swap")],
        )],
    ),
];

/// The files below a folder, and what is in them.
fn files_below(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
}

/// The names in the `enum` of a file of rules.
fn mutants_in(text: &str) -> Vec<&str> {
    let (_, body) = text.split_once("Mutant {").expect("an enum of mutants");
    let body = body.split_once("\n}").expect("its end").0;
    body.lines()
        .map(str::trim)
        .filter_map(|line| line.strip_suffix(','))
        .filter(|line| !line.starts_with('/'))
        .collect()
}

#[test]
fn every_rule_that_can_be_broken_is_broken_by_a_test() {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    files_below(&package.join("src"), &mut sources);
    let with_rules = sources.iter().filter(|(_, text)| text.contains("= crate::rules::Rules<"));
    let mut with_rules: Vec<_> = with_rules.map(|(path, _)| path.as_str()).collect();
    with_rules.sort_unstable();
    let mut listed: Vec<_> = MUTANTS.iter().map(|(rules, _)| package.join(rules).display().to_string()).collect();
    listed.sort_unstable();
    assert_eq!(with_rules, listed, "files of rules, and those in the table");
    for (rules, tests) in MUTANTS {
        let text = std::fs::read_to_string(package.join(rules)).expect(rules);
        let mut wanted = mutants_in(&text);
        let mut broken: Vec<_> = tests.iter().flat_map(|(.., broken)| broken.iter().map(|(name, _)| *name)).collect();
        wanted.sort_unstable();
        broken.sort_unstable();
        assert!(!wanted.is_empty());
        assert_eq!(broken, wanted, "{rules}: every mutant is in the table once");
        for (file, test, broken) in tests {
            let path = package.join("tests").join(file);
            let mut texts = vec![(String::new(), std::fs::read_to_string(&path).expect(file))];
            assert!(texts[0].1.contains(&format!("fn {test}(")), "there is no {test} in {file}");
            if path.ends_with("main.rs") {
                files_below(path.parent().unwrap(), &mut texts);
            }
            for (name, what) in *broken {
                let by_name = format!("Mutant::{name}");
                // The simulation tells in its own table what shows often, and what the soak is for.
                let by_name = match *test {
                    "soak_every_broken_rule_is_noticed" => format!("({by_name}, Shows::Seldom)"),
                    _ if *file == "simulation/main.rs" => format!("({by_name}, Shows::Often)"),
                    _ => by_name,
                };
                let all = text.contains("pub const ALL") && texts.iter().any(|(_, text)| text.contains("Mutant::ALL"));
                let is_broken = all || texts.iter().any(|(_, text)| text.contains(&by_name));
                assert!(is_broken, "{what}: {test} in {file} does not break {name}");
            }
        }
    }
}

#[test]
fn every_scenario_has_its_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (scenario, files) in SCENARIOS {
        for (file, tests) in files {
            let text = std::fs::read_to_string(folder.join(file)).expect(file);
            for test in *tests {
                let (function, row) = (format!("fn {test}("), format!("    {test} => "));
                assert!(text.contains(&function) || text.contains(&row), "{scenario}: there is no {test} in {file}");
            }
        }
    }
}

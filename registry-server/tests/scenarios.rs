//! The faults that a registry over object storage has to survive, each with the tests that are it.

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
            ],
        )],
    ),
    (
        "what was interrupted leaves objects that nothing names, and nobody deletes anything on a failure path",
        &[
            ("crashes/main.rs", &["publish_of_a_version_killed_at_every_step"]),
            ("simulation/main.rs", &["no_seed_shows_a_violation"]),
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
            ("downloads.rs", &["every_download_is_counted_once"]),
            ("catalog.rs", &["of_two_that_write_the_catalog_one_is_overtaken"]),
            ("faults.rs", &["a_read_that_breaks_off_is_begun_again", "a_bit_that_was_turned_over_is_never_shown"]),
            ("../src/store/s3/tests.rs", &["no_status_is_taken_for_success"]),
        ],
    ),
];

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

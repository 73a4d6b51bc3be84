//! The whole registry under simulated time: several replicas with clocks of their own, publishers, yankers, owners, token changes and readers,
//! a store and a network that do what stores and networks do, and checks of what every answer promised.
//!
//! The code under test is the real one; only the clock, the store and the way between replicas are simulated. A seed determines a run:
//! `SUPERCARGO_SEED=17` replays one, `SUPERCARGO_SEEDS=10000` runs that many.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod check;
mod clients;
mod dice;
mod faults;
mod ledger;
mod mutants;
mod process;
mod seeds;
#[path = "../support/mod.rs"]
mod support;
mod wire;
mod world;

use supercargo_registry::replicas::Mutant;

use check::Report;
use mutants::{MUTANTS, SEEDS_MAX, Shows, hunt};
use seeds::{KEPT, over};
use world::{Setting, run};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 300;
/// Seeds of a soak.
const SOAK_SEEDS: u64 = 10_000;
/// So many runs are no more a matter of chance: they have to be busy.
const RUNS_TELLING: u64 = 30;
/// Clocks that differ by more than the design allows for.
const DRIFT_BEYOND_BOUND: f64 = 1.4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Runs the seeds from 0 on, or the one that `SUPERCARGO_SEED` names, and none of them may show a violation. How many there were, and what happened
/// in all of them.
fn no_violation_in(seeds: u64) -> (u64, Report) {
    let seeds = match number("SUPERCARGO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SUPERCARGO_SEEDS").unwrap_or(seeds),
    };
    let (mut all, mut count, mut found) = (Report::default(), 0, None);
    over(seeds.clone(), Setting::of, |seed, report| {
        all.add(report);
        count += 1;
        if count % 500 == 0 {
            println!("{count} of {} seeds", seeds.end - seeds.start);
        }
        found = (!report.violations.is_empty()).then(|| (seed, report.violations.join("\n")));
        found.is_none()
    });
    if let Some((seed, violations)) = found {
        panic!(
            "SUPERCARGO_SEED={seed} cargo test -p supercargo-registry --test simulation no_seed replays this:\n{violations}"
        );
    }
    println!("{count} seeds: {all:?}");
    (count, all)
}

#[test]
fn no_seed_shows_a_violation() {
    let (runs, all) = no_violation_in(SEEDS);
    if runs < RUNS_TELLING {
        return;
    }
    let conflicts = all.failed_writes.get("conflict").copied().unwrap_or(0);
    // A good half of what is seen, for so many runs: a simulation in which less happens shows less.
    for (what, seen, runs_per, least) in [
        ("reads", all.reads, 1, 190),
        ("downloads", all.downloads, 1, 7),
        ("writes", all.writes, 1, 10),
        ("publishes of other bytes that were refused", conflicts, 2, 3),
        ("writes of the head", all.heads, 1, 27),
        ("marks of dead writers that were taken away", all.sweeps, 10, 2),
    ] {
        let floor = runs / runs_per * least;
        assert!(seen >= floor, "{what}: {seen} in {runs} runs, and {floor} are the least: {all:?}");
    }
}

#[test]
fn no_kept_seed_shows_a_violation() {
    for seed in KEPT {
        let violations = run(seed, Setting::of(seed)).violations;
        assert!(violations.is_empty(), "SUPERCARGO_SEED={seed}:\n{}", violations.join("\n"));
    }
}

#[test]
fn a_seed_replays() {
    for seed in 0..6 {
        let once = format!("{:?}", run(seed, Setting::of(seed)));
        assert_eq!(once, format!("{:?}", run(seed, Setting::of(seed))), "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    hunt_all(Shows::Often, SEEDS_MAX);
}

/// `cargo dev soak` runs this and what follows.
#[test]
#[ignore = "takes minutes: cargo dev soak"]
fn soak_no_seed_shows_a_violation() {
    no_violation_in(SOAK_SEEDS);
}

#[test]
#[ignore = "takes minutes: cargo dev soak"]
fn soak_every_broken_rule_is_noticed() {
    hunt_all(Shows::Seldom, number("SUPERCARGO_SEEDS").unwrap_or(5 * SEEDS_MAX));
}

/// The bound on clocks is one: the checks see what happens beyond it.
#[test]
#[ignore = "takes minutes: cargo dev soak"]
fn soak_clocks_beyond_the_bound_are_noticed() {
    let setting = |seed| Setting { clock_ratio: DRIFT_BEYOND_BOUND, ..Setting::of(seed) };
    let mut shown = None;
    over(0..number("SUPERCARGO_SEEDS").unwrap_or(5 * SEEDS_MAX), setting, |seed, report| {
        shown = report.violations.first().map(|violation| format!("seed {seed}: {violation}"));
        shown.is_none()
    });
    println!("clocks {DRIFT_BEYOND_BOUND} apart: {}", shown.expect("nothing was noticed"));
}

/// All that show so, or the one that `SUPERCARGO_MUTANT` names.
fn hunt_all(shows: Shows, seeds: u64) {
    let only = std::env::var("SUPERCARGO_MUTANT").ok();
    let wanted = |mutant: &Mutant| only.as_ref().is_none_or(|only| *only == format!("{mutant:?}"));
    let mut missed = Vec::new();
    for mutant in MUTANTS.iter().filter(|mutant| mutant.1 == shows && wanted(&mutant.0)) {
        match hunt(*mutant, seeds) {
            Some((seed, violation)) => println!("{:?}: seed {seed}: {violation}", mutant.0),
            None => missed.push(mutant.0),
        }
    }
    assert!(missed.is_empty(), "not noticed in {seeds} seeds: {missed:?}");
}

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
mod ledger;
mod mutants;
mod process;
mod wire;
mod world;

use supercargo_registry::replicas::Mutant;

use check::Report;
use mutants::{MUTANTS, SEEDS_MAX, Shows, hunt};
use wire::Weather;
use world::{Setting, run};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn no_seed_shows_a_violation() {
    let seeds = match number("SUPERCARGO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SUPERCARGO_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Report::default();
    for seed in seeds.clone() {
        let report = run(seed, Setting::default());
        let violations = report.violations.join("\n");
        assert!(violations.is_empty(), "SUPERCARGO_SEED={seed} replays this:\n{violations}");
        all.add(&report);
    }
    println!("{} seeds: {all:?}", seeds.clone().count());
    assert!(seeds.count() < 30 || all.sweeps > 0, "nobody swept: {all:?}");
    assert!(all.reads > 100 && all.writes > 10, "a simulation in which nothing happens shows nothing: {all:?}");
}

#[test]
fn a_seed_replays() {
    for seed in 0..6 {
        let once = format!("{:?}", run(seed, Setting::default()));
        assert_eq!(once, format!("{:?}", run(seed, Setting::default())), "seed {seed}");
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    hunt_all(Shows::Often, SEEDS_MAX);
}

/// For the soak: `cargo test -p supercargo-registry --test simulation -- --ignored`.
#[test]
#[ignore = "takes half an hour"]
fn every_broken_rule_is_noticed_the_seldom_ones_too() {
    hunt_all(Shows::Seldom, number("SUPERCARGO_SEEDS").unwrap_or(5 * SEEDS_MAX));
}

/// The rules hold in rough weather too.
#[test]
#[ignore = "takes minutes"]
fn no_seed_shows_a_violation_in_rough_weather() {
    let setting = Setting { weather: Weather::rough(), ..Setting::default() };
    for seed in 0..number("SUPERCARGO_SEEDS").unwrap_or(SEEDS_MAX) {
        let violations = run(seed, setting).violations;
        assert!(violations.is_empty(), "seed {seed} in rough weather:\n{}", violations.join("\n"));
    }
}

/// All that show so, or the one that `SUPERCARGO_MUTANT` names.
fn hunt_all(shows: Shows, seeds: u64) {
    let only = std::env::var("SUPERCARGO_MUTANT").ok();
    let wanted = |mutant: &Mutant| only.as_ref().is_none_or(|only| *only == format!("{mutant:?}"));
    for mutant in MUTANTS.iter().filter(|mutant| mutant.1 == shows && wanted(&mutant.0)) {
        let found = hunt(*mutant, seeds);
        let (seed, violation) = found.unwrap_or_else(|| panic!("{:?} was not noticed in {seeds} seeds", mutant.0));
        println!("{:?}: seed {seed}: {violation}", mutant.0);
    }
}

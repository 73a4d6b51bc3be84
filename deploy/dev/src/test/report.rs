//! What is said at the end: a line per step, slowest steps, failures, and the sum as the very last line.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::check::Tally;
use crate::progress::{say, seconds, tell};

/// How many steps are named as the slowest.
const SLOWEST: usize = 3;

/// How one step went.
#[derive(Debug)]
pub(super) struct Outcome {
    name: &'static str,
    tally: Tally,
    time: Duration,
}

impl Outcome {
    /// A step that could not run at all failed once, with its reason told here.
    pub(super) fn of(name: &'static str, result: Result<Tally>, time: Duration) -> Self {
        let tally = result.unwrap_or_else(|error| {
            tell(format_args!("{name}: {error:#}"));
            Tally::one_failed(name)
        });
        Self { name, tally, time }
    }

    fn mark(&self) -> char {
        if self.tally.holds() { '✓' } else { '✗' }
    }

    /// One line, when the step has ended.
    pub(super) fn tell(&self) {
        let Tally { passed, failed } = &self.tally;
        let failed = if failed.is_empty() { String::new() } else { format!(", {} failed", failed.len()) };
        tell(format_args!("{} {:<12} {passed} passed{failed} ({})", self.mark(), self.name, seconds(self.time)));
    }
}

/// All steps that ran.
#[derive(Debug, Default)]
pub(super) struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    /// One step more.
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Whether every step held.
    pub(super) fn all_hold(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.tally.holds())
    }

    /// The table, to standard output.
    pub(super) fn print(&self, logs: &Path) {
        for line in self.lines(&logs.display().to_string()) {
            say(line);
        }
    }

    fn lines(&self, logs: &str) -> Vec<String> {
        let mut lines = vec![String::new(), format!("   {:<12} {:>7} {:>7}  time", "step", "passed", "failed")];
        for outcome in &self.outcomes {
            let Tally { passed, failed } = &outcome.tally;
            let (mark, name, time) = (outcome.mark(), outcome.name, seconds(outcome.time));
            lines.push(format!(" {mark} {name:<12} {passed:>7} {:>7}  {time}", failed.len()));
        }
        let mut slowest: Vec<&Outcome> = self.outcomes.iter().collect();
        slowest.sort_by_key(|outcome| std::cmp::Reverse(outcome.time));
        let slowest: Vec<String> =
            slowest.iter().take(SLOWEST).map(|outcome| format!("{} {}", outcome.name, seconds(outcome.time))).collect();
        let total: Duration = self.outcomes.iter().map(|outcome| outcome.time).sum();
        lines.push(format!("\nslowest: {}; all together {}; logs: {logs}", slowest.join(", "), seconds(total)));
        let failed: Vec<String> = self
            .outcomes
            .iter()
            .flat_map(|outcome| outcome.tally.failed.iter().map(|test| format!("  {}: {test}", outcome.name)))
            .collect();
        if !failed.is_empty() {
            lines.push(format!("failed:\n{}", failed.join("\n")));
        }
        let passed: usize = self.outcomes.iter().map(|outcome| outcome.tally.passed).sum();
        lines.push(format!("{passed} passed, {} failed", failed.len()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &'static str, passed: usize, failed: &[&str]) -> Outcome {
        let tally = Tally { passed, failed: failed.iter().map(|name| (*name).to_owned()).collect() };
        Outcome { name, tally, time: Duration::from_secs(passed as u64) }
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let report = Report { outcomes: vec![outcome("format", 1, &[]), outcome("unit", 20, &["a::b", "c"])] };
        let lines = report.lines("/logs");
        assert_eq!(lines.last().map(String::as_str), Some("21 passed, 2 failed"));
        assert!(lines.iter().any(|line| line.contains("slowest: unit 20 s, format 1.0 s")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("unit: a::b")), "{lines:?}");
        assert!(!report.all_hold());
    }

    #[test]
    fn a_step_that_looked_at_nothing_does_not_hold() {
        let report = Report { outcomes: vec![outcome("unit", 0, &[])] };
        assert!(!report.all_hold());
    }
}

//! What a step found: how many tests passed and which failed, read from what Rust's test harness prints.

/// Passed and failed tests of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many passed.
    pub(crate) passed: usize,
    /// Names of those that failed.
    pub(crate) failed: Vec<String>,
}

impl Tally {
    /// A step that is one check, and held.
    pub(crate) fn one_passed() -> Self {
        Self { passed: 1, failed: Vec::new() }
    }

    /// A step that is one check, and did not hold.
    pub(crate) fn one_failed(name: &str) -> Self {
        Self { passed: 0, failed: vec![name.to_owned()] }
    }

    /// One named check more.
    pub(crate) fn add(&mut self, name: &str, holds: bool) {
        if holds {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
    }

    /// All of `other`, too.
    pub(crate) fn extend(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
    }

    /// Whether something was looked at and nothing failed.
    pub(crate) fn holds(&self) -> bool {
        self.passed > 0 && self.failed.is_empty()
    }

    /// Sums up the output of `cargo test`, which ended well or not.
    ///
    /// A run that failed without a failed test (it did not compile, or a test killed its process) counts as one failure
    /// named `step`.
    pub(crate) fn of_cargo_test(output: &str, ended_well: bool, step: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines() {
            if let Some(rest) = line.strip_prefix("test result: ") {
                tally.passed += rest.split_whitespace().nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
            } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
                tally.failed.push(name.trim_end_matches(" - should panic").to_owned());
            }
        }
        if !ended_well && tally.failed.is_empty() {
            tally.failed.push(step.to_owned());
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a::b ... ok
test a::c ... FAILED
test d ... ok

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

running 1 test
test src/lib.rs - x (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.41s
";

    #[test]
    fn the_harness_is_understood() {
        let tally = Tally::of_cargo_test(OUTPUT, false, "unit");
        assert_eq!(tally, Tally { passed: 3, failed: vec!["a::c".into()] });
    }

    #[test]
    fn what_does_not_compile_is_a_failure() {
        let tally = Tally::of_cargo_test("error[E0308]: mismatched types", false, "unit");
        assert_eq!(tally, Tally::one_failed("unit"));
        assert!(!tally.holds() && !Tally::default().holds() && Tally::one_passed().holds());
    }
}

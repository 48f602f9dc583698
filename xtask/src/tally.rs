//! Counting what test programs report.

use std::fmt;

/// The sum over all test programs of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that were not run because they are marked so.
    pub(crate) ignored: u64,
    /// Programs that ran at least one test.
    pub(crate) programs: u64,
    /// The names of those that failed.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Takes one line of a test program's output.
    pub(crate) fn take(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.take_result(rest);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    /// Takes what follows `test result: `, as in `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
    fn take_result(&mut self, rest: &str) {
        let counts = rest.split_once(". ").map_or("", |(_, counts)| counts);
        let mut ran = 0;
        for part in counts.split(';') {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => continue,
            }
            ran += number;
        }
        self.programs += u64::from(ran > 0);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, ignored, programs, failures: _ } = self;
        write!(out, "{passed} passed, {failed} failed, {ignored} ignored in {programs} test programs")
    }
}

#[cfg(test)]
mod tests {
    //! Lines as test programs write them.

    use super::Tally;

    #[test]
    fn results_add_up_over_programs() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test b::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.01s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.take(line);
        }
        assert_eq!(tally.to_string(), "7 passed, 1 failed, 1 ignored in 2 test programs");
        assert_eq!(tally.failures, ["b::c"]);
    }
}

//! What the test harness prints, counted. Pure.

/// Counts of one or several test binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    ignored: Vec<String>,
    failures: Vec<String>,
}

impl Tally {
    /// Takes one line of `cargo test`'s standard output.
    pub fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            // `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if outcome == "FAILED" {
                self.failures.push(name.to_owned());
            } else if outcome == "ignored" || outcome.starts_with("ignored,") {
                self.ignored.push(name.to_owned());
            }
        }
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored.extend(other.ignored);
        self.failures.extend(other.failures);
    }

    /// Tests that passed.
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// Tests that failed. The sums of the harness count: with output in between, a name may be missed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Names of failed tests.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Names of tests marked `#[ignore]`.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

fn count(result: &str, word: &str) -> usize {
    result
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_harness() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test engine::tests::start ... ok",
            "test wire::round_trip ... FAILED",
            "test slow ... ignored, needs an hour",
            "test src/lib.rs - plan (line 3) ... ignored",
            "test a line of a program that begins alike",
            "test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
        ] {
            tally.line(line);
        }
        assert_eq!((tally.passed(), tally.failed()), (41, 1));
        assert_eq!(tally.failures(), ["wire::round_trip"]);
        assert_eq!(tally.ignored(), ["slow", "src/lib.rs - plan (line 3)"]);
        let mut sum = Tally::default();
        sum.add(tally.clone());
        sum.add(tally);
        assert_eq!((sum.passed(), sum.failed(), sum.ignored().len(), sum.failures().len()), (82, 2, 4, 2));
    }
}

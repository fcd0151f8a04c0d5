//! Warnings of a checker that is good: told when they are new, kept for status.
//!
//! Here: which warning is new. Not here: what warns (`check`), who is told (the director's).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::state::{Outcome, Verdict};

/// The last warning of each url of a checker (0 for checkers without urls).
#[derive(Debug, Default)]
pub(crate) struct Warnings(BTreeMap<usize, Arc<str>>);

impl Warnings {
    /// Takes the outcome of a run; whether its warning is another than the last one of the same url.
    /// Runs that are not good say nothing about what a good one warned of.
    pub fn note(&mut self, url: usize, outcome: &Outcome) -> bool {
        match (outcome.verdict, &outcome.warning) {
            (Verdict::Good(_), Some(warning)) => {
                self.0.insert(url, warning.clone()).is_none_or(|before| before != *warning)
            }
            (Verdict::Good(_), None) => {
                self.0.remove(&url);
                false
            }
            (Verdict::Bad | Verdict::Unknown | Verdict::Silent, _) => false,
        }
    }

    /// The first url's that has one.
    pub fn shown(&self) -> Option<Arc<str>> {
        self.0.values().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_new_once_a_change_and_url() {
        let mut warnings = Warnings::default();
        let good = |text: &str| Outcome::good("x").warned((!text.is_empty()).then(|| text.into()));
        for (name, url, outcome, new, shown) in [
            ("none", 0, good(""), false, None),
            ("first", 0, good("13 days"), true, Some("13 days")),
            ("the same", 0, good("13 days"), false, Some("13 days")),
            ("of another url", 1, good("2 days"), true, Some("13 days")),
            ("the first one again", 0, good("13 days"), false, Some("13 days")),
            ("a failure changes nothing", 0, Outcome::bad("x"), false, Some("13 days")),
            ("a day later", 0, good("12 days"), true, Some("12 days")),
            ("renewed", 0, good(""), false, Some("2 days")),
            ("renewed too", 1, good(""), false, None),
            ("again", 0, good("13 days"), true, Some("13 days")),
        ] {
            assert_eq!(warnings.note(url, &outcome), new, "{name}");
            assert_eq!(warnings.shown().as_deref(), shown, "{name}");
        }
    }
}

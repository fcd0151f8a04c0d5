//! What is tracked outside of VRRP: names, results, and what a result does to a priority.
//!
//! Here: values and their arithmetic, and which weight counts where an instance and its sync group track the same.
//! Not here: who tracks what (`engine::surroundings`), where results come from (the caller).

use std::fmt;
use std::sync::Arc;

/// Kinds of what is tracked by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackerKind {
    /// vrrp_script
    Script,
    /// track_file
    File,
    /// vrrp_track_process
    Process,
    /// bfd_instance
    Bfd,
}

impl TrackerKind {
    /// As status names it.
    pub fn as_str(self) -> &'static str {
        match self {
            TrackerKind::Script => "script",
            TrackerKind::File => "file",
            TrackerKind::Process => "process",
            TrackerKind::Bfd => "bfd",
        }
    }
}

impl fmt::Display for TrackerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names something tracked whose result arrives from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerId {
    /// Of which kind it is.
    pub kind: TrackerKind,
    /// Unique among its kind.
    pub name: Arc<str>,
}

impl TrackerId {
    /// A vrrp_script.
    pub fn script(name: impl Into<Arc<str>>) -> Self {
        TrackerId { kind: TrackerKind::Script, name: name.into() }
    }

    /// A track_file.
    pub fn file(name: impl Into<Arc<str>>) -> Self {
        TrackerId { kind: TrackerKind::File, name: name.into() }
    }

    /// A vrrp_track_process.
    pub fn process(name: impl Into<Arc<str>>) -> Self {
        TrackerId { kind: TrackerKind::Process, name: name.into() }
    }

    /// A bfd_instance.
    pub fn bfd(name: impl Into<Arc<str>>) -> Self {
        TrackerId { kind: TrackerKind::Bfd, name: name.into() }
    }

    /// Kind, name and result as one says it: `script web failed`, `file f: value 3`.
    pub fn told(&self, result: TrackerResult) -> String {
        let TrackerId { kind, name } = self;
        match (kind, result) {
            (_, TrackerResult::Number(number)) => format!("{kind} {name}: value {number}"),
            (TrackerKind::Script, TrackerResult::Good) => format!("{kind} {name} succeeded"),
            (TrackerKind::Script, TrackerResult::Bad) => format!("{kind} {name} failed"),
            (TrackerKind::Process, TrackerResult::Good) => format!("{kind} {name} runs"),
            (_, result) => format!("{kind} {name}: {result}"),
        }
    }
}

impl fmt::Display for TrackerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// What was found about something tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackerResult {
    /// It is as it should be.
    Good,
    /// It is not.
    Bad,
    /// The number in a file.
    Number(i64),
    /// There are too few or too many processes, or not for long enough the right number: bad.
    Processes {
        /// How many there are.
        running: u32,
        /// Fewest that there must be.
        fewest: u32,
        /// Most that there may be; `None`: any number.
        most: Option<u32>,
    },
}

impl From<bool> for TrackerResult {
    fn from(good: bool) -> Self {
        if good { TrackerResult::Good } else { TrackerResult::Bad }
    }
}

impl fmt::Display for TrackerResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TrackerResult::Good => f.write_str("good"),
            TrackerResult::Bad => f.write_str("bad"),
            TrackerResult::Number(number) => number.fmt(f),
            TrackerResult::Processes { running, fewest, .. } if running < fewest => {
                write!(f, "{running} of {fewest} running")
            }
            TrackerResult::Processes { running, most: Some(most), .. } if running > most => {
                write!(f, "{running} running, at most {most}")
            }
            TrackerResult::Processes { running, .. } => write!(f, "{running} running, not for long enough"),
        }
    }
}

/// What a tracker's result does to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight {
    /// -254..=254; 0: bad means FAULT. Positive: added while good. Negative: added while bad. The number of a
    /// file is multiplied by it.
    pub value: i16,
    /// Contribution negated; with weight 0: good means FAULT.
    pub reverse: bool,
}

/// What a result means with a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This is added to the priority.
    Adds(i32),
    /// The virtual router cannot take part.
    Fault,
    /// There is no result yet, and it may be one that means FAULT.
    Waits,
}

impl Weight {
    /// What `result` means; `None`: there is none yet.
    pub(crate) fn meaning(self, result: Option<TrackerResult>) -> Meaning {
        match (result, self.value) {
            (None, 0) => Meaning::Waits,
            (None, _) => Meaning::Adds(0),
            (Some(TrackerResult::Number(number)), 0) => fault_if((number == 0) == self.reverse),
            (Some(TrackerResult::Number(number)), _) => self.of_number(number),
            (Some(result), 0) => fault_if((result == TrackerResult::Good) == self.reverse),
            (Some(result), _) => Meaning::Adds(self.of_verdict(result == TrackerResult::Good)),
        }
    }

    /// A positive weight while good, a negative one while bad, negated by `reverse`.
    fn of_verdict(self, good: bool) -> i32 {
        match good == (self.value > 0) {
            false => 0,
            true => self.sign() * i32::from(self.value),
        }
    }

    /// The number times the weight, which is at most 253 and with -254 and less a fault.
    fn of_number(self, number: i64) -> Meaning {
        let product = number.saturating_mul(i64::from(self.value)).saturating_mul(self.sign().into());
        match i32::try_from(product.clamp(LEAST.into(), MOST.into())) {
            Ok(product) if product > LEAST => Meaning::Adds(product),
            _ => Meaning::Fault,
        }
    }

    fn sign(self) -> i32 {
        if self.reverse { -1 } else { 1 }
    }
}

/// The product of a file's number and its weight that means FAULT.
const LEAST: i32 = -254;
/// Most that a file adds.
const MOST: i32 = 253;

fn fault_if(fault: bool) -> Meaning {
    if fault { Meaning::Fault } else { Meaning::Adds(0) }
}

/// What an instance, its sync group or both track, with the weight that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a, N> {
    /// What it is.
    pub tracked: &'a N,
    /// The weight that counts.
    pub weight: Weight,
    /// It is the group's.
    pub of_group: bool,
}

/// What an instance (`own`) and its sync group track, each once. What both track has the group's weight, unless the
/// instance's is 0 (as keepalived 2.2.7 has it).
pub fn united<'a, N: PartialEq + 'a>(
    own: impl IntoIterator<Item = &'a (N, Weight)>,
    group: impl IntoIterator<Item = &'a (N, Weight)>,
) -> Vec<Counted<'a, N>> {
    let counted =
        |of_group| move |(tracked, weight): &'a (N, Weight)| Counted { tracked, weight: *weight, of_group };
    let mut united: Vec<Counted<'a, N>> = own.into_iter().map(counted(false)).collect();
    let own = united.len();
    for line in group {
        match united.iter_mut().take(own).find(|known| *known.tracked == line.0) {
            Some(known) if known.weight.value != 0 => *known = counted(true)(line),
            Some(_) => {}
            None => united.push(counted(true)(line)),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_track_counts_once() {
        let plain = |value| Weight { value, reverse: false };
        for (name, own, group, want) in [
            ("the instance alone", vec![("a", 1)], vec![], vec![("a", 1, false)]),
            ("the group alone", vec![], vec![("a", 1)], vec![("a", 1, true)]),
            (
                "both",
                vec![("a", 1), ("b", 2)],
                vec![("c", 3), ("a", 4)],
                vec![("a", 4, true), ("b", 2, false), ("c", 3, true)],
            ),
            ("0 of the instance", vec![("a", 0)], vec![("a", 4)], vec![("a", 0, false)]),
            ("0 of the group", vec![("a", 5)], vec![("a", 0)], vec![("a", 0, true)]),
        ] {
            let [own, group] = [own, group]
                .map(|lines| lines.into_iter().map(|(name, value)| (name, plain(value))).collect::<Vec<_>>());
            let got: Vec<_> = united(&own, &group)
                .iter()
                .map(|one| (*one.tracked, one.weight.value, one.of_group))
                .collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn meanings() {
        use Meaning::{Adds, Fault, Waits};
        use TrackerResult::{Bad, Good, Number};
        let few = TrackerResult::Processes { running: 0, fewest: 1, most: None };
        for (name, value, reverse, result, want) in [
            ("positive while good", 10, false, Some(Good), Adds(10)),
            ("positive while bad", 10, false, Some(Bad), Adds(0)),
            ("positive with too few processes", 10, false, Some(few), Adds(0)),
            ("positive without result", 10, false, None, Adds(0)),
            ("negative while good", -5, false, Some(Good), Adds(0)),
            ("negative while bad", -5, false, Some(Bad), Adds(-5)),
            ("negative with too few processes", -5, false, Some(few), Adds(-5)),
            ("negative without result", -5, false, None, Adds(0)),
            ("positive reversed while good", 10, true, Some(Good), Adds(-10)),
            ("positive reversed while bad", 10, true, Some(Bad), Adds(0)),
            ("negative reversed while bad", -5, true, Some(Bad), Adds(5)),
            ("negative reversed while good", -5, true, Some(Good), Adds(0)),
            ("0 while good", 0, false, Some(Good), Adds(0)),
            ("0 while bad", 0, false, Some(Bad), Fault),
            ("0 with too few processes", 0, false, Some(few), Fault),
            ("0 without result", 0, false, None, Waits),
            ("0 reversed while good", 0, true, Some(Good), Fault),
            ("0 reversed while bad", 0, true, Some(Bad), Adds(0)),
            ("0 reversed with too few processes", 0, true, Some(few), Adds(0)),
            ("0 reversed without result", 0, true, None, Waits),
            ("file", 1, false, Some(Number(3)), Adds(3)),
            ("file below 0", 1, false, Some(Number(-3)), Adds(-3)),
            ("file with 0", 7, false, Some(Number(0)), Adds(0)),
            ("file times weight", 4, false, Some(Number(5)), Adds(20)),
            ("file times negative weight", -4, false, Some(Number(5)), Adds(-20)),
            ("file reversed", 4, true, Some(Number(5)), Adds(-20)),
            ("file of a negative weight reversed", -4, true, Some(Number(5)), Adds(20)),
            ("file at the upper end", 1, false, Some(Number(253)), Adds(253)),
            ("file above it", 1, false, Some(Number(254)), Adds(253)),
            ("file far above it", 254, false, Some(Number(i64::MAX)), Adds(253)),
            ("file at the lower end", 1, false, Some(Number(-253)), Adds(-253)),
            ("file below it", 1, false, Some(Number(-254)), Fault),
            ("file times weight below it", 100, false, Some(Number(-3)), Fault),
            ("file far below it", 254, false, Some(Number(i64::MIN)), Fault),
            ("file below it by its reverse", 2, true, Some(Number(127)), Fault),
            ("the least number reversed", 1, true, Some(Number(i64::MIN)), Adds(253)),
            ("file of weight 0 with 0", 0, false, Some(Number(0)), Adds(0)),
            ("file of weight 0 with a number", 0, false, Some(Number(1)), Fault),
            ("file of weight 0 with a negative number", 0, false, Some(Number(-1)), Fault),
            ("file of weight 0 reversed with 0", 0, true, Some(Number(0)), Fault),
            ("file of weight 0 reversed with a number", 0, true, Some(Number(9)), Adds(0)),
        ] {
            assert_eq!(Weight { value, reverse }.meaning(result), want, "{name}");
        }
    }

    #[test]
    fn results_in_words() {
        let processes = |running, most| TrackerResult::Processes { running, fewest: 2, most };
        for (id, result, want) in [
            (TrackerId::script("x"), TrackerResult::Good, "script x succeeded"),
            (TrackerId::script("x"), TrackerResult::Bad, "script x failed"),
            (TrackerId::file("x"), TrackerResult::Number(-3), "file x: value -3"),
            (TrackerId::process("x"), TrackerResult::Good, "process x runs"),
            (TrackerId::process("x"), processes(0, None), "process x: 0 of 2 running"),
            (TrackerId::process("x"), processes(4, Some(3)), "process x: 4 running, at most 3"),
            (TrackerId::process("x"), processes(3, Some(3)), "process x: 3 running, not for long enough"),
            (TrackerId::bfd("x"), TrackerResult::Bad, "bfd x: bad"),
        ] {
            assert_eq!(id.told(result), want);
        }
    }
}

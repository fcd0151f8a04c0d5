//! What a daemon has done in one step, as lines, and how two of these differ.

use std::fmt;

/// Numbers of processes that lie further apart have begun anew in between: a step starts fewer.
const HALF: u64 = 16_384;

/// Lines of one kind, under the name that files have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Word of a difference.
    pub name: &'static str,
    /// What is compared, in order.
    pub lines: Vec<String>,
}

impl Part {
    /// Lines whose order means nothing.
    pub fn sorted(name: &'static str, lines: impl IntoIterator<Item = String>) -> Self {
        let mut lines: Vec<String> = lines.into_iter().collect();
        lines.sort();
        Self { name, lines }
    }
}

/// What a daemon has told during a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Lines of each FIFO, in order.
    pub fifos: Vec<Part>,
    /// Calls of notify scripts as they wrote them down: the script's process, and its arguments.
    pub calls: Vec<String>,
}

impl Told {
    /// Adds what came later.
    pub fn extend(&mut self, later: Self) {
        self.calls.extend(later.calls);
        for (at, part) in later.fifos.into_iter().enumerate() {
            match self.fifos.get_mut(at) {
                Some(have) => have.lines.extend(part.lines),
                None => self.fifos.push(part),
            }
        }
    }

    /// As it is compared. `unordered`: the order of the FIFOs' lines is left to chance.
    fn parts(&self, order: Order, unordered: bool) -> Vec<Part> {
        let fifos = self.fifos.iter().cloned().map(|part| match unordered {
            true => Part::sorted(part.name, part.lines),
            false => part,
        });
        fifos.chain([Part { name: "call", lines: order.of(&self.calls) }]).collect()
    }
}

/// Which order calls have. keepalived starts scripts beside each other: which of them is the first to write is left to chance,
/// but not in which order they were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// None.
    Sorted,
    /// Those with the same first word have the order in which they were started: the word names who called.
    Started,
}

impl Order {
    fn of(self, calls: &[String]) -> Vec<String> {
        let mut calls: Vec<(u64, &str)> = calls
            .iter()
            .map(|call| {
                let (process, words) = call.split_once(' ').unwrap_or(("", call));
                (process.parse().unwrap_or_default(), words.trim_end())
            })
            .collect();
        match self {
            Self::Sorted => calls.sort_by_key(|(_, words)| *words),
            Self::Started => {
                let first = calls.iter().map(|(process, _)| *process).min().unwrap_or_default();
                let wrapped = calls.iter().any(|(process, _)| process - first > HALF);
                calls.sort_by_key(|(process, words)| {
                    (words.split(' ').next(), wrapped && process - first < HALF, *process)
                });
            }
        }
        calls.into_iter().map(|(_, words)| words.to_owned()).collect()
    }
}

/// What is seen of a daemon after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What it has made of the kernel.
    pub state: Vec<Part>,
    /// What it has told during the step.
    pub told: Vec<Part>,
}

impl Record {
    /// Makes a record of what was seen.
    pub fn new(state: Vec<Part>, told: &Told, order: Order, unordered: bool) -> Self {
        Self { state, told: told.parts(order, unordered) }
    }

    /// Leaves out lines, each `PART LINE`, that may be there or not.
    pub fn forget(&mut self, chance: &[String]) {
        for part in self.state.iter_mut().chain(&mut self.told) {
            let of = |line: &str| chance.iter().any(|one| one.split_once(' ') == Some((part.name, line)));
            part.lines.retain(|line| !of(line));
        }
    }

    /// Whether nothing was told.
    pub fn silent(&self) -> bool {
        self.told.iter().all(|part| part.lines.is_empty())
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.state.iter().chain(&self.told)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts() {
            for line in &part.lines {
                writeln!(f, "  {} {line}", part.name)?;
            }
        }
        Ok(())
    }
}

/// Where `two` differs from `one`: `- PART LINE` is what only `one` has, `+ PART LINE` what only `two` has.
pub fn differences(one: &Record, two: &Record) -> Vec<String> {
    one.parts()
        .zip(two.parts())
        .flat_map(|(one, two)| {
            let changed = changed(&one.lines, &two.lines);
            changed.into_iter().map(|(sign, line)| format!("{sign} {} {line}", one.name))
        })
        .collect()
}

/// The lines outside of the longest common subsequence.
fn changed<'l>(one: &'l [String], two: &'l [String]) -> Vec<(char, &'l str)> {
    // Length of the longest common subsequence of what is left from (i, j) on.
    let width = two.len() + 1;
    let mut longest = vec![0_usize; (one.len() + 1) * width];
    for i in (0..one.len()).rev() {
        for j in (0..two.len()).rev() {
            longest[i * width + j] = match one[i] == two[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < one.len() || j < two.len() {
        if i < one.len() && j < two.len() && one[i] == two[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == two.len()
            || (i < one.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            out.push(('-', one[i].as_str()));
            i += 1;
        } else {
            out.push(('+', two[j].as_str()));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn differences_are_the_lines_that_only_one_has() {
        for (name, one, two, want) in [
            ("nothing", "", "", ""),
            ("the same", "a b c", "a b c", ""),
            ("one more", "a c", "a b c", "+b"),
            ("one less", "a b c", "a c", "-b"),
            ("another", "a b c", "a x c", "-b +x"),
            ("another order", "a b", "b a", "-a +a"),
            ("twice", "a", "a a", "+a"),
            ("all", "a b", "", "-a -b"),
        ] {
            let (one, two) = (words(one), words(two));
            let got: Vec<String> =
                changed(&one, &two).into_iter().map(|(sign, line)| format!("{sign}{line}")).collect();
            assert_eq!(got.join(" "), want, "{name}");
        }
    }

    fn record(table: &str, fifo: &str, calls: &[&str], order: Order, unordered: bool) -> Record {
        let told = Told {
            fifos: vec![Part { name: "fifo", lines: words(fifo) }],
            calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        };
        Record::new(vec![Part::sorted("table", words(table))], &told, order, unordered)
    }

    #[test]
    fn the_fifo_has_an_order_and_the_rest_has_none() {
        let record = |table: &str, fifo: &str, calls: &str, unordered| {
            let calls: Vec<String> = words(calls).iter().map(|call| format!("1 {call}")).collect();
            let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
            record(table, fifo, &calls, Order::Sorted, unordered)
        };
        let one = record("a b", "x y", "p q", false);
        assert!(differences(&one, &record("b a", "x y", "q p", false)).is_empty());
        assert_eq!(differences(&one, &record("a b", "y x", "p q", false)), ["- fifo x", "+ fifo x"]);
        assert!(differences(&record("", "x y", "", true), &record("", "y x", "", true)).is_empty());
        assert_eq!(differences(&one, &record("a", "x y", "p q r", false)), ["- table b", "+ call r"]);
    }

    #[test]
    fn calls_of_one_have_the_order_in_which_they_were_started() {
        for (name, calls, want) in [
            ("as they wrote", ["7 a x", "8 a y", "9 b z"], ["a x", "a y", "b z"]),
            ("the second was faster", ["8 a y", "7 a x", "9 b z"], ["a x", "a y", "b z"]),
            ("of two", ["7 b z", "8 a y", "9 a x"], ["a y", "a x", "b z"]),
            ("numbers began anew", ["301 a y", "32767 a x", "302 b z"], ["a x", "a y", "b z"]),
        ] {
            let record = record("", "", &calls, Order::Started, false);
            assert_eq!(record.told[1].lines, want, "{name}");
        }
    }

    #[test]
    fn what_is_left_to_chance_is_no_difference() {
        let mut one = record("a", "x y", &["1 x"], Order::Started, false);
        one.forget(&["fifo x".to_owned(), "table b".to_owned()]);
        assert_eq!(one, record("a", "y", &["1 x"], Order::Started, false));
    }

    #[test]
    fn what_came_later_is_added() {
        let told = |fifo: &str, call: &str| Told {
            fifos: vec![Part { name: "fifo", lines: words(fifo) }],
            calls: words(call),
        };
        let mut all = Told::default();
        all.extend(told("x", "p"));
        all.extend(told("y z", ""));
        assert_eq!(all, told("x y z", "p"));
    }
}

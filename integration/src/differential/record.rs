//! What a daemon has done in one step, as lines, and how two of these differ.

use std::fmt;

/// What is seen of a daemon after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The IPVS table as `ipvsadm --save --numeric` writes it, sorted.
    pub table: Vec<String>,
    /// Lines that came out of the FIFO during the step, in order.
    pub fifo: Vec<String>,
    /// Arguments of notify scripts called during the step, sorted: keepalived starts them beside each other.
    pub calls: Vec<String>,
}

impl Record {
    /// Makes a record of what was seen. `unordered`: the order of the FIFO's lines is left to chance.
    pub fn new(table: &str, fifo: &[String], calls: &str, unordered: bool) -> Self {
        let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        let mut this = Self { table: lines(table), fifo: fifo.to_vec(), calls: lines(calls) };
        this.table.sort();
        this.calls.sort();
        if unordered {
            this.fifo.sort();
        }
        this
    }

    fn parts(&self) -> [(&'static str, &[String]); 3] {
        [("table", &self.table), ("fifo", &self.fifo), ("call", &self.calls)]
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (part, lines) in self.parts() {
            for line in lines {
                writeln!(f, "  {part} {line}")?;
            }
        }
        Ok(())
    }
}

/// Where `two` differs from `one`: `- PART LINE` is what only `one` has, `+ PART LINE` what only `two` has.
pub fn differences(one: &Record, two: &Record) -> Vec<String> {
    one.parts()
        .into_iter()
        .zip(two.parts())
        .flat_map(|((part, one), (_, two))| {
            changed(one, two).into_iter().map(move |(sign, line)| format!("{sign} {part} {line}"))
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

    #[test]
    fn the_fifo_has_an_order_and_the_rest_has_none() {
        let record = |table: &str, fifo: &str, calls: &str, unordered| {
            Record::new(&table.replace(' ', "\n"), &words(fifo), &calls.replace(' ', "\n"), unordered)
        };
        let one = record("a b", "x y", "p q", false);
        assert!(differences(&one, &record("b a", "x y", "q p", false)).is_empty());
        assert_eq!(differences(&one, &record("a b", "y x", "p q", false)), ["- fifo x", "+ fifo x"]);
        assert!(differences(&record("", "x y", "", true), &record("", "y x", "", true)).is_empty());
        assert_eq!(differences(&one, &record("a", "x y", "p q r", false)), ["- table b", "+ call r"]);
    }
}

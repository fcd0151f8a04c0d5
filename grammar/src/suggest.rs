//! Did you mean: the known word next to a misspelt one.

/// The candidate with the smallest edit distance, if it is small enough to be meant: at most a third
/// of the word, and differences of case alone always count as near. Of one letter nothing would be left.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let limit = match word.chars().count() {
        1 => 0,
        length => (length / 3).max(1),
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = if candidate.eq_ignore_ascii_case(word) { 0 } else { distance(word, candidate) };
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words, without case.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().map(|c| c.to_ascii_lowercase()).collect();
    let right: Vec<char> = right.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let mut last_left = None;
    for (i, &l) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        let mut last_right = None;
        for (j, &r) in right.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&row, j) + usize::from(l != r);
            let mut least = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            if last_left == Some(r) && last_right == Some(l) {
                least = least.min(at(&before, j.wrapping_sub(1)) + 1);
            }
            next.push(least);
            last_right = Some(r);
        }
        before = std::mem::replace(&mut row, next);
        last_left = Some(l);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_when_it_is_near() {
        let schedulers = ["y", "rr", "wrr", "lc", "wlc", "lblc", "sh"];
        for (word, want) in [
            ("wrrr", Some("wrr")),
            ("WRR", Some("wrr")),
            ("wcl", Some("wlc")),
            ("weighted", None),
            ("", None),
            ("x", None),
            (&"w".repeat(1000), None),
        ] {
            assert_eq!(nearest(word, schedulers), want, "{word}");
        }
        assert_eq!((nearest("C", ["A", "B"]), nearest("c", ["A", "C"])), (None, Some("C")));
        assert_eq!(
            nearest("virtual_ipadress", ["virtual_ipaddress", "virtual_routes"]),
            Some("virtual_ipaddress")
        );
    }

    #[test]
    fn distances() {
        for (left, right, want) in
            [("", "", 0), ("a", "", 1), ("abc", "acb", 1), ("kitten", "sitting", 3), ("state", "sate", 1)]
        {
            assert_eq!(distance(left, right), want, "{left} {right}");
            assert_eq!(distance(right, left), want, "{right} {left}");
        }
    }
}

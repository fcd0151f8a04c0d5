//! File name patterns of includes: braces and wildcards.
//!
//! Here: what a pattern matches. Not here: reading the files (`expand`).

use std::fs;
use std::path::{Path, PathBuf};

/// Most names that a pattern may give.
const MAX_FILES: usize = 10_000;

/// Brace alternatives of a pattern: `a{b,c}` is `ab` and `ac`. At most 1,000.
pub(crate) fn alternatives(pattern: &str) -> Vec<String> {
    const MOST: usize = 1000;
    let mut todo = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(pattern) = todo.pop() {
        match first_braces(&pattern) {
            Some((before, inner, after)) if done.len() + todo.len() < MOST => {
                let expanded = top_commas(inner).into_iter().map(|part| format!("{before}{part}{after}"));
                let expanded: Vec<String> = expanded.collect();
                todo.extend(expanded.into_iter().rev());
            }
            _ => done.push(pattern),
        }
    }
    done
}

fn first_braces(pattern: &str) -> Option<(&str, &str, &str)> {
    let open = pattern.find('{')?;
    let mut depth = 0_usize;
    for (at, c) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((pattern.get(..open)?, pattern.get(open + 1..at)?, pattern.get(at + 1..)?));
        }
    }
    None
}

fn top_commas(inner: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut parts = Vec::new();
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(inner.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(inner.get(start..));
    parts
}

/// Files that a pattern names, sorted, and whether it holds wildcards. Directories match only where
/// they are named without wildcards: then they are refused with a reason instead of skipped.
pub(crate) fn matches(directory: &Path, pattern: &str) -> (Vec<PathBuf>, bool) {
    let wild = |part: &str| part.contains(['*', '?', '[']);
    if !wild(pattern) {
        let path = directory.join(pattern);
        let there = fs::symlink_metadata(&path).is_ok();
        return (there.then_some(path).into_iter().collect(), false);
    }
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { directory.to_path_buf() }];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for part in &parts {
        let mut next: Vec<PathBuf> = Vec::new();
        for base in &found {
            if wild(part) {
                next.extend(entries(base, part));
            } else {
                next.push(base.join(part));
            }
            if next.len() > MAX_FILES {
                break;
            }
        }
        found = next;
    }
    found.retain(|path| path.exists() && !path.is_dir());
    found.sort();
    (found, true)
}

fn entries(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let Ok(entries) = fs::read_dir(here) else { return Vec::new() };
    let pattern: Vec<char> = pattern.chars().collect();
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let text: Vec<char> = name.to_string_lossy().chars().collect();
        let hidden = text.first() == Some(&'.') && pattern.first() != Some(&'.');
        if !hidden && wildcard(&pattern, &text) {
            names.push(base.join(&name));
        }
    }
    names.sort();
    names
}

/// Whether a name matches a pattern of `*`, `?`, `[abc]`, `[!a-z]` and `\` before any of them.
fn wildcard(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not match: one character further.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            (Some(_), Some(&c)) => one(pattern, p, c),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one character against the element at `p`; gives the index after the element.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '[' => {
            let negated = matches!(pattern.get(p + 1), Some('!' | '^'));
            let first = p + 1 + usize::from(negated);
            let length = pattern.get(first + 1..)?.iter().position(|c| *c == ']')?;
            let end = first + 1 + length;
            let set = pattern.get(first..end)?;
            let mut at = 0;
            let mut inside = false;
            while let Some(&low) = set.get(at) {
                match (set.get(at + 1), set.get(at + 2)) {
                    (Some('-'), Some(&high)) => {
                        inside |= (low..=high).contains(&c);
                        at += 3;
                    }
                    _ => {
                        inside |= low == c;
                        at += 1;
                    }
                }
            }
            (inside != negated).then_some(end + 1)
        }
        literal => (literal == c).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, want) in [
            ("*", "a.conf", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[ab]*", "b1", true),
            ("[!ab]*", "b1", false),
            ("[a-c]x", "bx", true),
            ("[]]x", "]x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "a1b2b3c", true),
            ("", "", true),
            ("[", "[", false),
        ] {
            let (pattern_chars, name_chars): (Vec<char>, Vec<char>) =
                (pattern.chars().collect(), name.chars().collect());
            assert_eq!(wildcard(&pattern_chars, &name_chars), want, "{pattern} {name}");
        }
    }

    #[test]
    fn brace_alternatives() {
        for (pattern, want) in [
            ("a", &["a"][..]),
            ("a{b,c}d", &["abd", "acd"]),
            ("{a,b{c,d}}", &["a", "bc", "bd"]),
            ("a{b", &["a{b"]),
            ("{,x}", &["", "x"]),
        ] {
            assert_eq!(alternatives(pattern), want, "{pattern}");
        }
    }
}

//! Where passwords and keys stand in the files, and lines without them.
//!
//! Here: which keywords have secrets, and how a source line is shown. Not here: what messages say
//! (`report`), how a configuration is written out (`dump`).

use std::borrow::Cow;

use crate::source::{Sources, Span};
use crate::suggest::nearest;

/// Keywords whose arguments do not belong into logs.
pub(crate) const SECRETS: [&str; 3] = ["auth_pass", "password", "key"];

/// Where the arguments of a secret keyword begin.
pub(crate) fn secret(line: &str) -> Option<usize> {
    let found = SECRETS.iter().flat_map(|keyword| line.match_indices(keyword));
    let whole = found.filter(|(at, keyword)| {
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
        let before = line.get(..*at).unwrap_or_default();
        let after = line.get(at + keyword.len()..).unwrap_or_default();
        !before.ends_with(part) && !after.starts_with(part)
    });
    whole.map(|(at, keyword)| at + keyword.len()).min()
}

/// The same of one that is misspelt.
fn misspelt(line: &str) -> Option<usize> {
    let separates = |c: char| c.is_whitespace() || matches!(c, '"' | '{' | '}');
    let mut at = 0;
    line.split(separates).find_map(|word| {
        let end = at + word.len();
        at = end + 1;
        // Separators are one octet long but for odd blanks, which no keyword stands beside.
        let near = word.contains("pas") && nearest(word, ["auth_pass", "password"]).is_some();
        (near && line.is_char_boundary(end)).then_some(end)
    })
}

/// A line of a file, which begins at octet `start` of it, with `*` for all that stands after such a
/// keyword, or that gets there by definitions and generators.
pub(crate) fn hidden<'t>(sources: &Sources, file: u32, start: usize, line: &'t str) -> Cow<'t, str> {
    let all = sources.hidden();
    let first = all.partition_point(|span| (span.file(), span.range().end) <= (file, start));
    let replaced = all.get(first).filter(|span| span.file() == file);
    let replaced = replaced.map(|span| span.range().start.saturating_sub(start));
    let from = [secret(line), misspelt(line), replaced].into_iter().flatten().min();
    let Some((before, after)) = from.and_then(|from| line.split_at_checked(from)) else {
        return line.into();
    };
    let hide = |c: char| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) };
    format!("{before}{}", after.chars().map(hide).collect::<String>()).into()
}

/// Where in the files secrets stand that got to their keyword by replacing; ascending, none touches
/// another.
pub(crate) fn replaced(sources: &Sources) -> Vec<Span> {
    let Some(text) = sources.replaced() else { return Vec::new() };
    let mut found: Vec<Span> = Vec::new();
    let mut at = 0;
    for line in text.split('\n') {
        if let Some(secret) = secret(line) {
            found.extend(sources.written(at + secret..at + line.len()));
        }
        at += line.len() + 1;
    }
    found.sort();
    let mut merged: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        match merged.last_mut() {
            Some(last) if last.file() == span.file() && span.range().start <= last.range().end => {
                let end = last.range().end.max(span.range().end);
                *last = Span::new(last.file(), last.range().start..end);
            }
            _ => merged.push(span),
        }
    }
    merged
}

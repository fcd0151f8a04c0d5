//! A line that is longer than the reader takes: its parts become definitions.

use std::fmt::Write as _;

/// Most octets of a part, so that its definition is no long line.
const MOST: usize = 900;

/// The definitions of a line's parts, each on a line of its own, and the line that joins them. `count` is
/// that of the definitions before.
pub(super) fn defined(line: &str, count: &mut usize) -> String {
    let (mut text, mut joined) = (String::new(), String::new());
    for part in parts(line) {
        *count += 1;
        let _infallible = writeln!(text, "$_PART_{count}={part}");
        let _infallible = write!(joined, "${{_PART_{count}}}");
    }
    text.push_str(&joined);
    text
}

/// Parts of a line as values of definitions: none begins or ends with a blank, which would be lost, or ends
/// with a backslash, which would make the next line one of it. Outside the quotes of the whole line a
/// comment character is not one.
fn parts(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut length = 0;
    let mut before = ' ';
    for c in line.chars() {
        let escaped = match c {
            '#' => Some("${_HASH}"),
            '!' => Some("${_BANG}"),
            _ => None,
        };
        let octets = escaped.map_or(c.len_utf8(), str::len);
        let whole = !before.is_whitespace() && !c.is_whitespace() && !matches!(before, '\\' | '$');
        if length + octets > MOST && whole {
            parts.push(String::new());
            length = 0;
        }
        if let Some(part) = parts.last_mut() {
            match escaped {
                Some(escaped) => part.push_str(escaped),
                None => part.push(c),
            }
        }
        length += octets;
        before = c;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_str;

    #[test]
    fn parts_are_what_the_reader_takes_and_joins() {
        for (name, unit) in [
            ("letters", "a"),
            ("a backslash", "a\\"),
            ("backslashes alone", "b\\\\\\c"),
            ("comment characters", "#!"),
            ("long characters", "\u{4e2d}"),
            ("no letters", ".,;"),
        ] {
            let line = format!("router_id \"{}\"", unit.repeat(3_000 / unit.len()));
            let text = format!("global_defs {{\n{}\n}}\n", defined(&line, &mut 0));
            assert!(text.lines().all(|line| line.len() <= crate::expand::LONGEST_LINE), "{name}");
            let config = load_str("t", &text).config.expect(name);
            let want = line.strip_prefix("router_id \"").and_then(|rest| rest.strip_suffix('"'));
            assert_eq!(config.global.router_id.as_deref(), want, "{name}");
        }
    }
}

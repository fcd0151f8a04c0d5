//! Definitions: `$NAME=value`, and references to them.
//!
//! Here: what a definition holds and the replacing of references in one line. Not here: which lines
//! are definitions (`line`).

use std::collections::HashMap;
use std::sync::Arc;

use super::rich::Rich;
use crate::source::{Expansion, Span};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text within a line.
    Text(Rich),
    /// Whole lines.
    Lines(Vec<Rich>),
}

/// Names and what they stand for now.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    values: HashMap<Arc<str>, Value>,
}

impl Definitions {
    /// Sets what a name stands for from now on; returns what it stood for.
    pub fn set(&mut self, name: &str, value: Value) -> Option<Value> {
        self.values.insert(Arc::from(name), value)
    }

    /// Undoes [`Definitions::set`].
    pub fn restore(&mut self, name: &str, before: Option<Value>) {
        match before {
            Some(value) => _ = self.values.insert(Arc::from(name), value),
            None => _ = self.values.remove(name),
        }
    }

    pub fn get(&self, name: &str) -> Option<(&Arc<str>, &Value)> {
        self.values.get_key_value(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|name| &**name)
    }
}

/// A reference in a text: `${NAME}`, `${_NAME ARGUMENTS}`, or `$NAME` where a word ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub start: usize,
    pub end: usize,
    pub name: &'a str,
    pub arguments: &'a str,
    /// `${…}`
    pub braced: bool,
}

/// The first reference of a text at or after `from`, whether its name is known or not.
pub(crate) fn reference(text: &str, from: usize) -> Option<Reference<'_>> {
    let mut start = from;
    loop {
        start += memchr::memchr(b'$', text.as_bytes().get(start..)?)?;
        let after = text.get(start + 1..)?;
        let (braced, inner) = match after.strip_prefix('{') {
            Some(inner) => (true, inner),
            None => (false, after),
        };
        let length = name_length(inner);
        let (name, rest) = inner.split_at_checked(length)?;
        if length > 0 && braced {
            if let Some(close) = memchr::memchr2(b'}', b'{', rest.as_bytes())
                && rest.as_bytes().get(close) == Some(&b'}')
                && (close == 0 || rest.starts_with([' ', '\t']))
            {
                let arguments = rest.get(..close).unwrap_or_default().trim();
                return Some(Reference {
                    start,
                    end: start + 2 + length + close + 1,
                    name,
                    arguments,
                    braced,
                });
            }
        } else if length > 0 && (rest.is_empty() || rest.starts_with([' ', '\t', ',', ')'])) {
            return Some(Reference { start, end: start + 1 + length, name, arguments: "", braced });
        }
        start += 1;
    }
}

/// Length of the name at the beginning: a letter or underline, then digits too.
pub(super) fn name_length(text: &str) -> usize {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match text.bytes().next() {
        Some(first) if first.is_ascii_digit() => 0,
        _ => text.bytes().take_while(plain).count(),
    }
}

/// `NAME=` and where the value begins, of a line that begins with `$`.
pub(super) fn definition(line: &str) -> Option<(&str, usize)> {
    let rest = line.strip_prefix('$')?;
    let length = name_length(rest);
    let name = rest.get(..length).filter(|name| !name.is_empty())?;
    rest.get(length..)?.starts_with('=').then_some((name, length + 2))
}

/// What cannot be replaced, and why.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In the line that a person wrote.
    pub place: Option<Span>,
    /// References in definitions that lead to it, the innermost first.
    pub inside: Vec<Span>,
    pub message: String,
    pub help: &'static str,
}

/// Longest line after replacing, in octets.
const LONGEST: usize = 64 * 1024;
/// References that bring references, one in the other.
const DEEPEST: usize = 64;
/// Most replacements in one line.
const MOST: usize = 1024;

/// Gives the text of a built-in name: `None` if there is none of it.
pub(super) type BuiltIn<'b> = dyn FnMut(&Reference<'_>) -> Option<Result<String, String>> + 'b;

/// Replaces every reference of a line. Returns the lines that follow it when the last reference stands for
/// several.
pub(super) fn substitute(
    line: &mut Rich,
    definitions: &Definitions,
    expansions: &mut Vec<Expansion>,
    built_in: &mut BuiltIn<'_>,
) -> Result<Vec<Rich>, Trouble> {
    let mut following: Vec<Rich> = Vec::new();
    let (mut from, mut count) = (0, 0);
    while let Some(reference) = reference(&line.text, from) {
        let place = line.place(reference.start, reference.end);
        let (start, end) = (reference.start, reference.end);
        let Some(origin) = line.origin(start) else { break };
        let trouble = |expansions: &[Expansion], message: String, help: &'static str| {
            let mut inside: Vec<Span> = place.into_iter().collect();
            inside.extend(chain(expansions, origin.expansion).map(|expansion| expansion.reference));
            Trouble { place: inside.pop(), inside, message, help }
        };
        let known = definitions.get(reference.name).filter(|_| reference.arguments.is_empty());
        let replacement = match known {
            Some((_, Value::Lines(_))) if end != line.text.len() => None,
            Some((name, value)) => {
                count += 1;
                if count > MOST {
                    return Err(trouble(
                        expansions,
                        format!("more than {MOST} definitions are used in this line"),
                        "write it as several lines",
                    ));
                }
                if chain(expansions, origin.expansion).any(|outer| outer.name == *name) {
                    return Err(trouble(
                        expansions,
                        format!("the definition `${name}` refers to itself"),
                        "write its value without it; a definition is read where it is used",
                    ));
                }
                if chain(expansions, origin.expansion).count() >= DEEPEST {
                    return Err(trouble(
                        expansions,
                        format!("definitions refer to each other more than {DEEPEST} levels deep"),
                        "write the value itself",
                    ));
                }
                let reference = place.unwrap_or(Span::new(u32::MAX, 0..0));
                expansions.push(Expansion { reference, parent: origin.expansion, name: name.clone() });
                let index = u32::try_from(expansions.len()).unwrap_or(u32::MAX);
                let refer = |text: &Rich| text.clone().referred(index, origin.repeated);
                match value {
                    Value::Text(text) => Some(refer(text)),
                    Value::Lines(lines) => {
                        let mut lines = lines.iter();
                        let first = lines.next().map(refer).unwrap_or_default();
                        // What was to follow an earlier reference comes after this one's lines.
                        following.splice(0..0, lines.map(refer));
                        Some(first)
                    }
                }
            }
            None => match built_in(&reference) {
                None => None,
                Some(Ok(text)) => Some(Rich::generated(&text, origin, end - start)),
                Some(Err(message)) => {
                    return Err(trouble(expansions, message, "see lbd.conf(5), Definitions"));
                }
            },
        };
        let Some(replacement) = replacement else {
            from = end;
            continue;
        };
        let generated = known.is_none();
        let length = replacement.text.len();
        let mut replaced = line.slice(0, start);
        replaced.push(&replacement);
        replaced.push(&line.slice(end, line.text.len()));
        if replaced.text.len() > LONGEST {
            let message = format!("this line becomes longer than {LONGEST} octets");
            return Err(trouble(expansions, message, "write it as several lines"));
        }
        *line = replaced;
        // A built-in's text is no reference; a definition's may hold one, or begin or end one.
        from = if generated { start + length } else { start.saturating_sub(1) };
        while from > 0 && !line.text.is_char_boundary(from) {
            from -= 1;
        }
    }
    Ok(following)
}

/// An expansion and those around it.
fn chain(expansions: &[Expansion], index: u32) -> impl Iterator<Item = &Expansion> {
    let find = |index: u32| expansions.get(usize::try_from(index.checked_sub(1)?).ok()?);
    std::iter::successors(find(index), move |expansion| find(expansion.parent)).take(DEEPEST + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Origin;

    #[test]
    fn references_are_found_where_they_end() {
        for (text, want) in [
            ("a ${X} b", Some(("X", ""))),
            ("$X", Some(("X", ""))),
            ("$X b", Some(("X", ""))),
            ("$X,1", Some(("X", ""))),
            ("f($X)", Some(("X", ""))),
            ("$X.1", None),
            ("\"$X\"", None),
            ("\"${X}\"", Some(("X", ""))),
            ("${_RANDOM 1 5}", Some(("_RANDOM", "1 5"))),
            ("${1X}", None),
            ("${X", None),
            ("${X.y}", None),
            ("$ $$", None),
            ("$$X", Some(("X", ""))),
            ("${a{b}", None),
        ] {
            let found = reference(text, 0).map(|found| (found.name, found.arguments));
            assert_eq!(found, want, "{text}");
        }
    }

    fn replaced(line: &str, definitions: &[(&str, &str)]) -> Result<(String, Vec<String>), String> {
        let mut known = Definitions::default();
        for (name, value) in definitions {
            let rich = |text: &str| Rich::new(text, Origin::verbatim(1, 0));
            let value = match value.split_once('\n') {
                Some(_) => Value::Lines(value.lines().map(rich).collect()),
                None => Value::Text(rich(value)),
            };
            known.set(name, value);
        }
        let mut line = Rich::new(line, Origin::verbatim(0, 0));
        let mut built_in =
            |reference: &Reference<'_>| (reference.name == "_HASH").then(|| Ok("#".to_owned()));
        substitute(&mut line, &known, &mut Vec::new(), &mut built_in)
            .map(|following| (line.text, following.into_iter().map(|line| line.text).collect()))
            .map_err(|trouble| trouble.message)
    }

    #[test]
    fn lines_are_replaced() {
        for (name, line, definitions, want, following) in [
            ("nothing to replace", "a $X b", &[][..], "a $X b", &[][..]),
            ("a word", "a $X b", &[("X", "1")], "a 1 b", &[]),
            ("within a word", "10.0.0.${X}/24", &[("X", "1")], "10.0.0.1/24", &[]),
            ("twice", "${X}${X}", &[("X", "1")], "11", &[]),
            ("nested", "${X}", &[("X", "a${Y}b"), ("Y", "2")], "a2b", &[]),
            ("a reference that two make", "${X}Y}", &[("X", "${"), ("Y", "2")], "2", &[]),
            ("empty", "a ${X} b", &[("X", "")], "a  b", &[]),
            ("built in", "a${_HASH}b", &[], "a#b", &[]),
            ("lines at the end", "a $X", &[("X", "1\n2\n3")], "a 1", &["2", "3"]),
            ("lines elsewhere stay a name", "$X a", &[("X", "1\n2")], "$X a", &[]),
            ("lines that bring lines", "$X", &[("X", "$Y\n2"), ("Y", "a\nb")], "a", &["b", "2"]),
        ] {
            let (text, lines) = replaced(line, definitions).expect(name);
            assert_eq!(
                (text.as_str(), lines),
                (want, following.iter().map(|line| (*line).to_owned()).collect()),
                "{name}"
            );
        }
    }

    #[test]
    fn what_would_never_end_is_refused() {
        let ring = [("X", "${Y}"), ("Y", "${X}")];
        assert_eq!(replaced("$X", &ring), Err("the definition `$X` refers to itself".into()));
        let names: Vec<(String, String)> =
            (0..100).map(|n| (format!("V{n}"), format!("${{V{}}}${{V{}}}", n + 1, n + 1))).collect();
        let names: Vec<(&str, &str)> =
            names.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(replaced("$V0", &names).is_err());
    }
}

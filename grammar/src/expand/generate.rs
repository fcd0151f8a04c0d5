//! Generators: `~SEQ(…)` and `~LST(…)`.
//!
//! Here: what their arguments mean. Not here: making the lines (`line`).

/// A generator at the beginning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Generator<'a> {
    /// `SEQ`, `SEQx` or `LST`.
    pub kind: Kind,
    /// What stands in the parentheses.
    pub arguments: &'a str,
    /// Where the text begins that it repeats.
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sequence,
    HexSequence,
    List,
}

/// What a generator counts through: names, and the values of each round.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rounds {
    pub names: Vec<String>,
    pub values: Values,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Values {
    Numbers { first: i64, step: i64, count: u64, hex: bool },
    Texts(Vec<Vec<String>>),
}

impl Values {
    pub fn count(&self) -> u64 {
        match self {
            Values::Numbers { count, .. } => *count,
            Values::Texts(rounds) => u64::try_from(rounds.len()).unwrap_or(u64::MAX),
        }
    }

    /// The values of a round, one for each name.
    pub fn round(&self, index: u64) -> Vec<String> {
        match self {
            Values::Numbers { first, step, hex, .. } => {
                let index = i64::try_from(index).unwrap_or(i64::MAX);
                let number = first.saturating_add(step.saturating_mul(index));
                vec![if *hex { format!("{number:x}") } else { number.to_string() }]
            }
            Values::Texts(rounds) => {
                usize::try_from(index).ok().and_then(|index| rounds.get(index)).cloned().unwrap_or_default()
            }
        }
    }
}

/// Whether a line begins with a generator. `Some(None)` if it is not closed.
pub(super) fn generator(line: &str) -> Option<Option<Generator<'_>>> {
    let (kind, start) = [("~SEQx(", Kind::HexSequence), ("~SEQ(", Kind::Sequence), ("~LST(", Kind::List)]
        .into_iter()
        .find(|(word, _)| line.starts_with(word))
        .map(|(word, kind)| (kind, word.len()))?;
    let rest = line.get(start..).unwrap_or_default();
    Some(close(rest).map(|close| Generator {
        kind,
        arguments: rest.get(..close).unwrap_or_default(),
        end: start + close + 1,
    }))
}

/// The parenthesis that closes the arguments; one that a reference holds does not.
fn close(arguments: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Reads the arguments, references in them replaced already.
pub(super) fn rounds(kind: Kind, arguments: &str) -> Result<Rounds, String> {
    match kind {
        Kind::List => list(arguments),
        Kind::Sequence | Kind::HexSequence => sequence(arguments, kind == Kind::HexSequence),
    }
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || super::define::name_length(name) != name.len() {
        return Err(format!("{} cannot be the name of a variable", crate::diagnostic::quote(name)));
    }
    Ok(name.to_owned())
}

fn sequence(arguments: &str, hex: bool) -> Result<Rounds, String> {
    let mut parts = arguments.split(',');
    let names = vec![name(parts.next().unwrap_or_default())?];
    let numbers = parts.map(number).collect::<Result<Vec<i64>, String>>()?;
    let toward = |first: i64, end: i64| if end < first { -1 } else { 1 };
    let (first, step, end) = match numbers.as_slice() {
        [0] => return Err("it would count to 0, beginning at 1".into()),
        [end] if *end < 0 => (-1, -1, *end),
        [end] => (1, 1, *end),
        [first, end] => (*first, toward(*first, *end), *end),
        [first, step, end] => (*first, *step, *end),
        found => return Err(format!("it has {} numbers; 1 to 3 are possible", found.len())),
    };
    if step == 0 || (step > 0) != (end >= first) && first != end {
        return Err(format!("a step of {step} never gets from {first} to {end}"));
    }
    let count = end.abs_diff(first) / step.unsigned_abs() + 1;
    Ok(Rounds { names, values: Values::Numbers { first, step, count, hex } })
}

/// A number as C writes it: 0x for hexadecimal, 0 for octal.
fn number(text: &str) -> Result<i64, String> {
    let word = text.trim();
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let value = if let Some(digits) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        i64::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    match value {
        Ok(value) if !digits.starts_with(['+', '-']) => Ok(if negative { -value } else { value }),
        _ => Err(format!("{} is not a number", crate::diagnostic::quote(word))),
    }
}

fn list(arguments: &str) -> Result<Rounds, String> {
    let mut parts = split(arguments)?.into_iter();
    let first = parts.next().unwrap_or_default();
    let names: Vec<String> = match braced(&first) {
        Some(names) => names.split(',').map(name).collect::<Result<_, _>>()?,
        None => vec![name(&first)?],
    };
    let tuples = braced(&first).is_some();
    let rounds: Vec<Vec<String>> = parts
        .map(|part| {
            let mut values: Vec<String> = match braced(&part).filter(|_| tuples) {
                Some(values) => values.split(',').map(|value| value.trim().to_owned()).collect(),
                None => vec![part.trim().to_owned()],
            };
            if values.len() > names.len() {
                return Err(format!(
                    "{} has {} values for {} names",
                    crate::diagnostic::quote(part.trim()),
                    values.len(),
                    names.len()
                ));
            }
            values.resize(names.len(), String::new());
            Ok(values)
        })
        .collect::<Result<_, _>>()?;
    if rounds.is_empty() {
        return Err("it lists no value".into());
    }
    Ok(Rounds { names, values: Values::Texts(rounds) })
}

fn braced(part: &str) -> Option<&str> {
    part.trim().strip_prefix('{')?.strip_suffix('}')
}

/// Parts between commas that stand in no braces.
fn split(arguments: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut open = false;
    for c in arguments.chars() {
        match c {
            '{' if open => return Err("braces stand in braces".into()),
            '}' if !open => return Err("a `}` has no `{` before it".into()),
            '{' | '}' => open = c == '{',
            _ => {}
        }
        match parts.last_mut() {
            Some(last) if c != ',' || open => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    if open { Err("a `{` is not closed".into()) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(line: &str) -> Result<Vec<Vec<String>>, String> {
        let generator = generator(line).expect("a generator").ok_or("open")?;
        let rounds = rounds(generator.kind, generator.arguments)?;
        Ok((0..rounds.values.count().min(20)).map(|index| rounds.values.round(index)).collect())
    }

    #[test]
    fn sequences() {
        for (line, want) in [
            ("~SEQ(v,3) x", &["1", "2", "3"][..]),
            ("~SEQ(v,-2) x", &["-1", "-2"]),
            ("~SEQ(v,5,7)", &["5", "6", "7"]),
            ("~SEQ(v,7,5)", &["7", "6", "5"]),
            ("~SEQ(v, 0, 5, 12)", &["0", "5", "10"]),
            ("~SEQ(v,10,-5,0)", &["10", "5", "0"]),
            ("~SEQ(v,4,1,4)", &["4"]),
            ("~SEQx(v,0xe,020)", &["e", "f", "10"]),
            ("~LST(v,a b,c,)", &["a b", "c", ""]),
        ] {
            let want: Vec<Vec<String>> = want.iter().map(|text| vec![(*text).to_owned()]).collect();
            assert_eq!(made(line), Ok(want), "{line}");
        }
        let tuples = made("~LST({v,w},{1,2},{3},4)").expect("tuples");
        assert_eq!(tuples, [["1", "2"], ["3", ""], ["4", ""]]);
    }

    #[test]
    fn what_is_no_generator() {
        assert_eq!(generator("~SEQ v"), None);
        assert_eq!(generator("SEQ(v,1)"), None);
        assert_eq!(generator("~SEQ(v,1"), Some(None));
    }

    #[test]
    fn mistakes() {
        for (line, want) in [
            ("~SEQ(v)", "it has 0 numbers; 1 to 3 are possible"),
            ("~SEQ(1v,2)", "`1v` cannot be the name of a variable"),
            ("~SEQ(v,x)", "`x` is not a number"),
            ("~SEQ(v,--1)", "`--1` is not a number"),
            ("~SEQ(v,99999999999999999999)", "`99999999999999999999` is not a number"),
            ("~SEQ(v,1,0,5)", "a step of 0 never gets from 1 to 5"),
            ("~SEQ(v,1,-1,5)", "a step of -1 never gets from 1 to 5"),
            ("~SEQ(v,0)", "it would count to 0, beginning at 1"),
            ("~LST(v)", "it lists no value"),
            ("~LST({v,w},{1,2,3})", "`{1,2,3}` has 3 values for 2 names"),
            ("~LST({v,{w}},1)", "braces stand in braces"),
            ("~LST({v,1)", "a `{` is not closed"),
        ] {
            assert_eq!(made(line), Err(want.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_largest_sequence_overflows_nothing() {
        let generator = generator("~SEQ(v,-9223372036854775807,9223372036854775807)").flatten().expect("one");
        let rounds = rounds(generator.kind, generator.arguments).expect("rounds");
        assert_eq!(rounds.values.count(), u64::MAX);
    }
}

//! Statements, blocks and words with their places.
//!
//! Here: the tree of a whole configuration, includes in place, and how a head is split into words.
//! Not here: keywords (`keyword`), files (`expand`).

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use crate::source::{Sources, Span};

#[derive(pest_derive::Parser)]
#[grammar = "lbd.pest"]
struct Grammar;

/// One keyword with its arguments and maybe its block.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Keyword and arguments, without blanks around them; empty for a block without a keyword.
    pub head: Span,
    /// What stands in braces; boxed because most statements have none.
    pub body: Option<Box<Body>>,
}

/// A block.
#[derive(Debug)]
pub(crate) struct Body {
    /// Its opening brace.
    pub open: Span,
    /// What it holds.
    pub statements: Vec<Statement>,
}

/// A word of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// Without its quotes.
    pub text: &'a str,
    /// With its quotes.
    pub span: Span,
}

/// Why a block could not be read: a place in the text and what is wrong there.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Byte of the text that was parsed.
    pub at: usize,
}

/// Parses one statement with its block. `text` begins at byte `offset` of file `file`; what stands
/// beyond `limit` was added to close it and gets no place of its own.
pub(crate) fn parse_block(text: &str, file: u32, offset: usize, limit: usize) -> Result<Statement, Broken> {
    let place = Origin { file, offset, limit };
    let mut pairs = Grammar::parse(Rule::block, text).map_err(|error| Broken {
        at: match error.location {
            pest::error::InputLocation::Pos(at) | pest::error::InputLocation::Span((at, _)) => at,
        },
    })?;
    let items = pairs.next().map(Pair::into_inner).ok_or(Broken { at: 0 })?;
    let mut statements = statements(items, place).into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok(statement),
        (_, second) => {
            Err(Broken { at: second.map_or(0, |second| second.head.range().start.saturating_sub(offset)) })
        }
    }
}

/// Where a parsed text came from.
#[derive(Clone, Copy)]
struct Origin {
    file: u32,
    offset: usize,
    limit: usize,
}

impl Origin {
    fn span(self, start: usize, end: usize) -> Span {
        Span::new(self.file, (start + self.offset).min(self.limit)..(end + self.offset).min(self.limit))
    }
}

/// The recursion is as deep as the blocks, which the scanner limits.
fn statements(items: Pairs<'_, Rule>, origin: Origin) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for item in items.filter(|pair| pair.as_rule() == Rule::item) {
        let start = item.as_span().start();
        let (mut head, mut body) = (None, None);
        for part in item.into_inner() {
            let span = part.as_span();
            if part.as_rule() == Rule::head {
                head = Some(trimmed(part.as_str(), span.start(), origin));
            } else {
                let open = origin.span(span.start(), span.start() + 1);
                body = Some(Box::new(Body { open, statements: self::statements(part.into_inner(), origin) }));
            }
        }
        match (head, statements.last_mut()) {
            (Some(head), _) => statements.push(Statement { head, body }),
            // The brace stands on a line of its own.
            (None, Some(last)) if last.body.is_none() => last.body = body,
            (None, _) => statements.push(Statement { head: origin.span(start, start), body }),
        }
    }
    statements.shrink_to_fit();
    statements
}

fn trimmed(text: &str, start: usize, origin: Origin) -> Span {
    let trimmed = text.trim_end_matches(is_blank);
    origin.span(start, start + trimmed.len())
}

/// A statement without a block.
pub(crate) fn line(text: &str, file: u32, start: usize) -> Statement {
    let origin = Origin { file, offset: 0, limit: usize::MAX };
    Statement { head: trimmed(text, start, origin), body: None }
}

/// What separates words.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{b}'..='\r')
}

/// The words of a head, and the place of a quote that is not closed.
pub(crate) fn words(sources: &Sources, head: Span) -> (Vec<Word<'_>>, Option<Span>) {
    let (words, open) = split(sources.text(head), Quotes::Double);
    let base = head.range().start;
    let span = |start: usize, end: usize| Span::new(head.file(), base + start..base + end);
    let words = words
        .into_iter()
        .map(|piece| Word { text: piece.text, span: span(piece.start, piece.end) })
        .collect();
    (words, open.map(|at| span(at, at + 1)))
}

/// The words of a command's line: both quotes count.
pub(crate) fn command_words(sources: &Sources, head: Span) -> (Vec<Word<'_>>, Option<Span>) {
    let (words, open) = split(sources.text(head), Quotes::Both);
    let base = head.range().start;
    let span = |start: usize, end: usize| Span::new(head.file(), base + start..base + end);
    let words = words
        .into_iter()
        .map(|piece| Word { text: piece.text, span: span(piece.start, piece.end) })
        .collect();
    (words, open.map(|at| span(at, at + 1)))
}

/// The words of a text that is in no file.
pub(crate) fn words_of(text: &str, span: Span) -> Vec<Word<'_>> {
    split(text, Quotes::Double).0.into_iter().map(|piece| Word { text: piece.text, span }).collect()
}

struct Piece<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

/// Which quotes count.
#[derive(Clone, Copy, Debug)]
enum Quotes {
    Double,
    Both,
}

impl Quotes {
    fn has(self, byte: u8) -> bool {
        byte == b'"' || byte == b'\'' && matches!(self, Quotes::Both)
    }

    /// Where `end` finds the first byte that no backslash precedes; in commands alone a backslash escapes.
    fn position(self, bytes: &[u8], end: impl Fn(u8) -> bool) -> Option<usize> {
        if matches!(self, Quotes::Double) {
            return bytes.iter().position(|byte| end(*byte));
        }
        let mut escaped = false;
        bytes.iter().position(|byte| {
            let plain = !std::mem::take(&mut escaped);
            escaped = plain && *byte == b'\\';
            plain && end(*byte)
        })
    }
}

/// Splits at blanks; a quoted part is a word of its own, also in the middle of another.
fn split(text: &str, quotes: Quotes) -> (Vec<Piece<'_>>, Option<usize>) {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = bytes.get(at + 1..).unwrap_or_default();
        if is_blank(char::from(byte)) {
            at += 1;
        } else if quotes.has(byte) {
            let end = |other| other == byte;
            let Some(length) = quotes.position(rest, end) else { return (words, Some(start)) };
            at += length + 2;
            words.push(Piece { text: text.get(start + 1..at - 1).unwrap_or_default(), start, end: at });
        } else {
            let end = |byte| is_blank(char::from(byte)) || quotes.has(byte);
            // From its first byte: that may be a backslash.
            let word = bytes.get(at..).unwrap_or_default();
            at += quotes.position(word, end).unwrap_or(word.len());
            words.push(Piece { text: text.get(start..at).unwrap_or_default(), start, end: at });
        }
    }
    (words, None)
}

/// Splits a command into program and arguments: both quotes count, adjacent parts join, and a
/// backslash escapes also within quotes. `None` if a quote is not closed.
pub(crate) fn command_arguments(command: &str) -> Option<Vec<String>> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some(escaped_words(command)?.into_iter().map(text).collect())
}

/// The same as octets.
pub(crate) fn escaped_words(command: &str) -> Option<Vec<Vec<u8>>> {
    let mut arguments = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = command.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\\', _) => word.get_or_insert_default().push(escape(&mut bytes)),
            (_, Some(open)) if byte == open => quote = None,
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, None) if is_blank(char::from(byte)) => arguments.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return None;
    }
    arguments.extend(word);
    Some(arguments)
}

/// The byte that an escape stands for; its backslash is consumed already.
fn escape(bytes: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> u8 {
    let digit = |byte: u8, radix: u32| char::from(byte).to_digit(radix).and_then(|d| u8::try_from(d).ok());
    match bytes.next() {
        None => b'\\',
        Some(b'a') => 0x07,
        Some(b'b') => 0x08,
        Some(b'E') => 0x1b,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'v') => 0x0b,
        Some(b'c') => bytes.next().map_or(b'c', |byte| byte & 0x1f),
        Some(b'x') => {
            let mut value: Option<u8> = None;
            for _ in 0..2 {
                let Some(next) = bytes.peek().and_then(|byte| digit(*byte, 16)) else { break };
                value = Some(value.unwrap_or_default().wrapping_mul(16).wrapping_add(next));
                bytes.next();
            }
            value.unwrap_or(b'x')
        }
        Some(first @ b'0'..=b'7') => {
            let mut value = digit(first, 8).unwrap_or_default();
            for _ in 0..2 {
                let Some(next) = bytes.peek().and_then(|byte| digit(*byte, 8)) else { break };
                value = value.wrapping_mul(8).wrapping_add(next);
                bytes.next();
            }
            value
        }
        Some(other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<&str> {
        split(line, Quotes::Double).0.into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn words() {
        for (name, line, want) in [
            ("blanks", "  a\t b\r", &["a", "b"][..]),
            ("quotes", "a \"b c\" d", &["a", "b c", "d"]),
            ("an empty word", "a \"\"", &["a", ""]),
            ("a quote inside a word splits it", "abc\"def\"ghi", &["abc", "def", "ghi"]),
            ("a single quote is a character", "label 'v0 x'", &["label", "'v0", "x'"]),
            ("no escapes", r#"a "b\" c"#, &["a", "b\\", "c"]),
            ("nothing", "   ", &[]),
        ] {
            assert_eq!(texts(line), want, "{name}");
        }
    }

    /// Backslashes stay: what they escape is resolved when the command is split.
    #[test]
    fn words_of_a_command() {
        for (name, line, want) in [
            ("both quotes", r#"a "b 'c' d" 'e f'"#, &["a", "b 'c' d", "e f"][..]),
            ("an escaped quote ends no word", r#"a "b \"c\" d" e"#, &["a", r#"b \"c\" d"#, "e"]),
            ("nor the other one", r"a 'b\'c' d", &["a", r"b\'c", "d"]),
            ("an escaped backslash", r#"a "b\\" c"#, &["a", r"b\\", "c"]),
            ("an escaped blank", r"a b\ c d", &["a", r"b\ c", "d"]),
            ("an escape first", r#"a \"b c"#, &["a", r#"\"b"#, "c"]),
            ("a backslash at the end", r"a b\", &["a", r"b\"]),
        ] {
            let words: Vec<&str> = split(line, Quotes::Both).0.into_iter().map(|piece| piece.text).collect();
            assert_eq!(words, want, "{name}");
        }
    }

    #[test]
    fn an_open_quote_is_found() {
        for (line, quotes, want) in [
            ("a \"b", Quotes::Double, Some(2)),
            ("a \"b\"", Quotes::Double, None),
            ("a 'b", Quotes::Double, None),
            ("a 'b", Quotes::Both, Some(2)),
            ("a 'b\" c'", Quotes::Both, None),
            (r#"a "b\""#, Quotes::Both, Some(2)),
            (r#"a "b\""#, Quotes::Double, None),
        ] {
            assert_eq!(split(line, quotes).1, want, "{line}");
        }
    }

    #[test]
    fn commands() {
        for (name, command, want) in [
            ("words", "/bin/x a  b", Some(&["/bin/x", "a", "b"][..])),
            ("single quotes", "/bin/sh -c 'exit 0'", Some(&["/bin/sh", "-c", "exit 0"])),
            ("adjacent parts join", "a'b c'\"d e\"f", Some(&["ab cd ef"])),
            ("an empty argument", "a ''", Some(&["a", ""])),
            ("escaped blank", r"a\ b", Some(&["a b"])),
            ("letters", r"\a\b\E\f\n\r\t\v", Some(&["\u{7}\u{8}\u{1b}\u{c}\n\r\t\u{b}"])),
            ("octal", r"\101\60z", Some(&["A0z"])),
            ("hexadecimal", r"\x41\x7Az\xg", Some(&["Azzxg"])),
            ("control", r"\cA", Some(&["\u{1}"])),
            ("itself", r"\q\\\'", Some(&["q\\'"])),
            ("open quote", "a 'b", None),
            ("nothing", "  ", Some(&[])),
        ] {
            let got = command_arguments(command);
            let got = got.as_ref().map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(got.as_deref(), want, "{name}");
        }
    }

    /// The scanner and the grammar must agree on every text.
    #[test]
    fn blocks_parse() {
        for (name, text, want) in [
            ("empty", "a { }", "a{}"),
            ("nested", "a { b 1\n c { d } }", "a{b 1;c{d;}}"),
            ("brace on the next line", "a\n# x {\n{\nb\n}\n", "a{b;}"),
            ("comment directly after text", "a { 10.0.0.1!x }\n b#y\n}", "a{10.0.0.1;b;}"),
            ("quoted", "a { b \"{#!}\" }", "a{b \"{#!}\";}"),
            ("carriage returns", "a {\r\n b c\r\n}\r\n", "a{b c;}"),
            ("no keyword", "a { { b } }", "a{{b;}}"),
        ] {
            let statement = parse_block(text, 0, 0, text.len()).expect(name);
            assert_eq!(shown(&statement, text).trim_end_matches(';'), want, "{name}");
        }
    }

    fn shown(statement: &Statement, text: &str) -> String {
        let head = &text[statement.head.range()];
        match &statement.body {
            None => format!("{head};"),
            Some(body) => {
                let inner: String = body.statements.iter().map(|inner| shown(inner, text)).collect();
                format!("{head}{{{inner}}}")
            }
        }
    }
}

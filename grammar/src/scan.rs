//! The top level of a file: where each statement and block begins and ends.
//!
//! Here: the one place that decides what a brace, a quote and a comment is outside the pest grammar,
//! by the same rules as `lbd.pest`. Not here: what stands in the blocks (`tree`).

use std::ops::Range;

/// Blocks deeper than this are refused.
pub(crate) const MAX_DEPTH: usize = 64;

/// A piece of the top level.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A statement without a block.
    Line(Range<usize>),
    /// A statement with its block, closing brace included.
    Block(Range<usize>),
    /// A block without its end: its text up to where the next one begins, the brace that is not
    /// closed, how many are missing.
    Unclosed { text: Range<usize>, open: usize, missing: usize },
    /// `}` that closes nothing.
    StrayClose(usize),
    /// A block that goes deeper than [`MAX_DEPTH`]: the brace that does.
    TooDeep(usize),
}

/// All pieces of a text, in order. `resumes` says which words begin a block of the top level: there
/// reading goes on after a block that is not closed.
pub(crate) fn scan(text: &str, resumes: impl Fn(&str) -> bool) -> Vec<Piece> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    let mut pieces = Vec::new();
    loop {
        scanner.skip_blank();
        let start = scanner.at;
        match scanner.peek() {
            None => return pieces,
            Some(b'}') => {
                scanner.at += 1;
                pieces.push(Piece::StrayClose(start));
            }
            Some(_) => {
                scanner.skip_head();
                let end = scanner.at;
                scanner.skip_blank();
                if scanner.peek() == Some(b'{') {
                    pieces.push(scanner.block(start, &resumes));
                } else {
                    scanner.at = end;
                    pieces.push(Piece::Line(start..end));
                }
            }
        }
    }
}

/// The first brace of a line that is neither in quotes nor of a reference. The line has no comment.
pub(crate) fn first_brace(line: &str) -> Option<usize> {
    memchr::memchr2(b'{', b'}', line.as_bytes())?;
    let mut scanner = Scanner { text: line, bytes: line.as_bytes(), at: 0 };
    while let Some(byte) = scanner.peek() {
        if matches!(byte, b'{' | b'}') {
            return Some(scanner.at);
        }
        scanner.step(byte);
    }
    None
}

/// How deep a text is in blocks, and in which one, while it grows.
#[derive(Debug, Default)]
pub(crate) struct Nesting {
    at: usize,
    depth: usize,
    /// Where the last head of the top level begins and ends.
    head: Range<usize>,
    block: String,
}

impl Nesting {
    /// Reads on to the end of the text.
    pub fn advance(&mut self, text: &str) {
        let mut scanner = Scanner { text, bytes: text.as_bytes(), at: self.at };
        loop {
            scanner.skip_blank();
            let start = scanner.at;
            match scanner.peek() {
                None => break,
                Some(b'{') => {
                    if self.depth == 0 {
                        let head = text.get(self.head.clone()).unwrap_or_default();
                        head.split(crate::tree::is_blank)
                            .next()
                            .unwrap_or_default()
                            .clone_into(&mut self.block);
                    }
                    self.depth += 1;
                    scanner.at += 1;
                }
                Some(b'}') => {
                    self.depth = self.depth.saturating_sub(1);
                    scanner.at += 1;
                }
                Some(_) => {
                    scanner.skip_head();
                    if self.depth == 0 {
                        self.head = start..scanner.at;
                    }
                }
            }
        }
        self.at = scanner.at;
    }

    /// Blocks that are open.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Whether it is in a block of the top level that this keyword begins.
    pub fn is_in(&self, keyword: &str) -> bool {
        self.depth > 0 && self.block == keyword
    }
}

/// What ends a head or begins an element of it that may hold such an octet.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'\n' | b'{' | b'}' | b'#' | b'!' | b'"' | b'\\' | b'$')
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// An open brace.
struct Open {
    at: usize,
    indent: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Over blanks, newlines and comments.
    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | 0x0b..=0x0d => self.at += 1,
                b'#' | b'!' => self.skip_line(),
                _ => return,
            }
        }
    }

    /// Over a head: to the newline, brace or comment that ends it.
    fn skip_head(&mut self) {
        loop {
            // By far the most octets mean nothing here.
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
            match self.peek() {
                None | Some(b'\n' | b'{' | b'}' | b'#' | b'!') => return,
                Some(byte) => self.step(byte),
            }
        }
    }

    /// Over one element of a head that begins with `byte`.
    fn step(&mut self, byte: u8) {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        self.at += 1;
        match byte {
            b'"' => match memchr::memchr2(b'"', b'\n', rest) {
                Some(found) if rest.get(found) == Some(&b'"') => self.at += found + 1,
                Some(found) => self.at += found,
                None => self.at = self.bytes.len(),
            },
            b'\\' if matches!(rest.first(), Some(b'#' | b'!')) => self.at += 1,
            b'$' if rest.first() == Some(&b'{') => {
                if let Some(found) = memchr::memchr2(b'}', b'\n', rest)
                    && rest.get(found) == Some(&b'}')
                {
                    self.at += found + 1;
                }
            }
            _ => {}
        }
    }

    fn skip_line(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }

    /// Over a block whose opening brace is next; its head began at `start`.
    fn block(&mut self, start: usize, resumes: &impl Fn(&str) -> bool) -> Piece {
        let mut open: Vec<Open> = Vec::new();
        let (mut depth, mut too_deep) = (0_usize, None);
        // The first brace whose closing one stands under another block's beginning.
        let mut misaligned: Option<usize> = None;
        let outer = self.indent(start);
        let mut fresh = false;
        loop {
            let at = self.at;
            let byte = self.peek();
            let next_block = |byte| {
                !matches!(byte, b'\n' | b' ' | b'\t' | b'{' | b'}')
                    && fresh
                    && self.indent(at) <= outer
                    && resumes(self.word(at))
            };
            let Some(byte) = byte.filter(|byte| !next_block(*byte)) else {
                let last = open.last().map_or(start, |open| open.at);
                let open_at = misaligned.unwrap_or(last);
                return match too_deep {
                    Some(at) => Piece::TooDeep(at),
                    None => Piece::Unclosed { text: start..at, open: open_at, missing: open.len() },
                };
            };
            match byte {
                b'\n' => {
                    self.at += 1;
                    fresh = true;
                    continue;
                }
                b' ' | b'\t' | 0x0b..=0x0d => {
                    let rest = self.bytes.get(at..).unwrap_or_default();
                    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b..=0x0d);
                    self.at += rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
                    continue;
                }
                b'#' | b'!' => {
                    self.skip_line();
                    continue;
                }
                b'{' => {
                    self.at += 1;
                    depth += 1;
                    if depth > MAX_DEPTH {
                        too_deep = too_deep.or(Some(at));
                    } else {
                        open.push(Open { at, indent: self.indent(at) });
                    }
                }
                b'}' => {
                    self.at += 1;
                    depth -= 1;
                    if depth < MAX_DEPTH
                        && let Some(closed) = open.pop()
                        && fresh
                    {
                        let indent = self.indent(at);
                        if indent != closed.indent && open.iter().any(|outer| outer.indent == indent) {
                            misaligned = misaligned.or(Some(closed.at));
                        }
                    }
                    if depth == 0 {
                        return match too_deep {
                            Some(at) => Piece::TooDeep(at),
                            None => Piece::Block(start..self.at),
                        };
                    }
                }
                _ => self.skip_head(),
            }
            fresh = false;
        }
    }

    /// Blanks at the beginning of the line of `at`.
    fn indent(&self, at: usize) -> usize {
        let before = self.bytes.get(..at).unwrap_or_default();
        let line = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        let line = self.bytes.get(line..).unwrap_or_default();
        line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
    }

    fn word(&self, at: usize) -> &str {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        self.text.get(at..at + length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        scan(text, |word| word == "vrrp_instance" || word == "virtual_server")
            .into_iter()
            .map(|piece| match piece {
                Piece::Line(range) => format!("line {}", &text[range]),
                Piece::Block(range) => format!("block {}", &text[range]),
                Piece::Unclosed { text: range, open, missing } => {
                    format!("unclosed {:?} at {} missing {missing}", &text[range], &text[open..=open + 3])
                }
                Piece::StrayClose(at) => format!("stray {at}"),
                Piece::TooDeep(at) => format!("deep {at}"),
            })
            .collect()
    }

    #[test]
    fn the_top_level_falls_into_statements_and_blocks() {
        for (name, text, want) in [
            ("nothing", "", &[][..]),
            ("comments alone", "# a {\n! b }\n", &[]),
            ("a line", "use_pid_dir # x", &["line use_pid_dir "]),
            ("block", "a b { c }\nd {\n}", &["block a b { c }", "block d {\n}"]),
            ("brace on the next line", "a\n # {\n{ b }", &["block a\n # {\n{ b }"]),
            ("several per line", "a { b { c } } d { }", &["block a { b { c } }", "block d { }"]),
            ("braces in quotes", "a { b \"}\" }", &["block a { b \"}\" }"]),
            ("braces in comments", "a { b # }\n}", &["block a { b # }\n}"]),
            ("braces of a reference", "a { b ${x} }", &["block a { b ${x} }"]),
            ("comment right after text", "a { b!}\n}", &["block a { b!}\n}"]),
            ("an escaped comment character", "a { b\\#} c", &["block a { b\\#}", "line c"]),
            ("a brace too many", "a { } }\nb", &["block a { }", "stray 6", "line b"]),
            ("unclosed quote ends with the line", "a { b \"x }\n}", &["block a { b \"x }\n}"]),
        ] {
            assert_eq!(pieces(text), want, "{name}");
        }
    }

    #[test]
    fn an_unclosed_block_is_reported_where_it_opens_and_the_next_is_read() {
        for (name, text, want) in [
            ("the only one", "a {{1\n b\n", &["unclosed \"a {{1\\n b\\n\" at {1\n  missing 2"][..]),
            (
                "the next block begins",
                "vrrp_instance A {0\n b\nvirtual_server c { }",
                &["unclosed \"vrrp_instance A {0\\n b\\n\" at {0\n  missing 1", "block virtual_server c { }"],
            ),
            (
                "the inner one by its indentation",
                "vrrp_instance A {0\n  b {1\n  c\n}\nvirtual_server c { }",
                &[
                    "unclosed \"vrrp_instance A {0\\n  b {1\\n  c\\n}\\n\" at {1\n  missing 1",
                    "block virtual_server c { }",
                ],
            ),
        ] {
            assert_eq!(pieces(text), want, "{name}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("a {} {} b", "{".repeat(65), "}".repeat(65));
        assert_eq!(pieces(&deep), ["deep 66", "line b"]);
        let allowed = format!("a {} {}", "{".repeat(64), "}".repeat(64));
        assert_eq!(pieces(&allowed).len(), 1);
    }

    /// No word is looked at again for each block that is still open.
    #[test]
    fn many_unclosed_blocks_are_looked_at_once() {
        const BLOCKS: usize = 10_000;
        let text = "vrrp_instance A {\n".repeat(BLOCKS);
        let looks = std::cell::Cell::new(0);
        let resumes = |word: &str| {
            looks.set(looks.get() + 1);
            assert!(looks.get() <= 2 * BLOCKS, "more looks than words");
            word == "vrrp_instance"
        };
        assert!(scan(&text, resumes).len() <= BLOCKS);
        assert!(looks.get() > 0);
    }
}

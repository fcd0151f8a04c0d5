//! The files of a configuration and places in them.
//!
//! Here: texts, byte spans, lines and columns. Not here: reading files (`include`), what the text
//! means (`tree`).

use std::ops::Range;
use std::sync::OnceLock;

/// A stretch of bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    file: u32,
    start: u32,
    end: u32,
}

impl Span {
    /// Bytes `range` of file `file` (an index of [`Sources`]).
    pub(crate) fn new(file: u32, range: Range<usize>) -> Self {
        // A file is at most MAX_FILE long; see `include`.
        let start = u32::try_from(range.start).unwrap_or(u32::MAX);
        let end = u32::try_from(range.end).unwrap_or(u32::MAX).max(start);
        Self { file, start, end }
    }

    /// The file, as an index.
    pub(crate) fn file(self) -> u32 {
        self.file
    }

    /// The bytes.
    pub fn range(self) -> Range<usize> {
        let index = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        index(self.start)..index(self.end)
    }
}

/// A place as people read it: line and column count from 1, columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// File name as it was given or found.
    pub file: &'a str,
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The texts of all files that were read.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: String,
    /// Byte offset of the start of each line, ascending, the first is 0; found when first asked for,
    /// which is never if nothing is said about the file.
    lines: OnceLock<Vec<usize>>,
}

impl Sources {
    /// Adds a text and returns its index.
    pub(crate) fn add(&mut self, name: String, text: String) -> u32 {
        self.files.push(File { name, text, lines: OnceLock::new() });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file could be read.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Names of the files, in the order of reading.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The text under a span; empty if it is of other sources.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).and_then(|file| file.text.get(span.range())).unwrap_or_default()
    }

    /// Where a span starts.
    pub fn place(&self, span: Span) -> Place<'_> {
        let Some(file) = self.file(span.file) else {
            return Place { file: "?", line: 1, column: 1 };
        };
        let at = span.range().start;
        let (line, start) = file.line_of(at);
        let before = file.text.get(start..at).unwrap_or_default();
        Place { file: &file.name, line, column: before.chars().count() + 1 }
    }

    /// Where a span starts, and where it ends: the place after its last character.
    pub fn range(&self, span: Span) -> (Place<'_>, Place<'_>) {
        let end = span.range().end;
        (self.place(span), self.place(Span::new(span.file, end..end)))
    }

    /// Name of a file.
    pub(crate) fn name(&self, file: u32) -> &str {
        self.file(file).map_or("?", |file| &file.name)
    }

    /// The whole text of a file.
    pub(crate) fn whole(&self, file: u32) -> &str {
        self.file(file).map_or("", |file| &file.text)
    }

    /// The lines under a span: their text, the offset at which it starts, the number of the first.
    pub(crate) fn lines(&self, span: Span) -> (&str, usize, usize) {
        let Some(file) = self.file(span.file) else { return ("", 0, 1) };
        let range = span.range();
        let (line, start) = file.line_of(range.start);
        let (last, _) = file.line_of(range.end.max(range.start + 1) - 1);
        let end = file.lines().get(last).map_or(file.text.len(), |next| next - 1);
        (file.text.get(start..end).unwrap_or_default(), start, line)
    }

    fn file(&self, index: u32) -> Option<&File> {
        self.files.get(usize::try_from(index).ok()?)
    }
}

impl File {
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let ends = memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|at| at + 1);
            std::iter::once(0).chain(ends).collect()
        })
    }

    /// Number (from 1) and start of the line that holds a byte.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let lines = self.lines();
        let line = lines.partition_point(|start| *start <= at).max(1);
        (line, lines.get(line - 1).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        sources.add("first".into(), "x\n".into());
        let file = sources.add("a.conf".into(), "one\n\u{fc}\u{fc} two\n".into());
        for (name, start, want) in [
            ("first byte", 0, "a.conf:1:1"),
            ("end of a line", 3, "a.conf:1:4"),
            ("second line", 4, "a.conf:2:1"),
            ("after characters of two bytes", 9, "a.conf:2:4"),
            ("after the last newline", 13, "a.conf:3:1"),
        ] {
            let span = Span::new(file, start..start);
            assert_eq!(sources.place(span).to_string(), want, "{name}");
        }
        let (start, end) = sources.range(Span::new(file, 2..10));
        assert_eq!((start.to_string(), end.to_string()), ("a.conf:1:3".into(), "a.conf:2:5".into()));
    }
}

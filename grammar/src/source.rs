//! The files of a configuration and places in them.
//!
//! Here: texts, byte spans, lines and columns, and what text was put where. Not here: reading files
//! and substitution (`expand`), what the text means (`tree`).

use std::ops::Range;
use std::sync::{Arc, OnceLock};

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

/// The texts of all files that were read, and the text that they make together.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<File>,
    stream: Option<Stream>,
    /// Where secrets stand that replacing brought to their keyword; found when first asked for.
    hidden: OnceLock<Vec<Span>>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: Arc<str>,
    /// Byte offset of the start of each line, ascending, the first is 0; found when first asked for,
    /// which is never if nothing is said about the file.
    lines: OnceLock<Vec<usize>>,
}

/// Includes, definitions, conditions and generators done: one text, and where each part of it stands.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub text: String,
    /// The same with another octet in the place of each `#` and `!` that begins no comment; `None` if
    /// there is no such character.
    pub masked: Option<String>,
    /// Ascending by start, without gaps.
    pub segments: Vec<Segment>,
    pub expansions: Vec<Expansion>,
}

/// From `start` of the stream up to the next segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub start: u32,
    pub origin: Origin,
}

/// Where octets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub file: u32,
    pub offset: u32,
    /// 0: octet by octet from `offset`. Otherwise all octets stand for this many of the file.
    pub length: u32,
    /// The reference that brought them: an index of the expansions, counted from 1; 0 for none.
    pub expansion: u32,
    /// One of several copies that a generator made.
    pub repeated: bool,
}

/// A reference that was replaced.
#[derive(Clone, Debug)]
pub(crate) struct Expansion {
    /// `$NAME` in its file.
    pub reference: Span,
    /// The reference that brought the text of this one; 0 for none.
    pub parent: u32,
    /// Name of the definition.
    pub name: Arc<str>,
}

/// File number of places in the stream.
const STREAM: u32 = u32::MAX - 1;

/// Where a part of the text really stands.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// In a file: what a person wrote at this place.
    pub at: Span,
    /// Of text that came from definitions: where it stands in each, the outermost first, and its name.
    pub via: Vec<(Span, Arc<str>)>,
    /// One of several copies.
    pub repeated: bool,
}

impl Sources {
    /// Adds a text and returns its index.
    pub(crate) fn add(&mut self, name: String, text: Arc<str>) -> u32 {
        self.files.push(File { name, text, lines: OnceLock::new() });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Sets the text that the files make together. Without one the first file is all there is.
    pub(crate) fn set_stream(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// The whole text with its comment characters masked, and its file number for spans.
    pub(crate) fn everything(&self) -> (&str, u32) {
        match &self.stream {
            Some(stream) => (stream.masked.as_deref().unwrap_or(&stream.text), STREAM),
            None => (self.whole(0), 0),
        }
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

    /// The text under a span, after substitution; empty if it is of other sources.
    pub fn text(&self, span: Span) -> &str {
        let whole = match &self.stream {
            Some(stream) if span.file == STREAM => &stream.text,
            _ => self.whole(span.file),
        };
        whole.get(span.range()).unwrap_or_default()
    }

    /// Where a span starts, in the file that a person wrote.
    pub fn place(&self, span: Span) -> Place<'_> {
        self.place_in_file(self.trace(span).at, false)
    }

    /// Where a span starts and ends, in the file that a person wrote.
    pub fn range(&self, span: Span) -> (Place<'_>, Place<'_>) {
        let at = self.trace(span).at;
        (self.place_in_file(at, false), self.place_in_file(at, true))
    }

    fn place_in_file(&self, span: Span, end: bool) -> Place<'_> {
        let Some(file) = self.file(span.file) else {
            return Place { file: "?", line: 1, column: 1 };
        };
        let range = span.range();
        let at = if end { range.end } else { range.start };
        let (line, start) = file.line_of(at);
        let before = file.text.get(start..at).unwrap_or_default();
        Place { file: &file.name, line, column: before.chars().count() + 1 }
    }

    /// What a span stands for.
    pub(crate) fn trace(&self, span: Span) -> Trace {
        let plain = Trace { at: span, via: Vec::new(), repeated: false };
        let Some(stream) = self.stream.as_ref().filter(|_| span.file == STREAM) else { return plain };
        let range = span.range();
        let last = if range.is_empty() { range.start } else { range.end - 1 };
        let (Some(first), Some(last)) = (stream.octet(range.start), stream.octet(last)) else { return plain };
        let (from, to) = (stream.outermost(first), stream.outermost(last));
        // A word may begin in a definition and end after it.
        let inner = if first.1.expansion != 0 { first } else { last };
        let inner_span =
            if inner == first && first.1.file == last.1.file && first.1.expansion == last.1.expansion {
                join(first.0, last.0)
            } else {
                inner.0
            };
        let at = join(from, to);
        let at = if range.is_empty() { Span { end: at.start, ..at } } else { at };
        Trace {
            at,
            via: stream.chain(inner_span, inner.1.expansion),
            repeated: first.1.repeated || inner.1.expansion != 0,
        }
    }

    /// Where secrets stand that replacing brought to their keyword, ascending.
    pub(crate) fn hidden(&self) -> &[Span] {
        self.hidden.get_or_init(|| crate::secret::replaced(self))
    }

    /// The whole text, if something was replaced in it.
    pub(crate) fn replaced(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| stream.text.as_str())
    }

    /// Every place in the files that a stretch of the replaced text comes from.
    pub(crate) fn written(&self, stretch: Range<usize>) -> impl Iterator<Item = Span> {
        let segments = self.stream.as_ref().map_or(&[][..], |stream| &stream.segments);
        let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (start, end) = (index(stretch.start), index(stretch.end));
        let first = segments.partition_point(|segment| segment.start <= start).saturating_sub(1);
        let here = segments.iter().skip(first).take_while(move |segment| segment.start < end);
        here.enumerate().map(move |(number, segment)| {
            let next = segments.get(first + number + 1).map_or(end, |next| next.start.min(end));
            let from = segment.origin.octet(start.saturating_sub(segment.start));
            let to = segment.origin.octet(next.saturating_sub(segment.start + 1));
            join(from, to)
        })
    }

    /// Name of a file.
    pub(crate) fn name(&self, file: u32) -> &str {
        self.file(file).map_or("?", |file| &file.name)
    }

    /// The whole text of a file.
    pub(crate) fn whole(&self, file: u32) -> &str {
        self.file(file).map_or("", |file| &file.text)
    }

    /// The lines under a span of a file: their text, the offset at which it starts, the number of the
    /// first.
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

/// From the beginning of one span to the end of another, if that is one stretch.
fn join(from: Span, to: Span) -> Span {
    if from.file == to.file && from.start <= to.end {
        Span { end: to.end.max(from.end), ..from }
    } else {
        from
    }
}

impl Stream {
    /// Where one octet comes from: its place in a file, and how it came here.
    fn octet(&self, at: usize) -> Option<(Span, Origin)> {
        let at = u32::try_from(at).ok()?;
        let index = self.segments.partition_point(|segment| segment.start <= at).checked_sub(1)?;
        let segment = self.segments.get(index)?;
        Some((segment.origin.octet(at - segment.start), segment.origin))
    }

    /// What a person wrote in the place of it.
    fn outermost(&self, octet: (Span, Origin)) -> Span {
        self.expansion_chain(octet.1.expansion).last().map_or(octet.0, |expansion| expansion.reference)
    }

    /// Place and name in each definition, the outermost first; `text` stands in the innermost.
    fn chain(&self, text: Span, expansion: u32) -> Vec<(Span, Arc<str>)> {
        let mut place = text;
        let mut via: Vec<(Span, Arc<str>)> = self
            .expansion_chain(expansion)
            .map(|expansion| {
                let here = (place, expansion.name.clone());
                place = expansion.reference;
                here
            })
            .collect();
        via.reverse();
        via
    }

    /// An expansion and those around it, the innermost first.
    pub fn expansion_chain(&self, index: u32) -> impl Iterator<Item = &Expansion> {
        let find = |index: u32| self.expansions.get(usize::try_from(index.checked_sub(1)?).ok()?);
        std::iter::successors(find(index), move |expansion| find(expansion.parent))
    }
}

impl Origin {
    /// Octet by octet from a place of a file.
    pub fn verbatim(file: u32, offset: usize) -> Self {
        Self {
            file,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            length: 0,
            expansion: 0,
            repeated: false,
        }
    }

    /// Place of the octet at a distance from the beginning.
    pub fn octet(&self, distance: u32) -> Span {
        let start = if self.length == 0 { self.offset.saturating_add(distance) } else { self.offset };
        Span { file: self.file, start, end: start.saturating_add(self.length.max(1)) }
    }

    /// The same, a distance further.
    pub fn advanced(mut self, distance: usize) -> Self {
        if self.length == 0 {
            self.offset = self.offset.saturating_add(u32::try_from(distance).unwrap_or(u32::MAX));
        }
        self
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

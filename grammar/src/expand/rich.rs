//! Text that knows where each octet of it comes from.

use crate::source::{Origin, Segment, Span, Stream};

/// A piece of text with its origins.
#[derive(Clone, Debug, Default)]
pub(super) struct Rich {
    pub text: String,
    /// Ascending by start; the first starts at 0 unless the text is empty.
    parts: Vec<(usize, Origin)>,
    /// Where a `#` or `!` stands that begins no comment, ascending.
    literal: Vec<usize>,
}

impl Rich {
    /// Text of one origin.
    pub fn new(text: &str, origin: Origin) -> Self {
        Self { text: text.to_owned(), parts: vec![(0, origin)], literal: Vec::new() }
    }

    /// Text that stands for a reference or a generator as a whole, with its comment characters as
    /// plain ones.
    pub fn generated(text: &str, mut origin: Origin, length: usize) -> Self {
        origin.length = u32::try_from(length).unwrap_or(u32::MAX).max(1);
        let literal = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'#' | b'!'));
        let literal = literal.map(|(at, _)| at).collect();
        Self { text: text.to_owned(), parts: vec![(0, origin)], literal }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn push(&mut self, other: &Rich) {
        let base = self.text.len();
        self.text.push_str(&other.text);
        self.parts.extend(other.parts.iter().map(|(at, origin)| (base + at, *origin)));
        self.literal.extend(other.literal.iter().map(|at| base + at));
    }

    /// A comment character in the middle of the text was escaped: it is a plain one.
    pub fn push_literal(&mut self, c: char, origin: Origin) {
        self.literal.push(self.text.len());
        self.parts.push((self.text.len(), origin));
        self.text.push(c);
    }

    pub fn slice(&self, start: usize, end: usize) -> Rich {
        let text = self.text.get(start..end).unwrap_or_default().to_owned();
        let first = self.parts.partition_point(|(at, _)| *at <= start).saturating_sub(1);
        let parts = self.parts.iter().skip(first).take_while(|(at, _)| *at < end.max(start + 1));
        let parts = parts.map(|(at, origin)| match at.checked_sub(start) {
            Some(at) => (at, *origin),
            None => (0, origin.advanced(start - at)),
        });
        let literal =
            self.literal.iter().filter(|at| (start..end).contains(*at)).map(|at| at - start).collect();
        Rich { text, parts: parts.collect(), literal }
    }

    /// From an octet on, blanks at both ends left out.
    pub fn tail(&self, start: usize) -> Rich {
        let rest = self.text.get(start..).unwrap_or_default();
        let begin = start + (rest.len() - rest.trim_start_matches(crate::tree::is_blank).len());
        self.slice(begin, self.text.trim_end_matches(crate::tree::is_blank).len().max(begin))
    }

    /// Origin of the octet at `at`.
    pub fn origin(&self, at: usize) -> Option<Origin> {
        let index = self.parts.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        self.parts.get(index).map(|(start, origin)| origin.advanced(at - start))
    }

    /// Place in a file of a stretch: where its first octet stands up to where its last one does.
    pub fn place(&self, start: usize, end: usize) -> Option<Span> {
        let first = self.origin(start)?.octet(0);
        let last = self.origin(end.saturating_sub(1).max(start))?.octet(0);
        Some(if first.file() == last.file() && first.range().start <= last.range().end {
            Span::new(first.file(), first.range().start..last.range().end)
        } else {
            first
        })
    }

    /// The same text as brought by a reference.
    pub fn referred(mut self, expansion: u32, repeated: bool) -> Rich {
        for (_, origin) in &mut self.parts {
            origin.expansion = expansion;
            origin.repeated = repeated;
        }
        self
    }

    /// The same text as one of several copies.
    pub fn copied(mut self) -> Rich {
        for (_, origin) in &mut self.parts {
            origin.repeated = true;
        }
        self
    }

    /// Appends it to a stream.
    pub fn append_to(&self, stream: &mut Stream) {
        let base = stream.text.len();
        for (at, origin) in &self.parts {
            stream.push_origin(base + at, *origin);
        }
        if !self.literal.is_empty() && stream.masked.is_none() {
            stream.masked = Some(stream.text.clone());
        }
        stream.text.push_str(&self.text);
        if let Some(masked) = &mut stream.masked {
            let mut from = 0;
            for at in &self.literal {
                masked.push_str(self.text.get(from..*at).unwrap_or_default());
                masked.push('\u{1}');
                from = at + 1;
            }
            masked.push_str(self.text.get(from..).unwrap_or_default());
        }
    }
}

impl Stream {
    /// What follows from `start` on comes from there.
    pub fn push_origin(&mut self, start: usize, origin: Origin) {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        if let Some(last) = self.segments.last_mut() {
            let goes_on = last.origin.length == 0
                && origin.length == 0
                && last.origin.expansion == origin.expansion
                && last.origin.repeated == origin.repeated
                && last.origin.file == origin.file
                && last.origin.offset.checked_add(start - last.start) == Some(origin.offset);
            if goes_on {
                return;
            }
            if last.start == start {
                last.origin = origin;
                return;
            }
        }
        self.segments.push(Segment { start, origin });
    }

    /// Appends a blank or a newline, which stands in no file.
    pub fn push_plain(&mut self, c: char) {
        self.text.push(c);
        if let Some(masked) = &mut self.masked {
            masked.push(c);
        }
    }

    /// Appends a stretch of a file as it is.
    pub fn push_verbatim(&mut self, text: &str, origin: Origin) {
        if text.is_empty() {
            return;
        }
        self.push_origin(self.text.len(), origin);
        self.text.push_str(text);
        if let Some(masked) = &mut self.masked {
            masked.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_keep_their_places() {
        let mut rich = Rich::new("abc", Origin::verbatim(0, 10));
        rich.push(&Rich::generated("#X", Origin::verbatim(1, 5), 7));
        rich.push(&Rich::new(" def ", Origin::verbatim(0, 20)));
        assert_eq!(rich.text, "abc#X def ");
        for (start, end, want) in [
            (0, 3, (0, 10..13)),
            (1, 2, (0, 11..12)),
            (3, 5, (1, 5..12)),
            (6, 9, (0, 21..24)),
            (2, 9, (0, 12..24)),
        ] {
            let part = rich.slice(start, end);
            assert_eq!(part.text, rich.text[start..end]);
            let place = part.place(0, end - start).expect("a place");
            assert_eq!((place.file(), place.range()), want, "{start}..{end}");
        }
        let tail = rich.tail(5);
        assert_eq!((tail.text.as_str(), tail.place(0, 3).map(Span::range)), ("def", Some(21..24)));
        let mut stream = Stream::default();
        stream.push_verbatim("x\n", Origin::verbatim(0, 0));
        rich.append_to(&mut stream);
        assert_eq!(stream.text, "x\nabc#X def ");
        assert_eq!(stream.masked.as_deref(), Some("x\nabc\u{1}X def "));
    }
}

//! The statements of the top level, each parsed when it is its turn.
//!
//! Here: pieces of the text to statements, and what is said of those that are broken. Not here: where
//! pieces begin and end (`scan`), the grammar (`tree`).

use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::Context;
use crate::scan::{self, MAX_DEPTH, Piece};
use crate::source::{Sources, Span};
use crate::tree::{self, Statement};

/// Everything at the top level of a configuration, in order.
pub(crate) struct Blocks<'s> {
    sources: &'s Sources,
    text: &'s str,
    file: u32,
    pieces: Vec<Piece>,
}

impl<'s> Blocks<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        let (text, file) = sources.everything();
        Self { sources, text, file, pieces: scan::scan(text, |word| RESUMES.contains(&word)) }
    }

    /// What they were read from.
    pub fn sources(&self) -> &'s Sources {
        self.sources
    }

    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The piece in which a place is.
    pub fn at(&self, place: Span) -> Option<usize> {
        let start = place.range().start;
        let after = self.pieces.partition_point(|piece| match piece {
            Piece::Line(range) | Piece::Block(range) | Piece::Unclosed { text: range, .. } => {
                range.start <= start
            }
            Piece::StrayClose(at) | Piece::TooDeep(at) => *at <= start,
        });
        (place.file() == self.file).then_some(after)?.checked_sub(1)
    }

    /// The word after the keyword of a piece; empty if it has none.
    pub fn name(&self, index: usize) -> &'s str {
        let Some(Piece::Block(range) | Piece::Unclosed { text: range, .. }) = self.pieces.get(index) else {
            return "";
        };
        let text = self.text.get(range.clone()).unwrap_or_default();
        let head = text.split(['{', '\n']).next().unwrap_or_default();
        let mut words = head.split(tree::is_blank).filter(|word| !word.is_empty());
        words.nth(1).unwrap_or_default().trim_matches('"')
    }

    /// The keyword of a piece; empty if it has none.
    pub fn keyword(&self, index: usize) -> &'s str {
        let range = match self.pieces.get(index) {
            Some(Piece::Line(range) | Piece::Block(range) | Piece::Unclosed { text: range, .. }) => {
                range.clone()
            }
            _ => return "",
        };
        let text = self.text.get(range).unwrap_or_default();
        text.split(|c| tree::is_blank(c) || c == '{').next().unwrap_or_default()
    }

    /// A piece as a statement; what is wrong with its braces is reported.
    pub fn parsed(&self, index: usize, context: &mut Context<'_>) -> Option<Statement> {
        let mut broken = Vec::new();
        let statement = self.statement(index, &mut broken);
        broken.into_iter().for_each(|diagnostic| context.report(diagnostic));
        statement
    }

    /// A piece as a statement; what is wrong with its braces goes to `broken`.
    pub fn statement(&self, index: usize, broken: &mut Vec<Diagnostic>) -> Option<Statement> {
        let at = |at: usize| Some(Span::new(self.file, at..at + 1));
        match self.pieces.get(index)? {
            Piece::Line(range) => {
                let head = self.text.get(range.clone()).unwrap_or_default();
                Some(tree::line(head, self.file, range.start))
            }
            Piece::Block(range) => {
                let slice = self.text.get(range.clone()).unwrap_or_default();
                tree::parse_block(slice, self.file, range.start, range.end)
                    .map_err(|error| {
                        broken.push(
                            Diagnostic::error(
                                Kind::Syntax,
                                at(range.start + error.at),
                                "this cannot be read",
                            )
                            .help("a keyword with its arguments, or a closing brace, has to stand here"),
                        );
                    })
                    .ok()
            }
            Piece::Unclosed { text: range, open, missing } => {
                broken.push(
                    Diagnostic::error(Kind::Syntax, at(*open), "this block is not closed")
                        .label("opened here")
                        .help("add the missing `}`"),
                );
                let slice = self.text.get(range.clone()).unwrap_or_default();
                // A newline first: the text may end in a comment.
                let closed = format!("{slice}\n{}", "}".repeat(*missing));
                tree::parse_block(&closed, self.file, range.start, range.end).ok()
            }
            Piece::StrayClose(place) => {
                broken.push(
                    Diagnostic::error(Kind::Syntax, at(*place), "this `}` closes nothing")
                        .help("remove it, or add the `{` that it belongs to"),
                );
                None
            }
            Piece::TooDeep(place) => {
                let message = format!("blocks are nested more than {MAX_DEPTH} levels deep");
                broken.push(
                    Diagnostic::error(Kind::Syntax, at(*place), message).help("check the braces before it"),
                );
                None
            }
        }
    }
}

/// Words that only ever begin a block of the top level: after a block that is not closed, reading
/// goes on at a line that begins with one.
const RESUMES: [&str; 15] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
    "vrrp_track_file",
    "bfd_instance",
    "track_group",
    "garp_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "virtual_server",
    "virtual_server_group",
    "SSL",
];

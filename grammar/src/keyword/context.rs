//! What lowering collects.
//!
//! Here: diagnostics, scripts and places so far. Not here: what any keyword means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_health::ScriptId;

use super::global::GlobalBuilder;
use super::tracking::Object;
use super::virtual_server::{CheckDefaults, ServerBuilder};
use crate::config::{BfdInstance, Script, TrackFile, TrackProcess, VrrpScript};
use crate::diagnostic::{Diagnostic, Kind, Severity, quote};
use crate::source::{Sources, Span};
use crate::spans::Spans;
use crate::tree::{Statement, Word};

/// Most warnings.
pub(crate) const MOST: usize = 2_000;

/// The state of one load.
pub(crate) struct Context<'s> {
    pub sources: &'s Sources,
    pub diagnostics: Vec<Diagnostic>,
    pub spans: Spans,
    /// global_defs, complete before anything else is lowered.
    pub global: GlobalBuilder,
    /// What the tables say where nothing else does.
    pub global_built_in: GlobalBuilder,
    pub virtual_server_built_in: ServerBuilder,
    pub check_built_in: CheckDefaults,
    pub scripts: IndexMap<ScriptId, Script>,
    /// vrrp_script so far: with its weight.
    pub vrrp_scripts: IndexMap<Arc<str>, (VrrpScript, lbd_vrrp::Weight)>,
    /// vrrp_track_process so far: with its weight.
    pub track_processes: IndexMap<Arc<str>, (TrackProcess, lbd_vrrp::Weight)>,
    /// track_file so far: with its weight.
    pub track_files: IndexMap<Arc<str>, (TrackFile, lbd_vrrp::Weight)>,
    /// bfd_instance so far: with its weight.
    pub bfd_instances: IndexMap<Arc<str>, (BfdInstance, lbd_vrrp::Weight)>,
    /// Where everything that can be tracked is, also what is not reached yet.
    pub tracked_places: HashMap<(Object, &'s str), Span>,
    /// What any track_script names, also one that is left out.
    pub tracked: HashSet<&'s str>,
    /// Names defined by `$NAME=`.
    pub definitions: HashSet<&'s str>,
    /// Statements that were left out because of parts of the language that come later.
    pub left_out: usize,
    /// Statements of which nothing is left but a diagnostic, in their order.
    pub lost: Vec<Lost<'s>>,
    /// How many blocks and statements that are not served yet are being lowered: what is in them is
    /// not served either and needs no words of its own.
    pub unserved_depth: usize,
    /// A place for what stands in no file.
    pub nowhere: Span,
}

/// A statement that was ignored or left out, and said to be so.
#[derive(Clone, Copy)]
pub(crate) struct Lost<'s> {
    /// Name of the table of the block that it stands in.
    block: &'static str,
    /// The keyword; of a misspelt one what was probably meant.
    keyword: &'s str,
    /// Its diagnostic, as an index.
    diagnostic: usize,
}

impl<'s> Context<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        Self {
            sources,
            diagnostics: Vec::new(),
            spans: Spans::default(),
            global: GlobalBuilder::default(),
            global_built_in: GlobalBuilder::default(),
            virtual_server_built_in: ServerBuilder::default(),
            check_built_in: CheckDefaults::default(),
            scripts: IndexMap::new(),
            vrrp_scripts: IndexMap::new(),
            track_processes: IndexMap::new(),
            track_files: IndexMap::new(),
            bfd_instances: IndexMap::new(),
            tracked_places: HashMap::new(),
            tracked: HashSet::new(),
            definitions: HashSet::new(),
            left_out: 0,
            lost: Vec::new(),
            unserved_depth: 0,
            nowhere: Span::new(u32::MAX, 0..0),
        }
    }

    /// Whether further warnings are dropped.
    pub fn is_full(&self) -> bool {
        self.diagnostics.len() > MOST
    }

    /// Adds a diagnostic. Past a limit warnings are dropped: nobody reads a million of them.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        let count = self.diagnostics.len();
        let wanted = count < MOST || (diagnostic.severity == Severity::Error && count < 2 * MOST);
        if wanted {
            self.diagnostics.push(diagnostic);
        } else if count == MOST {
            self.diagnostics.push(
                Diagnostic::warning(Kind::Lint, diagnostic.span, "further warnings are not shown")
                    .help("deal with those before it first"),
            );
        }
    }

    /// Remembers that `diagnostic`, an index, is about `keyword` in `block`. Nothing, if it was dropped.
    pub fn note_lost(&mut self, block: &'static str, keyword: &'s str, diagnostic: usize) {
        if diagnostic < self.diagnostics.len().min(MOST) {
            self.lost.push(Lost { block, keyword, diagnostic });
        }
    }

    /// Whether one of `keywords` in `block` was lost since there were `before` of them; the last such
    /// diagnostic then also says what follows from that, and nothing else needs to.
    pub fn explain_lost(
        &mut self,
        before: usize,
        block: &str,
        keywords: &[&str],
        consequence: impl Into<String>,
    ) -> bool {
        let found = self.lost.iter().skip(before).rev();
        let found = found.filter(|lost| lost.block == block && keywords.contains(&lost.keyword));
        let Some(index) = found.map(|lost| lost.diagnostic).next() else { return false };
        let Some(diagnostic) = self.diagnostics.get_mut(index) else { return false };
        diagnostic.consequence = Some(consequence.into());
        true
    }

    /// A keyword, or a form of one, that is known and not supported yet.
    pub fn unserved(&mut self, span: Span, what: &str, means: &str) {
        if self.unserved_depth > 0 {
            return;
        }
        let message = format!("{what} is not supported yet");
        self.report(Diagnostic::warning(Kind::Unserved, Some(span), message).help(means));
    }

    /// A statement without a keyword: a brace, or a quote that is not closed.
    pub fn report_headless(&mut self, statement: &Statement, open_quote: Option<Span>) {
        if let Some(open) = open_quote {
            self.report_open_quote(open);
        } else if let Some(body) = &statement.body {
            self.report(
                Diagnostic::error(Kind::Syntax, Some(body.open), "this `{` has no keyword before it")
                    .help("remove it with its `}`, or put the block's keyword before it"),
            );
        }
    }

    pub fn report_open_quote(&mut self, open: Span) {
        self.report(
            Diagnostic::error(Kind::Syntax, Some(open), "this quote is not closed")
                .label("opened here")
                .help("close it on the same line"),
        );
    }

    /// Whether a statement uses the parts of the language that come later (definitions, conditions,
    /// generators); it is reported then and left out.
    pub fn is_later_syntax(&mut self, statement: &Statement, words: &[Word<'_>]) -> bool {
        let Some(first) = words.first() else { return false };
        let text = self.sources.text(statement.head);
        if text.contains('\0') {
            self.report(
                Diagnostic::warning(Kind::BadValue, Some(statement.head), "this line holds a NUL byte")
                    .label("ignored")
                    .help("remove the byte; the file may be damaged or not be text"),
            );
            return true;
        }
        let (what, means) = if first.text.starts_with('@') {
            (
                format!("the condition {}", quote(first.text)),
                "this line is left out; move it into a file for this host only",
            )
        } else if first.text.starts_with("~SEQ") || first.text.starts_with("~LST") {
            (format!("the generator {}", quote(first.text)), "this line is left out; write its lines out")
        } else if let Some(name) = definition(first.text) {
            (format!("the definition of `${name}`"), "write the value where it is used")
        } else if let Some(reference) = words.iter().find(|word| self.has_reference(word.text)) {
            let what = format!("the definition used in {}", quote(reference.text));
            self.unserved(reference.span, &what, "this line is left out; write the value itself");
            self.left_out += 1;
            return true;
        } else {
            return false;
        };
        self.unserved(first.span, &what, means);
        self.left_out += 1;
        true
    }

    /// The remedy where something is missing in a block that was entered when `left_out` was
    /// `before`: it may be in one of the lines that were left out.
    pub fn help_with_missing(&self, before: usize, help: &str) -> String {
        if self.left_out == before {
            return help.to_owned();
        }
        "lines of this block were left out (see their warnings): write them without definitions and conditions".to_owned()
    }

    /// Whether a word refers to something that is defined; other dollars are just characters.
    fn has_reference(&self, word: &str) -> bool {
        let mut rest = word;
        while let Some((_, after)) = rest.split_once('$') {
            let braced = after.strip_prefix('{');
            let name = braced.unwrap_or(after);
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            let (name, next) = name.split_at_checked(end).unwrap_or((name, ""));
            let ended = match braced {
                Some(_) => next.starts_with(['}', ' ']),
                None => next.is_empty() || next.starts_with([' ', '\t', ',', ')']),
            };
            let built_in = braced.is_some() && BUILT_IN.contains(&name);
            if ended && (built_in || self.definitions.contains(name)) {
                return true;
            }
            rest = after;
        }
        false
    }
}

const BUILT_IN: [&str; 6] = ["_PWD", "_INSTANCE", "_RANDOM", "_ENV", "_HASH", "_BANG"];

/// The name that a word defines: `$NAME=…`.
pub(crate) fn definition(word: &str) -> Option<&str> {
    let (name, _) = word.strip_prefix('$')?.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()))
        .then_some(name)
}

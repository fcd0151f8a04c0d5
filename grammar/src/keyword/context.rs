//! What lowering collects.
//!
//! Here: diagnostics, scripts and places so far. Not here: what any keyword means.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_health::ScriptId;

use super::global::GlobalBuilder;
use super::server_group::Shape;
use super::tracking::Object;
use super::virtual_server::{CheckDefaults, ServerBuilder};
use crate::config::{BfdInstance, Script, TrackFile, TrackProcess, VrrpScript};
use crate::diagnostic::{Diagnostic, Kind, Severity};
use crate::expand::left_over;
use crate::source::{Sources, Span};
use crate::spans::Spans;
use crate::suggest::nearest;
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
    pub virtual_server_built_in: Arc<ServerBuilder>,
    pub check_built_in: Arc<CheckDefaults>,
    /// virtual_server_group: what virtual servers have to know; `None` of one that was left out.
    pub server_groups: IndexMap<Arc<str>, Option<Shape>>,
    pub scripts: IndexMap<ScriptId, Script>,
    /// vrrp_script so far: with its weight.
    pub vrrp_scripts: IndexMap<Arc<str>, (VrrpScript, lbd_vrrp::Weight)>,
    /// vrrp_track_process so far: with its weight.
    pub track_processes: IndexMap<Arc<str>, (TrackProcess, lbd_vrrp::Weight)>,
    /// track_file so far: with its weight.
    pub track_files: IndexMap<Arc<str>, (TrackFile, lbd_vrrp::Weight)>,
    /// bfd_instance so far: with its weight.
    pub bfd_instances: IndexMap<Arc<str>, (BfdInstance, lbd_vrrp::Weight)>,
    /// The ends of BFD sessions so far: to a neighbour, with or without multihop, from each source.
    pub bfd_ends: HashMap<(IpAddr, bool), IndexMap<Option<IpAddr>, Arc<str>>>,
    /// Lines of linkbeat_interfaces so far, by interface: index and place.
    pub linkbeats: HashMap<String, (usize, Span)>,
    /// The same of interface_up_down_delays.
    pub link_delays: HashMap<String, (usize, Span)>,
    /// Where everything that can be tracked is, also what is not reached yet.
    pub tracked_places: HashMap<(Object, &'s str), Span>,
    /// What any track_script names, also one that is left out.
    pub tracked: HashSet<&'s str>,
    /// Places of track_group so far, for the static entries that name one.
    pub track_groups: IndexMap<Arc<str>, Span>,
    /// The next preference of rules without one, of IPv4 and of IPv6.
    pub rule_preferences: [u32; 2],
    /// Names defined by `$NAME=`.
    pub definitions: &'s [String],
    /// Statements of which nothing is left but a diagnostic, in their order.
    pub lost: Vec<Lost<'s>>,
    /// How many blocks and statements that are not served yet are being lowered: what is in them is
    /// not served either and needs no words of its own.
    pub unserved_depth: usize,
    /// A place for what stands in no file.
    pub nowhere: Span,
}

/// What a fork brings back.
pub(crate) struct Gathered {
    diagnostics: Vec<Diagnostic>,
    spans: Spans,
    scripts: IndexMap<ScriptId, Script>,
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
    pub fn new(sources: &'s Sources, definitions: &'s [String]) -> Self {
        Self {
            sources,
            diagnostics: Vec::new(),
            spans: Spans::default(),
            global: GlobalBuilder::default(),
            global_built_in: GlobalBuilder::default(),
            virtual_server_built_in: Arc::default(),
            check_built_in: Arc::default(),
            server_groups: IndexMap::new(),
            scripts: IndexMap::new(),
            vrrp_scripts: IndexMap::new(),
            track_processes: IndexMap::new(),
            track_files: IndexMap::new(),
            bfd_instances: IndexMap::new(),
            bfd_ends: HashMap::new(),
            linkbeats: HashMap::new(),
            link_delays: HashMap::new(),
            tracked_places: HashMap::new(),
            tracked: HashSet::new(),
            definitions,
            track_groups: IndexMap::new(),
            rule_preferences: [super::rule::FIRST_PREFERENCE; 2],
            lost: Vec::new(),
            unserved_depth: 0,
            nowhere: Span::new(u32::MAX, 0..0),
        }
    }

    /// One that knows what this one knows and has gathered nothing: for reading a virtual server elsewhere.
    pub fn fork(&self) -> Self {
        Self {
            global: self.global.clone(),
            global_built_in: self.global_built_in.clone(),
            virtual_server_built_in: self.virtual_server_built_in.clone(),
            check_built_in: self.check_built_in.clone(),
            server_groups: self.server_groups.clone(),
            track_files: self.track_files.clone(),
            bfd_instances: self.bfd_instances.clone(),
            tracked_places: self.tracked_places.clone(),
            unserved_depth: self.unserved_depth,
            ..Self::new(self.sources, self.definitions)
        }
    }

    /// What it gathered.
    pub fn gathered(self) -> Gathered {
        Gathered { diagnostics: self.diagnostics, spans: self.spans, scripts: self.scripts }
    }

    /// Takes over what a fork gathered. Forks are joined in the order of the file.
    pub fn join(&mut self, gathered: Gathered) {
        for diagnostic in gathered.diagnostics {
            self.report(diagnostic);
        }
        self.spans.append(gathered.spans);
        for (id, script) in gathered.scripts {
            self.scripts.entry(id).or_insert(script);
        }
    }

    /// Whether further warnings are dropped.
    pub fn is_full(&self) -> bool {
        self.diagnostics.len() > MOST
    }

    /// Adds a diagnostic. Past a limit warnings are dropped: nobody reads a million of them.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        let count = self.diagnostics.len();
        let (most, what) = match diagnostic.severity {
            Severity::Error => (2 * MOST, "errors"),
            Severity::Warning => (MOST, "warnings"),
        };
        match count.cmp(&most) {
            Ordering::Less => self.diagnostics.push(diagnostic),
            Ordering::Equal => self.diagnostics.push(
                Diagnostic::warning(Kind::Lint, diagnostic.span, format!("further {what} are not shown"))
                    .help("deal with those before it first"),
            ),
            Ordering::Greater => {}
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
        let Some(diagnostic) = self.last_lost(before, block, keywords) else { return false };
        diagnostic.consequence = Some(consequence.into());
        true
    }

    /// The same where nothing can run without one of the keywords: that diagnostic becomes an error.
    pub fn condemn_lost(
        &mut self,
        before: usize,
        block: &str,
        keywords: &[&str],
        consequence: impl Into<String>,
    ) -> bool {
        let Some(diagnostic) = self.last_lost(before, block, keywords) else { return false };
        diagnostic.consequence = Some(consequence.into());
        diagnostic.severity = Severity::Error;
        true
    }

    fn last_lost(&mut self, before: usize, block: &str, keywords: &[&str]) -> Option<&mut Diagnostic> {
        let found = self.lost.iter().skip(before).rev();
        let mut found = found.filter(|lost| lost.block == block && keywords.contains(&lost.keyword));
        let index = found.next()?.diagnostic;
        self.diagnostics.get_mut(index)
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

    /// Whether a statement uses a definition that there is not; it is reported then and ignored. What
    /// stands in quotes may be meant for a program.
    pub fn is_undefined(&mut self, statement: &Statement, words: &[Word<'_>]) -> bool {
        if !self.sources.text(statement.head).contains("${") {
            return false;
        }
        let unquoted = |word: &&Word<'_>| word.span.range().len() == word.text.len();
        let Some((word, reference)) = words
            .iter()
            .filter(unquoted)
            .find_map(|word| left_over(word.text).map(|reference| (word, reference)))
        else {
            return false;
        };
        if self.is_full() {
            return true;
        }
        let message = format!("`{}` is not defined before this line", reference.name);
        let diagnostic =
            Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("the line is ignored");
        let name = reference.name;
        let known = self.definitions.iter().take(MOST_COMPARED).map(String::as_str);
        let near = nearest(name, BUILT_IN.into_iter().chain(known));
        self.report(match near {
            Some(near) if near == name => {
                diagnostic.help("move its definition before this line, or its arguments")
            }
            Some(near) => diagnostic.help(format!("did you mean `${{{near}}}`?")),
            None => diagnostic.help(format!("define it: `${name}=VALUE` on a line before this one")),
        });
        true
    }
}

/// Names in a configuration that are looked at for the one that was meant.
pub(super) const MOST_COMPARED: usize = 1_000;

const BUILT_IN: [&str; 6] = ["_PWD", "_INSTANCE", "_RANDOM", "_ENV", "_HASH", "_BANG"];

//! What is wrong in a configuration, where, and what to do about it.
//!
//! Here: the diagnostic, its long form (source line, underlined word, fix), its one-line form, and
//! the exit status of the configuration test. Not here: who finds it.

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use crate::report::without_secrets;
use crate::secret;
use crate::source::{Sources, Span};

/// Whether the configuration can be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot: the daemon does not start, or keeps the configuration it has.
    Error,
    /// It can, after something was ignored or repaired.
    Warning,
}

/// What sort of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file cannot be read.
    CannotRead,
    /// Braces or quotes do not match.
    Syntax,
    /// Something without which nothing can run is missing or contradictory.
    Fatal,
    /// No keyword of that name exists here.
    UnknownKeyword,
    /// The keyword exists but is not supported yet.
    Unserved,
    /// A value was ignored.
    BadValue,
    /// A value was put right.
    Repaired,
    /// An interface does not exist on this host.
    MissingInterface,
    /// A script could be changed by somebody else than root.
    ScriptSecurity,
    /// Works, but is probably not what was meant; does not count in the exit status.
    Lint,
}

/// A replacement that would put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What to replace.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

/// One message to the person who wrote the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the configuration can be used.
    pub severity: Severity,
    /// What sort of thing is wrong.
    pub kind: Kind,
    /// Where; `None` if there is no file to point to.
    pub span: Option<Span>,
    /// What was found.
    pub message: String,
    /// Short text under the underlined word.
    pub label: Option<String>,
    /// What follows from it beyond the value itself, so that it needs no diagnostic of its own; shown
    /// instead of the label.
    pub consequence: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// What to replace, where that is certain enough.
    pub fix: Option<Fix>,
    /// Other places that have to do with it, each with a short text.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// A diagnostic without label, help, fix and further places.
    pub fn new(severity: Severity, kind: Kind, span: Option<Span>, message: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            span,
            message: message.into(),
            label: None,
            consequence: None,
            help: None,
            fix: None,
            related: Vec::new(),
        }
    }

    /// An error.
    pub fn error(kind: Kind, span: Option<Span>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, kind, span, message)
    }

    /// A warning.
    pub fn warning(kind: Kind, span: Option<Span>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, kind, span, message)
    }

    /// With a text under the underlined word.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a replacement.
    #[must_use]
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, replacement: replacement.into() });
        self
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, span: Option<Span>, text: impl Into<String>) -> Self {
        if let Some(span) = span {
            self.related.push((span, text.into()));
        }
        self
    }

    /// One line: `file:line:column: message; help (consequence)`.
    pub fn summary(&self, sources: &Sources) -> String {
        let mut line = self.span.map(|span| format!("{}: ", sources.place(span))).unwrap_or_default();
        line.push_str(&self.message);
        for (span, text) in &self.related {
            line.push_str(&format!(" ({text}: {})", sources.place(*span)));
        }
        if let Some(help) = &self.help {
            line.push_str("; ");
            line.push_str(help);
        }
        if let Some(consequence) = &self.consequence {
            line.push_str(&format!(" ({consequence})"));
        }
        line
    }
}

impl Diagnostic {
    /// The same with places that a person wrote: one in replaced text becomes that of the reference, and
    /// the definitions it came from are named too. A fix of such text is left out.
    #[must_use]
    pub fn settled(mut self, sources: &Sources) -> Self {
        let Some(span) = self.span else { return self };
        let trace = sources.trace(span);
        self.span = Some(trace.at);
        if let Some(fix) = self.fix.take() {
            let at = sources.trace(fix.span);
            let written = at.via.is_empty() && sources.text(at.at) == sources.text(fix.span);
            self.fix = (written && !at.repeated).then_some(Fix { span: at.at, ..fix });
        }
        for (place, _) in &mut self.related {
            *place = sources.trace(*place).at;
        }
        let (line, ..) = sources.lines(trace.at);
        if secret::secret(line).is_none() {
            for (place, name) in trace.via {
                let counted = sources.text(place).starts_with('~');
                let what = if counted { "is counted here" } else { "is defined here" };
                self.related.push((place, format!("`${name}` {what}")));
            }
        }
        self
    }
}

/// All of a load, settled, in the order of the files and places. Of equal ones about copies of one text,
/// which generators and definitions make, the first is kept.
pub(crate) fn in_order(diagnostics: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    let mut copies = std::collections::HashSet::new();
    let mut all: Vec<Diagnostic> = diagnostics
        .into_iter()
        .filter(|diagnostic| {
            let Some(trace) = diagnostic.span.map(|span| sources.trace(span)).filter(|trace| trace.repeated)
            else {
                return true;
            };
            let place = trace.via.last().map_or(trace.at, |(place, _)| *place);
            copies.insert((place, diagnostic.kind))
        })
        .map(|diagnostic| without_secrets(diagnostic, sources).settled(sources))
        .collect();
    all.sort_by_key(|diagnostic| diagnostic.span);
    all
}

/// The long form: title, file:line:column, source line with the word underlined, help, and the line
/// as it would be after the fix. `styled` colours it for a terminal.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut main = Group::with_title(level.primary_title(printable(&diagnostic.message)));
    if let Some(span) = diagnostic.span {
        let label = diagnostic.consequence.as_ref().or(diagnostic.label.as_ref());
        main = main.element(snippet(sources, span, AnnotationKind::Primary, label.map(String::as_str)));
    }
    for (span, text) in &diagnostic.related {
        main = main.element(snippet(sources, *span, AnnotationKind::Context, Some(text)));
    }
    let mut groups = Vec::new();
    match (&diagnostic.help, &diagnostic.fix) {
        (help, Some(fix)) => {
            groups.push(main);
            let title = printable(help.as_deref().unwrap_or("replace it"));
            groups.push(match patch(sources, fix) {
                Some(snippet) => Level::HELP.secondary_title(title).element(snippet),
                None => Group::with_title(Level::HELP.secondary_title(title)),
            });
        }
        (Some(help), None) => groups.push(main.element(Level::HELP.message(printable(help)))),
        (None, None) => groups.push(main),
    }
    renderer.render(&groups)
}

/// Exit status of the configuration test: 0 clean, 3 an error, 4 something was ignored or repaired,
/// 5 scripts without script security; the first that applies in the order 3, 4, 5. Lints and
/// includes that could not be read do not count.
pub fn exit_code(diagnostics: &[Diagnostic]) -> u8 {
    let counts = |kind| {
        matches!(
            kind,
            Kind::UnknownKeyword | Kind::Unserved | Kind::BadValue | Kind::Repaired | Kind::MissingInterface
        )
    };
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        3
    } else if diagnostics.iter().any(|diagnostic| counts(diagnostic.kind)) {
        4
    } else if diagnostics.iter().any(|diagnostic| diagnostic.kind == Kind::ScriptSecurity) {
        5
    } else {
        0
    }
}

/// Text as a message may quote it: control characters made visible, and not longer than a line.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).map(visible).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('\u{2026}');
    }
    format!("`{short}`")
}

/// Lines longer than this are cut around the span.
const LONGEST_LINE: usize = 240;

fn snippet<'a>(
    sources: &'a Sources,
    span: Span,
    kind: AnnotationKind,
    label: Option<&str>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let span = sources.trace(span).at;
    let (text, start, line) = sources.lines(span);
    let range = span.range();
    // A span over several lines is shown by its first one.
    let text = text.split('\n').next().unwrap_or_default();
    let from = (range.start - start).min(text.len());
    let to = (range.end - start).min(text.len()).max(from);
    let name = sources.name(span.file());
    let text = secret::hidden(sources, span.file(), start, text);
    let (cut, from, to) = cut(&text, from, to);
    let mut annotation = kind.span(from..to);
    if let Some(label) = label {
        annotation = annotation.label(printable(label));
    }
    Snippet::source(cut).line_start(line).path(name).annotation(annotation)
}

fn patch<'a>(sources: &'a Sources, fix: &'a Fix) -> Option<Snippet<'a, Patch<'a>>> {
    let (text, start, line) = sources.lines(fix.span);
    let range = fix.span.range();
    if text.len() > LONGEST_LINE
        || text.contains(['\n', '\0'])
        || shown(Some(text)) != text
        || secret::hidden(sources, fix.span.file(), start, text) != text
    {
        return None;
    }
    let range = range.start.checked_sub(start)?..range.end.checked_sub(start)?;
    let patch = Patch::new(range, fix.replacement.as_str());
    Some(Snippet::source(text).line_start(line).path(sources.name(fix.span.file())).patch(patch))
}

/// The part of a line around a span, and the span in it.
fn cut(line: &str, from: usize, to: usize) -> (String, usize, usize) {
    let before = |at: usize| (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    let after = |at: usize| (at..line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
    let (mut first, mut last) = (0, line.len());
    if line.len() > LONGEST_LINE {
        first = before(from.saturating_sub(LONGEST_LINE / 2));
        last = after(to.min(from + LONGEST_LINE / 2).max(from) + LONGEST_LINE / 2);
    }
    let from = before(from.min(last));
    let to = after(to.min(last)).max(from);
    // What a terminal must not get is replaced by something of another length.
    let [head, word, tail] = [first..from, from..to, to..last].map(|part| shown(line.get(part)));
    (format!("{head}{word}{tail}"), head.len(), head.len() + word.len())
}

/// A part of a line for people.
fn shown(part: Option<&str>) -> String {
    let shown = |c| if c == '\t' { c } else { visible(c) };
    part.unwrap_or_default().chars().map(shown).collect()
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    if c.is_control() || crate::octets::is_octet(c) { '\u{fffd}' } else { c }
}

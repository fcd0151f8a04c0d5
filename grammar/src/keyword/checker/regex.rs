//! The pattern of a url.
//!
//! Here: its rows, and what of them makes sense together. Not here: matching.

use lbd_health::check::regex::Compiled;
use lbd_health::{Regex, RegexOptions};

use super::super::call::Call;
use super::super::{Context, Row, row};
use super::UrlBuilder;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::suggest::nearest;

/// What a url says of a pattern.
#[derive(Clone, Default)]
pub(crate) struct RegexBuilder {
    pub pattern: Option<Box<[u8]>>,
    /// Of `regex`.
    place: Option<Span>,
    /// The other keywords, of which `parameter` is the first.
    pub rest: Regex,
    parameter: Option<(&'static str, Span)>,
    /// Of regex_max_offset.
    most: Option<Span>,
}

/// What the rows below fill.
type B = UrlBuilder;

pub(super) const ROWS: &[Row<UrlBuilder>] = &[
    row("regex", "PATTERN", "What the body must hold, as a PCRE2 pattern; quoted.", |b: &mut B, c| {
        b.regex.place = Some(c.place());
        b.regex.pattern = c.pattern().or(b.regex.pattern.take());
    })
    .example("\"<title>(up|ok)</title>\""),
    row("regex_no_match", "", "The body must not hold the pattern.", |b: &mut B, c| {
        b.regex.parameter(c);
        b.regex.rest.no_match = true;
    }),
    row("regex_options", "OPTION …", "Options of the pattern, as PCRE2 names them.", options)
        .range("the compile options of PCRE2, in small letters and without PCRE2_")
        .example("caseless multiline"),
    row("regex_min_offset", "N", "First octet of the body where a match may begin.", |b: &mut B, c| {
        b.regex.parameter(c);
        b.regex.rest.min_offset = c.number_as(0..=MOST).unwrap_or(b.regex.rest.min_offset);
    })
    .range("0..=4294967295")
    .default("0"),
    row("regex_max_offset", "N", "A match begins at this octet of the body or before it.", |b: &mut B, c| {
        b.regex.parameter(c);
        b.regex.most = Some(c.head());
        b.regex.rest.max_offset = c.number_as(0..=MOST).or(b.regex.rest.max_offset);
    })
    .range("above regex_min_offset, up to 4294967295")
    .otherwise("the end of the body")
    .example("4096"),
    row(
        "regex_stack",
        "START MAX",
        "Memory of the matcher in octets, first and at most; more than 8 MiB is room for going back.",
        |b: &mut B, c| {
            b.regex.parameter(c);
            let Some(first) = c.number_as::<usize>(1..=MOST) else { return };
            let Some(word) = c.word() else { return };
            let most = c.number_in(word, 1..=MOST).and_then(|number| usize::try_from(number).ok());
            match most {
                Some(most) if most >= first => b.regex.rest.stack = Some((first, most)),
                Some(most) => {
                    c.bad(word, format!("{most} is less than {first}"), "the second number is the limit")
                }
                None => {}
            }
        },
    )
    .range("1..=4294967295 each")
    .otherwise("8 MiB at most")
    .example("32768 1048576"),
];

const MOST: u64 = 0xffff_ffff;

fn options(builder: &mut UrlBuilder, call: &mut Call<'_, '_>) {
    builder.regex.parameter(call);
    let Some(first) = call.word() else { return };
    for word in std::iter::once(first).chain(call.rest()) {
        if builder.regex.rest.options.insert(word.text) {
            continue;
        }
        let message = format!("unknown option {} of a pattern", quote(word.text));
        let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
        call.say(match nearest(word.text, RegexOptions::NAMES) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
            None => diagnostic.help(format!("one of: {}", RegexOptions::NAMES.join(", "))),
        });
    }
}

impl RegexBuilder {
    fn parameter(&mut self, call: &Call<'_, '_>) {
        self.parameter = self.parameter.or(Some((call.name(), call.place())));
    }

    /// The pattern with its parameters. Without a pattern they have no effect.
    pub fn resolved(self, context: &mut Context<'_>) -> Option<Box<Regex>> {
        let Some(pattern) = self.pattern else {
            if let Some((name, place)) = self.parameter {
                context.report(
                    Diagnostic::warning(
                        Kind::BadValue,
                        Some(place),
                        format!("{} has no effect without `regex`", quote(name)),
                    )
                    .label("ignored")
                    .help("add `regex \"PATTERN\"`, or remove it"),
                );
            }
            return None;
        };
        let mut regex = Regex { pattern, ..self.rest };
        if let Some(most) = regex.max_offset
            && most <= regex.min_offset
        {
            let message =
                format!("`regex_max_offset` {most} is not above `regex_min_offset` {}", regex.min_offset);
            context.report(
                Diagnostic::warning(Kind::BadValue, self.most, message)
                    .label("both are ignored")
                    .help("a match begins at the smaller one or after it, and not after the larger one"),
            );
            (regex.min_offset, regex.max_offset) = (0, None);
        }
        if let Err(bad) = Compiled::new(&regex) {
            let message = format!("`regex` cannot be used: {} at octet {} of it", bad.message, bad.offset);
            context.report(
                Diagnostic::warning(Kind::BadValue, self.place, message)
                    .label("ignored")
                    .help("correct the pattern; without it only status code and digest count"),
            );
            return None;
        }
        Some(Box::new(regex))
    }
}

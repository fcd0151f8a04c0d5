//! vrrp_track_process.
//!
//! Here: its rows and its one resolve step. Not here: who refers to it (`tracking`).

use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::Weight;

use super::call::Call;
use super::root::Root;
use super::tracking::{incomplete, is_second, own_weight_once};
use super::{Part, Row, Table, row};
use crate::config::{ProcessMatch, TrackProcess};
use crate::diagnostic::{Diagnostic, Kind};
use crate::source::Span;

#[derive(Default)]
pub(crate) struct ProcessBuilder {
    command: Option<Vec<String>>,
    matching: Option<ProcessMatch>,
    full_command: bool,
    weight: Option<(Weight, Span)>,
    quorum: Option<(u16, Span)>,
    quorum_max: Option<(u16, Span)>,
    terminate_delay: Option<Duration>,
    fork_delay: Option<Duration>,
}

/// What the rows below fill.
type B = ProcessBuilder;

pub(crate) static TABLE: Table<ProcessBuilder> =
    Table { name: "vrrp_track_process", part: Part::Vrrp, rows: &[ROWS] };

const DELAY: &str = "0.000001..=3600";

const ROWS: &[Row<ProcessBuilder>] = &[
    row(
        "process",
        "PROGRAM [PARAM …]",
        "Program to look for; with parameters they must match too.",
        |b: &mut B, c| {
            let command = command(c);
            c.once(&mut b.command, command);
        },
    )
    .otherwise("required")
    .example("nginx"),
    row(
        "param_match",
        "[initial|partial]",
        "Parameters must be exactly those; or begin with them.",
        |b: &mut B, c| {
            let kinds = [("initial", ProcessMatch::Initial), ("partial", ProcessMatch::Partial)];
            b.matching = match c.optional() {
                None => Some(ProcessMatch::Exact),
                Some(word) => c.choice_in(word, &kinds).or(b.matching),
            };
        },
    )
    .otherwise("exactly those of process; without any they do not matter")
    .example("initial"),
    row(
        "weight",
        "N [reverse]",
        "Change of priority; with 0 a missing process means FAULT.",
        |b: &mut B, c| {
            own_weight_once(c, 254, 0, &mut b.weight);
        },
    )
    .range("-254..=254")
    .default("0"),
    row("quorum", "N", "Fewest processes.", quorum).range("1..=65535").default("1"),
    row("quorum_max", "N", "Most processes; 0: there may be none.", quorum_max)
        .range("0..=65535")
        .otherwise("unlimited")
        .example("5"),
    row("delay", "SECS", "Sets terminate_delay and fork_delay.", |b: &mut B, c| {
        if let Some(time) = delay(c) {
            (b.terminate_delay, b.fork_delay) = (Some(time), Some(time));
        }
    })
    .range(DELAY)
    .otherwise("no delay")
    .example("0.5"),
    row("terminate_delay", "SECS", "Wait before too few processes count.", |b: &mut B, c| {
        b.terminate_delay = delay(c).or(b.terminate_delay);
    })
    .range(DELAY)
    .otherwise("no delay")
    .example("0.5"),
    row("fork_delay", "SECS", "Wait before new processes count.", |b: &mut B, c| {
        b.fork_delay = delay(c).or(b.fork_delay);
    })
    .range(DELAY)
    .otherwise("no delay")
    .example("0.5"),
    row(
        "full_command",
        "",
        "Compare with the command line, not with the name of at most 15 characters.",
        |b: &mut B, _| {
            b.full_command = true;
        },
    ),
];

fn command(call: &mut Call<'_, '_>) -> Option<Vec<String>> {
    let program = call.word()?;
    let parameters = call.rest();
    if program.text.is_empty() {
        call.bad(program, "the name is empty", "name a program, for example nginx");
        return None;
    }
    Some(std::iter::once(program).chain(parameters).map(|word| word.text.to_owned()).collect())
}

fn delay(call: &mut Call<'_, '_>) -> Option<Duration> {
    call.timer(Duration::from_micros(1), Duration::from_secs(3600))
}

/// Of a quorum and a maximum that contradict each other the first counts.
fn quorum(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(quorum) = call.number_as::<u16>(1..=65535) else { return };
    match builder.quorum_max {
        Some((most, place)) if quorum > most => {
            contradiction(call, format!("`quorum` {quorum} is more than `quorum_max` {most}"), place);
        }
        _ => builder.quorum = Some((quorum, span)),
    }
}

fn quorum_max(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(most) = call.number_as::<u16>(0..=65535) else { return };
    match builder.quorum {
        // A quorum of 1 says nothing: it is the default.
        Some((quorum, place)) if most < quorum && (most, quorum) != (0, 1) => {
            contradiction(call, format!("`quorum_max` {most} is less than `quorum` {quorum}"), place);
        }
        _ => builder.quorum_max = Some((most, span)),
    }
}

fn contradiction(call: &mut Call<'_, '_>, message: String, place: Span) {
    let span = call.head();
    call.say(
        Diagnostic::warning(Kind::BadValue, Some(span), message)
            .label("ignored")
            .related(Some(place), "the first counts")
            .help("`quorum` must not be more than `quorum_max`"),
    );
}

/// Lowers `vrrp_track_process NAME { … }`.
pub(super) fn lower(_root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let before = call.context.lost.len();
    let mut builder = ProcessBuilder::default();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    let Some(command) = builder.command else {
        incomplete(call, name, &["process"], "add `process PROGRAM`", before);
        return;
    };
    if is_second(call, name, call.context.spans.track_process(name.text)) {
        return;
    }
    let context = &mut *call.context;
    let built_in = TABLE.defaults(context);
    let quorum_max = builder.quorum_max.map(|(most, _)| most);
    let (quorum, _) = builder.quorum.or(built_in.quorum).expect("quorum has a default");
    let (weight, _) = builder.weight.or(built_in.weight).expect("weight has a default");
    let lowered = TrackProcess {
        matching: match builder.matching {
            Some(matching) => matching,
            None if command.len() > 1 => ProcessMatch::Exact,
            None if builder.full_command => ProcessMatch::Program,
            None => ProcessMatch::Name,
        },
        command,
        quorum: if quorum_max == Some(0) { 0 } else { quorum },
        quorum_max,
        terminate_delay: builder.terminate_delay.unwrap_or_default(),
        fork_delay: builder.fork_delay.unwrap_or_default(),
    };
    context.spans.track_processes.insert(name.text.to_owned(), name.span);
    context.track_processes.insert(Arc::from(name.text), (lowered, weight));
}

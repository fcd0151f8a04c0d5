//! global_defs: who this router is, and helpers for names.

use super::super::call::Call;
use super::super::{Row, later, row};
use super::GlobalBuilder;
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row(
        "router_id",
        "STRING",
        "Name of this router, in the log at start and in lbctl status.",
        |b: &mut B, c| last(c, &mut b.rest.router_id),
    )
    .otherwise("none is shown")
    .example("lb1"),
    row(
        "process_names",
        "",
        "Names keepalived_vrrp and keepalived_lvs for the threads of VRRP and of the checkers.",
        |b: &mut B, _| {
            b.rest.process_names.standard = true;
        },
    ),
    row("process_name", "NAME", "Name of the process.", |b: &mut B, c| {
        name(c, &mut b.rest.process_names.parent);
    })
    .range(FIFTEEN)
    .otherwise("that of the program")
    .example("director"),
    row("vrrp_process_name", "NAME", "Name of the thread of VRRP.", |b: &mut B, c| {
        name(c, &mut b.rest.process_names.vrrp);
    })
    .range(FIFTEEN)
    .otherwise("vrrp")
    .example("director_vrrp"),
    row("checker_process_name", "NAME", "Name of the thread of the checkers.", |b: &mut B, c| {
        name(c, &mut b.rest.process_names.checker);
    })
    .range(FIFTEEN)
    .otherwise("checkers")
    .example("director_check"),
    row("lvs_process_name", "NAME", "Old name of checker_process_name.", |b: &mut B, c| {
        name(c, &mut b.rest.process_names.checker);
    })
    .range(FIFTEEN)
    .example("director_check"),
    later("bfd_process_name", "NAME", "Name of the thread of BFD.", NO_BFD, |b: &mut B, c| {
        name(c, &mut b.rest.process_names.bfd);
    })
    .range(FIFTEEN)
    .example("director_bfd"),
];

const NO_BFD: &str = "there is no BFD";
const FIFTEEN: &str = "at most 15 octets, longer ones are cut";

/// A word that may stand again: the last counts, and that is said.
pub(super) fn last(call: &mut Call<'_, '_>, slot: &mut Option<String>) {
    let Some(word) = text(call) else { return };
    replace(call, slot, word);
}

fn replace(call: &mut Call<'_, '_>, slot: &mut Option<String>, value: String) {
    if slot.replace(value).is_some() {
        let message = format!("{} is given again: this one counts", quote(call.name()));
        let place = call.place();
        call.say(
            Diagnostic::warning(Kind::BadValue, Some(place), message)
                .label("the one before is ignored")
                .help("remove one of them"),
        );
    }
}

/// A word that is not empty.
pub(super) fn text(call: &mut Call<'_, '_>) -> Option<String> {
    let word = call.word()?;
    if word.text.is_empty() {
        call.bad(word, "the word is empty", format!("write `{} WORD`", call.name()));
        return None;
    }
    Some(word.text.to_owned())
}

/// The only word of the line.
pub(super) fn only(call: &mut Call<'_, '_>) -> Option<String> {
    let word = text(call)?;
    if let Some(second) = call.optional() {
        call.rest();
        call.bad(second, "there must be one word and no more", "remove the others, or put all in quotes");
        return None;
    }
    Some(word)
}

/// The name of a process: the kernel keeps 15 octets.
fn name(call: &mut Call<'_, '_>, slot: &mut Option<String>) {
    let Some(word) = text(call) else { return };
    let short = cut(&word, 15);
    if short.len() < word.len() {
        let found = format!("{} is longer than 15 octets: it is cut to {}", quote(&word), quote(short));
        call.repaired(found, "a name of at most 15 octets", crate::dump::word(short));
        *slot = Some(short.to_owned());
    } else {
        replace(call, slot, word);
    }
}

/// The beginning of a text, at most so many octets of it.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

//! Blocks of one item per line: track_script, track_interface, unicast_peer.
//!
//! Here: the lines and their weights. Not here: what is tracked.

use lbd_vrrp::{TrackerId, Weight};

use super::call::Call;
use super::Keyword;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::Word;

/// Words of a tracking line, for documentation.
pub(super) static OPTIONS: [Keyword; 3] = [
    option("weight", "N", "Change of priority; 0 means FAULT."),
    option("reverse", "", "The opposite."),
    option("noreverse", "", "Undoes the script's own reverse."),
];

const fn option(name: &'static str, arguments: &'static str, help: &'static str) -> Keyword {
    Keyword { range: "-253..=253", ..Keyword::new(name, arguments, help) }
}

/// The words of each line of the block.
pub(super) fn lines<'s>(call: &mut Call<'_, 's>) -> Vec<Vec<Word<'s>>> {
    let mut lines = Vec::new();
    for statement in call.body() {
        let words = super::address::words(call, statement.head);
        if call.context.is_later_syntax(statement, &words) {
            continue;
        }
        if let Some(body) = &statement.body {
            let message = format!("a line of {} has no block", quote(call.name()));
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(body.open), message)
                    .label("ignored")
                    .help("one item per line"),
            );
        }
        if !words.is_empty() {
            lines.push(words);
        }
    }
    lines
}

/// track_interface: names and weights.
pub(super) fn interfaces(call: &mut Call<'_, '_>) -> Vec<(String, Weight, Span)> {
    let mut found = Vec::new();
    for line in lines(call) {
        let Some((first, options)) = line.split_first() else { continue };
        let Some(name) = call.interface_in(*first) else { continue };
        if let Some(weight) = weight(call, options, Weight { value: 0, reverse: false }) {
            found.push((name, weight, first.span));
        }
    }
    found
}

/// track_script: trackers and weights. Unknown names are left out.
pub(super) fn scripts(call: &mut Call<'_, '_>) -> Vec<(TrackerId, Weight, Span)> {
    let mut found = Vec::new();
    for line in lines(call) {
        let Some((first, options)) = line.split_first() else { continue };
        let Some((_, name, (_, default))) = call.context.vrrp_scripts.get_full(first.text) else {
            unknown_script(call, *first);
            continue;
        };
        let (name, default) = (name.clone(), *default);
        if let Some(weight) = weight(call, options, default) {
            found.push((TrackerId(name), weight, first.span));
        }
    }
    found
}

fn unknown_script(call: &mut Call<'_, '_>, word: Word<'_>) {
    let later = call.context.script_places.get(word.text).copied();
    let names: Vec<String> = call.context.vrrp_scripts.keys().map(|name| name.to_string()).collect();
    let message = format!("no usable vrrp_script {} is defined before this line", quote(word.text));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("not tracked");
    let near = nearest(word.text, names.iter().map(String::as_str));
    call.say(match (later, near) {
        (Some(place), _) => diagnostic
            .related(Some(place), "it is here")
            .help("a script has to be complete and to stand before the instance that tracks it"),
        (None, Some(near)) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
        (None, None) => diagnostic.help(format!("add a block `vrrp_script {} {{ … }}` before it", word.text)),
    });
}

/// `[weight N [reverse|noreverse]]`; `None` if an option is unknown.
fn weight(call: &mut Call<'_, '_>, options: &[Word<'_>], default: Weight) -> Option<Weight> {
    let mut weight = default;
    let mut words = options.iter().copied();
    while let Some(word) = words.next() {
        match call.choice_in(word, &[("weight", 0), ("reverse", 1), ("noreverse", 2)])? {
            0 => {
                let Some(number) = words.next() else {
                    call.bad(word, "`weight` needs a number", "a number from -253 to 253");
                    return None;
                };
                // As in keepalived what is tracked stays so, with the weight that it has without this one.
                let Some(value) = call.integer_in(number, -254..=254) else { continue };
                if value.abs() > 253 {
                    let limit = 253 * value.signum();
                    let message = format!("weight {value} is reduced to {limit}");
                    call.say(
                        Diagnostic::warning(Kind::Repaired, Some(number.span), message)
                            .help("a number from -253 to 253")
                            .fix(number.span, limit.to_string()),
                    );
                }
                weight = Weight { value: i16::try_from(value.clamp(-253, 253)).ok()?, reverse: false };
            }
            option => weight.reverse = option == 1,
        }
    }
    Some(weight)
}

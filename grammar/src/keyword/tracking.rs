//! Blocks of one item per line: track_interface, track_script, track_file, track_process, track_bfd.
//!
//! Here: the lines and their weights. Not here: what is tracked.

use std::sync::Arc;

use lbd_vrrp::{TrackerId, Weight};

use super::call::Call;
use super::{Context, Keyword};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::Word;

/// Words of a tracking line, for documentation.
pub(super) static OPTIONS: [Keyword; 3] = [
    Keyword {
        range: "-253..=253; of files and processes -254..=254",
        example: "-20",
        ..Keyword::new("weight", "N", "Change of priority; with 0 what is bad means FAULT.")
    },
    Keyword::new("reverse", "", "Good and bad change places."),
    Keyword::new("noreverse", "", "Undoes a reverse of what is tracked."),
];

/// Kinds of what is tracked by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Script,
    Process,
    File,
    Bfd,
}

impl Object {
    /// What a keyword of the top level defines.
    pub fn of(keyword: &str) -> Option<Self> {
        match keyword {
            "vrrp_script" => Some(Self::Script),
            "vrrp_track_process" => Some(Self::Process),
            "track_file" | "vrrp_track_file" => Some(Self::File),
            "bfd_instance" => Some(Self::Bfd),
            _ => None,
        }
    }

    /// Whether a line may define one: a quick look.
    pub fn may_begin(line: &str) -> bool {
        line.starts_with("vrrp_")
            || line.starts_with("track_f")
            || line.starts_with("bfd_")
            || line.starts_with('"')
    }

    fn keyword(self) -> &'static str {
        match self {
            Self::Script => "vrrp_script",
            Self::Process => "vrrp_track_process",
            Self::File => "track_file",
            Self::Bfd => "bfd_instance",
        }
    }

    /// The largest weight that a line can give, and the largest that counts.
    fn limit(self) -> i16 {
        match self {
            Self::Script | Self::Bfd => 253,
            Self::Process | Self::File => 254,
        }
    }

    /// Name and weight of one that is complete.
    fn find(self, name: &str, context: &Context<'_>) -> Option<(Arc<str>, Weight)> {
        match self {
            Self::Script => context.vrrp_scripts.get_key_value(name).map(|(name, (_, w))| (name.clone(), *w)),
            Self::Process => {
                context.track_processes.get_key_value(name).map(|(name, (_, w))| (name.clone(), *w))
            }
            Self::File => context.track_files.get_key_value(name).map(|(name, (_, w))| (name.clone(), *w)),
            Self::Bfd => context.bfd_instances.get_key_value(name).map(|(name, (_, w))| (name.clone(), *w)),
        }
    }

    fn names(self, context: &Context<'_>) -> Vec<Arc<str>> {
        match self {
            Self::Script => context.vrrp_scripts.keys().cloned().collect(),
            Self::Process => context.track_processes.keys().cloned().collect(),
            Self::File => context.track_files.keys().cloned().collect(),
            Self::Bfd => context.bfd_instances.keys().cloned().collect(),
        }
    }
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
        if let Some(weight) = weight(call, options, Weight { value: 0, reverse: false }, 253) {
            found.push((name, weight, first.span));
        }
    }
    found
}

/// track_script: trackers and weights. Unknown names are left out.
pub(super) fn scripts(call: &mut Call<'_, '_>) -> Vec<(TrackerId, Weight, Span)> {
    let named = named(call, Object::Script).into_iter();
    named.map(|(name, weight, span)| (TrackerId(name), weight, span)).collect()
}

/// track_file: names and weights. Unknown names are left out.
pub(super) fn files(call: &mut Call<'_, '_>) -> Vec<(Arc<str>, Weight, Span)> {
    named(call, Object::File)
}

/// track_process: names and weights. Unknown names are left out.
pub(super) fn processes(call: &mut Call<'_, '_>) -> Vec<(Arc<str>, Weight, Span)> {
    named(call, Object::Process)
}

/// track_bfd: names and weights. Unknown names are left out.
pub(super) fn bfd(call: &mut Call<'_, '_>) -> Vec<(Arc<str>, Weight, Span)> {
    named(call, Object::Bfd)
}

fn named(call: &mut Call<'_, '_>, object: Object) -> Vec<(Arc<str>, Weight, Span)> {
    let mut found = Vec::new();
    for line in lines(call) {
        let Some((first, options)) = line.split_first() else { continue };
        let Some((name, default)) = object.find(first.text, call.context) else {
            unknown(call, *first, object);
            continue;
        };
        if let Some(weight) = weight(call, options, default, object.limit()) {
            found.push((name, weight, first.span));
        }
    }
    found
}

/// Says that nothing of this name stands before this line.
pub(super) fn unknown(call: &mut Call<'_, '_>, word: Word<'_>, object: Object) {
    let keyword = object.keyword();
    let later = call.context.tracked_places.get(&(object, word.text)).copied();
    let names = object.names(call.context);
    let message = format!("no usable {keyword} {} is defined before this line", quote(word.text));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("not tracked");
    let near = nearest(word.text, names.iter().map(AsRef::as_ref));
    call.say(match (later, near) {
        (Some(place), _) => diagnostic.related(Some(place), "it is here").help(match object {
            Object::Script => {
                "a script has to be complete and to stand before the instance that tracks it".to_owned()
            }
            _ => format!("a {keyword} has to be complete and to stand before the block that refers to it"),
        }),
        (None, Some(near)) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
        (None, None) => diagnostic.help(format!("add a block `{keyword} {} {{ … }}` before it", word.text)),
    });
}

/// `[weight N [reverse|noreverse]]`; `None` if an option is unknown.
fn weight(call: &mut Call<'_, '_>, options: &[Word<'_>], default: Weight, limit: i16) -> Option<Weight> {
    let mut weight = default;
    let mut words = options.iter().copied();
    while let Some(word) = words.next() {
        match call.choice_in(word, &[("weight", 0), ("reverse", 1), ("noreverse", 2)])? {
            0 => {
                let wanted = format!("a number from -{limit} to {limit}");
                let Some(number) = words.next() else {
                    call.bad(word, "`weight` needs a number", wanted);
                    return None;
                };
                // As in keepalived what is tracked stays so, with the weight that it has without this one.
                let Some(value) = call.integer_in(number, -254..=254) else { continue };
                let value = i16::try_from(value).ok()?;
                if value.abs() > limit {
                    let kept = value.clamp(-limit, limit);
                    let message = format!("weight {value} is reduced to {kept}");
                    call.say(
                        Diagnostic::warning(Kind::Repaired, Some(number.span), message)
                            .help(wanted)
                            .fix(number.span, kept.to_string()),
                    );
                }
                weight = Weight { value: value.clamp(-limit, limit), reverse: false };
            }
            option => weight.reverse = option == 1,
        }
    }
    Some(weight)
}

//! Blocks of one item per line: track_interface, track_script, track_file, track_process, track_bfd.
//!
//! Here: the lines and their weights. Not here: what is tracked.

use std::sync::Arc;

use lbd_vrrp::{TrackerId, Weight};

use super::call::Call;
use super::{Context, Keyword};
use crate::config::BfdConsumers;
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

    /// The largest weight.
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
        if call.context.is_undefined(statement, &words) {
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
        let rules = Rules {
            name: &name,
            default: Weight { value: 0, reverse: false },
            limit: 253,
            repaired: true,
            named: false,
            is_item: false,
        };
        if let Some(weight) = weight(call, options, &rules) {
            found.push((name, weight, first.span));
        }
    }
    found
}

/// track_script: trackers and weights. Unknown names are left out.
pub(super) fn scripts(call: &mut Call<'_, '_>) -> Vec<(TrackerId, Weight, Span)> {
    let named = named(call, Object::Script).into_iter();
    named.map(|(name, weight, span)| (TrackerId::script(name), weight, span)).collect()
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
        if object == Object::Bfd && !tells(call, *first, BfdConsumers::Vrrp) {
            continue;
        }
        let rules = Rules {
            name: &name,
            default,
            limit: object.limit(),
            repaired: object == Object::Script,
            named: true,
            is_item: options.first().is_some_and(|word| object.find(word.text, call.context).is_some()),
        };
        if let Some(weight) = weight(call, options, &rules) {
            found.push((name, weight, first.span));
        }
    }
    found
}

/// Whether a BFD session tells `wanted` of its state; if not it is said.
pub(super) fn tells(call: &mut Call<'_, '_>, word: Word<'_>, wanted: BfdConsumers) -> bool {
    let found = call.context.bfd_instances.get(word.text);
    if found.is_none_or(|(bfd, _)| [BfdConsumers::Both, wanted].contains(&bfd.consumers)) {
        return true;
    }
    let (others, says, lacks) = match wanted {
        BfdConsumers::Checkers => ("VRRP", "vrrp", "checker"),
        BfdConsumers::Vrrp | BfdConsumers::Both => ("BFD_CHECK", "checker", "vrrp"),
    };
    let place = call.context.spans.bfd_instance(word.text);
    let message = format!("bfd_instance {} is for {others} alone", quote(word.text));
    call.say(
        Diagnostic::warning(Kind::BadValue, Some(word.span), message)
            .label("not tracked")
            .related(place, format!("it says `{says}`"))
            .help(format!("add `{lacks}` to it, or remove `{says}`")),
    );
    false
}

/// Says that nothing of this name stands before this line.
pub(super) fn unknown(call: &mut Call<'_, '_>, word: Word<'_>, object: Object) {
    if call.context.is_full() {
        return;
    }
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

/// `[weight N [reverse|noreverse]]`; `None` if what the line names is not tracked.
fn weight(call: &mut Call<'_, '_>, options: &[Word<'_>], rules: &Rules) -> Option<Weight> {
    let mut weight = rules.default;
    let mut words = options.iter().copied();
    let Some(first) = words.next() else { return Some(weight) };
    let write = format!("write `{} weight N [{}]`", rules.name, rules.directions().join("|"));
    if first.text != "weight" {
        let known = matches!(first.text, "reverse" | "noreverse");
        let (found, help) = if known {
            (format!("{} has to follow `weight N`", quote(first.text)), write)
        } else if rules.is_item {
            (format!("{} is an item of its own", quote(first.text)), "begin a new line before it".to_owned())
        } else {
            (format!("unknown option {}", quote(first.text)), write)
        };
        let near = nearest(first.text, ["weight"]).filter(|_| !known && !rules.is_item);
        return not_tracked(call, first, &found, help, near);
    }
    let wanted = format!("a number from -{0} to {0}", rules.limit);
    let Some(number) = words.next() else {
        return not_tracked(call, first, "`weight` needs a number", wanted, None);
    };
    let accepted = i64::from(if rules.repaired { rules.limit + 1 } else { rules.limit });
    // As in keepalived what is tracked stays so, with the weight that it has without this one.
    let value = call.integer_in(number, -accepted..=accepted).and_then(|value| i16::try_from(value).ok());
    if let Some(value) = value {
        weight.value = value.clamp(-rules.limit, rules.limit);
        if weight.value != value {
            let message = format!("weight {value} is reduced to {}", weight.value);
            call.say(
                Diagnostic::warning(Kind::Repaired, Some(number.span), message)
                    .help(wanted)
                    .fix(number.span, weight.value.to_string()),
            );
        }
    }
    let Some(direction) = words.next() else { return Some(weight) };
    match direction.text {
        "reverse" => weight.reverse = true,
        "noreverse" if rules.named => weight.reverse = false,
        other => {
            let message = format!("{}: unknown option {}", quote(call.name()), quote(other));
            let diagnostic =
                Diagnostic::warning(Kind::BadValue, Some(direction.span), message).label("ignored");
            let near = nearest(other, rules.directions().iter().copied());
            call.say(match near {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(direction.span, near),
                None => diagnostic.help(write),
            });
            return Some(weight);
        }
    }
    if let Some(extra) = words.next() {
        let message = format!("{} after {} is ignored", quote(extra.text), quote(direction.text));
        call.say(Diagnostic::warning(Kind::Lint, Some(extra.span), message).help("remove it"));
    }
    Some(weight)
}

/// What a line may say of a weight.
struct Rules<'a> {
    /// What is tracked.
    name: &'a str,
    /// The weight that holds without one in the line.
    default: Weight,
    /// Largest weight.
    limit: i16,
    /// Whether one more is read and put right.
    repaired: bool,
    /// Whether what is tracked has a weight of its own, and so may have a reverse to undo.
    named: bool,
    /// Whether the word after the name could stand in a line of its own.
    is_item: bool,
}

impl Rules<'_> {
    fn directions(&self) -> &'static [&'static str] {
        if self.named { &["reverse", "noreverse"] } else { &["reverse"] }
    }
}

/// Says that a line is left out.
fn not_tracked<T>(
    call: &mut Call<'_, '_>,
    word: Word<'_>,
    found: &str,
    help: String,
    near: Option<&str>,
) -> Option<T> {
    let message = format!("{}: {found}", quote(call.name()));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("not tracked");
    call.say(match near {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
        None => diagnostic.help(help),
    });
    None
}

/// `N [reverse]`: the weight that what is tracked has by itself.
pub(super) fn own_weight(call: &mut Call<'_, '_>, limit: i64) -> Option<Weight> {
    let word = call.word()?;
    let value = call.integer_in(word, -limit..=limit).and_then(|value| i16::try_from(value).ok());
    let reverse = match call.optional() {
        Some(word) => call.choice_in(word, &[("reverse", true)]).unwrap_or_default(),
        None => false,
    };
    Some(Weight { value: value?, reverse })
}

/// The same where it may be changed only once: a second one is ignored.
pub(super) fn own_weight_once(
    call: &mut Call<'_, '_>,
    limit: i64,
    default: i16,
    slot: &mut Option<(Weight, Span)>,
) {
    let span = call.place();
    let Some(weight) = own_weight(call, limit) else { return };
    match *slot {
        Some((before, place)) if before.value != default => {
            let message = format!("{} is given twice", quote(call.name()));
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(span), message)
                    .label("ignored")
                    .related(Some(place), "the first counts")
                    .help("remove one of them"),
            );
        }
        _ => *slot = Some((weight, span)),
    }
}

/// Whether a second block of a name is left out, which is said then.
pub(super) fn is_second(call: &mut Call<'_, '_>, name: Word<'_>, first: Option<Span>) -> bool {
    let Some(first) = first else { return false };
    let message = format!("{} {} is defined twice", call.name(), quote(name.text));
    call.say(
        Diagnostic::warning(Kind::BadValue, Some(name.span), message)
            .label("ignored")
            .related(Some(first), "first here")
            .help("rename or remove one"),
    );
    true
}

/// Says that a block is left out because a keyword is missing, unless a diagnostic about that keyword
/// stands already: `lost` is the count before the block.
pub(super) fn incomplete(
    call: &mut Call<'_, '_>,
    name: Word<'_>,
    keywords: &[&str],
    help: &str,
    lost: usize,
) {
    let block = call.name();
    let keyword = keywords.first().copied().unwrap_or_default();
    let table = Object::of(block).map_or(block, Object::keyword);
    let consequence = format!("so {block} {} is left out", quote(name.text));
    if call.context.explain_lost(lost, table, keywords, consequence) {
        return;
    }
    let message = format!("{block} {} has no usable `{keyword}`, so it is left out", quote(name.text));
    call.say(Diagnostic::warning(Kind::BadValue, Some(call.head()), message).help(help));
}

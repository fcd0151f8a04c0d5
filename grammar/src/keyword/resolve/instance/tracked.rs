//! What an instance tracks.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use lbd_vrrp::{TrackerId, TrackerKind, Weight};

use super::Nature;

use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::instance::{InstanceBuilder, duplicate};
use crate::source::Span;

/// What is tracked, each once.
#[derive(Default)]
pub(super) struct Tracked {
    pub scripts: Vec<(TrackerId, Weight)>,
    pub files: Vec<(TrackerId, Weight)>,
    pub processes: Vec<(TrackerId, Weight)>,
    pub bfd: Vec<(TrackerId, Weight)>,
    pub interfaces: Vec<(String, Weight)>,
    /// Lines with a weight that a sync group does not allow; processes may always have one.
    pub weighted: Vec<Span>,
}

/// The owner has no weights.
pub(super) fn resolve(builder: &mut InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> Tracked {
    let mut interfaces = std::mem::take(&mut builder.interfaces);
    let own = builder.interface.as_ref().map(|(name, _)| name.clone());
    interfaces.retain(|(name, weight, span)| {
        let is_own = Some(name) == own.as_ref();
        // It is tracked anyway; naming it is a widespread habit and harmless.
        if is_own && weight.value != 0 {
            let message = format!("the own interface {} is tracked anyway, without a weight", quote(name));
            call.say(Diagnostic::warning(Kind::Lint, Some(*span), message).help("remove this line"));
        }
        !is_own
    });
    let files = ids(std::mem::take(&mut builder.files), TrackerKind::File);
    let processes = ids(std::mem::take(&mut builder.processes), TrackerKind::Process);
    let bfd = ids(std::mem::take(&mut builder.bfd), TrackerKind::Bfd);
    let scripts = std::mem::take(&mut builder.scripts);
    let mut weighted = Vec::new();
    let mut note = |lines: Vec<Span>| weighted.extend(lines);
    let owner = nature.is_owner();
    let scripts = each_once(scripts, "script", owner, &mut note, call);
    let files = each_once(files, "file", owner, &mut note, call);
    let bfd = each_once(bfd, "BFD session", owner, &mut note, call);
    let interfaces = each_once(interfaces, "interface", owner, &mut note, call);
    let processes = each_once(processes, "process", owner, &mut |_| {}, call);
    Tracked { scripts, files, processes, bfd, interfaces, weighted }
}

/// Lines that track something of a kind.
pub(crate) fn ids(lines: Vec<(Arc<str>, Weight, Span)>, kind: TrackerKind) -> Vec<(TrackerId, Weight, Span)> {
    lines.into_iter().map(|(name, weight, span)| (TrackerId { kind, name }, weight, span)).collect()
}

/// Drops what is named twice, and weights of the owner; tells the lines with a weight.
pub(crate) fn each_once<N: Clone + Eq + Hash + std::fmt::Display>(
    lines: Vec<(N, Weight, Span)>,
    what: &str,
    owner: bool,
    weighted: &mut impl FnMut(Vec<Span>),
    call: &mut Call<'_, '_>,
) -> Vec<(N, Weight)> {
    let mut seen: HashMap<N, Span> = HashMap::new();
    let mut kept = Vec::new();
    let mut places = Vec::new();
    for (name, weight, span) in lines {
        if let Some(before) = seen.get(&name).copied() {
            duplicate(call, span, before, &format!("{what} `{name}`"));
        } else if owner && weight.value != 0 {
            let message = "a weight has no effect with priority 255";
            call.say(
                Diagnostic::warning(Kind::Repaired, Some(span), message)
                    .label("not tracked")
                    .help("use a priority below 255, or `weight 0`"),
            );
        } else {
            seen.insert(name.clone(), span);
            if weight.value != 0 {
                places.push(span);
            }
            kept.push((name, weight));
        }
    }
    weighted(places);
    kept
}

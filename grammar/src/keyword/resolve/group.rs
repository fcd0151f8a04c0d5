//! Members of vrrp_sync_group, track_group and garp_group, looked up after the whole file was read.
//!
//! Here: who is in which group, and what a group does to its members. Not here: the groups' rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_vrrp::{Priority, TrackerKind, Weight};

use super::instance::{Found, ids};
use crate::config::{Config, GarpGroup, SyncGroup};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::Context;
use crate::keyword::group::{Groups, Members, SyncGroupBuilder};
use crate::source::Span;
use crate::suggest::nearest;

/// Resolves all groups; instances take from them what they inherit.
pub(crate) fn resolve(
    groups: Groups,
    instances: &mut [Found],
    config: &mut Config,
    context: &mut Context<'_>,
) {
    let names: HashMap<Arc<str>, usize> =
        instances.iter().enumerate().map(|(at, found)| (found.instance.router.name.clone(), at)).collect();
    let mut taken: HashMap<Arc<str>, Span> = HashMap::new();
    for builder in groups.sync {
        let Some((name, place)) = builder.name.clone() else { continue };
        let mut unique =
            |member: &Arc<str>, span: Span, context: &mut Context<'_>| match taken.get(member).copied() {
                Some(before) => {
                    let message = format!("vrrp_instance {} is in a vrrp_sync_group already", quote(member));
                    context.report(
                        Diagnostic::warning(Kind::BadValue, Some(span), message)
                            .label("ignored")
                            .related(Some(before), "here")
                            .help("remove one of them"),
                    );
                    false
                }
                None => {
                    taken.insert(member.clone(), span);
                    true
                }
            };
        let found =
            members(&builder.members, ("vrrp_sync_group", &*name, place), &names, &mut unique, context);
        let Some(found) = found else { continue };
        if let [_] = found.as_slice() {
            let message = format!("vrrp_sync_group {} has a single member", quote(&name));
            context.report(
                Diagnostic::warning(Kind::Lint, Some(place), message)
                    .help("add the instances that are to be master together with it, or remove the group"),
            );
        }
        let of_group: Vec<usize> = found.iter().filter_map(|member| names.get(member).copied()).collect();
        let group = sync_group(builder, found, &name, place, instances, &of_group, context);
        config.sync_groups.insert(name, group);
    }
    let mut track_groups: IndexMap<Arc<str>, Vec<Arc<str>>> = IndexMap::new();
    for builder in groups.track {
        let Some((name, place)) = builder.name else { continue };
        let head = ("track_group", &*name, place);
        if let Some(found) = members(&builder.members, head, &names, &mut |_, _, _| true, context) {
            track_groups.insert(name, found);
        }
    }
    config.track_groups = track_groups;
    config.garp_groups = garp_groups(groups.garp, context);
    for found in instances {
        let global =
            context.global.notify_priority_changes.or(context.global_built_in.notify_priority_changes);
        found.instance.tells_priority = found.tells_priority.or(global).unwrap_or_default();
    }
}

/// The instances that a group names, each once; `None` if it has none and is removed.
fn members(
    members: &Members,
    (kind, name, place): (&str, &str, Span),
    names: &HashMap<Arc<str>, usize>,
    unique: &mut impl FnMut(&Arc<str>, Span, &mut Context<'_>) -> bool,
    context: &mut Context<'_>,
) -> Option<Vec<Arc<str>>> {
    let (words, group_place) = match &members.0 {
        Some((words, place)) => (words.as_slice(), *place),
        None => (&[][..], place),
    };
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    let mut said = false;
    for (word, span) in words {
        let Some((member, _)) = names.get_key_value(word.as_str()) else {
            unknown(word, *span, names, context);
            said = true;
            continue;
        };
        if !seen.insert(member.clone()) {
            let message = format!("vrrp_instance {} is given twice", quote(word));
            let diagnostic = Diagnostic::warning(Kind::BadValue, Some(*span), message);
            context.report(diagnostic.label("ignored").help("remove one of them"));
        } else if unique(member, *span, context) {
            found.push(member.clone());
        } else {
            said = true;
        }
    }
    if !found.is_empty() {
        return Some(found);
    }
    // A group of which nothing is left because of what was said already needs no further words.
    if !said {
        let message = format!("{kind} {} has no members, so it is left out", quote(name));
        context.report(
            Diagnostic::warning(Kind::BadValue, Some(group_place), message)
                .help("name its instances in `group { … }`, or remove it"),
        );
    }
    None
}

fn unknown(word: &str, span: Span, names: &HashMap<Arc<str>, usize>, context: &mut Context<'_>) {
    let message = format!("there is no vrrp_instance {}", quote(word));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(span), message).label("ignored");
    let mut known: Vec<&str> = names.keys().map(|name| &**name).collect();
    known.sort_unstable();
    context.report(match nearest(word, known) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(span, near),
        None => diagnostic.help("remove it, or add the instance"),
    });
}

fn sync_group(
    builder: SyncGroupBuilder,
    members: Vec<Arc<str>>,
    name: &str,
    place: Span,
    instances: &mut [Found],
    of_group: &[usize],
    context: &mut Context<'_>,
) -> SyncGroup {
    let mut found = of_group.iter().filter_map(|at| instances.get(*at));
    let owner = found.find(|found| found.instance.router.priority == Priority::OWNER);
    let owner_place = owner.and_then(|found| context.spans.instance(&found.instance.router.name));
    let has_owner = owner.is_some();
    let mut weighted: Vec<Span> = Vec::new();
    let mut group = SyncGroup {
        members,
        track_interfaces: once(builder.interfaces, "interface", has_owner, &mut weighted, context),
        trackers: once(builder.scripts, "script", has_owner, &mut weighted, context),
        track_files: once(ids(builder.files, TrackerKind::File), "file", has_owner, &mut weighted, context),
        track_processes: once(
            ids(builder.processes, TrackerKind::Process),
            "process",
            has_owner,
            &mut weighted,
            context,
        ),
        track_bfd: once(ids(builder.bfd, TrackerKind::Bfd), "BFD session", has_owner, &mut weighted, context),
        tracking_weight: builder.tracking_weight,
        notify: builder.notify,
        mail: false,
    };
    let global = &context.global;
    group.mail = builder.mail.or(global.smtp_alert_vrrp).or(global.smtp_alert).unwrap_or_default();
    if let (Some(first), true) = (weighted.first(), has_owner) {
        let message = format!("weights in vrrp_sync_group {} are 0: a member has priority 255", quote(name));
        context.report(
            Diagnostic::warning(Kind::Repaired, Some(*first), message)
                .related(owner_place, "this member")
                .help("write `weight 0`, or give the member a priority below 255"),
        );
    }
    for at in of_group {
        let Some(found) = instances.get_mut(*at) else { continue };
        found.tells_priority = found.tells_priority.or(builder.tells_priority);
    }
    if !group.tracking_weight {
        without_weights(name, place, instances, of_group, context);
    }
    group
}

/// What members track has no weight unless the group says so: they are master together or not at all.
fn without_weights(
    name: &str,
    place: Span,
    instances: &mut [Found],
    of_group: &[usize],
    context: &mut Context<'_>,
) {
    let mut places: Vec<Span> = Vec::new();
    for at in of_group {
        let Some(found) = instances.get_mut(*at).filter(|found| !found.weighted.is_empty()) else { continue };
        places.append(&mut found.weighted);
        let router = &mut found.instance.router;
        for (_, weight) in &mut router.track_interfaces {
            weight.value = 0;
        }
        router.trackers.retain(|(_, weight)| weight.value == 0);
        router.track_bfd.retain(|(_, weight)| weight.value == 0);
        router.track_files.retain_mut(|(_, weight)| {
            // 1 is what a file has that nothing is said of.
            if weight.value == 1 {
                weight.value = 0;
            }
            weight.value == 0
        });
    }
    if places.is_empty() {
        return;
    }
    let message = format!(
        "vrrp_sync_group {} does not allow the weights of what its members track: interfaces get weight 0, the others are not tracked",
        quote(name)
    );
    let diagnostic = Diagnostic::warning(Kind::Repaired, Some(place), message)
        .help("add `sync_group_tracking_weight` to the group, or remove the weights");
    let diagnostic = places.iter().take(3).fold(diagnostic, |one, span| one.related(Some(*span), "a weight"));
    context.report(diagnostic);
}

/// What is tracked, each once; with a member of priority 255 without weights.
fn once<N: Clone + Eq + std::hash::Hash + std::fmt::Display>(
    lines: Vec<(N, Weight, Span)>,
    what: &str,
    has_owner: bool,
    weighted: &mut Vec<Span>,
    context: &mut Context<'_>,
) -> Vec<(N, Weight)> {
    let mut seen: HashSet<N> = HashSet::new();
    let mut kept = Vec::new();
    for (name, mut weight, span) in lines {
        if !seen.insert(name.clone()) {
            let message = format!("{what} `{name}` is given twice");
            let diagnostic = Diagnostic::warning(Kind::BadValue, Some(span), message);
            context.report(diagnostic.label("ignored").help("remove one of them"));
            continue;
        }
        if has_owner && weight.value != 0 {
            weighted.push(span);
            weight.value = 0;
        }
        kept.push((name, weight));
    }
    kept
}

fn garp_groups(found: Vec<(GarpGroup, Vec<Span>, Span)>, context: &mut Context<'_>) -> Vec<GarpGroup> {
    let mut taken: HashMap<String, Span> = HashMap::new();
    let mut groups = Vec::new();
    for (mut group, places, place) in found {
        if group.garp_interval.is_none() && group.neighbour_interval.is_none() {
            context.report(
                Diagnostic::warning(
                    Kind::BadValue,
                    Some(place),
                    "this `garp_group` has no interval, so it is left out",
                )
                .help("add `garp_interval SECS` or `gna_interval SECS`"),
            );
            continue;
        }
        let mut places = places.into_iter();
        group.interfaces.retain(|interface| {
            let Some(span) = places.next() else { return false };
            if let Some(before) = taken.get(interface) {
                let message = format!("interface {} is in a garp_group already", quote(interface));
                context.report(
                    Diagnostic::warning(Kind::BadValue, Some(span), message)
                        .label("ignored")
                        .related(Some(*before), "here")
                        .help("remove one of them"),
                );
                return false;
            }
            taken.insert(interface.clone(), span);
            true
        });
        if group.interfaces.is_empty() {
            context.report(
                Diagnostic::warning(
                    Kind::BadValue,
                    Some(place),
                    "this `garp_group` has no interface, so it is left out",
                )
                .help("add `interface NAME`"),
            );
            continue;
        }
        groups.push(group);
    }
    groups
}

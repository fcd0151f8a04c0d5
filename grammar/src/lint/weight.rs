//! Weights of what is tracked that do nothing to the priority, or nothing to who is master.
//!
//! The priorities of the other routers are not known here. What is certain: the priority stays from 1
//! to 254 ([`LEAST`], [`MOST`]), and a router with nopreempt leaves a living master alone.

use std::sync::Arc;

use lbd_vrrp::{Counted, InstanceConfig, Priority, TrackerId, Weight, united};

use super::{Lines, lint};
use crate::config::{Config, SyncGroup};
use crate::diagnostic::{Diagnostic, quote};
use crate::source::Span;
use crate::tree::Statement;

/// Lowest and highest priority that a router other than the owner of the addresses comes to.
const LEAST: i32 = 1;
const MOST: i32 = 254;

/// A line of a tracking block with a weight.
struct Tracked<'c> {
    kind: Tracker,
    name: &'c str,
    weight: Weight,
    /// The sync group whose line it is; `None`: the instance's.
    group: Option<&'c str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tracker {
    Script,
    Interface,
    File,
    Process,
    Bfd,
}

impl Tracker {
    fn block(self) -> &'static str {
        match self {
            Tracker::Script => "track_script",
            Tracker::Interface => "track_interface",
            Tracker::File => "track_file",
            Tracker::Process => "track_process",
            Tracker::Bfd => "track_bfd",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Tracker::Script => "script",
            Tracker::Interface => "interface",
            Tracker::File => "file",
            Tracker::Process => "process",
            Tracker::Bfd => "BFD session",
        }
    }
}

impl Tracked<'_> {
    /// What it adds to the priority while all is well, and when it is not.
    fn adds(&self) -> (i32, i32) {
        let weight = i32::from(self.weight.value);
        let sign = if self.weight.reverse { -1 } else { 1 };
        (sign * weight.max(0), sign * weight.min(0))
    }

    /// How much lower the priority is when it is not well.
    fn drop(&self) -> i32 {
        let (well, unwell) = self.adds();
        well - unwell
    }

    fn place(&self, router: &InstanceConfig, lines: &Lines<'_, '_>) -> Option<Span> {
        let object = match self.group {
            None => lines.object("vrrp_instance", &router.name),
            Some(group) => lines.object("vrrp_sync_group", group),
        }?;
        let line = |block: &Statement| lines.within(block, self.name).next().map(|line| line.head);
        lines.within(&object, self.kind.block()).find_map(line)
    }
}

pub(super) fn check(config: &Config, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    // As they run: what is on an interface takes its weight away.
    for (instance, router) in config.vrrp_instances.iter().zip(&config.vrrp_setup().instances) {
        found.extend(weightless(&instance.router, router, lines));
        let group = config.sync_groups.iter().find(|(_, group)| group.members.contains(&router.name));
        found.extend(group.and_then(|(name, group)| overruled(router, name, group, lines)));
        if router.priority == Priority::OWNER {
            continue;
        }
        let tracked = with_weights(router, group);
        if tracked.is_empty() {
            continue;
        }
        found.extend(not_preempting(router, &tracked, lines));
        // What a file adds is its own business.
        if tracked.iter().all(|one| one.kind != Tracker::File) {
            found.extend(clamped(router, &tracked, lines));
        }
    }
}

/// What a router and its group track of a kind.
type Pair<'c> = (Tracker, &'c [(TrackerId, Weight)], &'c [(TrackerId, Weight)]);

fn by_name<'c>(router: &'c InstanceConfig, group: Option<&'c SyncGroup>) -> [Pair<'c>; 4] {
    let of = |lines: fn(&SyncGroup) -> &Vec<(TrackerId, Weight)>| {
        group.map(|group| lines(group).as_slice()).unwrap_or_default()
    };
    [
        (Tracker::Script, &router.trackers, of(|group| &group.trackers)),
        (Tracker::File, &router.track_files, of(|group| &group.track_files)),
        (Tracker::Process, &router.track_processes, of(|group| &group.track_processes)),
        (Tracker::Bfd, &router.track_bfd, of(|group| &group.track_bfd)),
    ]
}

/// All that changes the priority of a router.
fn with_weights<'c>(
    router: &'c InstanceConfig,
    group: Option<(&'c Arc<str>, &'c SyncGroup)>,
) -> Vec<Tracked<'c>> {
    let (group_name, group) = group.unzip();
    let whose = |of_group: bool| group_name.filter(|_| of_group).map(|name| &**name);
    let mut found = Vec::new();
    for (kind, own, of_group) in by_name(router, group) {
        found.extend(united(own, of_group).into_iter().map(|Counted { tracked, weight, of_group }| {
            Tracked { kind, name: &tracked.name, weight, group: whose(of_group) }
        }));
    }
    let of_group = group.map(|group| group.track_interfaces.as_slice()).unwrap_or_default();
    let interfaces = united(&router.track_interfaces, of_group).into_iter();
    found.extend(interfaces.map(|Counted { tracked, weight, of_group }| Tracked {
        kind: Tracker::Interface,
        name: tracked.as_str(),
        weight,
        group: whose(of_group),
    }));
    found.retain(|one| one.weight.value != 0);
    found
}

/// A priority at its limit, where weights would push it beyond.
fn clamped(router: &InstanceConfig, tracked: &[Tracked<'_>], lines: &Lines<'_, '_>) -> Option<Diagnostic> {
    let priority = i32::from(router.priority.0);
    let sum =
        |part: fn((i32, i32)) -> i32| priority + tracked.iter().map(|one| part(one.adds())).sum::<i32>();
    let (lowest, highest) = (sum(|(well, unwell)| well.min(unwell)), sum(|(well, unwell)| well.max(unwell)));
    let first = tracked.first()?;
    let name = quote(&router.name);
    let limit = if lowest >= MOST {
        Some((
            "254, the highest",
            "lower `priority` by as much as the weights add, on all its routers, or use negative weights",
        ))
    } else if highest <= LEAST {
        Some(("1, the lowest", "raise `priority`, or use `weight 0`: a failure is FAULT then"))
    } else {
        None
    };
    if let Some((limit, help)) = limit {
        let message =
            format!("no weight changes the priority of vrrp_instance {name}: it is {limit}, anyway");
        return Some(
            lint(first.place(router, lines), message)
                .label("without effect")
                .related(priority_line(router, lines), "the priority")
                .help(help),
        );
    }
    let well = sum(|(well, _)| well);
    let (one, less) = tracked
        .iter()
        .map(|one| (one, MOST - (well - one.drop()).clamp(LEAST, MOST)))
        .find(|(one, less)| well > MOST && one.drop() > 0 && *less < one.drop())?;
    let message = format!(
        "with all that is tracked in order vrrp_instance {name} comes to {well}, but 254 is the highest \
         priority: a failure of {} {} takes away {less}, not {}",
        one.kind.noun(),
        quote(one.name),
        one.drop()
    );
    let over = well - MOST;
    let help = if priority > over {
        format!("lower `priority` by {over} on all its routers, or the weights")
    } else {
        "lower the weights on all its routers".to_owned()
    };
    Some(
        lint(one.place(router, lines), message)
            .related(priority_line(router, lines), "the priority")
            .help(help),
    )
}

/// An interface that is tracked with a weight, and without one because of what is on it.
fn weightless(said: &InstanceConfig, runs: &InstanceConfig, lines: &Lines<'_, '_>) -> Option<Diagnostic> {
    let (name, weight) = said.track_interfaces.iter().find(|(name, weight)| {
        weight.value != 0 && runs.track_interfaces.iter().any(|(other, of)| other == name && of.value == 0)
    })?;
    let message = format!(
        "weight {} of interface {} has no effect: an address, route or rule that is on it is tracked, without a weight",
        shown(*weight),
        quote(name),
    );
    let line = Tracked { kind: Tracker::Interface, name, weight: *weight, group: None };
    Some(
        lint(line.place(said, lines), message)
            .label("without effect")
            .help("remove the weight, or add `no_track` to what is on the interface"),
    )
}

/// Something that the instance and its sync group track with different weights, of which one counts.
fn overruled(
    router: &InstanceConfig,
    group_name: &str,
    group: &SyncGroup,
    lines: &Lines<'_, '_>,
) -> Option<Diagnostic> {
    let both = |kind, name, own: Weight, of_group: Option<Weight>| {
        let of_group = of_group.filter(|of_group| *of_group != own)?;
        let line = |weight, group| Tracked { kind, name, weight, group };
        Some((line(own, None), line(of_group, Some(group_name))))
    };
    let named = by_name(router, Some(group)).into_iter().flat_map(|(kind, own, of_group)| {
        own.iter().filter_map(move |(id, weight)| {
            let same = of_group.iter().find(|(other, _)| other == id).map(|(_, weight)| *weight);
            both(kind, &*id.name, *weight, same)
        })
    });
    let interfaces = router.track_interfaces.iter().filter_map(|(name, weight)| {
        let same = group.track_interfaces.iter().find(|(other, _)| other == name).map(|(_, weight)| *weight);
        both(Tracker::Interface, name.as_str(), *weight, same)
    });
    let (own, of_group) = named.chain(interfaces).next()?;
    let what = format!("{} {}", own.kind.noun(), quote(own.name));
    let (router_name, group_name) = (quote(&router.name), quote(group_name));
    let ((powerless, message), other) = if own.weight.value == 0 {
        let message = format!(
            "weight {} of {what} in vrrp_sync_group {group_name} has no effect on vrrp_instance {router_name}, \
             which tracks it without a weight",
            shown(of_group.weight),
        );
        ((&of_group, message), &own)
    } else {
        let message = format!(
            "weight {} of {what} has no effect: what vrrp_sync_group {group_name} tracks too has the group's \
             weight, {}",
            shown(own.weight),
            shown(of_group.weight),
        );
        ((&own, message), &of_group)
    };
    Some(
        lint(powerless.place(router, lines), message)
            .label("without effect")
            .related(other.place(router, lines), "this one counts")
            .help("track it in one of them"),
    )
}

/// nopreempt: priorities decide nothing while a master lives.
fn not_preempting(
    router: &InstanceConfig,
    tracked: &[Tracked<'_>],
    lines: &Lines<'_, '_>,
) -> Option<Diagnostic> {
    if router.preempt {
        return None;
    }
    let first = tracked.first()?;
    let message = format!(
        "`nopreempt` leaves a living master alone, so weight {} of {} {} never makes this router take over \
         from one, and no router that has `nopreempt` takes over because of it",
        first.weight.value,
        first.kind.noun(),
        quote(first.name)
    );
    let object = lines.object("vrrp_instance", &router.name);
    Some(
        lint(lines.place(object.as_ref(), "nopreempt"), message)
            .related(first.place(router, lines), "the weight")
            .help("use `weight 0`: a failure is FAULT then and another router takes over; or remove `nopreempt`"),
    )
}

/// As the configuration writes it.
fn shown(weight: Weight) -> String {
    format!("{}{}", weight.value, if weight.reverse { " reverse" } else { "" })
}

fn priority_line(router: &InstanceConfig, lines: &Lines<'_, '_>) -> Option<Span> {
    lines.place(lines.object("vrrp_instance", &router.name).as_ref(), "priority")
}

//! Weights of what is tracked that do nothing to the priority, or nothing to who is master.
//!
//! The priorities of the other routers are not known here. What is certain: the priority stays from 1
//! to 254 ([`LEAST`], [`MOST`]), and a router with nopreempt leaves a living master alone.

use std::sync::Arc;

use lbd_vrrp::{InstanceConfig, Priority, Weight};

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
    for instance in &config.vrrp_instances {
        let router = &instance.router;
        if router.priority == Priority::OWNER {
            continue;
        }
        let group = config.sync_groups.iter().find(|(_, group)| group.members.contains(&router.name));
        let tracked = with_weights(router, group);
        if tracked.is_empty() {
            continue;
        }
        found.extend(not_preempting(router, &tracked, lines));
        // What a file adds is its own business.
        if tracked.iter().all(|one| one.kind != Tracker::File) {
            found.extend(clamped(router, &tracked, lines).or_else(|| cancelled(router, &tracked, lines)));
        }
    }
}

/// All that changes the priority of a router.
fn with_weights<'c>(
    router: &'c InstanceConfig,
    group: Option<(&'c Arc<str>, &'c SyncGroup)>,
) -> Vec<Tracked<'c>> {
    let mut found = Vec::new();
    let mut add = |kind, name: &'c str, weight: Weight, group: Option<&'c str>| {
        if weight.value != 0 {
            found.push(Tracked { kind, name, weight, group });
        }
    };
    let own = [
        (Tracker::Script, &router.trackers),
        (Tracker::File, &router.track_files),
        (Tracker::Process, &router.track_processes),
        (Tracker::Bfd, &router.track_bfd),
    ];
    for (kind, list) in own {
        list.iter().for_each(|(id, weight)| add(kind, &id.name, *weight, None));
    }
    router.track_interfaces.iter().for_each(|(name, weight)| add(Tracker::Interface, name, *weight, None));
    if let Some((name, group)) = group {
        let name = Some(&**name);
        group.track_interfaces.iter().for_each(|(id, weight)| add(Tracker::Interface, id, *weight, name));
        let lists = [
            (Tracker::Script, &group.trackers),
            (Tracker::File, &group.track_files),
            (Tracker::Process, &group.track_processes),
            (Tracker::Bfd, &group.track_bfd),
        ];
        for (kind, list) in lists {
            list.iter().for_each(|(id, weight)| add(kind, &id.name, *weight, name));
        }
    }
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

/// Something that the instance and its sync group track in opposite directions.
fn cancelled(router: &InstanceConfig, tracked: &[Tracked<'_>], lines: &Lines<'_, '_>) -> Option<Diagnostic> {
    let (own, other) = tracked.iter().filter(|one| one.group.is_none()).find_map(|own| {
        let same =
            |other: &&Tracked<'_>| other.group.is_some() && other.kind == own.kind && other.name == own.name;
        let other = tracked.iter().find(same)?;
        (own.drop() + other.drop() == 0).then_some((own, other))
    })?;
    let message = format!(
        "{} {} never changes the priority of vrrp_instance {}: its weights here and in vrrp_sync_group {} \
         cancel each other",
        own.kind.noun(),
        quote(own.name),
        quote(&router.name),
        quote(other.group.unwrap_or_default()),
    );
    Some(
        lint(own.place(router, lines), message)
            .label("without effect")
            .related(other.place(router, lines), "the other")
            .help("remove one of them"),
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

fn priority_line(router: &InstanceConfig, lines: &Lines<'_, '_>) -> Option<Span> {
    lines.place(lines.object("vrrp_instance", &router.name).as_ref(), "priority")
}

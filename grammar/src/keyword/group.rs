//! vrrp_sync_group, track_group and garp_group.
//!
//! Here: their rows. Not here: their members (`resolve::group`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::{TrackerId, Weight};

use super::call::Call;
use super::instance::NO_BFD;
use super::root::Root;
use super::{Part, Row, Table, later, row, tracking};
use crate::config::{GarpGroup, VrrpNotify};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;

/// Groups as they stand in the file.
#[derive(Default)]
pub(crate) struct Groups {
    pub sync: Vec<SyncGroupBuilder>,
    /// Where each of them is named.
    sync_places: HashMap<Arc<str>, Span>,
    pub track: Vec<TrackGroupBuilder>,
    pub garp: Vec<(GarpGroup, Vec<Span>, Span)>,
}

/// vrrp_sync_group
#[derive(Default)]
pub(crate) struct SyncGroupBuilder {
    pub name: Option<(Arc<str>, Span)>,
    pub members: Members,
    pub interfaces: Vec<(String, Weight, Span)>,
    pub scripts: Vec<(TrackerId, Weight, Span)>,
    pub files: Vec<(Arc<str>, Weight, Span)>,
    pub processes: Vec<(Arc<str>, Weight, Span)>,
    pub bfd: Vec<(Arc<str>, Weight, Span)>,
    pub tracking_weight: bool,
    pub notify: VrrpNotify,
    pub mail: Option<bool>,
    pub tells_priority: Option<bool>,
}

/// track_group
#[derive(Default)]
pub(crate) struct TrackGroupBuilder {
    pub name: Option<(Arc<str>, Span)>,
    pub members: Members,
}

/// `group { … }`: names as written; `None` as long as there is no such block.
#[derive(Default)]
pub(crate) struct Members(pub Option<(Vec<(String, Span)>, Span)>);

impl Members {
    fn read(&mut self, call: &mut Call<'_, '_>) {
        let place = call.place();
        if let Some((_, before)) = &self.0 {
            let before = *before;
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(place), "`group` is given twice")
                    .label("ignored")
                    .related(Some(before), "first here")
                    .help("put all members into one of them"),
            );
            return;
        }
        let lines = tracking::lines(call);
        let words = lines.into_iter().flatten();
        self.0 = Some((words.map(|word| (word.text.to_owned(), word.span)).collect(), place));
    }
}

/// What the rows below fill.
type S = SyncGroupBuilder;
type Rows = &'static [Row<SyncGroupBuilder>];

pub(crate) static SYNC_GROUP: Table<SyncGroupBuilder> =
    Table { name: "vrrp_sync_group", part: Part::Vrrp, rows: &[MEMBERS, NOTIFY] };

const MEMBERS: Rows = &[
    row("group", "{ INSTANCE … }", "Names of the instances that are master together.", |b: &mut S, c| {
        b.members.read(c);
    })
    .block()
    .otherwise("required")
    .example("inside outside"),
    row(
        "track_interface",
        "{ IF [weight N [reverse]] … }",
        "Interfaces that all members track.",
        |b: &mut S, c| {
            b.interfaces.extend(tracking::interfaces(c));
        },
    )
    .block()
    .example("eth7"),
    row(
        "track_script",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Scripts that all members track.",
        |b: &mut S, c| b.scripts.extend(tracking::scripts(c)),
    )
    .block(),
    row(
        "track_file",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Files that all members track.",
        |b: &mut S, c| {
            b.files.extend(tracking::files(c));
        },
    )
    .opens("track_script"),
    row(
        "track_process",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Processes that all members track.",
        |b: &mut S, c| b.processes.extend(tracking::processes(c)),
    )
    .opens("track_script"),
    later(
        "track_bfd",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "BFD sessions that all members track.",
        NO_BFD,
        |b: &mut S, c| b.bfd.extend(tracking::bfd(c)),
    )
    .opens("track_script"),
    row("global_tracking", "", "No effect, here as in keepalived.", |_: &mut S, c| {
        let place = c.place();
        c.context.report(
            Diagnostic::warning(Kind::BadValue, Some(place), "`global_tracking` has no effect any more")
                .label("ignored")
                .help("remove it"),
        );
    }),
    row("sync_group_tracking_weight", "", "What members track may have weights.", |b: &mut S, _| {
        b.tracking_weight = true;
    }),
];

const NOTIFY: Rows = &[
    row("notify_master", "CMD [USER [GROUP]]", "Run when the group becomes master.", |b: &mut S, c| {
        let script = c.script();
        c.once(&mut b.notify.master, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/is-master"),
    row("notify_backup", "CMD [USER [GROUP]]", "Run when the group becomes backup.", |b: &mut S, c| {
        let script = c.script();
        c.once(&mut b.notify.backup, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/is-backup"),
    row("notify_fault", "CMD [USER [GROUP]]", "Run when the group has a fault.", |b: &mut S, c| {
        let script = c.script();
        c.once(&mut b.notify.fault, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/has-fault"),
    row("notify_stop", "CMD [USER [GROUP]]", "Run when VRRP stops.", |b: &mut S, c| {
        let script = c.script();
        c.once(&mut b.notify.stop, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/stops"),
    row(
        "notify",
        "CMD [USER [GROUP]]",
        "Run on every change of the group, with what changed.",
        |b: &mut S, c| {
            let script = c.script();
            c.once(&mut b.notify.any, script);
        },
    )
    .by(Part::Notify)
    .example("/usr/local/bin/changed"),
    row("notify_priority_changes", "[BOOL]", "What members do that do not say it.", |b: &mut S, c| {
        b.tells_priority = c.switch().or(b.tells_priority);
    })
    .otherwise("vrrp_notify_priority_changes")
    .by(Part::Notify)
    .example("true"),
    row("smtp_alert", "[BOOL]", "Mail on a change of the group's state.", |b: &mut S, c| {
        b.mail = c.switch().or(b.mail);
    })
    .otherwise("smtp_alert_vrrp, else smtp_alert of global_defs, else off")
    .by(Part::Notify)
    .example("true"),
];

pub(super) fn sync_group(root: &mut Root, call: &mut Call<'_, '_>) {
    let name = name(call);
    let mut builder = SyncGroupBuilder::default();
    SYNC_GROUP.run(&mut builder, call.body(), call.context);
    builder.name = name;
    let places = &mut root.groups.sync_places;
    let before = builder.name.as_ref().and_then(|(name, _)| places.get(name).copied());
    if is_new(&builder.name, before, call) {
        places.extend(builder.name.clone());
        root.groups.sync.push(builder);
    }
}

pub(crate) static TRACK_GROUP: Table<TrackGroupBuilder> = Table {
    name: "track_group",
    part: Part::Vrrp,
    rows: &[&[row(
        "group",
        "{ INSTANCE … }",
        "Names of the instances that track the interfaces of static entries of this group.",
        |b: &mut TrackGroupBuilder, c| b.members.read(c),
    )
    .block()
    .otherwise("required")
    .example("inside outside")]],
};

pub(super) fn track_group(root: &mut Root, call: &mut Call<'_, '_>) {
    let name = name(call);
    let mut builder = TrackGroupBuilder::default();
    TRACK_GROUP.run(&mut builder, call.body(), call.context);
    builder.name = name;
    let before = builder.name.as_ref().and_then(|(name, _)| call.context.track_groups.get(name).copied());
    if is_new(&builder.name, before, call) {
        call.context.track_groups.extend(builder.name.clone());
        root.groups.track.push(builder);
    }
}

fn name(call: &mut Call<'_, '_>) -> Option<(Arc<str>, Span)> {
    call.word().map(|word| (Arc::from(word.text), word.span))
}

/// Whether a block has a name that no block before it has.
fn is_new(name: &Option<(Arc<str>, Span)>, before: Option<Span>, call: &mut Call<'_, '_>) -> bool {
    let Some((name, span)) = name else { return false };
    match before {
        Some(before) => {
            let what = format!("{} {}", call.name(), quote(name));
            super::instance::duplicate(call, *span, before, &what);
            false
        }
        None => true,
    }
}

/// A garp_group and the places of its interfaces.
#[derive(Default)]
pub(crate) struct GarpGroupBuilder {
    group: GarpGroup,
    places: Vec<Span>,
}

impl GarpGroupBuilder {
    fn add(&mut self, word: crate::tree::Word<'_>, call: &mut Call<'_, '_>) {
        if let Some(name) = call.interface_in(word) {
            self.group.interfaces.push(name);
            self.places.push(word.span);
        }
    }
}

/// What the rows below fill.
type G = GarpGroupBuilder;

pub(crate) static GARP_GROUP: Table<GarpGroupBuilder> = Table {
    name: "garp_group",
    part: Part::Vrrp,
    rows: &[&[
        row(
            "garp_interval",
            "SECS",
            "Shortest gap between gratuitous ARPs, on whichever of these interfaces.",
            |b: &mut G, c| {
                b.group.garp_interval = gap(c).or(b.group.garp_interval);
            },
        )
        .range("0..=4294.967295")
        .otherwise("none")
        .example("0.1"),
        row(
            "gna_interval",
            "SECS",
            "Shortest gap between neighbour adverts, on whichever of these interfaces.",
            |b: &mut G, c| {
                b.group.neighbour_interval = gap(c).or(b.group.neighbour_interval);
            },
        )
        .range("0..=4294.967295")
        .otherwise("none")
        .example("0.1"),
        row("interface", "IF", "An interface of the group.", |b: &mut G, c| {
            if let Some(word) = c.word() {
                b.add(word, c);
            }
        })
        .otherwise("one is required")
        .example("eth0"),
        row("interfaces", "{ IF … }", "Interfaces of the group.", |b: &mut G, c| {
            for word in tracking::lines(c).into_iter().flatten() {
                b.add(word, c);
            }
        })
        .block()
        .example("eth1 eth2"),
    ]],
};

fn gap(call: &mut Call<'_, '_>) -> Option<Duration> {
    call.timer(Duration::ZERO, Duration::from_micros(u32::MAX.into()))
}

pub(super) fn garp_group(root: &mut Root, call: &mut Call<'_, '_>) {
    let mut builder = GarpGroupBuilder::default();
    GARP_GROUP.run(&mut builder, call.body(), call.context);
    root.groups.garp.push((builder.group, builder.places, call.place()));
}

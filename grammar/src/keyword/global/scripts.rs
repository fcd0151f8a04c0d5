//! global_defs: scripts and FIFOs.

use std::time::Duration;

use lbd_health::ScriptId;

use super::super::call::{Call, Command};
use super::super::{Context, Part, Row, later, row};
use super::GlobalBuilder;
use super::names::text;
use crate::config::{Fifo, Fifos, ScriptUser};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row("enable_script_security", "", "Refuse scripts that others than root can change.", |b: &mut B, _| {
        b.rest.script_security = true;
    })
    .by(Part::Scripts),
    row(
        "script_user",
        "USER [GROUP]",
        "User of the scripts that name none and stand after it.",
        |b: &mut B, c| {
            b.script_user = c.user().or(b.script_user.take());
        },
    )
    .otherwise("keepalived_script if that user exists, else root")
    .example("nobody")
    .by(Part::Scripts),
    later(
        "use_symlink_paths",
        "[BOOL]",
        "Run scripts by the path as written, not by what its links lead to.",
        "the resolved path is run",
        |b: &mut B, c| b.rest.symlink_paths = c.switch().unwrap_or(b.rest.symlink_paths),
    )
    .default("false"),
    later(
        "set_supplementary_groups",
        "[BOOL]",
        "Scripts get the supplementary groups of their user.",
        "they have them in any case",
        |b: &mut B, c| b.rest.supplementary_groups = c.switch().unwrap_or(b.rest.supplementary_groups),
    )
    .default("false"),
    later(
        "startup_script",
        "CMD [USER [GROUP]]",
        "Run before anything else starts.",
        NOT_RUN,
        |b: &mut B, c| {
            let script = script(b, c);
            c.once(&mut b.rest.life.startup, script);
        },
    )
    .example("/usr/local/bin/before"),
    later(
        "startup_script_timeout",
        "SECS",
        "Limit of startup_script, then it is ended.",
        NOT_RUN,
        |b: &mut B, c| {
            timeout(c, &mut b.rest.life.startup_timeout);
        },
    )
    .range("1..=1000")
    .default("10"),
    later(
        "shutdown_script",
        "CMD [USER [GROUP]]",
        "Run after everything else stopped.",
        NOT_RUN,
        |b: &mut B, c| {
            let script = script(b, c);
            c.once(&mut b.rest.life.shutdown, script);
        },
    )
    .example("/usr/local/bin/after"),
    later(
        "shutdown_script_timeout",
        "SECS",
        "Limit of shutdown_script, then it is ended.",
        NOT_RUN,
        |b: &mut B, c| {
            timeout(c, &mut b.rest.life.shutdown_timeout);
        },
    )
    .range("1..=1000")
    .default("10"),
    row(
        "rs_init_notifies",
        "[BOOL]",
        "Announce real servers that are up from the start: notify_up and FIFO.",
        |b: &mut B, c| {
            b.rest.announce_initial_servers = c.switch().unwrap_or(b.rest.announce_initial_servers);
        },
    )
    .by(Part::Director)
    .default("false"),
    row(
        "notify_script_timeout",
        "SECS",
        "lbd's own: limit of each notify script. One that takes longer is ended, and the next one of the same \
         object runs.",
        |b: &mut B, c| b.rest.notify_timeout = c.seconds(1..=86_400).or(b.rest.notify_timeout),
    )
    .range("1..=86400")
    .otherwise("60")
    .example("300")
    .by(Part::Notify),
];

const NOT_RUN: &str = "the script is not run";

pub(super) const FIFO_ROWS: &[Row<B>] = &[
    row("notify_fifo", "PATH [USER [GROUP]]", "FIFO that gets every transition.", |b: &mut B, c| {
        b.fifos.all.path(c, b.script_user.as_ref());
    })
    .otherwise(NO_FIFO)
    .example("/run/lbd/notify")
    .by(Part::Notify),
    row(
        "notify_fifo_script",
        "CMD [USER [GROUP]]",
        "Reader of notify_fifo, started with its path as last argument.",
        |b: &mut B, c| {
            let script = reader(b, c);
            b.fifos.all.reader(c, script);
        },
    )
    .example("/usr/local/bin/reader")
    .by(Part::Notify),
    row("vrrp_notify_fifo", "PATH [USER [GROUP]]", "FIFO that gets VRRP's transitions.", |b: &mut B, c| {
        b.fifos.vrrp.path(c, b.script_user.as_ref());
    })
    .otherwise(NO_FIFO)
    .example("/run/lbd/notify_vrrp")
    .by(Part::Notify),
    row(
        "vrrp_notify_fifo_script",
        "CMD [USER [GROUP]]",
        "Reader of vrrp_notify_fifo, started with its path as last argument.",
        |b: &mut B, c| {
            let script = reader(b, c);
            b.fifos.vrrp.reader(c, script);
        },
    )
    .example("/usr/local/bin/reader")
    .by(Part::Notify),
    row(
        "lvs_notify_fifo",
        "PATH [USER [GROUP]]",
        "FIFO that gets the checkers' transitions.",
        |b: &mut B, c| {
            b.fifos.lvs.path(c, b.script_user.as_ref());
        },
    )
    .otherwise(NO_FIFO)
    .example("/run/lbd/notify_lvs")
    .by(Part::Notify),
    row(
        "lvs_notify_fifo_script",
        "CMD [USER [GROUP]]",
        "Reader of lvs_notify_fifo, started with its path as last argument.",
        |b: &mut B, c| {
            let script = reader(b, c);
            b.fifos.lvs.reader(c, script);
        },
    )
    .example("/usr/local/bin/reader")
    .by(Part::Notify),
    row(
        "vrrp_notify_priority_changes",
        "[BOOL]",
        "Default of notify_priority_changes: FIFO lines when a priority changes.",
        |b: &mut B, c| b.notify_priority_changes = c.switch().or(b.notify_priority_changes),
    )
    .default("false")
    .by(Part::Notify),
    row(
        "fifo_write_vrrp_states_on_reload",
        "",
        "After a reload the states that stayed are written to the FIFOs too.",
        |b: &mut B, _| b.rest.fifos.states_on_reload = true,
    )
    .by(Part::Notify),
];

const NO_FIFO: &str = "none; one without USER is script_user's";

/// The three FIFOs as written.
#[derive(Clone, Debug, Default)]
pub(crate) struct FifoBuilders {
    all: FifoBuilder,
    vrrp: FifoBuilder,
    lvs: FifoBuilder,
}

#[derive(Clone, Debug, Default)]
struct FifoBuilder {
    path: Option<(String, Option<ScriptUser>, Span)>,
    script: Option<(ScriptId, Span)>,
}

impl FifoBuilder {
    /// `script_user` counts if it stands before it.
    fn path(&mut self, call: &mut Call<'_, '_>, script_user: Option<&ScriptUser>) {
        let Some(path) = text(call) else { return };
        let user = if call.has_more() {
            let Some(user) = call.user() else { return };
            Some(user)
        } else {
            script_user.cloned()
        };
        let place = call.place();
        call.once(&mut self.path, Some((path, user, place)));
    }

    fn reader(&mut self, call: &mut Call<'_, '_>, script: Option<ScriptId>) {
        let place = call.place();
        call.once(&mut self.script, script.map(|script| (script, place)));
    }

    /// The FIFO; a script without one is left out.
    fn fifo(&self, name: &'static str, context: &mut Context<'_>) -> Option<Fifo> {
        let script = self.script.as_ref();
        let Some((path, user, _)) = &self.path else {
            if let Some((_, place)) = script
                && !context.explain_lost(0, "global_defs", &[name], "its script is not run either")
            {
                let message =
                    format!("{} has no {}, so it is not run", quote(&format!("{name}_script")), quote(name));
                let help = format!("add `{name} PATH`, or remove it");
                context.report(Diagnostic::warning(Kind::BadValue, Some(*place), message).help(help));
            }
            return None;
        };
        let script = script.map(|(script, _)| script.clone());
        Some(Fifo { path: path.clone(), user: user.clone(), script })
    }

    fn place(&self) -> Option<Span> {
        self.path.as_ref().map(|(_, _, place)| *place)
    }
}

/// The FIFOs that are left: none twice, and no two readers of one.
pub(super) fn fifos(found: &FifoBuilders, context: &mut Context<'_>) -> Fifos {
    let FifoBuilders { all, vrrp, lvs } = found;
    let mut fifos = Fifos {
        all: all.fifo("notify_fifo", context),
        vrrp: vrrp.fifo("vrrp_notify_fifo", context),
        lvs: lvs.fifo("lvs_notify_fifo", context),
        ..Fifos::default()
    };
    let path = |fifo: &Option<Fifo>| fifo.as_ref().map(|fifo| fifo.path.clone());
    let taken = path(&fifos.all);
    for (name, fifo, builder) in
        [("vrrp_notify_fifo", &mut fifos.vrrp, vrrp), ("lvs_notify_fifo", &mut fifos.lvs, lvs)]
    {
        if taken.is_some() && path(fifo) == taken {
            *fifo = None;
            let message = format!("{} has the path of `notify_fifo`", quote(name));
            context.report(
                Diagnostic::warning(Kind::BadValue, builder.place(), message)
                    .label("ignored with its script")
                    .related(all.place(), "first here")
                    .help(
                        "give each FIFO a path of its own, or remove this one: `notify_fifo` gets its lines",
                    ),
            );
        }
    }
    let read = fifos.vrrp.as_ref().filter(|fifo| fifo.script.is_some()).map(|fifo| fifo.path.clone());
    if let Some(fifo) = &mut fifos.lvs
        && fifo.script.is_some()
        && read.as_ref() == Some(&fifo.path)
    {
        fifo.script = None;
        let place = lvs.script.as_ref().map(|(_, place)| *place);
        let message = "`lvs_notify_fifo_script` would be a second reader of the FIFO of `vrrp_notify_fifo`";
        context.report(
            Diagnostic::warning(Kind::BadValue, place, message)
                .label("ignored")
                .help("give the two FIFOs different paths, or remove one of the scripts"),
        );
    }
    fifos
}

/// A script of this block.
fn script(builder: &B, call: &mut Call<'_, '_>) -> Option<ScriptId> {
    let command = call.command()?;
    Some(known(builder, call, command))
}

/// The script of a FIFO.
fn reader(builder: &B, call: &mut Call<'_, '_>) -> Option<ScriptId> {
    let command = call.direct_command()?;
    Some(known(builder, call, command))
}

/// `script_user` counts if it stands before it.
fn known(builder: &B, call: &mut Call<'_, '_>, mut command: Command) -> ScriptId {
    command.user = command.user.or_else(|| builder.script_user.clone());
    call.context.script(command)
}

fn timeout(call: &mut Call<'_, '_>, slot: &mut Duration) {
    *slot = call.seconds(1..=1000).unwrap_or(*slot);
}

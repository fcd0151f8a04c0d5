//! MISC_CHECK.
//!
//! Here: its rows. Not here: those that other checkers have too (the module above).

use std::time::Duration;

use super::super::call::Command;
use super::super::{Part, Row, Table, row};
use super::{Checker, schedule};
use crate::config::ScriptUser;

/// What a MISC_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Misc {
    pub command: Option<Command>,
    pub user: Option<ScriptUser>,
    pub timeout: Option<Duration>,
    pub dynamic: bool,
}

/// What the rows below fill.
type B = Checker<Misc>;

pub(crate) static MISC_CHECK: Table<Checker<Misc>> =
    Table { name: "MISC_CHECK", part: Part::Checks, rows: &[OWN, &SCHEDULE] };

static SCHEDULE: [Row<Checker<Misc>>; 6] = schedule("0", Some("1"));

const OWN: &[Row<Checker<Misc>>] = &[
    row("misc_path", "CMD [USER [GROUP]]", "The program; quoted if it has arguments.", |b: &mut B, c| {
        b.own.command = c.command().or(b.own.command.take());
    })
    .otherwise("required")
    .example("\"/usr/local/bin/check 192.0.2.10\""),
    row("misc_timeout", "SECS", "Limit of one run, then it has failed.", |b: &mut B, c| {
        b.own.timeout = c.seconds(0..=4294).or(b.own.timeout);
    })
    .range("0..=4294, 0 is the virtual server's delay_loop")
    .default("0"),
    row("misc_dynamic", "", "Exit status 2 to 255 sets the weight.", |b: &mut B, _| b.own.dynamic = true),
    row("user", "USER [GROUP]", "Its user.", |b: &mut B, c| b.own.user = c.user().or(b.own.user.take()))
        .otherwise("script_user")
        .example("nobody"),
];

pub(super) fn missing(own: &Misc) -> super::Missing {
    own.command.is_none().then_some(("misc_path", "misc_path \"COMMAND\""))
}

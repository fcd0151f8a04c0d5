//! SMTP_CHECK.
//!
//! Here: its rows. Not here: those that other checkers have too (the module above).

use super::super::{Part, Row, Table, row};
use super::{Checker, ConnectionBuilder, connection, schedule};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::virtual_server::Schedule;

/// What an SMTP_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Smtp {
    pub helo: Option<String>,
    /// host blocks, with their connect_timeout.
    pub hosts: Vec<(ConnectionBuilder, Schedule)>,
}

/// What the rows below fill.
type B = Checker<Smtp>;

pub(crate) static SMTP_CHECK: Table<Checker<Smtp>> =
    Table { name: "SMTP_CHECK", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };
pub(crate) static HOST: Table<Checker<()>> =
    Table { name: "host", part: Part::Checks, rows: &[&super::CONNECTION] };

static CONNECTION: [Row<Checker<Smtp>>; 7] = connection();
static SCHEDULE: [Row<Checker<Smtp>>; 6] = schedule("1", Some("1"));

const OWN: &[Row<Checker<Smtp>>] = &[
    row("helo_name", "NAME", "Name given in HELO.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        if word.text.is_empty() || word.text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            c.bad(word, format!("{} cannot be a name", crate::diagnostic::quote(word.text)), "a host name");
        } else {
            b.own.helo = Some(word.text.to_owned());
        }
    })
    .default("smtpchecker.keepalived.org"),
    row(
        "host",
        "{ … }",
        "Another address to check; use one SMTP_CHECK for each instead.",
        |b: &mut B, c| {
            let mut host = Checker::default();
            HOST.run(&mut host, c.body(), c.context);
            b.own.hosts.push((host.common.connection, host.common.schedule));
            let place = c.place();
            c.say(
                Diagnostic::warning(Kind::Lint, Some(place), "`host` in SMTP_CHECK is an old form")
                    .label("checked as an SMTP_CHECK of its own")
                    .help("write one SMTP_CHECK for each address, with the keywords of its `host`"),
            );
        },
    )
    .opens("host")
    .example("connect_ip 192.0.2.10"),
];

//! AGENT_CHECK, which keepalived does not have.
//!
//! Here: its rows. Not here: those that other checkers have too (the module above), the words of an
//! agent (`lbd_health`).

use super::super::{Part, Row, Table, row};
use super::{Checker, connection, schedule};

/// What an AGENT_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Agent {
    pub send: Option<Box<[u8]>>,
}

pub(crate) static AGENT_CHECK: Table<Checker<Agent>> =
    Table { name: "AGENT_CHECK", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<Agent>>; 7] = connection();
// Nothing is retried: what an agent says counts at once, and silence changes nothing.
static SCHEDULE: [Row<Checker<Agent>>; 6] = schedule("0", Some("1"));

const OWN: &[Row<Checker<Agent>>] =
    &[row("send", "TEXT", "What the agent is sent before it answers.", |b: &mut Checker<Agent>, c| {
        b.own.send = c.text().or(b.own.send.take());
    })
    .range("any octets; quoted, with \\r, \\n, \\t, \\\\, \\\" and \\xNN")
    .otherwise("nothing is sent")
    .example("\"web1\\n\"")];

//! TCP_CHECK.
//!
//! Here: its own rows, which keepalived does not have. Not here: those that other checkers have too (the
//! module above).

use lbd_health::DialogueStep;

use super::super::{Part, Row, Table, row};
use super::{Checker, connection, schedule};

/// What a TCP_CHECK says for itself: nothing, or a dialogue.
#[derive(Clone, Default)]
pub(crate) struct Tcp {
    pub steps: Vec<DialogueStep>,
}

/// What the rows below fill.
type B = Checker<Tcp>;

pub(crate) static TCP_CHECK: Table<Checker<Tcp>> =
    Table { name: "TCP_CHECK", part: Part::Checks, rows: &[&CONNECTION, &SCHEDULE, OWN] };

static CONNECTION: [Row<Checker<Tcp>>; 7] = connection();
static SCHEDULE: [Row<Checker<Tcp>>; 6] = schedule("1", Some("1"));

const OWN: &[Row<Checker<Tcp>>] = &[
    row(
        "send",
        "TEXT",
        "lbd's own: what to send once connected; with expect in the order of the lines.",
        |b: &mut B, c| {
            b.own.steps.extend(c.text().map(DialogueStep::Send));
        },
    )
    .range("any octets; quoted, with \\r, \\n, \\t, \\\\, \\\" and \\xNN")
    .otherwise("nothing is sent")
    .example("\"PING\\r\\n\""),
    row(
        "expect",
        "TEXT",
        "lbd's own: what the server has to send next, within connect_timeout.",
        |b: &mut B, c| {
            b.own.steps.extend(c.text().map(DialogueStep::Expect));
        },
    )
    .range("any octets, as in send; looked for in the next 64 KiB")
    .otherwise("nothing is expected")
    .example("\"+PONG\""),
];

//! GRPC_CHECK, which keepalived does not have.
//!
//! Here: its rows. Not here: those that other checkers have too (the module above).

use super::super::{Part, Row, Table, row};
use super::{Checker, connection, schedule};
use crate::diagnostic::quote;

/// What a GRPC_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Grpc {
    pub service: Option<String>,
    pub authority: Option<String>,
}

/// What the rows below fill.
type B = Checker<Grpc>;

pub(crate) static GRPC_CHECK: Table<Checker<Grpc>> =
    Table { name: "GRPC_CHECK", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<Grpc>>; 7] = connection();
static SCHEDULE: [Row<Checker<Grpc>>; 6] = schedule("1", Some("1"));

/// Longest name of a service, in octets.
const LONGEST: usize = 1024;

const OWN: &[Row<Checker<Grpc>>] = &[
    row("service", "NAME", "Service to ask about; \"\" is the server as a whole.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        if word.text.len() > LONGEST || word.text.contains(char::is_control) {
            let wanted = format!("at most {LONGEST} octets");
            c.bad(word, format!("{} cannot be the name of a service", quote(word.text)), wanted);
        } else {
            b.own.service = Some(word.text.to_owned());
        }
    })
    .default("\"\""),
    row("authority", "NAME", "Host that the request names (:authority).", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        if lbd_health::check::grpc::is_authority(word.text) {
            b.own.authority = Some(word.text.to_owned());
        } else {
            c.bad(word, format!("{} cannot be a host", quote(word.text)), "a host name, maybe with a port");
        }
    })
    .otherwise("the address and port of the connection")
    .example("api.example.net"),
];

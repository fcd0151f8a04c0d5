//! DNS_CHECK.
//!
//! Here: its rows. Not here: those that other checkers have too (the module above).

use lbd_health::DnsType;

use super::super::call::Call;
use super::super::{Part, Row, Table, row};
use super::{Checker, connection, schedule};
use crate::diagnostic::quote;
use crate::tree::Word;

/// What a DNS_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Dns {
    pub record: Option<DnsType>,
    pub name: Option<String>,
}

/// What the rows below fill.
type B = Checker<Dns>;

pub(crate) static DNS_CHECK: Table<Checker<Dns>> =
    Table { name: "DNS_CHECK", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<Dns>>; 7] = connection();
static SCHEDULE: [Row<Checker<Dns>>; 6] = schedule("3", None);

const OWN: &[Row<Checker<Dns>>] = &[
    row(
        "type",
        "A|NS|CNAME|SOA|MX|TXT|AAAA|RRSIG|DNSKEY",
        "Type of the query, in any case.",
        |b: &mut B, c| {
            let Some(word) = c.word() else { return };
            let known = DnsType::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.text));
            let found = known.map(|(_, record)| *record).or_else(|| c.choice_in(word, &DnsType::ALL));
            b.own.record = found.or(b.own.record);
        },
    )
    .default("SOA"),
    row("name", "NAME", "Name of the query; empty for the root.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        let name = name(c, word);
        c.once(&mut b.own.name, name);
    })
    .otherwise("the root")
    .example("example.net"),
];

/// A name as the wire can carry it (RFC 1035 §3.1), without its last dot.
fn name(call: &mut Call<'_, '_>, word: Word<'_>) -> Option<String> {
    let name = word.text.strip_suffix('.').unwrap_or(word.text);
    let labels = || name.split('.');
    let why = if name.is_empty() {
        return Some(String::new());
    } else if labels().any(str::is_empty) {
        "has an empty label"
    } else if labels().any(|label| label.len() > 63) {
        "has a label of more than 63 octets"
    } else if name.len() > 253 {
        "is longer than 253 octets"
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "holds a blank"
    } else {
        return Some(name.to_owned());
    };
    call.bad(word, format!("the name {} {why}", quote(word.text)), "a name such as example.net");
    None
}

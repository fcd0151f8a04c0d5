//! UDP_CHECK.
//!
//! Here: its rows, and octets in hexadecimal. Not here: the rows that other checkers have too (the
//! module above).

use lbd_health::MaskedOctet;

use super::super::call::Call;
use super::super::{Part, Row, Table, row};
use super::{Checker, connection, schedule};
use crate::diagnostic::quote;
use crate::source::Span;
use crate::tree::Word;

/// What a UDP_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Udp {
    pub payload: Option<Box<[u8]>>,
    pub reply: Option<Box<[MaskedOctet]>>,
    pub least: Option<(u16, Span)>,
    pub most: Option<(u16, Span)>,
}

/// What the rows below fill.
type B = Checker<Udp>;

pub(crate) static UDP_CHECK: Table<Checker<Udp>> =
    Table { name: "UDP_CHECK", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<Udp>>; 7] = connection();
static SCHEDULE: [Row<Checker<Udp>>; 6] = schedule("1", Some("1"));

const OWN: &[Row<Checker<Udp>>] = &[
    row("payload", "HEX …", "What is sent, in hexadecimal.", |b: &mut B, c| {
        let Some(first) = c.word() else { return };
        let Some(octets) = octets(c, first, false) else { return };
        b.own.payload = Some(octets.iter().map(|octet| octet.value).collect());
    })
    .otherwise("32 octets of text")
    .example("00 01 fe"),
    row(
        "require_reply",
        "[HEX …]",
        "A reply is needed, and maybe one that begins so; X is any hexadecimal digit.",
        |b: &mut B, c| match c.optional() {
            None => b.own.reply = Some(Box::default()),
            Some(first) => b.own.reply = octets(c, first, true).or(b.own.reply.take()),
        },
    )
    .otherwise("off")
    .example("00 0X XX"),
    row(
        "min_reply_length",
        "N",
        "Shortest reply, in octets; with a require_reply that has some.",
        |b: &mut B, c| {
            let span = c.head();
            b.own.least = c.number_as(0..=65535).map(|length| (length, span)).or(b.own.least);
        },
    )
    .range("0..=65535")
    .default("0"),
    row(
        "max_reply_length",
        "N",
        "Longest reply, in octets; with a require_reply that has some.",
        |b: &mut B, c| {
            let span = c.head();
            b.own.most = c.number_as(0..=65535).map(|length| (length, span)).or(b.own.most);
        },
    )
    .range("0..=65535")
    .default("255"),
];

/// Octets of one or two digits each; a word of an odd number of digits ends in one of one digit.
fn octets(call: &mut Call<'_, '_>, first: Word<'_>, wildcards: bool) -> Option<Box<[MaskedOctet]>> {
    let mut octets = Vec::new();
    let help = if wildcards { "pairs of hexadecimal digits or X" } else { "pairs of hexadecimal digits" };
    for word in std::iter::once(first).chain(call.rest()) {
        if word.text.trim().is_empty() {
            call.bad(word, "no octets are given", help);
            return None;
        }
        for part in word.text.split_whitespace() {
            let digits: Option<Vec<(u8, u8)>> = part.chars().map(|c| digit(c, wildcards)).collect();
            let Some(digits) = digits else {
                call.bad(word, format!("{} is not hexadecimal", quote(part)), help);
                return None;
            };
            octets.extend(digits.chunks(2).map(|pair| match pair {
                [(high, high_mask), (low, low_mask)] => {
                    MaskedOctet { value: high << 4 | low, mask: high_mask << 4 | low_mask }
                }
                // A digit alone is the lower half of its octet.
                single => {
                    let (value, mask) = single.first().copied().unwrap_or_default();
                    MaskedOctet { value, mask: 0xf0 | mask }
                }
            }));
        }
    }
    Some(octets.into())
}

/// Value and mask of a digit.
fn digit(c: char, wildcards: bool) -> Option<(u8, u8)> {
    if wildcards && matches!(c, 'x' | 'X') {
        return Some((0, 0));
    }
    c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(|digit| (digit, 0xf))
}

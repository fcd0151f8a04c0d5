//! bfd_instance.
//!
//! Here: its rows and its one resolve step. Not here: who refers to it (`tracking`, BFD_CHECK).

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::Weight;

use super::call::{Call, parse_seconds};
use super::root::Root;
use super::tracking::{incomplete, is_second, own_weight};
use super::{Part, Row, Table, later};
use crate::config::{BfdConsumers, BfdInstance};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::tree::Word;

#[derive(Default)]
pub(crate) struct BfdBuilder {
    neighbor: Option<(IpAddr, Span)>,
    source: Option<(IpAddr, Span)>,
    min_rx: Option<Duration>,
    min_tx: Option<Duration>,
    idle_tx: Option<Duration>,
    multiplier: Option<NonZeroU8>,
    passive: bool,
    ttl: Option<NonZeroU8>,
    /// Of `-1` the inner one is none.
    max_hops: Option<(Option<u8>, Span)>,
    multihop: Option<bool>,
    weight: Option<Weight>,
    vrrp: bool,
    checker: bool,
}

/// What the rows below fill.
type B = BfdBuilder;

pub(crate) static TABLE: Table<BfdBuilder> = Table { name: "bfd_instance", part: Part::Vrrp, rows: &[ROWS] };

const MEANS: &str = "there is no such session";

/// Longest interval in milliseconds: what a packet can say.
const LONGEST: u64 = 4_294_967;

/// Intervals above it are probably seconds or microseconds taken for milliseconds.
const SLOW: Duration = Duration::from_secs(10);

const ROWS: &[Row<BfdBuilder>] = &[
    later("neighbor_ip", "ADDR", "Address of the other end.", MEANS, neighbor)
        .otherwise("required")
        .example("192.0.2.1"),
    later("neighbour_ip", "ADDR", "Other spelling of neighbor_ip.", MEANS, neighbor)
        .otherwise("required")
        .example("192.0.2.1"),
    later("source_ip", "ADDR", "Address of this end, of the same family.", MEANS, |b: &mut B, c| {
        let span = c.head();
        b.source = c.address().map(|address| (address, span)).or(b.source);
    })
    .otherwise("the kernel's choice")
    .example("192.0.2.2"),
    later(
        "min_rx",
        "MILLISECS",
        "Shortest interval at which packets can be received.",
        MEANS,
        |b: &mut B, c| {
            b.min_rx = interval(c, 1).or(b.min_rx);
        },
    )
    .range("1..=4294967, three decimals")
    .default("10"),
    later(
        "min_tx",
        "MILLISECS",
        "Shortest interval at which packets are sent while up.",
        MEANS,
        |b: &mut B, c| {
            b.min_tx = interval(c, 1).or(b.min_tx);
        },
    )
    .range("1..=4294967, three decimals")
    .default("10"),
    later(
        "idle_tx",
        "MILLISECS",
        "Interval at which packets are sent while not up.",
        MEANS,
        |b: &mut B, c| {
            b.idle_tx = milliseconds(c, 1000..=LONGEST).or(b.idle_tx);
        },
    )
    .range("1000..=4294967, three decimals")
    .default("1000"),
    later("multiplier", "N", "Packets in a row that may be missed until it is down.", MEANS, multiplier)
        .range("1..=255")
        .default("5"),
    later("passive", "", "Wait for the other end to begin.", MEANS, |b: &mut B, _| b.passive = true),
    later("ttl", "N", "TTL of what is sent.", MEANS, ttl).range("1..=255").otherwise(TTL).example("255"),
    later("hoplimit", "N", "Same as ttl.", MEANS, ttl).range("1..=255").otherwise(TTL).example("64"),
    later(
        "max_hops",
        "N",
        "By how much the TTL of what is received may have gone down; -1: any.",
        MEANS,
        max_hops,
    )
    .range("-1..=255, at most ttl")
    .default("0"),
    later("multihop", "[BOOL]", "Use UDP port 4784 (RFC 5883), not 3784.", MEANS, |b: &mut B, c| {
        b.multihop = c.switch().or(b.multihop);
    })
    .default("false"),
    later(
        "weight",
        "N [reverse]",
        "Change of priority in track_bfd; with 0 down means FAULT.",
        MEANS,
        |b: &mut B, c| {
            b.weight = own_weight(c, 253).or(b.weight);
        },
    )
    .range("-253..=253")
    .default("0"),
    later(
        "vrrp",
        "",
        "Only VRRP is told of its state, unless checker is there too.",
        MEANS,
        |b: &mut B, _| b.vrrp = true,
    ),
    later(
        "checker",
        "",
        "Only BFD_CHECK is told of its state, unless vrrp is there too.",
        MEANS,
        |b: &mut B, _| {
            b.checker = true;
        },
    ),
];

const TTL: &str = "255; 64 with IPv6";

fn neighbor(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    builder.neighbor = call.address().map(|address| (address, span)).or(builder.neighbor);
}

fn ttl(builder: &mut B, call: &mut Call<'_, '_>) {
    builder.ttl = call.number_as::<u8>(1..=255).and_then(NonZeroU8::new).or(builder.ttl);
}

fn multiplier(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(found) = call.number_as::<u8>(1..=255).and_then(NonZeroU8::new) else { return };
    builder.multiplier = Some(found);
    if found.get() > 10 {
        let message = format!("`multiplier` {found} makes a failure show late");
        let help = "10 or less, and longer intervals if packets get lost";
        call.say(Diagnostic::warning(Kind::Lint, Some(span), message).help(help));
    }
}

fn max_hops(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(word) = call.word() else { return };
    if let Some(hops) = call.integer_in(word, -1..=255) {
        builder.max_hops = Some((u8::try_from(hops).ok(), span));
    }
}

/// An interval while the session is up.
fn interval(call: &mut Call<'_, '_>, low: u64) -> Option<Duration> {
    let span = call.head();
    let found = milliseconds(call, low..=LONGEST)?;
    if found > SLOW {
        let message = format!("{} is longer than 10 seconds", quote(call.name()));
        let help = "10000 or less: the number counts milliseconds";
        call.say(Diagnostic::warning(Kind::Lint, Some(span), message).help(help));
    }
    Some(found)
}

/// Milliseconds with at most three decimals.
fn milliseconds(call: &mut Call<'_, '_>, range: RangeInclusive<u64>) -> Option<Duration> {
    let word = call.word()?;
    let (low, high) = range.into_inner();
    let wanted = format!("milliseconds from {low} to {high}, with at most three decimals");
    match parse_milliseconds(word.text) {
        Ok(time) if (Duration::from_millis(low)..=Duration::from_millis(high)).contains(&time) => {
            return Some(time);
        }
        Ok(_) => call.bad(word, format!("{} is out of range", quote(word.text)), wanted),
        Err(why) => call.bad(word, format!("{} {why}", quote(word.text)), wanted),
    }
    None
}

fn parse_milliseconds(text: &str) -> Result<Duration, &'static str> {
    let thousandfold = parse_seconds(text)?;
    if thousandfold.subsec_micros() % 1000 != 0 {
        return Err("has more than three decimals");
    }
    // Exact: there are no more than three decimals.
    Ok(thousandfold / 1000)
}

/// Lowers `bfd_instance NAME { … }`.
pub(super) fn lower(_root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let before = call.context.lost.len();
    let mut builder = BfdBuilder::default();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    let Some((neighbor, place)) = builder.neighbor else {
        incomplete(call, name, &["neighbor_ip", "neighbour_ip"], "add `neighbor_ip ADDR`", before);
        return;
    };
    if is_second(call, name, call.context.spans.bfd_instance(name.text))
        || !may_be(call, &builder, name, neighbor, place)
    {
        return;
    }
    let built_in = TABLE.defaults(call.context);
    let usual = if neighbor.is_ipv4() { NonZeroU8::MAX } else { NonZeroU8::MIN.saturating_add(63) };
    let ttl = builder.ttl.unwrap_or(usual);
    let (mut max_hops, hops_place) = builder.max_hops.or(built_in.max_hops).expect("max_hops has a default");
    if max_hops.is_some_and(|hops| hops > ttl.get()) {
        let message = format!("`max_hops` is more than the TTL of {ttl}: {ttl} is used");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(hops_place), message)
                .help("a number that is at most `ttl`, or -1")
                .fix(hops_place, format!("max_hops {ttl}")),
        );
        max_hops = Some(ttl.get());
    }
    let lowered = BfdInstance {
        neighbor,
        source: builder.source.map(|(source, _)| source),
        min_rx: builder.min_rx.or(built_in.min_rx).expect("min_rx has a default"),
        min_tx: builder.min_tx.or(built_in.min_tx).expect("min_tx has a default"),
        idle_tx: builder.idle_tx.or(built_in.idle_tx).expect("idle_tx has a default"),
        multiplier: builder.multiplier.or(built_in.multiplier).expect("multiplier has a default"),
        passive: builder.passive,
        ttl,
        max_hops,
        multihop: builder.multihop.or(built_in.multihop).unwrap_or_default(),
        consumers: match (builder.vrrp, builder.checker) {
            (true, false) => BfdConsumers::Vrrp,
            (false, true) => BfdConsumers::Checkers,
            _ => BfdConsumers::Both,
        },
    };
    let weight = builder.weight.or(built_in.weight).expect("weight has a default");
    let context = &mut *call.context;
    let ends = context.bfd_ends.entry((neighbor, lowered.multihop)).or_default();
    let name_of: Arc<str> = Arc::from(name.text);
    ends.insert(lowered.source, name_of.clone());
    context.spans.bfd_instances.insert(name.text.to_owned(), name.span);
    context.bfd_instances.insert(name_of, (lowered, weight));
}

/// Whether a session can be this one; if not it is said that it is left out.
fn may_be(call: &mut Call<'_, '_>, builder: &B, name: Word<'_>, neighbor: IpAddr, place: Span) -> bool {
    let left_out = |message: String, span: Span| {
        Diagnostic::warning(Kind::BadValue, Some(span), message)
            .label(format!("bfd_instance {} is left out", quote(name.text)))
    };
    if name.text.len() > MOST_LETTERS {
        let message = format!("the name {} is longer than {MOST_LETTERS} characters", quote(name.text));
        call.say(left_out(message, name.span).help("shorten it, also where it is tracked"));
        return false;
    }
    if let Some((source, span)) = builder.source
        && source.is_ipv4() != neighbor.is_ipv4()
    {
        let message = format!("the source {source} and the neighbour {neighbor} are of different families");
        let help = "give both as IPv4 or both as IPv6";
        call.say(left_out(message, span).related(Some(place), "the neighbour").help(help));
        return false;
    }
    // What arrives could belong to either.
    let source = builder.source.map(|(source, _)| source);
    let sources = call.context.bfd_ends.get(&(neighbor, builder.multihop.unwrap_or_default()));
    let same = sources.and_then(|sources| match source {
        None => sources.values().next(),
        Some(_) => sources.get(&source).or_else(|| sources.get(&None)),
    });
    if let Some(other) = same {
        let message = format!("bfd_instance {} has the same ends", quote(other));
        let first = call.context.spans.bfd_instance(other);
        let help = "remove one of them, or give each its own `source_ip`";
        call.say(left_out(message, place).related(first, "it is here").help(help));
        return false;
    }
    true
}

/// Longest name in octets.
const MOST_LETTERS: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_decimals() {
        for (text, want) in [
            ("10", Ok(10_000)),
            ("1.001", Ok(1_001)),
            (".5", Ok(500)),
            ("1.0010", Ok(1_001)),
            ("1.0001", Err("has more than three decimals")),
            ("x", Err("is not a time")),
        ] {
            assert_eq!(parse_milliseconds(text).map(|time| time.as_micros()), want, "{text}");
        }
    }
}

//! global_defs: packet filter.

use std::collections::HashSet;
use std::num::NonZeroU32;

use lbd_vrrp::Priority;

use super::super::call::Call;
use super::super::{Part, Row, later, row};
use super::GlobalBuilder;
use super::names::{cut, text};
use crate::config::{Config, Ipsets, Iptables, LinkMode};
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    later("vrrp_iptables", "[IN [OUT]]", "Chains of iptables for the rules; without names INPUT and OUTPUT.", NFTABLES, |b: &mut B, c| {
        b.rest.iptables = iptables(c).or(b.rest.iptables.take());
    })
    .range("two different names of at most 28 octets")
    .otherwise("iptables is not used")
    .example("INPUT OUTPUT"),
    later(
        "vrrp_ipsets",
        "[ADDR4 [ADDR6 [IF6 [IGMP [MLD [ND]]]]]]",
        "Sets for the rules of iptables; without names none are used.",
        NFTABLES,
        |b: &mut B, c| {
            if !c.has_more() {
                b.rest.ipsets = None;
            } else if let Some(found) = ipsets(c) {
                b.rest.ipsets = Some(found);
            }
        },
    )
    .range("different names of at most 31 octets; missing ones follow from the first")
    .default("keepalived"),
    row("nftables", "[TABLE]", "Table of nftables for the rules; without a name keepalived.", |b: &mut B, c| {
        let table = table(c, TABLE);
        c.once(&mut b.rest.nftables.table, table);
    })
    .by(Part::Network)
    .otherwise("used as soon as an instance needs rules and no other keyword says where")
    .example("keepalived"),
    row("nftables_priority", "N", "Priority of its chains.", |b: &mut B, c| {
        priority(c, &mut b.rest.nftables.priority);
    })
    .by(Part::Network)
    .range(INT)
    .default("-1"),
    later("nftables_ifindex", "", "Its rules match interfaces by number, not by name.", "they match names", |b: &mut B, _| {
        b.rest.nftables.by_index = true;
    }),
    later(
        "nftables_ipvs",
        "[TABLE]",
        "Virtual server groups become one service by a mark that nftables sets, in this table; without a name keepalived_ipvs.",
        NO_MARKS,
        |b: &mut B, c| {
            let table = table(c, "keepalived_ipvs");
            c.once(&mut b.rest.nftables_ipvs.table, table);
        },
    )
    .otherwise("each address of a group is a service")
    .example("keepalived_ipvs"),
    later("nftables_ipvs_priority", "N", "Priority of its chain.", NO_MARKS, |b: &mut B, c| {
        priority(c, &mut b.rest.nftables_ipvs.priority);
    })
    .range(INT)
    .default("-1"),
    later("nftables_ipvs_start_fwmark", "N", "First mark that it sets.", NO_MARKS, |b: &mut B, c| {
        let mark = c.number_as::<u32>(1..=u32::MAX.into()).and_then(NonZeroU32::new);
        b.rest.nftables_ipvs.first_mark = mark.unwrap_or(b.rest.nftables_ipvs.first_mark);
    })
    .range("1..=4294967295")
    .default("1000"),
    row("nftables_counters", "", "Its rules count packets.", |b: &mut B, _| {
        b.rest.nftables.counters = true;
    })
    .by(Part::Network),
];

const NFTABLES: &str = "rules are made with nftables all the same";
const NO_MARKS: &str = "each address of a group gets a service of its own";
/// The table without a name, and where it is used by itself.
const TABLE: &str = "keepalived";
const INT: &str = "-2147483648..=2147483647";

fn priority(call: &mut Call<'_, '_>, slot: &mut i32) {
    let Some(word) = call.word() else { return };
    let found = call.integer_in(word, i32::MIN.into()..=i32::MAX.into());
    *slot = found.and_then(|found| i32::try_from(found).ok()).unwrap_or(*slot);
}

fn table(call: &mut Call<'_, '_>, otherwise: &str) -> Option<String> {
    if call.has_more() { text(call) } else { Some(otherwise.to_owned()) }
}

/// As soon as an instance needs rules and no keyword says where, they are in nftables.
pub(in super::super) fn resolve_nftables(config: &mut Config) {
    let global = &mut config.global;
    if global.iptables.is_some() || global.nftables.table.is_some() {
        return;
    }
    let needs = config.vrrp_instances.iter().any(|instance| {
        let drops = !instance.router.accept && instance.router.priority != Priority::OWNER;
        drops || matches!(instance.link, LinkMode::Vmac(_))
    });
    if needs {
        global.nftables.table = Some(TABLE.to_owned());
    }
}

/// A name that is not longer than the kernel takes.
fn short(call: &mut Call<'_, '_>, most: usize) -> Option<String> {
    let word = call.optional()?;
    if word.text.is_empty() || word.text.len() > most {
        let found = format!("{} is not a name of 1 to {most} octets", quote(word.text));
        call.bad(word, found, "shorten it");
        return None;
    }
    Some(word.text.to_owned())
}

/// XT_EXTENSION_MAXNAMELEN without its end.
const LONGEST_CHAIN: usize = 28;
/// IPSET_MAXNAMELEN without its end.
const LONGEST_SET: usize = 31;

fn iptables(call: &mut Call<'_, '_>) -> Option<Iptables> {
    if !call.has_more() {
        return Some(Iptables { input: "INPUT".into(), output: Some("OUTPUT".into()) });
    }
    let input = short(call, LONGEST_CHAIN)?;
    if !call.has_more() {
        return Some(Iptables { input, output: None });
    }
    let output = short(call, LONGEST_CHAIN)?;
    if input == output {
        call.differ(&input);
        return None;
    }
    Some(Iptables { input, output: Some(output) })
}

/// Names that are missing follow from the first.
fn ipsets(call: &mut Call<'_, '_>) -> Option<Ipsets> {
    let address4 = short(call, LONGEST_SET)?;
    let mut next = |suffix: &str| {
        if call.has_more() {
            short(call, LONGEST_SET)
        } else {
            let stem = cut(&address4, LONGEST_SET - suffix.len());
            Some(format!("{stem}{suffix}"))
        }
    };
    let (address6, interface6) = (next("6")?, next("_if6")?);
    let (igmp, mld, nd) = (next("_igmp")?, next("_mld")?, next("_nd")?);
    let sets = Ipsets { address4, address6, interface6, igmp, mld, nd };
    let mut seen = HashSet::new();
    if let Some(twice) = sets.names().into_iter().find(|name| !seen.insert(*name)) {
        call.differ(twice);
        return None;
    }
    Some(sets)
}

impl Call<'_, '_> {
    /// Names of one line must differ.
    fn differ(&mut self, twice: &str) {
        let name = self.name();
        let head = self.head();
        let message = format!("{}: {} is there twice, given or derived", quote(name), quote(twice));
        self.say(
            Diagnostic::warning(Kind::BadValue, Some(head), message)
                .label("ignored")
                .help("give each its own name"),
        );
    }
}

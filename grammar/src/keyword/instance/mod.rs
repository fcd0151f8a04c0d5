//! vrrp_instance.
//!
//! Here: what an instance collects, and its table. Not here: its rows by theme (`election`, `packets`,
//! `link`, `authentication`, `rest`), what becomes of them together (`resolve`), lines of addresses and
//! trackers (`address`, `tracking`).

pub(super) mod authentication;
mod election;
mod link;
mod packets;
mod rest;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::{Family, Peer, Priority, TrackerId, UnicastChecksum, Version, VirtualAddress, Weight};

use super::call::Call;
use super::global::GarpBuilder;
use super::{Part, Row, Table, WhenAbsent, row};
use crate::config::{GarpExtra, Ipvlan, PreemptSync, Route, Rule, Vmac, VrrpNotify};
use crate::source::Span;
use crate::tree::Word;

pub(super) use super::resolve::instance::{Found, conflicts, lower};
pub use authentication::hmac_key;
pub(super) use authentication::{AUTH_HMAC, AUTHENTICATION};
use authentication::{AuthenticationBuilder, HmacBuilder};
pub(super) use packets::PEER_OPTIONS;

/// What an instance says.
#[derive(Default)]
pub(crate) struct InstanceBuilder {
    /// How many statements were lost before this block.
    pub lost_before: usize,
    pub master: Option<bool>,
    pub interface: Option<(String, Span)>,
    pub vrf: Option<(String, Span)>,
    pub vrid: Option<(NonZeroU8, Span)>,
    pub priority: Option<Priority>,
    pub version: Option<(Version, Span)>,
    /// As the first keyword that has one says.
    pub family: Option<(Family, Span)>,
    pub advert_interval: Option<(Duration, Span)>,
    pub down_timer_adverts: Option<(u8, Span)>,
    pub nopreempt: Option<Span>,
    pub preempt_delay: Option<(Duration, Span)>,
    pub preempt_sync: PreemptSync,
    pub late_backup: Option<(Priority, Span)>,
    pub strict: Option<bool>,
    pub debug: u8,
    pub receive_buffer: Option<u32>,
    /// The first keyword that only makes sense with peers.
    pub unicast: Option<Span>,
    pub fault_without_peer: bool,
    pub peers: Vec<(Peer, Span)>,
    pub check_source: bool,
    pub unicast_ttl: Option<(u8, Span)>,
    pub source: Option<(IpAddr, Span)>,
    pub group: Option<(IpAddr, Span)>,
    pub track_source: bool,
    pub unicast_checksum: UnicastChecksum,
    pub checksum_without_pseudo_header: Option<bool>,
    pub accept: Option<(bool, Span)>,
    pub vmac: Option<(Vmac, Span)>,
    pub mac_ends_in_vrid: bool,
    pub ipvlan: Option<(Ipvlan, Span)>,
    pub vmac_addresses: bool,
    pub advert_on_parent: Option<Span>,
    pub promote_secondaries: Option<Span>,
    pub polls_link: Option<Span>,
    pub authentication: Option<AuthenticationBuilder>,
    pub hmac: Option<HmacBuilder>,
    pub addresses: Vec<(VirtualAddress, Span)>,
    pub excluded: Vec<(VirtualAddress, Span)>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    pub garp: GarpBuilder,
    pub garp_extra: Option<(GarpExtra, Span)>,
    pub lower_priority_no_advert: Option<(bool, Span)>,
    pub higher_priority_send_advert: Option<(bool, Span)>,
    pub skip_address_check: Option<bool>,
    pub owner_ignore_adverts: Option<(bool, Span)>,
    pub scripts: Vec<(TrackerId, Weight, Span)>,
    pub files: Vec<(Arc<str>, Weight, Span)>,
    pub processes: Vec<(Arc<str>, Weight, Span)>,
    pub bfd: Vec<(Arc<str>, Weight, Span)>,
    pub interfaces: Vec<(String, Weight, Span)>,
    pub dont_track_primary: bool,
    pub no_addresses_wanted: Option<Span>,
    pub notify: VrrpNotify,
    pub tells_deleted: bool,
    pub tells_priority: Option<bool>,
    pub mail: Option<bool>,
    pub sync_daemon: Option<(String, Span)>,
}

impl InstanceBuilder {
    /// Whether `address` is of the instance's family, which it decides if nothing before it did; says so
    /// if it is not.
    pub fn fits(&mut self, what: &str, address: IpAddr, word: Word<'_>, call: &mut Call<'_, '_>) -> bool {
        let family = Family::of(address);
        let (own, _) = *self.family.get_or_insert((family, word.span));
        if own != family {
            let message = format!("{what} {address} is {family}, the instance {own}");
            call.say(
                crate::Diagnostic::warning(crate::Kind::BadValue, Some(word.span), message)
                    .label("ignored")
                    .help("remove it"),
            );
        }
        own == family
    }
}

/// What the rows fill.
type B = InstanceBuilder;
type Rows = &'static [Row<InstanceBuilder>];

pub(crate) static TABLE: Table<InstanceBuilder> = Table {
    name: "vrrp_instance",
    part: Part::Vrrp,
    rows: &[
        election::ROWS,
        packets::ROWS,
        link::ROWS,
        authentication::ROWS,
        TRACKING,
        ADDRESSES,
        rest::NOTIFY,
        rest::GARP,
    ],
};

/// Whether a keyword of instances, if it is one, has its default from this one of global_defs.
pub(super) fn inherits(name: &str, global: &str) -> bool {
    TABLE.rows().find(|row| row.keyword.name == name).is_none_or(
        |row| matches!(row.keyword.default, WhenAbsent::Said(default) if default.contains(global)),
    )
}

/// Says that the second of two equal things is ignored.
pub(super) fn duplicate(call: &mut Call<'_, '_>, span: Span, before: Span, what: &str) {
    call.say(
        crate::Diagnostic::warning(crate::Kind::BadValue, Some(span), format!("{what} is given twice"))
            .label("ignored")
            .related(Some(before), "first here")
            .help("remove one of them"),
    );
}

pub(super) const NO_BFD: &str = "the sessions are not tracked";

const TRACKING: Rows = &[
    row("track_interface", "{ IF [weight N [reverse]] … }", "Interfaces to track.", |b: &mut B, c| {
        b.interfaces.extend(super::tracking::interfaces(c));
    })
    .block()
    .example("eth7 weight -20"),
    row(
        "track_script",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Scripts to track.",
        |b: &mut B, c| {
            b.scripts.extend(super::tracking::scripts(c));
        },
    )
    .block(),
    row(
        "track_file",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Files with a number to track.",
        |b: &mut B, c| b.files.extend(super::tracking::files(c)),
    )
    .opens("track_script"),
    row(
        "track_process",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Processes to track.",
        |b: &mut B, c| b.processes.extend(super::tracking::processes(c)),
    )
    .opens("track_script"),
    super::later(
        "track_bfd",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "BFD sessions to track.",
        NO_BFD,
        |b: &mut B, c| b.bfd.extend(super::tracking::bfd(c)),
    )
    .opens("track_script"),
];

const ADDRESSES: Rows = &[
    row(
        "virtual_ipaddress",
        "{ ADDR[/LEN] [dev IF] [scope S] [brd B] [label L] … }",
        "Addresses of the master, which adverts list.",
        |b: &mut B, c| {
            for (vip, span) in super::address::addresses(c) {
                b.family.get_or_insert((Family::of(vip.address), span));
                b.addresses.push((vip, span));
            }
        },
    )
    .block()
    .by(Part::Network)
    .example("192.0.2.1/24"),
    row(
        "virtual_ipaddress_excluded",
        "{ ADDR[/LEN] … }",
        "Addresses of the master that adverts do not list, of any family.",
        |b: &mut B, c| {
            b.excluded.extend(super::address::addresses(c));
        },
    )
    .opens("virtual_ipaddress")
    .by(Part::Network)
    .example("2001:db8::1/64"),
    row("no_virtual_ipaddress", "", "The instance is meant to have no address.", |b: &mut B, c| {
        b.no_addresses_wanted = Some(c.place());
    }),
    row("virtual_routes", "{ ROUTE … }", "Routes of the master.", |b: &mut B, c| {
        b.routes.extend(super::route::routes(c, false));
    })
    .block()
    .by(Part::Network)
    .example("192.0.2.0/24 via 198.51.100.1 dev eth0"),
    row("virtual_rules", "{ RULE … }", "Routing rules of the master.", |b: &mut B, c| {
        b.rules.extend(super::rule::rules(c, false));
    })
    .block()
    .by(Part::Network)
    .example("from 192.0.2.0/24 table 100 preference 100"),
];

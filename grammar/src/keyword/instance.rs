//! vrrp_instance.
//!
//! Here: its rows. Not here: what becomes of them together (`resolve`), lines of addresses and
//! trackers (`address`, `tracking`).

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use lbd_vrrp::{Priority, TrackerId, VirtualAddress, Weight};

use super::call::Call;
use super::global::{GarpBuilder, NO_FIFO, NO_V3, NO_VMAC};
use super::{Part, Row, Table, global, row, unserved};
use crate::config::VrrpNotify;
use crate::diagnostic::quote;
use crate::source::Span;

pub(super) use super::resolve::instance::{Found, conflicts, lower};

/// What an instance says.
#[derive(Default)]
pub(crate) struct InstanceBuilder {
    pub master: Option<bool>,
    pub interface: Option<(String, Span)>,
    pub vrid: Option<(NonZeroU8, Span)>,
    pub priority: Option<Priority>,
    pub version: Option<(u8, Span)>,
    pub native_ipv6: Option<Span>,
    pub advert_interval: Option<(Duration, Span)>,
    pub down_timer_adverts: Option<u8>,
    pub nopreempt: Option<Span>,
    pub preempt_delay: Option<(Duration, Span)>,
    /// The first keyword that only makes sense with peers.
    pub unicast: Option<Span>,
    pub peers: Vec<(IpAddr, Span)>,
    pub check_source: bool,
    pub unicast_ttl: Option<(u8, Span)>,
    pub source: Option<(IpAddr, Span)>,
    pub group: Option<Ipv4Addr>,
    pub track_source: bool,
    pub authentication: Option<AuthenticationBuilder>,
    pub addresses: Vec<(VirtualAddress, Span)>,
    pub excluded: Vec<(VirtualAddress, Span)>,
    pub garp: GarpBuilder,
    pub lower_priority_no_advert: Option<bool>,
    pub higher_priority_send_advert: Option<bool>,
    pub skip_address_check: Option<bool>,
    pub owner_ignore_adverts: Option<(bool, Span)>,
    pub scripts: Vec<(TrackerId, Weight, Span)>,
    pub interfaces: Vec<(String, Weight, Span)>,
    pub dont_track_primary: bool,
    pub no_addresses_wanted: bool,
    pub notify: VrrpNotify,
}

/// authentication
#[derive(Default)]
pub(crate) struct AuthenticationBuilder {
    pub place: Option<Span>,
    pub pass: bool,
    /// AH was asked for and reported.
    pub unserved: bool,
    pub password: Option<[u8; 8]>,
}

/// What the rows below fill.
type B = InstanceBuilder;

pub(crate) static TABLE: Table<InstanceBuilder> = Table {
    name: "vrrp_instance",
    part: Part::Vrrp,
    rows: &[ELECTION, PACKETS, TRACKING, ADDRESSES, NOTIFY, GARP],
};

type Rows = &'static [Row<InstanceBuilder>];

const ELECTION: Rows = &[
    row("state", "MASTER|BACKUP", "State to begin with.", |b: &mut B, c| {
        // A word that is neither counts as BACKUP.
        b.master = Some(c.choice(&[("MASTER", true), ("BACKUP", false)]).unwrap_or_default());
    })
    .otherwise("MASTER with priority 255, else BACKUP"),
    row("interface", "IF", "Interface of the adverts.", |b: &mut B, c| {
        let span = c.head();
        let Some(word) = c.word() else { return };
        if word.text == "lo" {
            c.bad(
                word,
                "VRRP cannot run on the loopback interface",
                "name the interface to the other routers",
            );
            return;
        }
        b.interface = c.interface_in(word).map(|name| (name, span)).or(b.interface.take());
    })
    .otherwise("required"),
    unserved("vrf", "IF", "VRF of an instance without interface.", "the interface's own is used"),
    row("virtual_router_id", "N", "Virtual router identifier.", |b: &mut B, c| {
        let span = c.head();
        let vrid = c.number_as::<u8>(1..=255).and_then(NonZeroU8::new);
        b.vrid = vrid.map(|vrid| (vrid, span)).or(b.vrid);
    })
    .range("1..=255")
    .otherwise("required"),
    row("priority", "N", "Base priority; 255 is the address owner.", |b: &mut B, c| {
        // A bad value counts as the default.
        b.priority = Some(c.number_as(1..=255).map_or(Priority::DEFAULT, Priority));
    })
    .range("1..=255")
    .otherwise("100; 255 with state MASTER"),
    row("version", "2|3", "VRRP version.", |b: &mut B, c| {
        let span = c.head();
        b.version = c.choice(&[("2", 2), ("3", 3)]).map(|version| (version, span)).or(b.version);
    })
    .otherwise("vrrp_version"),
    row("native_ipv6", "", "An IPv6 instance.", |b: &mut B, c| b.native_ipv6 = Some(c.place())),
    row("advert_int", "SECS", "Advertisement interval.", |b: &mut B, c| {
        let span = c.head();
        let interval = c.timer(Duration::from_millis(10), Duration::from_secs(255));
        b.advert_interval = interval.map(|interval| (interval, span)).or(b.advert_interval);
    })
    .range("0.01..=255; version 2 counts whole seconds")
    .default("1"),
    row("down_timer_adverts", "N", "Adverts missed before the master is down.", |b: &mut B, c| {
        b.down_timer_adverts = c.number_as(1..=100).or(b.down_timer_adverts);
    })
    .range("1..=100")
    .otherwise("vrrp_down_timer_adverts"),
    row("nopreempt", "", "Leave a master of lower priority alone.", |b: &mut B, c| {
        b.nopreempt = Some(c.place())
    }),
    row("preempt", "", "Undo nopreempt.", |b: &mut B, _| b.nopreempt = None),
    row("preempt_delay", "SECS", "Wait before taking over from a lower priority.", |b: &mut B, c| {
        let span = c.head();
        let delay = c.timer(Duration::ZERO, Duration::from_secs(1000));
        b.preempt_delay = delay.map(|delay| (delay, span)).or(b.preempt_delay);
    })
    .range("0..=1000")
    .default("0"),
    unserved("timer_expired_backup", "[PRIO]", "Step down when late.", "it has no effect"),
    unserved("thread_timer_expired", "[PRIO]", "Old name of timer_expired_backup.", "it has no effect"),
    unserved("strict_mode", "[BOOL]", "Hold to the RFC.", "the instance runs as without it"),
    row(
        "skip_check_adv_addr",
        "[BOOL]",
        "Compare addresses only when the sender changes.",
        |b: &mut B, c| {
            // As in keepalived any valid boolean switches it on, false too.
            b.skip_address_check = c.switch().map(|_| true).or(b.skip_address_check);
        },
    )
    .otherwise("vrrp_skip_check_adv_addr"),
    row("lower_prio_no_advert", "[BOOL]", "A master does not answer lower adverts.", |b: &mut B, c| {
        b.lower_priority_no_advert = c.switch().or(b.lower_priority_no_advert);
    })
    .otherwise("vrrp_lower_prio_no_advert"),
    row(
        "higher_prio_send_advert",
        "[BOOL]",
        "A master sends a last advert before it yields.",
        |b: &mut B, c| {
            b.higher_priority_send_advert = c.switch().or(b.higher_priority_send_advert);
        },
    )
    .otherwise("vrrp_higher_prio_send_advert"),
    row("owner_ignore_adverts", "[BOOL]", "The address owner drops adverts.", |b: &mut B, c| {
        let span = c.head();
        b.owner_ignore_adverts = c.switch().map(|on| (on, span)).or(b.owner_ignore_adverts);
    })
    .otherwise("vrrp_owner_ignore_adverts"),
    row("debug", "N", "No effect, here as in keepalived.", |_: &mut B, c| {
        c.number(0..=4);
    })
    .range("0..=4"),
    unserved("kernel_rx_buf_size", "BYTES", "Receive buffer.", "lbd sizes its buffers itself"),
];

const PACKETS: Rows = &[
    unserved("use_vmac", "[NAME] [MAC] …", "Virtual MAC interface.", NO_VMAC),
    unserved("use_vmac_addr", "", "Virtual MAC interfaces for addresses.", NO_VMAC),
    unserved("vmac_xmit_base", "", "Adverts on the parent.", NO_VMAC),
    unserved(
        "use_ipvlan",
        "[NAME] [ADDR] …",
        "ipvlan interface.",
        "addresses are put on the interface itself",
    ),
    row("unicast_peer", "{ ADDR … }", "Send to these instead of a group.", unicast_peer).block(),
    row("unicast_src_ip", "ADDR", "Source address of unicast adverts.", |b: &mut B, c| {
        b.unicast = b.unicast.or(Some(c.place()));
        source(b, c);
    })
    .otherwise("the interface's address"),
    row("mcast_src_ip", "ADDR", "Source address of multicast adverts.", source)
        .otherwise("the interface's address"),
    row("mcast_dst_ip", "ADDR", "Multicast group.", |b: &mut B, c| {
        b.group = c.multicast_group().or(b.group);
    })
    .otherwise("vrrp_mcast_group4"),
    row("track_src_ip", "", "FAULT while the configured source address is missing.", |b: &mut B, _| {
        b.track_source = true
    }),
    row("unicast_ttl", "N", "TTL of unicast adverts.", |b: &mut B, c| {
        let span = c.head();
        b.unicast_ttl = c.number_as(0..=255).map(|ttl| (ttl, span)).or(b.unicast_ttl);
    })
    .range("0..=255")
    .otherwise("255"),
    unserved("unicast_fault_no_peer", "", "FAULT when there is no peer.", "multicast is used then"),
    row("check_unicast_src", "", "Unicast adverts must come from a peer.", |b: &mut B, c| {
        b.unicast = b.unicast.or(Some(c.place()));
        b.check_source = true;
    })
    .otherwise("vrrp_check_unicast_src"),
    unserved("old_unicast_checksum", "[never]", "Version 3 checksum of old peers.", NO_V3),
    unserved("v3_checksum_as_v2", "[BOOL]", "Version 3 checksum without pseudo header.", NO_V3),
    row("accept", "", "Traffic to the virtual addresses is accepted, as it always is.", |_: &mut B, _| {}),
    unserved("no_accept", "", "Drop traffic to the virtual addresses.", "it is accepted"),
    unserved("promote_secondaries", "", "Kernel setting of the interface.", "set it with sysctl"),
    unserved("linkbeat_use_polling", "", "Poll the link.", "the kernel's link events are used"),
    row("dont_track_primary", "", "The own interface down is no fault.", |b: &mut B, _| {
        b.dont_track_primary = true
    }),
    row(
        "authentication",
        "{ auth_type … auth_pass … }",
        "Authentication of version 2.",
        |b: &mut B, c| {
            let mut found = AuthenticationBuilder { place: Some(c.place()), ..Default::default() };
            AUTHENTICATION.run(&mut found, c.body(), c.context);
            b.authentication = Some(found);
        },
    )
    .block(),
    unserved("auth_hmac", "{ … }", "Signed adverts.", "adverts are neither signed nor checked").block(),
];

pub(crate) static AUTHENTICATION: Table<AuthenticationBuilder> = Table {
    name: "authentication",
    part: Part::Vrrp,
    rows: &[&[
        row("auth_type", "PASS|AH", "Type.", |b: &mut AuthenticationBuilder, c| {
            let Some(word) = c.word() else { return };
            match c.choice_in(word, &[("PASS", true), ("AH", false)]) {
                Some(true) => b.pass = true,
                Some(false) => {
                    b.unserved = true;
                    c.context.unserved(
                        word.span,
                        "`auth_type AH`",
                        "adverts go without authentication; use PASS",
                    );
                }
                None => {}
            }
        })
        .otherwise("required"),
        row("auth_pass", "STRING", "Password.", auth_pass).range("at most 8 octets").otherwise("required"),
    ]],
};

/// The password itself is never part of a message.
fn auth_pass(builder: &mut AuthenticationBuilder, call: &mut Call<'_, '_>) {
    let Some(word) = call.word() else { return };
    let mut password = [0; 8];
    for (to, from) in password.iter_mut().zip(word.text.bytes()) {
        *to = from;
    }
    builder.password = Some(password);
    if word.text.len() > password.len() {
        let message = format!("`auth_pass` has {} octets; only the first 8 are used", word.text.len());
        call.say(
            crate::Diagnostic::warning(crate::Kind::Repaired, Some(call.place()), message)
                .help("shorten it to 8 octets on all routers"),
        );
    }
}

fn source(builder: &mut InstanceBuilder, call: &mut Call<'_, '_>) {
    let span = call.head();
    builder.source = call.address().map(|address| (address, span)).or(builder.source);
}

fn unicast_peer(builder: &mut InstanceBuilder, call: &mut Call<'_, '_>) {
    builder.unicast = builder.unicast.or(Some(call.place()));
    for line in super::tracking::lines(call) {
        let mut words = line.into_iter();
        let Some(first) = words.next() else { continue };
        let Some(address) = call.address_in(first) else { continue };
        if let Some((_, before)) = builder.peers.iter().find(|(peer, _)| *peer == address) {
            let before = *before;
            duplicate(call, first.span, before, &format!("peer {address}"));
            continue;
        }
        builder.peers.push((address, first.span));
        while let Some(option) = words.next() {
            if !matches!(option.text, "min_ttl" | "max_ttl") {
                call.bad(option, format!("{} is not known here", quote(option.text)), "one peer per line");
                continue;
            }
            // A limit also asks for the check of the source, which there is.
            builder.check_source = true;
            call.context.unserved(option.span, &quote(option.text), "any TTL of the peer is accepted");
            words.next();
        }
    }
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

const TRACKING: Rows = &[
    row("track_interface", "{ IF [weight N [reverse]] … }", "Interfaces to track.", |b: &mut B, c| {
        b.interfaces.extend(super::tracking::interfaces(c));
    })
    .block(),
    row(
        "track_script",
        "{ NAME [weight N [reverse|noreverse]] … }",
        "Scripts to track.",
        |b: &mut B, c| {
            b.scripts.extend(super::tracking::scripts(c));
        },
    )
    .block(),
    unserved("track_file", "{ NAME … }", "Files to track.", "the files are not tracked; use a vrrp_script")
        .block(),
    unserved(
        "track_process",
        "{ NAME … }",
        "Processes to track.",
        "the processes are not tracked; use a vrrp_script",
    )
    .block(),
    unserved("track_bfd", "{ NAME … }", "BFD sessions to track.", "the sessions are not tracked").block(),
];

const ADDRESSES: Rows = &[
    row(
        "virtual_ipaddress",
        "{ ADDR[/LEN] [dev IF] [scope S] [brd B] [label L] … }",
        "Addresses.",
        |b: &mut B, c| {
            b.addresses.extend(super::address::addresses(c));
        },
    )
    .block(),
    row(
        "virtual_ipaddress_excluded",
        "{ ADDR[/LEN] … }",
        "Addresses that are not advertised.",
        |b: &mut B, c| {
            b.excluded.extend(super::address::addresses(c));
        },
    )
    .block(),
    row("no_virtual_ipaddress", "", "It is meant to have no address.", |b: &mut B, _| {
        b.no_addresses_wanted = true
    }),
    unserved("virtual_routes", "{ ROUTE … }", "Routes of the master.", "the routes are not set").block(),
    unserved("virtual_rules", "{ RULE … }", "Routing rules of the master.", "the rules are not set").block(),
];

const NOTIFY: Rows = &[
    row("notify_master", "CMD [USER [GROUP]]", "Run when it becomes master.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.master, script);
    }),
    row("notify_backup", "CMD [USER [GROUP]]", "Run when it becomes backup.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.backup, script);
    }),
    row("notify_fault", "CMD [USER [GROUP]]", "Run when it has a fault.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.fault, script);
    }),
    row("notify_stop", "CMD [USER [GROUP]]", "Run when VRRP stops.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.stop, script);
    }),
    unserved("notify_deleted", "[CMD [USER [GROUP]]]", "Run when a reload removes it.", "it is not run"),
    row("notify", "CMD [USER [GROUP]]", "Run on every change, with what changed.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.any, script);
    }),
    row(
        "notify_master_rx_lower_pri",
        "CMD [USER [GROUP]]",
        "Run when a master hears a lower priority.",
        |b: &mut B, c| {
            let script = c.script();
            c.once(&mut b.notify.master_rx_lower_priority, script);
        },
    ),
    unserved("notify_priority_changes", "[BOOL]", "FIFO lines on priority changes.", NO_FIFO),
    unserved("smtp_alert", "[BOOL]", "Mail on a change of state.", global::NO_MAIL),
];

const GARP: Rows = &[
    row("garp_master_delay", "SECS", "Second burst after becoming master.", |b: &mut B, c| b.garp.delay(c))
        .range("0..=4294, 0 for none")
        .otherwise("vrrp_garp_master_delay"),
    row("garp_master_repeat", "N", "Gratuitous ARPs per address in a burst.", |b: &mut B, c| {
        b.garp.repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .otherwise("vrrp_garp_master_repeat"),
    row("garp_master_refresh", "SECS", "Period while master.", |b: &mut B, c| b.garp.refresh(c))
        .range("0..=4294967295, 0 for none")
        .otherwise("vrrp_garp_master_refresh"),
    row("garp_master_refresh_repeat", "N", "Gratuitous ARPs per refresh.", |b: &mut B, c| {
        b.garp.refresh_repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .otherwise("vrrp_garp_master_refresh_repeat"),
    row("garp_lower_prio_delay", "SECS", "Second burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_delay(c);
    })
    .range("0..=4294, 0 for none")
    .otherwise("vrrp_garp_lower_prio_delay"),
    row("garp_lower_prio_repeat", "N", "Burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_repeat(c)
    })
    .range("0..=2147483647, 0 for none, above 100 is 100")
    .otherwise("vrrp_garp_lower_prio_repeat"),
    unserved("garp_extra_if", "[all] SECS", "Gratuitous ARP on silent interfaces.", "none is sent there"),
    unserved("vmac_garp_intvl", "[all] SECS", "Old name of garp_extra_if.", "none is sent there"),
    unserved(
        "lvs_sync_daemon_interface",
        "IF",
        "Connection synchronisation.",
        "connections are not synchronised",
    ),
];

//! Who the virtual router is, its timing, and who becomes master.

use std::num::NonZeroU8;
use std::time::Duration;

use lbd_vrrp::{Family, Priority, Version};

use super::{B, Rows};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::row;

pub(super) const ROWS: Rows = &[
    row(
        "state",
        "MASTER|BACKUP",
        "State to begin with; MASTER also means priority 255 where none is given.",
        state,
    )
    .otherwise("MASTER with priority 255, else BACKUP")
    .example("BACKUP"),
    row("interface", "IF", "Interface of the adverts, and of addresses that name none.", |b: &mut B, c| {
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
    .otherwise("required, except with unicast from a given source address")
    .example("eth0"),
    row(
        "vrf",
        "IF",
        "VRF of an instance without interface.",
        |b: &mut B, c| {
            let span = c.head();
            b.vrf = c.interface().map(|name| (name, span)).or(b.vrf.take());
        },
    )
    .example("blue"),
    row(
        "virtual_router_id",
        "N",
        "Number of the virtual router, the same on all its routers.",
        |b: &mut B, c| {
            let span = c.head();
            let vrid = c.number_as::<u8>(1..=255).and_then(NonZeroU8::new);
            b.vrid = vrid.map(|vrid| (vrid, span)).or(b.vrid);
        },
    )
    .range("1..=255")
    .otherwise("required")
    .example("51"),
    row(
        "priority",
        "N",
        "Priority in the election; 255 is the router that owns the addresses.",
        |b: &mut B, c| {
            // A bad value counts as the default.
            b.priority = Some(c.number_as(1..=255).map_or(Priority::DEFAULT, Priority));
        },
    )
    .range("1..=255")
    .otherwise("100; 255 with state MASTER")
    .example("150"),
    row("version", "2|3", "VRRP version.", version).otherwise("vrrp_version; 3 with IPv6").example("2"),
    row("native_ipv6", "", "An IPv6 instance of version 3.", |b: &mut B, c| {
        let place = c.place();
        if let Some((Family::V4, before)) = b.family {
            c.say(
                Diagnostic::warning(Kind::BadValue, Some(place), "`native_ipv6` in an IPv4 instance")
                    .label("ignored")
                    .related(Some(before), "an IPv4 address stands here")
                    .help("remove it, or use IPv6 addresses"),
            );
            return;
        }
        b.family = Some((Family::V6, place));
        b.version = Some((Version::V3, place));
    }),
    row("advert_int", "SECS", "Time between two adverts of the master.", |b: &mut B, c| {
        let span = c.head();
        let interval = c.timer(Duration::from_millis(10), Duration::from_secs(255));
        b.advert_interval = interval.map(|interval| (interval, span)).or(b.advert_interval);
    })
    .range("0.01..=255; version 2 counts whole seconds, version 3 hundredths up to 40.95")
    .default("1"),
    row("down_timer_adverts", "N", "Adverts missed before the master is down.", |b: &mut B, c| {
        let span = c.head();
        b.down_timer_adverts = c.number_as(1..=100).map(|count| (count, span)).or(b.down_timer_adverts);
    })
    .range("1..=100")
    .otherwise("vrrp_down_timer_adverts; 3 with strict_mode")
    .example("3"),
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
    row(
        "preempt_sync_time",
        "SECS",
        "lbd's own: after a start, leave a master of lower priority alone until connections were synchronised so long.",
        |b: &mut B, c| {
            b.preempt_sync.time = c.seconds(1..=DAY).or(b.preempt_sync.time);
        },
    )
    .range("1..=86400")
    .otherwise("it is not waited for")
    .example("30"),
    row(
        "preempt_sync_share",
        "PERCENT URL",
        "lbd's own: the same, until so much of the connections that the peer's status at URL shows are known here.",
        preempt_sync_share,
    )
    .range("1..=100, and http://HOST[:PORT]/PATH that answers with the JSON of lbctl status")
    .otherwise("the peer is not asked")
    .example("80 http://192.0.2.2:8080/status"),
    row(
        "preempt_sync_limit",
        "SECS",
        "lbd's own: longest wait of preempt_sync_time and preempt_sync_share after the start.",
        |b: &mut B, c| {
            b.preempt_sync.limit = c.seconds(1..=DAY).unwrap_or(b.preempt_sync.limit);
        },
    )
    .range("1..=86400")
    .default("300"),
    row(
        "timer_expired_backup",
        "[PRIO]",
        "A master that was late itself by the time a router of this priority would wait becomes backup.",
        late_backup,
    )
    .range("1..=254, 254 if it is not given")
    .otherwise("off")
    .example("100"),
    row("thread_timer_expired", "[PRIO]", "Old name of timer_expired_backup.", |b: &mut B, c| {
        late_backup(b, c);
        old_name(c, "timer_expired_backup");
    })
    .range("1..=254, 254 if it is not given")
    .otherwise("off")
    .example("100"),
    row(
        "strict_mode",
        "[BOOL]",
        "Hold to the RFC: no authentication, no unicast, three adverts, no traffic to addresses of others.",
        |b: &mut B, c| b.strict = c.switch().or(b.strict),
    )
    .otherwise("vrrp_strict")
    .example("false"),
    row(
        "skip_check_adv_addr",
        "[BOOL]",
        "Compare addresses only when the sender changes.",
        |b: &mut B, c| {
            // As in keepalived any valid boolean switches it on, false too.
            b.skip_address_check = c.switch().map(|_| true).or(b.skip_address_check);
        },
    )
    .otherwise("vrrp_skip_check_adv_addr")
    .example("true"),
    row("lower_prio_no_advert", "[BOOL]", "A master does not answer lower adverts.", |b: &mut B, c| {
        let span = c.head();
        b.lower_priority_no_advert = c.switch().map(|on| (on, span)).or(b.lower_priority_no_advert);
    })
    .otherwise("vrrp_lower_prio_no_advert; true with strict_mode")
    .example("true"),
    row(
        "higher_prio_send_advert",
        "[BOOL]",
        "A master sends a last advert before it yields.",
        |b: &mut B, c| {
            let span = c.head();
            b.higher_priority_send_advert = c.switch().map(|on| (on, span)).or(b.higher_priority_send_advert);
        },
    )
    .otherwise("vrrp_higher_prio_send_advert; false with strict_mode")
    .example("true"),
    row("owner_ignore_adverts", "[BOOL]", "The address owner drops adverts.", |b: &mut B, c| {
        let span = c.head();
        b.owner_ignore_adverts = c.switch().map(|on| (on, span)).or(b.owner_ignore_adverts);
    })
    .otherwise("vrrp_owner_ignore_adverts; true for an owner with strict_mode")
    .example("false"),
    row("debug", "N", "No effect, here as in keepalived.", |b: &mut B, c| {
        b.debug = c.number_as(0..=4).unwrap_or(b.debug);
        if b.debug > 0 && c.said().is_none() {
            c.powerless("lbd's log is as detailed as -D and LBD_LOG say; keepalived keeps the number and does nothing");
        }
    })
    .range("0..=4")
    .default("0"),
];

fn state(builder: &mut B, call: &mut Call<'_, '_>) {
    // A word that is neither counts as BACKUP.
    let master = call.choice(&[("MASTER", true), ("BACKUP", false)]);
    if builder.master == Some(true) && master == Some(false) {
        let place = call.head();
        call.say(
            Diagnostic::warning(Kind::BadValue, Some(place), "`state BACKUP` after `state MASTER`")
                .label("ignored")
                .help("remove one of them"),
        );
        return;
    }
    builder.master = Some(master.unwrap_or_default());
}

fn version(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(version) = call.choice(&[("2", Version::V2), ("3", Version::V3)]) else { return };
    match builder.version {
        Some((own, before)) if own != version => {
            let message =
                format!("`version {}` in an instance of version {}", version.number(), own.number());
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(span), message)
                    .label("ignored")
                    .related(Some(before), format!("version {} follows from this", own.number()))
                    .help("remove one of them"),
            );
        }
        _ => builder.version = Some((version, span)),
    }
}

/// A day in seconds.
const DAY: u64 = 86_400;

fn preempt_sync_share(builder: &mut B, call: &mut Call<'_, '_>) {
    let Some(percent) = call.number_as::<u8>(1..=100) else { return };
    let Some(word) = call.word() else { return };
    let host = word.text.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
    if host.is_none_or(str::is_empty) {
        let found = format!("{} is no http:// address", quote(word.text));
        return call.bad(word, found, "write http://HOST:PORT/PATH of the peer's status");
    }
    builder.preempt_sync.share = Some((percent, word.text.to_owned()));
}

fn late_backup(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let priority = match call.optional() {
        None => Some(254),
        Some(word) => call.number_in(word, 1..=254).and_then(|number| u8::try_from(number).ok()),
    };
    builder.late_backup = priority.map(|priority| (Priority(priority), span)).or(builder.late_backup);
}

/// Says that a keyword has a newer name.
pub(super) fn old_name(call: &mut Call<'_, '_>, new: &'static str) {
    if call.said().is_some() {
        return;
    }
    let (old, place) = (call.name(), call.place());
    call.context.report(
        Diagnostic::warning(Kind::Lint, Some(place), format!("{} is an old name", quote(old)))
            .help(format!("write `{new}`"))
            .fix(place, new),
    );
}

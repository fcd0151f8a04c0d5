//! Notifications, gratuitous ARP, and the connection synchronisation.

use std::time::Duration;

use super::election::old_name;
use super::{B, Rows};
use crate::config::GarpExtra;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::{Part, row};

pub(super) const NOTIFY: Rows = &[
    row("notify_master", "CMD [USER [GROUP]]", "Run when it becomes master.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.master, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/is-master"),
    row("notify_backup", "CMD [USER [GROUP]]", "Run when it becomes backup.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.backup, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/is-backup"),
    row("notify_fault", "CMD [USER [GROUP]]", "Run when it has a fault.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.fault, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/has-fault"),
    row("notify_stop", "CMD [USER [GROUP]]", "Run when VRRP stops.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.stop, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/stops"),
    row(
        "notify_deleted",
        "[CMD [USER [GROUP]]]",
        "Run when a reload removes it; also: such a removal is told as DELETED, not as FAULT.",
        |b: &mut B, c| {
            b.tells_deleted = true;
            if c.optional().is_some() {
                c.rewind();
                let script = c.script();
                c.once(&mut b.notify.deleted, script);
            }
        },
    )
    .by(Part::Notify)
    .example("/usr/local/bin/deleted"),
    row("notify", "CMD [USER [GROUP]]", "Run on every change, with what changed.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify.any, script);
    })
    .by(Part::Notify)
    .example("/usr/local/bin/changed"),
    row(
        "notify_master_rx_lower_pri",
        "CMD [USER [GROUP]]",
        "Run when a master hears a lower priority.",
        |b: &mut B, c| {
            let script = c.script();
            c.once(&mut b.notify.master_rx_lower_priority, script);
        },
    )
    .by(Part::Notify)
    .example("/usr/local/bin/lower"),
    row("notify_priority_changes", "[BOOL]", "FIFO lines when the priority changes.", |b: &mut B, c| {
        b.tells_priority = c.switch().or(b.tells_priority);
    })
    .otherwise("that of its vrrp_sync_group, else vrrp_notify_priority_changes")
    .by(Part::Notify)
    .example("true"),
    row("smtp_alert", "[BOOL]", "Mail on a change of state.", |b: &mut B, c| {
        b.mail = c.switch().or(b.mail);
    })
    .otherwise("smtp_alert_vrrp, else smtp_alert of global_defs, else off")
    .by(Part::Notify)
    .example("true"),
];

pub(super) const GARP: Rows = &[
    row("garp_master_delay", "SECS", "Second burst after becoming master.", |b: &mut B, c| b.garp.delay(c))
        .range("0..=4294, 0 for none")
        .otherwise("vrrp_garp_master_delay")
        .example("5"),
    row("garp_master_repeat", "N", "Gratuitous ARPs per address in a burst.", |b: &mut B, c| b.garp.repeat(c))
        .range("0..=4294967295, 0 is 1, above 100 is 100")
        .otherwise("vrrp_garp_master_repeat")
        .example("5"),
    row("garp_master_refresh", "SECS", "Time between two bursts while master.", |b: &mut B, c| b.garp.refresh(c))
        .range("0..=4294967295, 0 for none")
        .otherwise("vrrp_garp_master_refresh")
        .example("60"),
    row("garp_master_refresh_repeat", "N", "Gratuitous ARPs per address in such a burst.", |b: &mut B, c| {
        b.garp.refresh_repeat(c)
    })
    .range("0..=4294967295, 0 is 1, above 100 is 100")
    .otherwise("vrrp_garp_master_refresh_repeat")
    .example("1"),
    row("garp_lower_prio_delay", "SECS", "Second burst after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_delay(c);
    })
    .range("0..=4294, 0 for none")
    .otherwise("vrrp_garp_lower_prio_delay; 0 with strict_mode")
    .example("5"),
    row("garp_lower_prio_repeat", "N", "Gratuitous ARPs per address after a lower advert.", |b: &mut B, c| {
        b.garp.lower_priority_repeat(c)
    })
    .range("0..=2147483647, 0 for none, above 100 is 100")
    .otherwise("vrrp_garp_lower_prio_repeat; 0 with strict_mode")
    .example("5"),
    row(
        "garp_extra_if",
        "[all] SECS",
        "Gratuitous ARP from time to time on interfaces that send no adverts; all: not only virtual MAC ones.",
        |b: &mut B, c| garp_extra(b, c),
    )
    .range("0..=86400, 0 for none")
    .otherwise("vrrp_garp_extra_if")
    .example("60"),
    row("vmac_garp_intvl", "[all] SECS", "Old name of garp_extra_if.", |b: &mut B, c| {
        garp_extra(b, c);
        old_name(c, "garp_extra_if");
    })
    .range("0..=86400, 0 for none")
    .otherwise("vrrp_garp_extra_if")
    .example("60"),
    row(
        "lvs_sync_daemon_interface",
        "IF",
        "Old way to say lvs_sync_daemon IF with this instance in global_defs.",
        |b: &mut B, c| {
            let span = c.head();
            let interface = c.interface().map(|name| (name, span));
            let known = interface.is_some();
            c.once(&mut b.sync_daemon, interface);
            if known && c.said().is_none() {
                let message = format!("{} is an old way to say `lvs_sync_daemon`", quote(c.name()));
                c.say(
                    Diagnostic::warning(Kind::Lint, Some(span), message)
                        .help("write `lvs_sync_daemon IF inst NAME` in global_defs"),
                );
            }
        },
    )
    .example("eth0")
    .by(Part::Director),
];

fn garp_extra(builder: &mut B, call: &mut Call<'_, '_>) {
    let span = call.head();
    let Some(mut word) = call.word() else { return };
    let all = word.text == "all";
    if all {
        let Some(next) = call.word() else { return };
        word = next;
    }
    let Some(seconds) = call.number_in(word, 0..=86_400) else { return };
    builder.garp_extra = Some((GarpExtra { all, interval: Duration::from_secs(seconds) }, span));
}

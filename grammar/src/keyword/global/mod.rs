//! global_defs.
//!
//! Here: what its rows collect, and what that means. Not here: the rows (one file per section), and
//! what instances make of the defaults (`instance`, `resolve`).

mod filter;
mod lvs;
mod mail;
mod names;
mod process;
mod rest;
mod scheduling;
mod scripts;
mod snmp;
mod vrrp;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lbd_vrrp::{GratuitousArp, Version};

use super::call::Call;
use super::{Context, Part, Table, resolve};
use crate::config::{Fifos, GarpExtra, Global, ScriptUser, SyncDaemon, VrrpGlobal};
use crate::source::Span;

pub(super) use filter::resolve_nftables as nftables;
pub(super) use lvs::resolve_sync_daemon as sync_daemon;
pub(super) use process::ROWS as PROCESS_ROWS;

/// What global_defs says.
#[derive(Clone, Debug, Default)]
pub(crate) struct GlobalBuilder {
    pub script_user: Option<ScriptUser>,
    pub default_interface: Option<String>,
    pub group4: Option<Ipv4Addr>,
    pub group6: Option<Ipv6Addr>,
    pub version: Option<u8>,
    pub strict: Option<bool>,
    pub garp: GarpBuilder,
    pub garp_interval: Option<Duration>,
    pub gna_interval: Option<Duration>,
    pub garp_extra: Option<GarpExtra>,
    pub down_timer_adverts: Option<u8>,
    pub check_unicast_source: bool,
    pub lower_priority_no_advert: Option<bool>,
    pub higher_priority_send_advert: Option<bool>,
    pub skip_address_check: Option<bool>,
    pub owner_ignore_adverts: Option<bool>,
    pub v3_checksum_as_v2: Option<bool>,
    pub vmac_prefix: Option<String>,
    pub vmac_addr_prefix: Option<String>,
    pub notify_priority_changes: Option<bool>,
    pub smtp_alert: Option<bool>,
    pub smtp_alert_vrrp: Option<bool>,
    pub smtp_alert_checker: Option<bool>,
    pub checker_log_all_failures: Option<bool>,
    pub sync_daemon: Option<SyncDaemonBuilder>,
    pub fifos: scripts::FifoBuilders,
    pub real_server_statistics: Option<Duration>,
    /// What no other block inherits: complete, with its defaults from the beginning.
    pub rest: Global,
}

/// lvs_sync_daemon, whose instance may stand later in the file.
#[derive(Clone, Debug)]
pub(crate) struct SyncDaemonBuilder {
    /// Its id is 0 as long as `id` is none.
    pub daemon: SyncDaemon,
    pub id: Option<u8>,
    pub place: Span,
}

impl GlobalBuilder {
    /// Nothing said, on top of the rows' defaults.
    pub fn new(built_in: &GlobalBuilder) -> Self {
        Self { rest: built_in.rest.clone(), ..Self::default() }
    }

    /// Rules between the keywords, once all of them are there.
    pub fn settle(&mut self, context: &mut Context<'_>) {
        let states_on_reload = self.rest.fifos.states_on_reload;
        self.rest.fifos = Fifos { states_on_reload, ..scripts::fifos(&self.fifos, context) };
    }

    /// What global_defs means.
    pub fn resolved(self, context: &Context<'_>) -> Global {
        let Self { vmac_prefix, vmac_addr_prefix, default_interface, .. } = &self;
        let built_in = &context.global_built_in;
        let text =
            |own: &Option<String>, built_in: &Option<String>| own.as_ref().or(built_in.as_ref()).cloned();
        let garp = resolve::instance::garp(&GarpBuilder::default(), context);
        let flag = |own: Option<bool>, built_in: Option<bool>| own.or(built_in).unwrap_or_default();
        let vmac_prefix = text(vmac_prefix, &built_in.vmac_prefix).expect("vmac_prefix has a default");
        let vrrp = VrrpGlobal {
            version: match self.version.or(built_in.version) {
                Some(3) => Version::V3,
                _ => Version::V2,
            },
            strict: flag(self.strict, built_in.strict),
            group4: self.group4.or(built_in.group4).expect("vrrp_mcast_group4 has a default"),
            group6: self.group6.or(built_in.group6).expect("vrrp_mcast_group6 has a default"),
            garp,
            garp_interval: self.garp_interval.or(built_in.garp_interval).unwrap_or_default(),
            neighbour_interval: self.gna_interval.or(built_in.gna_interval).unwrap_or_default(),
            garp_extra: self.garp_extra,
            down_timer_adverts: self
                .down_timer_adverts
                .or(built_in.down_timer_adverts)
                .expect("vrrp_down_timer_adverts has a default"),
            lower_priority_no_advert: flag(self.lower_priority_no_advert, built_in.lower_priority_no_advert),
            higher_priority_send_advert: flag(
                self.higher_priority_send_advert,
                built_in.higher_priority_send_advert,
            ),
            check_unicast_source: self.check_unicast_source,
            skip_address_check: flag(self.skip_address_check, built_in.skip_address_check),
            owner_ignore_adverts: flag(self.owner_ignore_adverts, built_in.owner_ignore_adverts),
            v3_checksum_as_v2: self.v3_checksum_as_v2.unwrap_or_default(),
            vmac_addr_prefix: vmac_addr_prefix.clone().unwrap_or_else(|| vmac_prefix.clone()),
            vmac_prefix,
            ..self.rest.vrrp
        };
        let default_interface =
            text(default_interface, &built_in.default_interface).expect("default_interface has a default");
        let mut global = self.rest;
        global.vrrp = vrrp;
        global.script_user = self.script_user;
        global.default_interface = default_interface;
        global.mail.alert = self.smtp_alert;
        global.mail.alert_vrrp = self.smtp_alert_vrrp;
        global.mail.alert_checker = self.smtp_alert_checker;
        global.fifos.priority_changes = flag(self.notify_priority_changes, built_in.notify_priority_changes);
        global.log_all_failures = flag(self.checker_log_all_failures, built_in.checker_log_all_failures);
        global.snmp.real_server_interval =
            self.real_server_statistics.unwrap_or(global.snmp.virtual_server_interval);
        global.sync_daemon =
            self.sync_daemon.map(|found| SyncDaemon { id: found.id.unwrap_or_default(), ..found.daemon });
        global
    }
}

/// Gratuitous ARP, of global_defs or of an instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct GarpBuilder {
    pub delay: Option<Duration>,
    pub repeat: Option<u32>,
    pub refresh: Option<Duration>,
    pub refresh_repeat: Option<u32>,
    pub lower_priority_delay: Option<Duration>,
    pub lower_priority_repeat: Option<u32>,
}

impl GarpBuilder {
    pub fn delay(&mut self, call: &mut Call<'_, '_>) {
        self.delay = call.seconds(0..=4294).or(self.delay);
    }

    pub fn repeat(&mut self, call: &mut Call<'_, '_>) {
        self.repeat = repeat(call).or(self.repeat);
    }

    pub fn refresh(&mut self, call: &mut Call<'_, '_>) {
        self.refresh = call.seconds(0..=u32::MAX.into()).or(self.refresh);
    }

    pub fn refresh_repeat(&mut self, call: &mut Call<'_, '_>) {
        self.refresh_repeat = repeat(call).or(self.refresh_repeat);
    }

    pub fn lower_priority_delay(&mut self, call: &mut Call<'_, '_>) {
        self.lower_priority_delay = call.seconds(0..=4294).or(self.lower_priority_delay);
    }

    pub fn lower_priority_repeat(&mut self, call: &mut Call<'_, '_>) {
        let count = call.number_as(0..=0x7fff_ffff).map(|count| bounded(call, count));
        self.lower_priority_repeat = count.or(self.lower_priority_repeat);
    }

    /// vrrp_min_garp: what has its default yet gets the least.
    fn least(&mut self, built_in: &GarpBuilder) {
        fn least<T: Copy + PartialEq>(value: &mut Option<T>, built_in: Option<T>, least: T) {
            if value.is_none() || *value == built_in {
                *value = Some(least);
            }
        }
        least(&mut self.repeat, built_in.repeat, 1);
        least(&mut self.delay, built_in.delay, Duration::ZERO);
        least(&mut self.refresh, built_in.refresh, Duration::ZERO);
        least(&mut self.refresh_repeat, built_in.refresh_repeat, 1);
    }
}

/// A repeat of 0 counts as 1.
fn repeat(call: &mut Call<'_, '_>) -> Option<u32> {
    let count = call.number_as::<u32>(0..=u32::MAX.into())?;
    if count == 0 {
        call.repaired("of 0 is raised to 1", "a number from 1", 1);
        return Some(1);
    }
    Some(bounded(call, count))
}

/// A burst has its bounds.
fn bounded(call: &mut Call<'_, '_>, count: u32) -> u32 {
    let most = GratuitousArp::MOST_REPEATS;
    if count > most {
        call.repaired(format!("of {count} is reduced to {most}"), format!("a number up to {most}"), most);
    }
    count.min(most)
}

pub(crate) static TABLE: Table<GlobalBuilder> = Table {
    name: "global_defs",
    part: Part::Process,
    rows: &[
        names::ROWS,
        mail::ROWS,
        scripts::ROWS,
        scripts::FIFO_ROWS,
        vrrp::ROWS,
        vrrp::GARP_ROWS,
        filter::ROWS,
        scheduling::VRRP,
        scheduling::CHECKER,
        scheduling::BFD,
        scheduling::AUTOMATIC,
        lvs::ROWS,
        snmp::ROWS,
        snmp::BUFFER_ROWS,
        rest::ROWS,
    ],
};

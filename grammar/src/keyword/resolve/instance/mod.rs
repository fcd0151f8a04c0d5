//! From what a vrrp_instance says to what it means.
//!
//! Here: which instances there are, and their parts put together. Not here: keywords; the rules by
//! theme: `election`, `delivery`, `link`, `authentication`, `addresses`, `tracked`, `conflicts`.

mod addresses;
mod authentication;
mod conflicts;
mod delivery;
mod election;
mod link;
mod tracked;

use std::net::IpAddr;
use std::sync::Arc;

use lbd_vrrp::{Family, GratuitousArp, InstanceConfig, Priority, Version};

use crate::config::{GarpExtra, LinkMode, LinkbeatInterface, SyncDaemon, VrrpInstance};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::Context;
use crate::keyword::call::Call;
use crate::keyword::global::{GarpBuilder, SyncDaemonBuilder};
use crate::keyword::instance::{InstanceBuilder, TABLE, duplicate};
use crate::keyword::root::Root;
use crate::source::Span;
use crate::tree::Word;

pub(crate) use conflicts::conflicts;
pub(crate) use tracked::ids;

/// An instance and what its groups need to know.
pub(crate) struct Found {
    pub instance: VrrpInstance,
    pub vrid_place: Span,
    /// notify_priority_changes of its own.
    pub tells_priority: Option<bool>,
    /// Lines that track something with a weight.
    pub weighted: Vec<Span>,
}

/// What an instance is, as far as other rules depend on it.
#[derive(Clone, Copy)]
struct Nature {
    strict: bool,
    version: Version,
    family: Family,
    priority: Priority,
}

impl Nature {
    fn is_owner(self) -> bool {
        self.priority == Priority::OWNER
    }
}

/// Says that a keyword is put right, or has no effect.
fn repaired(call: &mut Call<'_, '_>, span: Option<Span>, message: impl Into<String>, help: &str) {
    call.say(Diagnostic::warning(Kind::Repaired, span, message).label("put right").help(help));
}

/// Says that a keyword has no effect.
fn powerless(call: &mut Call<'_, '_>, span: Option<Span>, message: impl Into<String>, help: &str) {
    call.say(Diagnostic::warning(Kind::Repaired, span, message).label("ignored").help(help));
}

/// Lowers `vrrp_instance NAME { … }`.
pub(crate) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let mut builder = InstanceBuilder { lost_before: call.context.lost.len(), ..Default::default() };
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    if let Some(before) = call.context.spans.instances.get(name.text).copied() {
        duplicate(call, name.span, before, &format!("vrrp_instance {}", quote(name.text)));
        return;
    }
    call.context.spans.instances.insert(name.text.to_owned(), name.span);
    if let (Some(_), Some((interface, _))) = (builder.polls_link, &builder.interface)
        && !root.config.linkbeat_interfaces.iter().any(|known| known.interface == *interface)
    {
        root.config
            .linkbeat_interfaces
            .push(LinkbeatInterface { interface: interface.clone(), method: None });
    }
    if let Some(found) = complete(builder, name, call) {
        root.instances.push(found);
    }
}

fn complete(mut builder: InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) -> Option<Found> {
    let lost = builder.lost_before;
    let missing = |call: &mut Call<'_, '_>, keyword: &str, help: &str| {
        let consequence = format!("vrrp_instance {} cannot run without it", quote(name.text));
        if call.context.condemn_lost(lost, TABLE.name, &[keyword], consequence) {
            return;
        }
        let message = format!("vrrp_instance {} has no usable `{keyword}`", quote(name.text));
        call.say(Diagnostic::error(Kind::Fatal, Some(name.span), message).help(help));
    };
    if builder.vrid.is_none() {
        missing(
            call,
            "virtual_router_id",
            "add `virtual_router_id N`, N from 1 to 255, the same on all its routers",
        );
    }
    let needs_interface = builder.peers.is_empty() || builder.source.is_none();
    if builder.interface.is_none() && needs_interface {
        missing(call, "interface", "add `interface NAME`");
        return None;
    }
    let (vrid, vrid_place) = builder.vrid?;

    let nature = election::nature(&mut builder, name, call);
    election::preemption(&mut builder, nature, call);
    let advert_interval = election::advert_interval(&builder, nature, call);
    let down_timer_adverts = election::down_timer_adverts(&builder, nature, call);
    let (lower_priority_no_advert, higher_priority_send_advert) = election::answers(&builder, nature, call);
    let accept = election::accept(&builder, nature, call);
    let authentication = authentication::resolve(&mut builder, nature, advert_interval, call);
    let delivery = delivery::delivery(&mut builder, nature, call);
    let source = delivery::source(&builder, call);
    let vrf = delivery::vrf(&mut builder, call);
    let addresses = addresses::addresses(&mut builder, nature, &authentication, name, call);
    let link = link::link(&mut builder, nature, vrid, &delivery, call);
    let garp_extra = garp_extra(&builder, &link, &addresses, call);
    let tracked = tracked::resolve(&mut builder, nature, call);
    sync_daemon(builder.sync_daemon.take(), name, call);

    let context = &*call.context;
    let (own, global, built_in) = (&builder.garp, &context.global, &context.global_built_in);
    let mut garp = garp(own, context);
    if nature.strict {
        garp.lower_priority_delay = std::time::Duration::ZERO;
        garp.lower_priority_repeat = 0;
    }
    let router = InstanceConfig {
        name: Arc::from(name.text),
        interface: builder.interface.take().map(|(interface, _)| interface),
        // What it has of its own is worked out when all are known (`config::own_link`).
        parent: None,
        address_interface: None,
        vrf: None,
        garp_extra: None,
        vrid,
        version: nature.version,
        family: nature.family,
        priority: nature.priority,
        advert_interval,
        down_timer_adverts,
        delivery,
        source,
        track_source: builder.track_source && source.is_some(),
        authentication,
        preempt: builder.nopreempt.is_none(),
        preempt_delay: builder.preempt_delay.map_or(std::time::Duration::ZERO, |(delay, _)| delay),
        late_backup: builder.late_backup.map(|(priority, _)| priority),
        strict: nature.strict,
        accept,
        addresses,
        excluded_addresses: builder.excluded.into_iter().map(|(address, _)| address).collect(),
        garp,
        lower_priority_no_advert,
        higher_priority_send_advert,
        skip_address_check: builder
            .skip_address_check
            .or(global.skip_address_check)
            .or(built_in.skip_address_check)
            .unwrap_or_default(),
        owner_ignore_adverts: match builder.owner_ignore_adverts {
            Some((on, _)) => on,
            None => nature.is_owner() && (nature.strict || global.owner_ignore_adverts.unwrap_or_default()),
        },
        checksum_without_pseudo_header: builder
            .checksum_without_pseudo_header
            .or(global.v3_checksum_as_v2)
            .unwrap_or_default(),
        unicast_checksum: builder.unicast_checksum,
        receive_buffer: builder.receive_buffer,
        debug: builder.debug,
        trackers: tracked.scripts,
        track_files: tracked.files,
        track_processes: tracked.processes,
        track_bfd: tracked.bfd,
        track_interfaces: tracked.interfaces,
        track_primary: !builder.dont_track_primary,
    };
    let instance = VrrpInstance {
        router,
        vrf,
        promote_secondaries: builder.promote_secondaries.is_some(),
        link,
        vmac_addresses: builder.vmac_addresses,
        routes: builder.routes,
        rules: builder.rules,
        garp_extra,
        notify: builder.notify,
        tells_deleted: builder.tells_deleted,
        preempt_sync: builder.preempt_sync,
        tells_priority: false,
        mail: builder.mail.or(global.smtp_alert_vrrp).or(global.smtp_alert).unwrap_or_default(),
    };
    Some(Found { instance, vrid_place, tells_priority: builder.tells_priority, weighted: tracked.weighted })
}

/// lvs_sync_daemon_interface: lvs_sync_daemon of global_defs, said here.
fn sync_daemon(own: Option<(String, Span)>, name: Word<'_>, call: &mut Call<'_, '_>) {
    let Some((interface, place)) = own else { return };
    if let Some(known) = &call.context.global.sync_daemon {
        let before = known.place;
        duplicate(call, place, before, "the interface of the connection synchronisation");
        return;
    }
    let daemon = SyncDaemon {
        interface,
        instance: Some(Arc::from(name.text)),
        id: 0,
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    call.context.global.sync_daemon = Some(SyncDaemonBuilder { daemon, id: None, place });
}

/// garp_extra_if, where there is an interface that it is for.
fn garp_extra(
    builder: &InstanceBuilder,
    link: &LinkMode,
    addresses: &[lbd_vrrp::VirtualAddress],
    call: &mut Call<'_, '_>,
) -> Option<GarpExtra> {
    let global = call.context.global.garp_extra;
    let extra =
        builder.garp_extra.map(|(extra, _)| extra).or(global).filter(|extra| !extra.interval.is_zero())?;
    let own = builder.interface.as_ref().map(|(name, _)| name.as_str());
    let silent = matches!(link, LinkMode::Vmac(vmac) if vmac.advert_on_parent);
    let excluded = builder.excluded.iter().map(|(vip, _)| vip);
    let other = addresses.iter().chain(excluded).any(|vip| {
        let elsewhere = vip.device.as_deref().is_some_and(|device| Some(device) != own);
        vip.use_vmac || elsewhere && (extra.all || builder.vmac_addresses)
    });
    if silent || other {
        return Some(extra);
    }
    if let Some((_, span)) = builder.garp_extra {
        let message = "`garp_extra_if` has no effect: no address is on an interface that sends no adverts";
        powerless(call, Some(span), message, "remove it");
    }
    None
}

/// What an instance that says `own` does.
pub(crate) fn garp(own: &GarpBuilder, context: &Context<'_>) -> GratuitousArp {
    let (global, built_in) = (&context.global.garp, &context.global_built_in.garp);
    let delay = own.delay.or(global.delay).or(built_in.delay).expect("delay has a default");
    let repeat = own.repeat.or(global.repeat).or(built_in.repeat).expect("repeat has a default");
    GratuitousArp {
        delay,
        repeat,
        refresh: own.refresh.or(global.refresh).or(built_in.refresh).expect("refresh has a default"),
        refresh_repeat: own
            .refresh_repeat
            .or(global.refresh_repeat)
            .or(built_in.refresh_repeat)
            .expect("refresh_repeat has a default"),
        lower_priority_delay: own.lower_priority_delay.or(global.lower_priority_delay).unwrap_or(delay),
        lower_priority_repeat: own.lower_priority_repeat.or(global.lower_priority_repeat).unwrap_or(repeat),
    }
}

/// An IPv6 address that is only valid on its link.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

//! From what a vrrp_instance says to what it means.
//!
//! Here: defaults, rules between keywords, conflicts between instances. Not here: keywords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::{
    Authentication, Delivery, Family, GratuitousArp, InstanceConfig, Peer, Priority, UnicastChecksum, Version,
    VirtualAddress, Vrid,
};

use crate::config::VrrpInstance;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::Context;
use crate::keyword::call::Call;
use crate::keyword::global::NO_V3;
use crate::keyword::instance::{InstanceBuilder, TABLE, duplicate};
use crate::keyword::root::Root;
use crate::source::Span;
use crate::tree::Word;

/// An instance and the place of its identifier.
pub(crate) struct Found {
    pub instance: VrrpInstance,
    pub vrid_place: Span,
}

/// Most addresses in an advert: its count is one octet.
const MOST_ADDRESSES: usize = 255;

/// Lowers `vrrp_instance NAME { … }`.
pub(crate) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let mut builder = InstanceBuilder::default();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    if let Some(before) = call.context.spans.instances.get(name.text).copied() {
        duplicate(call, name.span, before, &format!("vrrp_instance {}", quote(name.text)));
        return;
    }
    call.context.spans.instances.insert(name.text.to_owned(), name.span);
    if let Some(found) = complete(builder, name, call) {
        root.instances.push(found);
    }
}

fn complete(mut builder: InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) -> Option<Found> {
    if is_left_out(&builder, name, call) {
        return None;
    }
    let missing = |call: &mut Call<'_, '_>, keyword: &str, help: &str| {
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
    if builder.interface.is_none() {
        missing(call, "interface", "add `interface NAME`");
    }
    let ((vrid, vrid_place), (interface, _)) = (builder.vrid?, builder.interface.take()?);

    let priority = priority(&mut builder, call);
    let advert_interval = advert_interval(&builder, call);
    let authentication = authentication(&builder, call);
    let delivery = delivery(&mut builder, call);
    let source = source(&builder, call);
    let addresses = addresses(&mut builder, name, call);
    let (trackers, track_interfaces) = tracked(&mut builder, &interface, priority, call);

    let context = &*call.context;
    let (own, global, built_in) = (&builder.garp, &context.global, &context.global_built_in);
    let garp = garp(own, context);
    let flag = |own: Option<bool>, global: Option<bool>, built_in: Option<bool>| {
        own.or(global).or(built_in).unwrap_or_default()
    };
    let router = InstanceConfig {
        name: Arc::from(name.text),
        interface: Some(interface),
        vrid,
        version: Version::V2,
        family: Family::V4,
        priority,
        advert_interval: Duration::from_secs(advert_interval.get().into()),
        down_timer_adverts: builder
            .down_timer_adverts
            .or(global.down_timer_adverts)
            .or(built_in.down_timer_adverts)
            .expect("vrrp_down_timer_adverts has a default"),
        delivery,
        source: source.map(IpAddr::V4),
        track_source: builder.track_source && source.is_some(),
        authentication,
        preempt: builder.nopreempt.is_none(),
        preempt_delay: builder.preempt_delay.map_or(Duration::ZERO, |(delay, _)| delay),
        addresses,
        excluded_addresses: builder.excluded.into_iter().map(|(address, _)| address).collect(),
        garp,
        lower_priority_no_advert: flag(
            builder.lower_priority_no_advert,
            global.lower_priority_no_advert,
            built_in.lower_priority_no_advert,
        ),
        higher_priority_send_advert: flag(
            builder.higher_priority_send_advert,
            global.higher_priority_send_advert,
            built_in.higher_priority_send_advert,
        ),
        skip_address_check: flag(
            builder.skip_address_check,
            global.skip_address_check,
            built_in.skip_address_check,
        ),
        owner_ignore_adverts: flag(
            builder.owner_ignore_adverts.map(|(on, _)| on),
            global.owner_ignore_adverts.filter(|_| priority == Priority::OWNER),
            built_in.owner_ignore_adverts,
        ),
        late_backup: None,
        strict: false,
        accept: true,
        checksum_without_pseudo_header: false,
        unicast_checksum: UnicastChecksum::Detect,
        receive_buffer: None,
        debug: 0,
        track_files: Vec::new(),
        track_processes: Vec::new(),
        track_bfd: Vec::new(),
        trackers,
        track_interfaces,
        track_primary: !builder.dont_track_primary,
    };
    Some(Found { instance: VrrpInstance { notify: builder.notify, ..VrrpInstance::new(router) }, vrid_place })
}

/// Version 3 and IPv6 are not served: such an instance does not run at all.
fn is_left_out(builder: &InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) -> bool {
    let six = |address: &IpAddr| address.is_ipv6();
    let first_address = builder.addresses.first().map(|(vip, span)| (vip.address, *span));
    let global = call.context.global.version.map(|version| (version, name.span));
    let (what, span) = if let Some(span) = builder.native_ipv6 {
        ("an IPv6 instance", span)
    } else if let Some((_, span)) = first_address.filter(|(address, _)| six(address)) {
        ("an IPv6 instance", span)
    } else if let Some((_, span)) = builder.source.filter(|(address, _)| six(address)) {
        ("an IPv6 instance", span)
    } else if let Some((_, span)) = builder.peers.first().copied().filter(|(peer, _)| six(peer)) {
        ("an IPv6 instance", span)
    } else if let Some((_, span)) = builder.version.or(global).filter(|(version, _)| *version == 3) {
        ("VRRP version 3", span)
    } else {
        return false;
    };
    let means = format!("vrrp_instance `{}` is left out: it does not run on this host; {NO_V3}", name.text);
    call.context.unserved(span, what, &means);
    true
}

/// The priority, after what `state MASTER` does to it and to preemption.
fn priority(builder: &mut InstanceBuilder, call: &mut Call<'_, '_>) -> Priority {
    let master = builder.master == Some(true);
    let priority = builder.priority.unwrap_or(if master { Priority::OWNER } else { Priority::DEFAULT });
    let why = if priority == Priority::OWNER { "priority 255" } else { "`state MASTER`" };
    let powerless = builder.nopreempt.take_if(|_| master || priority == Priority::OWNER);
    if let Some(span) = powerless {
        let message = format!("`nopreempt` has no effect with {why}");
        let help = "use `state BACKUP` on all its routers and a priority below 255, or remove `nopreempt`";
        call.say(Diagnostic::warning(Kind::Repaired, Some(span), message).label("ignored").help(help));
    }
    let cleared = match (master, builder.nopreempt) {
        (true, _) => Some("`state MASTER`"),
        (false, Some(_)) => Some("`nopreempt`"),
        (false, None) => None,
    };
    if let (Some(why), Some((delay, span))) = (cleared, builder.preempt_delay)
        && !delay.is_zero()
    {
        builder.preempt_delay = None;
        let message = format!("`preempt_delay` has no effect with {why}");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(span), message)
                .label("ignored")
                .help("remove one of them"),
        );
    }
    if let Some((on, span)) = builder.owner_ignore_adverts {
        let owner = priority == Priority::OWNER;
        if on != owner {
            let message = if owner {
                "`owner_ignore_adverts` cannot be switched off with priority 255"
            } else {
                "`owner_ignore_adverts` needs priority 255"
            };
            call.say(Diagnostic::warning(Kind::Repaired, Some(span), message).help("remove it"));
        }
        builder.owner_ignore_adverts = Some((owner, span));
    }
    priority
}

/// Version 2 counts whole seconds.
fn advert_interval(builder: &InstanceBuilder, call: &mut Call<'_, '_>) -> NonZeroU8 {
    let Some((interval, span)) = builder.advert_interval else {
        return TABLE
            .defaults(call.context)
            .advert_interval
            .and_then(|(interval, _)| whole_seconds(interval))
            .expect("advert_int has a default");
    };
    let rounded = whole_seconds(interval).unwrap_or(NonZeroU8::MIN);
    if Duration::from_secs(rounded.get().into()) != interval {
        let message = format!("`advert_int` of version 2 counts whole seconds: {rounded} is used");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(span), message)
                .help("write the same whole number on all its routers")
                .fix(span, format!("advert_int {rounded}")),
        );
    }
    rounded
}

fn whole_seconds(interval: Duration) -> Option<NonZeroU8> {
    let rounded = interval.saturating_add(Duration::from_millis(500)).as_secs().clamp(1, 255);
    NonZeroU8::new(u8::try_from(rounded).ok()?)
}

fn authentication(builder: &InstanceBuilder, call: &mut Call<'_, '_>) -> Authentication {
    let Some(found) = &builder.authentication else { return Authentication::None };
    match (found.pass, found.password) {
        (true, Some(password)) => return Authentication::Pass(password),
        _ if found.unserved => {}
        (pass, _) => {
            let what = if pass { "auth_pass" } else { "auth_type" };
            let message = format!("`authentication` has no usable `{what}`, so adverts go without it");
            call.say(
                Diagnostic::warning(Kind::BadValue, found.place, message)
                    .help("write `auth_type PASS` and `auth_pass SECRET` in it, or remove it"),
            );
        }
    }
    Authentication::None
}

fn delivery(builder: &mut InstanceBuilder, call: &mut Call<'_, '_>) -> Delivery {
    let mut peers: Vec<Peer> = Vec::new();
    for (peer, span) in std::mem::take(&mut builder.peers) {
        match peer {
            IpAddr::V4(peer) => peers.push(Peer::new(peer)),
            IpAddr::V6(_) => call.say(
                Diagnostic::warning(
                    Kind::BadValue,
                    Some(span),
                    format!("peer {peer} is IPv6, the instance IPv4"),
                )
                .label("ignored")
                .help("remove it"),
            ),
        }
    }
    let global = &call.context.global;
    let (global_group, check_source) = (global.group4, global.check_unicast_source);
    let built_in = call.context.global_built_in.group4;
    if !peers.is_empty() {
        let ttl = Some(builder.unicast_ttl.map_or(255, |(ttl, _)| ttl));
        return Delivery::Unicast { peers, ttl, check_source: builder.check_source || check_source };
    }
    if let Some(span) = builder.unicast {
        let message = "unicast is asked for without any usable peer, so adverts go by multicast";
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(span), message)
                .help("list the other routers in `unicast_peer { … }`, or remove the unicast keywords"),
        );
    }
    if let Some((_, span)) = builder.unicast_ttl {
        let message = "`unicast_ttl` has no effect without peers";
        call.say(Diagnostic::warning(Kind::Repaired, Some(span), message).label("ignored").help("remove it"));
    }
    let group = builder.group.or(global_group).or(built_in).expect("vrrp_mcast_group4 has a default");
    Delivery::Multicast { group: group.into() }
}

fn source(builder: &InstanceBuilder, call: &mut Call<'_, '_>) -> Option<Ipv4Addr> {
    let (address, span) = builder.source?;
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => {
            let message = format!("the source {address} is IPv6, the instance IPv4");
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(span), message)
                    .label("ignored")
                    .help("an IPv4 address"),
            );
            None
        }
    }
}

/// Advertised addresses; drops the second of two equal ones and those of the other family.
fn addresses(builder: &mut InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) -> Vec<VirtualAddress> {
    let mut seen: HashMap<IpAddr, Span> = HashMap::new();
    let mut kept = Vec::new();
    for (vip, span) in std::mem::take(&mut builder.addresses) {
        if vip.address.is_ipv6() {
            let message = format!("{} is IPv6, the instance IPv4", vip.address);
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(span), message)
                    .label("ignored")
                    .help("move it to `virtual_ipaddress_excluded { … }`"),
            );
        } else if let Some(before) = seen.insert(vip.address, span) {
            duplicate(call, span, before, &format!("address {}", vip.address));
            seen.insert(vip.address, before);
        } else {
            kept.push((vip, span));
        }
    }
    let mut excluded = Vec::new();
    if let Some((_, span)) = kept.get(MOST_ADDRESSES) {
        let message =
            format!("an advert holds at most {MOST_ADDRESSES} addresses: the rest is not advertised");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(*span), message)
                .help("move these to `virtual_ipaddress_excluded { … }`"),
        );
        excluded = kept.split_off(MOST_ADDRESSES);
    }
    excluded.append(&mut builder.excluded);
    for (vip, span) in excluded {
        if let Some(before) = seen.insert(vip.address, span) {
            duplicate(call, span, before, &format!("address {}", vip.address));
            seen.insert(vip.address, before);
        } else {
            builder.excluded.push((vip, span));
        }
    }
    let notify = &builder.notify;
    let does_something = [&notify.master, &notify.backup, &notify.any].into_iter().any(Option::is_some);
    if kept.is_empty() && builder.excluded.is_empty() && !builder.no_addresses_wanted && !does_something {
        let message = format!("vrrp_instance {} has neither addresses nor scripts", quote(name.text));
        call.say(
            Diagnostic::warning(Kind::Lint, Some(name.span), message)
                .help("add `virtual_ipaddress { … }`, or say `no_virtual_ipaddress`"),
        );
    }
    kept.into_iter().map(|(vip, _)| vip).collect()
}

type Trackers = Vec<(lbd_vrrp::TrackerId, lbd_vrrp::Weight)>;
type Interfaces = Vec<(String, lbd_vrrp::Weight)>;

/// What is tracked, each once; the owner has no weights.
fn tracked(
    builder: &mut InstanceBuilder,
    interface: &str,
    priority: Priority,
    call: &mut Call<'_, '_>,
) -> (Trackers, Interfaces) {
    let mut scripts: HashMap<lbd_vrrp::TrackerId, Span> = HashMap::new();
    let mut trackers = Vec::new();
    for (id, weight, span) in std::mem::take(&mut builder.scripts) {
        if let Some(before) = scripts.get(&id).copied() {
            duplicate(call, span, before, &format!("script `{id}`"));
        } else if is_kept(weight, priority, span, call) {
            scripts.insert(id.clone(), span);
            trackers.push((id, weight));
        }
    }
    let mut names: HashMap<String, Span> = HashMap::new();
    let mut interfaces = Vec::new();
    for (name, weight, span) in std::mem::take(&mut builder.interfaces) {
        if name == interface {
            // It is tracked anyway; naming it is a widespread habit and harmless.
            if weight.value != 0 {
                let message =
                    format!("the own interface {} is tracked anyway, without a weight", quote(&name));
                call.say(Diagnostic::warning(Kind::Lint, Some(span), message).help("remove this line"));
            }
        } else if let Some(before) = names.get(&name).copied() {
            duplicate(call, span, before, &format!("interface `{name}`"));
        } else if is_kept(weight, priority, span, call) {
            names.insert(name.clone(), span);
            interfaces.push((name, weight));
        }
    }
    (trackers, interfaces)
}

fn is_kept(weight: lbd_vrrp::Weight, priority: Priority, span: Span, call: &mut Call<'_, '_>) -> bool {
    if priority != Priority::OWNER || weight.value == 0 {
        return true;
    }
    let message = "a weight has no effect with priority 255";
    call.say(
        Diagnostic::warning(Kind::Repaired, Some(span), message)
            .label("not tracked")
            .help("use a priority below 255, or `weight 0`"),
    );
    false
}

pub(crate) fn garp(own: &crate::keyword::global::GarpBuilder, context: &Context<'_>) -> GratuitousArp {
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
        neighbour_interval: context.global.gna_interval.unwrap_or_default(),
        interval: context.global.garp_interval.or(context.global_built_in.garp_interval).unwrap_or_default(),
    }
}

/// Two instances that would hear each other as one virtual router cannot both run.
pub(crate) fn conflicts(found: Vec<Found>, context: &mut Context<'_>) -> Vec<VrrpInstance> {
    let mut seen: HashMap<(String, Vrid), Vec<usize>> = HashMap::new();
    for (index, this) in found.iter().enumerate() {
        let router = &this.instance.router;
        let same = seen.entry((router.interface_name().to_owned(), router.vrid)).or_default();
        let clash = same
            .iter()
            .filter_map(|other| found.get(*other))
            .find(|other| hear_each_other(&other.instance.router, router));
        if let Some(other) = clash {
            let message = format!(
                "vrrp_instance {} and {} have the same virtual_router_id {} on {}",
                quote(&other.instance.router.name),
                quote(&router.name),
                router.vrid,
                router.interface_name(),
            );
            context.report(
                Diagnostic::error(Kind::Fatal, Some(this.vrid_place), message)
                    .related(Some(other.vrid_place), "the other is here")
                    .help("give one of them another number from 1 to 255, the same on all its routers"),
            );
        }
        same.push(index);
    }
    found.into_iter().map(|found| found.instance).collect()
}

/// Same group; or same source and a common peer.
fn hear_each_other(one: &InstanceConfig, other: &InstanceConfig) -> bool {
    match (&one.delivery, &other.delivery) {
        (Delivery::Multicast { group: left }, Delivery::Multicast { group: right }) => left == right,
        (Delivery::Unicast { peers: left, .. }, Delivery::Unicast { peers: right, .. }) => {
            one.source == other.source && left.iter().any(|peer| right.contains(peer))
        }
        _ => false,
    }
}

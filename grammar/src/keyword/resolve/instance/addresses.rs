//! The addresses of an instance.

use std::collections::HashMap;
use std::net::IpAddr;

use lbd_vrrp::{Authentication, Family, Version, VirtualAddress};

use super::{Nature, is_link_local};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::instance::{InstanceBuilder, duplicate};
use crate::source::Span;
use crate::tree::Word;

/// Octets of a packet on Ethernet; the MTU of the interface is not known here.
const MTU: usize = 1500;

/// Most addresses in an advert: its count is one octet (RFC 9568 §5.2.5), and it is never fragmented.
fn most(nature: Nature, authentication: &Authentication) -> usize {
    let (ip, address) = match nature.family {
        Family::V4 => (20, 4),
        Family::V6 => (40, 16),
    };
    let vrrp = match nature.version {
        // With the authentication data behind the addresses (RFC 3768 §5.1).
        Version::V2 => 8 + 8,
        Version::V3 => 8,
    };
    let signature = match authentication {
        Authentication::None | Authentication::Pass(_) => 0,
        Authentication::Ah(_) => 24,
        Authentication::Hmac(_) => 28,
    };
    ((MTU - ip - vrrp - signature) / address).min(usize::from(u8::MAX))
}

/// Without an interface of the instance each address has to name its own; drops those that do not.
fn without_device(builder: &mut InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) {
    if builder.interface.is_some() {
        return;
    }
    for (vip, span) in
        builder.addresses.iter().chain(&builder.excluded).filter(|(vip, _)| vip.device.is_none())
    {
        let message =
            format!("{} names no interface, and vrrp_instance {} has none", vip.address, quote(name.text));
        call.say(
            Diagnostic::warning(Kind::BadValue, Some(*span), message)
                .label("ignored")
                .help("add `dev IF` to it, or `interface IF` to the instance"),
        );
    }
    builder.addresses.retain(|(vip, _)| vip.device.is_some());
    builder.excluded.retain(|(vip, _)| vip.device.is_some());
}

/// Advertised addresses; drops the second of two equal ones and those of the other family.
pub(super) fn addresses(
    builder: &mut InstanceBuilder,
    nature: Nature,
    authentication: &Authentication,
    name: Word<'_>,
    call: &mut Call<'_, '_>,
) -> Vec<VirtualAddress> {
    without_device(builder, name, call);
    let mut seen: HashMap<IpAddr, Span> = HashMap::new();
    let mut kept = Vec::new();
    for (vip, span) in std::mem::take(&mut builder.addresses) {
        let family = Family::of(vip.address);
        if family != nature.family {
            let message = format!("{} is {family}, the instance {}", vip.address, nature.family);
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
    let mut moved = Vec::new();
    let most = most(nature, authentication);
    if let Some((_, span)) = kept.get(most) {
        let message =
            format!("an advert holds at most {most} of these addresses: the rest is not advertised");
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(*span), message)
                .help("move these to `virtual_ipaddress_excluded { … }`"),
        );
        moved = kept.split_off(most);
    }
    for (vip, span) in std::mem::replace(&mut builder.excluded, moved) {
        if let Some(before) = seen.insert(vip.address, span) {
            duplicate(call, span, before, &format!("address {}", vip.address));
            seen.insert(vip.address, before);
        } else {
            builder.excluded.push((vip, span));
        }
    }
    if let Some((vip, span)) =
        kept.first().filter(|(vip, _)| vip.address.is_ipv6() && !is_link_local(vip.address))
    {
        let message = format!(
            "the first address of an IPv6 instance is of the link (RFC 9568 §5.2.9), {} is not",
            vip.address
        );
        call.say(
            Diagnostic::warning(Kind::Lint, Some(*span), message)
                .help("put an address of fe80::/10 before it"),
        );
    }
    if kept.is_empty() {
        none(builder, nature, name, call);
    }
    kept.into_iter().map(|(vip, _)| vip).collect()
}

/// What gives an instance addresses.
const LISTS: [&str; 1] = ["virtual_ipaddress"];

/// Version 3 and strict mode want an address, version 2 a reason to be.
fn none(builder: &mut InstanceBuilder, nature: Nature, name: Word<'_>, call: &mut Call<'_, '_>) {
    if let Some(span) = builder.no_addresses_wanted.filter(|_| nature.strict) {
        let message = format!("strict mode: vrrp_instance {} needs an address", quote(name.text));
        let help = "add `virtual_ipaddress { … }`; `no_virtual_ipaddress` has no effect in strict mode";
        call.say(Diagnostic::error(Kind::Fatal, Some(span), message).help(help));
        return;
    }
    if builder.no_addresses_wanted.is_some() {
        return;
    }
    if nature.strict || nature.version == Version::V3 {
        let message = format!("vrrp_instance {} has no address to advertise", quote(name.text));
        let help = if nature.strict {
            "add `virtual_ipaddress { … }`"
        } else {
            "add `virtual_ipaddress { … }`, or say `no_virtual_ipaddress`"
        };
        let consequence = format!("and vrrp_instance {} cannot run without an address", quote(name.text));
        if call.context.condemn_lost(builder.lost_before, "vrrp_instance", &LISTS, consequence) {
            return;
        }
        call.say(Diagnostic::error(Kind::Fatal, Some(name.span), message).help(help));
        return;
    }
    let notify = &builder.notify;
    let does_something = [&notify.master, &notify.backup, &notify.any].into_iter().any(Option::is_some)
        || !(builder.routes.is_empty() && builder.rules.is_empty());
    let consequence = format!("so vrrp_instance {} has neither addresses nor scripts", quote(name.text));
    if builder.excluded.is_empty()
        && !does_something
        && !call.context.explain_lost(builder.lost_before, "vrrp_instance", &LISTS, consequence)
    {
        let message = format!("vrrp_instance {} has neither addresses nor scripts", quote(name.text));
        call.say(
            Diagnostic::warning(Kind::Lint, Some(name.span), message)
                .help("add `virtual_ipaddress { … }`, or say `no_virtual_ipaddress`"),
        );
    }
}

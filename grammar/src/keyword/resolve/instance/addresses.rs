//! The addresses of an instance.

use std::collections::HashMap;
use std::net::IpAddr;

use lbd_vrrp::{Family, Version, VirtualAddress};

use super::{Nature, is_link_local};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::instance::{InstanceBuilder, duplicate};
use crate::source::Span;
use crate::tree::Word;

/// Most addresses in an advert: its count is one octet.
const MOST_ADDRESSES: usize = 255;

/// Advertised addresses; drops the second of two equal ones and those of the other family.
pub(super) fn addresses(
    builder: &mut InstanceBuilder,
    nature: Nature,
    name: Word<'_>,
    call: &mut Call<'_, '_>,
) -> Vec<VirtualAddress> {
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
    let does_something = [&notify.master, &notify.backup, &notify.any].into_iter().any(Option::is_some);
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

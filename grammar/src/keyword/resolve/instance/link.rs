//! What adverts and addresses are put on.

use lbd_vrrp::{Delivery, Family, Vrid};

use super::{Nature, powerless};
use crate::config::LinkMode;
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::call::Call;
use crate::keyword::instance::InstanceBuilder;

pub(super) fn link(
    builder: &mut InstanceBuilder,
    nature: Nature,
    vrid: Vrid,
    delivery: &Delivery,
    call: &mut Call<'_, '_>,
) -> LinkMode {
    let link = if let Some((mut vmac, span)) = builder.vmac.take() {
        if let Some(mac) = &mut vmac.mac
            && builder.mac_ends_in_vrid
            && let [.., last] = mac
        {
            *last = vrid.get();
        }
        if nature.strict && vmac.mac.take().is_some() {
            let message = "strict mode: the virtual MAC address is the RFC's";
            powerless(call, Some(span), message, "remove the MAC address");
        }
        vmac.advert_on_parent = on_parent(builder, nature, delivery, call);
        LinkMode::Vmac(vmac)
    } else {
        if let Some(span) = builder.advert_on_parent {
            powerless(call, Some(span), "`vmac_xmit_base` has no effect without `use_vmac`", "remove it");
        }
        match builder.ipvlan.take() {
            Some((ipvlan, span)) => {
                if ipvlan.address.is_none() && nature.family == Family::V4 {
                    let message =
                        "an ipvlan of an IPv4 instance needs an address: the instance stays in FAULT";
                    call.say(
                        Diagnostic::warning(Kind::Lint, Some(span), message)
                            .help("write `use_ipvlan ADDR/LEN`, an address of the interface's network"),
                    );
                }
                LinkMode::Ipvlan(ipvlan)
            }
            None => LinkMode::Plain,
        }
    };
    if let (LinkMode::Vmac(_), Some(span)) =
        (&link, builder.promote_secondaries.take_if(|_| matches!(link, LinkMode::Vmac(_))))
    {
        let message = "`promote_secondaries` is always set on virtual MAC interfaces";
        powerless(call, Some(span), message, "remove it");
    }
    link
}

/// With unicast the parent is the only one that hears answers.
fn on_parent(
    builder: &InstanceBuilder,
    nature: Nature,
    delivery: &Delivery,
    call: &mut Call<'_, '_>,
) -> bool {
    let asked = builder.advert_on_parent;
    if matches!(delivery, Delivery::Unicast { .. }) {
        return true;
    }
    if let Some(span) = asked.filter(|_| nature.strict) {
        let message = "strict mode: adverts go over the virtual MAC interface";
        powerless(call, Some(span), message, "remove `vmac_xmit_base`");
        return false;
    }
    asked.is_some()
}

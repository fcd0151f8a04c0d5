//! Instances that would take each other's adverts for their own.

use std::collections::HashMap;

use lbd_vrrp::{Delivery, Family, Vrid};

use super::Found;
use crate::config::VrrpInstance;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::Context;

/// Instances by what they must differ in, apart from where their adverts go, and by interface.
type Seen<'f> = HashMap<(Vrid, Family), HashMap<Option<&'f str>, Vec<usize>>>;

/// Two instances that would hear each other as one virtual router cannot both run.
pub(crate) fn conflicts(found: Vec<Found>, context: &mut Context<'_>) -> Vec<VrrpInstance> {
    let mut seen: Seen<'_> = HashMap::new();
    for (index, this) in found.iter().enumerate() {
        let router = &this.instance.router;
        let same = seen.entry((router.vrid, router.family)).or_default();
        let interface = router.interface.as_deref();
        let hears = |other: &&usize| {
            found.get(**other).is_some_and(|other| hear_each_other(&other.instance, &this.instance))
        };
        let clash = match interface {
            Some(_) => {
                let near = [same.get(&interface), same.get(&None)].into_iter().flatten().flatten();
                near.filter(hears).min()
            }
            None => same.values().flatten().filter(hears).min(),
        };
        if let Some(other) = clash.and_then(|other| found.get(*other)) {
            let interface = interface.or(other.instance.router.interface.as_deref());
            let place = interface.map_or("without an interface".to_owned(), |name| format!("on {name}"));
            let message = format!(
                "vrrp_instance {} and {} have the same virtual_router_id {} {place}",
                quote(&other.instance.router.name),
                quote(&router.name),
                router.vrid,
            );
            context.report(
                Diagnostic::error(Kind::Fatal, Some(this.vrid_place), message)
                    .related(Some(other.vrid_place), "the other is here")
                    .help("give one of them another number from 1 to 255, the same on all its routers"),
            );
        }
        same.entry(interface).or_default().push(index);
    }
    found.into_iter().map(|found| found.instance).collect()
}

/// Same group; or same source and a common peer. One without an interface hears on all of them, or on
/// those of its VRF.
fn hear_each_other(one: &VrrpInstance, other: &VrrpInstance) -> bool {
    let (VrrpInstance { router: one, vrf, .. }, VrrpInstance { router: other, vrf: other_vrf, .. }) =
        (one, other);
    let apart = match (&one.interface, &other.interface) {
        (Some(one), Some(other)) => one != other,
        (None, None) => vrf != other_vrf,
        (Some(_), None) | (None, Some(_)) => vrf.is_some() || other_vrf.is_some(),
    };
    if apart {
        return false;
    }
    match (&one.delivery, &other.delivery) {
        (Delivery::Multicast { group: left }, Delivery::Multicast { group: right }) => left == right,
        (Delivery::Unicast { peers: left, .. }, Delivery::Unicast { peers: right, .. }) => {
            let common = left.iter().any(|peer| right.iter().any(|other| other.address == peer.address));
            one.source == other.source && common
        }
        _ => false,
    }
}

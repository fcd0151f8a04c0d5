//! Instances that would take each other's adverts for their own.

use std::collections::HashMap;

use lbd_vrrp::{Delivery, Family, InstanceConfig, Vrid};

use super::Found;
use crate::config::VrrpInstance;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::Context;

/// What two instances must differ in, apart from where their adverts go.
type Key = (Option<String>, Vrid, Family);

/// Two instances that would hear each other as one virtual router cannot both run.
pub(crate) fn conflicts(found: Vec<Found>, context: &mut Context<'_>) -> Vec<VrrpInstance> {
    let mut seen: HashMap<Key, Vec<usize>> = HashMap::new();
    for (index, this) in found.iter().enumerate() {
        let router = &this.instance.router;
        let key = (router.interface.clone(), router.vrid, router.family);
        let same = seen.entry(key).or_default();
        let clash = same
            .iter()
            .filter_map(|other| found.get(*other))
            .find(|other| hear_each_other(&other.instance.router, router));
        if let Some(other) = clash {
            let place = router
                .interface
                .as_ref()
                .map_or("without an interface".to_owned(), |name| format!("on {name}"));
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
        same.push(index);
    }
    found.into_iter().map(|found| found.instance).collect()
}

/// Same group; or same source and a common peer.
fn hear_each_other(one: &InstanceConfig, other: &InstanceConfig) -> bool {
    match (&one.delivery, &other.delivery) {
        (Delivery::Multicast { group: left }, Delivery::Multicast { group: right }) => left == right,
        (Delivery::Unicast { peers: left, .. }, Delivery::Unicast { peers: right, .. }) => {
            let common = left.iter().any(|peer| right.iter().any(|other| other.address == peer.address));
            one.source == other.source && common
        }
        _ => false,
    }
}

//! What makes two configurations the same virtual router, over a reload too.

use std::net::IpAddr;

use crate::types::{Delivery, Family, InstanceConfig, Vrid};

/// VRID, family, interface and unicast peers: neither the name nor what may change in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    kin: Kin,
    /// Sorted; `None` for multicast.
    peers: Option<Vec<IpAddr>>,
}

/// An identity without the unicast peers: a router of which one was added or removed is the same, where no
/// other has its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kin {
    vrid: Vrid,
    family: Family,
    interface: Option<String>,
    unicast: bool,
    /// Without an interface only the source tells two routers apart.
    source: Option<IpAddr>,
}

impl Identity {
    /// The identity of a configuration.
    pub fn of(config: &InstanceConfig) -> Self {
        let peers = match &config.delivery {
            Delivery::Multicast { .. } => None,
            Delivery::Unicast { peers, .. } => {
                let mut peers: Vec<IpAddr> = peers.iter().map(|peer| peer.address).collect();
                peers.sort_unstable();
                Some(peers)
            }
        };
        Identity { kin: Kin::of(config), peers }
    }
}

impl Kin {
    /// The kin of a configuration.
    pub fn of(config: &InstanceConfig) -> Self {
        Kin {
            vrid: config.vrid,
            family: config.family,
            interface: config.interface.clone(),
            unicast: matches!(config.delivery, Delivery::Unicast { .. }),
            source: config.source.filter(|_| config.interface.is_none()),
        }
    }
}

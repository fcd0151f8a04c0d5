//! What the configuration wants in the kernel beside the addresses of virtual routers: their routes and rules, and
//! what is static.
//!
//! Here: values. Not here: who of the routers is master (`thread`), what is done in the kernel (`netconf`).

use std::collections::BTreeMap;
use std::sync::Arc;

use lbd_grammar::config::Config;
use lbd_grammar::{read_route, read_rule};
use lbd_vrrp::{DeviceAddress, VirtualAddress};

use super::object::{Entries, Load, RouteEntry, RuleEntry};
use super::snapshot::saved_address;
use crate::state_file::SavedInstance;

/// Routes and rules of virtual routers, and everything static, with all names resolved.
#[derive(Clone, Debug, Default)]
pub struct Network {
    by_instance: BTreeMap<Arc<str>, Arc<Entries>>,
    /// static_ipaddress, static_routes, static_rules
    pub(super) fixed: Load,
}

impl Network {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        let of_instance = |instance: &lbd_grammar::config::VrrpInstance| {
            let entries = Entries::of(&instance.routes, &instance.rules);
            (!entries.is_empty()).then(|| (Arc::clone(&instance.router.name), Arc::new(entries)))
        };
        let address = |address: &VirtualAddress| {
            let device = address.device.clone()?;
            Some(DeviceAddress { device, address: address.clone() })
        };
        Network {
            by_instance: config.vrrp_instances.iter().filter_map(of_instance).collect(),
            fixed: Load {
                addresses: config.static_addresses.iter().filter_map(|one| address(&one.address)).collect(),
                entries: Arc::new(Entries::of(&config.static_routes, &config.static_rules)),
            },
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.by_instance.is_empty() && self.fixed.is_empty()
    }

    /// Whether anything is static.
    pub fn has_static(&self) -> bool {
        !self.fixed.is_empty()
    }

    /// Whether any virtual router has routes or rules.
    pub(super) fn has_entries(&self) -> bool {
        !self.by_instance.is_empty()
    }

    /// Routes and rules of a virtual router.
    pub(super) fn entries(&self, instance: &str) -> Arc<Entries> {
        self.by_instance.get(instance).map(Arc::clone).unwrap_or_default()
    }

    /// The same without what is static.
    pub(super) fn without_static(&self) -> Self {
        Network { fixed: Load::default(), ..self.clone() }
    }

    /// Takes lists that are the same from `before`, so that they are known to be.
    pub(super) fn share(&mut self, before: &Self) {
        for (name, entries) in &mut self.by_instance {
            if let Some(old) = before.by_instance.get(name).filter(|old| *old == entries) {
                *entries = Arc::clone(old);
            }
        }
        if self.fixed.entries == before.fixed.entries {
            self.fixed.entries = Arc::clone(&before.fixed.entries);
        }
        if self.fixed.addresses == before.fixed.addresses {
            self.fixed.addresses = Arc::clone(&before.fixed.addresses);
        }
    }

    /// What is static as the state file keeps it: as a virtual router with the number 0, which no other has.
    pub(super) fn saved(&self) -> Option<SavedInstance> {
        let (routes, rules) = saved(&self.fixed.entries);
        let addresses = self.fixed.addresses.iter().map(saved_address).collect();
        self.has_static().then(|| SavedInstance { addresses, routes, rules, ..SavedInstance::default() })
    }
}

/// Routes and rules as the state file keeps them.
pub(super) fn saved(entries: &Entries) -> (Vec<String>, Vec<String>) {
    let routes = entries.routes.iter().map(|entry| entry.text.to_string()).collect();
    (routes, entries.rules.iter().map(|entry| entry.text.to_string()).collect())
}

/// What an earlier process held, as the state file has it; what does not parse is left alone.
pub(super) fn left(saved: &SavedInstance) -> Load {
    let addresses = saved.addresses.iter().filter_map(from_saved);
    let entries = Entries {
        routes: saved
            .routes
            .iter()
            .filter_map(|line| read_route(line))
            .map(|one| RouteEntry::of(&one))
            .collect(),
        rules: saved.rules.iter().filter_map(|line| read_rule(line)).map(|one| RuleEntry::of(&one)).collect(),
    };
    Load { addresses: addresses.collect(), entries: Arc::new(entries) }
}

/// `ADDRESS/PREFIX` and interface.
fn from_saved((address, device): &(String, String)) -> Option<DeviceAddress> {
    let (address, prefix) = address.split_once('/')?;
    let address = VirtualAddress::new(address.parse().ok()?, prefix.parse().ok()?);
    Some(DeviceAddress { device: device.clone(), address })
}

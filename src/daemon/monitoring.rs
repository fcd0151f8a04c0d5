//! `-a`: a line for each address that comes to or goes from an interface of this host.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::info;

use crate::router::Interfaces;

type Addresses = BTreeSet<(String, IpAddr, u8)>;

/// Logs until the interfaces are watched no more; what is there at first is not told.
pub(super) async fn log_addresses(mut interfaces: watch::Receiver<Arc<Interfaces>>) {
    let mut known = addresses(&interfaces.borrow_and_update());
    while interfaces.changed().await.is_ok() {
        let now = addresses(&interfaces.borrow_and_update());
        changes(&known, &now).for_each(|line| info!("{line}"));
        known = now;
    }
}

fn addresses(interfaces: &Interfaces) -> Addresses {
    let of = |(name, interface): (&String, &crate::router::HostInterface)| -> Vec<_> {
        interface.addresses.iter().map(|(address, prefix)| (name.clone(), *address, *prefix)).collect()
    };
    interfaces.by_name.iter().flat_map(of).collect()
}

fn changes<'a>(before: &'a Addresses, now: &'a Addresses) -> impl Iterator<Item = String> + 'a {
    let gone = before
        .difference(now)
        .map(|(name, address, prefix)| format!("address {address}/{prefix} is gone from {name}"));
    let come = now
        .difference(before)
        .map(|(name, address, prefix)| format!("address {address}/{prefix} is there on {name}"));
    gone.chain(come)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told() {
        let set = |rows: &[(&str, &str, u8)]| -> Addresses {
            rows.iter()
                .map(|(name, address, prefix)| {
                    ((*name).to_owned(), address.parse().expect("an address"), *prefix)
                })
                .collect()
        };
        let before = set(&[("eth0", "10.0.0.1", 24), ("eth1", "2001:db8::1", 64)]);
        let now = set(&[("eth0", "10.0.0.1", 24), ("eth0", "10.0.0.1", 32)]);
        assert_eq!(changes(&before, &before).count(), 0);
        assert_eq!(
            changes(&before, &now).collect::<Vec<_>>(),
            ["address 2001:db8::1/64 is gone from eth1", "address 10.0.0.1/32 is there on eth0"]
        );
    }
}

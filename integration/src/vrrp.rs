//! What the benchmarks of VRRP are made of: a link that is watched with the kernel's times, a scripted master, two directors.
//!
//! All of it is in network namespaces of the host's own kernel: times of user-mode-linux are worth nothing here.

pub mod addresses;
pub mod capture;
pub mod crowd;
pub mod failover;
pub mod frame;
pub mod load;
pub mod master;

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

/// Since 1970, as the kernel stamps frames.
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The virtual address of the given place, from 0: one of 10.1.0.0/16, which nothing else of a bed has.
pub fn vip(place: usize) -> Ipv4Addr {
    let octet = |number: usize| u8::try_from(number % 256).unwrap_or_default();
    Ipv4Addr::new(10, 1, octet(place / 250), octet(1 + place % 250))
}

/// Whether [`vip`] gives it.
pub fn is_vip(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [10, 1, ..])
}

/// Milliseconds from one time to another, negative when `to` is before `from`.
pub fn milliseconds(from: Duration, to: Duration) -> f64 {
    (to.as_secs_f64() - from.as_secs_f64()) * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_addresses_differ() {
        let all: std::collections::BTreeSet<Ipv4Addr> = (0..1000).map(vip).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|one| is_vip(*one)));
        assert_eq!((vip(0), vip(999)), (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 3, 250)));
        assert!(!is_vip(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn times_may_be_early() {
        let (one, two) = (Duration::from_millis(10), Duration::from_millis(12));
        assert!((milliseconds(one, two) - 2.0).abs() < 1e-6);
        assert!((milliseconds(two, one) + 2.0).abs() < 1e-6);
    }
}

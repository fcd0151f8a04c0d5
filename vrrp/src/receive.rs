//! Checks of a received advertisement, in order (RFC 3768 §7.1 in the order keepalived does them).
//!
//! Here: accept or refuse, with a name for each refusal. Not here: which virtual router a
//! datagram is for (`engine`), what an accepted one does (`router`).
//!
//! Kept from keepalived, against the RFC: authentication types are offered, the length is exact,
//! a differing address list is counted and used, an owner listens, TTL counts for multicast only.
//! Not kept: a differing interval is counted.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::types::{Authentication, Delivery, InstanceConfig, Peer, Priority, VirtualAddress, Vrid};
use crate::wire::advert::{Advert, Prefix, checksum_is_right};
use crate::wire::ipv4::{self, AUTHENTICATION_HEADER, Header, TTL};

/// Why an advertisement was not used (for `AddressList`: used, but noted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// An IPsec header where none is configured, or an authentication type that is not ours.
    AuthenticationTypeMismatch,
    /// Length is not header + addresses + authentication data.
    Length,
    /// TTL of a multicast advertisement is not 255: it came through a router.
    Ttl,
    /// Version is not 2.
    Version,
    /// Authentication type is not 0, 1 or 2.
    InvalidAuthenticationType,
    /// Wrong password.
    AuthenticationFailure,
    /// Interval differs from ours.
    Interval,
    /// Type is not 1.
    Type,
    /// Checksum.
    Checksum,
    /// Multicast where unicast is configured or the other way round, or another group.
    Destination,
    /// We own the addresses and were told to ignore advertisements.
    Owner,
    /// Unicast from a source that is no peer (check_unicast_src).
    Peer,
    /// Addresses differ from ours: noted, and the advertisement is used.
    AddressList,
    /// The virtual router takes no part (Initialize, Fault).
    NotRunning,
    /// Our own address and priority: a loop, or two routers with one address.
    OwnAddress,
}

impl Refusal {
    /// Name in counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::AuthenticationTypeMismatch => "auth_type_mismatch",
            Refusal::Length => "length",
            Refusal::Ttl => "ttl",
            Refusal::Version => "version",
            Refusal::InvalidAuthenticationType => "auth_type_invalid",
            Refusal::AuthenticationFailure => "auth_failure",
            Refusal::Interval => "interval",
            Refusal::Type => "type",
            Refusal::Checksum => "checksum",
            Refusal::Destination => "destination",
            Refusal::Owner => "owner",
            Refusal::Peer => "peer",
            Refusal::AddressList => "address_list",
            Refusal::NotRunning => "not_running",
            Refusal::OwnAddress => "own_address",
        }
    }

    /// Cause and remedy for people.
    pub fn explain(self) -> &'static str {
        match self {
            Refusal::AuthenticationTypeMismatch => {
                "authentication type differs: give both routers the same auth_type"
            }
            Refusal::Length => {
                "length does not fit the number of addresses (another version, or an extension)"
            }
            Refusal::Ttl => "TTL is not 255 (RFC 3768 §5.2.3): it was forwarded, or forged",
            Refusal::Version => "VRRP version is not 2: give both routers the same version",
            Refusal::InvalidAuthenticationType => "unknown authentication type",
            Refusal::AuthenticationFailure => "wrong password: give both routers the same auth_pass",
            Refusal::Interval => "advertisement interval differs: give both routers the same advert_int",
            Refusal::Type => "not an advertisement (type is not 1)",
            Refusal::Checksum => "wrong checksum",
            Refusal::Destination => {
                "multicast and unicast do not match: give both routers unicast_peer, or none"
            }
            Refusal::Owner => "address owner ignores advertisements (owner_ignore_adverts)",
            Refusal::Peer => "sender is not a unicast_peer (check_unicast_src)",
            Refusal::AddressList => "address list differs from ours; used all the same",
            Refusal::NotRunning => "virtual router takes no part now",
            Refusal::OwnAddress => "our own address and priority: a loop, or two routers with one address",
        }
    }
}

/// An acceptable advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Its priority.
    pub priority: Priority,
    /// Whether its addresses are ours, in number and content.
    pub same_addresses: bool,
}

/// VRID of a datagram's payload, to find whom it is for; `None` when it is too short to tell.
pub fn vrid(payload: &[u8]) -> Option<u8> {
    Prefix::parse(payload).map(|prefix| prefix.vrid)
}

/// Whether an advertisement for `destination` is meant for a router that sends as `delivery`.
pub fn destination_fits(delivery: &Delivery, destination: Ipv4Addr) -> bool {
    match delivery {
        Delivery::Multicast { group } => *group == IpAddr::V4(destination),
        Delivery::Unicast { .. } => !destination.is_multicast(),
    }
}

/// Checks one datagram for the virtual router of `config`.
///
/// # Errors
/// The first check that failed, in the order of [`Refusal`]'s documentation.
pub fn check(config: &InstanceConfig, header: &Header, payload: &[u8]) -> Result<Received, Refusal> {
    if header.protocol == AUTHENTICATION_HEADER {
        return Err(Refusal::AuthenticationTypeMismatch);
    }
    let advert = Advert::parse(payload).ok_or(Refusal::Length)?;
    if header.destination.is_multicast() && header.ttl != TTL {
        return Err(Refusal::Ttl);
    }
    if advert.version != 2 {
        return Err(Refusal::Version);
    }
    config.authentication.check(&advert)?;
    if Duration::from_secs(advert.interval.into()) != config.advert_interval {
        return Err(Refusal::Interval);
    }
    if advert.kind != 1 {
        return Err(Refusal::Type);
    }
    if !checksum_is_right(payload) {
        return Err(Refusal::Checksum);
    }
    if !destination_fits(&config.delivery, header.destination) {
        return Err(Refusal::Destination);
    }
    if config.priority == Priority::OWNER && config.owner_ignore_adverts {
        return Err(Refusal::Owner);
    }
    if let Delivery::Unicast { peers, check_source: true, .. } = &config.delivery
        && !peers.iter().any(|peer| peer.address == IpAddr::V4(header.source))
    {
        return Err(Refusal::Peer);
    }
    Ok(Received {
        source: header.source,
        priority: advert.priority,
        same_addresses: same_addresses(config, &advert.addresses),
    })
}

fn same_addresses(config: &InstanceConfig, received: &[Ipv4Addr]) -> bool {
    let mut own = config.addresses.iter().filter_map(|own| ipv4::address(own.address));
    own.clone().count() == received.len() && own.all(|address| received.contains(&address))
}

/// Feeds any octets through header, parser and checks of routers of each kind, as fuzzing and
/// property tests do.
///
/// # Panics
/// When an advertisement is not the same after writing and reading it again.
pub fn exercise_any(datagram: &[u8]) {
    let Ok((header, payload)) = Header::parse(datagram) else { return };
    if let Some(advert) = Advert::parse(payload) {
        let again = advert.emit();
        assert_eq!(Advert::parse(&again).as_ref(), Some(&advert), "emit and parse are inverse");
        assert_eq!(again.len(), payload.len(), "length is kept");
    }
    let peers = vec![Peer::new(header.source)];
    let deliveries = [
        Delivery::Multicast { group: header.destination.into() },
        Delivery::Unicast { peers, ttl: None, check_source: true },
    ];
    for delivery in deliveries {
        for authentication in [Authentication::None, Authentication::Pass(*b"secret\0\0")] {
            let config = plain_config(delivery.clone(), authentication);
            if check(&config, &header, payload).is_ok() {
                assert!(vrid(payload).is_some(), "an accepted advertisement names its VRID");
            }
        }
    }
}

/// An instance as it is without any keyword, with one address.
pub(crate) fn plain_config(delivery: Delivery, authentication: Authentication) -> InstanceConfig {
    InstanceConfig {
        delivery,
        authentication,
        addresses: vec![VirtualAddress::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)), 32)],
        ..InstanceConfig::new("plain", "eth0", Vrid::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{GROUP, VIP, config};

    fn header() -> Header {
        Header {
            tos: ipv4::TOS,
            id: 2,
            ttl: 255,
            protocol: ipv4::VRRP,
            source: Ipv4Addr::new(10, 0, 0, 2),
            destination: GROUP,
        }
    }

    fn advert() -> Advert {
        Advert {
            version: 2,
            kind: 1,
            vrid: 51,
            priority: Priority(100),
            authentication_type: 1,
            interval: 1,
            addresses: vec![VIP],
            authentication: *b"secret\0\0",
        }
    }

    type Change = fn(&mut InstanceConfig, &mut Header, &mut Advert, &mut Vec<u8>);

    #[test]
    fn each_check_refuses_by_its_name() {
        let rows: [(&str, Change, Result<bool, Refusal>); 22] = [
            ("good", |_, _, _, _| {}, Ok(true)),
            ("AH", |_, h, _, _| h.protocol = 51, Err(Refusal::AuthenticationTypeMismatch)),
            ("longer", |_, _, _, o| o.push(0), Err(Refusal::Length)),
            ("shorter", |_, _, _, o| o.truncate(19), Err(Refusal::Length)),
            ("TTL", |_, h, _, _| h.ttl = 254, Err(Refusal::Ttl)),
            (
                "length before TTL",
                |_, h, _, o| {
                    h.ttl = 1;
                    o.push(0)
                },
                Err(Refusal::Length),
            ),
            ("version", |_, _, a, _| a.version = 3, Err(Refusal::Version)),
            (
                "TTL before version",
                |_, h, a, _| {
                    h.ttl = 1;
                    a.version = 3
                },
                Err(Refusal::Ttl),
            ),
            ("unknown type", |_, _, a, _| a.authentication_type = 3, Err(Refusal::InvalidAuthenticationType)),
            ("other type", |_, _, a, _| a.authentication_type = 0, Err(Refusal::AuthenticationTypeMismatch)),
            ("password", |_, _, a, _| a.authentication[0] = b'S', Err(Refusal::AuthenticationFailure)),
            ("interval", |_, _, a, _| a.interval = 2, Err(Refusal::Interval)),
            (
                "password before interval",
                |_, _, a, _| {
                    a.interval = 2;
                    a.authentication[7] = 1
                },
                Err(Refusal::AuthenticationFailure),
            ),
            ("type", |_, _, a, _| a.kind = 2, Err(Refusal::Type)),
            ("checksum", |_, _, _, o| o[6] ^= 1, Err(Refusal::Checksum)),
            (
                "another group",
                |_, h, _, _| h.destination = Ipv4Addr::new(224, 0, 0, 19),
                Err(Refusal::Destination),
            ),
            ("unicast", |_, h, _, _| h.destination = Ipv4Addr::new(10, 0, 0, 1), Err(Refusal::Destination)),
            ("owner listens", |c, _, _, _| c.priority = Priority::OWNER, Ok(true)),
            (
                "owner told not to",
                |c, _, _, _| {
                    c.priority = Priority::OWNER;
                    c.owner_ignore_adverts = true
                },
                Err(Refusal::Owner),
            ),
            ("other address", |_, _, a, _| a.addresses[0] = Ipv4Addr::new(1, 1, 1, 1), Ok(false)),
            ("more addresses", |_, _, a, _| a.addresses.push(Ipv4Addr::new(1, 1, 1, 1)), Ok(false)),
            ("no addresses", |_, _, a, _| a.addresses.clear(), Ok(false)),
        ];
        for (name, change, want) in rows {
            // Once for header and fields, once more for the octets.
            let (mut config, mut header, mut advert) = (config("A", 51, 150), header(), advert());
            change(&mut config, &mut header, &mut advert, &mut vec![0; 64]);
            let mut octets = advert.emit();
            change(&mut config.clone(), &mut header.clone(), &mut advert.clone(), &mut octets);
            let got = check(&config, &header, &octets).map(|received| received.same_addresses);
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn unicast_checks() {
        let peer = Ipv4Addr::new(10, 0, 0, 2);
        let stranger = Ipv4Addr::new(10, 0, 0, 9);
        let us = Ipv4Addr::new(10, 0, 0, 1);
        for (name, source, destination, ttl, check_source, want) in [
            ("peer, any TTL", peer, us, 1, true, Ok(())),
            ("stranger is accepted by default", stranger, us, 255, false, Ok(())),
            ("stranger with check_unicast_src", stranger, us, 255, true, Err(Refusal::Peer)),
            ("multicast", peer, GROUP, 255, false, Err(Refusal::Destination)),
            ("multicast with TTL 1", peer, GROUP, 1, false, Err(Refusal::Ttl)),
        ] {
            let mut config = config("A", 51, 150);
            config.authentication = Authentication::Pass(*b"secret\0\0");
            config.delivery =
                Delivery::Unicast { peers: vec![Peer::new(peer)], ttl: Some(255), check_source };
            let header = Header { source, destination, ttl, ..header() };
            assert_eq!(check(&config, &header, &advert().emit()).map(|_| ()), want, "{name}");
        }
    }
}

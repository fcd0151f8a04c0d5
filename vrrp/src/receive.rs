//! Checks of a received advertisement, in order (RFC 3768 §7.1, RFC 9568 §7.1).
//!
//! Here: accept or refuse, with a name for each refusal. Not here: which virtual router a
//! datagram is for (`engine`), what an accepted one does (`router`).
//!
//! The order: Authentication Header there or not, TTL, version, length, signature, type and password of
//! version 2, type, checksum, destination, interval, addresses, owner, peer. The first that fails counts.
//!
//! Kept from keepalived, against the RFCs (vrrp/CONFORMANCE.md): authentication types are offered, nothing may
//! follow the message, a differing address list is noted and used, an owner listens, the TTL counts for
//! multicast only. Not kept: a differing interval of version 2 is counted, and an interval of 0 in version 3
//! is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::auth::Session;
use crate::hmac::HmacRefusal;
use crate::types::{
    Authentication, Delivery, Family, InstanceConfig, Peer, Priority, UnicastChecksum, Version,
    VirtualAddress, Vrid,
};
use crate::wire::advert::{ADVERTISEMENT, Advert, Checksum, Prefix};
use crate::wire::ah;
use crate::wire::datagram::Datagram;
use crate::wire::ipv4::{AUTHENTICATION_HEADER, TTL};

/// Why an advertisement was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// An Authentication Header where none is configured or the other way round, or an authentication type
    /// that is not ours.
    AuthenticationTypeMismatch,
    /// Shorter or longer than its number of addresses asks for.
    Length,
    /// TTL or hop limit: of a multicast advertisement not 255, of a peer's outside min_ttl and max_ttl.
    Ttl,
    /// Another version than ours.
    Version,
    /// Authentication type is not 0, 1 or 2.
    InvalidAuthenticationType,
    /// Wrong password, digest or sequence number.
    AuthenticationFailure,
    /// auth_hmac
    Signature(HmacRefusal),
    /// Interval differs from ours (version 2), or is 0 (version 3).
    Interval,
    /// Type is not 1.
    Type,
    /// Checksum.
    Checksum,
    /// Multicast where unicast is configured or the other way round, or another group.
    Destination,
    /// No addresses in version 3; strict_mode: the first one over IPv6 is not of the link.
    NoAddresses,
    /// We own the addresses and were told to ignore advertisements.
    Owner,
    /// Unicast from a source that is no peer (check_unicast_src).
    Peer,
    /// Virtual router takes no part (Initialize, Fault, start-up delay).
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
            Refusal::Signature(refusal) => refusal.as_str(),
            Refusal::Interval => "interval",
            Refusal::Type => "type",
            Refusal::Checksum => "checksum",
            Refusal::Destination => "destination",
            Refusal::NoAddresses => "no_addresses",
            Refusal::Owner => "owner",
            Refusal::Peer => "peer",
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
            Refusal::Length => "length does not fit the number of addresses (an extension that is not ours?)",
            Refusal::Ttl => {
                "TTL or hop limit is not what it must be (255 on a link, RFC 9568 §5.1.1.3; min_ttl and \
                 max_ttl of a peer): it was forwarded, or forged"
            }
            Refusal::Version => "VRRP version differs: give both routers the same version",
            Refusal::InvalidAuthenticationType => "unknown authentication type",
            Refusal::AuthenticationFailure => {
                "wrong password, or a replay: give both routers the same auth_pass"
            }
            Refusal::Signature(refusal) => refusal.explain(),
            Refusal::Interval => "advertisement interval differs: give both routers the same advert_int",
            Refusal::Type => "not an advertisement (type is not 1)",
            Refusal::Checksum => "wrong checksum",
            Refusal::Destination => {
                "multicast and unicast, or the groups, do not match: give both routers unicast_peer, or none"
            }
            Refusal::NoAddresses => "lists no address, or over IPv6 none of the link first (strict_mode)",
            Refusal::Owner => "address owner ignores advertisements (owner_ignore_adverts)",
            Refusal::Peer => "sender is not a unicast_peer (check_unicast_src)",
            Refusal::NotRunning => "virtual router takes no part now",
            Refusal::OwnAddress => "our own address and priority: a loop, or two routers with one address",
        }
    }
}

/// An acceptable advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub source: IpAddr,
    /// Its priority.
    pub priority: Priority,
    /// Its interval.
    pub interval: Duration,
    /// Whether its addresses are ours, in number and content.
    pub same_addresses: bool,
    /// Whether it came from a unicast_peer, or by multicast.
    pub listed: bool,
    /// Which checksum it has.
    pub form: ChecksumForm,
    /// auth_hmac is configured, and it is not signed: the mode accepts that.
    pub unsigned: bool,
    /// Difference of our clock and its sender's, if it is more than half the time window of auth_hmac.
    pub skew: Option<Duration>,
}

/// The forms in which the checksum of version 3 over IPv4 is sent; of others it is always `Usual`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumForm {
    /// With the pseudo header, as keepalived sends it.
    Usual,
    /// Without, as RFC 9568 §5.2.8 says.
    WithoutPseudoHeader,
    /// With the multicast group for the destination of a unicast advertisement (old_unicast_checksum).
    OldUnicast,
}

/// VRID of a datagram, to find whom it is for; `None` when it is too short to tell.
pub fn vrid(datagram: &Datagram<'_>) -> Option<u8> {
    let message = match datagram.protocol {
        AUTHENTICATION_HEADER => datagram.payload.get(ah::LENGTH..)?,
        _ => datagram.payload,
    };
    Prefix::parse(message).map(|prefix| prefix.vrid)
}

/// Whether an advertisement for `destination` is meant for a router that sends as `delivery`.
pub fn destination_fits(delivery: &Delivery, destination: IpAddr) -> bool {
    match delivery {
        Delivery::Multicast { group } => *group == destination,
        Delivery::Unicast { .. } => !destination.is_multicast(),
    }
}

/// Checks one datagram for the virtual router of `config`, whose advertised addresses have the octets
/// `addresses`. `unix` is the time since 1970.
///
/// # Errors
/// The first check that failed, in the order of the module's documentation.
pub fn check(
    config: &InstanceConfig,
    addresses: &[u8],
    session: &mut Session,
    unix: Duration,
    datagram: &Datagram<'_>,
) -> Result<Received, Refusal> {
    let is_header = datagram.protocol == AUTHENTICATION_HEADER;
    let message = match (&config.authentication, datagram.header) {
        (Authentication::Ah(key), Some(header)) if is_header => {
            multicast_ttl(datagram)?;
            session.open(key, &header, datagram.payload)?
        }
        (Authentication::Ah(_), _) => return Err(Refusal::AuthenticationTypeMismatch),
        _ if is_header => return Err(Refusal::AuthenticationTypeMismatch),
        _ => datagram.payload,
    };
    multicast_ttl(datagram)?;
    let prefix = Prefix::parse(message).ok_or(Refusal::Length)?;
    if prefix.version != config.version.number() {
        return Err(Refusal::Version);
    }
    let advert = Advert::parse(message, config.version, config.family).ok_or(Refusal::Length)?;
    let checked = session.check(config, unix, datagram.source, &advert)?;
    if config.version == Version::V2 {
        config.authentication.check(&advert)?;
    }
    if advert.kind != ADVERTISEMENT {
        return Err(Refusal::Type);
    }
    let form = checksum(config, datagram, &advert).ok_or(Refusal::Checksum)?;
    if !destination_fits(&config.delivery, datagram.destination) {
        return Err(Refusal::Destination);
    }
    let interval = advert.interval(config.version);
    match config.version {
        Version::V2 if interval != config.advert_interval => return Err(Refusal::Interval),
        Version::V3 if interval.is_zero() => return Err(Refusal::Interval),
        _ => {}
    }
    if unusable_addresses(config, addresses, &advert) {
        return Err(Refusal::NoAddresses);
    }
    if config.priority == Priority::OWNER && config.owner_ignore_adverts {
        return Err(Refusal::Owner);
    }
    Ok(Received {
        source: datagram.source,
        priority: advert.priority,
        interval,
        same_addresses: same_addresses(addresses, advert.addresses, config.family),
        listed: listed(&config.delivery, datagram)?,
        form,
        unsigned: checked.is_some_and(|checked| !checked.signed),
        skew: checked.and_then(|checked| checked.skew),
    })
}

/// RFC 3768 §5.2.3, RFC 9568 §5.1.1.3 and §5.1.2.3.
fn multicast_ttl(datagram: &Datagram<'_>) -> Result<(), Refusal> {
    if datagram.destination.is_multicast() && datagram.hop_limit != TTL {
        return Err(Refusal::Ttl);
    }
    Ok(())
}

fn checksum(config: &InstanceConfig, datagram: &Datagram<'_>, advert: &Advert<'_>) -> Option<ChecksumForm> {
    let (source, destination) = (datagram.source, datagram.destination);
    let pseudo = |destination| Checksum::Pseudo { source, destination };
    match (config.version, config.family) {
        (Version::V2, _) => advert.checksum([Checksum::Message]).map(|_| ChecksumForm::Usual),
        (Version::V3, Family::V6) => advert.checksum([pseudo(destination)]).map(|_| ChecksumForm::Usual),
        (Version::V3, Family::V4) => {
            let old = !destination.is_multicast() && config.unicast_checksum != UnicastChecksum::New;
            let old = old.then_some((pseudo(IpAddr::V4(OLD_GROUP)), ChecksumForm::OldUnicast));
            let forms = [
                (pseudo(destination), ChecksumForm::Usual),
                (Checksum::Message, ChecksumForm::WithoutPseudoHeader),
            ];
            forms
                .into_iter()
                .chain(old)
                .find(|(form, _)| form.over(advert.message) == 0)
                .map(|(_, name)| name)
        }
    }
}

/// What peers before keepalived 1.3.6 take for the destination of unicast.
pub(crate) const OLD_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// RFC 9568 §5.2.5 with erratum 8299, unless we are meant to have none either; §5.2.9 with erratum 8300 in
/// strict mode.
fn unusable_addresses(config: &InstanceConfig, own: &[u8], advert: &Advert<'_>) -> bool {
    if config.version == Version::V2 {
        return false;
    }
    if advert.count == 0 {
        return config.strict || !own.is_empty();
    }
    let first = advert.addresses.first_chunk::<16>().copied().map(Ipv6Addr::from);
    config.strict && config.family == Family::V6 && first.is_none_or(|first| !first.is_unicast_link_local())
}

/// Same number, and each of ours is among them; the order does not matter.
fn same_addresses(own: &[u8], received: &[u8], family: Family) -> bool {
    if own == received {
        return true;
    }
    let width = family.width();
    let has = |address: &[u8]| received.chunks_exact(width).any(|other| other == address);
    own.len() == received.len() && own.chunks_exact(width).all(has)
}

/// Whether the sender is known; refuses one that must not be used.
fn listed(delivery: &Delivery, datagram: &Datagram<'_>) -> Result<bool, Refusal> {
    let Delivery::Unicast { peers, check_source, .. } = delivery else { return Ok(true) };
    match peers.iter().find(|peer| peer.address == datagram.source) {
        Some(peer) if *check_source && !(peer.min_ttl..=peer.max_ttl).contains(&datagram.hop_limit) => {
            Err(Refusal::Ttl)
        }
        Some(_) => Ok(true),
        None if *check_source => Err(Refusal::Peer),
        None => Ok(false),
    }
}

/// Octets of the addresses that adverts of `config` list.
pub(crate) fn address_octets(config: &InstanceConfig) -> Vec<u8> {
    let mut octets = Vec::with_capacity(config.addresses.len() * config.family.width());
    for one in &config.addresses {
        match (one.address, config.family) {
            (IpAddr::V4(address), Family::V4) => octets.extend(address.octets()),
            (IpAddr::V6(address), Family::V6) => octets.extend(address.octets()),
            _ => {}
        }
    }
    octets
}

/// Feeds any octets through header, parser and checks of routers of each kind, as fuzzing and
/// property tests do.
///
/// # Panics
/// When an accepted advertisement does not name its VRID, or a refused one of each kind has no name.
pub fn exercise_any(octets: &[u8]) {
    let v6 = Ipv6Addr::LOCALHOST;
    let group6 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
    let datagrams = Datagram::of_ipv4(octets)
        .ok()
        .into_iter()
        .chain([Datagram::of_ipv6(v6, group6, TTL, octets), Datagram::of_ipv6(v6, v6, 64, octets)]);
    for datagram in datagrams {
        let peers = vec![Peer::new(datagram.source)];
        let deliveries = [
            Delivery::Multicast { group: datagram.destination },
            Delivery::Unicast { peers, ttl: None, check_source: true },
        ];
        let family = Family::of(datagram.source);
        for delivery in deliveries {
            for version in [Version::V2, Version::V3] {
                for authentication in
                    [Authentication::None, Authentication::Pass(*b"secret\0\0"), Authentication::Ah([7; 8])]
                {
                    let mut config = plain_config(delivery.clone(), authentication);
                    (config.version, config.family) = (version, family);
                    let own = address_octets(&config);
                    let mut session = Session::default();
                    match check(&config, &own, &mut session, Duration::from_secs(1), &datagram) {
                        Ok(_) => assert!(vrid(&datagram).is_some(), "an accepted one names its VRID"),
                        Err(refusal) => assert!(!refusal.as_str().is_empty(), "a refusal has a name"),
                    }
                }
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
mod tests;

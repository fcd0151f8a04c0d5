//! Attributes of a virtual service (`IPVS_SVC_ATTR_*`) and what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, Nla, NlaBuffer, Parseable, parse_u16, parse_u16_be,
    parse_u32,
};

use super::stats::{StatsAttribute, stats};
use super::{Attributes, emit_text, parse_nested, parse_octets, parse_text, unknown};
use crate::types::{Family, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId, Stats};

/// `AF_INET`
pub(super) const AF_INET: u16 = 2;
/// `AF_INET6`
pub(super) const AF_INET6: u16 = 10;
/// `IPVS_SVC_ATTR_STATS`
const STATS: u16 = 10;
/// `IPVS_SVC_ATTR_STATS64`
const STATS64: u16 = 12;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_SCTP: u16 = 132;

/// One attribute of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAttribute {
    /// `IPVS_SVC_ATTR_AF` (1)
    AddressFamily(u16),
    /// `IPVS_SVC_ATTR_PROTOCOL` (2)
    Protocol(u16),
    /// `IPVS_SVC_ATTR_ADDR` (3): IPv4 in the first four octets.
    Address([u8; 16]),
    /// `IPVS_SVC_ATTR_PORT` (4), big endian on the wire.
    Port(u16),
    /// `IPVS_SVC_ATTR_FWMARK` (5), instead of protocol, address and port.
    FwMark(u32),
    /// `IPVS_SVC_ATTR_SCHED_NAME` (6); `none` for no scheduler.
    SchedulerName(String),
    /// `IPVS_SVC_ATTR_FLAGS` (7), struct `ip_vs_flags`.
    Flags {
        /// Values.
        flags: u32,
        /// Which bits of `flags` count: new = (old & !mask) | (flags & mask).
        mask: u32,
    },
    /// `IPVS_SVC_ATTR_TIMEOUT` (8): persistence, seconds.
    Timeout(u32),
    /// `IPVS_SVC_ATTR_NETMASK` (9): IPv4 mask in network order, IPv6 prefix length as u32 in host order.
    Netmask([u8; 4]),
    /// `IPVS_SVC_ATTR_STATS` (10)
    Stats(Vec<StatsAttribute>),
    /// `IPVS_SVC_ATTR_PE_NAME` (11)
    PersistenceEngine(String),
    /// `IPVS_SVC_ATTR_STATS64` (12)
    Stats64(Vec<StatsAttribute>),
    /// An attribute this version does not know.
    Other(DefaultNla),
}

impl Nla for ServiceAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::AddressFamily(_) | Self::Protocol(_) | Self::Port(_) => 2,
            Self::Address(_) => 16,
            Self::FwMark(_) | Self::Timeout(_) | Self::Netmask(_) => 4,
            Self::SchedulerName(text) | Self::PersistenceEngine(text) => text.len() + 1,
            Self::Flags { .. } => 8,
            Self::Stats(nested) | Self::Stats64(nested) => nested.as_slice().buffer_len(),
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::AddressFamily(_) => 1,
            Self::Protocol(_) => 2,
            Self::Address(_) => 3,
            Self::Port(_) => 4,
            Self::FwMark(_) => 5,
            Self::SchedulerName(_) => 6,
            Self::Flags { .. } => 7,
            Self::Timeout(_) => 8,
            Self::Netmask(_) => 9,
            Self::Stats(_) => STATS | NLA_F_NESTED,
            Self::PersistenceEngine(_) => 11,
            Self::Stats64(_) => STATS64 | NLA_F_NESTED,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::AddressFamily(value) | Self::Protocol(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::Address(octets) => buffer.copy_from_slice(octets),
            Self::Port(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::FwMark(value) | Self::Timeout(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::SchedulerName(text) | Self::PersistenceEngine(text) => emit_text(text, buffer),
            Self::Flags { flags, mask } => {
                let (low, high) = buffer.split_at_mut(4);
                low.copy_from_slice(&flags.to_ne_bytes());
                high.copy_from_slice(&mask.to_ne_bytes());
            }
            Self::Netmask(octets) => buffer.copy_from_slice(octets),
            Self::Stats(nested) | Self::Stats64(nested) => nested.as_slice().emit(buffer),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&T>> for ServiceAttribute {
    fn parse(buffer: &NlaBuffer<&T>) -> Result<Self, DecodeError> {
        Self::of(buffer.kind(), buffer.value())
    }
}

impl ServiceAttribute {
    /// The attribute of this number, without flags, and value.
    fn of(kind: u16, value: &[u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            1 => Self::AddressFamily(parse_u16(value)?),
            2 => Self::Protocol(parse_u16(value)?),
            3 => Self::Address(parse_octets(value)?),
            4 => Self::Port(parse_u16_be(value)?),
            5 => Self::FwMark(parse_u32(value)?),
            6 => Self::SchedulerName(parse_text(value)?),
            7 => {
                let [a, b, c, d, e, f, g, h] = parse_octets(value)?;
                Self::Flags {
                    flags: u32::from_ne_bytes([a, b, c, d]),
                    mask: u32::from_ne_bytes([e, f, g, h]),
                }
            }
            8 => Self::Timeout(parse_u32(value)?),
            9 => Self::Netmask(parse_octets(value)?),
            STATS => Self::Stats(parse_nested(value)?),
            11 => Self::PersistenceEngine(parse_text(value)?),
            STATS64 => Self::Stats64(parse_nested(value)?),
            _ => Self::Other(unknown(kind, value)),
        })
    }
}

/// The key: what the kernel needs to find a service.
pub fn key_attributes(id: &ServiceId) -> Vec<ServiceAttribute> {
    let family = ServiceAttribute::AddressFamily(family_code(id.family()));
    match id {
        ServiceId::Addr { protocol, vip } => vec![
            family,
            ServiceAttribute::Protocol(match protocol {
                Protocol::Tcp => IPPROTO_TCP,
                Protocol::Udp => IPPROTO_UDP,
                Protocol::Sctp => IPPROTO_SCTP,
            }),
            ServiceAttribute::Address(address_octets(vip.ip())),
            ServiceAttribute::Port(vip.port()),
        ],
        ServiceId::FwMark { mark, .. } => vec![family, ServiceAttribute::FwMark(mark.get())],
    }
}

/// Key and all that the kernel demands to add or change a service.
pub fn service_attributes(id: &ServiceId, service: &Service) -> Vec<ServiceAttribute> {
    let mut attributes = key_attributes(id);
    attributes.extend([
        ServiceAttribute::SchedulerName(service.scheduler.as_str().to_owned()),
        ServiceAttribute::Flags { flags: service.flags.without(ServiceFlags::HASHED).0, mask: u32::MAX },
        ServiceAttribute::Timeout(service.persistence_timeout),
        ServiceAttribute::Netmask(match service.netmask {
            Netmask::V4(mask) => mask.octets(),
            Netmask::V6(length) => u32::from(length).to_ne_bytes(),
        }),
    ]);
    if let Some(engine) = &service.persistence_engine {
        attributes.push(ServiceAttribute::PersistenceEngine(engine.clone()));
    }
    attributes
}

/// A service as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReport {
    /// Its key.
    pub id: ServiceId,
    /// What it is, without [`ServiceFlags::HASHED`].
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
}

/// Reads the nested attributes of a service; `None` when they cannot be read, or when it is of a kind that the
/// types cannot express (another protocol or family, a mark of 0), so that it cannot be one of ours.
pub fn service_report(nested: &[u8]) -> Option<ServiceReport> {
    let (mut family, mut protocol, mut octets, mut port, mut mark) = (None, None, None, None, None);
    let (mut scheduler, mut netmask, mut engine) = (None, None, None);
    let (mut flags, mut timeout) = (0, 0);
    let (mut narrow, mut wide) = (None, None);
    for attribute in Attributes(nested) {
        let (kind, value) = attribute?;
        match kind {
            STATS => narrow = Some(value),
            STATS64 => wide = Some(value),
            _ => match ServiceAttribute::of(kind, value).ok()? {
                ServiceAttribute::AddressFamily(value) => family = Some(family_of_code(value)?),
                ServiceAttribute::Protocol(value) => protocol = Some(value),
                ServiceAttribute::Address(value) => octets = Some(value),
                ServiceAttribute::Port(value) => port = Some(value),
                ServiceAttribute::FwMark(value) => mark = Some(NonZeroU32::new(value)?),
                ServiceAttribute::SchedulerName(name) => scheduler = Some(Scheduler::new(&name)?),
                ServiceAttribute::Flags { flags: value, .. } => flags = value,
                ServiceAttribute::Timeout(value) => timeout = value,
                ServiceAttribute::Netmask(value) => netmask = Some(value),
                ServiceAttribute::PersistenceEngine(name) => engine = Some(name),
                ServiceAttribute::Stats(_) | ServiceAttribute::Stats64(_) | ServiceAttribute::Other(_) => {}
            },
        }
    }
    let family = family?;
    let id = match mark {
        Some(mark) => ServiceId::FwMark { mark, family },
        None => ServiceId::Addr {
            protocol: match protocol? {
                IPPROTO_TCP => Protocol::Tcp,
                IPPROTO_UDP => Protocol::Udp,
                IPPROTO_SCTP => Protocol::Sctp,
                _ => return None,
            },
            vip: SocketAddr::new(address_of(family, octets?), port?),
        },
    };
    let netmask = match (family, netmask) {
        (_, None) => Netmask::full(family),
        (Family::Inet, Some(octets)) => Netmask::V4(Ipv4Addr::from(octets)),
        (Family::Inet6, Some(octets)) => Netmask::V6(u8::try_from(u32::from_ne_bytes(octets)).ok()?),
    };
    let service = Service {
        scheduler: scheduler?,
        flags: ServiceFlags(flags).without(ServiceFlags::HASHED),
        persistence_timeout: timeout,
        netmask,
        persistence_engine: engine,
    };
    Some(ServiceReport { id, service, stats: stats(wide.or(narrow))? })
}

/// The number of a family.
pub(super) fn family_code(family: Family) -> u16 {
    match family {
        Family::Inet => AF_INET,
        Family::Inet6 => AF_INET6,
    }
}

/// The family of a number; `None` for others than IPv4 and IPv6.
pub(super) fn family_of_code(code: u16) -> Option<Family> {
    match code {
        AF_INET => Some(Family::Inet),
        AF_INET6 => Some(Family::Inet6),
        _ => None,
    }
}

/// An address as union `nf_inet_addr`.
pub(super) fn address_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address in a union `nf_inet_addr`.
pub(super) fn address_of(family: Family, octets: [u8; 16]) -> IpAddr {
    match family {
        Family::Inet => {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Family::Inet6 => IpAddr::V6(Ipv6Addr::from(octets)),
    }
}

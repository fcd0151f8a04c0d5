//! Attributes of a destination (`IPVS_DEST_ATTR_*`) and what they mean.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, Nla, NlaBuffer, Parseable, parse_u8, parse_u16,
    parse_u16_be, parse_u32,
};

use super::service::{address_octets, address_of, family_code, family_of_code};
use super::stats::{StatsAttribute, stats};
use super::{Attributes, parse_nested, parse_octets, unknown};
use crate::types::{
    Destination, DestinationReport, DestinationStats, Family, Forwarding, Tunnel, TunnelChecksum,
};

/// `IPVS_DEST_ATTR_STATS`
const STATS: u16 = 10;
/// `IPVS_DEST_ATTR_STATS64`
const STATS64: u16 = 12;
const IP_VS_CONN_F_MASQ: u32 = 0;
const IP_VS_CONN_F_LOCALNODE: u32 = 1;
const IP_VS_CONN_F_TUNNEL: u32 = 2;
const IP_VS_CONN_F_DROUTE: u32 = 3;
const IP_VS_CONN_F_FWD_MASK: u32 = 7;
const IP_VS_CONN_F_TUNNEL_TYPE_IPIP: u8 = 0;
const IP_VS_CONN_F_TUNNEL_TYPE_GUE: u8 = 1;
const IP_VS_CONN_F_TUNNEL_TYPE_GRE: u8 = 2;
const IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM: u16 = 0;
const IP_VS_TUNNEL_ENCAP_FLAG_CSUM: u16 = 1;
const IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: u16 = 2;

/// One attribute of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationAttribute {
    /// `IPVS_DEST_ATTR_ADDR` (1): IPv4 in the first four octets.
    Address([u8; 16]),
    /// `IPVS_DEST_ATTR_PORT` (2), big endian on the wire.
    Port(u16),
    /// `IPVS_DEST_ATTR_FWD_METHOD` (3)
    ForwardingMethod(u32),
    /// `IPVS_DEST_ATTR_WEIGHT` (4)
    Weight(u32),
    /// `IPVS_DEST_ATTR_U_THRESH` (5)
    UpperThreshold(u32),
    /// `IPVS_DEST_ATTR_L_THRESH` (6)
    LowerThreshold(u32),
    /// `IPVS_DEST_ATTR_ACTIVE_CONNS` (7)
    ActiveConnections(u32),
    /// `IPVS_DEST_ATTR_INACT_CONNS` (8)
    InactiveConnections(u32),
    /// `IPVS_DEST_ATTR_PERSIST_CONNS` (9)
    PersistentConnections(u32),
    /// `IPVS_DEST_ATTR_STATS` (10)
    Stats(Vec<StatsAttribute>),
    /// `IPVS_DEST_ATTR_ADDR_FAMILY` (11): may differ from the service's with tunnels only.
    AddressFamily(u16),
    /// `IPVS_DEST_ATTR_STATS64` (12)
    Stats64(Vec<StatsAttribute>),
    /// `IPVS_DEST_ATTR_TUN_TYPE` (13)
    TunnelType(u8),
    /// `IPVS_DEST_ATTR_TUN_PORT` (14), big endian on the wire.
    TunnelPort(u16),
    /// `IPVS_DEST_ATTR_TUN_FLAGS` (15)
    TunnelFlags(u16),
    /// An attribute this version does not know.
    Other(DefaultNla),
}

impl Nla for DestinationAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::Address(_) => 16,
            Self::Port(_) | Self::AddressFamily(_) | Self::TunnelPort(_) | Self::TunnelFlags(_) => 2,
            Self::ForwardingMethod(_)
            | Self::Weight(_)
            | Self::UpperThreshold(_)
            | Self::LowerThreshold(_)
            | Self::ActiveConnections(_)
            | Self::InactiveConnections(_)
            | Self::PersistentConnections(_) => 4,
            Self::Stats(nested) | Self::Stats64(nested) => nested.as_slice().buffer_len(),
            Self::TunnelType(_) => 1,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::Address(_) => 1,
            Self::Port(_) => 2,
            Self::ForwardingMethod(_) => 3,
            Self::Weight(_) => 4,
            Self::UpperThreshold(_) => 5,
            Self::LowerThreshold(_) => 6,
            Self::ActiveConnections(_) => 7,
            Self::InactiveConnections(_) => 8,
            Self::PersistentConnections(_) => 9,
            Self::Stats(_) => STATS | NLA_F_NESTED,
            Self::AddressFamily(_) => 11,
            Self::Stats64(_) => STATS64 | NLA_F_NESTED,
            Self::TunnelType(_) => 13,
            Self::TunnelPort(_) => 14,
            Self::TunnelFlags(_) => 15,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::Address(octets) => buffer.copy_from_slice(octets),
            Self::Port(port) | Self::TunnelPort(port) => buffer.copy_from_slice(&port.to_be_bytes()),
            Self::AddressFamily(value) | Self::TunnelFlags(value) => {
                buffer.copy_from_slice(&value.to_ne_bytes());
            }
            Self::ForwardingMethod(value)
            | Self::Weight(value)
            | Self::UpperThreshold(value)
            | Self::LowerThreshold(value)
            | Self::ActiveConnections(value)
            | Self::InactiveConnections(value)
            | Self::PersistentConnections(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Stats(nested) | Self::Stats64(nested) => nested.as_slice().emit(buffer),
            Self::TunnelType(value) => buffer.copy_from_slice(&[*value]),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&T>> for DestinationAttribute {
    fn parse(buffer: &NlaBuffer<&T>) -> Result<Self, DecodeError> {
        Self::of(buffer.kind(), buffer.value())
    }
}

impl DestinationAttribute {
    /// The attribute of this number, without flags, and value.
    fn of(kind: u16, value: &[u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            1 => Self::Address(parse_octets(value)?),
            2 => Self::Port(parse_u16_be(value)?),
            3 => Self::ForwardingMethod(parse_u32(value)?),
            4 => Self::Weight(parse_u32(value)?),
            5 => Self::UpperThreshold(parse_u32(value)?),
            6 => Self::LowerThreshold(parse_u32(value)?),
            7 => Self::ActiveConnections(parse_u32(value)?),
            8 => Self::InactiveConnections(parse_u32(value)?),
            9 => Self::PersistentConnections(parse_u32(value)?),
            STATS => Self::Stats(parse_nested(value)?),
            11 => Self::AddressFamily(parse_u16(value)?),
            STATS64 => Self::Stats64(parse_nested(value)?),
            13 => Self::TunnelType(parse_u8(value)?),
            14 => Self::TunnelPort(parse_u16_be(value)?),
            15 => Self::TunnelFlags(parse_u16(value)?),
            _ => Self::Other(unknown(kind, value)),
        })
    }
}

/// The key: what the kernel needs to find a destination in its service.
pub fn key_attributes(address: SocketAddr) -> Vec<DestinationAttribute> {
    vec![
        DestinationAttribute::AddressFamily(family_code(Family::of(address.ip()))),
        DestinationAttribute::Address(address_octets(address.ip())),
        DestinationAttribute::Port(address.port()),
    ]
}

/// Key and all that the kernel demands to add or change a destination.
pub fn destination_attributes(address: SocketAddr, destination: &Destination) -> Vec<DestinationAttribute> {
    let mut attributes = key_attributes(address);
    let (method, tunnel) = match destination.forwarding {
        Forwarding::Nat => (IP_VS_CONN_F_MASQ, None),
        Forwarding::Local => (IP_VS_CONN_F_LOCALNODE, None),
        Forwarding::Tunnel(tunnel) => (IP_VS_CONN_F_TUNNEL, Some(tunnel)),
        Forwarding::Direct => (IP_VS_CONN_F_DROUTE, None),
        Forwarding::Other(code) => (code, None),
    };
    attributes.extend([
        DestinationAttribute::ForwardingMethod(method),
        DestinationAttribute::Weight(destination.weight),
        DestinationAttribute::UpperThreshold(destination.upper_threshold),
        DestinationAttribute::LowerThreshold(destination.lower_threshold),
    ]);
    if let Some(tunnel) = tunnel {
        let (kind, port, flags) = match tunnel {
            Tunnel::Ipip => (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, 0, 0),
            Tunnel::Gue { port, checksum } => {
                (IP_VS_CONN_F_TUNNEL_TYPE_GUE, port.get(), checksum_flags(checksum))
            }
            Tunnel::Gre { checksum } => (IP_VS_CONN_F_TUNNEL_TYPE_GRE, 0, checksum_flags(checksum)),
            Tunnel::Other { kind, port, flags } => (kind, port, flags),
        };
        attributes.extend([
            DestinationAttribute::TunnelType(kind),
            DestinationAttribute::TunnelPort(port),
            DestinationAttribute::TunnelFlags(flags),
        ]);
    }
    attributes
}

/// Reads the nested attributes of a destination of a service of `family` (which it has where it does not name
/// its own); `None` when they cannot be read, or its key is missing or of another family than IPv4 and IPv6.
///
/// Allocates nothing: audits read tens of thousands a round.
pub fn destination_report(nested: &[u8], family: Family) -> Option<DestinationReport> {
    let mut family = family;
    let (mut octets, mut port) = (None, None);
    let (mut method, mut weight, mut upper, mut lower) = (0, 0, 0, 0);
    let (mut tunnel_type, mut tunnel_port, mut tunnel_flags) = (0, 0, 0);
    let mut counters = DestinationStats::default();
    let (mut narrow, mut wide) = (None, None);
    for attribute in Attributes(nested) {
        let (kind, value) = attribute?;
        match kind {
            STATS => narrow = Some(value),
            STATS64 => wide = Some(value),
            _ => match DestinationAttribute::of(kind, value).ok()? {
                DestinationAttribute::Address(value) => octets = Some(value),
                DestinationAttribute::Port(value) => port = Some(value),
                DestinationAttribute::ForwardingMethod(value) => method = value & IP_VS_CONN_F_FWD_MASK,
                DestinationAttribute::Weight(value) => weight = value,
                DestinationAttribute::UpperThreshold(value) => upper = value,
                DestinationAttribute::LowerThreshold(value) => lower = value,
                DestinationAttribute::ActiveConnections(value) => counters.active_connections = value,
                DestinationAttribute::InactiveConnections(value) => counters.inactive_connections = value,
                DestinationAttribute::PersistentConnections(value) => counters.persistent_connections = value,
                DestinationAttribute::AddressFamily(value) => family = family_of_code(value)?,
                DestinationAttribute::TunnelType(value) => tunnel_type = value,
                DestinationAttribute::TunnelPort(value) => tunnel_port = value,
                DestinationAttribute::TunnelFlags(value) => tunnel_flags = value,
                DestinationAttribute::Stats(_)
                | DestinationAttribute::Stats64(_)
                | DestinationAttribute::Other(_) => {}
            },
        }
    }
    let forwarding = match method {
        IP_VS_CONN_F_MASQ => Forwarding::Nat,
        IP_VS_CONN_F_LOCALNODE => Forwarding::Local,
        IP_VS_CONN_F_TUNNEL => Forwarding::Tunnel(tunnel(tunnel_type, tunnel_port, tunnel_flags)),
        IP_VS_CONN_F_DROUTE => Forwarding::Direct,
        other => Forwarding::Other(other),
    };
    counters.stats = stats(wide.or(narrow))?;
    Some(DestinationReport {
        address: SocketAddr::new(address_of(family, octets?), port?),
        destination: Destination { forwarding, weight, upper_threshold: upper, lower_threshold: lower },
        stats: counters,
    })
}

/// The tunnel of three numbers; what the types cannot express stays as it is.
fn tunnel(kind: u8, port: u16, flags: u16) -> Tunnel {
    let checksum = match flags {
        IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM => Some(TunnelChecksum::None),
        IP_VS_TUNNEL_ENCAP_FLAG_CSUM => Some(TunnelChecksum::Checksum),
        IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM => Some(TunnelChecksum::Remote),
        _ => None,
    };
    match (kind, NonZeroU16::new(port), checksum) {
        (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, None, Some(TunnelChecksum::None)) => Tunnel::Ipip,
        (IP_VS_CONN_F_TUNNEL_TYPE_GUE, Some(port), Some(checksum)) => Tunnel::Gue { port, checksum },
        (IP_VS_CONN_F_TUNNEL_TYPE_GRE, None, Some(checksum)) => Tunnel::Gre { checksum },
        _ => Tunnel::Other { kind, port, flags },
    }
}

fn checksum_flags(checksum: TunnelChecksum) -> u16 {
    match checksum {
        TunnelChecksum::None => IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM,
        TunnelChecksum::Checksum => IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
        TunnelChecksum::Remote => IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM,
    }
}

//! Attributes of a connection synchronisation daemon (`IPVS_DAEMON_ATTR_*`) and what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use netlink_packet_core::{
    DecodeError, DefaultNla, Nla, NlaBuffer, Parseable, parse_u8, parse_u16, parse_u32,
};

use super::{emit_text, parse_octets, parse_text, unknown};
use crate::types::{SyncDaemon, SyncState};

const IP_VS_STATE_MASTER: u32 = 1;
const IP_VS_STATE_BACKUP: u32 = 2;

/// One attribute of a sync daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaemonAttribute {
    /// `IPVS_DAEMON_ATTR_STATE` (1): 1 master, 2 backup.
    State(u32),
    /// `IPVS_DAEMON_ATTR_MCAST_IFN` (2)
    Interface(String),
    /// `IPVS_DAEMON_ATTR_SYNC_ID` (3)
    SyncId(u32),
    /// `IPVS_DAEMON_ATTR_SYNC_MAXLEN` (4), octets.
    MaxLength(u16),
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP` (5)
    Group(Ipv4Addr),
    /// `IPVS_DAEMON_ATTR_MCAST_GROUP6` (6)
    Group6(Ipv6Addr),
    /// `IPVS_DAEMON_ATTR_MCAST_PORT` (7), **host order** unlike all other ports.
    Port(u16),
    /// `IPVS_DAEMON_ATTR_MCAST_TTL` (8)
    Ttl(u8),
    /// An attribute this version does not know.
    Other(DefaultNla),
}

impl Nla for DaemonAttribute {
    fn value_len(&self) -> usize {
        match self {
            Self::State(_) | Self::SyncId(_) | Self::Group(_) => 4,
            Self::Interface(text) => text.len() + 1,
            Self::MaxLength(_) | Self::Port(_) => 2,
            Self::Group6(_) => 16,
            Self::Ttl(_) => 1,
            Self::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Self::State(_) => 1,
            Self::Interface(_) => 2,
            Self::SyncId(_) => 3,
            Self::MaxLength(_) => 4,
            Self::Group(_) => 5,
            Self::Group6(_) => 6,
            Self::Port(_) => 7,
            Self::Ttl(_) => 8,
            Self::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Self::State(value) | Self::SyncId(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Interface(text) => emit_text(text, buffer),
            Self::MaxLength(value) | Self::Port(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Self::Group(group) => buffer.copy_from_slice(&group.octets()),
            Self::Group6(group) => buffer.copy_from_slice(&group.octets()),
            Self::Ttl(value) => buffer.copy_from_slice(&[*value]),
            Self::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&T>> for DaemonAttribute {
    fn parse(buffer: &NlaBuffer<&T>) -> Result<Self, DecodeError> {
        let value = buffer.value();
        Ok(match buffer.kind() {
            1 => Self::State(parse_u32(value)?),
            2 => Self::Interface(parse_text(value)?),
            3 => Self::SyncId(parse_u32(value)?),
            4 => Self::MaxLength(parse_u16(value)?),
            5 => Self::Group(Ipv4Addr::from(parse_octets::<4>(value)?)),
            6 => Self::Group6(Ipv6Addr::from(parse_octets::<16>(value)?)),
            7 => Self::Port(parse_u16(value)?),
            8 => Self::Ttl(parse_u8(value)?),
            _ => Self::Other(unknown(buffer.kind(), value)),
        })
    }
}

/// The key: a kernel runs at most one daemon of each role.
pub fn key_attributes(state: SyncState) -> Vec<DaemonAttribute> {
    vec![DaemonAttribute::State(match state {
        SyncState::Master => IP_VS_STATE_MASTER,
        SyncState::Backup => IP_VS_STATE_BACKUP,
    })]
}

/// What the kernel needs to start a daemon; it fills in defaults for what is left out.
pub fn daemon_attributes(daemon: &SyncDaemon) -> Vec<DaemonAttribute> {
    let mut attributes = key_attributes(daemon.state);
    attributes.push(DaemonAttribute::Interface(daemon.interface.clone()));
    attributes.push(DaemonAttribute::SyncId(daemon.sync_id.into()));
    attributes.extend(daemon.max_length.map(DaemonAttribute::MaxLength));
    attributes.extend(daemon.group.map(|group| match group {
        IpAddr::V4(group) => DaemonAttribute::Group(group),
        IpAddr::V6(group) => DaemonAttribute::Group6(group),
    }));
    attributes.extend(daemon.port.map(|port| DaemonAttribute::Port(port.get())));
    attributes.extend(daemon.ttl.map(DaemonAttribute::Ttl));
    attributes
}

/// Reads a daemon; `None` when its role is missing or unknown.
pub fn daemon_report(attributes: &[DaemonAttribute]) -> Option<SyncDaemon> {
    let mut state = None;
    let mut daemon = SyncDaemon {
        state: SyncState::Master,
        interface: String::new(),
        sync_id: 0,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    for attribute in attributes {
        match attribute {
            DaemonAttribute::State(IP_VS_STATE_MASTER) => state = Some(SyncState::Master),
            DaemonAttribute::State(IP_VS_STATE_BACKUP) => state = Some(SyncState::Backup),
            DaemonAttribute::State(_) => return None,
            DaemonAttribute::Interface(name) => daemon.interface.clone_from(name),
            DaemonAttribute::SyncId(value) => daemon.sync_id = u8::try_from(*value).ok()?,
            DaemonAttribute::MaxLength(value) => daemon.max_length = Some(*value),
            DaemonAttribute::Group(group) => daemon.group = Some(IpAddr::V4(*group)),
            DaemonAttribute::Group6(group) => daemon.group = Some(IpAddr::V6(*group)),
            DaemonAttribute::Port(port) => daemon.port = NonZeroU16::new(*port),
            DaemonAttribute::Ttl(value) => daemon.ttl = Some(*value),
            DaemonAttribute::Other(_) => {}
        }
    }
    Some(SyncDaemon { state: state?, ..daemon })
}

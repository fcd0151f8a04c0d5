//! Counters of a service or destination (`IPVS_STATS_ATTR_*`).
//!
//! `IPVS_SVC_ATTR_STATS` carries octets as u64 and all else as u32, `IPVS_SVC_ATTR_STATS64` carries
//! u64 throughout; a counter here keeps the width it came in.

use netlink_packet_core::{DecodeError, DefaultNla, Nla, NlaBuffer, Parseable, parse_u32, parse_u64};

use super::{Attributes, unknown};
use crate::types::Stats;

/// Which counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `IPVS_STATS_ATTR_CONNS` (1)
    Connections,
    /// `IPVS_STATS_ATTR_INPKTS` (2)
    InPackets,
    /// `IPVS_STATS_ATTR_OUTPKTS` (3)
    OutPackets,
    /// `IPVS_STATS_ATTR_INBYTES` (4)
    InBytes,
    /// `IPVS_STATS_ATTR_OUTBYTES` (5)
    OutBytes,
    /// `IPVS_STATS_ATTR_CPS` (6)
    ConnectionRate,
    /// `IPVS_STATS_ATTR_INPPS` (7)
    InPacketRate,
    /// `IPVS_STATS_ATTR_OUTPPS` (8)
    OutPacketRate,
    /// `IPVS_STATS_ATTR_INBPS` (9)
    InByteRate,
    /// `IPVS_STATS_ATTR_OUTBPS` (10)
    OutByteRate,
}

impl Counter {
    /// All of them, in the order of their numbers from 1.
    pub const ALL: [Counter; 10] = [
        Counter::Connections,
        Counter::InPackets,
        Counter::OutPackets,
        Counter::InBytes,
        Counter::OutBytes,
        Counter::ConnectionRate,
        Counter::InPacketRate,
        Counter::OutPacketRate,
        Counter::InByteRate,
        Counter::OutByteRate,
    ];

    fn from_kind(kind: u16) -> Option<Self> {
        Self::ALL.get(usize::from(kind).checked_sub(1)?).copied()
    }

    fn kind(self) -> u16 {
        match self {
            Counter::Connections => 1,
            Counter::InPackets => 2,
            Counter::OutPackets => 3,
            Counter::InBytes => 4,
            Counter::OutBytes => 5,
            Counter::ConnectionRate => 6,
            Counter::InPacketRate => 7,
            Counter::OutPacketRate => 8,
            Counter::InByteRate => 9,
            Counter::OutByteRate => 10,
        }
    }
}

/// One attribute of a statistics block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsAttribute {
    /// A counter of 32 bits.
    Narrow(Counter, u32),
    /// A counter of 64 bits.
    Wide(Counter, u64),
    /// Padding (`IPVS_STATS_ATTR_PAD`), or an attribute this version does not know.
    Other(DefaultNla),
}

impl Nla for StatsAttribute {
    fn value_len(&self) -> usize {
        match self {
            StatsAttribute::Narrow(..) => 4,
            StatsAttribute::Wide(..) => 8,
            StatsAttribute::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            StatsAttribute::Narrow(counter, _) | StatsAttribute::Wide(counter, _) => counter.kind(),
            StatsAttribute::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            StatsAttribute::Narrow(_, value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            StatsAttribute::Wide(_, value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            StatsAttribute::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> Parseable<NlaBuffer<&T>> for StatsAttribute {
    fn parse(buffer: &NlaBuffer<&T>) -> Result<Self, DecodeError> {
        Self::of(buffer.kind(), buffer.value())
    }
}

impl StatsAttribute {
    /// The attribute of this number, without flags, and value.
    fn of(kind: u16, value: &[u8]) -> Result<Self, DecodeError> {
        Ok(match Counter::from_kind(kind) {
            Some(counter) if value.len() == 4 => StatsAttribute::Narrow(counter, parse_u32(value)?),
            Some(counter) => StatsAttribute::Wide(counter, parse_u64(value)?),
            None => StatsAttribute::Other(unknown(kind, value)),
        })
    }
}

/// The counters of a block of nested attributes; those that are missing are 0, without a block all are. `None`
/// when they cannot be read.
pub fn stats(nested: Option<&[u8]>) -> Option<Stats> {
    let mut stats = Stats::default();
    for attribute in Attributes(nested.unwrap_or_default()) {
        let (kind, value) = attribute?;
        let (counter, value) = match StatsAttribute::of(kind, value).ok()? {
            StatsAttribute::Narrow(counter, value) => (counter, u64::from(value)),
            StatsAttribute::Wide(counter, value) => (counter, value),
            StatsAttribute::Other(_) => continue,
        };
        *match counter {
            Counter::Connections => &mut stats.connections,
            Counter::InPackets => &mut stats.in_packets,
            Counter::OutPackets => &mut stats.out_packets,
            Counter::InBytes => &mut stats.in_bytes,
            Counter::OutBytes => &mut stats.out_bytes,
            Counter::ConnectionRate => &mut stats.connection_rate,
            Counter::InPacketRate => &mut stats.in_packet_rate,
            Counter::OutPacketRate => &mut stats.out_packet_rate,
            Counter::InByteRate => &mut stats.in_byte_rate,
            Counter::OutByteRate => &mut stats.out_byte_rate,
        } = value;
    }
    Some(stats)
}

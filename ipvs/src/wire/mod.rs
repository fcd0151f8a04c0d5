//! Messages of the generic netlink family `IPVS`, version 1 (linux/ip_vs.h).
//!
//! Here: commands, attributes, octets. Not here: what a service means (`crate::types`; each attribute
//! module converts), netlink headers and sequence numbers (`crate::client`).
//!
//! ```text
//!  0               1               2               3
//! +---------------------------------------------------------------+
//! |                  nlmsg_len (whole message)                    |  netlink-packet-core
//! +-------------------------------+-------------------------------+
//! |   nlmsg_type = family id      |          nlmsg_flags          |
//! +-------------------------------+-------------------------------+
//! |                           nlmsg_seq                           |
//! +---------------------------------------------------------------+
//! |                           nlmsg_pid                           |
//! +---------------+---------------+-------------------------------+
//! |  IPVS_CMD_*   |  version = 1  |           reserved            |  netlink-packet-generic
//! +---------------+---------------+-------------------------------+
//! |  nla_len (without padding)    |  N|O|   IPVS_CMD_ATTR_*       |  here: `Attribute`
//! +-------------------------------+-------------------------------+
//! |  nested IPVS_SVC_ATTR_* …, each padded to four octets         |  `service`, `destination`, …
//! +---------------------------------------------------------------+
//! ```
//!
//! All numbers are in host order except ports of services, destinations and tunnels, and addresses.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, Nla, NlaBuffer, NlasIterator, Parseable,
    ParseableParametrized, parse_u32,
};
use netlink_packet_generic::{GenlFamily, GenlHeader};

pub mod daemon;
pub mod destination;
pub mod service;
pub mod stats;

pub use daemon::DaemonAttribute;
pub use destination::DestinationAttribute;
pub use service::ServiceAttribute;
pub use stats::StatsAttribute;

/// `IPVS_GENL_NAME`
pub const FAMILY_NAME: &str = "IPVS";
/// `IPVS_GENL_VERSION`
pub const FAMILY_VERSION: u8 = 1;

/// Length and kind before an attribute's value.
const NLA_HEADER: usize = 4;
/// Kind without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3FFF;
const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;
const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;
// In the reply to IPVS_CMD_GET_INFO the same numbers mean something else.
const IPVS_INFO_ATTR_VERSION: u16 = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

/// `IPVS_CMD_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// 1, request and reply to [`Command::GetService`].
    NewService,
    /// 2
    SetService,
    /// 3
    DelService,
    /// 4, one service or a dump.
    GetService,
    /// 5, request and reply to [`Command::GetDestination`].
    NewDestination,
    /// 6
    SetDestination,
    /// 7
    DelDestination,
    /// 8, a dump of one service's destinations.
    GetDestination,
    /// 9, request and reply to [`Command::GetDaemon`].
    NewDaemon,
    /// 10
    DelDaemon,
    /// 11, a dump.
    GetDaemon,
    /// 12, request and reply to [`Command::GetConfig`].
    SetConfig,
    /// 13
    GetConfig,
    /// 14, reply to [`Command::GetInfo`] only.
    SetInfo,
    /// 15
    GetInfo,
    /// 16, all counters or one service's.
    Zero,
    /// 17, removes every service.
    Flush,
    /// A command this version does not know.
    Other(u8),
}

impl From<Command> for u8 {
    fn from(command: Command) -> u8 {
        match command {
            Command::NewService => 1,
            Command::SetService => 2,
            Command::DelService => 3,
            Command::GetService => 4,
            Command::NewDestination => 5,
            Command::SetDestination => 6,
            Command::DelDestination => 7,
            Command::GetDestination => 8,
            Command::NewDaemon => 9,
            Command::DelDaemon => 10,
            Command::GetDaemon => 11,
            Command::SetConfig => 12,
            Command::GetConfig => 13,
            Command::SetInfo => 14,
            Command::GetInfo => 15,
            Command::Zero => 16,
            Command::Flush => 17,
            Command::Other(code) => code,
        }
    }
}

impl From<u8> for Command {
    fn from(code: u8) -> Self {
        match code {
            1 => Command::NewService,
            2 => Command::SetService,
            3 => Command::DelService,
            4 => Command::GetService,
            5 => Command::NewDestination,
            6 => Command::SetDestination,
            7 => Command::DelDestination,
            8 => Command::GetDestination,
            9 => Command::NewDaemon,
            10 => Command::DelDaemon,
            11 => Command::GetDaemon,
            12 => Command::SetConfig,
            13 => Command::GetConfig,
            14 => Command::SetInfo,
            15 => Command::GetInfo,
            16 => Command::Zero,
            17 => Command::Flush,
            other => Command::Other(other),
        }
    }
}

/// A top-level attribute (`IPVS_CMD_ATTR_*`, or `IPVS_INFO_ATTR_*` in [`Command::SetInfo`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `IPVS_CMD_ATTR_SERVICE`
    Service(Vec<ServiceAttribute>),
    /// `IPVS_CMD_ATTR_DEST`
    Destination(Vec<DestinationAttribute>),
    /// `IPVS_CMD_ATTR_DAEMON`
    Daemon(Vec<DaemonAttribute>),
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP`, seconds.
    TimeoutTcp(u32),
    /// `IPVS_CMD_ATTR_TIMEOUT_TCP_FIN`, seconds.
    TimeoutTcpFin(u32),
    /// `IPVS_CMD_ATTR_TIMEOUT_UDP`, seconds.
    TimeoutUdp(u32),
    /// `IPVS_INFO_ATTR_VERSION`
    InfoVersion(u32),
    /// `IPVS_INFO_ATTR_CONN_TAB_SIZE`
    InfoTableSize(u32),
    /// An attribute this version does not know.
    Other(DefaultNla),
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Attribute::Service(nested) => nested.as_slice().buffer_len(),
            Attribute::Destination(nested) => nested.as_slice().buffer_len(),
            Attribute::Daemon(nested) => nested.as_slice().buffer_len(),
            Attribute::TimeoutTcp(_)
            | Attribute::TimeoutTcpFin(_)
            | Attribute::TimeoutUdp(_)
            | Attribute::InfoVersion(_)
            | Attribute::InfoTableSize(_) => 4,
            Attribute::Other(other) => other.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Attribute::Service(_) => IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED,
            Attribute::Destination(_) => IPVS_CMD_ATTR_DEST | NLA_F_NESTED,
            Attribute::Daemon(_) => IPVS_CMD_ATTR_DAEMON | NLA_F_NESTED,
            Attribute::TimeoutTcp(_) => IPVS_CMD_ATTR_TIMEOUT_TCP,
            Attribute::TimeoutTcpFin(_) => IPVS_CMD_ATTR_TIMEOUT_TCP_FIN,
            Attribute::TimeoutUdp(_) => IPVS_CMD_ATTR_TIMEOUT_UDP,
            Attribute::InfoVersion(_) => IPVS_INFO_ATTR_VERSION,
            Attribute::InfoTableSize(_) => IPVS_INFO_ATTR_CONN_TAB_SIZE,
            Attribute::Other(other) => other.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Attribute::Service(nested) => nested.as_slice().emit(buffer),
            Attribute::Destination(nested) => nested.as_slice().emit(buffer),
            Attribute::Daemon(nested) => nested.as_slice().emit(buffer),
            Attribute::TimeoutTcp(value)
            | Attribute::TimeoutTcpFin(value)
            | Attribute::TimeoutUdp(value)
            | Attribute::InfoVersion(value)
            | Attribute::InfoTableSize(value) => buffer.copy_from_slice(&value.to_ne_bytes()),
            Attribute::Other(other) => other.emit_value(buffer),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> ParseableParametrized<NlaBuffer<&T>, Command> for Attribute {
    fn parse_with_param(buffer: &NlaBuffer<&T>, command: Command) -> Result<Self, DecodeError> {
        let value = buffer.value();
        Ok(match (command, buffer.kind()) {
            (Command::SetInfo, IPVS_INFO_ATTR_VERSION) => Attribute::InfoVersion(parse_u32(value)?),
            (Command::SetInfo, IPVS_INFO_ATTR_CONN_TAB_SIZE) => Attribute::InfoTableSize(parse_u32(value)?),
            (Command::SetInfo, _) => Attribute::Other(unknown(buffer.kind(), value)),
            (_, IPVS_CMD_ATTR_SERVICE) => Attribute::Service(parse_nested(value)?),
            (_, IPVS_CMD_ATTR_DEST) => Attribute::Destination(parse_nested(value)?),
            (_, IPVS_CMD_ATTR_DAEMON) => Attribute::Daemon(parse_nested(value)?),
            (_, IPVS_CMD_ATTR_TIMEOUT_TCP) => Attribute::TimeoutTcp(parse_u32(value)?),
            (_, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN) => Attribute::TimeoutTcpFin(parse_u32(value)?),
            (_, IPVS_CMD_ATTR_TIMEOUT_UDP) => Attribute::TimeoutUdp(parse_u32(value)?),
            _ => Attribute::Other(unknown(buffer.kind(), value)),
        })
    }
}

/// A message of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpvsMessage {
    /// What is asked or answered.
    pub command: Command,
    /// Attributes in the order of the wire.
    pub attributes: Vec<Attribute>,
}

impl IpvsMessage {
    /// A message of one command.
    pub fn new(command: Command, attributes: Vec<Attribute>) -> Self {
        IpvsMessage { command, attributes }
    }

    /// The nested attributes of the first sync daemon, if there is one.
    pub fn daemon(&self) -> Option<&[DaemonAttribute]> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Daemon(nested) => Some(nested.as_slice()),
            _ => None,
        })
    }
}

/// The nested attributes of the first service of a message, if there is one.
pub fn service_of(message: &[u8]) -> Option<&[u8]> {
    nested_of(message, IPVS_CMD_ATTR_SERVICE)
}

/// The nested attributes of the first destination of a message, if there is one.
pub fn destination_of(message: &[u8]) -> Option<&[u8]> {
    nested_of(message, IPVS_CMD_ATTR_DEST)
}

fn nested_of(message: &[u8], kind: u16) -> Option<&[u8]> {
    Attributes(message)
        .map_while(|attribute| attribute)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// Attributes one after the other: number without the flags, and value. `None` once, at the end, where the octets
/// are none.
///
/// As `NlasIterator`, without its checks at each look at an attribute: an audit reads millions.
#[derive(Clone, Copy, Debug)]
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let octets = std::mem::take(&mut self.0);
        let Some(([a, b, c, d], rest)) = octets.split_first_chunk() else { return Some(None) };
        let length = usize::from(u16::from_ne_bytes([*a, *b]));
        let Some(value) = length.checked_sub(NLA_HEADER).and_then(|length| rest.get(..length)) else {
            return Some(None);
        };
        self.0 = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Some((u16::from_ne_bytes([*c, *d]) & NLA_TYPE_MASK, value)))
    }
}

impl GenlFamily for IpvsMessage {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command.into()
    }

    fn version(&self) -> u8 {
        FAMILY_VERSION
    }
}

impl Emitable for IpvsMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for IpvsMessage {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let command = Command::from(header.cmd);
        let attributes = NlasIterator::new(buffer)
            .map(|attribute| Attribute::parse_with_param(&attribute?, command))
            .collect::<Result<_, _>>()?;
        Ok(IpvsMessage { command, attributes })
    }
}

/// An attribute that this version does not know: its number without the flags, which say nothing of
/// octets that nobody reads, and are not sent either.
fn unknown(kind: u16, value: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, value.to_vec())
}

/// Attributes inside an attribute.
fn parse_nested<A>(value: &[u8]) -> Result<Vec<A>, DecodeError>
where
    A: for<'a> Parseable<NlaBuffer<&'a [u8]>>,
{
    NlasIterator::new(value).map(|attribute| A::parse(&attribute?)).collect()
}

/// `N` octets exactly.
fn parse_octets<const N: usize>(value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError::invalid_number(N, value.len()))
}

/// A string up to its first NUL.
fn parse_text(value: &[u8]) -> Result<String, DecodeError> {
    let text = value.split(|octet| *octet == 0).next().unwrap_or_default();
    Ok(String::from_utf8(text.to_vec())?)
}

/// A string and its NUL into a buffer of just that length.
fn emit_text(text: &str, buffer: &mut [u8]) {
    for (to, from) in buffer.iter_mut().zip(text.bytes().chain([0])) {
        *to = from;
    }
}

/// What fuzzing and property tests call: parses any octets as a message of any command, reads what it
/// says, and checks that what is emitted from it parses back.
///
/// # Panics
/// When a message that was emitted does not parse back to itself: an error in this module.
pub fn exercise(command: u8, octets: &[u8]) {
    let _report = service_of(octets).and_then(service::service_report);
    let _report = destination_of(octets)
        .and_then(|nested| destination::destination_report(nested, crate::types::Family::Inet));
    let header = GenlHeader { cmd: command, version: FAMILY_VERSION };
    let Ok(message) = IpvsMessage::parse_with_param(octets, header) else { return };
    let _report = message.daemon().and_then(daemon::daemon_report);
    // An attribute's length has 16 bits: nested ones that were not padded to the end may outgrow them.
    if octets.len() < 60_000 {
        let mut again = vec![0; message.buffer_len()];
        message.emit(&mut again);
        let parsed = IpvsMessage::parse_with_param(&again, header);
        assert!(parsed.is_ok_and(|parsed| parsed == message), "{message:?} does not come back");
    }
}

#[cfg(test)]
mod tests;

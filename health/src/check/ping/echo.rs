//! ICMP messages of an echo check (RFC 792, RFC 4443 §4).
//!
//! ```text
//! 0: type, code, checksum(2)
//! 4: identifier(2), sequence number(2)    in echo request and reply; else unused(4)
//! 8: data                                 in an error: the packet that caused it, from its IP header on
//! ```
//!
//! Here: octets, any of which are taken, and the filter that the kernel applies to them. Not here: sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET};
use socket2::SockFilter;

/// Octets of data in a request, as keepalived sends them.
pub const DATA: usize = 128;

/// Family of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// ICMP; received with the IP header before it.
    V4,
    /// ICMPv6; received without.
    V6,
}

impl Family {
    /// Of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn types(self) -> Types {
        match self {
            Family::V4 => Types { request: 8, reply: 0, unreachable: 3, exceeded: 11, header: 20 },
            Family::V6 => Types { request: 128, reply: 129, unreachable: 1, exceeded: 3, header: 40 },
        }
    }
}

/// Message types, and the length of the IP header that an echo request has.
struct Types {
    request: u8,
    reply: u8,
    unreachable: u8,
    exceeded: u8,
    header: u8,
}

/// What tells one echo from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// The socket's.
    pub id: u16,
    /// The check's, among those under way.
    pub sequence: u16,
    /// First octets of the data: nobody who has not seen the request can know them.
    pub nonce: [u8; 8],
}

impl Echo {
    /// The request, without IP header. The checksum of ICMPv6 is the kernel's to fill in.
    pub fn request(&self, family: Family) -> Vec<u8> {
        let mut octets = vec![family.types().request, 0, 0, 0];
        octets.extend_from_slice(&self.id.to_be_bytes());
        octets.extend_from_slice(&self.sequence.to_be_bytes());
        octets.extend_from_slice(&self.nonce);
        octets.extend(FILLER.iter().cycle().take(DATA - self.nonce.len()));
        if family == Family::V4 {
            let sum = checksum(&octets).to_be_bytes();
            if let Some(field) = octets.get_mut(2..4) {
                field.copy_from_slice(&sum);
            }
        }
        octets
    }
}

const FILLER: &[u8] = b"lbd PING_CHECK. ";

/// What a host or router says about an echo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The host's reply.
    Reply(Echo),
    /// An error message about the request to this address.
    Refused {
        /// The request.
        echo: Echo,
        /// Where it was sent.
        target: IpAddr,
        /// The error, in words.
        why: String,
    },
}

/// Reads what a raw socket received; `None` if it is not about an echo.
pub fn parse(family: Family, packet: &[u8]) -> Option<Heard> {
    let message = match family {
        Family::V4 => {
            let (_, message) = ipv4(packet)?;
            // The kernel hands it over before it looks at the checksum; that of ICMPv6 it has checked.
            if checksum(message) != 0 {
                return None;
            }
            message
        }
        Family::V6 => packet,
    };
    let types = family.types();
    let (&[kind, code, ..], data) = message.split_first_chunk::<8>()?;
    if kind == types.reply {
        return echo(message).map(Heard::Reply);
    }
    if kind != types.unreachable && kind != types.exceeded {
        return None;
    }
    let (target, request) = match family {
        Family::V4 => ipv4(data)?,
        Family::V6 => ipv6(data)?,
    };
    if request.first() != Some(&types.request) {
        return None;
    }
    let why = if kind == types.exceeded { "lost on the way".into() } else { unreachable(family, code) };
    Some(Heard::Refused { echo: echo(request)?, target, why })
}

/// Identifier, sequence number and first data of a request or reply.
fn echo(message: &[u8]) -> Option<Echo> {
    let (&[_, _, _, _, i, d, s, q], data) = message.split_first_chunk::<8>()?;
    let nonce = *data.first_chunk()?;
    Some(Echo { id: u16::from_be_bytes([i, d]), sequence: u16::from_be_bytes([s, q]), nonce })
}

/// Destination and content of an IPv4 packet that holds ICMP (RFC 791 §3.1). One that an error message
/// quotes may be cut.
fn ipv4(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (header, _) = packet.split_first_chunk::<20>()?;
    let &[version, _, _, _, _, _, _, _, _, protocol, _, _, _, _, _, _, a, b, c, d] = header;
    let length = usize::from(version & 0xf) * 4;
    if version >> 4 != 4 || length < header.len() || protocol != 1 {
        return None;
    }
    Some((Ipv4Addr::new(a, b, c, d).into(), packet.get(length..)?))
}

/// Destination and content of an IPv6 packet that holds ICMPv6 and nothing between (RFC 8200 §3).
fn ipv6(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (header, content) = packet.split_first_chunk::<40>()?;
    let destination = *header.last_chunk::<16>()?;
    if header.first()? >> 4 != 6 || header.get(6) != Some(&58) {
        return None;
    }
    Some((Ipv6Addr::from(destination).into(), content))
}

/// A destination unreachable in words (RFC 792, RFC 1122 §3.2.2.1, RFC 4443 §3.1).
fn unreachable(family: Family, code: u8) -> String {
    let words = match (family, code) {
        (Family::V4, 0 | 6 | 8 | 11) | (Family::V6, 0 | 2) => "network unreachable",
        (Family::V4, 1 | 7 | 12) | (Family::V6, 3) => "host unreachable",
        (Family::V4, 9 | 10 | 13) | (Family::V6, 1 | 5 | 6) => "prohibited by a router or filter",
        (Family::V4, 2) => "protocol unreachable",
        (Family::V4, 3) | (Family::V6, 4) => "port unreachable",
        _ => return format!("unreachable, code {code}"),
    };
    words.into()
}

/// The internet checksum (RFC 1071); 0 over octets that hold a right one.
pub fn checksum(octets: &[u8]) -> u16 {
    let mut sum = octets.chunks(2).fold(0_u32, |sum, pair| {
        let word = match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            single => u16::from_be_bytes([single.first().copied().unwrap_or_default(), 0]),
        };
        // A packet has at most 65,535 octets; more would only wrap.
        sum.wrapping_add(u32::from(word))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// What holds for any octets: an echo that is read from them stands in them, in this order. For property
/// tests and fuzzing.
pub fn law(octets: &[u8]) -> bool {
    [Family::V4, Family::V6].into_iter().all(|family| match parse(family, octets) {
        None => true,
        Some(Heard::Reply(echo) | Heard::Refused { echo, .. }) => {
            let sent = echo.request(family);
            let written = sent.get(4..16).unwrap_or_default();
            octets.windows(written.len()).any(|window| window == written)
        }
    })
}

/// A filter for the kernel: replies to echoes of this identifier, and error messages about them. So other
/// programs' echoes, and floods, wake nobody.
pub fn filter(family: Family, id: u16) -> Vec<SockFilter> {
    let types = family.types();
    let (id, quoted) = (u32::from(id), 8 + u32::from(types.header) + 4);
    // X: where the message begins. Of IPv6 there is no header, and loads are absolute.
    let (load, start) = match family {
        Family::V4 => (BPF_IND, vec![statement(BPF_LDX | BPF_B | BPF_MSH, 0)]),
        Family::V6 => (BPF_ABS, vec![]),
    };
    let program = [
        statement(BPF_LD | BPF_B | load, 0),
        compare(types.reply.into(), 4, 0),
        compare(types.unreachable.into(), 1, 0),
        compare(types.exceeded.into(), 0, 5),
        // An error: the identifier in the quoted request.
        statement(BPF_LD | BPF_H | load, quoted),
        compare(id, 2, 3),
        // A reply: its own identifier.
        statement(BPF_LD | BPF_H | load, 4),
        compare(id, 0, 1),
        statement(BPF_RET | BPF_K, u32::MAX),
        statement(BPF_RET | BPF_K, 0),
    ];
    start.into_iter().chain(program).collect()
}

fn statement(code: u32, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).expect("a constant"), 0, 0, value)
}

/// Skips so many statements when the value is this, and when it is not.
fn compare(value: u32, when: u8, otherwise: u8) -> SockFilter {
    let code = u16::try_from(BPF_JMP | BPF_JEQ | BPF_K).expect("a constant");
    SockFilter::new(code, when, otherwise, value)
}

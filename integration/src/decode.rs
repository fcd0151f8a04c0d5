//! What is in frames: VRRP, ARP and neighbour discovery, read by offsets of the RFCs and apart from lbd's own parsers, so that
//! one mistake is not made twice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::tap::Frame;

/// Hardware address.
pub type Mac = [u8; 6];

/// To everybody on the link.
pub const BROADCAST: Mac = [0xff; 6];

const ETHERNET: usize = 14;
const VRRP: u8 = 112;
const AUTHENTICATION_HEADER: u8 = 51;
const ICMPV6: u8 = 58;

/// A VRRP packet with what is around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// When it was sent, as [`Frame::at`].
    pub at: Duration,
    /// By which port, as [`Frame::port`].
    pub port: usize,
    /// Ethernet's destination and source.
    pub ether: [Mac; 2],
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub class: u8,
    /// What the IP header says: 112, or 51 with an Authentication Header.
    pub protocol: u8,
    /// Version.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority; 0 resigns.
    pub priority: u8,
    /// Addresses it says it lists.
    pub count: u8,
    /// The message, and what follows it up to the end of the IP packet.
    pub message: Vec<u8>,
    /// The whole IP packet.
    pub packet: Vec<u8>,
}

/// An ARP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// When it was sent.
    pub at: Duration,
    /// By which port.
    pub port: usize,
    /// Ethernet's destination and source.
    pub ether: [Mac; 2],
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Sender's hardware address.
    pub sender_mac: Mac,
    /// Sender's address.
    pub sender: Ipv4Addr,
    /// Target's hardware address.
    pub target_mac: Mac,
    /// Target's address.
    pub target: Ipv4Addr,
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// When it was sent.
    pub at: Duration,
    /// By which port.
    pub port: usize,
    /// Ethernet's destination and source.
    pub ether: [Mac; 2],
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
    /// Hop limit.
    pub hop_limit: u8,
    /// Whether it is an advertisement.
    pub advertisement: bool,
    /// The advertisement's flags: router, solicited, override.
    pub flags: [bool; 3],
    /// Target.
    pub target: Ipv6Addr,
    /// Source or target link-layer address.
    pub link_address: Option<Mac>,
}

/// The IP packet of a frame.
struct Ip<'f> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    class: u8,
    protocol: u8,
    packet: &'f [u8],
    payload: &'f [u8],
}

impl Frame {
    fn ether(&self) -> Option<[Mac; 2]> {
        Some([array(&self.octets, 0)?, array(&self.octets, 6)?])
    }

    fn ether_type(&self) -> Option<u16> {
        array(&self.octets, 12).map(u16::from_be_bytes)
    }

    fn ip(&self) -> Option<Ip<'_>> {
        let packet = self.octets.get(ETHERNET..)?;
        match self.ether_type()? {
            0x0800 => {
                let header = usize::from(packet.first()? & 0x0f) * 4;
                let packet = packet.get(..usize::from(u16::from_be_bytes(array(packet, 2)?)))?;
                Some(Ip {
                    source: IpAddr::from(array::<4>(packet, 12)?),
                    destination: IpAddr::from(array::<4>(packet, 16)?),
                    ttl: *packet.get(8)?,
                    class: *packet.get(1)?,
                    protocol: *packet.get(9)?,
                    packet,
                    payload: packet.get(header..)?,
                })
            }
            0x86dd => {
                let length = usize::from(u16::from_be_bytes(array(packet, 4)?));
                let packet = packet.get(..40 + length)?;
                let [first, second] = array(packet, 0)?;
                Some(Ip {
                    source: IpAddr::from(array::<16>(packet, 8)?),
                    destination: IpAddr::from(array::<16>(packet, 24)?),
                    ttl: *packet.get(7)?,
                    class: first << 4 | second >> 4,
                    protocol: *packet.get(6)?,
                    packet,
                    payload: packet.get(40..)?,
                })
            }
            _ => None,
        }
    }

    /// The frame as a VRRP packet, if it is one.
    pub fn vrrp(&self) -> Option<Vrrp> {
        let ip = self.ip()?;
        let message = match ip.protocol {
            VRRP => ip.payload,
            // RFC 4302 §2.2: length in words of 32 bits, less two.
            AUTHENTICATION_HEADER => ip.payload.get((usize::from(*ip.payload.get(1)?) + 2) * 4..)?,
            _ => return None,
        };
        let [first, vrid, priority, count] = array(message, 0)?;
        Some(Vrrp {
            at: self.at,
            port: self.port,
            ether: self.ether()?,
            source: ip.source,
            destination: ip.destination,
            ttl: ip.ttl,
            class: ip.class,
            protocol: ip.protocol,
            version: first >> 4,
            vrid,
            priority,
            count,
            message: message.to_vec(),
            packet: ip.packet.to_vec(),
        })
    }

    /// The frame as an ARP packet, if it is one.
    pub fn arp(&self) -> Option<Arp> {
        (self.ether_type()? == 0x0806).then_some(())?;
        let arp = self.octets.get(ETHERNET..)?;
        // Ethernet and IPv4, and the lengths of their addresses.
        (array(arp, 0)? == [0, 1, 8, 0, 6, 4]).then_some(())?;
        Some(Arp {
            at: self.at,
            port: self.port,
            ether: self.ether()?,
            operation: u16::from_be_bytes(array(arp, 6)?),
            sender_mac: array(arp, 8)?,
            sender: array::<4>(arp, 14)?.into(),
            target_mac: array(arp, 18)?,
            target: array::<4>(arp, 24)?.into(),
        })
    }

    /// The frame as a neighbour solicitation or advertisement, if it is one (RFC 4861 §4.3, §4.4).
    pub fn neighbour(&self) -> Option<Neighbour> {
        let ip = self.ip()?;
        let kind = self.icmpv6()?;
        (kind == 135 || kind == 136).then_some(())?;
        let flags = *ip.payload.get(4)?;
        let link_address = match ip.payload.get(24..26) {
            Some([1 | 2, 1]) => array(ip.payload, 26),
            _ => None,
        };
        Some(Neighbour {
            at: self.at,
            port: self.port,
            ether: self.ether()?,
            source: v6(ip.source)?,
            destination: v6(ip.destination)?,
            hop_limit: ip.ttl,
            advertisement: kind == 136,
            flags: [0x80, 0x40, 0x20].map(|bit| flags & bit != 0),
            target: array::<16>(ip.payload, 8)?.into(),
            link_address,
        })
    }

    /// Type of the frame's ICMPv6 message: 134 is a router advertisement.
    pub fn icmpv6(&self) -> Option<u8> {
        let ip = self.ip()?;
        (ip.protocol == ICMPV6).then(|| ip.payload.first().copied())?
    }
}

impl Vrrp {
    /// Whether it is signed (auth_hmac): 28 octets stand behind the message of version 3 over IPv4.
    pub fn signed(&self) -> bool {
        self.message.len() == 8 + 4 * usize::from(self.count) + 28
    }
}

fn array<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..)?.first_chunk().copied()
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(octets: &[&[u8]]) -> Frame {
        Frame { at: Duration::from_secs(1), port: 3, octets: octets.concat() }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
    }

    const ETHER4: [u8; 14] = [1, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 1, 8, 0];
    /// Captured from keepalived: PASS and AH.
    const PASS: &str = "45c0002800020000ff701890c0000201e00000122138ff010101986d0a00000b7365637265740000";
    const AH: &str = "45c0004000020000ff3318b5c0000201e000001270040000c000020100000002d82f281dbcbfbb6e90b1638e2139ff010201\
                      d3b70a00000c0000000000000000";

    #[test]
    fn vrrp_over_ipv4() {
        // Short frames are padded.
        let pass = frame(&[&ETHER4, &hex(PASS), &[0; 6]]).vrrp().expect("VRRP");
        assert_eq!((pass.version, pass.vrid, pass.priority, pass.count), (2, 56, 255, 1));
        assert_eq!((pass.ttl, pass.class, pass.protocol, pass.message.len()), (255, 0xc0, 112, 20));
        assert_eq!(pass.destination, Ipv4Addr::new(224, 0, 0, 18));
        assert_eq!(pass.packet, hex(PASS));

        let ah = frame(&[&ETHER4, &hex(&AH.replace(' ', ""))]).vrrp().expect("VRRP in AH");
        assert_eq!((ah.version, ah.vrid, ah.protocol, ah.message.len()), (2, 57, 51, 20));
    }

    #[test]
    fn arp_and_neighbours() {
        let arp = frame(&[
            &BROADCAST,
            &[2, 0, 0, 0, 0, 1],
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &[2, 0, 0, 0, 0, 1, 10, 0, 0, 100],
            &BROADCAST,
            &[10, 0, 0, 100],
        ]);
        let read = arp.arp().expect("ARP");
        assert_eq!(
            (read.operation, read.sender, read.target_mac),
            (1, Ipv4Addr::new(10, 0, 0, 100), BROADCAST)
        );
        assert_eq!(read.ether, [BROADCAST, [2, 0, 0, 0, 0, 1]]);
        assert!(arp.vrrp().is_none() && arp.neighbour().is_none());

        let target = "fd00::100".parse::<Ipv6Addr>().expect("an address");
        let neighbour = frame(&[
            &[0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd],
            &[0x60, 0, 0, 0, 0, 32, 58, 255],
            &target.octets(),
            &"ff02::1".parse::<Ipv6Addr>().expect("an address").octets(),
            &[136, 0, 0, 0, 0xa0, 0, 0, 0],
            &target.octets(),
            &[2, 1, 2, 0, 0, 0, 0, 1],
        ]);
        let read = neighbour.neighbour().expect("an advertisement");
        assert_eq!((read.flags, read.target, read.source), ([true, false, true], target, target));
        assert_eq!((read.link_address, read.hop_limit), (Some([2, 0, 0, 0, 0, 1]), 255));
        for length in 0..neighbour.octets.len() {
            let cut = Frame { octets: neighbour.octets[..length].to_vec(), ..neighbour.clone() };
            assert!(cut.neighbour().is_none(), "{length} octets");
        }
    }
}

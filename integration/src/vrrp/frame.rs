//! Ethernet frames of which the benchmarks take note: VRRP advertisements over IPv4 and gratuitous ARP.

use std::net::Ipv4Addr;

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const ETHERNET: usize = 14;
const IPPROTO_VRRP: u8 = 112;

/// A frame that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An advertisement (either version).
    Advert {
        /// Sender.
        source: Ipv4Addr,
        /// Virtual router.
        vrid: u8,
        /// Priority; 0 is a resignation.
        priority: u8,
    },
    /// ARP of which sender's and target's address are the same.
    GratuitousArp {
        /// That address.
        address: Ipv4Addr,
    },
}

/// Reads a frame from its Ethernet header on; anything else is none.
pub fn parse(octets: &[u8]) -> Option<Frame> {
    let payload = octets.get(ETHERNET..)?;
    match octets.get(12..ETHERNET)?.try_into().ok()? {
        IPV4 => advert(payload),
        ARP => gratuitous(payload),
        _ => None,
    }
}

fn advert(packet: &[u8]) -> Option<Frame> {
    if *packet.get(9)? != IPPROTO_VRRP {
        return None;
    }
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source = address(packet, 12)?;
    Some(Frame::Advert { source, vrid: *packet.get(header + 1)?, priority: *packet.get(header + 2)? })
}

fn gratuitous(packet: &[u8]) -> Option<Frame> {
    // RFC 826: hardware and protocol type, lengths, operation, sender (6 and 4 octets), target (the same).
    let (sender, target) = (address(packet, 14)?, address(packet, 24)?);
    (sender == target).then_some(Frame::GratuitousArp { address: sender })
}

fn address(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ether_type: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0xff; 12];
        octets.extend(ether_type);
        octets.extend(payload);
        octets
    }

    #[test]
    fn adverts_and_gratuitous_arp_are_told_from_the_rest() {
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 11, 224, 0, 0, 18];
        packet.extend([0x31, 51, 200, 1, 0, 100, 0, 0]);
        let want = Frame::Advert { source: Ipv4Addr::new(10, 0, 0, 11), vrid: 51, priority: 200 };
        assert_eq!(parse(&frame(IPV4, &packet)), Some(want));
        assert_eq!(parse(&frame(IPV4, &packet[..22])), None, "cut short");
        packet[9] = 6;
        assert_eq!(parse(&frame(IPV4, &packet)), None, "TCP");

        let mut arp =
            vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1];
        let want = Frame::GratuitousArp { address: Ipv4Addr::new(10, 1, 0, 1) };
        assert_eq!(parse(&frame(ARP, &arp)), Some(want));
        arp[27] = 2;
        assert_eq!(parse(&frame(ARP, &arp)), None, "asks for another");
        assert_eq!(parse(&frame([0x86, 0xdd], &packet)), None, "IPv6");
        assert_eq!(parse(&[]), None);
    }
}

//! Unsolicited neighbour advertisement: what gratuitous ARP is to IPv4 (RFC 4861 §4.4, §7.2.6;
//! RFC 9568 §6.4.2).
//!
//! ```text
//! |     Type      |     Code      |          Checksum             |
//! |R|S|O|                     Reserved                            |
//! |                  Target address (16 octets)                   |
//! |  Option type  | Option length |   Link-layer address (6)      |
//! ```

use std::net::Ipv6Addr;

use super::arp::Mac;
use super::ipv6::HOP_LIMIT;
use super::pseudo::checksum_with_pseudo_header;

/// Octets of the frame.
pub const FRAME: usize = 86;
/// The Ethernet group of [`ALL_NODES`] (RFC 2464 §7).
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Octets of the ICMPv6 message.
const MESSAGE: usize = 32;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// The Ethernet frame that tells a link that `address` is at `mac`; `router` if this host forwards.
///
/// Its source is the address itself, as keepalived sends it, and neighbours replace what they know.
pub fn unsolicited_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> [u8; FRAME] {
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let target = address.octets();
    let message: [&[u8]; 5] = [
        &[NEIGHBOUR_ADVERTISEMENT, 0, 0, 0],
        &[flags, 0, 0, 0],
        &target,
        &[TARGET_LINK_LAYER_ADDRESS, 1],
        &mac,
    ];
    let mut frame = [0; FRAME];
    let head: [&[u8]; 8] = [
        &ALL_NODES_MAC,
        &mac,
        &[0x86, 0xdd], // EtherType IPv6
        &[0x60, 0, 0, 0],
        &[0, 32], // payload length
        &[ICMPV6, HOP_LIMIT],
        &target,
        &ALL_NODES.octets(),
    ];
    for (place, octet) in frame.iter_mut().zip(head.into_iter().chain(message).flatten()) {
        *place = *octet;
    }
    if let Some(message) = frame.last_chunk_mut::<MESSAGE>() {
        let sum = checksum_with_pseudo_header(address.into(), ALL_NODES.into(), ICMPV6, MESSAGE, message);
        let [_, _, high, low, ..] = message;
        [*high, *low] = sum.to_be_bytes();
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{hex, ipv6};
    use proptest::prelude::*;

    #[test]
    fn frames() {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
        for (name, router, checksum, flags) in [("host", false, "f726", "20"), ("router", true, "7726", "a0")]
        {
            let frame = unsolicited_advertisement([2, 0, 0, 0, 0, 7], address, router);
            let want = [
                "33330000000102000000000786dd",
                "6000000000203aff",
                "20010db8000000000000000000000100",
                "ff020000000000000000000000000001",
                "8800",
                checksum,
                flags,
                "000000",
                "20010db8000000000000000000000100",
                "0201020000000007",
            ];
            let want = want.concat();
            assert_eq!(frame.to_vec(), hex(&want), "{name}");
        }
    }

    proptest! {
        #[test]
        fn checksum_is_right(mac: [u8; 6], address: u128, router: bool) {
            let address = Ipv6Addr::from(address);
            let frame = unsolicited_advertisement(mac, address, router);
            let (header, message) = ipv6::Header::parse(&frame[14..]).expect("a datagram");
            let want = ipv6::Header {
                traffic_class: 0,
                next_header: ICMPV6,
                hop_limit: 255,
                source: address,
                destination: ALL_NODES,
            };
            prop_assert_eq!(header, want);
            let sum = checksum_with_pseudo_header(
                header.source.into(), header.destination.into(), ICMPV6, message.len(), message,
            );
            prop_assert_eq!(sum, 0);
        }
    }
}

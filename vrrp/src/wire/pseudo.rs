//! The checksum that covers addresses too: a pseudo header of source, destination, protocol and length
//! before the message (RFC 8200 §8.1 for IPv6; RFC 793 §3.1 for IPv4, which VRRP version 3 shares).

use std::net::IpAddr;

use super::{fold, sum};

/// The Internet checksum of the pseudo header and `octets`: 0 over a message that holds its right
/// checksum, the checksum to put in where it holds zeros.
///
/// `length` is that of the upper-layer packet, which a trailer behind the message does not add to:
/// with VRRP the length of `octets`. Source and destination are of one family.
pub fn checksum_with_pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    next: u8,
    length: usize,
    octets: &[u8],
) -> u16 {
    // The families differ in where fields are and how wide, and a sum of 16-bit words takes no notice.
    let length = u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes();
    let fields = sum(&[0, next]).wrapping_add(sum(&length));
    let addresses = sum_of_address(source).wrapping_add(sum_of_address(destination));
    fold(sum(octets).wrapping_add(fields).wrapping_add(addresses))
}

fn sum_of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{checksum, hex};
    use proptest::prelude::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Advertisements of version 3 whose checksum was computed elsewhere.
    const VECTORS: [(&str, &str, &str, &str); 5] = [
        ("IPv4, priority 100", "10.0.0.1", "224.0.0.18", "31336401006475730a000064"),
        ("IPv4, priority 0", "10.0.0.1", "224.0.0.18", "313300010064d9730a000064"),
        ("IPv4, unicast", "10.0.0.1", "10.0.0.2", "3133640100644b840a000064"),
        ("IPv4, captured", "192.0.2.1", "224.0.0.18", "3137ff02006418ca0a0000010a000002"),
        (
            "IPv6",
            "fe80::1",
            "ff02::12",
            "3133640200643dfdfe80000000000000000000000000010020010db8000000000000000000000100",
        ),
    ];

    #[test]
    fn vectors() {
        for (name, source, destination, text) in VECTORS {
            let (source, destination) = (address(source), address(destination));
            let mut octets = hex(text);
            let of =
                |octets: &[u8]| checksum_with_pseudo_header(source, destination, 112, octets.len(), octets);
            assert_eq!(of(&octets), 0, "{name}: right");
            let field = u16::from_be_bytes([octets[6], octets[7]]);
            octets[6..8].fill(0);
            assert_eq!(of(&octets), field, "{name}: computed");
        }
    }

    #[test]
    fn each_flipped_bit_and_other_pseudo_header_is_seen() {
        for (name, source, destination, text) in VECTORS {
            let (source, destination) = (address(source), address(destination));
            let octets = hex(text);
            for bit in 0..octets.len() * 8 {
                let mut flipped = octets.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let got = checksum_with_pseudo_header(source, destination, 112, octets.len(), &flipped);
                assert_ne!(got, 0, "{name}, bit {bit}");
            }
            let other = address(if source.is_ipv4() { "10.0.0.9" } else { "fe80::9" });
            for (what, source, destination, next, length) in [
                ("source", other, destination, 112, octets.len()),
                ("destination", source, other, 112, octets.len()),
                ("protocol", source, destination, 51, octets.len()),
                ("length", source, destination, 112, octets.len() + 28),
            ] {
                let got = checksum_with_pseudo_header(source, destination, next, length, &octets);
                assert_ne!(got, 0, "{name}, another {what}");
            }
        }
    }

    proptest! {
        #[test]
        fn is_the_checksum_of_the_pseudo_header_written_out(
            source: [u8; 16], destination: [u8; 16], next: u8,
            octets in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let length = u32::try_from(octets.len()).expect("short").to_be_bytes();
            let six: Vec<u8> = [&source[..], &destination, &length, &[0, 0, 0, next], &octets].concat();
            let (to, from) = (IpAddr::from(destination), IpAddr::from(source));
            prop_assert_eq!(checksum_with_pseudo_header(from, to, next, octets.len(), &octets), checksum(&six));

            let four: Vec<u8> =
                [&source[..4], &destination[..4], &[0, next], &length[2..], &octets].concat();
            let first = |octets: [u8; 16]| IpAddr::from([octets[0], octets[1], octets[2], octets[3]]);
            let (from, to) = (first(source), first(destination));
            prop_assert_eq!(checksum_with_pseudo_header(from, to, next, octets.len(), &octets), checksum(&four));
        }
    }
}

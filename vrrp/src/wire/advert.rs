//! The advertisement of version 2 (RFC 3768 §5.1, with the authentication of RFC 2338 §5.3.6).
//!
//! ```text
//!  0                   1                   2                   3
//! |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
//! |   Auth Type   |   Adver Int   |          Checksum             |
//! |                    IP addresses (Count × 4)                   |
//! |                 Authentication data (8 octets)                |
//! ```
//! Here: layout. Not here: whether an advertisement is acceptable (`receive`).

use std::net::Ipv4Addr;

use super::{Reader, checksum, fill_checksum};
use crate::types::Priority;

/// Octets before the addresses.
pub const HEADER: usize = 8;
/// Octets of authentication data: always there, zeros with type 0 (RFC 3768 §5.3.10).
pub const AUTHENTICATION: usize = 8;

/// An advertisement. Values that no router sends are kept, so that they can be refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Version, 4 bits.
    pub version: u8,
    /// Type, 4 bits: 1.
    pub kind: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: Priority,
    /// Authentication type: 0 none, 1 password, 2 AH.
    pub authentication_type: u8,
    /// Advertisement interval in seconds.
    pub interval: u8,
    /// Addresses, at most 255 (the count is one octet): [`Advert::emit`] writes the first 255.
    pub addresses: Vec<Ipv4Addr>,
    /// Authentication data.
    pub authentication: [u8; AUTHENTICATION],
}

/// What `octets` of any content say about themselves before their length is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Version, 4 bits.
    pub version: u8,
    /// Type, 4 bits.
    pub kind: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Octets that a message of version 2 with this count of addresses has.
    pub length: usize,
}

impl Prefix {
    /// Reads the first octets; `None` when there are fewer than [`HEADER`].
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let [first, vrid, _priority, count, ..] = *octets.first_chunk::<HEADER>()?;
        Some(Prefix {
            version: first >> 4,
            kind: first & 0x0f,
            vrid,
            length: HEADER + 4 * usize::from(count) + AUTHENTICATION,
        })
    }
}

impl Advert {
    /// Reads a message; `None` unless it has exactly the length that its count asks for. The
    /// checksum is looked at by [`checksum_is_right`].
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let prefix = Prefix::parse(octets)?;
        if octets.len() != prefix.length {
            return None;
        }
        let mut rest = Reader(octets);
        let [_first, vrid, priority, count] = rest.array()?;
        let [authentication_type, interval] = rest.array()?;
        rest.u16()?;
        let addresses =
            (0..count).map(|_| rest.array::<4>().map(Ipv4Addr::from)).collect::<Option<Vec<_>>>()?;
        Some(Advert {
            version: prefix.version,
            kind: prefix.kind,
            vrid,
            priority: Priority(priority),
            authentication_type,
            interval,
            addresses,
            authentication: rest.array()?,
        })
    }

    /// The octets; count and checksum (over everything, password included, without
    /// pseudo-header: RFC 3768 §5.3.8) are computed.
    pub fn emit(&self) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut octets = Vec::with_capacity(HEADER + 4 * usize::from(count) + AUTHENTICATION);
        octets.extend([self.version << 4 | self.kind & 0x0f, self.vrid, self.priority.0, count]);
        octets.extend([self.authentication_type, self.interval, 0, 0]);
        for address in self.addresses.iter().take(usize::from(count)) {
            octets.extend(address.octets());
        }
        octets.extend(self.authentication);
        fill_checksum(&mut octets, 6);
        octets
    }
}

/// Whether the checksum of a message of version 2 is right.
pub fn checksum_is_right(octets: &[u8]) -> bool {
    checksum(octets) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    fn advert(authentication_type: u8, authentication: [u8; 8]) -> Advert {
        Advert {
            version: 2,
            kind: 1,
            vrid: 51,
            priority: Priority(100),
            authentication_type,
            interval: 1,
            addresses: vec![Ipv4Addr::new(10, 0, 0, 100)],
            authentication,
        }
    }

    #[test]
    fn vectors() {
        for (name, text, want) in [
            ("no authentication", "21336401000170660a0000640000000000000000", advert(0, [0; 8])),
            ("PASS secret", "213364010101331a0a0000647365637265740000", advert(1, *b"secret\0\0")),
        ] {
            let octets = hex(text);
            assert_eq!(Advert::parse(&octets), Some(want.clone()), "{name}");
            assert_eq!(want.emit(), octets, "{name}");
            assert!(checksum_is_right(&octets), "{name}");
        }
    }

    #[test]
    fn each_truncation_and_extension_is_refused() {
        let octets = hex("213364010101331a0a0000647365637265740000");
        for length in 0..octets.len() {
            assert_eq!(Advert::parse(&octets[..length]), None, "{length} octets");
        }
        let mut longer = octets;
        longer.push(0);
        assert_eq!(Advert::parse(&longer), None);
    }

    #[test]
    fn each_flipped_bit_is_seen_by_the_checksum() {
        let octets = hex("213364010101331a0a0000647365637265740000");
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!checksum_is_right(&flipped), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(
            version in 0u8..16, kind in 0u8..16, vrid: u8, priority: u8, authentication_type: u8, interval: u8,
            addresses in proptest::collection::vec(any::<u32>().prop_map(Ipv4Addr::from), 0..=255),
            authentication: [u8; 8],
        ) {
            let priority = Priority(priority);
            let advert =
                Advert { version, kind, vrid, priority, authentication_type, interval, addresses, authentication };
            let octets = advert.emit();
            prop_assert!(checksum_is_right(&octets));
            prop_assert_eq!(Advert::parse(&octets), Some(advert));
        }

        #[test]
        fn what_parses_is_emitted_alike_but_for_the_checksum(
            mut octets in proptest::collection::vec(any::<u8>(), 16..1100), count in 0u8..=255,
        ) {
            octets[3] = count;
            octets.resize(16 + 4 * usize::from(count), 0);
            let advert = Advert::parse(&octets).expect("the length is right");
            let emitted = advert.emit();
            prop_assert_eq!(&emitted[..6], &octets[..6]);
            prop_assert_eq!(&emitted[8..], &octets[8..]);
        }
    }
}

//! Layout of the trailer, and what its signature covers.
//!
//! ```text
//! | Extension (1) |    Key ID     |           Reserved            |
//! |                   Seconds of UNIX time                        |
//! |      Fraction (1/65536 s)     |            Counter            |
//! |        HMAC-SHA256, the first 16 octets                       |
//! ```

use std::net::IpAddr;

use ::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Context;
use crate::wire::Reader;

/// Octets of the trailer.
pub const LENGTH: usize = 28;
/// Octets before the signature.
const SIGNED: usize = 12;
/// Octets of the signature.
const MAC: usize = 16;
/// This kind of extension.
const EXTENSION: u8 = 1;

/// A trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Number of the key, 1..=255.
    pub key: u8,
    /// Seconds, fraction and counter as one number.
    pub sequence: u64,
    /// Signature.
    pub mac: [u8; MAC],
}

impl Trailer {
    /// Reads a trailer; `None` unless it has [`LENGTH`] octets, the kind 1 and zeros where they are
    /// reserved.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let mut rest = Reader(octets);
        let [EXTENSION, key, 0, 0] = rest.array()? else { return None };
        let sequence = rest.array().map(u64::from_be_bytes)?;
        let mac = rest.array()?;
        rest.0.is_empty().then_some(Trailer { key, sequence, mac })
    }

    /// The octets.
    pub fn emit(&self) -> [u8; LENGTH] {
        let mut octets = [0; LENGTH];
        for (to, from) in octets.iter_mut().zip(self.signed_part().iter().chain(&self.mac)) {
            *to = *from;
        }
        octets
    }

    /// What comes before the signature, and is covered by it.
    pub(super) fn signed_part(&self) -> [u8; SIGNED] {
        let [a, b, c, d, e, f, g, h] = self.sequence.to_be_bytes();
        [EXTENSION, self.key, 0, 0, a, b, c, d, e, f, g, h]
    }
}

/// The signature of a message: over family, version, VRID and source, the message with a checksum of
/// zero, and the trailer with zeros for the signature.
pub(super) fn mac(key: &[u8], context: &Context, pdu: &[u8], signed: &[u8; SIGNED]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104 §2)");
    let family = if context.source.is_ipv4() { 4 } else { 6 };
    mac.update(&[family, context.version, context.vrid, 0]);
    match context.source {
        IpAddr::V4(source) => {
            mac.update(&source.octets());
            mac.update(&[0; 12]);
        }
        IpAddr::V6(source) => mac.update(&source.octets()),
    }
    let after = context.checksum_at.saturating_add(2);
    match (pdu.get(..context.checksum_at), pdu.get(after..)) {
        (Some(before), Some(after)) => {
            mac.update(before);
            mac.update(&[0; 2]);
            mac.update(after);
        }
        // Too short for a checksum, and so for a message.
        _ => mac.update(pdu),
    }
    mac.update(signed);
    mac.update(&[0; MAC]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    const CAPTURED: &str = "010700006b003fa760c50000163eac0f2923cbc3b53ba17d13e84957";

    #[test]
    fn layout() {
        let trailer = Trailer {
            key: 7,
            sequence: 0x6b00_3fa7_60c5_0000,
            mac: *hex(CAPTURED).last_chunk().expect("16 octets"),
        };
        assert_eq!(Trailer::parse(&hex(CAPTURED)), Some(trailer));
        assert_eq!(trailer.emit().to_vec(), hex(CAPTURED));
    }

    #[test]
    fn malformed() {
        let good = hex(CAPTURED);
        for (name, at, octet) in
            [("kind 0", 0, 0), ("kind 2", 0, 2), ("reserved", 2, 1), ("reserved, second octet", 3, 128)]
        {
            let mut octets = good.clone();
            octets[at] = octet;
            assert_eq!(Trailer::parse(&octets), None, "{name}");
        }
        for length in 0..good.len() {
            assert_eq!(Trailer::parse(&good[..length]), None, "{length} octets");
        }
        assert_eq!(Trailer::parse(&[&good[..], &[0]].concat()), None, "longer");
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(key: u8, sequence: u64, mac: [u8; 16]) {
            let trailer = Trailer { key, sequence, mac };
            prop_assert_eq!(Trailer::parse(&trailer.emit()), Some(trailer));
        }

        #[test]
        fn what_parses_is_emitted_alike(mut octets: [u8; 28]) {
            (octets[0], octets[2], octets[3]) = (1, 0, 0);
            let trailer = Trailer::parse(&octets).expect("its form is right");
            prop_assert_eq!(trailer.emit(), octets);
        }
    }
}

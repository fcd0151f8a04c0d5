//! The IP Authentication Header as version 2 uses it (RFC 2338 §5.3.6.3; RFC 2402, HMAC-MD5-96 of
//! RFC 2403), between the IPv4 header and the advertisement.
//!
//! ```text
//! |  Next header  |    Length     |           Reserved            |
//! |                 Security parameters index                     |
//! |                       Sequence number                         |
//! |             Integrity check value (12 octets)                 |
//! ```
//! Here: layout and digest. Not here: which sequence number comes next or is acceptable, which is the
//! virtual router's.
//!
//! keepalived's header, which two of them agree on: the SPI is the source address and the TTL is covered
//! unless the destination is unicast (RFC 2402 §3.3.3.1.1.1 leaves it out always).

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::Reader;
use super::ipv4::{AUTHENTICATION_HEADER, Header, VRRP};

/// Octets of the header.
pub const LENGTH: usize = 24;
/// Octets of the IP header before it, which has no options.
const IP_HEADER: usize = 20;
/// Octets of the integrity check value.
const ICV: usize = 12;
/// Octets of the header before the integrity check value.
const FIELDS: usize = LENGTH - ICV;
/// Length field: 32-bit words less two (RFC 2402 §2.2).
const LENGTH_FIELD: u8 = 4;

/// A message whose header is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Sequence number, to be compared with the last one.
    pub sequence: u32,
    /// The VRRP message.
    pub message: &'a [u8],
}

/// Why a payload was not opened; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AhError {
    /// Fewer octets than the header has.
    #[error("Authentication Header is cut short")]
    Short,
    /// What follows is not VRRP.
    #[error("Authentication Header of another protocol than VRRP")]
    NextHeader,
    /// The length field is not that of a check value of 12 octets.
    #[error("length of the Authentication Header is not {LENGTH}")]
    Malformed,
    /// Another key, or something was altered.
    #[error("wrong digest in the Authentication Header: give both routers the same auth_pass")]
    Digest,
    /// The security parameters index is not the source address.
    #[error("security parameters index of the Authentication Header is not the source address")]
    Spi,
}

/// The datagram of `message` behind an Authentication Header; the protocol of `header` becomes 51.
///
/// The identification is covered: 0 would be replaced by the kernel, and refused by receivers.
pub fn emit(header: &Header, sequence: u32, key: &[u8; 8], message: &[u8]) -> Vec<u8> {
    let header = Header { protocol: AUTHENTICATION_HEADER, ..*header };
    let mut payload = Vec::with_capacity(LENGTH + message.len());
    payload.extend([VRRP, LENGTH_FIELD, 0, 0]);
    payload.extend(header.source.octets());
    payload.extend(sequence.to_be_bytes());
    let digest = digest(&header, key, &payload, message).finalize().into_bytes();
    payload.extend(digest.iter().take(ICV));
    payload.extend(message);
    header.emit(&payload)
}

/// Checks what follows an IPv4 header of protocol 51 without options.
///
/// # Errors
/// [`AhError`]
pub fn open<'a>(header: &Header, payload: &'a [u8], key: &[u8; 8]) -> Result<Opened<'a>, AhError> {
    let (fields, rest) = payload.split_first_chunk::<FIELDS>().ok_or(AhError::Short)?;
    let (icv, message) = rest.split_first_chunk::<ICV>().ok_or(AhError::Short)?;
    let (spi, sequence) = parse(fields)?;
    // Compares in a time that does not tell where the first difference is.
    digest(header, key, fields, message).verify_truncated_left(icv).map_err(|_| AhError::Digest)?;
    if spi != header.source.octets() {
        return Err(AhError::Spi);
    }
    Ok(Opened { sequence, message })
}

fn parse(fields: &[u8; FIELDS]) -> Result<([u8; 4], u32), AhError> {
    let mut rest = Reader(fields);
    let [next, length, _, _] = rest.array().ok_or(AhError::Short)?;
    if next != VRRP {
        return Err(AhError::NextHeader);
    }
    if length != LENGTH_FIELD {
        return Err(AhError::Malformed);
    }
    let spi = rest.array().ok_or(AhError::Short)?;
    let sequence = rest.array().map(u32::from_be_bytes).ok_or(AhError::Short)?;
    Ok((spi, sequence))
}

/// Over the IP header without what routers change, the fields, zeros for the value itself, the message.
fn digest(header: &Header, key: &[u8; 8], fields: &[u8], message: &[u8]) -> Hmac<Md5> {
    let ttl = if header.destination.is_multicast() { header.ttl } else { 0 };
    let total = u16::try_from(IP_HEADER + LENGTH + message.len()).unwrap_or(u16::MAX);
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104 §2)");
    mac.update(&[0x45, 0]);
    mac.update(&total.to_be_bytes());
    mac.update(&header.id.to_be_bytes());
    mac.update(&[0, 0, ttl, AUTHENTICATION_HEADER, 0, 0]);
    mac.update(&header.source.octets());
    mac.update(&header.destination.octets());
    mac.update(fields);
    mac.update(&[0; ICV]);
    mac.update(message);
    mac
}

/// Does with `octets` what a receiver does: for the fuzz target and the property tests.
///
/// # Panics
/// When a message that was opened is not opened after writing it again.
pub fn exercise_any(octets: &[u8]) {
    let key = b"secret\0\0";
    let Ok((header, payload)) = Header::parse(octets) else { return };
    let (sequence, message) = match open(&header, payload, key) {
        Ok(opened) => (opened.sequence, opened.message),
        Err(AhError::Short) => return,
        // What has a wrong digest is signed, so that the rest is seen too.
        Err(_) => (1, payload),
    };
    if IP_HEADER + LENGTH + message.len() > usize::from(u16::MAX) {
        return;
    }
    let again = emit(&header, sequence, key, message);
    let (header, payload) = Header::parse(&again).expect("a datagram that we wrote");
    assert_eq!(open(&header, payload, key), Ok(Opened { sequence, message }), "emit and open are inverse");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use crate::wire::ipv4::{TOS, TTL};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// Captured from keepalived, VRID 57, first advertisement, auth_pass `secret`.
    const CAPTURED: &str = concat!(
        "45c0004000020000ff3318b5c0000201e0000012",
        "70040000c000020100000002d82f281dbcbfbb6e90b1638e",
        "2139ff010201d3b70a00000c0000000000000000",
    );
    const KEY: &[u8; 8] = b"secret\0\0";

    fn header() -> Header {
        Header {
            tos: TOS,
            id: 2,
            ttl: TTL,
            protocol: VRRP,
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(224, 0, 0, 18),
        }
    }

    fn opened<'a>(octets: &'a [u8], key: &[u8; 8]) -> Result<Opened<'a>, AhError> {
        let (header, payload) = Header::parse(octets).expect("an IPv4 header");
        open(&header, payload, key)
    }

    #[test]
    fn captured_packet() {
        let octets = hex(CAPTURED);
        let message = &octets[44..];
        assert_eq!(emit(&header(), 2, KEY, message), octets);
        assert_eq!(opened(&octets, KEY), Ok(Opened { sequence: 2, message }));
    }

    #[test]
    fn refusals() {
        let good = hex(CAPTURED);
        let with = |at: usize, octet: u8| {
            let mut octets = good.clone();
            octets[at] = octet;
            octets
        };
        // A message that was signed by somebody else than who sends it.
        let foreign = {
            let spi = [10, 0, 0, 1];
            let mut fields = vec![VRRP, LENGTH_FIELD, 0, 0];
            fields.extend(spi);
            fields.extend([0, 0, 0, 2]);
            let icv = digest(&header(), KEY, &fields, &good[44..]).finalize().into_bytes();
            let payload = [&fields[..], &icv[..ICV], &good[44..]].concat();
            Header { protocol: AUTHENTICATION_HEADER, ..header() }.emit(&payload)
        };
        for (name, octets, key, want) in [
            ("another protocol", with(20, 6), KEY, AhError::NextHeader),
            ("another length", with(21, 5), KEY, AhError::Malformed),
            ("protocol before length", with(20, 0), b"other\0\0\0", AhError::NextHeader),
            ("reserved is covered", with(22, 1), KEY, AhError::Digest),
            ("another SPI, not signed", with(24, 1), KEY, AhError::Digest),
            ("another SPI, signed", foreign, KEY, AhError::Spi),
            ("another sequence", with(31, 3), KEY, AhError::Digest),
            ("another identification", with(5, 3), KEY, AhError::Digest),
            ("another source", with(15, 2), KEY, AhError::Digest),
            ("another key", good.clone(), b"secret\0x", AhError::Digest),
            ("a key of no octets", good.clone(), &[0; 8], AhError::Digest),
        ] {
            assert_eq!(opened(&octets, key), Err(want), "{name}");
        }
    }

    #[test]
    fn ttl_and_type_of_service() {
        for (name, destination, ttl, tos, want) in [
            ("multicast covers the TTL", Ipv4Addr::new(224, 0, 0, 18), 254, TOS, Err(AhError::Digest)),
            ("unicast does not", Ipv4Addr::new(192, 0, 2, 2), 254, TOS, Ok(9)),
            ("multicast, type of service", Ipv4Addr::new(224, 0, 0, 18), TTL, 0, Ok(9)),
            ("unicast, type of service", Ipv4Addr::new(192, 0, 2, 2), TTL, 0, Ok(9)),
        ] {
            let octets = emit(&Header { destination, ..header() }, 9, KEY, b"message");
            let (sent, payload) = Header::parse(&octets).expect("a datagram");
            let received = Header { ttl, tos, ..sent };
            assert_eq!(open(&received, payload, KEY).map(|opened| opened.sequence), want, "{name}");
        }
    }

    #[test]
    fn each_truncation_is_refused() {
        let octets = hex(CAPTURED);
        let (header, payload) = Header::parse(&octets).expect("a datagram");
        for length in 0..payload.len() {
            let want = if length < LENGTH { AhError::Short } else { AhError::Digest };
            assert_eq!(open(&header, &payload[..length], KEY), Err(want), "{length} octets");
        }
    }

    #[test]
    fn each_flipped_bit_is_refused() {
        let octets = hex(CAPTURED);
        let (header, payload) = Header::parse(&octets).expect("a datagram");
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&header, &flipped, KEY).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_opens(
            tos: u8, id: u16, ttl: u8, source: u32, destination: u32, sequence: u32, key: [u8; 8],
            message in proptest::collection::vec(any::<u8>(), 0..1400), bit: prop::sample::Index,
        ) {
            let header =
                Header { tos, id, ttl, protocol: 0, source: source.into(), destination: destination.into() };
            let octets = emit(&header, sequence, &key, &message);
            prop_assert_eq!(opened(&octets, &key), Ok(Opened { sequence, message: &message }));
            let (header, payload) = Header::parse(&octets).expect("a datagram");
            let mut flipped = payload.to_vec();
            let bit = bit.index(flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&header, &flipped, &key).is_err());
        }

        #[test]
        fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..200), shaped: bool) {
            let mut octets = octets;
            if shaped {
                let captured = hex(CAPTURED);
                let length = octets.len().min(captured.len() / 2);
                let tail = captured[length..].to_vec();
                octets.truncate(length);
                octets.extend(tail);
            }
            exercise_any(&octets);
            let payload = octets.get(20..).unwrap_or_default();
            let _ = open(&header(), payload, KEY);
        }
    }
}

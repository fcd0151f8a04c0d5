//! The IPv4 header that we write ourselves (RFC 791 §3.1; RFC 3768 §5.2).

use std::net::Ipv4Addr;

use super::{Reader, fill_checksum};

/// IP protocol number of VRRP (RFC 3768 §5.2.4).
pub const VRRP: u8 = 112;
/// IP protocol number of the Authentication Header (RFC 2338 §5.3.6.3).
pub const AUTHENTICATION_HEADER: u8 = 51;
/// Type of service of an advertisement: internetwork control, as keepalived sends it.
pub const TOS: u8 = 0xc0;
/// TTL of a multicast advertisement (RFC 3768 §5.2.3).
pub const TTL: u8 = 255;
const LENGTH: usize = 20;

/// A header. Lengths and the checksum are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of service.
    pub tos: u8,
    /// Identification; the kernel writes its own where it is 0.
    pub id: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination.
    pub destination: Ipv4Addr,
}

/// Why octets are no IPv4 datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer octets than the header or the total length say.
    #[error("datagram is cut short")]
    Short,
    /// Not version 4, or a header length below 20.
    #[error("no IPv4 header")]
    NotIpv4,
}

impl Header {
    /// The datagram of this header and `payload`.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(LENGTH + payload.len()).unwrap_or(u16::MAX);
        let mut octets = Vec::with_capacity(LENGTH + payload.len());
        octets.extend([0x45, self.tos]);
        octets.extend(total.to_be_bytes());
        octets.extend(self.id.to_be_bytes());
        octets.extend([0, 0, self.ttl, self.protocol, 0, 0]);
        octets.extend(self.source.octets());
        octets.extend(self.destination.octets());
        fill_checksum(&mut octets, 10);
        octets.extend(payload);
        octets
    }

    /// Reads a datagram as a raw socket gives it. Octets behind its total length (padding of short
    /// Ethernet frames) are left out; the kernel has checked the header's checksum.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn parse(octets: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let mut rest = Reader(octets);
        let (header, header_length, total) = Self::fields(&mut rest).ok_or(HeaderError::Short)?;
        let [first, ..] = octets else { return Err(HeaderError::Short) };
        if first >> 4 != 4 || header_length < LENGTH {
            return Err(HeaderError::NotIpv4);
        }
        octets.get(header_length..total).map(|payload| (header, payload)).ok_or(HeaderError::Short)
    }

    fn fields(rest: &mut Reader) -> Option<(Self, usize, usize)> {
        let [first, tos] = rest.array()?;
        let total = rest.u16()?;
        let id = rest.u16()?;
        let [_, _, ttl, protocol] = rest.array()?;
        rest.u16()?;
        let source = Ipv4Addr::from(rest.array::<4>()?);
        let destination = Ipv4Addr::from(rest.array::<4>()?);
        let header = Header { tos, id, ttl, protocol, source, destination };
        Some((header, usize::from(first & 0x0f) * 4, usize::from(total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Family, Priority, Version};
    use crate::wire::advert::{Checksum, Outgoing};
    use crate::wire::hex;
    use proptest::prelude::*;

    /// Captured from keepalived, VRID 56, first advertisement, auth_pass `secret`.
    const PASS: &str = "45c0002800020000ff701890c0000201e00000122138ff010101986d0a00000b7365637265740000";

    #[test]
    fn captured_packet() {
        let header = Header {
            tos: TOS,
            id: 2,
            ttl: TTL,
            protocol: VRRP,
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(224, 0, 0, 18),
        };
        let mut message = Outgoing {
            version: Version::V2,
            family: Family::V4,
            vrid: 56,
            priority: Priority::OWNER,
            interval: std::time::Duration::from_secs(1),
            addresses: &[10, 0, 0, 11],
            authentication_type: 1,
            authentication: *b"secret\0\0",
        }
        .emit();
        Checksum::Message.fill(&mut message);
        assert_eq!(header.emit(&message), hex(PASS));
        let octets = hex(PASS);
        assert_eq!(Header::parse(&octets), Ok((header, &message[..])));
    }

    #[test]
    fn damaged_headers() {
        let good = hex(PASS);
        let with = |at: usize, octet: u8| {
            let mut octets = good.clone();
            octets[at] = octet;
            octets
        };
        for (name, octets, want) in [
            ("nothing", vec![], HeaderError::Short),
            ("header cut", good[..19].to_vec(), HeaderError::Short),
            ("payload cut", good[..39].to_vec(), HeaderError::Short),
            ("version 6", with(0, 0x65), HeaderError::NotIpv4),
            ("header length 16", with(0, 0x44), HeaderError::NotIpv4),
            ("options longer than the datagram", with(0, 0x4f), HeaderError::Short),
            ("total length below the header's", with(3, 19), HeaderError::Short),
        ] {
            assert_eq!(Header::parse(&octets).map(|_| ()), Err(want), "{name}");
        }
        let mut padded = good.clone();
        padded.extend([0; 6]);
        assert_eq!(Header::parse(&padded).expect("padding is cut off").1, &good[20..]);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(
            tos: u8, id: u16, ttl: u8, protocol: u8, source: u32, destination: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..1480),
        ) {
            let header = Header { tos, id, ttl, protocol, source: source.into(), destination: destination.into() };
            let octets = header.emit(&payload);
            prop_assert_eq!(Header::parse(&octets), Ok((header, &payload[..])));
        }
    }
}

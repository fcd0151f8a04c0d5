//! The IPv6 header that we write ourselves or read off a link (RFC 8200 §3; RFC 9568 §5.1.2).

use std::net::Ipv6Addr;

use super::Reader;

/// Traffic class of an advertisement: internetwork control, as keepalived sends it.
pub const TRAFFIC_CLASS: u8 = 0xc0;
/// Hop limit of a multicast advertisement (RFC 9568 §5.1.2.3) and of neighbour discovery (RFC 4861 §4.4).
pub const HOP_LIMIT: u8 = 255;
/// Octets of the header.
pub const LENGTH: usize = 40;

/// A header. The payload length is computed; the flow label is 0 and not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Traffic class.
    pub traffic_class: u8,
    /// Protocol of the payload, or the kind of an extension header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source.
    pub source: Ipv6Addr,
    /// Destination.
    pub destination: Ipv6Addr,
}

/// Why octets are no IPv6 datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer octets than the header or the payload length say.
    #[error("datagram is cut short")]
    Short,
    /// Not version 6.
    #[error("no IPv6 header")]
    NotIpv6,
}

impl Header {
    /// The datagram of this header and `payload`, of at most 65,535 octets.
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let mut octets = Vec::with_capacity(LENGTH + payload.len());
        octets.extend([0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, 0]);
        octets.extend(length.to_be_bytes());
        octets.extend([self.next_header, self.hop_limit]);
        octets.extend(self.source.octets());
        octets.extend(self.destination.octets());
        octets.extend(payload);
        octets
    }

    /// Reads a datagram. Octets behind its payload length (padding of short Ethernet frames) are left
    /// out; extension headers are part of the payload.
    ///
    /// # Errors
    /// [`HeaderError`]
    pub fn parse(octets: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let mut rest = Reader(octets);
        let (version, header, length) = Self::fields(&mut rest).ok_or(HeaderError::Short)?;
        if version != 6 {
            return Err(HeaderError::NotIpv6);
        }
        rest.0.get(..length).map(|payload| (header, payload)).ok_or(HeaderError::Short)
    }

    fn fields(rest: &mut Reader) -> Option<(u8, Self, usize)> {
        let [first, second, _, _] = rest.array()?;
        let length = rest.u16()?;
        let [next_header, hop_limit] = rest.array()?;
        let header = Header {
            traffic_class: first << 4 | second >> 4,
            next_header,
            hop_limit,
            source: Ipv6Addr::from(rest.array::<16>()?),
            destination: Ipv6Addr::from(rest.array::<16>()?),
        };
        Some((first >> 4, header, usize::from(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    const HEADER: &str =
        concat!("6c000000000470ff", "fe800000000000000000000000000001", "ff020000000000000000000000000012",);

    fn header() -> Header {
        Header {
            traffic_class: TRAFFIC_CLASS,
            next_header: 112,
            hop_limit: HOP_LIMIT,
            source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
        }
    }

    #[test]
    fn layout() {
        let octets = hex(&format!("{HEADER}31336401"));
        assert_eq!(header().emit(&octets[LENGTH..]), octets);
        assert_eq!(Header::parse(&octets), Ok((header(), &octets[LENGTH..])));
    }

    #[test]
    fn damaged_headers() {
        let good = hex(&format!("{HEADER}31336401"));
        let with = |at: usize, octet: u8| {
            let mut octets = good.clone();
            octets[at] = octet;
            octets
        };
        for (name, octets, want) in [
            ("nothing", vec![], HeaderError::Short),
            ("header cut", good[..39].to_vec(), HeaderError::Short),
            ("payload cut", good[..43].to_vec(), HeaderError::Short),
            ("payload length too great", with(5, 5), HeaderError::Short),
            ("version 4", with(0, 0x4c), HeaderError::NotIpv6),
        ] {
            assert_eq!(Header::parse(&octets).map(|_| ()), Err(want), "{name}");
        }
        let mut padded = good.clone();
        padded.extend([0; 6]);
        assert_eq!(Header::parse(&padded).expect("padding is cut off").1, &good[LENGTH..]);
        let labelled = with(1, 0x0f);
        assert_eq!(Header::parse(&labelled).expect("a flow label is ignored").0, header());
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back_and_no_less_of_it(
            traffic_class: u8, next_header: u8, hop_limit: u8, source: u128, destination: u128,
            payload in proptest::collection::vec(any::<u8>(), 0..1460), cut: prop::sample::Index,
        ) {
            let header =
                Header { traffic_class, next_header, hop_limit, source: source.into(), destination: destination.into() };
            let octets = header.emit(&payload);
            prop_assert_eq!(Header::parse(&octets), Ok((header, &payload[..])));
            prop_assert_eq!(Header::parse(&octets[..cut.index(octets.len())]), Err(HeaderError::Short));
        }

        #[test]
        fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok((header, payload)) = Header::parse(&octets) {
                let again = header.emit(payload);
                prop_assert_eq!(Header::parse(&again), Ok((header, payload)));
            }
        }
    }
}

//! The advertisement of versions 2 and 3 (RFC 3768 §5.1 with the authentication of RFC 2338 §5.3.6;
//! RFC 9568 §5.2).
//!
//! ```text
//!  0                   1                   2                   3
//! |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
//! |   Auth Type   |   Adver Int   |          Checksum             |   version 2
//! |Reserve|  Max Advertise Int    |          Checksum             |   version 3
//! |              IP addresses (Count × 4, or × 16)                |
//! |       Authentication data (8 octets, version 2 only)          |
//! ```
//! Here: layout and checksum. Not here: whether an advertisement is acceptable (`receive`).

use std::net::IpAddr;
use std::time::Duration;

use super::ipv4::VRRP;
use super::pseudo::checksum_with_pseudo_header;
use super::{Reader, checksum};
use crate::types::{Family, Priority, Version};

/// Octets before the addresses.
pub const HEADER: usize = 8;
/// Octets of authentication data of version 2: always there, zeros with type 0 (RFC 3768 §5.3.10).
pub const AUTHENTICATION: usize = 8;
/// Where the checksum is.
pub const CHECKSUM: usize = 6;
/// The only type (RFC 9568 §5.2.2).
pub const ADVERTISEMENT: u8 = 1;

/// An advertisement as it was read. Values that no router sends are kept, so that they can be refused
/// by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    /// Type, 4 bits: 1.
    pub kind: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: Priority,
    /// Addresses that it says it lists.
    pub count: u8,
    /// What follows the count: authentication type and interval, or interval in 12 bits.
    second: [u8; 2],
    /// The addresses' octets, 4 or 16 each.
    pub addresses: &'a [u8],
    /// Authentication data of version 2; zeros in version 3.
    pub authentication: [u8; AUTHENTICATION],
    /// Everything up to here: what the checksum covers.
    pub message: &'a [u8],
    /// What stands behind it.
    pub trailing: &'a [u8],
}

/// What `octets` of any content say about themselves before their length is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Version, 4 bits.
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: u8,
}

impl Prefix {
    /// Reads the first octets; `None` when there are fewer than [`HEADER`].
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let [first, vrid, ..] = *octets.first_chunk::<HEADER>()?;
        Some(Prefix { version: first >> 4, vrid })
    }
}

impl<'a> Advert<'a> {
    /// Reads a message of `version` and `family`, whatever version it names; `None` when it is shorter
    /// than its count asks for. The checksum is looked at by [`Advert::checksum`].
    pub fn parse(octets: &'a [u8], version: Version, family: Family) -> Option<Self> {
        let mut rest = Reader(octets);
        let [first, vrid, priority, count] = rest.array()?;
        let second = rest.array()?;
        rest.u16()?;
        let (addresses, after) = rest.0.split_at_checked(family.width() * usize::from(count))?;
        let mut rest = Reader(after);
        let authentication = match version {
            Version::V2 => rest.array()?,
            Version::V3 => [0; AUTHENTICATION],
        };
        let trailing = rest.0;
        let message = octets.get(..octets.len() - trailing.len())?;
        let (kind, priority) = (first & 0x0f, Priority(priority));
        Some(Advert { kind, vrid, priority, count, second, addresses, authentication, message, trailing })
    }

    /// Authentication type of version 2: 0 none, 1 password, 2 AH.
    pub fn authentication_type(&self) -> u8 {
        self.second[0]
    }

    /// Interval: whole seconds in version 2, hundredths of a second in version 3, whose reserve bits are
    /// ignored (RFC 9568 §5.2.6).
    pub fn interval(&self, version: Version) -> Duration {
        let [high, low] = self.second;
        match version {
            Version::V2 => Duration::from_secs(low.into()),
            Version::V3 => Duration::from_millis(10) * u32::from(u16::from_be_bytes([high & 0x0f, low])),
        }
    }

    /// Whether the checksum is right in one of `forms`; which one.
    pub fn checksum(&self, forms: impl IntoIterator<Item = Checksum>) -> Option<Checksum> {
        forms.into_iter().find(|form| form.over(self.message) == 0)
    }
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The message alone: version 2 (RFC 3768 §5.3.8), version 3 over IPv4 (RFC 9568 §5.2.8).
    Message,
    /// A pseudo header too: version 3 over IPv6 (RFC 9568 §5.2.8), and over IPv4 as RFC 5798 §5.2.8 is
    /// widely read, keepalived's default.
    Pseudo {
        /// Source of the datagram.
        source: IpAddr,
        /// Destination of the datagram, or what the sender takes for it (old_unicast_checksum).
        destination: IpAddr,
    },
}

impl Checksum {
    /// The checksum of `message`; 0 if it holds the right one already.
    pub fn over(self, message: &[u8]) -> u16 {
        match self {
            Checksum::Message => checksum(message),
            Checksum::Pseudo { source, destination } => {
                checksum_with_pseudo_header(source, destination, VRRP, message.len(), message)
            }
        }
    }

    /// Writes the checksum into `message`, whose field for it holds zeros.
    pub fn fill(self, message: &mut [u8]) {
        let sum = self.over(message).to_be_bytes();
        if let Some(field) = message.get_mut(CHECKSUM..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            *field = sum;
        }
    }
}

/// An advertisement to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Version.
    pub version: Version,
    /// Family of the addresses.
    pub family: Family,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority.
    pub priority: Priority,
    /// Interval: 1 to 255 s in version 2, 0.01 to 40.95 s in version 3; beyond that the nearest of these.
    pub interval: Duration,
    /// Octets of at most 255 addresses; more are left out.
    pub addresses: &'a [u8],
    /// Authentication type of version 2.
    pub authentication_type: u8,
    /// Authentication data of version 2.
    pub authentication: [u8; AUTHENTICATION],
}

impl Outgoing<'_> {
    /// The octets, with zeros for the checksum: see [`Checksum::fill`].
    pub fn emit(&self) -> Vec<u8> {
        let width = self.family.width();
        let count = u8::try_from(self.addresses.len() / width).unwrap_or(u8::MAX);
        let listed = usize::from(count) * width;
        let mut octets = Vec::with_capacity(HEADER + listed + AUTHENTICATION + crate::hmac::LENGTH);
        octets.extend([self.version.number() << 4 | ADVERTISEMENT, self.vrid, self.priority.0, count]);
        match self.version {
            Version::V2 => {
                let seconds = u8::try_from(self.interval.as_secs()).unwrap_or(u8::MAX).max(1);
                octets.extend([self.authentication_type, seconds]);
            }
            Version::V3 => {
                let hundredths = u16::try_from(self.interval.as_millis() / 10).unwrap_or(u16::MAX);
                octets.extend(hundredths.clamp(1, 4095).to_be_bytes());
            }
        }
        octets.extend([0, 0]);
        octets.extend(self.addresses.iter().take(listed));
        if self.version == Version::V2 {
            octets.extend(self.authentication);
        }
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const SECRET: [u8; 8] = *b"secret\0\0";

    fn outgoing(version: Version, addresses: &[u8]) -> Outgoing<'_> {
        Outgoing {
            version,
            family: Family::V4,
            vrid: 51,
            priority: Priority(100),
            interval: Duration::from_secs(1),
            addresses,
            authentication_type: 0,
            authentication: [0; 8],
        }
    }

    fn pseudo(source: &str, destination: &str) -> Checksum {
        let ip = |text: &str| text.parse().expect("address");
        Checksum::Pseudo { source: ip(source), destination: ip(destination) }
    }

    /// V3-F1, V3-F2, V3-F8, V3-C1, V3-C2, V3-C3, V2-F1, V2-F2, V2-C1, V2A-4, V2A-7, V5-1.
    #[test]
    fn vectors() {
        let v4 = [10, 0, 0, 100];
        let [local, global] =
            ["fe80::100", "2001:db8::100"].map(|text| text.parse::<Ipv6Addr>().expect("address").octets());
        let v6 = [local, global].concat();
        let plain = outgoing(Version::V3, &v4);
        let multicast = pseudo("10.0.0.1", "224.0.0.18");
        for (name, outgoing, form, text) in [
            ("V3-C2 message only", plain, Checksum::Message, "31336401006460030a000064"),
            ("V3 pseudo header, multicast", plain, multicast, "31336401006475730a000064"),
            ("V3 unicast", plain, pseudo("10.0.0.1", "10.0.0.2"), "3133640100644b840a000064"),
            (
                "V3 priority 0",
                Outgoing { priority: Priority(0), ..plain },
                Checksum::Message,
                "313300010064c4030a000064",
            ),
            (
                "V3 priority 0, pseudo header",
                Outgoing { priority: Priority(0), ..plain },
                multicast,
                "313300010064d9730a000064",
            ),
            (
                "V3-C3 IPv6",
                Outgoing { family: Family::V6, addresses: &v6, ..plain },
                pseudo("fe80::1", "ff02::12"),
                "3133640200643dfdfe80000000000000000000000000010020010db8000000000000000000000100",
            ),
            (
                "V2-C1 no authentication",
                Outgoing { version: Version::V2, ..plain },
                Checksum::Message,
                "21336401000170660a0000640000000000000000",
            ),
            (
                "V2A-7 PASS secret",
                Outgoing { version: Version::V2, authentication_type: 1, authentication: SECRET, ..plain },
                Checksum::Message,
                "213364010101331a0a0000647365637265740000",
            ),
        ] {
            let mut octets = outgoing.emit();
            form.fill(&mut octets);
            assert_eq!(octets, hex(text), "{name}");
            let read = Advert::parse(&octets, outgoing.version, outgoing.family).expect(name);
            assert_eq!((read.kind, read.vrid, read.priority), (1, 51, outgoing.priority), "{name}");
            assert_eq!(read.interval(outgoing.version), outgoing.interval, "{name}");
            assert_eq!((read.addresses, read.trailing), (outgoing.addresses, &[][..]), "{name}");
            assert_eq!(read.authentication, outgoing.authentication, "{name}");
            assert_eq!(read.checksum([form]), Some(form), "{name}");
        }
    }

    /// V3-F9, V2-F9: the field holds what was configured, and is never wrapped.
    #[test]
    fn intervals() {
        for (name, version, ms, field) in [
            ("V3-F9 shortest", Version::V3, 10, [0, 1]),
            ("V3-F9 default", Version::V3, 1000, [0, 100]),
            ("V3-F9 longest", Version::V3, 40_950, [0x0f, 0xff]),
            ("V3-F9 longer is cut, not wrapped", Version::V3, 40_960, [0x0f, 0xff]),
            ("V2-F9 shortest", Version::V2, 1000, [0, 1]),
            ("V2-F9 longest", Version::V2, 255_000, [0, 255]),
        ] {
            let octets =
                Outgoing { interval: Duration::from_millis(ms), ..outgoing(version, &[10, 0, 0, 1]) }.emit();
            assert_eq!(octets[4..6], field, "{name}");
        }
    }

    /// V3-R5, V2-R3: nothing that is cut off is read.
    #[test]
    fn each_truncation_is_refused() {
        let v2 = hex("213364010101331a0a0000647365637265740000");
        let v3 = hex("31336401006475730a000064");
        for (octets, version) in [(v2, Version::V2), (v3, Version::V3)] {
            for length in 0..octets.len() {
                assert_eq!(Advert::parse(&octets[..length], version, Family::V4), None, "{length} octets");
            }
            let mut longer = octets;
            longer.push(7);
            let read = Advert::parse(&longer, version, Family::V4).expect("a message and more");
            assert_eq!(read.trailing, [7]);
        }
    }

    /// V3-R6, V2-R4, V3-C4: each bit counts, and nothing behind the message does.
    #[test]
    fn each_flipped_bit_is_seen_by_the_checksum() {
        let (v2, v3) = (hex("213364010101331a0a0000647365637265740000"), hex("31336401006475730a000064"));
        let multicast = pseudo("10.0.0.1", "224.0.0.18");
        for (octets, version, form) in [(v2, Version::V2, Checksum::Message), (v3, Version::V3, multicast)] {
            for bit in (0..octets.len() * 8).filter(|bit| bit / 8 != 3) {
                let mut flipped = octets.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = Advert::parse(&flipped, version, Family::V4).expect("the count is the same");
                assert_eq!(read.checksum([form]), None, "bit {bit}");
            }
            let mut longer = octets.clone();
            longer.extend([1, 2, 3, 4]);
            let read = Advert::parse(&longer, version, Family::V4).expect("a message");
            assert_eq!(read.checksum([form]), Some(form), "V3-C4");
        }
    }

    /// V3-C3: source and destination are covered over IPv6.
    #[test]
    fn the_pseudo_header_counts() {
        let octets = hex("3133640200643dfdfe80000000000000000000000000010020010db8000000000000000000000100");
        let read = Advert::parse(&octets, Version::V3, Family::V6).expect("a message");
        for (name, source, destination, right) in [
            ("right", "fe80::1", "ff02::12", true),
            ("another source", "fe80::2", "ff02::12", false),
            ("another destination", "fe80::1", "ff02::13", false),
        ] {
            assert_eq!(read.checksum([pseudo(source, destination)]).is_some(), right, "{name}");
        }
        assert_eq!(read.checksum([Checksum::Message]), None);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(
            v3: bool, vrid: u8, priority: u8, authentication_type: u8, hundredths in 1u32..=4095,
            addresses in proptest::collection::vec(any::<u32>(), 0..=255), authentication: [u8; 8],
            ends: (u32, u32),
        ) {
            let octets: Vec<u8> = addresses.iter().flat_map(|one| one.to_be_bytes()).collect();
            let version = if v3 { Version::V3 } else { Version::V2 };
            let interval = match version {
                Version::V2 => Duration::from_secs(u64::from(hundredths % 255) + 1),
                Version::V3 => Duration::from_millis(10) * hundredths,
            };
            let form = Checksum::Pseudo {
                source: Ipv4Addr::from(ends.0).into(), destination: Ipv4Addr::from(ends.1).into(),
            };
            let outgoing = Outgoing {
                version, family: Family::V4, vrid, priority: Priority(priority), interval, addresses: &octets,
                authentication_type, authentication,
            };
            let mut message = outgoing.emit();
            form.fill(&mut message);
            let read = Advert::parse(&message, version, Family::V4).expect("parses");
            prop_assert_eq!(read.checksum([Checksum::Message, form]).is_some(), true);
            prop_assert_eq!(read.interval(version), interval);
            prop_assert_eq!((read.vrid, read.priority.0, read.addresses), (vrid, priority, &octets[..]));
            if version == Version::V2 {
                prop_assert_eq!((read.authentication_type(), read.authentication), (authentication_type, authentication));
            }
        }

        #[test]
        fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..1100), v3: bool, v6: bool) {
            let version = if v3 { Version::V3 } else { Version::V2 };
            let family = if v6 { Family::V6 } else { Family::V4 };
            if let Some(read) = Advert::parse(&octets, version, family) {
                prop_assert_eq!(read.message.len() + read.trailing.len(), octets.len());
                prop_assert_eq!(read.addresses.len(), usize::from(read.count) * family.width());
            }
        }
    }
}

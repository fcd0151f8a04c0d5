//! Authentication of what is sent and received: passwords and the Authentication Header of version 2
//! (RFC 2338 §5.3.6), keepalived's signed trailer.
//!
//! Here: which of them, and the counters against replay of one virtual router. Not here: their layout
//! (`wire::ah`, `hmac`). A password in clear text guards against mistakes, not against people.

use std::net::IpAddr;
use std::time::Duration;

use crate::hmac::{self, Checked, Context};
use crate::receive::Refusal;
use crate::types::{Authentication, Delivery, InstanceConfig};
use crate::wire::advert::{AUTHENTICATION, Advert, CHECKSUM};
use crate::wire::ah::{self, AhError};
use crate::wire::ipv4::Header;

const NONE: u8 = 0;
const PASS: u8 = 1;
const AH: u8 = 2;

impl Authentication {
    /// Authentication type on the wire.
    pub fn wire_type(&self) -> u8 {
        match self {
            Authentication::None | Authentication::Hmac(_) => NONE,
            Authentication::Pass(_) => PASS,
            Authentication::Ah(_) => AH,
        }
    }

    /// Authentication data on the wire; zeros but for a password.
    pub fn wire_data(&self) -> [u8; AUTHENTICATION] {
        match self {
            Authentication::Pass(password) => *password,
            Authentication::None | Authentication::Ah(_) | Authentication::Hmac(_) => [0; AUTHENTICATION],
        }
    }

    /// Compares a received advertisement of version 2 with the configuration. With other types than the
    /// password's the data is ignored (RFC 3768 §5.3.10, RFC 2338 §5.3.6.3).
    ///
    /// # Errors
    /// Unknown type, another type than ours, another password.
    pub fn check(&self, advert: &Advert<'_>) -> Result<(), Refusal> {
        let kind = advert.authentication_type();
        if ![NONE, PASS, AH].contains(&kind) {
            return Err(Refusal::InvalidAuthenticationType);
        }
        if kind != self.wire_type() {
            return Err(Refusal::AuthenticationTypeMismatch);
        }
        match self {
            Authentication::Pass(password) if !equal(password, &advert.authentication) => {
                Err(Refusal::AuthenticationFailure)
            }
            _ => Ok(()),
        }
    }
}

/// What one virtual router remembers of what it sent and heard, against replay.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Last sequence number of an Authentication Header, sent or received: peers share the count, as
    /// keepalived's do, so that who takes over goes on above it.
    sequence: u32,
    hmac: hmac::Session,
}

/// Above this no further advertisement is sent with an Authentication Header: the count must not wrap
/// (RFC 2402 §3.3.2). Reached after a century at one advertisement a second.
const LAST_SEQUENCE: u32 = 0xffff_fffd;

impl Session {
    /// The next sequence number of an Authentication Header; `None` at the end of the count.
    ///
    /// The first is the time in seconds, so that a router that starts anew is not taken for a replay of
    /// itself.
    pub fn next_sequence(&mut self, unix: Duration) -> Option<u32> {
        if self.sequence == 0 {
            self.sequence = u32::try_from(unix.as_secs()).unwrap_or(0);
        }
        if self.sequence >= LAST_SEQUENCE {
            return None;
        }
        self.sequence += 1;
        Some(self.sequence)
    }

    /// Opens an Authentication Header.
    ///
    /// # Errors
    /// [`Refusal::AuthenticationFailure`] for a wrong digest, index or an old sequence number,
    /// [`Refusal::AuthenticationTypeMismatch`] for anything but VRRP in it.
    pub fn open<'a>(
        &mut self,
        key: &[u8; AUTHENTICATION],
        header: &Header,
        payload: &'a [u8],
    ) -> Result<&'a [u8], Refusal> {
        let opened = ah::open(header, payload, key).map_err(|error| match error {
            AhError::Short => Refusal::Length,
            AhError::NextHeader | AhError::Malformed => Refusal::AuthenticationTypeMismatch,
            AhError::Spi | AhError::Digest => Refusal::AuthenticationFailure,
        })?;
        if opened.sequence <= self.sequence {
            return Err(Refusal::AuthenticationFailure);
        }
        self.sequence = opened.sequence;
        Ok(opened.message)
    }

    /// The trailer that signs `message`, if the configuration has one sent.
    pub fn seal(
        &mut self,
        config: &InstanceConfig,
        unix: Duration,
        source: IpAddr,
        message: &[u8],
    ) -> Option<[u8; hmac::LENGTH]> {
        let Authentication::Hmac(hmac) = &config.authentication else { return None };
        self.hmac.seal(hmac, unix, &context(config, source, None), message)
    }

    /// Checks the trailer of a received advertisement; without auth_hmac there must be none, and `None` is the
    /// answer.
    ///
    /// # Errors
    /// Each cause by its name.
    pub fn check(
        &mut self,
        config: &InstanceConfig,
        unix: Duration,
        source: IpAddr,
        advert: &Advert<'_>,
    ) -> Result<Option<Checked>, Refusal> {
        let Authentication::Hmac(hmac) = &config.authentication else {
            return if advert.trailing.is_empty() { Ok(None) } else { Err(Refusal::Length) };
        };
        let trailer = match advert.trailing.len() {
            0 => None,
            hmac::LENGTH => Some(advert.trailing),
            _ => return Err(Refusal::Length),
        };
        let peers: Option<Vec<IpAddr>> = match &config.delivery {
            Delivery::Unicast { peers, .. } => Some(peers.iter().map(|peer| peer.address).collect()),
            Delivery::Multicast { .. } => None,
        };
        let context = context(config, source, peers.as_deref());
        let checked = self.hmac.check(hmac, unix, &context, advert.message, trailer);
        checked.map(Some).map_err(Refusal::Signature)
    }
}

fn context<'a>(config: &InstanceConfig, source: IpAddr, peers: Option<&'a [IpAddr]>) -> Context<'a> {
    Context {
        version: config.version.number(),
        vrid: config.vrid.get(),
        source,
        checksum_at: CHECKSUM,
        peers,
    }
}

/// Compares in a time that does not tell where the first difference is.
fn equal(left: &[u8; AUTHENTICATION], right: &[u8; AUTHENTICATION]) -> bool {
    left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Family, Priority, Version};
    use crate::wire::advert::Outgoing;
    use std::net::Ipv4Addr;

    /// V2-R7, V2-F11, V2A-1, V2A-3, V2A-5, V2A-6, V2A-10.
    #[test]
    fn types_and_passwords() {
        let none = Authentication::None;
        let pass = Authentication::Pass(*b"secret\0\0");
        let full = Authentication::Pass(*b"12345678");
        let empty = Authentication::Pass([0; 8]);
        let header = Authentication::Ah(*b"secret\0\0");
        for (name, own, kind, data, want) in [
            ("V2-F11 none", &none, 0, [0; 8], Ok(())),
            ("V2-F11 data of type 0 is ignored", &none, 0, [7; 8], Ok(())),
            ("V2A-1 0:1", &none, 1, *b"secret\0\0", Err(Refusal::AuthenticationTypeMismatch)),
            ("V2A-1 0:2", &none, 2, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("V2A-1 unknown type", &none, 3, [0; 8], Err(Refusal::InvalidAuthenticationType)),
            ("V2A-1 type 255", &pass, 255, *b"secret\0\0", Err(Refusal::InvalidAuthenticationType)),
            ("V2A-5 password", &pass, 1, *b"secret\0\0", Ok(())),
            ("V2A-6 password of 8", &full, 1, *b"12345678", Ok(())),
            ("V2A-6 password of 0", &empty, 1, [0; 8], Ok(())),
            ("V2A-1 1:0", &pass, 0, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("V2A-1 1:2", &pass, 2, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("V2A-5 first octet differs", &pass, 1, *b"Secret\0\0", Err(Refusal::AuthenticationFailure)),
            ("V2A-5 last octet differs", &pass, 1, *b"secret\0x", Err(Refusal::AuthenticationFailure)),
            ("V2A-1 2:2", &header, 2, [0; 8], Ok(())),
            ("V2A-10 data of type 2 is ignored", &header, 2, [7; 8], Ok(())),
            ("V2A-1 2:0", &header, 0, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("V2A-1 2:1", &header, 1, *b"secret\0\0", Err(Refusal::AuthenticationTypeMismatch)),
        ] {
            let octets = Outgoing {
                version: Version::V2,
                family: Family::V4,
                vrid: 1,
                priority: Priority(1),
                interval: Duration::from_secs(1),
                addresses: &[],
                authentication_type: kind,
                authentication: data,
            }
            .emit();
            let advert = Advert::parse(&octets, Version::V2, Family::V4).expect("parses");
            assert_eq!(own.check(&advert), want, "{name}");
        }
    }

    /// V2A-11: what was heard is never heard again, and what is sent goes on above it.
    #[test]
    fn the_count_of_the_authentication_header_is_shared() {
        let key = *b"secret\0\0";
        let header = |source: u8| Header {
            tos: 0xc0,
            id: 2,
            ttl: 255,
            protocol: 51,
            source: Ipv4Addr::new(10, 0, 0, source),
            destination: Ipv4Addr::new(224, 0, 0, 18),
        };
        let packet = |sequence: u32| ah::emit(&header(2), sequence, &key, b"message");
        let mut session = Session::default();
        let unix = Duration::from_secs(1_000);
        assert_eq!(session.next_sequence(unix), Some(1_001), "begins with the time");
        for (name, sequence, accepted) in [
            ("higher", 2_000, true),
            ("the same again", 2_000, false),
            ("lower", 1_999, false),
            ("next", 2_001, true),
        ] {
            let octets = packet(sequence);
            let (header, payload) = Header::parse(&octets).expect("datagram");
            assert_eq!(session.open(&key, &header, payload).is_ok(), accepted, "{name}");
        }
        assert_eq!(session.next_sequence(unix), Some(2_002), "goes on above what was heard");
        let octets = packet(LAST_SEQUENCE);
        let (header, payload) = Header::parse(&octets).expect("datagram");
        assert!(session.open(&key, &header, payload).is_ok());
        assert_eq!(session.next_sequence(unix), None, "never wraps");
    }
}

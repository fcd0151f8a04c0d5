use super::*;
use crate::types::Hmac;
use crate::wire::advert::Outgoing;
use crate::wire::hex;
use crate::wire::ipv4::VRRP;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// What is sent, to be spoilt in one way.
#[derive(Clone)]
struct Sent {
    version: Version,
    family: Family,
    kind: u8,
    version_nibble: Option<u8>,
    priority: u8,
    interval_ms: u64,
    addresses: Vec<u8>,
    authentication_type: u8,
    authentication: [u8; 8],
    form: Option<Checksum>,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    protocol: u8,
    /// Done to the message when its checksum is right.
    spoil: fn(&mut Vec<u8>),
}

impl Sent {
    fn v2() -> Self {
        Sent {
            version: Version::V2,
            family: Family::V4,
            kind: 1,
            version_nibble: None,
            priority: 100,
            interval_ms: 1000,
            addresses: VIP.octets().to_vec(),
            authentication_type: 1,
            authentication: *b"secret\0\0",
            form: None,
            source: PEER.into(),
            destination: GROUP.into(),
            hop_limit: 255,
            protocol: VRRP,
            spoil: |_| {},
        }
    }

    fn v3() -> Self {
        Sent { version: Version::V3, authentication_type: 0, authentication: [0; 8], ..Sent::v2() }
    }

    fn v6() -> Self {
        let local: Ipv6Addr = "fe80::100".parse().expect("address");
        let global: Ipv6Addr = "2001:db8::100".parse().expect("address");
        Sent {
            family: Family::V6,
            addresses: [local.octets(), global.octets()].concat(),
            source: IpAddr::V6("fe80::2".parse().expect("address")),
            destination: GROUP6.into(),
            ..Sent::v3()
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut message = Outgoing {
            version: self.version,
            family: self.family,
            vrid: 51,
            priority: Priority(self.priority),
            interval: Duration::from_millis(self.interval_ms),
            addresses: &self.addresses,
            authentication_type: self.authentication_type,
            authentication: self.authentication,
        }
        .emit();
        let version = self.version_nibble.unwrap_or(self.version.number());
        message[0] = version << 4 | self.kind;
        if self.interval_ms == 0 {
            message[5] = 0;
        }
        let pseudo = Checksum::Pseudo { source: self.source, destination: self.destination };
        let usual = if self.version == Version::V2 { Checksum::Message } else { pseudo };
        self.form.unwrap_or(usual).fill(&mut message);
        (self.spoil)(&mut message);
        message
    }

    fn checked_by(&self, config: &InstanceConfig) -> Result<Received, Refusal> {
        let message = self.message();
        let datagram = Datagram {
            source: self.source,
            destination: self.destination,
            hop_limit: self.hop_limit,
            protocol: self.protocol,
            header: None,
            payload: &message,
        };
        check(config, &address_octets(config), &mut Session::default(), NOW, &datagram)
    }
}

fn v2() -> InstanceConfig {
    InstanceConfig {
        vrid: Vrid::new(51).expect("VRID"),
        priority: Priority(150),
        ..plain_config(Delivery::Multicast { group: GROUP.into() }, Authentication::Pass(*b"secret\0\0"))
    }
}

fn v3() -> InstanceConfig {
    InstanceConfig { version: Version::V3, authentication: Authentication::None, ..v2() }
}

fn v6() -> InstanceConfig {
    let vip = |text: &str| VirtualAddress::new(text.parse().expect("address"), 64);
    InstanceConfig {
        family: Family::V6,
        delivery: Delivery::Multicast { group: GROUP6.into() },
        addresses: vec![vip("fe80::100"), vip("2001:db8::100")],
        ..v3()
    }
}

fn unicast(base: InstanceConfig, check_source: bool, range: (u8, u8)) -> InstanceConfig {
    let peer = Peer { min_ttl: range.0, max_ttl: range.1, ..Peer::new(PEER) };
    InstanceConfig { delivery: Delivery::Unicast { peers: vec![peer], ttl: Some(255), check_source }, ..base }
}

/// V2-R1..R7, V2-R11, V2-F2, V3-R1..R6, V3-R8..R12, V3-R15, V3-R17, V3-R19, V2A-13, V5-3, V3-X1: each check refuses by its
/// name, and what fails in two ways counts as the first.
#[test]
fn each_check_refuses_by_its_name() {
    let owner = |base: InstanceConfig| InstanceConfig { priority: Priority::OWNER, ..base };
    let ignoring = |base: InstanceConfig| InstanceConfig { owner_ignore_adverts: true, ..owner(base) };
    let strict = |base: InstanceConfig| InstanceConfig { strict: true, ..base };
    let bare = |base: InstanceConfig| InstanceConfig { addresses: vec![], ..base };
    let other: fn(&mut Vec<u8>) = |message| message[6] ^= 1;
    let longer: fn(&mut Vec<u8>) = |message| message.push(0);
    let global_first = || {
        let v6 = Sent::v6();
        Sent { addresses: [&v6.addresses[16..], &v6.addresses[..16]].concat(), ..v6 }
    };
    use Refusal::{
        AuthenticationFailure, AuthenticationTypeMismatch, Destination, Interval, InvalidAuthenticationType,
        Length, NoAddresses, Owner, Ttl, Type, Version as OtherVersion,
    };
    let rows: Vec<(&str, InstanceConfig, Sent, Result<bool, Refusal>)> = vec![
        ("V2 good", v2(), Sent::v2(), Ok(true)),
        ("V3 good", v3(), Sent::v3(), Ok(true)),
        ("V3 IPv6 good", v6(), Sent::v6(), Ok(true)),
        (
            "V2A-9 AH where none is configured",
            v2(),
            Sent { protocol: 51, ..Sent::v2() },
            Err(AuthenticationTypeMismatch),
        ),
        ("V2-R1 TTL 254", v2(), Sent { hop_limit: 254, ..Sent::v2() }, Err(Ttl)),
        ("V3-R1 TTL 254", v3(), Sent { hop_limit: 254, ..Sent::v3() }, Err(Ttl)),
        ("V3-R1 TTL 1", v3(), Sent { hop_limit: 1, ..Sent::v3() }, Err(Ttl)),
        ("V3-R1 TTL 0", v3(), Sent { hop_limit: 0, ..Sent::v3() }, Err(Ttl)),
        ("V3-R2 hop limit 254", v6(), Sent { hop_limit: 254, ..Sent::v6() }, Err(Ttl)),
        ("V3-R2 hop limit 1", v6(), Sent { hop_limit: 1, ..Sent::v6() }, Err(Ttl)),
        ("TTL before version", v2(), Sent { hop_limit: 1, version_nibble: Some(3), ..Sent::v2() }, Err(Ttl)),
        ("V2-R2 version 3", v2(), Sent { version_nibble: Some(3), ..Sent::v2() }, Err(OtherVersion)),
        ("V2-R2 a whole message of version 3", v2(), Sent::v3(), Err(OtherVersion)),
        ("V3-R3 a whole message of version 2", v3(), Sent::v2(), Err(OtherVersion)),
        ("V3-R3 version 0", v3(), Sent { version_nibble: Some(0), ..Sent::v3() }, Err(OtherVersion)),
        ("V3-R3 version 4", v3(), Sent { version_nibble: Some(4), ..Sent::v3() }, Err(OtherVersion)),
        ("V3-R3 version 15", v6(), Sent { version_nibble: Some(15), ..Sent::v6() }, Err(OtherVersion)),
        (
            "version before length",
            v3(),
            Sent { version_nibble: Some(4), spoil: longer, ..Sent::v3() },
            Err(OtherVersion),
        ),
        ("V2-R3 longer", v2(), Sent { spoil: longer, ..Sent::v2() }, Err(Length)),
        ("V2-R3 shorter", v2(), Sent { spoil: |message| message.truncate(19), ..Sent::v2() }, Err(Length)),
        ("V3-R5 longer", v3(), Sent { spoil: longer, ..Sent::v3() }, Err(Length)),
        ("V3-R5 shorter", v3(), Sent { spoil: |message| message.truncate(11), ..Sent::v3() }, Err(Length)),
        (
            "V3-R5 IPv6 shorter",
            v6(),
            Sent { spoil: |message| message.truncate(39), ..Sent::v6() },
            Err(Length),
        ),
        (
            "V3-R5 a count of more",
            v3(),
            Sent { spoil: |message| message[3] = 200, ..Sent::v3() },
            Err(Length),
        ),
        (
            "V2-R7 unknown type",
            v2(),
            Sent { authentication_type: 3, ..Sent::v2() },
            Err(InvalidAuthenticationType),
        ),
        (
            "V2-R7 other type",
            v2(),
            Sent { authentication_type: 0, ..Sent::v2() },
            Err(AuthenticationTypeMismatch),
        ),
        (
            "V2-R7 password",
            v2(),
            Sent { authentication: *b"Secret\0\0", ..Sent::v2() },
            Err(AuthenticationFailure),
        ),
        (
            "password before interval",
            v2(),
            Sent { authentication: *b"secret\0x", interval_ms: 2000, ..Sent::v2() },
            Err(AuthenticationFailure),
        ),
        ("V2-F2 type 2", v2(), Sent { kind: 2, ..Sent::v2() }, Err(Type)),
        ("V3-R4 type 0", v3(), Sent { kind: 0, ..Sent::v3() }, Err(Type)),
        ("V3-R4 type 2", v3(), Sent { kind: 2, ..Sent::v3() }, Err(Type)),
        ("V3-R4 type 15", v6(), Sent { kind: 15, ..Sent::v6() }, Err(Type)),
        ("V2-R4 checksum", v2(), Sent { spoil: other, ..Sent::v2() }, Err(Refusal::Checksum)),
        ("V3-R6 checksum", v3(), Sent { spoil: other, ..Sent::v3() }, Err(Refusal::Checksum)),
        ("V3-R6 IPv6 checksum", v6(), Sent { spoil: other, ..Sent::v6() }, Err(Refusal::Checksum)),
        (
            "another group",
            v2(),
            Sent { destination: Ipv4Addr::new(224, 0, 0, 19).into(), ..Sent::v2() },
            Err(Destination),
        ),
        ("unicast to multicast", v2(), Sent { destination: US.into(), ..Sent::v2() }, Err(Destination)),
        ("V2-R11 interval", v2(), Sent { interval_ms: 2000, ..Sent::v2() }, Err(Interval)),
        (
            "checksum before interval",
            v2(),
            Sent { interval_ms: 2000, spoil: other, ..Sent::v2() },
            Err(Refusal::Checksum),
        ),
        ("V3-R15 another interval is used", v3(), Sent { interval_ms: 500, ..Sent::v3() }, Ok(true)),
        ("V3-R11 interval 0", v3(), Sent { interval_ms: 0, ..Sent::v3() }, Err(Interval)),
        ("V3-R9 no addresses", v3(), Sent { addresses: vec![], ..Sent::v3() }, Err(NoAddresses)),
        ("V3-R9 neither have we", bare(v3()), Sent { addresses: vec![], ..Sent::v3() }, Ok(true)),
        ("V2-F7 no addresses in version 2", v2(), Sent { addresses: vec![], ..Sent::v2() }, Ok(false)),
        ("V3-R10 global address first, strict", strict(v6()), global_first(), Err(NoAddresses)),
        ("V3-R10 global address first", v6(), global_first(), Ok(true)),
        ("V3-R10 link-local first, strict", strict(v6()), Sent::v6(), Ok(true)),
        ("V3-R8 owner listens", owner(v3()), Sent::v3(), Ok(true)),
        ("V3-R8 owner told not to", ignoring(v3()), Sent::v3(), Err(Owner)),
        ("V2-R6 owner listens", owner(v2()), Sent::v2(), Ok(true)),
        ("V2-R6 owner told not to", ignoring(v2()), Sent::v2(), Err(Owner)),
        ("V2-R9 other address", v2(), Sent { addresses: vec![1, 1, 1, 1], ..Sent::v2() }, Ok(false)),
        (
            "V3-R17 more addresses",
            v3(),
            Sent { addresses: vec![10, 0, 0, 100, 1, 1, 1, 1], ..Sent::v3() },
            Ok(false),
        ),
        (
            "V3-R19 reserve bits are ignored",
            v3(),
            Sent {
                spoil: |message| {
                    message[4] |= 0xf0;
                    let sum = u16::from_be_bytes([message[6], message[7]]);
                    // RFC 1624: the sum goes down by what was added.
                    let less = !{
                        let sum = u32::from(!sum) + 0xf000;
                        u16::try_from((sum & 0xffff) + (sum >> 16)).expect("16 bits")
                    };
                    message[6..8].copy_from_slice(&less.to_be_bytes());
                },
                ..Sent::v3()
            },
            Ok(true),
        ),
    ];
    for (name, config, sent, want) in rows {
        let got = sent.checked_by(&config);
        assert_eq!(got.map(|received| received.same_addresses), want, "{name}");
        if let (Ok(received), "V3-R15 another interval is used") = (got, name) {
            assert_eq!(received.interval, Duration::from_millis(500));
        }
    }
}

/// V3-C2, V3-R6, V5-1: every form in which a checksum of version 3 over IPv4 is sent.
#[test]
fn checksum_forms() {
    let pseudo = |destination: Ipv4Addr| {
        Some(Checksum::Pseudo { source: PEER.into(), destination: destination.into() })
    };
    let plain = Some(Checksum::Message);
    let never = |base: InstanceConfig| InstanceConfig { unicast_checksum: UnicastChecksum::New, ..base };
    let to_us = || unicast(v3(), false, (0, 255));
    let us = IpAddr::V4(US);
    for (name, config, form, destination, want) in [
        ("multicast, pseudo header", v3(), pseudo(GROUP), GROUP.into(), Ok(ChecksumForm::Usual)),
        ("multicast, RFC 9568", v3(), plain, GROUP.into(), Ok(ChecksumForm::WithoutPseudoHeader)),
        ("multicast, another destination", v3(), pseudo(US), GROUP.into(), Err(Refusal::Checksum)),
        ("unicast", to_us(), pseudo(US), us, Ok(ChecksumForm::Usual)),
        ("unicast, RFC 9568", to_us(), plain, us, Ok(ChecksumForm::WithoutPseudoHeader)),
        ("unicast, old peer", to_us(), pseudo(GROUP), us, Ok(ChecksumForm::OldUnicast)),
        ("unicast, old peer, never", never(to_us()), pseudo(GROUP), us, Err(Refusal::Checksum)),
    ] {
        let sent = Sent { form, destination, ..Sent::v3() };
        assert_eq!(sent.checked_by(&config).map(|received| received.form), want, "{name}");
    }
}

/// unicast_peer, check_unicast_src, min_ttl and max_ttl.
#[test]
fn unicast_checks() {
    let stranger = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    let peer = IpAddr::V4(PEER);
    let (us, group) = (IpAddr::V4(US), IpAddr::V4(GROUP));
    for (name, range, source, destination, ttl, check_source, want) in [
        ("peer, any TTL", (0, 255), peer, us, 1, true, Ok(true)),
        ("stranger is accepted by default, and noted", (0, 255), stranger, us, 255, false, Ok(false)),
        ("stranger with check_unicast_src", (0, 255), stranger, us, 255, true, Err(Refusal::Peer)),
        ("multicast", (0, 255), peer, group, 255, false, Err(Refusal::Destination)),
        ("multicast with TTL 1", (0, 255), peer, group, 1, false, Err(Refusal::Ttl)),
        ("in the range", (250, 254), peer, us, 250, true, Ok(true)),
        ("below the range", (250, 254), peer, us, 249, true, Err(Refusal::Ttl)),
        ("above the range", (250, 254), peer, us, 255, true, Err(Refusal::Ttl)),
    ] {
        for base in [v2(), v3()] {
            let config = unicast(base, check_source, range);
            let plain = if config.version == Version::V2 { Sent::v2() } else { Sent::v3() };
            let sent = Sent { source, destination, hop_limit: ttl, ..plain };
            assert_eq!(sent.checked_by(&config).map(|received| received.listed), want, "{name}");
        }
    }
}

/// V2A-8, V2A-9, V2A-11: the packet that keepalived sent, and what must not pass.
#[test]
fn authentication_header() {
    let octets = hex(
        "45c0004000020000ff3318b5c0000201e000001270040000c000020100000002d82f281dbcbfbb6e90b1638e2139ff010201d3b70a00000c0000000000000000",
    );
    let config = InstanceConfig {
        vrid: Vrid::new(57).expect("VRID"),
        authentication: Authentication::Ah(*b"secret\0\0"),
        addresses: vec![VirtualAddress::new(Ipv4Addr::new(10, 0, 0, 12).into(), 32)],
        ..v2()
    };
    let checked = |config: &InstanceConfig, session: &mut Session, octets: &[u8]| {
        let datagram = Datagram::of_ipv4(octets).expect("a datagram");
        check(config, &address_octets(config), session, NOW, &datagram)
    };
    let datagram = Datagram::of_ipv4(&octets).expect("a datagram");
    assert_eq!(vrid(&datagram), Some(57));
    let mut session = Session::default();
    let received = checked(&config, &mut session, &octets).expect("V2A-8 the captured packet");
    assert_eq!((received.priority, received.same_addresses), (Priority(255), true));
    let again = checked(&config, &mut session, &octets);
    assert_eq!(again, Err(Refusal::AuthenticationFailure), "V2A-11 the same again");
    for at in 44..octets.len() {
        let mut wrong = octets.clone();
        wrong[at] ^= 1;
        let result = checked(&config, &mut Session::default(), &wrong);
        if at != 45 {
            assert_eq!(result, Err(Refusal::AuthenticationFailure), "V2A-9 octet {at}");
        }
    }
    let without = Sent::v2().checked_by(&config);
    assert_eq!(without, Err(Refusal::AuthenticationTypeMismatch), "V2A-9 AH is missing");
}

/// The trailer is checked before the rest of the message, and by its own names.
#[test]
fn signatures() {
    use crate::types::{AntiReplay, HmacKey, HmacMode};
    use std::num::NonZeroU8;
    let id = NonZeroU8::new(7).expect("id");
    let hmac = |mode| {
        Authentication::Hmac(Box::new(Hmac {
            keys: vec![(id, HmacKey::Text(b"0123456789abcdef0123456789abcdef".to_vec()))],
            active: id,
            anti_replay: AntiReplay::Time { window: Duration::from_secs(5) },
            mode,
        }))
    };
    let config = |mode| InstanceConfig { authentication: hmac(mode), ..v3() };
    for (name, mode, want) in [
        ("enforce", HmacMode::Enforce, Err(Refusal::Signature(HmacRefusal::Missing))),
        ("permissive", HmacMode::Permissive, Ok(true)),
        ("receive-only", HmacMode::ReceiveOnly, Ok(true)),
    ] {
        assert_eq!(Sent::v3().checked_by(&config(mode)).map(|got| got.unsigned), want, "{name}: unsigned");
    }
    assert_eq!(Sent::v3().checked_by(&v3()).map(|got| got.unsigned), Ok(false), "nothing to sign with");
    let enforced = config(HmacMode::Enforce);
    let mut message = Sent::v3().message();
    let trailer = Session::default().seal(&enforced, NOW, PEER.into(), &message).expect("signed");
    message.extend(trailer);
    let mut session = Session::default();
    let mut checked = |message: &[u8], unix| {
        let datagram = Datagram {
            source: PEER.into(),
            destination: GROUP.into(),
            hop_limit: 255,
            protocol: VRRP,
            header: None,
            payload: message,
        };
        check(&enforced, &address_octets(&enforced), &mut session, unix, &datagram).map(|_| ())
    };
    let refused = |refusal| Err(Refusal::Signature(refusal));
    assert_eq!(checked(&message, NOW + Duration::from_secs(6)), refused(HmacRefusal::Stale));
    assert_eq!(checked(&message, NOW), Ok(()));
    assert_eq!(checked(&message, NOW), refused(HmacRefusal::Replay));
    let mut forged = message.clone();
    forged[2] = 255;
    assert_eq!(checked(&forged, NOW), refused(HmacRefusal::InvalidHmac), "before the checksum");
    let mut other_key = message.clone();
    other_key[13] = 8;
    assert_eq!(checked(&other_key, NOW), refused(HmacRefusal::UnknownKey));
    assert_eq!(checked(&message[..message.len() - 1], NOW), Err(Refusal::Length));
    let unsigned = InstanceConfig { authentication: Authentication::None, ..enforced.clone() };
    let datagram = Datagram {
        source: PEER.into(),
        destination: GROUP.into(),
        hop_limit: 255,
        protocol: VRRP,
        header: None,
        payload: &message,
    };
    let plain = check(&unsigned, &address_octets(&unsigned), &mut Session::default(), NOW, &datagram);
    assert_eq!(plain, Err(Refusal::Length), "a router without auth_hmac");
}

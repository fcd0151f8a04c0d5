use super::*;
use crate::types::HmacKey;
use crate::wire::hex;
use proptest::prelude::*;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Captured from keepalived: version 3, key 7, VRID 55, 192.0.2.1 to 224.0.0.18.
const PDU: &str = "3137ff02006418ca0a0000010a000002";
const TRAILER: &str = "010700006b003fa760c50000163eac0f2923cbc3b53ba17d13e84957";
/// Seconds in it.
const SECONDS: u64 = 0x6b00_3fa7;
const WINDOW: AntiReplay = AntiReplay::Time { window: Duration::from_secs(5) };

fn id(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).expect("1..=255")
}

fn source(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn hmac(anti_replay: AntiReplay, mode: HmacMode) -> Hmac {
    let keys = vec![(id(1), HmacKey::Hex(vec![9; 32])), (id(7), HmacKey::Text(KEY.to_vec()))];
    Hmac { keys, active: id(7), anti_replay, mode }
}

fn enforce(anti_replay: AntiReplay) -> Hmac {
    hmac(anti_replay, HmacMode::Enforce)
}

fn from(last: u8) -> Context<'static> {
    Context { version: 3, vrid: 55, source: source(last), checksum_at: 6, peers: None }
}

/// Milliseconds after the captured second.
fn at(milliseconds: i64) -> Duration {
    let second = Duration::from_secs(SECONDS);
    let distance = Duration::from_millis(milliseconds.unsigned_abs());
    if milliseconds < 0 { second - distance } else { second + distance }
}

/// Milliseconds from the captured second to the last one of 32 bits.
const END: i64 = (0xffff_ffff - 0x6b00_3fa7) * 1000;

/// A signed trailer of that time, whatever was sent before.
fn sealed(unix: Duration, context: &Context) -> Vec<u8> {
    let sealed = Session::default().seal(&enforce(WINDOW), unix, context, &hex(PDU));
    sealed.expect("signed").to_vec()
}

fn sequence_of(trailer: &[u8]) -> u64 {
    Trailer::parse(trailer).expect("a trailer").sequence
}

#[test]
fn captured_trailer() {
    let unix = Duration::new(SECONDS, 378_005_982);
    assert_eq!(sealed(unix, &from(1)), hex(TRAILER));
    let mut session = Session::default();
    let checked = session.check(&enforce(WINDOW), unix, &from(1), &hex(PDU), Some(&hex(TRAILER)));
    assert_eq!(checked, Ok(Checked { signed: true, skew: None }));
}

#[test]
fn the_checksum_is_not_covered_and_all_else_is() {
    let (pdu, trailer) = (hex(PDU), hex(TRAILER));
    let check = |context: Context, pdu: &[u8], trailer: &[u8]| {
        let checked =
            Session::default().check(&enforce(AntiReplay::Monotonic), at(0), &context, pdu, Some(trailer));
        checked.map(|_| ())
    };
    for bit in 0..pdu.len() * 8 {
        let mut flipped = pdu.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let want = if [6, 7].contains(&(bit / 8)) { Ok(()) } else { Err(HmacRefusal::InvalidHmac) };
        assert_eq!(check(from(1), &flipped, &trailer), want, "bit {bit} of the message");
    }
    for bit in 0..trailer.len() * 8 {
        let mut flipped = trailer.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let want = match bit / 8 {
            0 | 2 | 3 => HmacRefusal::Malformed,
            1 => HmacRefusal::UnknownKey,
            _ => HmacRefusal::InvalidHmac,
        };
        assert_eq!(check(from(1), &pdu, &flipped), Err(want), "bit {bit} of the trailer");
    }
    for length in 0..trailer.len() {
        let want = Err(HmacRefusal::Malformed);
        assert_eq!(check(from(1), &pdu, &trailer[..length]), want, "{length} octets");
    }
    for length in 0..pdu.len() {
        let want = Err(HmacRefusal::InvalidHmac);
        assert_eq!(check(from(1), &pdu[..length], &trailer), want, "message of {length} octets");
    }
    for (name, context) in [
        ("version", Context { version: 2, ..from(1) }),
        ("VRID", Context { vrid: 54, ..from(1) }),
        ("source", from(2)),
        ("family", Context { source: IpAddr::from([0xc000, 0x201, 0, 0, 0, 0, 0, 0]), ..from(1) }),
    ] {
        assert_eq!(check(context, &pdu, &trailer), Err(HmacRefusal::InvalidHmac), "another {name}");
    }
}

/// Each row fails this check and all later ones.
#[test]
fn refusals_in_order() {
    let peers = [source(2)];
    let unicast = |last| Context { peers: Some(&peers), ..from(last) };
    let changed = |places: &[(usize, u8)]| {
        let mut trailer = hex(TRAILER);
        places.iter().for_each(|(place, octet)| trailer[*place] = *octet);
        trailer
    };
    let old = changed(&[(4, 0)]);
    let late = at(6000);
    for (name, context, unix, trailer, want, counter) in [
        ("sender", unicast(3), late, None, HmacRefusal::UnknownSender, "auth_ext_unknown_sender"),
        ("presence", unicast(2), late, None, HmacRefusal::Missing, "auth_ext_missing"),
        (
            "kind",
            unicast(2),
            late,
            Some(changed(&[(0, 2), (1, 3), (20, 0)])),
            HmacRefusal::Malformed,
            "auth_ext_malformed",
        ),
        ("time", from(1), late, Some(changed(&[(1, 3), (20, 0)])), HmacRefusal::Stale, "auth_ext_stale"),
        ("time, long ago", from(1), at(0), Some(old), HmacRefusal::Stale, "auth_ext_stale"),
        (
            "key",
            from(1),
            at(0),
            Some(changed(&[(1, 3), (20, 0)])),
            HmacRefusal::UnknownKey,
            "auth_ext_unknown_key",
        ),
        ("key 0", from(1), at(0), Some(changed(&[(1, 0)])), HmacRefusal::UnknownKey, "auth_ext_unknown_key"),
        (
            "signature",
            from(1),
            at(0),
            Some(changed(&[(20, 0)])),
            HmacRefusal::InvalidHmac,
            "auth_ext_invalid_hmac",
        ),
        (
            "key of another number",
            from(1),
            at(0),
            Some(changed(&[(1, 1)])),
            HmacRefusal::InvalidHmac,
            "auth_ext_invalid_hmac",
        ),
        ("mark", from(1), at(0), Some(hex(TRAILER)), HmacRefusal::Replay, "auth_ext_replay"),
    ] {
        let mut session = Session::default();
        let hmac = enforce(WINDOW);
        session.check(&hmac, at(0), &from(1), &hex(PDU), Some(&hex(TRAILER))).expect("a new one");
        let got = session.check(&hmac, unix, &context, &hex(PDU), trailer.as_deref());
        assert_eq!(got, Err(want), "{name}");
        assert_eq!(want.as_str(), counter, "{name}");
        assert!(!want.explain().is_empty(), "{name}");
    }
}

#[test]
fn modes() {
    let (bad, good) = (vec![1; LENGTH], sealed(at(0), &from(1)));
    let unsigned = Ok(Checked { signed: false, skew: None });
    for (mode, signs, missing) in [
        (HmacMode::Enforce, true, Err(HmacRefusal::Missing)),
        (HmacMode::Permissive, true, unsigned),
        (HmacMode::ReceiveOnly, false, unsigned),
    ] {
        let hmac = hmac(WINDOW, mode);
        let mut session = Session::default();
        assert_eq!(session.seal(&hmac, at(0), &from(1), &hex(PDU)).is_some(), signs, "{mode:?}");
        let mut check = |trailer: Option<&[u8]>| session.check(&hmac, at(0), &from(1), &hex(PDU), trailer);
        assert_eq!(check(None), missing, "{mode:?}, not signed");
        assert_eq!(check(Some(&bad)), Err(HmacRefusal::Malformed), "{mode:?}, badly signed");
        assert_eq!(check(Some(&good)), Ok(Checked { signed: true, skew: None }), "{mode:?}, signed");
        assert_eq!(check(Some(&good)), Err(HmacRefusal::Replay), "{mode:?}, again");
        assert_eq!(check(None), missing, "{mode:?}, not signed after it was signed");
    }
    // Whoever may send unsigned adverts without auth_hmac may also while it is rolled out.
    let stranger = Context { peers: Some(&[]), ..from(1) };
    let check = |trailer| {
        let hmac = hmac(WINDOW, HmacMode::Permissive);
        Session::default().check(&hmac, at(0), &stranger, &hex(PDU), trailer)
    };
    assert_eq!(check(None), unsigned);
    assert_eq!(check(Some(&good[..])), Err(HmacRefusal::UnknownSender));
}

#[test]
fn a_key_that_was_not_read_neither_signs_nor_accepts() {
    let file = Hmac { keys: vec![(id(7), HmacKey::File("/etc/key".into()))], ..enforce(WINDOW) };
    let mut session = Session::default();
    assert_eq!(session.seal(&file, at(0), &from(1), &hex(PDU)), None);
    let checked = session.check(&file, at(0), &from(1), &hex(PDU), Some(&hex(TRAILER)));
    assert_eq!(checked, Err(HmacRefusal::UnknownKey));
}

#[test]
fn edges_of_the_window() {
    let trailer = sealed(at(0), &from(1));
    let of = |seconds| AntiReplay::Time { window: Duration::from_secs(seconds) };
    let milliseconds = |skew: Option<Duration>| skew.map(|skew| (skew.as_micros() + 500) / 1000);
    for (name, anti_replay, clock, want) in [
        ("no difference", of(5), 0, Ok(None)),
        ("exactly half", of(5), 2_500, Ok(None)),
        ("more than half", of(5), 2_501, Ok(Some(2501))),
        ("exactly half, clock behind", of(5), -2_500, Ok(None)),
        ("more than half, clock behind", of(5), -2_501, Ok(Some(2501))),
        ("the last second", of(5), 5_999, Ok(Some(5999))),
        ("a second too late", of(5), 6_000, Err(HmacRefusal::Stale)),
        ("the first second", of(5), -5_000, Ok(Some(5000))),
        ("a second too early", of(5), -5_001, Err(HmacRefusal::Stale)),
        ("shortest window", of(1), 1_999, Ok(Some(1999))),
        ("shortest window, over", of(1), 2_000, Err(HmacRefusal::Stale)),
        ("longest window", of(300), 300_000, Ok(Some(300_000))),
        ("longest window, over", of(300), 301_000, Err(HmacRefusal::Stale)),
        ("monotonic has none", AntiReplay::Monotonic, 86_400_000, Ok(None)),
    ] {
        let hmac = enforce(anti_replay);
        let got = Session::default().check(&hmac, at(clock), &from(1), &hex(PDU), Some(&trailer));
        assert_eq!(got.map(|checked| milliseconds(checked.skew)), want, "{name}");
    }
}

#[test]
fn replays() {
    let old = sealed(at(0), &from(1));
    let new = sealed(at(1), &from(1));
    for anti_replay in [WINDOW, AntiReplay::Monotonic] {
        let hmac = enforce(anti_replay);
        let mut session = Session::default();
        for (name, trailer, clock, want) in [
            ("first", &new, 0, Ok(())),
            ("the same", &new, 1000, Err(HmacRefusal::Replay)),
            ("an older one", &old, 0, Err(HmacRefusal::Replay)),
            ("the newest again in the last second", &new, 5_999, Err(HmacRefusal::Replay)),
            ("newer", &sealed(at(5_999), &from(1)), 5_999, Ok(())),
        ] {
            let got = session.check(&hmac, at(clock), &from(1), &hex(PDU), Some(trailer)).map(|_| ());
            assert_eq!(got, want, "{anti_replay:?}: {name}");
        }
    }
}

/// A forged message must neither forget nor move a mark.
#[test]
fn marks_move_only_after_the_signature() {
    let hmac = enforce(WINDOW);
    let mut session = Session::default();
    let trailer = sealed(at(0), &from(1));
    session.check(&hmac, at(0), &from(1), &hex(PDU), Some(&trailer)).expect("a new one");
    for last in 0..=255 {
        let mut forged = sealed(at(4000), &from(last));
        forged[27] ^= 1;
        let got = session.check(&hmac, at(0), &from(last), &hex(PDU), Some(&forged));
        assert_eq!(got, Err(HmacRefusal::InvalidHmac), "sender {last}");
    }
    let again = session.check(&hmac, at(0), &from(1), &hex(PDU), Some(&trailer));
    assert_eq!(again, Err(HmacRefusal::Replay));
    let next = sealed(at(1), &from(1));
    assert!(session.check(&hmac, at(0), &from(1), &hex(PDU), Some(&next)).is_ok(), "mark did not move");
}

#[test]
fn senders_have_marks_of_their_own() {
    let hmac = enforce(WINDOW);
    let peers: Vec<IpAddr> = (1..=6).map(source).collect();
    for (name, peers, oldest) in [
        ("multicast: four slots", None, Ok(())),
        ("unicast: all", Some(&peers[..]), Err(HmacRefusal::Replay)),
    ] {
        let mut session = Session::default();
        let mut check = |last| {
            let context = Context { peers, ..from(last) };
            let trailer = sealed(at(0), &context);
            session.check(&hmac, at(0), &context, &hex(PDU), Some(&trailer)).map(|_| ())
        };
        for last in 1..=5 {
            assert_eq!(check(last), Ok(()), "{name}, sender {last}");
        }
        for last in 2..=5 {
            assert_eq!(check(last), Err(HmacRefusal::Replay), "{name}, sender {last} again");
        }
        assert_eq!(check(1), oldest, "{name}, the first one again");
    }
}

#[test]
fn sent_sequence() {
    let clock = |milliseconds| Sequence::of_clock(at(milliseconds)).0;
    for (name, anti_replay, last, now, want) in [
        ("first", WINDOW, None, 0, clock(0)),
        ("clock went on", WINDOW, Some(clock(0)), 1000, clock(1000)),
        ("clock stands still", WINDOW, Some(clock(0)), 0, clock(0) + 1),
        ("counter goes into the fraction", WINDOW, Some(clock(0) | 0xffff), 0, clock(0) + 0x1_0000),
        ("step back in the window", WINDOW, Some(clock(5_000)), 0, clock(5_000) + 1),
        ("in the window's last second", WINDOW, Some(clock(5_999)), 0, clock(5_999) + 1),
        ("step back out of the window", WINDOW, Some(clock(6_000)), 0, clock(0)),
        ("step back by a day", WINDOW, Some(clock(86_400_000)), 0, clock(0)),
        ("step back, monotonic", AntiReplay::Monotonic, Some(clock(86_400_000)), 0, clock(86_400_000) + 1),
        ("step forth, monotonic", AntiReplay::Monotonic, Some(clock(0)), 86_400_000, clock(86_400_000)),
        ("last one over the end", AntiReplay::Monotonic, Some(u64::MAX), END, 0),
    ] {
        let mut session = Session { sent: last.map(Sequence), ..Session::default() };
        let trailer = session.seal(&enforce(anti_replay), at(now), &from(1), &hex(PDU)).expect("signed");
        assert_eq!(sequence_of(&trailer), want, "{name}");
        assert_eq!(session.sent, Some(Sequence(want)), "{name}, remembered");
    }
}

/// 7 February 2106, 06:28:15 UTC is the last second of 32 bits.
#[test]
fn sequence_wraps_around() {
    for anti_replay in [WINDOW, AntiReplay::Monotonic] {
        let hmac = enforce(anti_replay);
        let (mut sender, mut receiver) = (Session::default(), Session::default());
        let end = u64::from(u32::MAX);
        let mut before: Option<Vec<u8>> = None;
        for second in end - 2..end + 4 {
            let unix = Duration::from_secs(second);
            let trailer = sender.seal(&hmac, unix, &from(1), &hex(PDU)).expect("signed");
            assert_eq!(sequence_of(&trailer) >> 32, second & end, "the clock, not the counter");
            let mut check = |trailer: &[u8]| receiver.check(&hmac, unix, &from(1), &hex(PDU), Some(trailer));
            assert_eq!(check(&trailer), Ok(Checked { signed: true, skew: None }), "second {second}");
            if let Some(before) = before {
                assert_eq!(check(&before), Err(HmacRefusal::Replay), "second {second}, the one before");
            }
            before = Some(trailer.to_vec());
        }
    }
}

/// Both clocks are set back by `step` ms together; an advert each second before and after.
#[test]
fn clocks_set_back_shut_nobody_out() {
    for anti_replay in [WINDOW, AntiReplay::Monotonic] {
        for step in [1, 999, 1_000, 4_999, 5_000, 5_001, 5_999, 6_000, 6_001, 3_600_000] {
            let hmac = enforce(anti_replay);
            let (mut sender, mut receiver) = (Session::default(), Session::default());
            for second in 0..20 {
                let now = second * 1000 - if second < 5 { 0 } else { step };
                let trailer = sender.seal(&hmac, at(now), &from(1), &hex(PDU)).expect("signed");
                let got = receiver.check(&hmac, at(now), &from(1), &hex(PDU), Some(&trailer));
                assert!(got.is_ok(), "{anti_replay:?}, {step} ms back, second {second}: {got:?}");
            }
        }
    }
}

#[test]
fn version_2_and_ipv6() {
    let pdu = hex("21336401000170660a0000640000000000000000");
    for (name, context) in [
        ("version 2", Context { version: 2, vrid: 51, ..from(1) }),
        ("IPv6", Context { source: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), ..from(1) }),
    ] {
        let hmac = enforce(WINDOW);
        let trailer = Session::default().seal(&hmac, at(0), &context, &pdu).expect("signed");
        let got = Session::default().check(&hmac, at(0), &context, &pdu, Some(&trailer));
        assert!(got.is_ok(), "{name}: {got:?}");
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_accepted_once(
        pdu in proptest::collection::vec(any::<u8>(), 0..1100), source: u128, version: u8, vrid: u8, four: bool,
        seconds in 0..u64::from(u32::MAX) * 2, nanoseconds in 0..1_000_000_000_u32, bit: prop::sample::Index,
    ) {
        let low = u32::try_from(source & 0xffff_ffff).expect("32 bits");
        let source = if four { IpAddr::V4(low.into()) } else { IpAddr::V6(source.into()) };
        let context = Context { version, vrid, source, checksum_at: 6, peers: None };
        let (hmac, unix) = (enforce(WINDOW), Duration::new(seconds, nanoseconds));
        let trailer = Session::default().seal(&hmac, unix, &context, &pdu).expect("signed");
        let mut receiver = Session::default();
        let mut flipped = trailer;
        let bit = bit.index(LENGTH * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(receiver.check(&hmac, unix, &context, &pdu, Some(&flipped)).is_err());
        prop_assert!(receiver.check(&hmac, unix, &context, &pdu, Some(&trailer)).is_ok());
        let again = receiver.check(&hmac, unix, &context, &pdu, Some(&trailer));
        prop_assert_eq!(again, Err(HmacRefusal::Replay));
    }

    /// While the clock is not set back, whatever comes in which order and with which skew.
    #[test]
    fn nothing_is_accepted_twice(
        sent in proptest::collection::vec(-8_000_i64..16_000, 1..6),
        received in proptest::collection::vec((any::<prop::sample::Index>(), 0_i64..2_000), 1..40),
        monotonic: bool,
    ) {
        let hmac = enforce(if monotonic { AntiReplay::Monotonic } else { WINDOW });
        let trailers: Vec<_> = sent.iter().map(|time| sealed(at(*time), &from(1))).collect();
        let mut session = Session::default();
        let (mut accepted, mut now) = (Vec::new(), 0);
        for (which, wait) in received {
            now += wait;
            let trailer = &trailers[which.index(trailers.len())];
            if session.check(&hmac, at(now), &from(1), &hex(PDU), Some(trailer)).is_ok() {
                accepted.push(sequence_of(trailer));
            }
        }
        prop_assert!(accepted.is_sorted_by(|before, after| before < after), "{accepted:?}");
    }

    #[test]
    fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise_any(&octets);
    }
}

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::net::UdpSocket;

use super::reply::law;
use super::*;
use crate::state::Verdict;
use crate::types::{Connection, MaskedOctet};

fn udp(target: SocketAddr) -> UdpCheck {
    let connection = Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_millis(200),
        fwmark: None,
    };
    UdpCheck { connection, payload: None, reply: None, min_reply_length: 0, max_reply_length: 255 }
}

/// Octets from text; `.` is any octet.
fn wanted(text: &str) -> Option<Box<[MaskedOctet]>> {
    let octet = |octet| match octet {
        b'.' => MaskedOctet { value: 0, mask: 0 },
        value => MaskedOctet { value, mask: 0xff },
    };
    Some(text.bytes().map(octet).collect())
}

#[test]
fn answers() {
    let base = udp(([127, 0, 0, 1], 9).into());
    let octet =
        |at, got: u8, value| Err(Mismatch::Octet { at, got, want: MaskedOctet { value, mask: 0xff } });
    for (name, reply, least, most, answer, want) in [
        ("none wanted", None, 5, 9, &b""[..], Ok(())),
        ("any wanted", wanted(""), 5, 9, b"", Ok(())),
        ("the same", wanted("hello"), 0, 255, b"hello", Ok(())),
        ("more behind", wanted("hello"), 0, 255, b"hello world", Ok(())),
        ("less, and no least length", wanted("hello"), 0, 255, b"he", Ok(())),
        ("nothing, and no least length", wanted("hello"), 0, 255, b"", Ok(())),
        ("less", wanted("hello"), 5, 255, b"hell", Err(Mismatch::Short { length: 4, least: 5 })),
        ("just enough", wanted("hello"), 5, 5, b"hello", Ok(())),
        ("too long", wanted("hello"), 0, 5, b"hello!", Err(Mismatch::Long(5))),
        ("least above most", wanted("a"), 5, 4, b"aaaaa", Err(Mismatch::Long(4))),
        ("another", wanted("hello"), 0, 255, b"help!", octet(4, b'p', b'l')),
        ("any octet", wanted("h.llo"), 0, 255, b"hallo", Ok(())),
        ("behind any octet", wanted("h.llo"), 0, 255, b"hallx", octet(5, b'x', b'o')),
    ] {
        let udp = UdpCheck { reply, min_reply_length: least, max_reply_length: most, ..base.clone() };
        assert_eq!(judge(&udp, answer), want, "{name}");
    }
    let half = |value, mask| Some(Box::from([MaskedOctet { value, mask }]));
    for (name, reply, answer, want) in [
        ("upper half", half(0x40, 0xf0), 0x4a, None),
        ("lower half", half(0x0a, 0x0f), 0x4a, None),
        ("other upper half", half(0x40, 0xf0), 0x5a, Some("octet 1 of the answer is 5a, 4X wanted")),
        ("other lower half", half(0x0a, 0x0f), 0x4b, Some("octet 1 of the answer is 4b, Xa wanted")),
        ("whole", half(0x01, 0xff), 0x02, Some("octet 1 of the answer is 02, 01 wanted")),
    ] {
        let udp = UdpCheck { reply, ..base.clone() };
        assert_eq!(judge(&udp, &[answer]).err().map(|why| why.to_string()).as_deref(), want, "{name}");
    }
}

/// A server on loopback that answers the first datagram with `answers` and tells what it was.
async fn ask(check: impl FnOnce(&mut UdpCheck), answers: &[&[u8]]) -> (Outcome, Vec<u8>, SocketAddr) {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut udp = udp(server.local_addr().unwrap());
    udp.connection.timeout =
        Duration::from_secs(if answers.is_empty() { 0 } else { 30 }) + Duration::from_millis(200);
    check(&mut udp);
    let serve = async {
        let mut buffer = vec![0; 65536];
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        for answer in answers {
            server.send_to(answer, from).await.unwrap();
        }
        buffer.truncate(length);
        (buffer, from)
    };
    let (outcome, (heard, from)) = tokio::join!(run(&udp), serve);
    (outcome, heard, from)
}

#[tokio::test]
async fn outcomes() {
    let long = vec![b'h'; 60_000];
    for (name, reply, answers, want) in [
        ("any answer", None, &[&b"x"[..]][..], Outcome::good("answered")),
        ("an empty one", None, &[b""], Outcome::good("answered")),
        (
            "silence is no refusal",
            None,
            &[],
            Outcome::good("not refused; no answer after 0.2 s, none needed"),
        ),
        ("silence where an answer is needed", wanted(""), &[], Outcome::bad("no answer after 0.2 s")),
        ("any answer where one is needed", wanted(""), &[b""], Outcome::good("answered as wanted")),
        ("the wanted one", wanted("hel"), &[b"hello"], Outcome::good("answered as wanted")),
        ("another", wanted("hello"), &[b"jello"], Outcome::bad("octet 1 of the answer is 6a, 68 wanted")),
        (
            "the first counts",
            wanted("hello"),
            &[b"jello", b"hello"],
            Outcome::bad("octet 1 of the answer is 6a, 68 wanted"),
        ),
        ("a very long one", wanted("h"), &[&long], Outcome::bad("answer longer than 255 octets")),
        ("a very long one where any will do", wanted(""), &[&long], Outcome::good("answered as wanted")),
    ] {
        let (outcome, heard, _) = ask(|udp| udp.reply = reply, answers).await;
        assert_eq!(outcome, want, "{name}");
        assert_eq!(heard, PAYLOAD, "{name}");
    }
    let (outcome, ..) = ask(
        |udp| {
            udp.reply = wanted("hello");
            udp.min_reply_length = 6;
        },
        &[b"hello"],
    )
    .await;
    assert_eq!(outcome, Outcome::bad("answer of 5 octets, at least 6 wanted"));
}

#[tokio::test]
async fn payload_and_source() {
    let free = UdpSocket::bind("127.0.0.9:0").await.unwrap().local_addr().unwrap().port();
    let (outcome, heard, from) = ask(
        |udp| {
            udp.payload = Some(Box::from(*b"\x00\x01\xfe"));
            udp.connection.bind_address = Some([127, 0, 0, 9].into());
            udp.connection.bind_port = std::num::NonZeroU16::new(free);
        },
        &[b"x"],
    )
    .await;
    assert_eq!(outcome, Outcome::good("answered"));
    assert_eq!(heard, b"\x00\x01\xfe");
    assert_eq!(from, SocketAddr::from(([127, 0, 0, 9], free)));
}

#[tokio::test]
async fn without_a_server() {
    // A port that was free a moment ago.
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed_v6 = UdpSocket::bind("[::1]:0").await.unwrap().local_addr().unwrap();
    let refused = udp(closed);
    let from = |address: [u8; 4]| {
        let mut udp = refused.clone();
        udp.connection.bind_address = Some(address.into());
        udp
    };
    let mut interface = refused.clone();
    interface.connection.bind_interface = Some("nosuch0".into());
    let mut large = refused.clone();
    large.payload = Some(vec![0; 65_508].into());
    for (name, udp, verdict, want) in [
        ("nobody listens", refused.clone(), Verdict::Bad, "port unreachable (ICMP)"),
        ("nobody listens, IPv6", udp(closed_v6), Verdict::Bad, "port unreachable (ICMP)"),
        (
            "address that is not here",
            from([192, 0, 2, 77]),
            Verdict::Unknown,
            "cannot bind to 192.0.2.77:0 (bindto): is the address on this host?: cannot assign requested address",
        ),
        (
            "interface that is not here",
            interface,
            Verdict::Unknown,
            "cannot bind to interface nosuch0 (bind_if): no such device",
        ),
        ("payload too long", large, Verdict::Unknown, "65508 octets are too long for a datagram"),
    ] {
        let outcome = run(&udp).await;
        assert_eq!((outcome.verdict, &*outcome.reason), (verdict, want), "{name}");
    }
}

#[tokio::test]
async fn what_others_send_is_no_answer() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut udp = udp(server.local_addr().unwrap());
    udp.reply = wanted("");
    let serve = async {
        let mut buffer = [0; 64];
        let (_, from) = server.recv_from(&mut buffer).await.unwrap();
        stranger.send_to(b"me", from).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&udp), serve);
    assert_eq!(outcome, Outcome::bad("no answer after 0.2 s"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_obvious_comparison(
        answer in prop::collection::vec(0_u8..3, 0..12),
        want in prop::collection::vec((0_u8..3, any::<bool>()), 1..8),
        least in 0_u16..12,
        most in 0_u16..12,
    ) {
        let reply = want.iter().map(|(value, counts)| {
            let mask = if *counts { 0xff } else { 0 };
            MaskedOctet { value: value & mask, mask }
        });
        let udp = UdpCheck {
            reply: Some(reply.collect()),
            min_reply_length: least,
            max_reply_length: most,
            ..udp(([127, 0, 0, 1], 9).into())
        };
        let length = u16::try_from(answer.len()).unwrap();
        let same = answer.iter().zip(&want).all(|(got, (value, counts))| !counts || got == value);
        prop_assert_eq!(judge(&udp, &answer).is_ok(), length >= least && length <= most && same);
    }
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(law(&octets));
    }

    #[test]
    fn much_the_same_octets(lengths in prop::collection::vec(0_u8..9, 3), rest in prop::collection::vec(0_u8..2, 0..24)) {
        prop_assert!(law(&[lengths, rest].concat()));
    }
}

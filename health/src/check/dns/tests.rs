use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use proptest::prelude::*;
use tokio::net::UdpSocket;

use super::*;
use crate::state::Verdict;
use crate::types::{Connection, DnsType};

#[test]
fn query_octets() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    let qname = |labels: &[&str]| {
        labels
            .iter()
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat())
            .collect::<Vec<_>>()
    };
    for (name, asked, record, question) in [
        ("root", "", DnsType::Soa, b"\0\0\x06\0\x01".to_vec()),
        ("usual", "www.example.net", DnsType::A, b"\x03www\x07example\x03net\0\0\x01\0\x01".to_vec()),
        ("one label", "x", DnsType::Aaaa, b"\x01x\0\0\x1c\0\x01".to_vec()),
        ("not ASCII", "ü", DnsType::Dnskey, b"\x02\xc3\xbc\0\0\x30\0\x01".to_vec()),
        ("longest label", &label, DnsType::Ns, [qname(&[&label]), b"\0\0\x02\0\x01".to_vec()].concat()),
        (
            "longest name",
            &longest,
            DnsType::Txt,
            [qname(&[&label, &label, &label, &"a".repeat(61)]), b"\0\0\x10\0\x01".to_vec()].concat(),
        ),
    ] {
        let octets = Query::new(0x1234, record, asked).octets();
        let header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        assert_eq!(octets, [header.as_slice(), &question].concat(), "{name}");
    }
}

/// A second opinion.
#[test]
fn queries_as_hickory_reads_them() {
    let types = [
        RecordType::A,
        RecordType::NS,
        RecordType::CNAME,
        RecordType::SOA,
        RecordType::MX,
        RecordType::TXT,
        RecordType::AAAA,
        RecordType::RRSIG,
        RecordType::DNSKEY,
    ];
    for ((name, record), want) in DnsType::ALL.into_iter().zip(types) {
        for asked in ["", "example.net", "a.b.c.d.example"] {
            let message = Message::from_bytes(&Query::new(7, record, asked).octets()).unwrap();
            let [query] = &message.queries[..] else { panic!("{name}: one question") };
            assert_eq!(query.query_type(), want, "{name}");
            assert_eq!(query.query_class(), DNSClass::IN);
            assert_eq!(*query.name(), Name::from_ascii(format!("{asked}.")).unwrap());
            let metadata = &message.metadata;
            assert_eq!((metadata.id, metadata.op_code), (7, OpCode::Query));
            assert_eq!((metadata.message_type, metadata.recursion_desired), (MessageType::Query, true));
        }
    }
}

fn query() -> Query {
    Query::new(0x1234, DnsType::A, "www.example.net")
}

/// An answer: flags, then what stands after the first four octets.
fn answer(flags: [u8; 2], rest: &[u8]) -> Vec<u8> {
    [&[0x12, 0x34], &flags[..], rest].concat()
}

/// Counts and question of [`query`].
fn echo() -> Vec<u8> {
    query().octets()[4..].to_vec()
}

#[test]
fn answers() {
    let none = [0; 8];
    let one = |question: &[u8]| [b"\0\x01\0\0\0\0\0\0", question].concat();
    let usual = echo();
    let records = [&usual[..], b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\0\x01"].concat();
    for (name, octets, want) in [
        ("answered", answer([0x81, 0x80], &usual), Ok(0)),
        ("with records", answer([0x81, 0x80], &records), Ok(0)),
        ("truncated (TC)", answer([0x83, 0x80], &usual), Ok(0)),
        ("truncated within a record", answer([0x83, 0x80], &records[..records.len() - 5]), Ok(0)),
        (
            "names that point at themselves",
            answer([0x81, 0x80], &[&usual[..], b"\xc0\x21\xc0\x23"].concat()),
            Ok(0),
        ),
        (
            "letters of the other case",
            answer([0x81, 0x80], &one(b"\x03WwW\x07EXAMPLE\x03net\0\0\x01\0\x01")),
            Ok(0),
        ),
        ("no question", answer([0x81, 0x85], &none), Ok(5)),
        ("SERVFAIL", answer([0x81, 0x82], &usual), Ok(2)),
        ("other bits beside the code", answer([0xff, 0xf3], &usual), Ok(3)),
        ("largest code", answer([0x80, 0x0f], &usual), Ok(15)),
        ("empty", vec![], Err(NotOurs::TooShort)),
        ("half a header", answer([0x81, 0x80], &[0; 7]), Err(NotOurs::TooShort)),
        ("other id", [b"\x12\x35\x81\x80", &usual[..]].concat(), Err(NotOurs::OtherId)),
        ("our query back", query().octets(), Err(NotOurs::NotAResponse)),
        (
            "another name",
            answer([0x81, 0x80], &one(b"\x03www\x07example\x03org\0\0\x01\0\x01")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "another type",
            answer([0x81, 0x80], &one(b"\x03www\x07example\x03net\0\0\x02\0\x01")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "another class",
            answer([0x81, 0x80], &one(b"\x03www\x07example\x03net\0\0\x01\0\x03")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "a longer name",
            answer([0x81, 0x80], &one(b"\x03www\x07example\x03net\x01x\0\0\x01\0\x01")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "the question ends early",
            answer([0x81, 0x80], &usual[..usual.len() - 1]),
            Err(NotOurs::OtherQuestion),
        ),
        ("no question where one is counted", answer([0x81, 0x80], &one(b"")), Err(NotOurs::OtherQuestion)),
        (
            "a name that points at itself",
            answer([0x81, 0x80], &one(b"\xc0\x0c\0\x01\0\x01")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "names that point at each other",
            answer([0x81, 0x80], &one(b"\xc0\x0e\xc0\x0c\0\x01\0\x01")),
            Err(NotOurs::OtherQuestion),
        ),
        (
            "two questions",
            answer([0x81, 0x80], &[b"\0\x02\0\0\0\0\0\0", &usual[8..], &usual[8..]].concat()),
            Err(NotOurs::OtherQuestion),
        ),
    ] {
        assert_eq!(query().rcode_in(&octets), want, "{name}");
    }
}

#[test]
fn codes_have_names() {
    assert_eq!(
        (0..=15).map(rcode_name).collect::<Vec<_>>().join(" "),
        "NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE DSOTYPENI 12 13 14 15"
    );
}

#[test]
fn ids_differ() {
    let ids: std::collections::BTreeSet<u16> = (0..100).map(|_| random_id()).collect();
    // 100 of 65,536: fewer than 80 different ones do not happen by chance.
    assert!(ids.len() > 80, "{ids:?}");
}

fn dns(target: SocketAddr, timeout: Duration) -> DnsCheck {
    let connection = Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout,
        fwmark: None,
    };
    DnsCheck { connection, record: DnsType::A, name: "www.example.net".into() }
}

/// Answers to a query.
type Answers = fn(&[u8]) -> Vec<Vec<u8>>;

fn replied(query: &[u8], flags: [u8; 2]) -> Vec<u8> {
    [&query[..2], &flags, &query[4..]].concat()
}

fn other_id(query: &[u8]) -> Vec<u8> {
    [&[query[0] ^ 1], &query[1..2], b"\x81\x80", &query[4..]].concat()
}

#[tokio::test]
async fn outcomes() {
    let rows: [(&str, bool, Answers, Outcome); 11] = [
        ("answered", true, |query| vec![replied(query, [0x81, 0x80])], Outcome::good("rcode NOERROR")),
        ("truncated", true, |query| vec![replied(query, [0x83, 0x80])], Outcome::good("rcode NOERROR")),
        ("SERVFAIL", true, |query| vec![replied(query, [0x81, 0x82])], Outcome::bad("rcode SERVFAIL")),
        ("NXDOMAIN", true, |query| vec![replied(query, [0x81, 0x83])], Outcome::bad("rcode NXDOMAIN")),
        ("REFUSED", true, |query| vec![replied(query, [0x81, 0x85])], Outcome::bad("rcode REFUSED")),
        ("unknown code", true, |query| vec![replied(query, [0x81, 0x8d])], Outcome::bad("rcode 13")),
        (
            "garbage and forgeries first",
            true,
            |query| {
                vec![vec![], vec![0xff; 9], query.to_vec(), other_id(query), replied(query, [0x81, 0x80])]
            },
            Outcome::good("rcode NOERROR"),
        ),
        ("silence", false, |_| vec![], Outcome::bad("no answer after 0.3 s")),
        (
            "another id",
            false,
            |query| vec![other_id(query)],
            Outcome::bad("no answer after 0.3 s (1 datagram ignored, the last: other id)"),
        ),
        (
            "an answer to another question",
            false,
            |query| vec![vec![1], [&query[..2], b"\x81\x80\0\x01\0\0\0\0\0\0\0\0\x06\0\x01"].concat()],
            Outcome::bad("no answer after 0.3 s (2 datagrams ignored, the last: other question)"),
        ),
        (
            "a flood that is no answer",
            true,
            |query| vec![query.to_vec(); 5000],
            Outcome::bad("no answer (1000 datagrams ignored, the last: not a response)"),
        ),
    ];
    for (name, answers_in_time, answers, want) in rows {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let timeout = if answers_in_time { Duration::from_secs(30) } else { Duration::from_millis(300) };
        let dns = dns(server.local_addr().unwrap(), timeout);
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            for answer in answers(&buffer[..length]) {
                // The check may be over: its port is closed then.
                let _ = server.send_to(&answer, from).await;
                tokio::task::yield_now().await;
            }
        };
        let (outcome, ()) = tokio::join!(run(&dns), serve);
        assert_eq!(outcome, want, "{name}");
    }
}

#[tokio::test]
async fn an_answer_from_elsewhere_is_none() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dns = dns(server.local_addr().unwrap(), Duration::from_millis(300));
    let serve = async {
        let mut buffer = [0; 512];
        let (length, from) = server.recv_from(&mut buffer).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.send_to(&replied(&buffer[..length], [0x81, 0x80]), from).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&dns), serve);
    assert_eq!(outcome, Outcome::bad("no answer after 0.3 s"));
}

#[tokio::test]
async fn nobody_listens() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let closed = UdpSocket::bind(address).await.unwrap().local_addr().unwrap();
        let outcome = run(&dns(closed, Duration::from_secs(30))).await;
        assert_eq!(outcome, Outcome::bad("port unreachable (ICMP)"), "{address}");
    }
    let mut dns = dns(([127, 0, 0, 1], 9).into(), Duration::from_secs(30));
    dns.connection.bind_address = Some([192, 0, 2, 77].into());
    assert_eq!(run(&dns).await.verdict, Verdict::Unknown);
}

/// A real name server's answers, made by somebody else's code.
#[test]
fn answers_that_hickory_makes() {
    for (code, want) in [(ResponseCode::NoError, 0), (ResponseCode::ServFail, 2), (ResponseCode::NXDomain, 3)]
    {
        let mut message = Message::from_bytes(&query().octets()).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.metadata.response_code = code;
        assert_eq!(query().rcode_in(&message.to_vec().unwrap()), Ok(want));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn names_as_hickory_reads_them(name in "[a-z0-9]{1,63}(\\.[a-z0-9]{1,60}){0,2}", id: u16) {
        let message = Message::from_bytes(&Query::new(id, DnsType::Mx, &name).octets()).unwrap();
        prop_assert_eq!(message.metadata.id, id);
        prop_assert_eq!(message.queries[0].name().to_ascii(), format!("{name}."));
    }

    #[test]
    fn any_name_makes_a_query(name in ".{0,300}") {
        let octets = Query::new(1, DnsType::A, &name).octets();
        prop_assert!(octets.len() <= 271);
        let mut response = octets.clone();
        response[2] |= 0x80;
        prop_assert_eq!(Query::new(1, DnsType::A, &name).rcode_in(&response), Ok(0));
    }

    /// A forger who does not know the id gets nowhere, whatever he sends.
    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(message::law(&octets));
    }

    #[test]
    fn nearly_right_octets(at in 0_usize..33, bit in 0_u8..8, length in 0_usize..40) {
        let mut octets = answer([0x81, 0x80], &echo());
        octets.truncate(length);
        if let Some(octet) = octets.get_mut(at) {
            *octet ^= 1 << bit;
        }
        prop_assert!(message::law(&octets));
    }
}

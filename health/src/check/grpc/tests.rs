use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::message::Broken;
use super::*;
use crate::state::Verdict;
use crate::types::Connection;

fn grpc(target: SocketAddr, service: &str, authority: Option<&str>) -> GrpcCheck {
    let connection = Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(30),
        fwmark: None,
    };
    GrpcCheck { connection, service: service.into(), authority: authority.map(Into::into) }
}

/// An answer of a server that speaks HTTP/2.
#[derive(Clone, Default)]
struct Reply {
    status: u16,
    content_type: &'static str,
    head: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    trailers: Option<Vec<(&'static str, &'static str)>>,
    /// Leaves the stream open at its end.
    open: bool,
    reset: Option<h2::Reason>,
}

fn reply(body: &[u8], trailers: &[(&'static str, &'static str)]) -> Reply {
    Reply {
        status: 200,
        content_type: "application/grpc",
        body: Some(body.into()),
        trailers: Some(trailers.into()),
        ..Reply::default()
    }
}

/// Only headers, as servers answer what they refuse.
fn refusal(head: &[(&'static str, &str)]) -> Reply {
    let head = head.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Reply { status: 200, content_type: "application/grpc+proto", head, ..Reply::default() }
}

/// Answers one request; what it was.
async fn answer(stream: TcpStream, reply: Reply) -> (Request<()>, Vec<u8>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let (head, mut body) = request.into_parts();
    let work = async {
        let mut octets = Vec::new();
        while let Some(chunk) = body.data().await {
            octets.extend_from_slice(&chunk.unwrap());
        }
        if let Some(reason) = reply.reset {
            respond.send_reset(reason);
            return octets;
        }
        let mut response = Response::builder().status(reply.status);
        if !reply.content_type.is_empty() {
            response = response.header("content-type", reply.content_type);
        }
        for (name, value) in &reply.head {
            response = response.header(*name, value);
        }
        let over = reply.body.is_none() && !reply.open;
        let mut sending = respond.send_response(response.body(()).unwrap(), over).unwrap();
        if let Some(body) = reply.body {
            sending.send_data(body.into(), reply.trailers.is_none() && !reply.open).unwrap();
        }
        if let Some(trailers) = reply.trailers {
            let mut map = HeaderMap::new();
            for (name, value) in trailers {
                map.insert(name, value.parse().unwrap());
            }
            sending.send_trailers(map).unwrap();
        }
        if reply.open {
            std::future::pending::<()>().await;
        }
        octets
    };
    let mut work = pin!(work);
    let octets = tokio::select! {
        octets = &mut work => octets,
        // The client went away.
        _ended = std::future::poll_fn(|context| connection.poll_closed(context)) => Vec::new(),
    };
    let _closed = tokio::time::timeout(
        Duration::from_secs(5),
        std::future::poll_fn(|context| connection.poll_closed(context)),
    )
    .await;
    (Request::from_parts(head, ()), octets)
}

/// A short limit where that is what is waited for.
fn limited(mut check: GrpcCheck, reason: &str) -> GrpcCheck {
    if reason.starts_with("no whole answer") {
        check.connection.timeout = Duration::from_millis(500);
    }
    check
}

async fn asked(reply: Reply, reason: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = limited(grpc(listener.local_addr().unwrap(), "", None), reason);
    let (outcome, _) = tokio::join!(run(&check), async {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, reply).await
    });
    outcome
}

const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const OK: &[(&str, &str)] = &[("grpc-status", "0")];

#[tokio::test]
async fn answers_of_every_kind() {
    let state = |state: u8| vec![0, 0, 0, 0, 2, 8, state];
    let rows: Vec<(&str, Reply, &str)> = vec![
        ("NOT_SERVING", reply(&state(2), OK), "status NOT_SERVING, wanted SERVING"),
        ("UNKNOWN", reply(&state(0), OK), "status UNKNOWN, wanted SERVING"),
        ("an empty message", reply(&[0, 0, 0, 0, 0], OK), "status UNKNOWN, wanted SERVING"),
        ("SERVICE_UNKNOWN", reply(&state(3), OK), "status SERVICE_UNKNOWN, wanted SERVING"),
        ("a state to come", reply(&state(9), OK), "status 9, wanted SERVING"),
        ("no message", reply(b"", OK), "the answer has no message"),
        ("a message cut off", reply(&[0, 0, 0, 0, 9, 8, 1], OK), "the answer's message is cut off"),
        ("two messages", reply(&[SERVING, SERVING].concat(), OK), "the answer has more than one message"),
        ("compressed", reply(&[1, 0, 0, 0, 2, 8, 1], OK), "the answer's message is compressed"),
        ("no protobuf", reply(&[0, 0, 0, 0, 2, 7, 7], OK), "the answer's message is not protobuf"),
        (
            "a status after the message",
            reply(SERVING, &[("grpc-status", "14"), ("grpc-message", "going%20down%0a")]),
            "grpc-status 14 (UNAVAILABLE): going down\\n",
        ),
        (
            "not implemented",
            refusal(&[("grpc-status", "12"), ("grpc-message", "unknown service grpc.health.v1.Health")]),
            "grpc-status 12 (UNIMPLEMENTED): unknown service grpc.health.v1.Health",
        ),
        ("a service that is not there", refusal(&[("grpc-status", "5")]), "grpc-status 5 (NOT_FOUND)"),
        ("a status that is none", refusal(&[("grpc-status", "99")]), "grpc-status 99"),
        ("no number", refusal(&[("grpc-status", "ok")]), "grpc-status ok"),
        ("no status at all", reply(SERVING, &[("x", "y")]), "the answer ends without grpc-status"),
        (
            "no trailers",
            Reply { trailers: None, ..reply(SERVING, OK) },
            "the answer ends without grpc-status",
        ),
        ("only a head", refusal(&[]), "the answer ends without grpc-status"),
        ("HTTP status", Reply { status: 503, ..reply(SERVING, OK) }, "HTTP status 503, wanted 200"),
        (
            "a page",
            Reply { content_type: "text/html", ..reply(b"<html>", OK) },
            "content-type \"text/html\", wanted application/grpc",
        ),
        (
            "no type",
            Reply { content_type: "", ..reply(SERVING, OK) },
            "content-type \"\", wanted application/grpc",
        ),
        ("too large", reply(&[0; 5000], OK), "answer larger than 4096 octets"),
        (
            "large headers",
            Reply { head: vec![("x-large", "x".repeat(20_000))], ..reply(SERVING, OK) },
            "what the server sends is not HTTP/2: PROTOCOL_ERROR",
        ),
        ("the head and nothing else", Reply { open: true, ..refusal(&[]) }, "no whole answer after 0.5 s"),
        (
            "no trailers yet",
            Reply { open: true, trailers: None, ..reply(SERVING, OK) },
            "no whole answer after 0.5 s",
        ),
        (
            "reset",
            Reply { reset: Some(h2::Reason::REFUSED_STREAM), ..Reply::default() },
            "the server refuses the request: REFUSED_STREAM",
        ),
    ];
    let outcome = asked(reply(SERVING, OK), "").await;
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Good(Default::default()), "SERVING"));
    for (name, reply, reason) in rows {
        let outcome = asked(reply, reason).await;
        assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Bad, reason), "{name}");
    }
}

#[tokio::test]
async fn what_is_asked() {
    for (service, authority, octets) in [
        ("", None, &b"\x00\x00\x00\x00\x00"[..]),
        ("shop.v1.Cart", Some("api.example.net:8443"), b"\x00\x00\x00\x00\x0e\x0a\x0cshop.v1.Cart"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let check = grpc(target, service, authority);
        let (outcome, (request, body)) = tokio::join!(run(&check), async {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, reply(SERVING, OK)).await
        });
        assert!(matches!(outcome.verdict, Verdict::Good(_)), "{}", outcome.reason);
        assert_eq!(body, octets);
        let target = target.to_string();
        let uri = format!("http://{}/grpc.health.v1.Health/Check", authority.unwrap_or(&target));
        assert_eq!((request.method(), request.uri().to_string()), (&Method::POST, uri));
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
    }
}

/// What a server sends that is none of HTTP/2, and how it goes on.
enum Raw {
    ThenClose(&'static [u8]),
    ThenHang(&'static [u8]),
    Reset,
    Endless(&'static [u8]),
    Trickle,
}

#[tokio::test]
async fn servers_that_speak_something_else() {
    use Raw::{Endless, Reset, ThenClose, ThenHang, Trickle};
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // GOAWAY, last stream 0, ENHANCE_YOUR_CALM.
    const GO_AWAY: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
    // A PING in answer to nothing, again and again.
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let rows: Vec<(&str, Raw, &[&str])> = vec![
        (
            "HTTP/1.1",
            ThenClose(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            &["what the server sends is not HTTP/2: FRAME_SIZE_ERROR"],
        ),
        (
            "TLS alert",
            ThenClose(b"\x15\x03\x01\x00\x02\x02\x46\x00\x00\x00\x00\x00"),
            &["what the server sends is not HTTP/2: FRAME_SIZE_ERROR"],
        ),
        ("closes at once", ThenClose(b""), &["connection closed before the answer was complete"]),
        (
            "closes within a frame",
            ThenClose(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9]),
            &["connection closed before the answer was complete"],
        ),
        ("accepts and hangs", ThenHang(b""), &["no whole answer after 0.5 s"]),
        ("settings and hangs", ThenHang(SETTINGS), &["no whole answer after 0.5 s"]),
        ("resets", Reset, &["connection reset by the server"]),
        ("an octet now and then", Trickle, &["no whole answer after 0.5 s"]),
        ("goes away", ThenHang(GO_AWAY), &["the server ends the connection: ENHANCE_YOUR_CALM"]),
        // Whichever comes first: the library counts them, too.
        (
            "a flood of pings",
            Endless(PING),
            &["no whole answer after 0.5 s", "what the server sends is not HTTP/2: PROTOCOL_ERROR"],
        ),
    ];
    for (name, raw, reasons) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let check = limited(grpc(listener.local_addr().unwrap(), "", None), reasons[0]);
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // What the client says first is read, so that a close is no reset.
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read >= 24, "the preface");
            match raw {
                ThenClose(octets) => {
                    stream.write_all(octets).await.unwrap();
                    let _all = tokio::time::timeout(Duration::from_millis(50), async {
                        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                    })
                    .await;
                }
                ThenHang(octets) => {
                    stream.write_all(octets).await.unwrap();
                    std::future::pending::<()>().await;
                }
                Reset => socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
                Endless(octets) => {
                    stream.write_all(SETTINGS).await.unwrap();
                    let (mut reading, mut writing) = stream.into_split();
                    let _gone = tokio::join!(
                        async { while reading.read(&mut buffer).await.is_ok_and(|read| read > 0) {} },
                        async { while writing.write_all(octets).await.is_ok() {} }
                    );
                }
                Trickle => {
                    for octet in SETTINGS.iter().cycle() {
                        tokio::time::sleep(Duration::from_millis(40)).await;
                        if stream.write_u8(*octet).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let outcome = run(&check).await;
        assert_eq!(outcome.verdict, Verdict::Bad, "{name}");
        assert!(reasons.contains(&&*outcome.reason), "{name}: {}", outcome.reason);
        server.abort();
    }
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(&*run(&grpc(refused, "", None)).await.reason, "connection refused");
}

#[test]
fn authorities() {
    for good in ["api.example.net", "api.example.net:443", "192.0.2.1", "[2001:db8::1]:50051", "localhost"] {
        assert!(is_authority(good), "{good}");
    }
    for bad in ["", "a b", "user@host", "http://x", "a/b", "x\r\ny", "ä.example", &"x".repeat(256)] {
        assert!(!is_authority(bad), "{bad}");
    }
}

#[test]
fn messages() {
    let message = |octets: &[u8]| {
        let mut whole = vec![0, 0, 0, 0, u8::try_from(octets.len()).unwrap()];
        whole.extend_from_slice(octets);
        message::answer(&whole)
    };
    for (name, octets, want) in [
        ("the field", &[8, 1][..], Ok(Serving::Serving)),
        ("the last one counts", &[8, 2, 8, 1], Ok(Serving::Serving)),
        ("a long way to write 1", &[8, 0x81, 0x80, 0], Ok(Serving::Serving)),
        ("others before and after it", &[0x12, 2, 9, 9, 8, 1, 0x1d, 1, 2, 3, 4], Ok(Serving::Serving)),
        ("eight octets", &[0x11, 1, 2, 3, 4, 5, 6, 7, 8, 8, 2], Ok(Serving::NotServing)),
        ("field 1 as text", &[0x0a, 1, b'x'], Ok(Serving::Unknown)),
        ("largest", &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], Ok(Serving::Other(u64::MAX))),
        ("larger", &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], Err(Broken::Malformed)),
        ("eleven octets", &[8, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0], Err(Broken::Malformed)),
        ("a tag alone", &[8], Err(Broken::Cut)),
        ("a number cut off", &[8, 0x80], Err(Broken::Cut)),
        ("a text cut off", &[0x12, 9, 1], Err(Broken::Cut)),
        ("four octets cut off", &[0x1d, 1], Err(Broken::Cut)),
        ("a group", &[0x0b, 0x0c], Err(Broken::Malformed)),
        ("field 0", &[0, 1], Err(Broken::Malformed)),
    ] {
        assert_eq!(message(octets), want, "{name}");
    }
    assert_eq!(message::answer(&[]), Err(Broken::Empty));
    assert_eq!(message::answer(&[0, 0, 0]), Err(Broken::Cut));
    assert_eq!(message::answer(&[0, 255, 255, 255, 255, 8, 1]), Err(Broken::Cut));
}

#[test]
fn texts_of_a_status() {
    for (text, want) in
        [("a%20b", "a b"), ("%", "%"), ("%2", "%2"), ("%zz", "%zz"), ("%C3%bc", "ü"), ("", "")]
    {
        assert_eq!(message::percent_decoded(text.as_bytes()), want.as_bytes(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_taken(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let whole = message::answer(&octets);
        if whole.is_ok() {
            // What is there to its end is not there in part, and not with more.
            prop_assert!(message::answer(&octets[..octets.len() - 1]).is_err());
            prop_assert_eq!(message::answer(&[&octets[..], &[0]].concat()), Err(Broken::More));
        }
        message::percent_decoded(&octets);
    }

    /// A request has the shape of an answer: its one field is passed over.
    #[test]
    fn requests_are_whole(service in ".{0,300}") {
        let octets = message::request(&service);
        prop_assert!(octets.ends_with(service.as_bytes()));
        prop_assert_eq!(message::answer(&octets), Ok(Serving::Unknown));
    }
}

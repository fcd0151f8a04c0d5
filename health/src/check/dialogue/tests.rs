use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::state::Verdict;
use crate::types::Connection;

fn send_text(text: &[u8]) -> DialogueStep {
    DialogueStep::Send(text.into())
}

fn expect_text(text: &[u8]) -> DialogueStep {
    DialogueStep::Expect(text.into())
}

fn dialogue(target: SocketAddr, steps: Vec<DialogueStep>) -> DialogueCheck {
    let connection = Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    };
    DialogueCheck { connection, steps: steps.into() }
}

/// What a server does.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    Await(&'static [u8]),
    /// One octet after each such pause, for ever.
    Trickle(u8, Duration),
    Endless(&'static [u8]),
    Hang,
    Close,
}

async fn serve(mut stream: DuplexStream, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Send(octets) => {
                if stream.write_all(&octets).await.is_err() {
                    return;
                }
            }
            Act::Await(wanted) => {
                let mut got = vec![0; wanted.len()];
                if stream.read_exact(&mut got).await.is_err() {
                    return;
                }
                assert_eq!(got, wanted);
            }
            Act::Trickle(octet, pause) => loop {
                tokio::time::sleep(pause).await;
                if stream.write_u8(octet).await.is_err() {
                    return;
                }
            },
            Act::Endless(octets) => while stream.write_all(octets).await.is_ok() {},
            Act::Hang => std::future::pending().await,
            Act::Close => return,
        }
    }
    std::future::pending().await
}

async fn held(steps: Vec<DialogueStep>, acts: Vec<Act>) -> Outcome {
    let (ours, theirs) = duplex(64 * 1024);
    let server = tokio::spawn(serve(theirs, acts));
    let outcome = converse(&dialogue("192.0.2.1:25".parse().unwrap(), steps), ours).await;
    server.abort();
    outcome
}

#[tokio::test(start_paused = true)]
async fn servers_of_every_kind() {
    let good = Verdict::Good(Default::default());
    let text = |text: &str| Act::Send(text.as_bytes().to_vec());
    let ping = || vec![send_text(b"PING\r\n"), expect_text(b"+PONG")];
    let banner = || vec![expect_text(b"220 ")];
    let second = Duration::from_secs(1);
    type Row = (&'static str, Vec<DialogueStep>, Vec<Act>, Verdict, &'static str);
    let rows: Vec<Row> = vec![
        ("banner", banner(), vec![text("220 ready\r\n")], good, "got \"220 \""),
        ("banner after other text", banner(), vec![text("x 2"), text("20 y")], good, "got \"220 \""),
        ("asked", ping(), vec![Act::Await(b"PING\r\n"), text("+PONG\r\n")], good, "got \"+PONG\""),
        ("only sent", vec![send_text(b"x")], vec![Act::Await(b"x")], good, "connected, text sent"),
        (
            "in turns",
            vec![expect_text(b"1"), send_text(b"a"), expect_text(b"2"), send_text(b"b")],
            vec![text("1"), Act::Await(b"a"), text("2"), Act::Await(b"b")],
            good,
            "got \"2\"",
        ),
        (
            "two texts in one piece, in order",
            vec![expect_text(b"one"), expect_text(b"two")],
            vec![text("one two")],
            good,
            "got \"two\"",
        ),
        (
            "not in that order",
            vec![expect_text(b"two"), expect_text(b"one")],
            vec![text("one two three"), Act::Close],
            Verdict::Bad,
            "no \"one\": connection closed, got \" three\"",
        ),
        (
            "a text counts once",
            vec![expect_text(b"ab"), expect_text(b"ab")],
            vec![text("ab"), Act::Close],
            Verdict::Bad,
            "no \"ab\": connection closed",
        ),
        ("hangs", banner(), vec![Act::Hang], Verdict::Bad, "no \"220 \": nothing like it for 3 s"),
        (
            "another banner",
            banner(),
            vec![text("554 go away\r\n")],
            Verdict::Bad,
            "no \"220 \": nothing like it for 3 s, got \"554 go away\\r\\n\"",
        ),
        (
            "an octet a second",
            banner(),
            vec![Act::Trickle(b'2', second * 9 / 10)],
            Verdict::Bad,
            "no \"220 \": nothing like it for 3 s, got \"222\"",
        ),
        (
            "closes",
            ping(),
            vec![Act::Await(b"PING\r\n"), Act::Close],
            Verdict::Bad,
            "no \"+PONG\": connection closed",
        ),
        ("closes before it has read", ping(), vec![text("+PONG"), Act::Close], good, "got \"+PONG\""),
        (
            "without end",
            banner(),
            vec![Act::Endless(b"nonsense ")],
            Verdict::Bad,
            "no \"220 \" in the first 64 KiB, got \"nonsense nonsense nonsense nonsense nonsense nonsense nonsen…\"",
        ),
        (
            "binary",
            vec![expect_text(b"\x00\xff")],
            vec![Act::Send(vec![0x1b, 0, 7, 200]), Act::Close],
            Verdict::Bad,
            "no \"\\x00\\xff\": connection closed, got \"\\x1b\\x00\\x07\\xc8\"",
        ),
        (
            "binary as wanted",
            vec![expect_text(b"\x00\xff")],
            vec![Act::Send(vec![1, 0, 255, 2])],
            good,
            "got \"\\x00\\xff\"",
        ),
    ];
    for (name, steps, acts, verdict, reason) in rows {
        let outcome = held(steps, acts).await;
        assert_eq!((outcome.verdict, &*outcome.reason), (verdict, reason), "{name}");
    }
    // More than the pipe holds, to who does not read.
    let large = vec![b'x'; 200 * 1024];
    let outcome = held(vec![send_text(&large)], vec![Act::Hang]).await;
    let (start, dots) = ("x".repeat(60), "…");
    assert_eq!(*outcome.reason, format!("\"{start}{dots}\" not taken after 3 s"));
}

#[tokio::test]
async fn over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let steps = vec![expect_text(b"220"), send_text(b"QUIT\r\n"), expect_text(b"221")];
    let check = dialogue(listener.local_addr().unwrap(), steps);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 hello\r\n").await.unwrap();
        let mut got = [0; 6];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"QUIT\r\n");
        stream.write_all(b"221 bye\r\n").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&check), server);
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Good(Default::default()), "got \"221\""));
    let check = dialogue(listener.local_addr().unwrap(), vec![send_text(b"x"), expect_text(b"220")]);
    let resets = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&check), resets);
    assert_eq!(
        (outcome.verdict, &*outcome.reason),
        (Verdict::Bad, "no \"220\": connection reset by the server")
    );
    drop(listener);
    let outcome = run(&check).await;
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Bad, "connection refused"));
}

#[test]
fn a_text_across_pieces() {
    let mut search = Search::default();
    assert_eq!(search.feed(b"aab", b"xxa"), Found::NotYet);
    assert_eq!(search.feed(b"aab", b"a"), Found::NotYet);
    assert_eq!(search.feed(b"aab", b"aabc"), Found::Yes);
    assert_eq!(search.waiting(), 1);
    assert_eq!(search.look_for(b"c"), Found::Yes);
    assert_eq!(search.waiting(), 0);
}

#[test]
fn the_last_octet_that_counts() {
    let mut octets = vec![b'.'; MAX_WAIT];
    octets.splice(MAX_WAIT - 3.., *b"end");
    assert_eq!(Search::default().feed(b"end", &octets), Found::Yes);
    octets.insert(0, b'.');
    assert_eq!(Search::default().feed(b"end", &octets), Found::TooLong);
    assert!(agrees_when_cut(b"end", &octets, 7) && agrees_when_cut(b"nd", &octets, MAX_WAIT));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(text in "[ab]{1,4}", octets in "[abc]{0,60}", cut in 0usize..70) {
        prop_assert!(agrees_when_cut(text.as_bytes(), octets.as_bytes(), cut));
    }

    #[test]
    fn texts_are_found_one_after_the_other(texts in proptest::collection::vec("[ab]{1,3}", 1..5), octets in "[ab]{0,40}") {
        let mut search = Search::default();
        let mut rest = octets.as_str();
        let mut fed = false;
        for text in &texts {
            let found = if fed { search.look_for(text.as_bytes()) } else { search.feed(text.as_bytes(), octets.as_bytes()) };
            fed = true;
            match rest.split_once(text.as_str()) {
                Some((_, after)) => {
                    prop_assert_eq!(found, Found::Yes);
                    rest = after;
                }
                None => {
                    prop_assert_eq!(found, Found::NotYet);
                    break;
                }
            }
            prop_assert_eq!(search.waiting(), rest.len());
        }
    }
}

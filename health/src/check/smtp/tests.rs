use std::num::NonZeroU16;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;

use super::line::agrees_when_cut;
use super::*;
use crate::state::Verdict;
use crate::types::Connection;

fn smtp(target: &str) -> SmtpCheck {
    let connection = Connection {
        target: target.parse().unwrap(),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    };
    SmtpCheck { connection, helo: "lb.example.net".into() }
}

#[test]
fn lines() {
    let long = |length: usize| [b"220 ".as_slice(), &vec![b'x'; length - 4]].concat();
    for (name, octets, want) in [
        ("usual", b"220 hi\r\n".to_vec(), Ok(Some(b"220 hi".to_vec()))),
        ("LF alone", b"220 hi\n".to_vec(), Ok(Some(b"220 hi".to_vec()))),
        ("the first of two", b"220 hi\r\n221 x\r\n".to_vec(), Ok(Some(b"220 hi".to_vec()))),
        ("not complete", b"220 hi\r".to_vec(), Ok(None)),
        ("nothing", vec![], Ok(None)),
        ("empty line", b"\r\n".to_vec(), Ok(Some(vec![]))),
        ("CR within", b"220\rhi\r\r\n".to_vec(), Ok(Some(b"220\rhi\r".to_vec()))),
        ("longest", [long(510), b"\r\n".to_vec()].concat(), Ok(Some(long(510)))),
        ("longest with LF alone", [long(511), b"\n".to_vec()].concat(), Ok(Some(long(511)))),
        ("longer", [long(511), b"\r\n".to_vec()].concat(), Err(LineTooLong)),
        ("may still end", long(511), Ok(None)),
        ("cannot end any more", long(512), Err(LineTooLong)),
    ] {
        let mut lines = Lines::default();
        lines.feed(&octets);
        assert_eq!(lines.take(), want, "{name}");
    }
}

#[test]
fn codes() {
    for (name, line, want) in [
        ("usual", &b"220 hi"[..], true),
        ("code alone", b"220", true),
        ("nothing after the blank", b"220 ", true),
        ("first of several lines", b"220-hi", false),
        ("another code", b"221 hi", false),
        ("four digits", b"2200 hi", false),
        ("letter behind", b"220x", false),
        ("tab behind", b"220\thi", false),
        ("blank before", b" 220 hi", false),
        ("two digits", b"22", false),
        ("nothing", b"", false),
        ("not ASCII", b"220 \xff\xfe", true),
        ("NUL", b"220 a\0b", false),
    ] {
        assert_eq!(is_reply(line, "220"), want, "{name}");
    }
}

/// What a scripted server does.
enum Act {
    Send(&'static [u8]),
    /// Reads a line, which must be this.
    Hear(&'static str),
    /// These octets, one after each such pause.
    Trickle(&'static [u8], Duration),
    /// The same octets again and again.
    Repeat(&'static [u8]),
    Hang,
    Close,
}

async fn serve(mut stream: DuplexStream, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Send(octets) => {
                if stream.write_all(octets).await.is_err() {
                    return;
                }
            }
            Act::Hear(want) => {
                let mut line = Vec::new();
                while !line.ends_with(b"\n") {
                    match stream.read_u8().await {
                        Ok(octet) => line.push(octet),
                        Err(_) => return,
                    }
                }
                assert_eq!(String::from_utf8(line).unwrap(), want);
            }
            Act::Trickle(octets, pause) => {
                for octet in octets {
                    tokio::time::sleep(pause).await;
                    if stream.write_u8(*octet).await.is_err() {
                        return;
                    }
                }
            }
            Act::Repeat(octets) => while stream.write_all(octets).await.is_ok() {},
            Act::Hang => std::future::pending().await,
            Act::Close => return,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn conversations() {
    use Act::{Close, Hang, Hear, Repeat, Send, Trickle};
    const HELO: Act = Hear("HELO lb.example.net\r\n");
    const QUIT: Act = Hear("QUIT\r\n");
    let second = Duration::from_secs(1);
    let good = "greeted, took HELO, answered QUIT";
    // Name, what the server does, seconds that it takes (rounded down), outcome.
    for (name, acts, takes, want) in [
        (
            "good",
            vec![Send(b"220 mail\r\n"), HELO, Send(b"250 ok\r\n"), QUIT, Send(b"221 bye\r\n"), Close],
            0,
            Ok(good),
        ),
        (
            "codes alone, in pieces",
            vec![
                Send(b"22"),
                Send(b"0\r"),
                Send(b"\n"),
                HELO,
                Send(b"250\r\n"),
                QUIT,
                Send(b"221\r\n"),
                Close,
            ],
            0,
            Ok(good),
        ),
        (
            "any answer to QUIT",
            vec![Send(b"220 x\r\n"), HELO, Send(b"250 x\r\n"), QUIT, Send(b"what?\r\n"), Close],
            0,
            Ok(good),
        ),
        (
            "slow but in time",
            vec![
                Trickle(b"220 x\r\n", second * 2),
                HELO,
                Trickle(b"250\r\n", second * 2),
                QUIT,
                Send(b"221\r\n"),
                Close,
            ],
            24,
            Ok(good),
        ),
        ("turned away", vec![Send(b"554 go away\r\n"), Hang], 0, Err("220 wanted, got \"554 go away\"")),
        (
            "greeting of several lines",
            vec![Send(b"220-hi\r\n220 there\r\n"), Hang],
            0,
            Err("220 wanted, got \"220-hi\""),
        ),
        ("no code", vec![Send(b"hello\r\n"), Hang], 0, Err("220 wanted, got \"hello\"")),
        ("empty line", vec![Send(b"\r\n"), Hang], 0, Err("220 wanted, got \"\"")),
        (
            "binary greeting",
            vec![Send(b"\x16\x03\x01\x00\n\r\n"), Hang],
            0,
            Err("220 wanted, got \"\\x16\\x03\\x01\\x00\""),
        ),
        (
            "binary behind the code",
            vec![Send(b"220 a\0b\r\n"), Hang],
            0,
            Err("220 wanted, got \"220 a\\x00b\""),
        ),
        (
            "HELO refused",
            vec![Send(b"220 x\r\n"), HELO, Send(b"501 who?\r\n"), Hang],
            0,
            Err("250 wanted, got \"501 who?\""),
        ),
        (
            "answer to HELO of several lines",
            vec![Send(b"220 x\r\n"), HELO, Send(b"250-a\r\n250 b\r\n"), Hang],
            0,
            Err("250 wanted, got \"250-a\""),
        ),
        (
            "answers what was not asked",
            vec![Send(b"220 x\r\n250 y\r\n221 z\r\n"), Hang],
            0,
            Err("spoke before HELO lb.example.net: \"250 y\\r\\n221 z\\r\\n\""),
        ),
        ("hang", vec![Hang], 3, Err("no greeting after 3 s")),
        (
            "hang after part of a greeting",
            vec![Send(b"220 "), Hang],
            3,
            Err("greeting stopped after 4 octets, nothing for 3 s"),
        ),
        ("hang after HELO", vec![Send(b"220 x\r\n"), HELO, Hang], 3, Err("no answer to HELO after 3 s")),
        (
            "hang after QUIT",
            vec![Send(b"220 x\r\n"), HELO, Send(b"250 x\r\n"), QUIT, Hang],
            3,
            Err("no answer to QUIT after 3 s"),
        ),
        ("close", vec![Close], 0, Err("connection closed, no greeting")),
        (
            "close in a greeting",
            vec![Send(b"220 hi"), Close],
            0,
            Err("connection closed within the greeting, after 6 octets"),
        ),
        (
            "close after QUIT",
            vec![Send(b"220 x\r\n"), HELO, Send(b"250 x\r\n"), QUIT, Close],
            0,
            Err("connection closed, no answer to QUIT"),
        ),
        (
            "an octet a second",
            vec![Trickle(&[b'2'; 100], second), Hang],
            30,
            Err("greeting not complete, 30 s after the connect"),
        ),
        (
            "an octet a second after HELO",
            vec![Send(b"220 x\r\n"), HELO, Trickle(&[b'2'; 100], second), Hang],
            30,
            Err("answer to HELO not complete, 30 s after the connect"),
        ),
        ("endless line", vec![Repeat(b"220 x")], 0, Err("greeting is no line of up to 512 octets")),
        (
            "endless answer to QUIT",
            vec![Send(b"220 x\r\n"), HELO, Send(b"250 x\r\n"), QUIT, Repeat(b"y")],
            0,
            Err("answer to QUIT is no line of up to 512 octets"),
        ),
        (
            "endless lines",
            vec![Repeat(b"220 x\r\n")],
            0,
            Err(
                "spoke before HELO lb.example.net: \"220 x\\r\\n220 x\\r\\n220 x\\r\\n220 x\\r\\n220 x\\r\\n220 x\\r\\n220 x\\r\\n220 x\\r\\n220 …\"",
            ),
        ),
    ] {
        let (ours, theirs) = duplex(16 * 1024);
        let smtp = smtp("10.0.0.2:25");
        let began = Instant::now();
        let got = tokio::select! {
            got = converse(&smtp, ours) => got,
            () = async { serve(theirs, acts).await; std::future::pending().await } => unreachable!(),
        };
        let want = want.map(Outcome::good).map_err(str::to_owned);
        assert_eq!(got, want, "{name}");
        assert_eq!(began.elapsed().as_secs(), takes, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read() {
    // Room for less than a HELO, and nobody takes anything out.
    let (ours, mut theirs) = duplex(8);
    let talk = async {
        theirs.write_all(b"220 x\r\n").await.unwrap();
        std::future::pending::<()>().await;
    };
    let smtp = smtp("10.0.0.2:25");
    let got = tokio::select! { got = converse(&smtp, ours) => got, () = talk => unreachable!() };
    assert_eq!(got, Err("HELO lb.example.net not taken after 3 s".to_owned()));
}

#[tokio::test]
async fn on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let mut smtp = smtp(&target.to_string());
    smtp.connection.bind_address = Some([127, 0, 0, 9].into());
    let serve = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), std::net::IpAddr::from([127, 0, 0, 9]));
        stream.write_all(b"220 mail\r\n").await.unwrap();
        let mut heard = vec![0; "HELO lb.example.net\r\n".len()];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(b"250 ok\r\n").await.unwrap();
        let mut heard = [0; 6];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"QUIT\r\n");
        stream.write_all(b"221 bye\r\n").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&smtp), serve);
    assert_eq!(outcome, Outcome::good("greeted, took HELO, answered QUIT"));

    for (name, octets, want) in [
        ("reset", &b""[..], "connection reset by the server, no answer to HELO"),
        ("reset within a line", b"25", "connection reset by the server, no answer to HELO"),
    ] {
        let reset = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail\r\n").await.unwrap();
            let mut heard = vec![0; "HELO lb.example.net\r\n".len()];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(octets).await.unwrap();
            stream.set_zero_linger().unwrap();
        };
        let (outcome, ()) = tokio::join!(run(&smtp), reset);
        assert_eq!(outcome, Outcome::bad(want), "{name}");
    }

    drop(listener);
    assert_eq!(run(&smtp).await, Outcome::bad("connection refused"));
    smtp.connection.bind_address = Some([192, 0, 2, 1].into());
    smtp.connection.bind_port = NonZeroU16::new(1024);
    assert_eq!(run(&smtp).await.verdict, Verdict::Unknown);
}

/// Octets that often hold codes and ends of lines.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"220 hi\r\n".to_vec()),
        Just(b"250-".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
        (500_usize..520).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(octets in octets(), cut in 0_usize..2000) {
        prop_assert!(agrees_when_cut(&octets, cut));
    }

    /// The obvious way: what stands before the line ends.
    #[test]
    fn lines_are_what_stands_between_ends(texts in prop::collection::vec("[ -~]{0,500}", 0..5)) {
        let mut lines = Lines::default();
        for text in &texts {
            lines.feed(format!("{text}\r\n").as_bytes());
        }
        for text in &texts {
            prop_assert_eq!(lines.take(), Ok(Some(text.clone().into_bytes())));
        }
        prop_assert_eq!(lines.take(), Ok(None));
        prop_assert!(lines.rest().is_empty());
    }
}

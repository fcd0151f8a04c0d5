use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use md5::{Digest, Md5};
use tokio::io::{DuplexStream, ReadBuf, duplex};
use tokio::net::TcpListener;

use super::*;
use crate::state::Verdict;
use crate::types::Connection;

fn http(urls: Vec<Url>, protocol: HttpProtocol, target: &str) -> HttpCheck {
    let connection = Connection {
        target: target.parse().unwrap(),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    };
    HttpCheck { connection, urls, protocol, fast_recovery: false, tls: None }
}

const PLAIN: Ending = Ending { whole: Duration::from_secs(30), cut: Cut::Ends };

fn url(path: &str) -> Url {
    Url { path: path.into(), ..Url::default() }
}

fn hosted(path: &str, host: &str) -> Url {
    Url { host: Some(host.into()), ..url(path) }
}

#[test]
fn request_octets() {
    use HttpProtocol::{V1_0, V1_0Close, V1_1};
    let v4 = "10.0.0.2:80";
    for (name, url, protocol, target, want) in [
        (
            "1.0",
            url("/"),
            V1_0,
            v4,
            "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 10.0.0.2:80\r\n\r\n",
        ),
        (
            "1.0C",
            url("/a?b=c"),
            V1_0Close,
            v4,
            "GET /a?b=c HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: 10.0.0.2:80\r\n\r\n",
        ),
        (
            "1.1 and a host without port",
            hosted("/", "www.example.com"),
            V1_1,
            v4,
            "GET / HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www.example.com\r\n\r\n",
        ),
        (
            "IPv6 in brackets",
            url("/"),
            V1_0,
            "[2001:db8::2]:8080",
            "GET / HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [2001:db8::2]:8080\r\n\r\n",
        ),
        (
            "the path is not encoded",
            url("/a b\"ü"),
            V1_0,
            v4,
            "GET /a b\"ü HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 10.0.0.2:80\r\n\r\n",
        ),
    ] {
        let http = http(vec![], protocol, target);
        assert_eq!(String::from_utf8(request(&http, &url)).unwrap(), want, "{name}");
    }
}

/// What a scripted server does after it has the request.
enum Act {
    Send(&'static [u8]),
    /// One octet after each such pause, for ever.
    Trickle(u8, Duration),
    /// The same octets again and again.
    Repeat(&'static [u8]),
    Hang,
    Close,
}

async fn serve(mut stream: DuplexStream, acts: Vec<Act>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => request.push(octet),
            Err(_) => return,
        }
    }
    for act in acts {
        match act {
            Act::Send(octets) => {
                if stream.write_all(octets).await.is_err() {
                    return;
                }
            }
            Act::Trickle(octet, pause) => loop {
                tokio::time::sleep(pause).await;
                if stream.write_u8(octet).await.is_err() {
                    return;
                }
            },
            Act::Repeat(octets) => while stream.write_all(octets).await.is_ok() {},
            Act::Hang => std::future::pending().await,
            Act::Close => return,
        }
    }
}

async fn answer(url: Url, acts: Vec<Act>) -> Outcome {
    let (ours, theirs) = duplex(64 * 1024);
    let http = http(vec![url.clone()], HttpProtocol::V1_0, "10.0.0.2:80");
    tokio::select! {
        outcome = converse(&http, &url, ours, PLAIN) => outcome,
        () = async { serve(theirs, acts).await; std::future::pending().await } => unreachable!(),
    }
}

fn statuses(codes: impl IntoIterator<Item = u16>) -> Url {
    Url { status: Some(StatusSet(BTreeSet::from_iter(codes))), ..url("/") }
}

fn digest(octets: &[u8]) -> Url {
    Url { digest: Some(Md5::digest(octets).into()), ..url("/") }
}

#[tokio::test(start_paused = true)]
async fn answers() {
    use Act::{Close, Hang, Repeat, Send, Trickle};
    const OK: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let second = Duration::from_secs(1);
    for (name, url, acts, good, want) in [
        ("good", url("/"), vec![Send(OK), Close], true, "status 200"),
        (
            "in pieces",
            url("/"),
            vec![Send(b"HTTP/1.0 2"), Send(b"04 N\r\n\r"), Send(b"\n"), Close],
            true,
            "status 204",
        ),
        (
            "not found",
            url("/"),
            vec![Send(b"HTTP/1.0 404 Not Found\r\n\r\n"), Close],
            false,
            "status 404, wanted 200-299",
        ),
        (
            "wanted one",
            statuses([200]),
            vec![Send(b"HTTP/1.0 503 X\r\n\r\n"), Close],
            false,
            "status 503, wanted 200",
        ),
        (
            "wanted some",
            statuses([200, 301, 302, 303]),
            vec![Send(b"HTTP/1.0 204 X\r\n\r\n"), Close],
            false,
            "status 204, wanted 200, 301-303",
        ),
        ("a wanted error", statuses([503]), vec![Send(b"HTTP/1.0 503 X\r\n\r\n"), Close], true, "status 503"),
        (
            "no blank after the code",
            url("/"),
            vec![Send(b"HTTP/1.0 200\r\n\r\n"), Close],
            false,
            "no status code in the first line \"HTTP/1.0 200\"",
        ),
        (
            "control characters are not logged",
            url("/"),
            vec![Send(b"\x1b[31m\x00\n\r\n\r\n"), Close],
            false,
            "no status code in the first line \"\\x1b[31m\\x00\"",
        ),
        ("early close", url("/"), vec![Close], false, "no data received"),
        (
            "close in the header",
            url("/"),
            vec![Send(b"HTTP/1.0 200 OK\r\n"), Close],
            false,
            "connection closed within the header, after 17 octets",
        ),
        ("hang", url("/"), vec![Hang], false, "no answer after 3 s"),
        (
            "hang after a complete answer",
            url("/"),
            vec![Send(OK), Hang],
            false,
            "answer stopped after 24 octets: connection still open, nothing for 3 s",
        ),
        (
            "one octet a second",
            url("/"),
            vec![Trickle(b'x', second)],
            false,
            "answer not complete after 30 s",
        ),
        (
            "trickling body",
            url("/"),
            vec![Send(OK), Trickle(b'x', second)],
            false,
            "answer not complete after 30 s",
        ),
        ("slow but complete", url("/"), vec![Send(OK), Close], true, "status 200"),
        (
            "endless header",
            url("/"),
            vec![Repeat(b"X: yyyyyyyyyyyyyy\r\n")],
            false,
            "header larger than 64 KiB",
        ),
        (
            "endless body",
            url("/"),
            vec![Send(OK), Repeat(&[b'x'; 65536])],
            false,
            "answer larger than 64 MiB",
        ),
        (
            "wrong chunking is not our business",
            url("/"),
            vec![Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), Close],
            true,
            "status 200",
        ),
        (
            "length mismatch is told",
            url("/"),
            vec![Send(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello"), Close],
            true,
            "status 200 (body of 5 octets, Content-Length 9)",
        ),
        ("digest", digest(b"hello"), vec![Send(OK), Close], true, "status 200, digest as wanted"),
        (
            "digest of a chunked body",
            digest(b"5\r\nhello\r\n0\r\n\r\n"),
            vec![Send(CHUNKED), Close],
            true,
            "status 200, digest as wanted",
        ),
        (
            "digest of the decoded body is another",
            digest(b"hello"),
            vec![Send(CHUNKED), Close],
            false,
            "digest 68d2f89d21a0f8ae35d20f6dbe8d1c61 differs from 5d41402abc4b2a76b9719d911017c592",
        ),
        (
            "status before digest",
            digest(b"x"),
            vec![Send(b"H 500 X\r\n\r\n"), Close],
            false,
            "status 500, wanted 200-299",
        ),
    ] {
        let outcome = answer(url, acts).await;
        let verdict = outcome.verdict == Verdict::Good(crate::state::Contribution::None);
        if name == "digest of the decoded body is another" {
            // The left digest is md5 of the chunk framing, computed rather than written by hand.
            let got = hex(&Md5::digest(b"5\r\nhello\r\n0\r\n\r\n"));
            assert_eq!(
                &*outcome.reason,
                format!("digest {got} differs from 5d41402abc4b2a76b9719d911017c592"),
                "{name}"
            );
            assert!(!verdict, "{name}");
            continue;
        }
        assert_eq!((verdict, &*outcome.reason), (good, want), "{name}");
    }
}

/// Takes the request, gives an answer, then an error of the system.
struct Resetting(&'static [u8]);

impl AsyncRead for Resetting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Resetting {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_reset_fails_the_server() {
    let http = http(vec![url("/")], HttpProtocol::V1_0, "10.0.0.2:80");
    for (answer, want) in [
        (&b""[..], "connection reset by the server"),
        (b"HTTP/1.0 200 OK\r\n", "connection reset by the server after 17 octets"),
        (b"HTTP/1.0 200 OK\r\n\r\nx", "connection reset by the server after 20 octets"),
    ] {
        assert_eq!(converse(&http, &url("/"), Resetting(answer), PLAIN).await, Outcome::bad(want));
    }
}

#[tokio::test]
async fn on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        for answer in ["HTTP/1.0 200 OK\r\n\r\nx", ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /x HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                stream.set_zero_linger().unwrap();
            }
        }
    });
    let client = TlsClient::new(crate::TlsSettings::default());
    let http = http(vec![url("/x"), url("/x")], HttpProtocol::V1_0, &target);
    assert_eq!(run(&http, 0, &client).await, Outcome::good("/x: status 200"));
    assert_eq!(run(&http, 1, &client).await, Outcome::bad("/x: connection reset by the server"));
    server.await.unwrap();
    assert_eq!(run(&http, 0, &client).await, Outcome::bad("/x: connection refused"));
}

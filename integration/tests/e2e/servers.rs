//! The bed's servers of many protocols: each says what its name promises, on the loopback of a namespace.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::netns::Netns;
use lbd_integration::servers::mail::Mailbox;
use lbd_integration::servers::stream::{Behaviour, Stream};
use lbd_integration::servers::udp::{Answer, Datagrams};
use lbd_integration::servers::{dns, grpc, hostile, talk, tls};
use lbd_integration::{skip, wait};

const ADDRESS: &str = "127.0.0.1:4000";

/// A namespace, where one can be made right here; says so when not.
fn namespace() -> Option<Netns> {
    if matches!(Kernel::pick(Need::Netns), Ok(Kernel::Host)) {
        return Some(Netns::new("servers").expect("a namespace"));
    }
    skip::report("bed_servers", "needs root for network namespaces");
    None
}

fn connect(ns: &Netns) -> TcpStream {
    let stream = ns.run(|| TcpStream::connect(ADDRESS)).expect("the namespace").expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream
}

/// What comes first after `question`, up to `limit` octets; empty where the server says nothing.
fn ask(ns: &Netns, question: &[u8], limit: usize) -> Vec<u8> {
    let mut stream = connect(ns);
    stream.write_all(question).expect("taken");
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while answer.len() < limit {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    answer.truncate(limit);
    answer
}

#[test]
fn streams_say_what_they_are_told() {
    let Some(ns) = namespace() else { return };
    let mut server = Stream::start(&ns, ADDRESS, talk::says("down\n")).expect("a server");
    let rows: [(&str, Behaviour, &str, &str); 7] = [
        ("agent", talk::says("up 50%\n"), "", "up 50%\n"),
        ("question and answer", talk::answers("PING", "+PONG\r\n"), "PING\r\n", "+PONG\r\n"),
        ("another question", talk::answers("PING", "+PONG\r\n"), "PONG\r\n", "?\r\n"),
        ("mail", talk::smtp("220 hi", "250 you"), "HELO a\r\nQUIT\r\n", "220 hi\r\n250 you\r\n221 bye\r\n"),
        ("trickle", hostile::trickles("ab", Duration::from_millis(1)), "?", "ababab"),
        ("flood", hostile::floods("a", "b", Duration::ZERO), "?", "abbbbb"),
        ("fixed answer", hostile::answers_with("HTTP/1.1"), "?", "HTTP/1.1"),
    ];
    for (name, behaviour, question, answer) in rows {
        server.set(behaviour);
        let got = ask(&ns, question.as_bytes(), answer.len());
        assert_eq!(String::from_utf8_lossy(&got), answer, "{name}");
    }
    server.set(hostile::resets());
    let error = connect(&ns).read(&mut [0; 8]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    server.close();
    let refused = ns.run(|| TcpStream::connect(ADDRESS)).expect("the namespace").expect_err("refused");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(server.accepted() >= 8);
}

#[test]
fn tls_is_spoken_or_is_not() {
    let Some(ns) = namespace() else { return };
    let page = tls::Page::new(200, "all is well");
    let server =
        Stream::start(&ns, ADDRESS, tls::https("bed.test", 2099, &page).expect("a key")).expect("a server");
    let fetch = || -> std::io::Result<String> {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(any::Any))
        .with_no_client_auth();
        let name = "bed.test".try_into().expect("a name");
        let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = rustls::StreamOwned::new(connection, connect(&ns));
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = fetch().expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nall is well"), "{answer}");
    page.set(503, "");
    assert!(fetch().expect("an answer").starts_with("HTTP/1.1 503 "));
    server.set(tls::old(tls::TLS_1_1));
    let error = fetch().expect_err("too old").to_string();
    assert!(error.contains("version") || error.contains("Tls12"), "{error}");
    server.set(tls::alert(70));
    let error = fetch().expect_err("refused").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
}

/// A verifier that takes every certificate, as keepalived does.
mod any {
    use rustls::DigitallySignedStruct;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    pub struct Any;

    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}

#[test]
fn datagrams_are_answered() {
    let Some(ns) = namespace() else { return };
    let mut server = Datagrams::start(&ns, ADDRESS, Answer::always("pong")).expect("a server");
    // id 0x0102, RD, one question: www.test, A, IN.
    let question = b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x03www\x04test\0\0\x01\0\x01";
    let ask = || -> std::io::Result<Vec<u8>> {
        let socket = ns.run(|| UdpSocket::bind("127.0.0.1:0")).expect("the namespace")?;
        socket.connect(ADDRESS)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.send(question)?;
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer)?;
        Ok(buffer[..length].to_vec())
    };
    assert_eq!(ask().expect("an answer"), b"pong");
    for (name, answer, id, flags, length) in [
        ("good", dns::good(), [1, 2], [0x81, 0x80], question.len() + 16),
        ("refused", dns::code(2), [1, 2], [0x81, 0x82], question.len()),
        ("truncated", dns::truncated(), [1, 2], [0x83, 0x80], question.len()),
        ("forged", dns::forged(), [1, 2 ^ 0x55], [0x81, 0x80], question.len() + 16),
        ("looped", dns::looped(), [1, 2], [0x81, 0x80], question.len() + 16),
    ] {
        server.set(answer);
        let got = ask().expect("an answer");
        assert_eq!((&got[..2], &got[2..4], got.len()), (&id[..], &flags[..], length), "{name}");
    }
    server.set(dns::stump());
    assert_eq!(ask().expect("an answer"), question[..5]);
    server.close();
    assert_eq!(ask().expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_grpc_server_says_how_it_is() {
    let Some(ns) = namespace() else { return };
    let server = Stream::start(&ns, ADDRESS, grpc::grpc(grpc::Health::Serving)).expect("a server");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (health, octets, status) in [
        (grpc::Health::Serving, [0, 0, 0, 0, 2, 8, 1].as_slice(), "0"),
        (grpc::Health::NotServing, &[0, 0, 0, 0, 2, 8, 2], "0"),
        (grpc::Health::NotFound, &[], "5"),
        (grpc::Health::Unimplemented, &[], "12"),
    ] {
        server.set(grpc::grpc(health));
        let stream = connect(&ns);
        stream.set_nonblocking(true).expect("not blocking");
        let (got, trailers) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).expect("a stream");
            let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            tokio::spawn(connection);
            let request = http::Request::post("http://bed.test/grpc.health.v1.Health/Check")
                .body(())
                .expect("a request");
            let (answer, _) = sender.send_request(request, true).expect("sent");
            let mut body = answer.await.expect("an answer").into_body();
            let mut got = Vec::new();
            while let Some(octets) = body.data().await {
                got.extend_from_slice(&octets.expect("octets"));
            }
            (got, body.trailers().await.expect("trailers").expect("trailers"))
        });
        assert_eq!(
            (got.as_slice(), trailers["grpc-status"].as_bytes()),
            (octets, status.as_bytes()),
            "{health:?}"
        );
    }
}

#[test]
fn a_mailbox_keeps_what_it_is_given() {
    let Some(ns) = namespace() else { return };
    let mailbox = Mailbox::start(&ns, ADDRESS).expect("a server");
    let dialogue = |lines: &[&str]| -> Vec<String> {
        let mut stream = connect(&ns);
        let mut answers = BufReader::new(stream.try_clone().expect("the same"));
        let mut codes = Vec::new();
        for line in [None].into_iter().chain(lines.iter().map(Some)) {
            if let Some(line) = line {
                write!(stream, "{line}\r\n").expect("taken");
            }
            let mut answer = String::new();
            answers.read_line(&mut answer).expect("an answer");
            codes.push(answer.chars().take(3).collect());
        }
        codes
    };
    mailbox.refuse(1);
    assert_eq!(dialogue(&[]), ["421"]);
    let text = "Subject: one\r\n two\r\n\r\n..dot\r\n.";
    let lines =
        ["HELO lb", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "RCPT TO:<e@f.test>", "DATA", text, "QUIT"];
    assert_eq!(dialogue(&lines), ["220", "250", "250", "250", "250", "354", "250", "221"]);
    let mail = mailbox.expect("one two", Duration::ZERO).expect("a mail");
    assert_eq!((mail.helo.as_str(), mail.from.as_str()), ("lb", "a@b.test"));
    assert_eq!(
        (mail.to, mail.body),
        (vec!["c@d.test".to_owned(), "e@f.test".to_owned()], vec![".dot".to_owned()])
    );
    wait::until("both connections", Duration::from_secs(5), || (mailbox.connections() == 2).then_some(()))
        .expect("counted");
}

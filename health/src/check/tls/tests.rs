use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::check::http::run;
use crate::state::Verdict;
use crate::tls::{TlsFiles, TlsSettings};
use crate::types::HttpProtocol;

const OK: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";
const LIMIT: Duration = Duration::from_millis(700);

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Authority::called("one")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(vec!["authority".into()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str, days: i64) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        let now = SystemTime::now();
        let days_away = Duration::from_secs(days.unsigned_abs() * 86_400 + 3600);
        params.not_before = (now - Duration::from_secs(400 * 86_400)).into();
        params.not_after = if days < 0 { now - days_away } else { now + days_away }.into();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    fn server(&self, name: &str, days: i64) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign(name, days);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Arc::new(builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }

    /// A server that wants a client certificate of this authority.
    fn asking(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign("localhost", 90);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Arc::new(
            builder().with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key).unwrap(),
        )
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// What a server does on one connection.
#[derive(Clone)]
enum Act {
    /// TLS; then these octets, and close_notify before the end or not.
    Answer(Arc<ServerConfig>, &'static [u8], Close),
    /// Octets without TLS after the client's first ones, then the end.
    Raw(Vec<u8>),
    /// Never a word.
    Hang,
    Reset,
}

#[derive(Clone, Copy, PartialEq)]
enum Close {
    Notify,
    Silent,
    /// Stays open.
    Never,
    /// One octet every 50 ms, for ever.
    Trickle,
}

/// Serves connection after connection; gives the server names it saw.
async fn serve(listener: TcpListener, acts: Vec<Act>) -> Vec<Option<String>> {
    let mut names = Vec::new();
    for act in acts {
        let (mut stream, _) = listener.accept().await.unwrap();
        match act {
            Act::Answer(config, octets, close) => {
                let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else {
                    names.push(None);
                    continue;
                };
                names.push(stream.get_ref().1.server_name().map(str::to_owned));
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await;
                let _sent = stream.write_all(octets).await;
                let _flushed = stream.flush().await;
                match close {
                    Close::Notify => {
                        let _closed = stream.shutdown().await;
                    }
                    Close::Silent => {}
                    Close::Never => std::future::pending().await,
                    Close::Trickle => loop {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        if stream.write_all(b"x").await.is_err() || stream.flush().await.is_err() {
                            break;
                        }
                    },
                }
            }
            Act::Raw(octets) => {
                let mut hello = [0; 2048];
                let _read = stream.read(&mut hello).await;
                let _sent = stream.write_all(&octets).await;
            }
            Act::Hang => std::future::pending().await,
            Act::Reset => stream.set_zero_linger().unwrap(),
        }
    }
    names
}

#[derive(Default)]
struct Ask {
    tls: TlsCheck,
    host: Option<&'static str>,
    server_name: Option<&'static str>,
    compliant: bool,
}

async fn ask(ask: Ask, client: &TlsClient, acts: Vec<Act>) -> (Outcome, Vec<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connection = Connection {
        target: listener.local_addr().unwrap(),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: LIMIT,
        fwmark: None,
    };
    let url = Url {
        path: "/".into(),
        host: ask.host.map(str::to_owned),
        server_name: ask.server_name.map(Into::into),
        tls_compliant: ask.compliant,
        ..Url::default()
    };
    let http = HttpCheck {
        connection,
        urls: vec![url],
        protocol: HttpProtocol::V1_0,
        fast_recovery: false,
        tls: Some(ask.tls),
    };
    let server = tokio::spawn(serve(listener, acts));
    let outcome = run(&http, 0, client).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let names = if server.is_finished() { server.await.unwrap() } else { Vec::new() };
    (outcome, names)
}

fn hello(version: u8, cipher: u16) -> Act {
    let mut octets = vec![22, 3, version, 0, 42, 2, 0, 0, 38, 3, version];
    octets.extend([7; 32]);
    octets.push(0);
    octets.extend(cipher.to_be_bytes());
    octets.push(0);
    Act::Raw(octets)
}

fn alert(description: u8) -> Act {
    Act::Raw(vec![21, 3, 1, 0, 2, 2, description])
}

fn plain() -> TlsClient {
    TlsClient::new(TlsSettings::default())
}

#[tokio::test]
async fn outcomes() {
    use Close::{Never, Notify, Silent, Trickle};
    let authority = Authority::new();
    let server = authority.server("other.example", 90);
    let answer = |close| vec![Act::Answer(server.clone(), OK, close)];
    let compliant = || Ask { compliant: true, ..Ask::default() };
    let client_certificate =
        "the server refused with TLS alert handshake_failure: does it want a client certificate (`SSL`)?";
    for (name, asked, acts, good, want) in [
        ("any certificate is taken", Ask::default(), answer(Notify), true, "status 200"),
        ("an end without close_notify is an end", Ask::default(), answer(Silent), true, "status 200"),
        ("tls_compliant", compliant(), answer(Notify), true, "status 200"),
        (
            "tls_compliant without close_notify",
            compliant(),
            answer(Silent),
            false,
            "connection closed without close_notify (tls_compliant) after 24 octets",
        ),
        (
            "wrong status",
            Ask::default(),
            vec![Act::Answer(server.clone(), b"HTTP/1.0 503 X\r\n\r\n", Notify)],
            false,
            "status 503, wanted 200-299",
        ),
        (
            "no answer",
            Ask::default(),
            vec![Act::Answer(server.clone(), b"", Notify)],
            false,
            "no data received",
        ),
        (
            "hangs before its hello",
            Ask::default(),
            vec![Act::Hang],
            false,
            "TLS handshake not complete after 0.7 s",
        ),
        (
            "hangs before its answer",
            Ask::default(),
            vec![Act::Answer(server.clone(), b"", Never)],
            false,
            "no answer after 0.7 s",
        ),
        (
            "one octet after the other",
            Ask::default(),
            answer(Trickle),
            false,
            "answer not complete after 0.7 s",
        ),
        (
            "closes at once",
            Ask::default(),
            vec![Act::Raw(Vec::new())],
            false,
            "connection closed by the server in the TLS handshake",
        ),
        (
            "HTTP instead of TLS",
            Ask::default(),
            vec![Act::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())],
            false,
            "no TLS: the server answered \"HTTP/1.1 400 Bad Request\\r\\n\\r\\n\"",
        ),
        ("garbage", Ask::default(), vec![Act::Raw(vec![0xff; 99])], false, {
            "no TLS: the server answered \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff…\""
        }),
        (
            "TLS 1.1 alone",
            Ask::default(),
            vec![hello(2, 0xc013)],
            false,
            "the server offers only TLS 1.1, TLS 1.2 or 1.3 is needed",
        ),
        (
            "SSL 3.0 alone",
            Ask::default(),
            vec![hello(0, 0x0005)],
            false,
            "the server offers only SSL 3.0, TLS 1.2 or 1.3 is needed",
        ),
        (
            "TLS 1.0 alone, told by an alert first",
            Ask::default(),
            vec![alert(70), hello(1, 0x002f)],
            false,
            "the server offers only TLS 1.0, TLS 1.2 or 1.3 is needed",
        ),
        (
            "no common cipher",
            Ask::default(),
            vec![alert(40), hello(3, 0x002f)],
            false,
            "no common cipher: with TLS 1.2 the server would take 0x002f",
        ),
        ("refuses both questions", Ask::default(), vec![alert(40), alert(40)], false, client_certificate),
        (
            "refuses, then has no answer",
            Ask::default(),
            vec![alert(40), Act::Hang],
            false,
            client_certificate,
        ),
        (
            "refuses the name",
            Ask::default(),
            vec![alert(112), alert(112)],
            false,
            "the server refused with TLS alert unrecognized_name: see `enable_sni` and `sni_name`",
        ),
        (
            "an alert nobody knows",
            Ask::default(),
            vec![alert(80), alert(80)],
            false,
            "the server refused with TLS alert internal_error",
        ),
    ] {
        let began = std::time::Instant::now();
        let (outcome, _) = ask(asked, &plain(), acts).await;
        let verdict = matches!(outcome.verdict, Verdict::Good(_));
        assert_eq!((verdict, &*outcome.reason), (good, want), "{name}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
    }
    // Reset by the kernel: before or in the handshake, as it comes.
    let (outcome, _) = ask(Ask::default(), &plain(), vec![Act::Reset]).await;
    assert!(outcome.reason.starts_with("connection reset by the server"), "{}", outcome.reason);
}

/// A handshake that goes wrong later on ends with rustls's own words.
#[tokio::test]
async fn broken_tls() {
    let Act::Raw(mut octets) = hello(3, 0xc02f) else { panic!("octets") };
    octets.extend([22, 3, 3, 0, 4, 99, 0, 0, 0]);
    for (name, octets) in
        [("an unknown message", octets), ("an unreadable hello", vec![22, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3])]
    {
        let (outcome, _) = ask(Ask::default(), &plain(), vec![Act::Raw(octets)]).await;
        assert_eq!(outcome.verdict, Verdict::Bad, "{name}");
        assert!(outcome.reason.starts_with("TLS handshake failed: "), "{name}: {}", outcome.reason);
    }
}

#[tokio::test]
async fn server_names() {
    let server = Authority::new().server("localhost", 90);
    for (name, sent, want) in [
        ("none", None, None),
        ("a name", Some("www.example.net"), Some("www.example.net")),
        ("without its port", Some("www.example.net:443"), Some("www.example.net")),
        ("an address is not sent", Some("192.0.2.1"), None),
        ("an address with a port", Some("[2001:db8::1]:443"), None),
        ("no name at all", Some("not a name"), None),
    ] {
        let asked = Ask { server_name: sent, ..Ask::default() };
        let (outcome, names) =
            ask(asked, &plain(), vec![Act::Answer(server.clone(), OK, Close::Notify)]).await;
        assert_eq!(&*outcome.reason, "status 200", "{name}");
        assert_eq!(names, [want.map(str::to_owned)], "{name}");
    }
}

/// A folder with the files of an `SSL` block.
fn client(name: &str, authority: &Authority, own: bool) -> TlsClient {
    let folder = std::env::temp_dir().join(format!("lbd-check-tls-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        Some(folder.join(name))
    };
    let (certificate, key) = authority.sign("client", 90);
    let pem = |der: &[u8]| {
        use base64ct::Encoding;
        let text = base64ct::Base64::encode_string(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let files = TlsFiles {
        password: None,
        ca: write("ca", authority.0.pem()),
        certificate: write("certificate", pem(&certificate)).filter(|_| own),
        key: write("key", key.serialize_pem()).filter(|_| own),
    };
    let settings = TlsSettings::load(&files, true).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    TlsClient::new(settings)
}

#[tokio::test]
async fn verification() {
    let (ours, others) = (Authority::new(), Authority::called("two"));
    let client = client("verification", &ours, false);
    let verify = TlsCheck { verify: true, expiry_warning: None };
    let host = |host| Ask { tls: verify, host: Some(host), ..Ask::default() };
    for (name, asked, server, want, sent) in [
        (
            "by host, nothing sent",
            host("www.example.net"),
            ours.server("www.example.net", 90),
            "status 200",
            None,
        ),
        (
            "host with a port",
            host("www.example.net:8443"),
            ours.server("www.example.net", 90),
            "status 200",
            None,
        ),
        (
            "by server name",
            Ask { server_name: Some("sni.example"), ..host("www.example.net") },
            ours.server("sni.example", 90),
            "status 200",
            Some("sni.example"),
        ),
        (
            "by address",
            Ask { tls: verify, ..Ask::default() },
            ours.server("127.0.0.1", 90),
            "status 200",
            None,
        ),
        (
            "another name",
            host("www.example.net"),
            ours.server("other.example", 90),
            "certificate: it is not for www.example.net",
            None,
        ),
        (
            "another address",
            Ask { tls: verify, ..Ask::default() },
            ours.server("192.0.2.1", 90),
            "certificate: it is not for 127.0.0.1",
            None,
        ),
        (
            "another authority",
            host("www.example.net"),
            others.server("www.example.net", 90),
            "certificate: no authority of `ca` (or of the system) has signed it",
            None,
        ),
        (
            "expired",
            host("www.example.net"),
            ours.server("www.example.net", -1),
            "certificate: it has expired",
            None,
        ),
    ] {
        let (outcome, names) = ask(asked, &client, vec![Act::Answer(server, OK, Close::Notify)]).await;
        assert_eq!(&*outcome.reason, want, "{name}");
        if want == "status 200" {
            assert_eq!(names, [sent.map(str::to_owned)], "{name}");
        }
    }
    let (outcome, _) = ask(host("www.example.net"), &plain(), vec![Act::Hang]).await;
    assert_eq!(outcome.verdict, Verdict::Unknown, "without authorities nothing is concluded");
}

#[tokio::test]
async fn client_certificates() {
    let authority = Authority::new();
    let server = authority.asking();
    let act = || vec![Act::Answer(server.clone(), OK, Close::Notify)];
    let with = client("client", &authority, true);
    let (outcome, _) = ask(Ask::default(), &with, act()).await;
    assert_eq!(outcome, Outcome::good("status 200"));
    let (outcome, _) = ask(Ask::default(), &plain(), act()).await;
    assert_eq!(outcome.verdict, Verdict::Bad);
    assert_eq!(
        &*outcome.reason,
        "the server refused with TLS alert certificate_required: does it want a client certificate (`SSL`)?"
    );
    // What a reload brings counts for the next check.
    let client = plain();
    let before = client.replace(with.settings());
    let (outcome, _) = ask(Ask::default(), &client, act()).await;
    assert_eq!(outcome, Outcome::good("status 200"));
    client.replace(before);
    let (outcome, _) = ask(Ask::default(), &client, act()).await;
    assert_eq!(outcome.verdict, Verdict::Bad);
}

#[tokio::test]
async fn a_certificate_that_expires_is_warned_of() {
    let authority = Authority::new();
    for (name, days, warning, want) in [
        ("far away", 90, Some(14), None),
        ("near", 13, Some(14), Some("certificate expires in 13 days, on ")),
        ("tomorrow", 1, Some(14), Some("certificate expires in 1 day, on ")),
        ("today", 0, Some(14), Some("certificate expires within a day, on ")),
        ("expired", -3, Some(14), Some("certificate expired 3 days ago, on ")),
        ("only when it has expired", -3, Some(0), Some("certificate expired 3 days ago, on ")),
        ("not asked for", 0, None, None),
    ] {
        let asked = Ask { tls: TlsCheck { verify: false, expiry_warning: warning }, ..Ask::default() };
        let acts = vec![Act::Answer(authority.server("localhost", days), OK, Close::Notify)];
        let (outcome, _) = ask(asked, &plain(), acts).await;
        assert_eq!(&*outcome.reason, "status 200", "{name}");
        match (outcome.warning, want) {
            (None, None) => {}
            (Some(got), Some(want)) => {
                let date = got.strip_prefix(want).unwrap_or_else(|| panic!("{name}: {got}"));
                assert_eq!((date.len(), date.matches('-').count()), (10, 2), "{name}: {got}");
            }
            (got, want) => panic!("{name}: {got:?}, wanted {want:?}"),
        }
    }
}

/// A real server of the old kind, where openssl is installed.
#[tokio::test]
async fn an_old_openssl() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let folder = std::env::temp_dir().join(format!("lbd-openssl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    std::fs::write(folder.join("c"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("k"), key.serialize_pem()).unwrap();
    for (options, want) in [
        (
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
            "the server offers only TLS 1.1, TLS 1.2 or 1.3 is needed",
        ),
        (
            &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
            "the server offers only TLS 1.0, TLS 1.2 or 1.3 is needed",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
            "no common cipher: with TLS 1.2 the server would take 0xc009",
        ),
    ] {
        let child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(folder.join("c"))
            .arg("-key")
            .arg(folder.join("k"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            lbd_integration::skip::report("an_old_openssl", "openssl is not installed");
            break;
        };
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse::<u16>().ok());
        let connection = Connection {
            target: ([127, 0, 0, 1], port.expect("it listens")).into(),
            bind_address: None,
            bind_port: None,
            bind_interface: None,
            timeout: Duration::from_secs(10),
            fwmark: None,
        };
        let http = HttpCheck {
            connection,
            urls: vec![Url { path: "/".into(), ..Url::default() }],
            protocol: HttpProtocol::V1_0,
            fast_recovery: false,
            tls: Some(TlsCheck::default()),
        };
        let outcome = run(&http, 0, &plain()).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(&*outcome.reason, want, "{options:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

use std::sync::Arc;

use lbd_grammar::config::MailHost;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::Settings;
use super::*;

/// How a relay answers; the rest is answered as it should be.
#[derive(Clone, Copy)]
enum Relay {
    Good,
    /// To commands that begin so.
    Says(&'static str, &'static str),
    /// Twice or more.
    SaysBoth([(&'static str, &'static str); 2]),
    /// Never answers those.
    Hangs(&'static str),
    /// Closes the connection at those.
    Closes(&'static str),
    /// One octet in a while, no line.
    Drips,
    /// Octets without end and without a line.
    Floods,
}

/// A relay on loopback. Connections are answered by `plan` in their order, those after it by its last.
/// What it took: the commands and the message of each connection.
struct Server {
    address: std::net::SocketAddr,
    taken: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    async fn new(plan: Vec<Relay>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = taken.clone();
        tokio::spawn(async move {
            let mut plan = plan.into_iter();
            let mut last = plan.next().expect("a plan");
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let place = log.lock().expect("log").len();
                log.lock().expect("log").push(Vec::new());
                tokio::spawn(serve(stream, last, log.clone(), place));
                last = plan.next().unwrap_or(last);
            }
        });
        Server { address, taken }
    }

    fn taken(&self) -> Vec<Vec<String>> {
        self.taken.lock().expect("log").clone()
    }

    fn letter(&self, subject: &str) -> Letter {
        self.letter_to(subject, &["ops@example.org"])
    }

    fn letter_to(&self, subject: &str, to: &[&str]) -> Letter {
        let settings = Settings {
            server: MailServer {
                host: MailHost::Address(self.address.ip()),
                port: self.address.port().try_into().expect("a port"),
            },
            from: "Load Balancer <lb@example.org>".into(),
            to: to.iter().map(ToString::to_string).collect(),
            helo: "lb1".into(),
            limit: Duration::from_millis(300),
            router_id: "LB1".into(),
        };
        Letter {
            subject: subject.into(),
            body: ".a dot first".into(),
            at: std::time::SystemTime::UNIX_EPOCH,
            settings: Arc::new(settings),
        }
    }

    /// Subjects in the order in which they were taken.
    async fn subjects(&self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let taken: Vec<String> = self
                .taken()
                .into_iter()
                .filter(|lines| lines.iter().any(|line| line == "."))
                .flat_map(|lines| {
                    lines.into_iter().filter_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
                })
                .collect();
            if taken.len() >= count {
                return taken;
            }
            assert!(Instant::now() < deadline, "only {taken:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn serve(stream: TcpStream, relay: Relay, log: Arc<Mutex<Vec<Vec<String>>>>, place: usize) {
    let mut stream = BufReader::new(stream);
    match relay {
        Relay::Drips => {
            while stream.write_all(b"2").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return;
        }
        Relay::Floods => {
            while stream.write_all(&[b'2'; 4096]).await.is_ok() {}
            return;
        }
        _ => {}
    }
    let answer = |command: &str, usual: &'static str| -> Option<&'static str> {
        match relay {
            Relay::Says(to, text) if command.starts_with(to) => Some(text),
            Relay::SaysBoth(both) => {
                Some(both.iter().find(|(to, _)| command.starts_with(to)).map_or(usual, |(_, text)| *text))
            }
            Relay::Hangs(at) if command.starts_with(at) => None,
            Relay::Closes(at) if command.starts_with(at) => Some(""),
            _ => Some(usual),
        }
    };
    let (mut message, mut line) = (false, String::from("GREETING"));
    loop {
        let usual = match line.split(' ').next() {
            Some("GREETING") => "220-relay\r\n220 ready\r\n",
            Some("DATA") => "354 go on\r\n",
            Some("QUIT") => "221 bye\r\n",
            _ => "250-relay\r\n250 fine\r\n",
        };
        if !message || line == "." {
            match answer(&line, usual) {
                Some("") => return,
                Some(text) => {
                    if stream.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                    message = text.starts_with("354");
                }
                None => {
                    // Until the other side gives up.
                    let mut rest = Vec::new();
                    let _closed = stream.read_to_end(&mut rest).await;
                    return;
                }
            }
        }
        let mut octets = String::new();
        match stream.read_line(&mut octets).await {
            Ok(1..) => {}
            _ => return,
        }
        line = octets.trim_end().to_owned();
        log.lock().expect("log")[place].push(line.clone());
    }
}

fn quick() -> Pace {
    Pace {
        relay_first: Duration::from_millis(20),
        relay_longest: Duration::from_millis(50),
        mail_first: Duration::from_millis(20),
        refusals: 3,
        age: Duration::from_secs(10),
    }
}

async fn settled(outbox: &Outbox) {
    let mut pending = outbox.inner.pending.subscribe();
    let all = pending.wait_for(|pending| *pending == 0);
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("settled").expect("there");
}

#[tokio::test]
async fn the_talk_line_by_line() {
    let server = Server::new(vec![Relay::Good]).await;
    let outbox = Outbox::start(quick());
    outbox.push(server.letter_to("one", &["ops@example.org", "Two <two@example.org>"]));
    server.subjects(1).await;
    settled(&outbox).await;
    assert_eq!(
        server.taken(),
        [[
            "HELO lb1",
            "MAIL FROM:<lb@example.org>",
            "RCPT TO:<ops@example.org>",
            "RCPT TO:<two@example.org>",
            "DATA",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000",
            "From: Load Balancer <lb@example.org>",
            "Subject: one",
            "X-Mailer: Keepalived",
            "To: ops@example.org, Two <two@example.org>",
            "",
            "..a dot first",
            "",
            ".",
            "QUIT",
        ]]
    );
    assert_eq!(outbox.given_up(), 0);
}

#[tokio::test]
async fn one_after_the_other_in_order() {
    let server = Server::new(vec![Relay::Good]).await;
    let outbox = Outbox::start(quick());
    let all: Vec<String> = (0..50).map(|one| one.to_string()).collect();
    for one in &all {
        outbox.push(server.letter(one));
    }
    assert_eq!(server.subjects(50).await, all);
}

/// Relays that take the second mail, what they did to the first attempt, and how often the mail is
/// handed over in the end.
#[tokio::test]
async fn tried_again() {
    for (name, relay) in [
        ("greeting 421", Relay::Says("GREETING", "421 too busy\r\n")),
        ("greeting 554", Relay::Says("GREETING", "554 go away\r\n")),
        ("HELO 550", Relay::Says("HELO", "550 who?\r\n")),
        ("HELO 421", Relay::Says("HELO", "421-not\r\n421 now\r\n")),
        ("MAIL 451", Relay::Says("MAIL", "451 try later\r\n")),
        ("RCPT 450", Relay::Says("RCPT", "450 greylisted\r\n")),
        ("DATA 250", Relay::Says("DATA", "250 what?\r\n")),
        ("DATA 452", Relay::Says("DATA", "452 disk full\r\n")),
        ("the message 451", Relay::Says(".", "451 no\r\n")),
        ("hangs at once", Relay::Hangs("GREETING")),
        ("hangs at MAIL", Relay::Hangs("MAIL")),
        ("hangs at the end", Relay::Hangs(".")),
        ("closes at once", Relay::Closes("GREETING")),
        ("closes at DATA", Relay::Closes("DATA")),
        ("closes at the end", Relay::Closes(".")),
        ("garbage", Relay::Says("GREETING", "\x00\x01\u{ff}garbage\r\n")),
        ("blanks", Relay::Says("HELO", "250-a\r\n250  \r\n")),
        ("codes that differ", Relay::Says("HELO", "250-a\r\n550 b\r\n")),
        ("drips", Relay::Drips),
        ("floods", Relay::Floods),
    ] {
        let server = Server::new(vec![relay, Relay::Good]).await;
        let outbox = Outbox::start(quick());
        outbox.push(server.letter(name));
        let began = Instant::now();
        assert_eq!(server.subjects(1).await[0], name);
        settled(&outbox).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
        assert_eq!(outbox.given_up(), 0, "{name}");
    }
}

#[tokio::test]
async fn not_tried_again() {
    for (name, relay) in [
        ("MAIL 550", Relay::Says("MAIL", "550 no\r\n")),
        ("RCPT 550", Relay::Says("RCPT", "550-no\r\n550 such user\r\n")),
        ("DATA 554", Relay::Says("DATA", "554 no\r\n")),
        ("the message 552", Relay::Says(".", "552 too big\r\n")),
    ] {
        let server = Server::new(vec![relay, Relay::Good]).await;
        let outbox = Outbox::start(quick());
        outbox.push(server.letter(name));
        settled(&outbox).await;
        assert_eq!(outbox.given_up(), 1, "{name}");
        assert_eq!(server.taken().len(), 1, "{name}");
        // The next one goes.
        outbox.push(server.letter("next"));
        settled(&outbox).await;
        assert_eq!(server.subjects(1).await.last().map(String::as_str), Some("next"), "{name}");
    }
}

#[tokio::test]
async fn recipients_stand_for_themselves() {
    let both =
        Relay::SaysBoth([("RCPT TO:<gone@", "550 no such user\r\n"), ("RCPT TO:<grey@", "451 later\r\n")]);
    let server = Server::new(vec![both, Relay::Good]).await;
    let outbox = Outbox::start(quick());
    outbox.push(server.letter_to("one", &["gone@a", "good@a", "grey@a", "no address"]));
    server.subjects(2).await;
    settled(&outbox).await;
    let recipients: Vec<Vec<String>> = server
        .taken()
        .into_iter()
        .map(|lines| lines.into_iter().filter(|line| line.starts_with("RCPT")).collect())
        .collect();
    assert_eq!(
        recipients,
        [vec!["RCPT TO:<gone@a>", "RCPT TO:<good@a>", "RCPT TO:<grey@a>"], vec!["RCPT TO:<grey@a>"]]
    );
    // The one that is refused, the one that is none.
    assert_eq!(outbox.given_up(), 2);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_holds_up_no_other_and_is_given_up_in_the_end() {
    let server = Server::new(vec![Relay::Says("MAIL", "451 no\r\n"), Relay::Good]).await;
    let outbox = Outbox::start(Pace { mail_first: Duration::from_millis(300), ..quick() });
    outbox.push(server.letter("first"));
    outbox.push(server.letter("second"));
    assert_eq!(server.subjects(2).await, ["second", "first"]);
    let never = Server::new(vec![Relay::Says("MAIL", "451 no\r\n")]).await;
    let outbox = Outbox::start(quick());
    outbox.push(never.letter("never"));
    settled(&outbox).await;
    assert_eq!((outbox.given_up(), never.taken().len()), (1, 3));
}

#[tokio::test]
async fn nobody_there_is_tried_until_the_mail_is_too_old() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let server = Server { address, taken: Arc::default() };
    let outbox = Outbox::start(Pace { age: Duration::from_millis(300), ..quick() });
    for one in ["one", "two", "three"] {
        outbox.push(server.letter(one));
    }
    let began = Instant::now();
    settled(&outbox).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(outbox.given_up(), 3);
}

#[tokio::test]
async fn too_many_push_the_oldest_out() {
    let server = Server::new(vec![Relay::Hangs("GREETING"), Relay::Good]).await;
    let outbox = Outbox::start(quick());
    outbox.push(server.letter("under way"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.taken().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for one in 0..WAITING + 3 {
        outbox.push(server.letter(&one.to_string()));
    }
    assert_eq!(outbox.pushed_out(), 3);
    let subjects = server.subjects(WAITING + 1).await;
    assert_eq!(subjects[..2], ["under way", "3"]);
    assert_eq!(subjects.last(), Some(&(WAITING + 2).to_string()));
    settled(&outbox).await;
}

#[tokio::test]
async fn at_the_stop_each_is_tried_once_more_within_the_limit() {
    let server = Server::new(vec![Relay::Says("GREETING", "421 busy\r\n"), Relay::Good]).await;
    let outbox = Outbox::start(Pace { relay_first: Duration::from_secs(60), ..quick() });
    outbox.push(server.letter("one"));
    outbox.push(server.letter("two"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.taken().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    outbox.drain(Duration::from_secs(10)).await;
    assert_eq!(server.subjects(2).await, ["one", "two"]);

    let hangs = Server::new(vec![Relay::Hangs("MAIL")]).await;
    let outbox = Outbox::start(quick());
    for _ in 0..100 {
        outbox.push(hangs.letter("never"));
    }
    let began = Instant::now();
    outbox.drain(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// What the log says of a relay that does not do its part.
#[tokio::test]
async fn reasons() {
    let later = |text: &str| Failure::Later(text.to_owned());
    let relay = |text: &str| Failure::Relay(text.to_owned());
    for (plan, want) in [
        (Relay::Says("GREETING", "421 busy\r\n"), relay("greeting: refused with 421 busy")),
        (Relay::Closes("GREETING"), relay("greeting: the relay closed the connection")),
        (Relay::Hangs("HELO"), relay("HELO: no answer within 0.3 s")),
        (Relay::Says("HELO", "nonsense\r\n"), relay("HELO: the answer is not SMTP")),
        (Relay::Says("HELO", "354 go on\r\n"), relay("HELO: answered 354, wanted 250")),
        (Relay::Floods, relay("greeting: the answer exceeds 65536 octets")),
        (
            Relay::Says("MAIL", "550 5.1.8 bad\x07sender\r\n"),
            Failure::Never("MAIL: refused with 550 5.1.8 bad sender".into()),
        ),
        (Relay::Closes("DATA"), later("DATA: the relay closed the connection")),
        (Relay::Says(".", "451 no\r\n"), later("the message: refused with 451 no")),
        (Relay::Hangs("."), later("the message: no answer within 0.3 s")),
    ] {
        let server = Server::new(vec![plan]).await;
        let letter = server.letter("one");
        let Settings { server: relay, helo, limit, from, to, .. } = &*letter.settings;
        let got = smtp::send(relay, helo, *limit, from, to, &message(&letter)).await;
        assert_eq!(got, Err(want));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port().try_into().expect("a port");
    drop(listener);
    let (limit, to) = (Duration::from_secs(5), ["ops@example.org".to_owned()]);
    for (host, from, want) in [
        (MailHost::Address([127, 0, 0, 1].into()), "a@b", "Connection refused"),
        (MailHost::Name("localhost".into()), "a@b", "Connection refused"),
        (MailHost::Name("localhost".into()), "a b", "the sender \"a b\" is no mail address"),
        (MailHost::Name("no..such..name".into()), "a@b", "no..such..name is not found"),
    ] {
        let relay = MailServer { host, port };
        match smtp::send(&relay, "lb1", limit, from, &to, b"").await {
            Err(Failure::Relay(text) | Failure::Never(text)) => assert!(text.contains(want), "{text}"),
            other => panic!("{other:?}, wanted {want}"),
        }
    }
}

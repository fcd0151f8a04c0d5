//! All kinds of broken and malicious real servers at once, beside healthy ones: each is seen for what it is, in bounded time
//! and memory, and no check of the others is late.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::director::Director;
use crate::fifo::executable;
use crate::netns::Netns;
use crate::process::tree;
use crate::servers::stream::{Behaviour, Stream};
use crate::servers::tls::{self, Page};
use crate::servers::udp::{Answer, Datagrams};
use crate::servers::{Server, dns, hostile, talk};
use crate::{step, table, wait};

/// connect_timeout of all checks here.
const TIMEOUT: Duration = Duration::from_millis(500);
/// A whole answer may take ten times that; the first check comes a second after the start, later ones every three seconds.
const SEEN_THROUGH: Duration = Duration::from_secs(12);
/// A healthy check that begins so long after it was due is late; in a guest with one processor, shared with all the servers.
const LATE: Duration = Duration::from_millis(300);
/// What none may be.
const VERY_LATE: Duration = Duration::from_secs(1);
/// Most memory that lbd may ever have had, in kB. It has the programs of two TLS and HTTP/2 clients and some 30 checks.
const MOST_MEMORY: u64 = 64 * 1024;
/// Most lines it may have logged.
const MOST_LINES: usize = 400;

/// A bad server and what is to be said of it.
struct Bad {
    name: &'static str,
    check: String,
    server: Kind,
    /// State of the check, and words of its reason.
    want: (&'static str, &'static str),
}

enum Kind {
    Tcp(Behaviour),
    Udp(Answer),
    None,
}

fn bad_servers(dir: &Path) -> Result<Vec<Bad>> {
    let page = Page::new(200, "all is well");
    let tcp = |name, check: &str, behaviour, reason| Bad {
        name,
        check: check.to_owned(),
        server: Kind::Tcp(behaviour),
        want: ("down", reason),
    };
    let udp = |name, check: &str, answer, want| Bad {
        name,
        check: check.to_owned(),
        server: Kind::Udp(answer),
        want,
    };
    let script = |name: &'static str, limit: u32, body: &str, reason| -> Result<Bad> {
        let path = executable(dir, &name.replace(' ', "-"), body)?;
        let check = format!("MISC_CHECK {{\nmisc_path {}\nmisc_timeout {limit}\n}}", path.display());
        Ok(Bad { name, check, server: Kind::None, want: ("down", reason) })
    };
    let http = "HTTP_GET {\nurl {\npath /\n}\n}";
    let digest = "HTTP_GET {\nurl {\npath /\ndigest 4409bb950a3826c313c34b46b429ac84\n}\n}";
    let ssl = "SSL_GET {\nurl {\npath /\n}\n}";
    let verified = "SSL_GET {\nverify\nurl {\npath /\n}\n}";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nall is well\r\n";
    let reply = "UDP_CHECK {\npayload 00\nrequire_reply 01\n}";
    let dns_check = "DNS_CHECK {\ntype A\nname www.test\n}";
    let dialogue = "TCP_CHECK {\nsend \"PING\\r\\n\"\nexpect \"+PONG\"\n}";
    let second = Duration::from_secs(1);
    let mut all = vec![
        tcp("hanging HTTP", http, hostile::hangs(), "no answer after 0.5 s"),
        tcp("resetting HTTP", http, hostile::resets(), "reset"),
        tcp(
            "an octet a second",
            http,
            hostile::trickles("HTTP/1.1 200 OK\r\n", second),
            "stopped after 1 octets",
        ),
        tcp(
            "an octet every 100 ms",
            http,
            hostile::trickles("HTTP/1.1 200 OK\r\nA: b\r\n", second / 10),
            "not complete after 5 s",
        ),
        tcp(
            "endless header",
            http,
            hostile::floods("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n".repeat(100), Duration::ZERO),
            "header larger than",
        ),
        tcp(
            "endless body",
            http, // The guest has one processor, and the sender's share of it is not to be what is measured.
            hostile::floods("HTTP/1.1 200 OK\r\n\r\n", "x".repeat(32_768), second / 500),
            "",
        ),
        tcp("wrong chunks", digest, hostile::answers_with(chunked), "digest"),
        tcp(
            "octets instead of HTTP",
            http,
            hostile::answers_with([0, 255, 1, 254, 13, 10]),
            "within the header",
        ),
        tcp("hanging TLS", ssl, hostile::hangs(), "TLS handshake not complete after 0.5 s"),
        tcp("mail instead of TLS", ssl, talk::says_and_stays("220 mail.test ESMTP\r\n"), "no TLS"),
        tcp("TLS 1.0", ssl, tls::old(tls::TLS_1_0), "TLS 1.0"),
        tcp("TLS 1.1", ssl, tls::old(tls::TLS_1_1), "TLS 1.1"),
        tcp("TLS alert", ssl, tls::alert(40), "handshake_failure"),
        tcp("certificate of nobody", verified, tls::https("10.1.0.21", 2099, &page)?, "no authority"),
        tcp("expired certificate", verified, tls::https("10.1.0.21", 2001, &page)?, "expired"),
        tcp(
            "octets instead of mail",
            "SMTP_CHECK {\n}",
            hostile::greets_for_ever([200, 0, 7]),
            "no line of up to 512",
        ),
        tcp("silent mail", "SMTP_CHECK {\n}", hostile::hangs(), "no greeting after 0.5 s"),
        tcp(
            "endless dialogue",
            dialogue,
            hostile::greets_for_ever("pong ".repeat(2000)),
            "in the first 64 KiB",
        ),
        tcp("hanging gRPC", "GRPC_CHECK {\n}", hostile::hangs(), "after 0.5 s"),
        tcp(
            "HTTP/1.1 instead of gRPC",
            "GRPC_CHECK {\n}",
            hostile::answers_with("HTTP/1.1 400 No\r\n\r\n"),
            "",
        ),
        // What comes after the header is not looked at, as keepalived does not either.
        udp("truncated DNS", dns_check, dns::truncated(), ("up", "rcode NOERROR")),
        udp("forged DNS", dns_check, dns::forged(), ("down", "no answer")),
        udp("looped DNS", dns_check, dns::looped(), ("up", "rcode NOERROR")),
        udp("stump of DNS", dns_check, dns::stump(), ("down", "no answer")),
        udp("silent UDP", reply, Answer::silence(), ("down", "no answer after 0.5 s")),
        udp("other UDP", reply, Answer::always([2; 40_000]), ("down", "longer than 255 octets")),
        script("hanging script", 1, "sleep 1009 & sleep 1009 & sleep 1009", "timed out after 1 s")?,
        script("deaf script", 1, "trap '' TERM; while :; do sleep 1; done", "timed out after 1 s")?,
        script("loud script", 1, "yes megabytes-of-this", "timed out after 1 s")?,
        script("dying script", 5, "kill -SEGV $$", "killed by signal 11")?,
    ];
    // An agent that talks nonsense says nothing about its server, but that it does is to be seen.
    all.push(Bad {
        name: "endless agent",
        check: "AGENT_CHECK {\n}".to_owned(),
        server: Kind::Tcp(hostile::greets_for_ever("up and ")),
        want: ("", "longer than 4096"),
    });
    Ok(all)
}

/// The healthy ones: name and check of each.
const GOOD: [(&str, u16, &str); 4] = [
    ("TCP", 9001, "TCP_CHECK {\n}"),
    ("HTTP", 9002, "HTTP_GET {\nurl {\npath /\n}\n}"),
    ("DNS", 9003, "DNS_CHECK {\n}"),
    ("script", 9004, "MISC_CHECK {\nmisc_path /bin/true\nmisc_timeout 2\n}"),
];

pub fn hostile(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(2)?;
    let folder = tempfile::Builder::new().prefix("lbd-hostile-").tempdir()?;
    let dir = folder.path();
    let authority = dir.join("authority.pem");
    fs::write(&authority, tls::certificate("authority.test")?)?;
    let bad = bad_servers(dir)?;
    let r1 = lab.host("r1");
    let mut streams = Vec::new();
    let mut sockets = Vec::new();
    let mut config = format!(
        "global_defs {{\n  script_user root\n  enable_script_security\n}}\nSSL {{\n  ca {}\n}}\n",
        authority.display()
    );
    for (port, bad) in (8001..).zip(&bad) {
        let address = format!("0.0.0.0:{port}");
        match &bad.server {
            Kind::Tcp(behaviour) => streams.push(Stream::start(r1, &address, behaviour.clone())?),
            Kind::Udp(answer) => sockets.push(Datagrams::start(r1, &address, answer.clone())?),
            Kind::None => {}
        }
        config += &service(port, 3.0, &behind::real_server(&dest(port), &bad.check));
    }
    let _good = good_servers(lab.host("r2"))?;
    for (_, port, check) in GOOD {
        config += &service(port, 0.5, &behind::real_server(&good_dest(port), check));
    }
    let ns = lab.host("a");
    let start = Instant::now();
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let rhythm = Rhythm::watch(&director, SEEN_THROUGH)?;
    step!("watched {:?} long: {rhythm:?}", start.elapsed());

    let status = director.status()?;
    let mut wrong = Vec::new();
    for (port, bad) in (8001..).zip(&bad) {
        let (state, reason) = behind::check(&status, &key(port), &dest(port)).context(bad.name)?;
        step!("{}: {state}: {reason}", bad.name);
        let (want, words) = bad.want;
        if (!want.is_empty() && state != want) || !reason.contains(words) || reason.is_empty() {
            wrong.push(format!("{}: {state}, {reason:?}, want {want}, {words:?}", bad.name));
        }
        ensure!(reason.len() < 400, "{}: a reason of {} octets", bad.name, reason.len());
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let seen = table::read(ns)?;
    for (port, bad) in (8001..).zip(&bad).filter(|(_, bad)| bad.want.0 == "down") {
        ensure!(
            behind::weight(&seen, &key(port), &dest(port)).is_none(),
            "{} is still in the table",
            bad.name
        );
    }
    for (name, port, _) in GOOD {
        ensure!(behind::weight(&seen, &key(port), &good_dest(port)) == Some(1), "{name} is not in the table");
        let Seen { late, late_ones, count, .. } = rhythm.checks.get(name).copied().unwrap_or_default();
        // What the machine itself is late by can be no fault of the daemon; one may meet a moment in which it is busy.
        ensure!(late_ones <= 1 + count / 20, "{late_ones} of {count} checks of {name} were late: {rhythm:?}");
        ensure!(late <= VERY_LATE + 2 * rhythm.machine, "{name} was late by {late:?}: {rhythm:?}");
    }
    let (memory, log) = (peak_memory(&director)?, director.log());
    step!("at most {memory} kB, {} lines of log", log.lines().count());
    ensure!(memory <= MOST_MEMORY, "lbd had {memory} kB");
    ensure!(log.lines().count() <= MOST_LINES, "{} lines of log", log.lines().count());
    // Scripts do not pile up: one of each that hangs, with what it started, and helpers of the daemon.
    let processes = tree(director.pid()?).len();
    ensure!(processes <= 20, "{processes} processes");
    let pid = director.pid()?;
    ensure!(director.stop()?.success(), "the stop failed");
    wait::until_ok("the scripts' end", Duration::from_secs(5), || {
        let left = scripts_of(dir);
        if left == 0 { Ok(()) } else { Err(format!("{left} processes of scripts after the end of {pid}")) }
    })
}

fn service(port: u16, delay_loop: f64, inside: &str) -> String {
    behind::virtual_server(&format!("{VIP} {port}"), "TCP", inside)
        .replace("delay_loop 0.5", &format!("delay_loop {delay_loop}"))
        .replace("connect_timeout 1", &format!("connect_timeout {}", TIMEOUT.as_secs_f64()))
}

fn key(port: u16) -> String {
    format!("TCP {VIP}:{port}")
}

fn dest(port: u16) -> String {
    format!("10.1.0.21:{port}")
}

fn good_dest(port: u16) -> String {
    format!("10.1.0.22:{port}")
}

type Good<'lab> = (Stream<'lab>, Server<'lab>, Datagrams<'lab>);

fn good_servers(ns: &Netns) -> Result<Good<'_>> {
    Ok((
        Stream::start(ns, "0.0.0.0:9001", talk::says_and_stays(""))?,
        Server::start(ns, "good", "0.0.0.0:9002")?,
        Datagrams::start(ns, "0.0.0.0:9003", dns::good())?,
    ))
}

/// What was seen of one healthy check.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: u32,
    /// Those that began more than [`LATE`] after they were due.
    late_ones: u32,
    /// The most that it began after it was due.
    late: Duration,
    /// The longest that it took.
    took: Duration,
}

/// When the healthy checks began.
#[derive(Debug)]
struct Rhythm {
    checks: BTreeMap<&'static str, Seen>,
    /// How much too late this machine woke a thread that slept, at worst.
    machine: Duration,
}

impl Rhythm {
    /// Looks at the status again and again.
    fn watch(director: &Director<'_>, time: Duration) -> Result<Self> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let machine = scope.spawn(|| wait::oversleep(&stop));
            let checks = beginnings(director, time);
            stop.store(true, Ordering::Relaxed);
            let machine = machine.join().map_err(|_| anyhow!("the sleeper panicked"))?;
            Ok(Self { checks: checks?, machine })
        })
    }
}

fn beginnings(director: &Director<'_>, time: Duration) -> Result<BTreeMap<&'static str, Seen>> {
    let mut last: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
    let mut seen: BTreeMap<&'static str, Seen> = BTreeMap::new();
    let delay = behind::DELAY_LOOP.as_secs_f64();
    let start = Instant::now();
    while start.elapsed() < time {
        let status = director.peek()?;
        for (name, port, _) in GOOD {
            let server = behind::server(&status, &key(port), &good_dest(port))?;
            let check = &server["checks"][0];
            let (Some(at), Some(took)) = (check["last_at"].as_str(), check["latency_ms"].as_f64()) else {
                continue;
            };
            let end = seconds_of_day(at).with_context(|| format!("last_at {at:?}"))?;
            let begin = end - took / 1000.0;
            let Some((begin_before, end_before)) = last.insert(name, (begin, end)) else { continue };
            if end == end_before {
                continue;
            }
            // A program is started so long after its last start, others so long after their last end.
            let due =
                if name == "script" { (begin_before + delay).max(end_before) } else { end_before + delay };
            if begin - due > LATE.as_secs_f64() {
                seen.entry(name).or_default().late_ones += 1;
                step!("{name}: due at {due:.3}, began at {begin:.3}, ended at {end:.3}: {check}");
            }
            let one = seen.entry(name).or_default();
            one.count += 1;
            if begin > due {
                one.late = one.late.max(Duration::from_secs_f64(begin - due));
            }
            one.took = one.took.max(Duration::from_secs_f64(took / 1000.0));
        }
        wait::pause(Duration::from_millis(100));
    }
    for (name, ..) in GOOD {
        let count = seen.get(name).map_or(0, |one| one.count);
        ensure!(count >= 8, "only {count} checks of {name} in {time:?}: {seen:?}");
    }
    Ok(seen)
}

/// `2026-11-20T21:46:35.187Z` -> 78395.187
fn seconds_of_day(text: &str) -> Option<f64> {
    let (_, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??)
}

/// `VmHWM` of the daemon, in kB.
fn peak_memory(director: &Director<'_>) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", director.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Processes of the bad scripts, and what these started.
fn scripts_of(dir: &Path) -> usize {
    let dir = dir.display().to_string();
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| {
            command.contains(&dir) || command.contains("1009") || command.contains("megabytes-of-this")
        })
        .count()
}

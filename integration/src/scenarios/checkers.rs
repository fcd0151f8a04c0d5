//! Every kind of checker: up, down for two reasons, and up again each time, as the kernel's table and the status show it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Ctx;
use super::behind::{self, VIP};
use crate::director::Daemon;
use crate::fifo::executable;
use crate::netns::Netns;
use crate::servers::grpc::{Health, grpc};
use crate::servers::stream::Stream;
use crate::servers::tls::{Page, https};
use crate::servers::udp::{Answer, Datagrams};
use crate::servers::{Mode, Server, dns, talk};
use crate::step;

/// Time a check may take beside its intervals: connect_timeout, twice.
const TIMEOUTS: Duration = Duration::from_secs(2);

/// A checker on a virtual server of its own, whose port is its real server's, too.
struct Row {
    kind: &'static str,
    port: u16,
    protocol: &'static str,
    check: String,
    /// Words of the reason: when all is well, when nothing is there, when the answer is wrong.
    reasons: [&'static str; 3],
    /// keepalived has no such checker.
    own: bool,
}

impl Row {
    fn key(&self) -> String {
        format!("{} {VIP}:{}", self.protocol, self.port)
    }

    fn dest(&self) -> String {
        let host = if self.kind == "PING_CHECK" { 22 } else { 21 };
        format!("10.1.0.{host}:{}", self.port)
    }
}

/// The rows; files of `dir` say how those are that ask no server.
fn rows(dir: &Path) -> Vec<Row> {
    let row = |kind, port, check: &str, reasons| Row {
        kind,
        port,
        protocol: "TCP",
        check: format!("{kind} {{\n{}\n}}", check.replace("; ", "\n")),
        reasons,
        own: false,
    };
    let udp = |row: Row| Row { protocol: "UDP", ..row };
    let own = |row: Row| Row { own: true, ..row };
    vec![
        row("TCP_CHECK", 7001, "", ["connected", "refused", "refused"]),
        own(row(
            "TCP_CHECK",
            7002,
            "send \"PING\\r\\n\"; expect \"+PONG\"",
            ["+PONG", "refused", "no \"+PONG\""],
        )),
        row(
            "HTTP_GET",
            7003,
            "url {; path /; status_code 200; }",
            ["status 200", "refused", "status 503, wanted 200"],
        ),
        row(
            "SSL_GET",
            7004,
            "url {; path /; digest 4409bb950a3826c313c34b46b429ac84; }",
            ["status 200", "refused", "digest"],
        ),
        row("SMTP_CHECK", 7005, "helo_name lb.test", ["took HELO", "refused", "554"]),
        udp(row(
            "DNS_CHECK",
            7006,
            "type A; name www.test",
            ["rcode NOERROR", "port unreachable", "SERVFAIL"],
        )),
        udp(row(
            "UDP_CHECK",
            7007,
            "payload 70696e67; require_reply 706f6e67; max_reply_length 8",
            ["answered as wanted", "port unreachable", "answer"],
        )),
        row("PING_CHECK", 7008, "", ["answered", "no answer", "no answer"]),
        row("FILE_CHECK", 7009, "track_file health", ["number 0", "number 1", "number -7"]),
        row(
            "MISC_CHECK",
            7010,
            &format!("misc_path \"{}\"; misc_timeout 2", dir.join("misc").display()),
            ["exit status 0", "exit status 1", "killed by signal"],
        ),
        own(row("AGENT_CHECK", 7011, "", ["up", "down", "disk full"])),
        own(row("GRPC_CHECK", 7012, "service shop", ["SERVING", "refused", "NOT_SERVING"])),
    ]
}

/// All that the rows look at.
struct World<'lab> {
    tcp: Stream<'lab>,
    redis: Stream<'lab>,
    http: Server<'lab>,
    tls: Stream<'lab>,
    page: Page,
    smtp: Stream<'lab>,
    dns: Datagrams<'lab>,
    udp: Datagrams<'lab>,
    agent: Stream<'lab>,
    grpc: Stream<'lab>,
    pinged: &'lab Netns,
    dir: &'lab Path,
}

/// How the world is.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Good,
    /// Nothing listens.
    Closed,
    /// What listens gives the wrong answer.
    Wrong,
}

impl<'lab> World<'lab> {
    fn new(r1: &'lab Netns, r2: &'lab Netns, dir: &'lab Path) -> Result<Self> {
        let at = |port: u16| format!("0.0.0.0:{port}");
        let page = Page::new(200, "all is well");
        executable(dir, "misc", &format!("exec sh {}", dir.join("misc.how").display()))?;
        let world = Self {
            tcp: Stream::start(r1, &at(7001), talk::says_and_stays(""))?,
            redis: Stream::start(r1, &at(7002), talk::says(""))?,
            http: Server::start(r1, "r1", &at(7003))?,
            tls: Stream::start(r1, &at(7004), https("bed.test", 2099, &page)?)?,
            page,
            smtp: Stream::start(r1, &at(7005), talk::says(""))?,
            dns: Datagrams::start(r1, &at(7006), Answer::silence())?,
            udp: Datagrams::start(r1, &at(7007), Answer::silence())?,
            agent: Stream::start(r1, &at(7011), talk::says(""))?,
            grpc: Stream::start(r1, &at(7012), talk::says(""))?,
            pinged: r2,
            dir,
        };
        world.answers(Shape::Good)?;
        Ok(world)
    }

    fn shape(&mut self, shape: Shape) -> Result<()> {
        self.answers(shape)?;
        let closed = matches!(shape, Shape::Closed);
        // A TCP_CHECK knows nothing but whether the port is open; an agent that is gone says nothing.
        if closed || matches!(shape, Shape::Wrong) {
            self.tcp.close();
        } else {
            self.tcp.open()?;
        }
        for stream in [&mut self.redis, &mut self.tls, &mut self.smtp, &mut self.grpc] {
            if closed { stream.close() } else { stream.open()? }
        }
        for socket in [&mut self.dns, &mut self.udp] {
            if closed { socket.close() } else { socket.open()? }
        }
        if closed {
            self.http.close()
        } else {
            self.http.open()?
        }
        Ok(())
    }

    /// What is said by all that listens and by files.
    fn answers(&self, shape: Shape) -> Result<()> {
        let good = matches!(shape, Shape::Good);
        self.redis.set(talk::answers("PING", if good { "+PONG\r\n" } else { "-LOADING\r\n" }));
        self.http.set(if good { Mode::Serve } else { Mode::Status(503) });
        self.page.set(200, if good { "all is well" } else { "nothing is" });
        self.smtp.set(match shape {
            Shape::Wrong => talk::smtp("220 mail.test", "554 go away"),
            _ => talk::smtp("220 mail.test", "250 mail.test"),
        });
        self.dns.set(if good { dns::good() } else { dns::code(2) });
        self.udp.set(Answer::always(if good { "pong" } else { "gnop" }));
        self.agent.set(talk::says(match shape {
            Shape::Good => "up ready 100%\n",
            Shape::Closed => "down\n",
            Shape::Wrong => "failed # disk full\n",
        }));
        self.grpc.set(grpc(if good { Health::Serving } else { Health::NotServing }));
        self.pinged.sysctl(&[("ipv4/icmp_echo_ignore_all", if good { "0" } else { "1" })])?;
        let (file, script) = match shape {
            Shape::Good => ("0\n", "exit 0\n"),
            Shape::Closed => ("1\n", "exit 1\n"),
            Shape::Wrong => ("-7\n", "kill -9 $$\n"),
        };
        replace(self.dir, "health", file)?;
        replace(self.dir, "misc.how", script)
    }
}

/// Writes a file of `dir` so that nobody reads half of it.
fn replace(dir: &Path, name: &str, text: &str) -> Result<()> {
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, text)?;
    fs::rename(&new, dir.join(name))?;
    Ok(())
}

pub fn checkers(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(2)?;
    let folder = tempfile::Builder::new().prefix("lbd-checkers-").tempdir()?;
    let dir = folder.path();
    let mut world = World::new(lab.host("r1"), lab.host("r2"), dir)?;
    let lbd = ctx.daemon == Daemon::Lbd;
    let rows: Vec<Row> = rows(dir).into_iter().filter(|row| lbd || !row.own).collect();
    let mut config = format!(
        "global_defs {{\n  script_user root\n  enable_script_security\n}}\n\
         track_file health {{\n  file {}\n  weight 0\n}}\n",
        dir.join("health").display()
    );
    for row in &rows {
        let real = behind::real_server(&row.dest(), &row.check);
        config += &behind::virtual_server(&format!("{VIP} {}", row.port), row.protocol, &real);
    }
    let ns = lab.host("a");
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let limit = behind::found_out(ctx, TIMEOUTS);
    let seen = RefCell::new(BTreeSet::new());
    let expect = |shape: Shape, limit: Duration| -> Result<()> {
        let good = matches!(shape, Shape::Good);
        let start = std::time::Instant::now();
        behind::expect_table(ns, &format!("{shape:?}"), limit, |table| {
            let there = |row: &&Row| behind::weight(table, &row.key(), &row.dest()).is_some();
            let other: Vec<&str> = rows.iter().filter(|row| there(row) != good).map(|row| row.kind).collect();
            if !other.is_empty() {
                bail!("still {} the table: {other:?}", if good { "out of" } else { "in" });
            }
            Ok(())
        })?;
        step!("{shape:?}: all {} seen after {:?}", rows.len(), start.elapsed());
        if !lbd {
            return Ok(());
        }
        let (state, which) = match shape {
            Shape::Good => ("up", 0),
            Shape::Closed => ("down", 1),
            Shape::Wrong => ("down", 2),
        };
        crate::wait::until_ok("the reasons", limit, || {
            let status = director.status()?;
            let mut other = Vec::new();
            for row in &rows {
                let (have, reason) =
                    behind::check(&status, &row.key(), &row.dest()).with_context(|| row.kind)?;
                if have != state || !reason.contains(row.reasons[which]) || reason.is_empty() {
                    other.push(format!("{}: {have}, {reason:?}, want {:?}", row.kind, row.reasons[which]));
                }
                seen.borrow_mut().insert(format!("{shape:?}: {}: {reason}", row.port));
            }
            if other.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{other:#?}")) }
        })?;
        Ok(())
    };
    expect(Shape::Good, behind::START)?;
    // The first check of each is over: lbd says so; keepalived's is within a second and a bit.
    crate::wait::pause(Duration::from_millis(1500));
    for shape in [Shape::Closed, Shape::Wrong] {
        world.shape(shape)?;
        expect(shape, limit)?;
        world.shape(Shape::Good)?;
        expect(Shape::Good, limit)?;
    }
    director.stop()?;
    step!("{:#?}", seen.borrow());
    Ok(())
}

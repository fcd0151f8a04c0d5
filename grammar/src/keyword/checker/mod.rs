//! Checkers of a real server.
//!
//! Here: what they have in common, their rows for connection and schedule, the checkers that have no
//! others. Not here: the rest of their rows (one file each), what they inherit (`resolve`).

mod agent;
mod bfd;
mod dns;
mod file;
mod grpc;
mod http;
mod misc;
mod regex;
mod smtp;
mod tcp;
mod udp;

pub(crate) use agent::{AGENT_CHECK, Agent};
pub(crate) use bfd::{BFD_CHECK, Bfd};
pub(crate) use dns::{DNS_CHECK, Dns};
pub(crate) use file::{FILE_CHECK, File};
pub(crate) use grpc::{GRPC_CHECK, Grpc};
pub(crate) use http::{HTTP_GET, Http, SSL_GET, URL, UrlBuilder};
pub(crate) use misc::{MISC_CHECK, Misc};
pub(crate) use smtp::{HOST, SMTP_CHECK, Smtp};
pub(crate) use tcp::{TCP_CHECK, Tcp};
pub(crate) use udp::{UDP_CHECK, Udp};

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use super::call::Call;
use super::real_server::RealBuilder;
use super::virtual_server::{DELAY, LIMIT, Schedule, TIME};
use super::{Context, Part, Row, Table, later, row};
use crate::diagnostic::{Diagnostic, Kind};
use crate::source::Span;

/// A checker's block while it is read; `K` is what this kind has for itself.
#[derive(Clone, Default)]
pub(crate) struct Checker<K> {
    pub common: Common,
    pub own: K,
}

/// What most checkers have.
#[derive(Clone, Default)]
pub(crate) struct Common {
    pub schedule: Schedule,
    pub log_all_failures: Option<bool>,
    pub connection: ConnectionBuilder,
}

/// How a checker connects.
#[derive(Clone, Default)]
pub(crate) struct ConnectionBuilder {
    pub ip: Option<IpAddr>,
    pub port: Option<NonZeroU16>,
    pub bind_address: Option<(IpAddr, Span)>,
    pub bind_port: Option<NonZeroU16>,
    pub bind_interface: Option<String>,
    pub fwmark: Option<NonZeroU32>,
}

/// What a checker says.
#[derive(Clone)]
pub(crate) struct CheckBuilder {
    pub place: Span,
    pub common: Common,
    pub own: Own,
}

/// What only its kind says.
#[derive(Clone)]
pub(crate) enum Own {
    Tcp(Tcp),
    Http(Box<Http>),
    Ssl(Box<Http>),
    Smtp(Box<Smtp>),
    Dns(Box<Dns>),
    Udp(Box<Udp>),
    Ping,
    Misc(Box<Misc>),
    File(File),
    Bfd(Bfd),
    Agent(Agent),
    Grpc(Box<Grpc>),
}

/// Built-in values of each checker that has any.
#[derive(Clone, Default)]
pub(crate) struct CheckDefaults {
    pub tcp: Checker<Tcp>,
    pub http: Checker<Http>,
    pub smtp: Checker<Smtp>,
    pub dns: Checker<Dns>,
    pub udp: Checker<Udp>,
    pub ping: Checker<()>,
    pub misc: Checker<Misc>,
    pub agent: Checker<Agent>,
    pub grpc: Checker<Grpc>,
}

/// Lowers the tables' defaults.
pub(super) fn check_defaults(context: &mut Context<'_>) -> CheckDefaults {
    CheckDefaults {
        tcp: TCP_CHECK.defaults(context),
        http: HTTP_GET.defaults(context),
        smtp: SMTP_CHECK.defaults(context),
        dns: DNS_CHECK.defaults(context),
        udp: UDP_CHECK.defaults(context),
        ping: PING_CHECK.defaults(context),
        misc: MISC_CHECK.defaults(context),
        agent: AGENT_CHECK.defaults(context),
        grpc: GRPC_CHECK.defaults(context),
    }
}

/// What the rows below fill.
type B = RealBuilder;

/// The checkers of a real server.
pub(super) const CHECKERS: &[Row<RealBuilder>] = &[
    row("TCP_CHECK", "{ … }", "A TCP connection can be made.", |b: &mut B, c| {
        check(b, c, &TCP_CHECK, nothing, Own::Tcp);
    })
    .opens("TCP_CHECK"),
    row("HTTP_GET", "{ url { … } … }", "Its urls answer as they should.", |b: &mut B, c| {
        check(b, c, &HTTP_GET, url, |own| Own::Http(Box::new(own)));
    })
    .opens("HTTP_GET")
    .example(ONE_URL),
    row("MISC_CHECK", "{ misc_path CMD … }", "A program says so by its exit status.", |b: &mut B, c| {
        check(b, c, &MISC_CHECK, misc::missing, |own| Own::Misc(Box::new(own)));
    })
    .opens("MISC_CHECK")
    .example("misc_path \"/usr/local/bin/check 192.0.2.10\""),
    row("SSL_GET", "{ url { … } … }", "HTTP_GET over TLS.", |b: &mut B, c| {
        check(b, c, &SSL_GET, url, |own| Own::Ssl(Box::new(own)));
    })
    .opens("SSL_GET")
    .example(ONE_URL),
    row("SMTP_CHECK", "{ … }", "A mail server greets and takes HELO.", |b: &mut B, c| {
        check(b, c, &SMTP_CHECK, nothing, |own| Own::Smtp(Box::new(own)));
    })
    .opens("SMTP_CHECK")
    .example("helo_name lb.example.net"),
    row("DNS_CHECK", "{ … }", "A name server answers a query.", |b: &mut B, c| {
        check(b, c, &DNS_CHECK, nothing, |own| Own::Dns(Box::new(own)));
    })
    .opens("DNS_CHECK")
    .example("name example.net"),
    row("UDP_CHECK", "{ … }", "A UDP port does not refuse, or answers.", |b: &mut B, c| {
        check(b, c, &UDP_CHECK, nothing, |own| Own::Udp(Box::new(own)));
    })
    .opens("UDP_CHECK")
    .example("require_reply"),
    row("PING_CHECK", "{ … }", "The host answers an ICMP echo request.", |b: &mut B, c| {
        check(b, c, &PING_CHECK, nothing, |()| Own::Ping);
    })
    .opens("PING_CHECK"),
    later("BFD_CHECK", "{ name NAME }", "A BFD session is up.", WITHOUT, |b: &mut B, c| {
        check(b, c, &BFD_CHECK, bfd::missing, Own::Bfd);
    })
    .opens("BFD_CHECK")
    .example("name one"),
    row("FILE_CHECK", "{ track_file NAME … }", "The number in a file says so.", |b: &mut B, c| {
        check(b, c, &FILE_CHECK, file::missing, Own::File);
    })
    .opens("FILE_CHECK")
    .example("track_file one"),
    row(
        "AGENT_CHECK",
        "{ … }",
        "lbd's own: a program on the server says how it is, as HAProxy's agent-check.",
        |b: &mut B, c| {
            check(b, c, &AGENT_CHECK, nothing, Own::Agent);
        },
    )
    .opens("AGENT_CHECK")
    .example("connect_port 9777"),
    row(
        "GRPC_CHECK",
        "{ … }",
        "lbd's own: a gRPC server says that it serves (grpc.health.v1), without TLS.",
        |b: &mut B, c| {
            check(b, c, &GRPC_CHECK, nothing, |own| Own::Grpc(Box::new(own)));
        },
    )
    .opens("GRPC_CHECK")
    .example("service shop.v1.Cart"),
];

const WITHOUT: &str = "the real server is without this check, and always up if it has no other";
const ONE_URL: &str = "url { path / }";

/// Lowers a checker's block. One without what it cannot do without is left out.
fn check<K: Default>(
    real: &mut RealBuilder,
    call: &mut Call<'_, '_>,
    table: &'static Table<Checker<K>>,
    missing: fn(&K) -> Missing,
    own: fn(K) -> Own,
) {
    let mut checker = Checker::default();
    let (place, lost) = (call.place(), call.context.lost.len());
    table.run(&mut checker, call.body(), call.context);
    let Checker { common, own: found } = checker;
    let Some((keyword, instead)) = missing(&found) else {
        real.checks.push(CheckBuilder { place, common, own: own(found) });
        return;
    };
    let consequence = format!("ignored, and with it this {}, which has no other", table.name);
    if !call.context.explain_lost(lost, table.name, &[keyword], consequence) {
        let message = format!("`{}` has no usable `{keyword}`, so it is left out", table.name);
        call.context.report(
            Diagnostic::warning(Kind::BadValue, Some(place), message).help(format!("add `{instead}` to it")),
        );
    }
}

/// What a checker lacks: the keyword, and what to write.
type Missing = Option<(&'static str, &'static str)>;

fn nothing<K>(_: &K) -> Missing {
    None
}

fn url(http: &Http) -> Missing {
    http.urls.is_empty().then_some(("url", "url { path / }"))
}

pub(crate) static PING_CHECK: Table<Checker<()>> =
    Table { name: "PING_CHECK", part: Part::Checks, rows: &[&CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<()>>; 7] = connection();
static SCHEDULE: [Row<Checker<()>>; 6] = schedule("1", Some("1"));

/// Rows that say how a checker connects.
const fn connection<K>() -> [Row<Checker<K>>; 7] {
    [
        row("connect_ip", "ADDR", "Address to connect to.", |b: &mut Checker<K>, c| {
            b.common.connection.ip = c.address().or(b.common.connection.ip);
        })
        .otherwise("the real server's")
        .example("192.0.2.10"),
        row("connect_port", "PORT", "Port to connect to.", |b: &mut Checker<K>, c| {
            b.common.connection.port = c.port().or(b.common.connection.port);
        })
        .range("1..=65535")
        .otherwise("the port on the real_server line")
        .example("8080"),
        row(
            "bindto",
            "ADDR",
            "Local address, of the family of what is connected to.",
            |b: &mut Checker<K>, c| {
                let span = c.head();
                let address = c.address().map(|address| (address, span));
                b.common.connection.bind_address = address.or(b.common.connection.bind_address);
            },
        )
        .otherwise("any")
        .example("192.0.2.1"),
        row("bind_port", "PORT", "Local port.", |b: &mut Checker<K>, c| {
            b.common.connection.bind_port = c.port().or(b.common.connection.bind_port);
        })
        .range("1..=65535")
        .otherwise("any")
        .example("1024"),
        row("bind_if", "IF", "Local interface; needed for a link-local address.", |b: &mut Checker<K>, c| {
            let name = c.interface();
            b.common.connection.bind_interface = name.or(b.common.connection.bind_interface.take());
        })
        .otherwise("any")
        .example("eth0"),
        row("connect_timeout", "SECS", "Limit of the connect and of each read.", |b: &mut Checker<K>, c| {
            b.common.schedule.connect_timeout(c)
        })
        .range(LIMIT)
        .otherwise("the real server's")
        .example("3"),
        row("fwmark", "N", "Firewall mark of the check's own packets.", |b: &mut Checker<K>, c| {
            if let Some(mark) = c.number_as::<u32>(0..=u32::MAX.into()) {
                b.common.connection.fwmark = NonZeroU32::new(mark);
            }
        })
        .range("0..=4294967295, 0 for none")
        .default("0"),
    ]
}

/// Rows that say when a checker runs; the built-in values of the first two differ.
const fn schedule<K>(retry: &'static str, delay: Option<&'static str>) -> [Row<Checker<K>>; 6] {
    let delay_row = row("delay_before_retry", "SECS", "Wait before each retry.", |b: &mut Checker<K>, c| {
        b.common.schedule.delay_before_retry(c);
    });
    [
        row("retry", "N", "Retries before it has failed.", |b: &mut Checker<K>, c| {
            b.common.schedule.retry(c, 0);
        })
        .range("0..=4294967295; else the real server's")
        .default(retry),
        match delay {
            Some(delay) => delay_row.range("0 and above; else the real server's").default(delay),
            None => delay_row.range(DELAY).otherwise("the real server's, else delay_loop").example("1"),
        },
        row("warmup", "SECS", "The first check waits a random part of it.", |b: &mut Checker<K>, c| {
            b.common.schedule.warmup(c);
        })
        .range(DELAY)
        .otherwise("the real server's, else delay_loop")
        .example("5"),
        row("delay_loop", "SECS", "Time between checks.", |b: &mut Checker<K>, c| {
            b.common.schedule.delay_loop(c);
        })
        .range(TIME)
        .otherwise("the real server's")
        .example("10"),
        row("alpha", "[BOOL]", "Starts as failed.", |b: &mut Checker<K>, c| b.common.schedule.alpha(c))
            .otherwise("the real server's")
            .example("true"),
        row("log_all_failures", "[BOOL]", "Log every failed try.", |b: &mut Checker<K>, c| {
            b.common.log_all_failures = c.switch().or(b.common.log_all_failures);
        })
        .otherwise("checker_log_all_failures of global_defs, else false")
        .example("true"),
    ]
}

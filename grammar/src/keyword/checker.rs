//! TCP_CHECK, HTTP_GET and MISC_CHECK.
//!
//! Here: their rows. Not here: what they inherit (`resolve`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use lbd_health::{HttpProtocol, StatusSet};

use super::call::{Call, Command};
use super::virtual_server::{DELAY, LIMIT, Schedule, TIME};
use super::{Context, Part, Row, Table, row, unserved};
use crate::config::ScriptUser;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;

/// What a checker says; only the fields of its kind are used.
#[derive(Clone, Default)]
pub(crate) struct CheckBuilder {
    pub which: Which,
    pub place: Option<Span>,
    pub schedule: Schedule,
    pub log_all_failures: Option<bool>,
    pub connect_ip: Option<(IpAddr, Span)>,
    pub connect_port: Option<NonZeroU16>,
    pub bind_address: Option<(IpAddr, Span)>,
    pub bind_port: Option<NonZeroU16>,
    pub bind_interface: Option<String>,
    pub fwmark: Option<NonZeroU32>,
    pub urls: Vec<UrlBuilder>,
    pub virtualhost: Option<String>,
    pub protocol: Option<HttpProtocol>,
    pub fast_recovery: Option<bool>,
    pub command: Option<Command>,
    pub user: Option<ScriptUser>,
    pub timeout: Option<Duration>,
    pub dynamic: bool,
}

/// Kind of a checker.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Which {
    #[default]
    Tcp,
    Http,
    Misc,
}

/// What a url block says.
#[derive(Clone, Default)]
pub(crate) struct UrlBuilder {
    pub path: Option<String>,
    pub status: BTreeSet<u16>,
    pub digest: Option<[u8; 16]>,
    pub virtualhost: Option<String>,
}

/// Built-in values of each checker.
#[derive(Clone, Default)]
pub(crate) struct CheckDefaults {
    pub tcp: CheckBuilder,
    pub http: CheckBuilder,
    pub misc: CheckBuilder,
}

/// Lowers the tables' defaults.
pub(super) fn check_defaults(context: &mut Context<'_>) -> CheckDefaults {
    CheckDefaults {
        tcp: TCP_CHECK.defaults(context),
        http: HTTP_GET.defaults(context),
        misc: MISC_CHECK.defaults(context),
    }
}

/// Lowers a checker's block.
pub(super) fn lower(
    call: &mut Call<'_, '_>,
    which: Which,
    table: &'static Table<CheckBuilder>,
) -> CheckBuilder {
    let mut builder = CheckBuilder { which, place: Some(call.place()), ..Default::default() };
    table.run(&mut builder, call.body(), call.context);
    builder
}

/// What the rows below fill.
type B = CheckBuilder;

pub(crate) static TCP_CHECK: Table<CheckBuilder> =
    Table { name: "TCP_CHECK", part: Part::Checks, rows: &[CONNECTION, &SCHEDULE_TCP] };
pub(crate) static HTTP_GET: Table<CheckBuilder> =
    Table { name: "HTTP_GET", part: Part::Checks, rows: &[HTTP, CONNECTION, &SCHEDULE_HTTP] };
pub(crate) static MISC_CHECK: Table<CheckBuilder> =
    Table { name: "MISC_CHECK", part: Part::Checks, rows: &[MISC, &SCHEDULE_MISC] };

type Rows = &'static [Row<CheckBuilder>];

static SCHEDULE_TCP: [Row<CheckBuilder>; 6] = schedule("1", "1");
static SCHEDULE_HTTP: [Row<CheckBuilder>; 6] = schedule("1", "3");
static SCHEDULE_MISC: [Row<CheckBuilder>; 6] = schedule("0", "1");

/// Rows that say when a checker runs; the built-in retry and delay_before_retry differ.
const fn schedule(retry: &'static str, delay: &'static str) -> [Row<CheckBuilder>; 6] {
    [
        row("retry", "N", "Retries before it has failed.", check_retry)
            .range("0..=4294967295; else the real server's")
            .default(retry),
        row("delay_before_retry", "SECS", "Wait before each retry.", check_delay)
            .range("0 and above; else the real server's")
            .default(delay),
        row("warmup", "SECS", "The first check waits a random part of it.", check_warmup)
            .range(DELAY)
            .otherwise("the real server's, else delay_loop"),
        row("delay_loop", "SECS", "Time between checks.", check_delay_loop)
            .range(TIME)
            .otherwise("the real server's"),
        row("alpha", "[BOOL]", "Starts as failed.", check_alpha).otherwise("the real server's"),
        row("log_all_failures", "[BOOL]", "Log every failed try.", check_log).default("false"),
    ]
}

fn check_retry(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.schedule.retry(call, 0);
}

fn check_delay(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.schedule.delay_before_retry(call);
}

fn check_warmup(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.schedule.warmup(call);
}

fn check_delay_loop(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.schedule.delay_loop(call);
}

fn check_alpha(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.schedule.alpha(call);
}

fn check_log(builder: &mut CheckBuilder, call: &mut Call<'_, '_>) {
    builder.log_all_failures = call.switch().or(builder.log_all_failures);
}

const CONNECTION: Rows = &[
    row("connect_ip", "ADDR", "Address to connect to.", |b: &mut B, c| {
        let span = c.head();
        b.connect_ip = c.address().map(|address| (address, span)).or(b.connect_ip);
    })
    .otherwise("the real server's"),
    row("connect_port", "PORT", "Port to connect to.", |b: &mut B, c| {
        b.connect_port = c.port().or(b.connect_port)
    })
    .range("1..=65535")
    .otherwise("the port on the real_server line"),
    row("bindto", "ADDR", "Local address.", |b: &mut B, c| {
        let span = c.head();
        b.bind_address = c.address().map(|address| (address, span)).or(b.bind_address);
    })
    .otherwise("any"),
    row("bind_port", "PORT", "Local port.", |b: &mut B, c| b.bind_port = c.port().or(b.bind_port))
        .range("1..=65535")
        .otherwise("any"),
    row("bind_if", "IF", "Local interface.", |b: &mut B, c| {
        b.bind_interface = c.interface().or(b.bind_interface.take());
    })
    .otherwise("any"),
    row("connect_timeout", "SECS", "Limit of the connect and of each read.", |b: &mut B, c| {
        b.schedule.connect_timeout(c)
    })
    .range(LIMIT)
    .otherwise("the real server's"),
    row("fwmark", "N", "Mark of the check's packets.", |b: &mut B, c| {
        if let Some(mark) = c.number_as::<u32>(0..=u32::MAX.into()) {
            b.fwmark = NonZeroU32::new(mark);
        }
    })
    .range("0..=4294967295, 0 for none")
    .default("0"),
];

const HTTP: Rows = &[
    row("url", "{ path … }", "Something to ask for; at least one.", |b: &mut B, c| {
        let mut url = UrlBuilder::default();
        URL.run(&mut url, c.body(), c.context);
        if url.path.is_some() {
            b.urls.push(url);
            return;
        }
        let place = c.place();
        c.say(
            Diagnostic::warning(Kind::BadValue, Some(place), "`url` has no usable `path`, so it is ignored")
                .help("add `path /`"),
        );
    })
    .block(),
    row(
        "http_protocol",
        "1.0|1.0C|1.1",
        "HTTP version; 1.0C and 1.1 close the connection.",
        |b: &mut B, c| {
            let versions = [
                ("1.0", HttpProtocol::V1_0),
                ("1.0C", HttpProtocol::V1_0Close),
                ("1.0c", HttpProtocol::V1_0Close),
                ("1.1", HttpProtocol::V1_1),
            ];
            b.protocol = c.choice(&versions).or(b.protocol);
        },
    )
    .default("1.0"),
    row("virtualhost", "NAME", "Host to ask for.", |b: &mut B, c| {
        b.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.virtualhost.take());
    })
    .otherwise("the real server's"),
    row("fast_recovery", "[BOOL]", "No delay between checks while recovering.", |b: &mut B, c| {
        b.fast_recovery = c.switch().or(b.fast_recovery);
    })
    .default("false"),
    row("nb_get_retry", "N", "Old name of retry.", |b: &mut B, c| {
        b.schedule.retry(c, 0);
        let place = c.place();
        c.say(
            Diagnostic::warning(Kind::Lint, Some(place), "`nb_get_retry` is the old name of `retry`")
                .help("write `retry`")
                .fix(place, "retry"),
        );
    })
    .range("0..=4294967295")
    .otherwise("retry"),
    row("enable_sni", "[BOOL]", "For SSL_GET; no effect here.", |_: &mut B, c| {
        c.switch();
    }),
    row("sni_name", "[NAME]", "For SSL_GET; no effect here.", |_: &mut B, c| {
        c.optional();
    }),
    row("tls_compliant", "[BOOL]", "For SSL_GET; no effect here.", |_: &mut B, c| {
        c.switch();
    }),
];

pub(crate) static URL: Table<UrlBuilder> = Table { name: "url", part: Part::Checks, rows: &[URL_ROWS] };

const URL_ROWS: &[Row<UrlBuilder>] = &[
    row("path", "PATH", "What to ask for.", |b: &mut UrlBuilder, c| {
        let Some(word) = c.word() else { return };
        if word.text.is_empty() || word.text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            c.bad(word, format!("{} cannot be asked for", quote(word.text)), "a path such as /health");
        } else {
            b.path = Some(word.text.to_owned());
        }
    })
    .otherwise("required"),
    row("digest", "MD5", "MD5 of what comes after the header.", |b: &mut UrlBuilder, c| {
        let Some(word) = c.word() else { return };
        let digest = digest(word.text);
        if digest.is_none() {
            c.bad(word, format!("{} is no MD5 digest", quote(word.text)), "32 hexadecimal digits");
        }
        c.once(&mut b.digest, digest);
    }),
    row("status_code", "N|N-M …", "Status codes that are good.", status_code)
        .range("100..=599")
        .otherwise("200-299"),
    row("virtualhost", "NAME", "Host to ask for.", |b: &mut UrlBuilder, c| {
        b.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.virtualhost.take());
    })
    .otherwise("the checker's"),
    unserved("regex", "PATTERN", "What the answer must hold.", NO_REGEX),
    unserved("regex_no_match", "", "What it must not hold.", NO_REGEX),
    unserved("regex_options", "OPTION …", "Options of the pattern.", NO_REGEX),
    unserved("regex_min_offset", "N", "Where a match may begin.", NO_REGEX),
    unserved("regex_max_offset", "N", "Where a match may begin.", NO_REGEX),
    unserved("regex_stack", "START MAX", "Memory of the pattern.", NO_REGEX),
    row("tls_compliant", "[BOOL]", "For SSL_GET; no effect here.", |_: &mut UrlBuilder, c| {
        c.switch();
    }),
];

const NO_REGEX: &str = "the answer's text is not looked at; status code and digest are";

fn digest(text: &str) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    if digits.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(digest)
}

fn status_code(builder: &mut UrlBuilder, call: &mut Call<'_, '_>) {
    let Some(first) = call.word() else { return };
    for word in std::iter::once(first).chain(call.rest()) {
        let (low, high) = word.text.split_once('-').unwrap_or((word.text, word.text));
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        match (code(low), code(high)) {
            (Some(low), Some(high)) if low <= high => builder.status.extend(low..=high),
            _ => {
                call.bad(word, format!("{} is no status code", quote(word.text)), "N or N-M, from 100 to 599")
            }
        }
    }
}

impl UrlBuilder {
    /// The wanted codes, if any were given.
    pub fn status(&self) -> Option<StatusSet> {
        (!self.status.is_empty()).then(|| StatusSet(self.status.clone()))
    }
}

const MISC: Rows = &[
    row("misc_path", "CMD [USER [GROUP]]", "The program; quoted if it has arguments.", |b: &mut B, c| {
        b.command = c.command().or(b.command.take());
    })
    .otherwise("required"),
    row("misc_timeout", "SECS", "Limit of one run, then it has failed.", |b: &mut B, c| {
        b.timeout = c.seconds(0..=4294).or(b.timeout);
    })
    .range("0..=4294, 0 is the virtual server's delay_loop")
    .default("0"),
    row("misc_dynamic", "", "Exit status 2 to 255 sets the weight.", |b: &mut B, _| b.dynamic = true),
    row("user", "USER [GROUP]", "Its user.", |b: &mut B, c| b.user = c.user().or(b.user.take()))
        .otherwise("script_user"),
];

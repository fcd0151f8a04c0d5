//! HTTP_GET and SSL_GET.
//!
//! Here: their rows and those of url. Not here: the pattern of a url (`regex`), the rows that other
//! checkers have too (the module above).

use std::collections::BTreeSet;

use lbd_health::{HttpProtocol, Regex, StatusSet};

use super::super::call::Call;
use super::super::{Part, Row, Table, row};
use super::regex::{self, RegexBuilder};
use super::{Checker, connection, schedule};
use crate::diagnostic::{Diagnostic, Kind, quote};

/// What an HTTP_GET or SSL_GET says for itself.
#[derive(Clone, Default)]
pub(crate) struct Http {
    pub urls: Vec<UrlBuilder>,
    pub virtualhost: Option<String>,
    pub protocol: Option<HttpProtocol>,
    pub fast_recovery: Option<bool>,
    pub enable_sni: Option<bool>,
    pub sni_name: Option<String>,
    pub tls_compliant: Option<bool>,
    pub verify: Option<bool>,
    pub expiry_warning: Option<u32>,
}

/// What a url block says.
#[derive(Clone, Default)]
pub(crate) struct UrlBuilder {
    pub path: Option<String>,
    pub status: BTreeSet<u16>,
    pub digest: Option<[u8; 16]>,
    pub virtualhost: Option<String>,
    pub regex: RegexBuilder,
    /// What `regex` and its parameters come to, once the block is read.
    pub pattern: Option<Box<Regex>>,
    pub tls_compliant: Option<bool>,
}

/// What the rows below fill.
type B = Checker<Http>;

pub(crate) static HTTP_GET: Table<Checker<Http>> =
    Table { name: "HTTP_GET", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };
pub(crate) static SSL_GET: Table<Checker<Http>> =
    Table { name: "SSL_GET", part: Part::Checks, rows: &[OWN, &CONNECTION, &SCHEDULE] };

static CONNECTION: [Row<Checker<Http>>; 7] = connection();
static SCHEDULE: [Row<Checker<Http>>; 6] = schedule("1", Some("3"));

const OWN: &[Row<Checker<Http>>] = &[
    row("url", "{ path … }", "Something to ask for; at least one.", |b: &mut B, c| {
        let mut url = UrlBuilder::default();
        URL.run(&mut url, c.body(), c.context);
        url.pattern = std::mem::take(&mut url.regex).resolved(c.context);
        if url.path.is_some() {
            b.own.urls.push(url);
            return;
        }
        let place = c.place();
        c.say(
            Diagnostic::warning(Kind::BadValue, Some(place), "`url` has no usable `path`, so it is ignored")
                .help("add `path /`"),
        );
    })
    .opens("url")
    .example("path /"),
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
            b.own.protocol = c.choice(&versions).or(b.own.protocol);
        },
    )
    .default("1.0"),
    row("virtualhost", "NAME", "Host to ask for.", |b: &mut B, c| {
        b.own.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.own.virtualhost.take());
    })
    .otherwise("the real server's")
    .example("www.example.net"),
    row("fast_recovery", "[BOOL]", "No delay between checks while recovering.", |b: &mut B, c| {
        b.own.fast_recovery = c.switch().or(b.own.fast_recovery);
    })
    .default("false"),
    row("nb_get_retry", "N", "Old name of retry.", |b: &mut B, c| {
        b.common.schedule.retry(c, 0);
        let place = c.place();
        c.say(
            Diagnostic::warning(Kind::Lint, Some(place), "`nb_get_retry` is the old name of `retry`")
                .help("write `retry`")
                .fix(place, "retry"),
        );
    })
    .range("0..=4294967295")
    .otherwise("retry")
    .example("1"),
    row("enable_sni", "[BOOL]", "SSL_GET sends the host as server name.", |b: &mut B, c| {
        b.own.enable_sni = c.switch().or(b.own.enable_sni);
    })
    .default("false"),
    row(
        "sni_name",
        "[NAME]",
        "Server name that SSL_GET sends; without NAME as enable_sni.",
        |b: &mut B, c| match c.optional() {
            None => b.own.enable_sni = Some(true),
            Some(word) if word.text.is_empty() || word.text.contains(char::is_whitespace) => {
                c.bad(word, format!("{} is no host name", quote(word.text)), "for example www.example.net");
            }
            Some(word) => b.own.sni_name = Some(word.text.to_owned()),
        },
    )
    .otherwise("enable_sni says")
    .example("www.example.net"),
    row(
        "tls_compliant",
        "[BOOL]",
        "SSL_GET wants TLS to be closed before the connection.",
        |b: &mut B, c| {
            b.own.tls_compliant = c.switch().or(b.own.tls_compliant);
        },
    )
    .default("false"),
    row(
        "verify",
        "[BOOL]",
        "Not in keepalived. SSL_GET verifies the server's certificate: its name, and who signed it (ca).",
        |b: &mut B, c| b.own.verify = c.switch().or(b.own.verify),
    )
    .default("false"),
    row(
        "certificate_expiry_warning",
        "DAYS",
        "Not in keepalived. SSL_GET warns when the server's certificate expires within DAYS.",
        |b: &mut B, c| b.own.expiry_warning = c.number_as(0..=MOST_DAYS).or(b.own.expiry_warning),
    )
    .range("0..=36500")
    .otherwise("no warning")
    .example("14"),
];

/// A hundred years.
const MOST_DAYS: u64 = 36_500;

pub(crate) static URL: Table<UrlBuilder> =
    Table { name: "url", part: Part::Checks, rows: &[URL_ROWS, regex::ROWS, URL_TLS] };

const URL_ROWS: &[Row<UrlBuilder>] = &[
    row("path", "PATH", "What to ask for.", |b: &mut UrlBuilder, c| {
        let Some(word) = c.word() else { return };
        if word.text.is_empty() || word.text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            c.bad(word, format!("{} cannot be asked for", quote(word.text)), "a path such as /health");
        } else {
            b.path = Some(word.text.to_owned());
        }
    })
    .otherwise("required")
    .example("/health"),
    row("digest", "MD5", "MD5 of what comes after the header.", |b: &mut UrlBuilder, c| {
        let Some(word) = c.word() else { return };
        let digest = digest(word.text);
        if digest.is_none() {
            c.bad(word, format!("{} is no MD5 digest", quote(word.text)), "32 hexadecimal digits");
        }
        c.once(&mut b.digest, digest);
    })
    .example("9b3a0c85a887a256d6939da88aabd8cd"),
    row("status_code", "N|N-M …", "Status codes that are good; several lines add up.", status_code)
        .range("100..=599")
        .otherwise("200-299")
        .example("200 301-302"),
    row("virtualhost", "NAME", "Host to ask for.", |b: &mut UrlBuilder, c| {
        b.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.virtualhost.take());
    })
    .otherwise("the checker's")
    .example("www.example.net"),
];

const URL_TLS: &[Row<UrlBuilder>] = &[row(
    "tls_compliant",
    "[BOOL]",
    "SSL_GET wants TLS to be closed before the connection.",
    |b: &mut UrlBuilder, c| b.tls_compliant = c.switch().or(b.tls_compliant),
)
.otherwise("the checker's")
.example("true")];

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

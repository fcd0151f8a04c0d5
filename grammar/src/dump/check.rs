//! Checkers as text. Nothing is left to inherit: each says all that it can say.

use std::fmt::Write as _;
use std::time::Duration;

use lbd_health::{
    Check, CheckKind, Connection, DialogueStep, HttpCheck, HttpProtocol, MaskedOctet, Regex, Schedule,
    StatusSet, UdpCheck, Url,
};

use super::Writer;

pub(super) fn write(writer: &mut Writer<'_>, check: &Check) {
    writer.block::<&str>(check.kind.keyword(), [], |writer| {
        if let Some(connection) = check.kind.connection() {
            self::connection(writer, connection);
        }
        match &check.kind {
            CheckKind::File(_) => {}
            CheckKind::Bfd(_) => writer.switch("alpha", check.schedule.alpha),
            _ => schedule(writer, check.schedule),
        }
        match &check.kind {
            CheckKind::Tcp(_) | CheckKind::Ping(_) => {}
            CheckKind::Http(check) => http(writer, check),
            CheckKind::Smtp(check) => writer.value("helo_name", &check.helo),
            CheckKind::Dns(check) => {
                writer.value("type", check.record.name());
                writer.value("name", &check.name);
            }
            CheckKind::Udp(check) => udp(writer, check),
            CheckKind::Misc(check) => {
                writer.script("misc_path", Some(&check.script));
                writer.value("misc_timeout", whole_seconds(check.timeout));
                writer.flag("misc_dynamic", check.dynamic);
            }
            CheckKind::File(check) => {
                writer.value("track_file", &check.file);
                let weight = check.weight.to_string();
                let reverse = if check.reverse { "reverse" } else { "noreverse" };
                writer.line("weight", [weight.as_str(), reverse]);
            }
            CheckKind::Bfd(check) => writer.value("name", &check.session),
            CheckKind::Dialogue(check) => {
                for step in &check.steps {
                    match step {
                        DialogueStep::Send(text) => writer.pattern("send", text),
                        DialogueStep::Expect(text) => writer.pattern("expect", text),
                    }
                }
            }
            CheckKind::Agent(check) if check.send.is_empty() => {}
            CheckKind::Agent(check) => writer.pattern("send", &check.send),
            CheckKind::Grpc(check) => {
                writer.value("service", &check.service);
                writer.maybe("authority", check.authority.as_ref());
            }
        }
    });
}

/// As misc_timeout says it; another time can only be the virtual server's delay_loop, which is 0 there.
fn whole_seconds(time: Duration) -> u64 {
    if time.subsec_nanos() == 0 && time.as_secs() <= 4294 { time.as_secs() } else { 0 }
}

fn schedule(writer: &mut Writer<'_>, schedule: Schedule) {
    writer.seconds("delay_loop", schedule.delay_loop);
    writer.value("retry", schedule.retry);
    writer.seconds("delay_before_retry", schedule.delay_before_retry);
    writer.seconds("warmup", schedule.warmup);
    writer.switch("alpha", schedule.alpha);
    writer.switch("log_all_failures", schedule.log_all_failures);
}

fn connection(writer: &mut Writer<'_>, connection: &Connection) {
    writer.value("connect_ip", connection.target.ip());
    writer.maybe("connect_port", Some(connection.target.port()).filter(|port| *port != 0));
    writer.maybe("bindto", connection.bind_address);
    writer.maybe("bind_port", connection.bind_port);
    writer.maybe("bind_if", connection.bind_interface.as_ref());
    writer.seconds("connect_timeout", connection.timeout);
    writer.value("fwmark", connection.fwmark.map_or(0, |mark| mark.get()));
}

fn http(writer: &mut Writer<'_>, http: &HttpCheck) {
    let version = match http.protocol {
        HttpProtocol::V1_0 => "1.0",
        HttpProtocol::V1_0Close => "1.0C",
        HttpProtocol::V1_1 => "1.1",
    };
    writer.value("http_protocol", version);
    writer.switch("fast_recovery", http.fast_recovery);
    let sni = sni(http);
    if let Some(tls) = &http.tls {
        match sni {
            Sni::Off => writer.switch("enable_sni", false),
            Sni::Host => writer.switch("enable_sni", true),
            Sni::Name(name) => writer.value("sni_name", name),
        }
        writer.switch("verify", tls.verify);
        writer.maybe("certificate_expiry_warning", tls.expiry_warning);
    }
    for one in &http.urls {
        let own_host = sni != Sni::Host || is_sent(one);
        writer.block::<&str>("url", [], |writer| url(writer, one, own_host, http.tls.is_some()));
    }
}

/// Which keyword makes the server names of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sni<'a> {
    Off,
    /// enable_sni
    Host,
    /// sni_name
    Name(&'a str),
}

fn sni(http: &HttpCheck) -> Sni<'_> {
    let mut names = http.urls.iter().map(|url| url.server_name.as_deref());
    let first = names.next().flatten();
    match (first, names.all(|name| name == first), http.urls.iter().all(is_sent)) {
        (None, true, _) => Sni::Off,
        (Some(name), true, false) => Sni::Name(name),
        _ => Sni::Host,
    }
}

/// The server name is the host.
fn is_sent(url: &Url) -> bool {
    url.server_name.as_deref() == url.host.as_deref()
}

/// Of a check that sends other names than its hosts: the host is the real server's, the name the
/// virtual server's, and only there can they be written.
pub(super) fn inherited(check: &Check) -> Option<&Url> {
    match &check.kind {
        CheckKind::Http(http) if sni(http) == Sni::Host => http.urls.iter().find(|url| !is_sent(url)),
        _ => None,
    }
}

fn url(writer: &mut Writer<'_>, url: &Url, own_host: bool, tls: bool) {
    writer.value("path", &url.path);
    writer.maybe("virtualhost", url.host.as_ref().filter(|_| own_host));
    if let Some(digest) = &url.digest {
        writer.value("digest", hex(digest));
    }
    // None given is not the same as those that it means.
    if let Some(status) = &url.status {
        writer.line("status_code", ranges(status));
    }
    if let Some(found) = &url.regex {
        regex(writer, found);
    }
    if tls {
        writer.switch("tls_compliant", url.tls_compliant);
    }
}

fn regex(writer: &mut Writer<'_>, regex: &Regex) {
    writer.pattern("regex", &regex.pattern);
    writer.flag("regex_no_match", regex.no_match);
    let mut options = regex.options.names().peekable();
    if options.peek().is_some() {
        writer.line("regex_options", options);
    }
    writer.value("regex_min_offset", regex.min_offset);
    writer.maybe("regex_max_offset", regex.max_offset);
    if let Some((first, most)) = regex.stack {
        writer.line("regex_stack", [first, most]);
    }
}

fn udp(writer: &mut Writer<'_>, udp: &UdpCheck) {
    writer.maybe("payload", udp.payload.as_ref().map(|payload| hex(payload)));
    match &udp.reply {
        None => {}
        Some(reply) if reply.is_empty() => writer.flag("require_reply", true),
        Some(reply) => writer.value("require_reply", masked(reply)),
    }
    writer.value("min_reply_length", udp.min_reply_length);
    writer.value("max_reply_length", udp.max_reply_length);
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        let _infallible = write!(text, "{octet:02x}");
        text
    })
}

fn masked(octets: &[MaskedOctet]) -> String {
    let digit = |value: u8, mask: u8| {
        if mask == 0 { 'X' } else { char::from_digit(value.into(), 16).unwrap_or('X') }
    };
    octets
        .iter()
        .flat_map(|octet| {
            [digit(octet.value >> 4, octet.mask >> 4), digit(octet.value & 0xf, octet.mask & 0xf)]
        })
        .collect()
}

/// Codes as `N` and `N-M`.
fn ranges(set: &StatusSet) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &code in &set.0 {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(code) => *end = code,
            _ => ranges.push((code, code)),
        }
    }
    let shown = |(low, high): (u16, u16)| if low == high { low.to_string() } else { format!("{low}-{high}") };
    ranges.into_iter().map(shown).collect()
}

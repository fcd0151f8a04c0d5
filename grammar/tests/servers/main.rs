//! Virtual servers, their groups and checkers: meaning, messages, and that they are read again as they
//! are written out.

mod checks;
#[path = "../common/mod.rs"]
mod common;
mod groups;
mod own;
mod pools;
mod written;

use std::sync::Arc;

use common::summaries;
use lbd_grammar::config::{Config, VirtualServer};
use lbd_grammar::{Kind, Loaded, Secrets, dump, load_str};
use lbd_health::{Check, CheckKind};

/// What is said beyond that something is not supported yet.
fn said(loaded: &Loaded) -> Vec<String> {
    let lines = loaded.diagnostics.iter().zip(summaries(loaded));
    lines.filter(|(diagnostic, _)| diagnostic.kind != Kind::Unserved).map(|(_, line)| line).collect()
}

/// The configuration of a text, about which `want` is said, and which can be written and read again.
fn config(name: &str, text: &str, want: &[&str]) -> Config {
    let loaded = load_str("c", text);
    assert_eq!(said(&loaded), want, "{name}: {text}");
    let config = loaded.config.unwrap_or_else(|| panic!("{name}: no configuration"));
    let written = dump(&config, Secrets::Shown);
    let again = load_str("d", &written);
    // What is only odd stays so.
    let lasting = [Kind::Unserved, Kind::Lint];
    let new: Vec<String> = said(&again);
    let all = again.diagnostics.iter().all(|diagnostic| lasting.contains(&diagnostic.kind));
    assert!(all, "{name}: {new:#?}\n{written}");
    let again = again.config.unwrap_or_else(|| panic!("{name}: {written}"));
    assert_eq!(again, config, "{name}: {written}");
    assert_eq!(dump(&again, Secrets::Shown), written, "{name}");
    config
}

/// A virtual server without fault, `lines` in it from line 5 on.
fn of_server(lines: &str) -> String {
    format!(
        "virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{lines}\nreal_server 10.0.0.2 80 {{\n}}\n}}\n"
    )
}

/// A real server without fault, `lines` in it from line 6 on.
fn of_real(lines: &str) -> String {
    format!(
        "virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.2 80 {{\n{lines}\n}}\n}}\n"
    )
}

fn first(config: &Config) -> &Arc<VirtualServer> {
    config.virtual_servers.first().expect("a virtual server")
}

fn checks(config: &Config) -> Vec<&Check> {
    first(config).real_servers.iter().flat_map(|real| &real.checks).map(Arc::as_ref).collect()
}

/// The only check of a real server that says `lines`.
fn check(name: &str, lines: &str, want: &[&str]) -> Check {
    let config = config(name, &of_real(lines), want);
    let [check] = checks(&config)[..] else { panic!("{name}: one check") };
    check.clone()
}

fn keywords(config: &Config) -> Vec<&'static str> {
    checks(config).into_iter().map(|check| check.kind.keyword()).collect()
}

fn targets(config: &Config) -> Vec<String> {
    let connections = checks(config).into_iter().filter_map(|check| check.kind.connection());
    connections.map(|connection| connection.target.to_string()).collect()
}

#[test]
fn one_warning_for_each_check_that_is_not_served() {
    let inner = [
        ("TCP_CHECK", "", true),
        ("HTTP_GET", "url {\npath /\n}\nenable_sni\ntls_compliant", true),
        ("MISC_CHECK", "misc_path /bin/true", true),
        ("SSL_GET", "url {\npath /\nregex a\n}\nenable_sni", true),
        ("SMTP_CHECK", "helo_name a\nlog_all_failures", true),
        ("DNS_CHECK", "type a", true),
        ("UDP_CHECK", "payload 00", true),
        ("PING_CHECK", "alpha", true),
        ("BFD_CHECK", "name b", false),
        ("FILE_CHECK", "track_file f", true),
        ("TCP_CHECK", "send a\nexpect b", true),
        ("AGENT_CHECK", "send a", true),
        ("GRPC_CHECK", "service a", true),
    ];
    for (name, lines, served) in inner {
        let objects = "bfd_instance b {\nneighbor_ip 10.0.0.9\n}\ntrack_file f {\nfile /tmp/f\n}\n";
        let text = format!("{objects}{}", of_real(&format!("{name} {{\n{lines}\n}}")));
        let config = config(name, &text, &[]);
        assert_eq!(keywords(&config), [name]);
        assert_eq!(checks(&config)[0].kind.is_served(), served, "{name}");
        let loaded = load_str("c", &text);
        let unserved: Vec<_> =
            summaries(&loaded).into_iter().filter(|line| line.starts_with("c:12:")).collect();
        let want = format!(
            "c:12:1: `{name}` is not supported yet; the real server is without this check, and always up if it has no other"
        );
        assert_eq!(unserved, if served { vec![] } else { vec![want] }, "{name}");
    }
}

#[test]
fn a_pattern_that_cannot_be_compiled_is_warned_about() {
    let url = |regex: &str| of_real(&format!("HTTP_GET {{\nurl {{\npath /\n{regex}\n}}\n}}"));
    let loaded = load_str("c", &url("regex \"ab[c-\"\nregex_options caseless"));
    let wrong = "c:9:1: `regex` cannot be used: missing terminating ] for character class at octet 5 of it; correct the pattern; without it only status code and digest count";
    assert_eq!(summaries(&loaded), [wrong]);
    let config = loaded.config.expect("a configuration");
    assert!(matches!(&checks(&config)[0].kind, CheckKind::Http(http) if http.urls[0].regex.is_none()));
    // An option may be what makes it one.
    assert_eq!(summaries(&load_str("c", &url("regex \"a[]\"\nregex_options allow_empty_class"))), [""; 0]);
}

//! Each checker: defaults, what is inherited, keywords, messages.

use std::time::Duration;

use lbd_health::{CheckKind, DnsType, HttpProtocol, MaskedOctet, TlsCheck};

use super::{check, checks, config, of_real, targets};

#[test]
fn defaults_and_inheritance() {
    let secs = Duration::from_secs;
    // name, virtual server, real server, checker, its lines; delay_loop, retry, delay_before_retry, warmup, timeout
    for (name, of_server, of_this, kind, lines, want) in [
        ("TCP", "", "", "TCP_CHECK", "", (60, 1, 1, 60, Some(5))),
        ("HTTP", "", "", "HTTP_GET", "url {\npath /\n}", (60, 1, 3, 60, Some(5))),
        ("SSL", "", "", "SSL_GET", "url {\npath /\n}", (60, 1, 3, 60, Some(5))),
        ("SMTP", "", "", "SMTP_CHECK", "", (60, 1, 1, 60, Some(5))),
        ("DNS waits its delay_loop", "", "", "DNS_CHECK", "delay_loop 7", (7, 3, 7, 7, Some(5))),
        ("UDP", "", "", "UDP_CHECK", "", (60, 1, 1, 60, Some(5))),
        ("PING", "", "", "PING_CHECK", "", (60, 1, 1, 60, Some(5))),
        ("MISC", "", "", "MISC_CHECK", "misc_path /bin/m", (60, 0, 1, 60, None)),
        ("DNS inherits", "delay_before_retry 2\nretry 9", "", "DNS_CHECK", "", (60, 9, 2, 60, Some(5))),
        (
            "the real server is nearer",
            "delay_loop 4\nconnect_timeout 3",
            "delay_loop 5\nretry 2",
            "PING_CHECK",
            "warmup 0",
            (5, 2, 1, 0, Some(3)),
        ),
        (
            "the check is nearest",
            "delay_loop 4",
            "retry 2\nconnect_timeout 2",
            "SMTP_CHECK",
            "retry 0\nconnect_timeout 1\ndelay_before_retry 6",
            (4, 0, 6, 4, Some(1)),
        ),
        (
            "one without times has none to inherit",
            "delay_loop 4\nretry 3",
            "",
            "BFD_CHECK",
            "name b",
            (60, 0, 0, 0, None),
        ),
    ] {
        let text = of_real(&format!("{of_this}\n{kind} {{\n{lines}\n}}"))
            .replace("protocol TCP", &format!("protocol TCP\n{of_server}"));
        let config = config(name, &format!("bfd_instance b {{\nneighbor_ip 10.0.0.9\n}}\n{text}"), &[]);
        let check = checks(&config)[0];
        let schedule = check.schedule;
        let got = (
            schedule.delay_loop,
            schedule.retry,
            schedule.delay_before_retry,
            schedule.warmup,
            check.kind.connection().map(|connection| connection.timeout),
        );
        assert_eq!(got, (secs(want.0), want.1, secs(want.2), secs(want.3), want.4.map(secs)), "{name}");
    }
}

#[test]
fn alpha_and_failures_come_from_all_around() {
    for (name, global, of_server, of_this, lines, alpha, log) in [
        ("built-in", "", "", "", "", false, false),
        ("virtual server", "", "alpha", "", "", true, false),
        ("real server", "", "alpha", "alpha off", "", false, false),
        ("checker", "", "alpha", "alpha off", "alpha\nlog_all_failures", true, true),
        ("global", "checker_log_all_failures", "", "", "", false, true),
        ("not here", "checker_log_all_failures", "", "", "log_all_failures no", false, false),
    ] {
        let text = of_real(&format!("{of_this}\nTCP_CHECK {{\n{lines}\n}}"))
            .replace("protocol TCP", &format!("protocol TCP\n{of_server}"));
        let config = config(name, &format!("global_defs {{\n{global}\n}}\n{text}"), &[]);
        let schedule = checks(&config)[0].schedule;
        assert_eq!((schedule.alpha, schedule.log_all_failures), (alpha, log), "{name}");
    }
}

#[test]
fn connections() {
    let lines = "TCP_CHECK {\nconnect_ip 10.0.0.7\nconnect_port 81\nbindto 10.0.0.9\nbind_port 1024\nbind_if eth0\nconnect_timeout 0.5\nfwmark 7\n}";
    let check = check("all", lines, &[]);
    let connection = check.kind.connection().expect("a connection");
    assert_eq!(connection.target.to_string(), "10.0.0.7:81");
    assert_eq!(connection.bind_address, Some("10.0.0.9".parse().expect("an address")));
    assert_eq!(connection.bind_port.map(|port| port.get()), Some(1024));
    assert_eq!(connection.bind_interface.as_deref(), Some("eth0"));
    assert_eq!(connection.timeout, Duration::from_millis(500));
    assert_eq!(connection.fwmark.map(|mark| mark.get()), Some(7));
    for (name, real, kind, lines, want, messages) in [
        ("from the line", "10.0.0.2 8080", "TCP_CHECK", "", vec!["10.0.0.2:8080"], vec![]),
        ("from the virtual server", "10.0.0.2", "DNS_CHECK", "", vec!["10.0.0.2:80"], vec![]),
        (
            "link-local without interface",
            "fe80::1",
            "PING_CHECK",
            "",
            vec![],
            vec![
                "c:6:1: the link-local address fe80::1 needs an interface, so this check is left out; add `bind_if IF` to it",
            ],
        ),
        ("link-local", "fe80::1", "UDP_CHECK", "bind_if eth0", vec!["[fe80::1]:80"], vec![]),
        (
            "families",
            "10.0.0.2",
            "SMTP_CHECK",
            "bindto ::1",
            vec!["10.0.0.2:80"],
            vec![
                "c:7:1: `bindto ::1` and the server 10.0.0.2 are of different families; an address of the same family",
            ],
        ),
    ] {
        let text = of_real(&format!("{kind} {{\n{lines}\n}}"))
            .replace("real_server 10.0.0.2 80", &format!("real_server {real}"))
            .replace("lb_kind NAT", "lb_kind TUN");
        let text = if real.contains("8080") { text.replace("TUN", "NAT") } else { text };
        assert_eq!(targets(&config(name, &text, &messages)), want, "{name}");
    }
    // A firewall mark has no port; an echo request needs none.
    let mark = of_real("PING_CHECK {\n}\nTCP_CHECK {\n}")
        .replace("10.0.0.1 80", "fwmark 7")
        .replace("protocol TCP\n", "")
        .replace("10.0.0.2 80", "10.0.0.2");
    let without =
        "c:7:1: this check has no port to connect to, so it is left out; add `connect_port PORT` to it";
    assert_eq!(targets(&config("mark", &mark, &[without])), ["10.0.0.2:0"]);
}

#[test]
fn ssl_get() {
    for (name, lines, names, compliant) in [
        ("plain", "", [None, None], [false, false]),
        ("enable_sni", "enable_sni\nvirtualhost h", [Some("u"), Some("h")], [false, false]),
        ("enable_sni off", "enable_sni\nenable_sni off\nvirtualhost h", [None, None], [false, false]),
        ("bare sni_name", "sni_name", [Some("u"), None], [false, false]),
        ("sni_name", "enable_sni\nsni_name www.x", [Some("www.x"), Some("www.x")], [false, false]),
        ("tls_compliant", "tls_compliant", [None, None], [true, false]),
    ] {
        let lines = format!(
            "SSL_GET {{\nurl {{\npath /a\nvirtualhost u\n}}\nurl {{\npath /b\ntls_compliant off\n}}\n{lines}\n}}"
        );
        let check = check(name, &lines, &[]);
        let CheckKind::Http(http) = &check.kind else { panic!("{name}") };
        assert_eq!(http.tls, Some(TlsCheck::default()), "{name}");
        let sent = [&http.urls[0], &http.urls[1]].map(|url| url.server_name.as_deref());
        assert_eq!(sent, names, "{name}");
        assert_eq!([http.urls[0].tls_compliant, http.urls[1].tls_compliant], compliant, "{name}");
    }
}

#[test]
fn keywords_of_our_own_for_tls() {
    let own = "SSL_GET {\nurl {\npath /\n}\nverify\ncertificate_expiry_warning 14\n}";
    let check = check("both", own, &[]);
    let CheckKind::Http(http) = &check.kind else { panic!("an SSL check") };
    assert_eq!(http.tls, Some(TlsCheck { verify: true, expiry_warning: Some(14) }));
}

/// enable_sni sends the host of url, checker or virtual server, not that of the real server.
#[test]
fn a_real_servers_host_is_no_server_name() {
    for (name, of_virtual, of_checker, want) in [
        ("none else", "", "", (Some("rs"), None)),
        ("virtual server", "virtualhost vs\n", "", (Some("rs"), Some("vs"))),
        ("checker", "virtualhost vs\n", "virtualhost c\n", (Some("c"), Some("c"))),
    ] {
        let text =
            of_real(&format!("virtualhost rs\nSSL_GET {{\nenable_sni\n{of_checker}url {{\npath /\n}}\n}}"))
                .replacen("protocol TCP\n", &format!("protocol TCP\n{of_virtual}"), 1);
        let config = config(name, &text, &[]);
        let checks = checks(&config);
        let CheckKind::Http(http) = &checks[0].kind else { panic!("{name}") };
        let [url] = &http.urls[..] else { panic!("{name}") };
        assert_eq!((url.host.as_deref(), url.server_name.as_deref()), want, "{name}");
        // As text it is the same.
        let text = lbd_grammar::dump(&config, lbd_grammar::Secrets::Shown);
        assert_eq!(super::config(name, &text, &[]).virtual_servers, config.virtual_servers, "{name}: {text}");
    }
}

#[test]
fn urls() {
    let lines = "HTTP_GET {\nhttp_protocol 1.0c\nfast_recovery\nvirtualhost h\nurl {\npath /a\ndigest 000102030405060708090a0b0c0d0e0f\nstatus_code 200 204\nstatus_code 300-302\nvirtualhost u\n}\nurl {\npath /b\n}\n}";
    let check = check("all", lines, &[]);
    let CheckKind::Http(http) = &check.kind else { panic!("an HTTP check") };
    assert_eq!((http.protocol, http.fast_recovery, &http.tls), (HttpProtocol::V1_0Close, true, &None));
    let [a, b] = &http.urls[..] else { panic!("two urls") };
    let codes: Vec<u16> = a.status.iter().flat_map(|set| set.0.iter().copied()).collect();
    assert_eq!(codes, [200, 204, 300, 301, 302]);
    assert_eq!(a.digest.map(|digest| digest[15]), Some(15));
    assert_eq!((a.host.as_deref(), b.host.as_deref(), &b.status), (Some("u"), Some("h"), &None));
    for (name, lines, want) in [
        (
            "no url",
            "HTTP_GET {\n}",
            "c:6:1: `HTTP_GET` has no usable `url`, so it is left out; add `url { path / }` to it",
        ),
        (
            "one bad url",
            "SSL_GET {\nurl {\n}\n}",
            "c:7:1: `url` has no usable `path`, so it is ignored; add `path /` (ignored, and with it this SSL_GET, which has no other)",
        ),
    ] {
        assert_eq!(checks(&config(name, &of_real(lines), &[want])).len(), 0, "{name}");
    }
    let second = "HTTP_GET {\nurl {\npath /\ndigest 000102030405060708090a0b0c0d0e0f\ndigest 100102030405060708090a0b0c0d0e0f\n}\nnb_get_retry 4\n}";
    let old = super::check(
        "second digest",
        second,
        &[
            "c:10:1: `digest` is given twice; remove one of them; the first counts",
            "c:12:1: `nb_get_retry` is the old name of `retry`; write `retry`",
        ],
    );
    assert_eq!(old.schedule.retry, 4);
}

#[test]
fn patterns() {
    for (name, lines, pattern, messages) in [
        ("quoted", "regex \"a b\"", Some(&b"a b"[..]), vec![]),
        ("single quotes", "regex 'a\"b'", Some(b"a\"b"), vec![]),
        ("joined", "regex \"a\"'b'c", Some(b"abc"), vec![]),
        ("escapes", r#"regex "\\d\x41\101\xff\$""#, Some(b"\\dAA\xff$"), vec![]),
        ("comment characters", "regex \"#!{}\"", Some(b"#!{}"), vec![]),
        (
            "two words",
            "regex a b",
            Some(b"a"),
            vec!["c:9:1: `regex`: only the first word is the pattern; put a pattern with blanks in quotes"],
        ),
        ("empty", "regex \"\"", None, vec!["c:9:1: `regex`: the pattern is empty; remove it"]),
        (
            "open",
            "regex 'a",
            None,
            vec![
                r"c:9:1: `regex`: a quote is not closed; close it on the same line; within quotes write \\ for a backslash and \x22 for a quote",
            ],
        ),
        (
            "parameters alone",
            "regex_no_match\nregex_min_offset 3",
            None,
            vec![
                "c:9:1: `regex_no_match` has no effect without `regex`; add `regex \"PATTERN\"`, or remove it",
            ],
        ),
    ] {
        let check = check(name, &format!("SSL_GET {{\nurl {{\npath /\n{lines}\n}}\n}}"), &messages);
        let CheckKind::Http(http) = &check.kind else { panic!("{name}") };
        assert_eq!(http.urls[0].regex.as_ref().map(|regex| &*regex.pattern), pattern, "{name}");
    }
    let all = "regex x\nregex_no_match\nregex_options caseless utf\nregex_options multiline casless\nregex_min_offset 3\nregex_max_offset 9\nregex_stack 100 200";
    let check = check(
        "all",
        &format!("SSL_GET {{\nurl {{\npath /\n{all}\n}}\n}}"),
        &["c:12:25: unknown option `casless` of a pattern; did you mean `caseless`?"],
    );
    let CheckKind::Http(http) = &check.kind else { panic!("an SSL check") };
    let regex = http.urls[0].regex.as_deref().expect("a pattern");
    assert!(regex.no_match);
    assert_eq!(regex.options.names().collect::<Vec<_>>(), ["caseless", "multiline", "utf"]);
    assert_eq!((regex.min_offset, regex.max_offset, regex.stack), (3, Some(9), Some((100, 200))));
    let crossed =
        "SSL_GET {\nurl {\npath /\nregex x\nregex_max_offset 3\nregex_min_offset 3\nregex_stack 2 1\n}\n}";
    let check = super::check(
        "crossed",
        crossed,
        &[
            "c:10:1: `regex_max_offset` 3 is not above `regex_min_offset` 3; a match begins at the smaller one or after it, and not after the larger one",
            "c:12:15: `regex_stack`: 1 is less than 2; the second number is the limit",
        ],
    );
    let CheckKind::Http(http) = &check.kind else { panic!("an SSL check") };
    let regex = http.urls[0].regex.as_deref().expect("a pattern");
    assert_eq!((regex.min_offset, regex.max_offset, regex.stack), (0, None, None));
}

#[test]
fn each_host_of_smtp_is_a_check() {
    let old = "`host` in SMTP_CHECK is an old form; write one SMTP_CHECK for each address, with the keywords of its `host`";
    for (name, lines, want, hosts) in [
        ("none", "", vec!["10.0.0.2:80"], vec![]),
        (
            "hosts",
            "host {\nconnect_ip 10.0.0.7\n}\nhost {\nconnect_port 26\n}",
            vec!["10.0.0.7:80", "10.0.0.2:26"],
            vec![7, 10],
        ),
        (
            "its own too",
            "connect_port 99\nhost {\nconnect_ip 10.0.0.8\n}",
            vec!["10.0.0.2:99", "10.0.0.8:80"],
            vec![8],
        ),
    ] {
        let messages: Vec<String> = hosts.iter().map(|line| format!("c:{line}:1: {old}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let text = of_real(&format!("SMTP_CHECK {{\n{lines}\n}}"));
        // Written out there is no host any more.
        let config = config(name, &text, &messages);
        assert_eq!(targets(&config), want, "{name}");
        for check in checks(&config) {
            let CheckKind::Smtp(smtp) = &check.kind else { panic!("{name}") };
            assert_eq!(&*smtp.helo, "smtpchecker.keepalived.org", "{name}");
        }
    }
}

#[test]
fn dns_names_and_types() {
    for (name, lines, record, want, messages) in [
        ("defaults", "", DnsType::Soa, "", vec![]),
        ("any case", "type rrSig\nname a.example.", DnsType::Rrsig, "a.example", vec![]),
        ("the root", "type NS\nname .", DnsType::Ns, "", vec![]),
        (
            "unknown",
            "type AAAAA",
            DnsType::Soa,
            "",
            vec!["c:7:6: unknown type `AAAAA`; did you mean `AAAA`?"],
        ),
        (
            "empty label",
            "name a..b",
            DnsType::Soa,
            "",
            vec!["c:7:6: `name`: the name `a..b` has an empty label; a name such as example.net"],
        ),
        (
            "twice",
            "name a\nname b",
            DnsType::Soa,
            "a",
            vec!["c:8:1: `name` is given twice; remove one of them; the first counts"],
        ),
    ] {
        let check = check(name, &format!("DNS_CHECK {{\n{lines}\n}}"), &messages);
        let CheckKind::Dns(dns) = &check.kind else { panic!("{name}") };
        assert_eq!((dns.record, &*dns.name), (record, want), "{name}");
    }
    let long = format!("DNS_CHECK {{\nname {}\n}}", "a".repeat(64));
    let want = format!(
        "c:7:6: `name`: the name `{}` has a label of more than 63 octets; a name such as example.net",
        "a".repeat(60) + "…"
    );
    check("a long label", &long, &[&want]);
}

#[test]
fn udp_octets() {
    let octet = |value, mask| MaskedOctet { value, mask };
    for (name, lines, payload, reply, messages) in [
        ("defaults", "", None, None, vec![]),
        ("pairs", "payload 00ff 1 2", Some(vec![0, 0xff, 1, 2]), None, vec![]),
        ("an odd digit", "payload 123", Some(vec![0x12, 3]), None, vec![]),
        ("in quotes", "payload \"0a 0B\" c", Some(vec![10, 11, 12]), None, vec![]),
        ("any reply", "require_reply", None, Some(vec![]), vec![]),
        (
            "wildcards",
            "require_reply 1X xf XX 7 x",
            None,
            Some(vec![octet(0x10, 0xf0), octet(0x0f, 0x0f), octet(0, 0), octet(7, 0xff), octet(0, 0xf0)]),
            vec![],
        ),
        (
            "no wildcards are sent",
            "payload 0X",
            None,
            None,
            vec!["c:7:9: `payload`: `0X` is not hexadecimal; pairs of hexadecimal digits"],
        ),
        (
            "not hexadecimal",
            "require_reply 00 zz",
            None,
            None,
            vec!["c:7:18: `require_reply`: `zz` is not hexadecimal; pairs of hexadecimal digits or X"],
        ),
        (
            "nothing to send",
            "payload \"\"",
            None,
            None,
            vec!["c:7:9: `payload`: no octets are given; pairs of hexadecimal digits"],
        ),
        (
            "lengths",
            "min_reply_length 9\nmax_reply_length 3",
            None,
            None,
            vec![
                "c:8:1: a reply of at least 9 and at most 3 octets does not exist; write a min_reply_length up to max_reply_length",
            ],
        ),
    ] {
        let check = check(name, &format!("UDP_CHECK {{\n{lines}\n}}"), &messages);
        let CheckKind::Udp(udp) = &check.kind else { panic!("{name}") };
        assert_eq!(udp.payload.as_deref(), payload.as_deref(), "{name}");
        assert_eq!(udp.reply.as_deref(), reply.as_deref(), "{name}");
        let lengths = if name == "lengths" { (9, 3) } else { (0, 255) };
        assert_eq!((udp.min_reply_length, udp.max_reply_length), lengths, "{name}");
    }
}

#[test]
fn misc() {
    for (name, of_server, lines, timeout) in [
        ("its own", "", "misc_timeout 3", 3_000),
        ("the virtual server's delay_loop", "delay_loop 2.5", "delay_loop 4", 2_500),
        ("built-in", "", "", 60_000),
        ("longer than it can say", "delay_loop 5000", "misc_timeout 0", 5_000_000),
    ] {
        let text =
            of_real(&format!("MISC_CHECK {{\nmisc_path \"/bin/m a\" nobody\nmisc_dynamic\n{lines}\n}}"))
                .replace("protocol TCP", &format!("protocol TCP\n{of_server}"));
        let config = config(name, &text, &[]);
        let CheckKind::Misc(misc) = &checks(&config)[0].kind else { panic!("{name}") };
        assert_eq!((misc.timeout, misc.dynamic), (Duration::from_millis(timeout), true), "{name}");
        assert_eq!(config.scripts[&misc.script].argv, ["/bin/m", "a"], "{name}");
    }
    let none = "c:7:11: `misc_path`: a quote in the command is not closed; close it, or write \\' or \\\" (ignored, and with it this MISC_CHECK, which has no other)";
    let text = of_real("MISC_CHECK {\nmisc_path \"/bin/m 'a\"\n}");
    assert_eq!(checks(&config("no command", &text, &[none])).len(), 0);
}

#[test]
fn what_is_tracked_decides() {
    let objects =
        "bfd_instance b {\nneighbor_ip 10.0.0.9\n}\ntrack_file f {\nfile /tmp/f\nweight -7 reverse\n}\n";
    for (name, lines, want) in [
        ("the file's weight", "track_file f", (-7, true)),
        ("its own", "track_file f\nweight 2147483647", (2_147_483_647, false)),
        ("reverse", "weight -3 reverse\ntrack_file f", (-3, true)),
        ("noreverse", "track_file f\nweight -3 noreverse", (-3, false)),
    ] {
        let text = format!("{objects}{}", of_real(&format!("alpha\nFILE_CHECK {{\n{lines}\n}}")));
        let config = config(name, &text, &[]);
        let check = checks(&config)[0];
        let CheckKind::File(file) = &check.kind else { panic!("{name}") };
        assert_eq!((&*file.file, file.weight, file.reverse), ("f", want.0, want.1), "{name}");
        assert!(!check.schedule.alpha, "{name}: never alpha");
    }
    for (name, lines, count, message) in [
        (
            "no name",
            "FILE_CHECK {\n}",
            0,
            "c:13:1: `FILE_CHECK` has no usable `track_file`, so it is left out; add `track_file NAME` to it",
        ),
        (
            "unknown file",
            "FILE_CHECK {\ntrack_file g\n}",
            0,
            "c:14:12: no usable track_file `g` is defined before this line; add a block `track_file g { … }` before it (ignored, and with it this FILE_CHECK, which has no other)",
        ),
        (
            "unknown session",
            "BFD_CHECK {\nname other\n}",
            0,
            "c:14:6: no usable bfd_instance `other` is defined before this line; add a block `bfd_instance other { … }` before it (ignored, and with it this BFD_CHECK, which has no other)",
        ),
        (
            "twice",
            "BFD_CHECK {\nname b\n}\nBFD_CHECK {\nname b\nalpha\n}",
            1,
            "c:16:1: this real server has a BFD_CHECK of b already; remove one of them",
        ),
    ] {
        let text = format!("{objects}{}", of_real(lines));
        assert_eq!(checks(&config(name, &text, &[message])).len(), count, "{name}");
    }
    // Names are those that stand before.
    let text = format!("{}bfd_instance b {{\nneighbor_ip 10.0.0.9\n}}\n", of_real("BFD_CHECK {\nname b\n}"));
    let later = "c:7:6: no usable bfd_instance `b` is defined before this line (it is here: c:11:14); a bfd_instance has to be complete and to stand before the block that refers to it (ignored, and with it this BFD_CHECK, which has no other)";
    assert_eq!(checks(&config("later", &text, &[later])).len(), 0);
}

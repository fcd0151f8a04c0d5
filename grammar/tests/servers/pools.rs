//! Keywords of virtual_server and real_server, and of SSL.

use lbd_grammar::{Secrets, dump, load_str};

use super::common::{rendered, summaries};
use super::{config, first, of_real, of_server};

#[test]
fn mail() {
    for (name, global, of_virtual, of_this, want) in [
        ("built-in", "", "", "", (false, true)),
        ("global", "smtp_alert off", "", "", (false, false)),
        ("global of checkers", "smtp_alert off\nsmtp_alert_checker", "", "", (true, true)),
        ("its own", "smtp_alert_checker off", "smtp_alert", "smtp_alert on", (true, true)),
        ("not the virtual server's", "", "smtp_alert", "smtp_alert off", (true, false)),
    ] {
        let text = of_real(of_this).replace("protocol TCP", &format!("protocol TCP\n{of_virtual}"));
        let config = config(name, &format!("global_defs {{\n{global}\n}}\n{text}"), &[]);
        let server = first(&config);
        assert_eq!((server.smtp_alert, server.real_servers[0].smtp_alert), want, "{name}");
    }
}

#[test]
fn names() {
    let text = of_real("snmp_name b").replace("protocol TCP", "protocol TCP\nsnmp_name a");
    let config = config("names", &text, &[]);
    assert_eq!(first(&config).snmp_name.as_deref(), Some("a"));
    assert_eq!(first(&config).real_servers[0].snmp_name.as_deref(), Some("b"));
    let said = summaries(&load_str("c", &text));
    let want = "`snmp_name` is not supported yet; there is no SNMP";
    assert_eq!(said, [format!("c:5:1: {want}"), format!("c:7:1: {want}")]);
}

#[test]
fn messages() {
    for (name, lines, want) in [
        (
            "a long engine",
            "persistence_engine abcdefghijklmnopq",
            "c:5:1: `persistence_engine` is cut to `abcdefghijklmno`; 1 to 15 characters",
        ),
        (
            "hashed without sh",
            "hashed",
            "c:5:1: `hashed` belongs to `lb_algo sh` and `lb_algo mh`; remove it; it has no effect",
        ),
        (
            "a flag of mh",
            "mh-port",
            "c:5:1: `mh-port` has to stand after `lb_algo mh`; put `lb_algo mh` before it, or remove it",
        ),
        (
            "inhibit first",
            "sorry_server_inhibit\nsorry_server 10.0.0.9 80",
            "c:5:1: `sorry_server_inhibit` has to stand after `sorry_server`; move it below that line",
        ),
        (
            "persistence",
            "persistence_timeout 2678401",
            "c:5:21: `persistence_timeout`: `2678401` is out of range; a number from 1 to 2678400",
        ),
        (
            "granularity",
            "persistence_granularity 129",
            "c:5:25: `persistence_granularity`: `129` is no mask; an IPv4 mask such as 255.255.255.0, or an IPv6 prefix length from 1 to 128",
        ),
        (
            "granularity of the other family",
            "persistence_granularity 64",
            "c:5:25: `persistence_granularity` is not of the service's family inet; an IPv4 mask for IPv4, a prefix length for IPv6",
        ),
        (
            "quorum_up twice",
            "quorum_up /bin/a\nquorum_up /bin/b",
            "c:6:1: `quorum_up` is given twice; remove one of them; the first counts",
        ),
        (
            "a sorry server of the other family",
            "sorry_server 2001:db8::1 80",
            "c:5:1: sorry_server 2001:db8::1 is inet6, the virtual server inet: NAT cannot join them; give an inet address, or use `lvs_method TUN`",
        ),
        (
            "ip_family",
            "ip_family inet6",
            "c:5:1: `ip_family inet6` contradicts the address 10.0.0.1; remove it",
        ),
        (
            "thresholds",
            "real_server 10.0.0.3 80 {\nuthreshold 5\nlthreshold 6\n}",
            "c:7:1: `lthreshold` 6 is above `uthreshold` 5; the kernel wants it at most as large as uthreshold",
        ),
        (
            "a keyword of every check",
            "log_all_failures",
            "c:5:1: unknown keyword `log_all_failures`; it belongs in a check",
        ),
    ] {
        config(name, &of_server(lines), &[want]);
    }
    for text in
        ["lb_algo sh\nhashed\nsh-port\nsh-fallback", "lb_algo mh\nhashed\nmh-port\nmh-fallback\nflag-3"]
    {
        config(text, &of_server(text), &[]);
    }
}

#[test]
fn a_server_without_weight_has_the_least_quorum() {
    let text = of_real("weight 0");
    assert_eq!(first(&config("no weight", &text, &[])).quorum, 1);
}

#[test]
fn ssl() {
    let text = "SSL {\npassword topsecret1\nca /a\ncertificate /b\nkey /c\n}\n";
    let one = config("one", text, &[]);
    let tls = one.tls.as_ref().expect("SSL");
    assert_eq!(tls.password.as_deref(), Some("topsecret1"));
    assert_eq!(
        (tls.ca.as_deref(), tls.certificate.as_deref(), tls.key.as_deref()),
        (Some("/a"), Some("/b"), Some("/c"))
    );
    assert!(dump(&one, Secrets::Shown).contains("password topsecret1\n"));
    assert!(!dump(&one, Secrets::Masked).contains("topsecret"));
    for (there, missing) in [("certificate", "key"), ("key", "certificate")] {
        let want = format!(
            "c:1:1: `SSL` has a `{there}` and no usable `{missing}`: no certificate is shown; add `{missing} FILE`, or remove `{there}`"
        );
        config(there, &format!("SSL {{\n{there} /a\n}}\n"), &[&want]);
    }
    let two = format!("{text}SSL {{\nca /d\n}}\n");
    let two =
        config("two", &two, &["c:1:1: `SSL` is given twice (this one counts: c:7:1); remove one of them"]);
    let tls = two.tls.expect("SSL");
    assert_eq!((tls.password, tls.ca.as_deref()), (None, Some("/d")));
    let loaded = load_str("c", "SSL {\npassword topsecret1 topsecret2\nkey \"\"\nfoo\n}\n");
    let all = format!("{}{:?}{one:?}", rendered(&loaded), summaries(&loaded));
    assert!(!all.contains("topsecret"), "{all}");
    assert_eq!(loaded.config.and_then(|config| config.tls).and_then(|tls| tls.password), None);
}

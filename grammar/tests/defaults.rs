//! Defaults as the reference states them: a keyword with its default says what its absence says.

mod common;

use common::summaries;
use lbd_grammar::{Config, Kind, load_str};

/// Around one line, `%`.
const INSTANCE: &str =
    "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.9\n }\n%\n}\n";
const SCRIPT: &str = "vrrp_script S {\n script /bin/true\n%\n}\nvrrp_instance V {\n interface eth0\n virtual_router_id 7\n \
     virtual_ipaddress {\n 192.0.2.9\n }\n track_script {\n S\n }\n}\n";
const PROCESS: &str = "vrrp_track_process P {\n process nginx\n%\n}\n";
const FILE: &str = "track_file F {\n file /run/f\n%\n}\n";
const BFD: &str = "bfd_instance B {\n neighbor_ip 192.0.2.1\n%\n}\n";
const SERVER: &str = "virtual_server 192.0.2.1 80 {\n lb_algo wlc\n lb_kind NAT\n protocol UDP\n%\n real_server 192.0.2.2 80 {\n \
     TCP_CHECK {\n }\n }\n}\n";
/// Without what is said to be missing.
const BARE_SERVER: &str = "virtual_server 192.0.2.1 80 {\n%\n real_server 192.0.2.2 80 {\n }\n}\n";
const REAL: &str = "virtual_server 192.0.2.1 80 {\n lb_algo wlc\n lb_kind NAT\n protocol TCP\n real_server 192.0.2.2 80 {\n%\n \
     TCP_CHECK {\n }\n }\n}\n";

/// A check in a real server.
fn check(name: &str) -> String {
    let own = match name {
        "HTTP_GET" | "SSL_GET" => " url {\n path /\n }\n",
        "MISC_CHECK" => " misc_path /bin/true\n",
        _ => "",
    };
    REAL.replace("%\n", "").replace("TCP_CHECK {\n", &format!("{name} {{\n{own}%\n"))
}

fn meaning(text: &str) -> Config {
    let loaded = load_str("c", text);
    let said = summaries(&loaded);
    *loaded.draft.or(loaded.config.map(Box::new)).unwrap_or_else(|| panic!("{text}: {said:#?}"))
}

#[test]
fn what_is_absent_has_the_default_of_the_reference() {
    let dns = check("DNS_CHECK");
    let [tcp, misc, http, ssl, smtp, udp, ping] =
        ["TCP_CHECK", "MISC_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "UDP_CHECK", "PING_CHECK"]
            .map(check);
    let rows: &[(&str, &str, &str)] = &[
        (
            "instance",
            INSTANCE,
            "state BACKUP / priority 100 / version 2 / advert_int 1 / down_timer_adverts 3 / preempt",
        ),
        (
            "instance",
            INSTANCE,
            "preempt_delay 0 / strict_mode off / lower_prio_no_advert off / higher_prio_send_advert off",
        ),
        (
            "instance",
            INSTANCE,
            "accept / v3_checksum_as_v2 off / notify_priority_changes off / smtp_alert off",
        ),
        (
            "instance",
            INSTANCE,
            "garp_master_delay 5 / garp_master_repeat 5 / garp_master_refresh 0 / garp_master_refresh_repeat 1",
        ),
        (
            "instance",
            INSTANCE,
            "garp_lower_prio_delay 5 / garp_lower_prio_repeat 5 / mcast_dst_ip 224.0.0.18",
        ),
        ("script", SCRIPT, "interval 1 / timeout 1 / weight 0 / rise 1 / fall 1"),
        ("process", PROCESS, "weight 0 / quorum 1"),
        ("file", FILE, "weight 1"),
        (
            "bfd",
            BFD,
            "min_rx 10 / min_tx 10 / idle_tx 1000 / multiplier 5 / ttl 255 / hoplimit 255 / max_hops 0 / multihop off / weight 0",
        ),
        (
            "server",
            SERVER,
            "delay_loop 60 / connect_timeout 5 / warmup 60 / quorum 1 / hysteresis 0 / weight 1",
        ),
        ("server", SERVER, "smtp_alert off"),
        ("bare server", BARE_SERVER, "lb_algo wlc / lb_kind NAT / protocol UDP"),
        (
            "real",
            REAL,
            "weight 1 / uthreshold 0 / lthreshold 0 / inhibit_on_failure off / alpha off / delay_loop 60",
        ),
        (
            "real",
            REAL,
            "warmup 60 / connect_timeout 5 / smtp_alert on / lvs_method NAT / retry 1 / delay_before_retry 1",
        ),
        (
            "tcp",
            &tcp,
            "connect_ip 192.0.2.2 / connect_port 80 / connect_timeout 5 / fwmark 0 / retry 1 / delay_before_retry 1",
        ),
        ("tcp", &tcp, "delay_loop 60 / warmup 60 / alpha off / log_all_failures off"),
        ("http", &http, "retry 1 / delay_before_retry 3 / http_protocol 1.0 / fast_recovery off"),
        ("ssl", &ssl, "retry 1 / delay_before_retry 3 / enable_sni off / tls_compliant off"),
        ("smtp", &smtp, "helo_name smtpchecker.keepalived.org / retry 1 / delay_before_retry 1"),
        ("dns", &dns, "type SOA / retry 3 / delay_before_retry 60"),
        ("misc", &misc, "retry 0 / misc_timeout 0 / misc_timeout 60"),
        ("udp", &udp, "retry 1"),
        ("ping", &ping, "retry 1"),
    ];
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, around, lines) in rows {
        let absent = meaning(&around.replace('%', ""));
        for line in lines.split(" / ") {
            count += 1;
            let text = around.replace('%', line);
            let said = load_str("c", &text).diagnostics;
            let at = around.split('%').next().unwrap_or_default().lines().count() + 1;
            let here = |found: &&lbd_grammar::Diagnostic| {
                found.kind != Kind::Unserved
                    && found
                        .span
                        .is_some_and(|span| text[..span.range().start].matches('\n').count() + 1 == at)
            };
            let complaint = said.iter().find(here).map(|found| found.message.clone());
            if meaning(&text) != absent || complaint.is_some() {
                wrong.push(format!("{name}: {line} {}", complaint.unwrap_or_default()));
            }
        }
    }
    assert!(count > 70, "{count}");
    assert_eq!(wrong, Vec::<String>::new());
}

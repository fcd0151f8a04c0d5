use std::process::Command;

use super::*;
use crate::namespace::{in_namespace, ip};

fn to(target: &str) -> Connection {
    Connection {
        target: target.parse().unwrap(),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(10),
        fwmark: None,
    }
}

/// Whose fault it is: what a firewall far away answers is not what this host forbids itself, also where
/// the kernel has one number for both.
#[test]
fn what_is_forbidden_and_by_whom() {
    in_namespace("what_is_forbidden_and_by_whom", || async {
        let rules = "table inet far { chain input { type filter hook input priority 0; \
            meta nfproto ipv6 meta l4proto tcp reject with icmpv6 type admin-prohibited; \
            meta nfproto ipv4 meta l4proto tcp reject with icmp type admin-prohibited; }; }";
        match Command::new("nft").arg(rules).status() {
            Ok(status) if status.success() => {}
            other => {
                return lbd_integration::skip::report("what_is_forbidden_and_by_whom", &format!("{other:?}"));
            }
        }
        ip(&["route", "add", "prohibit", "198.51.100.0/24"]);
        ip(&["-6", "route", "add", "prohibit", "2001:db8::/32"]);
        let theirs = |text: &str| ConnectError::Theirs(text.into());
        let ours = |text: &str| ConnectError::Ours(text.into());
        for (target, want) in [
            ("[::1]:9", theirs("prohibited by a router or filter")),
            ("127.0.0.1:9", theirs("no route to the host")),
            ("[2001:db8::1]:9", ours("permission denied")),
            ("198.51.100.1:9", ours("permission denied")),
            ("192.0.2.1:9", theirs("network unreachable")),
        ] {
            assert_eq!(reach(&to(target)).await, Err(want.clone()), "reach {target}");
            assert_eq!(connect(&to(target)).await.map(|_| ()), Err(want), "connect {target}");
        }
    });
}

#[test]
fn what_runs_out_here_is_not_the_servers_fault() {
    for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC] {
        let judged = judge(&to("192.0.2.1:9"), &io::Error::from_raw_os_error(number));
        assert!(matches!(judged, ConnectError::Ours(_)), "{number}: {judged:?}");
    }
}

/// The mark decides about the route of every kind of socket.
#[test]
fn marks() {
    in_namespace("marks", || async {
        ip(&["rule", "add", "pref", "100", "fwmark", "7", "prohibit"]);
        let marked = |mark| Connection { fwmark: std::num::NonZeroU32::new(mark), ..to("127.0.0.1:9") };
        // The table of local addresses is asked before all rules; here after this one.
        ip(&["rule", "add", "pref", "200", "lookup", "local"]);
        ip(&["rule", "del", "pref", "0"]);
        for (mark, routed) in [(7, false), (8, true)] {
            let connection = marked(mark);
            let tcp = reach(&connection).await.expect_err("nobody listens");
            assert_eq!(
                tcp == ConnectError::Theirs("connection refused".into()),
                routed,
                "TCP {mark}: {tcp:?}"
            );
            assert_eq!(datagram(&connection).is_ok(), routed, "UDP {mark}");
            let pings = crate::check::ping::Pings::default();
            let echo = crate::check::ping::run(&connection, &pings).await;
            assert_eq!(&*echo.reason == "answered", routed, "ICMP {mark}: {}", echo.reason);
        }
    });
}

//! The words of log lines.

use tracing::Level;

use super::super::line::{Line, line};
use super::*;

#[test]
fn lines_that_people_alert_on() {
    let mark = ServiceId::FwMark { mark: 7.try_into().unwrap(), family: Family::Inet };
    let v6 = ServiceId::Addr { protocol: Protocol::Udp, vip: "[2001:db8::1]:53".parse().unwrap() };
    let none = Facts::default();
    let known = Facts { quorum: Some((2, 1)), ..Facts::default() };
    let down = Facts { down: true, ..Facts::default() };
    let weight = Event::Weight { service: vs(), address: rs(), from: 1, to: 5 };
    let script = |good| Event::Script { name: "chk".into(), good, reason: "why".into() };
    for (event, facts, level, text, reason) in [
        (entering(State::Master), none, Level::INFO, "(VI_1) Entering MASTER STATE", Some("why")),
        (entering(State::Backup), none, Level::INFO, "(VI_1) Entering BACKUP STATE", Some("why")),
        (entering(State::Fault), none, Level::WARN, "(VI_1) Entering FAULT STATE", Some("why")),
        (stopped(false), none, Level::INFO, "(VI_1) Stopped", None),
        (
            group_entering(State::Master),
            none,
            Level::INFO,
            "VRRP_Group(VG_1) Syncing instances to MASTER state",
            Some("why"),
        ),
        (
            group_entering(State::Fault),
            none,
            Level::WARN,
            "VRRP_Group(VG_1) Syncing instances to FAULT state",
            Some("why"),
        ),
        (group_stopped(false), none, Level::INFO, "VRRP_Group(VG_1) Stopped", None),
        (group_stopped(true), none, Level::INFO, "VRRP_Group(VG_1) Deleted", None),
        (
            condition("split_brain", true),
            none,
            Level::WARN,
            "(VI_1) split_brain: another router is master too",
            Some("why"),
        ),
        (condition("split_brain", false), none, Level::INFO, "(VI_1) split_brain is over", Some("why")),
        (condition("another", true), none, Level::WARN, "(VI_1) another: needs a look", Some("why")),
        (
            foreign(),
            none,
            Level::INFO,
            "Unknown virtual router: VRID 7 (ipv4) of 10.0.0.9 on eth0 is not configured here",
            None,
        ),
        (
            foreign(),
            Facts { warns_foreign: true, ..none },
            Level::WARN,
            "Unknown virtual router: VRID 7 (ipv4) of 10.0.0.9 on eth0 is not configured here",
            None,
        ),
        (script(true), none, Level::INFO, "VRRP_Script(chk) succeeded", Some("why")),
        (script(false), none, Level::WARN, "VRRP_Script(chk) failed", Some("why")),
        (process(true), none, Level::INFO, "Quorum gained for tracked process web", Some("why")),
        (process(false), none, Level::WARN, "Quorum lost for tracked process web", Some("why")),
        (
            Event::VrrpPriority { instance: "VI_1".into(), from: 100, to: 95, reason: String::new() },
            none,
            Level::INFO,
            "(VI_1) Changing effective priority from 100 to 95",
            None,
        ),
        (
            real(false, false),
            none,
            Level::WARN,
            "Removing service [10.0.0.2]:tcp:80 from VS [10.0.0.1]:tcp:80",
            Some("why"),
        ),
        (
            real(true, false),
            none,
            Level::INFO,
            "Adding service [10.0.0.2]:tcp:80 to VS [10.0.0.1]:tcp:80",
            Some("why"),
        ),
        (
            real(false, true),
            none,
            Level::WARN,
            "Disabling service [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80",
            Some("why"),
        ),
        (
            real(true, true),
            none,
            Level::INFO,
            "Enabling service [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80",
            Some("why"),
        ),
        (
            Event::RealServer {
                service: mark.into(),
                address: rs(),
                up: false,
                inhibited: false,
                cause: Cause::Result,
                reason: String::new(),
            },
            none,
            Level::WARN,
            "Removing service [10.0.0.2]:none:80 from VS FWM 7",
            None,
        ),
        (
            Event::RealServer {
                service: v6.into(),
                address: "[2001:db8::2]:53".parse().unwrap(),
                up: true,
                inhibited: false,
                cause: Cause::Result,
                reason: String::new(),
            },
            none,
            Level::INFO,
            "Adding service [2001:db8::2]:udp:53 to VS [2001:db8::1]:udp:53",
            None,
        ),
        (
            weight.clone(),
            none,
            Level::INFO,
            "Changing weight from 1 to 5 for active service [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80",
            None,
        ),
        (
            weight,
            down,
            Level::INFO,
            "Changing weight from 1 to 5 for inactive service [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80",
            None,
        ),
        (
            quorum(true, 4, 3, None),
            known,
            Level::INFO,
            "Gained quorum 2+1=3 <= 4 for VS [10.0.0.1]:tcp:80",
            None,
        ),
        (
            quorum(false, 0, 1, Some("127.0.0.1:8080")),
            known,
            Level::WARN,
            "Lost quorum 2-1=1 > 0 for VS [10.0.0.1]:tcp:80",
            Some("sorry server [127.0.0.1]:tcp:8080 takes over"),
        ),
        (
            Event::CheckFailed {
                service: vs(),
                address: rs(),
                check: "TCP_CHECK",
                reason: "connection refused".into(),
            },
            none,
            Level::INFO,
            "TCP_CHECK of [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80 failed",
            Some("connection refused"),
        ),
        (
            Event::CheckWarning {
                service: vs(),
                address: rs(),
                check: "SSL_GET",
                warning: "certificate expires in 13 days".into(),
            },
            none,
            Level::WARN,
            "SSL_GET of [10.0.0.2]:tcp:80 of VS [10.0.0.1]:tcp:80 warns",
            Some("certificate expires in 13 days"),
        ),
    ] {
        let want = Line { level, text: text.into(), reason: reason.map(str::to_owned) };
        assert_eq!(line(&event, &facts), want);
    }
}

//! What `lbctl` prints, and the JSON it stands on. The snapshots are contracts: programs read the
//! JSON (additive changes only), people know the table.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::table::{render, short};
use super::*;
use crate::control::plan::{ChecksPlan, PlannedOperation, PlannedRouter};
use crate::control::server::{Answer, Backend, ControlSocket};
use crate::control::status::{
    CheckState, CheckStatus, ConditionStatus, ConfigStatus, ContributionStatus, EntryStatus, ForeignStatus,
    HeardStatus, InstanceStatus, IpvsStatus, LatenessBucket, LatenessStatus, LeavingStatus, RealServerState,
    RealServerStatus, SorryServerStatus, StaticStatus, SyncDaemonStatus, SyncGroupStatus, TrafficStatus,
    VirtualServerState, VirtualServerStatus, VrrpStatus,
};
use crate::control::{HandoverStarted, ReloadOutcome};

fn contribution(kind: &str, name: &str, state: &str, contribution: i32) -> ContributionStatus {
    let (kind, name, state) = (kind.into(), name.into(), state.into());
    ContributionStatus { kind, name, weight: -5, reverse: false, state, contribution }
}

/// A director with one of everything.
fn sample() -> Status {
    let check = |kind: &str, state, result: Option<&str>, latency_ms| CheckStatus {
        kind: kind.into(),
        state,
        last_result: result.map(Into::into),
        warning: None,
        last_at: result.map(|_| "2026-11-03T11:59:58Z".into()),
        latency_ms,
    };
    let real = |address: &str, weight, effective_weight, state, since: &str, checks| RealServerStatus {
        address: address.into(),
        weight,
        effective_weight,
        state,
        since: since.into(),
        active_connections: 12,
        inactive_connections: 3,
        checks,
        ..RealServerStatus::default()
    };
    let up = |latency| check("TCP_CHECK", CheckState::Up, Some("connected"), Some(latency));
    Status {
        version: "0.1.0".into(),
        router_id: Some("LVS_1".into()),
        uptime_s: 93_784.5,
        config: ConfigStatus {
            path: "/etc/lbd/lbd.conf".into(),
            generation: 3,
            loaded_at: "2026-11-03T11:00:00Z".into(),
            last_error: None,
        },
        ipvs: IpvsStatus {
            writes: 12,
            dumps: 3,
            errors: 0,
            drift_repaired: 1,
            last_error: None,
            refused: Vec::new(),
            audits: 93_784,
            sync_daemons: vec![SyncDaemonStatus { role: "master".into(), interface: "eth1".into(), id: 51 }],
            sync_error: None,
            leaving: vec![LeavingStatus {
                virtual_server: "TCP 10.0.0.1:80".into(),
                real_server: "10.0.0.9:80".into(),
                connections: Some(3),
                until: "2026-11-03T12:01:00Z".into(),
            }],
        },
        virtual_servers: vec![
            VirtualServerStatus {
                id: "TCP 10.0.0.1:80".into(),
                scheduler: "wlc".into(),
                forwarding: "DR".into(),
                state: VirtualServerState::Up,
                quorum: 1,
                keep_at_least: 0,
                alive_weight: 180,
                persistence_timeout_s: 600,
                sorry_server: Some(SorryServerStatus { address: "127.0.0.1:80".into(), active: false }),
                traffic: TrafficStatus {
                    connections: 1000,
                    in_bytes: 5_000_000_000,
                    ..TrafficStatus::default()
                },
                real_servers: vec![
                    real(
                        "10.0.0.2:80",
                        100,
                        100,
                        RealServerState::Up,
                        "2026-11-03T11:56:48Z",
                        vec![up(0.42)],
                    ),
                    real(
                        "10.0.0.3:80",
                        100,
                        80,
                        RealServerState::Up,
                        "2026-11-01T10:00:00Z",
                        vec![up(1.0), check("MISC_CHECK", CheckState::Up, Some("exit 82"), Some(30.0))],
                    ),
                    real(
                        "10.0.0.4:80",
                        100,
                        0,
                        RealServerState::Inhibited,
                        "2026-11-03T11:59:59.250Z",
                        vec![check(
                            "HTTP_GET",
                            CheckState::Down,
                            Some("status 503, 200 expected"),
                            Some(2.0),
                        )],
                    ),
                ],
            },
            VirtualServerStatus {
                id: "FWM 7 inet".into(),
                scheduler: "rr".into(),
                forwarding: "NAT".into(),
                state: VirtualServerState::Sorry,
                quorum: 2,
                sorry_server: Some(SorryServerStatus { address: "10.9.9.9:80".into(), active: true }),
                real_servers: vec![
                    real(
                        "[2001:db8::1]:8080",
                        1,
                        1,
                        RealServerState::Drained,
                        "2026-11-03T08:58:00Z",
                        vec![],
                    ),
                    real(
                        "10.0.0.6:80",
                        1,
                        1,
                        RealServerState::Unknown,
                        "",
                        vec![check("DNS_CHECK", CheckState::Unknown, None, None)],
                    ),
                ],
                ..VirtualServerStatus::default()
            },
        ],
        vrrp: VrrpStatus {
            instances: vec![
                InstanceStatus {
                    name: "VI_1".into(),
                    interface: "eth0".into(),
                    parent_interface: None,
                    vrid: 51,
                    version: 2,
                    family: "ipv4".into(),
                    state: "MASTER".into(),
                    since: "2026-11-03T11:56:48Z".into(),
                    priority: 100,
                    effective_priority: 110,
                    priority_contributions: vec![
                        contribution("interface", "eth7", "up", 0),
                        contribution("script", "chk", "failed", -5),
                        contribution("file", "f", "15", 15),
                    ],
                    master: Some("10.0.0.3".into()),
                    addresses: (1..=6).map(|last| format!("10.0.0.{last}/32")).collect(),
                    adverts_sent: 192,
                    adverts_received: 4,
                    adverts_dropped: [("auth".into(), 2), ("ttl".into(), 1)].into(),
                    sync_group: Some("G1".into()),
                    advert_interval_ms: 1000.0,
                    master_priority: Some(110),
                    last_advert_received: Some("2026-11-03T11:56:47Z".into()),
                    conditions: vec![
                        ConditionStatus {
                            name: "split_brain".into(),
                            detail: "10.0.0.8 advertises priority 90".into(),
                            since: "2026-11-03T11:59:30Z".into(),
                        },
                        ConditionStatus {
                            name: "paused".into(),
                            detail: String::new(),
                            since: "2026-11-03T11:58:00Z".into(),
                        },
                    ],
                    heard: vec![HeardStatus {
                        address: "10.0.0.8".into(),
                        priority: 90,
                        interval_ms: 1000.0,
                        last_at: "2026-11-03T11:59:59Z".into(),
                        adverts: 30,
                    }],
                    priority_zero_sent: 1,
                    priority_zero_received: 2,
                    became_master: 3,
                    released_master: 2,
                    routes: vec![
                        EntryStatus {
                            entry: "unicast 198.51.100.0/24 prepend via 10.0.0.9 dev eth0 protocol 18".into(),
                            error: Some("Network is unreachable (Nexthop has invalid gateway)".into()),
                            ..EntryStatus::default()
                        },
                        EntryStatus {
                            entry: "unicast 203.0.113.0/24 prepend dev eth0 protocol 18".into(),
                            present: true,
                            repaired: 2,
                            error: None,
                        },
                    ],
                    rules: vec![EntryStatus {
                        entry: "from 10.0.0.1/32 to all preference 50 protocol 18 table 100".into(),
                        present: true,
                        ..EntryStatus::default()
                    }],
                    missing: vec![
                        "route unicast 198.51.100.0/24 prepend via 10.0.0.9 dev eth0 protocol 18: Network is unreachable \
                         (Nexthop has invalid gateway)"
                            .into(),
                    ],
                    repaired: 2,
                    fault_reasons: Vec::new(),
                },
                InstanceStatus {
                    name: "VI_6".into(),
                    interface: "eth1".into(),
                    vrid: 6,
                    version: 3,
                    family: "ipv6".into(),
                    state: "FAULT".into(),
                    since: "2026-11-03T11:59:48Z".into(),
                    priority: 100,
                    effective_priority: 100,
                    addresses: vec!["fe80::1/128".into()],
                    fault_reasons: vec!["interface eth1 does not exist".into()],
                    ..InstanceStatus::default()
                },
            ],
            sync_groups: vec![SyncGroupStatus {
                name: "G1".into(),
                state: "FAULT".into(),
                members: vec!["VI_1".into(), "VI_6".into()],
                since: "2026-11-03T11:59:48Z".into(),
            }],
            static_entries: StaticStatus {
                addresses: vec![EntryStatus {
                    entry: "10.9.0.1/24 on eth0".into(),
                    present: true,
                    repaired: 1,
                    error: None,
                }],
                routes: (0..10)
                    .map(|number| EntryStatus {
                        entry: format!("unicast 10.{number}.0.0/16 prepend dev eth9 protocol 18"),
                        error: Some("interface eth9 does not exist".into()),
                        ..EntryStatus::default()
                    })
                    .collect(),
                rules: Vec::new(),
            },
            foreign: vec![ForeignStatus {
                interface: "eth0".into(),
                vrid: 99,
                family: "ipv4".into(),
                source: "10.0.0.77".into(),
                last_at: "2026-11-03T11:59:58Z".into(),
                adverts: 60,
            }],
            advert_lateness: LatenessStatus {
                count: 192,
                max_ms: 3.2,
                p50_ms: Some(0.05),
                p99_ms: Some(0.2),
                buckets: vec![
                    LatenessBucket { le_ms: Some(0.05), count: 150 },
                    LatenessBucket { le_ms: None, count: 192 },
                ],
            },
            strangers: 5,
            send_errors: 2,
            receive_overflows: 1,
            malformed: 3,
        },
    }
}

fn look(colour: bool) -> Look {
    let now = humantime::parse_rfc3339("2026-11-03T12:00:00Z").expect("time");
    Look { colour, now }
}

#[test]
fn table_for_people() {
    insta::assert_snapshot!("table", render(&sample(), look(false)));
}

#[test]
fn the_sum_of_a_priority() {
    let of = |set, effective, parts: &[(&str, i32)]| {
        let parts = parts.iter().map(|(name, points)| contribution("script", name, "failed", *points));
        let (priority_contributions, priority) = (parts.collect(), set);
        table::sum(&InstanceStatus {
            priority,
            effective_priority: effective,
            priority_contributions,
            ..InstanceStatus::default()
        })
    };
    for (name, got, want) in [
        ("as it is set", of(100, 100, &[("a", 5), ("b", -5)]), None),
        ("another", of(100, 80, &[("a", -20), ("b", 0)]), Some("  priority 100 - 20 (script a failed) = 80")),
        (
            "at the limit",
            of(100, 254, &[("a", 200), ("b", -1)]),
            Some("  priority 100 + 200 (script a failed) - 1 (script b failed) = 254, the limit"),
        ),
        ("of an older lbd", of(100, 80, &[]), None),
    ] {
        assert_eq!(got.as_deref(), want, "{name}");
    }
}

#[test]
fn what_went_wrong_stands_at_the_top() {
    let mut status = sample();
    status.config.last_error = Some(
        "lb.conf:12:11: unknown lb_algo `wrrr`; did you mean `wrr`?\nlb.conf:14:1: `}` is missing\n".into(),
    );
    status.ipvs.last_error = Some("converging, 2 refused: no such scheduler".into());
    status.virtual_servers.clear();
    status.vrrp = VrrpStatus::default();
    insta::assert_snapshot!("table_errors", render(&status, look(false)));
}

#[test]
fn json_contract() {
    insta::assert_json_snapshot!("status", sample());
    let text = serde_json::to_string(&sample()).expect("JSON");
    assert_eq!(serde_json::from_str::<Status>(&text).expect("read back"), sample());
}

/// What an older lbd answers is understood: lbctl may be newer than the daemon that it asks.
#[test]
fn fields_that_came_later_may_be_missing() {
    let text = r#"{"instances": [{"name": "VI_1", "interface": "eth0", "vrid": 1, "version": 2,
        "family": "ipv4", "state": "BACKUP", "since": "", "priority": 100, "effective_priority": 100,
        "master": null, "addresses": [], "fault_reasons": [], "adverts_sent": 0, "adverts_received": 0,
        "adverts_dropped": {}}],
        "sync_groups": [{"name": "G1", "state": "BACKUP", "members": ["VI_1"]}]}"#;
    let vrrp: VrrpStatus = serde_json::from_str(text).expect("read");
    assert_eq!((vrrp.instances.len(), vrrp.sync_groups.len(), vrrp.advert_lateness.count), (1, 1, 0));
}

#[test]
fn virtual_routers_of_others_do_not_fill_the_page() {
    let mut status = sample();
    let one = status.vrrp.foreign[0].clone();
    for (count, cut) in [(8, false), (9, true)] {
        status.vrrp.foreign = vec![one.clone(); count];
        let text = render(&status, look(false));
        assert_eq!(text.matches("VRID 99 ipv4").count(), 8);
        assert_eq!(text.ends_with("\nand 1 more\n"), cut, "{text}");
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = render(&sample(), look(false));
    let mut colourful = render(&sample(), look(true));
    assert!(!plain.contains('\x1b'));
    assert!(colourful.contains("\x1b[32mup\x1b[0m") && colourful.contains("\x1b[31mFAULT\x1b[0m"));
    for code in ["2", "31", "32", "33", "0"] {
        colourful = colourful.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(colourful, plain);
}

#[test]
fn text_from_outside_does_not_steer_the_terminal() {
    let mut status = sample();
    status.config.last_error = Some("a\x1b]0;title\x07b".into());
    for server in &mut status.virtual_servers {
        for check in server.real_servers.iter_mut().flat_map(|real| &mut real.checks) {
            check.last_result = Some("bad\x1b[2J\r\nup".into());
        }
    }
    let text = render(&status, look(false));
    assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text}");
    assert!(text.contains("bad\\u{1b}[2J\\r up"), "{text}");
    assert_eq!(text.lines().count(), render(&sample(), look(false)).lines().count() + 2, "{text}");
}

#[test]
fn durations() {
    for (seconds, want) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (192, "3m12s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (7_500, "2h05m"),
        (86_399, "23h59m"),
        (86_400, "1d00h"),
        (360_000, "4d04h"),
    ] {
        assert_eq!(short(Duration::from_secs(seconds)), want);
    }
}

#[test]
fn times_that_are_none_or_lie_ahead() {
    let mut status = sample();
    for (at, want) in [
        ("2026-11-03T12:00:05Z", "loaded 0s ago"),
        ("yesterday", "loaded yesterday\n"),
        ("", "loaded -\n"),
        ("2026-11-03T11:59:00.5Z", "loaded 59s ago"),
    ] {
        status.config.loaded_at = at.into();
        let text = render(&status, look(false));
        assert!(text.contains(want), "{at}: {text}");
    }
    status.uptime_s = f64::NAN;
    assert!(render(&status, look(false)).contains("up 0s"));
}

/// Answers with the sample, and with one outcome.
struct Fake(ReloadOutcome);

impl Backend for Fake {
    fn status(&self) -> Answer<Status> {
        Box::pin(async { sample() })
    }

    fn config(&self, secrets: Secrets) -> Answer<String> {
        Box::pin(async move { format!("global_defs {{\n}}\n# {secrets:?}\n") })
    }

    fn server(&self, order: ServerOrder) -> Answer<Result<ServerDone, String>> {
        Box::pin(async move {
            if order.virtual_server == "mail" {
                return Err("there is no virtual server `mail`; there are `web`".to_owned());
            }
            let message = format!("{:?}", order.action);
            let ServerOrder { virtual_server, real_server, .. } = order;
            Ok(ServerDone { virtual_server, real_server, message })
        })
    }

    fn plan(&self, request: PlanRequest) -> Answer<Result<Plan, String>> {
        Box::pin(async move { answered(request) })
    }

    fn handover(&self) -> Answer<Result<HandoverStarted, String>> {
        // Of a process that has ended.
        Box::pin(async { Ok(HandoverStarted { pid: u32::MAX }) })
    }

    fn reload(&self) -> Answer<ReloadOutcome> {
        let outcome = self.0.clone();
        Box::pin(async { outcome })
    }
}

/// A plan with something of everything; of `/bad` a refusal.
fn answered(request: PlanRequest) -> Result<Plan, String> {
    let file = request.file.unwrap_or_else(|| "/etc/lbd/lbd.conf".into());
    if file == "/bad" {
        return Ok(Plan { file, message: "/bad:1:1: unknown keyword `x`".into(), ..Plan::default() });
    }
    let operation = |operation: &str, real_server: Option<&str>, text: &str| PlannedOperation {
        operation: operation.into(),
        service: "TCP 10.0.0.1:80".into(),
        real_server: real_server.map(Into::into),
        text: text.into(),
    };
    Ok(Plan {
        file,
        ok: true,
        message: String::new(),
        warnings: vec!["a warning".into()],
        operations: vec![
            operation(
                "change-server",
                Some("10.0.0.2:80"),
                "change real server 10.0.0.2:80 of TCP 10.0.0.1:80: weight 1 -> 5",
            ),
            operation("remove-service", None, "remove virtual service TCP 10.0.0.1:80: with 2 real servers"),
        ],
        draining: 1,
        checks: ChecksPlan { started: 1, changed: 2, ended: 3, kept: 4 },
        vrrp: vec![PlannedRouter {
            operation: "add".into(),
            name: "VI_2".into(),
            text: "add vrrp_instance VI_2 (VRID 52 on eth0)".into(),
        }],
        other: vec!["set the connection timeouts: tcp 60 s, tcpfin 120 s, udp 300 s".into()],
    })
}

#[tokio::test]
async fn a_plan_is_told_or_is_the_json_of_the_daemon() {
    let plan = beside(ReloadOutcome::default(), &["plan"]).await;
    insta::assert_snapshot!("plan", plan.out);
    assert_eq!((plan.err.as_str(), plan.status), ("a warning\n", 0));
    let json = beside(ReloadOutcome::default(), &["plan", "--json", "/etc/lbd/new.conf"]).await;
    insta::assert_snapshot!("plan_json", json.out);
    let refused = beside(ReloadOutcome::default(), &["plan", "/bad"]).await;
    assert_eq!(
        (refused.err.as_str(), refused.out.as_str(), refused.status),
        ("/bad:1:1: unknown keyword `x`\nlbctl: a reload with /bad would change nothing\n", "", 1)
    );
}

#[tokio::test]
async fn several_real_servers_at_once() {
    let done =
        beside(ReloadOutcome::default(), &["server", "weight", "web", "10.0.0.1", "10.0.0.2", "7"]).await;
    assert_eq!(
        (done.out.as_str(), done.status),
        ("10.0.0.1 of web: Weight { weight: 7 }\n10.0.0.2 of web: Weight { weight: 7 }\n", 0)
    );
    let drained = beside(ReloadOutcome::default(), &["server", "drain", "web", "a", "b", "c"]).await;
    assert_eq!(drained.out.lines().count(), 3);
    let unknown = beside(ReloadOutcome::default(), &["server", "drain", "mail", "a", "b"]).await;
    assert_eq!((unknown.err.lines().count(), unknown.status), (2, 1));
}

/// Runs `lbctl` beside a daemon that answers a reload with `outcome`.
async fn beside(outcome: ReloadOutcome, words: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("control.sock");
    let socket = ControlSocket::bind(&path).expect("socket");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = socket.serve(Arc::new(Fake(outcome)), async move { drop(stopped.await) });
    let ask = async {
        let outcome = lbctl(&path, words).await;
        drop(stop);
        outcome
    };
    let (outcome, served) = tokio::join!(ask, serve);
    served.expect("served");
    outcome
}

fn lbctl<'a>(socket: &'a Path, words: &'a [&str]) -> impl Future<Output = Outcome> + 'a {
    let socket = socket.to_str().expect("a name");
    let line: Vec<String> =
        ["lbctl", "--socket", socket].iter().chain(words).map(|word| (*word).to_owned()).collect();
    run(line, look(false))
}

#[tokio::test]
async fn status_is_a_table_or_the_json_of_the_daemon() {
    let table = beside(ReloadOutcome::default(), &["status"]).await;
    assert_eq!(table, Outcome { out: render(&sample(), look(false)), ..Outcome::default() });
    let json = beside(ReloadOutcome::default(), &["status", "--json"]).await;
    assert_eq!(json.out, format!("{}\n", serde_json::to_string(&sample()).expect("JSON")));
    assert_eq!((json.err.as_str(), json.status), ("", 0));
}

#[tokio::test]
async fn the_configuration_comes_as_it_is() {
    for (words, want) in [(&["config"][..], "Masked"), (&["config", "--secrets"], "Shown")] {
        let got = beside(ReloadOutcome::default(), words).await;
        let out = format!("global_defs {{\n}}\n# {want}\n");
        assert_eq!(got, Outcome { out, ..Outcome::default() });
    }
}

#[tokio::test]
async fn a_file_is_checked_without_a_daemon() {
    let dir = tempfile::tempdir().expect("directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("file");
        path.to_str().expect("a name").to_owned()
    };
    let clean = file("clean.conf", "global_defs {\n router_id LVS_1\n}\n");
    let lint = file("lint.conf", "global_defs {\n router_id LVS_1 stray\n}\n");
    let wrong = file("wrong.conf", "global_def {\n}\n");
    let broken = file("broken.conf", "global_defs {\n");
    for (words, status, says) in [
        (&["check", &clean][..], 0, ""),
        (&["check", &lint], 0, "`stray`"),
        (&["check", "--strict", &lint], 4, "`stray`"),
        (&["check", &wrong], 4, "did you mean `global_defs`?"),
        (&["check", &broken, "-e", "-i", "lb1"], 3, "error: "),
        (&["check", "/nonexistent/lb.conf"], 3, "cannot read /nonexistent/lb.conf"),
        (&["check", "--json", &wrong], 4, "\"kind\": \"unknown_keyword\""),
        (&["check", "--json", "--strict", &lint], 4, "\"exit_code\": 4"),
        (&["check", "--json", "--config-id=lb1", "--all-config", &clean], 0, "\"diagnostics\": []"),
    ] {
        let got = lbctl(Path::new("/nonexistent/control.sock"), words).await;
        assert_eq!((got.status, got.err.as_str()), (status, ""), "{words:?}: {}", got.out);
        assert!(got.out.contains(says) && got.out.is_empty() == says.is_empty(), "{words:?}: {}", got.out);
        assert!(!got.out.contains('\x1b'), "{words:?}");
    }
    let line = ["lbctl", "check", &wrong];
    assert!(run(line, look(true)).await.out.contains('\x1b'), "colours on a terminal");
    let line = ["lbctl", "check", "--json", &wrong];
    assert!(!run(line, look(true)).await.out.contains('\x1b'), "none in JSON");
}

#[tokio::test]
async fn keywords_are_explained_without_a_daemon() {
    for (words, status, out, err) in [
        (&["explain"][..], 0, "`lbctl explain KEYWORD [BLOCK]`", ""),
        (&["explain", "quorum"], 0, "virtual_server", ""),
        (&["explain", "weight", "real_server"], 0, "virtual_server > real_server", ""),
        (&["explain", "--json", "quorum"], 0, "\"keyword\": \"quorum\"", ""),
        (&["explain", "--json"], 0, "\"places\": [", ""),
        (&["explain", "quorumm"], 1, "", "lbctl: there is no keyword `quorumm`; did you mean `quorum`?\n"),
    ] {
        let got = lbctl(Path::new("/nonexistent/control.sock"), words).await;
        assert_eq!((got.status, got.err.as_str()), (status, err), "{words:?}");
        assert!(got.out.contains(out) && got.out.is_empty() == out.is_empty(), "{words:?}: {}", got.out);
        let json = words.contains(&"--json");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&got.out).is_ok(), json, "{words:?}");
    }
}

#[tokio::test]
async fn reload_says_what_came_of_it() {
    let taken = ReloadOutcome {
        ok: true,
        generation: 4,
        message: "1 real server added".into(),
        warnings: vec!["lb.conf:3:1: `smtp_alert` is not supported yet\n".into()],
    };
    let got = beside(taken, &["reload"]).await;
    assert_eq!(got.out, "configuration generation 4 runs\n1 real server added\n");
    assert_eq!(got.err, "lb.conf:3:1: `smtp_alert` is not supported yet\n");
    assert_eq!(got.status, 0);
    let refused = ReloadOutcome {
        ok: false,
        generation: 3,
        message: "lb.conf:12:11: unknown lb_algo `wrrr`; did you mean `wrr`?\n".into(),
        ..ReloadOutcome::default()
    };
    let got = beside(refused, &["reload"]).await;
    assert_eq!(got.out, "");
    assert_eq!(
        got.err,
        "lb.conf:12:11: unknown lb_algo `wrrr`; did you mean `wrr`?\n\
         lbctl: the configuration was refused; generation 3 goes on unchanged\n"
    );
    assert_eq!(got.status, 1);
}

#[tokio::test]
async fn mistakes_and_missing_daemons() {
    let mut text = String::new();
    for line in [
        &["lbctl", "--socket", "/nonexistent/control.sock", "status"][..],
        &["lbctl", "reload", "--socket", "/nonexistent/control.sock"],
        &["lbctl", "--socket", "/dev/null", "status"],
        &["lbctl", "--namespace", "lbd-no-such", "status"],
        &["lbctl", "--instance", "lbd-no-such", "--namespace=lbd-none", "reload"],
        &["lbctl", "--socket", "/x", "--instance", "y", "status"],
        &["lbctl", "--instance", "a/b", "status"],
        &["lbctl"],
        &["lbctl", "stat"],
        &["lbctl", "status", "--jason"],
        &["lbctl", "--version"],
        &["lbctl", "status", "--help"],
    ] {
        let got = run(line.iter().copied(), look(false)).await;
        text.push_str(&format!(
            "$ {}\n{}{}-> {}\n\n",
            line.join(" "),
            got.out,
            got.err.lines().map(|line| format!("2> {line}\n")).collect::<String>(),
            got.status
        ));
    }
    insta::assert_snapshot!("command_line", text);
}

#[test]
fn a_denied_socket_says_who_may() {
    let text = ClientError::Denied("/run/lbd/control.sock".into()).to_string();
    assert_eq!(text, "/run/lbd/control.sock: permission denied; run lbctl as root");
}

#[test]
fn the_definition_is_consistent_and_in_the_man_page() {
    command().debug_assert();
    crate::options::tests::in_the_man_page(&command(), include_str!("../../man/lbctl.1"));
}

#[tokio::test]
async fn servers_are_steered() {
    for (name, words, out, err, status) in [
        ("drain", &["server", "drain", "web", "10.0.0.2"][..], "10.0.0.2 of web: Drain\n", "", EXIT_OK),
        (
            "weight",
            &["server", "weight", "web", "10.0.0.2", "7"],
            "10.0.0.2 of web: Weight { weight: 7 }\n",
            "",
            EXIT_OK,
        ),
        (
            "an unknown one",
            &["server", "maint", "mail", "10.0.0.2"],
            "",
            "lbctl: there is no virtual server `mail`; there are `web`\n",
            EXIT_FAILED,
        ),
    ] {
        let outcome = beside(ReloadOutcome::default(), words).await;
        assert_eq!(outcome, Outcome { out: out.into(), err: err.into(), status }, "{name}");
    }
    for words in [
        &["server", "weight", "web", "10.0.0.2"][..],
        &["server", "weight", "web", "10.0.0.2", "2147483648"],
        &["server", "drain", "web"],
        &["server"],
    ] {
        assert_eq!(beside(ReloadOutcome::default(), words).await.status, EXIT_USAGE, "{words:?}");
    }
}

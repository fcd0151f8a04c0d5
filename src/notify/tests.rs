use std::net::SocketAddr;

use lbd_grammar::config::{Config, GroupKey, SyncGroup, VirtualServerId, VrrpNotify};
use lbd_health::ScriptId;
use lbd_ipvs::{Family, Protocol, ServiceId};
use lbd_vrrp::State;

use super::fifo_line::Of;
use super::line::Facts;
use super::plan::{LIMIT, Object, STOP_LIMIT};
use super::*;
use crate::event::Cause;

mod lines;

fn vs() -> VirtualServerId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: "10.0.0.1:80".parse().unwrap() }.into()
}

fn rs() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

fn entering(to: State) -> Event {
    Event::Vrrp { instance: "VI_1".into(), from: State::Initialize, to, priority: 100, reason: "why".into() }
}

fn real(up: bool, inhibited: bool) -> Event {
    Event::RealServer {
        service: vs(),
        address: rs(),
        up,
        inhibited,
        cause: Cause::Result,
        reason: "why".into(),
    }
}

fn stopped(deleted: bool) -> Event {
    Event::VrrpStopped { instance: "VI_1".into(), priority: 100, deleted }
}

fn group_entering(to: State) -> Event {
    Event::VrrpGroup { group: "VG_1".into(), from: State::Initialize, to, reason: "why".into() }
}

fn group_stopped(deleted: bool) -> Event {
    Event::VrrpGroupStopped { group: "VG_1".into(), deleted }
}

fn condition(condition: &'static str, active: bool) -> Event {
    Event::VrrpCondition { instance: "VI_1".into(), condition, active, detail: "why".into() }
}

fn foreign() -> Event {
    Event::VrrpForeign {
        interface: "eth0".into(),
        vrid: 7,
        family: "ipv4".into(),
        source: "10.0.0.9".parse().unwrap(),
    }
}

fn quorum(up: bool, weight: u64, needed: u64, sorry: Option<&str>) -> Event {
    let sorry_server = sorry.map(|one| one.parse().unwrap());
    Event::Quorum { service: vs(), up, weight, needed, sorry_server, cause: Cause::Result }
}

fn process(good: bool) -> Event {
    Event::TrackedProcess { name: "web".into(), good, reason: "why".into() }
}

fn id(name: &str) -> Option<ScriptId> {
    Some(ScriptId(name.into()))
}

/// With one instance and one virtual server, or empty.
fn config(with_instance: bool) -> Config {
    let mut config = Config::default();
    if with_instance {
        config.vrrp_instances.push(fixtures::instance(
            "VI_1",
            VrrpNotify {
                master: id("m"),
                backup: None,
                fault: id("f"),
                stop: id("s"),
                deleted: None,
                any: id("any"),
                master_rx_lower_priority: id("low"),
            },
        ));
        config.virtual_servers.push(fixtures::virtual_server(vs(), rs()).into());
        let notify = VrrpNotify {
            master: id("gm"),
            fault: id("gf"),
            stop: id("gs"),
            any: id("gany"),
            ..VrrpNotify::default()
        };
        let members = vec!["VI_1".into()];
        config.sync_groups.insert("VG_1".into(), SyncGroup { members, notify, ..SyncGroup::default() });
    }
    config
}

/// `SCRIPT ARGUMENTS` of each job; a `!` where the limit is that of the stop.
fn jobs(plans: &mut Plans, event: &Event) -> Vec<String> {
    plans
        .jobs(event)
        .into_iter()
        .map(|(object, job)| {
            match object {
                Object::Instance(name) => assert_eq!(&*name, "VI_1"),
                Object::Group(name) => assert_eq!(&*name, "VG_1"),
                Object::Server(service, address) => assert_eq!((service, address), (vs(), rs())),
                Object::Service(service) => assert_eq!(service, vs()),
            }
            let stop = if job.limit == STOP_LIMIT { "!" } else { "" };
            assert!(job.limit == LIMIT || job.limit == STOP_LIMIT);
            assert_eq!(job.last, job.limit == STOP_LIMIT);
            assert!(job.extra.is_empty() || job.extra[2] == job.state);
            format!("{}{stop} {}", job.script.0, job.extra.join(" ")).trim().to_owned()
        })
        .collect()
}

#[test]
fn scripts_of_events() {
    let mut plans = Plans::default();
    plans.update(&config(true));
    for (name, event, want) in [
        ("own before any", entering(State::Master), vec!["m", "any INSTANCE VI_1 MASTER 100"]),
        ("none of its own", entering(State::Backup), vec!["any INSTANCE VI_1 BACKUP 100"]),
        ("fault", entering(State::Fault), vec!["f", "any INSTANCE VI_1 FAULT 100"]),
        ("not a state to tell", entering(State::Initialize), vec![]),
        ("stop", stopped(false), vec!["s!", "any! INSTANCE VI_1 STOP 100"]),
        ("group", group_entering(State::Master), vec!["gm", "gany GROUP VG_1 MASTER 0"]),
        ("group, none of its own", group_entering(State::Backup), vec!["gany GROUP VG_1 BACKUP 0"]),
        ("group, fault", group_entering(State::Fault), vec!["gf", "gany GROUP VG_1 FAULT 0"]),
        ("group, not a state to tell", group_entering(State::Initialize), vec![]),
        ("group, stop", group_stopped(false), vec!["gs!", "gany! GROUP VG_1 STOP 0"]),
        ("group, removed", group_stopped(true), vec![]),
        ("condition", condition("split_brain", true), vec![]),
        ("foreign", foreign(), vec![]),
        ("lower priority", Event::VrrpLowerPriority { instance: "VI_1".into(), priority: 100 }, vec!["low"]),
        ("server down", real(false, false), vec!["down"]),
        ("server up", real(true, true), vec!["up"]),
        ("quorum up", quorum(true, 1, 1, None), vec!["qup"]),
        ("quorum down", quorum(false, 0, 1, None), vec!["qdown"]),
        ("script", Event::Script { name: "x".into(), good: true, reason: String::new() }, vec![]),
        ("process", process(true), vec![]),
    ] {
        assert_eq!(jobs(&mut plans, &event), want, "{name}");
    }
    let other = Event::Vrrp {
        instance: "VI_2".into(),
        from: State::Backup,
        to: State::Master,
        priority: 1,
        reason: String::new(),
    };
    assert_eq!(plans.jobs(&other), [], "unknown");
}

/// What of `event` is written, and to which FIFO besides notify_fifo.
fn written(plans: &mut Plans, event: &Event) -> Option<(Of, String)> {
    let facts = plans.facts(event);
    plans.jobs(event);
    fifo_line(event, &facts)
}

#[test]
fn fifo_lines_octet_by_octet() {
    let mark = ServiceId::FwMark { mark: 7.try_into().unwrap(), family: Family::Inet };
    let v6 = ServiceId::Addr { protocol: Protocol::Sctp, vip: "[2001:db8::1]:53".parse().unwrap() };
    let server = |service: ServiceId, address: &str, up| Event::RealServer {
        service: service.into(),
        address: address.parse().unwrap(),
        up,
        inhibited: false,
        cause: Cause::Result,
        reason: "why".into(),
    };
    let priority = |to| Event::VrrpPriority { instance: "VI_1".into(), from: 1, to, reason: String::new() };
    let mut plans = Plans::default();
    let mut tells = config(true);
    tells.vrrp_instances[0].tells_priority = true;
    plans.update(&tells);
    let (vrrp, lvs) = (Of::Vrrp, Of::Lvs);
    // In this order: each sees the state that the one before it left.
    for (name, event, want) in [
        ("priority before any state", priority(90), Some((vrrp, "INSTANCE \"VI_1\" BACKUP_PRIORITY 90\n"))),
        ("backup", entering(State::Backup), Some((vrrp, "INSTANCE \"VI_1\" BACKUP 100\n"))),
        ("backup's priority", priority(95), Some((vrrp, "INSTANCE \"VI_1\" BACKUP_PRIORITY 95\n"))),
        ("master", entering(State::Master), Some((vrrp, "INSTANCE \"VI_1\" MASTER 100\n"))),
        ("master's priority", priority(95), Some((vrrp, "INSTANCE \"VI_1\" MASTER_PRIORITY 95\n"))),
        (
            "lower priority heard",
            Event::VrrpLowerPriority { instance: "VI_1".into(), priority: 100 },
            Some((vrrp, "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 100\n")),
        ),
        ("fault", entering(State::Fault), Some((vrrp, "INSTANCE \"VI_1\" FAULT 100\n"))),
        ("removed in fault: told already", stopped(true), None),
        ("no state yet", entering(State::Initialize), None),
        ("removed", stopped(true), Some((vrrp, "INSTANCE \"VI_1\" FAULT 100\n"))),
        ("stop", stopped(false), Some((vrrp, "INSTANCE \"VI_1\" STOP 100\n"))),
        ("group", group_entering(State::Fault), Some((vrrp, "GROUP \"VG_1\" FAULT 0\n"))),
        ("group, no state yet", group_entering(State::Initialize), None),
        ("group, removed", group_stopped(true), None),
        ("group, stop", group_stopped(false), Some((vrrp, "GROUP \"VG_1\" STOP 0\n"))),
        ("condition", condition("split_brain", true), None),
        ("foreign", foreign(), None),
        ("server up", real(true, false), Some((lvs, "RS [10.0.0.2]:tcp:80 [10.0.0.1]:tcp:80 UP\n"))),
        ("server down", real(false, true), Some((lvs, "RS [10.0.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n"))),
        ("mark", server(mark, "10.0.0.2:80", true), Some((lvs, "RS [10.0.0.2]:none:80 FWM 7 UP\n"))),
        (
            "IPv6",
            server(v6, "[2001:db8::2]:53", false),
            Some((lvs, "RS [2001:db8::2]:sctp:53 [2001:db8::1]:sctp:53 DOWN\n")),
        ),
        ("quorum", quorum(true, 1, 1, None), Some((lvs, "VS [10.0.0.1]:tcp:80 UP\n"))),
        ("no quorum", quorum(false, 0, 1, None), Some((lvs, "VS [10.0.0.1]:tcp:80 DOWN\n"))),
        ("a script", Event::Script { name: "x".into(), good: true, reason: String::new() }, None),
        ("a process", process(true), None),
    ] {
        let got = written(&mut plans, &event);
        assert_eq!(got, want.map(|(of, line)| (of, line.to_owned())), "{name}");
    }
    plans.update(&config(true));
    assert_eq!(written(&mut plans, &priority(95)), None, "not asked for");
}

fn group(name: &str, protocol: Option<Protocol>) -> VirtualServerId {
    VirtualServerId::Group(GroupKey { group: name.into(), protocol, family: Family::Inet })
}

#[test]
fn virtual_servers_of_a_group_are_numbered_in_file_order() {
    let mut config = Config::default();
    let ids = [
        group("g", Some(Protocol::Tcp)),
        group("h", None),
        vs(),
        group("g", Some(Protocol::Udp)),
        group("g", None),
    ];
    for id in &ids {
        config.virtual_servers.push(fixtures::virtual_server(id.clone(), rs()).into());
    }
    let mut plans = Plans::default();
    plans.update(&config);
    let line = |plans: &mut Plans, service: &VirtualServerId| {
        let (service, address, cause) = (service.clone(), rs(), Cause::Result);
        let reason = String::new();
        let event = Event::RealServer { service, address, up: true, inhibited: false, cause, reason };
        written(plans, &event).map(|(_, line)| line)
    };
    let want = [
        "RS [10.0.0.2]:tcp:80 [g]:0 UP\n",
        "RS [10.0.0.2]:none:80 [h]:0 UP\n",
        "RS [10.0.0.2]:tcp:80 [10.0.0.1]:tcp:80 UP\n",
        "RS [10.0.0.2]:udp:80 [g]:1 UP\n",
        "RS [10.0.0.2]:none:80 [g]:2 UP\n",
    ];
    for (id, want) in ids.iter().zip(want) {
        assert_eq!(line(&mut plans, id).as_deref(), Some(want));
    }
    let event = Event::Quorum {
        service: group("g", Some(Protocol::Udp)),
        up: false,
        weight: 0,
        needed: 1,
        sorry_server: None,
        cause: Cause::Result,
    };
    assert_eq!(line::line(&event, &plans.facts(&event)).text, "Lost quorum 1-0=1 > 0 for VS [g]:1");
    // A reload takes the first one of the group away: its last line has its old number.
    config.virtual_servers.remove(0);
    plans.update(&config);
    assert_eq!(line(&mut plans, &ids[0]).as_deref(), Some(want[0]));
    assert_eq!(line(&mut plans, &ids[3]).as_deref(), Some("RS [10.0.0.2]:udp:80 [g]:0 UP\n"));
}

#[test]
fn a_removal_told_as_deleted() {
    let mut tells = config(true);
    tells.vrrp_instances[0].tells_deleted = true;
    tells.vrrp_instances[0].notify.deleted = id("gone");
    let mut plans = Plans::default();
    plans.update(&tells);
    jobs(&mut plans, &entering(State::Fault));
    plans.update(&config(false));
    let line = fifo_line(&stopped(true), &plans.facts(&stopped(true)));
    assert_eq!(line, Some((Of::Vrrp, "INSTANCE \"VI_1\" DELETED 100\n".to_owned())));
    // Also of one in FAULT.
    assert_eq!(jobs(&mut plans, &stopped(true)), ["gone", "any INSTANCE VI_1 DELETED 100"]);
}

#[test]
fn a_limit_of_the_configuration_and_what_tells_of_the_stop() {
    let mut plans = Plans::default();
    let mut limited = config(true);
    limited.global.notify_timeout = Some(Duration::from_secs(300));
    plans.update(&limited);
    let limits = |plans: &mut Plans, event: &Event| -> Vec<(&str, u64, bool)> {
        plans.jobs(event).iter().map(|(_, job)| (job.state, job.limit.as_secs(), job.last)).collect()
    };
    let at_the_stop = |mut event: Event| {
        if let Event::RealServer { cause, .. } | Event::Quorum { cause, .. } = &mut event {
            *cause = Cause::Stop;
        }
        event
    };
    let lower = Event::VrrpLowerPriority { instance: "VI_1".into(), priority: 100 };
    for (event, want) in [
        (entering(State::Fault), vec![("FAULT", 300, false); 2]),
        (group_entering(State::Master), vec![("MASTER", 300, false); 2]),
        (lower, vec![("MASTER_RX_LOWER_PRI", 300, false)]),
        (real(false, false), vec![("DOWN", 300, false)]),
        (quorum(true, 1, 1, None), vec![("UP", 300, false)]),
        // omega
        (at_the_stop(real(false, false)), vec![("DOWN", 300, true)]),
        (at_the_stop(quorum(false, 0, 1, None)), vec![("DOWN", 300, true)]),
        (group_stopped(false), vec![("STOP", 1, true); 2]),
        (stopped(false), vec![("STOP", 1, true); 2]),
    ] {
        assert_eq!(limits(&mut plans, &event), want, "{event:?}");
    }
}

#[test]
fn a_virtual_router_with_another_name_keeps_what_was_told_of_it() {
    let named = |names: [(&str, u8); 2]| {
        let mut config = Config::default();
        config.global.fifos.states_on_reload = true;
        for (name, vrid) in names {
            let mut instance = fixtures::instance(name, VrrpNotify::default());
            instance.router.vrid = vrid.try_into().expect("a VRID");
            config.vrrp_instances.push(instance);
        }
        config
    };
    let entering = |instance: &str, to| Event::Vrrp {
        instance: instance.into(),
        from: State::Initialize,
        to,
        priority: 100,
        reason: String::new(),
    };
    let mut plans = Plans::default();
    plans.update(&named([("A", 1), ("B", 2)]));
    plans.jobs(&entering("A", State::Master));
    plans.jobs(&entering("B", State::Fault));
    let kept = |plans: &Plans| -> Vec<String> {
        plans.kept_states().iter().map(|(name, state, _)| format!("{name} {state}")).collect()
    };
    for (names, want) in [
        ([("C", 1), ("B", 2)], ["C MASTER", "B FAULT"]),
        ([("B", 1), ("C", 2)], ["B MASTER", "C FAULT"]),
        ([("C", 2), ("A", 1)], ["C FAULT", "A MASTER"]),
    ] {
        plans.update(&named(names));
        assert_eq!(kept(&plans), want, "{names:?}");
    }
}

#[test]
fn stops_of_what_is_left_in_the_kernel() {
    let mut plans = Plans::default();
    let mut config = config(true);
    config.vrrp_instances.push(fixtures::instance("VI_2", VrrpNotify::default()));
    plans.update(&config);
    assert_eq!(plans.stops(), [], "nothing was told");
    jobs(&mut plans, &group_entering(State::Master));
    jobs(&mut plans, &entering(State::Master));
    assert_eq!(plans.stops(), [stopped(false), group_stopped(false)]);
}

/// A reload that gives an instance another VRID removes one and makes one, of the same name.
#[test]
fn of_two_with_the_same_name_each_has_its_own_scripts() {
    let mut plans = Plans::default();
    let mut old = config(true);
    old.vrrp_instances[0].tells_deleted = true;
    old.vrrp_instances[0].notify.deleted = id("gone");
    plans.update(&old);
    jobs(&mut plans, &entering(State::Fault));
    let mut new = config(true);
    new.vrrp_instances[0].router.vrid = 99.try_into().expect("a VRID");
    new.vrrp_instances[0].notify.any = id("new");
    plans.update(&new);
    let line = fifo_line(&stopped(true), &plans.facts(&stopped(true)));
    assert_eq!(line.map(|(_, line)| line).as_deref(), Some("INSTANCE \"VI_1\" DELETED 100\n"));
    assert_eq!(jobs(&mut plans, &stopped(true)), ["gone", "any INSTANCE VI_1 DELETED 100"]);
    assert_eq!(jobs(&mut plans, &entering(State::Backup)), ["new INSTANCE VI_1 BACKUP 100"]);
    assert_eq!(plans.facts(&entering(State::Backup)).state, Some(State::Backup));
}

#[test]
fn states_that_a_reload_keeps_are_told_if_asked_for() {
    let mut plans = Plans::default();
    plans.update(&config(true));
    jobs(&mut plans, &entering(State::Master));
    let event = Event::VrrpPriority { instance: "VI_1".into(), from: 100, to: 90, reason: String::new() };
    jobs(&mut plans, &event);
    plans.update(&config(true));
    assert_eq!(plans.kept_states(), [], "not asked for");
    let mut asks = config(true);
    asks.global.fifos.states_on_reload = true;
    asks.vrrp_instances.push(fixtures::instance("VI_2", VrrpNotify::default()));
    plans.update(&asks);
    // VI_2 is new: its first state is an event of its own.
    assert_eq!(plans.kept_states(), [("VI_1".into(), State::Master, 90)]);
    assert_eq!(plans.kept_group_states(), [], "the group has no state yet");
    jobs(&mut plans, &group_entering(State::Master));
    assert_eq!(plans.kept_group_states(), [("VG_1".into(), State::Master)]);
    jobs(&mut plans, &group_stopped(true));
    assert_eq!(plans.kept_group_states(), []);
}

#[test]
fn unknown_virtual_routers_are_warned_of_if_asked_for() {
    let mut plans = Plans::default();
    plans.update(&config(true));
    assert!(!plans.facts(&foreign()).warns_foreign);
    let mut asks = config(true);
    asks.global.vrrp.log_unknown_vrids = true;
    plans.update(&asks);
    assert!(plans.facts(&foreign()).warns_foreign);
}

#[test]
fn a_group_that_a_reload_removes_has_its_mail_until_then() {
    let mut plans = Plans::default();
    let mut mails = config(true);
    mails.sync_groups.get_mut("VG_1").expect("a group").mail = true;
    plans.update(&mails);
    jobs(&mut plans, &group_entering(State::Master));
    plans.update(&config(false));
    let facts = plans.facts(&group_stopped(true));
    assert_eq!((facts.mail, facts.state), (true, Some(State::Master)));
    jobs(&mut plans, &group_stopped(true));
    plans.update(&config(true));
    assert_eq!(plans.facts(&group_entering(State::Backup)).state, None);
}

#[test]
fn objects_that_a_reload_removes() {
    let mut plans = Plans::default();
    plans.update(&config(true));
    jobs(&mut plans, &entering(State::Master));
    plans.update(&config(false));
    plans.update(&config(false));
    assert_eq!(jobs(&mut plans, &stopped(true)), ["any INSTANCE VI_1 FAULT 100"], "told as FAULT");
    assert_eq!(jobs(&mut plans, &real(false, false)), ["down"]);
    assert_eq!(plans.facts(&quorum(true, 1, 1, None)).quorum, Some((1, 0)));
    plans.update(&config(true));
    jobs(&mut plans, &entering(State::Fault));
    assert_eq!(jobs(&mut plans, &stopped(true)), Vec::<String>::new(), "FAULT was told already");
}

#[test]
fn a_server_that_is_down_is_inactive() {
    let mut plans = Plans::default();
    plans.update(&config(true));
    let weight = Event::Weight { service: vs(), address: rs(), from: 1, to: 2 };
    assert!(!plans.facts(&weight).down);
    plans.jobs(&real(false, false));
    assert!(plans.facts(&weight).down);
    plans.jobs(&real(true, false));
    assert!(!plans.facts(&weight).down);
}

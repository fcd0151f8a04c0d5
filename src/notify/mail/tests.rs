use lbd_grammar::config::{MailHost, VirtualServerId};
use lbd_ipvs::{Protocol, ServiceId};
use std::net::SocketAddr;

use super::message::{mailbox, message};
use super::*;

fn vs() -> VirtualServerId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: "10.0.0.1:80".parse().unwrap() }.into()
}

fn rs() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

fn config() -> Config {
    let mut config = Config::default();
    config.global.router_id = Some("LB1".into());
    let mail = &mut config.global.mail;
    mail.server =
        Some(MailServer { host: MailHost::Name("mail".into()), port: 25.try_into().expect("a port") });
    mail.to = vec!["ops@example.org".into()];
    config
}

fn rules(config: &Config) -> Rules {
    let mut rules = Rules::default();
    rules.update(config, Some(&Host { name: "lb1.example.org".into(), user: "root".into() }));
    rules
}

fn checker(up: bool, server_up: bool, server_changed: bool) -> Event {
    Event::Checker {
        service: vs(),
        address: rs(),
        check: "TCP_CHECK",
        up,
        server_up,
        server_changed,
        reason: "connection refused".into(),
    }
}

fn server(up: bool, cause: Cause) -> Event {
    Event::RealServer { service: vs(), address: rs(), up, inhibited: false, cause, reason: "why".into() }
}

fn quorum(up: bool, cause: Cause) -> Event {
    let (weight, needed, sorry_server) = (u64::from(up), 1, Some("10.0.0.9:80".parse().unwrap()));
    Event::Quorum { service: vs(), up, weight, needed, sorry_server, cause }
}

fn entering(to: State) -> Event {
    let (instance, from) = ("VI_1".into(), State::Initialize);
    Event::Vrrp { instance, from, to, priority: 100, reason: "why".into() }
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

const RS: &str = "Realserver [10.0.0.2]:tcp:80 of virtual server [10.0.0.1]:tcp:80";

#[test]
fn who_gets_one_when() {
    let on = Facts { mail: true, ..Facts::default() };
    let off = Facts::default();
    let checkers = config();
    let mut servers = config();
    servers.global.mail.no_checkers = true;
    let rs = |state: &str| Some(format!("[LB1] {RS} - {state}"));
    let vs = |state: &str| Some(format!("[LB1] Virtualserver [10.0.0.1]:tcp:80 - {state}"));
    for (name, config, event, facts, want) in [
        ("a check fails", &checkers, checker(false, false, true), on, rs("DOWN")),
        ("another one fails too", &checkers, checker(false, false, false), on, rs("DOWN")),
        ("one is good, the other not", &checkers, checker(true, false, false), on, rs("DOWN")),
        ("both are good", &checkers, checker(true, true, true), on, rs("UP")),
        ("no smtp_alert", &checkers, checker(false, false, true), off, None),
        ("no_checker_emails, the server changed", &servers, checker(false, false, true), on, rs("DOWN")),
        ("no_checker_emails, it did not", &servers, checker(false, false, false), on, None),
        ("the server, by a check that was mailed", &checkers, server(false, Cause::Result), on, None),
        ("rs_init_notifies", &checkers, server(true, Cause::Start), on, None),
        ("a rule, that no check's mail tells of", &checkers, server(true, Cause::Rule), on, rs("UP")),
        ("a rule, no_checker_emails", &servers, server(true, Cause::Rule), on, rs("UP")),
        ("a rule, no smtp_alert", &servers, server(true, Cause::Rule), off, None),
        ("removed by a reload", &checkers, server(false, Cause::Removed), on, rs("DOWN")),
        ("removed, no_checker_emails", &servers, server(false, Cause::Removed), on, rs("DOWN")),
        ("omega", &checkers, server(false, Cause::Stop), on, rs("DOWN")),
        ("omega, no smtp_alert", &checkers, server(false, Cause::Stop), off, None),
        ("quorum lost", &checkers, quorum(false, Cause::Result), on, vs("DOWN")),
        ("quorum gained", &checkers, quorum(true, Cause::Result), on, vs("UP")),
        ("quorum from the start", &checkers, quorum(true, Cause::Start), on, vs("UP")),
        ("quorum, omega", &checkers, quorum(false, Cause::Stop), on, vs("DOWN")),
        ("quorum, no smtp_alert", &checkers, quorum(false, Cause::Result), off, None),
    ] {
        let letter = rules(config).letter(&event, &facts);
        assert_eq!(letter.map(|letter| letter.subject), want, "{name}");
    }
}

#[test]
fn virtual_routers_are_mailed_when_they_differ_from_the_last_mail() {
    let on = Facts { mail: true, ..Facts::default() };
    let off = Facts::default();
    let in_fault = Facts { state: Some(State::Fault), ..on };
    let deleted = Facts { tells_deleted: true, ..in_fault };
    let faults = config();
    let mut no_faults = config();
    no_faults.global.mail.no_faults = true;
    let (master, backup, fault) = (State::Master, State::Backup, State::Fault);
    let entering_all = |states: &[State]| states.iter().map(|state| (entering(*state), on)).collect();
    type Row<'a> = (&'a str, &'a Config, Vec<(Event, Facts)>, &'a [&'a str]);
    let all: [Row<'_>; 9] = [
        (
            "each state",
            &faults,
            entering_all(&[backup, master, fault]),
            &["Entering BACKUP state", "Entering MASTER state", "Entering FAULT state"],
        ),
        ("the same state again", &faults, entering_all(&[master, master]), &["Entering MASTER state"]),
        (
            "no_email_faults: master again is no news",
            &no_faults,
            entering_all(&[master, fault, master]),
            &["Entering MASTER state"],
        ),
        ("no smtp_alert", &faults, vec![(entering(master), off), (stopped(false), off)], &[]),
        ("stop", &faults, vec![(stopped(false), on)], &["Stopping"]),
        ("removed: told as FAULT", &faults, vec![(stopped(true), on)], &["Entering FAULT state"]),
        ("removed in FAULT: told already", &faults, vec![(stopped(true), in_fault)], &[]),
        ("removed, notify_deleted", &faults, vec![(stopped(true), deleted)], &["Deleted"]),
        (
            "removed and back",
            &faults,
            vec![(entering(master), on), (stopped(true), on), (entering(master), on)],
            &["Entering MASTER state", "Entering FAULT state", "Entering MASTER state"],
        ),
    ];
    for (name, config, events, want) in all {
        let mut rules = rules(config);
        let got: Vec<String> = events
            .iter()
            .filter_map(|(event, facts)| rules.letter(event, facts))
            .map(|letter| letter.subject)
            .collect();
        let want: Vec<String> =
            want.iter().map(|state| format!("[LB1] VRRP Instance VI_1 - {state}")).collect();
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn sync_groups_are_mailed_as_virtual_routers_are() {
    let on = Facts { mail: true, ..Facts::default() };
    let (faults, mut no_faults) = (config(), config());
    no_faults.global.mail.no_faults = true;
    let (master, fault) = (group_entering(State::Master), group_entering(State::Fault));
    // An instance of the same name is another object.
    let namesake = Event::Vrrp {
        instance: "VG_1".into(),
        from: State::Backup,
        to: State::Master,
        priority: 100,
        reason: String::new(),
    };
    let (stop, deleted) = (group_stopped(false), group_stopped(true));
    type Row<'a> = (&'a str, &'a Config, &'a [&'a Event], &'a [&'a str]);
    let all: [Row<'_>; 5] = [
        (
            "each state, once",
            &faults,
            &[&master, &master, &fault],
            &["Group VG_1 - Entering MASTER state", "Group VG_1 - Entering FAULT state"],
        ),
        ("no_email_faults", &no_faults, &[&fault], &[]),
        (
            "beside an instance of that name",
            &faults,
            &[&namesake, &master],
            &["Instance VG_1 - Entering MASTER state", "Group VG_1 - Entering MASTER state"],
        ),
        ("stop", &faults, &[&stop], &["Group VG_1 - Stopping"]),
        (
            "removed and back",
            &faults,
            &[&master, &deleted, &master],
            &["Group VG_1 - Entering MASTER state", "Group VG_1 - Entering MASTER state"],
        ),
    ];
    for (name, config, events, want) in all {
        let mut rules = rules(config);
        let letters = events.iter().filter_map(|event| rules.letter(event, &on));
        let got: Vec<String> = letters.map(|letter| letter.subject).collect();
        let want: Vec<String> = want.iter().map(|words| format!("[LB1] VRRP {words}")).collect();
        assert_eq!(got, want, "{name}");
        assert_eq!(rules.letter(&group_entering(State::Backup), &Facts::default()), None, "no smtp_alert");
    }
}

#[test]
fn bodies_say_why() {
    let on = Facts { mail: true, ..Facts::default() };
    for (event, want) in [
        (checker(false, false, true), "TCP_CHECK of [10.0.0.2]:tcp:80 failed: connection refused."),
        (server(false, Cause::Removed), "Removed: why."),
        (server(false, Cause::Stop), "lbd stops: why."),
        (server(true, Cause::Rule), "By a rule of the configuration: why."),
        (
            quorum(false, Cause::Result),
            "Lost the quorum: live weight 0, needed 1; sorry server [10.0.0.9]:tcp:80 takes over.",
        ),
        (
            quorum(true, Cause::Result),
            "Gained the quorum: live weight 1, needed 1; sorry server [10.0.0.9]:tcp:80 leaves.",
        ),
        (entering(State::Master), "Entered MASTER state with priority 100: why."),
        (stopped(false), "lbd stops."),
        (group_entering(State::Backup), "All its virtual routers entered BACKUP state: why."),
        (group_stopped(false), "lbd stops."),
    ] {
        let letter = rules(&config()).letter(&event, &on).expect("a mail");
        assert_eq!(letter.body, want);
    }
}

#[test]
fn without_relay_or_recipients_there_is_none() {
    let on = Facts { mail: true, ..Facts::default() };
    let (mut no_relay, mut nobody) = (config(), config());
    no_relay.global.mail.server = None;
    nobody.global.mail.to.clear();
    for config in [no_relay, nobody, Config::default()] {
        assert_eq!(rules(&config).letter(&checker(false, false, true), &on), None);
    }
}

#[test]
fn what_the_configuration_does_not_say() {
    let on = Facts { mail: true, ..Facts::default() };
    let mut silent = config();
    silent.global.router_id = None;
    let letter = rules(&silent).letter(&checker(true, true, true), &on).expect("a mail");
    assert_eq!(letter.subject, format!("[lb1.example.org] {RS} - UP"));
    assert_eq!(letter.settings.from, "root@lb1.example.org");
    assert_eq!(letter.settings.helo, "lb1.example.org");
    let mut all = config();
    all.global.mail.from = Some("lb@example.org".into());
    all.global.mail.helo = Some("helo.example.org".into());
    let letter = rules(&all).letter(&checker(true, true, true), &on).expect("a mail");
    assert_eq!(letter.settings.from, "lb@example.org");
    assert_eq!(letter.settings.helo, "helo.example.org");
}

fn text(change: impl FnOnce(&mut Letter, &mut Settings)) -> String {
    let mut settings = Settings {
        server: MailServer { host: MailHost::Name("mail".into()), port: 25.try_into().expect("a port") },
        from: "lb@example.org".into(),
        to: vec!["ops@example.org".into(), "two@example.org".into()],
        helo: "lb1".into(),
        limit: Duration::from_secs(30),
        router_id: "LB1".into(),
    };
    let mut letter = Letter {
        subject: format!("[LB1] {RS} - DOWN"),
        body: "TCP_CHECK of [10.0.0.2]:tcp:80 failed: connection refused.".into(),
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_209_529),
        settings: Arc::new(settings.clone()),
    };
    change(&mut letter, &mut settings);
    letter.settings = Arc::new(settings);
    String::from_utf8(message(&letter)).expect("UTF-8")
}

/// A contract with filters on the other side: as keepalived 2.2.7 writes it, apart from the body.
#[test]
fn a_message_octet_by_octet() {
    insta::assert_snapshot!(text(|_, _| {}).replace("\r\n", "<CRLF>\n"), @r"
    Date: Fri, 20 Nov 2026 21:18:49 +0000<CRLF>
    From: lb@example.org<CRLF>
    Subject: [LB1] Realserver [10.0.0.2]:tcp:80 of virtual server [10.0.0.1]:tcp:80 - DOWN<CRLF>
    X-Mailer: Keepalived<CRLF>
    To: ops@example.org, two@example.org<CRLF>
    <CRLF>
    TCP_CHECK of [10.0.0.2]:tcp:80 failed: connection refused.<CRLF>
    ");
}

#[test]
fn nothing_gets_out_of_its_field() {
    let text = text(|letter, settings| {
        letter.subject = "a\r\nBcc: victim@example.org".into();
        letter.body = "b\r\n.\r\nMAIL FROM:<x@y>".into();
        settings.from = "c\nBcc: victim@example.org".into();
        settings.to = vec!["d\r\n\r\nbody".into()];
    });
    assert!(text.lines().all(|line| !line.starts_with("Bcc")), "{text}");
    assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text}");
    assert!(text.ends_with("\r\nb  .  MAIL FROM:<x@y>\r\n"), "{text}");
}

#[test]
fn other_alphabets_and_long_texts() {
    let text = text(|letter, settings| {
        letter.subject = "[Lüfter] VRRP Instance VI_1 - Entering MASTER state".into();
        letter.body = format!("größer {}", "x".repeat(5000));
        settings.to = (0..200).map(|one| format!("someone{one}@example.org")).collect();
    });
    assert!(text.is_ascii(), "{text}");
    assert!(text.contains("Subject: [=?utf-8?b?") || text.contains("Subject: =?utf-8?b?"), "{text}");
    assert!(text.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{text}");
    assert!(text.lines().all(|line| line.len() < 998), "{text}");
    assert_eq!(text.matches("@example.org").count(), 201, "all recipients and the sender");
    assert!(text.len() < 8000, "{}", text.len());
}

#[test]
fn mailboxes() {
    for (text, want) in [
        ("ops@example.org", Some("ops@example.org")),
        ("  ops@example.org ", Some("ops@example.org")),
        ("root", Some("root")),
        ("Load, Balancer <lb@example.org>", Some("lb@example.org")),
        ("\"a < b\" <lb@example.org>", Some("lb@example.org")),
        ("<lb@example.org>", Some("lb@example.org")),
        ("", None),
        ("<>", None),
        ("two words", None),
        ("a@b>\r\nRCPT TO:<c@d", None),
        ("ü@example.org", None),
    ] {
        assert_eq!(mailbox(text), want, "{text:?}");
    }
}

//! Notify scripts as real processes: order, arguments, limits.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use lbd::event::{Cause, Event, EventSender};
use lbd::notify::Notifier;
use lbd::script::ScriptRoom;
use lbd_grammar::config::{Config, Script, VrrpNotify};
use lbd_health::ScriptId;
use lbd_ipvs::{Protocol, ServiceId};
use lbd_vrrp::State;
use tempfile::TempDir;
use tokio::time::Instant;

#[path = "../src/notify/tests/fixtures.rs"]
mod fixtures;

struct Bench {
    dir: TempDir,
    events: EventSender,
    notifier: Notifier,
}

fn service() -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: ([10, 0, 0, 1], 80).into() }
}

fn address() -> SocketAddr {
    ([10, 0, 0, 2], 80).into()
}

impl Bench {
    /// Runs `text` as `notify` of VI_1 and VI_2 and as `notify_master` of VI_1; `$log` is a file.
    async fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let log = dir.path().join("log");
        fs::write(&log, "").expect("written");
        fs::write(&path, format!("#!/bin/sh\nlog={}\n{text}\n", log.display())).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        let mut config = Config::default();
        let mut script = |argument: &str| -> Option<ScriptId> {
            let argv = vec![path.to_str().expect("UTF-8").to_owned(), argument.to_owned()];
            let script = Script { argv, user: None };
            let id = script.id();
            config.scripts.insert(id.clone(), script);
            Some(id)
        };
        let any = script("any");
        let server = script("server").expect("a script");
        let master = script("master");
        let notify = VrrpNotify { any: any.clone(), master, ..VrrpNotify::default() };
        config.vrrp_instances.push(fixtures::instance("VI_1", notify));
        config.vrrp_instances.push(fixtures::instance("VI_2", VrrpNotify { any, ..VrrpNotify::default() }));
        config.virtual_servers.push(fixtures::virtual_server(service(), address()).into());
        let down = config.scripts.get(&server).cloned().expect("a script");
        config.scripts.insert(ScriptId("down".into()), down);
        let room = Arc::new(ScriptRoom::with_helper(env!("CARGO_BIN_EXE_lbd").into()));
        room.update(&config.scripts, &config.global).await;
        let (events, queue) = EventSender::channel();
        let notifier = Notifier::start(room, queue);
        notifier.update(&config);
        Bench { dir, events, notifier }
    }

    fn send(&self, instance: &str, to: State) {
        let from = State::Backup;
        self.events.send(Event::Vrrp {
            instance: instance.into(),
            from,
            to,
            priority: 100,
            reason: String::new(),
        });
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).expect("a log");
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn in_order_with_arguments() {
    // The first one takes longer than those behind it.
    let bench = Bench::new("[ \"$1\" = master ] && sleep 0.4\necho \"$*\" >> $log").await;
    bench.send("VI_1", State::Master);
    bench.send("VI_1", State::Backup);
    bench.events.send(Event::VrrpStopped { instance: "VI_1".into(), priority: 100, deleted: false });
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert_eq!(
        bench.log(),
        [
            "master",
            "any INSTANCE VI_1 MASTER 100",
            "any INSTANCE VI_1 BACKUP 100",
            "any INSTANCE VI_1 STOP 100"
        ]
    );
}

#[tokio::test]
async fn real_servers_get_no_arguments() {
    let bench = Bench::new("echo \"$*\" >> $log").await;
    let (service, address) = (service(), address());
    bench.events.send(Event::RealServer {
        service: service.into(),
        address,
        up: false,
        inhibited: false,
        cause: Cause::Result,
        reason: "connection refused".into(),
    });
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert_eq!(bench.log(), ["server"]);
}

#[tokio::test]
async fn objects_do_not_wait_for_each_other() {
    let bench = Bench::new("[ \"$3\" = VI_1 ] && sleep 1\necho \"$3\" >> $log").await;
    bench.send("VI_1", State::Backup);
    bench.send("VI_2", State::Backup);
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert_eq!(bench.log(), ["VI_2", "VI_1"]);
}

#[tokio::test]
async fn a_full_queue_keeps_the_latest() {
    // Blocks until all events are sent.
    let bench = Bench::new("while [ ! -e $log.go ]; do sleep 0.02; done\necho \"$4 $5\" >> $log").await;
    for priority in 0..200 {
        let (from, to) = (State::Master, State::Backup);
        bench.events.send(Event::Vrrp { instance: "VI_1".into(), from, to, priority, reason: String::new() });
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.notifier.dropped() < 200 - 64 - 1 {
        assert!(Instant::now() < deadline, "{} dropped", bench.notifier.dropped());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::write(bench.dir.path().join("log.go"), "").expect("written");
    bench.notifier.drain(Duration::from_secs(20)).await;
    let log = bench.log();
    // The one that ran, or that was pushed out before it could, makes one of difference.
    assert!((64..=65).contains(&log.len()), "{}", log.len());
    assert_eq!(log.last().map(String::as_str), Some("BACKUP 199"));
}

#[tokio::test]
async fn stopping_waits_a_second_for_a_script() {
    let bench = Bench::new("[ \"$4\" = STOP ] && { trap '' HUP; sleep 30; }\necho \"$4\" >> $log").await;
    bench.send("VI_1", State::Backup);
    bench.events.send(Event::VrrpStopped { instance: "VI_1".into(), priority: 100, deleted: false });
    let began = Instant::now();
    bench.notifier.drain(Duration::from_secs(20)).await;
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!(bench.log(), ["BACKUP"]);
}

#[tokio::test]
async fn draining_has_a_limit() {
    let bench = Bench::new("sleep 30").await;
    bench.send("VI_1", State::Backup);
    bench.send("VI_1", State::Backup);
    let began = Instant::now();
    bench.notifier.drain(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

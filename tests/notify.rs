//! Notify scripts as real processes: order, arguments, limits.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use lbd::event::{Cause, Event, EventSender};
use lbd::notify::Notifier;
use lbd::script::ScriptRoom;
use lbd_grammar::config::{Config, Script, SyncGroup, VrrpNotify};
use lbd_health::ScriptId;
use lbd_ipvs::{Protocol, ServiceId};
use lbd_vrrp::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::Instant;

#[path = "../src/notify/tests/fixtures.rs"]
mod fixtures;
mod log;

use log::Log;

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
    /// Runs `text` as `notify` of VI_1, VI_2 and VG_1 and as `notify_master` and `notify_master_rx_lower_pri` of VI_1;
    /// `$log` is a file.
    async fn new(text: &str) -> Self {
        Self::with_limit(text, None).await
    }

    /// With notify_script_timeout.
    async fn with_limit(text: &str, limit: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let log = dir.path().join("log");
        fs::write(&log, "").expect("written");
        fs::write(&path, format!("#!/bin/sh\nlog={}\n{text}\n", log.display())).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        let mut config = Config::default();
        config.global.notify_timeout = limit;
        let mut script = |argument: &str| -> Option<ScriptId> {
            let argv = vec![path.to_str().expect("UTF-8").to_owned(), argument.to_owned()];
            let script = Script { argv, user: None };
            let id = script.id();
            config.scripts.insert(id.clone(), script);
            Some(id)
        };
        let any = script("any");
        let server = script("server").expect("a script");
        let (master, master_rx_lower_priority) = (script("master"), script("low"));
        let notify =
            VrrpNotify { any: any.clone(), master, master_rx_lower_priority, ..VrrpNotify::default() };
        config.vrrp_instances.push(fixtures::instance("VI_1", notify));
        let notify = VrrpNotify { any, ..VrrpNotify::default() };
        config.vrrp_instances.push(fixtures::instance("VI_2", notify.clone()));
        config.sync_groups.insert("VG_1".into(), SyncGroup { notify, ..SyncGroup::default() });
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

    fn send_group(&self, to: State) {
        let (group, from) = ("VG_1".into(), State::Backup);
        self.events.send(Event::VrrpGroup { group, from, to, reason: String::new() });
    }

    /// Waits for a file of the bench that holds a process id.
    async fn pid(&self, name: &str) -> Pid {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                return Pid::from_raw(pid);
            }
            assert!(Instant::now() < deadline, "no {name}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
async fn groups_have_a_queue_of_their_own() {
    let bench = Bench::new("[ \"$4\" = MASTER ] && sleep 0.5\necho \"$*\" >> $log").await;
    bench.send("VI_1", State::Master);
    bench.send_group(State::Master);
    bench.send_group(State::Fault);
    bench.events.send(Event::VrrpGroupStopped { group: "VG_1".into(), deleted: false });
    bench.notifier.drain(Duration::from_secs(20)).await;
    let log = bench.log();
    let of = |kind: &str| log.iter().filter(|line| line.contains(kind)).cloned().collect::<Vec<_>>();
    assert_eq!(of("GROUP"), ["MASTER", "FAULT", "STOP"].map(|state| format!("any GROUP VG_1 {state} 0")));
    assert_eq!(log.first().map(String::as_str), Some("master"), "{log:?}");
}

#[tokio::test]
async fn an_exit_status_is_logged_with_object_and_state() {
    let (said, _until_the_end) = Log::start("notify script");
    let bench = Bench::new(
        "case $4 in MASTER) exit 3;; BACKUP) kill -9 $$;; esac\n[ \"$1\" = server ] && exit 4\necho \"$*\" >> $log",
    )
    .await;
    bench.send("VI_1", State::Master);
    bench.send("VI_1", State::Backup);
    bench.send("VI_1", State::Fault);
    bench.notifier.drain(Duration::from_secs(20)).await;
    bench.send_group(State::Master);
    let (service, address, up) = (service().into(), address(), false);
    let (inhibited, cause, reason) = (false, Cause::Result, String::new());
    bench.events.send(Event::RealServer { service, address, up, inhibited, cause, reason });
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert_eq!(bench.log(), ["master", "any INSTANCE VI_1 FAULT 100"]);
    let path = bench.dir.path().join("notify").display().to_string();
    let mut lines = said.lines();
    // The last two are of objects that do not wait for each other.
    lines.get_mut(2..).expect("four lines").sort();
    let want = [
        format!(
            " WARN notify script: exit status 3 of=vrrp_instance VI_1 state=\"MASTER\" script=\"{path} any\""
        ),
        format!(
            " WARN notify script: killed by signal 9 of=vrrp_instance VI_1 state=\"BACKUP\" script=\"{path} any\""
        ),
        format!(
            " WARN notify script: exit status 3 of=vrrp_sync_group VG_1 state=\"MASTER\" script=\"{path} any\""
        ),
        " WARN notify script: exit status 4 of=real_server 10.0.0.2:80 of TCP 10.0.0.1:80 state=\"DOWN\" script=\"down\""
            .to_owned(),
    ];
    assert_eq!(lines, want);
}

/// It ignores TERM, and so does its child.
#[tokio::test]
async fn a_script_that_hangs_is_killed_with_its_children_and_the_next_state_is_told() {
    let (said, _until_the_end) = Log::start("notify script");
    let limit = Duration::from_millis(300);
    let bench = Bench::with_limit(
        "[ \"$1\" = master ] && exit\nif [ $4 = MASTER ]; then trap '' TERM\n\
         sh -c 'trap \"\" TERM; echo $$ > $0.child; while :; do sleep 1; done' $log &\n\
         echo $$ > $log.leader; while :; do sleep 1; done; fi\necho \"$4\" >> $log",
        Some(limit),
    )
    .await;
    let began = Instant::now();
    bench.send("VI_1", State::Master);
    let (leader, child) = (bench.pid("log.leader").await, bench.pid("log.child").await);
    bench.send("VI_1", State::Backup);
    bench.send("VI_2", State::Backup);
    bench.notifier.drain(Duration::from_secs(20)).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(2300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    // The first one is of VI_2, which waited for nobody.
    assert_eq!(bench.log(), ["BACKUP", "BACKUP"]);
    for pid in [leader, child] {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
    }
    let lines = said.lines();
    assert!(
        matches!(lines.as_slice(), [line] if line.contains("timed out after 0.3 s of=vrrp_instance VI_1 state=\"MASTER\"")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_flood_and_children_that_live_on_hold_nothing_up() {
    // The child has a session of its own, and whatever was open in the script.
    let bench = Bench::new(
        "[ \"$1\" = master ] && exit\nif [ $4 = MASTER ]; then\n\
         setsid sh -c 'echo $$ > $0.child; exec sleep 60' $log &\nwhile [ ! -s $log.child ]; do sleep 0.02; done\n\
         head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; fi\necho \"$4\" >> $log",
    )
    .await;
    bench.send("VI_1", State::Master);
    bench.send("VI_1", State::Backup);
    let began = Instant::now();
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(bench.log(), ["MASTER", "BACKUP"]);
    let child = bench.pid("log.child").await;
    assert_eq!(kill(child, Signal::SIGKILL), Ok(()), "it lives");
}

#[tokio::test]
async fn a_stop_is_told_although_an_earlier_script_hangs() {
    let (said, _until_the_end) = Log::start("notify script");
    let bench = Bench::new(
        "[ \"$1\" = master ] && exit\ncase $4 in MASTER) trap '' TERM; while :; do sleep 0.1; done;; esac\n\
         echo \"$4\" >> $log",
    )
    .await;
    bench.send("VI_1", State::Master);
    bench.send("VI_1", State::Backup);
    bench.events.send(Event::VrrpStopped { instance: "VI_1".into(), priority: 100, deleted: false });
    let began = Instant::now();
    bench.notifier.drain(Duration::from_millis(300)).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(2300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(bench.log(), ["STOP"], "what waited before it is not told any more");
    let lines = said.lines();
    assert!(
        matches!(lines.as_slice(), [line] if line.contains("ended, because lbd stops of=vrrp_instance VI_1")),
        "{lines:?}"
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
async fn who_sends_adverts_all_the_time_keeps_no_state_from_being_told() {
    let bench =
        Bench::new("while [ ! -e $log.go ]; do sleep 0.02; done\n[ \"$1\" = low ] || echo \"$1 $4\" >> $log")
            .await;
    let advert = || bench.events.send(Event::VrrpLowerPriority { instance: "VI_1".into(), priority: 100 });
    advert();
    bench.send("VI_1", State::Backup);
    (0..100).for_each(|_| advert());
    bench.send("VI_1", State::Master);
    (0..100).for_each(|_| advert());
    bench.send("VI_1", State::Fault);
    let deadline = Instant::now() + Duration::from_secs(20);
    // All 205 but one that runs and those that wait.
    while bench.notifier.dropped() < 205 - 64 - 1 {
        assert!(Instant::now() < deadline, "{} dropped", bench.notifier.dropped());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::write(bench.dir.path().join("log.go"), "").expect("written");
    bench.notifier.drain(Duration::from_secs(20)).await;
    assert_eq!(bench.log(), ["any BACKUP", "master ", "any MASTER", "any FAULT"]);
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

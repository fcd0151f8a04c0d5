//! FIFOs and mail beside each other: readers as real processes, a relay that hangs.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lbd::event::{Cause, Event, EventSender};
use lbd::notify::Notifier;
use lbd::script::ScriptRoom;
use lbd_grammar::config::{Config, Fifo, MailHost, MailServer, Script, VirtualServerId, VrrpNotify};
use lbd_health::ScriptId;
use lbd_ipvs::{Protocol, ServiceId};
use tempfile::TempDir;
use tokio::time::Instant;

#[path = "../src/notify/tests/fixtures.rs"]
mod fixtures;

const LIMIT: Duration = Duration::from_secs(20);

fn service(last: u8) -> VirtualServerId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: ([10, 0, 1, last], 80).into() }.into()
}

fn address() -> SocketAddr {
    ([10, 0, 0, 2], 80).into()
}

struct Bench {
    dir: TempDir,
    config: Config,
    room: Arc<ScriptRoom>,
    events: EventSender,
    notifier: Notifier,
}

impl Bench {
    /// With lvs_notify_fifo and, if `reader` is not empty, its script; `$log` is a file.
    async fn new(reader: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        for last in 0..20 {
            config.virtual_servers.push(fixtures::virtual_server(service(last), address()).into());
        }
        config.vrrp_instances.push(fixtures::instance("VI_1", VrrpNotify::default()));
        fs::write(dir.path().join("log"), "").expect("written");
        let script = (!reader.is_empty()).then(|| add_script(&mut config, dir.path(), "reader", reader));
        let path = dir.path().join("fifo").display().to_string();
        config.global.fifos.lvs = Some(Fifo { path, user: None, script });
        let room = Arc::new(ScriptRoom::with_helper(env!("CARGO_BIN_EXE_lbd").into()));
        let (events, queue) = EventSender::channel();
        let notifier = Notifier::start(room.clone(), queue);
        let bench = Bench { dir, config, room, events, notifier };
        bench.load().await;
        bench
    }

    /// A start or a reload.
    async fn load(&self) {
        self.room.update(&self.config.scripts, &self.config.global).await;
        self.notifier.open(&self.config).await;
        self.notifier.update(&self.config);
    }

    fn fifo(&self) -> PathBuf {
        self.dir.path().join("fifo")
    }

    fn server(&self, last: u8, up: bool) {
        self.events.send(Event::RealServer {
            service: service(last),
            address: address(),
            up,
            inhibited: false,
            cause: Cause::Result,
            reason: "why".into(),
        });
    }

    /// Waits until fewer than so many programs run.
    async fn gone(&self, programs: usize) {
        let deadline = Instant::now() + LIMIT;
        while self.room.running() >= programs {
            assert!(Instant::now() < deadline, "{} programs", self.room.running());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).expect("a log");
        text.lines().map(str::to_owned).collect()
    }

    async fn logged(&self, what: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let log = self.log();
            if what(&log) {
                return log;
            }
            assert!(Instant::now() < deadline, "{log:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A script of which the log is `$log`.
fn add_script(config: &mut Config, dir: &Path, name: &str, text: &str) -> ScriptId {
    let path = dir.join(name);
    let log = dir.join("log");
    fs::write(&path, format!("#!/bin/sh\nlog={}\n{text}\n", log.display())).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    let script = Script { argv: vec![path.display().to_string(), "first".into()], user: None };
    let id = script.id();
    config.scripts.insert(id.clone(), script);
    id
}

fn reads(path: &Path) -> fs::File {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("opened")
}

/// Until `lines` lines are there.
async fn read(file: &mut fs::File, lines: usize) -> String {
    let deadline = Instant::now() + LIMIT;
    let mut text = String::new();
    while text.lines().count() < lines {
        assert!(Instant::now() < deadline, "{text}");
        let mut buffer = [0; 4096];
        match file.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let octets = buffer.get(..count).expect("what was read");
                text.push_str(std::str::from_utf8(octets).expect("UTF-8"));
            }
            _ => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    text
}

fn line(last: u8, up: bool) -> String {
    format!("RS [10.0.0.2]:tcp:80 [10.0.1.{last}]:tcp:80 {}", if up { "UP" } else { "DOWN" })
}

const READS: &str = "echo \"starts $1 $2\" >> $log\nexec 3< \"$2\"\n\
                     while read -r line <&3; do echo \"$line\" >> $log; [ -n \"$die\" ] && exit 3; done\n\
                     echo ends >> $log";

#[tokio::test]
async fn a_reader_gets_the_path_and_the_lines_and_ends_with_the_fifo() {
    let bench = Bench::new(READS).await;
    bench.server(1, false);
    bench.server(1, true);
    let path = bench.fifo();
    assert!(fs::symlink_metadata(&path).expect("there").file_type().is_fifo());
    bench.logged(|log| log.len() == 3).await;
    // Written in the last moment.
    bench.server(2, false);
    let began = Instant::now();
    bench.notifier.drain(Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "the reader ended by itself");
    let want = [
        format!("starts first {}", path.display()),
        line(1, false),
        line(1, true),
        line(2, false),
        "ends".into(),
    ];
    assert_eq!(bench.log(), want);
    assert!(!path.exists(), "made here, removed here");
    assert_eq!(bench.room.running(), 0);
}

#[tokio::test]
async fn a_reader_that_ends_is_started_again_and_misses_nothing() {
    let bench = Bench::new(&format!("die=yes\n{READS}")).await;
    bench.server(1, false);
    bench.logged(|log| log.len() == 2).await;
    // While none runs.
    bench.server(2, false);
    bench.server(3, false);
    let log = bench.logged(|log| log.len() >= 6).await;
    let starts = format!("starts first {}", bench.fifo().display());
    let want: Vec<String> = (1..=3).flat_map(|last| [starts.clone(), line(last, false)]).take(6).collect();
    // A reader takes more than a line at a time when it can: what it had is lost with it, in order.
    assert_eq!(log.get(..2), want.get(..2));
    assert!(log.iter().filter(|one| **one == starts).count() >= 2, "{log:?}");
}

#[tokio::test]
async fn a_reload_starts_the_reader_anew_and_keeps_the_fifo() {
    let bench = Bench::new(
        "trap 'echo term >> $log; exit 0' TERM\necho starts >> $log\nwhile :; do sleep 0.02; done",
    )
    .await;
    bench.logged(|log| log == ["starts"]).await;
    let mut file = reads(&bench.fifo());
    bench.server(1, false);
    bench.load().await;
    bench.server(2, false);
    assert_eq!(read(&mut file, 2).await, format!("{}\n{}\n", line(1, false), line(2, false)));
    assert_eq!(bench.logged(|log| log.len() >= 3).await, ["starts", "term", "starts"]);
}

#[tokio::test]
async fn a_reload_that_changes_the_path_removes_the_old_one_only_if_it_was_made_here() {
    let mut bench = Bench::new("").await;
    let (made, found) = (bench.fifo(), bench.dir.path().join("found"));
    nix::unistd::mkfifo(&found, nix::sys::stat::Mode::S_IRWXU).expect("made");
    bench.config.global.fifos.lvs.as_mut().expect("a FIFO").path = found.display().to_string();
    bench.load().await;
    assert!(!made.exists() && found.exists());
    let mut file = reads(&found);
    bench.server(1, false);
    assert_eq!(read(&mut file, 1).await, format!("{}\n", line(1, false)));
    bench.config.global.fifos.lvs = None;
    bench.load().await;
    assert!(found.exists());
}

#[tokio::test]
async fn a_reload_makes_one_that_was_removed_anew() {
    let bench = Bench::new("").await;
    fs::remove_file(bench.fifo()).expect("removed");
    bench.load().await;
    let mut file = reads(&bench.fifo());
    bench.server(1, true);
    assert_eq!(read(&mut file, 1).await, format!("{}\n", line(1, true)));
}

#[tokio::test]
async fn what_takes_its_place_is_not_touched_and_a_fifo_is_opened_again_without_a_reload() {
    let bench = Bench::new(READS).await;
    let (path, elsewhere) = (bench.fifo(), bench.dir.path().join("elsewhere"));
    bench.logged(|log| log.len() == 1).await;
    fs::write(&elsewhere, "precious").expect("written");

    // A regular file, by rename as a text editor would.
    fs::rename(&elsewhere, &path).expect("renamed");
    let starts = format!("starts first {}", path.display());
    // Its reader reads something that nothing is written to any more.
    bench.gone(1).await;
    bench.server(1, false);
    assert_eq!(fs::read_to_string(&path).expect("read"), "precious");

    // A link, even to a FIFO.
    nix::unistd::mkfifo(&elsewhere, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let link = bench.dir.path().join("link");
    std::os::unix::fs::symlink(&elsewhere, &link).expect("linked");
    fs::rename(&link, &path).expect("renamed");
    let mut other = reads(&elsewhere);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.server(2, false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!matches!(other.read(&mut [0; 64]), Ok(1..)), "a line went through the link");

    // Nothing: it is made anew, and its script runs.
    fs::remove_file(&path).expect("removed");
    bench.logged(|log| log.iter().filter(|line| **line == starts).count() == 2).await;
    bench.server(3, false);
    let log = bench.logged(|log| log.last() == Some(&line(3, false))).await;
    assert!(!log.contains(&line(1, false)) && !log.contains(&line(2, false)), "{log:?}");
    bench.notifier.drain(Duration::from_secs(10)).await;
    assert!(!path.exists(), "made here, removed here");
}

#[tokio::test]
async fn what_is_in_the_way_at_the_start_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fifo");
    fs::write(&path, "precious").expect("written");
    let mut bench = Bench::new("").await;
    bench.config.global.fifos.lvs.as_mut().expect("a FIFO").path = path.display().to_string();
    bench.load().await;
    bench.server(1, false);
    assert_eq!(fs::read_to_string(&path).expect("read"), "precious");
    fs::remove_file(&path).expect("removed");
    let deadline = Instant::now() + LIMIT;
    while !path.exists() {
        assert!(Instant::now() < deadline, "not made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A FIFO of the operator's in the place of ours is as good, and stays.
#[tokio::test]
async fn another_fifo_in_its_place_is_written_to() {
    let bench = Bench::new("").await;
    let theirs = bench.dir.path().join("theirs");
    nix::unistd::mkfifo(&theirs, nix::sys::stat::Mode::S_IRWXU).expect("made");
    fs::rename(&theirs, bench.fifo()).expect("renamed");
    let mut file = reads(&bench.fifo());
    let deadline = Instant::now() + LIMIT;
    while !matches!(file.read(&mut [0; 4096]), Ok(1..)) {
        assert!(Instant::now() < deadline, "nothing is written to it");
        bench.server(1, true);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bench.notifier.drain(Duration::from_secs(1)).await;
    assert!(bench.fifo().exists(), "not made here");
}

#[tokio::test]
async fn notify_fifo_gets_every_line_and_the_others_theirs() {
    let mut bench = Bench::new("").await;
    let path = |name: &str| bench.dir.path().join(name);
    let (all, vrrp, lvs) = (path("all"), path("vrrp"), path("lvs"));
    let fifo = |path: &Path| Some(Fifo { path: path.display().to_string(), user: None, script: None });
    let fifos = &mut bench.config.global.fifos;
    (fifos.all, fifos.vrrp, fifos.lvs) = (fifo(&all), fifo(&vrrp), fifo(&lvs));
    bench.load().await;
    let mut files = [reads(&all), reads(&vrrp), reads(&lvs)];
    bench.events.send(Event::VrrpStopped { instance: "VI_1".into(), priority: 100, deleted: false });
    bench.server(1, false);
    let (stop, down) = ("INSTANCE \"VI_1\" STOP 100\n".to_owned(), format!("{}\n", line(1, false)));
    assert_eq!(read(&mut files[0], 2).await, format!("{stop}{down}"));
    assert_eq!(read(&mut files[1], 1).await, stop);
    assert_eq!(read(&mut files[2], 1).await, down);
}

#[tokio::test]
async fn lines_are_in_order_per_object_while_a_slow_reader_reads() {
    let bench = Bench::new("").await;
    let mut file = reads(&bench.fifo());
    // What the pipe holds is less than all of it: the reader has to keep up, slowly.
    let rounds = 60;
    let reader = tokio::spawn(async move { read(&mut file, rounds * 2 * 20).await });
    for round in 0..rounds {
        for up in [false, true] {
            for last in 0..20 {
                bench.server(last, up);
            }
        }
        if round % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let text = reader.await.expect("read");
    for last in 0..20 {
        let own: Vec<&str> = text
            .lines()
            .filter(|one| one.contains(&format!("[10.0.1.{last}]:")))
            .map(|one| one.rsplit(' ').next().expect("a state"))
            .collect();
        assert_eq!(own, ["DOWN", "UP"].repeat(rounds), "{last}");
    }
}

#[tokio::test]
async fn a_relay_that_hangs_and_a_fifo_that_nobody_reads_delay_nothing() {
    let mut bench = Bench::new("").await;
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let at = relay.local_addr().expect("an address");
    let mail = &mut bench.config.global.mail;
    mail.server =
        Some(MailServer { host: MailHost::Address(at.ip()), port: at.port().try_into().expect("a port") });
    mail.to = vec!["ops@example.org".into()];
    mail.connect_timeout = Duration::from_secs(30);
    let down = add_script(&mut bench.config, bench.dir.path(), "down", "echo down >> $log");
    let script = bench.config.scripts.get(&down).cloned().expect("a script");
    bench.config.scripts.insert(ScriptId("down".into()), script);
    bench.load().await;
    let connected = tokio::spawn(async move { relay.accept().await });
    let checker = |last, up| Event::Checker {
        service: service(last),
        address: address(),
        check: "TCP_CHECK",
        up,
        server_up: up,
        server_changed: true,
        reason: "why".into(),
    };
    bench.events.send(checker(1, false));
    // Held open, never answered.
    let _held =
        tokio::time::timeout(LIMIT, connected).await.expect("in time").expect("joined").expect("accepted");
    let began = Instant::now();
    for last in 0..20 {
        for _ in 0..100 {
            bench.events.send(checker(last, false));
        }
        bench.server(last, false);
    }
    // More than the pipe holds, and no reader.
    for _ in 0..2000 {
        bench.server(1, true);
    }
    bench.logged(|log| log.len() == 20).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The runtime is free: a timer is on time.
    let timer = Instant::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(timer.elapsed() < Duration::from_secs(1), "{:?}", timer.elapsed());
    let stop = Instant::now();
    bench.notifier.drain(Duration::from_secs(1)).await;
    assert!(stop.elapsed() < Duration::from_secs(3), "{:?}", stop.elapsed());
}

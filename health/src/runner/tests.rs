use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::types::{CheckKind, Connection, MiscCheck, Schedule};

/// Programs that end as told, after a time; counts those under way.
#[derive(Default)]
struct Fake {
    /// Duration and exit status of each run; the last one repeats.
    runs: Mutex<Vec<(Duration, u8)>>,
    started: Mutex<Vec<Instant>>,
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Programs for Fake {
    fn run(&self, _: &ScriptId, limit: Duration) -> Pin<Box<dyn Future<Output = ScriptOutcome> + Send>> {
        self.started.lock().unwrap().push(Instant::now());
        let mut runs = self.runs.lock().unwrap();
        let (duration, status) = if runs.len() > 1 { runs.remove(0) } else { runs[0] };
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        Box::pin(async move {
            let _running = running;
            assert_ne!(status, 99, "a bug in a check");
            match timeout(limit, tokio::time::sleep(duration)).await {
                Ok(()) => ScriptOutcome::Exited(status),
                Err(_) => ScriptOutcome::TimedOut(limit),
            }
        })
    }
}

fn fake(runs: &[(u64, u8)]) -> Arc<Fake> {
    let runs = runs.iter().map(|(ms, status)| (Duration::from_millis(*ms), *status)).collect();
    Arc::new(Fake { runs: Mutex::new(runs), ..Fake::default() })
}

fn schedule() -> Schedule {
    Schedule {
        delay_loop: Duration::from_secs(10),
        retry: 1,
        delay_before_retry: Duration::from_secs(2),
        warmup: Duration::from_secs(5),
        alpha: false,
        log_all_failures: false,
    }
}

fn misc() -> Arc<Check> {
    let misc = MiscCheck { script: ScriptId("x".into()), timeout: Duration::from_secs(30), dynamic: false };
    Arc::new(Check { schedule: schedule(), kind: CheckKind::Misc(misc) })
}

fn connection(target: std::net::SocketAddr) -> Connection {
    Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    }
}

fn at_once(check: &Check) -> Start {
    Start { first: Some(Duration::ZERO), ..Start::new(check) }
}

struct Bench {
    handle: CheckerHandle,
    reports: mpsc::Receiver<(u8, Report)>,
    suspend: watch::Sender<bool>,
}

fn bench(check: Arc<Check>, start: Start, programs: Arc<Fake>) -> Bench {
    let (sender, reports) = mpsc::channel(16);
    let (suspend, suspended) = watch::channel(false);
    Bench {
        handle: spawn(7, check, start, Arc::new(Tools::new(programs)), suspended, sender),
        reports,
        suspend,
    }
}

fn seconds(fake: &Fake, base: Instant) -> Vec<u64> {
    fake.started.lock().unwrap().iter().map(|at| (*at - base).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn misc_starts_count_from_start_to_start() {
    // 3 s good; 1 s bad (retried 2 s after its start); 4 s bad (down); then 15 s, longer than the period.
    let fake = fake(&[(3000, 0), (1000, 1), (4000, 1), (15_000, 0), (0, 0)]);
    let base = Instant::now();
    let check = misc();
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&fake));
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (key, report) = bench.reports.recv().await.unwrap();
        assert_eq!(key, 7);
        seen.push((report.up, report.changed, report.first, report.failed_try, report.latency.as_secs()));
    }
    assert_eq!(
        seen,
        [
            (true, false, true, false, 3),
            (true, false, false, true, 1),
            (false, true, false, false, 4),
            (true, true, false, false, 15),
            (true, false, false, false, 0),
        ]
    );
    assert_eq!(seconds(&fake, base), [0, 10, 12, 22, 37]);
}

#[tokio::test(start_paused = true)]
async fn first_check_within_warmup() {
    for _ in 0..50 {
        let fake = fake(&[(0, 0)]);
        let base = Instant::now();
        let check = misc();
        let mut bench = bench(Arc::clone(&check), Start::new(&check), Arc::clone(&fake));
        bench.reports.recv().await.unwrap();
        let delay = fake.started.lock().unwrap()[0] - base;
        assert!((Duration::from_secs(1)..=Duration::from_millis(6001)).contains(&delay), "{delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_ends_the_program() {
    let fake = fake(&[(1_000_000, 0)]);
    let check = misc();
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&fake));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fake.running.load(Ordering::SeqCst), 1);
    drop(bench.handle);
    assert!(bench.reports.recv().await.is_none(), "the task is gone");
    assert_eq!(fake.running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn suspended_runs_nothing_and_rejoins_its_rhythm() {
    let fake = fake(&[(0, 0)]);
    let base = Instant::now();
    let check = misc();
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&fake));
    bench.reports.recv().await.unwrap();
    bench.suspend.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert_eq!(seconds(&fake, base), [0]);
    bench.suspend.send(false).unwrap();
    bench.reports.recv().await.unwrap();
    assert_eq!(seconds(&fake, base), [0, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_arrives_while_suspended_is_not_taken() {
    let fake = fake(&[(5000, 1), (0, 0)]);
    let check = misc();
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&fake));
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.suspend.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    bench.suspend.send(false).unwrap();
    let (_, report) = bench.reports.recv().await.unwrap();
    assert!(report.up && report.first);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_run_without_verdict() {
    let fake = fake(&[(0, 99), (0, 0)]);
    let base = Instant::now();
    let check = misc();
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&fake));
    let (_, report) = bench.reports.recv().await.unwrap();
    assert_eq!((report.has_run, &*report.reason), (false, "internal error: the check panicked"));
    let (_, report) = bench.reports.recv().await.unwrap();
    assert!(report.up && report.first);
    assert_eq!(seconds(&fake, base), [0, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_check_delays_no_other() {
    let slow = fake(&[(25_000, 0)]);
    let quick = fake(&[(0, 0)]);
    let base = Instant::now();
    let check = misc();
    let _slow = bench(Arc::clone(&check), at_once(&check), slow);
    let mut bench = bench(Arc::clone(&check), at_once(&check), Arc::clone(&quick));
    for _ in 0..3 {
        bench.reports.recv().await.unwrap();
    }
    assert_eq!(seconds(&quick, base), [0, 10, 20]);
}

/// Servers that take everything and say nothing: each check of them lasts its whole timeout.
#[tokio::test]
async fn two_hundred_hanging_checks_delay_no_other() {
    use crate::types::{DnsCheck, DnsType, SmtpCheck, UdpCheck};
    // Nobody accepts: the kernel completes the connections by itself.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(128).unwrap();
    let silent_tcp = connection(socket.local_addr().unwrap().as_socket().unwrap());
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_udp = connection(silent.local_addr().unwrap());
    let hanging = |i: u32| match i % 3 {
        0 => CheckKind::Smtp(Box::new(SmtpCheck { connection: silent_tcp.clone(), helo: "a".into() })),
        1 => CheckKind::Dns(Box::new(DnsCheck {
            connection: silent_udp.clone(),
            record: DnsType::Soa,
            name: "".into(),
        })),
        _ => CheckKind::Udp(Box::new(UdpCheck {
            connection: silent_udp.clone(),
            payload: None,
            reply: Some(Box::default()),
            min_reply_length: 0,
            max_reply_length: 255,
        })),
    };
    let mut hung: Vec<Bench> = (0..200)
        .map(|i| {
            let check = Arc::new(Check { schedule: schedule(), kind: hanging(i) });
            bench(Arc::clone(&check), at_once(&check), fake(&[(0, 0)]))
        })
        .collect();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let period = Duration::from_millis(20);
    let schedule = Schedule { delay_loop: period, ..schedule() };
    let check = Arc::new(Check { schedule, kind: CheckKind::Tcp(connection(target)) });
    let began = Instant::now();
    let mut quick = bench(Arc::clone(&check), at_once(&check), fake(&[(0, 0)]));
    for _ in 0..30 {
        let accepted = timeout(Duration::from_secs(2), listener.accept()).await;
        accepted.expect("checked in time").unwrap();
        let (_, report) = timeout(Duration::from_secs(2), quick.reports.recv()).await.unwrap().unwrap();
        assert_eq!((report.up, &*report.reason), (true, "connected"));
        assert!(report.latency < Duration::from_secs(2), "{:?}", report.latency);
    }
    // And not hurried.
    assert!(began.elapsed() >= period * 29, "{:?}", began.elapsed());
    drop(quick);
    for bench in &mut hung {
        let limit = Duration::from_secs(30);
        let (_, report) = timeout(limit, bench.reports.recv()).await.expect("in bounded time").unwrap();
        assert!(!report.up);
        assert!(
            ["no greeting after 3 s", "no answer after 3 s"].contains(&&*report.reason),
            "{}",
            report.reason
        );
    }
}

#[tokio::test]
async fn tcp_on_loopback() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let schedule = Schedule { delay_loop: Duration::from_millis(20), retry: 0, ..schedule() };
    let check = Arc::new(Check { schedule, kind: CheckKind::Tcp(connection(target)) });
    let mut bench = bench(Arc::clone(&check), at_once(&check), fake(&[(0, 0)]));
    let (_, report) = bench.reports.recv().await.unwrap();
    assert_eq!((report.up, &*report.reason), (true, "connected"));
    drop(listener);
    loop {
        let (_, report) = bench.reports.recv().await.unwrap();
        if report.changed {
            assert_eq!((report.up, &*report.reason), (false, "connection refused"));
            break;
        }
    }
}

#[tokio::test]
async fn problems_of_this_host_are_no_verdict() {
    let target = ([127, 0, 0, 1], 9).into();
    for (name, connection, want) in [
        (
            "address that is not here",
            Connection { bind_address: Some([192, 0, 2, 1].into()), ..connection(target) },
            "cannot bind to 192.0.2.1:0 (bindto)",
        ),
        (
            "interface that is not here",
            Connection { bind_interface: Some("nosuch0".into()), ..connection(target) },
            "cannot bind to interface nosuch0 (bind_if)",
        ),
        (
            "other family",
            Connection { bind_address: Some("::1".parse().unwrap()), ..connection(target) },
            "cannot ",
        ),
    ] {
        let check = Check { schedule: schedule(), kind: CheckKind::Tcp(connection) };
        let outcome = check::run(&check, 0, &Tools::new(Arc::new(Fake::default()))).await;
        assert_eq!(outcome.verdict, Verdict::Unknown, "{name}");
        assert!(outcome.reason.starts_with(want), "{name}: {}", outcome.reason);
    }
}

#[tokio::test]
async fn source_address_and_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let with_port = Connection {
        bind_address: Some([127, 0, 0, 2].into()),
        bind_port: std::num::NonZeroU16::new(free),
        ..connection(target)
    };
    let tools = Tools::new(Arc::new(Fake::default()));
    let with_address = Connection { bind_port: None, ..with_port.clone() };
    for (connection, port) in [(&with_port, Some(free)), (&with_port, Some(free)), (&with_address, None)] {
        let check = Check { schedule: schedule(), kind: CheckKind::Tcp(connection.clone()) };
        let (outcome, accepted) = tokio::join!(check::run(&check, 0, &tools), listener.accept());
        assert_eq!(outcome, Outcome::good("connected"));
        let (_, peer) = accepted.unwrap();
        assert_eq!(peer.ip(), std::net::IpAddr::from([127, 0, 0, 2]));
        assert!(port.is_none_or(|port| port == peer.port()));
    }
}

#[tokio::test]
async fn connect_timeout() {
    // A listener whose queue is full takes no more connections and says nothing.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let target = socket.local_addr().unwrap().as_socket().unwrap();
    let mut kept = Vec::new();
    let limited = Connection { timeout: Duration::from_millis(300), ..connection(target) };
    let check = Check { schedule: schedule(), kind: CheckKind::Tcp(limited.clone()) };
    for _ in 0..5 {
        match crate::connect::connect(&limited).await {
            Ok(stream) => kept.push(stream),
            Err(_) => break,
        }
    }
    let outcome = check::run(&check, 0, &Tools::new(Arc::new(Fake::default()))).await;
    assert_eq!(outcome, Outcome::bad("connect timeout after 0.3 s"));
}

/// 50,000 TCP checks are to fit: 3 kB for a real server, most of it for the task.
#[tokio::test]
async fn tasks_are_small() {
    let check = Arc::new(Check {
        schedule: schedule(),
        kind: CheckKind::Tcp(connection(([127, 0, 0, 1], 9).into())),
    });
    let start = at_once(&check);
    let (reports, _receiver) = mpsc::channel(1);
    let (_suspend, suspended) = watch::channel(false);
    let key = (0_u64, 0_u64);
    let task =
        drive(key, check, start, Instant::now(), Arc::new(Tools::new(fake(&[(0, 0)]))), suspended, reports);
    let size = size_of_val(&task);
    assert!(size <= 1536, "{size} octets");
}

#[tokio::test(start_paused = true)]
async fn checks_begin_on_the_beat() {
    let origin = Instant::now();
    let us = Duration::from_micros;
    for (name, from, delay, want) in [
        ("just past a beat", 1_200, 1_000_000, 1_000_000),
        ("nearer to the next", 2_600, 1_000_000, 1_005_000),
        ("a tenth of a second: its hundredth", 300, 100_000, 100_000),
        ("a tenth of a second, nearer to the next", 600, 100_000, 101_000),
        ("shorter than a beat matters", 1_234, 20_000, 21_234),
        ("at once", 1_234, 0, 1_234),
    ] {
        assert_eq!(on_beat(Some(origin), origin + us(from), us(delay)), origin + us(want), "{name}");
        assert_eq!(on_beat(None, origin + us(from), us(delay)), origin + us(from + delay), "{name}, no beat");
    }
    // From beat to beat the time is what was asked: what a check takes does not add up.
    let mut at = origin;
    for _ in 0..10 {
        at = on_beat(Some(origin), at + us(400), us(1_000_000));
    }
    assert_eq!(at, origin + us(10_000_000));
}

#[test]
fn rejoining() {
    let due = Instant::now();
    let period = Duration::from_secs(10);
    for (late, want) in [(0, 0), (1, 10), (10, 10), (55, 60)] {
        let now = due + Duration::from_secs(late);
        assert_eq!(rejoin(due, now, period) - due, Duration::from_secs(want), "{late} s late");
    }
}

#[test]
fn misc_outcomes() {
    use crate::check::misc::judge;
    use crate::types::ScriptError;
    let weight = |weight, reason: &str| Outcome::good(reason).contributing(Contribution::Weight(weight));
    for (name, dynamic, outcome, want) in [
        ("good", false, ScriptOutcome::Exited(0), Outcome::good("exit status 0")),
        ("bad", false, ScriptOutcome::Exited(1), Outcome::bad("exit status 1")),
        ("two without dynamic", false, ScriptOutcome::Exited(2), Outcome::bad("exit status 2")),
        ("dynamic good", true, ScriptOutcome::Exited(0), Outcome::good("exit status 0")),
        ("dynamic bad", true, ScriptOutcome::Exited(1), Outcome::bad("exit status 1")),
        ("dynamic weight 0", true, ScriptOutcome::Exited(2), weight(0, "exit status 2, weight 0")),
        ("dynamic largest", true, ScriptOutcome::Exited(255), weight(253, "exit status 255, weight 253")),
        ("killed", true, ScriptOutcome::Signalled(9), Outcome::bad("killed by signal 9")),
        ("late", true, ScriptOutcome::TimedOut(Duration::from_secs(5)), Outcome::bad("timed out after 5 s")),
    ] {
        assert_eq!(judge(dynamic, outcome), want, "{name}");
    }
    for (name, error, want) in [
        (
            "cannot run",
            ScriptError::NotExecutable,
            Outcome::bad("not run: the program is not there or not executable for its user"),
        ),
        ("insecure", ScriptError::Insecure, Outcome::bad("not run: refused by enable_script_security")),
        (
            "no processes left",
            ScriptError::Resources,
            Outcome::unknown("not run: this host has no processes or memory left"),
        ),
    ] {
        assert_eq!(judge(true, ScriptOutcome::NotStarted(error)), want, "{name}");
    }
}

/// Files whose numbers the test sets.
#[derive(Default)]
struct FakeFiles(std::collections::HashMap<String, watch::Sender<Option<i64>>>);

impl Files for FakeFiles {
    fn watch(&self, name: &str) -> Option<watch::Receiver<Option<i64>>> {
        self.0.get(name).map(watch::Sender::subscribe)
    }
}

fn file_check(weight: i32, alpha: bool) -> Arc<Check> {
    let file = crate::types::FileCheck { file: "f".into(), weight, reverse: false };
    Arc::new(Check { schedule: Schedule { alpha, ..schedule() }, kind: CheckKind::File(file) })
}

#[tokio::test(start_paused = true)]
async fn a_file_check_follows_its_file_and_no_timer() {
    let number = watch::Sender::new(None);
    let files = FakeFiles([("f".to_owned(), number.clone())].into());
    let tools = Arc::new(Tools::new(fake(&[(0, 0)])).with_files(Arc::new(files)));
    let check = file_check(2, true);
    let (sender, mut reports) = mpsc::channel(16);
    // ha_suspend has no say.
    let (_suspend, suspended) = watch::channel(true);
    assert_eq!(Start::informed(&check, &tools), Start::new(&check), "nothing is read yet");
    assert!(Start::new(&check).up, "never alpha");
    let handle =
        spawn(7, Arc::clone(&check), Start::informed(&check, &tools), tools.clone(), suspended, sender);
    let base = Instant::now();
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(reports.try_recv().is_err(), "no number, no report");
    let mut seen = Vec::new();
    for value in [5, 5, -3, -(1 << 31), 0] {
        // Setting it anew, also to the same number, is a change.
        number.send_replace(Some(value));
        let (_, report) = reports.recv().await.unwrap();
        seen.push((report.up, report.changed, report.first, report.contribution, report.reason.to_string()));
    }
    let add = Contribution::Add;
    let row = |up, changed, first, contribution, reason: &str| {
        (up, changed, first, contribution, reason.to_owned())
    };
    assert_eq!(
        seen,
        [
            row(true, false, true, add(10), "f: number 5, weight +10"),
            row(true, false, false, add(10), "f: number 5, weight +10"),
            row(true, false, false, add(-6), "f: number -3, weight -6"),
            row(
                false,
                true,
                false,
                Contribution::None,
                "f: number -2147483648 comes to -4294967296, which is a failure"
            ),
            row(true, true, false, add(0), "f: number 0, weight +0"),
        ]
    );
    assert_eq!(base.elapsed(), Duration::from_secs(1000), "nothing waited for a timer");
    assert_eq!(
        Start::informed(&check, &tools),
        Start { up: true, has_run: true, contribution: add(0), tries: 0, first: None },
        "what is known at the start counts from the start"
    );
    number.send_replace(Some(-(1 << 31)));
    assert!(!Start::informed(&check, &tools).up);
    reports.recv().await.unwrap();
    drop(tools);
    drop(number);
    assert!(reports.recv().await.is_none(), "the file is tracked no more");
    drop(handle);
}

#[tokio::test]
async fn a_file_check_without_file() {
    let tools = Arc::new(Tools::new(fake(&[(0, 0)])));
    let check = file_check(1, false);
    let (sender, mut reports) = mpsc::channel(16);
    let (_suspend, suspended) = watch::channel(false);
    let _handle = spawn(7, Arc::clone(&check), Start::informed(&check, &tools), tools, suspended, sender);
    let (_, report) = reports.recv().await.unwrap();
    assert_eq!((report.up, report.has_run, &*report.reason), (true, false, "f: no such track_file"));
}

/// An agent's earlier words count in later runs, and its silence is no problem of this host.
#[tokio::test]
async fn an_agent_is_remembered() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = crate::types::AgentCheck {
        connection: connection(listener.local_addr().unwrap()),
        send: Box::default(),
    };
    let quick = Schedule { delay_loop: Duration::from_millis(1), alpha: true, ..schedule() };
    let check = Arc::new(Check { schedule: quick, kind: CheckKind::Agent(Box::new(agent)) });
    let mut bench = bench(Arc::clone(&check), at_once(&check), fake(&[(0, 0)]));
    let mut seen = Vec::new();
    for line in ["50%\n", "up\n", "drain\n", "", "ready\n", "maint\n", "up\n"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(line.as_bytes()).await.unwrap();
        drop(stream);
        let (_, report) = bench.reports.recv().await.unwrap();
        seen.push((report.up, report.contribution));
    }
    let percent = Contribution::Percent;
    assert_eq!(
        seen,
        [
            (false, Contribution::None),
            (true, percent(50)),
            (true, percent(0)),
            (true, percent(0)),
            (true, percent(50)),
            (false, Contribution::None),
            (false, Contribution::None),
        ]
    );
}

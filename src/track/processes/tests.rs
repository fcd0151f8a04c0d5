use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);

/// Many processes of one test make others lose events.
static ALONE: Mutex<()> = Mutex::new(());

/// A program of a name that no other process has, and what is published about it.
struct Bench {
    _alone: MutexGuard<'static, ()>,
    folder: TempDir,
    processes: TrackedProcesses,
    results: Receiver<(TrackerId, TrackerResult)>,
    events: tokio::sync::mpsc::Receiver<Event>,
}

/// A process that is killed with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Bench {
    fn new(by_events: bool) -> Self {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::Builder::new().prefix("lbdproc").tempdir().expect("folder");
        let (sender, results) = channel();
        let (events, received) = EventSender::channel();
        let publish = move |id, result| drop(sender.send((id, result)));
        let mut processes = TrackedProcesses::new(publish, events);
        processes.by_events = by_events;
        let bench = Bench { _alone, folder, processes, results, events: received };
        symlink("/bin/sleep", bench.path()).expect("a link");
        bench
    }

    fn path(&self) -> PathBuf {
        let (process, folder) = (std::process::id(), self.folder.path().display().to_string());
        // At most 15 octets, and another one in each test.
        let tail: String = folder.chars().rev().take(4).collect();
        self.folder.path().join(format!("s{process}{tail}"))
    }

    fn name(&self) -> String {
        self.path().file_name().expect("a name").to_string_lossy().into_owned()
    }

    fn start(&self, argument: &str) -> Running {
        let mut program = Program::new(self.path());
        program.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(program.spawn().expect("sleep"))
    }

    #[track_caller]
    fn has_its_name(&self, running: &Running) {
        let (comm, until) = (format!("/proc/{}/comm", running.0.id()), Instant::now() + LIMIT);
        while fs::read_to_string(&comm).expect("it runs").trim_end() != self.name() {
            assert!(Instant::now() < until, "{comm} is another");
            std::thread::yield_now();
        }
    }

    async fn track(&mut self, processes: &[(&str, &TrackProcess)]) {
        let processes = processes.iter().map(|(name, process)| (Arc::from(*name), (*process).clone()));
        self.processes.track(processes.collect(), Buffer::default()).await;
    }

    #[track_caller]
    fn next(&self) -> (String, TrackerResult) {
        let (id, result) = self.results.recv_timeout(LIMIT).expect("a result");
        (id.to_string(), result)
    }

    #[track_caller]
    fn told(&self, want: &[(&str, TrackerResult)]) {
        for (name, result) in want {
            assert_eq!(self.next(), ((*name).to_owned(), *result));
        }
    }
}

fn of(command: &[&str], matching: ProcessMatch, quorum: u16) -> TrackProcess {
    TrackProcess {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        matching,
        quorum,
        quorum_max: None,
        terminate_delay: Duration::ZERO,
        fork_delay: Duration::ZERO,
    }
}

fn few(running: u32, fewest: u32) -> TrackerResult {
    TrackerResult::Processes { running, fewest, most: None }
}

/// Whether the kernel tells events here; else that is said.
fn events_are_told(test: &str) -> bool {
    match Connector::open(Buffer::default()).and_then(answered) {
        Ok(_) => true,
        Err(error) => {
            lbd_integration::skip::report(test, &format!("no process events here: {error}"));
            false
        }
    }
}

async fn over_its_life(by_events: bool) {
    let mut bench = Bench::new(by_events);
    let (name, path) = (bench.name(), bench.path().display().to_string());
    let by_name = of(&[&name], ProcessMatch::Name, 2);
    let exact = of(&[&path, "1000"], ProcessMatch::Exact, 1);
    bench.track(&[("name", &by_name), ("exact", &exact)]).await;
    bench.told(&[("name", few(0, 2)), ("exact", few(0, 1))]);
    let first = bench.start("1000");
    bench.told(&[("name", few(1, 2)), ("exact", TrackerResult::Good)]);
    let second = bench.start("2000");
    bench.told(&[("name", TrackerResult::Good)]);
    // Nothing is told of a third, which is enough when the second ends. It runs before the kernel tells of it: all are
    // counted anew.
    let third = bench.start("3000");
    bench.has_its_name(&third);
    bench.track(&[("name", &by_name), ("exact", &exact)]).await;
    bench.told(&[("name", TrackerResult::Good), ("exact", TrackerResult::Good)]);
    drop(second);
    drop(first);
    bench.told(&[("name", few(1, 2)), ("exact", few(0, 1))]);
    drop(third);
    bench.told(&[("name", few(0, 2))]);
    let mut told = Vec::new();
    while let Ok(Event::TrackedProcess { name, good, reason }) = bench.events.try_recv() {
        told.push(format!("{name} {good}: {reason}"));
    }
    let want = [
        "name false: 0 running, at least 2",
        "exact false: 0 running, at least 1",
        "exact true: 1 running, at least 1",
        "name true: 2 running, at least 2",
        "name false: 1 running, at least 2",
        "exact false: 0 running, at least 1",
    ];
    assert_eq!(told, want);
}

#[tokio::test]
async fn by_events() {
    if events_are_told("track::processes::tests::by_events") {
        over_its_life(true).await;
    }
}

#[tokio::test]
async fn by_reading_proc() {
    over_its_life(false).await;
}

/// With room for two or three events a storm of processes makes the kernel lose most of them.
#[tokio::test]
async fn by_events_with_hardly_any_room() {
    if !events_are_told("track::processes::tests::by_events_with_hardly_any_room") {
        return;
    }
    let mut bench = Bench::new(true);
    let process = of(&[&bench.name()], ProcessMatch::Name, 1);
    let least = Buffer { bytes: Some(1), force: false };
    bench.processes.track(vec![("own".into(), process)], least).await;
    bench.told(&[("own", few(0, 1))]);
    let storm = || {
        for _ in 0..50 {
            let child = Program::new("/bin/true").spawn();
            child.and_then(|mut child| child.wait()).expect("a process");
        }
    };
    let stormy = |what: &mut dyn FnMut()| {
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(storm)));
            what();
        });
    };
    let mut running = None;
    stormy(&mut || running = Some(bench.start("1000")));
    bench.told(&[("own", TrackerResult::Good)]);
    stormy(&mut || running = None);
    bench.told(&[("own", few(0, 1))]);
}

#[tokio::test]
async fn a_process_that_names_itself() {
    if !events_are_told("track::processes::tests::a_process_that_names_itself") {
        return;
    }
    let mut bench = Bench::new(true);
    let name = bench.name();
    let process = of(&[&name], ProcessMatch::Name, 1);
    bench.track(&[("own", &process)]).await;
    bench.told(&[("own", few(0, 1))]);
    let mut shell = Program::new("/bin/sh");
    shell.arg("-c").arg(format!("printf {name} > /proc/$$/comm; read end")).stdin(Stdio::piped());
    let shell = Running(shell.spawn().expect("a shell"));
    bench.told(&[("own", TrackerResult::Good)]);
    drop(shell);
    bench.told(&[("own", few(0, 1))]);
}

#[tokio::test]
async fn delays_hold_a_change() {
    if !events_are_told("track::processes::tests::delays_hold_a_change") {
        return;
    }
    let mut bench = Bench::new(true);
    let (name, delay) = (bench.name(), Duration::from_millis(300));
    let process = TrackProcess { terminate_delay: delay, ..of(&[&name], ProcessMatch::Name, 1) };
    let first = bench.start("1000");
    bench.track(&[("slow", &process)]).await;
    bench.told(&[("slow", TrackerResult::Good)]);
    // Another one in time, if it is seen before it ends.
    let ended = Instant::now();
    drop(first);
    drop(bench.start("1000"));
    bench.told(&[("slow", few(0, 1))]);
    assert!(ended.elapsed() >= delay, "{:?}", ended.elapsed());
}

#[tokio::test]
async fn reload() {
    let by_events = Connector::open(Buffer::default()).and_then(answered).is_ok();
    let mut bench = Bench::new(by_events);
    let name = bench.name();
    let one = of(&[&name], ProcessMatch::Name, 1);
    let two = of(&[&name], ProcessMatch::Name, 2);
    let running = bench.start("1000");
    bench.track(&[]).await;
    bench.track(&[("a", &one)]).await;
    bench.told(&[("a", TrackerResult::Good)]);
    bench.track(&[("b", &two), ("a", &one)]).await;
    bench.told(&[("b", few(1, 2)), ("a", TrackerResult::Good)]);
    bench.track(&[("a", &two)]).await;
    bench.told(&[("a", few(1, 2))]);
    bench.track(&[]).await;
    drop(running);
    bench.track(&[("a", &one)]).await;
    bench.told(&[("a", few(0, 1))]);
    assert!(bench.results.try_recv().is_err(), "nothing else was told");
}

/// Events from a socket, among them word that some were lost.
struct Recorded(UnixDatagram);

const LOST: &[u8] = b"lost";

impl Feed for Recorded {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match self.0.recv(buffer) {
            Ok(length) if buffer.get(..length) == Some(LOST) => Err(Errno::ENOBUFS.into()),
            Ok(length) => Ok(buffer.get(..length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn resize(&self, _buffer: Buffer) {}
}

/// A watcher of a /proc that a test makes, and the other end of its events.
struct Made {
    root: TempDir,
    kernel: UnixDatagram,
    results: Receiver<(TrackerId, TrackerResult)>,
}

impl Made {
    fn new() -> (Self, Watcher) {
        let root = tempfile::tempdir().expect("folder");
        let (sender, results) = channel();
        let (kernel, feed) = UnixDatagram::pair().expect("sockets");
        feed.set_nonblocking(true).expect("a socket");
        let publish = move |id, result| drop(sender.send((id, result)));
        let (events, _received) = EventSender::channel();
        let mut watcher = Watcher::new(Box::new(publish), events, true);
        watcher.root = root.path().to_owned();
        watcher.source = Source::Events(Box::new(Recorded(feed)));
        (Made { root, kernel, results }, watcher)
    }

    fn process(&self, number: i32) {
        let directory = self.root.path().join(number.to_string());
        fs::create_dir(&directory).expect("made");
        fs::write(directory.join("stat"), format!("{number} (one) S 1 1")).expect("written");
    }

    fn tell(&self, event: &[u8]) {
        self.kernel.send(event).expect("the watcher is there");
    }

    #[track_caller]
    fn told(&self, want: TrackerResult) {
        let (id, result) = self.results.recv_timeout(LIMIT).expect("a result");
        assert_eq!((id.to_string().as_str(), result), ("p", want));
    }
}

fn two() -> Vec<(Arc<str>, TrackProcess)> {
    vec![("p".into(), of(&["one"], ProcessMatch::Name, 2))]
}

#[test]
fn events_that_were_lost_have_proc_read_anew() {
    let (made, watcher) = Made::new();
    made.process(10);
    let (mut wake, woken) = Wake::pair().expect("sockets");
    let (commands, receiver) = channel();
    let thread = std::thread::spawn(move || watcher.run(&woken, &receiver));
    let (done, _counted) = oneshot::channel();
    let buffer = Buffer::default();
    commands.send(Command { processes: two(), buffer, done }).expect("the watcher runs");
    wake.wake();
    made.told(few(1, 2));
    // It begins, and the kernel has no room to tell of it.
    made.process(11);
    made.tell(LOST);
    made.told(TrackerResult::Good);
    // What is told afterwards counts from there.
    made.tell(&connector::tests::message(1, 0x8000_0000, &[10, 10]));
    made.told(few(1, 2));
    drop(wake);
    thread.join().expect("it ends");
}

#[test]
fn events_that_are_lost_again_and_again_do_not_keep_proc_being_read() {
    let (made, mut watcher) = Made::new();
    made.process(10);
    watcher.replace(two(), Buffer::default());
    let scanned = watcher.scanned_at.expect("it was read");
    let mut datagram = vec![0; DATAGRAM];
    for _ in 0..3 {
        made.tell(LOST);
        watcher.take_events(&mut datagram);
    }
    assert_eq!((watcher.losses, watcher.scanned_at), (3, Some(scanned)));
    assert_eq!(watcher.scan_at, Some(scanned + EVERY));
    // After a while without a reading it is read at once.
    watcher.scanned_at = scanned.checked_sub(EVERY);
    made.tell(LOST);
    watcher.take_events(&mut datagram);
    assert_eq!(watcher.scan_at, Some(scanned));
    assert!(matches!(watcher.source, Source::Events(_)), "events go on");
}

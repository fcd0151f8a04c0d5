//! Programs as lbd runs them: real processes through the built binary's helper.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use lbd::scheduling::{Kind, ThreadScheduling};
use lbd::script::ScriptRoom;
use lbd_grammar::config::{Global, Scheduling, Script, ScriptUser};
use lbd_health::{Programs, ScriptError, ScriptId, ScriptOutcome};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

mod log;

use log::Log;

const LIMIT: Duration = Duration::from_secs(20);

struct Bench {
    dir: TempDir,
    room: Arc<ScriptRoom>,
    scripts: IndexMap<ScriptId, Script>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let room = Arc::new(ScriptRoom::with_helper(env!("CARGO_BIN_EXE_lbd").into()));
        Bench { dir, room, scripts: IndexMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and makes it a program of the room.
    async fn program(&mut self, name: &str, text: &str) -> ScriptId {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        self.add(&[path.to_str().expect("a name in UTF-8")], None).await
    }

    async fn add(&mut self, argv: &[&str], user: Option<&str>) -> ScriptId {
        let user = user.map(|user| ScriptUser::new(user, None));
        let script = Script { argv: argv.iter().map(|word| (*word).to_owned()).collect(), user };
        let id = script.id();
        self.scripts.insert(id.clone(), script);
        self.room.update(&self.scripts, &Global::default()).await;
        id
    }

    /// A shell script that writes what `write` prints into a file, which is returned as text.
    async fn output(&mut self, name: &str, write: &str, extra: &[&str]) -> String {
        let out = self.path(&format!("{name}.out"));
        let id = self.program(name, &format!("#!/bin/sh\n{{ {write}; }} > {}\n", out.display())).await;
        let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(self.room.run_with(&id, &extra, LIMIT).await, ScriptOutcome::Exited(0), "{name}");
        fs::read_to_string(out).expect("output")
    }
}

/// Waits until the file exists and reads it.
async fn read_soon(path: &Path) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < deadline, "{} was not written", path.display()),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn alive(pid: &str) -> bool {
    let pid: i32 = pid.trim().parse().expect("a process id");
    // A zombie that its parent has not reaped counts as gone.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) && !state.contains(") Z ")
}

async fn gone(pid: &str) {
    let deadline = Instant::now() + LIMIT;
    while alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn outcomes() {
    let mut bench = Bench::new();
    for (name, text, want) in [
        ("good", "#!/bin/sh\nexit 0\n", ScriptOutcome::Exited(0)),
        ("bad", "#!/bin/sh\nexit 1\n", ScriptOutcome::Exited(1)),
        ("weight", "#!/bin/sh\nexit 255\n", ScriptOutcome::Exited(255)),
        ("looks like a shell's complaint", "#!/bin/sh\nexit 126\n", ScriptOutcome::Exited(126)),
        ("killed", "#!/bin/sh\nkill -9 $$\n", ScriptOutcome::Signalled(9)),
        ("without a first line", "exit 7\n", ScriptOutcome::Exited(7)),
        (
            "prints a lot",
            "#!/bin/sh\nhead -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2\n",
            ScriptOutcome::Exited(0),
        ),
        ("interpreter is missing", "#!/nosuch/sh\n", ScriptOutcome::NotStarted(ScriptError::NotExecutable)),
    ] {
        let id = bench.program(name, text).await;
        assert_eq!(bench.room.run(&id, LIMIT).await, want, "{name}");
    }
    let missing = bench.add(&["/nosuch/program"], None).await;
    assert_eq!(bench.room.run(&missing, LIMIT).await, ScriptOutcome::NotStarted(ScriptError::NotExecutable));
    let unknown = ScriptId("unknown".into());
    assert_eq!(bench.room.run(&unknown, LIMIT).await, ScriptOutcome::NotStarted(ScriptError::NotExecutable));
    let by_path = bench.add(&["sh", "-c", "exit 3"], None).await;
    assert_eq!(bench.room.run(&by_path, LIMIT).await, ScriptOutcome::Exited(3));
    assert_eq!(bench.room.running(), 0);
}

#[tokio::test]
async fn what_a_reload_takes_away_can_be_run_until_the_next_one() {
    let mut bench = Bench::new();
    let id = bench.program("goodbye", "#!/bin/sh\nexit 5\n").await;
    let none = IndexMap::new();
    bench.room.update(&none, &Global::default()).await;
    assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::Exited(5));
    bench.room.update(&none, &Global::default()).await;
    assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::NotStarted(ScriptError::NotExecutable));
}

#[tokio::test]
async fn what_a_program_finds() {
    let mut bench = Bench::new();
    let arguments =
        bench.output("arguments", "for one; do echo \"<$one>\"; done", &["INSTANCE", "VI 1", ""]).await;
    assert_eq!(arguments, "<INSTANCE>\n<VI 1>\n<>\n");
    // What the shell opens for its own output is 1; the script itself may be open as another.
    let descriptors = bench.output("descriptors", "readlink /proc/$$/fd/0 /proc/$$/fd/2", &[]).await;
    assert_eq!(descriptors, "/dev/null\n/dev/null\n");
    let open = bench.output("open", "ls -l /proc/$$/fd", &[]).await;
    assert!(!open.contains("socket:") && !open.contains("pipe:") && !open.contains("eventpoll"), "{open}");
    let group = bench
        .output("group", "echo $$; ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat", &[])
        .await;
    let ids: Vec<&str> = group.split_whitespace().collect();
    assert_eq!(ids.first(), ids.last(), "leads its group: {group}");
    let signals = bench.output("signals", "grep -E '^Sig(Ign|Blk)' /proc/self/status; umask", &[]).await;
    let mut words = signals.split_whitespace();
    assert_eq!((words.next(), words.next()), (Some("SigBlk:"), Some("0000000000000000")));
    let ignored = words.nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok()).expect("a mask");
    // 32 and 33 belong to the C library, which changes them for nobody.
    assert_eq!(ignored & !0x1_8000_0000, 0, "{signals}");
    assert_eq!(words.next(), Some("0022"));
}

#[tokio::test]
async fn what_a_program_does_not_inherit() {
    if std::env::var_os(STAYS).is_none() {
        // The daemon's part is played by a process of its own, so that its environment can be set.
        let output = tokio::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "what_a_program_does_not_inherit"])
            .env("IFS", "x")
            .env("LD_PRELOAD", "")
            .env("LD_LIBRARY_PATH", "/nowhere")
            .env(STAYS, "yes")
            .output()
            .await
            .expect("started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut bench = Bench::new();
    let environment = bench.output("environment", "tr '\\0' '\\n' < /proc/$$/environ", &[]).await;
    let has = |name: &str| environment.lines().any(|line| line.starts_with(&format!("{name}=")));
    assert!(has(STAYS) && has("PATH"), "{environment}");
    for name in ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"] {
        assert!(std::env::var_os(name).is_some(), "{name} is there to be removed");
        assert!(!has(name), "{environment}");
    }
}

/// In the environment of the process that plays the daemon.
const STAYS: &str = "LBD_TEST_STAYS";

/// lbd itself may have more open.
#[tokio::test]
async fn a_program_has_the_limit_of_open_files_that_lbd_found() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    setrlimit(Resource::RLIMIT_NOFILE, 900.min(hard), hard).expect("limit");
    lbd::limits::raise_descriptors();
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("limit"), (hard, hard));
    let mut bench = Bench::new();
    assert_eq!(bench.output("limit", "ulimit -n", &[]).await, format!("{}\n", 900.min(hard)));
}

/// VRRP may be real-time, on CPUs of its own and before others; what lbd runs is not.
#[tokio::test]
async fn a_program_has_nothing_of_the_scheduling_of_vrrp() {
    const STAT: &str = "grep realtime /proc/$$/limits; cut -d')' -f2- /proc/$$/stat | cut -d' ' -f18,39,40; \
                        grep Cpus_allowed_list /proc/$$/status";
    let mut bench = Bench::new();
    let before = bench.output("before", STAT, &[]).await;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let vrrp = std::thread::spawn(move || {
        let wanted = Scheduling {
            nice: 3,
            realtime: std::num::NonZeroU8::new(2),
            cpus: [0].into(),
            realtime_limit: Duration::from_secs(1),
            no_swap: false,
        };
        let complaints = ThreadScheduling::here(Kind::Vrrp).apply(&wanted);
        ready.send(complaints).expect("the test waits");
        let _over = ends.recv();
    });
    let complaints = is_ready.recv().expect("the thread tells");
    let after = bench.output("after", STAT, &[]).await;
    drop(end);
    vrrp.join().expect("the thread ends");
    assert_eq!(after, before, "{complaints:?}");
    if !complaints.is_empty() {
        let name = "a_program_has_nothing_of_the_scheduling_of_vrrp";
        lbd_integration::skip::report(name, &complaints.join("; "));
    }
}

/// Nor has it anything of the thread that starts it.
#[tokio::test]
async fn a_program_has_nothing_of_the_scheduling_of_its_own_thread() {
    const NAME: &str = "a_program_has_nothing_of_the_scheduling_of_its_own_thread";
    const STAT: &str =
        "cut -d')' -f2- /proc/$$/stat | cut -d' ' -f18,39,40; grep Cpus_allowed_list /proc/$$/status";
    if !nix::unistd::geteuid().is_root() {
        return lbd_integration::skip::report(NAME, "needs root");
    }
    let mut bench = Bench::new();
    let before = bench.output("before", STAT, &[]).await;
    for nice in [5, -5] {
        let wanted = Scheduling { nice, cpus: [0].into(), ..Scheduling::default() };
        let mut scheduling = ThreadScheduling::here(Kind::Checkers);
        assert_eq!(scheduling.apply(&wanted), [""; 0]);
        assert_eq!(bench.output("after", STAT, &[]).await, before, "{nice}");
        assert_eq!(scheduling.apply(&Scheduling::default()), [""; 0]);
    }
}

/// What undoes things at the end.
#[tokio::test]
async fn the_last_program_runs_when_the_room_has_stopped() {
    let mut bench = Bench::new();
    let (last, slow) = (
        bench.program("last", "#!/bin/sh\nexit 6\n").await,
        bench.program("slow", "#!/bin/sh\nexec sleep 60\n").await,
    );
    bench.room.stop().await;
    assert_eq!(bench.room.run(&last, LIMIT).await, ScriptOutcome::NotStarted(ScriptError::Resources));
    let never = std::future::pending;
    assert_eq!(bench.room.run_last(&last, LIMIT, never()).await, ScriptOutcome::Exited(6));
    let limit = Duration::from_millis(200);
    assert_eq!(bench.room.run_last(&slow, limit, never()).await, ScriptOutcome::TimedOut(limit));
    assert_eq!(bench.room.run_last(&slow, LIMIT, async {}).await, ScriptOutcome::Signalled(15));
    assert_eq!(bench.room.running(), 0);
}

#[tokio::test]
async fn as_another_user() {
    if !nix::unistd::geteuid().is_root() {
        lbd_integration::skip::report("as_another_user", "needs root");
        return;
    }
    let mut bench = Bench::new();
    let out = bench.path("id.out");
    fs::write(&out, "").expect("written");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o666)).expect("mode");
    let line = format!("{{ id -un; id -Gn; }} > {}", out.display());
    let id = bench.add(&["/bin/sh", "-c", &line], Some("nobody")).await;
    assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::Exited(0));
    assert_eq!(fs::read_to_string(&out).expect("output"), "nobody\nnogroup\n");
}

/// Between the reading of the configuration and a run, which may be months.
#[tokio::test]
async fn what_others_can_change_by_now_is_not_run_as_root() {
    const NAME: &str = "what_others_can_change_by_now_is_not_run_as_root";
    if !nix::unistd::geteuid().is_root() {
        lbd_integration::skip::report(NAME, "needs root");
        return;
    }
    let mut bench = Bench::new();
    let (dir, file, other) = (bench.path("sub"), bench.path("sub/run"), bench.path("other"));
    fs::create_dir(&dir).expect("made");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    let owner = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), None).expect("chown");
    let write = |path: &Path, text: &str| {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
        mode(path, 0o755);
    };
    let ran = bench.path("ran");
    write(&file, "exit 5");
    write(&other, &format!("touch {}", ran.display()));
    owner(&other, 12345);
    let argv = [file.to_str().expect("UTF-8")];
    let id = bench.add(&argv, Some("root")).await;
    let global = Global { script_security: true, ..Global::default() };
    bench.room.update(&bench.scripts, &global).await;
    let sound = ScriptOutcome::Exited(5);
    assert_eq!(bench.room.run(&id, LIMIT).await, sound, "as it was examined");
    type Change<'a> = Box<dyn Fn() + 'a>;
    let changes: [(&str, Change<'_>, ScriptError); 6] = [
        ("the file is open to all", Box::new(|| mode(&file, 0o757)), ScriptError::Insecure),
        ("its folder is open to all", Box::new(|| mode(&dir, 0o777)), ScriptError::Insecure),
        ("the file is another's", Box::new(|| owner(&file, 12345)), ScriptError::Insecure),
        ("its folder is another's", Box::new(|| owner(&dir, 12345)), ScriptError::Insecure),
        (
            "a link to another's file is in its place",
            Box::new(|| {
                fs::remove_file(&file).expect("removed");
                symlink(&other, &file).expect("linked");
            }),
            ScriptError::Insecure,
        ),
        ("it is gone", Box::new(|| fs::remove_file(&file).expect("removed")), ScriptError::NotExecutable),
    ];
    for (name, change, want) in changes {
        change();
        assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::NotStarted(want), "{name}");
        // As it was: it is run again, without a reload.
        let _gone = fs::remove_file(&file);
        owner(&dir, 0);
        mode(&dir, 0o755);
        write(&file, "exit 5");
        assert_eq!(bench.room.run(&id, LIMIT).await, sound, "{name}, and back");
    }
    assert!(!ran.exists());
    // As its owner, who can change it anyway.
    owner(&file, 12345);
    bench.room.update(&bench.scripts, &Global::default()).await;
    assert_eq!(bench.room.run(&id, LIMIT).await, sound, "without enable_script_security");
}

/// A script with a child that ignores TERM; both write their process ids.
fn stubborn(bench: &Bench) -> String {
    let dir = bench.dir.path().display();
    format!(
        "#!/bin/sh\ntrap '' TERM\nsh -c 'trap \"\" TERM; echo $$ > {dir}/child; while :; do sleep 1; done' &\n\
         echo $$ > {dir}/leader\nwhile :; do sleep 1; done\n"
    )
}

#[tokio::test]
async fn time_limit_ends_the_whole_group() {
    let mut bench = Bench::new();
    // The leader ends on TERM, its child ignores it: KILL must reach it all the same.
    let dir = bench.dir.path().display().to_string();
    let id = bench
        .program(
            "polite",
            &format!(
                "#!/bin/sh\nsh -c 'trap \"\" TERM; echo $$ > {dir}/child; while :; do sleep 1; done' &\nwait\n"
            ),
        )
        .await;
    let limit = Duration::from_millis(700);
    let began = Instant::now();
    assert_eq!(bench.room.run(&id, limit).await, ScriptOutcome::TimedOut(limit));
    assert!(began.elapsed() < Duration::from_secs(2), "no wait for KILL: {:?}", began.elapsed());
    gone(&read_soon(&bench.path("child")).await).await;

    let text = stubborn(&bench);
    fs::remove_file(bench.path("child")).expect("removed");
    let id = bench.program("stubborn", &text).await;
    let began = Instant::now();
    assert_eq!(bench.room.run(&id, limit).await, ScriptOutcome::TimedOut(limit));
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(2700)..Duration::from_secs(5)).contains(&took),
        "KILL after 2 s: {took:?}"
    );
    gone(&read_soon(&bench.path("leader")).await).await;
    gone(&read_soon(&bench.path("child")).await).await;
    assert_eq!(bench.room.running(), 0);
}

#[tokio::test]
async fn dropping_ends_the_whole_group() {
    let mut bench = Bench::new();
    let text = stubborn(&bench);
    let id = bench.program("stubborn", &text).await;
    let run = tokio::spawn(bench.room.run(&id, LIMIT));
    let (leader, child) = (read_soon(&bench.path("leader")).await, read_soon(&bench.path("child")).await);
    assert!(alive(&leader) && alive(&child));
    run.abort();
    gone(&leader).await;
    gone(&child).await;
}

#[tokio::test]
async fn stop_ends_everything_and_starts_nothing() {
    let mut bench = Bench::new();
    let text = stubborn(&bench);
    let id = bench.program("stubborn", &text).await;
    let run = tokio::spawn(bench.room.run(&id, LIMIT));
    let child = read_soon(&bench.path("child")).await;
    timeout(LIMIT, bench.room.stop()).await.expect("in time");
    gone(&child).await;
    assert_eq!(run.await.expect("no panic"), ScriptOutcome::Signalled(15));
    assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::NotStarted(ScriptError::Resources));
    assert_eq!(bench.room.running(), 0);
}

#[test]
fn a_runtime_that_goes_takes_its_programs_along() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut bench = Bench::new();
    let text = stubborn(&bench);
    let (leader, child) = runtime.block_on(async {
        let id = bench.program("stubborn", &text).await;
        tokio::spawn(bench.room.run(&id, LIMIT));
        (read_soon(&bench.path("leader")).await, read_soon(&bench.path("child")).await)
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        gone(&leader).await;
        gone(&child).await;
    });
}

#[tokio::test]
async fn a_program_that_ends_leaves_its_background_children_alone() {
    let mut bench = Bench::new();
    let dir = bench.dir.path().display().to_string();
    let id = bench.program("parent", &format!("#!/bin/sh\nsh -c 'echo $$ > {dir}/child; exec sleep 60' &\nwhile [ ! -s {dir}/child ]; do sleep 0.02; done\n")).await;
    assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::Exited(0));
    let child = read_soon(&bench.path("child")).await;
    assert!(alive(&child));
    kill(Pid::from_raw(child.trim().parse().expect("a number")), nix::sys::signal::Signal::SIGKILL)
        .expect("killed");
}

#[tokio::test]
async fn many_at_once() {
    let mut bench = Bench::new();
    let id = bench.program("quick", "#!/bin/sh\nexit 4\n").await;
    let runs: Vec<_> = (0..60).map(|_| tokio::spawn(bench.room.run(&id, LIMIT))).collect();
    for run in runs {
        assert_eq!(run.await.expect("no panic"), ScriptOutcome::Exited(4));
    }
}

/// As on a host without processes left.
#[tokio::test]
async fn processes_that_the_system_refuses_are_no_verdict_and_no_flood() {
    let (said, _until_the_end) = Log::start("for ");
    let mut bench = Bench::new();
    let helper = bench.path("helper");
    bench.room = Arc::new(ScriptRoom::with_helper(helper.clone()));
    let id = bench.program("check", "#!/bin/sh\nexit 3\n").await;
    for _ in 0..7 {
        let refused = ScriptOutcome::NotStarted(ScriptError::Resources);
        assert_eq!(bench.room.run(&id, LIMIT).await, refused);
    }
    assert_eq!(bench.room.running(), 0);
    symlink(env!("CARGO_BIN_EXE_lbd"), &helper).expect("linked");
    for _ in 0..2 {
        assert_eq!(bench.room.run(&id, LIMIT).await, ScriptOutcome::Exited(3));
    }
    let lines = said.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, want) in lines.iter().zip(["times=1", "times=2", "times=4", "again times=7"]) {
        assert!(line.ends_with(want), "{line}");
    }
}

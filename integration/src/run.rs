//! Runs a scenario, or another crate's test that needs a kernel with IPVS, in a process of its own: where, with which limit,
//! and what is shown of it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};

use crate::build::{self, Profile};
use crate::director::Daemon;
use crate::kernel::{Kernel, Need};
use crate::process::pid_of;
use crate::scenarios;
use crate::{netns, skip, wait};

/// Environment of a scenario's process: set inside a guest.
pub const GUEST: &str = "LBD_BED_GUEST";

/// Runs the scenario `name` with the bed program `bed`, for a `#[test]`.
///
/// # Panics
/// When it fails, with its output. A skip is reported and returns.
#[track_caller]
pub fn test(bed: &str, name: &str) {
    let daemon = Daemon::from_env();
    match run(Path::new(bed), name, daemon) {
        Ok(Verdict::Passed) => {}
        Ok(Verdict::Skipped(reason)) => skip::report(name, &reason),
        Err(error) => panic!("{name} with {daemon:?}: {error:#}"),
    }
}

/// How a scenario ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It saw what it demands.
    Passed,
    /// It cannot run here.
    Skipped(String),
}

/// Runs a scenario on the kernel that [`Kernel::pick`] chooses.
///
/// # Errors
/// When it fails, with the end of its output; all of it is in `target/bed/NAME.log`.
pub fn run(bed: &Path, name: &str, daemon: Daemon) -> Result<Verdict> {
    let scenario = scenarios::find(name).ok_or_else(|| anyhow!("no scenario {name}"))?;
    if daemon == Daemon::Keepalived && scenario.lbd_only {
        return Ok(Verdict::Skipped("about lbd alone".to_owned()));
    }
    let kernel = match Kernel::pick(scenario.need) {
        Ok(kernel) => kernel,
        Err(reason) => return Ok(Verdict::Skipped(reason)),
    };
    let binaries = (daemon == Daemon::Lbd).then(|| build::binaries(Profile::Dev)).transpose()?;
    let command = [
        bed.as_os_str(),
        OsStr::new("exec"),
        OsStr::new(name),
        OsStr::new("--daemon"),
        daemon.word().as_ref(),
    ];
    let mut env = Vec::new();
    if let Some(binaries) = &binaries {
        env.extend([
            ("LBD_BED_LBD", binaries.lbd.as_os_str()),
            ("LBD_BED_LBCTL", binaries.lbctl.as_os_str()),
        ]);
    }
    let Ended { status, output, log } =
        Job { name, limit: scenario.limit, alone: scenario.alone }.run(&kernel, &command, env)?;
    if let Some(reason) = output.lines().find_map(|line| line.strip_prefix("SCENARIO SKIPPED: ")) {
        return Ok(Verdict::Skipped(reason.to_owned()));
    }
    match status {
        Some(0) => Ok(Verdict::Passed),
        status => {
            let what =
                output.lines().rev().find(|line| line.starts_with("SCENARIO FAILED")).unwrap_or("no verdict");
            bail!("{what}\n  {}", failed(status, &output, &log))
        }
    }
}

/// Runs the test `name` of the workspace's test program `program` on a kernel with IPVS, for a `#[test]`: where the host has
/// none, `cargo test` can only skip it. The test's last line must be `NAME: done`.
///
/// # Panics
/// When it fails or skips itself, with its output. That no kernel with IPVS can be had is reported as a skip and returns.
#[track_caller]
pub fn kernel_test(program: &str, name: &str) {
    let kernel = match Kernel::pick(Need::Ipvs) {
        Ok(kernel) => kernel,
        Err(reason) => return skip::report(&format!("{program}/{name}"), &reason),
    };
    if let Err(error) = kernel_test_on(&kernel, program, name) {
        panic!("{name} of {program}: {error:#}");
    }
}

fn kernel_test_on(kernel: &Kernel, program: &str, name: &str) -> Result<()> {
    let program = build::test_program(program)?;
    let words = [name, "--exact", "--nocapture"].map(OsStr::new);
    let command: Vec<&OsStr> = std::iter::once(program.as_os_str()).chain(words).collect();
    let job = Job { name, limit: Duration::from_secs(60), alone: false };
    let Ended { status, output, log } = job.run(kernel, &command, Vec::new())?;
    if status != Some(0) || output.contains("SKIP ") || !output.contains(&format!("{name}: done")) {
        bail!("{}", failed(status, &output, &log));
    }
    Ok(())
}

/// Shows the end of the output; the words of the failure.
fn failed(status: Option<i32>, output: &str, log: &Path) -> String {
    let _ = std::io::stderr().write_all(tail(output, 60_000).as_bytes());
    let status = status.map_or("none (crashed or out of time)".to_owned(), |status| status.to_string());
    format!("exit status {status}, all output in {}", log.display())
}

/// A process that does the work of a test.
struct Job<'a> {
    /// Of its log.
    name: &'a str,
    /// Time after which it is killed.
    limit: Duration,
    /// Whether no other job may run beside it.
    alone: bool,
}

/// How a [`Job`] ended.
struct Ended {
    /// `None` when it was killed or died.
    status: Option<i32>,
    output: String,
    /// Where the output is, too.
    log: PathBuf,
}

impl Job<'_> {
    fn run<'e>(
        &self,
        kernel: &Kernel,
        command: &[&'e OsStr],
        mut env: Vec<(&'e str, &'e OsStr)>,
    ) -> Result<Ended> {
        let log = log_dir()?.join(format!("{}.log", self.name));
        let slots = Slots::take(self.alone)?;
        let (status, output) = match kernel {
            Kernel::Host => on_host(command, &env, self.limit, &log)?,
            Kernel::Uml(uml) => {
                env.push((GUEST, OsStr::new("1")));
                // Boot and a slow machine on top of what the work itself may take.
                let outcome = uml.run(command, &env, slots.core, self.limit + Duration::from_secs(30))?;
                (outcome.status, outcome.output)
            }
        };
        drop(slots);
        fs::write(&log, &output).with_context(|| format!("{}", log.display()))?;
        Ok(Ended { status, output, log })
    }
}

fn on_host(
    command: &[&OsStr],
    env: &[(&str, &OsStr)],
    limit: Duration,
    log: &Path,
) -> Result<(Option<i32>, String)> {
    let (program, args) = command.split_first().context("empty command")?;
    let file = File::create(log)?;
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .env_remove(GUEST)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status.code(),
            None if Instant::now() >= deadline => {
                let _ = killpg(pid_of(&child), Signal::SIGKILL);
                let _ = child.wait();
                break None;
            }
            None => wait::pause(Duration::from_millis(10)),
        }
    };
    // What a killed scenario could not tidy itself.
    netns::sweep(child.id());
    let mut output = String::new();
    File::open(log)?.read_to_string(&mut output)?;
    if status.is_none() {
        output.push_str(&format!("\nkilled at its limit of {:?}\n", limit));
    }
    Ok((status, output))
}

/// Where logs go: `bed` in cargo's target directory.
///
/// # Errors
/// When it cannot be made.
pub fn log_dir() -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| build::workspace().join("target"), PathBuf::from);
    let dir = target.join("bed");
    fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    Ok(dir)
}

/// One scenario a processor, over all test processes; all processors for one whose times are tight.
struct Slots {
    core: usize,
    _locks: Vec<Flock<File>>,
}

impl Slots {
    fn take(all: bool) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dir = log_dir()?;
        let open = |core: usize| {
            let path = dir.join(format!("slot-{core}"));
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("{}", path.display()))
        };
        if all {
            let lock = |core| {
                Flock::lock(open(core)?, FlockArg::LockExclusive)
                    .map_err(|(_, errno)| anyhow!("slot {core}: {errno}"))
            };
            return Ok(Self { core: 0, _locks: (0..cores).map(lock).collect::<Result<_>>()? });
        }
        loop {
            for core in 0..cores {
                if let Ok(lock) = Flock::lock(open(core)?, FlockArg::LockExclusiveNonblock) {
                    return Ok(Self { core, _locks: vec![lock] });
                }
            }
            wait::pause(Duration::from_millis(50));
        }
    }
}

fn tail(text: &str, bytes: usize) -> &str {
    let start =
        (text.len().saturating_sub(bytes)..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[start..]
}

/// The need in a word, for `bed list`.
pub fn need_word(need: Need) -> &'static str {
    match need {
        Need::Netns => "namespaces",
        Need::Ipvs => "IPVS",
        Need::NoIpvs => "no IPVS",
    }
}

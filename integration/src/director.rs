//! A daemon in a host of the lab: started, reloaded, stopped, killed, started again with what it left on the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::build::{self, Binaries, Profile};
use crate::cell::Cell;
use crate::netns::Netns;
use crate::process::{self, children, crash, pid_of};
use crate::wait;

/// Time an orderly stop may take before it counts as hanging.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Which daemon plays the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// The one of this workspace.
    Lbd,
    /// Debian's keepalived, for comparison.
    Keepalived,
}

impl Daemon {
    /// `LBD_BED_DAEMON`, lbd when unset.
    pub fn from_env() -> Self {
        std::env::var("LBD_BED_DAEMON").ok().and_then(|word| Self::from_word(&word)).unwrap_or(Self::Lbd)
    }

    /// Reads `lbd` or `keepalived`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "lbd" => Some(Self::Lbd),
            "keepalived" => Some(Self::Keepalived),
            _ => None,
        }
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lbd => "lbd",
            Self::Keepalived => "keepalived",
        }
    }
}

/// A director: one daemon, one configuration, one folder for its socket, pid file, state and log.
#[derive(Debug)]
pub struct Director<'lab> {
    name: String,
    ns: &'lab Netns,
    cell: Option<&'lab Cell>,
    daemon: Daemon,
    binaries: Option<Binaries>,
    dir: tempfile::TempDir,
    child: Option<Child>,
    extra: Vec<String>,
    env: Vec<(&'static str, OsString)>,
    quiet: bool,
}

impl<'lab> Director<'lab> {
    /// Writes the configuration; nothing runs yet.
    ///
    /// # Errors
    /// When the binaries cannot be built.
    pub fn new(daemon: Daemon, name: &str, ns: &'lab Netns, config: &str) -> Result<Self> {
        let binaries = match daemon {
            Daemon::Lbd => Some(build::binaries(Profile::Dev)?),
            Daemon::Keepalived => None,
        };
        Self::of(daemon, binaries, name, ns, config)
    }

    /// The same with binaries that were built already, which are lbd's; keepalived is the host's own.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn of(
        daemon: Daemon,
        binaries: Option<Binaries>,
        name: &str,
        ns: &'lab Netns,
        config: &str,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lbd-dir-").tempdir()?;
        let this = Self {
            name: name.to_owned(),
            ns,
            cell: None,
            daemon,
            binaries: binaries.filter(|_| daemon == Daemon::Lbd),
            dir,
            child: None,
            extra: Vec::new(),
            env: Vec::new(),
            quiet: false,
        };
        this.configure(config)?;
        Ok(this)
    }

    /// Puts the daemon into a cell.
    #[must_use]
    pub fn in_cell(mut self, cell: &'lab Cell) -> Self {
        self.cell = Some(cell);
        self
    }

    /// Adds arguments to the daemon's command line.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.extra.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Keeps the daemon's log out of this process's output, and asks the daemon for no details.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Replaces the configuration file (by rename); [`reload`](Self::reload) makes the daemon read it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        let new = self.path("new.conf");
        fs::write(&new, config)?;
        fs::rename(&new, self.config())?;
        Ok(())
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path("lbd.conf")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    /// The namespace it runs in.
    pub fn ns(&self) -> &'lab Netns {
        self.ns
    }

    /// A file of the director's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The daemon's command line, to be run inside the namespace.
    pub fn command(&self) -> Command {
        let program =
            self.binaries.as_ref().map_or(Path::new("/usr/sbin/keepalived"), |binaries| &binaries.lbd);
        let mut command = self.cell.map_or_else(|| Command::new(program), |cell| cell.command(program));
        command
            .args(["-n", "-l"])
            .args((!self.quiet).then_some("-D"))
            .arg("-f")
            .arg(self.config())
            .arg("-p")
            .arg(self.path("daemon.pid"));
        match self.daemon {
            Daemon::Lbd => {
                command.arg("--control-socket").arg(self.socket()).arg("--state-file").arg(self.path("state"))
            }
            Daemon::Keepalived => command
                .arg("-G")
                .arg("-r")
                .arg(self.path("vrrp.pid"))
                .arg("-c")
                .arg(self.path("checkers.pid")),
        };
        command.args(&self.extra).envs(self.env.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("{} runs already", self.name);
        }
        let mut log = self.open_log()?;
        writeln!(log, "--- start")?;
        let mut command = self.command();
        command.stdout(log.try_clone()?).stderr(log);
        let child =
            self.ns.run(|| command.spawn())?.with_context(|| format!("starting {}", self.daemon.word()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts the daemon and waits until it answers (lbd: on its control socket; keepalived: pid file).
    ///
    /// # Errors
    /// When it does not within 10 s, or ends.
    pub fn start_and_wait(&mut self) -> Result<()> {
        self.start()?;
        let what = format!("{} of {} answers", self.daemon.word(), self.name);
        match self.daemon {
            Daemon::Lbd => wait::until_ok(&what, Duration::from_secs(10), || self.status()).map(drop),
            Daemon::Keepalived => {
                wait::until(&what, Duration::from_secs(10), || self.path("daemon.pid").exists().then_some(()))
            }
        }
    }

    /// Runs the daemon to its end (for starts that must fail) and gives its status and all it printed.
    ///
    /// # Errors
    /// When it still runs after `limit`; it is killed then.
    pub fn run_to_end(&mut self, limit: Duration) -> Result<(ExitStatus, String)> {
        self.start()?;
        let result = self.ended(limit);
        if result.is_err() {
            self.kill();
        }
        result.map(|status| (status, self.log()))
    }

    /// Waits for the daemon's end.
    ///
    /// # Errors
    /// When it still runs after `limit`, or does not run.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().ok_or_else(|| anyhow!("{} does not run", self.name))?;
        let status = process::ended(child, &self.name, limit)?;
        self.child = None;
        Ok(status)
    }

    /// Whether the daemon runs.
    pub fn running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The daemon's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<Pid> {
        let child = self.child.as_ref().ok_or_else(|| anyhow!("{} does not run", self.name))?;
        let outer = pid_of(child);
        match self.cell {
            None => Ok(outer),
            Some(_) => {
                wait::until("daemon in its cell", Duration::from_secs(5), || children(outer).first().copied())
            }
        }
    }

    /// Sends a signal to the daemon.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// Makes the daemon read its configuration again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// An orderly stop, waited for.
    ///
    /// # Errors
    /// When it takes longer than 15 s.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.ended(STOP_LIMIT)
    }

    /// Ends the daemon and all its processes as `kill -9` of all at one instant; its addresses and table stay (keepalived's pid
    /// files do not).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            crash(pid_of(&child));
            let _ = child.wait();
            if self.daemon == Daemon::Keepalived {
                // It takes its dead children, while nobody has waited for them, for a daemon that runs.
                for file in ["daemon.pid", "vrrp.pid", "checkers.pid"] {
                    let _ = fs::remove_file(self.path(file));
                }
            }
        }
    }

    /// `lbctl status --json`.
    ///
    /// # Errors
    /// When lbctl fails or what it prints is not JSON.
    pub fn status(&self) -> Result<Value> {
        let output = self.lbctl(&["status", "--json"])?;
        serde_json::from_str(&output).with_context(|| format!("lbctl status --json: {output}"))
    }

    /// The same from the socket itself: for looks that are many and must cost little.
    ///
    /// # Errors
    /// When the daemon does not answer with 200 and JSON within 5 s.
    pub fn peek(&self) -> Result<Value> {
        let answer = self.get("/v1/status")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no header")?;
        serde_json::from_str(body).with_context(|| format!("status from the socket: {body}"))
    }

    /// The whole answer, head and body, to a GET on the control socket.
    ///
    /// # Errors
    /// When the daemon does not answer with 200 within 5 s.
    pub fn get(&self, path: &str) -> Result<String> {
        let limit = Some(Duration::from_secs(5));
        let mut socket = UnixStream::connect(self.socket())?;
        socket.set_read_timeout(limit)?;
        socket.set_write_timeout(limit)?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: lbd\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200 ") {
            bail!("{path} from the socket: {}", answer.lines().next().unwrap_or_default());
        }
        Ok(answer)
    }

    /// What `lbctl --socket … ARGS` prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn lbctl(&self, args: &[&str]) -> Result<String> {
        let binaries = self.binaries.as_ref().context("keepalived has no lbctl")?;
        let output = Command::new(&binaries.lbctl).arg("--socket").arg(self.socket()).args(args).output()?;
        if !output.status.success() {
            bail!("lbctl {args:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the status satisfies `test`; gives it.
    ///
    /// # Errors
    /// When `limit` passes first; the message has the last status.
    pub fn expect_status(&self, what: &str, limit: Duration, test: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until_ok(&format!("status of {}: {what}", self.name), limit, || {
            let status = self.status()?;
            if test(&status) { Ok(status) } else { Err(anyhow!("{status:#}")) }
        })
    }

    /// All the daemon has printed.
    pub fn log(&self) -> String {
        fs::read(self.path("daemon.log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    fn open_log(&self) -> Result<File> {
        Ok(OpenOptions::new().create(true).append(true).open(self.path("daemon.log"))?)
    }
}

impl Drop for Director<'_> {
    fn drop(&mut self) {
        self.kill();
        if self.quiet {
            return;
        }
        // Into the scenario's log, which is shown when it fails.
        let _ = writeln!(
            std::io::stderr(),
            "=== log of director {} ({})\n{}===",
            self.name,
            self.daemon.word(),
            self.log()
        );
    }
}

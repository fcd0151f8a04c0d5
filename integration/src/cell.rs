//! A pid and mount namespace for a director whose scripts look at processes (`killall`, `pidof`) or at fixed paths.
//!
//! Inside, /proc shows the cell's processes only, /etc is a small copy with its own /etc/keepalived, and /usr/local/bin is empty.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fifo::executable;
use crate::netns::Netns;
use crate::process::{children, pid_of};
use crate::wait;

/// Files of /etc that programs need to run at all.
const ETC: [&str; 7] =
    ["passwd", "group", "nsswitch.conf", "ld.so.cache", "ld.so.conf", "hosts", "localtime"];

/// A running cell. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Cell {
    dir: tempfile::TempDir,
    holder: Child,
    /// First process inside, as seen from here.
    inside: Pid,
}

impl Cell {
    /// Makes a cell in the network namespace.
    ///
    /// # Errors
    /// Without root, or without util-linux.
    pub fn new(ns: &Netns) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lbd-cell-").tempdir()?;
        let etc = dir.path().join("etc");
        fs::create_dir_all(etc.join("keepalived"))?;
        fs::create_dir(etc.join("alternatives"))?;
        for name in ETC {
            let _ = fs::copy(Path::new("/etc").join(name), etc.join(name));
        }
        for entry in fs::read_dir("/etc/alternatives").into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(entry.path()) {
                let _ = std::os::unix::fs::symlink(target, etc.join("alternatives").join(entry.file_name()));
            }
        }
        let local = dir.path().join("local");
        fs::create_dir(&local)?;
        let script = format!(
            "mount --bind {} /etc && mount --bind {} /usr/local/bin && echo ready && exec sleep infinity",
            etc.display(),
            local.display()
        );
        let mut holder = ns
            .run(|| {
                Command::new("unshare")
                    .args(["--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script])
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .spawn()
            })?
            .context("unshare (Debian package util-linux)")?;
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.trim() != "ready" {
            bail!("a pid and mount namespace: unshare says {line:?}");
        }
        let inside = wait::until("first process of the cell", Duration::from_secs(5), || {
            children(pid_of(&holder)).first().copied()
        })?;
        Ok(Self { dir, holder, inside })
    }

    /// The host's path of the cell's /etc/keepalived.
    pub fn keepalived_dir(&self) -> PathBuf {
        self.dir.path().join("etc/keepalived")
    }

    /// Puts an executable shell script with this body into the cell's /etc/keepalived.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn script(&self, name: &str, body: &str) -> Result<()> {
        executable(&self.keepalived_dir(), name, body).map(drop)
    }

    /// Puts an executable shell script with this body into the cell's /usr/local/bin.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn local_program(&self, name: &str, body: &str) -> Result<()> {
        executable(&self.dir.path().join("local"), name, body).map(drop)
    }

    /// Makes a user known inside, with a group of its own.
    ///
    /// # Errors
    /// When the cell's files cannot be written.
    pub fn user(&self, name: &str, id: u32) -> Result<()> {
        for (file, line) in [
            ("passwd", format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n")),
            ("group", format!("{name}:x:{id}:\n")),
        ] {
            let path = self.dir.path().join("etc").join(file);
            let kept: String = fs::read_to_string(&path)?
                .split_inclusive('\n')
                .filter(|other| !other.starts_with(&format!("{name}:")))
                .collect();
            fs::write(path, kept + &line)?;
        }
        Ok(())
    }

    /// Makes an empty file in the cell's /etc/keepalived that each user may write.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open_file(&self, name: &str) -> Result<()> {
        let path = self.keepalived_dir().join(name);
        fs::write(&path, "")?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o666))?)
    }

    /// A command that will run inside (the child is `nsenter`, whose only child is the program).
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.inside.to_string(), "-p", "-m", "--"]).arg(program);
        command
    }

    /// Starts a process that does nothing and is called `name`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn idle(&self, name: &str) -> Result<Idle> {
        let program = self.dir.path().join(name);
        if !program.exists() {
            fs::copy("/usr/bin/sleep", &program)?;
        }
        let mut child = self.command(&program).arg("infinity").stdin(Stdio::null()).spawn()?;
        let what = format!("process {name}");
        let pid = wait::until(&what, Duration::from_secs(5), || {
            let pid = children(pid_of(&child)).first().copied()?;
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (comm.trim() == name).then_some(pid)
        });
        match pid {
            Ok(pid) => Ok(Idle { child, pid }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // The end of its first process ends a pid namespace.
        let _ = kill(self.inside, Signal::SIGKILL);
        let _ = self.holder.wait();
    }
}

/// A named process that does nothing. Dropping it ends it.
#[derive(Debug)]
pub struct Idle {
    child: Child,
    pid: Pid,
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

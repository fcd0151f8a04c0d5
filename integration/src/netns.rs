//! Network namespaces of the bed: made without a program, entered by threads, gone with the guard.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DIR: &str = "/run/netns";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace of this process. Dropping it kills what runs inside and deletes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
}

impl Netns {
    /// Makes an empty namespace named `lbd<pid>-<counter>-<role>` with `lo` up.
    ///
    /// # Errors
    /// Without the rights of root (CAP_SYS_ADMIN).
    pub fn new(role: &str) -> Result<Self> {
        let name =
            format!("{}{}-{role}", prefix(std::process::id()), COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(DIR).join(&name);
        fs::create_dir_all(DIR).with_context(|| format!("{DIR}: cannot be made; is this root?"))?;
        File::create(&path).with_context(|| format!("{}", path.display()))?;
        let target = path.clone();
        std::thread::spawn(move || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET).context("a new network namespace; is this root?")?;
            mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("bind mount on {}", target.display()))
        })
        .join()
        .map_err(|_| anyhow::anyhow!("namespace thread panicked"))?
        .inspect_err(|_| drop(fs::remove_file(&path)))?;
        let this = Self { name, file: File::open(&path)? };
        this.ip("link set lo up")?;
        Ok(this)
    }

    /// The name under /run/netns, as `ip -n` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `job` in a thread inside the namespace. Sockets made and programs started there stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered. A panic of `job` goes on in the caller.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("entering {}", self.name))?;
                Ok(job())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread inside the namespace.
    ///
    /// # Errors
    /// When the namespace's file cannot be duplicated.
    pub fn thread<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let file = self.file.try_clone()?;
        let name = self.name.clone();
        Ok(std::thread::spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("entering {name}"))?;
            Ok(job())
        }))
    }

    /// Runs lines of `ip` commands (without the word `ip`) in the namespace, in one process.
    ///
    /// # Errors
    /// At the first line that fails, with iproute2's message.
    pub fn ip(&self, batch: &str) -> Result<()> {
        let mut ip = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("ip (Debian package iproute2)")?;
        if let Some(mut stdin) = ip.stdin.take() {
            stdin.write_all(batch.as_bytes())?;
        }
        let output = ip.wait_with_output()?;
        if !output.status.success() {
            bail!("ip in {}: {}\n{batch}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// What `ip ARGS` prints in the namespace.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn ip_show(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("ip").args(["-n", &self.name]).args(args).output()?;
        if !output.status.success() {
            bail!("ip {args:?} in {}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Sets `(key, value)` pairs below /proc/sys/net. A key that this kernel does not have is passed over.
    ///
    /// # Errors
    /// When a value is refused.
    pub fn sysctl(&self, pairs: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in pairs {
                match fs::write(format!("/proc/sys/net/{key}"), value) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        bail!("net/{key} = {value}: {error}")
                    }
                    _ => {}
                }
            }
            Ok(())
        })?
    }

    /// Reads a file below /proc/thread-self/net, as the namespace shows it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn proc_net(&self, file: &str) -> Result<String> {
        let path = PathBuf::from("/proc/thread-self/net").join(file);
        self.run(|| fs::read_to_string(&path).with_context(|| format!("{}", path.display())))?
    }

    fn kill_all(&self) {
        let Ok(own) = self.file.metadata() else { return };
        for pid in processes_in(&own) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        self.kill_all();
        remove(&Path::new(DIR).join(&self.name));
    }
}

/// Removes what a process of the bed left behind when it was killed before its guards ran.
pub fn sweep(pid: u32) {
    let Ok(entries) = fs::read_dir(DIR) else { return };
    let prefix = prefix(pid);
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        if let Ok(meta) = fs::metadata(entry.path()) {
            for pid in processes_in(&meta) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        remove(&entry.path());
    }
}

fn prefix(pid: u32) -> String {
    format!("lbd{pid}-")
}

fn remove(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}

/// Processes whose network namespace is the file `of`, but for this one.
fn processes_in(of: &fs::Metadata) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .map(Pid::from_raw)
        .filter(|pid| *pid != Pid::this())
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|meta| meta.ino() == of.ino() && meta.dev() == of.dev())
        })
        .collect()
}

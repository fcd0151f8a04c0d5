//! The reading end of a FIFO that a daemon writes lines to, and of a file that its scripts append lines to.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::wait;

/// Tells the reader that it is not needed any more.
const END: &str = "--- end of the reader";

/// A FIFO whose lines are read as they come.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    lines: Arc<Mutex<Vec<(Instant, String)>>>,
    /// Keeps the FIFO open, so that the daemon's closing it is no end.
    end: File,
    reader: Option<JoinHandle<()>>,
}

impl Fifo {
    /// Makes the FIFO and begins to read.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(path: &Path) -> Result<Self> {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("{}", path.display()))?;
        let end = OpenOptions::new().read(true).write(true).open(path)?;
        let reading = BufReader::new(end.try_clone()?);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            // Debian's keepalived ends each line of LVS with a NUL, too.
            for line in reading.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_start_matches('\0').to_owned();
                if line == END {
                    return;
                }
                shared.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), line));
            }
        });
        Ok(Self { path: path.to_owned(), lines, end, reader: Some(reader) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Waits until `line` has come `count` times in all.
    ///
    /// # Errors
    /// When `limit` passes first; the message has the lines that came.
    pub fn expect(&self, line: &str, count: usize, limit: Duration) -> Result<()> {
        wait::until_ok(&format!("line {line:?} for the {count}. time"), limit, || {
            let lines = self.lines();
            let seen = lines.iter().filter(|seen| *seen == line).count();
            (seen >= count).then_some(()).ok_or_else(|| anyhow!("have {lines:?}"))
        })
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if writeln!(self.end, "\n{END}").is_ok()
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
    }
}

/// A script that appends its first words and arguments to a file, one line a run.
#[derive(Debug)]
pub struct Script {
    path: PathBuf,
    log: PathBuf,
}

impl Script {
    /// Writes the script `name` and its empty file `name.log` into `dir`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn logging(dir: &Path, name: &str) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        fs::write(&log, "")?;
        let path = executable(dir, name, &format!("echo \"$*\" >>{}", log.display()))?;
        Ok(Self { path, log })
    }

    /// The script.
    pub fn path(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// The lines so far: the arguments of each run.
    pub fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until it ran with `arguments`, `count` times in all.
    ///
    /// # Errors
    /// When `limit` passes first; the message has the lines that came.
    pub fn expect(&self, arguments: &str, count: usize, limit: Duration) -> Result<()> {
        wait::until_ok(&format!("script run with {arguments:?} for the {count}. time"), limit, || {
            let lines = self.lines();
            let seen = lines.iter().filter(|seen| *seen == arguments).count();
            (seen >= count).then_some(()).ok_or_else(|| anyhow!("have {lines:?}"))
        })
    }
}

/// Writes an executable shell script with this body into `dir`.
///
/// # Errors
/// When it cannot be written.
pub fn executable(dir: &Path, name: &str, body: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

//! A stand-in for the kernel's IPVS: a library that is loaded before a program and answers its netlink requests, with a
//! table that several programs share and a log of what was written.
//!
//! Here: how it is built and given to a program, what its log says. Its source is not part of this project.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};

use crate::{build, wait};

/// Environment variable that names the source.
pub const SOURCE: &str = "LBD_FAKEIPVS";
/// Where the source is without it, beside the workspace.
const BESIDE: &str = "../shared/tools/fakeipvs.c";

/// Name of the file that holds a program's table: its pages are not the program's own.
pub const TABLE: &str = "fakeipvs-table";
/// Name of the file of the log.
pub const LOG: &str = "fakeipvs-log";

/// The built library.
#[derive(Debug)]
pub struct StandIn {
    library: PathBuf,
    dir: tempfile::TempDir,
}

impl StandIn {
    /// Builds it; `None` when its source is not there.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn build() -> Result<Option<Self>> {
        let source = std::env::var_os(SOURCE).map_or_else(|| build::workspace().join(BESIDE), PathBuf::from);
        if !source.exists() {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("lbd-fakeipvs-").tempdir()?;
        let library = dir.path().join("fakeipvs.so");
        let status = Command::new("gcc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .status()
            .context("gcc: is it installed?")?;
        ensure!(status.success(), "gcc {}: {status}", source.display());
        Ok(Some(Self { library, dir }))
    }

    /// Why there is none, for a skip.
    pub fn missing() -> String {
        format!("{BESIDE} is not there: it stands in for the kernel's IPVS; {SOURCE} names another place")
    }

    /// A folder that is gone when this is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The environment of a program whose table, [`TABLE`], is in `folder`.
    pub fn env(&self, folder: &Path) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.library.clone().into()), ("FAKEIPVS_TABLE", folder.join(TABLE).into())]
    }

    /// The same with the log, [`LOG`], in `folder` too.
    pub fn env_with_log(&self, folder: &Path) -> [(&'static str, OsString); 3] {
        let [library, table] = self.env(folder);
        [library, table, ("FAKEIPVS_LOG", folder.join(LOG).into())]
    }
}

/// What a request would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A service that is new.
    NewService,
    /// A service that changes.
    SetService,
    /// A service that goes.
    DelService,
    /// A destination that is new.
    NewDest,
    /// A destination that changes.
    SetDest,
    /// A destination that goes.
    DelDest,
    /// Something else, by its number (`linux/ip_vs.h`).
    Other(u8),
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was asked.
    pub request: Request,
    /// When, on the clock of [`clock`].
    pub at: Duration,
    /// The number of the error with which it was refused.
    pub refused: Option<i32>,
}

impl Entry {
    /// Reads `CMD TIME` of what was done, `-CMD TIME ERRNO` of what was refused.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let command = words.next()?;
        let number = command.strip_prefix('-').unwrap_or(command).parse().ok()?;
        let request = match number {
            1 => Request::NewService,
            2 => Request::SetService,
            3 => Request::DelService,
            5 => Request::NewDest,
            6 => Request::SetDest,
            7 => Request::DelDest,
            other => Request::Other(other),
        };
        let (seconds, micros) = words.next()?.split_once('.')?;
        let at = Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?);
        let refused = match command.starts_with('-') {
            true => Some(words.next()?.parse().ok()?),
            false => None,
        };
        Some(Self { request, at, refused })
    }
}

/// Now, on the clock of the log (CLOCK_MONOTONIC).
///
/// # Errors
/// When the system has no such clock.
pub fn clock() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// The log as it grows.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not written yet.
    rest: String,
}

impl Log {
    /// Of a program whose environment had this folder; the file need not be there yet.
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join(LOG), file: None, rest: String::new() }
    }

    /// What was written since the last look.
    ///
    /// # Errors
    /// When a line is none of the log.
    pub fn more(&mut self) -> Result<Vec<Entry>> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error).context(self.path.display().to_string()),
            }
        }
        if let Some(file) = &mut self.file {
            file.read_to_string(&mut self.rest)?;
        }
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        lines
            .lines()
            .map(|line| Entry::parse(line).with_context(|| format!("{}: {line}", self.path.display())))
            .collect()
    }

    /// Waits for a line of which `wanted` is true; gives all that came meanwhile.
    ///
    /// # Errors
    /// When none comes within `limit`.
    pub fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>> {
        let began = Instant::now();
        let mut seen = Vec::new();
        loop {
            let more = self.more()?;
            let found = more.iter().any(&wanted);
            seen.extend(more);
            if found {
                return Ok(seen);
            }
            if began.elapsed() >= limit {
                bail!("{what}: not within {limit:?}; {} other lines in the log", seen.len());
            }
            wait::pause(POLL);
        }
    }
}

/// Between two looks at the log; when something happened is in its lines.
const POLL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_of_the_log() {
        let micros = Duration::from_micros;
        for (line, want) in [
            (
                "5 559.987493",
                Some(Entry { request: Request::NewDest, at: micros(559_987_493), refused: None }),
            ),
            ("6 0.000001", Some(Entry { request: Request::SetDest, at: micros(1), refused: None })),
            (
                "-1 12.000000 17",
                Some(Entry { request: Request::NewService, at: micros(12_000_000), refused: Some(17) }),
            ),
            (
                "17 3.500000",
                Some(Entry { request: Request::Other(17), at: micros(3_500_000), refused: None }),
            ),
            ("-1 12.000000", None),
            ("5", None),
            ("", None),
            ("x 1.0", None),
            ("5 1", None),
        ] {
            assert_eq!(Entry::parse(line), want, "{line:?}");
        }
    }

    #[test]
    fn a_log_is_read_as_it_grows() {
        let dir = tempfile::tempdir().expect("directory");
        let mut log = Log::of(dir.path());
        assert_eq!(log.more().expect("nothing yet"), []);
        let mut file = File::create(dir.path().join(LOG)).expect("file");
        file.write_all(b"1 1.000000\n5 1.00").expect("written");
        assert_eq!(log.more().expect("one line").len(), 1);
        assert_eq!(log.more().expect("half a line").len(), 0);
        file.write_all(b"0002\n6 2.000000\n").expect("written");
        let seen = log
            .wait("a change", Duration::ZERO, |entry| entry.request == Request::SetDest)
            .expect("it is there");
        assert_eq!(
            seen.iter().map(|entry| entry.request).collect::<Vec<_>>(),
            [Request::NewDest, Request::SetDest]
        );
        assert!(log.wait("another", Duration::ZERO, |_| true).is_err());
        file.write_all(b"what\n").expect("written");
        assert!(log.more().is_err());
    }

    #[test]
    fn the_clock_goes() {
        let before = clock().expect("a clock");
        assert!(clock().expect("a clock") >= before);
    }
}

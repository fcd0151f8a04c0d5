//! Runs `nft`.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Time limit of a run; it takes some 10 ms.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended.
const POLL: Duration = Duration::from_millis(2);
/// How long one that was killed is waited for.
const END: Duration = Duration::from_millis(200);
/// What of its complaints is kept.
const LONGEST: usize = 4096;

/// Why the packet filter is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum NftError {
    #[error("nft is not installed: install the package nftables")]
    Missing,
    #[error("nft cannot be run: {0}")]
    NotRun(io::Error),
    #[error("nft: {0}")]
    Refused(String),
    #[error("nft did not end within {} s", .0.as_secs())]
    Late(Duration),
}

impl NftError {
    /// Nothing was changed: it carries out all of a text or nothing.
    pub fn changed_nothing(&self) -> bool {
        !matches!(self, NftError::Late(_))
    }
}

/// Has `program` (`nft`) carry out `text`, all of it or nothing. Waits, `limit` at most, whatever it does.
pub(super) fn run(program: &OsStr, text: &str, limit: Duration) -> Result<(), NftError> {
    let started = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NftError::Missing,
        _ => NftError::NotRun(error),
    })?;
    let until = Instant::now() + limit;
    let outcome = talk(&mut child, text, until);
    match outcome {
        Ok(Some(said)) => said,
        Ok(None) => {
            end(&mut child);
            Err(NftError::Late(limit))
        }
        Err(error) => {
            end(&mut child);
            Err(NftError::NotRun(error))
        }
    }
}

/// What it did; `None` if it has not ended by `until`.
fn talk(child: &mut Child, text: &str, until: Instant) -> io::Result<Option<Result<(), NftError>>> {
    let mut input = Input::new(child.stdin.take(), text.as_bytes())?;
    let mut complaints = Complaints::new(child.stderr.take())?;
    let success = loop {
        input.give();
        complaints.take();
        match child.try_wait() {
            Ok(Some(status)) => break Some(status.success()),
            // As process 1 lbd reaps whoever ends; then what was said decides.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break None,
            Err(error) => return Err(error),
            Ok(None) if Instant::now() >= until => return Ok(None),
            Ok(None) => std::thread::park_timeout(POLL),
        }
    };
    complaints.take();
    let said = complaints.first_line();
    Ok(Some(match (success, input.failed) {
        (Some(true), _) => Ok(()),
        (None, None) if said.is_empty() => Ok(()),
        (_, Some(error)) if said.is_empty() => Err(NftError::NotRun(error)),
        _ => Err(NftError::Refused(said)),
    }))
}

/// Ends it with whatever it started.
fn end(child: &mut Child) {
    let _gone = i32::try_from(child.id()).map(|pid| killpg(Pid::from_raw(pid), Signal::SIGKILL));
    let until = Instant::now() + END;
    // In the kernel it may be out of reach of signals.
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
        std::thread::park_timeout(POLL);
    }
}

fn never_wait(pipe: &impl AsFd) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// What it is given, as fast as it reads.
struct Input<'t> {
    pipe: Option<ChildStdin>,
    rest: &'t [u8],
    failed: Option<io::Error>,
}

impl<'t> Input<'t> {
    fn new(pipe: Option<ChildStdin>, text: &'t [u8]) -> io::Result<Self> {
        pipe.as_ref().map_or(Ok(()), never_wait)?;
        Ok(Input { pipe, rest: text, failed: None })
    }

    fn give(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            if self.rest.is_empty() {
                self.pipe = None;
                return;
            }
            match pipe.write(self.rest) {
                Ok(given) => self.rest = self.rest.get(given..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => (self.pipe, self.failed) = (None, Some(error)),
            }
        }
    }
}

/// What it says, which must not hold it up.
struct Complaints {
    pipe: Option<ChildStderr>,
    kept: Vec<u8>,
}

impl Complaints {
    fn new(pipe: Option<ChildStderr>) -> io::Result<Self> {
        pipe.as_ref().map_or(Ok(()), never_wait)?;
        Ok(Complaints { pipe, kept: Vec::new() })
    }

    /// Takes what is there, a bufferful at most: it may never be silent.
    fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; LONGEST];
        if let Ok(length) = pipe.read(&mut buffer) {
            let room = LONGEST.saturating_sub(self.kept.len());
            self.kept.extend(buffer.iter().take(length.min(room)));
        }
    }

    fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        text.lines().next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(directory: &std::path::Path, text: &str) -> std::path::PathBuf {
        let path = directory.join("nft");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }

    /// More than a pipe holds.
    fn long() -> String {
        "# a comment\n".repeat(20_000)
    }

    #[test]
    fn whatever_it_does_it_has_its_time_and_no_more() {
        let directory = tempfile::tempdir().expect("directory");
        for (name, script, want) in [
            ("takes all", "cat >/dev/null", "Ok(())"),
            ("reads nothing and hangs", "sleep 60", "Err(Late(300ms))"),
            ("reads and hangs", "cat >/dev/null; sleep 60", "Err(Late(300ms))"),
            (
                "refuses in words",
                "cat >/dev/null; echo 'no such thing' >&2; exit 1",
                "Err(Refused(\"no such thing\"))",
            ),
            (
                "has much to say",
                "cat >/dev/null; head -c 200000 /dev/zero | tr '\\0' x >&2; exit 0",
                "Ok(())",
            ),
            ("leaves somebody behind", "cat >/dev/null; sleep 6 & exit 0", "Ok(())"),
            ("hangs with children that complain", "sleep 60 | yes >&2", "Err(Late(300ms))"),
        ] {
            let program = program(directory.path(), script);
            let started = Instant::now();
            // Whoever says much needs some looks.
            let limit = Duration::from_millis(if want.contains("300") { 300 } else { 5000 });
            let got = loop {
                match run(program.as_os_str(), &long(), limit) {
                    // A program that another thread starts just now has the file open for a moment.
                    Err(NftError::NotRun(error)) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                    got => break got,
                }
            };
            assert_eq!(format!("{got:?}"), want, "{name}");
            assert!(started.elapsed() < Duration::from_secs(4), "{name}: {:?}", started.elapsed());
        }
        let gone = run(OsStr::new("/nonexistent/nft"), "", LIMIT).expect_err("not there");
        assert!(gone.changed_nothing());
        assert_eq!(gone.to_string(), "nft is not installed: install the package nftables");
    }
}

//! Running `nft`.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit of a run; it takes some 10 ms.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks whether it has ended.
const POLL: Duration = Duration::from_millis(2);
/// What of its complaints is read.
const LONGEST: u64 = 4096;

/// Has `nft` carry out `text`, all of it or nothing. Waits, 5 s at most.
///
/// # Errors
/// In words: that it is not installed, or what it says.
pub(super) fn run(text: &str) -> Result<(), String> {
    let started = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "nft is not installed: install the package nftables".to_owned(),
        _ => format!("nft cannot be started: {error}"),
    })?;
    let given = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
    let until = Instant::now() + LIMIT;
    let success = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status.success()),
            // As process 1 lbd reaps whoever ends; then what was said decides.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break None,
            Err(error) => return Err(format!("nft: {error}")),
            Ok(None) if Instant::now() >= until => {
                let _ended = child.kill();
                let _reaped = child.wait();
                return Err(format!("nft did not end within {} s", LIMIT.as_secs()));
            }
            Ok(None) => std::thread::park_timeout(POLL),
        }
    };
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        let _unreadable = errors.take(LONGEST).read_to_string(&mut said);
    }
    let first = said.lines().next().unwrap_or_default();
    match (success, given) {
        (Some(true), _) => Ok(()),
        (None, Ok(())) if said.is_empty() => Ok(()),
        (_, Err(error)) if said.is_empty() => Err(format!("nft: {error}")),
        _ => Err(format!("nft: {first}")),
    }
}

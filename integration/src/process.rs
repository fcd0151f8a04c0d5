//! Processes of the bed: their descendants, signals to all of them, ends within a limit.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// A process id as the kernel's interfaces carry it.
pub fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Children of `pid`, by /proc.
pub fn children(pid: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

/// `pid` and all that descends from it.
pub fn tree(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        all.extend(children(parent));
        next += 1;
    }
    all
}

/// Whether a thread of `pid` or of its descendants runs or is ready to.
pub fn busy(pid: Pid) -> bool {
    tree(pid).into_iter().any(|pid| {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        tasks.flatten().any(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name, in brackets, may have blanks and brackets of its own.
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['R', 'D']))
        })
    })
}

/// Ends a process and its descendants as a crash of the machine would: all are stopped first, so that none sees another die.
pub fn crash(pid: Pid) {
    let all = tree(pid);
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in &all {
            let _ = kill(*pid, signal);
        }
    }
}

/// Waits for the end of `child`.
///
/// # Errors
/// When it still runs after `limit`.
pub fn ended(child: &mut Child, what: &str, limit: Duration) -> Result<ExitStatus> {
    wait::until_ok(&format!("end of {what}"), limit, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .with_context(|| format!("pid {}", child.id()))
}

/// Waits for the end of `child`, and ends it with all that descends from it when `limit` passes first (`None`).
///
/// # Errors
/// When it cannot be waited for.
pub fn within(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            crash(pid_of(child));
            child.wait()?;
            return Ok(None);
        }
        wait::pause(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("a shell")
    }

    #[test]
    fn ends_in_time_or_with_all_its_processes() {
        let status = within(&mut shell("exit 7"), Duration::from_secs(10)).expect("waited for");
        assert_eq!(status.and_then(|status| status.code()), Some(7));

        let mut stuck = shell("setsid sleep 60 & wait");
        // One in a session of its own, as a daemon's scripts are.
        let all = wait::until("its sleep", Duration::from_secs(5), || {
            let all = tree(pid_of(&stuck));
            (all.len() == 2).then_some(all)
        })
        .expect("a process and its child");
        assert_eq!(within(&mut stuck, Duration::from_millis(50)).expect("waited for"), None);
        wait::until("their end", Duration::from_secs(5), || all.iter().all(|pid| !alive(*pid)).then_some(()))
            .expect("all are gone");
    }

    /// Whether it lives: a zombie that nobody waits for yet does not.
    fn alive(pid: Pid) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
    }
}

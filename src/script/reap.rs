//! The duty of process 1: reaping processes whose parents are gone.
//!
//! Children of this room are left to tokio, which waits for their status.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::warn;

use super::Running;

/// Reaps after each SIGCHLD, for ever.
pub(super) async fn run(running: &Arc<Running>) {
    let mut died = match signal(SignalKind::child()) {
        Ok(died) => died,
        Err(error) => {
            warn!(%error, "orphaned processes are not reaped");
            return;
        }
    };
    loop {
        while let Progress::Again = reap_one(running) {}
        match reap_one(running) {
            // One of ours is first in line; orphans behind it are seen once tokio has taken it.
            Progress::Ours => sleep(OURS_FIRST).await,
            Progress::Again => {}
            Progress::Done => {
                if died.recv().await.is_none() {
                    return;
                }
            }
        }
    }
}

const OURS_FIRST: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// An orphan was reaped.
    Again,
    /// The first dead child is tokio's.
    Ours,
    /// No dead child.
    Done,
}

fn reap_one(running: &Running) -> Progress {
    // Held over peek and reap: no child is started between them that could be taken for an orphan.
    let children = running.children();
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let pid = match waitid(Id::All, peek) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
        // ECHILD: no children at all.
        Ok(_) | Err(_) => return Progress::Done,
    };
    if children.contains(&Pid::as_raw(pid)) {
        return Progress::Ours;
    }
    let _taken = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
    Progress::Again
}

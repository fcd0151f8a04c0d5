//! One program from start to end: through the helper, in a process group of its own, within a time
//! limit.
//!
//! Not here: which program and user (`security`), what its end means.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lbd_health::{ScriptError, ScriptOutcome};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Running;
use super::exec_helper::{INSECURE, KEEP, RESOURCES, SECURE, WORD};
use super::security::Runnable;

/// What is started.
pub(super) struct Command<'a> {
    pub helper: &'a Path,
    pub program: &'a Runnable,
    /// Appended to the program's own arguments.
    pub extra: &'a [String],
    /// Also when the room has stopped.
    pub last: bool,
}

/// A program that was started. Dropping it ends the program.
pub(super) struct Started {
    end: oneshot::Receiver<End>,
    // Its drop tells the task that nobody waits any more.
    wanted: oneshot::Sender<()>,
}

/// How it ended, or why it was not executed.
type End = Result<ScriptOutcome, (ScriptError, String)>;

impl Started {
    /// Waits for the end.
    ///
    /// When `stop` is done before, the program is ended first.
    pub async fn end(self, stop: impl Future<Output = ()>) -> End {
        let Started { mut end, wanted } = self;
        let ended = tokio::select! {
            ended = &mut end => ended,
            () = stop => {
                drop(wanted);
                end.await
            }
        };
        // The task is gone only with its runtime.
        ended.unwrap_or(Err((ScriptError::Resources, "lbd is stopping".into())))
    }
}

/// Starts a program on the current runtime.
pub(super) fn start(
    command: &Command<'_>,
    limit: Duration,
    running: &Arc<Running>,
) -> Result<Started, ScriptError> {
    if *running.stopping.borrow() && !command.last {
        return Err(ScriptError::Resources);
    }
    let program = command.program;
    let groups = program.groups.as_deref().map_or(KEEP.to_owned(), listed);
    let kept = |limit: Option<u64>| limit.map_or(KEEP.to_owned(), |limit| limit.to_string());
    let limits = [
        kept(crate::limits::inherited_descriptors()),
        kept(crate::limits::inherited_real_time()),
        kept(crate::limits::inherited_core_dumps()),
    ];
    let scheduling = crate::scheduling::inherited()
        .map_or([KEEP.to_owned(), KEEP.to_owned()], |before| [before.nice.to_string(), listed(&before.cpus)]);
    let mut helper = tokio::process::Command::new(command.helper);
    helper
        .arg(WORD)
        .args([program.uid.to_string(), program.gid.to_string(), groups])
        .args(limits)
        .args(scheduling)
        .arg(if program.secure { SECURE } else { KEEP })
        .arg(&program.path)
        .args(&program.argv)
        .args(command.extra)
        .env_remove("IFS")
        .env_remove("LD_PRELOAD")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let (child, group) = {
        let mut children = running.children();
        let child = helper.spawn();
        running.note(child.as_ref().err(), command.helper);
        let child = child.map_err(|_told| ScriptError::Resources)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(ScriptError::Resources)?;
        children.insert(pid);
        running.count.send_modify(|count| *count += 1);
        (child, Group { pid, alive: true, running: running.clone() })
    };
    let (end, ended) = oneshot::channel();
    let (wanted, unwanted) = oneshot::channel();
    tokio::spawn(supervise(child, group, Limits { time: limit, last: command.last }, unwanted, end));
    Ok(Started { end: ended, wanted })
}

/// Numbers as the helper takes them.
fn listed<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// What ends a program that does not end by itself.
struct Limits {
    time: Duration,
    /// The stop of the room does not.
    last: bool,
}

/// The process group. When it is dropped with its leader alive (the runtime goes), it is killed.
struct Group {
    pid: i32,
    alive: bool,
    running: Arc<Running>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        // ESRCH: all of it is gone.
        let _gone = killpg(Pid::from_raw(self.pid), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.alive {
            self.signal(Signal::SIGKILL);
        } else {
            self.running.children().remove(&self.pid);
        }
        self.running.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

async fn supervise(
    mut child: Child,
    mut group: Group,
    limits: Limits,
    unwanted: oneshot::Receiver<()>,
    end: oneshot::Sender<End>,
) {
    let errors = child.stderr.take();
    let mut stopping = group.running.stopping.subscribe();
    let outcome = tokio::select! {
        status = child.wait() => {
            group.alive = false;
            match status {
                Ok(status) => judge(status, errors).await,
                Err(error) => Err((ScriptError::Resources, format!("waiting for it: {error}"))),
            }
        }
        () = sleep(limits.time) => {
            terminate(&mut child, &mut group).await;
            Ok(ScriptOutcome::TimedOut(limits.time))
        }
        _dropped = unwanted => {
            terminate(&mut child, &mut group).await;
            Ok(ScriptOutcome::Signalled(libc::SIGTERM))
        }
        () = async { let _stop = stopping.wait_for(|stopping| *stopping).await; }, if !limits.last => {
            terminate(&mut child, &mut group).await;
            Ok(ScriptOutcome::Signalled(libc::SIGTERM))
        }
    };
    let _nobody_waits = end.send(outcome);
    if group.alive {
        // It hangs in the kernel: its number must not be forgotten before it is reaped.
        let _status = child.wait().await;
        group.alive = false;
    }
}

/// TERM to the group, KILL when its leader has not ended two seconds later; what is left of the group
/// gets KILL in any case, so that grandchildren don't live on.
async fn terminate(child: &mut Child, group: &mut Group) {
    group.signal(Signal::SIGTERM);
    if timeout(GRACE, child.wait()).await.is_ok() {
        group.alive = false;
        // The leader was reaped this instant; its number is not given out again while members of the
        // group live, and nowhere near as fast otherwise.
        group.signal(Signal::SIGKILL);
        return;
    }
    group.signal(Signal::SIGKILL);
    match timeout(GRACE, child.wait()).await {
        Ok(_) => group.alive = false,
        Err(_) => warn!(pid = group.pid, "a script does not end after KILL: it hangs in the kernel"),
    }
}

const GRACE: Duration = Duration::from_secs(2);

/// The helper's complaint, if it could not execute the program; else the program's end.
async fn judge(status: ExitStatus, errors: Option<ChildStderr>) -> End {
    let mut text = Vec::new();
    if let Some(errors) = errors {
        // Closed by exec or by exit: there is nothing to wait for, the limits are for certainty.
        let _limit = timeout(GRACE, errors.take(1024).read_to_end(&mut text)).await;
    }
    if !text.is_empty() {
        let text = String::from_utf8_lossy(&text).into_owned();
        let kinds = [(RESOURCES, ScriptError::Resources), (INSECURE, ScriptError::Insecure)];
        let known =
            kinds.into_iter().find_map(|(mark, kind)| Some((kind, text.strip_prefix(mark)?.to_owned())));
        return Err(known.unwrap_or((ScriptError::NotExecutable, text)));
    }
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => ScriptOutcome::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => ScriptOutcome::Signalled(signal.unwrap_or_default()),
    })
}

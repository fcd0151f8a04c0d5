//! The thread that writes what should survive the process, so that nobody else waits for a file.
//!
//! Its mailbox holds the latest value of each kind: a value that was overtaken before it was written
//! is not written. Here: when to write. Not here: the files (`state_file`).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing::warn;

use crate::state_file::{SavedInstance, SavedLeaving, StateFile, Verdicts};

/// A handle to the writing thread; ends it, after a last write, when stopped.
#[derive(Clone)]
pub struct Remember {
    mailbox: Arc<Mailbox>,
}

/// Ends the writing thread when dropped, after what is in the mailbox was written.
pub struct RememberThread {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Mailbox {
    pending: Mutex<Pending>,
    filled: Condvar,
}

#[derive(Default)]
struct Pending {
    verdicts: Option<Verdicts>,
    instances: Option<Vec<SavedInstance>>,
    leaving: Option<Vec<SavedLeaving>>,
    stop: bool,
}

impl Remember {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(file: Arc<StateFile>) -> std::io::Result<(Self, RememberThread)> {
        let mailbox = Arc::new(Mailbox::default());
        let inside = mailbox.clone();
        let thread = std::thread::Builder::new().name("state".into()).spawn(move || write(&file, &inside))?;
        Ok((Remember { mailbox: mailbox.clone() }, RememberThread { mailbox, thread: Some(thread) }))
    }

    /// Takes the verdicts to write next.
    pub fn verdicts(&self, verdicts: Verdicts) {
        self.mailbox.change(|pending| pending.verdicts = Some(verdicts));
    }

    /// Takes the real servers that are leaving.
    pub fn leaving(&self, leaving: Vec<SavedLeaving>) {
        self.mailbox.change(|pending| pending.leaving = Some(leaving));
    }

    /// Takes the virtual routers to write next.
    pub fn instances(&self, instances: Vec<SavedInstance>) {
        self.mailbox.change(|pending| pending.instances = Some(instances));
    }
}

impl Drop for RememberThread {
    fn drop(&mut self) {
        self.mailbox.change(|pending| pending.stop = true);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Mailbox {
    fn change(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        self.filled.notify_one();
    }

    fn take(&self) -> Pending {
        let mut pending = self
            .filled
            .wait_while(self.pending.lock().unwrap_or_else(PoisonError::into_inner), |pending| {
                let Pending { verdicts, instances, leaving, stop } = pending;
                verdicts.is_none() && instances.is_none() && leaving.is_none() && !*stop
            })
            .unwrap_or_else(PoisonError::into_inner);
        let stop = pending.stop;
        Pending { stop, ..std::mem::take(&mut *pending) }
    }
}

fn write(file: &StateFile, mailbox: &Mailbox) {
    let mut failing = false;
    let mut written: Option<Vec<SavedInstance>> = None;
    loop {
        let mut pending = mailbox.take();
        // A Backup says the same four times a second.
        pending.instances.take_if(|instances| !failing && written.as_ref() == Some(&*instances));
        let verdicts = pending.verdicts.map_or(Ok(()), |verdicts| file.put_verdicts(&verdicts));
        let instances = pending.instances.map_or(Ok(()), |instances| {
            written = Some(instances.clone());
            file.put_instances(instances)
        });
        let leaving = pending.leaving.map_or(Ok(()), |leaving| file.put_leaving(leaving));
        match verdicts.and(instances).and(leaving) {
            Ok(()) => failing = false,
            // Said once until it works again: a full disk must not flood the log.
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "the state file cannot be written: a crash would forget who was master and which servers were down");
                }
            }
        }
        if pending.stop {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_file::SavedInstance;

    #[test]
    fn what_was_handed_over_is_in_the_file_when_the_thread_has_ended() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("state");
        let file = Arc::new(StateFile::open(&path, 0).0);
        let (remember, thread) = Remember::start(file).expect("a thread");
        for vrid in 1..=9 {
            remember.instances(vec![SavedInstance { vrid, ..SavedInstance::default() }]);
        }
        drop(thread);
        assert_eq!(
            StateFile::open(&path, 0).1.instances,
            [SavedInstance { vrid: 9, ..SavedInstance::default() }]
        );
    }

    #[test]
    fn what_did_not_change_is_not_written_again() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("state");
        let (remember, thread) = Remember::start(Arc::new(StateFile::open(&path, 0).0)).expect("a thread");
        let of = |vrid| vec![SavedInstance { vrid, ..SavedInstance::default() }];
        let saved = || StateFile::open(&path, 0).1.instances;
        let file = std::fs::canonicalize(dir.path()).expect("a folder").join("state.vrrp");
        remember.instances(of(1));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while saved() != of(1) {
            assert!(std::time::Instant::now() < deadline, "not written within 10 s");
            std::thread::yield_now();
        }
        std::fs::remove_file(&file).expect("the file");
        remember.instances(of(1));
        remember.verdicts(Verdicts::default());
        drop(thread);
        assert!(!file.exists(), "written again");
        let (remember, thread) = Remember::start(Arc::new(StateFile::open(&path, 0).0)).expect("a thread");
        remember.instances(of(2));
        drop(thread);
        assert_eq!(saved(), of(2));
    }
}

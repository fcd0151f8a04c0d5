//! The notify FIFOs of a configuration and the scripts that read them.
//!
//! Here: which are open, which line goes to which, starting readers again. Not here: one FIFO
//! (`fifo`), running a program (`crate::script`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lbd_grammar::config::{self, ScriptUser};
use lbd_health::ScriptId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, warn};

use super::fifo::Fifo;
use super::fifo_line::Of;
use crate::script::security::{HostUsers, Users};
use crate::script::{ScriptRoom, describe};

/// A reader that ends by itself is started again after this, twice as long each time ...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ... up to this; one that ran for longer begins anew. keepalived starts it again with the next reload.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Limit of making and opening the FIFOs: their file system may hang.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Limit of ending a reader: TERM, two seconds, KILL.
const READER_LIMIT: Duration = Duration::from_secs(4);

/// The FIFOs.
pub struct Fifos {
    room: Arc<ScriptRoom>,
    open: Mutex<HashMap<Slot, Open>>,
    readers: Mutex<Vec<Reader>>,
    first_pause: Duration,
}

/// Which FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    All,
    Vrrp,
    Lvs,
}

#[derive(Clone)]
struct Open {
    fifo: Arc<Fifo>,
    user: Option<ScriptUser>,
}

struct Reader {
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    /// Not to be started again.
    Last,
    /// To be ended.
    End,
}

impl Fifos {
    /// None is open.
    pub fn new(room: Arc<ScriptRoom>) -> Self {
        Self::with_pause(room, FIRST_PAUSE)
    }

    pub(super) fn with_pause(room: Arc<ScriptRoom>, first_pause: Duration) -> Self {
        Fifos { room, open: Mutex::default(), readers: Mutex::default(), first_pause }
    }

    /// Writes a line to those FIFOs that get lines of this kind.
    pub fn write(&self, of: Of, line: &str) {
        let own = match of {
            Of::Vrrp => Slot::Vrrp,
            Of::Lvs => Slot::Lvs,
        };
        let open = self.open();
        for slot in [Slot::All, own] {
            if let Some(one) = open.get(&slot) {
                one.fifo.write(line);
            }
        }
    }

    /// Makes the FIFOs those of a configuration. One that did not change stays open with what is in it;
    /// every reader is ended and started. What goes wrong is logged.
    pub async fn update(&self, wanted: &config::Fifos) {
        self.end_readers(Order::End, READER_LIMIT).await;
        let wanted: Vec<(Slot, config::Fifo)> =
            [(Slot::All, &wanted.all), (Slot::Vrrp, &wanted.vrrp), (Slot::Lvs, &wanted.lvs)]
                .into_iter()
                .filter_map(|(slot, fifo)| Some((slot, fifo.clone()?)))
                .collect();
        let before = self.open().clone();
        if wanted.is_empty() && before.is_empty() {
            return;
        }
        let named = wanted.clone();
        let Some(kept) = blocking("examined", move || unchanged(before, &named)).await else { return };
        let old = std::mem::replace(&mut *self.open(), kept.clone());
        let missing: Vec<_> = wanted.iter().filter(|(slot, _)| !kept.contains_key(slot)).cloned().collect();
        drop(kept);
        let opened = blocking("opened", move || {
            // First: one may have the path of another that is wanted now.
            drop(old);
            missing.into_iter().filter_map(|(slot, fifo)| Some((slot, open(&fifo)?))).collect::<Vec<_>>()
        });
        let opened = opened.await.unwrap_or_default();
        self.open().extend(opened);
        let open = self.open().clone();
        let mut readers = self.readers();
        for (slot, config::Fifo { path, script, .. }) in wanted {
            if let Some(script) = script
                && open.contains_key(&slot)
            {
                readers.push(self.reader(script, path));
            }
        }
    }

    /// Closes the FIFOs, so that readers come to an end by themselves; waits for it. Who still reads
    /// after `limit` is left to [`ScriptRoom::stop`].
    pub async fn close(&self, limit: Duration) {
        for reader in self.readers().iter() {
            reader.order.send_replace(Order::Last);
        }
        let open = std::mem::take(&mut *self.open());
        if !open.is_empty() {
            blocking("closed", move || drop(open)).await;
        }
        self.end_readers(Order::Last, limit).await;
    }

    async fn end_readers(&self, order: Order, limit: Duration) {
        let readers = std::mem::take(&mut *self.readers());
        for reader in &readers {
            reader.order.send_replace(order);
        }
        let all = async {
            for reader in readers {
                let _panicked = reader.task.await;
            }
        };
        let _limit = tokio::time::timeout(limit, all).await;
    }

    fn reader(&self, script: ScriptId, path: String) -> Reader {
        let (order, orders) = watch::channel(Order::Go);
        let task = tokio::spawn(keep_reading(self.room.clone(), script, path, orders, self.first_pause));
        Reader { order, task }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Slot, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that can stay as they are.
fn unchanged(before: HashMap<Slot, Open>, wanted: &[(Slot, config::Fifo)]) -> HashMap<Slot, Open> {
    let (mut kept, gone): (HashMap<_, _>, HashMap<_, _>) = before.into_iter().partition(|(slot, open)| {
        let same = |fifo: &config::Fifo| Path::new(&fifo.path) == open.fifo.path() && fifo.user == open.user;
        wanted.iter().any(|(wanted, fifo)| wanted == slot && same(fifo)) && open.fifo.is_in_place()
    });
    // VRRP's and that of LVS may be the same one: it goes with the one that made it.
    kept.retain(|_, one| gone.values().all(|other| other.fifo.path() != one.fifo.path()));
    kept
}

/// Blocking: users, files.
fn open(fifo: &config::Fifo) -> Option<Open> {
    let path = &fifo.path;
    let owner = match fifo.user.as_ref().map(|user| HostUsers.find(user)).transpose() {
        Ok(owner) => owner.map(|identity| (identity.uid, identity.gid)),
        Err(text) => {
            error!("no notify FIFO {path}: {text}; create the user or group, or name another one");
            return None;
        }
    };
    match Fifo::open(Path::new(path), owner) {
        Ok(opened) => Some(Open { fifo: Arc::new(opened), user: fifo.user.clone() }),
        Err(text) => {
            error!("no notify FIFO: {text}");
            None
        }
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match tokio::time::timeout(OPEN_LIMIT, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.ok(),
        Err(_) => {
            let limit = OPEN_LIMIT.as_secs();
            error!("the notify FIFOs could not be {what} within {limit} s: their file system hangs");
            None
        }
    }
}

/// Runs a reader, again and again until it is ordered otherwise.
async fn keep_reading(
    room: Arc<ScriptRoom>,
    script: ScriptId,
    path: String,
    mut orders: watch::Receiver<Order>,
    first_pause: Duration,
) {
    let mut pause = first_pause;
    while *orders.borrow_and_update() == Order::Go {
        let began = Instant::now();
        let mut end = orders.clone();
        let ordered = async move {
            let _gone = end.wait_for(|order| *order == Order::End).await;
        };
        let outcome = room.run_until(&script, std::slice::from_ref(&path), ordered).await;
        if *orders.borrow() != Order::Go {
            return;
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = first_pause;
        }
        let after = pause.as_secs_f64();
        warn!(fifo = path, "FIFO script: {}; started again in {after} s", describe(outcome));
        let _elapsed = tokio::time::timeout(pause, orders.wait_for(|order| *order != Order::Go)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

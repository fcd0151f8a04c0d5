//! The notify FIFOs of a configuration and the scripts that read them.
//!
//! Here: which are open, which line goes to which, opening them again when something took their place.
//! Not here: one FIFO (`fifo`), one script (`reader`).

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lbd_grammar::config::{self, ScriptUser};
use nix::unistd::geteuid;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::fifo::Fifo;
use super::fifo_line::Of;
use super::reader::{Order, Reader};
use crate::script::ScriptRoom;
use crate::script::security::{DEFAULT_USER, HostUsers, NoUser, Users};

/// Between two looks at what the paths lead to.
const LOOK: Duration = Duration::from_secs(1);
/// Limit of making and opening the FIFOs: their file system may hang.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// Limit of ending a reader: TERM, two seconds, KILL.
const READER_LIMIT: Duration = Duration::from_secs(4);

/// The FIFOs. Dropping it ends the looks at them.
pub struct Fifos {
    shared: Arc<Shared>,
    looks: AbortHandle,
}

struct Shared {
    room: Arc<ScriptRoom>,
    places: Mutex<HashMap<Slot, Place>>,
    readers: Mutex<HashMap<Slot, Reader>>,
    /// Which are wanted. Held by who changes places and readers.
    turn: tokio::sync::Mutex<Wanted>,
    /// Some are wanted.
    any: watch::Sender<bool>,
    /// One thread at a time: a file system that hangs holds no second one.
    thread: Arc<Semaphore>,
    /// It was said that it hangs.
    hangs: AtomicBool,
}

/// Which FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    All,
    Vrrp,
    Lvs,
}

type Wanted = Vec<(Slot, config::Fifo)>;

/// A FIFO that is wanted.
enum Place {
    Open(Open),
    Missing(Missing),
}

#[derive(Clone)]
struct Open {
    fifo: Arc<Fifo>,
    user: Option<ScriptUser>,
}

#[derive(Default)]
struct Missing {
    path: String,
    /// Lines that went nowhere.
    lost: u64,
    /// What was said of it last.
    said: String,
}

impl Missing {
    fn lose(&mut self) {
        self.lost += 1;
        // Powers of two: told, without a flood.
        if self.lost.is_power_of_two() {
            warn!(fifo = self.path, lost = self.lost, "notify FIFO: a line is lost: it is not open");
        }
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        self.looks.abort();
    }
}

impl Fifos {
    /// None is open.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(room: Arc<ScriptRoom>) -> Self {
        let shared = Arc::new(Shared {
            room,
            places: Mutex::default(),
            readers: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            any: watch::Sender::new(false),
            thread: Arc::new(Semaphore::new(1)),
            hangs: AtomicBool::new(false),
        });
        let looking = shared.clone();
        let looks = tokio::spawn(async move {
            let mut any = looking.any.subscribe();
            while any.wait_for(|any| *any).await.is_ok() {
                sleep(LOOK).await;
                looking.look().await;
            }
        });
        Fifos { shared, looks: looks.abort_handle() }
    }

    /// Writes a line to those FIFOs that get lines of this kind: to notify_fifo first.
    pub fn write(&self, of: Of, line: &str) {
        let own = match of {
            Of::Vrrp => Slot::Vrrp,
            Of::Lvs => Slot::Lvs,
        };
        let mut places = self.shared.places();
        for slot in [Slot::All, own] {
            match places.get_mut(&slot) {
                Some(Place::Open(one)) => one.fifo.write(line),
                Some(Place::Missing(one)) => one.lose(),
                None => {}
            }
        }
    }

    /// Makes the FIFOs those of a configuration. One that did not change stays open with what is in it;
    /// every reader is ended and started. What goes wrong is logged, and tried again from time to time.
    pub async fn update(&self, wanted: &config::Fifos) {
        let shared = &self.shared;
        let mut turn = shared.turn.lock().await;
        *turn = [(Slot::All, &wanted.all), (Slot::Vrrp, &wanted.vrrp), (Slot::Lvs, &wanted.lvs)]
            .into_iter()
            .filter_map(|(slot, fifo)| Some((slot, fifo.clone()?)))
            .collect();
        let readers = std::mem::take(&mut *shared.readers()).into_values().collect();
        Reader::end(readers, Order::End, READER_LIMIT).await;
        // Said anew.
        shared.hangs.store(false, Ordering::Relaxed);
        shared.places().retain(|_, place| matches!(place, Place::Open(_)));
        if shared.any.send_replace(!turn.is_empty()) || !turn.is_empty() {
            shared.settle(&turn, Occasion::Configuration).await;
        }
        let open =
            |(slot, _): &&(Slot, config::Fifo)| matches!(shared.places().get(slot), Some(Place::Open(_)));
        let open: Wanted = turn.iter().filter(open).cloned().collect();
        shared.start_readers(open);
    }

    /// Closes the FIFOs, so that readers come to an end by themselves; waits for it. Who still reads
    /// after `limit` is left to [`ScriptRoom::stop`].
    pub async fn close(&self, limit: Duration) {
        let shared = &self.shared;
        self.looks.abort();
        // A look may be under way until it meets its next wait.
        let _look = timeout(limit, shared.turn.lock()).await;
        for reader in shared.readers().values() {
            reader.order(Order::Last);
        }
        let places = std::mem::take(&mut *shared.places());
        if !places.is_empty() {
            shared.blocking("closed", move || drop(places)).await;
        }
        let readers = std::mem::take(&mut *shared.readers()).into_values().collect();
        Reader::end(readers, Order::Last, limit).await;
    }
}

/// Why FIFOs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Configuration,
    Look,
}

impl Shared {
    /// Opens again what something else took the place of, and what could not be opened before.
    async fn look(&self) {
        let turn = self.turn.lock().await;
        let opened = self.settle(&turn, Occasion::Look).await;
        let ended =
            |slot: &Slot| matches!(self.places().get(slot), Some(Place::Missing(_))) || opened.contains(slot);
        // What they read is not what is written to any more.
        let readers =
            self.readers().extract_if(|slot, _| ended(slot)).map(|(_, reader)| reader).collect::<Vec<_>>();
        Reader::end(readers, Order::End, READER_LIMIT).await;
        self.start_readers(turn.iter().filter(|(slot, _)| opened.contains(slot)).cloned().collect());
    }

    /// Opens what is wanted and not open, closes the rest. Gives those that were opened.
    async fn settle(&self, wanted: &Wanted, occasion: Occasion) -> Vec<Slot> {
        let before = self.open();
        let named = wanted.clone();
        let examined = self.blocking("examined", move || unchanged(before, &named)).await;
        let Some(kept) = examined else { return Vec::new() };
        let missing: Wanted = wanted.iter().filter(|(slot, _)| !kept.contains_key(slot)).cloned().collect();
        let closed = self.keep(&kept, &missing, occasion);
        drop(kept);
        if missing.is_empty() && closed.is_empty() {
            return Vec::new();
        }
        let work = move || {
            // First: one may have the path of another that is wanted now.
            drop(closed);
            missing.into_iter().map(|(slot, fifo)| (slot, open(&fifo))).collect::<Vec<_>>()
        };
        let results = self.blocking("opened", work).await.unwrap_or_default();
        let mut opened = Vec::new();
        for (slot, result) in results {
            let mut places = self.places();
            match (result, places.get_mut(&slot)) {
                (Ok(one), place) => {
                    if let Some(Place::Missing(Missing { lost, .. })) = place
                        && occasion == Occasion::Look
                    {
                        info!(fifo = %one.fifo.path().display(), lost, "notify FIFO: it is open again");
                    }
                    places.insert(slot, Place::Open(one));
                    opened.push(slot);
                }
                (Err(text), Some(Place::Missing(missing))) if missing.said != text => {
                    error!("no notify FIFO: {text}");
                    missing.said = text;
                }
                (Err(_), _) => {}
            }
        }
        opened
    }

    /// Leaves those that are kept and notes what is missing; gives those that are to be closed, which
    /// blocks.
    fn keep(&self, kept: &HashMap<Slot, Open>, missing: &Wanted, occasion: Occasion) -> Vec<Open> {
        let mut places = self.places();
        let gone =
            places.extract_if(|slot, place| matches!(place, Place::Open(_)) && !kept.contains_key(slot));
        let closed: Vec<Open> = gone
            .filter_map(|(_, place)| match place {
                Place::Open(one) => Some(one),
                Place::Missing(_) => None,
            })
            .collect();
        if occasion == Occasion::Look {
            for one in &closed {
                warn!(fifo = %one.fifo.path().display(), "notify FIFO: it was removed, or something took its place");
            }
        }
        for (slot, fifo) in missing {
            let nowhere = || Place::Missing(Missing { path: fifo.path.clone(), ..Missing::default() });
            places.entry(*slot).or_insert_with(nowhere);
        }
        closed
    }

    fn start_readers(&self, of: Wanted) {
        for (slot, config::Fifo { path, script, .. }) in of {
            if let Some(script) = script {
                self.readers().insert(slot, Reader::start(self.room.clone(), script, path));
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let thread = self.thread.clone();
        let done = timeout(OPEN_LIMIT, async move {
            let permit = thread.acquire_owned().await.ok()?;
            let work = move || {
                let done = work();
                drop(permit);
                done
            };
            tokio::task::spawn_blocking(work).await.ok()
        });
        if let Ok(done) = done.await {
            self.hangs.store(false, Ordering::Relaxed);
            return done;
        }
        if !self.hangs.swap(true, Ordering::Relaxed) {
            let limit = OPEN_LIMIT.as_secs();
            error!("the notify FIFOs could not be {what} within {limit} s: their file system hangs");
        }
        None
    }

    fn open(&self) -> HashMap<Slot, Open> {
        let places = self.places();
        let open = places.iter().filter_map(|(slot, place)| match place {
            Place::Open(one) => Some((*slot, one.clone())),
            Place::Missing(_) => None,
        });
        open.collect()
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Slot, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<Slot, Reader>> {
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
fn open(fifo: &config::Fifo) -> Result<Open, String> {
    let path = &fifo.path;
    let owner = match &fifo.user {
        Some(user) => Some(HostUsers.find(user).map_err(|none| {
            let remedy = match none {
                NoUser::Missing(_) => "create the user or group, or name another one",
                NoUser::Unknown(..) => "it is tried again",
            };
            format!("{path}: {none}; {remedy}")
        })?),
        // As scripts without a user.
        None if geteuid().is_root() => HostUsers.find(&ScriptUser::new(DEFAULT_USER, None)).ok(),
        None => None,
    };
    let owner = owner.map(|identity| (identity.uid, identity.gid));
    let opened = Fifo::open(Path::new(path), owner).map_err(|error| error.to_string())?;
    Ok(Open { fifo: Arc::new(opened), user: fifo.user.clone() })
}

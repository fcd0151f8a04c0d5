//! Connections of which nothing is wanted but that they can be made: many at once, cheaply.
//!
//! One epoll for all such sockets of a thread, itself watched by the runtime. A socket is entered once and leaves when it is
//! closed, an event without error or hang-up needs no look at the socket, and nothing is allocated for a connection: of the
//! system calls of a check only socket, connect, epoll_ctl and close remain. Not here: which connections (`connect`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

/// Events taken at a time.
const EVENTS: usize = 256;

/// Waits until a connection that was begun is made, or what the network answers instead; it is closed
/// before this returns.
///
/// # Errors
/// What epoll lacks (descriptors, memory).
pub(crate) async fn dial(socket: Socket) -> io::Result<Option<io::Error>> {
    // Dropped before the socket is closed, also where the caller gives up: an event after that finds
    // its entry gone.
    let entry = Dialer::here()?.enter(&socket)?;
    let event = poll_fn(|context| entry.poll(context)).await;
    if event.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) { socket.take_error() } else { Ok(None) }
}

thread_local! {
    /// Made at the first connection; anew when the runtime it belongs to has ended.
    static HERE: RefCell<Option<Dialer>> = const { RefCell::new(None) };
}

/// The epoll of a thread and the task that empties it.
#[derive(Clone)]
struct Dialer {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Dialer {
    fn here() -> io::Result<Self> {
        HERE.with_borrow_mut(|here| {
            if let Some(dialer) = here.as_ref().filter(|dialer| !dialer.task.is_finished()) {
                return Ok(dialer.clone());
            }
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let shared = Arc::new(Shared { epoll, entries: Mutex::default() });
            let readable = watched(Watched(shared.clone()))?;
            let task = tokio::spawn(empty(readable)).abort_handle();
            Ok(here.insert(Dialer { shared, task }).clone())
        })
    }

    fn enter(self, socket: &Socket) -> io::Result<Entry> {
        let place = self.shared.entries().take();
        let entry = Entry { shared: self.shared, place };
        let wanted = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        entry.shared.epoll.add(socket, EpollEvent::new(wanted, place.word()))?;
        Ok(entry)
    }
}

struct Shared {
    epoll: Epoll,
    entries: Mutex<Entries>,
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As the runtime watches it.
struct Watched(Arc<Shared>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.epoll.0.as_raw_fd()
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.epoll.0.as_fd()
    }
}

#[allow(unsafe_code, reason = "tokio has no safe way to watch a descriptor")]
fn watched(epoll: Watched) -> io::Result<AsyncFd<Watched>> {
    // SAFETY: the descriptor is owned by what `Watched` shares, and so open and the same while it is
    // registered.
    unsafe { AsyncFd::register_with_interest(epoll, Interest::READABLE) }.map_err(io::Error::from)
}

/// Wakes those whose sockets have an event, until the runtime ends.
async fn empty(epoll: AsyncFd<Watched>) {
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let mut woken = Vec::with_capacity(EVENTS);
    loop {
        let Ok(mut readable) = epoll.readable().await else { return };
        // Interrupted or not: what is left makes no edge of its own, so it is asked until there is none.
        let count = match epoll.get_ref().0.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => {
                tracing::error!(%error, "connections of checks cannot be waited for");
                return;
            }
        };
        if count < EVENTS {
            readable.clear_ready();
        }
        let mut entries = epoll.get_ref().0.entries();
        for event in events.iter().take(count) {
            woken.extend(entries.note(Place::of(event.data()), event.events()));
        }
        drop(entries);
        woken.drain(..).for_each(Waker::wake);
    }
}

/// A place among the entries. A place that is used again has another generation: an event that was
/// under way for its last user is not taken for the next one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    index: u32,
    generation: u32,
}

impl Place {
    fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn of(word: u64) -> Self {
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default();
        Place { index: half(word), generation: half(word >> 32) }
    }
}

#[derive(Default)]
struct Entries {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    waker: Option<Waker>,
    event: Option<EpollFlags>,
}

impl Entries {
    fn take(&mut self) -> Place {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // No process has so many descriptors.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self.at(index).map_or(0, |slot| slot.generation);
        Place { index, generation }
    }

    fn give(&mut self, place: Place) {
        if let Some(slot) = self.at(place.index) {
            *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
            self.free.push(place.index);
        }
    }

    fn note(&mut self, place: Place, event: EpollFlags) -> Option<Waker> {
        let slot = self.at(place.index).filter(|slot| slot.generation == place.generation)?;
        slot.event = Some(slot.event.unwrap_or(EpollFlags::empty()) | event);
        slot.waker.take()
    }

    fn at(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }
}

/// A socket that is waited for.
struct Entry {
    shared: Arc<Shared>,
    place: Place,
}

impl Entry {
    fn poll(&self, context: &Context<'_>) -> Poll<EpollFlags> {
        let mut entries = self.shared.entries();
        let Some(slot) = entries.at(self.place.index) else { return Poll::Pending };
        match slot.event {
            Some(event) => Poll::Ready(event),
            None => {
                if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    slot.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.entries().give(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use socket2::{Domain, Type};
    use tokio::time::timeout;

    use super::*;

    fn socket() -> Socket {
        Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap()
    }

    /// Begins a connection and waits for it.
    async fn dialled(target: SocketAddr) -> io::Result<()> {
        let socket = socket();
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        dial(socket).await?.map_or(Ok(()), Err)
    }

    /// An address at which connections wait to be taken; its queue has room for those of any test here.
    fn open() -> (Socket, SocketAddr) {
        let (bound, address) = closed();
        bound.listen(1024).unwrap();
        (bound, address)
    }

    /// An address at which nothing listens, and what keeps it so.
    fn closed() -> (Socket, SocketAddr) {
        let bound = socket();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = bound.local_addr().unwrap().as_socket().unwrap();
        (bound, address)
    }

    #[tokio::test]
    async fn open_and_closed_ports() {
        let (_listener, open) = open();
        let (_bound, closed) = closed();
        for _ in 0..3 {
            dialled(open).await.expect("connected");
            let refused = dialled(closed).await.expect_err("refused");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn more_at_once_than_events_are_taken() {
        let (_listener, open) = open();
        let (_bound, closed) = closed();
        let tasks: Vec<_> = (0..EVENTS * 2)
            .map(|number| {
                let target = if number % 2 == 0 { open } else { closed };
                tokio::spawn(async move { dialled(target).await.is_ok() == (number % 2 == 0) })
            })
            .collect();
        for task in tasks {
            assert!(timeout(Duration::from_secs(20), task).await.expect("in time").unwrap());
        }
    }

    #[tokio::test]
    async fn who_gives_up_leaves_its_place_to_the_next() {
        // Its queue is full: further connections are not answered.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let target = silent.local_addr().unwrap().as_socket().unwrap();
        let _first = std::net::TcpStream::connect(target).unwrap();
        let mut given_up = 0;
        for _ in 0..4 {
            given_up += usize::from(timeout(Duration::from_millis(50), dialled(target)).await.is_err());
        }
        assert!(given_up >= 2, "{given_up}");
        let (_listener, open) = open();
        dialled(open).await.expect("connected");
        let entries = Dialer::here().unwrap();
        let entries = entries.shared.entries();
        assert_eq!((entries.slots.len(), entries.free.len()), (1, 1));
    }

    #[test]
    fn a_runtime_after_another_on_the_same_thread() {
        let (_listener, open) = open();
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime
                .block_on(async { timeout(Duration::from_secs(20), dialled(open)).await })
                .expect("in time")
                .expect("connected");
        }
    }

    #[test]
    fn an_old_event_is_not_the_next_ones() {
        let mut entries = Entries::default();
        let first = entries.take();
        entries.give(first);
        let second = entries.take();
        assert_eq!(first.index, second.index);
        assert_eq!(Place::of(first.word()), first);
        entries.note(first, EpollFlags::EPOLLOUT);
        assert_eq!(entries.at(second.index).and_then(|slot| slot.event), None);
        entries.note(second, EpollFlags::EPOLLOUT);
        assert_eq!(entries.at(second.index).and_then(|slot| slot.event), Some(EpollFlags::EPOLLOUT));
    }
}

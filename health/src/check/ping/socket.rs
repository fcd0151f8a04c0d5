//! Raw ICMP sockets that all PING_CHECKs with the same bindings share.
//!
//! Here: which socket a check uses, who waits for which reply. Not here: the octets (`echo`), when a check
//! gives up (`ping`).
//!
//! One socket and one reading task for any number of checks: each raw socket is handed a copy of every
//! ICMP packet that the host receives, so a socket for each check would cost the square of their number.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use super::echo::{DATA, Echo, Family, Heard, filter, parse};
use crate::connect::{ConnectError, icmp, words};
use crate::types::Connection;

/// The sockets of PING_CHECKs; each is made when it is first needed and closed after a minute without
/// use. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Pings(Arc<Mutex<Registry>>);

type Registry = HashMap<Bindings, Weak<PingSocket>>;

/// What checks must have in common to share a socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bindings {
    family: Family,
    address: Option<IpAddr>,
    interface: Option<String>,
    mark: Option<NonZeroU32>,
}

/// How an echo ended; the error is the reason.
type Answer = Result<(), String>;

/// A raw socket and who waits for replies on it.
#[derive(Debug)]
pub struct PingSocket {
    /// A raw ICMP socket: of UDP sockets it has only what both have, datagrams with addresses.
    socket: UdpSocket,
    family: Family,
    id: u16,
    outstanding: Mutex<Outstanding>,
    forgotten: Notify,
}

/// Echoes under way: at most [`MAX_OUTSTANDING`].
#[derive(Debug, Default)]
struct Outstanding {
    last: u16,
    waiting: HashMap<u16, Sent>,
}

#[derive(Debug)]
struct Sent {
    target: IpAddr,
    nonce: [u8; 8],
    answer: oneshot::Sender<Answer>,
}

/// Most echoes under way on one socket: half of the sequence numbers, so that a free one is found soon.
pub const MAX_OUTSTANDING: usize = 32_768;

/// A socket without use is closed after this.
const IDLE: Duration = Duration::from_secs(60);
/// One that nobody finds any more after this: with thousands of checks that cannot send there would soon be
/// no descriptors left.
const FORGOTTEN: Duration = Duration::from_millis(20);

impl Pings {
    /// The socket for a check, and whether others may have used it before.
    ///
    /// # Errors
    /// [`ConnectError::Ours`]
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn socket(&self, connection: &Connection) -> Result<(Arc<PingSocket>, bool), ConnectError> {
        let bindings = Bindings::of(connection);
        let mut registry = locked(&self.0);
        if let Some(socket) = registry.get(&bindings).and_then(Weak::upgrade) {
            return Ok((socket, true));
        }
        let socket = Arc::new(PingSocket::open(connection)?);
        registry.retain(|_, socket| socket.strong_count() > 0);
        registry.insert(bindings, Arc::downgrade(&socket));
        tokio::spawn(listen(Arc::clone(&socket), Arc::clone(&self.0)));
        Ok((socket, false))
    }

    /// The next check does not use this socket any more; it is closed when those that do have ended.
    pub fn forget(&self, connection: &Connection, socket: &Arc<PingSocket>) {
        let bindings = Bindings::of(connection);
        let mut registry = locked(&self.0);
        if registry.get(&bindings).is_some_and(|known| known.as_ptr() == Arc::as_ptr(socket)) {
            registry.remove(&bindings);
        }
        socket.forgotten.notify_one();
    }
}

impl Bindings {
    fn of(connection: &Connection) -> Self {
        Bindings {
            family: Family::of(connection.target.ip()),
            address: connection.bind_address,
            interface: connection.bind_interface.clone(),
            mark: connection.fwmark,
        }
    }
}

/// Hands out what is received, until nobody has used the socket for a while.
async fn listen(socket: Arc<PingSocket>, registry: Arc<Mutex<Registry>>) {
    let mut buffer = [0; LARGEST];
    let mut idle = IDLE;
    loop {
        let received = tokio::select! {
            received = timeout(idle, socket.socket.recv_from(&mut buffer)) => received,
            () = socket.forgotten.notified() => {
                idle = FORGOTTEN;
                continue;
            }
        };
        match received {
            Ok(Ok((length, from))) => socket.heard(from.ip(), buffer.get(..length).unwrap_or_default()),
            // Of the interface, say; the checks find out when they send. No faster than this.
            Ok(Err(error)) => {
                tracing::debug!(error = %words(&error), "ICMP socket");
                sleep(Duration::from_millis(100)).await;
            }
            Err(_) => {
                // Under the lock nobody begins to use it.
                let _registry = locked(&registry);
                if Arc::strong_count(&socket) == 1 {
                    return;
                }
            }
        }
    }
}

/// An error message of IPv4: a header with options, its own 8 octets, a request with its header and
/// options. A longer one is cut, which takes nothing that is looked at.
const LARGEST: usize = 60 + 8 + 60 + 8 + DATA;

impl PingSocket {
    fn open(connection: &Connection) -> Result<Self, ConnectError> {
        let ours = |what: &'static str| {
            move |error: io::Error| ConnectError::Ours(format!("{what}: {}", words(&error)))
        };
        let family = Family::of(connection.target.ip());
        let [a, b, ..] = random();
        let id = u16::from_be_bytes([a, b]);
        let socket = icmp(connection)?;
        socket.attach_filter(&filter(family, id)).map_err(ours("cannot filter ICMP"))?;
        // Room for the replies of thousands of checks at once; where it is not granted, for some hundreds.
        let _granted = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
        let socket = UdpSocket::from_std(socket.into()).map_err(ours("cannot wait for ICMP"))?;
        Ok(PingSocket { socket, family, id, outstanding: Mutex::default(), forgotten: Notify::new() })
    }

    /// Enters an echo to `target` among those under way.
    ///
    /// # Errors
    /// [`ConnectError::Ours`] when there are [`MAX_OUTSTANDING`] of them.
    pub fn expect(self: &Arc<Self>, target: IpAddr) -> Result<Waiting, ConnectError> {
        let (sender, answer) = oneshot::channel();
        let mut outstanding = locked(&self.outstanding);
        if outstanding.waiting.len() >= MAX_OUTSTANDING {
            let message = format!("{MAX_OUTSTANDING} echo requests are under way already");
            return Err(ConnectError::Ours(message));
        }
        let mut sequence = outstanding.last.wrapping_add(1);
        while outstanding.waiting.contains_key(&sequence) {
            sequence = sequence.wrapping_add(1);
        }
        let nonce = random();
        outstanding.last = sequence;
        outstanding.waiting.insert(sequence, Sent { target, nonce, answer: sender });
        let echo = Echo { id: self.id, sequence, nonce };
        Ok(Waiting { socket: Arc::clone(self), echo, answer })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The kernel's: no route, no right.
    pub async fn send(&self, request: &[u8], target: SocketAddr) -> io::Result<()> {
        self.socket.send_to(request, target).await.map(|_| ())
    }

    /// How many echoes wait for a reply.
    pub fn under_way(&self) -> usize {
        locked(&self.outstanding).waiting.len()
    }

    /// Takes what was received and tells who waits for it.
    fn heard(&self, from: IpAddr, packet: &[u8]) {
        let Some(heard) = parse(self.family, packet) else { return };
        let (echo, target, answer) = match heard {
            Heard::Reply(echo) => (echo, from, Ok(())),
            Heard::Refused { echo, target, why } => (echo, target, Err(format!("{why} (ICMP from {from})"))),
        };
        let mut outstanding = locked(&self.outstanding);
        let ours = |sent: &&Sent| echo.id == self.id && sent.nonce == echo.nonce && sent.target == target;
        if outstanding.waiting.get(&echo.sequence).filter(ours).is_some()
            && let Some(sent) = outstanding.waiting.remove(&echo.sequence)
        {
            // Who waited may be gone.
            let _gone = sent.answer.send(answer);
        }
    }
}

const BUFFER: usize = 1024 * 1024;

/// An echo under way. Dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting {
    socket: Arc<PingSocket>,
    echo: Echo,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// The octets to send.
    pub fn request(&self) -> Vec<u8> {
        self.echo.request(self.socket.family)
    }

    /// The answer; `None` if nobody reads any more.
    pub async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut outstanding = locked(&self.socket.outstanding);
        // Once answered, the number may be another's.
        if outstanding.waiting.get(&self.echo.sequence).is_some_and(|sent| sent.nonce == self.echo.nonce) {
            outstanding.waiting.remove(&self.echo.sequence);
        }
    }
}

/// Octets that cannot be guessed from earlier ones: the hash of nothing under a random key.
fn random() -> [u8; 8] {
    RandomState::new().hash_one(()).to_le_bytes()
}

/// A panic of another holder leaves nothing half done here.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

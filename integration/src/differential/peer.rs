//! A router at the other end of a daemon's link. It says what it is told to, and is silent once it hears a better one, as any
//! Master is: one that goes on would be heard as often as chance wants.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::file;
use crate::forge::{Forged, GROUP, Sender};
use crate::netns::Netns;
use crate::vrrp::master::prefer_this_thread;

const IPPROTO_VRRP: i32 = 112;
/// Interval that it speaks of, in hundredths of a second.
const INTERVAL: u16 = 15;
/// What it keeps to: a late one must not look like its end.
const EVERY: Duration = Duration::from_millis(100);
/// How long it listens between two looks at the time.
const LISTENS: Duration = Duration::from_millis(10);

/// Packets that it looks at before it speaks: more wait only where somebody floods it.
const AT_ONCE: usize = 16;

/// A running peer, silent at first.
pub struct Peer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    spec: file::Peer,
    sender: Sender,
    /// What it says of itself, while it speaks.
    priority: Mutex<Option<u8>>,
    end: AtomicBool,
}

impl Peer {
    /// Opens its sockets in the namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when its address is none of the namespace.
    pub fn start(ns: &Netns, spec: &file::Peer) -> Result<Self> {
        let hears = ns.run(|| listener(spec.source))?.context("raw socket for VRRP")?;
        let shared = Arc::new(Shared {
            spec: spec.clone(),
            sender: Sender::new(ns, spec.source)?,
            priority: Mutex::new(None),
            end: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("peer".into()).spawn(move || own.live(&hears))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Speaks from now on; with priority 0 once, and is silent then.
    ///
    /// # Errors
    /// When the first advertisement cannot be sent.
    pub fn advertise(&self, priority: u8) -> Result<()> {
        let mut now = self.shared.priority();
        *now = (priority > 0).then_some(priority);
        self.shared.say(priority)
    }

    /// Says nothing more.
    pub fn silence(&self) {
        *self.shared.priority() = None;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn priority(&self) -> MutexGuard<'_, Option<u8>> {
        self.priority.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, priority: u8) -> Result<()> {
        let forged = Forged {
            priority,
            interval: INTERVAL,
            addresses: self.spec.addresses.clone(),
            ..Forged::new(3, self.spec.source, self.spec.vrid, Ipv4Addr::UNSPECIFIED)
        };
        self.sender.send(&forged.datagram())
    }

    fn live(&self, hears: &Socket) {
        prefer_this_thread();
        let mut said = Instant::now();
        while !self.end.load(Ordering::Relaxed) {
            let heard = (0..AT_ONCE).map_while(|_| self.hear(hears)).flatten().max();
            let mut now = self.priority();
            if let (Some(own), Some(heard)) = (*now, heard)
                && heard > own
            {
                *now = None;
            }
            if let Some(own) = *now
                && said.elapsed() >= EVERY
            {
                said = Instant::now();
                // Where the link is cut nothing can be sent.
                let _ = self.say(own);
            }
        }
    }

    /// The next packet, if one comes soon: the priority in it if it is another's of its virtual router.
    fn hear(&self, mut hears: &Socket) -> Option<Option<u8>> {
        let mut packet = [0; 256];
        let length = hears.read(&mut packet).ok()?;
        Some(packet.get(..length).and_then(|packet| self.rival(packet)))
    }

    fn rival(&self, packet: &[u8]) -> Option<u8> {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        // Its own come back to it.
        let other = *packet.get(12..16)? != self.spec.source.octets();
        (other && *packet.get(header + 1)? == self.spec.vrid).then_some(*packet.get(header + 2)?)
    }
}

fn listener(own: Ipv4Addr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_VRRP)))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(GROUP, 0)))?;
    socket.join_multicast_v4(&GROUP, &own)?;
    socket.set_read_timeout(Some(LISTENS))?;
    Ok(socket)
}

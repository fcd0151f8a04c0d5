//! A TCP port whose server can be told, from one connection to the next, what to do with them.
//!
//! Here: listening in a host's namespace, opening and closing. Not here: what is said on a connection (the other files of
//! this folder).

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};

use crate::netns::Netns;

/// Time without an octet after which a connection of a server is given up.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// What a server does with a connection, in a thread of the connection's own.
#[derive(Clone)]
pub struct Behaviour(Arc<dyn Fn(TcpStream) -> io::Result<()> + Send + Sync>);

impl Behaviour {
    /// From a function. An error ends the connection, as its return does.
    pub fn new(run: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(run))
    }

    /// Serves one connection.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn serve(&self, stream: TcpStream) -> io::Result<()> {
        (self.0)(stream)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Behaviour")
    }
}

/// A server on one port of one host. Dropping it closes the port; connections that are open go on until their ends close.
#[derive(Debug)]
pub struct Stream<'lab> {
    ns: &'lab Netns,
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    accepted: Arc<AtomicU64>,
    listening: Option<(TcpListener, JoinHandle<()>)>,
}

impl<'lab> Stream<'lab> {
    /// Opens `address` in the host's namespace.
    ///
    /// # Errors
    /// When the port is taken or the address is not there.
    pub fn start(ns: &'lab Netns, address: &str, behaviour: Behaviour) -> Result<Self> {
        let mut this = Self {
            ns,
            address: address.parse().with_context(|| format!("address {address}"))?,
            behaviour: Arc::new(Mutex::new(behaviour)),
            accepted: Arc::default(),
            listening: None,
        };
        this.open()?;
        Ok(this)
    }

    /// Opens the port again after [`close`](Self::close).
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn open(&mut self) -> Result<()> {
        if self.listening.is_some() {
            return Ok(());
        }
        let listener = self
            .ns
            .run(|| TcpListener::bind(self.address))?
            .with_context(|| format!("{} in {}", self.address, self.ns.name()))?;
        let accepting = listener.try_clone()?;
        let (behaviour, accepted) = (Arc::clone(&self.behaviour), Arc::clone(&self.accepted));
        let thread = std::thread::spawn(move || {
            for stream in accepting.incoming() {
                // shutdown() of close() ends accept with an error.
                let Ok(stream) = stream else { break };
                accepted.fetch_add(1, Ordering::Relaxed);
                let behaviour = behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(IDLE_LIMIT));
                    let _ = stream.set_write_timeout(Some(IDLE_LIMIT));
                    let _ = stream.set_nodelay(true);
                    let _ = behaviour.serve(stream);
                });
            }
        });
        self.listening = Some((listener, thread));
        Ok(())
    }

    /// Closes the port: new connections are refused at once. Open ones go on.
    pub fn close(&mut self) {
        if let Some((listener, thread)) = self.listening.take() {
            let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
            let _ = thread.join();
        }
    }

    /// Changes what connections get, from the next one on.
    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

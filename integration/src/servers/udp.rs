//! A UDP port whose server can be told what to answer, or whether to listen at all.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Netns;

/// Time between two looks whether the port is to be closed.
const LOOK: Duration = Duration::from_millis(50);

/// From a question to the datagrams that answer it.
type Function = dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// What is answered to a datagram: any number of them.
#[derive(Clone)]
pub struct Answer(Arc<Function>);

impl Answer {
    /// From a function of the question.
    pub fn new(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The same octets to every question.
    pub fn always(octets: impl Into<Vec<u8>>) -> Self {
        let octets = octets.into();
        Self::new(move |_| vec![octets.clone()])
    }

    /// Takes what comes and says nothing.
    pub fn silence() -> Self {
        Self::new(|_| Vec::new())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// A server on one UDP port of one host. Dropping it closes the port.
#[derive(Debug)]
pub struct Datagrams<'lab> {
    ns: &'lab Netns,
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl<'lab> Datagrams<'lab> {
    /// Opens `address` in the host's namespace.
    ///
    /// # Errors
    /// When the port is taken or the address is not there.
    pub fn start(ns: &'lab Netns, address: &str, answer: Answer) -> Result<Self> {
        let address = address.parse().with_context(|| format!("address {address}"))?;
        let mut this = Self { ns, address, answer: Arc::new(Mutex::new(answer)), listening: None };
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
        let socket = self
            .ns
            .run(|| UdpSocket::bind(self.address))?
            .with_context(|| format!("{} in {}", self.address, self.ns.name()))?;
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, answer) = (Arc::clone(&stop), Arc::clone(&self.answer));
        let thread = std::thread::spawn(move || serve(&socket, &flag, &answer));
        self.listening = Some((stop, thread));
        Ok(())
    }

    /// Closes the port: what is sent to it is answered by ICMP "port unreachable".
    pub fn close(&mut self) {
        if let Some((stop, thread)) = self.listening.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }

    /// Changes what is answered, from the next question on.
    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl Drop for Datagrams<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(socket: &UdpSocket, stop: &AtomicBool, answer: &Mutex<Answer>) {
    let mut buffer = [0; 65536];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for datagram in (answer.0)(&buffer[..length]) {
                    let _ = socket.send_to(&datagram, from);
                }
            }
            // Also the ICMP error that a client's closed port sends back.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) => {}
            Err(_) => return,
        }
    }
}

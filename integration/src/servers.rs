//! Real servers: threads of this process whose sockets are in a host's namespace, and which can be made to fail.
//!
//! One port speaks two protocols. `GET …` is answered with one response whose body is the server's name; `ECHO\n` opens an
//! echo that names the server and then gives back each line until the client closes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{Shutdown, shutdown};
use socket2::SockRef;

use crate::netns::Netns;
use crate::wait;

/// What a server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 200 and its name.
    Serve,
    /// This status and its name.
    Status(u16),
    /// Reads the request and never answers.
    Hang,
    /// Answers each connection with a reset.
    Reset,
}

/// A server on one port of one host. Dropping it closes the port; connections that are open go on until their ends close.
#[derive(Debug)]
pub struct Server<'lab> {
    ns: &'lab Netns,
    name: String,
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    listening: Option<(TcpListener, JoinHandle<()>)>,
}

impl<'lab> Server<'lab> {
    /// Opens `address` in the host's namespace.
    ///
    /// # Errors
    /// When the port is taken or the address is not there.
    pub fn start(ns: &'lab Netns, name: &str, address: &str) -> Result<Self> {
        let address = address.parse().with_context(|| format!("address of {name}: {address}"))?;
        let mode = Arc::new(Mutex::new(Mode::Serve));
        let mut this = Self { ns, name: name.to_owned(), address, mode, listening: None };
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
            .with_context(|| format!("{} on {}", self.name, self.address))?;
        let accepting = listener.try_clone()?;
        let (name, mode) = (self.name.clone(), Arc::clone(&self.mode));
        let thread = std::thread::spawn(move || {
            for stream in accepting.incoming() {
                // shutdown() of close() ends accept with an error.
                let Ok(stream) = stream else { break };
                let (name, mode) = (name.clone(), Arc::clone(&mode));
                std::thread::spawn(move || drop(serve(stream, &name, &mode)));
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

    /// Changes what requests get, from the next one on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(mut stream: TcpStream, name: &str, mode: &Mutex<Mode>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_nodelay(true)?;
    let current = || *mode.lock().unwrap_or_else(PoisonError::into_inner);
    if current() == Mode::Reset {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        return Ok(());
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line == "ECHO\n" {
        writeln!(stream, "{name}")?;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            stream.write_all(line.as_bytes())?;
        }
    }
    while reader.read_line(&mut line)? > 2 {}
    let status = match current() {
        Mode::Serve | Mode::Reset => 200,
        Mode::Status(status) => status,
        Mode::Hang => {
            wait::pause(Duration::from_secs(120));
            return Ok(());
        }
    };
    let length = name.len();
    write!(
        stream,
        "HTTP/1.1 {status} Bed\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}"
    )?;
    Ok(())
}

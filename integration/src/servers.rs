//! Real servers: threads of this process whose sockets are in a host's namespace, and which can be made to fail.
//!
//! One port speaks two protocols. `GET …` is answered with one response whose body is the server's name; `ECHO\n` opens an
//! echo that names the server and then gives back each line until the client closes.
//!
//! The files of this folder have servers of the other protocols, good ones and bad ones.

pub mod dns;
pub mod grpc;
pub mod hostile;
pub mod mail;
pub mod stream;
pub mod talk;
pub mod tls;
pub mod udp;

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

use crate::netns::Netns;
use crate::wait;
use stream::{Behaviour, Stream};

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
    stream: Stream<'lab>,
    mode: Arc<Mutex<Mode>>,
}

impl<'lab> Server<'lab> {
    /// Opens `address` in the host's namespace.
    ///
    /// # Errors
    /// When the port is taken or the address is not there.
    pub fn start(ns: &'lab Netns, name: &str, address: &str) -> Result<Self> {
        let mode = Arc::new(Mutex::new(Mode::Serve));
        let (shared, named) = (Arc::clone(&mode), name.to_owned());
        let behaviour = Behaviour::new(move |stream| serve(stream, &named, &shared));
        let stream = Stream::start(ns, address, behaviour).with_context(|| format!("server {name}"))?;
        Ok(Self { stream, mode })
    }

    /// Opens the port again after [`close`](Self::close).
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn open(&mut self) -> Result<()> {
        self.stream.open()
    }

    /// Closes the port: new connections are refused at once. Open ones go on.
    pub fn close(&mut self) {
        self.stream.close();
    }

    /// Changes what requests get, from the next one on.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }
}

fn serve(mut stream: TcpStream, name: &str, mode: &Mutex<Mode>) -> io::Result<()> {
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

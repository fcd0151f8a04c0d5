//! Servers that checks ask, in the protocols of the checkers, with answers that the steps decide.
//!
//! Not here: real servers that clients get answers from (`crate::servers`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{Shutdown, shutdown};

use super::file::{self, Kind};
use crate::netns::Netns;

/// How long a connection that is not answered is held.
const MUTE: Duration = Duration::from_secs(60);
/// Between two looks of a datagram server for its end.
const LOOK: Duration = Duration::from_millis(50);

/// What a server answers.
#[derive(Clone, Debug)]
struct Answers {
    mute: bool,
    /// By path; the empty one is for all others.
    status: BTreeMap<String, u16>,
    body: BTreeMap<String, String>,
}

impl Answers {
    fn of<'m, T>(map: &'m BTreeMap<String, T>, path: &str) -> Option<&'m T> {
        map.get(path).or_else(|| map.get(""))
    }

    fn status(&self, path: &str, otherwise: u16) -> u16 {
        Self::of(&self.status, path).copied().unwrap_or(otherwise)
    }

    fn body(&self, path: &str) -> &str {
        Self::of(&self.body, path).map_or("", String::as_str)
    }
}

/// A server; dropping it closes its port.
#[derive(Debug)]
pub struct Server<'w> {
    ns: &'w Netns,
    kind: Kind,
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    running: Option<Running>,
}

#[derive(Debug)]
enum Running {
    Tcp(TcpListener, JoinHandle<()>),
    Udp(Arc<AtomicBool>, JoinHandle<()>),
    Host,
}

impl<'w> Server<'w> {
    /// A server as the file has it, in the servers' namespace.
    ///
    /// # Errors
    /// When its port cannot be opened.
    pub fn new(ns: &'w Netns, spec: &file::Server) -> Result<Self> {
        let answers = Answers {
            mute: false,
            status: BTreeMap::new(),
            body: BTreeMap::from([(String::new(), spec.name.clone())]),
        };
        let mut this = Self {
            ns,
            kind: spec.kind,
            address: spec.address,
            answers: Arc::new(Mutex::new(answers)),
            running: None,
        };
        if spec.up {
            this.up()?;
        }
        Ok(this)
    }

    /// Opens its port, or adds its address.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn up(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("{} is up already", self.address);
        }
        let answers = Arc::clone(&self.answers);
        let running = match self.kind {
            Kind::Host => {
                self.ns.ip(&route("add", self.address))?;
                Running::Host
            }
            Kind::Dns | Kind::Udp => {
                let socket = self
                    .ns
                    .run(|| UdpSocket::bind(self.address))?
                    .with_context(|| format!("{}", self.address))?;
                socket.set_read_timeout(Some(LOOK))?;
                let (stop, kind) = (Arc::new(AtomicBool::new(false)), self.kind);
                let flag = Arc::clone(&stop);
                Running::Udp(stop, std::thread::spawn(move || datagrams(&socket, kind, &answers, &flag)))
            }
            Kind::Tcp | Kind::Http | Kind::Smtp => {
                let listener = self
                    .ns
                    .run(|| TcpListener::bind(self.address))?
                    .with_context(|| format!("{}", self.address))?;
                let (accepting, kind) = (listener.try_clone()?, self.kind);
                let thread = std::thread::spawn(move || {
                    for stream in accepting.incoming() {
                        // shutdown() of down() ends accept with an error.
                        let Ok(stream) = stream else { break };
                        let answers = Arc::clone(&answers);
                        // A checker that hangs up in the middle is no failure of the server.
                        std::thread::spawn(move || drop(connection(stream, kind, &answers)));
                    }
                });
                Running::Tcp(listener, thread)
            }
        };
        self.running = Some(running);
        Ok(())
    }

    /// Closes its port, or removes its address.
    ///
    /// # Errors
    /// When it is down already, or the address cannot be removed.
    pub fn down(&mut self) -> Result<()> {
        match self.running.take() {
            None => bail!("{} is down already", self.address),
            Some(Running::Host) => self.ns.ip(&route("del", self.address)),
            Some(Running::Tcp(listener, thread)) => {
                let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
                let _ = thread.join();
                Ok(())
            }
            Some(Running::Udp(stop, thread)) => {
                stop.store(true, Ordering::Relaxed);
                let _ = thread.join();
                Ok(())
            }
        }
    }

    /// Sets the status for a path, or for all and forgets those for paths.
    pub fn status(&self, status: u16, path: Option<&str>) {
        self.change(|answers| set(&mut answers.status, path, status));
    }

    /// Sets the body for a path, or for all and forgets those for paths.
    pub fn body(&self, body: &str, path: Option<&str>) {
        self.change(|answers| set(&mut answers.body, path, body.to_owned()));
    }

    /// Whether it takes what comes and answers nothing.
    pub fn mute(&self, mute: bool) {
        self.change(|answers| answers.mute = mute);
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if self.running.is_some() {
            let _ = self.down();
        }
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, path: Option<&str>, value: T) {
    match path {
        Some(path) => drop(map.insert(path.to_owned(), value)),
        None => *map = BTreeMap::from([(String::new(), value)]),
    }
}

/// The address of a host, as if it were one of this machine's.
fn route(verb: &str, address: SocketAddr) -> String {
    format!("route {verb} local {} dev lo", address.ip())
}

fn now(answers: &Mutex<Answers>) -> Answers {
    answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn connection(mut stream: TcpStream, kind: Kind, answers: &Mutex<Answers>) -> Result<()> {
    stream.set_read_timeout(Some(MUTE))?;
    stream.set_nodelay(true)?;
    let answers = now(answers);
    if answers.mute {
        // Until the checker gives up.
        let _ = stream.read(&mut [0; 4096])?;
        while stream.read(&mut [0; 4096])? > 0 {}
        return Ok(());
    }
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    match kind {
        Kind::Http => {
            reader.read_line(&mut line)?;
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            while reader.read_line(&mut line)? > 2 {}
            let (status, body) = (answers.status(&path, 200), answers.body(&path));
            write!(
                stream,
                "HTTP/1.1 {status} Bed\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
        }
        Kind::Smtp => {
            write!(stream, "{} bed\r\n", answers.status("", 220))?;
            while reader.read_line(&mut line)? > 0 {
                let code = if line.starts_with("QUIT") {
                    221
                } else {
                    answers.status.get("HELO").copied().unwrap_or(250)
                };
                write!(stream, "{code} bed\r\n")?;
                if code == 221 {
                    break;
                }
                line.clear();
            }
        }
        Kind::Tcp | Kind::Dns | Kind::Udp | Kind::Host => {}
    }
    Ok(())
}

fn datagrams(socket: &UdpSocket, kind: Kind, answers: &Mutex<Answers>, stop: &AtomicBool) {
    let mut packet = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        // A time without a question, or a refusal of an answer by its asker's host.
        let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
        let answers = now(answers);
        if answers.mute {
            continue;
        }
        let answer = match kind {
            Kind::Dns => dns(packet.get(..length).unwrap_or_default(), answers.status("", 0)),
            _ => Some(answers.body("").as_bytes().to_vec()),
        };
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The question, marked as a response with this response code and without answers (RFC 1035 §4.1.1).
fn dns(query: &[u8], rcode: u16) -> Option<Vec<u8>> {
    let mut answer = query.to_vec();
    *answer.get_mut(2)? |= 0x80;
    *answer.get_mut(3)? = 0x80 | u8::try_from(rcode & 0xf).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_own_answer_until_all_have_one() {
        let mut answers = Answers { mute: false, status: BTreeMap::new(), body: BTreeMap::new() };
        set(&mut answers.status, Some("/x"), 503);
        assert_eq!((answers.status("/x", 200), answers.status("/", 200)), (503, 200));
        set(&mut answers.status, None, 404);
        assert_eq!((answers.status("/x", 200), answers.status("/", 200)), (404, 404));
    }

    #[test]
    fn a_dns_answer_is_the_question_with_a_code() {
        let query = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        let answer = dns(&query, 3).expect("an answer");
        assert_eq!((answer[..4].to_vec(), answer.len()), (vec![0x12, 0x34, 0x81, 0x83], query.len()));
        assert_eq!(dns(&[1, 2], 0), None);
    }
}

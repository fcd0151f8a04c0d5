//! The client's view: who answers, how long nobody does, whether a connection that is open goes on.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Socket, Type};

use crate::netns::Netns;
use crate::wait;

/// Time a request of [`distribution`] may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Time between two connections of a [`Probe`].
pub const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// Time an attempt of a [`Probe`] may take.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(150);

/// Ports of the client's connections: below those that the kernel gives, a power of two of them.
const FIRST_PORT: u16 = 16384;
const PORTS: u16 = 16384;

/// One request on a connection of its own; the body (the server's name) when the status is 200, `status N` otherwise.
///
/// # Errors
/// When the connection fails or the answer does not come within `limit`.
pub fn get(address: SocketAddr, limit: Duration) -> std::io::Result<String> {
    let deadline = Instant::now() + limit;
    let mut stream = connect(address, limit)?;
    let left = |at: Instant| deadline.saturating_duration_since(at).max(Duration::from_millis(1));
    stream.set_write_timeout(Some(left(Instant::now())))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bed\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left(Instant::now())))?;
        match stream.read(&mut buffer)? {
            0 => break,
            got => answer.extend_from_slice(&buffer[..got]),
        }
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        status => Ok(format!("status {}", status.unwrap_or("?"))),
    }
}

/// Connects from a port that no earlier connection of this process had.
///
/// The kernel draws its own anew every ten seconds and may come upon one that a director still remembers: IPVS then sends
/// the connection where the old one went, past the scheduler, or nowhere when that server is gone.
fn connect(address: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let any = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    let mut result = Err(ErrorKind::AddrInUse.into());
    for _ in 0..PORTS {
        let port = FIRST_PORT + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        result = socket.bind(&SocketAddr::new(any, port).into());
        if !result.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            break;
        }
    }
    result?;
    socket.connect_timeout(&address.into(), limit)?;
    Ok(socket.into())
}

/// Sends `count` requests one after the other and counts who answered. Failures are counted as `error: …`.
///
/// # Errors
/// When the namespace cannot be entered or `address` is not one.
pub fn distribution(ns: &Netns, address: &str, count: u32) -> Result<BTreeMap<String, u32>> {
    let address: SocketAddr = address.parse()?;
    ns.run(|| {
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let who = get(address, REQUEST_LIMIT).unwrap_or_else(|error| format!("error: {error}"));
            *answers.entry(who).or_insert(0) += 1;
        }
        answers
    })
}

/// Demands that `count` requests are answered exactly as `want` says.
///
/// # Errors
/// With the distribution when it differs.
pub fn expect_split(ns: &Netns, address: &str, count: u32, want: &[(&str, u32)]) -> Result<()> {
    let got = distribution(ns, address, count)?;
    let want: BTreeMap<String, u32> = want.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    if got != want {
        bail!("{count} requests to {address}: answered by {got:?}, want {want:?}");
    }
    Ok(())
}

/// What a [`Probe`] saw.
#[derive(Clone, Debug, Default)]
pub struct Outage {
    /// Longest time between two answers (or from the last answer to the end).
    pub longest: Duration,
    /// Answers by server.
    pub answers: BTreeMap<String, u32>,
    /// Attempts without an answer, by error.
    pub failures: BTreeMap<String, u32>,
    /// When the longest time without an answer ended.
    pub answered_again: Option<Instant>,
}

/// A client that opens a new connection every [`PROBE_INTERVAL`].
#[derive(Debug)]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Outage>>,
}

impl Probe {
    /// Starts to send.
    ///
    /// # Errors
    /// When `address` is not one.
    pub fn start(ns: &Netns, address: &str) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = ns.thread(move || {
            let mut outage = Outage::default();
            let mut last = Instant::now();
            while !flag.load(Ordering::Relaxed) {
                let start = Instant::now();
                match get(address, PROBE_TIMEOUT) {
                    Ok(who) => {
                        let now = Instant::now();
                        if now - last > outage.longest {
                            (outage.longest, outage.answered_again) = (now - last, Some(now));
                        }
                        last = now;
                        *outage.answers.entry(who).or_insert(0) += 1;
                    }
                    Err(error) => *outage.failures.entry(error.kind().to_string()).or_insert(0) += 1,
                }
                wait::pause(PROBE_INTERVAL.saturating_sub(start.elapsed()));
            }
            outage.longest = outage.longest.max(last.elapsed());
            outage
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the client and gives what it saw.
    ///
    /// # Errors
    /// When the thread failed.
    pub fn finish(self) -> Result<Outage> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("probe panicked"))?
    }
}

/// A connection that is held open and used every [`PROBE_INTERVAL`].
#[derive(Debug)]
pub struct Held {
    /// The server at the other end.
    pub server: String,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Duration>>,
}

impl Held {
    /// Opens the connection.
    ///
    /// # Errors
    /// When nobody answers within 2 s.
    pub fn open(ns: &Netns, address: &str) -> Result<Self> {
        Self::patient(ns, address, Duration::from_secs(3))
    }

    /// [`open`](Self::open), with the time that an echo may take.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn patient(ns: &Netns, address: &str, echo: Duration) -> Result<Self> {
        let address: SocketAddr = address.parse()?;
        let mut stream = ns.run(|| connect(address, REQUEST_LIMIT))?.context("held connection")?;
        stream.set_read_timeout(Some(echo))?;
        stream.set_nodelay(true)?;
        stream.write_all(b"ECHO\n")?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut server = String::new();
        reader.read_line(&mut server).context("held connection: greeting")?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || -> Result<Duration> {
            let mut slowest = Duration::ZERO;
            let mut answer = String::new();
            for number in 0_u64.. {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                let start = Instant::now();
                writeln!(stream, "{number}")
                    .with_context(|| format!("held connection broke at line {number}"))?;
                answer.clear();
                reader
                    .read_line(&mut answer)
                    .with_context(|| format!("held connection broke at line {number}"))?;
                if answer.trim() != number.to_string() {
                    bail!("held connection: line {number} came back as {answer:?}");
                }
                slowest = slowest.max(start.elapsed());
                wait::pause(PROBE_INTERVAL);
            }
            Ok(slowest)
        });
        Ok(Self { server: server.trim().to_owned(), stop, thread })
    }

    /// Ends the connection; the slowest echo, if none was lost.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn finish(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("held connection panicked"))?
    }
}

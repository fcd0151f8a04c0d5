//! One process that is every real server: it takes each connection, answers, and counts.
//!
//! Which real server was meant is the connection's own address; when it came is the time of its acceptance. A check's
//! lateness is the time since the one before, without the time between two checks that was asked.
//!
//! With TCP_CHECK it closes at once. keepalived lets close() wait until its end was acknowledged (SO_LINGER), which a real
//! server that closes later may delay by milliseconds, for all its checks: it would not be compared at its best. With HTTP_GET
//! a connection is taken when the request is there (TCP_DEFER_ACCEPT): no slow daemon holds the others up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use super::Kind;
use crate::netns::Netns;
use crate::process::pid_of;

/// First argument of the program that makes it the responder.
pub const WORD: &str = "--responder";
/// The real servers' net.
pub const NETWORK: &str = "10.8.0.0/13";
/// Their port.
pub const PORT: u16 = 8000;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const BACKLOG: i32 = 65_535;
/// How long the kernel keeps a connection without a request to itself, in seconds.
static DEFER: i32 = 5;
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

/// The address of the real server with this number.
pub fn address(server: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST.to_bits() + u32::try_from(server).unwrap_or(u32::MAX - FIRST.to_bits()))
}

fn number(address: Ipv4Addr) -> Option<usize> {
    usize::try_from(address.to_bits().checked_sub(FIRST.to_bits())?).ok()
}

/// What was seen since counting began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Real servers that were checked, ever.
    pub servers: usize,
    /// Checks.
    pub done: u64,
    /// Median lateness.
    pub p50: Duration,
    /// Lateness that 99 % of the checks do not exceed.
    pub p99: Duration,
    /// Lateness of the check that was latest.
    pub most: Duration,
}

/// A running responder.
#[derive(Debug)]
pub struct Responder {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Responder {
    /// Starts it in the namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(ns: &Netns, kind: Kind, servers: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([WORD, kind.keyword(), &servers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = ns.run(|| command.spawn())?.context("starting the responder")?;
        let (Some(tell), Some(hear)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the responder has no pipes");
        };
        let mut this = Self { child, tell, hear: BufReader::new(hear) };
        this.seen().context("the responder")?;
        Ok(this)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Begins to count anew, for checks that are asked for once a period.
    ///
    /// # Errors
    /// When it has ended.
    pub fn count(&mut self, period: Duration) -> Result<()> {
        writeln!(self.tell, "{}", period.as_micros())?;
        self.seen().map(drop)
    }

    /// What was seen so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn seen(&mut self) -> Result<Seen> {
        writeln!(self.tell)?;
        let mut line = String::new();
        self.hear.read_line(&mut line)?;
        Seen::parse(&line).with_context(|| format!("the responder said {line:?}"))
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seen {
    fn line(&self) -> String {
        let [p50, p99, most] = [self.p50, self.p99, self.most].map(|late| late.as_micros());
        format!("{} {} {p50} {p99} {most}", self.servers, self.done)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        let mut next = || words.next().flatten();
        Some(Self {
            servers: usize::try_from(next()?).ok()?,
            done: next()?,
            p50: Duration::from_micros(next()?),
            p99: Duration::from_micros(next()?),
            most: Duration::from_micros(next()?),
        })
    }
}

/// Width of a class of lateness, in microseconds.
const CLASS: u64 = 100;
/// Classes; what is later than all counts in the last.
const CLASSES: usize = 20_000;

/// The account of all checks.
struct Account {
    /// Time of each real server's last check, in microseconds since the start; 0: none yet.
    last: Vec<u64>,
    servers: usize,
    period: u64,
    done: u64,
    late: Vec<u32>,
    most: u64,
}

impl Account {
    fn new(servers: usize) -> Self {
        Self { last: vec![0; servers], servers: 0, period: 0, done: 0, late: vec![0; CLASSES], most: 0 }
    }

    fn count(&mut self, period: u64) {
        self.period = period;
        self.done = 0;
        self.late.fill(0);
        self.most = 0;
    }

    /// A check of this real server at `now`, microseconds since the start.
    fn check(&mut self, server: usize, now: u64) {
        let Some(last) = self.last.get_mut(server) else { return };
        let before = std::mem::replace(last, now.max(1));
        self.done += 1;
        if before == 0 {
            self.servers += 1;
            return;
        }
        let late = now.saturating_sub(before).saturating_sub(self.period);
        self.most = self.most.max(late);
        let class = usize::try_from(late / CLASS).unwrap_or(usize::MAX).min(CLASSES - 1);
        if let Some(count) = self.late.get_mut(class) {
            *count += 1;
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            servers: self.servers,
            done: self.done,
            p50: self.percentile(50),
            p99: self.percentile(99),
            most: Duration::from_micros(self.most),
        }
    }

    fn percentile(&self, percent: u64) -> Duration {
        let all: u64 = self.late.iter().map(|count| u64::from(*count)).sum();
        let mut sum = 0;
        for (class, count) in (1..).zip(&self.late) {
            sum += u64::from(*count);
            if sum * 100 >= all * percent {
                return if all == 0 { Duration::ZERO } else { Duration::from_micros(class * CLASS) };
            }
        }
        Duration::ZERO
    }
}

/// The responder's own process: `--responder KEYWORD SERVERS`. On its input a line with a period in microseconds begins
/// to count, an empty one asks; the end of the input ends it.
///
/// # Errors
/// When an argument is wrong or the port cannot be opened.
pub(super) fn main(words: &[String]) -> Result<()> {
    let [kind, servers] = words else { bail!("{WORD} KEYWORD SERVERS") };
    let kind = [Kind::Tcp, Kind::Http].into_iter().find(|one| one.keyword() == kind).context("keyword")?;
    let account = Arc::new(Mutex::new(Account::new(servers.parse()?)));
    let listener = listen(kind)?;
    let counted = account.clone();
    let thread = std::thread::spawn(move || take(kind, &listener, &counted));
    for line in std::io::stdin().lines() {
        let line = line?;
        ensure!(!thread.is_finished(), "the port has failed");
        if line.is_empty() {
            println!("{}", locked(&account).seen().line());
        } else {
            locked(&account).count(line.parse()?);
        }
    }
    Ok(())
}

fn locked(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(kind: Kind) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if kind == Kind::Http {
        defer_accept(&socket)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A connection is taken when its request is there.
#[allow(unsafe_code, reason = "neither nix nor socket2 has this option")]
fn defer_accept(socket: &Socket) -> std::io::Result<()> {
    use nix::libc;
    // SAFETY: the descriptor is open while `socket` is borrowed; the option takes an int, which DEFER is, and its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            std::ptr::from_ref(&DEFER).cast(),
            size_of_val(&DEFER) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn take(kind: Kind, listener: &TcpListener, account: &Mutex<Account>) {
    let began = Instant::now();
    while let Ok((mut stream, _)) = listener.accept() {
        let now = Instant::now();
        if let Ok(SocketAddr::V4(address)) = stream.local_addr()
            && let Some(server) = number(*address.ip())
        {
            locked(account).check(server, u64::try_from((now - began).as_micros()).unwrap_or(u64::MAX));
        }
        match kind {
            Kind::Tcp => {}
            Kind::Http => {
                let mut request = [0; 2048];
                let _read = stream.read(&mut request);
                let _written = stream.write_all(ANSWER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers() {
        assert_eq!(address(0), Ipv4Addr::new(10, 8, 0, 1));
        assert_eq!(address(49_999), Ipv4Addr::new(10, 8, 195, 80));
        assert_eq!(number(address(49_999)), Some(49_999));
        assert_eq!(number(Ipv4Addr::new(1, 1, 1, 1)), None);
    }

    #[test]
    fn lateness_is_what_exceeds_the_period() {
        let mut account = Account::new(2);
        account.check(0, 1_000);
        account.check(1, 1_500);
        assert_eq!(account.seen().servers, 2);
        account.count(1_000_000);
        let none = Duration::ZERO;
        assert_eq!(account.seen(), Seen { servers: 2, done: 0, p50: none, p99: none, most: none });
        // 99 in time, the 100th 250 ms late.
        for round in 1..100 {
            account.check(0, 1_000 + round * 1_000_000);
        }
        account.check(0, 1_000 + 100 * 1_000_000 + 250_000);
        let seen = account.seen();
        assert_eq!(
            (seen.done, seen.p50, seen.p99, seen.most),
            (100, Duration::from_micros(100), Duration::from_micros(100), Duration::from_millis(250))
        );
        account.check(1, 1_500 + 5_000_000);
        assert_eq!(account.seen().p99, Duration::from_micros(250_100));
        account.check(7, 1);
        assert_eq!(account.seen().done, 101, "no such real server");
        let line = account.seen().line();
        assert_eq!(Seen::parse(&line), Some(account.seen()));
    }
}

//! Adverts made by hand, right ones and wrong ones, from whatever source; as many as one thread can send.
//!
//! Here: IPv4 datagrams and the thread that sends them. Not here: what they are good for.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::wait;

/// Where adverts go by default.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IPPROTO_RAW: the header is the sender's.
const RAW: i32 = 255;
/// Datagrams a system call.
const BATCH: usize = 64;

/// An advert as somebody on the link might make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forged {
    /// Version, 2 or 3.
    pub version: u8,
    /// Source.
    pub source: Ipv4Addr,
    /// Destination: the group, or a peer.
    pub destination: Ipv4Addr,
    /// TTL.
    pub ttl: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Version 2: whole seconds; version 3: hundredths.
    pub interval: u16,
    /// Addresses it lists.
    pub addresses: Vec<Ipv4Addr>,
    /// Version 2: type of the authentication and its octets.
    pub authentication: (u8, [u8; 8]),
    /// What is added to the right checksum: 0 leaves it right.
    pub error: u16,
    /// What stands behind the message.
    pub trailer: Vec<u8>,
}

impl Forged {
    /// A right one of priority 255 and, in version 3, an interval of 100 ms.
    pub fn new(version: u8, source: Ipv4Addr, vrid: u8, address: Ipv4Addr) -> Self {
        Self {
            version,
            source,
            destination: GROUP,
            ttl: 255,
            vrid,
            priority: 255,
            interval: if version == 2 { 1 } else { 10 },
            addresses: vec![address],
            authentication: (0, [0; 8]),
            error: 0,
            trailer: Vec::new(),
        }
    }

    /// The IPv4 datagram. The kernel fills the header's checksum.
    pub fn datagram(&self) -> Vec<u8> {
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut message = vec![self.version << 4 | 1, self.vrid, self.priority, count];
        let [high, low] = self.interval.to_be_bytes();
        message.extend(if self.version == 2 { [self.authentication.0, low] } else { [high & 0x0f, low] });
        message.extend([0, 0]);
        message.extend(self.addresses.iter().flat_map(Ipv4Addr::octets));
        let mut summed = Vec::new();
        if self.version == 2 {
            message.extend(self.authentication.1);
        } else {
            summed.extend(self.source.octets());
            summed.extend(self.destination.octets());
            summed.extend([0, 112]);
            summed.extend(length(&message).to_be_bytes());
        }
        summed.extend(&message);
        let sum = checksum(&summed).wrapping_add(self.error);
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        message.extend(&self.trailer);
        between(self.source, self.destination, self.ttl, &message)
    }
}

/// An IPv4 datagram of protocol 112 to the group with any content.
pub fn datagram(source: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    between(source, GROUP, ttl, payload)
}

fn between(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![0x45, 0xc0];
    octets.extend((20 + length(payload)).to_be_bytes());
    // Identification of 1; the kernel writes the checksum.
    octets.extend([0, 1, 0, 0, ttl, 112, 0, 0]);
    octets.extend(source.octets());
    octets.extend(destination.octets());
    octets.extend(payload);
    octets
}

fn length(octets: &[u8]) -> u16 {
    u16::try_from(octets.len()).unwrap_or(u16::MAX)
}

/// RFC 1071; `octets` are even in number.
fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u32 =
        octets.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// A host's raw socket that sends to the group by one card.
#[derive(Debug)]
pub struct Sender(Socket);

impl Sender {
    /// Sends as the host with the address `by`, which decides the card.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when no card has the address.
    pub fn new(ns: &Netns, by: Ipv4Addr) -> Result<Self> {
        let socket = ns.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))))?;
        let socket = socket.context("raw socket")?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_if_v4(&by)?;
        Ok(Self(socket))
    }

    /// Sends one datagram to where its header says.
    ///
    /// # Errors
    /// When it has no header, or the kernel refuses it.
    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        let destination = datagram.get(16..20).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
        let destination = Ipv4Addr::from(destination.context("no header")?);
        let to = std::net::SocketAddrV4::new(destination, 0);
        self.0.send_to(datagram, &to.into())?;
        Ok(())
    }

    /// Sends `datagrams` in turn for `time`, as fast as this thread can; how many went out.
    ///
    /// # Errors
    /// When the kernel refuses one for another reason than full queues.
    pub fn flood(&self, datagrams: &[Vec<u8>], time: Duration) -> Result<u64> {
        let slices: Vec<[IoSlice; 1]> =
            datagrams.iter().cycle().take(BATCH).map(|octets| [IoSlice::new(octets)]).collect();
        let to = vec![Some(SockaddrIn::from(std::net::SocketAddrV4::new(GROUP, 0))); slices.len()];
        let mut headers = MultiHeaders::preallocate(slices.len(), None);
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            let fd = self.0.as_raw_fd();
            match sendmmsg(fd, &mut headers, &slices, &to, [], MsgFlags::empty()) {
                Ok(results) => sent += u64::try_from(results.count())?,
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("sendmmsg"),
            }
        }
        Ok(sent)
    }
}

/// Datagrams that are sent again and again, at an interval, until they are dropped.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Stream {
    /// Starts to send.
    pub fn start(sender: Sender, datagrams: Vec<Vec<u8>>, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                for datagram in &datagrams {
                    sender.send(datagram)?;
                }
                wait::pause(interval);
            }
            Ok(())
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a datagram could not be sent.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| anyhow!("sender panicked"))?)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known vectors: version 3 with the pseudo header, version 2 without and with a password; VRID 51, 10.0.0.1,
    /// 10.0.0.100, 1 s, priority 100.
    #[test]
    fn the_octets_of_right_ones() {
        let address = Ipv4Addr::new(10, 0, 0, 100);
        let one = |version, interval, authentication| Forged {
            priority: 100,
            interval,
            authentication,
            ..Forged::new(version, Ipv4Addr::new(10, 0, 0, 1), 51, address)
        };
        for (name, forged, want) in [
            ("version 3", one(3, 100, (0, [0; 8])), "31336401006475730a000064"),
            ("version 2", one(2, 1, (0, [0; 8])), "21336401000170660a0000640000000000000000"),
            ("password", one(2, 1, (1, *b"secret\0\0")), "213364010101331a0a0000647365637265740000"),
        ] {
            let datagram = forged.datagram();
            let hex: String = datagram[20..].iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hex, want, "{name}");
            assert_eq!(usize::from(u16::from_be_bytes([datagram[2], datagram[3]])), datagram.len(), "{name}");
        }
    }
}

//! The netlink socket: whole datagrams to and from the kernel, each wait with an end.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// Where requests go and answers come from: [`NetlinkTransport`] in production, a script in tests.
pub trait Transport {
    /// Sends one datagram of whole messages.
    ///
    /// # Errors
    /// What the system says.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives one datagram into `buffer` and returns its length, which is larger than the buffer's
    /// when it was cut off.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing came within the time limit, ENOBUFS when answers
    /// were lost, else what the system says.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// How many requests may be in one datagram such that the answers fit if all of them fail.
    fn batch(&self) -> usize {
        LARGE_BATCH
    }
}

/// Requests in one send where the receive buffer could be enlarged.
pub const LARGE_BATCH: usize = 512;
/// Requests in one send with the default receive buffer (212,992 octets), into which 256 errors fit.
pub const SMALL_BATCH: usize = 128;

/// Room for answers: 1,500 errors needed less than 1 MiB.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A blocking generic netlink socket of the network namespace of the thread that makes it.
#[derive(Debug)]
pub struct NetlinkTransport {
    socket: Socket,
    batch: usize,
}

impl NetlinkTransport {
    /// Makes a socket whose receives wait `limit` at most.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(limit: Duration) -> io::Result<Self> {
        let socket = Socket::new(NETLINK_GENERIC)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors without a copy of the request: more of them fit into the buffer.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        let millis = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1);
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &TimeVal::milliseconds(millis))?;
        // Refused without CAP_NET_ADMIN in the first user namespace (containers).
        let forced = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER);
        let batch = if forced.is_ok() { LARGE_BATCH } else { SMALL_BATCH };
        Ok(NetlinkTransport { socket, batch })
    }
}

impl Transport for NetlinkTransport {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        // Netlink takes a datagram as a whole or not at all, and the kernel has worked it off on return.
        self.socket.send(datagram, 0).map(|_sent| ())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = buffer;
        self.socket.recv(&mut room, libc::MSG_TRUNC)
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

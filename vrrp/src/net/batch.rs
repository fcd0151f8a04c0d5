//! Many datagrams by one system call.
//!
//! Here: buffers, and what the kernel tells about a datagram. Not here: which sockets (`lane`).

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn6, SockaddrLike, recvmmsg,
};
use socket2::Socket;

use super::filter::Layout;
use crate::types::IfIndex;
use crate::wire::datagram::Datagram;

/// Datagrams of one system call.
pub(super) const BATCH: usize = 64;
/// Longest datagram: a VRRP message with 255 IPv6 addresses and a trailer; longer ones are counted
/// as malformed.
const DATAGRAM: usize = 4352;

/// Buffers for a batch.
pub(super) struct Batch {
    buffers: Box<[[u8; DATAGRAM]]>,
    /// Read, but no datagrams: cut, no IP header, or the kernel did not tell where from.
    pub malformed: u64,
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Batch").field("malformed", &self.malformed).finish_non_exhaustive()
    }
}

impl Batch {
    pub fn new() -> Self {
        Batch { buffers: vec![[0; DATAGRAM]; BATCH].into_boxed_slice(), malformed: 0 }
    }

    /// Gives at most `limit` (and [`BATCH`]) datagrams that wait at `socket` to `take`. Returns how
    /// many were read, malformed ones among them; 0 when none waits.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(
        &mut self,
        socket: &Socket,
        layout: Layout,
        limit: usize,
        take: &mut dyn FnMut(IfIndex, Datagram<'_>),
    ) -> io::Result<usize> {
        match layout {
            Layout::Ipv4 | Layout::Ah => self.read::<()>(socket, limit, |message, octets| {
                let datagram = Datagram::of_ipv4(octets).ok()?;
                take(Told::of(message)?.interface?, datagram);
                Some(())
            }),
            Layout::Ipv6 => self.read::<SockaddrIn6>(socket, limit, |message, octets| {
                let told = Told::of(message)?;
                let source = message.address?.ip();
                let datagram = Datagram::of_ipv6(source, told.destination?, told.hop_limit?, octets);
                take(told.interface?, datagram);
                Some(())
            }),
        }
    }

    fn read<S: SockaddrLike + Copy>(
        &mut self,
        socket: &Socket,
        limit: usize,
        mut each: impl FnMut(&RecvMsg<'_, '_, S>, &[u8]) -> Option<()>,
    ) -> io::Result<usize> {
        // Made anew for each call: nix does not set back the lengths that the kernel writes into them.
        let count = limit.min(self.buffers.len());
        let mut headers = MultiHeaders::<S>::preallocate(
            count,
            Some(nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo, libc::c_int)),
        );
        let buffers = self.buffers.iter_mut().take(count);
        let mut parts: Vec<_> = buffers.map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let messages = match recvmmsg(
            socket.as_raw_fd(),
            &mut headers,
            parts.iter_mut(),
            MsgFlags::MSG_DONTWAIT,
            None,
        ) {
            Ok(messages) => messages,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(0),
            Err(errno) => return Err(errno.into()),
        };
        let mut read = 0;
        for message in messages {
            read += 1;
            let octets = message.iovs().next().unwrap_or_default();
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            if !whole || each(&message, octets).is_none() {
                self.malformed += 1;
            }
        }
        Ok(read)
    }
}

/// Ancillary data.
#[derive(Default)]
struct Told {
    interface: Option<IfIndex>,
    destination: Option<Ipv6Addr>,
    hop_limit: Option<u8>,
}

impl Told {
    fn of<S>(message: &RecvMsg<'_, '_, S>) -> Option<Self> {
        let mut told = Told::default();
        for control in message.cmsgs().ok()? {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    told.interface = u32::try_from(info.ipi_ifindex).ok().and_then(IfIndex::new);
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    told.interface = IfIndex::new(info.ipi6_ifindex);
                    told.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => told.hop_limit = u8::try_from(limit).ok(),
                _ => {}
            }
        }
        Some(told)
    }
}

//! Datagrams as the sockets give them.
//!
//! Here: what the kernel tells about a datagram. Not here: which sockets (`lane`), buffers (`many`).

use std::fmt;
use std::io;
use std::net::Ipv6Addr;

use socket2::Socket;

use super::filter::Layout;
use super::many::{Buffers, Message};
use crate::types::IfIndex;
use crate::wire::datagram::Datagram;

/// Buffers for a batch.
pub(super) struct Batch {
    buffers: Buffers,
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
        Batch { buffers: Buffers::new(), malformed: 0 }
    }

    /// Gives at most `limit` (and [`super::many::BATCH`]) datagrams that wait at `socket` to `take`. Returns how
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
        let mut read = 0;
        for message in self.buffers.receive(socket, limit)? {
            read += 1;
            match datagram(layout, &message).filter(|_| message.whole) {
                Some((interface, datagram)) => take(interface, datagram),
                None => self.malformed += 1,
            }
        }
        Ok(read)
    }
}

/// A datagram, and where it came in.
fn datagram<'b>(layout: Layout, message: &Message<'b>) -> Option<(IfIndex, Datagram<'b>)> {
    let told = Told::of(message);
    let datagram = match layout {
        Layout::Ipv4 | Layout::Ah => Datagram::of_ipv4(message.octets).ok()?,
        Layout::Ipv6 => {
            Datagram::of_ipv6(message.source()?, told.destination?, told.hop_limit?, message.octets)
        }
    };
    Some((told.interface?, datagram))
}

/// Ancillary data.
#[derive(Default)]
struct Told {
    interface: Option<IfIndex>,
    destination: Option<Ipv6Addr>,
    hop_limit: Option<u8>,
}

impl Told {
    fn of(message: &Message<'_>) -> Self {
        let mut told = Told::default();
        for (level, kind, content) in message.controls() {
            match (level, kind) {
                // struct in_pktinfo (linux/in.h) begins with the index.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    told.interface = number(content).and_then(IfIndex::new)
                }
                // struct in6_pktinfo (linux/ipv6.h): the address, then the index.
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let Some((address, index)) = content.split_first_chunk::<16>() else { continue };
                    told.destination = Some(Ipv6Addr::from(*address));
                    told.interface = number(index).and_then(IfIndex::new);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    told.hop_limit = number(content).and_then(|limit| u8::try_from(limit).ok());
                }
                _ => {}
            }
        }
        told
    }
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

//! Sockets for advertisements, gratuitous ARP and unsolicited neighbour advertisements; nothing
//! here waits.
//!
//! Per protocol one raw socket receives for all interfaces what is for a virtual router of this
//! host, another what is for none. Two send datagrams that have their IP header, one sends Ethernet
//! frames. Not here: what is sent when (`engine`), waiting (the caller's).

mod batch;
mod drops;
mod filter;
mod frames;
mod lane;
mod many;
mod senders;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use batch::Batch;
use filter::Layout;
use lane::{Lane, Lanes, Membership};
use many::BATCH;
use senders::Senders;

use crate::types::IfIndex;
use crate::wire::datagram::Datagram;

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The process may not.
    #[error("{what}: not permitted; give the process CAP_NET_RAW (or run it as root)")]
    Permission {
        /// Which socket.
        what: &'static str,
    },
    /// The host has no IPv6.
    #[error(
        "{what}: IPv6 is disabled on this host; start it without ipv6.disable=1 (or load the module \
         ipv6), or remove the virtual routers of IPv6"
    )]
    NoIpv6 {
        /// Which socket.
        what: &'static str,
    },
    /// A new socket could not join a group that is joined for others.
    #[error("multicast group {group} on the interface of index {interface}: {source}")]
    Join {
        /// The group.
        group: IpAddr,
        /// The interface.
        interface: IfIndex,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
}

impl NetError {
    fn of(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => NetError::Permission { what },
            Some(libc::EAFNOSUPPORT) => NetError::NoIpv6 { what },
            _ => NetError::Io { what, source },
        }
    }
}

/// What is to be received: VRIDs, by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// In IPv4 datagrams of protocol 112.
    pub ipv4: BTreeSet<u8>,
    /// In IPv6 datagrams.
    pub ipv6: BTreeSet<u8>,
    /// Behind an Authentication Header (IPv4, protocol 51).
    pub ah: BTreeSet<u8>,
}

/// Datagrams that the kernel dropped because a buffer was full, since the start. At most: as long as
/// one is full, newer kernels count there what the filter would have refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflows {
    /// For virtual routers of this host.
    pub main: u64,
    /// For none.
    pub strangers: u64,
}

/// What [`Sockets::receive`] took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Datagrams, malformed ones among them.
    pub read: usize,
    /// Some socket gave as many as were asked for, and may have more.
    pub more: bool,
}

/// The sockets of a VRRP speaker, in the network namespace of the thread that made them: every call
/// that may open one ([`Sockets::adapt`], [`Sockets::join`]) is to be made in the same.
#[derive(Debug)]
pub struct Sockets {
    ipv4: Lanes,
    ipv6: Option<Lanes>,
    ah: Option<Lanes>,
    senders: Senders,
    /// What sockets that are opened later join.
    groups: BTreeSet<Membership>,
    batch: Batch,
    /// Octets that are wanted for receiving.
    buffer: usize,
    /// Of sockets that are closed.
    overflows: Overflows,
}

impl Sockets {
    /// Opens what sends IPv4 and frames, and what receives IPv4: strangers only, until
    /// [`Sockets::adapt`].
    ///
    /// # Errors
    /// [`NetError::Permission`] without CAP_NET_RAW.
    pub fn open() -> Result<Self, NetError> {
        Ok(Sockets {
            ipv4: Lanes::open(Layout::Ipv4, &BTreeSet::new())?,
            ipv6: None,
            ah: None,
            senders: Senders::open()?,
            groups: BTreeSet::new(),
            batch: Batch::new(),
            buffer: 0,
            overflows: Overflows::default(),
        })
    }

    /// Opens and closes sockets and sets filters so that exactly this is received, from now on: what
    /// waits in a socket that stays is received all the same. Sockets for IPv6 and AH exist only
    /// while they are wanted.
    ///
    /// # Errors
    /// The first; what it does not name was done. The next call tries again.
    pub fn adapt(&mut self, wanted: &Wanted) -> Result<(), NetError> {
        let results = [
            self.ipv4.filter(&wanted.ipv4),
            self.senders.ipv6(!wanted.ipv6.is_empty()),
            adapt(&mut self.ipv6, Layout::Ipv6, &wanted.ipv6, &self.groups, &mut self.overflows),
            adapt(&mut self.ah, Layout::Ah, &wanted.ah, &self.groups, &mut self.overflows),
        ];
        let resized = self.receive_buffer(self.buffer).map_err(NetError::of("receive buffer"));
        results.into_iter().chain([resized]).collect()
    }

    /// Gives each socket that receives a buffer of so many octets (as the kernel counts, half of it for
    /// itself), and not less than 4 MiB; above the host's limit where the rights are there. Those that are
    /// opened later, too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive_buffer(&mut self, octets: usize) -> io::Result<()> {
        self.buffer = octets;
        let lanes = std::iter::once(&mut self.ipv4).chain(&mut self.ipv6).chain(&mut self.ah);
        lanes.map(|lanes| &mut lanes.main).try_for_each(|lane| lane.resize(octets))
    }

    /// Joins `group` on `interface`; being a member already is fine. Sockets that are opened later
    /// join it too.
    ///
    /// # Errors
    /// What the kernel says, for example when the interface is gone.
    pub fn join(&mut self, group: IpAddr, interface: IfIndex) -> io::Result<()> {
        let membership = (group, interface);
        self.lanes_of(group).try_for_each(|lanes| lanes.join(membership))?;
        self.groups.insert(membership);
        Ok(())
    }

    /// Leaves `group` on `interface`; not being a member is fine.
    ///
    /// # Errors
    /// What the kernel says; when the interface is gone, the membership is too.
    pub fn leave(&mut self, group: IpAddr, interface: IfIndex) -> io::Result<()> {
        let membership = (group, interface);
        self.groups.remove(&membership);
        let left: Vec<_> = self.lanes_of(group).map(|lanes| lanes.leave(membership)).collect();
        left.into_iter().collect()
    }

    /// Become readable when [`Sockets::receive`] has something. Others after [`Sockets::adapt`] and
    /// [`Sockets::join`].
    pub fn receive_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all().flat_map(|lanes| lanes.main.sockets()).map(|(_, socket)| socket.as_fd())
    }

    /// Takes what waits, at most `most` datagrams (and 64) of each socket: few cost less where few wait.
    ///
    /// # Errors
    /// What the kernel says, after all sockets were read.
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(IfIndex, Datagram<'_>)) -> io::Result<Taken> {
        let most = most.min(BATCH);
        let (mut taken, mut failed) = (Taken::default(), None);
        let Sockets { ipv4, ipv6, ah, batch, .. } = self;
        let lanes = std::iter::once(&*ipv4).chain(&*ipv6).chain(&*ah).map(|lanes| &lanes.main);
        for (layout, socket) in lanes.flat_map(Lane::sockets) {
            match batch.receive(socket, layout, most, &mut take) {
                Ok(count) => {
                    taken.read += count;
                    taken.more |= count == most;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(taken), Err)
    }

    /// Takes at most `limit` datagrams that are for no virtual router of this host: an unknown VRID, a
    /// TTL or hop limit other than 255 in a datagram to a group, another version, too short. For
    /// counters and diagnosis only: to be read now and then, not when some arrive, so that a flood
    /// of them wakes nobody. Returns how many were read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn strangers(
        &mut self,
        limit: usize,
        mut take: impl FnMut(IfIndex, Datagram<'_>),
    ) -> io::Result<usize> {
        let Sockets { ipv4, ipv6, ah, batch, .. } = self;
        let lanes = std::iter::once(&*ipv4).chain(&*ipv6).chain(&*ah).map(|lanes| &lanes.strangers);
        let sockets: Vec<_> = lanes.flat_map(Lane::sockets).collect();
        // In turns: a flood at one hides nothing at the others.
        let share = (limit / sockets.len().max(1)).max(1);
        let mut read = 0;
        loop {
            let before = read;
            for (layout, socket) in &sockets {
                let most = share.min(limit - read);
                if most > 0 {
                    read += batch.receive(socket, *layout, most, &mut take)?;
                }
            }
            if read == before || read == limit {
                return Ok(read);
            }
        }
    }

    /// Datagrams that the kernel dropped because a buffer was full, since the start.
    pub fn overflows(&self) -> Overflows {
        self.all().fold(self.overflows, Overflows::and)
    }

    /// What was received and is no datagram: cut short, or the kernel did not tell where it came from.
    pub fn malformed(&self) -> u64 {
        self.batch.malformed
    }

    /// Sends `packet`, which has its IPv4 or IPv6 header, to `destination` out of `interface`. Without
    /// one, by the routing table and its rules for the source in the packet.
    ///
    /// # Errors
    /// What the kernel says: the interface is gone or down, no memory for the moment.
    pub fn send_packet(
        &self,
        interface: Option<IfIndex>,
        destination: IpAddr,
        packet: &[u8],
    ) -> io::Result<()> {
        self.senders.packet(interface, destination, packet)
    }

    /// Sends Ethernet frames, each out of its interface, by as few system calls as possible. Frames
    /// that cannot be sent are left out; when the socket's buffer is full, all that are left.
    /// Returns how many were sent, and the first error.
    pub fn send_frames(&self, frames: &[(IfIndex, &[u8])]) -> (usize, Option<io::Error>) {
        self.senders.frames(frames)
    }

    fn all(&self) -> impl Iterator<Item = &Lanes> {
        std::iter::once(&self.ipv4).chain(&self.ipv6).chain(&self.ah)
    }

    /// Those that are open and may be members of `group`.
    fn lanes_of(&mut self, group: IpAddr) -> impl Iterator<Item = &mut Lanes> {
        let (ipv4, ipv6) = match group {
            IpAddr::V4(_) => (Some([Some(&mut self.ipv4), self.ah.as_mut()]), None),
            IpAddr::V6(_) => (None, self.ipv6.as_mut()),
        };
        ipv4.into_iter().flatten().flatten().chain(ipv6)
    }
}

impl Overflows {
    fn and(self, lanes: &Lanes) -> Self {
        Overflows {
            main: self.main + lanes.main.overflows(),
            strangers: self.strangers + lanes.strangers.overflows(),
        }
    }
}

/// Of a protocol whose sockets are there only while it is wanted.
fn adapt(
    lanes: &mut Option<Lanes>,
    layout: Layout,
    vrids: &BTreeSet<u8>,
    groups: &BTreeSet<Membership>,
    overflows: &mut Overflows,
) -> Result<(), NetError> {
    if vrids.is_empty() {
        if let Some(closed) = lanes.take() {
            *overflows = overflows.and(&closed);
        }
        return Ok(());
    }
    if let Some(lanes) = lanes {
        return lanes.filter(vrids);
    }
    let opened = lanes.insert(Lanes::open(layout, vrids)?);
    let mut result = Ok(());
    for (group, interface) in groups.iter().filter(|(group, _)| group.is_ipv6() == (layout == Layout::Ipv6)) {
        if let Err(source) = opened.join((*group, *interface)) {
            result = result.and(Err(NetError::Join { group: *group, interface: *interface, source }));
        }
    }
    result
}

//! The sockets that receive one protocol.
//!
//! Here: their options, filters and groups. Not here: reading them (`batch`).
//!
//! One socket serves all interfaces as long as the kernel lets it join their groups: an IPv4 socket
//! may join 20 (net.ipv4.igmp_max_memberships), both families have a limit of memory
//! (net.core.optmem_max). A further one is opened for what is beyond, which takes groups only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::NetError;
use super::drops::{self, Meminfo};
use super::filter::{self, Layout, Reach, Side};
use crate::types::IfIndex;
use crate::wire::ipv4::{AUTHENTICATION_HEADER, VRRP};

/// Least receive buffer: seconds of adverts of thousands of virtual routers.
const BUFFER: usize = 4 << 20;
/// The kernel doubles it, in a number of 31 bits: of more it would take the last bits.
const MOST: usize = (1 << 30) - 1;
/// What strangers may fill between two looks at it.
const SMALL_BUFFER: usize = 64 << 10;

/// A group on an interface.
pub(super) type Membership = (IpAddr, IfIndex);

/// Both sides of a protocol.
#[derive(Debug)]
pub(super) struct Lanes {
    pub main: Lane,
    pub strangers: Lane,
}

impl Lanes {
    /// Opens the sockets of a protocol; from then on they receive what is for `vrids`, or not for them.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn open(layout: Layout, vrids: &BTreeSet<u8>) -> Result<Self, NetError> {
        Ok(Lanes {
            main: Lane::open(layout, Side::Main, vrids)?,
            strangers: Lane::open(layout, Side::Strangers, vrids)?,
        })
    }

    /// Receives for `vrids` from now on. The main side is first: nothing of a new one is missed.
    ///
    /// # Errors
    /// [`NetError`]; then it is tried again by the next call.
    pub fn filter(&mut self, vrids: &BTreeSet<u8>) -> Result<(), NetError> {
        self.main.filter(vrids)?;
        self.strangers.filter(vrids)
    }

    pub fn join(&mut self, membership: Membership) -> io::Result<()> {
        self.main.join(membership)?;
        self.strangers.join(membership)
    }

    pub fn leave(&mut self, membership: Membership) -> io::Result<()> {
        let main = self.main.leave(membership);
        main.and(self.strangers.leave(membership))
    }
}

/// One side of a protocol.
#[derive(Debug)]
pub(super) struct Lane {
    layout: Layout,
    side: Side,
    vrids: BTreeSet<u8>,
    /// Octets of the receive buffer of each socket.
    buffer: usize,
    /// Never empty; the first takes unicast too.
    sockets: Vec<Socket>,
    /// With the index of the socket.
    joined: BTreeMap<Membership, usize>,
}

impl Lane {
    fn open(layout: Layout, side: Side, vrids: &BTreeSet<u8>) -> Result<Self, NetError> {
        let buffer = match side {
            Side::Main => BUFFER,
            Side::Strangers => SMALL_BUFFER,
        };
        let mut lane =
            Lane { layout, side, vrids: vrids.clone(), buffer, sockets: Vec::new(), joined: BTreeMap::new() };
        let socket = lane.socket(Reach::Any).map_err(NetError::of(what(layout)))?;
        lane.sockets.push(socket);
        Ok(lane)
    }

    /// A socket that has received nothing but what the filter accepts.
    fn socket(&self, reach: Reach) -> io::Result<Socket> {
        let (domain, protocol) = match self.layout {
            Layout::Ipv4 => (Domain::IPV4, VRRP),
            Layout::Ah => (Domain::IPV4, AUTHENTICATION_HEADER),
            Layout::Ipv6 => (Domain::IPV6, VRRP),
        };
        let protocol = Some(Protocol::from(i32::from(protocol)));
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), protocol)?;
        attach(&socket, &filter::nothing())?;
        // Else each socket gets the groups that any socket of the host has joined.
        match self.layout {
            Layout::Ipv4 | Layout::Ah => {
                socket.set_multicast_all_v4(false)?;
                setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            }
            Layout::Ipv6 => {
                socket.set_multicast_all_v6(false)?;
                socket.set_recv_hoplimit_v6(true)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            }
        }
        self.size(&socket)?;
        drain(&socket)?;
        attach(&socket, &filter::program(self.layout, &self.vrids, self.side, reach))?;
        Ok(socket)
    }

    fn size(&self, socket: &Socket) -> io::Result<()> {
        match self.side {
            // More than the system's limit where we may, else what is allowed.
            Side::Main if setsockopt(socket, sockopt::RcvBufForce, &self.buffer).is_ok() => Ok(()),
            _ => socket.set_recv_buffer_size(self.buffer),
        }
    }

    /// Gives each socket a receive buffer of so many octets, and not less than it needs.
    pub fn resize(&mut self, octets: usize) -> io::Result<()> {
        let before = std::mem::replace(&mut self.buffer, octets.clamp(BUFFER, MOST));
        if before == self.buffer {
            return Ok(());
        }
        self.sockets.iter().try_for_each(|socket| self.size(socket))
    }

    fn filter(&mut self, vrids: &BTreeSet<u8>) -> Result<(), NetError> {
        if self.vrids == *vrids {
            return Ok(());
        }
        for (socket, reach) in self.sockets.iter().zip(reaches()) {
            let program = filter::program(self.layout, vrids, self.side, reach);
            attach(socket, &program).map_err(NetError::of(what(self.layout)))?;
        }
        self.vrids.clone_from(vrids);
        Ok(())
    }

    fn join(&mut self, membership: Membership) -> io::Result<()> {
        // The same socket as before: the interface may have been away.
        let before = self.joined.get(&membership).copied();
        let candidates = self.sockets.iter().enumerate();
        for (index, socket) in candidates.filter(|(index, _)| before.is_none_or(|before| before == *index)) {
            match join(socket, membership) {
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.joined.insert(membership, index);
                    return Ok(());
                }
            }
        }
        let socket = self.socket(Reach::Groups)?;
        join(&socket, membership)?;
        self.joined.insert(membership, self.sockets.len());
        self.sockets.push(socket);
        Ok(())
    }

    fn leave(&mut self, membership: Membership) -> io::Result<()> {
        let index = self.joined.remove(&membership);
        let Some(socket) = index.and_then(|index| self.sockets.get(index)) else { return Ok(()) };
        let (group, interface) = membership;
        match group {
            IpAddr::V4(group) => {
                socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.get()))
            }
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface.get()),
        }
    }

    /// What to read, and how.
    pub fn sockets(&self) -> impl Iterator<Item = (Layout, &Socket)> {
        self.sockets.iter().map(|socket| (self.layout, socket))
    }

    /// Datagrams that found the buffers full since the sockets were opened.
    pub fn overflows(&self) -> u64 {
        let drops = |socket| getsockopt(socket, Meminfo).map_or(0, drops::of);
        self.sockets.iter().map(drops).map(u64::from).sum()
    }
}

/// Of the sockets of a lane, in order.
fn reaches() -> impl Iterator<Item = Reach> {
    std::iter::once(Reach::Any).chain(std::iter::repeat(Reach::Groups))
}

fn what(layout: Layout) -> &'static str {
    match layout {
        Layout::Ipv4 => "raw socket for VRRP (IP protocol 112)",
        Layout::Ah => "raw socket for VRRP with AH (IP protocol 51)",
        Layout::Ipv6 => "raw socket for VRRP over IPv6 (protocol 112)",
    }
}

fn attach(socket: &Socket, program: &[libc::sock_filter]) -> io::Result<()> {
    let instruction = |one: &libc::sock_filter| SockFilter::new(one.code, one.jt, one.jf, one.k);
    socket.attach_filter(&program.iter().map(instruction).collect::<Vec<_>>())
}

/// Throws away what came before the filter was there; nothing more comes.
fn drain(socket: &Socket) -> io::Result<()> {
    loop {
        match socket.recv(&mut []) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Being a member already is fine.
fn join(socket: &Socket, (group, interface): Membership) -> io::Result<()> {
    let result = match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.get()))
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface.get()),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        result => result,
    }
}

/// The socket may join no more groups: IPv4 says ENOBUFS, IPv6 and the limit of memory ENOMEM.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

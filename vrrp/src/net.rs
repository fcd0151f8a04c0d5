//! Sockets for advertisements and gratuitous ARP; nothing here waits.
//!
//! One raw socket receives for all interfaces, one sends with its own IP header and the interface
//! in ancillary data, one sends Ethernet frames. Not here: what is sent when (`engine`), waiting (the caller's).

mod link_address;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::types::IfIndex;
use crate::wire::ipv4::VRRP;

/// Receive buffer: a second of adverts of hundreds of virtual routers, and a burst besides.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Longest datagram: IP header with options, 255 addresses; longer ones are cut and refused.
const DATAGRAM: usize = 2048;
/// Sends only; as small as the kernel allows.
const NO_BUFFER: usize = 0;

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The process may not.
    #[error("{what}: not permitted; give the process CAP_NET_RAW (or run it as root)")]
    Permission {
        /// Which socket.
        what: &'static str,
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
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => NetError::Permission { what },
            _ => NetError::Io { what, source },
        }
    }
}

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Where it came in.
    pub interface: IfIndex,
    /// With its IP header.
    pub octets: &'a [u8],
}

/// The sockets of a VRRP speaker, in the network namespace of the thread that made them.
#[derive(Debug)]
pub struct Sockets {
    receive: Socket,
    send: Socket,
    frames: Socket,
    buffer: Box<[u8; DATAGRAM]>,
}

impl Sockets {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`NetError::Permission`] without CAP_NET_RAW.
    pub fn open() -> Result<Self, NetError> {
        let what = "raw socket for VRRP (IP protocol 112)";
        let failed = NetError::of(what);
        let receive = Socket::new(
            Domain::IPV4,
            Type::RAW.nonblocking().cloexec(),
            Some(Protocol::from(i32::from(VRRP))),
        )
        .map_err(&failed)?;
        // Else each socket gets the groups that any socket of the host has joined.
        receive.set_multicast_all_v4(false).map_err(&failed)?;
        setsockopt(&receive, sockopt::Ipv4PacketInfo, &true).map_err(|errno| failed(errno.into()))?;
        // More than the system's limit where we may, else what is allowed.
        if setsockopt(&receive, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            receive.set_recv_buffer_size(RECEIVE_BUFFER).map_err(&failed)?;
        }
        // IPPROTO_RAW receives nothing.
        let send = Socket::new(
            Domain::IPV4,
            Type::RAW.nonblocking().cloexec(),
            Some(Protocol::from(libc::IPPROTO_RAW)),
        )
        .map_err(&failed)?;
        send.set_header_included_v4(true).map_err(&failed)?;
        send.set_multicast_loop_v4(false).map_err(&failed)?;
        send.set_recv_buffer_size(NO_BUFFER).map_err(&failed)?;
        let failed = NetError::of("packet socket for gratuitous ARP");
        // Protocol 0 receives nothing.
        let frames = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))
            .map_err(&failed)?;
        Ok(Sockets { receive, send, frames, buffer: Box::new([0; DATAGRAM]) })
    }

    /// Becomes readable when [`Sockets::receive`] has something.
    pub fn receive_fd(&self) -> BorrowedFd<'_> {
        self.receive.as_fd()
    }

    /// Joins `group` on `interface`; being a member already is fine.
    ///
    /// # Errors
    /// What the kernel says, for example when the interface is gone.
    pub fn join(&self, group: Ipv4Addr, interface: IfIndex) -> io::Result<()> {
        match self.receive.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.get())) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            result => result,
        }
    }

    /// Leaves `group` on `interface`.
    ///
    /// # Errors
    /// What the kernel says; when the interface is gone, the membership is too.
    pub fn leave(&self, group: Ipv4Addr, interface: IfIndex) -> io::Result<()> {
        self.receive.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.get()))
    }

    /// The next datagram; `None` when there is none now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(&mut self) -> io::Result<Option<Datagram<'_>>> {
        let mut space = nix::cmsg_space!(libc::in_pktinfo);
        let (length, interface) = loop {
            let mut parts = [IoSliceMut::new(self.buffer.as_mut_slice())];
            let message = match recvmsg::<()>(
                self.receive.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(message) => message,
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let interface = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => u32::try_from(info.ipi_ifindex).ok(),
                _ => None,
            });
            if let Some(interface) = interface.and_then(IfIndex::new) {
                break (message.bytes, interface);
            }
        };
        Ok(self.buffer.get(..length).map(|octets| Datagram { interface, octets }))
    }

    /// Sends `packet`, which has its IP header, to `destination` out of `interface`.
    ///
    /// # Errors
    /// What the kernel says: the interface is gone or down, no memory for the moment.
    pub fn send_packet(&self, interface: IfIndex, destination: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let index = i32::try_from(interface.get()).map_err(io::Error::other)?;
        let any = libc::in_addr { s_addr: 0 };
        let info = libc::in_pktinfo { ipi_ifindex: index, ipi_spec_dst: any, ipi_addr: any };
        let mut flags = MsgFlags::MSG_DONTWAIT;
        if destination.is_multicast() {
            // Stays on the link, whatever the routing table says about groups.
            flags |= MsgFlags::from_bits_retain(libc::MSG_DONTROUTE);
        }
        let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
        let controls = [ControlMessage::Ipv4PacketInfo(&info)];
        sendmsg(self.send.as_raw_fd(), &[IoSlice::new(packet)], &controls, flags, Some(&to))?;
        Ok(())
    }

    /// Sends an Ethernet frame out of `interface`.
    ///
    /// # Errors
    /// What the kernel says: the interface is gone or down, no memory for the moment.
    pub fn send_frame(&self, interface: IfIndex, frame: &[u8]) -> io::Result<()> {
        let index = i32::try_from(interface.get()).map_err(io::Error::other)?;
        self.frames.send_to_with_flags(frame, &link_address::of(index)?, libc::MSG_DONTWAIT)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive;
    use crate::wire::ipv4::Header;

    /// Over loopback: what the kernel makes of our header, and what it tells about the interface.
    #[test]
    fn a_packet_over_loopback() {
        let mut sockets = match Sockets::open() {
            Err(NetError::Permission { .. }) => {
                lbd_integration::skip::report("a_packet_over_loopback", "needs CAP_NET_RAW");
                return;
            }
            sockets => sockets.expect("sockets"),
        };
        let loopback = IfIndex::MIN;
        let payload = crate::wire::hex("21fb6401000170660a0000640000000000000000");
        let to = Ipv4Addr::new(127, 93, 0, 1);
        let header = Header {
            tos: 0xc0,
            id: 2,
            ttl: 77,
            protocol: VRRP,
            source: Ipv4Addr::new(127, 93, 0, 2),
            destination: to,
        };
        sockets.send_packet(loopback, to, &header.emit(&payload)).expect("sent");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while std::time::Instant::now() < deadline {
            let Some(datagram) = sockets.receive().expect("readable") else { continue };
            let (got, octets) = Header::parse(datagram.octets).expect("a datagram");
            if got.destination != to {
                continue;
            }
            assert_eq!((datagram.interface, got, octets), (loopback, header, payload.as_slice()));
            let datagram = crate::wire::datagram::Datagram::of_ipv4(datagram.octets).expect("a datagram");
            assert_eq!(receive::vrid(&datagram), Some(0xfb));
            return;
        }
        panic!("nothing came back within 5 s");
    }
}

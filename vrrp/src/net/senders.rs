//! Sockets that send; they receive nothing.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{NetError, frames};
use crate::types::IfIndex;

/// Receives nothing; as small as the kernel allows.
const NO_BUFFER: usize = 0;
/// Frames that announce thousands of addresses at once.
const FRAMES_BUFFER: usize = 4 << 20;
/// TC_PRIO_INTERACTIVE, the highest that needs no right (socket(7)): adverts leave before
/// bulk traffic where the queueing discipline has bands.
const PRIORITY: u32 = 6;

/// The sockets.
#[derive(Debug)]
pub(super) struct Senders {
    ipv4: Socket,
    ipv6: Option<Socket>,
    frames: Socket,
}

impl Senders {
    /// Opens what sends IPv4 and frames.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn open() -> Result<Self, NetError> {
        let frames = frames_socket().map_err(NetError::of("packet socket for gratuitous ARP"))?;
        let ipv4 = packets(Domain::IPV4).map_err(NetError::of("raw socket that sends VRRP"))?;
        Ok(Senders { ipv4, ipv6: None, frames })
    }

    /// Opens or closes what sends IPv6.
    ///
    /// # Errors
    /// [`NetError`]
    pub fn ipv6(&mut self, wanted: bool) -> Result<(), NetError> {
        if !wanted {
            self.ipv6 = None;
        } else if self.ipv6.is_none() {
            let failed = NetError::of("raw socket that sends VRRP over IPv6");
            self.ipv6 = Some(packets(Domain::IPV6).map_err(failed)?);
        }
        Ok(())
    }

    /// See [`super::Sockets::send_packet`].
    pub fn packet(&self, interface: Option<IfIndex>, destination: IpAddr, packet: &[u8]) -> io::Result<()> {
        match destination {
            IpAddr::V4(destination) => self.packet_v4(interface, destination, packet),
            IpAddr::V6(destination) => self.packet_v6(interface, destination, packet),
        }
    }

    fn packet_v4(&self, interface: Option<IfIndex>, destination: Ipv4Addr, packet: &[u8]) -> io::Result<()> {
        let mut flags = MsgFlags::empty();
        if destination.is_multicast() {
            // Stays on the link, whatever the routing table says about groups.
            flags |= MsgFlags::from_bits_retain(libc::MSG_DONTROUTE);
        }
        // Without an interface the route is that of the packet's source.
        let source = octets_at(packet, 12).filter(|_| interface.is_none()).map_or(0, u32::from_ne_bytes);
        let info = libc::in_pktinfo {
            ipi_ifindex: interface
                .map_or(Ok(0), |index| i32::try_from(index.get()))
                .map_err(io::Error::other)?,
            ipi_spec_dst: libc::in_addr { s_addr: source },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
        send(&self.ipv4, packet, &ControlMessage::Ipv4PacketInfo(&info), flags, &to)
    }

    fn packet_v6(&self, interface: Option<IfIndex>, destination: Ipv6Addr, packet: &[u8]) -> io::Result<()> {
        let socket = self.ipv6.as_ref().ok_or(io::Error::new(
            io::ErrorKind::NotConnected,
            "no IPv6 socket is open: see the error when the virtual routers were set up",
        ))?;
        let source = octets_at(packet, 8).filter(|_| interface.is_none()).unwrap_or_default();
        let index = interface.map_or(0, IfIndex::get);
        let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source }, ipi6_ifindex: index };
        let near = destination.is_multicast() || destination.is_unicast_link_local();
        let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, if near { index } else { 0 }));
        send(socket, packet, &ControlMessage::Ipv6PacketInfo(&info), MsgFlags::empty(), &to)
    }

    /// See [`super::Sockets::send_frames`].
    pub fn frames(&self, all: &[(IfIndex, &[u8])]) -> (usize, Option<io::Error>) {
        frames::send(&self.frames, all)
    }
}

fn send<A: SockaddrLike>(
    socket: &Socket,
    packet: &[u8],
    control: &ControlMessage<'_>,
    flags: MsgFlags,
    to: &A,
) -> io::Result<()> {
    let flags = flags | MsgFlags::MSG_DONTWAIT;
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(packet)], std::slice::from_ref(control), flags, Some(to))?;
    Ok(())
}

fn octets_at<const N: usize>(packet: &[u8], at: usize) -> Option<[u8; N]> {
    packet.get(at..)?.first_chunk().copied()
}

/// A socket for packets with their IP header. IPPROTO_RAW receives nothing.
fn packets(domain: Domain) -> io::Result<Socket> {
    let protocol = Some(Protocol::from(libc::IPPROTO_RAW));
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), protocol)?;
    // Our own adverts do not come back.
    if domain == Domain::IPV4 {
        socket.set_header_included_v4(true)?;
        socket.set_multicast_loop_v4(false)?;
    } else {
        socket.set_header_included_v6(true)?;
        socket.set_multicast_loop_v6(false)?;
        // A route can be asked for whatever the source; IPv4 has this with its header included.
        socket.set_freebind_v6(true)?;
    }
    socket.set_priority(PRIORITY)?;
    socket.set_recv_buffer_size(NO_BUFFER)?;
    Ok(socket)
}

/// A socket for Ethernet frames. Protocol 0 receives nothing.
fn frames_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
    socket.set_priority(PRIORITY)?;
    // More than the system's limit where we may, else what is allowed.
    if setsockopt(&socket, sockopt::SndBufForce, &FRAMES_BUFFER).is_err() {
        socket.set_send_buffer_size(FRAMES_BUFFER)?;
    }
    Ok(socket)
}

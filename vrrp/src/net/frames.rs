//! Many Ethernet frames by one system call.
//!
//! nix's `sendmmsg` tells how many were sent only through values that it has not initialized, and
//! offers no way to make a `sockaddr_ll`; so both are here.

#![allow(unsafe_code, reason = "each use has its SAFETY comment")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use libc::{iovec, mmsghdr, sockaddr_ll};
use socket2::Socket;

use crate::types::IfIndex;

/// Sends each frame out of its interface by a packet socket that does not block. A frame that cannot
/// be sent holds up no other, unless the socket takes none for now. Returns how many were sent, and
/// the first error.
pub(super) fn send(socket: &Socket, frames: &[(IfIndex, &[u8])]) -> (usize, Option<io::Error>) {
    let mut addresses: Vec<sockaddr_ll> = frames.iter().map(|(to, frame)| address(*to, frame)).collect();
    let octets = |(_, frame): &(IfIndex, &[u8])| iovec {
        iov_base: frame.as_ptr().cast_mut().cast(),
        iov_len: frame.len(),
    };
    let mut parts: Vec<iovec> = frames.iter().map(octets).collect();
    let each = addresses.iter_mut().zip(&mut parts);
    let mut headers: Vec<mmsghdr> = each.map(|(address, part)| header(address, part)).collect();

    let (mut done, mut sent, mut first) = (0, 0, None);
    while let Some(rest) = headers.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // The kernel takes 1,024 at once (UIO_MAXIOV), and stops at the first that fails.
        let count = libc::c_uint::try_from(rest.len()).unwrap_or(1);
        // SAFETY: `rest` has at least `count` headers; what they point to (`addresses`, `parts`, the
        // frames) outlives the loop, is not moved, and is only read by the kernel. No flags: the
        // socket itself does not block.
        let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
        if let Ok(taken @ 1..) = usize::try_from(result) {
            done += taken;
            sent += taken;
            continue;
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            continue;
        }
        let full = error.kind() == io::ErrorKind::WouldBlock;
        done += if is_gone(&error) { same_interface(frames, done) } else { 1 };
        first.get_or_insert(error);
        if full {
            break;
        }
    }
    (sent, first)
}

/// Nothing can be sent out of this interface now.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV | libc::ENETDOWN))
}

/// How many frames from `at` on have the same interface.
fn same_interface(frames: &[(IfIndex, &[u8])], at: usize) -> usize {
    let rest = frames.get(at..).unwrap_or_default();
    let run = rest.iter().take_while(|(interface, _)| rest.first().is_some_and(|(one, _)| one == interface));
    run.count().max(1)
}

/// Where a complete frame goes: out of the interface, as what its EtherType says.
fn address(interface: IfIndex, frame: &[u8]) -> sockaddr_ll {
    let protocol = match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] => u16::from_ne_bytes([*high, *low]),
        _ => 0,
    };
    sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol,
        // An index that the kernel would not have given is refused by it.
        sll_ifindex: i32::try_from(interface.get()).unwrap_or(i32::MAX),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

/// The message of one part for an address.
fn header(address: &mut sockaddr_ll, part: &mut iovec) -> mmsghdr {
    // SAFETY: integers and pointers, for which zeros are valid; some C libraries have private padding.
    let mut message: mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
    message.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of::<sockaddr_ll>()).unwrap_or_default();
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}

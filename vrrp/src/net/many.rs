//! recvmmsg(2) with buffers that stay.
//!
//! nix makes its headers and their buffers anew for each call, since it does not set back the lengths that the kernel writes into them;
//! at thousands of adverts in a second that is an eighth of what lbd itself spends on them.

#![allow(unsafe_code, reason = "each use has its SAFETY comment")]

use std::io;
use std::mem::offset_of;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::Socket;

/// Datagrams of one system call.
pub(super) const BATCH: usize = 64;
/// Longest datagram: a VRRP message with 255 IPv6 addresses and a trailer; longer ones are counted
/// as malformed.
const DATAGRAM: usize = 4352;
/// Ancillary data: in_pktinfo, or in6_pktinfo and a hop limit, with their headers.
const CONTROL: usize = 128;
const _: () = assert!(CONTROL >= 2 * (size_of::<libc::cmsghdr>() + size_of::<libc::in6_pktinfo>() + 8));

/// What the kernel writes of one datagram.
#[derive(Clone)]
#[repr(C, align(8))]
struct Slot {
    /// First, and so aligned as the kernel's struct cmsghdr.
    control: [u8; CONTROL],
    /// struct sockaddr_in6 (linux/in6.h), or a shorter one.
    name: [u8; size_of::<libc::sockaddr_in6>()],
    octets: [u8; DATAGRAM],
    control_length: usize,
    length: usize,
    flags: libc::c_int,
}

/// A datagram, or what is there of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'b> {
    pub octets: &'b [u8],
    control: &'b [u8],
    name: &'b [u8],
    /// Neither octets nor ancillary data were cut off.
    pub whole: bool,
}

/// Room for a batch.
pub(super) struct Buffers(Box<[Slot]>);

impl Buffers {
    pub fn new() -> Self {
        let slot = Slot {
            control: [0; CONTROL],
            name: [0; size_of::<libc::sockaddr_in6>()],
            octets: [0; DATAGRAM],
            control_length: 0,
            length: 0,
            flags: 0,
        };
        Buffers(vec![slot; BATCH].into_boxed_slice())
    }

    /// At most `limit` datagrams that wait at `socket`; none when none waits.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(
        &mut self,
        socket: &Socket,
        limit: usize,
    ) -> io::Result<impl Iterator<Item = Message<'_>>> {
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: mmsghdr is of integers and pointers only, for which zeros are values; padding of its own does not matter.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        for ((slot, part), header) in self.0.iter_mut().zip(&mut parts).zip(&mut headers).take(limit) {
            *part = libc::iovec { iov_base: slot.octets.as_mut_ptr().cast(), iov_len: DATAGRAM };
            let header = &mut header.msg_hdr;
            header.msg_name = slot.name.as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>().try_into().unwrap_or_default();
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
            slot.name = [0; size_of::<libc::sockaddr_in6>()];
            count += 1;
        }
        // SAFETY: the first `count` headers point to one iovec each and to arrays of the lengths that they name, which live in this
        // frame or in `self` and which nothing else uses meanwhile; without a time limit the last argument is null.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let received = match usize::try_from(received) {
            Ok(received) => received,
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
                error => return Err(error),
            },
        };
        for (slot, header) in self.0.iter_mut().zip(&headers).take(received) {
            slot.control_length = header.msg_hdr.msg_controllen;
            slot.length = usize::try_from(header.msg_len).unwrap_or_default();
            slot.flags = header.msg_hdr.msg_flags;
        }
        Ok(self.0.iter().take(received).map(Slot::message))
    }
}

impl Slot {
    fn message(&self) -> Message<'_> {
        Message {
            octets: self.octets.get(..self.length).unwrap_or_default(),
            control: self.control.get(..self.control_length).unwrap_or_default(),
            name: &self.name,
            whole: self.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0,
        }
    }
}

impl<'b> Message<'b> {
    /// The sender's address where that is of IPv6.
    pub fn source(&self) -> Option<Ipv6Addr> {
        let family = u16::from_ne_bytes(*self.name.first_chunk()?);
        let address: [u8; 16] = *self.name.get(offset_of!(libc::sockaddr_in6, sin6_addr)..)?.first_chunk()?;
        (i32::from(family) == libc::AF_INET6).then(|| Ipv6Addr::from(address))
    }

    /// Ancillary data: level, type and content of each.
    pub fn controls(&self) -> impl Iterator<Item = (libc::c_int, libc::c_int, &'b [u8])> {
        const HEADER: usize = size_of::<libc::cmsghdr>();
        let mut rest = self.control;
        std::iter::from_fn(move || {
            // The kernel's struct cmsghdr (linux/socket.h) begins with a size_t whatever the C library makes of it.
            let length = usize::from_ne_bytes(*rest.first_chunk()?);
            let number = |at: usize| rest.get(at..)?.first_chunk().map(|octets| i32::from_ne_bytes(*octets));
            let level = number(offset_of!(libc::cmsghdr, cmsg_level))?;
            let kind = number(offset_of!(libc::cmsghdr, cmsg_type))?;
            let content = rest.get(HEADER..length)?;
            rest = rest.get(length.checked_next_multiple_of(size_of::<usize>())?..).unwrap_or_default();
            Some((level, kind, content))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(length: usize, level: i32, kind: i32, content: &[u8]) -> Vec<u8> {
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(level.to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend(content);
        octets
    }

    fn message(control: &[u8]) -> Message<'_> {
        Message { octets: &[], control, name: &[], whole: true }
    }

    #[test]
    fn ancillary_data() {
        let two = [control(20, 0, 8, &[1, 2, 3, 4, 0, 0, 0, 0]), control(17, 41, 50, &[9])].concat();
        let read: Vec<_> = message(&two).controls().collect();
        assert_eq!(read, [(0, 8, &[1, 2, 3, 4][..]), (41, 50, &[9][..])]);
        for (name, octets) in [
            ("nothing", vec![]),
            ("a header's beginning", control(20, 0, 8, &[]).into_iter().take(11).collect()),
            ("shorter than its header", control(15, 0, 8, &[0; 8])),
            ("longer than what is there", control(40, 0, 8, &[0; 8])),
            ("of any length", control(usize::MAX, 0, 8, &[0; 8])),
        ] {
            assert_eq!(message(&octets).controls().count(), 0, "{name}");
        }
    }

    #[test]
    fn sources() {
        let mut name = [0; size_of::<libc::sockaddr_in6>()];
        name[..2].copy_from_slice(&10u16.to_ne_bytes());
        name[8..24].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        let message = Message { octets: &[], control: &[], name: &name, whole: true };
        assert_eq!(message.source(), Some(Ipv6Addr::LOCALHOST));
        name[..2].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(Message { octets: &[], control: &[], name: &name, whole: true }.source(), None);
    }

    /// Twice in a row, the second time shorter: lengths of before do not count.
    #[test]
    fn what_comes_over_loopback() {
        let receiver = std::net::UdpSocket::bind("[::1]:0").expect("a socket");
        let sender = std::net::UdpSocket::bind("[::1]:0").expect("a socket");
        let to = receiver.local_addr().expect("its address");
        let socket = Socket::from(receiver);
        socket.set_recv_hoplimit_v6(true).expect("an option");
        let mut buffers = Buffers::new();
        assert_eq!(buffers.receive(&socket, BATCH).expect("nothing").count(), 0);
        for lengths in [vec![1200, 5000, 0], vec![7, 20], vec![3]] {
            for length in &lengths {
                sender.send_to(&vec![1; *length], to).expect("sent");
            }
            let read: Vec<_> = buffers
                .receive(&socket, 2)
                .expect("read")
                .map(|one| {
                    let controls: Vec<_> =
                        one.controls().map(|(level, kind, content)| (level, kind, content.len())).collect();
                    (one.octets.len(), one.whole, one.source(), controls)
                })
                .collect();
            let hops = vec![(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, 4)];
            let want: Vec<_> = lengths
                .iter()
                .take(2)
                .map(|length| {
                    (DATAGRAM.min(*length), *length <= DATAGRAM, Some(Ipv6Addr::LOCALHOST), hops.clone())
                })
                .collect();
            assert_eq!(read, want);
            let left = buffers.receive(&socket, BATCH).expect("read").count();
            assert_eq!(left, lengths.len().saturating_sub(2));
        }
    }

    proptest! {
        #[test]
        fn any_ancillary_data_comes_to_an_end(octets in prop::collection::vec(any::<u8>(), 0..CONTROL)) {
            prop_assert!(message(&octets).controls().count() <= CONTROL / size_of::<libc::cmsghdr>());
        }
    }
}

//! The rtnetlink socket: requests in batches, and everything that the kernel says, in its order.
//!
//! One socket carries requests and the monitor. Up to [`RouteSocket::batch`] requests go out in one
//! send, on return of which the kernel has worked them off; only the last asks for an
//! acknowledgement, every other answer is a refusal of its request.
//!
//! Not here: what to ask for and what to make of it (`netconf`), messages about links and addresses
//! (`kernel`).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkMessage, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

/// Room for what the kernel says: a burst of 3,000 messages about addresses.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel doubles it, in a number of 31 bits.
const MOST_BUFFER: usize = (1 << 30) - 1;
/// Requests in one send. A change of an address is told in 1 KiB of the receive buffer, as the
/// kernel counts; larger batches are not faster.
const BATCH: usize = 128;
/// Requests in one send with the default receive buffer (212,992 octets).
const SMALL_BATCH: usize = 64;
/// Octets of the largest datagram: the kernel's dumps come in 32 KiB at most.
pub(super) const DATAGRAM: usize = 65_536;
/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`, `RTNLGRP_IPV6_NETCONF`
/// (linux/rtnetlink.h).
const GROUPS: [u32; 4] = [1, 5, 9, 25];
/// `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`, `RTNLGRP_IPV4_RULE`, `RTNLGRP_IPV6_RULE`: joined when routes or rules
/// are held.
const ROUTE_GROUPS: [u32; 4] = [7, 11, 8, 19];
/// Where in a datagram the type, the flags and, of a route, the protocol of its first message stand.
const TYPE_AT: u32 = 4;
const FLAGS_AT: u32 = 6;
const PROTOCOL_AT: u32 = 16 + 5;
/// Instructions of classic BPF (linux/bpf_common.h): load two octets, load one, jump if equal, jump if any bit is set,
/// return.
const LOAD_TWO: u16 = 0x28;
const LOAD_ONE: u16 = 0x30;
const IF_EQUAL: u16 = 0x15;
const IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// A socket of the network namespace of the thread that opens it; nothing on it waits but
/// [`RouteSocket::wait`].
#[derive(Debug)]
pub(super) struct RouteSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    batch: usize,
    octets: Vec<u8>,
}

/// What the kernel is asked to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub message: RouteNetlinkMessage,
    /// `NLM_F_CREATE` and the like; `NLM_F_REQUEST` and `NLM_F_ACK` come by themselves.
    pub flags: u16,
}

impl RouteSocket {
    /// Opens it; from here on it receives what changes.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let groups = GROUPS.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        // Refused without CAP_NET_ADMIN in the first user namespace (containers).
        let forced = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER);
        let batch = if forced.is_ok() { BATCH } else { SMALL_BATCH };
        socket.bind(&SocketAddr::new(0, groups))?;
        let mut own = SocketAddr::new(0, 0);
        socket.get_address(&mut own)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Lists of some routes only (kernels from 4.20 on); older ones list all, which is sorted out here.
        let _older = socket.set_netlink_get_strict_chk(true);
        Ok(RouteSocket { socket, port: own.port_number(), sequence: 0, batch, octets: Vec::new() })
    }

    /// Gives it a receive buffer of at least so many octets, above the host's limit where that is permitted; never
    /// less than it was opened with.
    pub fn resize(&self, octets: u32) -> io::Result<()> {
        let octets = usize::try_from(octets).unwrap_or(usize::MAX).clamp(RECEIVE_BUFFER, MOST_BUFFER);
        if setsockopt(&self.socket.as_fd(), sockopt::RcvBufForce, &octets).is_err() {
            setsockopt(&self.socket.as_fd(), sockopt::RcvBuf, &octets)?;
        }
        Ok(())
    }

    /// Octets of the receive buffer, as the kernel counts: twice what was asked for.
    #[cfg(test)]
    pub fn room(&self) -> io::Result<usize> {
        Ok(nix::sys::socket::getsockopt(&self.socket.as_fd(), sockopt::RcvBuf)?)
    }

    /// Most requests of one send.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Whether a message says that the change which it tells was asked for here.
    pub fn is_own(&self, incoming: &Incoming<'_>) -> bool {
        incoming.port == self.port
    }

    /// From here on it receives changes of rules, and of routes of these protocols: a router with all routes of the
    /// Internet changes thousands a second.
    pub fn watch_routes(&self, protocols: &BTreeSet<u8>) -> io::Result<()> {
        let program: Vec<SockFilter> = route_filter(protocols)
            .into_iter()
            .map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k))
            .collect();
        SockRef::from(&self.socket).attach_filter(&program)?;
        ROUTE_GROUPS.into_iter().try_for_each(|group| self.socket.add_membership(group))
    }

    /// Sends requests, not more than [`RouteSocket::batch`]; the kernel has carried them out then,
    /// and the answers can be received.
    pub fn send(&mut self, requests: Vec<Request>) -> io::Result<Sent> {
        let sent = Sent {
            first: self.sequence.wrapping_add(1),
            count: requests.len(),
            port: self.port,
            dump: false,
        };
        let last = requests.len().saturating_sub(1);
        self.octets.clear();
        for (index, Request { message, flags }) in requests.into_iter().enumerate() {
            let acknowledge = if index == last { NLM_F_ACK } else { 0 };
            self.push(message, NLM_F_REQUEST | flags | acknowledge);
        }
        self.socket.send(&self.octets, 0)?;
        Ok(sent)
    }

    /// Asks for a list. One at a time.
    pub fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Sent> {
        let sent = Sent { first: self.sequence.wrapping_add(1), count: 1, port: self.port, dump: true };
        self.octets.clear();
        self.push(request, NLM_F_REQUEST | NLM_F_DUMP);
        self.socket.send(&self.octets, 0)?;
        Ok(sent)
    }

    fn push(&mut self, request: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = self.octets.len();
        self.octets.resize(start + message.buffer_len(), 0);
        message.serialize(self.octets.get_mut(start..).unwrap_or_default());
    }

    /// Receives a datagram into `buffer` ([`DATAGRAM`] octets), if there is one.
    ///
    /// # Errors
    /// ENOBUFS when messages were lost, else what the system says.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        let received = {
            let mut room = &mut *buffer;
            self.socket.recv(&mut room, 0)
        };
        match received {
            Ok(length) => Ok(buffer.get(..length)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for a datagram until `until` at most.
    pub fn wait(&self, until: Instant) -> io::Result<()> {
        wait(&mut [PollFd::new(self.fd(), PollFlags::POLLIN)], Some(until))
    }

    /// For those that wait for other things too.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A program that drops changes of routes of other protocols: code, jump if true, jump if false, value. Lists are let
/// through.
fn route_filter(protocols: &BTreeSet<u8>) -> Vec<(u16, u8, u8, u32)> {
    // The program reads numbers as the network orders them, the kernel's messages are as the host orders them.
    let swapped = |number: u16| u32::from(u16::from_be_bytes(number.to_ne_bytes()));
    let mut program = vec![
        (LOAD_TWO, 0, 0, TYPE_AT),
        (IF_EQUAL, 1, 0, swapped(libc::RTM_NEWROUTE)),
        (IF_EQUAL, 0, 2, swapped(libc::RTM_DELROUTE)),
        (LOAD_TWO, 0, 0, FLAGS_AT),
        (IF_SET, 0, 1, swapped(NLM_F_MULTIPART)),
        (RETURN, 0, 0, u32::MAX),
        (LOAD_ONE, 0, 0, PROTOCOL_AT),
    ];
    for protocol in protocols {
        program.extend([(IF_EQUAL, 0, 1, u32::from(*protocol)), (RETURN, 0, 0, u32::MAX)]);
    }
    program.push((RETURN, 0, 0, 0));
    program
}

/// Waits until one of `fds` is ready, or until `until`; a signal ends it early.
pub(super) fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    let limit = match until {
        None => PollTimeout::NONE,
        // Up to the next millisecond: poll counts in whole ones.
        Some(until) => {
            let rest = until.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)
        }
    };
    match poll(fds, limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Requests of which the answers are awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    first: u32,
    count: usize,
    port: u32,
    dump: bool,
}

/// What a message says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Of the request of this index.
    Refused(usize, Refusal),
    /// All that were not refused were carried out; the list is complete.
    End,
    /// An entry of a list, which says whether the list changed meanwhile.
    Entry {
        /// Entries may be missing.
        interrupted: bool,
    },
}

/// The kernel's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", errno.desc(), detail.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
pub(super) struct Refusal {
    pub errno: Errno,
    /// The kernel's words.
    pub detail: Option<String>,
}

impl Sent {
    /// What `incoming` says about these requests; with a refusal of the last one all are answered too.
    pub fn answer(&self, incoming: &Incoming<'_>) -> Option<Answer> {
        let index = usize::try_from(incoming.sequence.wrapping_sub(self.first)).ok()?;
        if incoming.port != self.port || index >= self.count {
            return None;
        }
        match incoming.kind {
            NLMSG_ERROR | NLMSG_DONE => match incoming.code().unwrap_or(0) {
                0 => Some(Answer::End),
                number => {
                    let errno = Errno::from_raw(number.saturating_abs());
                    Some(Answer::Refused(index, Refusal { errno, detail: incoming.detail() }))
                }
            },
            _ if self.dump => Some(Answer::Entry { interrupted: incoming.flags & NLM_F_DUMP_INTR != 0 }),
            // The monitor's message about a change asked for here.
            _ => None,
        }
    }

    /// Whether nothing more comes after a refusal.
    pub fn is_last(&self, index: usize) -> bool {
        index + 1 == self.count
    }
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    /// `RTM_…` or `NLMSG_…`
    pub kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

impl Incoming<'_> {
    fn code(&self) -> Option<i32> {
        self.payload.first_chunk().map(|octets| i32::from_ne_bytes(*octets))
    }

    /// The extended acknowledgement, which follows the copy of the request's header and, unless
    /// capped, of the request.
    fn detail(&self) -> Option<String> {
        if self.kind != NLMSG_ERROR || self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let copy = self.payload.get(4..)?;
        let skip = if self.flags & NLM_F_CAPPED == 0 {
            let length = u32::from_ne_bytes(*copy.first_chunk()?);
            usize::try_from(length).ok()?.checked_next_multiple_of(4)?.max(HEADER)
        } else {
            HEADER
        };
        let text = NlasIterator::new(copy.get(skip..)?)
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
        let text = text.value().split(|octet| *octet == 0).next().unwrap_or_default();
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

/// The messages of a datagram; what is cut off ends it.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Incoming<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        rest = rest.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(Incoming {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            port: message.port_number(),
            payload: message.payload(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as the kernel writes it.
    fn message(kind: u16, flags: u16, sequence: u32, port: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).expect("length");
        let mut octets = length.to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend(flags.to_ne_bytes());
        octets.extend(sequence.to_ne_bytes());
        octets.extend(port.to_ne_bytes());
        octets.extend(payload);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    fn error(code: i32, text: &str) -> Vec<u8> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        let length = u16::try_from(4 + text.len() + 1).expect("length");
        payload.extend(length.to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(text.as_bytes());
        payload.push(0);
        payload
    }

    #[test]
    fn answers_of_a_batch() {
        // Sequence numbers wrap within it.
        let sent = Sent { first: u32::MAX, count: 3, port: 7, dump: false };
        let list = Sent { first: u32::MAX, count: 1, port: 7, dump: true };
        let capped = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        let refused = |index, errno, detail: Option<&str>| {
            Some(Answer::Refused(index, Refusal { errno, detail: detail.map(str::to_owned) }))
        };
        let ack = 0_i32.to_ne_bytes();
        for (name, sent, octets, want) in [
            ("acknowledged", sent, message(NLMSG_ERROR, 0, 1, 7, &ack), Some(Answer::End)),
            (
                "refused with words",
                sent,
                message(NLMSG_ERROR, capped, 0, 7, &error(-22, "Invalid label")),
                refused(1, Errno::EINVAL, Some("Invalid label")),
            ),
            (
                "refused without",
                sent,
                message(NLMSG_ERROR, 0, u32::MAX, 7, &(-17_i32).to_ne_bytes()),
                refused(0, Errno::EEXIST, None),
            ),
            ("of another request", sent, message(NLMSG_ERROR, 0, 2, 7, &ack), None),
            ("of another socket", sent, message(NLMSG_ERROR, 0, 1, 8, &ack), None),
            ("the change itself", sent, message(libc::RTM_NEWADDR, 0, 1, 7, &[0; 8]), None),
            (
                "entry of a list",
                list,
                message(libc::RTM_NEWADDR, 2, u32::MAX, 7, &[0; 8]),
                Some(Answer::Entry { interrupted: false }),
            ),
            (
                "entry of a list that changes",
                list,
                message(libc::RTM_NEWADDR, NLM_F_DUMP_INTR, u32::MAX, 7, &[0; 8]),
                Some(Answer::Entry { interrupted: true }),
            ),
            ("end of a list", list, message(NLMSG_DONE, 2, u32::MAX, 7, &ack), Some(Answer::End)),
        ] {
            let all: Vec<_> = messages(&octets).collect();
            let [incoming] = all.as_slice() else { panic!("{name}: {all:?}") };
            assert_eq!(sent.answer(incoming), want, "{name}");
        }
    }

    #[test]
    fn the_receive_buffer_is_as_large_as_asked_for_and_not_less_than_needed() {
        let socket = RouteSocket::open().expect("a socket");
        if socket.batch() == SMALL_BATCH {
            let reason = "needs CAP_NET_ADMIN";
            return lbd_integration::skip::report("router::route::tests::the_receive_buffer", reason);
        }
        let own = socket.room().expect("a size");
        for (octets, want) in [(0, own), (9_000_000, 18_000_000), (65_536, own), (u32::MAX, 2 * MOST_BUFFER)]
        {
            socket.resize(octets).expect("sized");
            assert_eq!(socket.room().expect("a size"), want, "{octets}");
        }
    }

    /// What the kernel would make of a datagram.
    fn passes(program: &[(u16, u8, u8, u32)], octets: &[u8]) -> bool {
        let (mut at, mut value) = (0, 0_u32);
        let load = |from: u32, count: usize| -> Option<u32> {
            let from = usize::try_from(from).expect("offset");
            Some(octets.get(from..from + count)?.iter().fold(0, |all, octet| all << 8 | u32::from(*octet)))
        };
        loop {
            let (code, yes, no, operand) = program[at];
            let jump = |taken: bool| usize::from(if taken { yes } else { no });
            at += 1;
            match code {
                LOAD_TWO | LOAD_ONE => match load(operand, if code == LOAD_TWO { 2 } else { 1 }) {
                    Some(loaded) => value = loaded,
                    None => return false,
                },
                IF_EQUAL => at += jump(value == operand),
                IF_SET => at += jump(value & operand != 0),
                RETURN => return operand > 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn changes_of_other_routes_are_not_received() {
        let route = |protocol| [2, 24, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0];
        for protocols in [BTreeSet::from([18]), BTreeSet::from([4, 18, 200]), (1..=255).collect()] {
            let program = route_filter(&protocols);
            for protocol in 0..=255 {
                let want = protocols.contains(&protocol);
                for kind in [libc::RTM_NEWROUTE, libc::RTM_DELROUTE] {
                    let one = message(kind, 0x600, 1, 7, &route(protocol));
                    assert_eq!(passes(&program, &one), want, "{kind} {protocol}");
                }
                let listed = message(libc::RTM_NEWROUTE, NLM_F_MULTIPART, 1, 7, &route(protocol));
                assert!(passes(&program, &listed), "a list: {protocol}");
            }
            for kind in [libc::RTM_NEWLINK, libc::RTM_DELADDR, libc::RTM_NEWRULE, NLMSG_ERROR, NLMSG_DONE] {
                assert!(passes(&program, &message(kind, 0, 1, 7, &[0; 16])), "{kind}");
            }
        }
    }

    #[test]
    fn datagrams_of_any_octets() {
        let two = [message(NLMSG_ERROR, 0, 1, 7, &[1, 0, 0, 0]), message(20, 0, 2, 7, &[0; 5])].concat();
        for (name, octets, want) in [
            ("nothing", &two[..0], 0),
            ("two", &two[..], 2),
            ("the second cut off", &two[..40], 1),
            ("a header cut off", &two[..12], 0),
            ("a length of nothing", &[0; 32][..], 0),
            ("a length beyond", &[0xff; 32][..], 0),
        ] {
            assert_eq!(messages(octets).count(), want, "{name}");
        }
    }
}

//! The kernel's events about processes (Documentation/driver-api/connector.rst, linux/cn_proc.h).
//!
//! Here: the socket, and its messages as values. Not here: what becomes of them (`super`).
//!
//! ```text
//! nlmsghdr 16 | cn_msg: idx 4 val 4 seq 4 ack 4 len 2 flags 2 | what 4 cpu 4 time 8 | numbers, 4 octets each
//! ```
//!
//! The kernel tells only who is in the first network, process and user namespaces, and to others it does not even
//! refuse: it is silent.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use lbd_grammar::config::Buffer;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

use super::Feed;

const NETLINK_CONNECTOR: isize = 11;
/// `CN_IDX_PROC` and `CN_VAL_PROC`: who tells, and the group of those that listen.
const INDEX: u32 = 1;
const VALUE: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`, `PROC_CN_MCAST_IGNORE`
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// `struct nlmsghdr`, `struct cn_msg`, and what stands before the numbers of an event.
const HEADER: usize = 16;
const CONNECTOR: usize = 20;
const EVENT: usize = 16;
/// Events that count (`enum what`).
const NONE: u32 = 0;
const FORK: u32 = 1;
const EXEC: u32 = 2;
const COMM: u32 = 0x200;
const EXIT: u32 = 0x8000_0000;
/// Without process_monitor_rcv_bufs: some 1,300 events, as the kernel counts.
const BUFFER: usize = 1 << 20;
/// The kernel doubles it, in a number of 31 bits: of more it would take the last bits.
const MOST: usize = (1 << 30) - 1;
/// Octets of the largest datagram: events come one by one.
pub(super) const DATAGRAM: usize = 4096;

/// What happened to a process. Threads are not told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessEvent {
    /// The kernel tells events from here on, or this is why not.
    Listening(Option<i32>),
    /// It was made by another one.
    Fork { parent: i32, child: i32 },
    /// It runs another program.
    Exec(i32),
    /// It has another name.
    Name(i32),
    /// It has ended.
    Exit(i32),
}

/// A socket for events, which never waits.
#[derive(Debug)]
pub(super) struct Connector(Socket);

impl Connector {
    /// Opens it and asks for events. Whether there will be any says the first, if it comes.
    ///
    /// # Errors
    /// Where there is no connector, or rights (CAP_NET_ADMIN) are missing.
    pub fn open(buffer: Buffer) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_CONNECTOR)?;
        socket.bind(&SocketAddr::new(0, INDEX))?;
        // Nobody but the kernel can send to it then.
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        let connector = Connector(socket);
        connector.resize(buffer);
        connector.0.send(&request(LISTEN), 0)?;
        Ok(connector)
    }
}

impl Feed for Connector {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        let received = {
            let mut room = &mut *buffer;
            self.0.recv(&mut room, 0)
        };
        match received {
            Ok(length) => Ok(buffer.get(..length)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn resize(&self, buffer: Buffer) {
        let size =
            buffer.bytes.map_or(BUFFER, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)).min(MOST);
        let by_force = buffer.force || buffer.bytes.is_none();
        let forced = by_force && setsockopt(&self.0.as_fd(), sockopt::RcvBufForce, &size).is_ok();
        if !forced && let Err(errno) = setsockopt(&self.0.as_fd(), sockopt::RcvBuf, &size) {
            tracing::warn!(%errno, size, "process_monitor_rcv_bufs: the kernel's default is used");
        }
    }
}

impl Drop for Connector {
    /// The kernel counts listeners; older ones do not see that one has gone.
    fn drop(&mut self) {
        let _nothing_to_do_about_it = self.0.send(&request(IGNORE), 0);
    }
}

fn request(operation: u32) -> Vec<u8> {
    let operation = operation.to_ne_bytes();
    let length = u16::try_from(operation.len()).unwrap_or_default();
    let mut octets = Vec::new();
    let whole = u32::try_from(HEADER + CONNECTOR + operation.len()).unwrap_or_default();
    octets.extend(whole.to_ne_bytes());
    octets.extend(DONE.to_ne_bytes());
    octets.extend([0; 10]);
    for word in [INDEX, VALUE, 0, 0] {
        octets.extend(word.to_ne_bytes());
    }
    octets.extend(length.to_ne_bytes());
    octets.extend([0; 2]);
    octets.extend(operation);
    octets
}

/// The events in a datagram, which may hold anything.
pub(super) fn events(mut datagram: &[u8]) -> impl Iterator<Item = ProcessEvent> {
    std::iter::from_fn(move || {
        while datagram.len() >= HEADER {
            let length = usize::try_from(word(datagram, 0)?).ok().filter(|length| *length >= HEADER)?;
            let message = datagram.get(..length)?;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Some(event) = event(message) {
                return Some(event);
            }
        }
        None
    })
}

fn event(message: &[u8]) -> Option<ProcessEvent> {
    let connector = message.get(HEADER..)?;
    if (word(connector, 0)?, word(connector, 4)?) != (INDEX, VALUE) {
        return None;
    }
    let event = connector.get(CONNECTOR..)?;
    let number = |at: usize| word(event, EVENT + 4 * at).map(u32::cast_signed);
    // The number of a thread, then that of its process.
    let first_thread = |at: usize| number(at).filter(|thread| number(at + 1) == Some(*thread));
    match word(event, 0)? {
        NONE => Some(ProcessEvent::Listening(number(0).filter(|errno| *errno != 0))),
        FORK => Some(ProcessEvent::Fork { parent: number(1)?, child: first_thread(2)? }),
        EXEC => number(1).map(ProcessEvent::Exec),
        COMM => first_thread(0).map(ProcessEvent::Name),
        EXIT => first_thread(0).map(ProcessEvent::Exit),
        _ => None,
    }
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use proptest::prelude::*;

    const CAP_NET_ADMIN: u32 = 12;

    pub fn message(index: u32, what: u32, numbers: &[i32]) -> Vec<u8> {
        let length = HEADER + CONNECTOR + EVENT + 4 * numbers.len();
        let mut octets = Vec::new();
        octets.extend(u32::try_from(length).expect("short").to_ne_bytes());
        octets.extend([0; HEADER - 4]);
        octets.extend([index, VALUE, 7, 0].map(u32::to_ne_bytes).concat());
        octets.extend([0; 4]);
        octets.extend(what.to_ne_bytes());
        octets.extend([0; EVENT - 4]);
        octets.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        octets
    }

    #[test]
    fn messages() {
        use ProcessEvent::{Exec, Exit, Fork, Listening, Name};
        let cut = |mut octets: Vec<u8>, length: usize| {
            octets.truncate(length);
            octets
        };
        for (name, octets, want) in [
            ("acknowledged", message(1, NONE, &[0]), vec![Listening(None)]),
            ("refused", message(1, NONE, &[22]), vec![Listening(Some(22))]),
            ("fork", message(1, FORK, &[10, 10, 11, 11]), vec![Fork { parent: 10, child: 11 }]),
            ("fork by a thread", message(1, FORK, &[12, 10, 11, 11]), vec![Fork { parent: 10, child: 11 }]),
            ("a thread", message(1, FORK, &[10, 10, 12, 10]), vec![]),
            ("exec", message(1, EXEC, &[12, 10]), vec![Exec(10)]),
            ("name", message(1, COMM, &[10, 10, 0, 0, 0, 0]), vec![Name(10)]),
            ("name of a thread", message(1, COMM, &[12, 10, 0, 0, 0, 0]), vec![]),
            ("exit", message(1, EXIT, &[10, 10, 0, 17]), vec![Exit(10)]),
            ("exit of a thread", message(1, EXIT, &[12, 10, 0, 17]), vec![]),
            ("something else", message(1, 4, &[10, 10, 0, 0]), vec![]),
            ("of another connector", message(2, EXIT, &[10, 10]), vec![]),
            ("two", [message(1, EXEC, &[1, 1]), message(1, EXIT, &[1, 1])].concat(), vec![Exec(1), Exit(1)]),
            ("cut off", cut(message(1, FORK, &[10, 10, 11, 11]), 60), vec![]),
            ("no numbers", message(1, FORK, &[]), vec![]),
            ("length of nothing", vec![0; 64], vec![]),
            ("empty", Vec::new(), vec![]),
        ] {
            assert_eq!(events(&octets).collect::<Vec<_>>(), want, "{name}");
        }
    }

    /// process_monitor_rcv_bufs; the kernel counts twice what is asked for, for what it needs itself.
    #[test]
    fn room_for_events() {
        let connector = match Connector::open(Buffer { bytes: Some(50_000), force: false }) {
            Ok(connector) => connector,
            Err(error) => {
                return lbd_integration::skip::report("room_for_events", &format!("no connector: {error}"));
            }
        };
        let size = || getsockopt(&connector.fd(), sockopt::RcvBuf).expect("a size");
        assert_eq!(size(), 100_000);
        if !crate::limits::has_capability(CAP_NET_ADMIN) {
            return lbd_integration::skip::report("room_for_events", "the rest needs CAP_NET_ADMIN");
        }
        // More than others may have (net.core.rmem_max).
        for (bytes, force, want) in
            [(9_000_000, true, 18_000_000), (u32::MAX, true, usize::try_from(i32::MAX - 1).expect("a size"))]
        {
            connector.resize(Buffer { bytes: Some(bytes), force });
            assert_eq!(size(), want, "{bytes}");
        }
        connector.resize(Buffer { bytes: Some(9_000_000), force: false });
        assert!(size() <= 18_000_000, "{}", size());
        connector.resize(Buffer::default());
        assert_eq!(size(), 2 * BUFFER);
    }

    #[test]
    fn asking() {
        let octets = request(LISTEN);
        assert_eq!((octets.len(), word(&octets, 0)), (40, Some(40)));
        assert_eq!(octets[4..6], DONE.to_ne_bytes());
        assert_eq!((word(&octets, 16), word(&octets, 20), word(&octets, 36)), (Some(1), Some(1), Some(1)));
        assert_eq!(octets[32..34], 4_u16.to_ne_bytes());
    }

    proptest! {
        /// Whatever comes: no panic, no endless loop, no more events than there is room for.
        #[test]
        fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(events(&octets).count() <= octets.len() / HEADER);
        }

        /// The same where more of it makes sense: cut at any place, with a length of its own.
        #[test]
        fn messages_with_faults(
            what in prop::sample::select(vec![NONE, FORK, EXEC, COMM, EXIT]),
            numbers in prop::collection::vec(any::<i32>(), 0..8),
            length in 0_u32..200,
            end in 0_usize..200,
        ) {
            let mut octets = [message(1, what, &numbers), message(1, EXIT, &[3, 3])].concat();
            octets[..4].copy_from_slice(&length.to_ne_bytes());
            octets.truncate(end);
            prop_assert!(events(&octets).count() <= 200 / HEADER);
        }
    }
}

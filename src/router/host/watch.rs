//! Whether somebody else removes the packet filter: whoever loads another rule set flushes ours with the rest.
//!
//! Here: hearing of it. Not here: setting it again (`worker`).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::NlasIterator;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use crate::router::route::{self, DATAGRAM, Incoming};
use crate::router::talk::DATAGRAMS;

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h)
const GROUP: u32 = 7;
/// `NFNL_SUBSYS_NFTABLES`, `NFT_MSG_DELTABLE` (linux/netfilter/nf_tables.h)
const DELETED_TABLE: u16 = 10 << 8 | 2;
/// `NFTA_TABLE_NAME`
const NAME: u16 = 1;
/// `struct nfgenmsg`
const HEADER: usize = 4;

/// A socket of the network namespace of the thread that opens it.
#[derive(Debug)]
pub(super) struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Watch {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.add_membership(GROUP)?;
        Ok(Watch { socket, buffer: vec![0; DATAGRAM] })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether any of these tables was removed since this was asked last, or that cannot be ruled out.
    ///
    /// # Errors
    /// What the system says; nothing more is to be heard then.
    pub fn removed(&mut self, tables: &BTreeSet<String>) -> io::Result<bool> {
        let mut removed = false;
        for _ in 0..DATAGRAMS {
            let received = {
                let mut room = self.buffer.as_mut_slice();
                self.socket.recv(&mut room, 0)
            };
            match received.map_err(|error| (error.raw_os_error(), error)) {
                Ok(length) => {
                    let datagram = self.buffer.get(..length).unwrap_or_default();
                    let is_ours = |incoming: Incoming<'_>| {
                        removed_table(&incoming).is_some_and(|name| tables.contains(&name))
                    };
                    removed |= route::messages(datagram).any(is_ours);
                }
                Err((Some(libc::EAGAIN), _)) => break,
                Err((Some(libc::EINTR), _)) => {}
                // Messages were lost.
                Err((Some(libc::ENOBUFS), _)) => removed = !tables.is_empty(),
                Err((_, error)) => return Err(error),
            }
        }
        Ok(removed)
    }
}

fn removed_table(incoming: &Incoming<'_>) -> Option<String> {
    if incoming.kind != DELETED_TABLE {
        return None;
    }
    let attributes = NlasIterator::new(incoming.payload.get(HEADER..)?);
    let name = attributes.map_while(Result::ok).find(|attribute| attribute.kind() == NAME)?;
    let text = name.value().split(|octet| *octet == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

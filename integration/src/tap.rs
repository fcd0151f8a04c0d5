//! What hosts send, taken on the switch's side of their cards: who sent a frame is known by the port it came in by, whatever
//! the frame says, and when by the kernel's clock.
//!
//! Here: ARP, ICMPv6, VRRP and Authentication Headers as frames, and files of them. Not here: what is in them ([`crate::decode`]).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use nix::cmsg_space;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::netns::Netns;
use crate::topology::Lab;

/// A frame that a host sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it reached the switch, since 1970.
    pub at: Duration,
    /// Which of the tap's ports it came in by.
    pub port: usize,
    /// From the Ethernet header on.
    pub octets: Vec<u8>,
}

/// The time on the clock of [`Frame::at`].
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Records what comes in by some ports of a lab's switch.
#[derive(Debug)]
pub struct Tap {
    stop: Arc<AtomicBool>,
    frames: Arc<Mutex<Vec<Frame>>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Tap {
    /// Starts to record what the cards `(host, device)` send; [`Frame::port`] counts in that order.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the lab has no such card.
    pub fn start(lab: &Lab, cards: &[(&str, &str)]) -> Result<Self> {
        let ports = cards
            .iter()
            .map(|(host, dev)| index(lab.switch(), &format!("{host}-{dev}")))
            .collect::<Result<Vec<u32>>>()?;
        let socket = lab
            .switch()
            .run(|| {
                Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ETH_P_ALL.to_be()))))
            })?
            .context("packet socket")?;
        socket.attach_filter(&filter(&ports)?)?;
        socket.set_recv_buffer_size(8 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let frames = Arc::new(Mutex::new(Vec::new()));
        let ports = ports.into_iter().zip(0..).collect();
        let (flag, list) = (Arc::clone(&stop), Arc::clone(&frames));
        let thread = std::thread::spawn(move || record(&socket, &ports, &flag, &list));
        Ok(Self { stop, frames, thread: Some(thread) })
    }

    /// What was sent so far, in order.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was sent since `since`, as far as `read` makes something of it.
    pub fn since<T>(&self, since: Duration, read: impl Fn(&Frame) -> Option<T>) -> Vec<T> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter(|frame| frame.at >= since).filter_map(read).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(
    socket: &Socket,
    ports: &HashMap<u32, usize>,
    stop: &AtomicBool,
    frames: &Mutex<Vec<Frame>>,
) -> Result<()> {
    let mut buffer = [0; 2048];
    let mut control = cmsg_space!(TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let Ok(message) =
            recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())
        else {
            continue;
        };
        let at = message.cmsgs()?.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let port = message.address.and_then(|address| u32::try_from(address.ifindex()).ok());
        let (length, port) = (message.bytes, port.and_then(|index| ports.get(&index)));
        let (Some(at), Some(port), Some(octets)) = (at, port, buffer.get(..length)) else { continue };
        let frame = Frame { at, port: *port, octets: octets.to_vec() };
        frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
    }
    Ok(())
}

/// linux/if_ether.h
const ETH_P_ALL: u16 = 3;

/// Takes what comes in by `ports` and is of the protocols that VRRP is about; the rest costs the reader nothing
/// (linux/filter.h: ancillary data stands below zero).
fn filter(ports: &[u32]) -> Result<Vec<SockFilter>> {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_OCTET: u16 = 0x30;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ANCILLARY: u32 = 0xffff_f000;
    const PACKET_TYPE: u32 = ANCILLARY + 4;
    const INTERFACE: u32 = ANCILLARY + 8;
    const OUTGOING: u32 = 4;
    // The protocols' octet in IPv4 and IPv6: hop-by-hop options are multicast listener reports.
    let jump = |value, yes, no| SockFilter::new(EQUAL, yes, no, value);
    let load = |code, at| SockFilter::new(code, 0, 0, at);
    let mut program = vec![load(LOAD_WORD, PACKET_TYPE), jump(OUTGOING, 0, 1), load(RETURN, 0)];
    program.push(load(LOAD_WORD, INTERFACE));
    for (done, port) in ports.iter().enumerate() {
        // Past the ports that are left and the refusal behind them.
        program.push(jump(*port, u8::try_from(ports.len() - done)?, 0));
    }
    program.push(load(RETURN, 0));
    program.extend([
        load(LOAD_HALF, 12),
        jump(0x0806, 9, 0),
        jump(0x0800, 0, 3),
        load(LOAD_OCTET, 23),
        jump(112, 6, 0),
        jump(51, 5, 6),
        jump(0x86dd, 0, 5),
        load(LOAD_OCTET, 20),
        jump(112, 2, 0),
        jump(58, 1, 0),
        jump(0, 0, 1),
        load(RETURN, u32::MAX),
        load(RETURN, 0),
    ]);
    Ok(program)
}

fn index(ns: &Netns, dev: &str) -> Result<u32> {
    let links = ns.ip_show(&["-o", "link", "show", "dev", dev])?;
    links
        .split_once(':')
        .and_then(|(index, _)| index.trim().parse().ok())
        .ok_or_else(|| anyhow!("no interface {dev} in {links:?}"))
}

/// Writes a capture file of nanoseconds and Ethernet (pcap, as tcpdump and Wireshark read it).
///
/// # Errors
/// When it cannot be written.
pub fn write_pcap<'f>(path: &Path, frames: impl IntoIterator<Item = &'f Frame>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    file.write_all(&0xa1b2_3c4d_u32.to_le_bytes())?;
    file.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    for word in [65_535_u32, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for frame in frames {
        let length = u32::try_from(frame.octets.len())?;
        let seconds = u32::try_from(frame.at.as_secs())?;
        for word in [seconds, frame.at.subsec_nanos(), length, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame.octets)?;
    }
    Ok(file.flush()?)
}

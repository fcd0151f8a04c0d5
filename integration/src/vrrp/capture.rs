//! Frames of a namespace, sent and received, with the times at which the kernel saw them.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Socket, Type};

use super::frame::{self, Frame};
use crate::netns::Netns;
use crate::wait;

const ETH_P_ALL: u16 = 0x0003;
/// For what comes while the reader naps.
const BUFFER: usize = 32 << 20;

/// A frame and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Since 1970, by the kernel (`SO_TIMESTAMPNS`): a late reader changes nothing.
    pub at: Duration,
    /// What it was.
    pub frame: Frame,
}

/// Records frames until it is dropped.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Frames that the kernel had no room for.
    lost: AtomicU32,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Capture {
    /// Opens a packet socket in the namespace and starts to record. The reader sleeps for `nap` after each look, so that it
    /// takes little from what is measured; records are that old at most.
    ///
    /// # Errors
    /// Without CAP_NET_RAW and CAP_NET_ADMIN.
    pub fn start(ns: &Netns, nap: Duration) -> Result<Self> {
        let socket = ns
            .run(|| Socket::new(Domain::PACKET, Type::RAW, Some(i32::from(ETH_P_ALL.to_be()).into())))?
            .context("packet socket")?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (stop, shared) = (Arc::new(AtomicBool::new(false)), Arc::new(Shared::default()));
        let (flag, list) = (Arc::clone(&stop), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                let mut flags = MsgFlags::empty();
                while let Some(seen) = receive(&socket, flags, &list.lost) {
                    flags = MsgFlags::MSG_DONTWAIT;
                    if let Some(seen) = seen {
                        list.seen().push(seen);
                    }
                }
                wait::pause(nap);
            }
        })?;
        Ok(Self { stop, shared, thread: Some(thread) })
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.shared.seen())
    }

    /// Takes out what was seen so far.
    ///
    /// # Errors
    /// When frames were lost.
    pub fn take(&self) -> Result<Vec<Seen>> {
        let lost = self.shared.lost.load(Ordering::Relaxed);
        ensure!(lost == 0, "{lost} frames of the capture were lost: is the machine overloaded?");
        Ok(std::mem::take(&mut *self.shared.seen()))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One frame: `None` when there is none, `Some(None)` when it does not count.
fn receive(socket: &Socket, flags: MsgFlags, lost: &AtomicU32) -> Option<Option<Seen>> {
    let mut octets = [0; 128];
    let mut slices = [IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(TimeSpec, u32);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).ok()?;
    let mut at = None;
    for one in message.cmsgs().ok()? {
        match one {
            ControlMessageOwned::ScmTimestampns(time) => at = Some(Duration::from(time)),
            ControlMessageOwned::RxqOvfl(count) => lost.store(count, Ordering::Relaxed),
            _ => {}
        }
    }
    let length = message.bytes;
    let frame = octets.get(..length).and_then(frame::parse);
    Some(at.zip(frame).map(|(at, frame)| Seen { at, frame }))
}

//! VRRP advertisements as a host receives them, with their times: what "since the last advert" is measured from.

use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;

const ETH_P_IP: u16 = 0x0800;
const IPPROTO_VRRP: u8 = 112;

/// An advertisement that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// When.
    pub at: Instant,
    /// Sender.
    pub source: Ipv4Addr,
    /// Virtual router.
    pub vrid: u8,
    /// Priority; 0 is a resignation.
    pub priority: u8,
    /// Time to live of the packet; 255 is due.
    pub ttl: u8,
}

/// Records the advertisements that arrive in a namespace.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    adverts: Arc<Mutex<Vec<Advert>>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Opens a packet socket in the namespace and starts to record.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn start(ns: &Netns) -> Result<Self> {
        let socket = ns
            .run(|| {
                Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(ETH_P_IP.to_be()))))
            })?
            .context("packet socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let adverts = Arc::new(Mutex::new(Vec::new()));
        let (flag, list) = (Arc::clone(&stop), Arc::clone(&adverts));
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while !flag.load(Ordering::Relaxed) {
                let Ok(length) = (&socket).read(&mut packet) else { continue };
                let at = Instant::now();
                if let Some(advert) = packet.get(..length).and_then(|packet| parse(at, packet)) {
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(advert);
                }
            }
        });
        Ok(Self { stop, adverts, thread: Some(thread) })
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Advert> {
        self.adverts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last one from `source`.
    pub fn last_from(&self, source: Ipv4Addr) -> Option<Advert> {
        self.seen().into_iter().rev().find(|advert| advert.source == source)
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

fn parse(at: Instant, packet: &[u8]) -> Option<Advert> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if *packet.get(9)? != IPPROTO_VRRP {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let vrrp = packet.get(header..)?;
    Some(Advert {
        at,
        source: source.into(),
        vrid: *vrrp.get(1)?,
        priority: *vrrp.get(2)?,
        ttl: *packet.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_is_read_and_others_are_not() {
        let at = Instant::now();
        let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 11, 224, 0, 0, 18];
        packet.extend([0x21, 51, 200, 1, 1, 1, 0, 0]);
        let want = Advert { at, source: Ipv4Addr::new(10, 0, 0, 11), vrid: 51, priority: 200, ttl: 255 };
        assert_eq!(parse(at, &packet), Some(want));
        assert_eq!(parse(at, &packet[..22]), None, "cut short");
        packet[9] = 6;
        assert_eq!(parse(at, &packet), None, "TCP");
    }
}

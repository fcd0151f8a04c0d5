//! A scripted master: sends advertisements on a raw socket, falls silent or resigns when it is told to.
//!
//! Its octets are made here and not by the crate under test.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::unistd::gettid;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netns::Netns;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const IPPROTO_VRRP: i32 = 112;
/// Higher than that of any director of a bed.
const PRIORITY: u8 = 200;
/// Real-time priority of the sender: an advert must not wait for other work of the machine.
const REAL_TIME: &str = "30";

/// What the master says of itself.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its own address.
    pub address: Ipv4Addr,
    /// Virtual router.
    pub vrid: u8,
    /// Version and interval.
    pub pace: Pace,
    /// Virtual addresses in its advertisements, 255 at most.
    pub vips: Vec<Ipv4Addr>,
}

/// Version and interval of advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Version 2 (RFC 3768), seconds.
    V2(u8),
    /// Version 3 (RFC 9568), hundredths of a second.
    V3(u16),
}

impl Pace {
    /// Time between two advertisements.
    pub fn interval(self) -> Duration {
        match self {
            Self::V2(seconds) => Duration::from_secs(seconds.into()),
            Self::V3(hundredths) => Duration::from_millis(u64::from(hundredths) * 10),
        }
    }

    /// Skew_Time of a Backup of `priority`: of a second in version 2, of the interval in version 3.
    pub fn skew(self, priority: u8) -> Duration {
        let unit = match self {
            Self::V2(_) => Duration::from_secs(1),
            Self::V3(_) => self.interval(),
        };
        unit * (256 - u32::from(priority)) / 256
    }

    /// Master_Down_Interval of a Backup of `priority`.
    pub fn master_down(self, priority: u8) -> Duration {
        self.interval() * 3 + self.skew(priority)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Keep,
    Silence,
    Resign,
}

/// A running master, silent at first.
#[derive(Debug)]
pub struct Master {
    orders: Option<Sender<Order>>,
    done: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Master {
    /// Opens its socket in the namespace. While it is there it sends every `every`, which may be less than the interval.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when the address is none of the namespace.
    pub fn start(ns: &Netns, script: &Script, every: Duration) -> Result<Self> {
        let own = script.address;
        let socket = ns.run(|| open(own))?.context("raw socket for VRRP")?;
        let (orders, told) = channel();
        let (done, answers) = channel();
        let (advert, resignation) = (script.packet(PRIORITY), script.packet(0));
        let thread = std::thread::Builder::new().name("master".into()).spawn(move || {
            prefer_this_thread();
            let to = SockAddr::from(SocketAddrV4::new(GROUP, 0));
            let send =
                |packet: &[u8]| socket.send_to(packet, &to).map(drop).map_err(|error| error.to_string());
            let mut there = false;
            loop {
                let order = if there { told.recv_timeout(every) } else { told.recv().map_err(Into::into) };
                let result = match order {
                    Ok(Order::Keep) => {
                        there = true;
                        send(&advert)
                    }
                    Ok(Order::Silence) => {
                        there = false;
                        Ok(())
                    }
                    Ok(Order::Resign) => {
                        there = false;
                        send(&resignation)
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let _next_order_tells = send(&advert);
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if done.send(result).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders: Some(orders), done: answers, thread: Some(thread) })
    }

    /// Sends advertisements from now on.
    ///
    /// # Errors
    /// When the first cannot be sent.
    pub fn keep(&self) -> Result<()> {
        self.order(Order::Keep)
    }

    /// Sends nothing more, as a machine whose link is cut.
    ///
    /// # Errors
    /// When its thread has ended.
    pub fn silence(&self) -> Result<()> {
        self.order(Order::Silence)
    }

    /// Sends one advertisement of priority 0 and nothing more, as an orderly stop.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn resign(&self) -> Result<()> {
        self.order(Order::Resign)
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().context("the scripted master has ended")?;
        orders.send(order).context("the scripted master has ended")?;
        self.done
            .recv()
            .context("the scripted master has ended")?
            .map_err(|error| anyhow!("advertisement: {error}"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(own: Ipv4Addr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_VRRP)))?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(own, 0)))?;
    socket.set_multicast_if_v4(&own)?;
    socket.set_multicast_ttl_v4(255)?;
    socket.set_multicast_loop_v4(false)?;
    Ok(socket)
}

/// Without the right to do so it goes on as it is: adverts may be late then, which the capture shows.
pub(crate) fn prefer_this_thread() {
    let _ = std::process::Command::new("chrt")
        .args(["-f", "-p", REAL_TIME, &gettid().to_string()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
}

impl Script {
    /// The octets of an advertisement behind the IP header.
    fn packet(&self, priority: u8) -> Vec<u8> {
        let count = u8::try_from(self.vips.len()).unwrap_or(u8::MAX);
        let addresses = self.vips.iter().take(usize::from(count)).flat_map(Ipv4Addr::octets);
        let mut packet = match self.pace {
            // RFC 3768 §5.1: no authentication, whose eight octets are there all the same.
            Pace::V2(seconds) => vec![0x21, self.vrid, priority, count, 0, seconds, 0, 0],
            Pace::V3(hundredths) => {
                let [high, low] = (hundredths & 0x0fff).to_be_bytes();
                vec![0x31, self.vrid, priority, count, high, low, 0, 0]
            }
        };
        packet.extend(addresses);
        let mut sum = 0;
        match self.pace {
            Pace::V2(_) => packet.extend([0; 8]),
            // RFC 5798 §5.2.8 with the pseudo-header, as keepalived does it for IPv4 too.
            Pace::V3(_) => {
                let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
                sum += words(&self.address.octets()) + words(&GROUP.octets());
                sum += u32::from(length) + IPPROTO_VRRP.unsigned_abs();
            }
        }
        sum += words(&packet);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = !u16::try_from(sum).unwrap_or_default();
        if let Some(field) = packet.get_mut(6..8) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        packet
    }
}

fn words(octets: &[u8]) -> u32 {
    octets
        .chunks(2)
        .map(|pair| {
            let octet = |at: usize| u32::from(pair.get(at).copied().unwrap_or_default());
            octet(0) << 8 | octet(1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_as_others_send_them() {
        let script = |pace| Script {
            address: Ipv4Addr::new(10, 0, 0, 1),
            vrid: 51,
            pace,
            vips: vec![Ipv4Addr::new(10, 0, 0, 100)],
        };
        let hex = |octets: Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        for (name, pace, priority, want) in [
            ("version 2", Pace::V2(1), 100, "21336401000170660a0000640000000000000000"),
            ("version 3", Pace::V3(100), 100, "31336401006475730a000064"),
            ("resignation", Pace::V3(100), 0, "313300010064d9730a000064"),
        ] {
            assert_eq!(hex(script(pace).packet(priority)), want, "{name}");
        }
    }

    #[test]
    fn times_of_the_protocol() {
        for (name, pace, skew, down) in [
            ("version 2", Pace::V2(1), 609_375, 3_609_375),
            ("version 2 does not scale its skew", Pace::V2(3), 609_375, 9_609_375),
            ("version 3, 0.1 s", Pace::V3(10), 60_937, 360_937),
            ("version 3, 0.01 s", Pace::V3(1), 6_093, 36_093),
        ] {
            assert_eq!(pace.skew(100).as_micros(), skew, "{name}");
            assert_eq!(pace.master_down(100).as_micros(), down, "{name}");
        }
    }
}

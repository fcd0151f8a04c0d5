//! The IPVS table of a namespace as /proc shows it: cheap to poll, no program, no netlink of the code under test.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::netns::Netns;
use crate::wait;

/// One destination of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dest {
    /// `Route`, `Masq`, `Tunnel`, `Local`.
    pub forwarding: String,
    /// Weight; 0 takes no new connections.
    pub weight: u32,
    /// Established connections.
    pub active: u32,
    /// Other connections.
    pub inactive: u32,
}

/// One virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Scheduler's name.
    pub scheduler: String,
    /// Flags as printed (`persistent 600` …).
    pub flags: String,
    /// Destinations by `ADDRESS:PORT`.
    pub dests: BTreeMap<String, Dest>,
}

/// A table: services by `TCP ADDRESS:PORT`, `FWM MARK` and so on.
pub type Table = BTreeMap<String, Service>;

/// Reads the namespace's table; empty when the kernel has no IPVS there.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn read(ns: &Netns) -> Result<Table> {
    Ok(parse(&ns.proc_net("ip_vs").unwrap_or_default()))
}

/// Parses /proc/net/ip_vs.
pub fn parse(text: &str) -> Table {
    let mut table = Table::new();
    let mut key = None;
    // Three lines of header, the last of them like a destination's.
    for line in text.lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["->", address, forwarding, weight, active, inactive] => {
                let Some(service) = key.as_ref().and_then(|key| table.get_mut(key)) else { continue };
                service.dests.insert(
                    endpoint(address),
                    Dest {
                        forwarding: (*forwarding).to_owned(),
                        weight: weight.parse().unwrap_or(0),
                        active: active.parse().unwrap_or(0),
                        inactive: inactive.parse().unwrap_or(0),
                    },
                );
            }
            [protocol, address, scheduler, flags @ ..] => {
                let name = format!("{protocol} {}", endpoint(address));
                table.insert(
                    name.clone(),
                    Service {
                        scheduler: (*scheduler).to_owned(),
                        flags: flags.join(" "),
                        dests: BTreeMap::new(),
                    },
                );
                key = Some(name);
            }
            _ => {}
        }
    }
    table
}

/// `0A000064:0050` -> `10.0.0.100:80`, `[fd00:0000:…:0001]:0050` -> `[fd00::1]:80`; a mark as it stands.
pub fn endpoint(text: &str) -> String {
    let parts = || {
        let (address, port) = text.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        if let Some(address) = address.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(SocketAddrV6::new(address, port, 0, 0).to_string());
        }
        let address = (address.len() == 8).then(|| u32::from_str_radix(address, 16).ok())??;
        Some(SocketAddrV4::new(Ipv4Addr::from(address), port).to_string())
    };
    parts().unwrap_or_else(|| text.to_owned())
}

/// Waits until the destinations of `service` are exactly `want` (`ADDRESS:PORT`, any order), with a weight that is not 0.
/// Gives the time it took.
///
/// # Errors
/// When `limit` passes first; the message shows the table.
pub fn expect_dests(ns: &Netns, service: &str, want: &[&str], limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    let mut want: Vec<&str> = want.to_vec();
    want.sort_unstable();
    wait::until_ok(&format!("destinations of {service} = {want:?}"), limit, || {
        let table = read(ns)?;
        let service = table.get(service).with_context(|| format!("no such service in {table:?}"))?;
        let mut have: Vec<&str> = service
            .dests
            .iter()
            .filter(|(_, dest)| dest.weight > 0)
            .map(|(address, _)| address.as_str())
            .collect();
        have.sort_unstable();
        (have == want).then_some(()).ok_or_else(|| anyhow!("have {have:?}"))
    })?;
    Ok(start.elapsed())
}

/// Demands that `service` has exactly these destinations, whatever their weights.
///
/// # Errors
/// With those it has.
pub fn same_servers(table: &Table, service: &str, want: &[&str]) -> Result<()> {
    let service = table.get(service).with_context(|| format!("no {service} in {table:?}"))?;
    let have: Vec<&str> = service.dests.keys().map(String::as_str).collect();
    if have != want { Err(anyhow!("have {have:?}, want {want:?}")) } else { Ok(()) }
}

/// Watches a table from a thread, so that what is there for a moment only is seen too.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<(Instant, Table)>>>,
}

impl Watch {
    /// Starts to look every `interval`. Of the counters nothing is kept: a record is made when services or destinations change.
    ///
    /// # Errors
    /// When the thread cannot enter the namespace.
    pub fn start(ns: &Netns, interval: Duration) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = ns.thread(move || {
            let mut seen: Vec<(Instant, Table)> = Vec::new();
            // One look more after the end was asked for: what the asker has seen is in the record.
            loop {
                let last = flag.load(Ordering::Relaxed);
                let mut table =
                    parse(&std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default());
                for dest in table.values_mut().flat_map(|service| service.dests.values_mut()) {
                    (dest.active, dest.inactive) = (0, 0);
                }
                if seen.last().is_none_or(|(_, last)| *last != table) {
                    seen.push((Instant::now(), table));
                }
                if last {
                    return seen;
                }
                wait::pause(interval);
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the watch and gives each different table with the time from which it was seen.
    ///
    /// # Errors
    /// When the thread failed.
    pub fn finish(self) -> Result<Vec<(Instant, Table)>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("table watch panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read() {
        let table = parse(
            "IP Virtual Server version 1.2.1 (size=4096)\n\
             Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
             TCP  0A000064:0050 rr persistent 600 FFFFFFFF\n  -> 0A000015:0050      Route   5      1          2         \n\
             FWM  00000007 wlc  \nUDP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 rr ops \n",
        );
        let keys: Vec<&str> = table.keys().map(String::as_str).collect();
        assert_eq!(keys, ["FWM 00000007", "TCP 10.0.0.100:80", "UDP [fd00::1]:53"]);
        let service = &table["TCP 10.0.0.100:80"];
        assert_eq!((service.scheduler.as_str(), service.flags.as_str()), ("rr", "persistent 600 FFFFFFFF"));
        let dest = &service.dests["10.0.0.21:80"];
        assert_eq!((dest.forwarding.as_str(), dest.weight, dest.active, dest.inactive), ("Route", 5, 1, 2));
    }

    #[test]
    fn no_table_is_empty() {
        assert!(parse("").is_empty());
    }
}

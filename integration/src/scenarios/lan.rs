//! What scenarios on one network of both families share: a client, the director with its VIPs, real servers that answer the
//! client past the director, and looks at what came through their tunnels.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Netns;
use crate::servers::Server;
use crate::topology::{HostSpec, Lab, host};

/// Virtual address of most scenarios; the director has 10.0.0.101 and 10.0.0.102 too.
pub const VIP: &str = "10.0.0.100";
/// The same of IPv6.
pub const VIP6: &str = "fd00::100";
/// Time a start may take until the table is there.
pub const START: Duration = Duration::from_secs(10);
/// Names of the real servers.
pub const REALS: [&str; 3] = ["r1", "r2", "r3"];

/// Hosts `c` (10.0.0.2, fd00::2), `a` (….11, the director), [`REALS`] (….21 to 23), and more of these names and last parts.
pub fn lab(more: &[(&str, u8)]) -> Result<Lab> {
    let mut hosts = vec![("c", 2), ("a", 11)];
    hosts.extend(REALS.into_iter().zip(21..));
    hosts.extend(more);
    let specs: Vec<HostSpec> =
        hosts.iter().map(|(name, last)| host(name, &format!("10.0.0.{last}/24"))).collect();
    let lab = Lab::new(&specs)?;
    for (name, last) in hosts {
        let mut batch = format!("address add fd00::{last}/64 dev eth0\n");
        if name == "a" {
            for last in 100..=102 {
                writeln!(batch, "address add 10.0.0.{last}/32 dev eth0")?;
            }
            batch.push_str(&vip6(VIP6));
        }
        lab.host(name).ip(&batch)?;
    }
    for name in REALS {
        // They have VIPs of IPv4 that they are not to be asked for.
        lab.host(name).sysctl(&[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")])?;
    }
    Ok(lab)
}

/// Puts a VIP of IPv6 onto a director, deprecated: its checks must not come from an address that their servers have too.
pub fn vip6(address: &str) -> String {
    format!("address add {address}/128 dev eth0 preferred_lft 0\n")
}

/// A server on `port` of each of [`REALS`], for both families.
pub fn servers(lab: &Lab, port: u16) -> Result<Vec<Server<'_>>> {
    REALS.iter().map(|name| Server::start(lab.host(name), name, &format!("[::]:{port}"))).collect()
}

/// Packets that a device of the host has received.
pub fn received(ns: &Netns, device: &str) -> Result<u64> {
    let devices = ns.proc_net("dev")?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {device} in {devices}"))?;
    Ok(line.split_whitespace().nth(1).context("no counter")?.parse()?)
}

/// What a host receives of one IP protocol, as it comes from the wire.
pub struct Wire {
    socket: Socket,
    /// The kernel hands out the IP header: IPv4's, never IPv6's.
    has_header: bool,
    packets: Vec<Vec<u8>>,
}

impl Wire {
    /// Begins to listen.
    pub fn listen(ns: &Netns, domain: Domain, protocol: u8) -> Result<Self> {
        let socket =
            ns.run(|| Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol)))))??;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(1 << 20)?;
        Ok(Self { socket, has_header: domain == Domain::IPV4, packets: Vec::new() })
    }

    /// All packets so far, without their IP header.
    pub fn packets(&mut self) -> Result<&[Vec<u8>]> {
        let mut buffer = vec![0; 65536];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(length) => {
                    let header = if self.has_header { usize::from(buffer[0] & 0x0f) * 4 } else { 0 };
                    let packet = buffer.get(header..length).context("half a packet")?;
                    self.packets.push(packet.to_vec());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(&self.packets),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

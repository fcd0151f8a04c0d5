//! Tunnels other than IP in IP: GUE and GRE of both families, with and without checksums, carry traffic, and are what the wire
//! has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::Domain;

use super::Ctx;
use super::lan::{self, REALS, Wire};
use crate::client::expect_split;
use crate::topology::Lab;
use crate::{step, table, wait};

const GUE_PORT: u16 = 5555;
/// GRE: a checksum is there (RFC 2784).
const CHECKSUM_PRESENT: u16 = 0x8000;

/// A virtual server whose packets come to the real servers in one kind of tunnel.
struct Kind {
    name: &'static str,
    vip: &'static str,
    /// Of the real servers' addresses, without the last number.
    net: &'static str,
    /// Options of the real servers: r1 without checksum, r2 with, r3 with GUE's remote checksum or without again.
    options: [&'static str; 3],
    /// Where the real servers take packets out of the tunnel.
    device: &'static str,
    domain: Domain,
    protocol: u8,
    /// What the tunnel's header says of its content: a protocol's number for GUE, an EtherType for GRE.
    content: u16,
}

const GUE: [&str; 3] = ["type gue port 5555", "type gue port 5555 csum", "type gue port 5555 remcsum"];
const GRE: [&str; 3] = ["type gre", "type gre csum", "type gre nocsum"];

const KINDS: [Kind; 4] = [
    Kind {
        name: "GUE",
        vip: "10.0.0.100",
        net: "10.0.0.",
        options: GUE,
        device: "tunl0",
        domain: Domain::IPV4,
        protocol: 17,
        content: 4,
    },
    Kind {
        name: "GRE",
        vip: "10.0.0.101",
        net: "10.0.0.",
        options: GRE,
        device: "gre4",
        domain: Domain::IPV4,
        protocol: 47,
        content: 0x0800,
    },
    Kind {
        name: "IPv6: GUE",
        vip: "fd00::100",
        net: "fd00::",
        options: GUE,
        device: "in6",
        domain: Domain::IPV6,
        protocol: 17,
        content: 41,
    },
    Kind {
        name: "IPv6: GRE",
        vip: "fd00::101",
        net: "fd00::",
        options: GRE,
        device: "gre6",
        domain: Domain::IPV6,
        protocol: 47,
        content: 0x86dd,
    },
];

pub fn tunnels(ctx: &Ctx) -> Result<()> {
    let lab = lan::lab(&[])?;
    let (client, ns) = (lab.host("c"), lab.host("a"));
    ns.ip(&lan::vip6("fd00::101"))?;
    for (name, last, checksum) in [("r1", 21, ""), ("r2", 22, "icsum"), ("r3", 23, "")] {
        let (ends, ends6) =
            (format!("local 10.0.0.{last} remote 10.0.0.11"), format!("local fd00::{last} remote fd00::11"));
        let mut batch = format!(
            "fou add port {GUE_PORT} gue\nfou add port {GUE_PORT} gue -6\n\
             link add name gre4 type gre {ends} {checksum}\n\
             link add name in6 type ip6tnl mode ip6ip6 {ends6}\n\
             link add name gre6 type ip6gre {ends6} {checksum}\n"
        );
        for Kind { vip, device, .. } in KINDS {
            let length = if vip.contains(':') { 128 } else { 32 };
            batch.push_str(&format!("link set {device} up\naddress add {vip}/{length} dev {device}\n"));
        }
        lab.host(name).ip(&batch)?;
    }
    let _servers = lan::servers(&lab, 80)?;
    let mut director = ctx.director("a", ns, &KINDS.iter().map(config).collect::<String>())?;
    director.start_and_wait()?;
    for kind in &KINDS {
        let dests = [21, 22, 23].map(|last| at(&format!("{}{last}", kind.net)));
        let key = format!("TCP {}", at(kind.vip));
        table::expect_dests(ns, &key, &dests.each_ref().map(String::as_str), lan::START)?;
    }
    for kind in &KINDS {
        let listen = |name| Wire::listen(lab.host(name), kind.domain, kind.protocol);
        let wires: Vec<Wire> = REALS.into_iter().map(listen).collect::<Result<_>>()?;
        expect_split(client, &at(kind.vip), 30, &[("r1", 10), ("r2", 10), ("r3", 10)]).context(kind.name)?;
        for (name, wire) in REALS.into_iter().zip(wires) {
            for packet in all(&lab, name, wire, kind)? {
                header(name, &packet, kind)
                    .with_context(|| format!("{}: {name} received {packet:02x?}", kind.name))?;
            }
        }
    }
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

fn config(kind: &Kind) -> String {
    let reals: String = (21..)
        .zip(kind.options)
        .map(|(last, options)| {
            format!("  real_server {}{last} 80 {{\n    lvs_method TUN {options}\n  }}\n", kind.net)
        })
        .collect();
    format!("virtual_server {} 80 {{\n  protocol TCP\n  lb_algo rr\n  lb_kind TUN\n{reals}}}\n", kind.vip)
}

/// Port 80 of an address.
fn at(address: &str) -> String {
    if address.contains(':') { format!("[{address}]:80") } else { format!("{address}:80") }
}

/// All that came to a real server in a tunnel, which all went on through its device.
fn all(lab: &Lab, name: &str, mut wire: Wire, kind: &Kind) -> Result<Vec<Vec<u8>>> {
    let device = kind.device;
    // The last packets of the last connection may be on their way.
    wait::until_ok(&format!("{device} of {name}"), Duration::from_secs(2), || {
        let (packets, received) = (wire.packets()?, lan::received(lab.host(name), device)?);
        // Ten connections: at least SYN, ACK with the request, FIN.
        ensure!(
            packets.len() >= 30 && received == packets.len() as u64,
            "{} packets came, {received} from the device",
            packets.len()
        );
        step!("{}: {name} received {received} packets, all from {device}", kind.name);
        Ok(packets.to_vec())
    })
}

/// The tunnel's header is as the options say.
fn header(name: &str, packet: &[u8], kind: &Kind) -> Result<()> {
    if kind.protocol == 47 {
        let flags = if name == "r2" { CHECKSUM_PRESENT } else { 0 };
        ensure!(word(packet, 0)? == flags && word(packet, 2)? == kind.content, "want the flags {flags:#06x}");
        return Ok(());
    }
    // A UDP datagram with GUE's header of version 0 (draft-ietf-intarea-gue).
    ensure!(word(packet, 2)? == GUE_PORT, "another port");
    ensure!((word(packet, 6)? != 0) == (name != "r1"), "the checksum of UDP");
    let [first, protocol] = word(packet, 8)?.to_be_bytes();
    // Version and control bit are 0, the rest is the number of 32-bit words that follow.
    ensure!((first != 0) == (name == "r3"), "the length of GUE's options");
    ensure!(u16::from(protocol) == kind.content, "protocol {protocol} in it");
    Ok(())
}

fn word(packet: &[u8], at: usize) -> Result<u16> {
    let octets = packet.get(at..at + 2).context("too short")?;
    Ok(u16::from_be_bytes([octets[0], octets[1]]))
}

//! Tunnels other than IP in IP: GUE and GRE, with and without checksums, carry traffic, and are what the wire has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::lan::{self, REALS, VIP, Wire};
use crate::client::expect_split;
use crate::topology::Lab;
use crate::{step, table, wait};

const GUE_PORT: u16 = 5555;
const UDP: u8 = 17;
const GRE: u8 = 47;
/// Protocol number of IPv4 in something, in GUE's header.
const IPIP: u8 = 4;
/// EtherType of IPv4, in GRE's header.
const IPV4: u16 = 0x0800;
/// GRE: a checksum is there (RFC 2784).
const CHECKSUM_PRESENT: u16 = 0x8000;

/// r1 without checksum, r2 with, r3 with GUE's remote checksum (GRE: without again).
pub fn tunnels(ctx: &Ctx) -> Result<()> {
    let lab = lan::lab(&[])?;
    for (name, last, checksum) in [("r1", 21, ""), ("r2", 22, "icsum"), ("r3", 23, "")] {
        lab.host(name).ip(&format!(
            "fou add port {GUE_PORT} gue\nlink set tunl0 up\naddress add {VIP}/32 dev tunl0\n\
             link add name tun type gre local 10.0.0.{last} remote 10.0.0.11 {checksum}\nlink set tun up\n\
             address add 10.0.0.101/32 dev tun"
        ))?;
    }
    let _servers = lan::servers(&lab, 80)?;
    let config = format!(
        "virtual_server {VIP} 80 {{\n  protocol TCP\n  lb_algo rr\n  lb_kind TUN type gue port {GUE_PORT}\n  \
         real_server 10.0.0.21 80 {{\n  }}\n  \
         real_server 10.0.0.22 80 {{\n    lvs_method TUN type gue port {GUE_PORT} csum\n  }}\n  \
         real_server 10.0.0.23 80 {{\n    lvs_method TUN type gue port {GUE_PORT} remcsum\n  }}\n}}\n\
         virtual_server 10.0.0.101 80 {{\n  protocol TCP\n  lb_algo rr\n  lb_kind TUN type gre\n  \
         real_server 10.0.0.21 80 {{\n  }}\n  \
         real_server 10.0.0.22 80 {{\n    lvs_method TUN type gre csum\n  }}\n  \
         real_server 10.0.0.23 80 {{\n    lvs_method TUN type gre nocsum\n  }}\n}}\n"
    );
    let (client, ns) = (lab.host("c"), lab.host("a"));
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let dests = ["10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80"];
    for vip in [VIP, "10.0.0.101"] {
        table::expect_dests(ns, &format!("TCP {vip}:80"), &dests, lan::START)?;
    }

    let listen = |protocol| -> Result<Vec<Wire>> {
        REALS.iter().map(|name| Wire::listen(lab.host(name), protocol)).collect()
    };
    let (udp, gre) = (listen(UDP)?, listen(GRE)?);
    for vip in [VIP, "10.0.0.101"] {
        expect_split(client, &format!("{vip}:80"), 30, &[("r1", 10), ("r2", 10), ("r3", 10)])
            .with_context(|| format!("VIP {vip}"))?;
    }
    for (name, wire) in REALS.into_iter().zip(udp) {
        for packet in all(&lab, name, wire, "tunl0")? {
            gue(name, &packet).with_context(|| format!("{name} received {packet:02x?}"))?;
        }
    }
    for (name, wire) in REALS.into_iter().zip(gre) {
        for packet in all(&lab, name, wire, "tun")? {
            let want = if name == "r2" { CHECKSUM_PRESENT } else { 0 };
            ensure!(
                word(&packet, 0)? == want && word(&packet, 2)? == IPV4,
                "{name} received {packet:02x?}, want the flags {want:#06x}"
            );
        }
    }
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

/// A UDP datagram with GUE's header (draft-ietf-intarea-gue, version 0) and IPv4 in it.
fn gue(name: &str, packet: &[u8]) -> Result<()> {
    ensure!(word(packet, 2)? == GUE_PORT, "another port");
    ensure!((word(packet, 6)? != 0) == (name != "r1"), "the checksum of UDP");
    let [first, protocol] = word(packet, 8)?.to_be_bytes();
    // Version and control bit are 0, the rest is the number of 32-bit words that follow.
    ensure!((first != 0) == (name == "r3"), "the length of GUE's options");
    ensure!(protocol == IPIP, "protocol {protocol} in it");
    Ok(())
}

fn word(packet: &[u8], at: usize) -> Result<u16> {
    let octets = packet.get(at..at + 2).context("too short")?;
    Ok(u16::from_be_bytes([octets[0], octets[1]]))
}

/// All that came to a real server in a tunnel, which all went on through its device.
fn all(lab: &Lab, name: &str, mut wire: Wire, device: &str) -> Result<Vec<Vec<u8>>> {
    // The last packets of the last connection may be on their way.
    wait::until_ok(&format!("{device} of {name}"), Duration::from_secs(2), || {
        let (packets, received) = (wire.packets()?, lan::received(lab.host(name), device)?);
        // Ten connections: at least SYN, ACK with the request, FIN.
        ensure!(
            packets.len() >= 30 && received == packets.len() as u64,
            "{} packets came, {received} from the device",
            packets.len()
        );
        step!("{name}: {received} packets, all from {device}");
        Ok(packets.to_vec())
    })
}

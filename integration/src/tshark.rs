//! A second opinion on captures: what Wireshark's dissectors complain about.
//!
//! They check the form and the checksum of a message. They do not check passwords, Authentication Headers or signatures.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages;

/// Wireshark's severity of a warning; a wrong checksum is one.
const WARNING: u32 = 0x0060_0000;

/// What it says of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    /// Packets that it takes for VRRP.
    pub vrrp: usize,
    /// Frames of VRRP, counted from 0, that are malformed or have at least a warning, with its words.
    pub complaints: Vec<(usize, String)>,
}

/// Which checksum of version 3 over IPv4 it is to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// With the pseudo header (RFC 5798 as it is read most often).
    PseudoHeader,
    /// Over the message alone (RFC 9568, v3_checksum_as_v2).
    Message,
}

/// Whether it is installed.
pub fn is_there() -> bool {
    packages::ALL.iter().any(|package| package.name == "tshark" && package.is_there())
}

/// Has a capture file read.
///
/// # Errors
/// When tshark cannot be run or does not understand the file.
pub fn examine(pcap: &Path, checksums: Checksums) -> Result<Opinion> {
    let as_v2 = checksums == Checksums::Message;
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(pcap)
        .arg("-o")
        .arg(format!("vrrp.v3_checksum_as_in_v2:{}", if as_v2 { "TRUE" } else { "FALSE" }))
        .args(["-T", "fields", "-E", "occurrence=a"])
        .args(
            ["frame.number", "vrrp", "icmpv6", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message"]
                .iter()
                .flat_map(|field| ["-e", field]),
        )
        .stdin(Stdio::null())
        .output()
        .context("tshark (Debian package tshark)")?;
    if !output.status.success() {
        bail!("tshark -r {}: {}", pcap.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    opinion(&String::from_utf8_lossy(&output.stdout))
}

fn opinion(lines: &str) -> Result<Opinion> {
    let mut opinion = Opinion::default();
    for line in lines.lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_default();
        let number: usize = column().parse().with_context(|| format!("tshark's line {line:?}"))?;
        let (vrrp, icmp, malformed, severities, words) = (column(), column(), column(), column(), column());
        // A host whose daemon is away sends adverts back in an ICMPv6 error.
        if vrrp.is_empty() || !icmp.is_empty() {
            continue;
        }
        opinion.vrrp += 1;
        let severe = severities.split(',').any(|one| one.parse().is_ok_and(|one: u32| one >= WARNING));
        if severe || !malformed.is_empty() {
            opinion.complaints.push((number.saturating_sub(1), words.to_owned()));
        }
    }
    Ok(opinion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_no_complaints() {
        let lines = "1\tvrrp\t\t\t6291456\tBad checksum [should be 0x7573]\n\
                     2\tvrrp\t\t\t\t\n\
                     3\tvrrp\t\t\t4194304\t\"Time To Live\" != 255\n\
                     4\tvrrp\ticmpv6\t\t6291456\tof a packet that was sent back\n\
                     5\tvrrp\t\t[Malformed Packet: VRRP],_ws.malformed\t8388608\tMalformed Packet\n";
        let opinion = opinion(lines).expect("as tshark prints");
        assert_eq!(opinion.vrrp, 4);
        let frames: Vec<usize> = opinion.complaints.iter().map(|(frame, _)| *frame).collect();
        assert_eq!(frames, [0, 4]);
    }
}

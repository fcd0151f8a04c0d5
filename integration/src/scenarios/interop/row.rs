//! Rows: a dialect of VRRP, and the files that make both daemons speak it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::tshark::Checksums;

/// Which daemon of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// lbd, on host `a`.
    Ours,
    /// keepalived, on host `b`.
    Theirs,
}

impl Side {
    /// The peer.
    pub fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }

    /// Name of the host.
    pub fn host(self) -> &'static str {
        match self {
            Self::Ours => "a",
            Self::Theirs => "b",
        }
    }

    /// Last part of the host's addresses.
    pub fn last(self) -> u8 {
        match self {
            Self::Ours => 11,
            Self::Theirs => 12,
        }
    }
}

/// How checksums of version 3 over IPv4 are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// As both daemons make them by default.
    Usual,
    /// lbd: v3_checksum_as_v2.
    Message,
    /// old_unicast_checksum
    OldUnicast,
}

impl Sums {
    /// What tshark is to expect of a side.
    pub fn expected(self, side: Side) -> Checksums {
        match (self, side) {
            (Self::Message, Side::Ours) => Checksums::Message,
            _ => Checksums::PseudoHeader,
        }
    }
}

/// A dialect.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    /// 2 or 3.
    pub version: u8,
    /// IPv6 instead of IPv4.
    pub v6: bool,
    /// Advertisement interval.
    pub interval: Duration,
    /// Peers instead of a group.
    pub unicast: bool,
    /// Further lines of each instance, of lbd's and of keepalived's.
    pub lines: [&'static str; 2],
    /// Virtual routers 1 to this, all on one link.
    pub routers: u8,
    /// Two virtual routers on two links in a sync group, instead.
    pub group: bool,
    pub sums: Sums,
    /// Whether keepalived understands lbd; it does not with what it is too old for.
    pub understood: bool,
    /// What keepalived may say that else counts as a complaint.
    pub says: &'static str,
}

const ROW: Row = Row {
    name: "",
    version: 2,
    v6: false,
    interval: Duration::from_secs(1),
    unicast: false,
    lines: [""; 2],
    routers: 1,
    group: false,
    sums: Sums::Usual,
    understood: true,
    says: "",
};
const ROW3: Row = Row { version: 3, interval: Duration::from_millis(500), ..ROW };

const PASS: [&str; 2] = ["authentication {\nauth_type PASS\nauth_pass secret\n}"; 2];
const AH: [&str; 2] = ["authentication {\nauth_type AH\nauth_pass secret\n}"; 2];

/// All of them; one more is one line more.
pub const ROWS: &[Row] = &[
    Row { name: "v2 multicast PASS", lines: PASS, ..ROW },
    Row { name: "v2 unicast PASS", unicast: true, lines: PASS, ..ROW },
    Row { name: "v2 AH", lines: AH, ..ROW },
    Row { name: "v2 255 virtual routers", routers: 255, ..ROW },
    Row { name: "v2 sync group on two links", group: true, lines: PASS, ..ROW },
    Row { name: "v3 multicast", interval: Duration::from_millis(100), ..ROW3 },
    Row { name: "v3 unicast", unicast: true, ..ROW3 },
    Row { name: "v3 sync group on two links", group: true, ..ROW3 },
    Row { name: "v3 IPv6 multicast", v6: true, ..ROW3 },
    Row { name: "v3 IPv6 unicast", v6: true, unicast: true, ..ROW3 },
    Row {
        name: "v3 old_unicast_checksum of lbd",
        unicast: true,
        lines: ["old_unicast_checksum", ""],
        sums: Sums::OldUnicast,
        // It detects it, and goes on with the same.
        says: "Setting unicast VRRPv3 checksum to old version",
        ..ROW3
    },
    // keepalived 2.2.7 has no such keyword and takes the checksum that RFC 9568 asks for to be wrong.
    Row {
        name: "v3 v3_checksum_as_v2 of lbd",
        lines: ["v3_checksum_as_v2", ""],
        sums: Sums::Message,
        understood: false,
        says: "Invalid VRRPv3 checksum",
        ..ROW3
    },
];

impl Row {
    /// Cards of each host: device, and number of its network.
    pub fn cards(&self) -> &'static [(&'static str, u8)] {
        if self.group { &[("eth0", 0), ("eth1", 1)] } else { &[("eth0", 0)] }
    }

    /// Who sent a frame: the tap has lbd's cards first.
    pub fn side(&self, port: usize) -> Side {
        if port < self.cards().len() { Side::Ours } else { Side::Theirs }
    }

    /// Virtual routers: VRID and the card it is on.
    pub fn vrids(&self) -> Vec<(u8, usize)> {
        if self.group { vec![(1, 0), (2, 1)] } else { (1..=self.routers).map(|vrid| (vrid, 0)).collect() }
    }

    /// The address of the virtual router by which its holder is seen.
    pub fn vip(&self, vrid: u8) -> IpAddr {
        if self.v6 { [0xfd01, 0, 0, 0, 0, 0, 0, vrid.into()].into() } else { [10, 1, 0, vrid].into() }
    }

    /// All these addresses.
    pub fn vips(&self) -> Vec<IpAddr> {
        self.vrids().into_iter().map(|(vrid, _)| self.vip(vrid)).collect()
    }

    /// The configuration file of one side.
    pub fn config(&self, side: Side, priority: u8) -> String {
        let mut text = String::new();
        if self.group {
            text.push_str("vrrp_sync_group G {\n  group {\n    VI_1\n    VI_2\n  }\n}\n");
        }
        for (vrid, card) in self.vrids() {
            let (dev, net) = self.cards()[card];
            let lines = self.lines[usize::from(side == Side::Theirs)];
            let _ = write!(
                text,
                "vrrp_instance VI_{vrid} {{\n  state BACKUP\n  interface {dev}\n  virtual_router_id {vrid}\n  version {}\n  \
                 priority {priority}\n  advert_int {}\n{lines}\n",
                self.version,
                self.interval.as_secs_f64()
            );
            if self.unicast {
                let _ = write!(
                    text,
                    "  unicast_src_ip {}\n  unicast_peer {{\n    {}\n  }}\n",
                    self.address(side, net),
                    self.address(side.other(), net)
                );
            }
            let vip = self.vip(vrid);
            let vips = if self.v6 { format!("fe80::1:{vrid}\n    {vip}") } else { vip.to_string() };
            let _ = write!(text, "  virtual_ipaddress {{\n    {vips}\n  }}\n}}\n");
        }
        text
    }

    /// A host's own address.
    pub fn address(&self, side: Side, net: u8) -> IpAddr {
        if self.v6 {
            [0xfd00, 0, 0, net.into(), 0, 0, 0, side.last().into()].into()
        } else {
            [10, 0, net, side.last()].into()
        }
    }

    /// Skew_Time (RFC 3768 §6.1, RFC 9568 §6.1).
    pub fn skew(&self, priority: u8) -> Duration {
        let unit = if self.version == 2 { Duration::from_secs(1) } else { self.interval };
        unit * (256 - u32::from(priority)) / 256
    }

    /// Master_Down_Interval.
    pub fn master_down(&self, priority: u8) -> Duration {
        3 * self.interval + self.skew(priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_times_are_the_rfcs() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        assert_eq!(ROW.master_down(100), Duration::from_micros(3_609_375));
        assert_eq!(ROW3.master_down(100), Duration::from_nanos(1_804_687_500));
    }
}

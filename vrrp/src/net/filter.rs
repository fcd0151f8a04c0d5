//! Packet filters: which datagrams the kernel gives to which socket.
//!
//! Here: classic BPF programs as values (linux/filter.h). Not here: attaching them (`lane`), the
//! checks of an advertisement (`receive`), which are made again in full.
//!
//! A raw IPv4 socket's filter sees the IP header first; a raw IPv6 socket's sees the payload first
//! and reaches the header with `SKF_NET_OFF`. A load past the end refuses the datagram, so lengths
//! are checked before.

use std::collections::BTreeSet;

use libc::sock_filter;

use crate::wire::ipv4::{TTL, VRRP};

/// Octets of an Authentication Header with a 96-bit check value (RFC 2402 §2; RFC 2338 §5.3.6.3).
const AH: u32 = 24;
/// Octets of a VRRP header (RFC 9568 §5.1).
const HEADER: u32 = 8;
/// What a filter returns: octets to keep.
const WHOLE: u32 = u32::MAX;

/// What a raw socket of this kind has at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// IPv4, protocol 112.
    Ipv4,
    /// IPv4, protocol 51, VRRP inside.
    Ah,
    /// IPv6, protocol 112.
    Ipv6,
}

/// Which half of the datagrams of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Those for a virtual router of this host.
    Main,
    /// All others.
    Strangers,
}

/// Which destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All.
    Any,
    /// Groups only: another socket of the same side gets the rest.
    Groups,
}

/// The program that accepts a datagram if it is for one of `vrids` (at [`Side::Strangers`]: if not).
///
/// It is for one if it has a VRRP header of version 2 or 3 (IPv6: 3) with its VRID, and its TTL or
/// hop limit is 255 where it was sent to a group. Of protocol 51 what has no VRRP inside is for
/// neither side.
pub(super) fn program(layout: Layout, vrids: &BTreeSet<u8>, side: Side, reach: Reach) -> Vec<sock_filter> {
    let mut program = Program::default();
    let message = if layout == Layout::Ah { AH } else { 0 };
    // X: where the payload begins.
    match layout {
        Layout::Ipv4 | Layout::Ah => program.step(op::LDX_HEADER_LENGTH, 0),
        Layout::Ipv6 => program.step(op::LDX_IMMEDIATE, 0),
    }
    program.destination(layout, reach);
    if layout == Layout::Ah {
        program.step(op::LD_OCTET_X, 0);
        program.branch(op::JEQ, u32::from(VRRP), Goal::Next, Goal::Neither);
    }
    program.step(op::LD_LENGTH, 0);
    program.step(op::SUB_X, 0);
    program.branch(op::JGE, message + HEADER, Goal::Next, Goal::Stranger);
    program.step(op::LD_OCTET_X, message);
    program.step(op::RSH, 4);
    if layout != Layout::Ipv6 {
        program.branch(op::JEQ, 2, Goal::Skip(1), Goal::Next);
    }
    program.branch(op::JEQ, 3, Goal::Next, Goal::Stranger);
    program.vrid(message + 1, vrids);
    program.finish(side)
}

/// Operations (linux/bpf_common.h).
mod op {
    /// `BPF_LD | BPF_B | BPF_ABS`
    pub const LD_OCTET: u16 = 0x30;
    /// `BPF_LD | BPF_B | BPF_IND`
    pub const LD_OCTET_X: u16 = 0x50;
    /// `BPF_LD | BPF_W | BPF_LEN`
    pub const LD_LENGTH: u16 = 0x80;
    /// `BPF_LD | BPF_IMM`
    pub const LD_IMMEDIATE: u16 = 0x00;
    /// `BPF_LD | BPF_MEM`
    pub const LD_MEMORY: u16 = 0x60;
    /// `BPF_LDX | BPF_B | BPF_MSH`: four times the lower half of an octet
    pub const LDX_HEADER_LENGTH: u16 = 0xb1;
    /// `BPF_LDX | BPF_IMM`
    pub const LDX_IMMEDIATE: u16 = 0x01;
    /// `BPF_ST`
    pub const STORE: u16 = 0x02;
    /// `BPF_ALU | BPF_SUB | BPF_X`
    pub const SUB_X: u16 = 0x1c;
    /// `BPF_ALU | BPF_AND | BPF_K`
    pub const AND: u16 = 0x54;
    /// `BPF_ALU | BPF_LSH | BPF_X`
    pub const LSH_X: u16 = 0x6c;
    /// `BPF_ALU | BPF_RSH | BPF_K`
    pub const RSH: u16 = 0x74;
    /// `BPF_MISC | BPF_TAX`
    pub const TAX: u16 = 0x07;
    /// `BPF_JMP | BPF_JEQ | BPF_K`
    pub const JEQ: u16 = 0x15;
    /// `BPF_JMP | BPF_JGE | BPF_K`
    pub const JGE: u16 = 0x35;
    /// `BPF_JMP | BPF_JSET | BPF_K`
    pub const JSET: u16 = 0x45;
    /// `BPF_RET | BPF_K`
    pub const RETURN: u16 = 0x06;
}

/// Where a branch goes on.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Next,
    /// Past as many instructions.
    Skip(u8),
    /// For a virtual router of this host.
    Ours,
    Stranger,
    /// No VRRP, or another socket's.
    Neither,
}

/// A program whose ends are not in place yet. It has fewer than 70 instructions whatever the VRIDs
/// are: jumps are 8 bits.
#[derive(Debug, Default)]
struct Program(Vec<(u16, u32, Goal, Goal)>);

impl Program {
    fn step(&mut self, operation: u16, operand: u32) {
        self.branch(operation, operand, Goal::Next, Goal::Next);
    }

    fn branch(&mut self, operation: u16, operand: u32, then: Goal, otherwise: Goal) {
        self.0.push((operation, operand, then, otherwise));
    }

    /// A group implies TTL 255.
    fn destination(&mut self, layout: Layout, reach: Reach) {
        let other = match reach {
            Reach::Any => Goal::Skip(2),
            Reach::Groups => Goal::Neither,
        };
        let ttl = match layout {
            Layout::Ipv4 | Layout::Ah => {
                self.step(op::LD_OCTET, 16);
                self.step(op::AND, 0xf0);
                self.branch(op::JEQ, 0xe0, Goal::Next, other);
                8
            }
            Layout::Ipv6 => {
                let header = libc::SKF_NET_OFF.cast_unsigned();
                self.step(op::LD_OCTET, header.wrapping_add(24));
                self.branch(op::JEQ, 0xff, Goal::Next, other);
                header.wrapping_add(7)
            }
        };
        self.step(op::LD_OCTET, ttl);
        self.branch(op::JEQ, u32::from(TTL), Goal::Next, Goal::Stranger);
    }

    /// The octet `at` behind X is one of `vrids`: a set of bits, so that any number of them costs the same.
    fn vrid(&mut self, at: u32, vrids: &BTreeSet<u8>) {
        const VRID: u32 = 0;
        const BIT: u32 = 1;
        let mut words = [0_u32; 8];
        for vrid in vrids {
            if let Some(word) = words.get_mut(usize::from(vrid >> 5)) {
                *word |= 1 << (vrid & 31);
            }
        }
        self.step(op::LD_OCTET_X, at);
        self.step(op::STORE, VRID);
        self.step(op::AND, 31);
        self.step(op::TAX, 0);
        self.step(op::LD_IMMEDIATE, 1);
        self.step(op::LSH_X, 0);
        self.step(op::STORE, BIT);
        self.step(op::LD_MEMORY, VRID);
        self.step(op::RSH, 5);
        for (number, word) in (0..).zip(words).filter(|(_, word)| *word != 0) {
            self.branch(op::JEQ, number, Goal::Next, Goal::Skip(2));
            self.step(op::LD_MEMORY, BIT);
            self.branch(op::JSET, word, Goal::Ours, Goal::Stranger);
        }
    }

    /// Puts the ends behind; what gets there without a branch is a stranger.
    fn finish(self, side: Side) -> Vec<sock_filter> {
        let length = self.0.len();
        let far = |from: usize, goal: Goal| {
            let to = match goal {
                Goal::Next => from + 1,
                Goal::Skip(count) => from + 1 + usize::from(count),
                Goal::Stranger => length,
                Goal::Ours => length + 1,
                Goal::Neither => length + 2,
            };
            u8::try_from(to - from - 1).expect("a program of fewer than 256 instructions")
        };
        let (ours, strangers) = match side {
            Side::Main => (WHOLE, 0),
            Side::Strangers => (0, WHOLE),
        };
        let end = |k: u32| sock_filter { code: op::RETURN, jt: 0, jf: 0, k };
        let body = self.0.iter().enumerate().map(|(from, (code, k, then, otherwise))| sock_filter {
            code: *code,
            jt: far(from, *then),
            jf: far(from, *otherwise),
            k: *k,
        });
        body.chain([end(strangers), end(ours), end(0)]).collect()
    }
}

/// The program that refuses everything.
pub(super) fn nothing() -> Vec<sock_filter> {
    vec![sock_filter { code: op::RETURN, jt: 0, jf: 0, k: 0 }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A datagram as a filter sees it: the data of the socket begin at `data`.
    struct Seen<'a> {
        octets: &'a [u8],
        data: usize,
    }

    impl Seen<'_> {
        fn load(&self, at: u32) -> Option<u32> {
            let at = match at.cast_signed() {
                at if at < 0 => at - libc::SKF_NET_OFF,
                at => i32::try_from(self.data).unwrap() + at,
            };
            self.octets.get(usize::try_from(at).unwrap()).map(|octet| u32::from(*octet))
        }
    }

    /// Whether the program accepts, as Documentation/networking/filter.rst defines the machine.
    fn accepts(program: &[sock_filter], seen: &Seen) -> bool {
        let (mut a, mut x, mut memory) = (0_u32, 0_u32, BTreeMap::new());
        let mut at = 0;
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            let mut jump = |met| at += usize::from(if met { jt } else { jf });
            match code {
                op::LD_OCTET | op::LD_OCTET_X => {
                    let Some(octet) = seen.load(k.wrapping_add(if code == op::LD_OCTET_X { x } else { 0 }))
                    else {
                        return false;
                    };
                    a = octet;
                }
                op::LD_LENGTH => a = u32::try_from(seen.octets.len() - seen.data).unwrap(),
                op::LD_IMMEDIATE => a = k,
                op::LD_MEMORY => a = *memory.get(&k).expect("stored before"),
                op::LDX_HEADER_LENGTH => match seen.load(k) {
                    Some(octet) => x = (octet & 15) * 4,
                    None => return false,
                },
                op::LDX_IMMEDIATE => x = k,
                op::STORE => drop(memory.insert(k, a)),
                op::SUB_X => a = a.wrapping_sub(x),
                op::AND => a &= k,
                op::LSH_X => a <<= x,
                op::RSH => a >>= k,
                op::TAX => x = a,
                op::JEQ => jump(a == k),
                op::JGE => jump(a >= k),
                op::JSET => jump(a & k != 0),
                op::RETURN => return k != 0,
                other => panic!("operation {other:#x}"),
            }
            at += 1;
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum For {
        Main,
        Strangers,
        Neither,
    }

    fn judge(layout: Layout, vrids: &BTreeSet<u8>, reach: Reach, octets: &[u8]) -> For {
        let seen = Seen { octets, data: if layout == Layout::Ipv6 { 40 } else { 0 } };
        let side = |side| accepts(&program(layout, vrids, side, reach), &seen);
        match (side(Side::Main), side(Side::Strangers)) {
            (true, false) => For::Main,
            (false, true) => For::Strangers,
            (false, false) => For::Neither,
            (true, true) => panic!("for both"),
        }
    }

    const GROUP: u8 = 224;
    const PEER: u8 = 192;

    fn ipv4(options: u8, ttl: u8, destination: u8, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 20 + 4 * usize::from(options)];
        octets[0] = 0x45 + options;
        octets[8] = ttl;
        octets[16] = destination;
        octets.extend(payload);
        octets
    }

    fn ipv6(hop_limit: u8, destination: u8, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 40];
        octets[7] = hop_limit;
        octets[24] = destination;
        octets.extend(payload);
        octets
    }

    fn vrrp(first: u8, vrid: u8) -> Vec<u8> {
        vec![first, vrid, 100, 0, 0, 1, 0, 0]
    }

    fn ah(next: u8, inner: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 24];
        octets[0] = next;
        octets.extend(inner);
        octets
    }

    #[test]
    fn who_gets_what() {
        use For::{Main, Neither, Strangers};
        let ours = BTreeSet::from([1, 31, 32, 255]);
        for (name, octets, want) in [
            ("multicast", ipv4(0, 255, GROUP, &vrrp(0x21, 1)), Main),
            ("version 3", ipv4(0, 255, GROUP, &vrrp(0x31, 1)), Main),
            ("unknown type, for the refusal's counter", ipv4(0, 255, GROUP, &vrrp(0x22, 1)), Main),
            ("with IP options", ipv4(1, 255, GROUP, &vrrp(0x21, 31)), Main),
            ("with the longest IP options", ipv4(10, 255, GROUP, &vrrp(0x21, 32)), Main),
            ("highest VRID", ipv4(0, 255, GROUP, &vrrp(0x21, 255)), Main),
            ("unicast, any TTL", ipv4(0, 64, PEER, &vrrp(0x21, 1)), Main),
            ("broadcast is no group", ipv4(0, 64, 255, &vrrp(0x21, 1)), Main),
            ("highest group", ipv4(0, 254, 239, &vrrp(0x21, 1)), Strangers),
            ("multicast through a router", ipv4(0, 254, GROUP, &vrrp(0x21, 1)), Strangers),
            ("unknown VRID", ipv4(0, 255, GROUP, &vrrp(0x21, 2)), Strangers),
            ("unknown VRID in a word without any", ipv4(0, 255, GROUP, &vrrp(0x21, 64)), Strangers),
            ("version 1", ipv4(0, 255, GROUP, &vrrp(0x11, 1)), Strangers),
            ("version 4", ipv4(0, 255, GROUP, &vrrp(0x41, 1)), Strangers),
            ("seven octets", ipv4(0, 255, GROUP, &vrrp(0x21, 1)[..7]), Strangers),
            ("seven octets behind options", ipv4(10, 255, GROUP, &vrrp(0x21, 1)[..7]), Strangers),
            ("no payload", ipv4(0, 255, GROUP, &[]), Strangers),
            ("no header", vec![], Neither),
        ] {
            assert_eq!(judge(Layout::Ipv4, &ours, Reach::Any, &octets), want, "IPv4, {name}");
        }
        for (name, octets, want) in [
            ("multicast", ipv6(255, 0xff, &vrrp(0x31, 1)), Main),
            ("unicast, any hop limit", ipv6(64, 0xfe, &vrrp(0x31, 1)), Main),
            ("multicast through a router", ipv6(254, 0xff, &vrrp(0x31, 1)), Strangers),
            ("version 2", ipv6(255, 0xff, &vrrp(0x21, 1)), Strangers),
            ("unknown VRID", ipv6(255, 0xff, &vrrp(0x31, 2)), Strangers),
            ("seven octets", ipv6(255, 0xff, &vrrp(0x31, 1)[..7]), Strangers),
            ("no payload", ipv6(255, 0xff, &[]), Strangers),
        ] {
            assert_eq!(judge(Layout::Ipv6, &ours, Reach::Any, &octets), want, "IPv6, {name}");
        }
        for (name, octets, want) in [
            ("multicast", ipv4(0, 255, GROUP, &ah(112, &vrrp(0x21, 1))), Main),
            ("with IP options", ipv4(3, 255, GROUP, &ah(112, &vrrp(0x21, 1))), Main),
            ("unicast", ipv4(0, 64, PEER, &ah(112, &vrrp(0x21, 1))), Main),
            ("multicast through a router", ipv4(0, 1, GROUP, &ah(112, &vrrp(0x21, 1))), Strangers),
            ("unknown VRID", ipv4(0, 255, GROUP, &ah(112, &vrrp(0x21, 2))), Strangers),
            ("VRRP cut short", ipv4(0, 255, GROUP, &ah(112, &vrrp(0x21, 1)[..7])), Strangers),
            ("AH alone", ipv4(0, 255, GROUP, &[112]), Strangers),
            ("IPsec of others", ipv4(0, 64, PEER, &ah(50, &vrrp(0x21, 1))), Neither),
            ("nothing", ipv4(0, 64, PEER, &[]), Neither),
        ] {
            assert_eq!(judge(Layout::Ah, &ours, Reach::Any, &octets), want, "AH, {name}");
        }
    }

    #[test]
    fn a_further_socket_has_groups_only() {
        let ours = BTreeSet::from([1]);
        for (name, layout, octets, want) in [
            ("IPv4 group", Layout::Ipv4, ipv4(0, 255, GROUP, &vrrp(0x21, 1)), For::Main),
            ("IPv4 unknown VRID", Layout::Ipv4, ipv4(0, 255, GROUP, &vrrp(0x21, 2)), For::Strangers),
            ("IPv4 unicast", Layout::Ipv4, ipv4(0, 255, PEER, &vrrp(0x21, 1)), For::Neither),
            ("AH unicast", Layout::Ah, ipv4(0, 255, PEER, &ah(112, &vrrp(0x21, 1))), For::Neither),
            ("IPv6 group", Layout::Ipv6, ipv6(255, 0xff, &vrrp(0x31, 1)), For::Main),
            ("IPv6 unicast", Layout::Ipv6, ipv6(255, 0xfe, &vrrp(0x31, 1)), For::Neither),
        ] {
            assert_eq!(judge(layout, &ours, Reach::Groups, &octets), want, "{name}");
        }
    }

    #[test]
    fn any_number_of_vrids() {
        let sets: [(&str, BTreeSet<u8>); 4] = [
            ("none", BTreeSet::new()),
            ("all", (1..=255).collect()),
            ("every other", (1..=255).step_by(2).collect()),
            ("one in each word", (0..8).map(|word| word * 32 + 31).collect()),
        ];
        for (name, set) in sets {
            for layout in [Layout::Ipv4, Layout::Ah, Layout::Ipv6] {
                let length = program(layout, &set, Side::Main, Reach::Any).len();
                assert!(length < 70, "{name}: {length} instructions");
            }
            for vrid in 0..=255 {
                let want = if set.contains(&vrid) { For::Main } else { For::Strangers };
                let octets = ipv4(0, 255, GROUP, &vrrp(0x21, vrid));
                assert_eq!(judge(Layout::Ipv4, &set, Reach::Any, &octets), want, "{name}, VRID {vrid}");
            }
        }
    }

    proptest! {
        /// No datagram is lost between the two, none comes twice.
        #[test]
        fn each_datagram_has_one_side(
            options in 0_u8..=10, ttl: u8, destination: u8, vrids: BTreeSet<u8>,
            payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let octets = ipv4(options, ttl, destination, &payload);
            let fits = |version: &[u8]| payload.len() >= 8
                && version.contains(&(payload[0] >> 4)) && vrids.contains(&payload[1]);
            let near = |group: bool| !group || ttl == 255;
            let want = if fits(&[2, 3]) && near(destination >> 4 == 0xe) { For::Main } else { For::Strangers };
            prop_assert_eq!(judge(Layout::Ipv4, &vrids, Reach::Any, &octets), want);
            let want = if fits(&[3]) && near(destination == 0xff) { For::Main } else { For::Strangers };
            prop_assert_eq!(judge(Layout::Ipv6, &vrids, Reach::Any, &ipv6(ttl, destination, &payload)), want);
        }
    }
}

use netlink_packet_core::Emitable;

use super::*;

fn rule(line: &str) -> Rule {
    lbd_grammar::read_rule(line).unwrap_or_else(|| panic!("{line}"))
}

fn octets(message: &RuleMessage) -> Vec<u8> {
    let mut octets = vec![0; message.buffer_len()];
    message.emit(&mut octets);
    octets
}

/// `struct fib_rule_hdr` (linux/fib_rules.h).
#[test]
fn heads_of_messages() {
    for (line, want) in [
        ("from 10.0.0.0/8 table 100 preference 5", [2, 0, 8, 0, 100, 0, 0, 1, 0, 0, 0, 0]),
        ("to fd01::/64 table 300 preference 5", [10, 64, 0, 0, 252, 0, 0, 1, 0, 0, 0, 0]),
        ("not tos 0x10 goto 9 preference 5", [2, 0, 0, 16, 0, 0, 0, 2, 2, 0, 0, 0]),
        ("nop preference 5", [2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]),
        ("blackhole preference 5", [2, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0]),
        ("unreachable preference 5", [2, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0]),
        ("prohibit preference 5", [2, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]),
        ("l3mdev preference 5", [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        assert_eq!(octets(&message(&rule(line))).get(..12), Some(&want[..]), "{line}");
    }
}

/// Every rule is found again in a list that has it, and in none that has another.
#[test]
fn rules_are_told_apart() {
    let lines = [
        "nop preference 5",
        "nop preference 6",
        "inet6 nop preference 5",
        "not nop preference 5",
        "blackhole preference 5",
        "from 10.0.0.0/8 nop preference 5",
        "from 10.0.0.0/9 nop preference 5",
        "to 10.0.0.0/8 nop preference 5",
        "tos 0x10 nop preference 5",
        "fwmark 1 nop preference 5",
        "fwmark 1/0xff nop preference 5",
        "fwmark 0/0xff nop preference 5",
        "table 100 preference 5",
        "table 300 preference 5",
        "table 100 realms 1/2 preference 5",
        "table 100 suppress_prefixlength 0 preference 5",
        "table 100 suppress_ifgroup 3 preference 5",
        "iif eth0 nop preference 5",
        "oif eth0 nop preference 5",
        "tunnel-id 7 nop preference 5",
        "uidrange 1-2 nop preference 5",
        "l3mdev preference 5",
        "protocol static no_track nop preference 5",
        "ipproto tcp nop preference 5",
        "ipproto tcp sport 80-80 nop preference 5",
        "ipproto tcp dport 80-80 nop preference 5",
        "goto 9 preference 5",
        "goto 10 preference 5",
    ];
    for there in lines {
        let mut message = message(&rule(there));
        // As kernels tell it: in another order, with defaults and with what older programs do not know.
        message.attributes.reverse();
        message.attributes.extend([
            RuleAttribute::Other(netlink_packet_core::DefaultNla::new(200, vec![1])),
            RuleAttribute::SuppressIfGroup(u32::MAX),
            RuleAttribute::FwMark(0),
        ]);
        if !message.attributes.iter().any(|one| matches!(one, RuleAttribute::SuppressPrefixLen(_))) {
            message.attributes.push(RuleAttribute::SuppressPrefixLen(u32::MAX));
        }
        if !message.attributes.iter().any(|one| matches!(one, RuleAttribute::Table(_))) {
            message.attributes.push(RuleAttribute::Table(0));
        }
        message.header.flags.insert(RuleFlags::IifDetached);
        let mut listed = Rules::default();
        assert!(listed.listed(&octets(&message)), "{there}");
        let mut made = Rules::default();
        made.added(&rule(there));
        for wanted in lines {
            assert_eq!(listed.has(&rule(wanted)), there == wanted, "{wanted} in {there}");
            assert_eq!(made.has(&rule(wanted)), there == wanted, "{wanted} after {there}");
        }
        made.deleted(&rule(there));
        assert!(!made.has(&rule(there)), "{there}");
    }
}

#[test]
fn lists_of_any_octets() {
    let whole =
        octets(&message(&rule("from 10.0.0.0/8 iif eth0 table 100 realms 1/2 uidrange 1-2 preference 5")));
    for length in 0..whole.len() {
        let _some_or_none = Rules::default().listed(&whole[..length]);
        let mut changed = whole.clone();
        changed[length] = 0xff;
        let _some_or_none = Rules::default().listed(&changed);
    }
}

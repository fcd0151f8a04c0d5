//! Rules: the messages that add and delete them, and which ones the kernel has.
//!
//! Here: values. Not here: when they are read (`netconf`).

use std::collections::HashMap;

use lbd_grammar::config::{Prefix, Rule, RuleAction};
use lbd_ipvs::Family;
use netlink_packet_core::{Nla, Parseable};
use netlink_packet_route::rule::{
    RuleAction as KernelAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange,
};
use netlink_packet_route::{AddressFamily, IpProtocol};

use super::routes::{number, realm};

/// `RT_TABLE_COMPAT`: the table is in an attribute.
const TABLE_COMPAT: u8 = 252;
/// How the kernel tells that routes of every length count.
const NOTHING_SUPPRESSED: u32 = u32::MAX;

/// The message that adds a rule; it deletes it too.
pub(in crate::router) fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let (table, action) = match &rule.action {
        RuleAction::Table(table) => (number(table), KernelAction::ToTable),
        RuleAction::Vrf => (0, KernelAction::ToTable),
        RuleAction::Goto(_) => (0, KernelAction::Goto),
        RuleAction::Nop => (0, KernelAction::Nop),
        RuleAction::Blackhole => (0, KernelAction::Blackhole),
        RuleAction::Unreachable => (0, KernelAction::Unreachable),
        RuleAction::Prohibit => (0, KernelAction::Prohibit),
    };
    let length = |prefix: Option<Prefix>| prefix.map_or(0, |prefix| prefix.length);
    let header = &mut message.header;
    header.family = match rule.family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    };
    (header.dst_len, header.src_len) = (length(rule.to), length(rule.from));
    header.tos = rule.tos.as_ref().map_or(0, number);
    header.table = u8::try_from(table).unwrap_or(TABLE_COMPAT);
    header.action = action;
    header.flags.set(RuleFlags::Invert, rule.inverted);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.preference));
    attributes.extend(rule.from.map(|from| RuleAttribute::Source(from.address)));
    attributes.extend(rule.to.map(|to| RuleAttribute::Destination(to.address)));
    match &rule.action {
        RuleAction::Table(_) => attributes.push(RuleAttribute::Table(table)),
        RuleAction::Vrf => attributes.push(RuleAttribute::L3MDev(true)),
        RuleAction::Goto(target) => attributes.push(RuleAttribute::Goto(*target)),
        RuleAction::Nop | RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => {}
    }
    if let Some(mark) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark.value), RuleAttribute::FwMask(mark.mask)]);
    }
    attributes.extend(rule.realms.as_ref().map(|realms| RuleAttribute::Realm(realm(realms))));
    attributes.extend(rule.suppress_prefix_length.map(RuleAttribute::SuppressPrefixLen));
    attributes
        .extend(rule.suppress_group.as_ref().map(|group| RuleAttribute::SuppressIfGroup(number(group))));
    attributes.extend(rule.input.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.output.clone().map(RuleAttribute::Oifname));
    attributes.extend(rule.tunnel_id.map(|id| RuleAttribute::TunId(id.into())));
    attributes.extend(
        rule.uids
            .as_ref()
            .map(|uids| RuleAttribute::UidRange(RuleUidRange { start: *uids.start(), end: *uids.end() })),
    );
    attributes.push(RuleAttribute::Protocol(number(&rule.protocol).into()));
    let protocol = rule.ip_protocol.as_ref().map(|protocol| IpProtocol::from(number(protocol)));
    attributes.extend(protocol.map(RuleAttribute::IpProtocol));
    let ports =
        |ports: &std::ops::RangeInclusive<u16>| RulePortRange { start: *ports.start(), end: *ports.end() };
    attributes.extend(rule.source_ports.as_ref().map(ports).map(RuleAttribute::SourcePortRange));
    attributes.extend(rule.destination_ports.as_ref().map(ports).map(RuleAttribute::DestinationPortRange));
    message
}

/// A rule, but for what the kernel says of it beside: which of its interfaces are not there, and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    lengths: (u8, u8),
    tos: u8,
    action: KernelAction,
    inverted: bool,
    attributes: Vec<RuleAttribute>,
}

/// Family and preference.
type Slot = (u8, u32);

/// Rules as the kernel listed them.
#[derive(Clone, Debug, Default)]
pub(in crate::router) struct Rules {
    by_slot: HashMap<Slot, Vec<Seen>>,
}

impl Rules {
    /// Takes in an entry of a list (what follows the netlink header); whether it is one that can be read.
    pub fn listed(&mut self, payload: &[u8]) -> bool {
        let Ok(message) = RuleMessage::parse(payload) else { return false };
        let (slot, seen) = seen(message);
        self.by_slot.entry(slot).or_default().push(seen);
        true
    }

    pub fn has(&self, rule: &Rule) -> bool {
        let (slot, wanted) = seen(message(rule));
        self.by_slot.get(&slot).is_some_and(|there| there.contains(&wanted))
    }

    /// The kernel acknowledged that it added this.
    pub fn added(&mut self, rule: &Rule) {
        let (slot, wanted) = seen(message(rule));
        self.by_slot.entry(slot).or_default().push(wanted);
    }

    /// The kernel has deleted it.
    pub fn deleted(&mut self, rule: &Rule) {
        let (slot, wanted) = seen(message(rule));
        if let Some(there) = self.by_slot.get_mut(&slot) {
            there.retain(|seen| *seen != wanted);
        }
    }
}

fn seen(message: RuleMessage) -> (Slot, Seen) {
    let RuleMessage { header, mut attributes, .. } = message;
    let preference = attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(preference) => Some(*preference),
        _ => None,
    });
    let says_something = |attribute: &RuleAttribute| match attribute {
        RuleAttribute::Table(0)
        | RuleAttribute::FwMark(0)
        | RuleAttribute::TunId(0)
        | RuleAttribute::SuppressPrefixLen(NOTHING_SUPPRESSED)
        | RuleAttribute::SuppressIfGroup(u32::MAX)
        | RuleAttribute::Priority(_)
        // What kernels to come will say.
        | RuleAttribute::Other(_) => false,
        RuleAttribute::FwMask(mask) => *mask != 0,
        RuleAttribute::Realm(realm) => (realm.source, realm.destination) != (0, 0),
        RuleAttribute::IpProtocol(protocol) => u8::from(*protocol) != 0,
        RuleAttribute::L3MDev(on) => *on,
        _ => true,
    };
    attributes.retain(says_something);
    attributes.sort_by_key(Nla::kind);
    let seen = Seen {
        lengths: (header.dst_len, header.src_len),
        tos: header.tos,
        action: header.action,
        inverted: header.flags.contains(RuleFlags::Invert),
        attributes,
    };
    ((u8::from(header.family), preference.unwrap_or(0)), seen)
}

#[cfg(test)]
mod tests;

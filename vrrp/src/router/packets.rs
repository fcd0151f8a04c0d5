//! What a virtual router puts on the wire.
//!
//! Here: the advertisement of this moment, with its authentication and IP header. Not here: when it is
//! sent (`router`), layouts (`wire`).

use std::net::IpAddr;
use std::time::Instant;

use super::{Effect, Moment, Router};
use crate::engine::Action;
use crate::receive::OLD_GROUP;
use crate::types::{Authentication, Delivery, Family, Priority, UnicastChecksum, Version};
use crate::wire::advert::{Checksum, Outgoing};
use crate::wire::{ah, ipv4, ipv6};

/// Hop limit of unicast over IPv6 where none is configured: the kernel's own default.
const KERNEL_HOP_LIMIT: u8 = 64;

impl Router {
    /// An advertisement to the group or to each peer. `due`: when a timer wanted it.
    pub(super) fn send_advert(
        &mut self,
        now: Moment,
        priority: Priority,
        due: Option<Instant>,
        out: &mut Vec<Effect>,
    ) {
        let Some(source) = self.situation.source else { return };
        if self.situation.interface.is_none() && self.config.interface.is_some() {
            return;
        }
        let config = std::sync::Arc::clone(&self.config);
        let message = Outgoing {
            version: config.version,
            family: config.family,
            vrid: config.vrid.get(),
            priority,
            interval: config.advert_interval,
            addresses: &self.address_octets,
            authentication_type: config.authentication.wire_type(),
            authentication: config.authentication.wire_data(),
        }
        .emit();
        let signature = self.session.seal(&config, now.unix, source, &message);
        let sequence = match &config.authentication {
            Authentication::Ah(key) => match self.session.next_sequence(now.unix) {
                Some(sequence) => Some((sequence, key)),
                None => return,
            },
            _ => None,
        };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.counters.sent += 1;
        if priority == Priority::RELEASE {
            self.counters.priority_zero_sent += 1;
        }
        let (group, peers, ttl) = match &config.delivery {
            Delivery::Multicast { group } => (Some(*group), &[][..], Some(ipv4::TTL)),
            Delivery::Unicast { peers, ttl, .. } => (None, peers.as_slice(), *ttl),
        };
        for destination in group.into_iter().chain(peers.iter().map(|peer| peer.address)) {
            let mut payload = message.clone();
            self.checksum_form(source, destination).fill(&mut payload);
            payload.extend(signature.iter().flatten());
            let packet = match (source, destination) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    let header = ipv4::Header {
                        tos: ipv4::TOS,
                        id: self.packet_id,
                        ttl: ttl.unwrap_or(ipv4::TTL),
                        protocol: ipv4::VRRP,
                        source,
                        destination,
                    };
                    match sequence {
                        Some((sequence, key)) => ah::emit(&header, sequence, key, &payload),
                        None => header.emit(&payload),
                    }
                }
                (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Header {
                    traffic_class: ipv6::TRAFFIC_CLASS,
                    next_header: ipv4::VRRP,
                    hop_limit: ttl.unwrap_or(KERNEL_HOP_LIMIT),
                    source,
                    destination,
                }
                .emit(&payload),
                _ => continue,
            };
            let interface = self.situation.interface.or(self.situation.vrf);
            out.push(Effect::Act(Action::SendAdvert {
                router: self.id,
                interface,
                destination,
                packet,
                due,
            }));
        }
        self.last_sent = Some(now.at);
    }

    /// What the checksum towards `destination` covers.
    fn checksum_form(&self, source: IpAddr, destination: IpAddr) -> Checksum {
        let config = &self.config;
        match (config.version, config.family) {
            (Version::V2, _) => Checksum::Message,
            (Version::V3, Family::V4) if config.checksum_without_pseudo_header => Checksum::Message,
            (Version::V3, Family::V4) if !destination.is_multicast() && self.sends_old_checksum() => {
                Checksum::Pseudo { source, destination: OLD_GROUP.into() }
            }
            (Version::V3, _) => Checksum::Pseudo { source, destination },
        }
    }

    fn sends_old_checksum(&self) -> bool {
        match self.config.unicast_checksum {
            UnicastChecksum::Old => true,
            UnicastChecksum::New => false,
            UnicastChecksum::Detect => self.heard_old_checksum,
        }
    }
}

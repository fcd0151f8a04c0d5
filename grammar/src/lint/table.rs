//! Virtual servers that get in the way of each other, or of connection synchronisation, in the kernel's table.

use std::net::IpAddr;

use lbd_ipvs::{Family, Protocol, ServiceId};

use super::{Lines, lint};
use crate::config::{AddressRange, Config, GroupMember, VirtualServer, VirtualServerId};
use crate::diagnostic::Diagnostic;
use crate::spans::Spans;

pub(super) fn check(config: &Config, spans: &Spans, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    synchronised(config, spans, lines, found);
    shared(config, spans, found);
}

/// Mixed families and the synchronisation daemon.
fn synchronised(config: &Config, spans: &Spans, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    if config.global.sync_daemon.is_none() {
        return;
    }
    let mixed = config.virtual_servers.iter().find_map(|server| {
        let family = server.id.family();
        let real = server.real_servers.iter().find(|real| Family::of(real.address.ip()) != family)?;
        Some((server, real))
    });
    let Some((server, real)) = mixed else { return };
    let message = format!(
        "the kernel refuses connection synchronisation together with real server {} of {}, which is of another \
         family: the one of them that comes second",
        real.address, server.id
    );
    let blocks: Vec<_> = lines.all("global_defs").collect();
    let place = blocks.iter().rev().find_map(|block| lines.place(Some(block), "lvs_sync_daemon"));
    found.push(
        lint(place, message)
            .related(spans.real_server(&server.id, real.address), "the real server")
            .help("remove one of the two"),
    );
}

/// A service, or those of a range of addresses, that a virtual server drives.
struct Driven {
    key: Key,
    first: IpAddr,
    last: IpAddr,
    /// Of the virtual server, in the order of the file.
    index: usize,
}

/// What two ranges must have in common to meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    protocol: Option<Protocol>,
    /// The port, or the mark.
    number: u32,
    family: Family,
}

fn shared(config: &Config, spans: &Spans, found: &mut Vec<Diagnostic>) {
    // Two of the same key are one already, unless a group is in it.
    if !config.virtual_servers.iter().any(|server| matches!(server.id, VirtualServerId::Group(_))) {
        return;
    }
    let mut driven: Vec<Driven> = Vec::new();
    for (index, server) in config.virtual_servers.iter().enumerate() {
        driven.extend(driven_by(config, server, index));
    }
    driven.sort_by_key(|one| (one.key, one.first, one.last, one.index));
    let mut said: Vec<(usize, usize)> = Vec::new();
    // The one that reaches farthest of those before.
    let mut farthest: Option<&Driven> = None;
    for one in &driven {
        if let Some(before) = farthest.filter(|before| before.key == one.key && before.last >= one.first) {
            let pair = (before.index.min(one.index), before.index.max(one.index));
            if pair.0 != pair.1 && !said.contains(&pair) {
                said.push(pair);
                found.extend(different(config, spans, pair, one));
            }
            if before.last >= one.last {
                continue;
            }
        }
        farthest = Some(one);
    }
}

fn different(
    config: &Config,
    spans: &Spans,
    (first, second): (usize, usize),
    at: &Driven,
) -> Option<Diagnostic> {
    let (first, second) = (config.virtual_servers.get(first)?, config.virtual_servers.get(second)?);
    if first.service == second.service {
        return None;
    }
    let service = match at.key.protocol {
        Some(protocol) => {
            format!("{protocol} {}", std::net::SocketAddr::new(at.first, u16::try_from(at.key.number).ok()?))
        }
        None => format!("FWM {} {}", at.key.number, at.key.family),
    };
    let message = format!(
        "{} drives service {service} as {} does, with another scheduler, persistence or flags: those of {} hold",
        second.id, first.id, first.id
    );
    Some(
        lint(spans.virtual_server(&second.id), message)
            .label("without effect in this service")
            .related(spans.virtual_server(&first.id), "the first one")
            .help("give both the same, or each its own addresses"),
    )
}

fn driven_by(config: &Config, server: &VirtualServer, index: usize) -> Vec<Driven> {
    const NONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    let of_mark = |mark: u32, family| Driven {
        key: Key { protocol: None, number: mark, family },
        first: NONE,
        last: NONE,
        index,
    };
    let of_range = |protocol, port: u16, range: AddressRange| Driven {
        key: Key { protocol: Some(protocol), number: port.into(), family: Family::of(range.first()) },
        first: range.first(),
        last: range.last(),
        index,
    };
    match &server.id {
        VirtualServerId::Service(ServiceId::FwMark { mark, family }) => vec![of_mark(mark.get(), *family)],
        VirtualServerId::Service(ServiceId::Addr { protocol, vip }) => AddressRange::new(vip.ip(), vip.ip())
            .map(|range| of_range(*protocol, vip.port(), range))
            .into_iter()
            .collect(),
        VirtualServerId::Group(key) => {
            let members = config.virtual_server_groups.get(&key.group).map(Vec::as_slice).unwrap_or_default();
            let member = |member: &GroupMember| match *member {
                GroupMember::Mark { mark, family } => Some(of_mark(mark.get(), family.unwrap_or(key.family))),
                GroupMember::Addresses { range, port } => {
                    Some(of_range(key.protocol?, port.map_or(0, std::num::NonZeroU16::get), range))
                }
            };
            members.iter().filter_map(member).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    /// What is said of a configuration, of this file's rules alone.
    fn said(text: &str) -> Vec<String> {
        let loaded = crate::load_str("c", text);
        assert!(loaded.config.is_some(), "{:#?}", loaded.diagnostics);
        let ours =
            |message: &&String| message.contains("drives service") || message.contains("synchronisation");
        let messages: Vec<String> = loaded.diagnostics.iter().map(|one| one.message.clone()).collect();
        messages.iter().filter(ours).cloned().collect()
    }

    fn server(of: &str, inside: &str) -> String {
        format!(
            "virtual_server {of} {{\nlb_algo rr\nlb_kind TUN\n{inside}\nreal_server 10.1.0.1 {{\n}}\n}}\n"
        )
    }

    #[test]
    fn services_of_two() {
        let groups = "virtual_server_group a {\n10.0.0.1-9 80\nfwmark 7\n}\n\
            virtual_server_group b {\n10.0.0.5 80\n10.0.1.1 80\n}\n\
            virtual_server_group c {\nfwmark 7 inet\n}\n";
        let tcp = |extra: &str| format!("protocol TCP\n{extra}");
        for (name, servers, want) in [
            ("the same settings", vec![server("group a", &tcp("")), server("group b", &tcp(""))], vec![]),
            (
                "another scheduler in a range",
                vec![server("group a", &tcp("")), server("group b", &tcp("lb_algo wlc"))],
                vec![
                    "GROUP b drives service TCP 10.0.0.5:80 as GROUP a does, with another scheduler, persistence or \
                     flags: those of GROUP a hold",
                ],
            ),
            (
                "another protocol",
                vec![server("group a", &tcp("")), server("group b", "protocol UDP\nlb_algo wlc")],
                vec![],
            ),
            (
                "a service in a group, the group stands first",
                vec![server("group a", &tcp("")), server("10.0.0.9 80", &tcp("persistence_timeout 60"))],
                vec![
                    "TCP 10.0.0.9:80 drives service TCP 10.0.0.9:80 as GROUP a does, with another scheduler, persistence \
                     or flags: those of GROUP a hold",
                ],
            ),
            (
                "beside the range",
                vec![server("group a", &tcp("")), server("10.0.0.10 80", &tcp("lb_algo wlc"))],
                vec![],
            ),
            (
                "another port",
                vec![server("group a", &tcp("")), server("10.0.0.9 81", &tcp("lb_algo wlc"))],
                vec![],
            ),
            (
                "a mark",
                vec![server("group c", "lb_algo wlc"), server("group a", &tcp(""))],
                vec![
                    "GROUP a drives service FWM 7 inet as GROUP c does, with another scheduler, persistence or flags: \
                     those of GROUP c hold",
                ],
            ),
        ] {
            assert_eq!(said(&format!("{groups}{}", servers.concat())), want, "{name}");
        }
    }

    #[test]
    fn families_and_synchronisation() {
        let sync = "global_defs {\nlvs_sync_daemon eth0\n}\n";
        let mixed = "virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind TUN\nprotocol TCP\nreal_server 2001:db8::1 80 {\n}\n}\n";
        for (name, text, want) in [
            ("both", format!("{sync}{mixed}"), 1),
            ("no daemon", mixed.to_owned(), 0),
            ("one family", format!("{sync}{}", server("10.0.0.1 80", "protocol TCP")), 0),
        ] {
            let said = said(&text);
            assert_eq!(said.len(), want, "{name}: {said:?}");
            assert!(
                said.iter().all(|one| one.contains("[2001:db8::1]:80") && one.contains("synchronisation"))
            );
        }
    }
}

//! Commands of the operator: which server is meant, and what follows.

use lbd_grammar::config::{GroupKey, VirtualServer, VirtualServerId};
use lbd_grammar::nearest;
use lbd_ipvs::ServiceId;
use std::net::SocketAddr;

use super::{Director, Managed, now, tell};
use crate::control::{ServerAction, ServerDone, ServerOrder};
use crate::director::pool::Order;
use crate::event::Cause;

/// Names of other servers that are shown with an unknown one.
const SHOWN: usize = 5;

impl Director {
    /// Does what the operator wants.
    ///
    /// # Errors
    /// What is wrong with the names, in words, with names that are near.
    pub(super) fn operate(&mut self, order: &ServerOrder) -> Result<ServerDone, String> {
        let found = self.services.iter().map(|managed| managed.pool.config().as_ref());
        let service = virtual_server(found, &order.virtual_server)?;
        let managed = self.services.get_mut(service).ok_or("the virtual server has gone")?;
        let config = managed.pool.config().clone();
        let addresses: Vec<SocketAddr> = config.real_servers.iter().map(|real| real.address).collect();
        let index = real_server(&config.id, &addresses, &order.real_server)?;
        let address = *addresses.get(index).ok_or("the real server has gone")?;
        let wanted = match order.action {
            ServerAction::Ready => None,
            ServerAction::Drain => Some(Order::Drain),
            ServerAction::Maint => Some(Order::Maint),
            ServerAction::Weight { weight } if weight > MOST_WEIGHT => {
                return Err(format!("weight {weight} is out of range: 0 to {MOST_WEIGHT}"));
            }
            ServerAction::Weight { weight } => Some(Order::Weight(weight)),
        };
        let words =
            format!("command of the operator: {}", wanted.map_or("ready".into(), |one| one.to_string()));
        let changes = managed.pool.order(now(), index, wanted);
        tracing::info!(virtual_server = %config.id, real_server = %address, "{words}");
        tell::tell(&self.options.events, managed, &changes, Cause::Operator, &words);
        let message = said(managed, index);
        self.changed(service, &changes);
        self.remember_order(&config.id, address, wanted);
        self.flush();
        Ok(ServerDone { virtual_server: config.id.to_string(), real_server: address.to_string(), message })
    }
}

/// The kernel's weight is an i32.
const MOST_WEIGHT: u32 = 0x7fff_ffff;

/// How the server stands after the command.
fn said(managed: &Managed, index: usize) -> String {
    let Some(view) = managed.pool.view(index) else { return String::new() };
    let alive = managed.pool.standing(index).is_some_and(|standing| standing.alive);
    let stands = match (view.serving, view.order) {
        (_, Some(Order::Maint)) => "it is out of the table".to_owned(),
        (true, Some(Order::Drain)) => "it stays in the table with weight 0".to_owned(),
        (true, _) if view.table_weight != view.weight => {
            format!("it serves with weight {} of {} (slow_start)", view.table_weight, view.weight)
        }
        (true, _) => format!("it serves with weight {}", view.weight),
        (false, _) if alive => "it is held out by flap_damping".to_owned(),
        (false, _) => "its checks fail, so it is out".to_owned(),
    };
    match managed.pool.has_quorum() {
        true => stands,
        false => format!("{stands}; the virtual server has no quorum"),
    }
}

/// The virtual server of a name: `TCP 10.0.0.1:80` as status shows it, `10.0.0.1:80`, `FWM 7`, `GROUP web` or `web`,
/// `GROUP web TCP`; case does not matter.
fn virtual_server<'a>(servers: impl Iterator<Item = &'a VirtualServer>, name: &str) -> Result<usize, String> {
    let ids: Vec<&VirtualServerId> = servers.map(|server| &server.id).collect();
    let called = |id: &VirtualServerId| names(id).iter().any(|one| one.eq_ignore_ascii_case(name.trim()));
    let found: Vec<usize> =
        (0..ids.len()).filter(|index| ids.get(*index).is_some_and(|id| called(id))).collect();
    match found.as_slice() {
        [index] => Ok(*index),
        [] => {
            let all: Vec<String> = ids.iter().flat_map(|id| names(id)).collect();
            let shown: Vec<String> = ids.iter().map(|id| longest(id)).collect();
            Err(unknown("virtual server", name, &all, &shown))
        }
        several => {
            let names =
                several.iter().filter_map(|index| ids.get(*index)).map(|id| format!("`{}`", longest(id)));
            let names: Vec<String> = names.take(SHOWN).collect();
            Err(format!("`{name}` may be any of {}: write one of them", names.join(", ")))
        }
    }
}

/// The real server of a name: `10.0.0.2:80`, or its address alone where that is enough.
fn real_server(id: &VirtualServerId, addresses: &[SocketAddr], name: &str) -> Result<usize, String> {
    let name = name.trim();
    let called = |address: &SocketAddr| {
        name.parse() == Ok(*address) || name.trim_matches(['[', ']']).parse() == Ok(address.ip())
    };
    let found: Vec<usize> =
        addresses.iter().enumerate().filter(|(_, one)| called(one)).map(|(index, _)| index).collect();
    match found.as_slice() {
        [index] => Ok(*index),
        [] => {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Err(unknown(&format!("real server in {id}"), name, &all, &all))
        }
        several => {
            let names = several.iter().filter_map(|index| addresses.get(*index));
            let names: Vec<String> = names.map(|one| format!("`{one}`")).take(SHOWN).collect();
            Err(format!("`{name}` may be any of {}: write one of them", names.join(", ")))
        }
    }
}

fn unknown(what: &str, name: &str, names: &[String], shown: &[String]) -> String {
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        return format!("there is no {what} `{name}`; did you mean `{near}`?");
    }
    let first: Vec<String> = shown.iter().take(SHOWN).map(|one| format!("`{one}`")).collect();
    let more = match shown.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!(" and {more} more (`lbctl status`)"),
        _ => String::new(),
    };
    match first.is_empty() {
        true => format!("there is no {what} `{name}`, nor any other"),
        false => format!("there is no {what} `{name}`; there are {}{more}", first.join(", ")),
    }
}

/// A name that no other virtual server has.
fn longest(id: &VirtualServerId) -> String {
    names(id).pop().unwrap_or_default()
}

/// What a virtual server may be called; the last one is its own alone.
fn names(id: &VirtualServerId) -> Vec<String> {
    match id {
        VirtualServerId::Service(ServiceId::Addr { vip, .. }) => {
            let alone = (vip.port() == 0).then(|| vip.ip().to_string());
            alone.into_iter().chain([vip.to_string(), id.to_string()]).collect()
        }
        VirtualServerId::Service(ServiceId::FwMark { mark, .. }) => {
            vec![format!("fwmark {mark}"), format!("FWM {mark}"), id.to_string()]
        }
        VirtualServerId::Group(GroupKey { group, protocol, family }) => {
            let kind = protocol.map_or(family.to_string(), |protocol| protocol.to_string());
            vec![group.to_string(), format!("GROUP {group}"), format!("GROUP {group} {kind}")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "virtual_server_group web {\n10.0.1.1 80\n}\n\
        virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.2.1 80 {\n}\nreal_server 10.0.2.2 80 {\n}\nreal_server 10.0.2.2 81 {\n}\n}\n\
        virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol UDP\nreal_server 10.0.2.1 80 {\n}\n}\n\
        virtual_server 10.0.0.2 443 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.2.1 80 {\n}\n}\n\
        virtual_server fwmark 7 {\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.2.1 80 {\n}\n}\n\
        virtual_server group web {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.2.1 80 {\n}\n}\n\
        virtual_server group web {\nlb_algo rr\nlb_kind NAT\nprotocol UDP\nreal_server 10.0.2.1 80 {\n}\n}\n";

    #[test]
    fn names_of_virtual_servers() {
        let config = lbd_grammar::load_str("c", CONFIG).config.expect("a configuration");
        for (name, want) in [
            ("TCP 10.0.0.1:80", Ok(0)),
            ("tcp 10.0.0.1:80", Ok(0)),
            ("10.0.0.2:443", Ok(2)),
            ("FWM 7", Ok(3)),
            ("fwmark 7", Ok(3)),
            ("FWM 7 inet", Ok(3)),
            ("GROUP web UDP", Ok(5)),
            (
                "10.0.0.1:80",
                Err("`10.0.0.1:80` may be any of `TCP 10.0.0.1:80`, `UDP 10.0.0.1:80`: write one of them"),
            ),
            ("web", Err("`web` may be any of `GROUP web TCP`, `GROUP web UDP`: write one of them")),
            ("10.0.0.2:433", Err("there is no virtual server `10.0.0.2:433`; did you mean `10.0.0.2:443`?")),
            (
                "mail",
                Err(
                    "there is no virtual server `mail`; there are `TCP 10.0.0.1:80`, `UDP 10.0.0.1:80`, `TCP 10.0.0.2:443`, `FWM 7 inet`, `GROUP web TCP` and 1 more (`lbctl status`)",
                ),
            ),
        ] {
            let servers = config.virtual_servers.iter().map(AsRef::as_ref);
            assert_eq!(
                virtual_server(servers, name).as_ref().map_err(String::as_str),
                want.as_ref().map_err(|text| *text),
                "{name}"
            );
        }
        let none = virtual_server(std::iter::empty(), "web");
        assert_eq!(
            none.as_ref().err().map(String::as_str),
            Some("there is no virtual server `web`, nor any other")
        );
    }

    #[test]
    fn names_of_real_servers() {
        let config = lbd_grammar::load_str("c", CONFIG).config.expect("a configuration");
        let server = &config.virtual_servers[0];
        let addresses: Vec<SocketAddr> = server.real_servers.iter().map(|real| real.address).collect();
        for (name, want) in [
            ("10.0.2.1:80", Ok(0)),
            ("10.0.2.1", Ok(0)),
            ("10.0.2.2:81", Ok(2)),
            ("10.0.2.2", Err("`10.0.2.2` may be any of `10.0.2.2:80`, `10.0.2.2:81`: write one of them")),
            (
                "10.0.2.9:80",
                Err("there is no real server in TCP 10.0.0.1:80 `10.0.2.9:80`; did you mean `10.0.2.1:80`?"),
            ),
        ] {
            let found = real_server(&server.id, &addresses, name);
            assert_eq!(found.as_ref().map_err(String::as_str), want.as_ref().map_err(|text| *text), "{name}");
        }
    }
}

//! no_accept, and strict_mode, which implies it: packets to the addresses are dropped.
//!
//! The filter works on the input path before IPVS, which takes packets there after the filters of the
//! host: whatever the forwarding method, a virtual server on such an address gets nothing.

use std::cell::OnceCell;
use std::net::IpAddr;

use lbd_ipvs::ServiceId;
use lbd_vrrp::{InstanceConfig, Priority, Version};

use super::{Lines, lint};
use crate::config::{Config, GroupMember, VirtualServerId};
use crate::diagnostic::Diagnostic;
use crate::source::Span;
use crate::spans::Spans;

/// Instances whose addresses one line has filtered.
struct Filtered<'c> {
    keyword: &'static str,
    place: Option<Span>,
    routers: Vec<&'c InstanceConfig>,
}

pub(super) fn check(config: &Config, spans: &Spans, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    let global = OnceCell::new();
    let global = || {
        *global.get_or_init(|| {
            lines.all("global_defs").filter_map(|block| lines.place(Some(&block), "vrrp_strict")).last()
        })
    };
    let mut all: Vec<Filtered<'_>> = Vec::new();
    for router in config.vrrp_instances.iter().map(|instance| &instance.router) {
        if router.accept || router.priority == Priority::OWNER {
            continue;
        }
        let Some((keyword, place)) = reason(router, global, lines) else { continue };
        match all.iter_mut().find(|one| one.place == place && one.keyword == keyword) {
            Some(same) => same.routers.push(router),
            None => all.push(Filtered { keyword, place, routers: vec![router] }),
        }
    }
    for filtered in all {
        found.extend(filtered.said(config, spans));
    }
}

/// The line that has the addresses of a router filtered; `None` if it is said already that an `accept`
/// is without effect.
fn reason(
    router: &InstanceConfig,
    global: impl Fn() -> Option<Span>,
    lines: &Lines<'_, '_>,
) -> Option<(&'static str, Option<Span>)> {
    let object = lines.object("vrrp_instance", &router.name);
    let own = |keyword| lines.place(object.as_ref(), keyword);
    if own("accept") > own("no_accept") {
        return None;
    }
    let (keyword, place) = if let Some(place) = own("no_accept") {
        ("no_accept", Some(place))
    } else if let Some(place) = own("strict_mode") {
        ("strict_mode", Some(place))
    } else {
        ("vrrp_strict", global())
    };
    Some((keyword, place.or(object.as_ref().map(|object| object.head))))
}

impl Filtered<'_> {
    fn said(&self, config: &Config, spans: &Spans) -> Option<Diagnostic> {
        let addresses: Vec<IpAddr> = self
            .routers
            .iter()
            .flat_map(|router| router.addresses.iter().chain(&router.excluded_addresses))
            .map(|vip| vip.address)
            .collect();
        let keyword = self.keyword;
        let diagnostic = if let Some((address, server, place)) = used(&addresses, config, spans) {
            let message = format!(
                "`{keyword}` has packets to {address} dropped before virtual_server {server} sees them"
            );
            lint(self.place, message).label("clients get no answer").related(place, "the virtual server")
        } else if keyword == "no_accept" {
            // That is what it is for.
            return None;
        } else {
            let first = addresses.first()?;
            let which = match addresses.len() - 1 {
                0 => first.to_string(),
                1 => format!("{first} and one more address"),
                more => format!("{first} and {more} more addresses"),
            };
            let message = format!("`{keyword}` has packets to {which} dropped on this host");
            lint(self.place, message).label("neither ping nor a service here answers")
        };
        Some(diagnostic.help(self.remedy()))
    }

    fn remedy(&self) -> String {
        let keyword = self.keyword;
        let strict = self.routers.iter().any(|router| router.strict);
        // In version 2 strictness leaves no choice.
        let version_2 = self.routers.iter().any(|router| router.version == Version::V2);
        match (keyword, strict, version_2) {
            ("no_accept", true, true) => "remove `no_accept` and strict mode".to_owned(),
            ("no_accept", true, false) => "write `accept` instead".to_owned(),
            (_, true, false) => format!("add `accept` to the vrrp_instance, or remove `{keyword}`"),
            _ => format!("remove `{keyword}`"),
        }
    }
}

/// One of the addresses on which there is a virtual server.
fn used(addresses: &[IpAddr], config: &Config, spans: &Spans) -> Option<(IpAddr, String, Option<Span>)> {
    config.virtual_servers.iter().find_map(|server| {
        let address = match &server.id {
            VirtualServerId::Service(ServiceId::Addr { vip, .. }) => {
                addresses.iter().find(|address| **address == vip.ip())
            }
            VirtualServerId::Service(ServiceId::FwMark { .. }) => None,
            VirtualServerId::Group(key) => {
                let members = config.virtual_server_groups.get(&key.group)?;
                let is_in = |address: &&IpAddr| {
                    members.iter().any(|member| match member {
                        GroupMember::Addresses { range, .. } => range.contains(**address),
                        GroupMember::Mark { .. } => false,
                    })
                };
                addresses.iter().find(is_in)
            }
        };
        Some((*address?, server.id.to_string(), spans.virtual_server(&server.id)))
    })
}

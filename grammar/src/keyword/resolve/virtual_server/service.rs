//! Which IPVS service a virtual_server is, and how it is scheduled.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use lbd_ipvs::{Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId};

use super::Resolver;
use crate::config::GroupKey;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::call::Call;
use crate::keyword::server_group::Shape;
use crate::keyword::virtual_server::{Endpoint, PERSISTENCE, endpoint};
use crate::suggest::nearest;

/// What stands after `virtual_server`.
pub(super) enum Key {
    Address(Endpoint),
    Mark(NonZeroU32),
    Group(Arc<str>, Shape),
}

/// What real servers have to fit to.
pub(super) struct Facts {
    /// Family of the service, or where there are several of what does not say its own.
    pub family: Family,
    /// There are services of the other family too.
    pub both_families: bool,
    /// `None`: firewall marks alone.
    pub protocol: Option<Protocol>,
    /// A service is for every port.
    pub any_port: bool,
    pub ports: Ports,
}

/// The services' ports.
#[derive(Clone, Copy)]
pub(super) enum Ports {
    /// 0: every port.
    One(u16),
    /// A firewall mark has none.
    Mark,
    /// `None`: they differ, or there is none.
    Group(Option<NonZeroU16>),
}

pub(super) fn key(call: &mut Call<'_, '_>) -> Option<Key> {
    const LEFT_OUT: &str = "this virtual server";
    match call.first_argument().map(|word| word.text) {
        Some("group") => {
            call.word();
            let name = call.word()?;
            let known = call.context.server_groups.get_key_value(name.text);
            if let Some((group, shape)) = known {
                // A group that was left out has said what becomes of its virtual servers.
                return shape.map(|shape| Key::Group(group.clone(), shape));
            }
            let message = format!("no virtual_server_group {} is defined", quote(name.text));
            let diagnostic = Diagnostic::warning(Kind::BadValue, Some(name.span), message)
                .label("left out with its block");
            let names: Vec<Arc<str>> = call.context.server_groups.keys().cloned().collect();
            let near = nearest(name.text, names.iter().map(AsRef::as_ref));
            call.say(match near {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(name.span, near),
                None => diagnostic.help(format!("add a block `virtual_server_group {} {{ … }}`", name.text)),
            });
            None
        }
        Some("fwmark") => {
            call.word();
            let mark = call.number_as(1..=u32::MAX.into()).and_then(NonZeroU32::new);
            mark.map(Key::Mark)
        }
        _ => endpoint(call, LEFT_OUT).map(Key::Address),
    }
}

impl Resolver<'_, '_> {
    pub(super) fn forwarding(&mut self) -> Forwarding {
        if let Some(forwarding) = self.builder.forwarding {
            return forwarding;
        }
        let forwarding = self.built_in.forwarding.expect("lb_kind has a default");
        let help = "add `lb_kind NAT`, `lb_kind DR` or `lb_kind TUN`";
        self.absent(&["lb_kind", "lvs_method"], forwarding, help);
        forwarding
    }

    pub(super) fn scheduler(&mut self) -> Scheduler {
        let name = self.builder.scheduler.unwrap_or_else(|| {
            let name = self.built_in.scheduler.expect("lb_algo has a default");
            self.absent(&["lb_algo", "lvs_sched"], name, &format!("add `lb_algo {name}`"));
            name
        });
        Scheduler::new(name).expect("a known scheduler's name")
    }

    /// ip_family, unless it contradicts `known`.
    fn family(&mut self, known: Option<Family>, of: impl FnOnce() -> String) -> Option<Family> {
        let (family, span) = self.builder.family?;
        if known.is_none_or(|known| known == family) {
            return Some(family);
        }
        let message = format!("`ip_family {family}` contradicts {}", of());
        self.say(Diagnostic::warning(Kind::BadValue, Some(span), message).label("ignored").help("remove it"));
        None
    }

    /// The family where nothing says it: that of persistence_granularity, else of the first real server.
    fn guessed_family(&self) -> Family {
        let granularity = self.builder.granularity.map(|(mask, _)| match mask {
            Netmask::V4(_) => Family::Inet,
            Netmask::V6(_) => Family::Inet6,
        });
        let first = self.builder.reals.first().and_then(|real| real.endpoint);
        granularity.or(first.map(|endpoint| Family::of(endpoint.address))).unwrap_or(Family::Inet)
    }

    fn protocol(&mut self) -> Protocol {
        if let Some((protocol, _)) = self.builder.protocol {
            return protocol;
        }
        let (protocol, _) = self.built_in.protocol.expect("protocol has a default");
        self.absent(&["protocol"], protocol, "add `protocol TCP`, or `protocol UDP` if that is meant");
        protocol
    }

    fn no_protocol(&mut self, with: &str) {
        if let Some((_, span)) = self.builder.protocol {
            let message = format!("`protocol` has no effect with {with}");
            self.repaired(span, message, "remove it; the rule that sets the mark decides");
        }
    }

    pub(super) fn mark(&mut self, mark: NonZeroU32) -> (ServiceId, Facts) {
        self.no_protocol("a firewall mark");
        let family = self.family(None, String::new).unwrap_or_else(|| self.guessed_family());
        let facts =
            Facts { family, both_families: false, protocol: None, any_port: false, ports: Ports::Mark };
        (ServiceId::FwMark { mark, family }, facts)
    }

    pub(super) fn address(&mut self, Endpoint { address, port }: Endpoint) -> (ServiceId, Facts) {
        let family = Family::of(address);
        self.family(Some(family), || format!("the address {address}"));
        let (protocol, port) = (self.protocol(), port.map_or(0, NonZeroU16::get));
        let facts = Facts {
            family,
            both_families: false,
            protocol: Some(protocol),
            any_port: port == 0,
            ports: Ports::One(port),
        };
        (ServiceId::Addr { protocol, vip: SocketAddr::new(address, port) }, facts)
    }

    pub(super) fn group(&mut self, group: Arc<str>, shape: Shape) -> (GroupKey, Facts) {
        let known = shape.family();
        let written = self.family(known, || format!("virtual_server_group {}", quote(&group)));
        let family = written.or(known).unwrap_or_else(|| self.guessed_family());
        let protocol = if shape.addresses {
            Some(self.protocol())
        } else {
            self.no_protocol("a group of firewall marks");
            None
        };
        let facts = Facts {
            family,
            both_families: shape.inet && shape.inet6,
            protocol,
            any_port: shape.any_port,
            ports: if shape.addresses { Ports::Group(shape.port) } else { Ports::Mark },
        };
        (GroupKey { group, protocol, family }, facts)
    }

    pub(super) fn service(&mut self, facts: &Facts, scheduler: Scheduler) -> Service {
        let family = facts.family;
        let mut netmask = Netmask::full(family);
        if let Some((mask, span)) = self.builder.granularity {
            if matches!((mask, family), (Netmask::V4(_), Family::Inet) | (Netmask::V6(_), Family::Inet6)) {
                netmask = mask;
            } else {
                let message = format!("`persistence_granularity` is not of the service's family {family}");
                let help = "an IPv4 mask for IPv4, a prefix length for IPv6";
                self.say(
                    Diagnostic::warning(Kind::BadValue, Some(span), message).label("ignored").help(help),
                );
            }
        }
        if facts.any_port && self.builder.persistence_timeout.is_none() {
            let message = format!("a service for every port is persistent: {PERSISTENCE} s is used");
            self.repaired(self.place, message, "add `persistence_timeout SECS`, or a port");
            self.builder.persistence_timeout = Some(PERSISTENCE);
        }
        let mut flags = self.builder.flags;
        if self.builder.persistence_timeout.is_some() {
            flags = flags.with(ServiceFlags::PERSISTENT);
        }
        if let Some(span) = self.builder.ops {
            // What carries a firewall mark is not known here; the kernel applies it to UDP alone.
            if matches!(facts.protocol, Some(Protocol::Udp) | None) {
                flags = flags.with(ServiceFlags::ONE_PACKET);
            } else {
                self.repaired(span, "`ops` is for UDP only and has no effect here".into(), "remove it");
            }
        }
        Service {
            scheduler,
            flags,
            persistence_timeout: self.builder.persistence_timeout.unwrap_or(0),
            netmask,
            persistence_engine: self.builder.persistence_engine.take(),
        }
    }

    pub(super) fn ha_suspend(&mut self, facts: &Facts) -> bool {
        let Some(span) = self.builder.ha_suspend else { return false };
        match facts.ports {
            Ports::One(_) => true,
            Ports::Mark => {
                self.repaired(span, "`ha_suspend` has no effect with a firewall mark".into(), "remove it");
                false
            }
            Ports::Group(_) => {
                let message = "`ha_suspend` finds no address of a group on this host, ever";
                self.say(
                    Diagnostic::warning(Kind::Lint, Some(span), message)
                        .label("the checks stay suspended")
                        .help("remove it"),
                );
                true
            }
        }
    }
}

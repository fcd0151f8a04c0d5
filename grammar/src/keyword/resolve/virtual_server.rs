//! From what a virtual_server says to what it means.
//!
//! Here: inheritance (checker, real server, virtual server, built-in) and the rules between
//! keywords. Not here: keywords.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_health::{Check, CheckKind, Connection, HttpCheck, MiscCheck, Url};
use lbd_ipvs::{
    Destination, Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId,
};

use crate::config::{RealServer, SorryServer, VirtualServer};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::Context;
use crate::keyword::call::Call;
use crate::keyword::checker::{CheckBuilder, Which};
use crate::keyword::real_server::RealBuilder;
use crate::keyword::root::Root;
use crate::keyword::virtual_server::{Endpoint, PERSISTENCE, Schedule, ServerBuilder, TABLE, endpoint};
use crate::source::Span;

/// What stands after `virtual_server`.
#[derive(Clone, Copy)]
enum Key {
    Address(Endpoint),
    Mark(NonZeroU32),
}

/// Lowers `virtual_server … { … }`.
pub(crate) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    let key = key(call);
    let mut builder = ServerBuilder::default();
    let lost = call.context.lost.len();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(key) = key else { return };
    let place = call.head();
    let Some(server) = Resolver { builder, place, lost, context: call.context }.server(key) else { return };
    let context = &mut *call.context;
    if let Some(before) = context.spans.virtual_servers.get(&server.id).copied() {
        context.report(
            Diagnostic::warning(
                Kind::BadValue,
                Some(place),
                format!("virtual_server {} is defined twice", server.id),
            )
            .label("this one is left out")
            .related(Some(before), "first here")
            .help("put all its real servers into one block"),
        );
        return;
    }
    context.spans.virtual_servers.insert(server.id, place);
    root.config.virtual_servers.push(Arc::new(server));
}

fn key(call: &mut Call<'_, '_>) -> Option<Key> {
    const LEFT_OUT: &str = "this virtual server";
    let words = call.rest();
    call.rewind();
    match words.first().map(|word| word.text) {
        Some("group") => {
            let place = call.head();
            let means =
                "this virtual server is left out; write one virtual_server for each address of the group";
            call.rest();
            call.context.unserved(place, "`virtual_server group`", means);
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

struct Resolver<'c, 's> {
    builder: ServerBuilder,
    place: Span,
    /// Statements that were lost before this virtual server.
    lost: usize,
    context: &'c mut Context<'s>,
}

impl Resolver<'_, '_> {
    fn server(mut self, key: Key) -> Option<VirtualServer> {
        let built_in = self.context.virtual_server_built_in.clone();
        let forwarding = self.forwarding(&built_in);
        let scheduler = self.scheduler(&built_in);
        let id = self.id(key, &built_in);
        let service = self.service(&id, scheduler);

        let given = std::mem::take(&mut self.builder.reals);
        let mut places: Vec<(SocketAddr, Span)> = Vec::with_capacity(given.len());
        let mut reals: IndexMap<SocketAddr, RealServer> = IndexMap::with_capacity(given.len());
        for real in given {
            let Some(place) = real.place else { continue };
            let Some(server) = self.real_server(real, &id, forwarding, &built_in) else { continue };
            let before = reals.get_index_of(&server.address).and_then(|index| places.get(index));
            if let Some((_, before)) = before.copied() {
                let message = format!("real_server {} is given twice", server.address);
                self.say(
                    Diagnostic::warning(Kind::BadValue, Some(place), message)
                        .label("this one is left out")
                        .related(Some(before), "first here")
                        .help("remove one of them"),
                );
                continue;
            }
            places.push((server.address, place));
            reals.insert(server.address, server);
        }
        if reals.is_empty() {
            let consequence =
                "this real server is left out, and with it the virtual server, which has no other";
            if !self.explained(&["real_server"], consequence) {
                let message = format!("virtual_server {id} has no real_server, so it is left out");
                self.say(
                    Diagnostic::warning(Kind::Repaired, Some(self.place), message)
                        .help("add at least one `real_server ADDR PORT { … }`"),
                );
            }
            return None;
        }
        places.sort_unstable_by_key(|(address, _)| *address);
        self.context.spans.real_servers.entry(id).or_insert(places.into_boxed_slice());

        let sorry_server = self.sorry_server(&id, forwarding, &reals);
        let (quorum, hysteresis) = self.quorum(&reals, &built_in);
        let ha_suspend = self.ha_suspend(&id);
        let builder = self.builder;
        Some(VirtualServer {
            id,
            service,
            forwarding,
            quorum,
            hysteresis,
            ha_suspend,
            omega: builder.omega,
            quorum_up: builder.quorum_up,
            quorum_down: builder.quorum_down,
            sorry_server,
            real_servers: reals.into_values().collect(),
        })
    }

    fn say(&mut self, diagnostic: Diagnostic) {
        self.context.report(diagnostic);
    }

    /// Whether a diagnostic about one of `keywords` says already why nothing usable is there; it then
    /// gets what follows from that.
    fn explained(&mut self, keywords: &[&str], consequence: &str) -> bool {
        self.context.explain_lost(self.lost, TABLE.name, keywords, consequence)
    }

    /// Says that `used` stands for a keyword that is absent, or whose value was ignored.
    fn absent(&mut self, keywords: &[&str], used: impl std::fmt::Display, help: &str) {
        if self.explained(keywords, &format!("ignored: {used} is used")) {
            return;
        }
        let keyword = keywords.first().copied().unwrap_or_default();
        self.repaired(self.place, format!("no usable `{keyword}`: {used} is used"), help);
    }

    /// Says that a value was put right.
    fn repaired(&mut self, span: Span, message: String, help: &str) {
        self.say(Diagnostic::warning(Kind::Repaired, Some(span), message).help(help));
    }

    fn forwarding(&mut self, built_in: &ServerBuilder) -> Forwarding {
        if let Some(forwarding) = self.builder.forwarding {
            return forwarding;
        }
        let forwarding = built_in.forwarding.expect("lb_kind has a default");
        let help = "add `lb_kind NAT`, `lb_kind DR` or `lb_kind TUN`";
        self.absent(&["lb_kind", "lvs_method"], forwarding, help);
        forwarding
    }

    fn scheduler(&mut self, built_in: &ServerBuilder) -> Scheduler {
        let name = self.builder.scheduler.unwrap_or_else(|| {
            let name = built_in.scheduler.expect("lb_algo has a default");
            self.absent(&["lb_algo", "lvs_sched"], name, &format!("add `lb_algo {name}`"));
            name
        });
        Scheduler::new(name).expect("a known scheduler's name")
    }

    fn id(&mut self, key: Key, built_in: &ServerBuilder) -> ServiceId {
        match key {
            Key::Mark(mark) => {
                if let Some((_, span)) = self.builder.protocol {
                    let message = "`protocol` has no effect with a firewall mark".to_owned();
                    self.repaired(span, message, "remove it; the rule that sets the mark decides");
                }
                let granularity = self.builder.granularity.map(|(mask, _)| match mask {
                    Netmask::V4(_) => Family::Inet,
                    Netmask::V6(_) => Family::Inet6,
                });
                let first = self.builder.reals.first().and_then(|real| real.endpoint);
                let family = self
                    .builder
                    .family
                    .map(|(family, _)| family)
                    .or(granularity)
                    .or(first.map(|endpoint| Family::of(endpoint.address)))
                    .unwrap_or(Family::Inet);
                ServiceId::FwMark { mark, family }
            }
            Key::Address(Endpoint { address, port }) => {
                if let Some((family, span)) = self.builder.family
                    && family != Family::of(address)
                {
                    let message = format!("`ip_family {family}` contradicts the address {address}");
                    self.say(
                        Diagnostic::warning(Kind::BadValue, Some(span), message)
                            .label("ignored")
                            .help("remove it"),
                    );
                }
                let protocol = match self.builder.protocol {
                    Some((protocol, _)) => protocol,
                    None => {
                        let (protocol, _) = built_in.protocol.expect("protocol has a default");
                        let help = "add `protocol TCP`, or `protocol UDP` if that is meant";
                        self.absent(&["protocol"], protocol, help);
                        protocol
                    }
                };
                ServiceId::Addr { protocol, vip: SocketAddr::new(address, port.map_or(0, NonZeroU16::get)) }
            }
        }
    }

    fn service(&mut self, id: &ServiceId, scheduler: Scheduler) -> Service {
        let family = id.family();
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
        let any_port = matches!(id, ServiceId::Addr { vip, .. } if vip.port() == 0);
        if any_port && self.builder.persistence_timeout.is_none() {
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
            if matches!(id, ServiceId::Addr { protocol: Protocol::Udp, .. } | ServiceId::FwMark { .. }) {
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

    /// Address and port as IPVS gets them: with DR and TUN the kernel does not change the port.
    fn target(
        &mut self,
        what: &str,
        endpoint: Endpoint,
        place: Span,
        id: &ServiceId,
        by: Forwarding,
    ) -> SocketAddr {
        let written = endpoint.port.map(NonZeroU16::get);
        let rewrites = matches!(by, Forwarding::Nat);
        let port = match (id, rewrites) {
            (ServiceId::Addr { vip, .. }, true) => written.unwrap_or(vip.port()),
            (ServiceId::FwMark { .. }, true) => written.unwrap_or(0),
            (ServiceId::Addr { vip, .. }, false) => {
                if written.is_some_and(|port| port != vip.port()) {
                    let used = match vip.port() {
                        0 => "no port".to_owned(),
                        port => format!("port {port}"),
                    };
                    let message =
                        format!("{by} does not change ports: {what} {} gets {used}", endpoint.address);
                    self.repaired(place, message, "write the virtual server's port, or use `lb_kind NAT`");
                }
                vip.port()
            }
            (ServiceId::FwMark { .. }, false) => {
                if written.is_some() {
                    let message = format!(
                        "{by} does not change ports: the port of {what} {} is not used",
                        endpoint.address
                    );
                    self.repaired(place, message, "remove the port, or use `lb_kind NAT`");
                }
                0
            }
        };
        SocketAddr::new(endpoint.address, port)
    }

    /// Whether a server of another family can be used; says so if not.
    fn fits(
        &mut self,
        what: &'static str,
        endpoint: Endpoint,
        place: Span,
        id: &ServiceId,
        by: Forwarding,
    ) -> bool {
        let family = Family::of(endpoint.address);
        if family == id.family() || matches!(by, Forwarding::Tunnel(_)) {
            return true;
        }
        let message = format!(
            "{what} {} is {family}, the virtual server {}: {by} cannot join them",
            endpoint.address,
            id.family()
        );
        let next = self.context.diagnostics.len();
        self.say(
            Diagnostic::warning(Kind::BadValue, Some(place), message)
                .label("left out")
                .help(format!("give an {} address, or use `lvs_method TUN`", id.family())),
        );
        self.context.note_lost(TABLE.name, what, next);
        false
    }

    fn real_server(
        &mut self,
        real: RealBuilder,
        id: &ServiceId,
        forwarding: Forwarding,
        built_in: &ServerBuilder,
    ) -> Option<RealServer> {
        let (endpoint, place) = (real.endpoint?, real.place?);
        let forwarding = real.forwarding.unwrap_or(forwarding);
        if !self.fits("real_server", endpoint, place, id, forwarding) {
            return None;
        }
        let address = self.target("real_server", endpoint, place, id, forwarding);
        let upper_threshold = real.upper_threshold.unwrap_or(0);
        let mut lower_threshold = 0;
        if let Some((limit, span)) = real.lower_threshold {
            if limit <= upper_threshold {
                lower_threshold = limit;
            } else {
                let message = format!("`lthreshold` {limit} is above `uthreshold` {upper_threshold}");
                self.say(
                    Diagnostic::warning(Kind::BadValue, Some(span), message)
                        .label("ignored")
                        .help("the kernel wants it at most as large as uthreshold"),
                );
            }
        }
        let weight = real.weight.or(self.builder.weight).or(built_in.weight).expect("weight has a default");
        let mut checks = Vec::with_capacity(real.checks.len());
        for check in &real.checks {
            checks.extend(self.check(check, &real, address, built_in).map(Arc::new));
        }
        Some(RealServer {
            address,
            destination: Destination { forwarding, weight, upper_threshold, lower_threshold },
            inhibit_on_failure: real.inhibit_on_failure.unwrap_or(self.builder.inhibit_on_failure),
            notify_up: real.notify_up,
            notify_down: real.notify_down,
            checks,
        })
    }

    fn check(
        &mut self,
        check: &CheckBuilder,
        real: &RealBuilder,
        address: SocketAddr,
        built_in: &ServerBuilder,
    ) -> Option<Check> {
        let schedule = self.schedule(check, real, built_in);
        let kind = match check.which {
            Which::Tcp => CheckKind::Tcp(self.connection(check, real, address, built_in)?),
            Which::Http => CheckKind::Http(self.http(check, real, address, built_in)?),
            Which::Misc => CheckKind::Misc(self.misc(check, built_in)?),
        };
        Some(Check { schedule, kind })
    }

    fn built_in(&self, which: Which) -> &CheckBuilder {
        let defaults = &self.context.check_built_in;
        match which {
            Which::Tcp => &defaults.tcp,
            Which::Http => &defaults.http,
            Which::Misc => &defaults.misc,
        }
    }

    /// The one place where a checker's times are inherited.
    fn schedule(
        &self,
        check: &CheckBuilder,
        real: &RealBuilder,
        built_in: &ServerBuilder,
    ) -> lbd_health::Schedule {
        let last = self.built_in(check.which);
        let chain =
            [&check.schedule, &real.schedule, &self.builder.schedule, &last.schedule, &built_in.schedule];
        let delay_loop = first(chain, |part| part.delay_loop).expect("delay_loop has a default");
        lbd_health::Schedule {
            delay_loop,
            retry: first(chain, |part| part.retry).expect("retry has a default"),
            delay_before_retry: first(chain, |part| part.delay_before_retry)
                .expect("delay_before_retry has a default"),
            warmup: first(chain, |part| part.warmup).unwrap_or(delay_loop),
            alpha: first(chain, |part| part.alpha).unwrap_or_default(),
            log_all_failures: check.log_all_failures.or(last.log_all_failures).unwrap_or_default(),
        }
    }

    fn connection(
        &mut self,
        check: &CheckBuilder,
        real: &RealBuilder,
        address: SocketAddr,
        built_in: &ServerBuilder,
    ) -> Option<Connection> {
        let place = check.place?;
        let ip = check.connect_ip.map_or(address.ip(), |(ip, _)| ip);
        // The port on the line counts, not the one that DR and TUN force.
        let on_line = real.endpoint.and_then(|endpoint| endpoint.port);
        let Some(port) = check.connect_port.or(on_line).or(NonZeroU16::new(address.port())) else {
            let message = "this check has no port to connect to, so it is left out".to_owned();
            self.say(
                Diagnostic::warning(Kind::BadValue, Some(place), message)
                    .help("add `connect_port PORT` to it"),
            );
            return None;
        };
        let mut bind_address = None;
        if let Some((bind, span)) = check.bind_address {
            if bind.is_ipv4() == ip.is_ipv4() {
                bind_address = Some(bind);
            } else {
                let message = format!("`bindto {bind}` and the server {ip} are of different families");
                self.say(
                    Diagnostic::warning(Kind::BadValue, Some(span), message)
                        .label("ignored")
                        .help("an address of the same family"),
                );
            }
        }
        let link_local = matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local());
        if link_local && check.bind_interface.is_none() {
            let message =
                format!("the link-local address {ip} needs an interface, so this check is left out");
            self.say(
                Diagnostic::warning(Kind::BadValue, Some(place), message).help("add `bind_if IF` to it"),
            );
            return None;
        }
        let chain = [&check.schedule, &real.schedule, &self.builder.schedule, &built_in.schedule];
        Some(Connection {
            target: SocketAddr::new(ip, port.get()),
            bind_address,
            bind_port: check.bind_port,
            bind_interface: check.bind_interface.clone(),
            timeout: first(chain, |part| part.connect_timeout).expect("connect_timeout has a default"),
            fwmark: check.fwmark,
        })
    }

    fn http(
        &mut self,
        check: &CheckBuilder,
        real: &RealBuilder,
        address: SocketAddr,
        built_in: &ServerBuilder,
    ) -> Option<HttpCheck> {
        if check.urls.is_empty() {
            let message = "`HTTP_GET` has no usable `url`, so it is left out".to_owned();
            self.say(
                Diagnostic::warning(Kind::BadValue, check.place, message).help("add `url { path / }` to it"),
            );
            return None;
        }
        let connection = self.connection(check, real, address, built_in)?;
        let host = [&check.virtualhost, &real.virtualhost, &self.builder.virtualhost];
        let host = host.into_iter().find_map(Option::as_ref);
        let of_http = self.built_in(Which::Http);
        let url = |url: &crate::keyword::checker::UrlBuilder| {
            Some(Url {
                path: url.path.clone()?,
                host: url.virtualhost.as_ref().or(host).cloned(),
                status: url.status(),
                digest: url.digest,
            })
        };
        Some(HttpCheck {
            connection,
            urls: check.urls.iter().filter_map(url).collect(),
            protocol: check.protocol.or(of_http.protocol).expect("http_protocol has a default"),
            fast_recovery: check
                .fast_recovery
                .or(of_http.fast_recovery)
                .expect("fast_recovery has a default"),
        })
    }

    fn misc(&mut self, check: &CheckBuilder, built_in: &ServerBuilder) -> Option<MiscCheck> {
        let Some(mut command) = check.command.clone() else {
            let message = "`MISC_CHECK` has no usable `misc_path`, so it is left out".to_owned();
            self.say(
                Diagnostic::warning(Kind::BadValue, check.place, message)
                    .help("add `misc_path \"COMMAND\"` to it"),
            );
            return None;
        };
        command.user = check.user.clone().or(command.user);
        let script = self.context.script(command);
        // 0 is the virtual server's delay_loop, not the checker's own.
        let chain = [&self.builder.schedule, &built_in.schedule];
        let delay_loop = first(chain, |part| part.delay_loop).expect("delay_loop has a default");
        let timeout = check.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(delay_loop);
        Some(MiscCheck { script, timeout, dynamic: check.dynamic })
    }

    fn sorry_server(
        &mut self,
        id: &ServiceId,
        forwarding: Forwarding,
        reals: &IndexMap<SocketAddr, RealServer>,
    ) -> Option<SorryServer> {
        let sorry = self.builder.sorry.take()?;
        let forwarding = sorry.forwarding.unwrap_or(forwarding);
        if !self.fits("sorry_server", sorry.endpoint, sorry.place, id, forwarding) {
            return None;
        }
        let address = self.target("sorry_server", sorry.endpoint, sorry.place, id, forwarding);
        let mut inhibit = sorry.inhibit;
        if let Some(real) = reals.get(&address)
            && real.inhibit_on_failure != inhibit
        {
            inhibit = real.inhibit_on_failure;
            let message =
                format!("sorry_server {address} is also a real_server: both are inhibited, or neither");
            let help = "set sorry_server_inhibit and its inhibit_on_failure alike";
            self.repaired(sorry.place, message, help);
        }
        let destination = Destination { forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 };
        Some(SorryServer { address, destination, inhibit })
    }

    fn quorum(&mut self, reals: &IndexMap<SocketAddr, RealServer>, built_in: &ServerBuilder) -> (u32, u32) {
        let total: u64 = reals.values().map(|real| u64::from(real.destination.weight)).sum();
        let (mut quorum, _) = self.builder.quorum.or(built_in.quorum).expect("quorum has a default");
        if let Some((_, span)) = self.builder.quorum
            && u64::from(quorum) > total
        {
            let reduced = u32::try_from(total.max(1)).unwrap_or(u32::MAX);
            let message =
                format!("quorum {quorum} is above the weight of all real servers: {reduced} is used");
            self.repaired(span, message, "lower the quorum, or raise weights");
            quorum = reduced;
        }
        let (mut hysteresis, _) =
            self.builder.hysteresis.or(built_in.hysteresis).expect("hysteresis has a default");
        if let Some((_, span)) = self.builder.hysteresis
            && hysteresis >= quorum
        {
            let message = format!("hysteresis {hysteresis} is not below the quorum: {} is used", quorum - 1);
            self.repaired(span, message, "write a number below the quorum");
            hysteresis = quorum - 1;
        }
        (quorum, hysteresis)
    }

    fn ha_suspend(&mut self, id: &ServiceId) -> bool {
        let Some(span) = self.builder.ha_suspend else { return false };
        if matches!(id, ServiceId::FwMark { .. }) {
            self.repaired(span, "`ha_suspend` has no effect with a firewall mark".into(), "remove it");
            return false;
        }
        true
    }
}

/// The first of a chain that says something.
fn first<const N: usize, T>(chain: [&Schedule; N], field: impl Fn(&Schedule) -> Option<T>) -> Option<T> {
    chain.into_iter().find_map(field)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_nearest_value_is_inherited() {
        let part = |retry| Schedule { retry, delay_loop: Some(Duration::ZERO), ..Default::default() };
        let (none, two, three) = (part(None), part(Some(2)), part(Some(3)));
        assert_eq!(first([&none, &three, &two], |part| part.retry), Some(3));
        assert_eq!(first([&none, &none], |part| part.retry), None);
    }
}

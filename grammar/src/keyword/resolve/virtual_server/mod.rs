//! From what a virtual_server says to what it means.
//!
//! Here: the block as a whole, quorum, sorry server, which of several stays. Not here: keywords, the
//! service (`service`), real servers (`real_server`) and their checks (`check`).
//!
//! A virtual server only reads what other blocks have left in the context, and only adds to the
//! diagnostics, scripts and places there, until it is admitted.

mod check;
mod real_server;
mod service;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use indexmap::IndexMap;
use lbd_ipvs::{Destination, Forwarding};

use self::service::{Facts, Key};
use crate::config::{RealServer, SorryServer, VirtualServer, VirtualServerId};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::Context;
use crate::keyword::call::Call;
use crate::keyword::checker::CheckDefaults;
use crate::keyword::root::Root;
use crate::keyword::virtual_server::{ServerBuilder, TABLE};
use crate::source::Span;

/// Places of real servers, ordered by address.
type Places = Box<[(SocketAddr, Span)]>;

/// A virtual server that was read, with its place and those of its real servers.
pub(crate) struct Found {
    server: Box<VirtualServer>,
    place: Span,
    places: Places,
}

/// Lowers `virtual_server … { … }`.
pub(crate) fn lower(root: &mut Root, call: &mut Call<'_, '_>) {
    root.servers.extend(read(call));
}

/// Reads one; `None` if nothing of it is left.
fn read(call: &mut Call<'_, '_>) -> Option<Found> {
    let place = call.head();
    let key = service::key(call);
    let mut builder = ServerBuilder::default();
    let lost = call.context.lost.len();
    TABLE.run(&mut builder, call.body(), call.context);
    let (built_in, checks) =
        (call.context.virtual_server_built_in.clone(), call.context.check_built_in.clone());
    let resolver =
        Resolver { builder, place, lost, built_in: &built_in, checks: &checks, context: call.context };
    resolver.found(key?)
}

/// Takes over what was read, unless there is one of the same identity already.
pub(crate) fn admit(root: &mut Root, context: &mut Context<'_>, found: Found) {
    let Found { server, place, places } = found;
    let id = &server.id;
    if let Some(before) = context.spans.virtual_servers.get(id).copied() {
        let message = format!("virtual_server {id} is defined twice");
        context.report(
            Diagnostic::warning(Kind::BadValue, Some(place), message)
                .label("this one is left out")
                .related(Some(before), "first here")
                .help("put all its real servers into one block"),
        );
        return;
    }
    context.spans.virtual_servers.insert(id.clone(), place);
    context.spans.real_servers.insert(id.clone(), places);
    root.config.virtual_servers.push(Arc::from(server));
}

struct Resolver<'c, 's> {
    builder: ServerBuilder,
    place: Span,
    /// Statements that were lost before this virtual server.
    lost: usize,
    built_in: &'c ServerBuilder,
    checks: &'c CheckDefaults,
    context: &'c mut Context<'s>,
}

impl Resolver<'_, '_> {
    fn found(mut self, key: Key) -> Option<Found> {
        let forwarding = self.forwarding();
        let scheduler = self.scheduler();
        let (id, facts) = match key {
            Key::Group(group, shape) => {
                let (key, facts) = self.group(group, shape);
                (VirtualServerId::Group(key), facts)
            }
            Key::Address(endpoint) => {
                let (service, facts) = self.address(endpoint);
                (service.into(), facts)
            }
            Key::Mark(mark) => {
                let (service, facts) = self.mark(mark);
                (service.into(), facts)
            }
        };
        let service = self.service(&facts, scheduler);
        self.server(id, &facts, service, forwarding)
    }

    fn server(
        mut self,
        id: VirtualServerId,
        facts: &Facts,
        service: lbd_ipvs::Service,
        forwarding: Forwarding,
    ) -> Option<Found> {
        let given = std::mem::take(&mut self.builder.reals);
        let mut places: IndexMap<SocketAddr, Span> = IndexMap::with_capacity(given.len());
        let mut reals: Vec<RealServer> = Vec::with_capacity(given.len());
        for real in given {
            let Some(place) = real.place else { continue };
            let Some(server) = self.real_server(real, facts, forwarding) else { continue };
            if let Some(before) = places.get(&server.address).copied() {
                let message = format!("real_server {} is given twice", server.address);
                self.say(
                    Diagnostic::warning(Kind::BadValue, Some(place), message)
                        .label("this one is left out")
                        .related(Some(before), "first here")
                        .help("remove one of them"),
                );
                continue;
            }
            places.insert(server.address, place);
            reals.push(server);
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

        let sorry_server = self.sorry_server(facts, forwarding, &places, &reals);
        let (quorum, hysteresis) = self.quorum(&reals);
        let ha_suspend = self.ha_suspend(facts);
        let smtp_alert = self.smtp_alert(self.builder.smtp_alert, false);
        let delay_loop = self.delay_loop();
        let (builder, place) = (self.builder, self.place);
        let server = Box::new(VirtualServer {
            id,
            service,
            forwarding,
            delay_loop,
            quorum,
            hysteresis,
            keep_at_least: builder.keep_at_least.unwrap_or_default(),
            drain_timeout: builder.drain_timeout.unwrap_or_default(),
            ha_suspend,
            smtp_alert,
            snmp_name: builder.snmp_name,
            omega: builder.omega,
            quorum_up: builder.quorum_up,
            quorum_down: builder.quorum_down,
            sorry_server,
            real_servers: reals,
        });
        places.sort_unstable_keys();
        Some(Found { server, place, places: places.into_iter().collect() })
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
    fn absent(&mut self, keywords: &[&str], used: impl Display, help: &str) {
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

    /// Of a virtual server or a real server: its own, else that of global_defs, else the built-in one.
    fn smtp_alert(&self, own: Option<bool>, built_in: bool) -> bool {
        let global = &self.context.global;
        own.or(global.smtp_alert_checker).or(global.smtp_alert).unwrap_or(built_in)
    }

    fn sorry_server(
        &mut self,
        facts: &Facts,
        forwarding: Forwarding,
        places: &IndexMap<SocketAddr, Span>,
        reals: &[RealServer],
    ) -> Option<SorryServer> {
        let sorry = self.builder.sorry.take()?;
        let forwarding = sorry.forwarding.unwrap_or(forwarding);
        if !self.fits("sorry_server", sorry.endpoint, sorry.place, facts, forwarding) {
            return None;
        }
        let address = self.target("sorry_server", sorry.endpoint, sorry.place, facts, forwarding);
        let mut inhibit = sorry.inhibit;
        if let Some(real) = places.get_index_of(&address).and_then(|index| reals.get(index))
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

    fn quorum(&mut self, reals: &[RealServer]) -> (u32, u32) {
        let total: u64 = reals.iter().map(|real| u64::from(real.destination.weight)).sum();
        let most = u32::try_from(total.max(1)).unwrap_or(u32::MAX);
        let (mut quorum, _) = self.builder.quorum.or(self.built_in.quorum).expect("quorum has a default");
        if let Some((_, span)) = self.builder.quorum
            && quorum > most
        {
            let message =
                format!("quorum {quorum} is more than all real servers together weigh: {most} is used");
            self.repaired(span, message, "lower the quorum, or raise weights");
            quorum = most;
        }
        let (mut hysteresis, _) =
            self.builder.hysteresis.or(self.built_in.hysteresis).expect("hysteresis has a default");
        if let Some((_, span)) = self.builder.hysteresis
            && hysteresis >= quorum
        {
            let message = format!("hysteresis {hysteresis} is not below the quorum: {} is used", quorum - 1);
            self.repaired(span, message, "write a number below the quorum");
            hysteresis = quorum - 1;
        }
        (quorum, hysteresis)
    }
}

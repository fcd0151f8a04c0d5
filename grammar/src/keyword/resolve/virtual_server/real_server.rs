//! What a real_server means in its virtual_server.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use lbd_ipvs::{Destination, Family, Forwarding};

use super::Resolver;
use super::service::{Facts, Ports};
use crate::config::RealServer;
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::real_server::RealBuilder;
use crate::keyword::virtual_server::{Endpoint, TABLE};
use crate::source::Span;

impl Resolver<'_, '_> {
    /// Address and port as IPVS gets them: with DR and TUN the kernel does not change the port.
    pub(super) fn target(
        &mut self,
        what: &str,
        endpoint: Endpoint,
        place: Span,
        facts: &Facts,
        by: Forwarding,
    ) -> SocketAddr {
        let written = endpoint.port.map(NonZeroU16::get);
        let rewrites = matches!(by, Forwarding::Nat);
        let port = match (facts.ports, rewrites) {
            (Ports::One(port), true) => written.unwrap_or(port),
            (Ports::Mark | Ports::Group(_), true) => written.unwrap_or(0),
            (Ports::One(port), false) => {
                if written.is_some_and(|written| written != port) {
                    let used = match port {
                        0 => "no port".to_owned(),
                        port => format!("port {port}"),
                    };
                    let message =
                        format!("{by} does not change ports: {what} {} gets {used}", endpoint.address);
                    self.repaired(place, message, "write the virtual server's port, or use `lb_kind NAT`");
                }
                port
            }
            (Ports::Mark, false) => {
                if written.is_some() {
                    let message = format!(
                        "{by} does not change ports: the port of {what} {} is not used",
                        endpoint.address
                    );
                    self.repaired(place, message, "remove the port, or use `lb_kind NAT`");
                }
                0
            }
            (Ports::Group(port), false) => {
                if written.is_some() && port != endpoint.port {
                    let message = format!(
                        "{by} does not change ports: {what} {} gets the port of each service of the group",
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
    pub(super) fn fits(
        &mut self,
        what: &'static str,
        endpoint: Endpoint,
        place: Span,
        facts: &Facts,
        by: Forwarding,
    ) -> bool {
        let family = Family::of(endpoint.address);
        if matches!(by, Forwarding::Tunnel(_)) || (family == facts.family && !facts.both_families) {
            return true;
        }
        let (message, help) = if facts.both_families {
            let message = format!(
                "{what} {} is {family}, the virtual server inet and inet6: {by} cannot join them",
                endpoint.address
            );
            (message, "use `lvs_method TUN`, or a group of one family".to_owned())
        } else {
            let message = format!(
                "{what} {} is {family}, the virtual server {}: {by} cannot join them",
                endpoint.address, facts.family
            );
            (message, format!("give an {} address, or use `lvs_method TUN`", facts.family))
        };
        let next = self.context.diagnostics.len();
        self.say(Diagnostic::warning(Kind::BadValue, Some(place), message).label("left out").help(help));
        self.context.note_lost(TABLE.name, what, next);
        false
    }

    pub(super) fn real_server(
        &mut self,
        mut real: RealBuilder,
        facts: &Facts,
        forwarding: Forwarding,
    ) -> Option<RealServer> {
        let (endpoint, place) = (real.endpoint?, real.place?);
        let forwarding = real.forwarding.unwrap_or(forwarding);
        if !self.fits("real_server", endpoint, place, facts, forwarding) {
            return None;
        }
        let address = self.target("real_server", endpoint, place, facts, forwarding);
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
        let weight =
            real.weight.or(self.builder.weight).or(self.built_in.weight).expect("weight has a default");
        // The port on the line counts for checks, not the one that DR and TUN force.
        let port = endpoint.port.or(NonZeroU16::new(address.port())).or(match facts.ports {
            Ports::Group(port) => port,
            Ports::One(_) | Ports::Mark => None,
        });
        let given = std::mem::take(&mut real.checks);
        let mut checks = Vec::with_capacity(given.len());
        for check in given {
            self.check(check, &real, endpoint.address, port, &mut checks);
        }
        Some(RealServer {
            address,
            destination: Destination { forwarding, weight, upper_threshold, lower_threshold },
            inhibit_on_failure: real.inhibit_on_failure.unwrap_or(self.builder.inhibit_on_failure),
            notify_up: real.notify_up,
            notify_down: real.notify_down,
            smtp_alert: self.smtp_alert(real.smtp_alert, true),
            snmp_name: real.snmp_name,
            slow_start: real.steadiness.slow_start.or(self.builder.steadiness.slow_start).unwrap_or_default(),
            flap_damping: real.steadiness.flap_damping.or(self.builder.steadiness.flap_damping).flatten(),
            checks,
        })
    }
}

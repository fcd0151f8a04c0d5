//! What a checker means on its real_server: everything that it inherits.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lbd_health::{
    AgentCheck, BfdCheck, Check, CheckKind, Connection, DialogueCheck, DnsCheck, FileCheck, GrpcCheck,
    HttpCheck, MiscCheck, SmtpCheck, TlsCheck, UdpCheck, Url,
};

use super::Resolver;
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::checker::{
    Bfd, CheckBuilder, Common, ConnectionBuilder, Dns, File, Grpc, Http, Misc, Own, Smtp, Udp,
};
use crate::keyword::real_server::RealBuilder;
use crate::keyword::virtual_server::Schedule;
use crate::source::Span;

/// Where and of what a checker is.
struct Of<'b> {
    place: Span,
    common: &'b Common,
    real: &'b RealBuilder,
    address: IpAddr,
    port: Option<NonZeroU16>,
}

impl Resolver<'_, '_> {
    /// Adds what a checker's block comes to, which may be nothing.
    pub(super) fn check(
        &mut self,
        check: CheckBuilder,
        real: &RealBuilder,
        address: IpAddr,
        port: Option<NonZeroU16>,
        checks: &mut Vec<Arc<Check>>,
    ) {
        let CheckBuilder { place, common, own } = check;
        let of = Of { place, common: &common, real, address, port };
        let built_in = self.checks;
        let no_schedule = Schedule::default();
        let last = match &own {
            Own::Tcp(_) => &built_in.tcp.common.schedule,
            Own::Http(_) | Own::Ssl(_) => &built_in.http.common.schedule,
            Own::Smtp(_) => &built_in.smtp.common.schedule,
            Own::Dns(_) => &built_in.dns.common.schedule,
            Own::Udp(_) => &built_in.udp.common.schedule,
            Own::Ping => &built_in.ping.common.schedule,
            Own::Misc(_) => &built_in.misc.common.schedule,
            Own::Agent(_) => &built_in.agent.common.schedule,
            Own::Grpc(_) => &built_in.grpc.common.schedule,
            Own::File(_) | Own::Bfd(_) => &no_schedule,
        };
        let schedule = match &own {
            // keepalived starts no FILE_CHECK as failed: its file is there to be asked.
            Own::File(_) => lbd_health::Schedule { alpha: false, ..self.events_only(&of) },
            Own::Bfd(_) => self.events_only(&of),
            _ => self.schedule(&of, last),
        };
        let kind = match own {
            Own::Tcp(tcp) if tcp.steps.is_empty() => self.connection(&of).map(CheckKind::Tcp),
            Own::Tcp(tcp) => self.connection(&of).map(|connection| {
                CheckKind::Dialogue(Box::new(DialogueCheck { connection, steps: tcp.steps.into() }))
            }),
            Own::Http(http) => self.http(*http, &of, false).map(CheckKind::Http),
            Own::Ssl(http) => self.http(*http, &of, true).map(CheckKind::Http),
            Own::Smtp(smtp) => {
                for smtp in self.smtp(*smtp, &of) {
                    checks.push(Arc::new(Check { schedule, kind: CheckKind::Smtp(Box::new(smtp)) }));
                }
                return;
            }
            Own::Dns(dns) => self.dns(*dns, &of).map(CheckKind::Dns),
            Own::Udp(udp) => self.udp(*udp, &of).map(CheckKind::Udp),
            Own::Ping => self.ping(&of).map(CheckKind::Ping),
            Own::Misc(misc) => self.misc(*misc).map(CheckKind::Misc),
            Own::File(file) => file_check(file).map(CheckKind::File),
            Own::Bfd(bfd) => self.bfd(bfd, &of, checks).map(CheckKind::Bfd),
            Own::Agent(agent) => self.connection(&of).map(|connection| {
                let send = agent.send.unwrap_or_default();
                CheckKind::Agent(Box::new(AgentCheck { connection, send }))
            }),
            Own::Grpc(grpc) => self.grpc(*grpc, &of).map(CheckKind::Grpc),
        };
        checks.extend(kind.map(|kind| Arc::new(Check { schedule, kind })));
    }

    /// The one place where a checker's times are inherited.
    fn schedule(&self, of: &Of<'_>, last: &Schedule) -> lbd_health::Schedule {
        let chain =
            [&of.common.schedule, &of.real.schedule, &self.builder.schedule, last, &self.built_in.schedule];
        let delay_loop = first(chain, |part| part.delay_loop).expect("delay_loop has a default");
        let log = of.common.log_all_failures.or(self.context.global.checker_log_all_failures);
        lbd_health::Schedule {
            delay_loop,
            retry: first(chain, |part| part.retry).expect("retry has a default"),
            // DNS_CHECK has no built-in value.
            delay_before_retry: first(chain, |part| part.delay_before_retry).unwrap_or(delay_loop),
            warmup: first(chain, |part| part.warmup).unwrap_or(delay_loop),
            alpha: first(chain, |part| part.alpha).unwrap_or_default(),
            log_all_failures: log.unwrap_or_default(),
        }
    }

    /// Of a checker that is told, and asks nobody: times mean nothing to it.
    fn events_only(&self, of: &Of<'_>) -> lbd_health::Schedule {
        let chain = [&of.common.schedule, &of.real.schedule, &self.builder.schedule];
        lbd_health::Schedule {
            delay_loop: self.built_in.schedule.delay_loop.expect("delay_loop has a default"),
            retry: 0,
            delay_before_retry: Duration::ZERO,
            warmup: Duration::ZERO,
            alpha: first(chain, |part| part.alpha).unwrap_or_default(),
            log_all_failures: false,
        }
    }

    /// The virtual server's own.
    pub(super) fn delay_loop(&self) -> Duration {
        let chain = [&self.builder.schedule, &self.built_in.schedule];
        first(chain, |part| part.delay_loop).expect("delay_loop has a default")
    }

    /// Says why a checker is not used.
    fn left_out(&mut self, of: &Of<'_>, message: String, help: &str) {
        self.say(Diagnostic::warning(Kind::BadValue, Some(of.place), message).help(help));
    }

    fn connection(&mut self, of: &Of<'_>) -> Option<Connection> {
        let port = of.common.connection.port.or(of.port);
        if port.is_none() {
            let message = "this check has no port to connect to, so it is left out".to_owned();
            self.left_out(of, message, "add `connect_port PORT` to it");
        }
        self.reach(of, &of.common.connection, &of.common.schedule, port?.get())
    }

    fn ping(&mut self, of: &Of<'_>) -> Option<Connection> {
        let port = of.common.connection.port.or(of.port).map_or(0, NonZeroU16::get);
        self.reach(of, &of.common.connection, &of.common.schedule, port)
    }

    fn reach(
        &mut self,
        of: &Of<'_>,
        connection: &ConnectionBuilder,
        schedule: &Schedule,
        port: u16,
    ) -> Option<Connection> {
        let ip = connection.ip.unwrap_or(of.address);
        let mut bind_address = None;
        if let Some((bind, span)) = connection.bind_address {
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
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if link_local && connection.bind_interface.is_none() {
            let message =
                format!("the link-local address {ip} needs an interface, so this check is left out");
            self.left_out(of, message, "add `bind_if IF` to it");
            return None;
        }
        let chain = [
            schedule,
            &of.common.schedule,
            &of.real.schedule,
            &self.builder.schedule,
            &self.built_in.schedule,
        ];
        Some(Connection {
            target: SocketAddr::new(ip, port),
            bind_address,
            bind_port: connection.bind_port,
            bind_interface: connection.bind_interface.clone(),
            timeout: first(chain, |part| part.connect_timeout).expect("connect_timeout has a default"),
            fwmark: connection.fwmark,
        })
    }

    fn http(&mut self, http: Http, of: &Of<'_>, tls: bool) -> Option<Box<HttpCheck>> {
        let connection = self.connection(of)?;
        let host = [&http.virtualhost, &of.real.virtualhost, &self.builder.virtualhost];
        let host = host.into_iter().find_map(Option::as_ref);
        let built_in = &self.checks.http.own;
        let compliant = http.tls_compliant.or(built_in.tls_compliant).unwrap_or_default();
        let by_host = tls && http.enable_sni.or(built_in.enable_sni).unwrap_or_default();
        let fixed = http.sni_name.filter(|_| tls);
        // Not the real server's: keepalived leaves it out.
        let named = http.virtualhost.as_ref().or(self.builder.virtualhost.as_ref());
        let urls = http.urls.into_iter().filter_map(|url| {
            let name = match &fixed {
                Some(name) => Some(name),
                None => url.virtualhost.as_ref().or(named).filter(|_| by_host),
            };
            Some(Url {
                server_name: name.map(|name| name.as_str().into()),
                status: url.status(),
                path: url.path?,
                host: url.virtualhost.or_else(|| host.cloned()),
                digest: url.digest,
                regex: url.pattern,
                tls_compliant: tls && url.tls_compliant.unwrap_or(compliant),
            })
        });
        let verify = http.verify.or(built_in.verify).unwrap_or_default();
        let expiry_warning = http.expiry_warning;
        Some(Box::new(HttpCheck {
            connection,
            urls: urls.collect(),
            protocol: http.protocol.or(built_in.protocol).expect("http_protocol has a default"),
            fast_recovery: http
                .fast_recovery
                .or(built_in.fast_recovery)
                .expect("fast_recovery has a default"),
            tls: tls.then_some(TlsCheck { verify, expiry_warning }),
        }))
    }

    /// Its own address, unless it has hosts and says nothing of its own; and each host.
    fn smtp(&mut self, smtp: Smtp, of: &Of<'_>) -> Vec<SmtpCheck> {
        let helo = smtp.helo.or(self.checks.smtp.own.helo.clone()).expect("helo_name has a default");
        let helo: Box<str> = helo.into();
        let own = &of.common.connection;
        let said = own.ip.is_some()
            || own.port.is_some()
            || own.bind_address.is_some()
            || own.bind_port.is_some()
            || own.bind_interface.is_some()
            || own.fwmark.is_some();
        let mut found = Vec::with_capacity(1);
        if said || smtp.hosts.is_empty() {
            found.extend(self.connection(of));
        }
        for (host, schedule) in &smtp.hosts {
            match host.port.or(of.port) {
                Some(port) => found.extend(self.reach(of, host, schedule, port.get())),
                None => {
                    let message = "a `host` of this check has no port to connect to, so it is left out";
                    self.left_out(of, message.to_owned(), "add `connect_port PORT` to it");
                }
            }
        }
        found.into_iter().map(|connection| SmtpCheck { connection, helo: helo.clone() }).collect()
    }

    fn dns(&mut self, dns: Dns, of: &Of<'_>) -> Option<Box<DnsCheck>> {
        let connection = self.connection(of)?;
        let record = dns.record.or(self.checks.dns.own.record).expect("type has a default");
        Some(Box::new(DnsCheck { connection, record, name: dns.name.unwrap_or_default().into() }))
    }

    fn udp(&mut self, udp: Udp, of: &Of<'_>) -> Option<Box<UdpCheck>> {
        let connection = self.connection(of)?;
        let built_in = &self.checks.udp.own;
        let (least, at) = udp.least.or(built_in.least).expect("min_reply_length has a default");
        let (most, _) = udp.most.or(built_in.most).expect("max_reply_length has a default");
        if least > most {
            let at = udp.most.map_or(at, |(_, span)| span);
            let message = format!("a reply of at least {least} and at most {most} octets does not exist");
            self.say(
                Diagnostic::warning(Kind::Lint, Some(at), message)
                    .label("this check always fails")
                    .help("write a min_reply_length up to max_reply_length"),
            );
        }
        Some(Box::new(UdpCheck {
            connection,
            payload: udp.payload,
            reply: udp.reply,
            min_reply_length: least,
            max_reply_length: most,
        }))
    }

    fn misc(&mut self, misc: Misc) -> Option<MiscCheck> {
        let mut command = misc.command?;
        command.user = misc.user.or(command.user);
        let script = self.context.script(command);
        // 0 is the virtual server's delay_loop, not the checker's own.
        let timeout = misc.timeout.filter(|timeout| !timeout.is_zero());
        Some(MiscCheck {
            script,
            timeout: timeout.unwrap_or_else(|| self.delay_loop()),
            dynamic: misc.dynamic,
        })
    }

    fn grpc(&mut self, grpc: Grpc, of: &Of<'_>) -> Option<Box<GrpcCheck>> {
        let connection = self.connection(of)?;
        let service = grpc.service.or(self.checks.grpc.own.service.clone()).expect("service has a default");
        let authority = grpc.authority.map(Into::into);
        Some(Box::new(GrpcCheck { connection, service: service.into(), authority }))
    }

    fn bfd(&mut self, bfd: Bfd, of: &Of<'_>, checks: &[Arc<Check>]) -> Option<BfdCheck> {
        let session = bfd.session?;
        let same = |check: &Arc<Check>| matches!(&check.kind, CheckKind::Bfd(bfd) if bfd.session == session);
        if checks.iter().any(same) {
            let message = format!("this real server has a BFD_CHECK of {session} already");
            self.left_out(of, message, "remove one of them");
            return None;
        }
        Some(BfdCheck { session })
    }
}

fn file_check(file: File) -> Option<FileCheck> {
    let (name, weight, reverse) = file.file?;
    let (weight, reverse) = file.weight.unwrap_or((weight, reverse));
    Some(FileCheck { file: name, weight, reverse })
}

/// The first of a chain that says something.
fn first<const N: usize, T>(chain: [&Schedule; N], field: impl Fn(&Schedule) -> Option<T>) -> Option<T> {
    chain.into_iter().find_map(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_value_is_inherited() {
        let part = |retry| Schedule { retry, delay_loop: Some(Duration::ZERO), ..Default::default() };
        let (none, two, three) = (part(None), part(Some(2)), part(Some(3)));
        assert_eq!(first([&none, &three, &two], |part| part.retry), Some(3));
        assert_eq!(first([&none, &none], |part| part.retry), None);
    }
}

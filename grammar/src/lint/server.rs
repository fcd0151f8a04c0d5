//! Virtual servers whose parts work against each other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lbd_health::{Check, CheckKind};
use lbd_ipvs::{Forwarding, ServiceFlags};

use super::{Lines, lint, seconds};
use crate::config::{Config, RealServer, VirtualServer};
use crate::diagnostic::{Diagnostic, quote};
use crate::source::Span;
use crate::spans::Spans;
use crate::tree::Statement;

pub(super) fn check(config: &Config, spans: &Spans, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
    for server in &config.virtual_servers {
        Rules { server, head: spans.virtual_server(&server.id) }.check(lines, found);
    }
}

/// A virtual server and its place.
struct Rules<'c> {
    server: &'c VirtualServer,
    head: Option<Span>,
}

impl Rules<'_> {
    fn check(&self, lines: &Lines<'_, '_>, found: &mut Vec<Diagnostic>) {
        let VirtualServer { service, sorry_server, real_servers, .. } = self.server;
        let one_packet = service.flags.contains(ServiceFlags::ONE_PACKET)
            && service.flags.contains(ServiceFlags::PERSISTENT);
        let sorry = sorry_server
            .as_ref()
            .and_then(|sorry| real_servers.iter().find(|real| real.address == sorry.address));
        let slow = self.slow();
        if !one_packet && sorry.is_none() && slow.is_empty() {
            return;
        }
        let Some(block) = self.head.and_then(|head| lines.around(head)) else { return };
        if one_packet {
            found.extend(self.persistence(&block, lines));
        }
        if let Some(real) = sorry {
            let message = format!(
                "sorry_server {} is also a real_server: if it is the one that failed, all clients are sent \
                 to it",
                real.address
            );
            let place = lines.within(&block, "real_server").find(|line| is_of(real, line, lines));
            found.push(
                lint(lines.place(Some(&block), "sorry_server"), message)
                    .related(place.map(|line| line.head), "the real server")
                    .help("give it a server of its own, which says that the service is out of order"),
            );
        }
        let mut reals: HashMap<IpAddr, Vec<&Statement>> = HashMap::new();
        if !slow.is_empty() {
            for line in lines.within(&block, "real_server") {
                if let Some(address) = address(line, lines) {
                    reals.entry(address).or_default().push(line);
                }
            }
        }
        let of_block: Vec<&Statement> = ["connect_timeout", "misc_timeout", "delay_loop"]
            .into_iter()
            .filter(|_| !slow.is_empty())
            .filter_map(|keyword| lines.last(&block, keyword))
            .collect();
        let mut said: Vec<(&'static str, Duration, Duration)> = Vec::new();
        for (real, check) in slow {
            let of_real = reals.get(&real.address.ip()).map_or(&[][..], |lines| lines);
            let key = (keyword(check), timeout(check).unwrap_or_default(), check.schedule.delay_loop);
            // Servers of one kind have the same times: the first of them stands for all.
            if said.contains(&key) {
                continue;
            }
            if let Some(diagnostic) = too_slow(check, (real, of_real), &of_block, lines) {
                said.push(key);
                found.push(diagnostic);
            }
        }
    }

    /// Checks that may wait longer than the time between them.
    fn slow(&self) -> Vec<(&RealServer, &Check)> {
        let reals = self.server.real_servers.iter();
        let checks = reals.flat_map(|real| real.checks.iter().map(move |check| (real, &**check)));
        checks
            .filter(|(_, check)| timeout(check).is_some_and(|timeout| timeout > check.schedule.delay_loop))
            .collect()
    }

    fn persistence(&self, block: &Statement, lines: &Lines<'_, '_>) -> Option<Diagnostic> {
        let persistence = lines
            .place(Some(block), "persistence_timeout")
            .or_else(|| lines.place(Some(block), "persistence_granularity"))?;
        let message = format!(
            "persistence keeps a client on one server for {} s, so `ops` cannot schedule each of its \
             datagrams by itself",
            self.server.service.persistence_timeout
        );
        Some(
            lint(lines.place(Some(block), "ops"), message)
                .label("without effect")
                .related(Some(persistence), "persistence")
                .help("remove one of them"),
        )
    }
}

/// How long a check waits for an answer whose absence is a failure.
fn timeout(check: &Check) -> Option<Duration> {
    match &check.kind {
        CheckKind::Misc(misc) => Some(misc.timeout),
        // Silence is an answer there.
        CheckKind::Udp(udp) if udp.reply.is_none() => None,
        kind => Some(kind.connection()?.timeout),
    }
}

fn keyword(check: &Check) -> &'static str {
    match check.kind {
        CheckKind::Misc(_) => "misc_timeout",
        _ => "connect_timeout",
    }
}

/// A timeout that was written, and is longer than the time between checks.
fn too_slow(
    check: &Check,
    (real, of_address): (&RealServer, &[&Statement]),
    of_block: &[&Statement],
    lines: &Lines<'_, '_>,
) -> Option<Diagnostic> {
    let (timeout, schedule) = (timeout(check)?, &check.schedule);
    let reals = || of_address.iter().copied().filter(|line| is_of(real, line, lines));
    let checks = || reals().flat_map(|real| lines.within(real, check.kind.keyword()));
    let matches = |line: &&Statement, keyword: &str, value: Duration| {
        let words = lines.words(line);
        let text = words.get(1).and_then(|word| word.text.parse::<f64>().ok());
        words.first().is_some_and(|word| word.text == keyword) && text == Some(value.as_secs_f64())
    };
    // From the nearest block to the farthest, as they are inherited.
    let nearest = |keyword: &str, value: Duration| {
        let near = checks().chain(reals()).filter_map(|block| lines.last(block, keyword));
        let found = near.chain(of_block.iter().copied()).find(|line| matches(line, keyword, value));
        found.map(|line| line.head)
    };
    let keyword = keyword(check);
    let place = nearest(keyword, timeout)?;
    let retries = schedule.delay_before_retry.saturating_add(timeout).saturating_mul(schedule.retry);
    let down = schedule.delay_loop.saturating_add(timeout).saturating_add(retries);
    let message = format!(
        "{} {} is longer than delay_loop {}: a server that does not answer counts as down only after up to {}",
        quote(keyword),
        seconds(timeout),
        seconds(schedule.delay_loop),
        seconds(down)
    );
    Some(
        lint(Some(place), message)
            .related(nearest("delay_loop", schedule.delay_loop), "the time between checks")
            .help("write a shorter timeout, or a longer delay_loop"),
    )
}

/// Whether a real_server line is that of a real server. A port that is not used may say anything.
fn is_of(real: &RealServer, line: &Statement, lines: &Lines<'_, '_>) -> bool {
    let words = lines.words(line);
    let port = words.get(2).and_then(|word| word.text.parse::<u16>().ok());
    let forced = real.destination.forwarding != Forwarding::Nat;
    address(line, lines) == Some(real.address.ip())
        && (forced || port.is_none_or(|port| port == 0 || port == real.address.port()))
}

/// The address on a real_server line.
fn address(line: &Statement, lines: &Lines<'_, '_>) -> Option<IpAddr> {
    lines.words(line).get(1)?.text.parse().ok()
}

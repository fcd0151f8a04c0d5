//! What works and is probably not meant, with the reason. keepalived says nothing about any of it.
//!
//! Here: rules over the resolved configuration, by subject. Not here: mistakes that lowering sees by
//! itself (values that are ignored or put right, names that nothing defines).

mod authentication;
mod filter;
mod lines;
mod server;
mod table;
mod weight;

use std::collections::HashSet;

use crate::blocks::Blocks;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Kind, Severity};
use crate::source::Span;
use crate::spans::Spans;

pub(crate) use lines::Lines;

/// Each rule and its reason, for documentation.
pub fn lints() -> &'static [(&'static str, &'static str)] {
    &LINTS
}

static LINTS: [(&str, &str); 13] = [
    (
        "vrrp_strict, strict_mode or no_accept with addresses that clients use",
        "What is sent to the addresses is dropped on this host before a virtual server or a service here \
         sees it; only an owner, priority 255, is spared.",
    ),
    (
        "weights that cannot change the priority",
        "The priority that is advertised stays from 1 to 254. What is added above or taken away below that \
         is lost, and with it the failover that the weight was to cause.",
    ),
    (
        "different weights for what an instance and its sync group track",
        "One of them counts: the group's, unless the instance tracks it without a weight.",
    ),
    (
        "a weight for an interface with something on it",
        "An interface is tracked without a weight where a tracked address, route or rule is on it: its loss means FAULT.",
    ),
    (
        "weights with nopreempt",
        "Such a router never takes over from a living master, so a failure that only lowers priorities \
         may move nothing, and its end does not bring the addresses back.",
    ),
    (
        "a comment character in a password",
        "A comment begins at `#` and `!` anywhere outside quotes. The password ends there, and the routers \
         no longer understand each other, or share a shorter password than was meant.",
    ),
    (
        "auth_type PASS or AH",
        "PASS sends its password in clear text with each advert; AH is MD5 with a password of 8 octets. RFC 3768 \
         took both out of VRRP: whoever is on the link can be master all the same. auth_hmac signs adverts.",
    ),
    (
        "authentication over routed unicast",
        "PASS sends its password in clear text through every router on the way. AH covers the addresses, \
         which a translation changes. Neither protects what crosses networks of others.",
    ),
    (
        "persistence with one-packet scheduling",
        "All of a client goes to one server for the time of persistence, so its datagrams are not \
         scheduled one by one.",
    ),
    (
        "a sorry_server that is also a real_server",
        "The server for when too few are left may be the one that failed.",
    ),
    (
        "lvs_sync_daemon with real servers of another family than their virtual server",
        "The kernel excludes them together: what comes second is refused, the synchronisation daemon or \
         the tunnel.",
    ),
    (
        "two virtual servers that drive the same service in different ways",
        "A service of the kernel has one scheduler, one persistence and one set of flags. Those of the first \
         virtual server in the file hold for both; the real servers of both are in it.",
    ),
    (
        "a check's timeout longer than its delay_loop",
        "A server that does not answer then keeps the check waiting longer than the time between checks: \
         it counts as down much later than delay_loop suggests.",
    ),
];

/// What all rules say of a configuration that can run. A place that something was said about already is
/// left alone: one mistake, one diagnostic.
pub(crate) fn check(
    config: &Config,
    spans: &Spans,
    blocks: &Blocks<'_>,
    before: &[Diagnostic],
) -> Vec<Diagnostic> {
    if before.iter().any(|one| one.severity == Severity::Error) {
        return Vec::new();
    }
    let lines = Lines::new(blocks);
    let mut found = Vec::new();
    filter::check(config, spans, &lines, &mut found);
    weight::check(config, &lines, &mut found);
    authentication::check(config, &lines, &mut found);
    server::check(config, spans, &lines, &mut found);
    table::check(config, spans, &lines, &mut found);
    let said: HashSet<Span> =
        before.iter().filter(|one| one.kind != Kind::Unserved).filter_map(|one| one.span).collect();
    found.retain(|one: &Diagnostic| one.span.is_none_or(|span| !said.contains(&span)));
    found
}

fn lint(span: Option<Span>, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(Kind::Lint, span, message)
}

/// A time as people write it.
fn seconds(time: std::time::Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests;

//! real_server.
//!
//! Here: its rows. Not here: what it inherits (`resolve`), its checkers' keywords (`checker`).

use lbd_health::ScriptId;
use lbd_ipvs::Forwarding;

use super::call::Call;
use super::checker::{self, CheckBuilder};
use super::virtual_server::{
    DELAY, Endpoint, FLAP_DAMPING, FLAP_RANGE, LIMIT, METHODS, NO_SNMP, SLOW_RANGE, SLOW_START, Schedule,
    ServerBuilder, Steadiness, TIME, endpoint, forwarding,
};
use super::{Part, Row, Table, later, row};
use crate::source::Span;

/// What a real_server says.
#[derive(Clone, Default)]
pub(crate) struct RealBuilder {
    pub endpoint: Option<Endpoint>,
    pub place: Option<Span>,
    pub weight: Option<u32>,
    pub forwarding: Option<Forwarding>,
    pub upper_threshold: Option<u32>,
    pub lower_threshold: Option<(u32, Span)>,
    pub inhibit_on_failure: Option<bool>,
    pub notify_up: Option<ScriptId>,
    pub notify_down: Option<ScriptId>,
    pub schedule: Schedule,
    pub steadiness: Steadiness,
    pub virtualhost: Option<String>,
    pub smtp_alert: Option<bool>,
    pub snmp_name: Option<String>,
    pub checks: Vec<CheckBuilder>,
}

/// What the rows below fill.
type B = RealBuilder;

pub(crate) static TABLE: Table<RealBuilder> =
    Table { name: "real_server", part: Part::Director, rows: &[ROWS, checker::CHECKERS] };

const ROWS: &[Row<RealBuilder>] = &[
    row("weight", "N", "Weight; 0 takes no new connections.", |b: &mut B, c| {
        b.weight = c.number_as(0..=0x7fff_ffff).or(b.weight);
    })
    .range("0..=2147483647")
    .otherwise("the virtual server's"),
    row("lvs_method", METHODS, "Forwarding method.", |b: &mut B, c| {
        b.forwarding = forwarding(c).or(b.forwarding)
    })
    .otherwise("the virtual server's"),
    row("uthreshold", "N", "No new connections above this many.", |b: &mut B, c| {
        b.upper_threshold = c.number_as(0..=u32::MAX.into()).or(b.upper_threshold);
    })
    .range("0..=4294967295, 0 for none")
    .default("0"),
    row("lthreshold", "N", "New connections again below this many.", |b: &mut B, c| {
        let span = c.head();
        b.lower_threshold = c.number_as(0..=u32::MAX.into()).map(|limit| (limit, span)).or(b.lower_threshold);
    })
    .range("0..=uthreshold, 0 for none")
    .default("0"),
    row("inhibit_on_failure", "[BOOL]", "Stays with weight 0 while it is down.", |b: &mut B, c| {
        b.inhibit_on_failure = c.switch().or(b.inhibit_on_failure);
    })
    .otherwise("the virtual server's"),
    row("notify_up", "CMD [USER [GROUP]]", "Run when it comes up.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify_up, script);
    }),
    row("notify_down", "CMD [USER [GROUP]]", "Run when it goes down.", |b: &mut B, c| {
        let script = c.script();
        c.once(&mut b.notify_down, script);
    }),
    row("slow_start", "SECS", SLOW_START, |b: &mut B, c| b.steadiness.slow_start(c))
        .range(SLOW_RANGE)
        .otherwise("the virtual server's"),
    row("flap_damping", "CHANGES [SECS HOLD]", FLAP_DAMPING, |b: &mut B, c| b.steadiness.flap_damping(c))
        .range(FLAP_RANGE)
        .otherwise("the virtual server's")
        .example("3 60 300"),
    row("alpha", "[BOOL]", "Starts as down.", |b: &mut B, c| b.schedule.alpha(c))
        .otherwise("the virtual server's"),
    row("retry", "N", "Retries before it counts as down.", |b: &mut B, c| b.schedule.retry(c, 1))
        .range("1..=4294967295")
        .otherwise("the virtual server's"),
    row("delay_before_retry", "SECS", "Wait before each retry.", |b: &mut B, c| {
        b.schedule.delay_before_retry(c)
    })
    .range(DELAY)
    .otherwise("the virtual server's"),
    row("warmup", "SECS", "The first check waits a random part of it.", |b: &mut B, c| b.schedule.warmup(c))
        .range(DELAY)
        .otherwise("the virtual server's"),
    row("delay_loop", "SECS", "Time between checks.", |b: &mut B, c| b.schedule.delay_loop(c))
        .range(TIME)
        .otherwise("the virtual server's"),
    row("connect_timeout", "SECS", "Limit of a check's connect and of each read.", |b: &mut B, c| {
        b.schedule.connect_timeout(c);
    })
    .range(LIMIT)
    .otherwise("the virtual server's"),
    row("smtp_alert", "[BOOL]", "Mail on a change of a checker's state.", |b: &mut B, c| {
        b.smtp_alert = c.switch().or(b.smtp_alert);
    })
    .otherwise("smtp_alert_checker, else smtp_alert of global_defs, else true")
    .by(Part::Notify)
    .example("true"),
    row("virtualhost", "NAME", "Host of HTTP checks.", |b: &mut B, c| {
        b.virtualhost = c.word().map(|word| word.text.to_owned()).or(b.virtualhost.take());
    })
    .otherwise("the virtual server's"),
    later("snmp_name", "NAME", "Name for SNMP.", NO_SNMP, |b: &mut B, c| {
        b.snmp_name = c.word().map(|word| word.text.to_owned()).or(b.snmp_name.take());
    })
    .example("web1"),
];

/// Lowers `real_server ADDR [PORT] { … }`.
pub(super) fn lower(server: &mut ServerBuilder, call: &mut Call<'_, '_>) {
    let endpoint = endpoint(call, "this real server");
    let mut builder = RealBuilder { endpoint, place: Some(call.head()), ..Default::default() };
    TABLE.run(&mut builder, call.body(), call.context);
    if builder.endpoint.is_some() {
        server.reals.push(builder);
    }
}

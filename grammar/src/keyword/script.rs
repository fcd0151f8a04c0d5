//! vrrp_script.
//!
//! Here: its rows and its one resolve step. Not here: who tracks it (`tracking`).

use std::sync::Arc;
use std::time::Duration;

use lbd_vrrp::Weight;

use super::call::{Call, Command};
use super::tracking::{incomplete, is_second, own_weight};
use super::{Context, Part, Row, Table, row};
use crate::config::{ScriptUser, VrrpScript};
use crate::diagnostic::{Diagnostic, Kind, quote};

#[derive(Default)]
pub(crate) struct ScriptBuilder {
    command: Option<Command>,
    user: Option<ScriptUser>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    weight: Option<Weight>,
    rise: Option<u32>,
    fall: Option<u32>,
}

/// What the rows below fill.
type B = ScriptBuilder;

pub(crate) static TABLE: Table<ScriptBuilder> =
    Table { name: "vrrp_script", part: Part::Scripts, rows: &[ROWS] };

const ROWS: &[Row<ScriptBuilder>] = &[
    row("script", "CMD [USER [GROUP]]", "The program; quoted if it has arguments.", |b: &mut B, c| {
        b.command = c.command().or(b.command.take());
    })
    .otherwise("required")
    .example("\"/usr/local/bin/check_web\""),
    row("interval", "SECS", "Time between two starts.", |b: &mut B, c| b.interval = time(c).or(b.interval))
        .range("0..=4294, 0 is 1")
        .default("1"),
    row("timeout", "SECS", "Limit of one run, then it has failed.", |b: &mut B, c| {
        b.timeout = time(c).or(b.timeout)
    })
    .range("0..=4294, 0 is 1")
    .otherwise("interval")
    .example("2"),
    row("weight", "N [reverse]", "Change of priority; with 0 a failure means FAULT.", |b: &mut B, c| {
        b.weight = own_weight(c, 253).or(b.weight);
    })
    .range("-253..=253")
    .default("0"),
    row("rise", "N", "Successes in a row until it is good.", |b: &mut B, c| {
        b.rise = c.number_as(1..=u32::MAX.into()).or(b.rise);
    })
    .range("1..=4294967295")
    .default("1"),
    row("fall", "N", "Failures in a row until it is bad.", |b: &mut B, c| {
        b.fall = c.number_as(1..=u32::MAX.into()).or(b.fall);
    })
    .range("1..=4294967295")
    .default("1"),
    row("user", "USER [GROUP]", "Its user.", |b: &mut B, c| b.user = c.user().or(b.user.take()))
        .otherwise("script_user")
        .example("nobody"),
    row("init_fail", "", "No effect on a script that is tracked, here as in keepalived.", |_: &mut B, c| {
        c.powerless("the first result of a script that is tracked is waited for, here as in keepalived");
    }),
];

/// Milliseconds count; less than one is 1 s.
fn time(call: &mut Call<'_, '_>) -> Option<Duration> {
    let time = call.timer(Duration::ZERO, Duration::from_secs(4294))?;
    // Without what is below a millisecond, or a program would be started again and again without a pause.
    let time = time - Duration::from_nanos((time.subsec_nanos() % 1_000_000).into());
    if time.is_zero() {
        call.repaired("is below a millisecond: 1 second is used", "a time in seconds from 0.001", 1);
        return Some(Duration::from_secs(1));
    }
    Some(time)
}

/// Lowers `vrrp_script NAME { … }`.
pub(super) fn lower(call: &mut Call<'_, '_>) {
    let name = call.word();
    let before = call.context.lost.len();
    let mut builder = ScriptBuilder::default();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    let Some(mut command) = builder.command else {
        incomplete(call, name, &["script"], "add `script \"COMMAND\"`", before);
        return;
    };
    if is_second(call, name, call.context.spans.vrrp_script(name.text)) {
        return;
    }
    let context = &mut *call.context;
    let built_in = TABLE.defaults(context);
    command.user = builder.user.or(command.user);
    let script = context.script(command);
    let interval = builder.interval.or(built_in.interval).expect("interval has a default");
    let lowered = VrrpScript {
        script,
        interval,
        timeout: builder.timeout.unwrap_or(interval),
        fall: builder.fall.or(built_in.fall).expect("fall has a default"),
        rise: builder.rise.or(built_in.rise).expect("rise has a default"),
    };
    let weight = builder.weight.or(built_in.weight).expect("weight has a default");
    context.spans.vrrp_scripts.insert(name.text.to_owned(), name.span);
    context.vrrp_scripts.insert(Arc::from(name.text), (lowered, weight));
}

/// Scripts that nobody tracks do not run.
pub(super) fn report_unused(context: &mut Context<'_>) {
    let scripts = context.vrrp_scripts.keys();
    let names: Vec<Arc<str>> = scripts.filter(|name| !context.tracked.contains(&***name)).cloned().collect();
    for name in names {
        let span = context.spans.vrrp_script(&name);
        let message = format!("no vrrp_instance tracks vrrp_script {}, so it does not run", quote(&name));
        context.report(
            Diagnostic::warning(Kind::Lint, span, message)
                .help("name it in a track_script block, or remove it"),
        );
    }
}

//! global_defs: IPVS as a whole.

use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16};
use std::sync::Arc;

use super::super::call::Call;
use super::super::{Context, Part, Row, row};
use super::{GlobalBuilder, SyncDaemonBuilder};
use crate::config::{Config, FlushOnStop, SyncDaemon};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::suggest::nearest;
use crate::tree::Word;

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row(
        "lvs_timeouts",
        "[tcp SECS] [tcpfin SECS] [udp SECS]",
        "How long the kernel remembers idle connections.",
        timeouts,
    )
    .range("0..=2678400, 0 leaves the kernel's value; at least one of the three")
    .otherwise("the kernel's values")
    .example("tcp 900 tcpfin 120 udp 300")
    .by(Part::Director),
    row("lvs_flush", "", "Empty the kernel's table at start, also of the services of others.", |b: &mut B, _| {
        b.rest.lvs_flush = true;
    })
    .by(Part::Director),
    row(
        "lvs_flush_on_stop",
        "[VS]",
        "At stop empty the kernel's table at once, with the services of others, or with VS remove each service \
         with its servers.",
        flush_on_stop,
    )
    .otherwise("own services are removed with their servers")
    .example("VS")
    .by(Part::Director),
    row("lvs_flush_onstop", "[VS]", "Old name of lvs_flush_on_stop.", flush_on_stop)
        .example("VS")
        .by(Part::Director),
    row(
        "lvs_sync_daemon",
        "IF [inst INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDR]",
        "Tell the partner about connections, and hear about its own, over this interface.",
        sync_daemon,
    )
    .range("id 0..=255, maxlen 1..=65507, port 1..=65535, ttl 1..=255, group multicast")
    .otherwise("id is the virtual_router_id of the instance, or 0")
    .example("eth1 id 7 port 8848 ttl 1 group 224.0.0.81")
    .by(Part::Director),
];

fn flush_on_stop(builder: &mut B, call: &mut Call<'_, '_>) {
    let found = match call.optional() {
        None => Some(FlushOnStop::Table),
        Some(word) => call.choice_in(word, &[("VS", FlushOnStop::Services)]),
    };
    builder.rest.lvs_flush_on_stop = found.unwrap_or(builder.rest.lvs_flush_on_stop);
}

/// 31 days, what the kernel takes.
const LONGEST: u64 = 2_678_400;

fn timeouts(builder: &mut B, call: &mut Call<'_, '_>) {
    let mut next = call.word();
    while let Some(kind) = next {
        let timeouts = &mut builder.rest.lvs_timeouts;
        let slot = match kind.text {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => {
                unknown(call, kind, &["tcp", "tcpfin", "udp"]);
                next = call.optional();
                continue;
            }
        };
        if let Some(word) = value(call, kind) {
            let found = call.number_in(word, 0..=LONGEST).and_then(|found| u32::try_from(found).ok());
            *slot = found.unwrap_or(*slot);
        }
        next = call.optional();
    }
}

/// The value after an option.
fn value<'s>(call: &mut Call<'_, 's>, option: Word<'_>) -> Option<Word<'s>> {
    let word = call.optional();
    if word.is_none() {
        call.bad(option, format!("{} has no value", quote(option.text)), "write one after it, or remove it");
    }
    word
}

fn unknown(call: &mut Call<'_, '_>, word: Word<'_>, options: &[&'static str]) {
    let message = format!("{}: {} is no option of it", quote(call.name()), quote(word.text));
    let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
    call.say(match nearest(word.text, options.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
        None => diagnostic.help(format!("one of: {}", options.join(", "))),
    });
}

const OPTIONS: [&str; 6] = ["inst", "id", "maxlen", "port", "ttl", "group"];

fn sync_daemon(builder: &mut B, call: &mut Call<'_, '_>) {
    let place = call.place();
    let Some(interface) = call.interface() else { return };
    let mut found = SyncDaemonBuilder {
        daemon: SyncDaemon {
            interface,
            instance: None,
            id: 0,
            max_length: None,
            port: None,
            ttl: None,
            group: None,
        },
        id: None,
        place,
    };
    let mut next = call.optional();
    // The old form: the instance without `inst`, and an id without `id` right after it.
    if let Some(word) = next.filter(|word| !OPTIONS.contains(&word.text)) {
        found.daemon.instance = Some(Arc::from(word.text));
        next = call.optional();
        if let Some(id) = next.filter(|word| word.text.bytes().all(|byte| byte.is_ascii_digit())) {
            found.id = call.number_in(id, 0..=255).and_then(|id| u8::try_from(id).ok());
            next = call.optional();
        }
    }
    while let Some(option) = next {
        if OPTIONS.contains(&option.text) {
            if let Some(word) = value(call, option) {
                one(&mut found, call, option, word);
            }
        } else {
            unknown(call, option, &OPTIONS);
        }
        next = call.optional();
    }
    call.once(&mut builder.sync_daemon, Some(found));
}

/// One option of lvs_sync_daemon: of what is bad the rest stays.
fn one(found: &mut SyncDaemonBuilder, call: &mut Call<'_, '_>, option: Word<'_>, word: Word<'_>) {
    let daemon = &mut found.daemon;
    let mut number = |most| call.number_in(word, 1..=most).and_then(|value| u16::try_from(value).ok());
    match option.text {
        "inst" if daemon.instance.is_some() => {
            call.bad(word, "there is an instance already", "remove one of them; the first counts");
        }
        "inst" => daemon.instance = Some(Arc::from(word.text)),
        "id" => {
            let id = call.number_in(word, 0..=255).and_then(|id| u8::try_from(id).ok());
            found.id = id.or(found.id);
        }
        "maxlen" => daemon.max_length = number(65507).and_then(NonZeroU16::new).or(daemon.max_length),
        "port" => daemon.port = number(65535).and_then(NonZeroU16::new).or(daemon.port),
        "ttl" => {
            let ttl = number(255).and_then(|ttl| u8::try_from(ttl).ok());
            daemon.ttl = ttl.and_then(NonZeroU8::new).or(daemon.ttl);
        }
        _ => match word.text.parse::<IpAddr>() {
            Ok(group) if group.is_multicast() => daemon.group = Some(group),
            _ => call.bad(
                word,
                format!("{} is not a multicast address", quote(word.text)),
                "for example 224.0.0.81",
            ),
        },
    }
}

/// The instance that lvs_sync_daemon follows, once all are known.
pub(in super::super) fn resolve_sync_daemon(config: &mut Config, context: &mut Context<'_>) {
    let Some(found) = &context.global.sync_daemon else { return };
    let (place, own_id) = (found.place, found.id);
    let Some(daemon) = &mut config.global.sync_daemon else { return };
    let Some(name) = &daemon.instance else { return };
    let mut routers = config.vrrp_instances.iter().map(|instance| &instance.router);
    if let Some(router) = routers.find(|router| router.name == *name) {
        daemon.id = own_id.unwrap_or(router.vrid.get());
        return;
    }
    let left_out = context.spans.instances.get(&**name).copied();
    let what = if left_out.is_some() { "left out" } else { "not there" };
    let message = format!("`lvs_sync_daemon` follows vrrp_instance {}, which is {what}", quote(name));
    let near = nearest(name, config.vrrp_instances.iter().map(|instance| &*instance.router.name));
    let near = near.or_else(|| nearest(name, OPTIONS)).filter(|_| left_out.is_none());
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name an instance that is complete, or remove `inst`".to_owned(),
    };
    context.report(
        Diagnostic::warning(Kind::BadValue, Some(place), message)
            .label("ignored")
            .related(left_out, "here")
            .help(help),
    );
    config.global.sync_daemon = None;
}

//! Version, family, priority, timing and preemption.

use std::time::Duration;

use lbd_vrrp::{Family, Priority, Version};

use super::{Nature, powerless, repaired};
use crate::keyword::call::{Call, seconds};
use crate::keyword::instance::{InstanceBuilder, TABLE};
use crate::tree::Word;

/// Most that twelve bits of centiseconds hold (RFC 9568 §5.2.7).
const LONGEST_V3: Duration = Duration::from_millis(40_950);

pub(super) fn nature(builder: &mut InstanceBuilder, name: Word<'_>, call: &mut Call<'_, '_>) -> Nature {
    let global = &call.context.global;
    let strict = builder.strict.or(global.strict).unwrap_or_default();
    let global_version = match global.version {
        Some(3) => Version::V3,
        _ => Version::V2,
    };
    let family = builder.family.map_or(Family::V4, |(family, _)| family);
    let version = match (family, builder.version) {
        (Family::V6, Some((Version::V2, span))) if strict => {
            let message = "an IPv6 instance in strict mode needs version 3, which is used";
            repaired(call, Some(span), message, "write `version 3` on all its routers");
            Version::V3
        }
        (_, Some((version, _))) => version,
        (Family::V6, None) => Version::V3,
        (Family::V4, None) => global_version,
    };
    let priority = priority(builder, strict, name, call);
    Nature { strict, version, family, priority }
}

/// The priority, after what `state MASTER` does to it.
fn priority(
    builder: &mut InstanceBuilder,
    strict: bool,
    name: Word<'_>,
    call: &mut Call<'_, '_>,
) -> Priority {
    let master = builder.master == Some(true);
    let priority = builder.priority.unwrap_or(if master { Priority::OWNER } else { Priority::DEFAULT });
    let owner = priority == Priority::OWNER;
    if strict && builder.master.is_some_and(|master| master != owner) {
        let (message, help) = if master {
            ("strict mode: only priority 255 begins as MASTER; it begins as BACKUP", "write `state BACKUP`")
        } else {
            ("strict mode: priority 255 begins as MASTER", "write `state MASTER`, or a lower priority")
        };
        repaired(call, Some(name.span), message, help);
        builder.master = Some(owner);
    }
    priority
}

/// What `state`, priority and strict mode do to preemption and to the owner's ears.
pub(super) fn preemption(builder: &mut InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) {
    let owner = nature.is_owner();
    let master = builder.master.unwrap_or(owner);
    let why = if owner { "priority 255" } else { "`state MASTER`" };
    if let Some(span) = builder.nopreempt.take_if(|_| master || owner) {
        let help = "use `state BACKUP` on all its routers and a priority below 255, or remove `nopreempt`";
        powerless(call, Some(span), format!("`nopreempt` has no effect with {why}"), help);
    }
    let cleared = match (master, builder.nopreempt) {
        _ if nature.strict => Some("strict mode"),
        (true, _) => Some("`state MASTER`"),
        (false, Some(_)) => Some("`nopreempt`"),
        (false, None) => None,
    };
    if let (Some(why), Some((delay, span))) = (cleared, builder.preempt_delay)
        && !delay.is_zero()
    {
        builder.preempt_delay = None;
        powerless(
            call,
            Some(span),
            format!("`preempt_delay` has no effect with {why}"),
            "remove one of them",
        );
    }
    if let Some((_, span)) = builder.late_backup.take_if(|_| builder.nopreempt.is_none()) {
        let message = "`timer_expired_backup` has no effect without `nopreempt`";
        powerless(call, Some(span), message, "add `nopreempt`, or remove it");
    }
    if let Some((on, span)) = builder.owner_ignore_adverts {
        if on != owner {
            let message = if owner {
                "`owner_ignore_adverts` cannot be switched off with priority 255"
            } else {
                "`owner_ignore_adverts` needs priority 255"
            };
            // Off is what it is without priority 255.
            if on || owner {
                call.say(
                    crate::Diagnostic::warning(crate::Kind::Repaired, Some(span), message).help("remove it"),
                );
            }
        }
        builder.owner_ignore_adverts = Some((owner, span));
    }
}

/// Version 2 counts whole seconds, version 3 hundredths.
pub(super) fn advert_interval(
    builder: &InstanceBuilder,
    nature: Nature,
    call: &mut Call<'_, '_>,
) -> Duration {
    let Some((interval, span)) = builder.advert_interval else {
        let default = TABLE.defaults(call.context).advert_interval;
        return default.map(|(interval, _)| interval).expect("advert_int has a default");
    };
    let (rounded, message) = match nature.version {
        Version::V2 => {
            let whole = interval.saturating_add(Duration::from_millis(500)).as_secs().clamp(1, 255);
            (
                Duration::from_secs(whole),
                format!("`advert_int` of version 2 counts whole seconds: {whole} is used"),
            )
        }
        Version::V3 if interval > LONGEST_V3 => {
            let message = "`advert_int` of version 3 is 40.95 seconds at most, which is used".to_owned();
            (LONGEST_V3, message)
        }
        Version::V3 => {
            let hundredths = interval.saturating_add(Duration::from_millis(5)).as_millis() / 10;
            let rounded = Duration::from_millis(u64::try_from(hundredths * 10).unwrap_or(u64::MAX));
            let shown = seconds(rounded);
            (rounded, format!("`advert_int` of version 3 counts hundredths of a second: {shown} is used"))
        }
    };
    if rounded != interval {
        let whole = if nature.version == Version::V2 { "whole number" } else { "time" };
        call.say(
            crate::Diagnostic::warning(crate::Kind::Repaired, Some(span), message)
                .help(format!("write the same {whole} on all its routers"))
                .fix(span, format!("advert_int {}", seconds(rounded))),
        );
    }
    rounded
}

pub(super) fn down_timer_adverts(builder: &InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> u8 {
    let (global, built_in) = (&call.context.global, &call.context.global_built_in);
    let inherited = global.down_timer_adverts.or(built_in.down_timer_adverts);
    match builder.down_timer_adverts {
        Some((count, span)) if nature.strict && count != STRICT_ADVERTS => {
            let message = format!("strict mode: `down_timer_adverts` is {STRICT_ADVERTS}");
            repaired(call, Some(span), message, "remove it");
            STRICT_ADVERTS
        }
        _ if nature.strict => STRICT_ADVERTS,
        Some((count, _)) => count,
        None => inherited.expect("vrrp_down_timer_adverts has a default"),
    }
}

/// RFC 3768 §6.1.
const STRICT_ADVERTS: u8 = 3;

/// lower_prio_no_advert and higher_prio_send_advert.
pub(super) fn answers(builder: &InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> (bool, bool) {
    let rows = [
        ("lower_prio_no_advert", builder.lower_priority_no_advert, true),
        ("higher_prio_send_advert", builder.higher_priority_send_advert, false),
    ];
    for (name, own, strict) in rows {
        if let Some((_, span)) = own.filter(|(on, _)| nature.strict && *on != strict) {
            repaired(call, Some(span), format!("strict mode: `{name}` is {strict}"), "remove it");
        }
    }
    if nature.strict {
        return (true, false);
    }
    let (global, built_in) = (&call.context.global, &call.context.global_built_in);
    let flag = |own: Option<bool>, global: Option<bool>, built_in: Option<bool>| {
        own.or(global).or(built_in).unwrap_or_default()
    };
    (
        flag(
            builder.lower_priority_no_advert.map(|(on, _)| on),
            global.lower_priority_no_advert,
            built_in.lower_priority_no_advert,
        ),
        flag(
            builder.higher_priority_send_advert.map(|(on, _)| on),
            global.higher_priority_send_advert,
            built_in.higher_priority_send_advert,
        ),
    )
}

/// In strict mode only the owner answers at the addresses, unless version 3 is told otherwise
/// (Accept_Mode, RFC 9568 §6.1).
pub(super) fn accept(builder: &InstanceBuilder, nature: Nature, call: &mut Call<'_, '_>) -> bool {
    let strict_others = nature.strict && !nature.is_owner();
    match builder.accept {
        Some((true, span)) if strict_others && nature.version == Version::V2 => {
            let message = "strict mode: only the owner accepts traffic to the addresses in version 2";
            powerless(call, Some(span), message, "remove `accept`, or `strict_mode`");
            false
        }
        Some((accept, _)) => accept,
        None => !strict_others,
    }
}

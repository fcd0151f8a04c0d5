//! Which authentication an instance uses.

use std::time::Duration;

use lbd_vrrp::{AntiReplay, Authentication, Family, Hmac, HmacMode, Version};

use super::{Nature, powerless, repaired};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::call::Call;
use crate::keyword::instance::InstanceBuilder;

pub(super) fn resolve(
    builder: &mut InstanceBuilder,
    nature: Nature,
    advert_interval: Duration,
    call: &mut Call<'_, '_>,
) -> Authentication {
    let signed = hmac(builder, nature, advert_interval, call);
    let Some(found) = &builder.authentication else { return signed };
    let why = if signed != Authentication::None {
        Some("`auth_hmac`")
    } else if nature.version == Version::V3 {
        Some("version 3")
    } else if nature.strict {
        Some("strict mode")
    } else {
        None
    };
    if let Some(why) = why {
        let message = format!("`authentication` cannot go with {why}");
        powerless(call, found.place, message, "remove one of them");
        return signed;
    }
    match (found.header, found.password) {
        (Some(false), Some(password)) => Authentication::Pass(password),
        (Some(true), Some(_)) if nature.family == Family::V6 => {
            let message = "`auth_type AH` cannot go with IPv6";
            powerless(call, found.place, message, "use `auth_hmac { … }`, or `auth_type PASS`");
            Authentication::None
        }
        (Some(true), Some(password)) => Authentication::Ah(password),
        (kind, _) => {
            let what = if kind.is_some() { "auth_pass" } else { "auth_type" };
            let message = format!("`authentication` has no usable `{what}`, so adverts go without it");
            call.say(
                Diagnostic::warning(Kind::BadValue, found.place, message)
                    .help("write `auth_type PASS` and `auth_pass SECRET` in it, or remove it"),
            );
            Authentication::None
        }
    }
}

fn hmac(
    builder: &mut InstanceBuilder,
    nature: Nature,
    advert_interval: Duration,
    call: &mut Call<'_, '_>,
) -> Authentication {
    let Some(found) = builder.hmac.take() else { return Authentication::None };
    let active = found.active.filter(|(active, _)| found.keys.iter().any(|(id, ..)| id == active));
    let Some((active, _)) = active else {
        let (message, help) = match found.active {
            _ if found.keys.is_empty() => (
                "`auth_hmac` has no usable `key`, so adverts are not signed".to_owned(),
                "add `key ID VALUE`",
            ),
            None => (
                "`auth_hmac` has no usable `active_key`, so adverts are not signed".to_owned(),
                "add `active_key ID` with the number of a key",
            ),
            Some((id, _)) => (
                format!(
                    "`auth_hmac` has no usable key {id}, which `active_key` names: adverts are not signed"
                ),
                "name a key that there is",
            ),
        };
        let span = found.active.map(|(_, span)| span).or(found.place);
        call.say(Diagnostic::warning(Kind::BadValue, span, message).help(help));
        return Authentication::None;
    };
    let anti_replay = match (found.monotonic, found.window) {
        (true, Some((_, span))) => {
            let message = "`time_window` has no effect with `anti_replay monotonic`";
            powerless(call, Some(span), message, "remove it");
            AntiReplay::Monotonic
        }
        (true, None) => AntiReplay::Monotonic,
        (false, window) => AntiReplay::Time {
            window: window.map_or_else(|| default_window(advert_interval), |(window, _)| window),
        },
    };
    let mode = match found.mode {
        Some((mode, span)) if nature.strict && mode != HmacMode::Enforce => {
            repaired(call, Some(span), "strict mode: `mode` is enforce", "remove it");
            HmacMode::Enforce
        }
        mode => mode.map_or(HmacMode::Enforce, |(mode, _)| mode),
    };
    let keys = found.keys.into_iter().map(|(id, key, _)| (id, key)).collect();
    Authentication::Hmac(Box::new(Hmac { keys, active, anti_replay, mode }))
}

/// Three adverts' time, at least five seconds.
pub(super) fn default_window(advert_interval: Duration) -> Duration {
    Duration::from_secs(advert_interval.as_secs() * 3).max(Duration::from_secs(5))
}

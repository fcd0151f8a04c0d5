//! linkbeat_interfaces and interface_up_down_delays.
//!
//! Here: their lines, and what instances leave of the delays. Not here: links.

use std::time::Duration;

use super::Context;
use super::call::{Call, parse_seconds, seconds};
use super::root::Root;
use super::tracking::lines;
use crate::config::{Config, LinkDelay, LinkbeatInterface, LinkbeatMethod};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::tree::Word;

const METHODS: [(&str, LinkbeatMethod); 3] =
    [("MII", LinkbeatMethod::Mii), ("ETHTOOL", LinkbeatMethod::Ethtool), ("IOCTL", LinkbeatMethod::Ioctl)];

/// Lowers the lines `IF [MII|ETHTOOL|IOCTL]`.
pub(super) fn linkbeat(root: &mut Root, call: &mut Call<'_, '_>) {
    for line in lines(call) {
        let mut words = line.iter().copied();
        let Some(first) = words.next() else { continue };
        let Some(interface) = call.interface_in(first) else { continue };
        let method = words.next().and_then(|word| call.choice_in(word, &METHODS));
        extra(call, words.next());
        let found = &mut root.config.linkbeat_interfaces;
        if let Some((index, before)) = call.context.linkbeats.get(&interface).copied() {
            twice(call, first, before);
            if let Some(link) = found.get_mut(index) {
                link.method = method;
            }
        } else {
            call.context.linkbeats.insert(interface.clone(), (found.len(), first.span));
            found.push(LinkbeatInterface { interface, method });
        }
    }
}

/// Lowers the lines `IF DOWN [UP]`.
pub(super) fn delays(root: &mut Root, call: &mut Call<'_, '_>) {
    for line in lines(call) {
        let mut words = line.iter().copied();
        let Some(first) = words.next() else { continue };
        let Some(interface) = call.interface_in(first) else { continue };
        let Some(down) = words.next() else {
            let message = format!("{}: {} has no delay", quote(call.name()), quote(&interface));
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(first.span), message)
                    .label("ignored")
                    .help(format!("write `{interface} DOWN [UP]`, both in seconds")),
            );
            continue;
        };
        // A line with a delay that cannot be has no effect.
        let Some(down) = delay(call, down) else { continue };
        let up = match words.next() {
            Some(word) => delay(call, word),
            None => Some(Duration::ZERO),
        };
        let Some(up) = up else { continue };
        extra(call, words.next());
        let found = &mut root.config.link_delays;
        if let Some((index, before)) = call.context.link_delays.get(&interface).copied() {
            twice(call, first, before);
            call.context.link_delays.insert(interface, (index, first.span));
            if let Some(link) = found.get_mut(index) {
                (link.down, link.up) = (down, up);
            }
        } else {
            call.context.link_delays.insert(interface.clone(), (found.len(), first.span));
            found.push(LinkDelay { interface, down, up });
        }
    }
}

/// A delay must end before an instance on the interface would miss adverts enough to act.
pub(super) fn limit(config: &mut Config, context: &mut Context<'_>) {
    for instance in &config.vrrp_instances {
        let router = &instance.router;
        let line = router.interface.as_ref().and_then(|name| context.link_delays.get(name));
        let Some((index, place)) = line.copied() else { continue };
        let Some(link) = config.link_delays.get_mut(index) else { continue };
        let interval = router.advert_interval;
        let most = match u32::from(router.down_timer_adverts) {
            0 | 1 => Duration::ZERO,
            adverts => interval * (adverts - 1) - whole_microseconds(interval / 256),
        };
        if link.down <= most && link.up <= most {
            continue;
        }
        (link.down, link.up) = (link.down.min(most), link.up.min(most));
        let message = format!(
            "delays on {} are too long for vrrp_instance {}: at most {} s is used",
            quote(&link.interface),
            quote(&router.name),
            seconds(most),
        );
        let help = if most.is_zero() {
            "remove them, or set `down_timer_adverts` to more than 1"
        } else {
            "shorten them, or make `advert_int` or `down_timer_adverts` larger"
        };
        context.report(
            Diagnostic::warning(Kind::Repaired, Some(place), message)
                .related(context.spans.instance(&router.name), "the instance")
                .help(help),
        );
    }
}

/// Without what a configuration cannot say.
fn whole_microseconds(time: Duration) -> Duration {
    time - Duration::from_nanos(u64::from(time.subsec_nanos() % 1000))
}

fn delay(call: &mut Call<'_, '_>, word: Word<'_>) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(255);
    let wanted = format!("a time in seconds from 0 to {}", seconds(LONGEST));
    match parse_seconds(word.text) {
        Ok(time) if time <= LONGEST => return Some(time),
        Ok(_) => call.bad(word, format!("{} is out of range", quote(word.text)), wanted),
        Err(why) => call.bad(word, format!("{} {why}", quote(word.text)), wanted),
    }
    None
}

fn extra(call: &mut Call<'_, '_>, word: Option<Word<'_>>) {
    let Some(word) = word else { return };
    let message = format!("{}: {} is one word too many", quote(call.name()), quote(word.text));
    call.say(
        Diagnostic::warning(Kind::Lint, Some(word.span), message)
            .label("ignored")
            .help("one interface per line: begin a new line before it, or remove it"),
    );
}

fn twice(call: &mut Call<'_, '_>, word: Word<'_>, before: Span) {
    let message = format!("{}: {} is listed twice", quote(call.name()), quote(word.text));
    call.say(
        Diagnostic::warning(Kind::Lint, Some(word.span), message)
            .label("this one counts")
            .related(Some(before), "first here")
            .help("remove one of them"),
    );
}

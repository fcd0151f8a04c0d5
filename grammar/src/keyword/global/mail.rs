//! global_defs: alert mail.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use super::super::call::Call;
use super::super::{Part, Row, row, tracking};
use super::GlobalBuilder;
use super::names::last;
use crate::config::{MailHost, MailServer};
use crate::diagnostic::quote;

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row(
        "notification_email",
        "{ ADDRESS … }",
        "Recipients of alert mail, any number of them.",
        |b: &mut B, c| {
            for word in tracking::lines(c).into_iter().flatten() {
                if word.text.is_empty() {
                    c.bad(word, "the word is empty", "an address, or nothing");
                } else {
                    b.rest.mail.to.push(word.text.to_owned());
                }
            }
        },
    )
    .block()
    .example("noc@example.org")
    .by(Part::Notify),
    row("notification_email_from", "ADDRESS", "Sender of alert mail.", |b: &mut B, c| {
        sender(c, &mut b.rest.mail.from);
    })
    .otherwise("the user and host that lbd runs as")
    .example("lb1@example.org")
    .by(Part::Notify),
    row("smtp_server", "ADDRESS|NAME [PORT]", "Mail relay; without one no mail is sent.", |b: &mut B, c| {
        b.rest.mail.server = server(c).or(b.rest.mail.server.take());
    })
    .range("port 1..=65535, 25 without")
    .example("192.0.2.25 25")
    .by(Part::Notify),
    row("smtp_helo_name", "NAME", "Name given to the mail relay.", |b: &mut B, c| {
        last(c, &mut b.rest.mail.helo);
    })
    .otherwise("the name of this host")
    .example("lb1.example.org")
    .by(Part::Notify),
    row(
        "smtp_connect_timeout",
        "SECS",
        "Limit for connecting to the mail relay and for each of its answers.",
        |b: &mut B, c| {
            let Some(time) = c.seconds(0..=4294) else { return };
            if time.is_zero() {
                c.repaired("of 0 is raised to 1", "a number from 1", 1);
            }
            b.rest.mail.connect_timeout = time.max(Duration::from_secs(1));
        },
    )
    .range("0..=4294, 0 is 1")
    .default("30")
    .by(Part::Notify),
    row("smtp_alert", "[BOOL]", "Default of every smtp_alert that is not said elsewhere.", |b: &mut B, c| {
        b.smtp_alert = c.switch().or(b.smtp_alert);
    })
    .otherwise("on for real servers, off for all others")
    .example("true")
    .by(Part::Notify),
    row("smtp_alert_vrrp", "[BOOL]", "Default of smtp_alert for VRRP, before smtp_alert.", |b: &mut B, c| {
        b.smtp_alert_vrrp = c.switch().or(b.smtp_alert_vrrp);
    })
    .otherwise("smtp_alert")
    .example("true")
    .by(Part::Notify),
    row(
        "smtp_alert_checker",
        "[BOOL]",
        "Default of smtp_alert for virtual and real servers, before smtp_alert.",
        |b: &mut B, c| {
            b.smtp_alert_checker = c.switch().or(b.smtp_alert_checker);
        },
    )
    .otherwise("smtp_alert")
    .example("true")
    .by(Part::Notify),
    row("no_email_faults", "", "No mail when an instance goes to FAULT.", |b: &mut B, _| {
        b.rest.mail.no_faults = true;
    })
    .by(Part::Notify),
    row(
        "no_checker_emails",
        "[BOOL]",
        "Mail when a real server changes, not for each of its checkers.",
        |b: &mut B, c| {
            b.rest.mail.no_checkers = c.switch().unwrap_or(b.rest.mail.no_checkers);
        },
    )
    .default("false")
    .by(Part::Notify),
    row(
        "checker_log_all_failures",
        "[BOOL]",
        "Default of log_all_failures: each failed try is logged, not only the deciding one.",
        |b: &mut B, c| {
            b.checker_log_all_failures = c.switch().or(b.checker_log_all_failures);
        },
    )
    .default("false")
    .by(Part::Checks),
];

/// An address, or `"Name" <address>` in two words, of which keepalived would take the name for the address.
fn sender(call: &mut Call<'_, '_>, slot: &mut Option<String>) {
    last(call, slot);
    let (Some(name), Some(second)) = (slot.as_mut(), call.optional()) else { return };
    if name.contains('@') || !second.text.starts_with('<') || !second.text.ends_with('>') {
        call.bad(second, "there must be one word and no more", "remove the others, or put all in quotes");
        return;
    }
    name.push(' ');
    name.push_str(second.text);
    let whole = crate::dump::word(name);
    call.repaired(
        "name and address are two words: they are taken together",
        "both in one pair of quotes",
        whole,
    );
}

fn server(call: &mut Call<'_, '_>) -> Option<MailServer> {
    let word = call.word()?;
    let port = match call.optional() {
        None => 25,
        Some(port) => call.number_in(port, 1..=65535)?,
    };
    let port = u16::try_from(port).ok().and_then(NonZeroU16::new)?;
    if let Ok(address) = word.text.parse::<IpAddr>() {
        return Some(MailServer { host: MailHost::Address(address), port });
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let numeric = |c: char| c.is_ascii_digit() || c == '.';
    let name = word.text;
    if name.is_empty()
        || name.len() > 253
        || !name.chars().all(plain)
        || name.starts_with(['-', '.'])
        || name.chars().all(numeric)
    {
        let found = format!("{} is neither an address nor a host name", quote(name));
        call.bad(word, found, "for example 192.0.2.25 or mail.example.org");
        return None;
    }
    Some(MailServer { host: MailHost::Name(name.to_owned()), port })
}

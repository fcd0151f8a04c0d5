//! authentication and auth_hmac. No secret is ever part of a message.

use std::ffi::OsStr;
use std::num::NonZeroU8;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lbd_vrrp::{HmacKey, HmacMode};

use super::{B, Rows};
use crate::diagnostic::{Diagnostic, Kind};
use crate::keyword::call::Call;
use crate::keyword::{Part, Table, row};
use crate::source::Span;

/// authentication
#[derive(Default)]
pub(crate) struct AuthenticationBuilder {
    pub place: Option<Span>,
    /// AH instead of PASS.
    pub header: Option<bool>,
    pub password: Option<[u8; 8]>,
}

/// auth_hmac
#[derive(Default)]
pub(crate) struct HmacBuilder {
    pub place: Option<Span>,
    pub keys: Vec<(NonZeroU8, HmacKey, Span)>,
    pub active: Option<(NonZeroU8, Span)>,
    pub window: Option<(Duration, Span)>,
    pub monotonic: bool,
    pub mode: Option<(HmacMode, Span)>,
}

pub(super) const ROWS: Rows = &[
    row(
        "authentication",
        "{ auth_type PASS|AH auth_pass STRING }",
        "Authentication of version 2.",
        |b: &mut B, c| {
            // A second block goes on where the first one ended.
            let mut found = b.authentication.take().unwrap_or_default();
            found.place = Some(c.place());
            AUTHENTICATION.run(&mut found, c.body(), c.context);
            b.authentication = Some(found);
        },
    )
    .opens("authentication"),
    row("auth_hmac", "{ key ID VALUE … active_key ID … }", "Signed adverts.", |b: &mut B, c| {
        let mut found = b.hmac.take().unwrap_or_default();
        found.place = Some(c.place());
        AUTH_HMAC.run(&mut found, c.body(), c.context);
        b.hmac = Some(found);
    })
    .opens("auth_hmac"),
];

pub(crate) static AUTHENTICATION: Table<AuthenticationBuilder> = Table {
    name: "authentication",
    part: Part::Vrrp,
    rows: &[&[
        row(
            "auth_type",
            "PASS|AH",
            "PASS sends the password with each advert, AH a checksum made with it.",
            |b: &mut AuthenticationBuilder, c| {
                b.header = c.choice(&[("PASS", false), ("AH", true)]).or(b.header);
            },
        )
        .otherwise("required")
        .example("PASS"),
        row("auth_pass", "STRING", "Password, the same on all routers.", auth_pass)
            .range("at most 8 octets")
            .otherwise("required")
            .example("secret"),
    ]],
};

fn auth_pass(builder: &mut AuthenticationBuilder, call: &mut Call<'_, '_>) {
    let Some(word) = call.word() else { return };
    let octets = crate::octets(word.text);
    let mut password = [0; 8];
    for (to, from) in password.iter_mut().zip(octets.iter()) {
        *to = *from;
    }
    builder.password = Some(password);
    if octets.len() > password.len() {
        let message = format!(
            "`auth_pass` has {} octets, an advert has room for 8: only the first 8 are used",
            octets.len()
        );
        call.say(
            Diagnostic::warning(Kind::Repaired, Some(call.place()), message)
                .help("shorten it to 8 octets on all routers"),
        );
    }
}

/// What the rows below fill.
type H = HmacBuilder;

pub(crate) static AUTH_HMAC: Table<HmacBuilder> = Table {
    name: "auth_hmac",
    part: Part::Vrrp,
    rows: &[&[
        row(
            "key",
            "ID VALUE",
            "A key: as text, as hex:…, or file:PATH with a file that holds one of these.",
            key,
        )
        .range("ID 1..=255; VALUE 32 to 64 octets")
        .otherwise("at least one is required")
        .example("1 0123456789abcdef0123456789abcdef"),
        row("active_key", "ID", "The key that signs what is sent.", |b: &mut H, c| {
            let span = c.head();
            let id = c.number_as::<u8>(1..=255).and_then(NonZeroU8::new);
            b.active = id.map(|id| (id, span)).or(b.active);
        })
        .range("1..=255, of a key")
        .otherwise("required")
        .example("1"),
        row("time_window", "SECS", "Difference of clocks that is accepted.", |b: &mut H, c| {
            let span = c.head();
            b.window = c.seconds(1..=300).map(|window| (window, span)).or(b.window);
        })
        .range("1..=300")
        .otherwise("three adverts' time in whole seconds, at least 5")
        .example("10"),
        row(
            "anti_replay",
            "time|monotonic",
            "What tells an advert from an old one that is sent again.",
            |b: &mut H, c| {
                b.monotonic = c.choice(&[("time", false), ("monotonic", true)]).unwrap_or(b.monotonic);
            },
        )
        .default("time"),
        row(
            "mode",
            "enforce|permissive|receive-only",
            "permissive also accepts adverts that are not signed, receive-only does not sign either.",
            |b: &mut H, c| {
                let span = c.head();
                let modes = [
                    ("enforce", HmacMode::Enforce),
                    ("permissive", HmacMode::Permissive),
                    ("receive-only", HmacMode::ReceiveOnly),
                ];
                b.mode = c.choice(&modes).map(|mode| (mode, span)).or(b.mode);
            },
        )
        .default("enforce"),
    ]],
};

fn key(builder: &mut HmacBuilder, call: &mut Call<'_, '_>) {
    let Some(id) = call.number_as::<u8>(1..=255).and_then(NonZeroU8::new) else {
        call.rest();
        return;
    };
    let Some(word) = call.word() else { return };
    if let Some((_, _, before)) = builder.keys.iter().find(|(known, ..)| *known == id) {
        let (before, place) = (*before, call.place());
        call.say(
            Diagnostic::warning(Kind::BadValue, Some(place), format!("key {id} is given twice"))
                .label("ignored")
                .related(Some(before), "first here")
                .help("give it another number"),
        );
        return;
    }
    let key = if let Some(path) = word.text.strip_prefix("file:") {
        (!path.is_empty())
            .then(|| HmacKey::File(PathBuf::from(OsStr::from_bytes(&crate::octets(path)))))
            .ok_or_else(|| "names no file".to_owned())
    } else {
        hmac_key(&crate::octets(word.text))
    };
    match key {
        Ok(key) => builder.keys.push((id, key, call.place())),
        Err(why) => {
            let place = call.place();
            call.say(
                Diagnostic::warning(Kind::BadValue, Some(place), format!("key {id} {why}"))
                    .label("ignored")
                    .help("32 to 64 octets of text, 64 to 128 hexadecimal digits after `hex:`, or a path after `file:`"),
            );
        }
    }
}

/// A key as it is written in place or in a file: text, or pairs of digits after `hex:`; 32 to 64 octets.
///
/// # Errors
/// What is wrong with it, as what is said after its name; never a part of it.
pub fn hmac_key(written: &[u8]) -> Result<HmacKey, String> {
    match written.strip_prefix(b"hex:") {
        Some(digits) => match hex(digits) {
            Some(octets) => long_enough(octets.len()).map(|()| HmacKey::Hex(octets)),
            None => Err("is not pairs of hexadecimal digits".to_owned()),
        },
        None => long_enough(written.len()).map(|()| HmacKey::Text(written.to_vec())),
    }
}

fn long_enough(length: usize) -> Result<(), String> {
    if (32..=64).contains(&length) { Ok(()) } else { Err(format!("has {length} octets")) }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let nibbles: Option<Vec<u8>> = digits.iter().map(nibble).collect();
    let nibbles = nibbles.filter(|nibbles| nibbles.len() % 2 == 0)?;
    Some(
        nibbles
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, nibble| octet << 4 | nibble))
            .collect(),
    )
}

//! global_defs: files, reload and the rest.

use super::super::call::Call;
use super::super::{Part, Row, later, row};
use super::GlobalBuilder;
use super::names::{only, text};
use crate::config::{CheckBefore, IncludeCheck, ReloadFile};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::suggest::nearest;

/// What the rows below fill.
type B = GlobalBuilder;

pub(super) const ROWS: &[Row<B>] = &[
    row(
        "umask",
        "MASK",
        "Permissions that new files do not get, such as notify FIFOs; -u counts more. The pid file can be read by all.",
        |b: &mut B, c| {
            b.rest.umask = umask(c).unwrap_or(b.rest.umask);
        },
    )
    .range("0..=0777: octal with 0, hexadecimal with 0x, decimal, or IRUSR|IWUSR and the like")
    .default("0177"),
    row(
        "random_seed",
        "N",
        "Seed of ${_RANDOM}, so that it gives the same numbers each time.",
        |b: &mut B, c| {
            b.rest.random_seed = c.number_as(0..=u32::MAX.into()).or(b.rest.random_seed);
        },
    )
    .range("0..=4294967295")
    .otherwise("other numbers each time")
    .example("1")
    .by(Part::Language),
    row(
        "reload_check_config",
        "[LOGFILE]",
        "Check before a reload, as lbd always does; what is found is appended to LOGFILE.",
        |b: &mut B, c| {
            b.rest.reload.check =
                Some(CheckBefore { log: c.optional().map(|file| file.text.to_owned()) });
        },
    )
    .otherwise("lbd always checks, and tells in its log")
    .example("/var/log/lbd-check.log"),
    row(
        "reload_time_file",
        "PATH",
        "File with the time of the next reload: HH:MM:SS, YY-MM-DD HH:MM:SS or YYYY-MM-DD HH:MM:SS, with Z for UTC; it is removed then.",
        |b: &mut B, c| {
            b.rest.reload.time_file = only(c).or(b.rest.reload.time_file.take());
        },
    )
    .example("/etc/lbd/reload_time"),
    row(
        "reload_repeat",
        "",
        "Keep that file if it has a time of day only: reload every day.",
        |b: &mut B, _| b.rest.reload.repeat = true,
    ),
    row(
        "reload_file",
        "[PATH]",
        "File that exists while a reload reads the configuration; without a path that of the pid file, ending in .reload.",
        |b: &mut B, c| {
            if !c.has_more() {
                b.rest.reload.file = Some(ReloadFile::BesidePidFile);
            } else if let Some(path) = text(c) {
                b.rest.reload.file = Some(ReloadFile::Path(path));
            }
        },
    )
    .example("/run/lbd/reload"),
    row(
        "include_check",
        "[[±]read|match|wildcard_match|brace_match …]",
        "Which problems of a plain include are errors, up to the end of the file; without a word all.",
        include_check,
    )
    .otherwise("none is an error")
    .example("match +wildcard_match")
    .by(Part::Language),
    row(
        "config_save_dir",
        "DIR",
        "Folder for the configuration before and after each reload: lbd.conf.PID.N.pre and .post, the latest 40 files, without passwords.",
        |b: &mut B, c| {
            b.rest.save_dir = text(c).or(b.rest.save_dir.take());
        },
    )
    .example("/var/lib/lbd"),
    later(
        "tmp_config_directory",
        "DIR",
        "Where keepalived's processes share a copy of what was read.",
        "lbd is one process and writes no copy of what it reads",
        |b: &mut B, c| {
            let dir = text(c);
            c.once(&mut b.rest.temporary_dir, dir);
        },
    )
    .otherwise("in memory")
    .example("/var/tmp"),
    row("iproute_usr_dir", "DIR", "Name tables of iproute2 as its package has them.", |b: &mut B, c| {
        b.rest.iproute_usr_dir = only(c).or(b.rest.iproute_usr_dir.take());
    })
    .otherwise("/usr/share/iproute2, else /usr/lib/iproute2")
    .by(Part::Network)
    .example("/usr/share/iproute2"),
    row(
        "iproute_etc_dir",
        "DIR",
        "Name tables of iproute2 of this host, which come first.",
        |b: &mut B, c| {
            b.rest.iproute_etc_dir = only(c).or(b.rest.iproute_etc_dir.take());
        },
    )
    .otherwise("/etc/iproute2")
    .by(Part::Network)
    .example("/etc/iproute2"),
    later(
        "data_use_instance",
        "[BOOL]",
        "Namespace and instance are part of the dump files' names.",
        NO_DUMPS,
        |b: &mut B, c| {
            b.rest.dumps.with_instance = c.switch().unwrap_or(b.rest.dumps.with_instance);
        },
    )
    .default("false"),
    later("json_version", "1|2", "Layout of the JSON dump.", NO_DUMPS, |b: &mut B, c| {
        b.rest.dumps.json_version = c.choice(&[("1", 1), ("2", 2)]).unwrap_or(b.rest.dumps.json_version);
    })
    .range("1 or 2")
    .default("1"),
    later(
        "state_dump_file",
        "PATH",
        "Pattern of the names of the dumps on SIGUSR1.",
        NO_DUMPS,
        |b: &mut B, c| {
            b.rest.dumps.state = text(c).or(b.rest.dumps.state.take());
        },
    )
    .otherwise("keepalived.data in the directory for temporary files")
    .example("/run/lbd/state.data"),
    later("stats_dump_file", "PATH", "Has no effect in keepalived either.", NO_DUMPS, |b: &mut B, c| {
        b.rest.dumps.stats = text(c).or(b.rest.dumps.stats.take());
    })
    .example("/run/lbd/stats"),
    later("json_dump_file", "PATH", "Has no effect in keepalived either.", NO_DUMPS, |b: &mut B, c| {
        b.rest.dumps.json = text(c).or(b.rest.dumps.json.take());
    })
    .example("/run/lbd/json"),
];

const NO_DUMPS: &str = "no dump is written; use lbctl status --json";

/// A number with a prefix that gives its base, or names of bits.
fn umask(call: &mut Call<'_, '_>) -> Option<u16> {
    let first = call.word()?;
    let help = "a number up to 0777, or names of bits such as IWGRP|IRWXO";
    if first.text.starts_with(|c: char| c.is_ascii_digit()) {
        let hexadecimal = first.text.strip_prefix("0x").or_else(|| first.text.strip_prefix("0X"));
        let (digits, base) = match hexadecimal {
            Some(digits) => (digits, 16),
            None if first.text.starts_with('0') => (first.text, 8),
            None => (first.text, 10),
        };
        // from_str_radix would take a sign.
        let found =
            u16::from_str_radix(digits, base).ok().filter(|mask| *mask <= 0o777 && !digits.contains('+'));
        if found.is_none() {
            call.bad(first, format!("{} is not a mask", quote(first.text)), help);
        }
        return found;
    }
    let mut mask = 0;
    // There may be blanks around the bars.
    for word in std::iter::once(first).chain(call.rest()) {
        for name in word.text.split('|').filter(|name| !name.is_empty()) {
            let Some(bits) = bits(name) else {
                call.bad(word, format!("{} names no bits", quote(name)), help);
                return None;
            };
            mask |= bits;
        }
    }
    Some(mask)
}

/// `I`, permissions, whose: as in `<sys/stat.h>` without `S_`.
fn bits(name: &str) -> Option<u16> {
    let name = name.strip_prefix('I')?;
    if let Some(whose) = name.strip_prefix("RWX") {
        return Some(match whose {
            "U" => 0o700,
            "G" => 0o070,
            "O" => 0o007,
            _ => return None,
        });
    }
    let permission = match name.chars().next()? {
        'R' => 4,
        'W' => 2,
        'X' => 1,
        _ => return None,
    };
    Some(match name.get(1..)? {
        "USR" => permission << 6,
        "GRP" => permission << 3,
        "OTH" => permission,
        _ => return None,
    })
}

/// Plain words begin anew, words with a sign change what there is.
fn include_check(builder: &mut B, call: &mut Call<'_, '_>) {
    let words = call.rest();
    let flags = &mut builder.rest.include_check;
    if words.is_empty() {
        *flags = IncludeCheck { read: true, matched: true, wildcard: true, brace: true };
        return;
    }
    let mut plain = false;
    for word in words {
        let (sign, name) = match word.text.strip_prefix('+') {
            Some(name) => (Some(true), name),
            None => match word.text.strip_prefix('-') {
                Some(name) => (Some(false), name),
                None => (None, word.text),
            },
        };
        if sign.is_none() && plain {
            let message = format!("`include_check`: {} is the second word without a sign", quote(word.text));
            let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
            let with_sign = format!("+{name}");
            call.say(diagnostic.help(format!("write `{with_sign}` to add it")).fix(word.span, with_sign));
            continue;
        }
        let mut new =
            if sign.is_none() { IncludeCheck { read: true, ..IncludeCheck::default() } } else { *flags };
        let flag = match name {
            "read" | "readable" => &mut new.read,
            "match" => &mut new.matched,
            "wildcard_match" => &mut new.wildcard,
            "brace_match" => &mut new.brace,
            _ => {
                let message = format!("`include_check`: {} is no check", quote(name));
                let diagnostic =
                    Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
                call.say(match nearest(name, ["read", "match", "wildcard_match", "brace_match"]) {
                    Some(near) => {
                        let sign = word.text.strip_suffix(name).unwrap_or_default();
                        let help = format!("did you mean `{near}`?");
                        diagnostic.help(help).fix(word.span, format!("{sign}{near}"))
                    }
                    None => diagnostic.help("read, match, wildcard_match or brace_match"),
                });
                continue;
            }
        };
        *flag = sign.unwrap_or(true);
        plain |= sign.is_none();
        *flags = new;
    }
}

//! track_file, and its old name vrrp_track_file.
//!
//! Here: its rows and its one resolve step. Not here: who refers to it (`tracking`, FILE_CHECK).

use std::sync::Arc;

use lbd_vrrp::Weight;

use super::call::Call;
use super::root::Root;
use super::tracking::{incomplete, is_second, own_weight_once};
use super::{Part, Row, Table, row};
use crate::config::{InitFile, TrackFile};
use crate::diagnostic::{Diagnostic, Kind};
use crate::source::Span;

#[derive(Default)]
pub(crate) struct FileBuilder {
    path: Option<String>,
    weight: Option<(Weight, Span)>,
    init: Option<InitFile>,
}

/// What the rows below fill.
type B = FileBuilder;

pub(crate) static TABLE: Table<FileBuilder> = Table { name: "track_file", part: Part::Checks, rows: &[ROWS] };

/// The weight of a file that says none.
const WEIGHT: Weight = Weight { value: 1, reverse: false };

const ROWS: &[Row<FileBuilder>] = &[
    row("file", "PATH", "The file; the number at its beginning is read when it changes.", |b: &mut B, c| {
        let path = path(c);
        c.once(&mut b.path, path);
    })
    .otherwise("required")
    .example("/run/priority"),
    row(
        "weight",
        "N [reverse]",
        "Factor of the number; with 0 any number but 0 is a failure.",
        |b: &mut B, c| {
            own_weight_once(c, 254, WEIGHT.value, &mut b.weight);
        },
    )
    .range("-254..=254")
    .default("1"),
    row(
        "init_file",
        "[VALUE] [overwrite]",
        "Write the file at start if there is none, or always.",
        |b: &mut B, c| {
            b.init = init(c).or(b.init);
        },
    )
    .range("-2147483648..=2147483647, sensibly -254..=254")
    .otherwise("not written; VALUE is 0")
    .example("0 overwrite"),
];

/// File systems whose files change without anybody being told.
const SILENT: [&str; 2] = ["/proc/", "/sys/"];

fn path(call: &mut Call<'_, '_>) -> Option<String> {
    let word = call.word()?;
    if word.text.is_empty() {
        call.bad(word, "the path is empty", "name a file, for example /run/priority");
        return None;
    }
    if let Some(silent) = SILENT.iter().find(|silent| word.text.starts_with(**silent)) {
        let found = format!("the kernel does not tell when a file in {silent} changes");
        call.bad(word, found, "have a program write the number to another file, or use a vrrp_script");
        return None;
    }
    Some(word.text.to_owned())
}

/// `[VALUE] [overwrite]`, in any order; as in keepalived other words leave the rest as it is.
fn init(call: &mut Call<'_, '_>) -> Option<InitFile> {
    let mut init = InitFile { value: 0, overwrite: false };
    while let Some(word) = call.optional() {
        let digits = word.text.strip_prefix(['-', '+']).unwrap_or(word.text);
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            init.overwrite |= call.choice_in(word, &[("overwrite", true)]).unwrap_or_default();
            continue;
        }
        let value = call.integer_in(word, i32::MIN.into()..=i32::MAX.into());
        let Some(value) = value.and_then(|value| i32::try_from(value).ok()) else { continue };
        init.value = value;
        if !(-254..=254).contains(&value) {
            let message = format!("`init_file`: {value} is more than a priority can change");
            call.say(
                Diagnostic::warning(Kind::Lint, Some(word.span), message).help("a number from -254 to 254"),
            );
        }
    }
    Some(init)
}

/// Lowers `track_file NAME { … }`.
pub(super) fn lower(_root: &mut Root, call: &mut Call<'_, '_>) {
    let name = call.word();
    let before = call.context.lost.len();
    let mut builder = FileBuilder::default();
    TABLE.run(&mut builder, call.body(), call.context);
    let Some(name) = name else { return };
    let Some(path) = builder.path else {
        incomplete(call, name, &["file"], "add `file PATH`", before);
        return;
    };
    if is_second(call, name, call.context.spans.track_file(name.text)) {
        return;
    }
    let weight = builder.weight.map_or(WEIGHT, |(weight, _)| weight);
    let context = &mut *call.context;
    context.spans.track_files.insert(name.text.to_owned(), name.span);
    context.track_files.insert(Arc::from(name.text), (TrackFile { path, init: builder.init }, weight));
}

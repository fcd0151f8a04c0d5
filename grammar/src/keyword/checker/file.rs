//! FILE_CHECK.
//!
//! Here: its rows. Not here: the files (`keyword::file`).

use std::sync::Arc;

use super::super::tracking::{self, Object};
use super::super::{Part, Row, Table, row};
use super::Checker;

/// What a FILE_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct File {
    /// Name of the track_file, its own weight, and whether that is reversed.
    pub file: Option<(Arc<str>, i32, bool)>,
    pub weight: Option<(i32, bool)>,
}

/// What the rows below fill.
type B = Checker<File>;

pub(crate) static FILE_CHECK: Table<Checker<File>> =
    Table { name: "FILE_CHECK", part: Part::Checks, rows: &[OWN] };

const OWN: &[Row<Checker<File>>] = &[
    row("track_file", "NAME", "A track_file that is defined before this.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        match c.context.track_files.get_key_value(word.text) {
            Some((name, (_, weight))) => {
                b.own.file = Some((name.clone(), weight.value.into(), weight.reverse));
            }
            None => tracking::unknown(c, word, Object::File),
        }
    })
    .otherwise("required")
    .example("one"),
    row(
        "weight",
        "N [reverse|noreverse]",
        "The file's number times this is added to the weight.",
        |b: &mut B, c| {
            let Some(word) = c.word() else { return };
            let number = c.integer_in(word, -0x7fff_ffff..=0x7fff_ffff);
            let reverse = match c.optional() {
                None => Some(false),
                Some(word) => c.choice_in(word, &[("reverse", true), ("noreverse", false)]),
            };
            let weight = number.and_then(|number| i32::try_from(number).ok());
            b.own.weight = weight.zip(reverse).or(b.own.weight);
        },
    )
    .range("-2147483647..=2147483647; with 0 any number but 0 is a failure")
    .otherwise("the track_file's")
    .example("1"),
];

pub(super) fn missing(own: &File) -> super::Missing {
    own.file.is_none().then_some(("track_file", "track_file NAME"))
}

//! BFD_CHECK.
//!
//! Here: its rows. Not here: the sessions (`keyword::bfd`).

use std::sync::Arc;

use super::super::tracking::{self, Object};
use super::super::{Part, Row, Table, row};
use super::Checker;
use crate::config::BfdConsumers;

/// What a BFD_CHECK says for itself.
#[derive(Clone, Default)]
pub(crate) struct Bfd {
    pub session: Option<Arc<str>>,
}

/// What the rows below fill.
type B = Checker<Bfd>;

pub(crate) static BFD_CHECK: Table<Checker<Bfd>> =
    Table { name: "BFD_CHECK", part: Part::Checks, rows: &[OWN] };

const OWN: &[Row<Checker<Bfd>>] = &[
    row("name", "NAME", "A bfd_instance that is defined before this.", |b: &mut B, c| {
        let Some(word) = c.word() else { return };
        match c.context.bfd_instances.get_key_value(word.text) {
            Some((name, _)) => {
                let name = name.clone();
                if tracking::tells(c, word, BfdConsumers::Checkers) {
                    b.own.session = Some(name);
                }
            }
            None => tracking::unknown(c, word, Object::Bfd),
        }
    })
    .otherwise("required")
    .example("one"),
    row("alpha", "[BOOL]", "Starts as failed.", |b: &mut B, c| b.common.schedule.alpha(c))
        .otherwise("the real server's")
        .example("true"),
];

pub(super) fn missing(own: &Bfd) -> super::Missing {
    own.session.is_none().then_some(("name", "name NAME"))
}

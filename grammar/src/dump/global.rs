//! global_defs and the keywords of the top level as text.

use super::Writer;
use crate::config::{Global, Process};

pub(super) fn process(_writer: &mut Writer<'_>, _process: &Process) {}

pub(super) fn global(_writer: &mut Writer<'_>, _global: &Global) {}

//! Blocks of `config::virtual_server` as text.

use super::Writer;
use crate::config::Config;

pub(super) fn write(_writer: &mut Writer<'_>, _config: &Config) {}

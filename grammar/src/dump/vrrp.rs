//! Blocks of `config::vrrp` as text.

use super::Writer;
use crate::config::Config;

pub(super) fn write(_writer: &mut Writer<'_>, _config: &Config) {}

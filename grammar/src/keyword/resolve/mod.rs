//! From what blocks say to what they mean: inheritance, defaults, rules between keywords.

pub(crate) mod group;
pub(crate) mod instance;
mod network;
pub(crate) mod virtual_server;

use super::Context;
use crate::config::Config;

/// Names that are looked up after the whole file was read: members of groups and the like.
pub(super) fn references(config: &mut Config, context: &mut Context<'_>) {
    super::global::sync_daemon(config, context);
    super::global::nftables(config);
    network::forget_lost_groups(config);
}

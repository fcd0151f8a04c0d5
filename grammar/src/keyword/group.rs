//! vrrp_sync_group, track_group and garp_group.
//!
//! Here: their rows. Not here: their members.

use super::call::Call;
use super::root::Root;

pub(super) fn sync_group(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

pub(super) fn track_group(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

pub(super) fn garp_group(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

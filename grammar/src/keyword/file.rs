//! track_file.
//!
//! Here: its rows. Not here: who refers to it.

use super::call::Call;
use super::root::Root;

/// Lowers the block.
pub(super) fn lower(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

//! linkbeat_interfaces and interface_up_down_delays.

use super::call::Call;
use super::root::Root;

pub(super) fn linkbeat(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

pub(super) fn delays(_root: &mut Root, call: &mut Call<'_, '_>) {
    call.rest();
}

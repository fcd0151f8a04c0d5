//! Lines of virtual_routes and static_routes.

use super::call::Call;
use crate::config::Route;

/// The lines of a block; `fixed` tells a static one from one of an instance.
pub(super) fn routes(call: &mut Call<'_, '_>, _fixed: bool) -> Vec<Route> {
    call.rest();
    Vec::new()
}

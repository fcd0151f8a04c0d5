//! Lines of virtual_rules and static_rules.

use super::call::Call;
use crate::config::Rule;

/// The lines of a block; `fixed` tells a static one from one of an instance.
pub(super) fn rules(call: &mut Call<'_, '_>, _fixed: bool) -> Vec<Rule> {
    call.rest();
    Vec::new()
}

//! Static entries and the groups they name.

use crate::config::Config;

/// A group that is not kept takes nothing with it: what names it goes without.
pub(super) fn forget_lost_groups(config: &mut Config) {
    let groups = &config.track_groups;
    let addresses = config.static_addresses.iter_mut().map(|address| &mut address.track_group);
    let routes = config.static_routes.iter_mut().map(|route| &mut route.track_group);
    let rules = config.static_rules.iter_mut().map(|rule| &mut rule.track_group);
    for named in addresses.chain(routes).chain(rules) {
        named.take_if(|name| !groups.contains_key(&**name));
    }
}

//! Addresses, routes and rules in iproute2's words.

/// static_ipaddress: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticAddress {}

/// static_routes, virtual_routes: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {}

/// static_rules, virtual_rules: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {}

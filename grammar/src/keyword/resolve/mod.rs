//! From what blocks say to what they mean: inheritance, defaults, rules between keywords.

pub(crate) mod instance;
pub(crate) mod virtual_server;

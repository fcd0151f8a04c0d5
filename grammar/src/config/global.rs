//! The process as a whole: global_defs and the keywords of the top level.

use super::ScriptUser;

/// Keywords of the top level that are no blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {}

/// global_defs: what is not folded into the objects it is a default for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// router_id
    pub router_id: Option<String>,
    /// enable_script_security
    pub script_security: bool,
    /// script_user
    pub script_user: Option<ScriptUser>,
}


//! The JSON of `lbctl plan`: what a reload would do; a contract, additive changes only.

use serde::{Deserialize, Serialize};

/// The question: which file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// An absolute path; without one the file of the running configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What a reload would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The file that was read.
    pub file: String,
    /// A reload with it would be carried out; otherwise it would change nothing.
    pub ok: bool,
    /// Why it would be refused, rendered; empty otherwise.
    pub message: String,
    /// Rendered warnings of a file that would be taken.
    pub warnings: Vec<String>,
    /// Operations on the kernel's table, in the order in which they would be sent.
    pub operations: Vec<PlannedOperation>,
    /// Real servers that would stay with weight 0 until their connections have ended (drain_timeout).
    pub draining: usize,
    /// Checks.
    pub checks: ChecksPlan,
    /// Virtual routers that would come, go or change.
    pub vrrp: Vec<PlannedRouter>,
    /// What else would change, in words: timeouts, connection synchronisation.
    pub other: Vec<String>,
}

/// An operation on the kernel's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedOperation {
    /// `add-service`, `change-service`, `remove-service`, `add-server`, `change-server`, `remove-server`.
    pub operation: String,
    /// `TCP 10.0.0.1:80`, `FWM 7 inet`
    pub service: String,
    /// Address and port, of the operations on servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_server: Option<String>,
    /// The whole in words: `change real server 10.0.0.2:80 of TCP 10.0.0.1:80: weight 1 -> 5`.
    pub text: String,
}

/// Checks that would begin, end and go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksPlan {
    /// New ones.
    pub started: usize,
    /// Those that begin anew with other parameters, from what they know.
    pub changed: usize,
    /// Those that end.
    pub ended: usize,
    /// Those that go on untouched.
    pub kept: usize,
}

/// A virtual router that would come, go or change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRouter {
    /// `add`, `remove` or `change`.
    pub operation: String,
    /// Name of the vrrp_instance.
    pub name: String,
    /// The whole in words.
    pub text: String,
}

//! The control API: HTTP and JSON over a Unix socket.
//!
//! `GET /v1/status` answers a [`status::Status`], `POST /v1/reload` a [`ReloadOutcome`] (200 also when
//! the configuration was refused: the request was carried out), `GET /v1/config?secrets=0|1` the
//! configuration that runs as text, `POST /v1/server` with a [`ServerOrder`] a [`ServerDone`], `POST /v1/plan`
//! with a [`plan::PlanRequest`] a [`plan::Plan`], `POST /v1/handover` a [`HandoverStarted`], everything else a
//! [`Problem`].

pub mod client;
pub mod plan;
pub mod server;
pub mod snapshot;
pub mod status;

use serde::{Deserialize, Serialize};

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// The new configuration runs; otherwise the old one goes on.
    pub ok: bool,
    /// Generation of the configuration that runs now.
    pub generation: u64,
    /// For people: what changed, or the rendered diagnostics of a refused configuration.
    pub message: String,
    /// Rendered warnings of a configuration that was taken.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What the operator wants of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerOrder {
    /// As status shows it, or a shorter name that is enough: `TCP 10.0.0.1:80`, `10.0.0.1:80`, `web` of a group.
    pub virtual_server: String,
    /// `10.0.0.2:80`, or the address alone where that is enough.
    pub real_server: String,
    /// What is to be done.
    #[serde(flatten)]
    pub action: ServerAction,
}

/// What is to be done with a real server; it holds over reloads, until another command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "action")]
pub enum ServerAction {
    /// Weight 0, and kept in the table.
    Drain,
    /// Out of the table and of the quorum.
    Maint,
    /// As its checkers and the configuration say.
    Ready,
    /// This weight, 0..=2147483647, whatever its checkers contribute.
    Weight {
        /// The weight.
        weight: u32,
    },
}

/// A command that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDone {
    /// The virtual server, as status shows it.
    pub virtual_server: String,
    /// The real server, as status shows it.
    pub real_server: String,
    /// For people: how it stands now.
    pub message: String,
}

/// lbd is about to exit and leaves everything in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverStarted {
    /// Process that ends.
    pub pid: u32,
}

/// An answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and what to do.
    pub error: String,
}

#[cfg(test)]
mod tests;

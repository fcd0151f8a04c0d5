//! The control API: HTTP and JSON over a Unix socket.
//!
//! `GET /v1/status` answers a [`status::Status`], `POST /v1/reload` a [`ReloadOutcome`] (200 also when
//! the configuration was refused: the request was carried out), `GET /v1/config?secrets=0|1` the
//! configuration that runs as text, everything else a [`Problem`].

pub mod client;
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

/// An answer that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and what to do.
    pub error: String,
}

#[cfg(test)]
mod tests;

//! One run of each kind of check.
//!
//! Here: from a configured check to an outcome with its reason. Not here: when it runs (`runner`),
//! what outcomes add up to (`state`).

pub mod agent;
pub mod answer;
pub mod dialogue;
pub mod dns;
pub mod file;
pub mod grpc;
pub mod hello;
pub mod http;
pub mod misc;
mod pcre;
pub mod ping;
pub mod regex;
mod shown;
pub mod smtp;
pub mod tcp;
mod tls;
pub mod udp;

use crate::connect::ConnectError;
use crate::runner::Tools;
use crate::state::Outcome;
use crate::types::{Check, CheckKind};

/// Runs `check` once. `url` chooses the url of an HTTP_GET. Ends in bounded time whatever the server does.
pub async fn run(check: &Check, url: usize, tools: &Tools) -> Outcome {
    match &check.kind {
        CheckKind::Tcp(connection) => tcp::run(connection).await,
        // Boxed so that the many tasks of TCP checks stay small.
        CheckKind::Http(http) => Box::pin(http::run(http, url, &tools.tls)).await,
        CheckKind::Smtp(smtp) => Box::pin(smtp::run(smtp)).await,
        CheckKind::Dns(dns) => Box::pin(dns::run(dns)).await,
        CheckKind::Udp(udp) => Box::pin(udp::run(udp)).await,
        CheckKind::Ping(connection) => Box::pin(ping::run(connection, &tools.pings)).await,
        CheckKind::Misc(misc) => Box::pin(misc::run(misc, &*tools.programs)).await,
        CheckKind::Dialogue(check) => Box::pin(dialogue::run(check)).await,
        // Without what it said earlier; the runner knows it and has its own way.
        CheckKind::Agent(check) => Box::pin(agent::run(check, &mut agent::Agent::default())).await,
        CheckKind::Grpc(check) => Box::pin(grpc::run(check)).await,
        // Who starts checkers leaves these out.
        kind => Outcome::unknown(format!("{} is not supported yet", kind.keyword())),
    }
}

impl From<ConnectError> for Outcome {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Ours(reason) => Outcome::unknown(reason),
            ConnectError::Theirs(reason) => Outcome::bad(reason),
        }
    }
}

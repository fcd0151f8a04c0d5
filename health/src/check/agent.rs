//! AGENT_CHECK: a program on the server says how it is, in the syntax of HAProxy's agent-check.
//!
//! Here: asking it and reading one line within bounds. Not here: what the words of a line mean
//! (`agent::line`, pure).
//!
//! An agent that does not answer says nothing about its server, as for HAProxy: other checks see to that.

mod line;

pub use line::{Admin, Agent, Answer};

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::shown::shown;
use crate::connect::{ConnectError, connect, seconds, words};
use crate::state::Outcome;
use crate::types::AgentCheck;

/// Longest line, in octets.
pub const MAX_LINE: usize = 4096;

/// Asks the agent; `agent` is what it said earlier, and takes what it says now.
pub async fn run(check: &AgentCheck, agent: &mut Agent) -> Outcome {
    let line = match connect(&check.connection).await {
        Ok(stream) => ask(check, stream).await,
        Err(ConnectError::Ours(reason)) => return Outcome::unknown(reason),
        Err(ConnectError::Theirs(reason)) => Err(reason),
    };
    match line {
        Ok(line) => agent.take(&line),
        Err(reason) => agent.silent(&reason),
    }
}

/// The line without its end; the error is why there is none.
async fn ask(check: &AgentCheck, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Vec<u8>, String> {
    let limit = check.connection.timeout;
    if !check.send.is_empty() {
        match timeout(limit, stream.write_all(&check.send)).await {
            Ok(Ok(())) => {}
            // An agent that answers and closes before it has read: its answer is still to be read.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(Err(error)) => return Err(words(&error)),
            Err(_) => return Err(format!("question not taken after {}", seconds(limit))),
        }
    }
    let end = Instant::now() + limit;
    let mut line = Vec::new();
    let mut buffer = [0; READ_BUFFER];
    loop {
        let read = match timeout_at(end, stream.read(&mut buffer)).await {
            Ok(Ok(0)) if line.is_empty() => return Err("connection closed without an answer".into()),
            Ok(Ok(0)) => return Err(format!("connection closed within the line \"{}\"", shown(&line))),
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(words(&error)),
            Err(_) if line.is_empty() => return Err(format!("no answer after {}", seconds(limit))),
            Err(_) => {
                return Err(format!("no end of the line \"{}\" after {}", shown(&line), seconds(limit)));
            }
        };
        let octets = buffer.get(..read).unwrap_or_default();
        let end_of_line = octets.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        line.extend_from_slice(octets.get(..end_of_line.unwrap_or(read)).unwrap_or_default());
        if line.len() > MAX_LINE {
            return Err(format!("the line is longer than {MAX_LINE} octets"));
        }
        if end_of_line.is_some() {
            return Ok(line);
        }
    }
}

const READ_BUFFER: usize = 512;

#[cfg(test)]
#[path = "agent/tests.rs"]
mod tests;

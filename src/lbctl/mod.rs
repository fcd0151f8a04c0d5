//! The command `lbctl`: its line, its answers, its exit status.
//!
//! Here: what is asked and in which words it is answered. Not here: HTTP (`crate::control::client`),
//! the table (`table`), terminals and streams (`bin/lbctl.rs`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{CommandFactory, Parser, Subcommand};

use crate::control::client::{Client, ClientError};
use crate::control::status::Status;
use crate::options::CONTROL_SOCKET;

pub mod table;

#[cfg(test)]
mod tests;

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// No daemon, no answer, or the daemon refused.
pub const EXIT_FAILED: u8 = 1;
/// A mistake on the command line.
pub const EXIT_USAGE: u8 = 2;

/// What goes where at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// Exit status.
    pub status: u8,
}

/// What the answer looks like.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Standard output is a terminal that shows colours.
    pub colour: bool,
    /// What "since" counts to.
    pub now: SystemTime,
}

/// Carries out a command line, the program's name first.
pub async fn run<I>(line: I, look: Look) -> Outcome
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let typed = match Arguments::try_parse_from(line) {
        Ok(typed) => typed,
        Err(answer) if answer.use_stderr() => {
            return Outcome { err: answer.to_string(), status: EXIT_USAGE, ..Outcome::default() };
        }
        Err(answer) => return Outcome { out: answer.to_string(), ..Outcome::default() },
    };
    let client = Client::new(&typed.socket);
    let done = match typed.command {
        Command::Status { json } => status(&client, json, look).await,
        Command::Reload => reload(&client).await,
    };
    done.unwrap_or_else(|error| Outcome {
        err: format!("lbctl: {error}\n"),
        status: EXIT_FAILED,
        ..Outcome::default()
    })
}

/// The definition of the command line, for the man page's test and for completion.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Shows and steers a running lbd.
#[derive(Parser, Debug)]
#[command(
    name = "lbctl",
    version,
    subcommand_required = true,
    after_help = "Exit status: 0 done, 1 no daemon or refused, 2 wrong usage."
)]
struct Arguments {
    /// Unix socket of the lbd to talk to
    #[arg(long, value_name = "PATH", default_value = CONTROL_SOCKET, global = true)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show virtual servers, real servers and VRRP instances
    Status {
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Read the configuration again; a bad one changes nothing and is explained
    Reload,
}

async fn status(client: &Client, json: bool, look: Look) -> Result<Outcome, ClientError> {
    let text = client.status_text().await?;
    let out = if json {
        // As it came: a newer daemon's fields reach the program that asks.
        client.decode::<serde::de::IgnoredAny>(&text)?;
        format!("{}\n", String::from_utf8_lossy(&text).trim_end())
    } else {
        table::render(&client.decode::<Status>(&text)?, look)
    };
    Ok(Outcome { out, ..Outcome::default() })
}

async fn reload(client: &Client) -> Result<Outcome, ClientError> {
    let outcome = client.reload().await?;
    let generation = outcome.generation;
    let message = table::clean(outcome.message.trim_end());
    let with_newline = |text: &str| if text.is_empty() { String::new() } else { format!("{text}\n") };
    if !outcome.ok {
        return Ok(Outcome {
            err: format!(
                "{}lbctl: the configuration was refused; generation {generation} goes on unchanged\n",
                with_newline(&message)
            ),
            status: EXIT_FAILED,
            ..Outcome::default()
        });
    }
    Ok(Outcome {
        out: format!("configuration generation {generation} runs\n{}", with_newline(&message)),
        err: outcome.warnings.iter().map(|warning| with_newline(&table::clean(warning.trim_end()))).collect(),
        status: EXIT_OK,
    })
}

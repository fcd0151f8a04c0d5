//! The command `lbctl`: its line, its answers, its exit status.
//!
//! Here: what is asked and in which words it is answered. Not here: HTTP (`crate::control::client`),
//! the table (`table`), terminals and streams (`bin/lbctl.rs`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{CommandFactory, Parser, Subcommand};
use lbd_grammar::Secrets;

use crate::control::client::{Client, ClientError};
use crate::control::plan::{Plan, PlanRequest};
use crate::control::status::Status;
use crate::control::{ServerAction, ServerDone, ServerOrder};
use crate::language::explain;
use crate::loading::{self, Lints, report};
use crate::options::{config_path, file_name};
use crate::paths::Identity;

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
    let client = Client::new(&typed.socket());
    let done = match typed.command {
        Command::Status { json } => status(&client, json, look).await,
        Command::Reload => reload(&client).await,
        Command::Plan { json, file } => plan(&client, json, file).await,
        Command::Handover => handover(&client).await,
        Command::Server { action } => server(&client, action.orders()).await,
        Command::Check(what) => Ok(check(what, look)),
        Command::Explain { json, keyword, block } => Ok(explain(keyword.as_deref(), block.as_deref(), json)),
        Command::Config { secrets } => config(&client, secrets).await,
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
    after_help = "Exit status: 0 done, 1 no daemon, refused or not known, 2 wrong usage.\n\
                  Of check: 0 clean, 3 cannot run, 4 runs after something was ignored, 5 scripts without script security."
)]
struct Arguments {
    /// Unix socket of the lbd to talk to [default: that of the names, else /run/lbd/control.sock]
    #[arg(long, value_name = "PATH", global = true, conflicts_with_all = ["namespace", "instance"])]
    socket: Option<PathBuf>,
    /// The lbd that runs in this network namespace (net_namespace, or its -s)
    #[arg(long, value_name = "NAME", value_parser = file_name, global = true)]
    namespace: Option<String>,
    /// The lbd of this name (instance)
    #[arg(long, value_name = "NAME", value_parser = file_name, global = true)]
    instance: Option<String>,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    fn socket(&self) -> PathBuf {
        let names = || Identity { namespace: self.namespace.clone(), instance: self.instance.clone() };
        self.socket.clone().unwrap_or_else(|| names().control_socket())
    }
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
    /// Say what a reload would do, operation by operation, and do nothing
    Plan {
        /// JSON for programs
        #[arg(long)]
        json: bool,
        /// The file [default: the one that runs]
        file: Option<PathBuf>,
    },
    /// End lbd and leave everything in the kernel for the next one: for upgrades
    Handover,
    /// Drain a real server, take it out or back; holds over reloads and restarts
    Server {
        #[command(subcommand)]
        action: ServerCommand,
    },
    /// Say what is wrong with a configuration file; needs no daemon
    Check(Check),
    /// Say what a keyword of the configuration does; without one list the blocks
    Explain {
        /// JSON for programs
        #[arg(long)]
        json: bool,
        /// The keyword
        keyword: Option<String>,
        /// Only in this block
        block: Option<String>,
    },
    /// Show the configuration that runs, every value written out
    Config {
        /// With passwords, which are masked otherwise
        #[arg(long)]
        secrets: bool,
    },
}

#[derive(Subcommand, Debug)]
enum ServerCommand {
    /// Weight 0: no new connections, those that are there go on
    Drain(Which),
    /// Out of the table and of the quorum
    Maint(Which),
    /// As its checks and the configuration say
    Ready(Which),
    /// Another weight than the configuration and the checks say
    Weight {
        #[command(flatten)]
        which: Which,
        /// 0 to 2147483647
        #[arg(value_parser = clap::value_parser!(u32).range(0..=0x7fff_ffff))]
        weight: u32,
    },
}

#[derive(clap::Args, Debug)]
struct Which {
    /// As status shows it, or a part that is enough: "TCP 10.0.0.1:80", 10.0.0.1:80, "FWM 7", a group's name
    virtual_server: String,
    /// ADDRESS:PORT, or the address alone where that is enough; several at once
    #[arg(required = true, num_args = 1..)]
    real_server: Vec<String>,
}

impl ServerCommand {
    fn orders(self) -> Vec<ServerOrder> {
        let (which, action) = match self {
            ServerCommand::Drain(which) => (which, ServerAction::Drain),
            ServerCommand::Maint(which) => (which, ServerAction::Maint),
            ServerCommand::Ready(which) => (which, ServerAction::Ready),
            ServerCommand::Weight { which, weight } => (which, ServerAction::Weight { weight }),
        };
        let Which { virtual_server, real_server } = which;
        let order = |real_server| ServerOrder { virtual_server: virtual_server.clone(), real_server, action };
        real_server.into_iter().map(order).collect()
    }
}

#[derive(clap::Args, Debug)]
struct Check {
    /// Findings that only lbd makes count for the exit status
    #[arg(long)]
    strict: bool,
    /// JSON for programs
    #[arg(long)]
    json: bool,
    /// Name that @ID lines are compared with [default: the host's, up to the first dot]
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// A file that is included must be there and be readable
    #[arg(short = 'e', long)]
    all_config: bool,
    /// The file [default: /etc/lbd/lbd.conf, else /etc/keepalived/keepalived.conf]
    file: Option<PathBuf>,
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

/// Blocks while it reads: nothing else goes on in this process.
fn check(what: Check, look: Look) -> Outcome {
    let path = config_path(what.file.as_deref());
    let checked = loading::check(&path, &loading::load_options(what.config_id, what.all_config));
    let lints = if what.strict { Lints::Count } else { Lints::Shown };
    let out = match what.json {
        true => report::document(&path, &checked, lints),
        false => checked.render(look.colour),
    };
    Outcome { out, status: checked.exit_code(lints), ..Outcome::default() }
}

fn explain(keyword: Option<&str>, block: Option<&str>, json: bool) -> Outcome {
    let Some(keyword) = keyword else {
        let blocks = explain::list();
        let out = if json { as_json(&blocks) } else { explain::listing(&blocks) };
        return Outcome { out, ..Outcome::default() };
    };
    match explain::explain(keyword, block) {
        Ok(found) => {
            let out = if json { as_json(&found) } else { explain::text(&found) };
            Outcome { out, ..Outcome::default() }
        }
        Err(error) => Outcome {
            err: format!("lbctl: {}\n", table::clean(&error)),
            status: EXIT_FAILED,
            ..Outcome::default()
        },
    }
}

fn as_json(answer: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(answer).expect("names and texts alone are always JSON");
    format!("{text}\n")
}

/// As it came: it is text to be read again.
async fn config(client: &Client, secrets: bool) -> Result<Outcome, ClientError> {
    let text = client.config(if secrets { Secrets::Shown } else { Secrets::Masked }).await?;
    Ok(Outcome { out: String::from_utf8_lossy(&text).into_owned(), ..Outcome::default() })
}

/// One after the other; a name that is wrong does not stop the others.
async fn server(client: &Client, orders: Vec<ServerOrder>) -> Result<Outcome, ClientError> {
    let mut outcome = Outcome::default();
    for order in &orders {
        match client.server(order).await {
            Ok(ServerDone { virtual_server, real_server, message }) => {
                let line = format!("{real_server} of {virtual_server}: {message}\n");
                outcome.out.push_str(&table::clean(&line));
            }
            // The name is wrong, not the daemon.
            Err(ClientError::Problem { status, error, .. }) if status == hyper::StatusCode::NOT_FOUND => {
                outcome.err.push_str(&format!("lbctl: {}\n", table::clean(&error)));
                outcome.status = EXIT_FAILED;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(outcome)
}

async fn plan(client: &Client, json: bool, file: Option<PathBuf>) -> Result<Outcome, ClientError> {
    // The daemon has another working directory.
    let file = file.map(|file| std::path::absolute(&file).unwrap_or(file));
    let request = PlanRequest { file: file.map(|file| file.to_string_lossy().into_owned()) };
    let plan = client.plan(&request).await?;
    let status = if plan.ok { EXIT_OK } else { EXIT_FAILED };
    if json {
        return Ok(Outcome { out: as_json(&plan), status, ..Outcome::default() });
    }
    let mut outcome = planned(&plan);
    outcome.status = status;
    Ok(outcome)
}

fn planned(plan: &Plan) -> Outcome {
    let lines = |text: &str| match table::clean(text.trim_end()) {
        text if text.is_empty() => text,
        text => format!("{text}\n"),
    };
    if !plan.ok {
        let err =
            format!("{}lbctl: a reload with {} would change nothing\n", lines(&plan.message), plan.file);
        return Outcome { err: table::clean(&err), ..Outcome::default() };
    }
    let mut out = match plan.operations.len() {
        0 => format!("a reload with {} would not change the IPVS table\n", plan.file),
        1 => format!("a reload with {} would change the IPVS table by 1 operation:\n", plan.file),
        count => format!("a reload with {} would change the IPVS table by {count} operations:\n", plan.file),
    };
    let vrrp = plan.vrrp.iter().map(|router| &router.text);
    for text in plan.operations.iter().map(|operation| &operation.text) {
        out.push_str(&format!("  {text}\n"));
    }
    if plan.draining > 0 {
        out.push_str(&format!("{} of them wait for their connections (drain_timeout)\n", plan.draining));
    }
    let checks = &plan.checks;
    out.push_str(&format!(
        "checks: {} begin, {} begin anew with other parameters, {} end, {} go on\n",
        checks.started, checks.changed, checks.ended, checks.kept
    ));
    for text in vrrp.chain(&plan.other) {
        out.push_str(&format!("{text}\n"));
    }
    Outcome {
        out: table::clean(&out),
        err: plan.warnings.iter().map(|warning| lines(warning)).collect(),
        ..Outcome::default()
    }
}

async fn handover(client: &Client) -> Result<Outcome, ClientError> {
    let ended = client.handover().await?;
    let out = format!(
        "lbd (process {}) has ended; addresses, table and connections are as they were. Start the next one now: as \
         long as nobody sends adverts, a peer may take over\n",
        ended.pid
    );
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

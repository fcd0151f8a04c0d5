//! What scenarios share in which a director is steered: what they need, commands with their outcome, reloads that are waited
//! for.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Ctx, Skip};
use crate::build::{self, Profile};
use crate::director::Director;
use crate::packages::{self, Package};
use crate::wait;

/// Time a reload may take.
const LOADED: Duration = Duration::from_secs(10);

/// Skips the scenario where these of [`packages::ALL`] are not there and cannot be had.
///
/// # Errors
/// The skip.
pub fn needs(ctx: &Ctx, names: &[&str]) -> Result<()> {
    let wanted: Vec<Package> =
        packages::ALL.iter().filter(|package| names.contains(&package.name)).copied().collect();
    match packages::missing(&wanted).as_slice() {
        [] => Ok(()),
        // A guest has what its host has.
        [first, ..] if ctx.guest => bail!(Skip(format!("this host has no {}", first.name))),
        _ => packages::ensure(&wanted).map(drop).map_err(|error| Skip(format!("{error:#}")).into()),
    }
}

/// `lbctl --socket … ARGS`, not started yet.
///
/// # Errors
/// When it cannot be built.
pub fn command(director: &Director<'_>, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(build::binaries(Profile::Dev)?.lbctl);
    command.arg("--socket").arg(director.socket()).args(args).stdin(Stdio::null());
    Ok(command)
}

/// `lbctl --socket … ARGS` to its end, whatever that is.
///
/// # Errors
/// When it cannot be started.
pub fn lbctl(director: &Director<'_>, args: &[&str]) -> Result<Output> {
    command(director, args)?.output().context("lbctl")
}

/// What a command that must be refused with exit status 1 says.
///
/// # Errors
/// When it ends otherwise.
pub fn refused(director: &Director<'_>, args: &[&str]) -> Result<String> {
    let output = lbctl(director, args)?;
    ensure!(output.status.code() == Some(1), "lbctl {args:?}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Generation of the configuration that runs.
///
/// # Errors
/// When the director does not answer.
pub fn generation(director: &Director<'_>) -> Result<u64> {
    director.peek()?["config"]["generation"].as_u64().context("no config.generation in the status")
}

/// Writes to the kernel's table so far.
///
/// # Errors
/// When the director does not answer.
pub fn writes(director: &Director<'_>) -> Result<u64> {
    director.peek()?["ipvs"]["writes"].as_u64().context("no ipvs.writes in the status")
}

/// Loads another file and waits until it runs.
///
/// # Errors
/// When it does not within 10 s.
pub fn load(director: &Director<'_>, config: &str) -> Result<()> {
    let before = generation(director)?;
    director.configure(config)?;
    director.reload()?;
    wait::until_ok("the reload", LOADED, || {
        let status = director.peek()?;
        let config = &status["config"];
        ensure!(config["generation"].as_u64() > Some(before), "{config}");
        Ok::<_, anyhow::Error>(())
    })
}

/// Waits until the status satisfies `test`, with cheap looks.
///
/// # Errors
/// When `limit` passes first.
pub fn expect(
    director: &Director<'_>,
    what: &str,
    limit: Duration,
    test: impl Fn(&Value) -> bool,
) -> Result<Value> {
    wait::until_ok(what, limit, || {
        let status = director.peek()?;
        ensure!(test(&status), "{status:#}");
        Ok::<_, anyhow::Error>(status)
    })
}

//! `ipvsadm` in a namespace: the other program that changes the table, and a second opinion on what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::netns::Netns;

/// What `ipvsadm ARGS` prints.
///
/// # Errors
/// When it fails, with what it says.
pub fn run<S: AsRef<OsStr>>(ns: &Netns, args: impl IntoIterator<Item = S>) -> Result<String> {
    let mut command = Command::new("ipvsadm");
    command.args(args).stdin(Stdio::null());
    let output = ns.run(|| command.output())?.context("ipvsadm (Debian package ipvsadm)")?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// [`run`] with arguments in one line.
///
/// # Errors
/// As [`run`].
pub fn line(ns: &Netns, args: &str) -> Result<String> {
    run(ns, args.split_whitespace())
}

/// `ipvsadm -R`: many lines in one process.
///
/// # Errors
/// When it fails, with what it says.
pub fn restore(ns: &Netns, rules: &str) -> Result<()> {
    let mut command = Command::new("ipvsadm");
    command.arg("-R").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = ns.run(|| command.spawn())?.context("ipvsadm (Debian package ipvsadm)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ipvsadm -R: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// All that the table is made of, counters left out: the rules that would make it again, and the thresholds.
///
/// # Errors
/// When ipvsadm fails.
pub fn rules(ns: &Netns) -> Result<BTreeSet<String>> {
    let mut rules: BTreeSet<String> = line(ns, "-S -n")?.lines().map(|line| line.trim().to_owned()).collect();
    let mut service = String::new();
    for listed in line(ns, "-L -n --thresholds")?.lines().skip(3) {
        match listed.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["->", address, upper, lower, ..] if (*upper, *lower) != ("0", "0") => {
                rules.insert(format!("thresholds {service} {address} {upper} {lower}"));
            }
            ["->", ..] => {}
            [protocol, address, ..] => service = format!("{protocol} {address}"),
            _ => {}
        }
    }
    Ok(rules)
}

/// Connections counted since a service or a destination was added: by `TCP ADDRESS:PORT`, and by that with ` -> ADDRESS:PORT`.
///
/// # Errors
/// When ipvsadm fails.
pub fn connections(ns: &Netns) -> Result<BTreeMap<String, u64>> {
    let mut counted = BTreeMap::new();
    let mut service = String::new();
    for listed in line(ns, "-L -n --stats --exact")?.lines().skip(3) {
        let words: Vec<&str> = listed.split_whitespace().collect();
        let (key, number) = match words.as_slice() {
            ["->", address, number, ..] => (format!("{service} -> {address}"), number),
            [protocol, address, number, ..] => {
                service = format!("{protocol} {address}");
                (service.clone(), number)
            }
            _ => continue,
        };
        counted.insert(key, number.parse().with_context(|| listed.to_owned())?);
    }
    Ok(counted)
}

/// `ipvsadm -L --daemon`, a line for each: `master sync daemon (mcast=eth0, syncid=7, …)`.
///
/// # Errors
/// When ipvsadm fails.
pub fn daemons(ns: &Netns) -> Result<Vec<String>> {
    Ok(line(ns, "-L --daemon")?.lines().map(|line| line.trim().to_owned()).collect())
}

/// Timeouts of TCP, TCP after FIN and UDP in seconds.
///
/// # Errors
/// When ipvsadm fails.
pub fn timeouts(ns: &Netns) -> Result<Vec<u32>> {
    let text = line(ns, "-L --timeout")?;
    let (_, numbers) = text.rsplit_once(':').with_context(|| text.clone())?;
    numbers.split_whitespace().map(|number| number.parse().with_context(|| text.clone())).collect()
}

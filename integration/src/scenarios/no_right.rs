//! A start without the rights that IPVS needs, on a kernel that has it.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use crate::netns::Netns;
use crate::process;
use crate::topology::{Lab, host};
use crate::{step, table};

const VIRTUAL_SERVER: &str = "virtual_server 10.0.0.100 80 {\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  \
    real_server 10.1.0.21 80 {\n    weight 1\n  }\n}\n";
const LIMIT: Duration = Duration::from_secs(10);
/// keepalived has no such status: missing rights.
const MISSING_RIGHTS: i32 = 4;

pub fn no_right(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let (a, b) = (lab.host("a"), lab.host("b"));
    refused(ctx, a, "net_admin", VIRTUAL_SERVER)?;
    let elsewhere = format!("net_namespace_ipvs {}\n{VIRTUAL_SERVER}", b.name());
    refused(ctx, a, "sys_admin", &elsewhere)?;
    refused(ctx, a, "net_admin", &elsewhere)?;
    for ns in [a, b] {
        ensure!(table::read(ns)?.is_empty(), "something is in the table of {}", ns.name());
    }
    Ok(())
}

/// A start without the capability ends with status 4 and names it.
fn refused(ctx: &Ctx, ns: &Netns, capability: &str, config: &str) -> Result<()> {
    let director = ctx.director("a", ns, config)?;
    let lbd = director.command();
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--inh-caps=-{capability}"))
        .arg(format!("--bounding-set=-{capability}"))
        .arg(lbd.get_program())
        .args(lbd.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = ns.run(|| command.spawn())?.context("setpriv (Debian package util-linux)")?;
    let status = process::within(&mut child, LIMIT)?;
    let said = String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned();
    step!("without CAP_{}: {status:?}: {}", capability.to_uppercase(), said.trim());
    ensure!(status.and_then(|status| status.code()) == Some(MISSING_RIGHTS), "{status:?}: {said}");
    let line = said.lines().find(|line| line.contains(" ERROR ")).context("no error")?;
    ensure!(
        line.contains(&format!("CAP_{}", capability.to_uppercase())) && line.to_lowercase().contains("ipvs"),
        "the right, or for what, is not named: {line}"
    );
    Ok(())
}

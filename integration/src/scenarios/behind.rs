//! What scenarios with one director that translates addresses share: a client, the director with its VIPs, real servers
//! behind it, and what `lbctl status` says of them.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::director::Director;
use crate::netns::Netns;
use crate::table::{self, Table};
use crate::topology::{BACK, HostSpec, Lab, host, host_on};
use crate::wait;

/// The virtual address of most scenarios; the director `a` has this one and the two that follow.
pub const VIP: &str = "10.0.0.100";
/// Time between two checks.
pub const DELAY_LOOP: Duration = Duration::from_millis(500);
/// Time a start may take until the table is there.
pub const START: Duration = Duration::from_secs(10);

/// Hosts `c` (client), `m` (10.0.0.30, for mail), `a` (director) and `r1`.. (10.1.0.21..) behind it.
pub fn lab(real_servers: usize) -> Result<Lab> {
    let mut specs: Vec<HostSpec> = vec![
        host("c", "10.0.0.2/24"),
        host("m", "10.0.0.30/24"),
        host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.1/24"),
    ];
    let names: Vec<String> = (1..=real_servers).map(|number| format!("r{number}")).collect();
    specs.extend((21..).zip(&names).map(|(last, name)| host_on(name, BACK, &format!("10.1.0.{last}/24"))));
    let lab = Lab::new(&specs)?;
    lab.host("a").ip(&format!(
        "address add {VIP}/32 dev eth0\naddress add 10.0.0.101/32 dev eth0\naddress add 10.0.0.102/32 dev eth0"
    ))?;
    for name in &names {
        lab.default_route(name, "10.1.0.1")?;
    }
    Ok(lab)
}

/// `virtual_server …` with NAT, rr, checks every [`DELAY_LOOP`] and one quick retry; `inside` are further lines.
pub fn virtual_server(of: &str, protocol: &str, inside: &str) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "virtual_server {of} {{\n  delay_loop {}\n  warmup 0.1\n  connect_timeout 1\n  retry 1\n  delay_before_retry 0.2\n  \
         lb_algo rr\n  lb_kind NAT\n  protocol {protocol}\n{inside}\n}}\n",
        DELAY_LOOP.as_secs_f64()
    );
    text
}

/// A real server with weight 1 and these checks.
pub fn real_server(address: &str, checks: &str) -> String {
    format!("  real_server {} {{\n    weight 1\n    {checks}\n  }}\n", address.replace(':', " "))
}

/// Time in which a check with [`virtual_server`]'s times has found out, and `extra`.
pub fn found_out(ctx: &super::Ctx, extra: Duration) -> Duration {
    DELAY_LOOP + Duration::from_millis(200) + extra + ctx.slack()
}

/// Waits until the table satisfies `test`, which says what is missing.
///
/// # Errors
/// When `limit` passes first.
pub fn expect_table(
    ns: &Netns,
    what: &str,
    limit: Duration,
    test: impl Fn(&Table) -> Result<()>,
) -> Result<()> {
    wait::until_ok(what, limit, || test(&table::read(ns)?).map_err(|error| anyhow::anyhow!("{error:#}")))
}

/// Weight of a destination; `None` where it or the service is not in the table.
pub fn weight(table: &Table, service: &str, dest: &str) -> Option<u32> {
    Some(table.get(service)?.dests.get(dest)?.weight)
}

/// Waits until a destination has this weight (`None`: is not there).
///
/// # Errors
/// When `limit` passes first.
pub fn expect_weight(
    ns: &Netns,
    service: &str,
    dest: &str,
    want: Option<u32>,
    limit: Duration,
) -> Result<()> {
    expect_table(ns, &format!("weight of {dest} in {service} is {want:?}"), limit, |table| {
        let have = weight(table, service, dest);
        if have != want {
            bail!("it is {have:?}");
        }
        Ok(())
    })
}

/// A real server in the status.
///
/// # Errors
/// When it is not there.
pub fn server<'s>(status: &'s Value, service: &str, address: &str) -> Result<&'s Value> {
    let find = |list: &'s Value, field: &str, want: &str| {
        let list = list.as_array().with_context(|| format!("no list in {status:#}"))?;
        list.iter().find(|entry| entry[field] == want).with_context(|| format!("no {want} in {status:#}"))
    };
    find(&find(&status["virtual_servers"], "id", service)?["real_servers"], "address", address)
}

/// State and reason of a real server's only check.
///
/// # Errors
/// When there is not exactly one.
pub fn check(status: &Value, service: &str, address: &str) -> Result<(String, String)> {
    let server = server(status, service, address)?;
    match server["checks"].as_array().map(Vec::as_slice) {
        Some([check]) => {
            let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
            Ok((text("state"), text("last_result")))
        }
        _ => bail!("not one check: {server:#}"),
    }
}

/// Waits until the only check of a real server is in `state` with a reason that contains `words`.
///
/// # Errors
/// When `limit` passes first, with what it said last.
pub fn expect_check(
    director: &Director<'_>,
    service: &str,
    address: &str,
    (state, words): (&str, &str),
    limit: Duration,
) -> Result<String> {
    wait::until_ok(&format!("check of {address} in {service}: {state}, {words:?}"), limit, || {
        let (have, reason) = check(&director.status()?, service, address)?;
        if have != state || !reason.contains(words) {
            bail!("{have}, {reason:?}");
        }
        Ok(reason)
    })
}

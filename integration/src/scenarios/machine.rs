//! Keywords of global_defs that need a machine of one's own: the time since its boot, and real time.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Ctx;
use super::behind;
use super::life::{real_time_limit, scheduled};
use crate::netns::Netns;
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(15);
const VIP: [u8; 4] = [10, 0, 0, 99];

/// Master within a fifth of a second; a virtual server with a checker.
fn config(globals: &str) -> String {
    let server = behind::virtual_server(
        "10.0.0.100 80",
        "TCP",
        &behind::real_server("10.1.0.21:80", "TCP_CHECK {\n    }"),
    );
    format!(
        "global_defs {{\n{globals}\n}}\n\
         vrrp_instance VI_1 {{\n  version 3\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  advert_int 0.05\n  \
         virtual_ipaddress {{\n    10.0.0.99/32\n  }}\n}}\n{server}"
    )
}

pub fn machine(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(1)?;
    let ns = lab.host("a");
    after_boot(ctx, ns)?;
    real_time(ctx, ns)
}

/// How long this machine has been up.
fn uptime() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    Ok(text.split_whitespace().next().context("no time")?.parse()?)
}

fn after_boot(ctx: &Ctx, ns: &Netns) -> Result<()> {
    let until = uptime()? + 4.0;
    let mut director = ctx.director("a", ns, &config(&format!("  vrrp_delay_after_boot {until:.3}")))?;
    director.start_and_wait()?;
    vip::expect(ns, VIP, true, LIMIT)?;
    let now = uptime()?;
    step!("vrrp_delay_after_boot {until:.3}: master {now:.3} s after the boot");
    ensure!(
        now >= until && now < until + 1.0 + ctx.slack().as_secs_f64(),
        "vrrp_delay_after_boot {until}: {now}"
    );
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

fn real_time(ctx: &Ctx, ns: &Netns) -> Result<()> {
    let mut director = ctx.director(
        "a",
        ns,
        &config("  max_auto_priority 3\n  min_auto_priority_delay 1\n  vrrp_rlimit_rtime 70000"),
    )?;
    director.start_and_wait()?;
    let pid = director.pid()?;
    let thread = |name: &'static str, priority: i64| {
        wait::until_ok(&format!("thread {name}"), LIMIT, || match scheduled(pid.as_raw())?.get(name) {
            Some(found) if found.priority == priority => Ok(()),
            found => bail!("{found:?}, want the priority {priority}"),
        })
    };
    let limit = |keyword: &str, micros: &str| -> Result<()> {
        let found = real_time_limit(pid)?;
        ensure!(found == micros, "{keyword}: {found}");
        Ok(())
    };
    // Each timer is a microsecond late.
    thread("vrrp", 3).context("max_auto_priority")?;
    limit("vrrp_rlimit_rtime", "70000")?;
    let said = || director.log().lines().filter(|line| line.contains("a timer of VRRP was late")).count();
    wait::throughout("no higher than it may", Duration::from_secs(1), || {
        let found = scheduled(pid.as_raw())?;
        ensure!(found.get("vrrp").is_some_and(|one| one.priority == 3), "{found:?}");
        ensure!(said() == 3, "said {} times", said());
        Ok::<_, anyhow::Error>(())
    })?;

    // Nothing else is another one.
    director.configure(&config(
        "  max_auto_priority 3\n  min_auto_priority_delay 10000000\n  vrrp_rlimit_rtime 70000",
    ))?;
    director.lbctl(&["reload"])?;
    thread("vrrp", 0).context("min_auto_priority_delay")?;

    let one = "  lvs_process_name lb_checks\n  checker_rt_priority 2\n  checker_rlimit_rttime 60000\n  checker_cpu_affinity 0 9";
    director.configure(&config(one))?;
    director.lbctl(&["reload"])?;
    thread("lb_checks", 2)?;
    limit("checker_rlimit_rttime", "60000")?;
    wait::until("checker_cpu_affinity", LIMIT, || {
        director.log().contains("checker_cpu_affinity: of its CPUs, 9 is not there").then_some(())
    })?;
    director.configure(&config("  checker_rt_priority 2\n  checker_rlimit_rtime 80000"))?;
    director.lbctl(&["reload"])?;
    thread("checkers", 2)?;
    limit("checker_rlimit_rtime", "80000")?;
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

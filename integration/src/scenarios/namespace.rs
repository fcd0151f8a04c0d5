//! net_namespace_ipvs: the table is elsewhere than the daemon. And what lvs_flush, lvs_flush_on_stop and lvs_timeouts do to what
//! others have.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::steering::{self, generation, load, writes};
use crate::director::Director;
use crate::netns::Netns;
use crate::topology::{Lab, host};
use crate::wait;
use crate::{ipvsadm, step};

const ENDS: Duration = Duration::from_secs(10);
const VIRTUAL_SERVER: &str = "\
virtual_server 10.0.0.100 80 {
  lb_algo rr
  lb_kind NAT
  protocol TCP
  real_server 10.1.0.21 80 {
    weight 1
  }
}
";
const OURS: [&str; 2] = ["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 10.1.0.21:80 -m -w 1"];
const THEIRS: [&str; 2] = ["-A -t 10.0.0.99:443 -s wlc", "-a -t 10.0.0.99:443 -r 10.1.0.29:443 -m -w 7"];

fn config(global: &str) -> String {
    format!("global_defs {{\n  {global}\n}}\n{VIRTUAL_SERVER}")
}

fn config_in(namespace: &str, tcp: u32) -> String {
    format!(
        "net_namespace_ipvs {namespace}\n{}",
        config(&format!("lvs_timeouts tcp {tcp} tcpfin 60 udp 120"))
    )
}

fn rules(sets: &[&[&str]]) -> BTreeSet<String> {
    sets.iter().flat_map(|set| set.iter()).map(|rule| (*rule).to_owned()).collect()
}

fn add_theirs(ns: &Netns) -> Result<()> {
    ipvsadm::restore(ns, &THEIRS.map(|rule| format!("{rule}\n")).concat())
}

fn expect_rules(ns: &Netns, what: &str, want: &[&[&str]], limit: Duration) -> Result<()> {
    let want = rules(want);
    wait::until_ok(what, limit, || {
        let have = ipvsadm::rules(ns)?;
        ensure!(have == want, "{have:?}, want {want:?}");
        Ok::<_, anyhow::Error>(())
    })
}

pub fn namespace(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let (a, b) = (lab.host("a"), lab.host("b"));
    elsewhere(ctx, a, b)?;
    flush(ctx, a)
}

/// The daemon in `a`, its table in `b`.
fn elsewhere(ctx: &Ctx, a: &Netns, b: &Netns) -> Result<()> {
    let slack = ctx.slack();
    add_theirs(a)?;
    add_theirs(b)?;
    let kernels = ipvsadm::timeouts(b)?;
    let mut director = ctx.director("a", a, &config_in(b.name(), 600))?;
    director.start_and_wait()?;
    expect_rules(b, "the table in b", &[&OURS, &THEIRS], slack)?;
    expect_rules(a, "nothing of it in a", &[&THEIRS], Duration::ZERO)?;
    ensure!(ipvsadm::timeouts(b)? == [600, 60, 120], "timeouts in b: {:?}", ipvsadm::timeouts(b)?);
    ensure!(ipvsadm::timeouts(a)? == kernels, "timeouts in a: {:?}", ipvsadm::timeouts(a)?);

    // A change of another value goes through, a change of the place does not.
    load(&director, &config_in(b.name(), 500))?;
    wait::until_ok("the other timeout", slack, || {
        let have = ipvsadm::timeouts(b)?;
        ensure!(have == [500, 60, 120], "{have:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    let before = (generation(&director)?, writes(&director)?);
    for (count, other) in [config("lvs_timeouts tcp 400"), config_in(a.name(), 400)].iter().enumerate() {
        director.configure(other)?;
        director.reload()?;
        // Each refusal is one more line.
        wait::until_ok("the reload is refused", ENDS, || {
            let refusals = director.log().matches("reload refused").count();
            ensure!(refusals == count + 1, "{refusals} refusals");
            Ok::<_, anyhow::Error>(())
        })?;
        let error = director.peek()?["config"]["last_error"].clone();
        step!("{error}");
        ensure!(error.as_str().is_some_and(|error| error.contains("net_namespace_ipvs")), "{error}");
        ensure!(
            (generation(&director)?, writes(&director)?) == before,
            "a reload that was refused changed something"
        );
        expect_rules(b, "the table in b after it", &[&OURS, &THEIRS], Duration::ZERO)?;
        expect_rules(a, "the table in a after it", &[&THEIRS], Duration::ZERO)?;
        ensure!(ipvsadm::timeouts(b)? == [500, 60, 120], "timeouts in b: {:?}", ipvsadm::timeouts(b)?);
    }
    director.configure(&config_in(b.name(), 500))?;

    director.kill();
    director.start_and_wait()?;
    expect_rules(b, "the table in b after a crash", &[&OURS, &THEIRS], slack)?;
    ensure!(writes(&director)? == 0, "{} writes to take over the same table", writes(&director)?);
    director.stop()?;
    expect_rules(b, "the other's in b after the stop", &[&THEIRS], Duration::ZERO)?;
    expect_rules(a, "the other's in a after the stop", &[&THEIRS], Duration::ZERO)?;
    ensure!(ipvsadm::timeouts(b)? == kernels, "timeouts in b after the stop: {:?}", ipvsadm::timeouts(b)?);

    let mut nowhere = ctx.director("a", a, &config_in("lbd-no-such", 600))?;
    let (status, said) = nowhere.run_to_end(ENDS)?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    ensure!(said.contains("ip netns add lbd-no-such"), "{said}");
    Ok(())
}

/// Daemon and table in one namespace, in which another program has a service.
fn flush(ctx: &Ctx, ns: &Netns) -> Result<()> {
    let slack = ctx.slack();
    for (global, started, stopped) in [
        ("lvs_flush", &[&OURS[..]][..], &[&THEIRS[..]][..]),
        ("lvs_flush_on_stop", &[&OURS, &THEIRS], &[]),
        ("lvs_flush_on_stop VS", &[&OURS, &THEIRS], &[&THEIRS]),
        // Its old name.
        ("lvs_flush_onstop", &[&OURS, &THEIRS], &[]),
    ] {
        if ipvsadm::rules(ns)?.is_empty() {
            add_theirs(ns)?;
        }
        let mut director: Director<'_> = ctx.director("a", ns, &config(global))?;
        director.start_and_wait()?;
        expect_rules(ns, "the table that runs", started, slack).context(global)?;
        if global == "lvs_flush" {
            // At the start only: what others add later is theirs, over a reload too.
            add_theirs(ns)?;
            load(&director, &config(&format!("{global}\n  lvs_timeouts udp 77")))?;
            expect_rules(ns, "the other's after a reload", &[&OURS, &THEIRS], Duration::ZERO)
                .context(global)?;
        }
        director.stop()?;
        expect_rules(ns, "the table after the stop", stopped, Duration::ZERO).context(global)?;
    }
    Ok(())
}

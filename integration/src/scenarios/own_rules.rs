//! What virtual servers can do that keepalived's cannot: slow_start, keep_at_least, flap_damping, agents that set weights, warnings of certificates
//! that expire, orders of the operator.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::director::Director;
use crate::netns::Netns;
use crate::servers::Server;
use crate::servers::stream::Stream;
use crate::servers::talk;
use crate::servers::tls::{Page, https};
use crate::{step, table, wait};

const TCP_CHECK: &str = "TCP_CHECK {\n    }";
/// Times of `slow_start` and of `flap_damping`.
const RAMP: Duration = Duration::from_secs(4);
const HOLD: Duration = Duration::from_secs(4);

fn key(port: u16) -> String {
    format!("TCP {VIP}:{port}")
}

pub fn own_rules(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(3)?;
    let (r1, ns) = (lab.host("r1"), lab.host("a"));
    let one = |port: u16, rules: &str, check: &str| {
        let real = behind::real_server(&format!("10.1.0.21:{port}"), check).replace("weight 1", "weight 100");
        behind::virtual_server(&format!("{VIP} {port}"), "TCP", &format!("  {rules}\n{real}"))
    };
    let three: String =
        (21..=23).map(|last| behind::real_server(&format!("10.1.0.{last}:8002"), TCP_CHECK)).collect();
    let config = [
        one(8001, &format!("slow_start {}", RAMP.as_secs()), TCP_CHECK),
        behind::virtual_server(&format!("{VIP} 8002"), "TCP", &format!("  keep_at_least 2\n{three}")),
        one(8003, &format!("flap_damping 2 30 {}", HOLD.as_secs()), TCP_CHECK),
        one(8004, "", "AGENT_CHECK {\n    }"),
        one(
            8005,
            "",
            "SSL_GET {\n      certificate_expiry_warning 36500\n      url {\n        path /\n      }\n    }",
        ),
    ]
    .concat();
    let mut slow = Server::start(r1, "r1", "0.0.0.0:8001")?;
    let mut kept = ["r1", "r2", "r3"]
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:8002"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut damped = Server::start(r1, "r1", "0.0.0.0:8003")?;
    let agent = Stream::start(r1, "0.0.0.0:8004", talk::says("up ready 100%\n"))?;
    let _tls = Stream::start(r1, "0.0.0.0:8005", https("bed.test", 2099, &Page::new(200, "all is well"))?)?;
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    behind::expect_weight(ns, &key(8001), "10.1.0.21:8001", Some(100), behind::START)?;
    director.expect_status("a first result of each", behind::START, |status| {
        !status.to_string().contains("\"state\":\"unknown\"")
    })?;
    let limit = behind::found_out(ctx, Duration::ZERO);

    slow_start(ns, &mut slow, limit).context("slow_start")?;
    keep_at_least(ns, &mut kept, limit).context("keep_at_least")?;
    flap_damping(ns, &mut damped, limit).context("flap_damping")?;
    for (line, want) in [
        ("50%\n", Some(50)),
        ("drain\n", Some(0)),
        ("maint\n", None),
        ("ready\n", Some(50)),
        ("down # out of memory\n", None),
        ("up 100%\n", Some(100)),
    ] {
        agent.set(talk::says(line));
        behind::expect_weight(ns, &key(8004), "10.1.0.21:8004", want, limit)
            .with_context(|| format!("agent: {line}"))?;
    }
    let reason = behind::expect_check(&director, &key(8005), "10.1.0.21:8005", ("up", "status 200"), limit)?;
    let status = director.status()?;
    let warning = &behind::server(&status, &key(8005), "10.1.0.21:8005")?["checks"][0]["warning"];
    step!("certificate_expiry_warning: {reason}, {warning}");
    ensure!(warning.as_str().is_some_and(|text| text.starts_with("certificate expires in ")), "{warning}");
    ordered(&director, ns, limit).context("lbctl server")?;
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

/// What the operator orders is done at once, and goes over what checks say.
fn ordered(director: &Director<'_>, ns: &Netns, limit: Duration) -> Result<()> {
    for (order, want) in [
        (["drain", ""], Some(0)),
        (["ready", ""], Some(100)),
        (["maint", ""], None),
        (["ready", ""], Some(100)),
        (["weight", "30"], Some(30)),
        (["ready", ""], Some(100)),
    ] {
        let [word, value] = order;
        let service = format!("{VIP}:8004");
        let words = ["server", word, &service, "10.1.0.21:8004", value];
        let said = director.lbctl(words.strip_suffix(&[""]).unwrap_or(&words))?;
        behind::expect_weight(ns, &key(8004), "10.1.0.21:8004", want, limit)
            .with_context(|| format!("{word} {value}"))?;
        step!("lbctl server {word} {value}: {}", said.trim());
    }
    Ok(())
}

/// The weight grows in steps; the way down has none.
fn slow_start(ns: &Netns, server: &mut Server<'_>, limit: Duration) -> Result<()> {
    let (key, dest) = (key(8001), "10.1.0.21:8001");
    server.close();
    behind::expect_weight(ns, &key, dest, None, limit)?;
    let watch = table::Watch::start(ns, Duration::from_millis(20))?;
    server.open()?;
    behind::expect_weight(ns, &key, dest, Some(100), limit + RAMP)?;
    let seen: Vec<(Instant, u32)> = watch
        .finish()?
        .into_iter()
        .filter_map(|(at, table)| Some((at, behind::weight(&table, &key, dest)?)))
        .collect();
    let weights: Vec<u32> = seen.iter().map(|(_, weight)| *weight).collect();
    let took =
        seen.last().zip(seen.first()).map(|((last, _), (first, _))| *last - *first).unwrap_or_default();
    step!("slow_start: {weights:?} in {took:?}");
    ensure!(weights.first() == Some(&10) && weights.len() >= 8, "want ten steps: {weights:?}");
    ensure!(weights.is_sorted(), "it grows: {weights:?}");
    let shortest = RAMP * 8 / 10;
    ensure!(took >= shortest && took <= RAMP + Duration::from_secs(1), "took {took:?}, want {RAMP:?}");
    Ok(())
}

/// Two of three stay whatever happens: those that failed last.
fn keep_at_least(ns: &Netns, servers: &mut [Server<'_>], limit: Duration) -> Result<()> {
    let expect = |want: &[&str], what: &'static str| {
        let took = table::expect_dests(ns, &key(8002), want, limit).context(what)?;
        step!("keep_at_least: {what}: {want:?} after {took:?}");
        Ok::<_, anyhow::Error>(())
    };
    let [one, two, three] = ["10.1.0.21:8002", "10.1.0.22:8002", "10.1.0.23:8002"];
    expect(&[one, two, three], "all up")?;
    servers[0].close();
    expect(&[two, three], "one down")?;
    servers[1].close();
    let while_two_checks = Duration::from_millis(1500);
    wait::throughout("the two that are left", while_two_checks, || {
        table::expect_dests(ns, &key(8002), &[two, three], Duration::ZERO).map(drop)
    })?;
    servers[2].close();
    wait::throughout("the two that failed last", while_two_checks, || {
        table::expect_dests(ns, &key(8002), &[two, three], Duration::ZERO).map(drop)
    })?;
    servers[0].open()?;
    expect(&[one, three], "the first is back, and with the last there are two")?;
    servers[1].open()?;
    expect(&[one, two], "two are up: nothing has to be kept")?;
    servers[2].open()?;
    expect(&[one, two, three], "all are back")
}

/// Down twice: the second time it has to hold out before it is back.
fn flap_damping(ns: &Netns, server: &mut Server<'_>, limit: Duration) -> Result<()> {
    let (key, dest) = (key(8003), "10.1.0.21:8003");
    server.close();
    behind::expect_weight(ns, &key, dest, None, limit)?;
    server.open()?;
    behind::expect_weight(ns, &key, dest, Some(100), limit).context("once is no flapping")?;
    server.close();
    behind::expect_weight(ns, &key, dest, None, limit)?;
    server.open()?;
    let opened = Instant::now();
    behind::expect_weight(ns, &key, dest, Some(100), limit + HOLD).context("after the hold")?;
    let out = opened.elapsed();
    step!("flap_damping: out for {out:?}");
    ensure!(out >= HOLD, "held for {out:?}, want {HOLD:?}");
    Ok(())
}

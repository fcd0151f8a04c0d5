//! Real servers that leave while connections to them are open: drain_timeout at a reload, and `lbctl server`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::Ctx;
use super::behind::{self, START};
use super::steering::{self, expect, load, refused};
use crate::client::{Held, distribution, expect_split};
use crate::director::Director;
use crate::netns::Netns;
use crate::servers::Server;
use crate::wait::{self, pause};
use crate::{step, table};

const SERVICE: &str = "10.0.0.100:80";
const KEY: &str = "TCP 10.0.0.100:80";
const SECOND: &str = "10.0.0.101:80";
const SECOND_KEY: &str = "TCP 10.0.0.101:80";
const REAL: [&str; 3] = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];
/// lbd looks every second at what leaves; connections are counted every second.
const NOTICED: Duration = Duration::from_secs(3);
/// drain_timeout of those that are never closed.
const SHORT: Duration = Duration::from_secs(3);
/// Time in which what is to go on must have gone on.
const A_WHILE: Duration = Duration::from_secs(1);

/// `10.0.0.100:80` with these of [`REAL`], and [`SECOND`] with the first two where it is wanted.
fn config(drain_timeout: Option<Duration>, servers: &[usize], second: bool) -> String {
    let drain = drain_timeout.map(|time| format!("  drain_timeout {}\n", time.as_secs())).unwrap_or_default();
    let service = |vip: &str, servers: &[usize]| {
        let inside: String = servers.iter().map(|number| behind::real_server(REAL[*number], "")).collect();
        behind::virtual_server(&vip.replace(':', " "), "TCP", &format!("{drain}{inside}"))
    };
    let mut text = service(SERVICE, servers);
    if second {
        text += &service(SECOND, &[0, 1]);
    }
    text
}

/// A connection to the server of that name.
fn held_to(client: &Netns, service: &str, name: &str) -> Result<Held> {
    for _ in 0..3 {
        let held = Held::patient(client, service, Duration::from_secs(8))?;
        if held.server == name {
            return Ok(held);
        }
        held.finish()?;
    }
    bail!("three connections, none of them to {name}")
}

fn leaving(status: &Value) -> Vec<(&str, &str, Option<u64>)> {
    let list = status["ipvs"]["leaving"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|one| {
            let text = |field: &str| one[field].as_str().unwrap_or_default();
            (text("virtual_server"), text("real_server"), one["connections"].as_u64())
        })
        .collect()
}

fn weights(ns: &Netns, want: &[(&str, Option<u32>)], limit: Duration) -> Result<()> {
    want.iter().try_for_each(|(server, weight)| behind::expect_weight(ns, KEY, server, *weight, limit))
}

pub fn drain(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(3)?;
    let _servers = ["r1", "r2", "r3"]
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:80"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    let long = Some(Duration::from_secs(20));
    let mut director = ctx.director("a", ns, &config(long, &[0, 1, 2], true))?;
    director.start_and_wait()?;
    table::expect_dests(ns, KEY, &REAL, START)?;
    table::expect_dests(ns, SECOND_KEY, &REAL[..2], START)?;

    until_closed(ctx, client, &mut director, long)?;
    comes_back(ctx, client, &director, long)?;
    until_the_time_is_over(ctx, client, &director)?;
    whole_service(ctx, client, &director, long)?;
    without_the_keyword(ctx, client, &director)?;
    orders(ctx, client, &mut director)?;
    many_at_once(ctx, &director)?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

fn until_closed(
    ctx: &Ctx,
    client: &Netns,
    director: &mut Director<'_>,
    time: Option<Duration>,
) -> Result<()> {
    let ns = director.ns();
    let held = held_to(client, SERVICE, "r1")?;
    load(director, &config(time, &[1, 2], true))?;
    weights(ns, &[(REAL[0], Some(0)), (REAL[1], Some(1)), (REAL[2], Some(1))], Duration::ZERO)?;
    let status = expect(director, "the server leaves with 1 connection", NOTICED + ctx.slack(), |status| {
        leaving(status) == [(KEY, REAL[0], Some(1))]
    })?;
    let until = status["ipvs"]["leaving"][0]["until"].as_str().unwrap_or_default();
    ensure!(until.starts_with("20") && until.ends_with('Z'), "until {until:?}");
    let shown = director.lbctl(&["status"])?;
    ensure!(shown.contains(REAL[0]), "lbctl status does not show what leaves: {shown}");
    expect_split(client, SERVICE, 6, &[("r2", 3), ("r3", 3)])?;
    wait::throughout("the server stays for its connection", A_WHILE, || {
        weights(ns, &[(REAL[0], Some(0))], Duration::ZERO)
    })?;
    // Another process goes on with it: after a crash, and after a handover.
    director.kill();
    director.start_and_wait()?;
    director.lbctl(&["handover"])?;
    director.ended(START)?;
    director.start_and_wait()?;
    weights(ns, &[(REAL[0], Some(0))], Duration::ZERO).context("in the next process")?;
    expect(director, "the server leaves in the next process too", NOTICED + ctx.slack(), |status| {
        leaving(status) == [(KEY, REAL[0], Some(1))]
    })?;
    held.finish().context("the connection to a server that leaves")?;
    let closed = Instant::now();
    weights(ns, &[(REAL[0], None)], NOTICED + ctx.slack())?;
    step!("closed: gone {:?} after that", closed.elapsed());
    expect(director, "nothing leaves any more", ctx.slack(), |status| leaving(status).is_empty())?;
    let line = "Removing drained service [10.1.0.21]:tcp:80 from VS [10.0.0.100]:tcp:80";
    let log = director.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("Removing drained")).collect();
    ensure!(matches!(said.as_slice(), [one] if one.ends_with(line)), "{line:?} was not said: {said:?}");
    load(director, &config(time, &[0, 1, 2], true))?;
    weights(ns, &[(REAL[0], Some(1))], Duration::ZERO)
}

fn comes_back(ctx: &Ctx, client: &Netns, director: &Director<'_>, time: Option<Duration>) -> Result<()> {
    let held = held_to(client, SERVICE, "r2")?;
    load(director, &config(time, &[0, 2], true))?;
    weights(director.ns(), &[(REAL[1], Some(0))], Duration::ZERO)?;
    load(director, &config(time, &[0, 1, 2], true))?;
    weights(director.ns(), &[(REAL[1], Some(1))], Duration::ZERO)?;
    expect(director, "nothing leaves", ctx.slack(), |status| leaving(status).is_empty())?;
    expect_split(client, SERVICE, 6, &[("r1", 2), ("r2", 2), ("r3", 2)])?;
    held.finish().context("the connection to a server that came back").map(drop)
}

fn until_the_time_is_over(ctx: &Ctx, client: &Netns, director: &Director<'_>) -> Result<()> {
    let ns = director.ns();
    load(director, &config(Some(SHORT), &[0, 1, 2], true))?;
    let held = held_to(client, SERVICE, "r1")?;
    let start = Instant::now();
    load(director, &config(Some(SHORT), &[1, 2], true))?;
    weights(ns, &[(REAL[0], Some(0))], Duration::ZERO)?;
    weights(ns, &[(REAL[0], None)], SHORT + NOTICED + ctx.slack())?;
    let took = start.elapsed();
    step!("drain_timeout {SHORT:?}: gone after {took:?}");
    ensure!(took >= SHORT, "it was to stay for {SHORT:?}, and went after {took:?}");
    let cut = "its drain_timeout is over, 1 connections are cut";
    // The table is there first.
    wait::until(&format!("the log's {cut:?}"), Duration::from_secs(2), || {
        director.log().contains(cut).then_some(())
    })?;
    // The kernel still knows the connection: it goes on when the server is back.
    load(director, &config(Some(SHORT), &[0, 1, 2], true))?;
    held.finish().context("the connection that was cut, after the server's return").map(drop)
}

fn whole_service(ctx: &Ctx, client: &Netns, director: &Director<'_>, time: Option<Duration>) -> Result<()> {
    let ns = director.ns();
    load(director, &config(time, &[0, 1, 2], true))?;
    let held = held_to(client, SECOND, "r1")?;
    load(director, &config(time, &[0, 1, 2], false))?;
    expect(director, "the server with the connection is left", NOTICED + ctx.slack(), |status| {
        leaving(status) == [(SECOND_KEY, REAL[0], Some(1))]
    })?;
    behind::expect_table(ns, "that server alone, with weight 0", ctx.slack(), |table| {
        table::same_servers(table, SECOND_KEY, &REAL[..1])?;
        ensure!(behind::weight(table, SECOND_KEY, REAL[0]) == Some(0), "{table:?}");
        Ok(())
    })?;
    let refused = distribution(client, SECOND, 1)?;
    ensure!(!refused.contains_key("r1"), "a service that leaves takes new connections: {refused:?}");
    held.finish().context("the connection of a service that leaves")?;
    let closed = Instant::now();
    behind::expect_table(ns, "the service is gone", NOTICED + ctx.slack(), |table| {
        ensure!(!table.contains_key(SECOND_KEY), "{table:?}");
        Ok(())
    })?;
    step!("service without connections: gone {:?} after the last was closed", closed.elapsed());
    Ok(())
}

fn without_the_keyword(ctx: &Ctx, client: &Netns, director: &Director<'_>) -> Result<()> {
    load(director, &config(None, &[0, 1, 2], false))?;
    let held = held_to(client, SERVICE, "r3")?;
    load(director, &config(None, &[0, 1], false))?;
    weights(director.ns(), &[(REAL[2], None)], Duration::ZERO)?;
    expect(director, "nothing leaves", ctx.slack(), |status| leaving(status).is_empty())?;
    load(director, &config(None, &[0, 1, 2], false))?;
    held.finish().context("the connection, after the server's return").map(drop)
}

/// drain, weight, maint and ready, which hold over a reload, a crash and a stop.
fn orders(ctx: &Ctx, client: &Netns, director: &mut Director<'_>) -> Result<()> {
    let ns = director.ns();
    let held = held_to(client, SERVICE, "r1")?;
    let said = director.lbctl(&["server", "drain", SERVICE, "10.1.0.21", REAL[1]])?;
    let drained = [(REAL[0], Some(0)), (REAL[1], Some(0)), (REAL[2], Some(1))];
    weights(ns, &drained, ctx.slack())?;
    ensure!(said.lines().count() == 2 && REAL[..2].iter().all(|server| said.contains(server)), "{said}");
    expect_split(client, SERVICE, 3, &[("r3", 3)])?;
    let kept = |director: &Director<'_>, when: &str| -> Result<()> {
        weights(ns, &drained, START).context(when.to_owned())?;
        let status = director.status()?;
        for (server, want) in REAL.iter().zip([Some("drain"), Some("drain"), None]) {
            let order = &behind::server(&status, KEY, server)?["order"];
            ensure!(order.as_str() == want, "{when}: {server}: {order}");
        }
        Ok(())
    };
    kept(director, "after the command")?;
    load(director, &config(None, &[0, 1, 2], true))?;
    kept(director, "after a reload")?;

    let watch = table::Watch::start(ns, ctx.poll())?;
    director.kill();
    director.start_and_wait()?;
    kept(director, "after kill -9 and start")?;
    // Past the first look at the table.
    pause(A_WHILE);
    for (_, table) in watch.finish()? {
        for (server, want) in drained {
            let have = behind::weight(&table, KEY, server);
            ensure!(have == want, "kill -9 and start: {server} had weight {have:?} for a moment");
        }
    }
    held.finish().context("the connection to a drained server")?;
    director.stop()?;
    director.start_and_wait()?;
    kept(director, "after stop and start")?;
    expect_split(client, SERVICE, 3, &[("r3", 3)])?;

    director.lbctl(&["server", "ready", SERVICE, "10.1.0.22"])?;
    weights(ns, &[(REAL[1], Some(1))], ctx.slack())?;
    let in_maintenance = held_to(client, SERVICE, "r2")?;
    director.lbctl(&["server", "weight", KEY, "10.1.0.21", "5"])?;
    director.lbctl(&["server", "maint", SERVICE, "10.1.0.22"])?;
    weights(ns, &[(REAL[0], Some(5)), (REAL[1], None), (REAL[2], Some(1))], ctx.slack())?;
    let held = held_to(client, SERVICE, "r1")?;
    director.lbctl(&["server", "ready", SERVICE, REAL[0], REAL[1], REAL[2]])?;
    weights(ns, &[(REAL[0], Some(1)), (REAL[1], Some(1)), (REAL[2], Some(1))], ctx.slack())?;
    expect_split(client, SERVICE, 6, &[("r1", 2), ("r2", 2), ("r3", 2)])?;
    held.finish().context("the connection to a server that was given another weight")?;
    in_maintenance.finish().context("the connection to a server that was out for maintenance")?;

    let unknown = refused(director, &["server", "drain", SERVICE, "10.1.0.29:80"])?;
    ensure!(unknown.contains("did you mean `10.1.0.2"), "{unknown}");
    let unknown = refused(director, &["server", "drain", "10.0.0.100:81", REAL[0]])?;
    ensure!(unknown.contains("did you mean `10.0.0.10"), "{unknown}");
    // One name that is wrong does not stop the other.
    refused(director, &["server", "drain", SERVICE, "10.1.0.29:80", REAL[0]])?;
    weights(ns, &[(REAL[0], Some(0))], ctx.slack())?;
    director.lbctl(&["server", "ready", SERVICE, REAL[0]]).map(drop)
}

/// Commands at one time: each is carried out, and at the end status and table say the same.
fn many_at_once(ctx: &Ctx, director: &Director<'_>) -> Result<()> {
    const ROUNDS: u32 = 4;
    let start = Instant::now();
    std::thread::scope(|scope| {
        // Two that command the same server, and one for each of the others.
        let threads: Vec<_> = [(REAL[0], 10), (REAL[1], 20), (REAL[2], 30), (REAL[2], 40)]
            .into_iter()
            .map(|(server, base)| {
                scope.spawn(move || -> Result<()> {
                    for round in 1..=ROUNDS {
                        let weight = (base + round).to_string();
                        let output =
                            steering::lbctl(director, &["server", "weight", SERVICE, server, &weight])?;
                        ensure!(output.status.success(), "weight {weight} of {server}: {output:?}");
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    step!("{} commands at once took {:?}", 4 * ROUNDS, start.elapsed());
    wait::until_ok("the same in status and table", ctx.slack(), || {
        let status = director.peek()?;
        let table = table::read(director.ns())?;
        for (server, wants) in [(REAL[0], vec![14]), (REAL[1], vec![24]), (REAL[2], vec![34, 44])] {
            let have = behind::weight(&table, KEY, server).with_context(|| format!("no {server}"))?;
            let shown = behind::server(&status, KEY, server)?;
            ensure!(wants.contains(&have), "{server} has weight {have}");
            ensure!(
                shown["order"] == format!("weight {have}") && shown["effective_weight"] == have,
                "{server} has weight {have}, shown is {shown:#}"
            );
        }
        Ok::<_, anyhow::Error>(())
    })
}

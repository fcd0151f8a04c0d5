//! The files of `conf.d`, run as they stand on the networks that its README draws.
//!
//! Here: which scenario runs which file, and what each must be seen to do. Not here: that they are read without a word
//! (`tests/examples.rs`) and what they mean (`grammar/tests/conf_d.rs`).

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Ctx, balance};
use crate::adverts::Capture;
use crate::build;
use crate::cell::Cell;
use crate::client::{distribution, expect_split};
use crate::director::{Daemon, Director};
use crate::netns::Netns;
use crate::servers::{Mode, Server};
use crate::step;
use crate::table;
use crate::topology::{BACK, Forwarding, Lab, host, host_on};
use crate::vip;
use crate::wait;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const SERVICE: &str = "10.0.0.100:80";
const KEY: &str = "TCP 10.0.0.100:80";
const FRONT_SERVERS: [&str; 3] = ["10.0.0.11:80", "10.0.0.12:80", "10.0.0.13:80"];
const BACK_SERVERS: [&str; 3] = ["10.1.0.11:80", "10.1.0.12:80", "10.1.0.13:80"];
const SORRY: &str = "10.0.0.20:80";
/// Time in which a director started alone, or a peer of a dead or weakened one, is master (advert_int 1).
const ELECTION: Duration = Duration::from_secs(7);
/// In all files: `delay_loop`, and one retry a second later.
const DELAY_LOOP: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);

/// A deployment of `conf.d`.
#[derive(Debug)]
pub struct Example {
    /// The first director's file.
    pub file: &'static str,
    /// The second director's; `None` where it is the first one's with the two changes that the README names.
    pub peer: Option<&'static str>,
    /// The scenario that runs it.
    pub scenario: &'static str,
    /// What it must be seen to do.
    run: fn(&Ctx, &Pair) -> Result<()>,
}

/// The text of both directors' configurations.
#[derive(Debug)]
struct Pair {
    a: String,
    b: String,
}

/// All files of `conf.d`.
pub const ALL: &[Example] = &[
    example("dr.conf", None, "examples_dr", dr),
    example("sorry.conf", None, "examples_dr", sorry),
    example("nat.conf", None, "examples_nat_tun", nat),
    example("tun.conf", None, "examples_nat_tun", tun),
    example("http.conf", None, "examples_checks", http),
    example("misc.conf", None, "examples_checks", misc),
    example("vrrp-pair-master.conf", Some("vrrp-pair-backup.conf"), "examples_vrrp", vrrp_pair),
    example("script-tracking.conf", None, "examples_tracking", script_tracking),
];

const fn example(
    file: &'static str,
    peer: Option<&'static str>,
    scenario: &'static str,
    run: fn(&Ctx, &Pair) -> Result<()>,
) -> Example {
    Example { file, peer, scenario, run }
}

pub fn dr_and_sorry(ctx: &Ctx) -> Result<()> {
    group(ctx, "examples_dr")
}

pub fn nat_and_tun(ctx: &Ctx) -> Result<()> {
    group(ctx, "examples_nat_tun")
}

pub fn checks(ctx: &Ctx) -> Result<()> {
    group(ctx, "examples_checks")
}

pub fn vrrp(ctx: &Ctx) -> Result<()> {
    group(ctx, "examples_vrrp")
}

pub fn tracking(ctx: &Ctx) -> Result<()> {
    group(ctx, "examples_tracking")
}

/// Where the examples are.
pub fn dir() -> PathBuf {
    build::workspace().join("conf.d")
}

fn group(ctx: &Ctx, scenario: &str) -> Result<()> {
    for example in ALL.iter().filter(|example| example.scenario == scenario) {
        step!("{}", example.file);
        let a = read(example.file)?;
        let b = match example.peer {
            Some(file) => read(file)?,
            None => second_director(&a).with_context(|| example.file)?,
        };
        (example.run)(ctx, &Pair { a, b }).with_context(|| example.file)?;
    }
    Ok(())
}

fn read(file: &str) -> Result<String> {
    let path = dir().join(file);
    fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

/// "The second takes the same file with `state BACKUP` and `priority 100`."
fn second_director(first: &str) -> Result<String> {
    let text = replace_once(first, "state MASTER", "state BACKUP")?;
    replace_once(&text, "priority 150", "priority 100")
}

fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    let count = text.matches(from).count();
    ensure!(count == 1, "{from:?} is there {count} times, want once");
    Ok(text.replace(from, to))
}

/// The text without the comment signs of the lines from the one that contains `first` to the one that contains `last`.
fn uncommented(text: &str, first: &str, last: &str) -> Result<String> {
    let from = text.lines().position(|line| line.contains(first)).with_context(|| format!("no {first:?}"))?;
    let length = text.lines().skip(from).position(|line| line.contains(last));
    let to = from + length.with_context(|| format!("no {last:?} after {first:?}"))?;
    let line = |(number, line): (usize, &str)| match (from..=to).contains(&number) {
        true => line.replacen('#', " ", 1) + "\n",
        false => line.to_owned() + "\n",
    };
    Ok(text.lines().enumerate().map(line).collect())
}

/// Client `c`, directors `a` and `b`, real servers `r1`..`r3` and the sorry server `s` on one network (DR, TUN).
fn one_network(forwarding: Forwarding) -> Result<Lab> {
    let lab = Lab::new(&[
        host("c", "10.0.0.50/24"),
        host("a", "10.0.0.2/24"),
        host("b", "10.0.0.3/24"),
        host("r1", "10.0.0.11/24"),
        host("r2", "10.0.0.12/24"),
        host("r3", "10.0.0.13/24"),
        host("s", "10.0.0.20/24"),
    ])?;
    for server in ["r1", "r2", "r3", "s"] {
        lab.accept_vip(server, &VIP.to_string(), forwarding)?;
    }
    Ok(lab)
}

/// The real servers behind the directors (NAT).
fn two_networks() -> Result<Lab> {
    let lab = Lab::new(&[
        host("c", "10.0.0.50/24"),
        host("a", "10.0.0.2/24").nic(BACK, "eth1", "10.1.0.2/24"),
        host("b", "10.0.0.3/24").nic(BACK, "eth1", "10.1.0.3/24"),
        host_on("r1", BACK, "10.1.0.11/24"),
        host_on("r2", BACK, "10.1.0.12/24"),
        host_on("r3", BACK, "10.1.0.13/24"),
    ])?;
    for server in ["r1", "r2", "r3"] {
        lab.default_route(server, "10.1.0.1")?;
    }
    Ok(lab)
}

fn listen<'lab>(lab: &'lab Lab, name: &str) -> Result<Server<'lab>> {
    Server::start(lab.host(name), name, "0.0.0.0:80")
}

/// The three real servers in order.
fn real_servers(lab: &Lab) -> Result<[Server<'_>; 3]> {
    Ok([listen(lab, "r1")?, listen(lab, "r2")?, listen(lab, "r3")?])
}

/// Time in which a server whose port is closed is out.
fn out_limit(ctx: &Ctx) -> Duration {
    DELAY_LOOP + RETRY + ctx.slack()
}

/// Time in which a server that works again is back.
fn in_limit(ctx: &Ctx) -> Duration {
    DELAY_LOOP + ctx.slack()
}

/// Each of the three gets a third of the requests; without the second, each of the others half.
fn thirds_then_halves(
    ctx: &Ctx,
    lab: &Lab,
    director: &Director<'_>,
    servers: &mut [Server<'_>; 3],
    addresses: &[&str; 3],
) -> Result<()> {
    let client = lab.host("c");
    let [one, two, three] = *addresses;
    table::expect_dests(director.ns(), KEY, addresses, ELECTION)?;
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;
    let [_, r2, _] = servers;
    r2.close();
    let took = table::expect_dests(director.ns(), KEY, &[one, three], out_limit(ctx))?;
    step!("r2 out {took:?} after its port closed");
    if ctx.daemon == Daemon::Lbd {
        director.expect_status("r2 down", ctx.slack(), |status| {
            let servers = status["virtual_servers"][0]["real_servers"].as_array();
            servers.is_some_and(|servers| {
                servers.iter().any(|server| server["address"] == two && server["state"] == "down")
            })
        })?;
    }
    expect_split(client, SERVICE, 30, &[("r1", 15), ("r3", 15)])?;
    r2.open()?;
    let took = table::expect_dests(director.ns(), KEY, addresses, in_limit(ctx))?;
    step!("r2 back {took:?} after its port opened");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])
}

/// An orderly stop leaves no service and no virtual address behind.
fn stop(director: &mut Director<'_>) -> Result<()> {
    let status = director.stop()?;
    ensure!(status.success(), "the director's end: {status}");
    let left = table::read(director.ns())?;
    ensure!(left.is_empty(), "after an orderly stop the table still has {left:?}");
    ensure!(!vip::held(director.ns(), VIP)?, "after an orderly stop {VIP} is still there");
    Ok(())
}

/// The address moves from one director to the other within `limit`.
fn moves(ctx: &Ctx, from: &Netns, to: &Netns, limit: Duration) -> Result<()> {
    vip::expect(to, VIP, true, limit)?;
    vip::expect(from, VIP, false, ctx.slack())
}

fn dr(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = one_network(Forwarding::Dr)?;
    let mut servers = real_servers(&lab)?;
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?;
    let mut b = ctx.director("b", lab.host("b"), &pair.b)?;
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    thirds_then_halves(ctx, &lab, &a, &mut servers, &FRONT_SERVERS)?;
    ensure!(!vip::held(b.ns(), VIP)?, "{VIP} is on both directors");

    stop(&mut a)?;
    vip::expect(b.ns(), VIP, true, Duration::from_secs(1) + ctx.slack())?;
    table::expect_dests(b.ns(), KEY, &FRONT_SERVERS, in_limit(ctx))?;
    expect_split(lab.host("c"), SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;
    stop(&mut b)
}

fn sorry(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = one_network(Forwarding::Dr)?;
    let client = lab.host("c");
    let [mut r1, mut r2, mut r3] = real_servers(&lab)?;
    let _sorry = listen(&lab, "s")?;
    r3.close();
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?;
    let tables = table::Watch::start(a.ns(), ctx.poll())?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    table::expect_dests(a.ns(), KEY, &FRONT_SERVERS[..2], ELECTION)?;
    let early = tables
        .finish()?
        .into_iter()
        .any(|(_, table)| table.get(KEY).is_some_and(|service| service.dests.contains_key(FRONT_SERVERS[2])));
    ensure!(!early, "alpha: a server that never had a good check was in the table");
    expect_split(client, SERVICE, 10, &[("r1", 5), ("r2", 5)])?;

    r1.close();
    r2.close();
    let took = table::expect_dests(a.ns(), KEY, &[SORRY], out_limit(ctx))?;
    step!("sorry server in {took:?} after the last port closed");
    expect_split(client, SERVICE, 5, &[("s", 5)])?;

    r3.open()?;
    let took = table::expect_dests(a.ns(), KEY, &FRONT_SERVERS[2..], in_limit(ctx))?;
    step!("sorry server out {took:?} after a port opened");
    expect_split(client, SERVICE, 5, &[("r3", 5)])?;
    stop(&mut a)
}

fn nat(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = two_networks()?;
    let gateway = Ipv4Addr::new(10, 1, 0, 1);
    let client = lab.host("c");
    let mut servers = real_servers(&lab)?;
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?;
    let mut b = ctx.director("b", lab.host("b"), &pair.b)?;
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    vip::expect(a.ns(), gateway, true, ctx.slack())?;
    thirds_then_halves(ctx, &lab, &a, &mut servers, &BACK_SERVERS)?;

    lab.cable("a", "eth1", false)?;
    moves(ctx, a.ns(), b.ns(), ELECTION).context("eth1 of a without carrier")?;
    vip::expect(b.ns(), gateway, true, ctx.slack())?;
    vip::expect(a.ns(), gateway, false, ctx.slack())?;
    table::expect_dests(b.ns(), KEY, &BACK_SERVERS, in_limit(ctx))?;
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)]).context("by b")?;

    lab.cable("a", "eth1", true)?;
    moves(ctx, b.ns(), a.ns(), ELECTION).context("eth1 of a is back")?;
    vip::expect(a.ns(), gateway, true, ctx.slack())?;
    table::expect_dests(a.ns(), KEY, &BACK_SERVERS, in_limit(ctx))?;
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)]).context("by a again")?;
    stop(&mut b)?;
    stop(&mut a)?;
    ensure!(!vip::held(a.ns(), gateway)?, "after an orderly stop {gateway} is still there");
    Ok(())
}

fn tun(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = one_network(Forwarding::Tun)?;
    let mut servers = real_servers(&lab)?;
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    thirds_then_halves(ctx, &lab, &a, &mut servers, &FRONT_SERVERS)?;
    balance::tunnelled(&lab).context("the tunnel was not used")?;
    stop(&mut a)
}

fn http(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = one_network(Forwarding::Dr)?;
    let client = lab.host("c");
    let [r1, r2, r3] = real_servers(&lab)?;
    let [one, two, three] = FRONT_SERVERS;
    // The page that failed, and then all pages from the first, one a check.
    let back_limit = |pages: u32| DELAY_LOOP * pages + in_limit(ctx);
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    table::expect_dests(a.ns(), KEY, &FRONT_SERVERS, ELECTION)?;
    let table = table::read(a.ns())?;
    let have = table.get(KEY).context("no service")?;
    let weights: Vec<u32> = have.dests.values().map(|dest| dest.weight).collect();
    ensure!(
        have.scheduler == "wlc" && have.flags.contains("persistent 60") && weights == [100, 100, 50],
        "the service is {have:?}"
    );
    let answers = distribution(client, SERVICE, 6)?;
    ensure!(answers.len() == 1 && answers.values().eq([&6]), "persistence: one client went to {answers:?}");

    r1.set(Mode::Status(500));
    r2.set(Mode::Status(204));
    r3.set(Mode::Status(299));
    let took = table::expect_dests(a.ns(), KEY, &[three], out_limit(ctx))?;
    step!("500 and 204 out, 299 of 200-299 in after {took:?}");
    expect_split(client, SERVICE, 3, &[("status 299", 3)])?;

    r1.set(Mode::Serve);
    r2.set(Mode::Serve);
    r3.set(Mode::Status(300));
    let took = table::expect_dests(a.ns(), KEY, &[one, two], back_limit(1))?;
    step!("300 out, the others back after {took:?}");
    r3.set(Mode::Serve);
    table::expect_dests(a.ns(), KEY, &FRONT_SERVERS, back_limit(1))?;

    // The second page of .12, which is in comments; its digest is that of "OK\n". With two pages a check asks for one,
    // the next check for the other.
    let page = |text: &str| Server::start(lab.host("r2"), text, "0.0.0.0:80");
    drop(r2);
    let wrong = page("KO\n")?;
    a.configure(&uncommented(&pair.a, "# url {", "# }")?)?;
    a.reload()?;
    let took = table::expect_dests(a.ns(), KEY, &[one, three], DELAY_LOOP + out_limit(ctx))
        .context("the wrong page")?;
    step!("the wrong page out after {took:?}");
    drop(wrong);
    let _right = page("OK\n")?;
    let took = table::expect_dests(a.ns(), KEY, &FRONT_SERVERS, back_limit(2)).context("the right page")?;
    step!("the right page in after {took:?}");
    stop(&mut a)
}

fn misc(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = one_network(Forwarding::Dr)?;
    let client = lab.host("c");
    let [mut r1, mut r2, _r3] = real_servers(&lab)?;
    let [one, two, three] = FRONT_SERVERS;
    let cell = cell(lab.host("a"))?;
    let (mark, state) = (run_dir(&cell).join("out-10.0.0.12"), run_dir(&cell).join("state-10.0.0.13"));
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?.in_cell(&cell);
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;

    table::expect_dests(a.ns(), KEY, &[one, two], ELECTION).context("no state file")?;
    expect_weight_0(a.ns(), three)?;
    expect_split(client, SERVICE, 20, &[("r1", 10), ("r2", 10)])?;
    fs::write(&state, "up\n")?;
    let took = table::expect_dests(a.ns(), KEY, &FRONT_SERVERS, in_limit(ctx)).context("state up")?;
    step!(".13 in {took:?} after it was said to be up");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    // The mark takes .12 out, the closed port .11, and the word .13's place in the table.
    fs::write(&mark, "")?;
    r1.close();
    fs::write(&state, "down\n")?;
    let limit = out_limit(ctx);
    wait::until_ok("all three out", limit, || {
        let table = table::read(a.ns())?;
        let dests = &table.get(KEY).context("no service")?.dests;
        ensure!(dests.is_empty(), "have {dests:?}");
        Ok::<(), anyhow::Error>(())
    })?;
    fs::remove_file(&mark)?;
    fs::remove_file(&state)?;
    r1.open()?;
    table::expect_dests(a.ns(), KEY, &[one, two], in_limit(ctx)).context("mark and state file removed")?;
    wait::until_ok(".13 back with weight 0", in_limit(ctx), || expect_weight_0(a.ns(), three))?;

    // A server with two checks is up when both are good.
    r2.close();
    let took = table::expect_dests(a.ns(), KEY, &[one], out_limit(ctx) + RETRY * 3).context("port of .12")?;
    step!(".12 out {took:?} after its port closed");
    stop(&mut a)
}

fn expect_weight_0(ns: &Netns, address: &str) -> Result<()> {
    let table = table::read(ns)?;
    let weight = table.get(KEY).and_then(|service| service.dests.get(address)).map(|dest| dest.weight);
    ensure!(weight == Some(0), "weight of {address}: {weight:?}, want 0, in {table:?}");
    Ok(())
}

fn vrrp_pair(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = Lab::new(&[host("c", "10.0.0.50/24"), host("a", "10.0.0.2/24"), host("b", "10.0.0.3/24")])?;
    let (cell_a, cell_b) = (logging_cell(lab.host("a"))?, logging_cell(lab.host("b"))?);
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?.in_cell(&cell_a);
    let mut b = ctx.director("b", lab.host("b"), &pair.b)?.in_cell(&cell_b);
    let adverts = Capture::start(lab.host("c"))?;
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    ensure!(!vip::held(b.ns(), VIP)?, "{VIP} is on both");
    let shown = a.ns().ip_show(&["-o", "address", "show", "dev", "eth0"])?;
    let line = shown.lines().find(|line| line.contains("10.0.0.100")).context("no address")?;
    for want in ["inet 10.0.0.100/24", "brd 10.0.0.255", "scope global", "eth0:vip"] {
        ensure!(line.contains(want), "no {want:?} in {line:?}");
    }
    logged(ctx, &cell_a, &["-t lbd address taken", "-t lbd INSTANCE VI_1 MASTER 150"])?;
    logged(ctx, &cell_b, &["-t lbd address left to the peer", "-t lbd INSTANCE VI_1 BACKUP 100"])?;

    stop(&mut a)?;
    vip::expect(b.ns(), VIP, true, Duration::from_secs(1) + ctx.slack())?;
    logged(ctx, &cell_b, &["-t lbd address taken", "-t lbd INSTANCE VI_1 MASTER 100"])?;
    ensure!(!adverts.seen().is_empty(), "no multicast advertisements");

    // With the lines for networks without multicast: nobody else hears them.
    let unicast = |text: &str| uncommented(text, "# unicast_src_ip", "# }");
    b.configure(&unicast(&pair.b)?)?;
    b.reload()?;
    a.configure(&unicast(&pair.a)?)?;
    a.start_and_wait()?;
    moves(ctx, b.ns(), a.ns(), ELECTION).context("the master is back")?;
    let heard = adverts.seen().len();
    wait::throughout("the master keeps the address, by unicast", Duration::from_secs(4), || {
        ensure!(vip::held(a.ns(), VIP)? && !vip::held(b.ns(), VIP)?, "the address moved");
        ensure!(adverts.seen().len() == heard, "a third host hears advertisements");
        Ok(())
    })?;
    stop(&mut a)?;
    vip::expect(b.ns(), VIP, true, Duration::from_secs(1) + ctx.slack())?;
    stop(&mut b)
}

fn script_tracking(ctx: &Ctx, pair: &Pair) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.2/24"), host("b", "10.0.0.3/24")])?;
    let (cell_a, cell_b) = (cell(lab.host("a"))?, cell(lab.host("b"))?);
    let web = |name: &str| Server::start(lab.host(name), name, "127.0.0.1:80");
    let (mut web_a, _web_b) = (web("a")?, web("b")?);
    let mut a = ctx.director("a", lab.host("a"), &pair.a)?.in_cell(&cell_a);
    let mut b = ctx.director("b", lab.host("b"), &pair.b)?.in_cell(&cell_b);
    let adverts = Capture::start(b.ns())?;
    let source = Ipv4Addr::new(10, 0, 0, 2);
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, ELECTION)?;
    ensure!(!vip::held(b.ns(), VIP)?, "{VIP} is on both");

    web_a.close();
    // Two failures a second apart, and the next advertisement.
    let weakened = || adverts.last_from(source).filter(|advert| advert.priority == 90);
    wait::until("an advertisement of priority 90", Duration::from_secs(3) + ctx.slack(), weakened)?;
    moves(ctx, a.ns(), b.ns(), ELECTION).context("the service of a stopped")?;
    web_a.open()?;
    moves(ctx, b.ns(), a.ns(), Duration::from_secs(2) + ELECTION).context("the service of a is back")?;

    let mark = run_dir(&cell_a).join("maintenance");
    fs::write(&mark, "")?;
    // At the next run, and the peer after its skew time.
    moves(ctx, a.ns(), b.ns(), Duration::from_secs(2) + ctx.slack()).context("maintenance of a")?;
    if ctx.daemon == Daemon::Lbd {
        a.expect_status("fault", ctx.slack(), |status| status["vrrp"]["instances"][0]["state"] == "FAULT")?;
    }
    fs::remove_file(&mark)?;
    moves(ctx, b.ns(), a.ns(), Duration::from_secs(1) + ELECTION).context("end of a's maintenance")?;
    stop(&mut b)?;
    stop(&mut a)
}

/// A cell with a /run of its own.
fn cell(ns: &Netns) -> Result<Cell> {
    let cell = Cell::new(ns)?;
    fs::create_dir(run_dir(&cell))?;
    bind(&cell, "/etc/keepalived/run", "/run")?;
    Ok(cell)
}

/// A cell in which `logger` writes its arguments to /run/logged: nobody need listen on /dev/log here.
fn logging_cell(ns: &Netns) -> Result<Cell> {
    let cell = cell(ns)?;
    cell.script("logger", "echo \"$@\" >>/run/logged")?;
    bind(&cell, "/etc/keepalived/logger", "/usr/bin/logger")?;
    Ok(cell)
}

fn bind(cell: &Cell, from: &str, to: &str) -> Result<()> {
    let output = cell.command(Path::new("mount")).args(["--bind", from, to]).output()?;
    if !output.status.success() {
        bail!("mount --bind {from} {to}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The cell's /run, seen from here.
fn run_dir(cell: &Cell) -> PathBuf {
    cell.keepalived_dir().join("run")
}

/// Waits for lines of the cell's `logger`.
fn logged(ctx: &Ctx, cell: &Cell, want: &[&str]) -> Result<()> {
    wait::until_ok(&format!("{want:?} logged"), ctx.slack(), || {
        let text = fs::read_to_string(run_dir(cell).join("logged")).unwrap_or_default();
        let all = want.iter().all(|want| text.lines().any(|line| line == *want));
        if all { Ok(()) } else { Err(format!("have {text:?}")) }
    })
}

//! What a virtual server does as a whole: quorum with hysteresis both ways and the sorry server, servers that are inhibited
//! and not removed, groups of addresses and marks.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::client::{Held, expect_split};
use crate::director::Daemon;
use crate::fifo::Fifo;
use crate::netns::Netns;
use crate::servers::Server;
use crate::servers::udp::{Answer, Datagrams};
use crate::{step, table, wait};

/// Time of two checks: in it, what is to stay must have had its chance to change.
const A_WHILE: Duration = Duration::from_millis(1200);
/// The longest pause between two readings of what the kernel counts, and a reading.
const COUNTED: Duration = Duration::from_secs(6);
const TCP_CHECK: &str = "TCP_CHECK {\n    }";

/// Quorum 3 of 4 with hysteresis 1: gained at 4, kept at 3 and 2, lost at 1, not gained at 2 and 3, gained again at 4.
pub fn quorum(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(5)?;
    let names = ["r1", "r2", "r3", "r4"];
    let mut servers = Vec::new();
    for name in names {
        servers.push(Server::start(lab.host(name), name, "0.0.0.0:80")?);
    }
    let _sorry = Server::start(lab.host("r5"), "sorry", "0.0.0.0:80")?;
    let dests: Vec<String> = (21..=24).map(|last| format!("10.1.0.{last}:80")).collect();
    let sorry = "10.1.0.25:80";
    let dir = tempfile::Builder::new().prefix("lbd-quorum-").tempdir()?;
    let fifo = Fifo::new(&dir.path().join("fifo"))?;
    let reals: String = dests.iter().map(|dest| behind::real_server(dest, TCP_CHECK)).collect();
    let inside = "  alpha\n  quorum 3\n  hysteresis 1\n  sorry_server 10.1.0.25 80\n";
    // The second one keeps its sorry server in the table, at weight 0 while it is not needed.
    let config = format!(
        "global_defs {{\n  lvs_notify_fifo {}\n}}\n{}{}",
        fifo.path().display(),
        behind::virtual_server(&format!("{VIP} 80"), "TCP", &format!("{inside}{reals}")),
        behind::virtual_server("10.0.0.101 80", "TCP", &format!("{inside}  sorry_server_inhibit\n{reals}")),
    );
    let (ns, client, service) = (lab.host("a"), lab.host("c"), format!("{VIP}:80"));
    let key = format!("TCP {service}");
    let inhibited = "TCP 10.0.0.101:80";
    let limit = behind::found_out(ctx, Duration::ZERO);
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let in_table =
        |which: &[usize]| -> Vec<&str> { which.iter().map(|number| dests[*number].as_str()).collect() };
    let told = |number: usize, word: &str, count: usize| {
        let vip = format!("[{VIP}]:tcp:80");
        fifo.expect(&format!("RS [10.1.0.{}]:tcp:80 {vip} {word}", 21 + number), count, limit)
    };
    let quorum = |word: &str, count: usize| fifo.expect(&format!("VS [{VIP}]:tcp:80 {word}"), count, limit);
    let stays = |which: &[usize]| {
        wait::throughout("the same servers", A_WHILE, || {
            table::expect_dests(ns, &key, &in_table(which), Duration::ZERO).map(drop)
        })
    };

    table::expect_dests(ns, &key, &in_table(&[0, 1, 2, 3]), behind::START)?;
    quorum("UP", 1)?;
    behind::expect_weight(ns, inhibited, sorry, Some(0), limit)?;
    expect_split(client, &service, 8, &[("r1", 2), ("r2", 2), ("r3", 2), ("r4", 2)])?;

    servers[0].close();
    table::expect_dests(ns, &key, &in_table(&[1, 2, 3]), limit).context("weight 3")?;
    servers[1].close();
    table::expect_dests(ns, &key, &in_table(&[2, 3]), limit).context("weight 2 is quorum less hysteresis")?;
    stays(&[2, 3])?;
    expect_split(client, &service, 4, &[("r3", 2), ("r4", 2)])?;

    servers[2].close();
    let took = table::expect_dests(ns, &key, &[sorry], limit).context("weight 1")?;
    step!("sorry server in after {took:?}");
    quorum("DOWN", 1)?;
    behind::expect_weight(ns, inhibited, sorry, Some(1), limit)?;
    expect_split(client, &service, 3, &[("sorry", 3)])?;
    if ctx.daemon == Daemon::Lbd {
        director.expect_status("the sorry server is said to be active", limit, |status| {
            let server = &status["virtual_servers"][0];
            server["state"] == "sorry"
                && server["sorry_server"]["active"] == true
                && server["alive_weight"] == 1
        })?;
    }

    for (number, weight) in [(0, 2), (1, 3)] {
        servers[number].open()?;
        told(number, "UP", 2).with_context(|| format!("weight {weight}"))?;
        table::expect_dests(ns, &key, &[sorry], Duration::ZERO)
            .with_context(|| format!("weight {weight} is not quorum and hysteresis"))?;
    }
    wait::throughout("the sorry server", A_WHILE, || {
        table::expect_dests(ns, &key, &[sorry], Duration::ZERO).map(drop)
    })?;
    servers[2].open()?;
    let took = table::expect_dests(ns, &key, &in_table(&[0, 1, 2, 3]), limit).context("weight 4")?;
    step!("sorry server out after {took:?}");
    quorum("UP", 2)?;
    behind::expect_weight(ns, inhibited, sorry, Some(0), limit)?;
    expect_split(client, &service, 8, &[("r1", 2), ("r2", 2), ("r3", 2), ("r4", 2)])?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

/// inhibit_on_failure: weight 0 instead of removal, so that a connection that is open lives on, while new ones go elsewhere.
pub fn inhibit(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(3)?;
    let mut servers = ["r1", "r2", "r3"]
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:80"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let dests: Vec<String> = (21..=23).map(|last| format!("10.1.0.{last}:80")).collect();
    let reals: String = dests.iter().map(|dest| behind::real_server(dest, TCP_CHECK)).collect();
    let config =
        behind::virtual_server(&format!("{VIP} 80"), "TCP", &format!("  inhibit_on_failure\n{reals}"));
    let (ns, client, service) = (lab.host("a"), lab.host("c"), format!("{VIP}:80"));
    let key = format!("TCP {service}");
    let limit = behind::found_out(ctx, Duration::ZERO);
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let all: Vec<&str> = dests.iter().map(String::as_str).collect();
    table::expect_dests(ns, &key, &all, behind::START)?;
    wait::pause(Duration::from_millis(1500));

    let held = Held::open(client, &service)?;
    let number = ["r1", "r2", "r3"].iter().position(|name| *name == held.server).context("who is held?")?;
    servers[number].close();
    behind::expect_weight(ns, &key, &dests[number], Some(0), limit)?;
    let others: Vec<(&str, u32)> =
        ["r1", "r2", "r3"].into_iter().filter(|name| *name != held.server).map(|name| (name, 4)).collect();
    expect_split(client, &service, 8, &others)?;
    wait::pause(A_WHILE);
    if ctx.daemon == Daemon::Lbd {
        // What the kernel counts is read with the audit, which takes its time where that costs much.
        director.expect_status("inhibited, and one connection held", COUNTED, |status| {
            let server = behind::server(status, &key, &dests[number]);
            server.is_ok_and(|server| server["state"] == "inhibited" && server["active_connections"] == 1)
        })?;
        behind::expect_check(&director, &key, &dests[number], ("down", "refused"), limit)?;
    }
    servers[number].open()?;
    behind::expect_weight(ns, &key, &dests[number], Some(1), limit)?;
    expect_split(client, &service, 9, &[("r1", 3), ("r2", 3), ("r3", 3)])?;
    let slowest = held.finish().context("the connection to the inhibited server")?;
    step!("the held connection went on, slowest echo {slowest:?}");
    director.stop()?;
    Ok(())
}

/// virtual_server_group: a range and a mark, used by a TCP and a UDP virtual server.
pub fn group(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(2)?;
    let (r1, r2) = (lab.host("r1"), lab.host("r2"));
    let mut one = Server::start(r1, "r1", "0.0.0.0:80")?;
    let _two = Server::start(r2, "r2", "0.0.0.0:80")?;
    let mut udp_one = Datagrams::start(r1, "0.0.0.0:80", Answer::always("r1"))?;
    let _udp_two = Datagrams::start(r2, "0.0.0.0:80", Answer::always("r2"))?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    mark(ns, "10.0.0.102", 8081, 7)?;
    let dests = ["10.1.0.21:80", "10.1.0.22:80"];
    let reals =
        |check: &str| -> String { dests.iter().map(|dest| behind::real_server(dest, check)).collect() };
    let config = format!(
        "virtual_server_group web {{\n  10.0.0.100-101 80\n  fwmark 7\n}}\n\
         virtual_server_group names {{\n  10.0.0.100-101 80\n}}\n{}{}",
        behind::virtual_server("group web", "TCP", &reals(TCP_CHECK)),
        behind::virtual_server("group names", "UDP", &reals("UDP_CHECK {\n    }")),
    );
    let limit = behind::found_out(ctx, Duration::from_secs(2));
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let tcp = ["TCP 10.0.0.100:80", "TCP 10.0.0.101:80", "FWM 00000007"];
    let udp = ["UDP 10.0.0.100:80", "UDP 10.0.0.101:80"];
    let expect = |services: &[&str], want: &[&str], limit: Duration| -> Result<()> {
        services.iter().try_for_each(|service| table::expect_dests(ns, service, want, limit).map(drop))
    };
    expect(&tcp, &dests, behind::START)?;
    expect(&udp, &dests, limit)?;
    ensure!(table::read(ns)?.len() == 5, "not five services: {:?}", table::read(ns)?.keys());
    for service in ["10.0.0.100:80", "10.0.0.101:80", "10.0.0.102:8081"] {
        expect_split(client, service, 6, &[("r1", 3), ("r2", 3)])
            .with_context(|| format!("all up: {service}"))?;
    }
    for service in ["10.0.0.100:80", "10.0.0.101:80"] {
        ensure!(ask(client, service)?.starts_with('r'), "UDP {service}");
    }
    wait::pause(Duration::from_millis(1500));

    one.close();
    expect(&tcp, &dests[1..], limit).context("r1's TCP port is closed")?;
    expect(&udp, &dests, Duration::ZERO).context("but not its UDP port")?;
    for service in ["10.0.0.100:80", "10.0.0.101:80", "10.0.0.102:8081"] {
        expect_split(client, service, 4, &[("r2", 4)]).with_context(|| format!("r1 down: {service}"))?;
    }
    udp_one.close();
    expect(&udp, &dests[1..], limit).context("r1's UDP port is closed")?;
    ensure!(ask(client, "10.0.0.101:80")? == "r2", "UDP goes to a server that is down");
    one.open()?;
    udp_one.open()?;
    expect(&tcp, &dests, limit)?;
    expect(&udp, &dests, limit)?;
    expect_split(client, "10.0.0.102:8081", 6, &[("r1", 3), ("r2", 3)])?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

/// Marks what comes to `address` and `port`.
pub(super) fn mark(ns: &Netns, address: &str, port: u16, mark: u32) -> Result<()> {
    let mut iptables =
        Command::new(if address.contains(':') { "ip6tables-legacy" } else { "iptables-legacy" });
    iptables.args(["-t", "mangle", "-A", "PREROUTING", "-d", address, "-p", "tcp"]);
    iptables.args(["-m", "multiport", "--dports", &port.to_string()]);
    iptables.args(["-j", "MARK", "--set-mark", &mark.to_string()]);
    let output = ns.run(|| iptables.output())?.context("iptables-legacy (Debian package iptables)")?;
    if !output.status.success() {
        bail!("{iptables:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Asks a UDP service who is there.
fn ask(ns: &Netns, service: &str) -> Result<String> {
    let address: SocketAddr = service.parse()?;
    ns.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send_to(b"who?", address)?;
        let mut buffer = [0; 100];
        let (length, _) =
            socket.recv_from(&mut buffer).with_context(|| format!("no answer from {address}"))?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })?
}

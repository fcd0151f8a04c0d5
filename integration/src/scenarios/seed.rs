//! Configurations of `../shared/seeds`, end to end, as its README says they must be seen to work.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Ctx, Skip};
use crate::adverts::Capture;
use crate::cell::Cell;
use crate::client::{distribution, expect_split};
use crate::netns::Netns;
use crate::packages;
use crate::seeds;
use crate::servers::mail::Mailbox;
use crate::servers::{Mode, Server};
use crate::step;
use crate::table;
use crate::topology::{BACK, Forwarding, HostSpec, Lab, host};
use crate::vip;
use crate::wait;

/// Time in which a director started alone, or a peer of a dead one, is master (advert_int 1).
const ELECTION: Duration = Duration::from_secs(7);

fn seed(name: &str) -> Result<String> {
    match seeds::dir() {
        Some(_) => seeds::read(name),
        None => bail!(Skip("no ../shared/seeds".to_owned())),
    }
}

/// `killall` is what the script of a seed runs. (A guest has what its host has.)
fn killall(ctx: &Ctx) -> Result<()> {
    let psmisc: Vec<_> = packages::ALL.iter().filter(|package| package.name == "psmisc").copied().collect();
    if !ctx.guest
        && let Err(error) = packages::ensure(&psmisc)
    {
        bail!(Skip(format!("{error:#}")));
    }
    Ok(())
}

/// docker-dr: VIP on node 1; a dead real server leaves the table; persistence; stop and return of node 1.
pub fn docker_dr(ctx: &Ctx) -> Result<()> {
    let (one, two) = (seed("docker-dr-node1")?, seed("docker-dr-node2")?);
    let address = Ipv4Addr::new(200, 222, 0, 113);
    let (service, key) = ("200.222.0.113:80", "TCP 200.222.0.113:80");
    let real = ["200.222.0.87:80", "200.222.0.89:80"];
    let lab = Lab::new(&[
        host("c", "200.222.0.2/24"),
        host("n1", "200.222.0.73/24"),
        host("n2", "200.222.0.74/24"),
        host("r87", "200.222.0.87/24"),
        host("r89", "200.222.0.89/24"),
    ])?;
    for name in ["r87", "r89"] {
        lab.accept_vip(name, &address.to_string(), Forwarding::Dr)?;
    }
    let mut r87 = Server::start(lab.host("r87"), "r87", "0.0.0.0:80")?;
    let mut r89 = Server::start(lab.host("r89"), "r89", "0.0.0.0:80")?;
    let client = lab.host("c");
    let mailboxes = relays([lab.host("n1"), lab.host("n2")])?;
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?;
    let mut n2 = ctx.director("n2", lab.host("n2"), &two)?;
    n1.start_and_wait()?;
    n2.start_and_wait()?;
    vip::expect(n1.ns(), address, true, ELECTION)?;
    for ns in [n1.ns(), n2.ns()] {
        table::expect_dests(ns, key, &real, Duration::from_secs(12))?;
    }
    ensure!(!vip::held(n2.ns(), address)?, "the address is on node 2 too");
    let table = table::read(n1.ns())?;
    let have = &table[key];
    ensure!(have.scheduler == "wlc" && have.flags.contains("persistent 600"), "the service is {have:?}");
    ensure!(
        have.dests
            .values()
            .all(|dest| dest.weight == 100 && matches!(dest.forwarding.as_str(), "Route" | "Local")),
        "the destinations are {have:?}"
    );

    let answers = distribution(client, service, 10)?;
    step!("persistence: {answers:?}");
    let [(first, 10)] = answers.iter().map(|(who, n)| (who.as_str(), *n)).collect::<Vec<_>>()[..] else {
        bail!("ten requests of one client went to {answers:?}, persistence wants one server");
    };
    // The server that the client sticks to dies.
    let (dying, dead, other, left) = match first {
        "r87" => (&mut r87, "200.222.0.87", "r89", &real[1..]),
        "r89" => (&mut r89, "200.222.0.89", "r87", &real[..1]),
        who => bail!("answered by {who}"),
    };
    dying.close();
    // delay_loop 6, then the default retries of TCP_CHECK.
    let took = table::expect_dests(n1.ns(), key, left, Duration::from_secs(6 + 4) + ctx.slack())?;
    step!("dead real server out after {took:?}");
    expect_split(client, service, 5, &[(other, 5)])?;
    let changed = format!("Realserver [{dead}]:tcp:80 of virtual server [{address}]:tcp:80");
    let told = |word: &str| -> Result<()> {
        for mailbox in &mailboxes {
            let limit = Duration::from_secs(6 + 4) + ctx.slack();
            let mail = mailbox.ending(&format!("{changed} - {word}"), limit)?;
            ensure!(mail.to == ["sysadmin@mydomain.com", "support@mydomain.com"], "to whom: {mail:?}");
            ensure!(mail.from == "lb1@mydomain.com", "from whom: {mail:?}");
        }
        Ok(())
    };
    // The other node checks at times of its own: the server is dead until it has found out too.
    told("DOWN")?;
    dying.open()?;
    table::expect_dests(n1.ns(), key, &real, Duration::from_secs(6) + ctx.slack())?;
    told("UP")?;

    n1.stop()?;
    vip::expect(n2.ns(), address, true, Duration::from_secs(1) + ctx.slack())?;
    ensure!(!vip::held(n1.ns(), address)?, "node 1 kept the address after its stop");
    table::expect_dests(n2.ns(), key, &real, Duration::from_secs(7) + ctx.slack())?;
    one_server(&distribution(client, service, 5)?).context("traffic by node 2")?;

    n1.start_and_wait()?;
    vip::expect(n1.ns(), address, true, ELECTION)?;
    vip::expect(n2.ns(), address, false, Duration::from_secs(1) + ctx.slack())?;
    one_server(&distribution(client, service, 5)?).context("traffic by node 1 after its return")
}

/// What takes a node's mails: a mail server on the node itself, as the seeds have it.
fn relays<const N: usize>(nodes: [&Netns; N]) -> Result<Vec<Mailbox<'_>>> {
    nodes.into_iter().map(|node| Mailbox::start(node, "127.0.0.1:25")).collect()
}

fn one_server(answers: &std::collections::BTreeMap<String, u32>) -> Result<()> {
    match answers.keys().map(String::as_str).collect::<Vec<_>>()[..] {
        ["r87" | "r89"] => Ok(()),
        _ => bail!("answered by {answers:?}, want one real server"),
    }
}

/// lvs-http-get: requests alternate; 500 leaves; both gone: the sorry server on the director; return: back.
pub fn lvs_http_get(ctx: &Ctx) -> Result<()> {
    let (zero, one) = (seed("lvs-http-get-node0")?, seed("lvs-http-get-node1")?);
    let address = Ipv4Addr::new(10, 1, 38, 15);
    let (service, key) = ("10.1.38.15:80", "TCP 10.1.38.15:80");
    let real = ["10.1.38.13:80", "10.1.38.14:80"];
    let lab = Lab::new(&[
        host("c", "10.1.38.2/16"),
        host("n0", "10.1.38.11/16"),
        host("n1", "10.1.38.12/16"),
        host("r13", "10.1.38.13/16"),
        host("r14", "10.1.38.14/16"),
    ])?;
    for name in ["r13", "r14"] {
        lab.accept_vip(name, &address.to_string(), Forwarding::Dr)?;
    }
    let listen = |name: &str| Server::start(lab.host(name), name, "0.0.0.0:80");
    let (r13, mut r14) = (listen("r13")?, listen("r14")?);
    let _sorry = (listen("n0")?, listen("n1")?);
    let client = lab.host("c");
    let mailboxes = relays([lab.host("n0"), lab.host("n1")])?;
    let mut n0 = ctx.director("n0", lab.host("n0"), &zero)?;
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?;
    n0.start_and_wait()?;
    n1.start_and_wait()?;
    vip::expect(n0.ns(), address, true, ELECTION)?;
    table::expect_dests(n0.ns(), key, &real, Duration::from_secs(8))?;
    expect_split(client, service, 10, &[("r13", 5), ("r14", 5)])?;
    // A good check first: the first one may be made without retries.
    wait::pause(Duration::from_secs(4));

    // delay_loop 3, three retries a second apart.
    let out = Duration::from_secs(3 + 3) + Duration::from_secs(1) + ctx.slack();
    r13.set(Mode::Status(500));
    let took = table::expect_dests(n0.ns(), key, &real[1..], out)?;
    step!("answers 500: out after {took:?}");
    expect_split(client, service, 4, &[("r14", 4)])?;

    r14.close();
    let took = table::expect_dests(n0.ns(), key, &["127.0.0.1:80"], out)?;
    step!("both gone: sorry server in after {took:?}");
    expect_split(client, service, 4, &[("n0", 4)])?;

    let told = |word: &str| -> Result<()> {
        for (node, mailbox) in mailboxes.iter().enumerate() {
            for server in ["10.1.38.13", "10.1.38.14"] {
                let subject = format!(
                    "[node-0{node}] Realserver [{server}]:tcp:80 of virtual server [{address}]:tcp:80 - {word}"
                );
                let mail = mailbox.expect(&subject, out)?;
                ensure!(mail.to == ["root@localhost"] && mail.from == "keepalived@localhost", "{mail:?}");
            }
        }
        Ok(())
    };
    // The other node checks at times of its own: both are gone until it has found out too.
    told("DOWN")?;
    r13.set(Mode::Serve);
    r14.open()?;
    let took = table::expect_dests(n0.ns(), key, &real, Duration::from_secs(3 + 3) + ctx.slack())?;
    step!("both back after {took:?}");
    expect_split(client, service, 10, &[("r13", 5), ("r14", 5)])?;
    told("UP")
}

/// A lab of two directors at 10.1.38.11 and .12 (`n0`, `n1`), as three seeds want it.
fn two_nodes() -> [HostSpec; 2] {
    [host("n0", "10.1.38.11/16"), host("n1", "10.1.38.12/16")]
}

/// nginx-ha-script: nginx stopped: priority 95, the VIP moves to the peer at 98; nginx back: it returns.
pub fn nginx_ha_script(ctx: &Ctx) -> Result<()> {
    killall(ctx)?;
    let (zero, one) = (seed("nginx-ha-script-node0")?, seed("nginx-ha-script-node1")?);
    let address = Ipv4Addr::new(10, 1, 38, 15);
    let source = Ipv4Addr::new(10, 1, 38, 11);
    let lab = Lab::new(&two_nodes())?;
    let (cell0, cell1) = (Cell::new(lab.host("n0"))?, Cell::new(lab.host("n1"))?);
    let nginx0 = cell0.idle("nginx")?;
    let _nginx1 = cell1.idle("nginx")?;
    let mut n0 = ctx.director("n0", lab.host("n0"), &zero)?.in_cell(&cell0);
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?.in_cell(&cell1);
    let adverts = Capture::start(n1.ns())?;
    n0.start_and_wait()?;
    n1.start_and_wait()?;
    vip::expect(n0.ns(), address, true, ELECTION)?;
    let at_100 = || adverts.last_from(source).filter(|advert| advert.priority == 100);
    wait::until("adverts of priority 100", ELECTION, at_100)?;
    ensure!(!vip::held(n1.ns(), address)?, "the address is on both nodes");

    drop(nginx0);
    let at_95 = || adverts.seen().into_iter().find(|advert| advert.source == source && advert.priority == 95);
    wait::until("an advert of priority 95 after nginx stopped", Duration::from_secs(3) + ctx.slack(), at_95)?;
    let start = Instant::now();
    vip::expect(n1.ns(), address, true, ELECTION)?;
    vip::expect(n0.ns(), address, false, Duration::from_secs(1) + ctx.slack())?;
    step!("address on the peer {:?} after priority 95", start.elapsed());

    let _nginx0 = cell0.idle("nginx")?;
    vip::expect(n0.ns(), address, true, ELECTION)?;
    vip::expect(n1.ns(), address, false, Duration::from_secs(1) + ctx.slack())
}

/// vpc-unicast-notify: together, the higher address wins; one after the other, the first keeps it; the script's arguments.
pub fn vpc_unicast_notify(ctx: &Ctx) -> Result<()> {
    let (one, two) = (seed("vpc-unicast-notify-node1")?, seed("vpc-unicast-notify-node2")?);
    let address = Ipv4Addr::new(172, 18, 0, 253);
    let lab = Lab::new(&[host("n1", "172.18.0.10/24"), host("n2", "172.18.0.20/24")])?;
    let (cell1, cell2) = (Cell::new(lab.host("n1"))?, Cell::new(lab.host("n2"))?);
    for cell in [&cell1, &cell2] {
        cell.script("notify_action.sh", "echo \"$@\" >>/etc/keepalived/notified")?;
    }
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?.in_cell(&cell1);
    let mut n2 = ctx.director("n2", lab.host("n2"), &two)?.in_cell(&cell2);
    let expect_line = |cell: &Cell, line: &str| {
        wait::until_ok(&format!("notify got {line:?}"), Duration::from_secs(3), || {
            let got = notified(cell);
            if got.lines().any(|have| have == line) { Ok(()) } else { Err(format!("{got:?}")) }
        })
    };

    // Together means: neither hears the other before both are masters. Started without this, whichever is a
    // millisecond earlier is "the first", and keeps it.
    for node in ["n1", "n2"] {
        lab.isolate(node, "eth0", true)?;
    }
    n1.start()?;
    n2.start()?;
    for ns in [n1.ns(), n2.ns()] {
        vip::expect(ns, address, true, ELECTION).context("each alone")?;
    }
    for node in ["n1", "n2"] {
        lab.isolate(node, "eth0", false)?;
    }
    vip::expect(n1.ns(), address, false, ELECTION)
        .context("started together: the lower address gives way")?;
    wait::throughout("the higher address keeps it", Duration::from_secs(2), || {
        ensure!(vip::held(n2.ns(), address)? && !vip::held(n1.ns(), address)?, "the address moved");
        Ok(())
    })?;
    expect_line(&cell2, "INSTANCE VI_1 MASTER 50")?;
    let want = ["BACKUP", "MASTER", "BACKUP"].map(|state| format!("INSTANCE VI_1 {state} 50"));
    expect_notified(&cell1, &want.each_ref().map(String::as_str))?;
    step!("notified: node 1 {:?}, node 2 {:?}", notified(&cell1), notified(&cell2));

    n2.stop()?;
    vip::expect(n1.ns(), address, true, ELECTION).context("node 2 stopped")?;
    n2.start_and_wait()?;
    wait::throughout("the first keeps the address", Duration::from_secs(6), || {
        ensure!(vip::held(n1.ns(), address)? && !vip::held(n2.ns(), address)?, "the address moved");
        Ok(())
    })
}

/// dual-master: each VIP on its node; one node stops: both on the other; it returns: each on its own again.
pub fn dual_master(ctx: &Ctx) -> Result<()> {
    let (zero, one) = (seed("dual-master-node0")?, seed("dual-master-node1")?);
    let (first, second) = (Ipv4Addr::new(10, 1, 38, 19), Ipv4Addr::new(10, 1, 38, 20));
    let lab = Lab::new(&two_nodes())?;
    let mailboxes = relays([lab.host("n0"), lab.host("n1")])?;
    let [mail0, mail1] = mailboxes.as_slice() else { bail!("two nodes") };
    let mut n0 = ctx.director("n0", lab.host("n0"), &zero)?;
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?;
    let own = |what: &str| -> Result<()> {
        for (ns, mine, others) in [(lab.host("n0"), first, second), (lab.host("n1"), second, first)] {
            vip::expect(ns, mine, true, ELECTION).with_context(|| what.to_owned())?;
            vip::expect(ns, others, false, ELECTION).with_context(|| what.to_owned())?;
        }
        Ok(())
    };
    n0.start_and_wait()?;
    n1.start_and_wait()?;
    own("each on its own")?;
    n1.stop()?;
    vip::expect(n0.ns(), second, true, ELECTION).context("node 1 stopped")?;
    ensure!(vip::held(n0.ns(), first)?, "node 0 lost its own address");
    let entering = |node: u8, instance: u8, state: &str| {
        format!("[node-0{node}] VRRP Instance VI_{instance} - Entering {state} state")
    };
    for (mailbox, subject) in [
        (mail0, entering(0, 1, "MASTER")),
        (mail1, entering(1, 2, "MASTER")),
        (mail0, entering(0, 2, "MASTER")),
    ] {
        mailbox.expect(&subject, ELECTION)?;
    }
    n1.start_and_wait()?;
    own("node 1 returned")?;
    let back = mail0.expect(&entering(0, 2, "BACKUP"), ELECTION)?;
    ensure!(back.to == ["root@localhost"] && back.from == "keepalived@localhost", "{back:?}");
    n0.stop()?;
    vip::expect(n1.ns(), first, true, ELECTION).context("node 0 stopped")?;
    ensure!(vip::held(n1.ns(), second)?, "node 1 lost its own address");
    Ok(())
}

/// gateway-pair: broadcast, scope and label of the VIP; no pre-emption while preempt_delay runs; three notify scripts.
///
/// The delay of the seed is 300 s: waited for to its end where `LBD_WHOLE_DELAYS` is set.
pub fn gateway_pair(ctx: &Ctx) -> Result<()> {
    const DELAY: Duration = Duration::from_secs(300);
    let (master, backup) = (seed("gateway-pair-master")?, seed("gateway-pair-backup")?);
    let address = Ipv4Addr::new(192, 0, 2, 254);
    let lab = Lab::new(&[host("m", "192.0.2.1/24"), host("b", "192.0.2.2/24")])?;
    let cells = [Cell::new(lab.host("m"))?, Cell::new(lab.host("b"))?];
    let [cell_m, cell_b] = &cells;
    for cell in &cells {
        cell.local_program("gw-state", "echo \"$@\" >>/etc/keepalived/notified")?;
    }
    let mut b = ctx.director("b", lab.host("b"), &backup)?.in_cell(cell_b);
    let mut m = ctx.director("m", lab.host("m"), &master)?.in_cell(cell_m);
    b.start_and_wait()?;
    vip::expect(b.ns(), address, true, ELECTION)?;
    expect_notified(cell_b, &["backup", "master"])?;
    let shown = b.ns().ip_show(&["-o", "address", "show", "dev", "eth0"])?;
    let line = shown.lines().find(|line| line.contains("192.0.2.254")).context("no address")?;
    step!("{line}");
    for want in ["inet 192.0.2.254/24", "brd 192.0.2.255", "scope global", "eth0:1"] {
        ensure!(line.contains(want), "no {want:?} in {line:?}");
    }
    m.start_and_wait()?;
    let whole = std::env::var_os("LBD_WHOLE_DELAYS").is_some();
    // The delay starts when the master of lower priority is heard.
    let watched = if whole { DELAY - Duration::from_secs(1) } else { Duration::from_secs(6) };
    wait::throughout("no pre-emption before preempt_delay", watched, || {
        ensure!(vip::held(b.ns(), address)? && !vip::held(m.ns(), address)?, "the address moved");
        Ok(())
    })?;
    if whole {
        vip::expect(m.ns(), address, true, ELECTION).context("the delay is over")?;
        vip::expect(b.ns(), address, false, Duration::from_secs(1) + ctx.slack())?;
        expect_notified(cell_b, &["backup", "master", "backup"])?;
    }
    b.stop()?;
    vip::expect(m.ns(), address, true, ELECTION).context("the backup stopped")?;
    expect_notified(cell_m, &["backup", "master"])?;

    lab.cable("m", "eth0", false)?;
    vip::expect(m.ns(), address, false, ELECTION).context("the cable of the master pulled")?;
    expect_notified(cell_m, &["backup", "master", "fault"])?;
    lab.cable("m", "eth0", true)?;
    vip::expect(m.ns(), address, true, ELECTION).context("plugged again")?;
    expect_notified(cell_m, &["backup", "master", "fault", "backup", "master"])
}

/// havip-nopreempt-unicast: VIP on a second interface and a default route, there and gone together; the script puts the node in
/// fault; the returned node does not preempt.
pub fn havip_nopreempt(ctx: &Ctx) -> Result<()> {
    let (one, two) = (seed("havip-nopreempt-unicast-node1")?, seed("havip-nopreempt-unicast-node2")?);
    let address = Ipv4Addr::new(192, 168, 177, 204);
    let node = |name: &str, last: u8| {
        host(name, &format!("10.0.240.{last}/24")).nic(BACK, "eth1", &format!("192.168.177.{last}/24"))
    };
    let lab = Lab::new(&[node("n1", 14), node("n2", 15)])?;
    let cells = [Cell::new(lab.host("n1"))?, Cell::new(lab.host("n2"))?];
    let [cell1, cell2] = &cells;
    for cell in &cells {
        cell.script("do_sth.sh", "test ! -e /etc/keepalived/broken")?;
    }
    let mut n1 = ctx.director("n1", lab.host("n1"), &one)?.in_cell(cell1);
    let mut n2 = ctx.director("n2", lab.host("n2"), &two)?.in_cell(cell2);
    // Three adverts of 5 s and the skew of priority 100, and the script's first run before.
    let dead = Duration::from_secs(3 * 5 + 4 + 5) + ctx.slack();
    let skew = Duration::from_secs(5) + ctx.slack();
    let routed = |ns: &Netns| -> Result<bool> {
        let shown = ns.ip_show(&["-4", "route", "show", "default"])?;
        Ok(shown.lines().any(|line| line.trim_start().starts_with("default via 192.168.177.1 dev eth1")))
    };
    let both = |ns: &Netns, there: bool, limit: Duration| -> Result<()> {
        vip::expect(ns, address, there, limit)?;
        wait::until_ok("the route goes with the address", Duration::from_millis(500) + ctx.slack(), || {
            match routed(ns) {
                Ok(now) if now == there => Ok(()),
                seen => Err(format!("address {there}, route {seen:?}")),
            }
        })?;
        let on_eth1 = ns.ip_show(&["-o", "address", "show", "dev", "eth1"])?.contains("192.168.177.204/24");
        ensure!(on_eth1 == there, "on eth1: {on_eth1}, want {there}");
        Ok(())
    };

    n1.start_and_wait()?;
    both(n1.ns(), true, dead).context("alone")?;
    n2.start_and_wait()?;
    fs::write(cell1.keepalived_dir().join("broken"), "")?;
    both(n1.ns(), false, Duration::from_secs(6) + ctx.slack()).context("the script fails")?;
    both(n2.ns(), true, skew).context("the script of the other fails")?;
    fs::remove_file(cell1.keepalived_dir().join("broken"))?;
    wait::throughout("the returned node does not preempt", Duration::from_secs(12), || {
        ensure!(vip::held(n2.ns(), address)? && !vip::held(n1.ns(), address)?, "the address moved");
        Ok(())
    })?;
    n2.stop()?;
    both(n2.ns(), false, Duration::ZERO).context("stopped")?;
    both(n1.ns(), true, skew).context("the other stopped")?;
    for (node, log) in [("n1", n1.log()), ("n2", n2.log())] {
        ensure!(
            !log.contains("garp_interval") && !log.contains("gna_interval"),
            "{node}: a 0 is no mistake: {log}"
        );
    }
    Ok(())
}

/// Waits until the node's scripts have written these lines, and no other.
fn expect_notified(cell: &Cell, want: &[&str]) -> Result<()> {
    wait::until_ok(&format!("notified of {want:?}"), Duration::from_secs(9), || {
        let got = notified(cell);
        if got.lines().eq(want.iter().copied()) { Ok(()) } else { Err(format!("{got:?}")) }
    })
}

fn notified(cell: &Cell) -> String {
    fs::read_to_string(cell.keepalived_dir().join("notified")).unwrap_or_default()
}

/// floating-ip-notify: no address at all, `notify_master` runs once a take-over, as `keepalived_script` where the host has this user;
/// the tracked process gone is a fault.
pub fn floating_ip_notify(ctx: &Ctx) -> Result<()> {
    let (primary, secondary) = (seed("floating-ip-notify-primary")?, seed("floating-ip-notify-secondary")?);
    // The seed's interface is eth1, its addresses are there.
    let node = |name: &str, address: &str| {
        let mut spec = host(name, "");
        spec.nics[0].dev = "eth1".to_owned();
        spec.nics[0].address = address.to_owned();
        spec
    };
    let lab = Lab::new(&[node("p", "10.132.7.107/24"), node("s", "10.132.7.108/24")])?;
    let (cell_p, cell_s) = (Cell::new(lab.host("p"))?, Cell::new(lab.host("s"))?);
    for cell in [&cell_p, &cell_s] {
        cell.script("master.sh", "id -u >>/etc/keepalived/notified")?;
    }
    cell_p.user("keepalived_script", 901)?;
    cell_p.open_file("notified")?;
    let nginx_p = cell_p.idle("nginx")?;
    let _nginx_s = cell_s.idle("nginx")?;
    let mut p = ctx.director("p", lab.host("p"), &primary)?.in_cell(&cell_p);
    let mut s = ctx.director("s", lab.host("s"), &secondary)?.in_cell(&cell_s);
    p.start_and_wait()?;
    expect_notified(&cell_p, &["901"]).context("primary's start")?;
    s.start_and_wait()?;
    drop(nginx_p);
    expect_notified(&cell_s, &["0"]).context("nginx of the primary stopped")?;
    let _nginx_p = cell_p.idle("nginx")?;
    expect_notified(&cell_p, &["901", "901"]).context("nginx of the primary returned")?;
    wait::pause(Duration::from_secs(2));
    expect_notified(&cell_p, &["901", "901"]).context("once a take-over")?;
    expect_notified(&cell_s, &["0"]).context("once a take-over")
}

//! lvs_sync_daemon: connections are known to the peer, roles follow VRRP, and what others run is left alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use super::steering::{self, load};
use crate::client::Held;
use crate::director::Director;
use crate::netns::Netns;
use crate::{ipvsadm, step, table, vip, wait};

const READY: Duration = Duration::from_secs(10);
/// lbd looks every 2 s at what runs; the kernel takes a second to stop one.
const FOLLOWED: Duration = Duration::from_secs(3);
/// Advert interval 1 s, priority of the peer 100: three of them and the skew time.
const MASTER_DOWN: Duration = Duration::from_millis(3610);
const OPTIONS: &str = "mcast=eth0, syncid=7, maxlen=1400, group=224.0.0.85, port=8849, ttl=2";

/// A director's file: `sync` is the line of lvs_sync_daemon, `more` stands at the end.
fn config(priority: u32, sync: &str, more: &str) -> String {
    format!("global_defs {{\n  {sync}\n}}\n{}{more}", pair::config(priority, 3))
}

fn expect_daemons(ns: &Netns, want: &[&str], limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_ok(&format!("daemons {want:?}"), limit, || {
        let have = ipvsadm::daemons(ns)?;
        let all = have.len() == want.len() && want.iter().zip(&have).all(|(want, have)| have.contains(want));
        all.then_some(()).with_context(|| format!("{have:?}"))
    })?;
    Ok(start.elapsed())
}

pub fn sync(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let client = lab.host("c");
    let followed = FOLLOWED + ctx.slack();
    let line = "lvs_sync_daemon eth0 inst VI_1 id 7 maxlen 1400 port 8849 ttl 2 group 224.0.0.85";
    let mut a = ctx.director("a", lab.host("a"), &config(150, line, ""))?;
    let mut b = ctx.director("b", lab.host("b"), &config(100, line, ""))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, READY)?;
    b.start_and_wait()?;
    let (master, backup) =
        (format!("master sync daemon ({OPTIONS})"), format!("backup sync daemon ({OPTIONS})"));
    expect_daemons(a.ns(), &[&master], READY)?;
    expect_daemons(b.ns(), &[&backup], READY)?;
    for (director, role) in [(&a, "master"), (&b, "backup")] {
        director.expect_status("the daemon in the status", followed, |status| {
            status["ipvs"]["sync_daemons"][0]
                == serde_json::json!({"role": role, "interface": "eth0", "id": 7})
        })?;
    }
    for ns in [a.ns(), b.ns()] {
        table::expect_dests(ns, KEY, &REAL, READY)?;
    }

    // Lost packets are sent again soon after the address has moved, and not after 0.2, 0.6, 1.4, 3, 6.2 s.
    client.sysctl(&[("ipv4/tcp_thin_linear_timeouts", "1")])?;
    let held = Held::patient(client, SERVICE, MASTER_DOWN * 2 + Duration::from_secs(5))?;
    let server = table_server(&held.server);
    let took = known(b.ns(), server, READY)?;
    step!("a connection to {server} is known to the backup after {took:?}");
    let crashed = Instant::now();
    a.kill();
    lab.cable("a", "eth0", false)?;
    vip::expect(b.ns(), VIP, true, MASTER_DOWN + ctx.slack())?;
    step!("b has the address {:?} after the crash", crashed.elapsed());
    let took = expect_daemons(b.ns(), &[&master], followed)?;
    step!("b's daemon is master {took:?} after that");
    let slowest = held.finish().context("the connection did not go on through b")?;
    step!("the connection went on through b; slowest echo {slowest:?}");
    ensure!(
        slowest >= Duration::from_secs(1),
        "the connection did not notice the crash: it did not go through a"
    );

    reloads(ctx, &mut b)?;
    b.stop()?;
    ensure!(ipvsadm::daemons(b.ns())?.is_empty(), "a daemon is left: {:?}", ipvsadm::daemons(b.ns())?);

    // What a process that was killed has left is its successor's to stop.
    b.configure(&config(100, "lvs_sync_daemon eth0 id 9", ""))?;
    b.start_and_wait()?;
    let two = ["master sync daemon (mcast=eth0, syncid=9,", "backup sync daemon (mcast=eth0, syncid=9,"];
    expect_daemons(b.ns(), &two, followed)?;
    b.kill();
    b.start_and_wait()?;
    expect_daemons(b.ns(), &two, Duration::ZERO).context("after kill -9 and start")?;
    b.kill();
    b.configure(&config(100, "", ""))?;
    b.start_and_wait()?;
    expect_daemons(b.ns(), &[], followed).context("after kill -9 and start without the keyword")?;
    b.stop()?;

    // With none configured the other program's is not ours at any time.
    let others = "--start-daemon backup --mcast-interface eth0 --syncid 99";
    ipvsadm::line(b.ns(), others)?;
    b.configure(&config(100, "", ""))?;
    b.start_and_wait()?;
    load(&b, &config(101, "", ""))?;
    expect_daemons(b.ns(), &["syncid=99"], Duration::ZERO).context("after start and reload")?;
    b.stop()?;
    expect_daemons(b.ns(), &["syncid=99"], Duration::ZERO).context("after the stop").map(drop)
}

fn reloads(ctx: &Ctx, b: &mut Director<'_>) -> Result<()> {
    let followed = FOLLOWED + ctx.slack();
    load(b, &config(100, "lvs_sync_daemon eth0 inst VI_1 id 8", ""))?;
    let took = expect_daemons(b.ns(), &["master sync daemon (mcast=eth0, syncid=8,"], followed)?;
    step!("another id: runs with it after {took:?}");

    load(b, &config(100, "", ""))?;
    let took = expect_daemons(b.ns(), &[], followed)?;
    step!("the keyword is gone: stopped after {took:?}");
    ipvsadm::line(b.ns(), "--start-daemon master --mcast-interface eth0 --syncid 99")?;
    wait::throughout("the other program's daemon", FOLLOWED, || {
        expect_daemons(b.ns(), &["syncid=99"], Duration::ZERO).map(drop)
    })?;
    ipvsadm::line(b.ns(), "--stop-daemon master")?;

    let both = "lvs_sync_daemon eth0 id 9";
    let two = ["master sync daemon (mcast=eth0, syncid=9,", "backup sync daemon (mcast=eth0, syncid=9,"];
    load(b, &config(100, both, ""))?;
    let took = expect_daemons(b.ns(), &two, followed)?;
    step!("without inst: both roles after {took:?}");

    // The kernel refuses a server of another family while a daemon runs, and a daemon while there is such a server.
    let mixed = format!(
        "virtual_server {VIP} 81 {{\n  lb_algo rr\n  lb_kind TUN\n  protocol TCP\n  \
         real_server fd00::21 81 {{\n    weight 1\n  }}\n}}\n"
    );
    let dest = |ns: &Netns| -> Result<bool> {
        Ok(table::read(ns)?.get("TCP 10.0.0.100:81").is_some_and(|service| !service.dests.is_empty()))
    };
    load(b, &config(100, both, &mixed))?;
    let status = b.expect_status("the server is refused", followed, |status| {
        names_both(&status["ipvs"]["refused"][0])
    })?;
    step!("daemon first: {}", status["ipvs"]["refused"]);
    ensure!(status["ipvs"]["sync_error"].is_null() && !dest(b.ns())?, "{:#}", status["ipvs"]);
    expect_daemons(b.ns(), &two, Duration::ZERO)?;
    table::expect_dests(b.ns(), KEY, &REAL, Duration::ZERO)?;

    load(b, &config(100, "", &mixed))?;
    wait::until_ok("the server that was refused", Duration::from_secs(10), || {
        ensure!(dest(b.ns())?, "not there: {:#}", b.status()?["ipvs"]);
        Ok(())
    })?;
    b.expect_status("nothing is refused any more", followed, |status| {
        status["ipvs"]["refused"].is_null() && status["ipvs"]["last_error"].is_null()
    })?;
    load(b, &config(100, both, &mixed))?;
    let status = b.expect_status("the daemon is refused", followed, |status| {
        names_both(&status["ipvs"]["sync_error"])
    })?;
    step!("server first: {}", status["ipvs"]["sync_error"]);
    ensure!(status["ipvs"]["refused"].is_null() && dest(b.ns())?, "{:#}", status["ipvs"]);
    expect_daemons(b.ns(), &[], Duration::ZERO).map(drop)
}

/// A refusal names the daemon and the server's family.
fn names_both(said: &Value) -> bool {
    said.as_str().is_some_and(|said| said.contains("sync daemon") && said.contains("another family"))
}

fn table_server(name: &str) -> &'static str {
    match name {
        "r1" => REAL[0],
        "r2" => REAL[1],
        _ => REAL[2],
    }
}

/// Waits until the namespace's IPVS knows an established connection of the client to that server.
fn known(ns: &Netns, server: &str, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_ok("the connection at the backup", limit, || {
        let listed = ipvsadm::line(ns, "-L -n -c")?;
        let found = listed
            .lines()
            .any(|line| ["ESTABLISHED", "10.0.0.2:", SERVICE, server].iter().all(|word| line.contains(word)));
        ensure!(found, "{listed}");
        Ok(())
    })?;
    Ok(start.elapsed())
}

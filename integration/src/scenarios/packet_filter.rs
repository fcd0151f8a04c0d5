//! The packet filter of routers that do not accept traffic, by the keywords that shape it, and what somebody else removes: all of it
//! is there again and said.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::Ctx;
use crate::netns::Netns;
use crate::topology::{Lab, host};
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(10);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const STATIC: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const PORT: u16 = 7;

fn config(filter: &str) -> String {
    format!(
        "global_defs {{\n  {filter}\n}}\nstatic_ipaddress {{\n  {STATIC}/32 dev eth0\n}}\n\
         vrrp_instance VI_1 {{\n  version 3\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  advert_int 0.05\n  \
         no_accept\n  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    )
}

pub fn packet_filter(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("c", "10.0.0.31/24")])?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    let shaped = "nftables bed\n  nftables_priority -7\n  nftables_counters";
    let mut director = ctx.director("a", ns, &config(shaped))?;
    director.start_and_wait()?;
    vip::expect(ns, VIP, true, LIMIT)?;
    let filter = wait::until_ok("the table", LIMIT, || Filter::read(ns, "bed"))?;
    step!("{filter:?}");
    ensure!(filter.hooks == [("input".to_owned(), -7), ("output".to_owned(), -7)], "{filter:?}");
    ensure!(filter.counted == Some(0) && filter.counters == filter.rules, "{filter:?}");

    // The second is there when the first must have been.
    let listening = ns.run(|| UdpSocket::bind(("0.0.0.0", PORT)))??;
    listening.set_read_timeout(Some(LIMIT))?;
    let asking = client.run(|| UdpSocket::bind("0.0.0.0:0"))??;
    for (to, text) in [(VIP, "closed"), (OWN, "open")] {
        asking.send_to(text.as_bytes(), (to, PORT))?;
        wait::until_ok("a neighbour", LIMIT, || {
            let known = client.ip_show(&["neigh", "show", "to", &to.to_string()])?;
            ensure!(known.contains("lladdr"), "{to}: {known}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    let mut octets = [0; 16];
    let length = listening.recv(&mut octets).context("nothing came to the host's own address")?;
    ensure!(octets.get(..length) == Some(b"open"), "what no_accept keeps out was taken: {octets:?}");
    wait::until_ok("the counter", LIMIT, || {
        let filter = Filter::read(ns, "bed")?;
        ensure!(filter.counted == Some(1), "{filter:?}");
        Ok::<_, anyhow::Error>(())
    })?;

    step!("somebody removes the table and the addresses");
    nft(ns, &["delete", "table", "ip", "bed"])?;
    ns.ip(&format!("address del {VIP}/32 dev eth0\naddress del {STATIC}/32 dev eth0\n"))?;
    wait::until_ok("the table again", LIMIT, || Filter::read(ns, "bed"))?;
    vip::expect(ns, VIP, true, LIMIT)?;
    vip::expect(ns, STATIC, true, LIMIT)?;
    for line in [
        "somebody removed the packet filter of virtual routers: it is set again",
        "(VI_1) 10.0.0.100/32 on eth0 was removed by someone else and put back",
        "Static 10.9.9.9/32 on eth0 was removed by someone else and put back",
    ] {
        wait::until_ok("a word of it", LIMIT, || {
            let log = director.log();
            let said = log.lines().filter(|said| said.contains("WARN") && said.contains(line)).count();
            ensure!(said == 1, "{line:?} {said} times");
            Ok::<_, anyhow::Error>(())
        })?;
    }

    step!("reloads");
    director.configure(&config("nftables other"))?;
    director.lbctl(&["reload"])?;
    wait::until_ok("another table, whose rules do not count", LIMIT, || {
        let filter = Filter::read(ns, "other")?;
        ensure!(filter.counters == 0 && filter.rules > 0, "{filter:?}");
        ensure!(filter.hooks == [("input".to_owned(), -1), ("output".to_owned(), -1)], "{filter:?}");
        let all = nft(ns, &["list", "tables"])?;
        ensure!(!all.contains("bed"), "{all}");
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(director.stop()?.success(), "the stop failed");
    let left = nft(ns, &["list", "tables"])?;
    ensure!(left.trim().is_empty(), "left: {left}");
    Ok(())
}

/// What a table of the family ip does.
#[derive(Debug)]
struct Filter {
    /// Where its chains are hooked in, with their priorities.
    hooks: Vec<(String, i64)>,
    rules: usize,
    counters: usize,
    /// Packets that a chain of input dropped, where that is counted.
    counted: Option<u64>,
}

impl Filter {
    fn read(ns: &Netns, table: &str) -> Result<Self> {
        let all: Value = serde_json::from_str(&nft(ns, &["-j", "list", "table", "ip", table])?)?;
        let all = all["nftables"].as_array().context("no list")?;
        let chains: Vec<&Value> = all.iter().filter_map(|one| one.get("chain")).collect();
        let rules: Vec<&Value> = all.iter().filter_map(|one| one.get("rule")).collect();
        let mut hooks: Vec<(String, i64)> = chains
            .iter()
            .filter_map(|chain| Some((chain["hook"].as_str()?.to_owned(), chain["prio"].as_i64()?)))
            .collect();
        hooks.sort();
        let counter = |rule: &Value| -> Option<u64> {
            rule["expr"].as_array()?.iter().find_map(|part| part["counter"]["packets"].as_u64())
        };
        let of_input = |rule: &&&Value| {
            chains.iter().any(|chain| chain["name"] == rule["chain"] && chain["hook"] == "input")
        };
        Ok(Filter {
            hooks,
            rules: rules.len(),
            counters: rules.iter().filter(|rule| counter(rule).is_some()).count(),
            counted: rules.iter().filter(of_input).filter_map(|rule| counter(rule)).reduce(|a, b| a + b),
        })
    }
}

fn nft(ns: &Netns, args: &[&str]) -> Result<String> {
    let output = ns.run(|| Command::new("nft").args(args).output())??;
    let said = String::from_utf8_lossy(&output.stderr);
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        .ok_or_else(|| anyhow!("nft {args:?}: {}", said.trim()))
}

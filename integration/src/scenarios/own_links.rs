//! Virtual routers on an ipvlan of their own, and in a VRF without an interface.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Ctx, Skip};
use crate::netns::Netns;
use crate::topology::{Lab, host};
use crate::{step, wait};

const LIMIT: Duration = Duration::from_secs(10);
const ON_IPVLAN: &str = "10.0.0.131";
const IN_VRF: &str = "10.9.0.100";

/// The file of the host whose addresses end in `own`; its peer's end in `peer`.
fn config(own: u8, peer: u8, priority: u8) -> String {
    format!(
        "global_defs {{\n  vrrp_version 3\n}}\n\
         vrrp_instance IPV {{\n  interface eth0\n  use_ipvlan ipv0 10.0.0.{ipvlan}/24 private\n  virtual_router_id 31\n  priority \
         {priority}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {ON_IPVLAN}/24\n  }}\n}}\n\
         vrrp_instance VRF {{\n  vrf blue\n  unicast_src_ip 10.9.0.{own}\n  unicast_peer {{\n    10.9.0.{peer}\n  }}\n  \
         virtual_router_id 32\n  priority {priority}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {IN_VRF}/24 dev eth1\n  }}\n}}\n",
        ipvlan = own + 20,
    )
}

fn shows(ns: &Netns, words: &str) -> Result<String> {
    ns.ip_show(&words.split_whitespace().collect::<Vec<_>>())
}

/// Waits until an address is on `ns`, or is not: in a VRF it cannot be bound to find out.
fn expect(ns: &Netns, address: &str, there: bool) -> Result<()> {
    wait::until_ok(&format!("{address} in {}: {there}", ns.name()), LIMIT, || {
        let shown = shows(ns, "-oneline address show")?;
        ensure!(shown.contains(&format!(" {address}/24 ")) == there, "{shown}");
        Ok::<_, anyhow::Error>(())
    })
}

pub fn own_links(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let (a, b) = (lab.host("a"), lab.host("b"));
    if a.ip("link add blue type vrf table 10").is_err() {
        bail!(Skip("needs a kernel with vrf".into()));
    }
    a.ip(&format!("link add eth1 type veth peer name eth1 netns {}", b.name()))?;
    b.ip("link add blue type vrf table 10")?;
    for (ns, last) in [(a, 11), (b, 12)] {
        ns.ip(&format!(
            "link set blue up\nlink set eth1 master blue\nlink set eth1 up\naddress add 10.9.0.{last}/24 dev eth1"
        ))?;
    }
    let mut first = ctx.director("a", a, &config(11, 12, 150))?;
    let mut second = ctx.director("b", b, &config(12, 11, 100))?;
    first.start_and_wait()?;
    second.start_and_wait()?;
    for address in [ON_IPVLAN, IN_VRF] {
        expect(a, address, true)?;
        expect(b, address, false)?;
    }
    step!("the first holds both");
    let shown = shows(a, "-details link show ipv0")?;
    ensure!(shown.contains("ipvlan") && shown.contains("mode l2 private"), "{shown}");
    let shown = shows(a, "address show dev ipv0")?;
    ensure!(shown.contains("10.0.0.31/24") && shown.contains(&format!("{ON_IPVLAN}/24")), "{shown}");
    let heard = |name: &'static str, master: &'static str| {
        second.expect_status(&format!("{name} hears {master}"), LIMIT, move |status| {
            let all = status["vrrp"]["instances"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["name"] == name && one["state"] == "BACKUP" && one["master"] == master)
        })
    };
    heard("IPV", "10.0.0.31")?;
    heard("VRF", "10.9.0.11")?;

    // Gone and back: FAULT meanwhile, and the peer takes over.
    a.ip("link del blue")?;
    expect(b, IN_VRF, true)?;
    first.expect_status("a fault that names the VRF", LIMIT, |status| {
        let all = status["vrrp"]["instances"].as_array().cloned().unwrap_or_default();
        all.iter().any(|one| one["name"] == "VRF" && one["fault_reasons"].to_string().contains("blue"))
    })?;
    a.ip("link add blue type vrf table 10\nlink set blue up\nlink set eth1 master blue")?;
    // A move into a VRF takes the link down and up, and IPv4 addresses stay.
    expect(a, IN_VRF, true)?;
    expect(b, IN_VRF, false)?;
    step!("the VRF went and returned");

    first.stop()?;
    for address in [ON_IPVLAN, IN_VRF] {
        expect(a, address, false)?;
        expect(b, address, true)?;
    }
    wait::until_ok("its interface is gone", LIMIT, || {
        let shown = shows(a, "link show")?;
        ensure!(!shown.contains("ipv0"), "{shown}");
        Ok::<_, anyhow::Error>(())
    })?;
    second.stop()?;
    Ok(())
}

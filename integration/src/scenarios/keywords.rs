//! Keywords of the process that no other scenario is about, each by what it does.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::life::{field, scheduled};
use crate::fifo::executable;
use crate::forge::{Forged, Sender};
use crate::servers::mail::Mailbox;
use crate::tap::{Frame, Tap};
use crate::topology::{BACK, Lab, host};
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(10);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Another one than adverts usually go to.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 100);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x1234);
const FAULT: &str = "[LB1] VRRP Instance VI_1 - Entering FAULT state";
/// vrrp_startup_delay; without it the instance is master after a fifth of a second.
const DELAY: Duration = Duration::from_secs(2);

pub fn keywords(ctx: &Ctx) -> Result<()> {
    let lab =
        Lab::new(&[host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.11/24"), host("b", "10.0.0.12/24")])?;
    let dir = tempfile::Builder::new().prefix("lbd-keywords-").tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let begins = executable(dir.path(), "begins-1.0", &format!("echo $0 >>{}", at("began").display()))?;
    symlink(&begins, at("begins"))?;
    let ends = executable(dir.path(), "ends", "sleep 60")?;
    let reader = executable(dir.path(), "reader", &format!("exec cat \"$2\" >>{}", at("read").display()))?;
    let config = |more: &str| {
        format!(
            "linkbeat_use_polling\nglobal_defs {{\n  script_user root\n  vrrp_version 3\n  vrrp_startup_delay {}\n  default_interface \
             eth1\n  log_unknown_vrids\n  startup_script {}\n  shutdown_script {}\n  shutdown_script_timeout 1\n  vrrp_notify_fifo \
             {}\n  vrrp_notify_fifo_script \"{} first\"\n  router_id LB1\n  smtp_alert_vrrp\n  smtp_helo_name \
             lb.bed.test\n  smtp_server {PEER}\n  notification_email {{\n    ops@bed.test\n  }}\n  {more}\n}}\n\
             static_ipaddress {{\n  10.9.9.9/32\n}}\n\
             vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  advert_int 0.05\n  \
             track_interface {{\n    eth1\n  }}\n  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n",
            DELAY.as_secs(),
            at("begins").display(),
            ends.display(),
            at("fifo").display(),
            reader.display()
        )
    };
    let ns = lab.host("a");
    let last = fs::read_to_string("/sys/devices/system/cpu/online")?;
    let last = last.trim().rsplit([',', '-']).next().unwrap_or("0").to_owned();
    let threads = format!("vrrp_priority -5\n  vrrp_cpu_affinity {last}\n  vrrp_no_swap");
    let mut director = ctx.director("a", ns, &config(&threads))?;
    let mailbox = Mailbox::start(lab.host("b"), "10.0.0.12:25")?;
    let began = Instant::now();
    director.start_and_wait()?;
    vip::expect(ns, VIP, true, LIMIT)?;
    let took = began.elapsed();
    step!("vrrp_startup_delay: master after {took:?}");
    ensure!(took >= DELAY, "vrrp_startup_delay: master after {took:?}");

    let shown =
        ns.run(|| Command::new("ip").args(["-o", "-4", "address", "show", "dev", "eth1"]).output())??;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains(" 10.9.9.9/32 "), "default_interface: {shown}");
    ensure!(director.log().contains("link of eth0 is polled by"), "linkbeat_use_polling");
    wait::until_ok("vrrp_notify_fifo_script", LIMIT, || {
        let read = fs::read_to_string(at("read")).unwrap_or_default();
        ensure!(read == "INSTANCE \"VI_1\" BACKUP 100\nINSTANCE \"VI_1\" MASTER 100\n", "{read}");
        Ok::<_, anyhow::Error>(())
    })?;
    let mail = mailbox.expect("[LB1] VRRP Instance VI_1 - Entering MASTER state", LIMIT)?;
    ensure!(mail.helo == "lb.bed.test" && mail.to == ["ops@bed.test"], "smtp_helo_name: {mail:?}");
    fault(&lab)?;
    mailbox.expect(FAULT, LIMIT)?;
    let stranger = Forged { priority: 50, ..Forged::new(3, PEER, 77, VIP) };
    Sender::new(lab.host("b"), PEER)?.send(&stranger.datagram())?;
    wait::until("log_unknown_vrids", LIMIT, || {
        let log = director.log();
        log.lines().any(|line| line.contains("WARN") && line.contains("VRID 77 (ipv4)")).then_some(())
    })?;

    let pid = director.pid()?.as_raw();
    let of_vrrp = |name: &str| field(pid, "vrrp", name);
    ensure!(
        of_vrrp("Cpus_allowed_list")? == last,
        "vrrp_cpu_affinity {last}: {}",
        of_vrrp("Cpus_allowed_list")?
    );
    ensure!(of_vrrp("VmLck")? != "0 kB", "vrrp_no_swap");
    let nice = scheduled(pid)?.get("vrrp").context("no thread vrrp")?.nice;
    ensure!(nice == -5, "vrrp_priority: {nice}");

    let stopping = Instant::now();
    ensure!(director.stop()?.success(), "the stop failed");
    let took = stopping.elapsed();
    ensure!(took >= Duration::from_secs(1) && took < LIMIT, "shutdown_script_timeout: {took:?}");
    ensure!(director.log().contains("shutdown_script: timed out after 1 s"), "no word of the limit");

    // A script knows itself by the file, or by the link to it.
    director.configure(&config("use_symlink_paths\n  no_email_faults"))?;
    director.start_and_wait()?;
    vip::expect(ns, VIP, true, LIMIT)?;
    fault(&lab)?;
    let subjects = wait::until_ok("mails of four masters", LIMIT, || {
        let subjects = mailbox.subjects();
        let masters = subjects.iter().filter(|one| one.ends_with("Entering MASTER state")).count();
        if masters >= 4 { Ok(subjects) } else { Err(format!("{subjects:?}")) }
    })?;
    let faults = subjects.iter().filter(|one| *one == FAULT).count();
    ensure!(faults == 1, "no_email_faults: {subjects:?}");
    let paths = fs::read_to_string(at("began"))?;
    let want = format!("{}\n{}\n", begins.display(), at("begins").display());
    ensure!(paths == want, "use_symlink_paths: {paths}, want {want}");
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

/// The link that is tracked goes, and comes back.
fn fault(lab: &Lab) -> Result<()> {
    for there in [false, true] {
        lab.cable("a", "eth1", there)?;
        vip::expect(lab.host("a"), VIP, there, LIMIT)?;
    }
    Ok(())
}

/// What virtual routers take from global_defs, as it is on the wire.
pub fn defaults(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let config = |priority: u8| {
        format!(
            "global_defs {{\n  vrrp_version 3\n  vrrp_mcast_group4 {GROUP}\n  vrrp_down_timer_adverts 2\n  vrrp_garp_interval 0.2\n  \
             vrrp_garp_master_delay 2\n  vrrp_garp_master_repeat 2\n  vrrp_garp_master_refresh 3\n  \
             vrrp_garp_master_refresh_repeat 3\n}}\n\
             vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 1\n  \
             virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
        )
    };
    let tap = Tap::start(&lab, &[("a", "eth0"), ("b", "eth0")])?;
    let (of_a, of_b) = (0, 1);
    let adverts = |port: usize| {
        tap.since(Duration::ZERO, |frame| frame.vrrp()).into_iter().filter(move |one| one.port == port)
    };
    let secs = Duration::from_secs_f64;
    let slack = ctx.slack();
    let mut a = ctx.director("a", lab.host("a"), &config(150))?;
    a.start_and_wait()?;
    let announced = || {
        let of = |frame: &Frame| frame.arp().filter(|arp| arp.sender == VIP && arp.target == VIP);
        tap.since(Duration::ZERO, of).into_iter().filter(|arp| arp.port == of_a).map(|arp| arp.at).collect()
    };
    let times: Vec<Duration> = wait::until_ok("seven announcements", LIMIT, || {
        let times: Vec<Duration> = announced();
        ensure!(times.len() >= 7, "{times:?}");
        Ok(times)
    })?;
    let first = adverts(of_a).next().context("no advert")?.at;
    step!("announced at {:?}", times.iter().map(|at| at.saturating_sub(first)).collect::<Vec<_>>());
    for (keyword, from, to, due, late) in [
        ("vrrp_garp_interval", times[0], times[1], 0.2, 0.3),
        ("vrrp_garp_master_delay", first, times[2], 2.0, 0.5),
        ("vrrp_garp_interval", times[2], times[3], 0.2, 0.3),
        ("vrrp_garp_master_refresh", first, times[4], 3.0, 3.0),
        ("vrrp_garp_master_refresh_repeat", times[4], times[6], 0.4, 0.6),
    ] {
        let took = to.saturating_sub(from);
        ensure!(took + secs(0.02) >= secs(due), "{keyword}: after {took:?} already, due {due} s");
        ensure!(took <= secs(due + late) + slack, "{keyword}: after {took:?}, due {due} s");
    }

    let mut b = ctx.director("b", lab.host("b"), &config(100))?;
    b.start_and_wait()?;
    // Longer than it would wait for a master that it does not hear.
    wait::throughout("the other one hears it", secs(4.0), || {
        ensure!(!vip::held(b.ns(), VIP)?);
        Ok(())
    })?;
    a.kill();
    lab.cable("a", "eth0", false)?;
    vip::expect(b.ns(), VIP, true, LIMIT)?;
    let last = adverts(of_a).next_back().context("no advert")?.at;
    let took = wait::until_ok("an advert of the other one", LIMIT, || {
        adverts(of_b).next().map(|one| one.at.saturating_sub(last)).context("none")
    })?;
    // Two intervals and the skew time of version 3 (RFC 9568, 6.1).
    let due = secs(2.0 + 156.0 / 256.0);
    step!("vrrp_down_timer_adverts: master after {took:?}, due {due:?}");
    ensure!(
        took + secs(0.02) >= due && took <= due + secs(0.7),
        "vrrp_down_timer_adverts: {took:?}, due {due:?}"
    );
    for one in adverts(of_a).chain(adverts(of_b)) {
        ensure!(one.destination == GROUP, "vrrp_mcast_group4: {one:?}");
    }
    ensure!(b.stop()?.success(), "the stop failed");
    Ok(())
}

/// What virtual routers do to the host, as global_defs shapes it.
pub fn host_keywords(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let dir = tempfile::Builder::new().prefix("lbd-keywords-").tempdir()?;
    // The host's own table replaces the package's of the same name, as it does for iproute2.
    for (table, line) in
        [("usr/rt_protos", "200 of_package"), ("usr/rt_tables", "77 here"), ("etc/rt_tables", "79 here")]
    {
        let path = dir.path().join(table);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, format!("{line}\n"))?;
    }
    let slow = executable(dir.path(), "slow", "sleep 60")?;
    let router = |vrid: u8, interface: &str, vip: &str, more: &str| {
        format!(
            "vrrp_instance VI_{vrid} {{\n  interface {interface}\n  virtual_router_id {vrid}\n  priority 100\n  advert_int 0.05\n  \
             virtual_ipaddress {{\n    {vip}\n  }}\n  {more}\n}}\n"
        )
    };
    let named = "virtual_routes {\n    10.20.0.0/16 via 10.0.0.31 dev eth0 protocol of_package table here no_track\n  }";
    let globals = format!(
        "global_defs {{\n  script_user root\n  vrrp_version 3\n  dynamic_interfaces\n  iproute_usr_dir {0}/usr\n  iproute_etc_dir \
         {0}/etc\n  vmac_prefix bed\n  vmac_addr_prefix vip\n  vrrp_netlink_cmd_rcv_bufs 300000\n  lvs_netlink_monitor_rcv_bufs 5000000\n  vrrp_mcast_group6 {GROUP6}\n  notify_script_timeout \
         1\n  vrrp_min_garp\n}}\n",
        dir.path().display()
    );
    let config = [
        globals,
        router(51, "eth0", "10.0.0.100/32\n    10.0.0.104/32 use_vmac", named),
        router(52, "eth0", "fe80::1:52", &format!("notify_master {}", slow.display())),
        router(53, "eth0", "10.0.0.103/32", "use_vmac"),
        router(54, "later0", "10.0.0.101/32", ""),
    ]
    .concat();
    let ns = lab.host("a");
    let tap = Tap::start(&lab, &[("a", "eth0")])?;
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    for vip in [VIP, Ipv4Addr::new(10, 0, 0, 103), Ipv4Addr::new(10, 0, 0, 104)] {
        vip::expect(ns, vip, true, LIMIT)?;
    }
    let shown = |words: &str| ns.ip_show(&words.split_whitespace().collect::<Vec<_>>());
    for (keyword, words, want) in [
        ("iproute_usr_dir", "-N route show table 79", "proto 200"),
        ("iproute_etc_dir", "-N route show table 79", "10.20.0.0/16 via 10.0.0.31 dev eth0"),
        ("vmac_prefix", "-o link show dev bed.53", "link/ether 00:00:5e:00:01:35"),
        ("vmac_addr_prefix", "-o address show to 10.0.0.104", " vip."),
    ] {
        wait::until_ok(keyword, LIMIT, || {
            let shown = shown(words)?;
            ensure!(shown.contains(want), "{words}: {shown}");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    let sockets = ns.run(|| Command::new("ss").args(["-f", "netlink", "-m"]).output())??;
    let sockets = String::from_utf8_lossy(&sockets.stdout).into_owned();
    // The largest of all; the kernel doubles what it is told (socket(7)).
    ensure!(sockets.contains("rb10000000"), "*_netlink_*_rcv_bufs: {sockets}");
    let advert = wait::until("an advert of version 3 over IPv6", LIMIT, || {
        tap.since(Duration::ZERO, Frame::vrrp).into_iter().find(|one| one.vrid == 52)
    })?;
    ensure!(advert.destination == GROUP6, "vrrp_mcast_group6: {advert:?}");
    wait::until("notify_script_timeout", LIMIT, || {
        director
            .log()
            .lines()
            .any(|line| line.contains("slow") && line.contains("timed out after 1 s"))
            .then_some(())
    })?;

    // A second later, in which five would have gone at once.
    let announced = tap.since(Duration::ZERO, |frame: &Frame| {
        frame.arp().filter(|arp| arp.sender == VIP && arp.target == VIP)
    });
    ensure!(announced.len() == 1, "vrrp_min_garp: {announced:?}");

    let later = Ipv4Addr::new(10, 0, 0, 101);
    ensure!(!vip::held(ns, later)?, "{later} is there without its interface");
    ns.ip("link add later0 type veth peer name later1\nlink set later1 up\naddress add 10.0.5.1/24 dev later0\nlink set later0 up\n")?;
    vip::expect(ns, later, true, LIMIT).context("dynamic_interfaces")?;
    ensure!(director.stop()?.success(), "the stop failed");
    let left = shown("-o link show")?;
    ensure!(!left.contains("bed.") && !left.contains("vip."), "left: {left}");
    Ok(())
}

//! What virtual routers inherit from global_defs, shown by what they do to adverts that somebody makes for them: once with the
//! keywords, once without.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use socket2::Domain;

use super::Ctx;
use crate::decode::Vrrp;
use crate::director::Director;
use crate::forge::{Forged, Sender};
use crate::sockets::receive_buffers;
use crate::tap::{Frame, Tap};
use crate::topology::{BACK, Lab, host};
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(10);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// Who makes adverts.
const FORGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 31);
const INTERVAL: Duration = Duration::from_secs(1);
const LOWER: u8 = 51;
const HIGHER: u8 = 52;
const LISTS: u8 = 53;
const UNICAST: u8 = 54;
const OWNER: u8 = 55;
const SIX: u8 = 56;
const ELSEWHERE: u8 = 57;
/// Adverts that list other addresses.
const LISTED: u8 = 5;
/// The protocol's number.
const VRRP: i32 = 112;
/// Ports of the tap.
const A: usize = 0;
const A_BACK: usize = 1;
const C: usize = 2;

/// Of these, none stands in the configuration without the keywords.
const KEYWORDS: &str = "\
  vrrp_lower_prio_no_advert
  vrrp_higher_prio_send_advert
  vrrp_garp_lower_prio_delay 1
  vrrp_garp_lower_prio_repeat 2
  vrrp_skip_check_adv_addr
  vrrp_check_unicast_src
  vrrp_owner_ignore_adverts
  vrrp_gna_interval 0.2
  vrrp_garp_extra_if all 1
  vrrp_rx_bufs_policy ADVERT
  vrrp_rx_bufs_multiplier 1000
";

/// What the virtual routers did.
#[derive(Debug)]
struct Seen {
    /// An advert at once where a lower one was heard.
    answers_lower: bool,
    /// Gratuitous ARP from then on.
    announces: Vec<Duration>,
    /// An advert at once where a higher one was heard.
    last_word: bool,
    /// How often another list of addresses was noted.
    lists: u64,
    /// The master by unicast yields to who is no peer.
    yields_to_stranger: bool,
    /// The owner yields to another owner.
    yields_to_owner: bool,
    /// Between neighbour advertisements of the start.
    gaps: Vec<Duration>,
    /// Gratuitous ARP on the interface without adverts.
    elsewhere: usize,
    /// Octets of the receive buffer of adverts, as the kernel counts.
    buffer: usize,
}

fn address(vrid: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 100 + vrid)
}

fn router(vrid: u8, lines: &str, addresses: &str) -> String {
    let own = format!("{}/32", address(vrid));
    let addresses = if addresses.is_empty() { own.as_str() } else { addresses };
    let priority = if vrid == OWNER { 255 } else { 100 };
    format!(
        "vrrp_instance VI_{vrid} {{\n  interface eth0\n  virtual_router_id {vrid}\n  priority {priority}\n  advert_int \
         {}\n  {lines}\n  virtual_ipaddress {{\n    {addresses}\n  }}\n}}\n",
        INTERVAL.as_secs()
    )
}

fn config(keywords: &str) -> String {
    let elsewhere = format!("{}/32 dev eth1", address(ELSEWHERE));
    let routers = [
        router(LOWER, "", ""),
        router(HIGHER, "", ""),
        router(LISTS, "", ""),
        router(UNICAST, "version 2\n  unicast_peer {\n    10.0.0.12\n  }", ""),
        router(OWNER, "", ""),
        router(SIX, "", "fe80::1:56\n    fd00::56\n    fd00::57"),
        router(ELSEWHERE, "", &elsewhere),
    ];
    format!(
        "global_defs {{\n  vrrp_version 3\n  vrrp_garp_master_delay 0\n  vrrp_garp_master_repeat 1\n{keywords}}}\n{}",
        routers.concat()
    )
}

pub fn inherited(ctx: &Ctx) -> Result<()> {
    // Each in networks of its own: they wait most of the time.
    let (with, without, strict) = std::thread::scope(|scope| {
        let with = scope.spawn(|| observe(ctx, KEYWORDS, "vrrp_garp_extra_if all 1"));
        let without = scope.spawn(|| observe(ctx, "", "vrrp_vmac_garp_intvl all 1"));
        let strict = strict(ctx);
        (with.join(), without.join(), strict)
    });
    strict.context("vrrp_strict")?;
    let with = with.map_err(|_| anyhow!("panicked"))?.context("with the keywords")?;
    let without = without.map_err(|_| anyhow!("panicked"))?.context("without the keywords")?;
    step!("with: {with:#?}");
    step!("without: {without:#?}");
    for (keyword, as_said, otherwise) in [
        ("vrrp_lower_prio_no_advert", !with.answers_lower, without.answers_lower),
        ("vrrp_garp_lower_prio_repeat", with.announces.len() == 4, without.announces.len() == 1),
        ("vrrp_higher_prio_send_advert", with.last_word, !without.last_word),
        ("vrrp_skip_check_adv_addr", with.lists == 1, without.lists == u64::from(LISTED)),
        ("vrrp_check_unicast_src", !with.yields_to_stranger, without.yields_to_stranger),
        ("vrrp_owner_ignore_adverts", !with.yields_to_owner, without.yields_to_owner),
        ("vrrp_garp_extra_if", with.elsewhere >= 3, without.elsewhere == 1),
        // The kernel doubles what it is told (socket(7)).
        ("vrrp_rx_bufs_*", with.buffer == 2 * 7 * 1500 * 1000, without.buffer == 8 << 20),
    ] {
        ensure!(as_said, "{keyword} does nothing");
        ensure!(otherwise, "without {keyword} it is the same");
    }
    let early = Duration::from_millis(20);
    let [_, second, third, _] = with.announces.as_slice() else { bail!("{:?}", with.announces) };
    let waited = third.saturating_sub(*second);
    ensure!(waited + early >= Duration::from_secs(1), "vrrp_garp_lower_prio_delay: {waited:?}");
    for gap in &with.gaps {
        ensure!(*gap + early >= Duration::from_millis(200), "vrrp_gna_interval: {:?}", with.gaps);
    }
    ensure!(without.gaps.iter().max() < with.gaps.iter().min(), "without vrrp_gna_interval: {without:?}");
    Ok(())
}

/// The lab of one look, and what is heard in it.
struct Bed<'l> {
    tap: Tap,
    sender: Sender,
    director: Director<'l>,
}

fn observe(ctx: &Ctx, keywords: &str, extra: &str) -> Result<Seen> {
    let lab =
        Lab::new(&[host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.11/24"), host("c", "10.0.0.31/24")])?;
    let ns = lab.host("a");
    let tap = Tap::start(&lab, &[("a", "eth0"), ("a", "eth1"), ("c", "eth0")])?;
    let sender = Sender::new(lab.host("c"), FORGER)?;
    let director = ctx.director("a", ns, &config(keywords))?;
    let mut bed = Bed { tap, sender, director };
    bed.director.start_and_wait()?;
    for vrid in [LOWER, HIGHER, LISTS, UNICAST, OWNER, ELSEWHERE] {
        vip::expect(ns, address(vrid), true, LIMIT)?;
    }

    let forged = |vrid: u8, priority: u8| Forged {
        priority,
        // As often as ours, so that who yields waits for as long.
        interval: 100,
        ..Forged::new(3, FORGER, vrid, address(vrid))
    };
    let (lower_at, answers_lower) = bed.answer(&forged(LOWER, 50))?;
    let (_, last_word) = bed.answer(&forged(HIGHER, 200))?;
    let other = Forged { addresses: vec![Ipv4Addr::new(10, 9, 9, 9)], ..forged(LISTS, 200) };
    for _ in 0..LISTED {
        bed.sender.send(&other.datagram())?;
        wait::pause(Duration::from_millis(100));
    }
    let stranger = Forged { version: 2, interval: 1, destination: OWN, ..forged(UNICAST, 200) };
    bed.sender.send(&stranger.datagram())?;
    bed.sender.send(&forged(OWNER, 255).datagram())?;
    let (yields_to_stranger, yields_to_owner) = (bed.yields(UNICAST)?, bed.yields(OWNER)?);

    let lists = wait::until_ok("all that list other addresses", LIMIT, || {
        let instance = bed.of(LISTS)?;
        ensure!(instance["adverts_received"].as_u64() >= Some(LISTED.into()), "{instance:#}");
        instance["adverts_dropped"]["address_list"].as_u64().context("none of them")
    })?;
    let advertised = wait::until_ok("neighbour advertisements of the start", LIMIT, || {
        let found = bed.tap.since(Duration::ZERO, |frame: &Frame| {
            let own = |one: &Ipv6Addr| one.segments()[7] == 0x56 || one.segments()[7] == 0x57;
            frame.neighbour().filter(|one| one.advertisement && !one.flags[1] && own(&one.target))
        });
        ensure!(found.len() >= 3, "{found:?}");
        Ok(found)
    })?;
    let gaps = advertised.windows(2).take(2).map(|two| two[1].at.saturating_sub(two[0].at)).collect();
    // What is due a second later, and as much again.
    wait::pause(Duration::from_secs(3));
    let announced = bed.announced(A, LOWER);
    let announces = announced.into_iter().filter(|at| *at >= lower_at).collect();
    let elsewhere = bed.announced(A_BACK, ELSEWHERE).len();
    let buffers = receive_buffers(bed.director.pid()?, Domain::IPV4, VRRP)?;
    let buffer = buffers.into_iter().max().unwrap_or_default();

    bed.director.configure(&config(&format!("  {extra}\n")))?;
    bed.director.lbctl(&["reload"])?;
    let before = bed.announced(A_BACK, ELSEWHERE).len();
    wait::until_ok(extra, LIMIT, || {
        let now = bed.announced(A_BACK, ELSEWHERE).len();
        ensure!(now >= before + 2, "{now}, {before} before");
        Ok(())
    })?;
    ensure!(bed.director.stop()?.success(), "the stop failed");
    Ok(Seen {
        answers_lower,
        announces,
        last_word,
        lists,
        yields_to_stranger,
        yields_to_owner,
        gaps,
        elsewhere,
        buffer,
    })
}

impl Bed<'_> {
    fn sent(&self, port: usize, vrid: u8) -> Vec<Vrrp> {
        self.tap
            .since(Duration::ZERO, |frame| frame.vrrp().filter(|one| one.port == port && one.vrid == vrid))
    }

    /// Gratuitous ARP for the address of a virtual router.
    fn announced(&self, port: usize, vrid: u8) -> Vec<Duration> {
        let vip = address(vrid);
        let all = self.tap.since(Duration::ZERO, |frame| {
            frame.arp().filter(|arp| arp.port == port && arp.sender == vip && arp.target == vip)
        });
        all.into_iter().map(|arp| arp.at).collect()
    }

    /// Sends an advert when the next one of the master is far, and tells when, and whether the master sent one at once.
    fn answer(&self, forged: &Forged) -> Result<(Duration, bool)> {
        let vrid = forged.vrid;
        for _ in 0..5 {
            let known = self.sent(A, vrid).len();
            let own = wait::until("an advert", LIMIT, || {
                Some(self.sent(A, vrid)).filter(|all| all.len() > known)?.pop()
            })?;
            let known = self.sent(C, vrid).len();
            self.sender.send(&forged.datagram())?;
            let at = wait::until("what was sent", LIMIT, || self.sent(C, vrid).get(known).map(|one| one.at))?;
            if at.saturating_sub(own.at) > INTERVAL / 2 {
                step!("VRID {vrid}: {:?} after an advert, once more", at.saturating_sub(own.at));
                wait::pause(INTERVAL);
                continue;
            }
            wait::pause(INTERVAL * 2);
            let early = own.at + INTERVAL * 4 / 5;
            let answered = self.sent(A, vrid).iter().any(|one| one.at >= at && one.at < early);
            return Ok((at, answered));
        }
        bail!("VRID {vrid}: this machine is too busy to send something between two adverts")
    }

    fn of(&self, vrid: u8) -> Result<Value> {
        let mut status = self.director.peek()?;
        let all = status["vrrp"]["instances"].as_array_mut().context("instances")?;
        Ok(all.iter_mut().find(|one| one["vrid"] == vrid).context("an instance")?.take())
    }

    /// Whether an advert, which was sent just now, ended the mastership, rather than being refused.
    fn yields(&self, vrid: u8) -> Result<bool> {
        wait::until_ok("an advert is heard", LIMIT, || {
            let instance = self.of(vrid)?;
            let cause = if vrid == OWNER { "owner" } else { "peer" };
            let refused = instance["adverts_dropped"][cause].as_u64().unwrap_or_default();
            match instance["state"].as_str() {
                Some("MASTER") if refused > 0 => Ok(false),
                Some("BACKUP") if refused == 0 => Ok(true),
                _ => bail!("{instance:#}"),
            }
        })
    }
}

/// What is strict takes no traffic to the virtual address, which is not its own.
fn strict(ctx: &Ctx) -> Result<()> {
    const PORT: u16 = 7;
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("c", "10.0.0.31/24")])?;
    let (ns, vip) = (lab.host("a"), address(LOWER));
    let config = |keyword: &str| {
        format!("global_defs {{\n  vrrp_version 3\n  {keyword}\n}}\n{}", router(LOWER, "", ""))
    };
    let mut director = ctx.director("a", ns, &config("vrrp_strict"))?;
    director.start_and_wait()?;
    vip::expect(ns, vip, true, LIMIT)?;
    let listening = ns.run(|| UdpSocket::bind(("0.0.0.0", PORT)))??;
    listening.set_read_timeout(Some(LIMIT))?;
    let asking = lab.host("c").run(|| UdpSocket::bind("0.0.0.0:0"))??;
    let ask = || -> Result<[String; 2]> {
        // The second is there when the first must have been.
        for (to, text) in [(vip, "virtual"), (OWN, "own")] {
            wait::until_ok("a neighbour", LIMIT, || {
                // Asked for with something that nobody listens to.
                asking.send_to(b"?", (to, PORT + 1))?;
                let known = lab.host("c").ip_show(&["neigh", "show", "to", &to.to_string()])?;
                ensure!(known.contains("lladdr"), "{to}: {known}");
                Ok(())
            })?;
            asking.send_to(text.as_bytes(), (to, PORT))?;
        }
        let mut heard = [String::new(), String::new()];
        for slot in &mut heard {
            let mut octets = [0; 16];
            let length = listening.recv(&mut octets).context("nothing comes to the host's own address")?;
            *slot = String::from_utf8_lossy(octets.get(..length).unwrap_or_default()).into_owned();
            if slot == "own" {
                break;
            }
        }
        Ok(heard)
    };
    let heard = ask()?;
    ensure!(heard == ["own", ""], "{heard:?}");
    director.configure(&config(""))?;
    director.lbctl(&["reload"])?;
    wait::until_ok("without it", LIMIT, || {
        let heard = ask()?;
        ensure!(heard == ["virtual", "own"], "{heard:?}");
        Ok(())
    })?;
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

/// Interfaces of a garp_group, and the own interface of a virtual router on one of them, announce one address at a time.
pub fn garp_group(ctx: &Ctx) -> Result<()> {
    const GAP: Duration = Duration::from_millis(300);
    /// The kernel's clocks and the daemon's are not read at one moment.
    const EARLY: Duration = Duration::from_millis(20);
    let lab =
        Lab::new(&[host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.11/24"), host("c", "10.0.0.31/24")])?;
    let both = format!("{}/32\n    10.0.0.200/32 dev eth1", address(LOWER));
    let routers = [
        router(LOWER, "", &both),
        router(HIGHER, "use_vmac", ""),
        router(SIX, "", "fe80::1:56\n    fd00::56\n    fd00::57 dev eth1"),
    ];
    let text = format!(
        "global_defs {{\n  vrrp_version 3\n  vrrp_garp_master_delay 0\n  vrrp_garp_master_repeat 1\n}}\n\
         garp_group {{\n  garp_interval {0}\n  gna_interval {0}\n  interface eth1\n  interfaces {{\n    eth0\n  }}\n}}\n{1}",
        GAP.as_secs_f64(),
        routers.concat()
    );
    let tap = Tap::start(&lab, &[("a", "eth0"), ("a", "eth1")])?;
    let mut director = ctx.director("a", lab.host("a"), &text)?;
    director.start_and_wait()?;
    for family in ["IPv4", "IPv6"] {
        let what = format!("three announcements of {family}");
        let mut found = wait::until_ok(&what, LIMIT, || {
            let found: Vec<(Duration, String)> = tap.since(Duration::ZERO, |frame: &Frame| {
                if family == "IPv4" {
                    let arp =
                        frame.arp().filter(|arp| arp.sender == arp.target && arp.sender.octets()[3] > 100)?;
                    return Some((arp.at, arp.sender.to_string()));
                }
                let one = frame.neighbour().filter(|one| one.advertisement && !one.flags[1])?;
                [0x56, 0x57].contains(&one.target.segments()[7]).then(|| (one.at, one.target.to_string()))
            });
            ensure!(found.len() >= 3, "{found:?}");
            Ok(found)
        })?;
        found.sort();
        let gaps: Vec<Duration> = found.windows(2).map(|two| two[1].0.saturating_sub(two[0].0)).collect();
        step!("{family}: {:?}, {gaps:?} apart", found.iter().map(|(_, of)| of).collect::<Vec<_>>());
        ensure!(gaps.iter().all(|gap| *gap + EARLY >= GAP), "{family}: {found:?} are {gaps:?} apart");
    }
    ensure!(director.stop()?.success(), "the stop failed");
    Ok(())
}

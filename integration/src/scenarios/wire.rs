//! What a pair of directors sends and does not send, field by field and to the millisecond: VRRP of both versions and families,
//! gratuitous ARP, neighbour advertisements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::Ctx;
use crate::decode::{Arp, BROADCAST, Mac, Neighbour, Vrrp};
use crate::director::Director;
use crate::netns::Netns;
use crate::step;
use crate::tap::{Frame, Tap};
use crate::topology::{Lab, host};
use crate::wait;

/// Ports of the tap.
const A: usize = 0;
const B: usize = 1;
const SOURCES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 11), Ipv4Addr::new(10, 0, 0, 12)];
/// The director's priority where it is the first choice, and where it is not.
const FIRST: u8 = 100;
const SECOND: u8 = 90;
/// What a timer may be late by, next to what this machine is late by itself.
const LATE: Duration = Duration::from_millis(10);
/// A daemon's own start on a busy machine, less than any timer of the protocol here.
const START: Duration = Duration::from_millis(2500);
/// Start-up, or a takeover with interval 1 s, with room for a slow machine.
const TAKES: Duration = Duration::from_secs(8);

/// A virtual router, named by what its adverts carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Router {
    version: u8,
    vrid: u8,
    v6: bool,
}

/// `a` is the first choice of [`V2`] and [`V3`], `b` of [`V6`], which has the VRID of [`V3`].
const V2: Router = Router { version: 2, vrid: 53, v6: false };
const V3: Router = Router { version: 3, vrid: 51, v6: false };
const V6: Router = Router { version: 3, vrid: 51, v6: true };
/// Owners, two on `a` and one on `b`.
const OWNER2: Router = Router { version: 2, vrid: 61, v6: false };
const OWNER3: Router = Router { version: 3, vrid: 62, v6: false };
const OWNER6: Router = Router { version: 3, vrid: 63, v6: true };

impl Router {
    fn vips(self) -> Vec<IpAddr> {
        let last = u16::from(self.vrid);
        if self.v6 {
            vec![[0xfe80, 0, 0, 0, 0, 0, 1, last].into(), [0xfd00, 0, 0, 0, 0, 0, 1, last].into()]
        } else {
            vec![[10, 0, 0, 100 + self.vrid].into()]
        }
    }

    fn config(self, priority: u8) -> String {
        let vips: Vec<String> = self.vips().iter().map(ToString::to_string).collect();
        format!(
            "vrrp_instance V{}_{}{} {{\n  interface eth0\n  virtual_router_id {}\n  version {}\n  priority {priority}\n  \
             advert_int 1\n  virtual_ipaddress {{\n    {}\n  }}\n}}\n",
            self.version,
            self.vrid,
            if self.v6 { "_6" } else { "" },
            self.vrid,
            self.version,
            vips.join("\n    ")
        )
    }

    fn is(self, advert: &Vrrp) -> bool {
        (advert.version, advert.vrid, advert.source.is_ipv6()) == (self.version, self.vrid, self.v6)
    }
}

/// Skew_Time at an interval of 1 s, the same in both versions.
fn skew(priority: u8) -> Duration {
    Duration::from_secs(1) * (256 - u32::from(priority)) / 256
}

fn master_down(priority: u8) -> Duration {
    Duration::from_secs(3) + skew(priority)
}

pub fn wire(ctx: &Ctx) -> Result<()> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| wait::oversleep(&stop));
        let result = observe(ctx);
        stop.store(true, Ordering::Relaxed);
        let late = machine.join().map_err(|_| anyhow!("panicked"))?;
        // The times come first: what follows is judged by how late the machine was while they were taken.
        let seen = result?;
        step!("this machine woke up to {late:?} late");
        seen.iter().try_for_each(|time| time.judge(late))
    })
}

/// A time that the protocol gives.
#[derive(Debug)]
struct Timed {
    what: &'static str,
    due: Duration,
    took: Duration,
}

impl Timed {
    fn judge(&self, machine: Duration) -> Result<()> {
        step!("{}: after {:?}, due {:?}", self.what, self.took, self.due);
        // What begins the time may be late too.
        ensure!(
            self.took + LATE + machine >= self.due,
            "{}: after {:?} already, due {:?}",
            self.what,
            self.took,
            self.due
        );
        let allowed = self.due + LATE + machine;
        ensure!(self.took <= allowed, "{}: after {:?}, allowed {allowed:?}", self.what, self.took);
        Ok(())
    }
}

struct Bed<'l> {
    lab: &'l Lab,
    tap: Tap,
    times: Vec<Timed>,
}

fn observe(ctx: &Ctx) -> Result<Vec<Timed>> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24"), host("c", "10.0.0.31/24")])?;
    // More addresses than the primary one, one of them of the VIPs' net.
    lab.host("a").ip("address add 10.0.0.13/24 dev eth0\naddress add 10.9.0.1/24 dev eth0\n")?;
    lab.host("c").ip("address add fd00::31/64 dev eth0 nodad\n")?;
    for name in ["a", "b"] {
        lab.host(name).ip("route add fd00::/64 dev eth0\n")?;
    }
    let [a, b] = [("a", FIRST, SECOND), ("b", SECOND, FIRST)].map(|(name, v4, v6)| {
        let owned: &[Router] = if name == "a" { &[OWNER2, OWNER3] } else { &[OWNER6] };
        let mut config = V2.config(v4) + &V3.config(v4) + &V6.config(v6);
        config.extend(owned.iter().map(|router| router.config(255)));
        ctx.director(name, lab.host(name), &config).map(|director| director.args(&["-P"]))
    });
    let (mut a, mut b) = (a?, b?);
    let tap = Tap::start(&lab, &[("a", "eth0"), ("b", "eth0")])?;
    let mut bed = Bed { lab: &lab, tap, times: Vec::new() };

    bed.start(&mut a, &mut b)?;
    bed.addresses_are_asked_for()?;
    bed.backup_takes_nothing()?;
    bed.announced(A, &[V2, V3, OWNER2, OWNER3])?;
    bed.announced(B, &[V6, OWNER6])?;
    bed.backup_stops_and_master_resigns(&mut a, &mut b)?;
    bed.crash_and_last_stop(&mut a, &mut b)?;
    bed.every_packet()?;
    Ok(bed.times)
}

impl Bed<'_> {
    fn ns(&self, port: usize) -> &Netns {
        self.lab.host(if port == A { "a" } else { "b" })
    }

    fn sent(&self, port: usize, router: Router) -> Vec<Vrrp> {
        self.tap.since(Duration::ZERO, |frame| {
            frame.vrrp().filter(|advert| advert.port == port && router.is(advert))
        })
    }

    /// The first advert of `router` that `port` sends after `after`, waited for.
    fn first_after(&self, port: usize, router: Router, after: Duration) -> Result<Vrrp> {
        wait::until(&format!("an advert of {router:?} by {}", self.ns(port).name()), TAKES, || {
            self.sent(port, router).into_iter().find(|advert| advert.at > after)
        })
    }

    fn time(&mut self, what: &'static str, due: Duration, from: Duration, to: Duration) {
        self.times.push(Timed { what, due, took: to.saturating_sub(from) });
    }

    /// Owners send at once, so that their first packet is the zero of all others' clocks.
    fn start(&mut self, a: &mut Director<'_>, b: &mut Director<'_>) -> Result<()> {
        let ready = crate::tap::now();
        a.start()?;
        b.start()?;
        for (port, owner, router, what) in [
            (A, OWNER2, V2, "first advert of a Backup of version 2"),
            (A, OWNER3, V3, "first advert of a Backup of version 3"),
            (B, OWNER6, V6, "first advert of a Backup over IPv6"),
        ] {
            let start = self.first_after(port, owner, Duration::ZERO)?;
            let first = self.first_after(port, router, Duration::ZERO)?;
            ensure!(start.priority == 255 && first.priority == FIRST, "{start:?}, {first:?}");
            self.time(what, master_down(FIRST), start.at, first.at);
        }
        // An owner's first packet comes before anything that could be called waiting.
        for (port, owner) in [(A, OWNER2), (A, OWNER3), (B, OWNER6)] {
            let first = self.first_after(port, owner, Duration::ZERO)?;
            let others = self.tap.since(Duration::ZERO, |frame| {
                (frame.port == port && frame.vrrp().is_none())
                    .then_some(frame)
                    .and_then(Frame::arp)
                    .filter(|arp| owner.vips().contains(&IpAddr::V4(arp.sender)))
            });
            ensure!(others.iter().all(|arp| arp.at > first.at), "ARP before the first advert of {owner:?}");
            ensure!(
                first.at < ready + START,
                "an owner's first packet came {:?} after its start",
                first.at - ready
            );
        }
        Ok(())
    }

    /// Who asks for an address gets one answer, from the master. An advert is no sign yet that the address is there (RFC 9568
    /// section 6.4.1 sends it first), and a busy machine may add it after the kernel has asked twice: asked until answered.
    fn addresses_are_asked_for(&self) -> Result<()> {
        let c = self.lab.host("c");
        for router in [V2, V3, V6] {
            let (master, backup) = if router.v6 { (B, A) } else { (A, B) };
            let vip = *router.vips().last().context("an address")?;
            let any: IpAddr =
                if router.v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            let socket = c.run(|| UdpSocket::bind((any, 0)))??;
            let mac = mac(self.ns(master))?;
            let answer = |frame: &Frame| match vip {
                IpAddr::V4(vip) => frame
                    .arp()
                    .filter(|arp| arp.operation == 2 && arp.sender == vip)
                    .map(|arp| (arp.port, arp.sender_mac)),
                // Router flag, as the lab's hosts forward; solicited; override.
                IpAddr::V6(vip) => frame
                    .neighbour()
                    .filter(|one| one.advertisement && one.target == vip && one.flags[1])
                    .map(|one| {
                        (
                            one.port,
                            if one.flags == [true; 3] {
                                one.link_address.unwrap_or_default()
                            } else {
                                [0; 6]
                            },
                        )
                    }),
            };
            let answers = wait::until_ok(&format!("an answer for {vip}"), TAKES, || {
                // Refused while the kernel has given up on a neighbour.
                let sent = socket.send_to(b"?", (vip, 9));
                let answers = self.tap.since(Duration::ZERO, answer);
                if answers.is_empty() {
                    let asked = c.ip_show(&["neigh", "show"])?;
                    let there = self.ns(master).ip_show(&["-o", "address", "show", "dev", "eth0"])?;
                    bail!("none; sent: {sent:?}; neighbours of c: {asked}; addresses of the master: {there}");
                }
                Ok(answers)
            })?;
            ensure!(
                answers == [(master, mac)],
                "{vip}: answers {answers:?}, wanted one of {mac:?}; {backup} is Backup"
            );
        }
        Ok(())
    }

    /// A packet for the virtual address that reaches the Backup is not for it (it may forward it, as a router).
    fn backup_takes_nothing(&self) -> Result<()> {
        let (c, vip) = (self.lab.host("c"), V3.vips()[0]);
        let listen = |port: usize| -> Result<UdpSocket> {
            let socket = self.ns(port).run(|| UdpSocket::bind("0.0.0.0:7"))??;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        };
        let (at_master, at_backup) = (listen(A)?, listen(B)?);
        let mac = mac(self.ns(B))?.map(|octet| format!("{octet:02x}")).join(":");
        c.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0 nud permanent"))?;
        c.run(|| UdpSocket::bind("0.0.0.0:0")?.send_to(b"echo", (vip, 7)))??;
        let mut buffer = [0; 16];
        let taken = at_master
            .recv_from(&mut buffer)
            .context("the packet did not reach the master, forwarded by the Backup")?;
        ensure!(taken.0 == 4, "{taken:?}");
        ensure!(at_backup.recv_from(&mut buffer).is_err(), "the Backup took a packet for {vip}");
        c.ip(&format!("neigh del {vip} dev eth0"))
    }

    /// After the first advert of a master five rounds of gratuitous ARP or of neighbour advertisements, and five more 5 s later.
    fn announced(&mut self, port: usize, routers: &[Router]) -> Result<()> {
        let mac = mac(self.ns(port))?;
        for router in routers {
            let master_since = self.first_after(port, *router, Duration::ZERO)?.at;
            for vip in router.vips() {
                let times = || -> Result<Vec<Duration>> {
                    match vip {
                        IpAddr::V4(vip) => {
                            let all = self.tap.since(Duration::ZERO, |frame| {
                                frame
                                    .arp()
                                    // A director also asks for its clients with the address that it answers from.
                                    .filter(|arp| {
                                        arp.sender == vip && arp.target == vip && arp.operation == 1
                                    })
                            });
                            all.iter().try_for_each(|arp| gratuitous(arp, port, mac, vip))?;
                            Ok(all.into_iter().map(|arp| arp.at).collect())
                        }
                        IpAddr::V6(vip) => {
                            let all = self.tap.since(Duration::ZERO, |frame| {
                                frame.neighbour().filter(|one| {
                                    // Those of a Backup that was master for a moment before are not counted.
                                    one.advertisement
                                        && one.target == vip
                                        && !one.flags[1]
                                        && one.at >= master_since
                                })
                            });
                            all.iter().try_for_each(|one| unsolicited(one, port, mac, vip))?;
                            Ok(all.into_iter().map(|one| one.at).collect())
                        }
                    }
                };
                let what = format!("ten announcements of {vip}");
                let times = wait::until_ok(&what, TAKES, || match times()? {
                    times if times.len() >= 10 => Ok(times),
                    times => Err(anyhow!("{}", times.len())),
                })?;
                ensure!(times.len() == 10, "{} announcements of {vip}", times.len());
                ensure!(
                    times.iter().all(|at| *at > master_since),
                    "{vip} is announced before the first advert"
                );
                ensure!(
                    times[4] - times[0] < Duration::from_millis(500),
                    "the first five of {vip}: {times:?}"
                );
                ensure!(
                    times[9] - times[5] < Duration::from_millis(500),
                    "the second five of {vip}: {times:?}"
                );
                self.times.push(Timed {
                    what: "garp_master_delay",
                    due: Duration::from_secs(5),
                    took: times[5] - master_since,
                });
            }
        }
        Ok(())
    }

    /// The Backup of V2 and V3, which is master of V6, stops: not a packet of V2 and V3, a resignation of V6.
    fn backup_stops_and_master_resigns(&mut self, a: &mut Director<'_>, b: &mut Director<'_>) -> Result<()> {
        ensure!(self.sent(B, V2).is_empty() && self.sent(B, V3).is_empty(), "a Backup has sent adverts");
        ensure!(b.stop()?.success(), "b's stop");
        for router in [V2, V3] {
            ensure!(
                self.sent(B, router).is_empty(),
                "a Backup sent when it stopped: {:?}",
                self.sent(B, router)
            );
        }
        for router in [V6, OWNER6] {
            let last = self.sent(B, router).pop().context("no advert")?;
            ensure!(last.priority == 0, "b did not resign: {last:?}");
        }
        let last = self.sent(B, V6).pop().context("no advert")?;
        let first = self.first_after(A, V6, last.at)?;
        self.time("taken over after a resignation", skew(SECOND), last.at, first.at);
        let vip = *V6.vips().last().context("an address")?;
        wait::until("the new master's announcement", TAKES, || {
            let all = self.tap.since(last.at, |frame| {
                frame.neighbour().filter(|one| one.port == A && one.target.eq(&vip) && one.advertisement)
            });
            all.first().map(|one| one.at > first.at)
        })
        .and_then(|after| {
            ensure!(after, "it announced {vip} before its advert");
            Ok(())
        })?;
        // fd00::1:33: the last three octets after ff02::1:ff.
        let group = "ff0200000000000000000001ff010033";
        ensure!(a.ns().proc_net("igmp6")?.contains(group), "the new master is not in {group}");

        let restart = crate::tap::now();
        b.start()?;
        let start = self.first_after(B, OWNER6, restart)?;
        let first = self.first_after(B, V6, restart)?;
        self.time("taken back by priority", master_down(FIRST), start.at, first.at);
        Ok(())
    }

    /// The master dies without a word; its peer takes all over, and resigns in the end.
    fn crash_and_last_stop(&mut self, a: &mut Director<'_>, b: &mut Director<'_>) -> Result<()> {
        // The peer has heard the master since its own start.
        let heard = crate::tap::now();
        for router in [V2, V3] {
            self.first_after(A, router, heard)?;
        }
        a.kill();
        for (router, what) in
            [(V2, "taken over after a crash, version 2"), (V3, "taken over after a crash, version 3")]
        {
            let last = self.sent(A, router).pop().context("no advert")?;
            ensure!(last.priority == FIRST, "the crash was none: {last:?}");
            let first = self.first_after(B, router, last.at)?;
            self.time(what, master_down(SECOND), last.at, first.at);
        }
        ensure!(b.stop()?.success(), "b's last stop");
        for router in [V2, V3, V6, OWNER6] {
            let last = self.sent(B, router).pop().context("no advert")?;
            ensure!(last.priority == 0, "b did not resign: {last:?}");
        }
        Ok(())
    }

    /// What holds for each packet of the whole run.
    fn every_packet(&self) -> Result<()> {
        let local = [link_local(self.ns(A))?, link_local(self.ns(B))?];
        let macs = [mac(self.ns(A))?, mac(self.ns(B))?];
        let adverts = self.tap.since(Duration::ZERO, Frame::vrrp);
        ensure!(adverts.len() > 50, "{} adverts only", adverts.len());
        for advert in &adverts {
            let (source, destination, ether): (IpAddr, IpAddr, Mac) = if advert.source.is_ipv6() {
                let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
                (local[advert.port].into(), group.into(), [0x33, 0x33, 0, 0, 0, 0x12])
            } else {
                let group = Ipv4Addr::new(224, 0, 0, 18);
                (SOURCES[advert.port].into(), group.into(), [1, 0, 0x5e, 0, 0, 0x12])
            };
            ensure!(advert.source == source, "source is not the primary address {source}: {advert:?}");
            ensure!(advert.destination == destination, "destination is not {destination}: {advert:?}");
            ensure!(advert.ether == [ether, macs[advert.port]], "Ethernet addresses: {advert:?}");
            ensure!((advert.ttl, advert.protocol, advert.class) == (255, 112, 0xc0), "{advert:?}");
            let known = [V2, V3, V6, OWNER2, OWNER3, OWNER6];
            let router =
                known.into_iter().find(|router| router.is(advert)).with_context(|| format!("{advert:?}"))?;
            ensure!(usize::from(advert.count) == router.vips().len(), "number of addresses: {advert:?}");
        }
        let advertises =
            self.tap.since(Duration::ZERO, |frame| (frame.icmpv6() == Some(134)).then_some(frame.port));
        ensure!(advertises.is_empty(), "router advertisements by {advertises:?}");
        // An address that the next master takes over is not looked for.
        let probes = self.tap.since(Duration::ZERO, |frame| {
            frame.neighbour().filter(|one| !one.advertisement && one.source.is_unspecified())
        });
        let vips: Vec<IpAddr> = [V6, OWNER6].into_iter().flat_map(Router::vips).collect();
        let probe = probes.iter().find(|probe| vips.contains(&probe.target.into()));
        ensure!(probe.is_none(), "duplicate address detection: {probe:?}");
        Ok(())
    }
}

/// A gratuitous ARP request as keepalived sends it.
fn gratuitous(arp: &Arp, port: usize, mac: Mac, vip: Ipv4Addr) -> Result<()> {
    let want = Arp {
        at: arp.at,
        port,
        ether: [BROADCAST, mac],
        operation: 1,
        sender_mac: mac,
        sender: vip,
        target_mac: BROADCAST,
        target: vip,
    };
    ensure!(*arp == want, "{arp:?}, not {want:?}");
    Ok(())
}

/// An unsolicited neighbour advertisement (RFC 4861 §4.4, §7.2.6).
fn unsolicited(one: &Neighbour, port: usize, mac: Mac, vip: Ipv6Addr) -> Result<()> {
    let want = Neighbour {
        at: one.at,
        port,
        ether: [[0x33, 0x33, 0, 0, 0, 1], mac],
        source: vip,
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        hop_limit: 255,
        advertisement: true,
        flags: [true, false, true],
        target: vip,
        link_address: Some(mac),
    };
    ensure!(*one == want, "{one:?}, not {want:?}");
    Ok(())
}

fn mac(ns: &Netns) -> Result<Mac> {
    let link = ns.ip_show(&["-o", "link", "show", "dev", "eth0"])?;
    let text = link.split_once("link/ether ").and_then(|(_, rest)| rest.split(' ').next());
    let octets = text.unwrap_or_default().split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets = octets.collect::<Result<Vec<u8>, _>>()?;
    octets.try_into().map_err(|_| anyhow!("no hardware address in {link:?}"))
}

/// The kernel's own address of the link, not a virtual one.
fn link_local(ns: &Netns) -> Result<Ipv6Addr> {
    let shown = ns.ip_show(&["-o", "-6", "address", "show", "dev", "eth0", "scope", "link"])?;
    shown
        .split_whitespace()
        .filter_map(|word| word.strip_suffix("/64")?.parse().ok())
        .next()
        .ok_or_else(|| anyhow!("no address of the link in {shown:?}"))
}

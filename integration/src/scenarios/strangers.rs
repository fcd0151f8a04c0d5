//! A third host on the link of a pair of directors: what it can do to them with adverts, and what it cannot.
//!
//! Three virtual routers, of which host `a` is master: version 2 with a password, version 3 without and with signatures.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::Ctx;
use crate::decode::Vrrp;
use crate::director::Director;
use crate::forge::{self, Forged, Sender, Stream};
use crate::netns::Netns;
use crate::step;
use crate::tap::{self, Tap};
use crate::topology::{Lab, host};
use crate::{vip, wait};

/// The stranger.
const C: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 31);
const PASSWORD: [u8; 8] = *b"secret\0\0";
/// Interval of version 3.
const INTERVAL: Duration = Duration::from_millis(100);
const HIGH: u8 = 150;
const LOW: u8 = 100;
/// Tries of a flood on a machine that is busy with something else.
const TRIES: u32 = 4;
/// Until a director takes part and is master.
const START: Duration = Duration::from_secs(10);

/// A virtual router of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Router {
    Pass,
    Plain,
    Signed,
}

const ROUTERS: [Router; 3] = [Router::Pass, Router::Plain, Router::Signed];

impl Router {
    fn vrid(self) -> u8 {
        match self {
            Self::Pass => 51,
            Self::Plain => 52,
            Self::Signed => 53,
        }
    }

    fn vip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, 100 + self.vrid())
    }

    fn interval(self) -> Duration {
        if self == Self::Pass { Duration::from_secs(1) } else { INTERVAL }
    }

    fn config(self, priority: u8) -> String {
        match self {
            Self::Pass => {
                instance(self, priority, "version 2\nauthentication {\nauth_type PASS\nauth_pass secret\n}")
            }
            Self::Plain => instance(self, priority, "version 3"),
            Self::Signed => instance(self, priority, &format!("version 3\n{}", signed("enforce", 1, KEY))),
        }
    }

    /// An advert that would end any mastership, if it were taken for right.
    fn forged(self) -> Forged {
        let version = if self == Self::Pass { 2 } else { 3 };
        let forged = Forged::new(version, C, self.vrid(), self.vip());
        if self == Self::Pass { Forged { authentication: (1, PASSWORD), ..forged } } else { forged }
    }
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn signed(mode: &str, id: u8, key: &str) -> String {
    format!("auth_hmac {{\nkey {id} {key}\nactive_key {id}\nmode {mode}\n}}")
}

fn instance(router: Router, priority: u8, lines: &str) -> String {
    format!(
        "vrrp_instance {router:?} {{\n  interface eth0\n  virtual_router_id {}\n  priority {priority}\n  advert_int {}\n{lines}\n  \
         virtual_ipaddress {{\n    {}/32\n  }}\n}}\n",
        router.vrid(),
        router.interval().as_secs_f64(),
        router.vip()
    )
}

fn lab() -> Result<Lab> {
    Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24"), host("c", "10.0.0.31/24")])
}

fn tap(lab: &Lab) -> Result<Tap> {
    Tap::start(lab, &[("a", "eth0"), ("b", "eth0")])
}

fn pair<'l>(ctx: &Ctx, lab: &'l Lab, config: impl Fn(u8) -> String) -> Result<[Director<'l>; 2]> {
    let mut a = ctx.director("a", lab.host("a"), &config(HIGH))?.args(&["-P"]);
    let mut b = ctx.director("b", lab.host("b"), &config(LOW))?.args(&["-P"]);
    a.start_and_wait()?;
    b.start_and_wait()?;
    Ok([a, b])
}

/// Waits until `a` alone has the address of each of `routers`.
fn settled(a: &Netns, b: &Netns, routers: &[Router]) -> Result<()> {
    let there =
        |ns: &Netns| routers.iter().map(|router| vip::held(ns, router.vip())).collect::<Result<Vec<bool>>>();
    wait::until_ok("all addresses on a alone", START, || {
        let (on_a, on_b) = (there(a)?, there(b)?);
        if on_a.iter().all(|one| *one) && !on_b.contains(&true) {
            Ok(())
        } else {
            Err(anyhow!("on a {on_a:?}, on b {on_b:?}"))
        }
    })
}

fn of_instance(director: &Director<'_>, router: Router) -> Result<Value> {
    let mut status = director.peek()?;
    let instances = status["vrrp"]["instances"].as_array_mut().context("instances of the status")?;
    let wanted = instances.iter_mut().find(|one| one["vrid"] == router.vrid());
    Ok(wanted.with_context(|| format!("{router:?} in the status"))?.take())
}

fn refused(director: &Director<'_>, router: Router, cause: &str) -> Result<u64> {
    Ok(of_instance(director, router)?["adverts_dropped"][cause].as_u64().unwrap_or_default())
}

/// State and its begin of each virtual router: the same before and after when nothing happened between.
fn states(directors: &[Director<'_>; 2]) -> Result<Vec<String>> {
    let mut states = Vec::new();
    for director in directors {
        for router in ROUTERS {
            let instance = of_instance(director, router)?;
            states.push(format!("{router:?} {} since {}", instance["state"], instance["since"]));
        }
    }
    Ok(states)
}

/// A kind of flood.
struct Flood {
    name: &'static str,
    make: fn(Router, Ipv4Addr) -> Vec<u8>,
    /// The cause that is counted for each virtual router; `None` where the kernel's filter lets nothing through, or where
    /// the kind does not exist.
    counted: [Option<&'static str>; 3],
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "junk of protocol 112",
        make: |router, source| {
            let mut payload = vec![0; fastrand::usize(8..64)];
            fastrand::fill(&mut payload);
            payload[1] = router.vrid();
            forge::datagram(source, 255, &payload)
        },
        counted: [Some("version"), Some("version"), Some("version")],
    },
    Flood {
        name: "other VRIDs",
        make: |router, source| Forged { source, vrid: 99, ..router.forged() }.datagram(),
        counted: [None; 3],
    },
    Flood {
        name: "TTL 64",
        make: |router, source| Forged { source, ttl: 64, ..router.forged() }.datagram(),
        counted: [Some("ttl"), Some("ttl"), Some("ttl")],
    },
    Flood {
        name: "wrong checksums",
        make: |router, source| Forged { source, error: 1, ..router.forged() }.datagram(),
        counted: [Some("checksum"), Some("checksum"), None],
    },
    Flood {
        name: "wrong authentication",
        make: |router, source| {
            match router {
                Router::Pass => Forged { source, authentication: (1, *b"guess\0\0\0"), ..router.forged() },
                Router::Plain | Router::Signed => Forged { source, trailer: trailer(), ..router.forged() },
            }
            .datagram()
        },
        counted: [Some("auth_failure"), Some("length"), Some("auth_ext_invalid_hmac")],
    },
];

/// A trailer of the right form and time that nobody signed.
fn trailer() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut trailer = vec![1, 1, 0, 0];
    trailer.extend(u32::try_from(now).unwrap_or_default().to_be_bytes());
    trailer.extend([0; 20]);
    trailer
}

/// Time of each flood: `LBD_FLOOD_SECONDS`, 2 by default.
fn flood_time() -> Duration {
    let seconds = std::env::var("LBD_FLOOD_SECONDS").ok().and_then(|word| word.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Floods of five kinds, as many as one thread can send: nothing changes, and all of it is counted.
///
/// The directors have a real-time priority as the README advises: each wants half of a core, and so do others here.
pub fn floods(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let tap = tap(&lab)?;
    let directors = pair(ctx, &lab, |priority| {
        let routers = ROUTERS.iter().map(|router| router.config(priority)).collect::<String>();
        format!("global_defs {{\n  vrrp_rt_priority 10\n}}\n{routers}")
    })?;
    let (a, b) = (lab.host("a"), lab.host("b"));
    settled(a, b, &ROUTERS)?;
    let sender = Sender::new(lab.host("c"), C)?;
    let lines = |director: &Director<'_>| director.log().lines().count();
    let lines_before = directors.each_ref().map(lines);
    let mut memory_before = None;
    for flood in FLOODS {
        let mut tries = 0;
        loop {
            tries += 1;
            let (result, late) = endure(flood, &sender, &tap, &directors)?;
            match result {
                Ok(()) => break,
                // A machine that sleeps for much of an interval by itself shows nothing.
                Err(error) if late > INTERVAL / 2 && tries < TRIES => step!("again, not counted: {error:#}"),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{}: the machine was {late:?} late", flood.name));
                }
            }
            settled(a, b, &ROUTERS).with_context(|| format!("after {}", flood.name))?;
        }
        memory_before.get_or_insert(memory(&directors)?);
    }
    settled(a, b, &ROUTERS)?;
    // After the first: what is taken once for good has been taken then.
    let (before, after) = (memory_before.context("a flood")?, memory(&directors)?);
    step!("memory {before:?} KiB after the first flood, {after:?} KiB after the last");
    for (before, after) in before.into_iter().zip(after) {
        ensure!(after < before + 4096, "memory has grown from {before} to {after} KiB");
    }
    for (director, before) in directors.iter().zip(lines_before) {
        let more = lines(director) - before;
        step!("{more} lines of log");
        // For each virtual router and for others' ones 64, and a line here and there.
        ensure!(more <= 5 * 64, "{more} lines of log");
    }
    Ok(())
}

/// One flood: what is wrong with what came of it, and how late the machine was meanwhile.
fn endure(
    flood: &Flood,
    sender: &Sender,
    tap: &Tap,
    directors: &[Director<'_>; 2],
) -> Result<(Result<()>, Duration)> {
    let datagrams: Vec<Vec<u8>> = ROUTERS
        .iter()
        .cycle()
        .zip(200..=254)
        .map(|(router, last)| (flood.make)(*router, Ipv4Addr::new(10, 0, 0, last)))
        .collect();
    let before = states(directors)?;
    let counters = counters(directors, flood)?;
    let (since, time) = (tap::now(), flood_time());
    let cpu = processor_time(directors)?;
    let (sent, late) = under_watch(|| {
        let sent = sender.flood(&datagrams, time)?;
        // The last advert before the flood and the first after it belong to its gaps.
        wait::pause(INTERVAL * 2);
        Ok(sent)
    })?;
    let busy = processor_time(directors)?.into_iter().zip(cpu).map(|(now, before)| now - before);
    let busy: Vec<Duration> = busy.collect();
    let rate = |count: u64| count / time.as_secs().max(1);
    step!(
        "{}: {} a second for {time:?}; a and b used {busy:?} of processor; the machine was up to {late:?} late",
        flood.name,
        rate(sent)
    );
    let mut uncounted = Vec::new();
    for ((name, router, cause), before) in counters {
        let now = refused(&directors[name], router, cause)?;
        step!("    {cause} of {router:?} on {}: {} a second", ["a", "b"][name], rate(now - before));
        if now == before {
            uncounted.push((router, cause));
        }
    }
    let after = states(directors)?;
    let judge = || {
        ensure!(sent > 1000, "a flood of {sent}");
        ensure!(before == after, "states changed from {before:?} to {after:?}");
        let gaps = gaps(tap, since)?;
        step!("    longest gaps {gaps:?}");
        for (router, gap) in gaps {
            ensure!(gap < 3 * router.interval(), "{router:?} was silent for {gap:?}");
        }
        ensure!(uncounted.is_empty(), "not counted: {uncounted:?}");
        Ok(())
    };
    Ok((judge(), late))
}

type Counted = ((usize, Router, &'static str), u64);

fn counters(directors: &[Director<'_>; 2], flood: &Flood) -> Result<Vec<Counted>> {
    let mut counters = Vec::new();
    for (name, director) in directors.iter().enumerate() {
        for (router, cause) in ROUTERS.into_iter().zip(flood.counted) {
            if let Some(cause) = cause {
                counters.push(((name, router, cause), refused(director, router, cause)?));
            }
        }
    }
    Ok(counters)
}

/// Does `work`; how late the machine was meanwhile.
fn under_watch<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| wait::oversleep(&stop));
        let result = work();
        stop.store(true, Ordering::Relaxed);
        Ok((result?, machine.join().map_err(|_| anyhow!("panicked"))?))
    })
}

/// Of each virtual router the longest time between two adverts, all of which must be of `a`.
fn gaps(tap: &Tap, since: Duration) -> Result<BTreeMap<Router, Duration>> {
    let mut last: BTreeMap<Router, Duration> = ROUTERS.into_iter().map(|router| (router, since)).collect();
    let mut longest = BTreeMap::new();
    let now = tap::now();
    for advert in tap.since(since, crate::tap::Frame::vrrp) {
        ensure!(advert.port == 0, "b sent {advert:?}");
        let router = ROUTERS.into_iter().find(|router| router.vrid() == advert.vrid).context("a VRID")?;
        let before = last.insert(router, advert.at).unwrap_or(since);
        let gap: &mut Duration = longest.entry(router).or_default();
        *gap = advert.at.saturating_sub(before).max(*gap);
    }
    for (router, last) in last {
        let gap = longest.entry(router).or_default();
        *gap = now.saturating_sub(last).max(*gap);
    }
    Ok(longest)
}

/// Resident memory in KiB.
fn memory(directors: &[Director<'_>; 2]) -> Result<[u64; 2]> {
    let of = |director: &Director<'_>| -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", director.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).context("VmRSS")
    };
    Ok([of(&directors[0])?, of(&directors[1])?])
}

/// Processor time, user's and kernel's, in hundredths of a second (proc_pid_stat(5)).
fn processor_time(directors: &[Director<'_>; 2]) -> Result<[Duration; 2]> {
    let of = |director: &Director<'_>| -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", director.pid()?))?;
        let (_, fields) = stat.rsplit_once(") ").context("stat")?;
        let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    };
    Ok([of(&directors[0])?, of(&directors[1])?])
}

/// Somebody on the link says that he owns the addresses: believed, unless adverts are signed.
pub fn forged_owner(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let directors =
        pair(ctx, &lab, |priority| ROUTERS.iter().map(|router| router.config(priority)).collect::<String>())?;
    let (a, b) = (lab.host("a"), lab.host("b"));
    settled(a, b, &ROUTERS)?;
    let guard = vip::Masters::start(a, b, Router::Signed.vip(), ctx.poll())?;
    let sender = Sender::new(lab.host("c"), C)?;
    let mut datagrams: Vec<Vec<u8>> = ROUTERS.iter().map(|router| router.forged().datagram()).collect();
    datagrams.push(Forged { trailer: trailer(), ..Router::Signed.forged() }.datagram());
    let stream = Stream::start(sender, datagrams, INTERVAL);
    for router in [Router::Pass, Router::Plain] {
        vip::expect(a, router.vip(), false, Duration::from_secs(2))
            .with_context(|| format!("{router:?}: a does not believe the forger"))?;
    }
    // Longer than a Backup's master down interval of version 2: the forger keeps both down.
    wait::throughout("nobody but the forger is master", Duration::from_secs(4), || {
        for router in [Router::Pass, Router::Plain] {
            ensure!(!vip::held(a, router.vip())? && !vip::held(b, router.vip())?, "{router:?}");
        }
        Ok(())
    })?;
    for director in &directors {
        for cause in ["auth_ext_missing", "auth_ext_invalid_hmac"] {
            ensure!(refused(director, Router::Signed, cause)? > 0, "{cause} was not counted");
        }
    }
    let held = guard.finish()?;
    ensure!(held.b.is_empty() && matches!(held.a.as_slice(), [(_, None)]), "the signed one: {held:?}");
    stream.finish()?;
    settled(a, b, &ROUTERS).context("the forger has gone")
}

/// Signatures are brought in without a moment of two masters or none; then replays and wrong keys are refused by name.
pub fn signatures(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let tap = tap(&lab)?;
    let config = |priority, lines: &str| instance(Router::Signed, priority, &format!("version 3\n{lines}"));
    let [mut a, mut b] = pair(ctx, &lab, |priority| config(priority, ""))?;
    let vip = Router::Signed.vip();
    settled(a.ns(), b.ns(), &[Router::Signed])?;
    let guard = vip::Masters::start(a.ns(), b.ns(), vip, ctx.poll())?;
    ensure!(!last(&tap)?.signed(), "signed before it was configured");
    for mode in ["receive-only", "permissive", "enforce"] {
        // The Backup first.
        for (director, priority) in [(&b, LOW), (&a, HIGH)] {
            load(director, &config(priority, &signed(mode, 1, KEY))).context(mode)?;
            // Longer than the Backup's master down interval.
            wait::pause(5 * INTERVAL);
        }
        let signed = last(&tap)?.signed();
        ensure!(signed == (mode != "receive-only"), "{mode}: signed is {signed}");
    }
    let held = guard.finish()?;
    ensure!(held.b.is_empty() && matches!(held.a.as_slice(), [(_, None)]), "mastership was lost: {held:?}");
    for director in [&a, &b] {
        ensure!(!director.log().contains("advertisement: "), "an advert was refused on the way");
    }
    step!("receive-only, permissive, enforce: a was master all the time");

    // Who sends the dead master's last words again keeps nobody quiet.
    let words = last(&tap)?;
    a.kill();
    let stream = Stream::start(Sender::new(lab.host("c"), C)?, vec![words.packet], INTERVAL / 4);
    let taken =
        wait::until("b takes over although a's last advert is replayed", Duration::from_secs(3), || {
            tap.since(words.at, |frame| frame.vrrp().filter(|one| one.port == 1)).into_iter().next()
        })?;
    stream.finish()?;
    let (took, due) =
        (taken.at.saturating_sub(words.at), 3 * INTERVAL + INTERVAL * (256 - u32::from(LOW)) / 256);
    step!("b took over {took:?} after the advert that was replayed, due {due:?}");
    // a may have sent another one before it died.
    ensure!(took <= due + INTERVAL + ctx.slack(), "took {took:?}, due {due:?}");
    let replays = refused(&b, Router::Signed, "auth_ext_replay")?;
    ensure!(replays > 0, "no replay was counted");
    ensure!(b.log().contains("auth_ext_replay"), "no replay in b's log");

    for (id, key, cause) in
        [(1, "another key of as many octets...", "auth_ext_invalid_hmac"), (2, KEY, "auth_ext_unknown_key")]
    {
        let key = if id == 1 { hex(key) } else { key.to_owned() };
        let lines = config(HIGH, &signed("enforce", id, &key));
        a.configure(&lines)?;
        if a.running() {
            load(&a, &lines)?
        } else {
            a.start_and_wait()?
        }
        wait::until_ok(&format!("{cause} in counters and log"), START, || {
            ensure!(refused(&b, Router::Signed, cause)? > 0, "not counted");
            let log = b.log();
            let told = log.lines().find(|line| line.contains(cause)).context("not in the log")?;
            ensure!(told.contains("Signed") && told.contains("10.0.0.11"), "{told}");
            step!("{told}");
            Ok(())
        })?;
    }
    b.stop().map(drop)
}

fn hex(text: &str) -> String {
    "hex:".to_owned() + &text.bytes().map(|octet| format!("{octet:02x}")).collect::<String>()
}

fn last(tap: &Tap) -> Result<Vrrp> {
    tap.since(Duration::ZERO, crate::tap::Frame::vrrp).pop().context("no advert was sent")
}

/// Reloads and waits until the new configuration runs.
fn load(director: &Director<'_>, config: &str) -> Result<()> {
    let generation = |status: Value| status["config"]["generation"].as_u64();
    let before = generation(director.peek()?);
    director.configure(config)?;
    director.reload()?;
    wait::until("the new configuration", START, || (generation(director.peek().ok()?) > before).then_some(()))
}

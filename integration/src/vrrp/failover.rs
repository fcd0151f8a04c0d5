//! How late a Backup takes over: from the last advertisement of a scripted master to the first of the director, beyond what
//! the protocol itself asks for; then to gratuitous ARP of each virtual address and to the last one on the interface.
//!
//! lbd and keepalived each have a link, a scripted master and one start for many take-overs, which alternate.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::addresses::Addresses;
use super::capture::{Capture, Seen};
use super::frame::Frame;
use super::master::{Master, Pace, Script};
use super::{milliseconds, now, vip};
use crate::build::Binaries;
use crate::director::{Daemon, Director};
use crate::netns::Netns;
use crate::topology::{Lab, host};
use crate::wait;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const VRID: u8 = 51;
/// The director's, keepalived's default.
pub const PRIORITY: u8 = 100;
/// Of the virtual addresses so many are in the advertisements, which have room for 255; the others are excluded.
const ADVERTISED: usize = 250;
/// The director is a Backup again, and for so long nothing has happened.
const CALM: Duration = Duration::from_millis(100);
/// Most that any step beyond the protocol's own times may take.
const LIMIT: Duration = Duration::from_secs(20);
/// A wait that is worth using for the other daemon.
const LONG: Duration = Duration::from_millis(1500);

/// How the master goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed, its link cut: nothing more comes.
    Kill,
    /// An orderly stop: an advertisement of priority 0.
    Stop,
}

/// What is measured at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Version and interval.
    pub pace: Pace,
    /// Virtual addresses.
    pub vips: usize,
    /// How the master goes.
    pub end: End,
}

/// All cells, those of one start beside each other.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for pace in [Pace::V2(1), Pace::V3(10), Pace::V3(1)] {
        for vips in [1, 100, 1000] {
            cells.extend([End::Kill, End::Stop].map(|end| Cell { pace, vips, end }));
        }
    }
    cells
}

impl Cell {
    /// Time from the master's last advertisement to the director's first, by the protocol.
    pub fn formula(self) -> Duration {
        match self.end {
            End::Kill => self.pace.master_down(PRIORITY),
            End::Stop => self.pace.skew(PRIORITY),
        }
    }

    /// Whether its name matches `INTERVAL:VIPS:END`, of which any part may be empty or left out.
    pub fn matches(self, pattern: &str) -> bool {
        let name = self.to_string();
        let mut name = name.split(':');
        pattern.split(':').all(|part| name.next().is_some_and(|own| part.is_empty() || part == own))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Kill => "kill",
            End::Stop => "stop",
        };
        write!(f, "{}:{}:{end}", self.pace.interval().as_secs_f64(), self.vips)
    }
}

/// One take-over; all in milliseconds after the moment at which the protocol lets it happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// First advertisement.
    pub advert: f64,
    /// First gratuitous ARP of the first virtual address that had one.
    pub first_arp: f64,
    /// First gratuitous ARP of the virtual address that had it last.
    pub last_arp: f64,
    /// The last virtual address is on the interface (exact to 1 ms).
    pub last_address: f64,
}

/// lbd's and keepalived's take-over, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// lbd's.
    pub lbd: Sample,
    /// keepalived's.
    pub keepalived: Sample,
}

/// What a bed is made of.
#[derive(Clone, Debug)]
pub struct Bed {
    /// lbd's programs.
    pub binaries: Binaries,
    /// `vrrp_rt_priority` of both daemons.
    pub real_time: Option<u8>,
}

impl Bed {
    /// Measures cells of the same pace and number of addresses, `n` pairs each; `done` gets each cell's.
    ///
    /// # Errors
    /// When a director does not take over, or not all of it, within 20 s of its time.
    pub fn run(&self, cells: &[Cell], n: usize, mut done: impl FnMut(Cell, Vec<Pair>)) -> Result<()> {
        let Some(first) = cells.first() else { return Ok(()) };
        let labs = [lab()?, lab()?];
        let [one, two] = &labs;
        let mut sides =
            [Side::start(self, Daemon::Lbd, one, first)?, Side::start(self, Daemon::Keepalived, two, first)?];
        for side in &mut sides {
            side.ready().with_context(|| side.director.log())?;
        }
        for cell in cells {
            let pairs =
                if cell.formula() > LONG { staggered(&sides, *cell, n) } else { in_turn(&sides, *cell, n) };
            done(*cell, pairs.with_context(|| cell.to_string())?);
        }
        Ok(())
    }

    fn config(&self, cell: &Cell) -> Result<String> {
        let mut text = String::from("global_defs {\n  router_id bench\n");
        if let Some(priority) = self.real_time {
            writeln!(text, "  vrrp_rt_priority {priority}")?;
        }
        let version = match cell.pace {
            Pace::V2(_) => 2,
            Pace::V3(_) => 3,
        };
        let interval = cell.pace.interval().as_secs_f64();
        writeln!(
            text,
            "}}\nvrrp_instance V {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {VRID}\n  priority {PRIORITY}\n  \
             version {version}\n  advert_int {interval}\n  virtual_ipaddress {{"
        )?;
        for place in 0..cell.vips {
            if place == ADVERTISED {
                writeln!(text, "  }}\n  virtual_ipaddress_excluded {{")?;
            }
            writeln!(text, "    {}/32 dev eth0", vip(place))?;
        }
        text.push_str("  }\n}\n");
        Ok(text)
    }
}

fn lab() -> Result<Lab> {
    Lab::new(&[host("a", &format!("{MASTER}/16")), host("b", &format!("{DIRECTOR}/16"))])
}

/// One after the other; who begins changes from pair to pair.
fn in_turn(sides: &[Side<'_>; 2], cell: Cell, n: usize) -> Result<Vec<Pair>> {
    let [lbd, keepalived] = sides;
    let take = |side: &Side<'_>| -> Result<Sample> {
        side.arm(cell)?;
        side.harvest(cell)
    };
    let pair = |number: usize| -> Result<Pair> {
        if number.is_multiple_of(2) {
            let lbd = take(lbd)?;
            Ok(Pair { lbd, keepalived: take(keepalived)? })
        } else {
            let keepalived = take(keepalived)?;
            Ok(Pair { lbd: take(lbd)?, keepalived })
        }
    };
    (0..n).map(pair).collect()
}

/// Half a wait apart: while one daemon waits for seconds, the other takes over, gives back and is armed again.
fn staggered(sides: &[Side<'_>; 2], cell: Cell, n: usize) -> Result<Vec<Pair>> {
    let [lbd, keepalived] = sides;
    let mut pairs = Vec::new();
    lbd.arm(cell)?;
    wait::pause(cell.formula() / 2);
    keepalived.arm(cell)?;
    for number in 1..=n {
        let ours = lbd.harvest(cell)?;
        if number < n {
            lbd.arm(cell)?;
        }
        pairs.push(Pair { lbd: ours, keepalived: keepalived.harvest(cell)? });
        if number < n {
            keepalived.arm(cell)?;
        }
    }
    Ok(pairs)
}

/// A daemon, its link and its master.
struct Side<'lab> {
    daemon: Daemon,
    capture: Capture,
    addresses: Addresses,
    master: Master,
    director: Director<'lab>,
    vips: usize,
}

impl<'lab> Side<'lab> {
    fn start(bed: &Bed, daemon: Daemon, lab: &'lab Lab, cell: &Cell) -> Result<Self> {
        let (there, here): (&Netns, &'lab Netns) = (lab.host("a"), lab.host("b"));
        let script = Script {
            address: MASTER,
            vrid: VRID,
            pace: cell.pace,
            vips: (0..cell.vips.min(ADVERTISED)).map(vip).collect(),
        };
        // More often than the interval: a Backup is one again sooner, and none is taken for dead on a busy machine.
        let every = (cell.pace.interval() / 2).min(Duration::from_millis(20));
        let mut side = Self {
            daemon,
            capture: Capture::start(there, Duration::from_millis(2))?,
            addresses: Addresses::start(here)?,
            master: Master::start(there, &script, every)?,
            director: Director::of(
                daemon,
                Some(bed.binaries.clone()),
                daemon.word(),
                here,
                &bed.config(cell)?,
            )?
            .quiet(),
            vips: cell.vips,
        };
        side.director.start()?;
        Ok(side)
    }

    /// Waits until the daemon, alone on its link, has taken over, and makes it a Backup.
    fn ready(&mut self) -> Result<()> {
        let limit = Duration::from_secs(10) + LIMIT;
        wait::until_ok(&format!("{} alone takes over", self.daemon.word()), limit, || {
            let adverts = self.capture.look(|seen| seen.iter().any(|one| is_advert_of(one, DIRECTOR)));
            let count = self.addresses.count();
            if adverts && count == self.vips { Ok(()) } else { Err(format!("{count} virtual addresses")) }
        })?;
        self.recover()
    }

    /// The master comes back; the daemon becomes a Backup and is left in peace.
    fn recover(&self) -> Result<()> {
        self.master.keep()?;
        let start = Instant::now();
        loop {
            let what = format!("{} gives its addresses back", self.daemon.word());
            wait::until_ok(&what, LIMIT, || match self.addresses.count() {
                0 => Ok(()),
                count => Err(format!("{count} are left")),
            })?;
            let since = now();
            wait::pause(CALM);
            let calm = self.addresses.count() == 0
                && self.capture.look(|seen| {
                    !seen
                        .iter()
                        .rev()
                        .take_while(|one| one.at >= since)
                        .any(|one| is_advert_of(one, DIRECTOR))
                });
            if calm {
                self.capture.take()?;
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                bail!("{} does not stay a Backup", self.daemon.word());
            }
        }
    }

    fn arm(&self, cell: Cell) -> Result<()> {
        match cell.end {
            End::Kill => {
                // One more, so that there is a last one in the capture.
                self.master.keep()?;
                self.master.silence()
            }
            End::Stop => self.master.resign(),
        }
    }

    fn harvest(&self, cell: Cell) -> Result<Sample> {
        let what = format!("{} takes over", self.daemon.word());
        let sample = wait::until_ok(&what, cell.formula() + LIMIT, || {
            // Cheap first: nobody is to count a thousand addresses again and again while they are set.
            match self.addresses.count() {
                count if count < self.vips => Err(format!("{count} virtual addresses")),
                _ => self.sample(cell),
            }
        })
        .with_context(|| self.director.log())?;
        self.recover()?;
        Ok(sample)
    }

    fn sample(&self, cell: Cell) -> Result<Sample, String> {
        let last_address = self.addresses.youngest().ok_or("no virtual address")?;
        self.capture.look(|seen| {
            let taken = Taken::of(seen, cell.end).ok_or("no advertisement")?;
            if taken.announced < self.vips {
                return Err(format!("gratuitous ARP of {} addresses", taken.announced));
            }
            let due = taken.left + cell.formula();
            Ok(Sample {
                advert: milliseconds(due, taken.advert),
                first_arp: milliseconds(due, taken.first_arp),
                last_arp: milliseconds(due, taken.last_arp),
                last_address: milliseconds(due, last_address),
            })
        })
    }
}

/// A take-over as the link saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    /// The master's last advertisement.
    left: Duration,
    /// The director's first.
    advert: Duration,
    first_arp: Duration,
    last_arp: Duration,
    /// Virtual addresses of which there was gratuitous ARP.
    announced: usize,
}

impl Taken {
    fn of(seen: &[Seen], end: End) -> Option<Self> {
        let last = |one: &Seen| match one.frame {
            Frame::Advert { source: MASTER, priority, .. } => (priority == 0) == (end == End::Stop),
            _ => false,
        };
        let place = seen.iter().rposition(last)?;
        let left = seen.get(place)?.at;
        let after = seen.get(place + 1..)?;
        let advert = after.iter().find(|one| is_advert_of(one, DIRECTOR))?.at;
        let mut announced = BTreeSet::new();
        let mut arps = after.iter().filter_map(|one| match one.frame {
            Frame::GratuitousArp { address } if super::is_vip(address) => {
                announced.insert(address).then_some(one.at)
            }
            _ => None,
        });
        let first_arp = arps.next()?;
        let last_arp = arps.max().unwrap_or(first_arp);
        Some(Self { left, advert, first_arp, last_arp, announced: announced.len() })
    }
}

fn is_advert_of(seen: &Seen, host: Ipv4Addr) -> bool {
    matches!(seen.frame, Frame::Advert { source, priority, .. } if source == host && priority != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_by_name() {
        let all = cells();
        assert_eq!(all.len(), 18);
        let matching = |pattern| all.iter().filter(|cell| cell.matches(pattern)).count();
        for (pattern, want) in [
            ("1:1000:kill", 1),
            ("0.01:1:stop", 1),
            ("0.1", 6),
            ("0.01:100", 2),
            ("::stop", 9),
            (":1000", 6),
            ("", 18),
            ("2", 0),
            ("1:1:kill:x", 0),
        ] {
            assert_eq!(matching(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn a_take_over_is_read_from_the_link() {
        let at = Duration::from_millis;
        let advert =
            |ms, source, priority| Seen { at: at(ms), frame: Frame::Advert { source, vrid: VRID, priority } };
        let arp = |ms, place| Seen { at: at(ms), frame: Frame::GratuitousArp { address: vip(place) } };
        let seen = [
            advert(0, MASTER, 200),
            advert(10, MASTER, 200),
            advert(20, MASTER, 0),
            advert(47, DIRECTOR, 100),
            arp(50, 0),
            arp(51, 0),
            arp(52, 1),
            arp(60, 1),
        ];
        let taken = Taken { left: at(10), advert: at(47), first_arp: at(50), last_arp: at(52), announced: 2 };
        assert_eq!(Taken::of(&seen, End::Kill), Some(taken));
        assert_eq!(Taken::of(&seen, End::Stop), Some(Taken { left: at(20), ..taken }));
        assert_eq!(Taken::of(&seen[..3], End::Stop), None, "not yet");
        assert_eq!(Taken::of(&seen[..5], End::Stop).map(|taken| taken.announced), Some(1));
    }

    #[test]
    fn configuration_with_more_addresses_than_an_advertisement_holds() {
        let bed =
            Bed { binaries: Binaries { lbd: "lbd".into(), lbctl: "lbctl".into() }, real_time: Some(50) };
        let text = bed.config(&Cell { pace: Pace::V3(1), vips: 1000, end: End::Kill }).expect("text");
        let (listed, excluded) = text.split_once("virtual_ipaddress_excluded").expect("both");
        assert_eq!((listed.matches("/32").count(), excluded.matches("/32").count()), (250, 750));
        assert!(text.contains("advert_int 0.01\n") && text.contains("vrrp_rt_priority 50\n"), "{text}");
    }
}

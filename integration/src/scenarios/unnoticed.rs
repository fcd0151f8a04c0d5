//! What a client, a peer and the table see while a director is replaced or reloaded: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::Ctx;
use super::pair::{KEY, SERVICE, VIP};
use crate::client::{Held, Outage, Probe};
use crate::netns::Netns;
use crate::step;
use crate::table::{self, Table};
use crate::vip;
use crate::wait::{self, pause};

/// Longest time a client may be without an answer.
const LONGEST_GAP: Duration = Duration::from_millis(200);

/// Traffic to the pair's service, and watches on its address and table.
pub struct Witness {
    on_a: vip::Watch,
    on_peer: Option<vip::Watch>,
    tables: table::Watch,
    held: Held,
    probe: Probe,
    stop: Arc<AtomicBool>,
    machine: JoinHandle<Duration>,
}

/// What was seen.
pub struct Seen {
    /// Each different table, weights included.
    pub tables: Vec<(Instant, Table)>,
    /// Of new connections.
    pub outage: Outage,
}

impl Witness {
    /// Begins; `a` holds the address and the peer does not.
    pub fn start(ctx: &Ctx, client: &Netns, a: &Netns, peer: Option<&Netns>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let machine = {
            let stop = stop.clone();
            std::thread::spawn(move || wait::oversleep(&stop))
        };
        let this = Self {
            on_a: vip::Watch::start(a, VIP, ctx.poll())?,
            on_peer: peer.map(|peer| vip::Watch::start(peer, VIP, ctx.poll())).transpose()?,
            tables: table::Watch::start(a, ctx.poll())?,
            held: Held::open(client, SERVICE)?,
            probe: Probe::start(client, SERVICE)?,
            stop,
            machine,
        };
        pause(Duration::from_millis(300));
        Ok(this)
    }

    /// Ends, and demands that the address and the service stayed, that the held connection went on and that new ones were
    /// answered all the time.
    pub fn finish(self, what: &str) -> Result<Seen> {
        let Self { on_a, on_peer, tables, held, probe, stop, machine } = self;
        let server = held.server.clone();
        let (slowest, outage) = (held.finish(), probe.finish()?);
        stop.store(true, Ordering::Relaxed);
        let machine = machine.join().map_err(|_| anyhow!("the sleeper panicked"))?;
        let (on_a, tables) = (on_a.finish()?, tables.finish()?);
        step!(
            "{what}: longest gap {:?} (the machine was late by {machine:?}), {:?}, {:?}; connection to {server}: slowest echo {slowest:?}",
            outage.longest,
            outage.answers,
            outage.failures
        );
        slowest.with_context(|| format!("{what}: the connection to {server} did not go on"))?;
        ensure!(on_a.len() == 1 && on_a[0].1.is_none(), "{what}: the address left: {on_a:?}");
        if let Some(on_peer) = on_peer {
            let on_peer = on_peer.finish()?;
            ensure!(on_peer.is_empty(), "{what}: the peer took over: {on_peer:?}");
        }
        for (_, table) in &tables {
            let service =
                table.get(KEY).with_context(|| format!("{what}: the service was gone for a moment"))?;
            ensure!(!service.dests.is_empty(), "{what}: the service had no destination for a moment");
        }
        // A machine that stands still for a moment is no gap of the service.
        ensure!(
            outage.longest < LONGEST_GAP + machine,
            "{what}: the client was without an answer for {:?}; the machine was late by {machine:?}",
            outage.longest
        );
        Ok(Seen { tables, outage })
    }
}

//! The thread that has the host as virtual routers need it.
//!
//! Here: when the host is looked at, what is told, how steps are carried out. Not here: which steps (`plan`), which
//! settings (`sysctl`), waiting for answers (`talk`).

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::firewall::{self, Firewall};
use super::nft;
use super::plan::{Known, Seen, Settled, Step, Trouble, Wanted, plan};
use super::remembered::{File, Remembered};
use super::sysctl::{Failure, Needs, Settings};
use super::watch::Watch;
use super::{Order, Orders, Wants, message};
use crate::router::backoff::Backoff;
use crate::router::kernel;
use crate::router::mailbox::{Leave, Slot, Waker};
use crate::router::route::{self, Incoming, Refusal, Request};
use crate::router::talk::{Line, List, Outcome, Talk};

/// What could not be made is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// After a change the host is looked at so much later: changes come in crowds.
const SOON: Duration = Duration::from_millis(20);
/// ... and so long after the last look: what somebody removes again and again is made again this often at most.
const EVERY: Duration = Duration::from_millis(250);
/// That the packet filter was removed is said this often at most.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Looks at the host in a row while each leads to steps.
const ROUNDS: usize = 16;
/// Times that a list is read anew because it changed meanwhile.
const ATTEMPTS: usize = 5;

pub(super) struct Worker {
    orders: Arc<Slot<Orders>>,
    waker: Waker,
    line: Line,
    /// Of what goes wrong with looking and listening.
    trouble: Backoff,
    /// The last look failed.
    blind: bool,
    file: File,
    wants: Wants,
    number: u64,
    /// Virtual routers may still use what is wanted no more.
    keep: bool,
    known: Known,
    settings: Settings,
    nft: OsString,
    /// Tables of the packet filter that may be there of ours.
    tables: BTreeSet<String>,
    /// The filter that was set last.
    filtered: Option<Firewall>,
    /// Hears when somebody removes it.
    watch: Option<Watch>,
    told_removed: Option<Instant>,
    /// Indexes of interfaces whose changes matter.
    relevant: BTreeSet<u32>,
    /// When the host is to be looked at.
    look_at: Option<Instant>,
    looked: Option<Instant>,
    /// Troubles that were logged: what stands in the way, and what the kernel refused last.
    told: BTreeSet<Trouble>,
    refused: BTreeSet<Trouble>,
}

impl Talk for Worker {
    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Something that matters may be different.
    fn hear(&mut self, incoming: &Incoming<'_>) {
        if !self.line.socket.is_own(incoming) && self.matters(incoming) {
            self.look_soon();
        }
    }
}

impl Worker {
    pub fn new(
        orders: Arc<Slot<Orders>>,
        waker: Waker,
        (file, left): (File, Remembered),
        nft: OsString,
    ) -> io::Result<Self> {
        Ok(Worker {
            orders,
            waker,
            line: Line::open()?,
            trouble: Backoff::new(RETRY),
            blind: false,
            file,
            wants: Wants::default(),
            number: 0,
            keep: false,
            known: Known { made: left.links, given: left.given, ..Known::default() },
            settings: Settings::new(left.settings),
            nft,
            tables: left.tables,
            filtered: None,
            watch: None,
            told_removed: None,
            relevant: BTreeSet::new(),
            look_at: None,
            looked: None,
            told: BTreeSet::new(),
            refused: BTreeSet::new(),
        })
    }

    /// Until it is told to stop.
    pub fn run(&mut self) {
        loop {
            let Orders { wants, released, stop } = self.orders.take();
            let mut asked = None;
            if let Some(Order { number, wants, keep, done }) = wants {
                (self.wants, self.number, self.keep) = (wants, number, keep);
                self.look_at = Some(Instant::now());
                asked = Some(done);
            }
            if released == Some(self.number) && std::mem::take(&mut self.keep) {
                self.look_at = Some(Instant::now());
            }
            if let Some(leave) = stop {
                return self.stop(leave);
            }
            if self.look_at.is_some_and(|at| Instant::now() >= at) {
                self.look_at = None;
                self.looked = Some(Instant::now());
                match self.converge() {
                    Ok(()) => self.blind = false,
                    Err(error) => self.fails(&error),
                }
            }
            if let Some(done) = asked {
                let _gave_up = done.try_send(());
            }
            match self.wait() {
                Ok(true) if !self.blind => self.works(),
                Ok(_) => {}
                Err(error) => self.fails(&error),
            }
        }
    }

    /// After a panic.
    pub fn look_later(&mut self) {
        self.look_at = Some(Instant::now() + RETRY);
    }

    /// For orders, for changes, for the time to look; whether the socket was read.
    fn wait(&mut self) -> io::Result<bool> {
        let pause = self.trouble.pause(Instant::now());
        let until = [self.look_at, pause.map(|pause| Instant::now() + pause)].into_iter().flatten().min();
        let mut fds = vec![PollFd::new(self.waker.fd(), PollFlags::POLLIN)];
        if pause.is_none() {
            fds.push(PollFd::new(self.line.socket.fd(), PollFlags::POLLIN));
        }
        fds.extend(self.watch.as_ref().map(|watch| PollFd::new(watch.fd(), PollFlags::POLLIN)));
        let waited = route::wait(&mut fds, until);
        drop(fds);
        if waited.is_err() {
            // Nothing could be waited for, not even the end of a pause.
            std::thread::park_timeout(RETRY);
        }
        waited?;
        self.waker.reset();
        if self.is_filter_removed() {
            let now = Instant::now();
            // Somebody may do so again and again.
            if self.told_removed.is_none_or(|told| now.saturating_duration_since(told) > TELL_EVERY) {
                self.told_removed = Some(now);
                tracing::warn!("somebody removed the packet filter of virtual routers: it is set again");
            }
            self.filtered = None;
            self.look_soon();
        }
        if pause.is_some() {
            return Ok(false);
        }
        self.listen()?;
        if std::mem::take(&mut self.line.overrun) {
            // It may be anything.
            self.look_soon();
        }
        Ok(true)
    }

    fn is_filter_removed(&mut self) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        watch.removed(&self.tables).unwrap_or_else(|error| {
            tracing::warn!(%error, "nftables: whether somebody removes the packet filter is not seen any more");
            self.watch = None;
            false
        })
    }

    fn works(&mut self) {
        if self.trouble.worked() {
            tracing::info!("interfaces of virtual routers can be looked at again");
        }
    }

    /// A socket that fails may do so for ever.
    fn fails(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.blind = true;
        if self.trouble.failed(now) {
            tracing::error!(%error, "interfaces of virtual routers cannot be looked at; trying again every second");
        }
        match Line::open() {
            Ok(line) => self.line = line,
            Err(error) => tracing::debug!(%error, "rtnetlink"),
        }
        self.look_at = Some(now + self.trouble.pause(now).unwrap_or(SOON));
    }

    fn look_soon(&mut self) {
        let soon = Instant::now() + SOON;
        let at = self.looked.map_or(soon, |looked| soon.max(looked + EVERY));
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    fn matters(&self, incoming: &Incoming<'_>) -> bool {
        if self.wants.is_empty() && self.known.made.is_empty() {
            return false;
        }
        match incoming.kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                let Ok(message) = LinkMessage::parse(incoming.payload) else { return true };
                let named = |name: &str| {
                    let of_link = |one: &Wanted| one.link.name == name || one.link.parent == name;
                    self.wants.links.iter().any(of_link) || self.wants.promote.contains(name)
                };
                message::seen(&message)
                    .is_some_and(|seen| self.relevant.contains(&seen.index) || named(&seen.name))
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => AddressMessage::parse(incoming.payload)
                .is_ok_and(|message| self.relevant.contains(&message.header.index)),
            _ => false,
        }
    }

    /// Looks, and does what is to be done, until nothing is.
    fn converge(&mut self) -> io::Result<()> {
        let mut failed = false;
        for _ in 0..ROUNDS {
            let seen = self.look()?;
            self.forget_gone(&seen);
            let needs = Needs::of(&self.wants, &seen);
            let failures = self.adjust(&needs);
            let (steps, mut troubles) = plan(&self.wants.links, &seen, &self.known, self.keep);
            let done = steps.is_empty() || failed;
            troubles.extend(failures.iter().map(setting_trouble));
            // The settings go when what they are for is gone.
            if done && !self.keep {
                troubles.extend(self.settings.set_back(&needs).iter().map(setting_trouble));
            }
            self.tell(troubles);
            if done {
                break;
            }
            for step in steps {
                failed |= !self.carry_out(step)?;
            }
        }
        self.remember();
        failed |= !self.filter();
        if failed {
            self.look_at = Some(Instant::now() + RETRY);
        } else {
            self.refused.clear();
        }
        self.remember();
        Ok(())
    }

    /// Indexes of interfaces that are no more are given to others some time, and so are names.
    fn forget_gone(&mut self, seen: &[Seen]) {
        let is_there = |index: &u32| seen.iter().any(|one| one.index == *index);
        self.known.settled.retain(|index, _| is_there(index));
        self.known.indexes.retain(|index, _| is_there(index));
        self.settings.forget_gone(|name| seen.iter().any(|one| one.name == name));
        let matters = |one: &&Seen| {
            let of_link = |want: &Wanted| want.link.name == one.name || want.link.parent == one.name;
            self.wants.links.iter().any(of_link)
        };
        self.relevant = seen.iter().filter(matters).map(|one| one.index).collect();
    }

    fn adjust(&mut self, needs: &Needs) -> Vec<Failure> {
        let (changes, mut failures) = self.settings.compare(needs);
        if !changes.is_empty() {
            self.remember();
        }
        failures.extend(self.settings.carry_out(changes));
        failures
    }

    fn tell(&mut self, troubles: Vec<Trouble>) {
        let now: BTreeSet<Trouble> = troubles.into_iter().collect();
        for trouble in now.difference(&self.told) {
            tracing::warn!(interface = trouble.name, "{}", trouble.what);
        }
        self.told = now;
    }

    /// Whether it was done.
    fn carry_out(&mut self, step: Step) -> io::Result<bool> {
        match step {
            Step::Create { name, kind, parent, group, vrf } => {
                // Before the kernel has it: after a crash it is ours.
                self.known.made.insert(name.clone());
                self.known.given.remove(&name);
                self.remember();
                let message = message::creation(&name, &kind, parent, group, vrf);
                let refusal = self.request(RouteNetlinkMessage::NewLink(message), kernel::NEW)?;
                Ok(self.done(&name, "could not be made", refusal))
            }
            Step::Settle { index, name, settings } => {
                self.settle(&name, settings);
                self.known.settled.insert(index, settings);
                if self.known.made.contains(&name) {
                    self.known.indexes.insert(index, name);
                }
                Ok(true)
            }
            Step::Move { index, name, group, vrf } => {
                let message = message::moved(index, group, vrf);
                let refusal = self.request(RouteNetlinkMessage::SetLink(message), 0)?;
                Ok(self.done(&name, "could not be put into its group or VRF", refusal))
            }
            Step::AddAddress { index, name, address } => {
                let what = format!("{}/{}", address.address, address.prefix);
                self.known.given.entry(name).or_default().insert(address.address);
                self.remember();
                let message = kernel::addition(index, &address);
                let refusal = self.request(RouteNetlinkMessage::NewAddress(message), kernel::NEW)?;
                let refusal = refusal.filter(|refusal| refusal.errno != Errno::EEXIST);
                Ok(self.done(&what, "could not be added to a virtual router's own interface", refusal))
            }
            Step::RemoveAddress { index, name, address, prefix } => {
                let what = format!("{address}/{prefix}");
                let message = kernel::removal(index, address, prefix);
                let refusal = self.request(RouteNetlinkMessage::DelAddress(message), 0)?;
                let refusal = refusal.filter(|refusal| refusal.errno != Errno::EADDRNOTAVAIL);
                let done =
                    self.done(&what, "could not be removed from a virtual router's own interface", refusal);
                if done && let Some(given) = self.known.given.get_mut(&name) {
                    given.remove(&address);
                }
                Ok(done)
            }
            Step::SetUp { index, name } => {
                let refusal = self.request(RouteNetlinkMessage::SetLink(message::up(index)), 0)?;
                Ok(self.done(&name, "could not be set up", refusal))
            }
            Step::Delete { index, name } => {
                let refusal = self.request(RouteNetlinkMessage::DelLink(message::of(index)), 0)?;
                let refusal = refusal.filter(|refusal| refusal.errno != Errno::ENODEV);
                let done = self.done(&name, "could not be removed", refusal);
                if done {
                    self.known.settled.remove(&index);
                    // By the name that it was made with.
                    let name = self.known.indexes.remove(&index).unwrap_or(name);
                    self.known.made.remove(&name);
                    self.known.given.remove(&name);
                }
                Ok(done)
            }
        }
    }

    fn done(&mut self, name: &str, what: &str, refusal: Option<Refusal>) -> bool {
        let Some(refusal) = refusal else { return true };
        let trouble =
            Trouble { name: name.to_owned(), what: format!("{what}: {refusal}; trying again every second") };
        if self.refused.insert(trouble.clone()) {
            tracing::warn!(interface = trouble.name, "{}", trouble.what);
        }
        false
    }

    /// A system without IPv6, or with a /proc/sys that is read-only, is no reason to do without the interface.
    fn settle(&mut self, name: &str, settled: Settled) {
        let failures = if self.known.made.contains(name) {
            self.settings.settle(name, settled)
        } else {
            // Somebody else made it as it is wanted: it stays, and is left as it was.
            let (changes, mut failures) = self.settings.compare_own(name, settled);
            self.remember();
            failures.extend(self.settings.carry_out(changes));
            failures
        };
        if !failures.is_empty() {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            tracing::warn!(
                interface = name,
                "settings of the kernel could not be made, adverts or ARP may go wrong: {}",
                all.join("; ")
            );
        }
    }

    /// Has the packet filter as it is wanted; whether that succeeded.
    fn filter(&mut self) -> bool {
        let wanted = self.wants.firewall.clone();
        if self.filtered.as_ref() == Some(&wanted) || !wanted.is_needed() && self.tables.is_empty() {
            return true;
        }
        let before = self.tables.clone();
        let mut text: String = before.iter().map(|table| firewall::removal(table)).collect();
        if wanted.is_needed() {
            text.push_str(&wanted.text());
            self.tables.insert(wanted.table.clone());
            self.remember();
            if self.watch.is_none() {
                let opened = Watch::open().inspect_err(|error| tracing::debug!(%error, "nftables"));
                self.watch = opened.ok();
            }
        }
        if let Err(error) = nft::run(&self.nft, &text, nft::LIMIT) {
            if error.changed_nothing() {
                self.tables.clone_from(&before);
            }
            // What is in force then may be neither.
            self.filtered = None;
            let trouble = if wanted.is_needed() {
                let what = format!(
                    "the packet filter could not be set, traffic to virtual addresses is accepted and IGMP leaves over \
                     own interfaces: {error}; trying again every second"
                );
                Trouble { name: wanted.table, what }
            } else {
                let what = format!(
                    "the packet filter could not be removed and may still drop traffic: {error}; it is tried again every \
                     second, after a stop at the next start"
                );
                Trouble { name: before.into_iter().collect::<Vec<_>>().join(", "), what }
            };
            if self.refused.insert(trouble.clone()) {
                tracing::error!(table = trouble.name, "{}", trouble.what);
            }
            return false;
        }
        // It was replaced here.
        let _own_doing = self.is_filter_removed();
        if !wanted.is_needed() {
            self.watch = None;
        }
        self.tables.retain(|table| wanted.is_needed() && *table == wanted.table);
        self.filtered = Some(wanted);
        true
    }

    fn remember(&mut self) {
        let left = Remembered {
            links: self.known.made.clone(),
            given: self.known.given.clone(),
            settings: self.settings.before().clone(),
            tables: self.tables.clone(),
        };
        if let Err(error) = self.file.put(left) {
            tracing::warn!(
                %error,
                "what virtual routers changed on this host cannot be written down: after a crash it may be left"
            );
        }
    }

    fn stop(&mut self, leave: Leave) {
        match leave {
            Leave::Nothing => self.wants = Wants::default(),
            // Without lbd nobody needs it.
            Leave::Instances => self.wants.quiet_igmp = false,
            Leave::Everything => return,
        }
        self.keep = false;
        if let Err(error) = self.converge() {
            tracing::error!(%error, "interfaces of virtual routers may be left");
            for failure in self.settings.set_back(&Needs::default()) {
                tracing::error!("a setting of the kernel could not be set back: {failure}");
            }
            self.remember();
        }
    }

    /// All interfaces, with their addresses.
    fn look(&mut self) -> io::Result<Vec<Seen>> {
        for _ in 0..ATTEMPTS {
            self.line.overrun = false;
            let mut links = Vec::new();
            let mut addresses: HashMap<u32, Vec<(IpAddr, u8)>> = HashMap::new();
            let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
            let mut whole = self.read(request, |incoming| {
                let message = LinkMessage::parse(incoming.payload).ok();
                links.extend(message.as_ref().and_then(message::seen));
            })?;
            let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            whole &= self.read(request, |incoming| {
                let message = AddressMessage::parse(incoming.payload).ok();
                if let Some((index, ip, prefix)) = message.as_ref().and_then(message::address) {
                    addresses.entry(index).or_default().push((ip, prefix));
                }
            })?;
            if !whole {
                continue;
            }
            for link in &mut links {
                link.addresses = addresses.remove(&link.index).unwrap_or_default();
            }
            return Ok(links);
        }
        Err(io::Error::other("links and addresses change faster than they can be read"))
    }

    /// Whether the list is whole.
    fn read(&mut self, request: RouteNetlinkMessage, entry: impl FnMut(&Incoming<'_>)) -> io::Result<bool> {
        match self.entries(request, entry)? {
            List::Whole => Ok(true),
            List::Torn => Ok(false),
            List::Refused(refusal) => Err(io::Error::other(refusal)),
        }
    }

    /// The kernel's no, if it is one. When the answer was lost the next look tells.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<Refusal>> {
        let outcome = self.ask(vec![Request { message, flags }])?.pop();
        Ok(match outcome {
            Some(Outcome::Refused(refusal)) => Some(refusal),
            _ => None,
        })
    }
}

fn setting_trouble(failure: &Failure) -> Trouble {
    let what =
        format!("a setting of the kernel could not be made, adverts, ARP or IGMP may go wrong: {failure}");
    Trouble { name: failure.key.clone(), what }
}

//! Addresses on interfaces: a thread of its own that wants, watches and repairs them by rtnetlink.
//!
//! Here: the order of requests, time limits, what is told to whom. Not here: who is to hold an
//! address (the engine, `held`), messages (`kernel`), the socket (`route`).
//!
//! What is lost without our doing was taken by someone else: the kernel's messages about changes of
//! our own carry the socket's number.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use lbd_vrrp::{DeviceAddress, Interface, RouterId};
use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use tokio::sync::watch;

use super::held::{Book, Done, HeldKey, key};
use super::kernel::{self, AddressKey, Change, Mirror, Told};
use super::links::{LinkSettings, Links, Post};
use super::mailbox::{LEFTOVERS, Slot, Waker, Want, Wants};
use super::route::{self, Answer, DATAGRAM, Incoming, Refusal, RouteSocket};
use super::snapshot::Interfaces;

/// Time limit of the answers to a batch; they are there when it was sent.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a list.
const DUMP_LIMIT: Duration = Duration::from_secs(10);
/// Addresses that could not be added are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Datagrams taken before anything else is looked at.
const DATAGRAMS: usize = 4096;
/// Attempts at a list that changes while it is read, and at removals of which the answers were lost.
const ATTEMPTS: usize = 5;

/// What netconf tells the VRRP thread.
#[derive(Debug)]
pub(super) enum Report {
    /// Links and addresses are known and told; nothing is held.
    Ready,
    Interface(Interface),
    InterfaceGone(String),
    /// Its latest word was done; `holds`: it was to hold addresses.
    AddressesSet {
        router: RouterId,
        holds: bool,
    },
    AddressLost {
        router: RouterId,
        what: String,
    },
    /// Everything wanted was done; the thread ends.
    Stopped,
    /// It failed; if it can it starts anew and says `Ready` again.
    Failed(io::Error),
}

/// What both threads share.
#[derive(Debug)]
pub(super) struct Shared {
    wants: Slot<Wants>,
    links: Arc<Slot<Post>>,
    wake: Waker,
}

impl Shared {
    pub fn new() -> io::Result<Self> {
        Ok(Shared { wants: Slot::default(), links: Arc::default(), wake: Waker::new()? })
    }

    /// Says how links are watched; waits for nothing.
    pub fn watch_links(&self, settings: LinkSettings) {
        self.links.with(|post| post.settings = Some(settings));
        self.wake.wake();
    }

    /// Says what a router wants; waits for nothing.
    pub fn want(&self, want: Want) {
        self.wants.with(|wants| wants.put(want));
        self.wake.wake();
    }

    /// Says what all routers want, to a thread that is ready and knows nothing of it; waits for nothing.
    pub fn want_all(&self, all: Vec<Want>) {
        self.wants.with(|wants| {
            all.into_iter().for_each(|want| wants.put(want));
            wants.complete = true;
        });
        self.wake.wake();
    }

    /// As `want`, and the thread panics with it.
    #[cfg(test)]
    pub fn want_then_panic(&self, want: Want) {
        self.wants.with(|wants| {
            wants.put(want);
            wants.panic = true;
        });
        self.wake.wake();
    }

    /// Do what was wanted and end; waits for nothing.
    pub fn stop(&self) {
        self.wants.with(|wants| wants.stop = true);
        self.wake.wake();
    }
}

/// Where reports go: a bounded queue; when it is full, this thread (not the VRRP thread) waits.
pub(super) struct Reports {
    pub queue: SyncSender<Report>,
    pub waker: Waker,
}

impl Reports {
    /// `false` when nobody reads them any more.
    fn send(&self, report: Report) -> bool {
        let read = self.queue.send(report).is_ok();
        self.waker.wake();
        read
    }
}

/// What an attempt leaves to the next one.
#[derive(Default)]
struct Carried {
    /// Interfaces as the engine was told.
    told: BTreeMap<String, Interface>,
    links: Links,
    book: Book,
    /// Held by an earlier attempt or about to be removed: to go, unless somebody holds it.
    removing: Vec<DeviceAddress>,
}

/// Starts the thread, in the network namespace of the calling one. When it fails or panics it
/// says so and starts anew after a second, as long as somebody reads its reports.
pub(super) fn spawn(
    shared: Arc<Shared>,
    reports: Reports,
    interfaces: watch::Sender<Arc<Interfaces>>,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("netconf".into()).spawn(move || {
        let mut carried = Carried::default();
        loop {
            let attempt = || run(&shared, &reports, &interfaces, &mut carried);
            let error = match catch_unwind(AssertUnwindSafe(attempt)) {
                Ok(Ok(())) => {
                    reports.send(Report::Stopped);
                    return;
                }
                Ok(Err(error)) => error,
                Err(_panic) => io::Error::other("panic in netconf"),
            };
            if !reports.send(Report::Failed(error)) {
                return;
            }
            std::thread::park_timeout(RETRY);
        }
    })
}

fn run(
    shared: &Shared,
    reports: &Reports,
    interfaces: &watch::Sender<Arc<Interfaces>>,
    carried: &mut Carried,
) -> io::Result<()> {
    let Carried { told, links, book, removing } = carried;
    removing.extend(book.forget());
    let complete = removing.is_empty();
    let mut netconf = Netconf {
        shared,
        reports,
        interfaces,
        socket: RouteSocket::open()?,
        buffer: vec![0; DATAGRAM],
        mirror: Mirror::default(),
        told,
        links,
        book,
        removing,
        complete,
        lost: Vec::new(),
        collateral: Vec::new(),
        gone: HashSet::new(),
        overrun: false,
        retry: None,
    };
    netconf.read_all()?;
    netconf.tell_all();
    netconf.reports.send(Report::Ready);
    netconf.serve()
}

struct Netconf<'a> {
    shared: &'a Shared,
    reports: &'a Reports,
    interfaces: &'a watch::Sender<Arc<Interfaces>>,
    socket: RouteSocket,
    buffer: Vec<u8>,
    mirror: Mirror,
    told: &'a mut BTreeMap<String, Interface>,
    links: &'a mut Links,
    book: &'a mut Book,
    removing: &'a mut Vec<DeviceAddress>,
    /// Every router has said what it wants, or there was nothing before.
    complete: bool,
    /// Held addresses that went without our doing.
    lost: Vec<HeldKey>,
    /// Held addresses that went with one that was removed here.
    collateral: Vec<HeldKey>,
    /// Addresses that went since the last batch was sent.
    gone: HashSet<AddressKey>,
    /// Messages were lost.
    overrun: bool,
    /// When what is missing is tried again.
    retry: Option<Instant>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused(Refusal),
    /// The answer was lost.
    Unknown,
}

impl Netconf<'_> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(self.socket.fd(), PollFlags::POLLIN),
                PollFd::new(self.shared.wake.fd(), PollFlags::POLLIN),
            ];
            route::wait(&mut fds, [self.retry, self.links.deadline()].into_iter().flatten().min())?;
            self.shared.wake.reset();
            self.drain()?;
            for name in self.links.take(Instant::now(), &self.shared.links, &self.shared.wake) {
                self.mirror.touch(&name);
            }
            let wants = self.shared.wants.take();
            #[cfg(test)]
            assert!(!wants.panic, "a test asked for a panic");
            let (stop, complete) = (wants.stop, wants.complete);
            let mut wants = wants.in_order();
            if complete && !self.removing.is_empty() {
                let purge = vec![std::mem::take(self.removing).into()];
                wants.push(Want { router: LEFTOVERS, hold: Arc::default(), purge });
            }
            self.complete |= complete;
            if !wants.is_empty() {
                self.apply(&wants)?;
            }
            if self.retry.is_some_and(|at| Instant::now() >= at) {
                self.retry = None;
                self.add(&self.book.missing(), |_, _| ())?;
            }
            if self.book.has_missing() {
                self.retry.get_or_insert_with(|| Instant::now() + RETRY);
            }
            self.report_lost();
            self.tell();
            if stop {
                return Ok(());
            }
        }
    }

    /// All additions come before the first removal: an address that moves never leaves.
    fn apply(&mut self, wants: &[Want]) -> io::Result<()> {
        let mirror = &self.mirror;
        let plan = self.book.plan(wants, |address| mirror.has(address));
        self.removing.extend(plan.replaced.iter().chain(&plan.remove).cloned());
        self.remove(&plan.replaced, |_, _| ())?;
        let replaced: HashSet<HeldKey> = plan.replaced.iter().map(key).collect();
        // What the kernel says of IPv6 addresses does not name who asked for it.
        self.lost.retain(|at| !replaced.contains(at));
        let mut added = plan.done.iter().filter(|done| done.removed.is_none()).peekable();
        self.add(&plan.add, |this, count| {
            while let Some(done) = added.next_if(|done| done.added <= count) {
                this.set(done);
            }
        })?;
        let mut removed = plan.done.iter().filter(|done| done.removed.is_some()).peekable();
        self.remove(&plan.remove, |this, count| {
            while let Some(done) = removed.next_if(|done| done.removed.is_none_or(|end| end <= count)) {
                this.set(done);
            }
        })?;
        if self.complete {
            self.removing.clear();
        }
        if !plan.remove.is_empty() && self.book.has_missing() {
            // What was in the way may be gone.
            self.retry = Some(Instant::now());
        }
        Ok(())
    }

    /// A router has what it wants. What its announcements need is told before.
    fn set(&mut self, done: &Done) {
        if self.mirror.is_forwarding_different() {
            self.tell();
        }
        self.reports.send(Report::AddressesSet { router: done.router, holds: done.holds });
    }

    /// Adds addresses that are held, batch by batch, and says each time how many were tried.
    fn add(&mut self, wanted: &[HeldKey], mut after: impl FnMut(&mut Self, usize)) -> io::Result<()> {
        let mut tried = 0;
        for batch in wanted.chunks(self.socket.batch()) {
            let mut requests = Vec::with_capacity(batch.len());
            let mut asked = Vec::with_capacity(batch.len());
            for at in batch {
                let Some(held) = self.book.get(at) else { continue };
                match self.mirror.index_of(&at.0) {
                    Some(index) => {
                        let message = kernel::addition(index, &held.address.address);
                        requests.push(RouteNetlinkMessage::NewAddress(message));
                        asked.push((at, index));
                    }
                    None => self.tried(at, Some("interface does not exist".to_owned())),
                }
            }
            let outcomes = self.exchange(requests)?;
            for ((at, index), outcome) in asked.into_iter().zip(outcomes) {
                self.added(at, index, outcome);
            }
            self.repair()?;
            tried += batch.len();
            after(self, tried);
        }
        // With nothing to be tried there is no batch.
        if wanted.is_empty() {
            after(self, 0);
        }
        Ok(())
    }

    fn added(&mut self, at: &HeldKey, index: u32, outcome: Outcome) {
        let failure = match outcome {
            // It was taken away again at once, or nobody knows: what is there then says the next try.
            Outcome::Unknown => return self.retry = Some(Instant::now()),
            Outcome::Done if self.gone.contains(&(index, at.1, at.2)) && !self.is_there(at) => {
                return self.retry = Some(Instant::now());
            }
            Outcome::Done => {
                self.book.made(at);
                if let Some(held) = self.book.get(at) {
                    self.mirror.acknowledged(index, &held.address.address);
                }
                None
            }
            Outcome::Refused(refusal) if refusal.errno == Errno::EEXIST => {
                if self.book.get(at).is_some_and(|held| self.mirror.has_of_vrrp(&held.address)) {
                    self.book.made(at);
                }
                (!self.is_there(at)).then(|| "the interface has it with another prefix length".to_owned())
            }
            Outcome::Refused(refusal) => Some(refusal.to_string()),
        };
        self.tried(at, failure);
    }

    fn is_there(&self, at: &HeldKey) -> bool {
        self.book.get(at).is_some_and(|held| self.mirror.has(&held.address))
    }

    fn tried(&mut self, at: &HeldKey, failure: Option<String>) {
        let Some(held) = self.book.tried(at, failure) else { return };
        let (device, ip, prefix) = (at.0.as_str(), at.1, at.2);
        match &held.failing {
            Some(error) => tracing::warn!(
                %ip, prefix, device, error,
                "virtual address could not be added; trying again every second"
            ),
            None => tracing::info!(%ip, prefix, device, "virtual address could be added now"),
        }
    }

    /// Removes addresses that nobody holds, as far as they are there, and says each time how many
    /// are done.
    fn remove(
        &mut self,
        unwanted: &[DeviceAddress],
        mut after: impl FnMut(&mut Self, usize),
    ) -> io::Result<()> {
        let mut done = 0;
        for batch in unwanted.chunks(self.socket.batch()) {
            let mut rest: Vec<&DeviceAddress> = batch.iter().collect();
            for _ in 0..ATTEMPTS {
                let deletion = |address| Some((address, self.mirror.deletion(address)?));
                let (asked, messages): (Vec<_>, Vec<_>) = rest.into_iter().filter_map(deletion).unzip();
                let requests = messages.into_iter().map(RouteNetlinkMessage::DelAddress).collect();
                let outcomes = self.exchange(requests)?;
                rest = Vec::new();
                for (address, outcome) in asked.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Unknown => rest.push(address),
                        Outcome::Refused(refusal)
                            if !matches!(refusal.errno, Errno::EADDRNOTAVAIL | Errno::ENODEV) =>
                        {
                            let (ip, device) = (address.address.address, address.device.as_str());
                            tracing::error!(%ip, device, error = %refusal, "virtual address could not be removed");
                        }
                        _ => {}
                    }
                }
                self.repair()?;
                if rest.is_empty() {
                    break;
                }
            }
            // Without promote_secondaries the kernel removes secondary addresses with their primary:
            // that was our doing, so they return at once.
            let collateral = std::mem::take(&mut self.collateral);
            self.add(&collateral, |_, _| ())?;
            done += batch.len();
            after(self, done);
        }
        Ok(())
    }

    /// Sends requests, not more than a batch, and takes in what the kernel says until all are
    /// answered: the monitor's messages about our own changes come before the last answer, but for
    /// IPv6 addresses that are added.
    fn exchange(&mut self, requests: Vec<RouteNetlinkMessage>) -> io::Result<Vec<Outcome>> {
        self.gone.clear();
        let mut outcomes = vec![Outcome::Unknown; requests.len()];
        if requests.is_empty() {
            return Ok(outcomes);
        }
        let sent = self.socket.send(requests)?;
        let ended = self.receive(Instant::now() + REQUEST_LIMIT, usize::MAX, |this, incoming| {
            let Some(answer) = sent.answer(incoming) else {
                this.on_message(incoming);
                return false;
            };
            let last = match answer {
                Answer::End => true,
                Answer::Refused(index, refusal) => {
                    if let Some(outcome) = outcomes.get_mut(index) {
                        *outcome = Outcome::Refused(refusal);
                    }
                    sent.is_last(index)
                }
                Answer::Entry { .. } => false,
            };
            // Those without an answer of their own, unless it may be among what was lost.
            if last && !this.overrun {
                outcomes
                    .iter_mut()
                    .filter(|one| **one == Outcome::Unknown)
                    .for_each(|one| *one = Outcome::Done);
            }
            last
        })?;
        if !ended && !self.overrun {
            let error = format!("no answer of the kernel within {} s", REQUEST_LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, error));
        }
        Ok(outcomes)
    }

    /// Takes in what has arrived, without waiting.
    fn drain(&mut self) -> io::Result<()> {
        self.receive(Instant::now(), DATAGRAMS, |this, incoming| {
            this.on_message(incoming);
            false
        })?;
        self.repair()
    }

    /// Receives at most so many datagrams, until `each` says that it was the last message, or until
    /// `until`. After a loss it does not wait: what it would wait for may be lost.
    ///
    /// Whether the last message came.
    fn receive(
        &mut self,
        until: Instant,
        datagrams: usize,
        mut each: impl FnMut(&mut Self, &Incoming<'_>) -> bool,
    ) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut taken = 0;
        let result = loop {
            if taken == datagrams {
                break Ok(false);
            }
            match self.socket.receive(&mut buffer) {
                Ok(Some(datagram)) => {
                    taken += 1;
                    let mut last = false;
                    for incoming in route::messages(datagram) {
                        last |= each(self, &incoming);
                    }
                    if last {
                        break Ok(true);
                    }
                }
                Ok(None) if self.overrun || Instant::now() >= until => break Ok(false),
                Ok(None) => {
                    if let Err(error) = self.socket.wait(until) {
                        break Err(error);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.overrun = true,
                Err(error) => break Err(error),
            }
        };
        self.buffer = buffer;
        result
    }

    fn on_message(&mut self, incoming: &Incoming<'_>) {
        let Some(event) = Event::of(incoming) else { return };
        let own = self.socket.is_own(incoming);
        self.on_event(&event, own);
    }

    fn on_event(&mut self, event: &Event, own: bool) {
        match event.reflect(&mut self.mirror, Told::Event) {
            Change::AddressGone(gone) => self.note_gone(gone, own),
            Change::Duplicate((index, ip, prefix)) => self.note_duplicate(index, ip, prefix),
            Change::Nothing | Change::Link => {}
        }
    }

    fn note_gone(&mut self, gone: AddressKey, own: bool) {
        self.gone.insert(gone);
        let (index, ip, prefix) = gone;
        let Some(device) = self.mirror.name_of(index) else { return };
        let at = (device.to_owned(), ip, prefix);
        if !own && self.book.is_untracked(&at) {
            return;
        }
        if self.book.gone(&at) {
            if own { &mut self.collateral } else { &mut self.lost }.push(at);
        }
    }

    fn note_duplicate(&self, index: u32, ip: std::net::IpAddr, prefix: u8) {
        let Some(device) = self.mirror.name_of(index) else { return };
        if self.book.get(&(device.to_owned(), ip, prefix)).is_some() {
            tracing::warn!(
                %ip, prefix, device,
                "another host has this virtual address: the kernel does not use it; see which, and remove it there"
            );
        }
    }

    /// Interface states come first: an address that went with its interface is no news to a
    /// router that is in FAULT for it.
    fn report_lost(&mut self) {
        if self.lost.is_empty() {
            return;
        }
        self.tell();
        for at in std::mem::take(&mut self.lost) {
            let Some(held) = self.book.get(&at) else { continue };
            if self.mirror.has(&held.address) {
                continue;
            }
            let (device, ip, prefix) = at;
            for router in held.holders() {
                let what = format!("{ip}/{prefix} on {device}");
                self.reports.send(Report::AddressLost { router, what });
            }
        }
    }

    /// After lost messages everything is read anew, and what is missing is told.
    fn repair(&mut self) -> io::Result<()> {
        if !self.overrun {
            return Ok(());
        }
        tracing::warn!("the kernel's messages about links and addresses came too fast: reading all anew");
        // What was there under another prefix length was never seen here.
        let before = self.book.set(|address| self.mirror.has(address));
        self.read_all()?;
        for at in before {
            if !self.is_there(&at) && !self.book.is_untracked(&at) && self.book.gone(&at) {
                self.lost.push(at);
            }
        }
        Ok(())
    }

    /// Reads links and addresses. What arrives meanwhile is newer than an entry, or is in it: it
    /// counts, in its order.
    fn read_all(&mut self) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            self.overrun = false;
            let mut events = Vec::new();
            let mut complete = true;
            let mut listed = Vec::new();
            for request in [
                RouteNetlinkMessage::GetLink(LinkMessage::default()),
                RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            ] {
                let sent = self.socket.dump(request)?;
                let mut failure = None;
                let until = Instant::now() + DUMP_LIMIT;
                let ended =
                    self.receive(until, usize::MAX, |this, incoming| match sent.answer(incoming) {
                        Some(Answer::Entry { interrupted }) => {
                            complete &= !interrupted;
                            listed.extend(Event::of(incoming));
                            false
                        }
                        Some(Answer::Refused(_, refusal)) => {
                            failure = Some(refusal);
                            true
                        }
                        Some(Answer::End) => true,
                        None => {
                            let own = this.socket.is_own(incoming);
                            events.extend(Event::of(incoming).map(|event| (event, own)));
                            false
                        }
                    })?;
                if let Some(refusal) = failure {
                    return Err(io::Error::other(format!("list of links and addresses: {refusal}")));
                }
                if !ended && !self.overrun {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            if self.overrun {
                continue;
            }
            self.mirror.clear();
            for event in &listed {
                event.reflect(&mut self.mirror, Told::List);
            }
            for (event, own) in &events {
                self.on_event(event, *own);
            }
            if complete {
                return Ok(());
            }
        }
        if self.overrun {
            return Err(io::Error::other("links and addresses change faster than they can be read"));
        }
        Ok(())
    }

    /// Tells everything, whatever was told by an earlier attempt of this thread.
    fn tell_all(&mut self) {
        let mut changes = self.mirror.take_changes();
        changes.names.extend(self.told.keys().cloned());
        self.tell_of(changes);
    }

    /// Tells what is different from what was told last.
    fn tell(&mut self) {
        let changes = self.mirror.take_changes();
        self.tell_of(changes);
    }

    fn tell_of(&mut self, changes: kernel::Changes) {
        if changes.links.is_empty() && changes.names.is_empty() {
            return;
        }
        let now = Instant::now();
        for interface in changes.links.iter().filter_map(|index| self.mirror.for_engine(*index)) {
            let interface = self.links.judge(now, interface);
            if self.told.get(&interface.name) != Some(&interface) {
                self.told.insert(interface.name.clone(), interface.clone());
                self.reports.send(Report::Interface(interface));
            }
        }
        let is_gone = |name: &&String| self.mirror.index_of(name).is_none();
        for name in changes.names.iter().filter(is_gone) {
            self.links.forget(name);
            if self.told.remove(name).is_some() {
                self.reports.send(Report::InterfaceGone(name.clone()));
            }
        }
        self.interfaces.send_if_modified(|interfaces| {
            let mut different = false;
            for index in &changes.links {
                let Some(name) = self.mirror.name_of(*index) else { continue };
                let Some(fresh) = self.mirror.for_readers(*index) else { continue };
                if interfaces.by_name.get(name) != Some(&fresh) {
                    Arc::make_mut(interfaces).by_name.insert(name.to_owned(), fresh);
                    different = true;
                }
            }
            for name in changes.names.iter().filter(is_gone) {
                if interfaces.by_name.contains_key(name) {
                    Arc::make_mut(interfaces).by_name.remove(name);
                    different = true;
                }
            }
            different
        });
    }
}

/// A change, or an entry of a list.
enum Event {
    Link(LinkMessage),
    LinkGone(LinkMessage),
    Address(AddressMessage),
    AddressGone(AddressMessage),
    Netconf(Vec<u8>),
}

impl Event {
    fn of(incoming: &Incoming<'_>) -> Option<Self> {
        let payload = incoming.payload;
        let read = match incoming.kind {
            libc::RTM_NEWLINK => LinkMessage::parse(payload).map(Event::Link),
            libc::RTM_DELLINK => LinkMessage::parse(payload).map(Event::LinkGone),
            libc::RTM_NEWADDR => AddressMessage::parse(payload).map(Event::Address),
            libc::RTM_DELADDR => AddressMessage::parse(payload).map(Event::AddressGone),
            RTM_NEWNETCONF => Ok(Event::Netconf(payload.to_vec())),
            _ => return None,
        };
        match read {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::debug!(kind = incoming.kind, %error, "a message of the kernel cannot be read");
                None
            }
        }
    }

    fn reflect(&self, mirror: &mut Mirror, told: Told) -> Change {
        match self {
            Event::Link(message) => mirror.new_link(message),
            Event::LinkGone(message) => mirror.del_link(message),
            Event::Address(message) => mirror.new_address(told, message),
            Event::AddressGone(message) => mirror.del_address(message),
            Event::Netconf(payload) => mirror.netconf(payload),
        }
    }
}

/// `RTM_NEWNETCONF` (linux/rtnetlink.h)
const RTM_NEWNETCONF: u16 = 80;

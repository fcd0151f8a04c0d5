//! What virtual routers need of the host: interfaces of their own (macvlan, ipvlan), settings of the kernel, the
//! packet filter; on a thread of its own. Interfaces are made at the start and when their parent appears, made again
//! when somebody removes them, and removed at the end.
//!
//! Here: when the host is looked at and what is told. Not here: what is to be done (`plan`), messages
//! (`message`), which settings (`sysctl`), the filter's text (`firewall`). Addresses of virtual routers come and go elsewhere (`netconf`), which
//! waits for these interfaces as for any other.

mod firewall;
mod message;
mod nft;
mod plan;
mod remembered;
mod sysctl;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::kernel;
use super::mailbox::{Slot, Waker};
use super::route::{self, Answer, DATAGRAM, Incoming, Refusal, Request, RouteSocket};
use plan::{Kind, Known, Seen, Step, Trouble, plan};
use remembered::{File, Remembered};
use sysctl::Settings;

pub use firewall::Firewall;
pub use plan::Wanted;

/// Time limit of an answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// What could not be made is tried again; what somebody removes is made again this often at most.
const RETRY: Duration = Duration::from_secs(1);
/// After a change the host is looked at so much later: changes come in crowds.
const SOON: Duration = Duration::from_millis(20);
/// Looks at the host in a row while each leads to steps.
const ROUNDS: usize = 16;
/// Times that a list is read anew because it changed meanwhile.
const ATTEMPTS: usize = 5;

/// What virtual routers want of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Interfaces of their own.
    pub links: Vec<Wanted>,
    /// promote_secondaries: interfaces whose setting of this name is 1.
    pub promote: BTreeSet<String>,
    /// The packet filter.
    pub firewall: Firewall,
}

impl Wants {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty() && self.promote.is_empty() && !self.firewall.is_needed()
    }
}

#[derive(Debug, Default)]
struct Orders {
    /// With who is told when they were looked after.
    wants: Option<(Wants, SyncSender<()>)>,
    /// With everything removed and set back, or left.
    stop: Option<bool>,
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Host {
    orders: Arc<Slot<Orders>>,
    waker: Waker,
    /// Disconnected when the thread has ended.
    life: std::sync::Mutex<Receiver<()>>,
}

impl Host {
    /// Whether an earlier process left anything on the host.
    pub fn left_anything(state: &Path) -> bool {
        File::open(state).1 != Remembered::default()
    }

    /// Starts the thread in the network namespace of the calling one, and waits until what can be had at once is
    /// there, `limit` at most. What an earlier process left (`state`: the state file, beside which it stands) and
    /// is wanted no more goes.
    pub fn start(state: &Path, wants: Wants, limit: Duration) -> io::Result<Self> {
        let orders: Arc<Slot<Orders>> = Arc::default();
        let waker = Waker::new()?;
        let socket = RouteSocket::open()?;
        let (file, left) = File::open(state);
        let mut worker = Worker {
            orders: Arc::clone(&orders),
            waker: waker.clone(),
            socket,
            file,
            wants: Wants::default(),
            known: Known { made: left.links, settled: BTreeSet::new() },
            settings: Settings { before: left.settings },
            table: left.table,
            filtered: None,
            relevant: BTreeSet::new(),
            look_at: None,
            looked: None,
            told: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        let (end, life) = sync_channel(1);
        std::thread::Builder::new().name("links".into()).spawn(move || {
            // Its end says that the thread has ended.
            let _end = end;
            while catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                tracing::error!("what virtual routers need of the host: panic; looking at it anew");
                worker.look_at = Some(Instant::now() + RETRY);
            }
        })?;
        let host = Host { orders, waker, life: std::sync::Mutex::new(life) };
        host.want(wants, limit);
        Ok(host)
    }

    /// Goes on with other wants, and waits until what can be had at once is there, `limit` at most.
    pub fn want(&self, wants: Wants, limit: Duration) {
        let (done, waits) = sync_channel(1);
        self.orders.with(|orders| orders.wants = Some((wants, done)));
        self.waker.wake();
        if waits.recv_timeout(limit).is_err() {
            tracing::warn!(
                "interfaces and the packet filter of virtual routers are not there yet: the kernel is slow"
            );
        }
    }

    /// Ends the thread; with `remove` what it made goes and settings are set back. Waits, at most `limit`.
    pub fn stop(&self, remove: bool, limit: Duration) {
        self.orders.with(|orders| orders.stop = Some(remove));
        self.waker.wake();
        let life = self.life.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if life.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("interfaces of virtual routers may be left: the kernel did not answer in time");
        }
    }
}

impl Drop for Host {
    /// Without [`Host::stop`] everything is left as it is.
    fn drop(&mut self) {
        self.orders.with(|orders| {
            orders.stop.get_or_insert(false);
        });
        self.waker.wake();
    }
}

struct Worker {
    orders: Arc<Slot<Orders>>,
    waker: Waker,
    socket: RouteSocket,
    file: File,
    wants: Wants,
    known: Known,
    settings: Settings,
    /// The packet filter's table, if there may be one of ours.
    table: Option<String>,
    /// The filter that was set last.
    filtered: Option<Firewall>,
    /// Indexes of interfaces whose changes matter.
    relevant: BTreeSet<u32>,
    /// When the host is to be looked at.
    look_at: Option<Instant>,
    looked: Option<Instant>,
    /// Troubles that were logged: what stands in the way, and what the kernel refused last.
    told: BTreeSet<Trouble>,
    refused: BTreeSet<Trouble>,
}

impl Worker {
    fn run(&mut self) {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let orders = self.orders.take();
            let mut asked = None;
            if let Some((wants, done)) = orders.wants {
                self.wants = wants;
                self.look_at = Some(Instant::now());
                asked = Some(done);
            }
            if let Some(remove) = orders.stop {
                if remove {
                    self.remove_all(&mut buffer);
                }
                return;
            }
            if self.look_at.is_some_and(|at| Instant::now() >= at) {
                self.look_at = None;
                self.looked = Some(Instant::now());
                if let Err(error) = self.converge(&mut buffer) {
                    tracing::error!(%error, "interfaces of virtual routers cannot be looked at; trying again every second");
                    self.look_at = Some(Instant::now() + RETRY);
                }
            }
            if let Some(done) = asked {
                let _gave_up = done.try_send(());
            }
            let waited = {
                let mut fds = [
                    PollFd::new(self.socket.fd(), PollFlags::POLLIN),
                    PollFd::new(self.waker.fd(), PollFlags::POLLIN),
                ];
                route::wait(&mut fds, self.look_at)
            };
            if let Err(error) = waited {
                tracing::error!(%error, "interfaces of virtual routers are watched no more");
                return;
            }
            self.waker.reset();
            self.drain(&mut buffer);
        }
    }

    /// Takes what the kernel says without being asked: something that matters may be different.
    fn drain(&mut self, buffer: &mut [u8]) {
        loop {
            match self.socket.receive(buffer) {
                Ok(Some(datagram)) => {
                    let matters = route::messages(datagram).any(|incoming| self.matters(&incoming));
                    if matters {
                        self.look_soon();
                    }
                }
                Ok(None) => return,
                // Messages were lost: it may be anything.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.look_soon(),
                Err(error) => {
                    tracing::debug!(%error, "rtnetlink");
                    return self.look_soon();
                }
            }
        }
    }

    fn look_soon(&mut self) {
        let soon = Instant::now() + SOON;
        // An interface that somebody removes again and again is made once a second.
        let at = self.looked.map_or(soon, |looked| soon.max(looked + RETRY / 4));
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
    fn converge(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut failed = false;
        for _ in 0..ROUNDS {
            let seen = self.look(buffer)?;
            self.forget_gone(&seen);
            self.promote(&seen);
            let (steps, troubles) = plan(&self.wants.links, &seen, &self.known);
            self.tell(troubles);
            if steps.is_empty() || failed {
                break;
            }
            for step in steps {
                failed |= !self.carry_out(step, buffer)?;
            }
        }
        failed |= !self.filter();
        if failed {
            self.look_at = Some(Instant::now() + RETRY);
        } else {
            self.refused.clear();
        }
        self.remember();
        Ok(())
    }

    /// Indexes of interfaces that are no more are given to others some time.
    fn forget_gone(&mut self, seen: &[Seen]) {
        self.known.settled.retain(|index| seen.iter().any(|one| one.index == *index));
        let matters = |one: &&Seen| {
            let of_link = |want: &Wanted| want.link.name == one.name || want.link.parent == one.name;
            self.wants.links.iter().any(of_link)
        };
        self.relevant = seen.iter().filter(matters).map(|one| one.index).collect();
    }

    fn tell(&mut self, troubles: Vec<Trouble>) {
        let now: BTreeSet<Trouble> = troubles.into_iter().collect();
        for trouble in now.difference(&self.told) {
            tracing::warn!(interface = trouble.name, "{}", trouble.what);
        }
        self.told = now;
    }

    /// Whether it was done.
    fn carry_out(&mut self, step: Step, buffer: &mut [u8]) -> io::Result<bool> {
        match step {
            Step::Create { name, kind, parent, group, vrf } => {
                // Before the kernel has it: after a crash it is ours.
                self.known.made.insert(name.clone());
                self.remember();
                let message = message::creation(&name, &kind, parent, group, vrf);
                let refusal = self.ask(RouteNetlinkMessage::NewLink(message), buffer)?;
                Ok(self.done(&name, "could not be made", refusal))
            }
            Step::Settle { index, name, parent, ipv6, settings } => {
                self.known.made.insert(name.clone());
                self.settle(&name, &parent, ipv6, settings);
                self.known.settled.insert(index);
                Ok(true)
            }
            Step::AddAddress { index, address } => {
                let what = format!("{}/{}", address.address, address.prefix);
                let message = kernel::addition(index, &address);
                let refusal = self.ask(RouteNetlinkMessage::NewAddress(message), buffer)?;
                let refusal = refusal.filter(|refusal| refusal.errno != Errno::EEXIST);
                Ok(self.done(&what, "could not be added to a virtual router's own interface", refusal))
            }
            Step::SetUp { index, name } => {
                let refusal = self.ask(RouteNetlinkMessage::SetLink(message::up(index)), buffer)?;
                Ok(self.done(&name, "could not be set up", refusal))
            }
            Step::Delete { index, name } => {
                let refusal = self.ask(RouteNetlinkMessage::DelLink(message::of(index)), buffer)?;
                let refusal = refusal.filter(|refusal| refusal.errno != Errno::ENODEV);
                let done = self.done(&name, "could not be removed", refusal);
                if done {
                    self.known.settled.remove(&index);
                    self.known.made.remove(&name);
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
    fn settle(&mut self, name: &str, parent: &str, ipv6: bool, kind: Kind) {
        let mut errors = Vec::new();
        if kind == Kind::Macvlan
            && let Err(error) = sysctl::loosen_all_rp_filter(&mut self.settings)
        {
            errors.push(format!("net/ipv4/conf/all/rp_filter = 0: {error}"));
        }
        let mut set =
            |settings: &mut Settings, key: String, value: &str, back: bool, optional: bool| match settings
                .set(&key, value, back)
            {
                Err(error) if !(optional && error.kind() == io::ErrorKind::NotFound) => {
                    errors.push(format!("{key} = {value}: {error}"));
                }
                _ => {}
            };
        let settings = &mut self.settings;
        let own: &[(&str, &str)] = match kind {
            Kind::Macvlan => &sysctl::MACVLAN,
            Kind::MacvlanSix => &sysctl::MACVLAN_SIX,
            Kind::Ipvlan => &[],
        };
        for (key, value) in own {
            set(settings, sysctl::of_interface("ipv4", name, key), value, false, false);
        }
        if kind != Kind::Ipvlan {
            for (key, value) in sysctl::PARENT {
                set(settings, sysctl::of_interface("ipv4", parent, key), value, true, false);
            }
        }
        // IN6_ADDR_GEN_MODE_NONE (linux/if_link.h): it has the addresses that it is given.
        set(settings, sysctl::of_interface("ipv6", name, "addr_gen_mode"), "1", false, true);
        let disable = if ipv6 { "0" } else { "1" };
        set(settings, sysctl::of_interface("ipv6", name, "disable_ipv6"), disable, false, true);
        if !errors.is_empty() {
            tracing::warn!(
                interface = name,
                "settings of the kernel could not be made, adverts or ARP may go wrong: {}",
                errors.join("; ")
            );
        }
    }

    /// promote_secondaries, on those interfaces that are there.
    fn promote(&mut self, seen: &[Seen]) {
        for name in self.wants.promote.clone() {
            if !seen.iter().any(|one| one.name == name) {
                continue;
            }
            let key = sysctl::of_interface("ipv4", &name, "promote_secondaries");
            if let Err(error) = self.settings.set(&key, "1", true) {
                let _told = self.done(
                    &name,
                    "promote_secondaries",
                    Some(Refusal {
                        errno: error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw),
                        detail: None,
                    }),
                );
            }
        }
    }

    /// Has the packet filter as it is wanted; whether that succeeded.
    fn filter(&mut self) -> bool {
        let wanted = self.wants.firewall.clone();
        if self.filtered.as_ref() == Some(&wanted) || !wanted.is_needed() && self.table.is_none() {
            return true;
        }
        let mut text = self.table.as_deref().map(firewall::removal).unwrap_or_default();
        if wanted.is_needed() {
            text.push_str(&wanted.text());
            self.table = Some(wanted.table.clone());
            self.remember();
        }
        if let Err(what) = nft::run(&text) {
            let what = format!(
                "the packet filter could not be set, traffic to virtual addresses is accepted and IGMP leaves over own \
                 interfaces: {what}; trying again every second"
            );
            let trouble = Trouble { name: wanted.table, what };
            if self.refused.insert(trouble.clone()) {
                tracing::error!(table = trouble.name, "{}", trouble.what);
            }
            return false;
        }
        if !wanted.is_needed() {
            self.table = None;
        }
        self.filtered = Some(wanted);
        true
    }

    fn remember(&mut self) {
        let left = Remembered {
            links: self.known.made.clone(),
            settings: self.settings.before.clone(),
            table: self.table.clone(),
        };
        if let Err(error) = self.file.put(left) {
            tracing::warn!(
                %error,
                "what virtual routers changed on this host cannot be written down: after a crash it may be left"
            );
        }
    }

    fn remove_all(&mut self, buffer: &mut [u8]) {
        self.wants = Wants::default();
        if let Err(error) = self.converge(buffer) {
            tracing::error!(%error, "interfaces of virtual routers may be left");
        }
        if let Err(error) = self.settings.set_back() {
            tracing::error!(%error, "a setting of the kernel could not be set back");
        }
        self.remember();
    }

    /// All interfaces, with their addresses.
    fn look(&mut self, buffer: &mut [u8]) -> io::Result<Vec<Seen>> {
        for _ in 0..ATTEMPTS {
            let mut links = Vec::new();
            let mut addresses: HashMap<u32, Vec<(IpAddr, u8)>> = HashMap::new();
            let whole =
                self.list(RouteNetlinkMessage::GetLink(LinkMessage::default()), buffer, |incoming| {
                    let message = LinkMessage::parse(incoming.payload).ok();
                    links.extend(message.as_ref().and_then(message::seen));
                })? && self.list(
                    RouteNetlinkMessage::GetAddress(AddressMessage::default()),
                    buffer,
                    |incoming| {
                        let message = AddressMessage::parse(incoming.payload).ok();
                        if let Some((index, ip, prefix)) = message.as_ref().and_then(message::address) {
                            addresses.entry(index).or_default().push((ip, prefix));
                        }
                    },
                )?;
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

    /// Whether the list is whole: it did not change while it was read.
    fn list(
        &mut self,
        request: RouteNetlinkMessage,
        buffer: &mut [u8],
        mut each: impl FnMut(&Incoming<'_>),
    ) -> io::Result<bool> {
        let sent = self.socket.dump(request)?;
        let mut whole = true;
        let until = Instant::now() + REQUEST_LIMIT;
        loop {
            match self.socket.receive(buffer) {
                Ok(Some(datagram)) => {
                    for incoming in route::messages(datagram) {
                        match sent.answer(&incoming) {
                            Some(Answer::Entry { interrupted }) => {
                                whole &= !interrupted;
                                each(&incoming);
                            }
                            Some(Answer::End) => return Ok(whole),
                            Some(Answer::Refused(_, refusal)) => return Err(io::Error::other(refusal)),
                            None if self.matters(&incoming) => self.look_soon(),
                            None => {}
                        }
                    }
                }
                Ok(None) if Instant::now() >= until => return Err(io::ErrorKind::TimedOut.into()),
                Ok(None) => self.socket.wait(until)?,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request and takes its answer; the kernel's no, if it is one.
    fn ask(&mut self, request: RouteNetlinkMessage, buffer: &mut [u8]) -> io::Result<Option<Refusal>> {
        let flags = match &request {
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::NewLink(_) => NLM_F_CREATE | NLM_F_EXCL,
            _ => 0,
        };
        let sent = self.socket.send(vec![Request { message: request, flags }])?;
        let until = Instant::now() + REQUEST_LIMIT;
        loop {
            match self.socket.receive(buffer) {
                Ok(Some(datagram)) => {
                    for incoming in route::messages(datagram) {
                        match sent.answer(&incoming) {
                            Some(Answer::End) => return Ok(None),
                            Some(Answer::Refused(_, refusal)) => return Ok(Some(refusal)),
                            Some(Answer::Entry { .. }) | None => {}
                        }
                    }
                }
                Ok(None) if Instant::now() >= until => return Err(io::ErrorKind::TimedOut.into()),
                Ok(None) => self.socket.wait(until)?,
                // The answer may be among what was lost: the next look tells.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What the routers of a configuration want of the host.
pub fn wants(
    links: Vec<lbd_grammar::config::OwnLink>,
    promote: BTreeSet<String>,
    firewall: Firewall,
) -> Wants {
    // Names of groups are numbers since the file was read.
    let wanted = |link: lbd_grammar::config::OwnLink| {
        let group = link.group.as_deref().and_then(|group| group.parse().ok());
        Wanted { link, group }
    };
    Wants { links: links.into_iter().map(wanted).collect(), promote, firewall }
}

//! Addresses on interfaces: a thread of its own that wants, watches and repairs them by rtnetlink.
//!
//! Here: the socket, the order of requests, time limits, who holds what. Not here: who is to hold
//! an address (the engine), messages (`kernel`).
//!
//! One socket carries requests and the monitor, so a message about our own change arrives before
//! its acknowledgement: what is lost without our doing was taken by someone else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use lbd_vrrp::{DeviceAddress, Interface, RouterId};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use nix::errno::Errno;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::{Notify, watch};

use super::kernel::{self, AddressKey, Change, Mirror};
use super::mailbox::{Slot, Waker, Want, Wants};
use super::snapshot::Interfaces;

/// Time limit of one request; a request costs 50 µs.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a dump.
const DUMP_LIMIT: Duration = Duration::from_secs(10);
/// Addresses that could not be added are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What netconf tells the VRRP thread.
#[derive(Debug)]
pub(super) enum Report {
    /// Links and addresses are known and told; nothing is held.
    Ready,
    Interface(Interface),
    InterfaceGone(String),
    AddressesSet(RouterId),
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
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub wants: Slot<Wants>,
    pub wake: Notify,
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

/// Starts the thread, in the network namespace of the calling one. When it fails or panics it
/// says so and starts anew after a second, as long as somebody reads its reports.
pub(super) fn spawn(
    shared: Arc<Shared>,
    reports: Reports,
    interfaces: watch::Sender<Arc<Interfaces>>,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("netconf".into()).spawn(move || {
        let mut told = BTreeMap::new();
        loop {
            let attempt = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(run(&shared, &reports, &interfaces, &mut told))
            };
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

async fn run(
    shared: &Shared,
    reports: &Reports,
    interfaces: &watch::Sender<Arc<Interfaces>>,
    told: &mut BTreeMap<String, Interface>,
) -> io::Result<()> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, events) = new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    let events = events.map(|(message, _)| message);
    let mut netconf = Netconf {
        shared,
        reports,
        interfaces,
        handle,
        events,
        mirror: Mirror::default(),
        told,
        held: BTreeMap::new(),
        lost: Vec::new(),
        overrun: false,
    };
    netconf.dump().await.map_err(|error| io::Error::other(error.to_string()))?;
    netconf.tell();
    netconf.reports.send(Report::Ready);
    netconf.serve().await
}

/// An address that somebody holds.
#[derive(Debug)]
struct Held {
    address: DeviceAddress,
    holders: BTreeSet<RouterId>,
    /// The last attempt to add it succeeded.
    set: bool,
    /// Why it could not be added, as it was logged; `None` once it was.
    failing: Option<String>,
}

impl Held {
    /// Takes the outcome of an attempt to add it; whether that is news for the log, which tries every
    /// second must not fill.
    fn tried(&mut self, failure: Option<String>) -> bool {
        self.set = failure.is_none();
        let news = self.failing != failure;
        self.failing = failure;
        news
    }
}

/// Interface, address, prefix length.
type HeldKey = (String, std::net::IpAddr, u8);

struct Netconf<'a, E> {
    shared: &'a Shared,
    reports: &'a Reports,
    interfaces: &'a watch::Sender<Arc<Interfaces>>,
    handle: Handle,
    events: E,
    mirror: Mirror,
    /// Interfaces as the engine was told.
    told: &'a mut BTreeMap<String, Interface>,
    held: BTreeMap<HeldKey, Held>,
    /// Held addresses that went without our doing.
    lost: Vec<HeldKey>,
    overrun: bool,
}

#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("{0}")]
    Netlink(#[from] rtnetlink::Error),
    #[error("no answer of the kernel within {} s", REQUEST_LIMIT.as_secs())]
    Late,
    #[error("interface does not exist")]
    NoInterface,
}

impl<E: Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin> Netconf<'_, E> {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let shared = self.shared;
            let retry = self.held.values().any(|held| !held.set);
            tokio::select! {
                biased;
                () = shared.wake.notified() => {}
                event = self.events.next() => match event {
                    Some(message) => self.on_message(message),
                    // The connection ended: nothing more can be done on this socket.
                    None => return Err(io::ErrorKind::ConnectionAborted.into()),
                },
                () = tokio::time::sleep(RETRY), if retry => self.add_missing().await,
            }
            self.drain();
            if self.overrun {
                self.recover().await;
            }
            let wants = shared.wants.take();
            if !wants.routers.is_empty() {
                self.apply(wants.routers).await;
            }
            self.report_lost();
            self.tell();
            if wants.stop {
                return Ok(());
            }
        }
    }

    /// All additions come before the first removal: an address that moves never leaves.
    async fn apply(&mut self, wants: Vec<Want>) {
        for want in &wants {
            for address in &want.hold {
                let held = self.held.entry(key(address)).or_insert_with(|| Held {
                    address: address.clone(),
                    holders: BTreeSet::new(),
                    set: false,
                    failing: None,
                });
                held.holders.insert(want.router);
                if !held.set || !self.mirror.has(address) {
                    self.add(key(address)).await;
                }
            }
        }
        for want in wants {
            let keep: BTreeSet<HeldKey> = want.hold.iter().map(key).collect();
            let mut unwanted: Vec<DeviceAddress> = Vec::new();
            for (at, held) in &mut self.held {
                if !keep.contains(at) && held.holders.remove(&want.router) && held.holders.is_empty() {
                    unwanted.push(held.address.clone());
                }
            }
            let listed: BTreeSet<HeldKey> = unwanted.iter().map(key).collect();
            unwanted.extend(want.purge.iter().filter(|address| !listed.contains(&key(address))).cloned());
            // Last in, first out: a primary address would take its secondary ones along.
            for address in unwanted.into_iter().rev() {
                let at = key(&address);
                if self.held.get(&at).is_some_and(|held| !held.holders.is_empty()) {
                    continue;
                }
                self.held.remove(&at);
                self.remove(&address).await;
            }
            self.reports.send(Report::AddressesSet(want.router));
        }
    }

    async fn add_missing(&mut self) {
        let missing: Vec<HeldKey> =
            self.held.iter().filter(|(_, held)| !held.set).map(|(at, _)| at.clone()).collect();
        for at in missing {
            self.add(at).await;
        }
    }

    async fn add(&mut self, at: HeldKey) {
        let Some(held) = self.held.get(&at) else { return };
        let address = held.address.clone();
        let result = match self.mirror.index_of(&address.device) {
            Some(index) => {
                let message = RouteNetlinkMessage::NewAddress(kernel::addition(index, &address));
                self.request(message, NLM_F_CREATE | NLM_F_EXCL).await
            }
            None => Err(RequestError::NoInterface),
        };
        let failure = match result {
            Err(error) if errno(&error) != Some(Errno::EEXIST) => Some(error.to_string()),
            _ => None,
        };
        self.drain();
        let Some(held) = self.held.get_mut(&at) else { return };
        if !held.tried(failure) {
            return;
        }
        let (ip, prefix, device) = (at.1, at.2, at.0.as_str());
        match &held.failing {
            Some(error) => tracing::warn!(
                %ip, prefix, device, error,
                "virtual address could not be added; trying again every second"
            ),
            None => tracing::info!(%ip, prefix, device, "virtual address could be added now"),
        }
    }

    async fn remove(&mut self, address: &DeviceAddress) {
        if !self.mirror.has(address) {
            return;
        }
        let Some(index) = self.mirror.index_of(&address.device) else { return };
        let message = RouteNetlinkMessage::DelAddress(kernel::deletion(index, address));
        // What goes from here on goes by our own doing.
        self.drain();
        let before = self.lost.len();
        match self.request(message, 0).await {
            Ok(()) => {}
            Err(error) if matches!(errno(&error), Some(Errno::EADDRNOTAVAIL | Errno::ENODEV)) => {}
            Err(error) => {
                let (ip, device) = (address.address.address, address.device.as_str());
                tracing::error!(%ip, device, %error, "virtual address could not be removed");
            }
        }
        // Without promote_secondaries the kernel removes secondary addresses with their primary:
        // that was our doing, so they return at once.
        let collateral = self.lost.split_off(before);
        for at in collateral {
            self.add(at).await;
        }
    }

    async fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), RequestError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.request(request)?;
        // The monitor's messages about our own change carry the number of the request, so they
        // arrive here, before the acknowledgement.
        let until = tokio::time::Instant::now() + REQUEST_LIMIT;
        loop {
            let answer = match tokio::time::timeout_at(until, answers.next()).await {
                Err(_) => return Err(RequestError::Late),
                Ok(None) => return Ok(()),
                Ok(Some(answer)) => answer,
            };
            match answer.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(rtnetlink::Error::NetlinkError(error).into());
                }
                NetlinkPayload::Error(_) => return Ok(()),
                _ => self.on_message(answer),
            }
        }
    }

    /// Takes in what has arrived, without waiting.
    fn drain(&mut self) {
        while let Some(Some(message)) = self.events.next().now_or_never() {
            self.on_message(message);
        }
    }

    fn on_message(&mut self, message: NetlinkMessage<RouteNetlinkMessage>) {
        let change = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.mirror.new_link(&link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => self.mirror.del_link(&link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                self.mirror.new_address(&address)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                self.mirror.del_address(&address)
            }
            NetlinkPayload::Overrun(_) => {
                self.overrun = true;
                Change::Nothing
            }
            _ => Change::Nothing,
        };
        if let Change::AddressGone(gone) = change {
            self.note_gone(gone);
        }
    }

    fn note_gone(&mut self, (index, ip, prefix): AddressKey) {
        let Some(device) = self.mirror.name_of(index) else { return };
        let at = (device.to_owned(), ip, prefix);
        if let Some(held) = self.held.get_mut(&at)
            && held.set
            && !held.holders.is_empty()
        {
            held.set = false;
            self.lost.push(at);
        }
    }

    /// Interface states come first: an address that went with its interface is no news to a
    /// router that is in FAULT for it.
    fn report_lost(&mut self) {
        if self.lost.is_empty() {
            return;
        }
        self.tell();
        for (device, ip, prefix) in std::mem::take(&mut self.lost) {
            let Some(held) = self.held.get(&(device.clone(), ip, prefix)) else { continue };
            if self.mirror.has(&held.address) {
                continue;
            }
            for router in &held.holders {
                let what = format!("{ip}/{prefix} on {device}");
                self.reports.send(Report::AddressLost { router: *router, what });
            }
        }
    }

    /// Messages were lost: everything is read anew, and what is missing is told.
    async fn recover(&mut self) {
        self.overrun = false;
        tracing::warn!("the kernel's messages about links and addresses came too fast: reading all anew");
        if let Err(error) = self.dump().await {
            tracing::error!(%error, "links and addresses could not be read; trying again");
            self.overrun = true;
            tokio::time::sleep(RETRY).await;
            return;
        }
        let missing = |held: &&Held| held.set && !self.mirror.has(&held.address);
        let missing: Vec<HeldKey> =
            self.held.values().filter(missing).map(|held| key(&held.address)).collect();
        self.lost.extend(missing);
    }

    async fn dump(&mut self) -> Result<(), RequestError> {
        let handle = self.handle.clone();
        let dump = async {
            let links: Vec<_> = handle.link().get().execute().try_collect().await?;
            let addresses: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
            Ok::<_, rtnetlink::Error>((links, addresses))
        };
        let (links, addresses) =
            tokio::time::timeout(DUMP_LIMIT, dump).await.map_err(|_| RequestError::Late)??;
        // What arrived meanwhile is older than the dump or is in it; what comes later repeats itself.
        self.mirror.clear();
        links.iter().for_each(|link| {
            self.mirror.new_link(link);
        });
        addresses.iter().for_each(|address| {
            self.mirror.new_address(address);
        });
        self.drain();
        Ok(())
    }

    /// Tells what is different from what was told last.
    fn tell(&mut self) {
        let now = self.mirror.for_engine();
        for (name, interface) in &now {
            if self.told.get(name) != Some(interface) {
                self.reports.send(Report::Interface(interface.clone()));
            }
        }
        for name in self.told.keys().filter(|name| !now.contains_key(*name)) {
            self.reports.send(Report::InterfaceGone(name.clone()));
        }
        *self.told = now;
        self.interfaces.send_if_modified(|interfaces| {
            let fresh = self.mirror.for_readers();
            let different = **interfaces != fresh;
            if different {
                *interfaces = Arc::new(fresh);
            }
            different
        });
    }
}

fn key(address: &DeviceAddress) -> HeldKey {
    (address.device.clone(), address.address.address, address.address.prefix)
}

fn errno(error: &RequestError) -> Option<Errno> {
    match error {
        RequestError::Netlink(rtnetlink::Error::NetlinkError(message)) => {
            Some(Errno::from_raw(message.raw_code().saturating_abs()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_told_once() {
        let address = lbd_vrrp::VirtualAddress::new(std::net::IpAddr::from([10, 0, 0, 1]), 32);
        let address = DeviceAddress { device: "eth0".into(), address };
        let mut held = Held { address, holders: BTreeSet::new(), set: false, failing: None };
        for (name, failure, news) in [
            ("added at once", None, false),
            ("first failure", Some("A"), true),
            ("the same", Some("A"), false),
            ("the same again", Some("A"), false),
            ("another", Some("B"), true),
            ("added at last", None, true),
            ("still there", None, false),
            ("failing anew", Some("B"), true),
        ] {
            assert_eq!(held.tried(failure.map(str::to_owned)), news, "{name}");
            assert_eq!(held.set, failure.is_none(), "{name}");
        }
    }
}

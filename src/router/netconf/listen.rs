//! What the kernel says: changes as they happen, lists, and lists anew after a loss.
//!
//! Here: receiving, taking in, reading. Not here: what messages say (`kernel`), what is done about losses (`losses`).
//!
//! What is lost without our doing was taken by someone else: the kernel's messages about changes of
//! our own carry the socket's number. Routes go without a message with their interface or address: they are read
//! again whenever one of those changed.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::Parseable;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{ATTEMPTS, Netconf, Stray};
use crate::router::held::Held;
use crate::router::kernel::{self, AddressKey, Change, Mirror, Routes, Rules, Told};
use crate::router::mailbox::Want;
use crate::router::object::Key;
use crate::router::route::Incoming;
use crate::router::talk::{Line, List, Said, Talk};

/// Routes and rules are read this long after something changed, and this long after they were read: of many
/// changes one is looked at.
const COMPARE_AFTER: Duration = Duration::from_millis(20);
const COMPARE_EVERY: Duration = Duration::from_millis(200);
/// A loss is looked into this much later: an interface tells after its addresses that it went down.
const LOSSES_AFTER: Duration = Duration::from_millis(20);

impl Talk for Netconf<'_> {
    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn hear(&mut self, incoming: &Incoming<'_>) {
        let Some(event) = Event::of(incoming, &self.watched) else { return };
        let own = self.line.socket.is_own(incoming);
        self.on_event(&event, own);
    }
}

impl Netconf<'_> {
    /// Takes in what has arrived, without waiting.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        self.listen()?;
        self.repair()
    }

    fn on_event(&mut self, event: &Event, own: bool) {
        let named = match event {
            Event::LinkGone(message) => self.mirror.name_of(message.header.index).map(str::to_owned),
            _ => None,
        };
        if let Event::Link(message) = event {
            self.note_rename(message);
        }
        match event.reflect(&mut self.mirror, Told::Event) {
            Change::AddressGone(gone) => {
                self.note_gone(gone, own);
                if let Event::AddressGone(message) = event
                    && own
                {
                    self.note_bystander(gone, message);
                }
            }
            Change::Duplicate((index, ip, prefix)) => self.note_duplicate(index, ip, prefix),
            Change::Nothing | Change::Link => {}
        }
        match event {
            Event::Link(message) => {
                let name = self.mirror.name_of(message.header.index).map(str::to_owned);
                self.note_flap(name.filter(|name| !self.mirror.is_up(name)));
            }
            Event::LinkGone(_) => self.note_flap(named),
            Event::Entry if own => return,
            Event::Entry | Event::Address(_) | Event::AddressGone(_) => {}
            Event::Netconf(_) => return,
        }
        self.compare_soon();
    }

    /// What is held is held on an interface of a name: what was put on one that has another name now is to go.
    fn note_rename(&mut self, message: &LinkMessage) {
        let Some(name) = kernel::name(message) else { return };
        let Some(before) = self.mirror.name_of(message.header.index).filter(|before| *before != name) else {
            return;
        };
        for (key, stray) in self.put_on(|name| name == before) {
            self.book.gone(&key);
            self.strays.push(stray);
        }
    }

    /// What VRRP has put on interfaces, with what removes it whatever their names become.
    fn put_on(&self, named: impl Fn(&str) -> bool) -> Vec<(Key, Stray)> {
        let on = self.book.all().filter(|(_, held)| held.is_made());
        let on = on.filter(|(_, held)| held.object.interfaces().any(&named));
        let stray = |(key, held): (&Key, &Held)| {
            let index = |name: &str| Some((self.mirror.index_of(name)?, name.to_owned()));
            let stray = Stray {
                interfaces: held.object.interfaces().filter_map(index).collect(),
                address: self.mirror.address_key(&held.object),
                removal: self.mirror.deletion(&held.object)?,
            };
            Some((key.clone(), stray))
        };
        on.filter_map(stray).collect()
    }

    fn note_gone(&mut self, gone: AddressKey, own: bool) {
        self.gone.insert(gone);
        let (index, ip, prefix) = gone;
        let Some(device) = self.mirror.name_of(index) else { return };
        let key = Key::Address(device.to_owned(), ip, prefix);
        if !self.book.gone(&key) {
            return;
        }
        if own {
            self.collateral.push(key);
        } else {
            self.lose(key);
        }
    }

    pub(super) fn lose(&mut self, key: Key) {
        self.lost.push(key);
        self.losses_at.get_or_insert_with(|| Instant::now() + LOSSES_AFTER);
    }

    /// An address that went by our doing, and neither was held nor meant.
    fn note_bystander(&mut self, gone: AddressKey, message: &AddressMessage) {
        let (index, ip, prefix) = gone;
        let held = self
            .mirror
            .name_of(index)
            .is_some_and(|device| self.book.get(&Key::Address(device.to_owned(), ip, prefix)).is_some());
        if ip.is_ipv4() && !held && !self.asked.contains(&gone) {
            self.bystanders.push(message.clone());
        }
    }

    fn note_duplicate(&self, index: u32, ip: std::net::IpAddr, prefix: u8) {
        let Some(device) = self.mirror.name_of(index) else { return };
        if self.book.get(&Key::Address(device.to_owned(), ip, prefix)).is_some() {
            tracing::warn!(
                %ip, prefix, device,
                "another host has this virtual address: the kernel does not use it; see which, and remove it there"
            );
        }
    }

    /// After lost messages everything is read anew, and what is missing is told.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        if !self.line.overrun {
            return Ok(());
        }
        tracing::warn!("the kernel's messages about links and addresses came too fast: reading all anew");
        // What was there under another prefix length was never seen here; routes and rules are compared.
        let before = self.book.set(|object| self.mirror.has(object));
        let put = self.put_on(|_| true);
        self.read_all()?;
        let renamed =
            |(index, name): &(u32, String)| self.mirror.name_of(*index).is_some_and(|now| now != name);
        let strays = put.into_iter().map(|(_, stray)| stray);
        self.strays.extend(strays.filter(|stray| stray.interfaces.iter().any(renamed)));
        for key in before {
            if matches!(key, Key::Address(..)) && !self.is_there(&key) && self.book.gone(&key) {
                self.lose(key);
            }
        }
        self.compare_soon();
        Ok(())
    }

    /// Reads links and addresses. What arrives meanwhile is newer than an entry, or is in it: it
    /// counts, in its order.
    pub(super) fn read_all(&mut self) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            self.line.overrun = false;
            let mut events = Vec::new();
            let mut complete = true;
            let mut listed = Vec::new();
            for request in [
                RouteNetlinkMessage::GetLink(LinkMessage::default()),
                RouteNetlinkMessage::GetAddress(AddressMessage::default()),
            ] {
                let list = self.list(request, |this, incoming, said| match said {
                    Said::Asked => listed.extend(Event::of(incoming, &BTreeSet::new())),
                    Said::Unasked => {
                        let own = this.line.socket.is_own(incoming);
                        events.extend(Event::of(incoming, &this.watched).map(|event| (event, own)));
                    }
                })?;
                if let List::Refused(refusal) = &list {
                    return Err(io::Error::other(format!("list of links and addresses: {refusal}")));
                }
                complete &= list == List::Whole;
            }
            if self.line.overrun {
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
        if self.line.overrun {
            return Err(io::Error::other("links and addresses change faster than they can be read"));
        }
        Ok(())
    }

    /// From the first word about routes or rules on they are watched.
    pub(super) fn look_at_entries(&mut self, wants: &[Want]) -> io::Result<()> {
        let loads = wants.iter().flat_map(|want| want.purge.iter().chain([&want.hold]));
        let mut watched = self.watched.clone();
        for load in loads.filter(|load| !load.entries.is_empty()) {
            watched.insert(kernel::PROTOCOL_VRRP);
            watched.extend(load.entries.routes.iter().map(|entry| kernel::protocol(&entry.route)));
        }
        if watched == self.watched {
            return Ok(());
        }
        self.line.socket.watch_routes(&watched)?;
        self.watched = watched;
        self.read_entries()?;
        Ok(())
    }

    /// Something changed with which routes may go.
    fn compare_soon(&mut self) {
        if self.watched.is_empty() {
            return;
        }
        let soon = Instant::now() + COMPARE_AFTER;
        let at = self.compared.map_or(soon, |last| soon.max(last + COMPARE_EVERY));
        self.compare_at.get_or_insert(at);
    }

    /// Reads routes and rules, and finds what of them was lost.
    pub(super) fn compare(&mut self) -> io::Result<()> {
        if !self.read_entries()? {
            self.compare_soon();
        }
        let mirror = &self.mirror;
        let (gone, again) = self.book.compare(|object| mirror.has(object));
        gone.into_iter().for_each(|key| self.lose(key));
        self.add(&again, |_, _| ())
    }

    /// Reads the routes of the protocols that matter, and all rules; whether they are complete.
    fn read_entries(&mut self) -> io::Result<bool> {
        self.compared = Some(Instant::now());
        for _ in 0..ATTEMPTS {
            let (mut routes, mut rules) = (Routes::default(), Rules::default());
            let mut complete = true;
            for protocol in self.watched.clone() {
                for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                    let mut request = RouteMessage::default();
                    request.header.address_family = family;
                    request.header.protocol = RouteProtocol::from(protocol);
                    complete &= self.read(RouteNetlinkMessage::GetRoute(request), |incoming| {
                        // Older kernels list all.
                        if kernel::protocol_of(incoming.payload) == Some(protocol) {
                            routes.listed(incoming.payload);
                        }
                    })?;
                }
            }
            complete &= self.read(RouteNetlinkMessage::GetRule(RuleMessage::default()), |incoming| {
                rules.listed(incoming.payload);
            })?;
            if complete {
                (self.mirror.routes, self.mirror.rules) = (routes, rules);
                self.repair()?;
                return Ok(true);
            }
            self.repair()?;
        }
        Ok(false)
    }

    /// Whether the list is whole.
    fn read(&mut self, request: RouteNetlinkMessage, entry: impl FnMut(&Incoming<'_>)) -> io::Result<bool> {
        // A kernel without IPv6 refuses: it has none of them.
        Ok(self.entries(request, entry)? != List::Torn)
    }
}

/// A change, or an entry of a list.
enum Event {
    Link(LinkMessage),
    LinkGone(LinkMessage),
    Address(AddressMessage),
    AddressGone(AddressMessage),
    Netconf(Vec<u8>),
    /// A rule, or a route of a protocol that matters: what it is says the next list.
    Entry,
}

impl Event {
    fn of(incoming: &Incoming<'_>, watched: &BTreeSet<u8>) -> Option<Self> {
        let payload = incoming.payload;
        let read = match incoming.kind {
            libc::RTM_NEWLINK => LinkMessage::parse(payload).map(Event::Link),
            libc::RTM_DELLINK => LinkMessage::parse(payload).map(Event::LinkGone),
            libc::RTM_NEWADDR => AddressMessage::parse(payload).map(Event::Address),
            libc::RTM_DELADDR => AddressMessage::parse(payload).map(Event::AddressGone),
            libc::RTM_NEWRULE | libc::RTM_DELRULE => Ok(Event::Entry),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => match kernel::protocol_of(payload) {
                Some(protocol) if watched.contains(&protocol) => Ok(Event::Entry),
                _ => return None,
            },
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
            Event::Entry => Change::Nothing,
        }
    }
}

/// `RTM_NEWNETCONF` (linux/rtnetlink.h)
const RTM_NEWNETCONF: u16 = 80;

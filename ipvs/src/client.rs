//! The client: requests in batches, answers by sequence number, a limit on every wait.
//!
//! Up to 512 requests go out in one send with an acknowledgement asked of the last one only; every
//! other answer is a failure of its request, the rest succeeded. After lost answers (receive buffer
//! full, wait expired) the socket is dropped and the next call makes a new one: nothing that was
//! asked on the old one is known, so the caller reads the table back ([`IpvsError::is_lost`]).
//!
//! Not here: octets of attributes (`wire`), the socket (`transport`), what to ask for (`plan`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    NlasIterator, ParseableParametrized, parse_u16,
};
use netlink_packet_generic::constants::{CTRL_ATTR_FAMILY_ID, GENL_ID_CTRL};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlHeader, GenlMessage};
use nix::errno::Errno;

use crate::transport::{NetlinkTransport, Transport};
use crate::types::{
    Destination, DestinationReport, Entry, Info, Op, Reading, ServiceId, SyncDaemon, SyncState, Table,
    Timeouts,
};
use crate::wire::destination::destination_report;
use crate::wire::service::{ServiceReport, service_report};
use crate::wire::{self, Attribute, Command, FAMILY_NAME, IpvsMessage};
use crate::{Ipvs, IpvsError, SyncDaemons};

mod reply;

use reply::{Reply, replies};

/// The longest wait for an answer. Stopping a sync daemon takes the kernel a second.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Octets in one send; the default send buffer takes 212,940.
const BATCH_OCTETS: usize = 200_000;
/// The kernel's dumps come in datagrams of at most 32 KiB.
const RECEIVE_OCTETS: usize = 65_536;
/// Offset of a generic netlink message's attributes after the netlink header.
const GENL_HEADER: usize = 4;

/// A connection to the table of one network namespace: of the thread that calls, whenever a socket is made.
pub struct Client<T = NetlinkTransport> {
    connector: Box<dyn FnMut() -> io::Result<T> + Send>,
    link: Option<Link<T>>,
    limit: Duration,
    buffer: Vec<u8>,
    sequence: u32,
    unread: u64,
}

/// A socket and the family's number, which a reload of the module changes.
struct Link<T> {
    transport: T,
    family: u16,
}

impl Client {
    /// Connects to the kernel.
    ///
    /// # Errors
    /// [`IpvsError::NoIpvs`] when the kernel has none, [`IpvsError::Socket`] when there is no netlink.
    pub fn connect() -> Result<Self, IpvsError> {
        Self::connect_by(|| NetlinkTransport::new(TIME_LIMIT))
    }

    /// Connects over sockets that `connector` makes, in another network namespace for example.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_by(
        connector: impl FnMut() -> io::Result<NetlinkTransport> + Send + 'static,
    ) -> Result<Self, IpvsError> {
        Self::with_transport(TIME_LIMIT, connector)
    }
}

impl<T: Transport> Client<T> {
    /// Connects over what `connector` makes, now and after each loss; `limit` bounds each wait
    /// for a request's last answer, and the transport each receive.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn with_transport(
        limit: Duration,
        connector: impl FnMut() -> io::Result<T> + Send + 'static,
    ) -> Result<Self, IpvsError> {
        let mut client = Client {
            connector: Box::new(connector),
            link: None,
            limit,
            buffer: vec![0; RECEIVE_OCTETS],
            sequence: 0,
            unread: 0,
        };
        client.link()?;
        Ok(client)
    }

    /// Answers in dumps that this version cannot express and left out, so far: services of other
    /// protocols, for example.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Version and size of the connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    /// [`IpvsError::NoRight`], or a lost connection.
    pub fn info(&mut self) -> Result<Info, IpvsError> {
        let mut info = Info { version: 0, connection_table_size: 0 };
        self.ask("read the IPVS version", IpvsMessage::new(Command::GetInfo, vec![]), |message| {
            for attribute in message.attributes {
                match attribute {
                    Attribute::InfoVersion(value) => info.version = value,
                    Attribute::InfoTableSize(value) => info.connection_table_size = value,
                    _ => {}
                }
            }
        })?;
        Ok(info)
    }

    /// Sets all counters to 0, or those of one service and its destinations (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// [`IpvsError::NoService`], [`IpvsError::NoRight`], or a lost connection.
    pub fn zero(&mut self, id: Option<&ServiceId>) -> Result<(), IpvsError> {
        let request = id.map_or_else(
            || "reset all counters".to_owned(),
            |id| format!("reset the counters of virtual service {id}"),
        );
        let key = id.map(|id| Attribute::Service(wire::service::key_attributes(id)));
        match self.ask(&request, IpvsMessage::new(Command::Zero, key.into_iter().collect()), |_| {}) {
            Err(IpvsError::Refused { errno: Errno::ESRCH, request, .. }) => {
                Err(IpvsError::NoService { request })
            }
            other => other,
        }
    }

    /// Reads the destinations of a service; with `with_service` the service itself first, in the same send.
    /// `false`: it is not there.
    fn read_service(
        &mut self,
        id: &ServiceId,
        with_service: bool,
        mut visit: impl FnMut(Seen),
    ) -> Result<bool, IpvsError> {
        let family = self.link()?.family;
        let key = || vec![Attribute::Service(wire::service::key_attributes(id))];
        let mut batch = Batch::new(self.sequence.wrapping_add(1));
        if with_service {
            batch.push(family, NLM_F_REQUEST, IpvsMessage::new(Command::GetService, key()));
        }
        let dump = batch.count;
        batch.push(family, NLM_F_REQUEST | NLM_F_DUMP, IpvsMessage::new(Command::GetDestination, key()));
        let (mut there, mut unread, mut failure) = (!with_service, 0, None);
        self.exchange(&batch, |index, reply| match reply {
            Reply::Message { payload, .. } if index == dump => {
                let nested = attributes(payload).and_then(wire::destination_of);
                match nested.and_then(|nested| destination_report(nested, id.family())) {
                    Some(report) => visit(Seen::Destination(report)),
                    None => unread += 1,
                }
            }
            Reply::Message { payload, .. } => {
                if let Some(report) = attributes(payload).and_then(wire::service_of).and_then(service_report)
                {
                    there = true;
                    visit(Seen::Service(report));
                }
            }
            Reply::Error { errno: Errno::ESRCH, .. } => there = false,
            Reply::Error { errno, detail } => {
                failure =
                    failure.take().or(Some(asked(&format!("read virtual service {id}"), errno, detail)));
            }
            Reply::Ack | Reply::Done => {}
        })?;
        self.unread += unread;
        match failure {
            Some(failure) => Err(self.lose(failure)),
            None => Ok(there),
        }
    }

    /// One request, acknowledged; `each` gets the messages it is answered with.
    fn ask(
        &mut self,
        request: &str,
        message: IpvsMessage,
        mut each: impl FnMut(IpvsMessage),
    ) -> Result<(), IpvsError> {
        let mut failure = None;
        self.batch(&[message], |_, reply| match reply {
            Reply::Message { payload, .. } => {
                if let Some(message) = decode(payload) {
                    each(message);
                }
            }
            Reply::Error { errno, detail } => failure = Some(asked(request, errno, detail)),
            Reply::Ack | Reply::Done => {}
        })?;
        match failure {
            Some(failure) => Err(self.lose(failure)),
            None => Ok(()),
        }
    }

    /// A family that is gone takes the connection with it: the next call looks it up anew.
    fn lose(&mut self, failure: IpvsError) -> IpvsError {
        if failure.is_lost() {
            self.link = None;
        }
        failure
    }

    /// Requests in one send, the last acknowledged; `each` gets the replies with their request's index.
    fn batch(
        &mut self,
        messages: &[IpvsMessage],
        each: impl FnMut(usize, Reply<'_>),
    ) -> Result<(), IpvsError> {
        let family = self.link()?.family;
        let mut batch = Batch::new(self.sequence.wrapping_add(1));
        for message in messages {
            batch.push(family, NLM_F_REQUEST, message.clone());
        }
        batch.acknowledge_last();
        self.exchange(&batch, each)
    }

    /// A dump; `each` gets what follows the headers and says whether it could read it.
    fn dump_of(
        &mut self,
        request: &str,
        command: Command,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), IpvsError> {
        let family = self.link()?.family;
        let mut batch = Batch::new(self.sequence.wrapping_add(1));
        batch.push(family, NLM_F_REQUEST | NLM_F_DUMP, IpvsMessage::new(command, vec![]));
        let mut failure = None;
        let mut unread = 0;
        self.exchange(&batch, |_, reply| match reply {
            Reply::Message { payload, .. } => {
                if !attributes(payload).is_some_and(&mut each) {
                    unread += 1;
                }
            }
            Reply::Error { errno, detail } => failure = Some(asked(request, errno, detail)),
            Reply::Ack | Reply::Done => {}
        })?;
        self.unread += unread;
        match failure {
            Some(failure) => Err(self.lose(failure)),
            None => Ok(()),
        }
    }

    /// Sends a batch and reads until the answer to its last request; drops the socket when that fails.
    fn exchange(&mut self, batch: &Batch, each: impl FnMut(usize, Reply<'_>)) -> Result<(), IpvsError> {
        self.sequence = batch.last();
        let result = match &mut self.link {
            None => Err(IpvsError::Socket { action: "send", errno: Errno::ENOTCONN }),
            Some(link) => exchange(&mut link.transport, &mut self.buffer, self.limit, batch, each),
        };
        if result.is_err() {
            self.link = None;
        }
        result
    }

    /// The connection, made anew when there is none.
    fn link(&mut self) -> Result<&mut Link<T>, IpvsError> {
        if self.link.is_none() {
            let transport =
                (self.connector)().map_err(|error| socket_error("make a generic netlink socket", &error))?;
            self.link = Some(self.look_up(transport)?);
        }
        self.link.as_mut().ok_or(IpvsError::Socket { action: "connect", errno: Errno::ENOTCONN })
    }

    /// Asks for the family's number (`CTRL_CMD_GETFAMILY`), which loads the module where it can be.
    fn look_up(&mut self, mut transport: T) -> Result<Link<T>, IpvsError> {
        let mut batch = Batch::new(self.sequence.wrapping_add(1));
        batch.push_payload(
            NLM_F_REQUEST,
            GenlMessage::from_payload(GenlCtrl {
                cmd: GenlCtrlCmd::GetFamily,
                nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY_NAME.to_owned())],
            }),
        );
        batch.acknowledge_last();
        self.sequence = batch.last();
        let mut family = None;
        let mut failure = None;
        exchange(&mut transport, &mut self.buffer, self.limit, &batch, |_, reply| match reply {
            Reply::Message { kind: GENL_ID_CTRL, payload } => family = family.or(family_id(payload)),
            Reply::Error { errno: Errno::ENOENT, .. } => failure = Some(IpvsError::NoIpvs),
            Reply::Error { errno, detail } => {
                failure = Some(IpvsError::of_request("look up the IPVS family", errno, detail));
            }
            _ => {}
        })?;
        match (failure, family) {
            (Some(failure), _) => Err(failure),
            (None, Some(family)) => Ok(Link { transport, family }),
            (None, None) => {
                Err(IpvsError::Malformed { reason: "no family number in the look-up's answer".to_owned() })
            }
        }
    }
}

impl<T: Transport> Ipvs for Client<T> {
    fn dump(&mut self, ours: &dyn Fn(&ServiceId) -> bool) -> Result<Table, IpvsError> {
        let mut table = Table::default();
        self.dump_of("list the virtual services", Command::GetService, |octets| {
            let report = wire::service_of(octets).and_then(service_report);
            report
                .map(|report| {
                    if ours(&report.id) {
                        let entry = Entry { service: report.service, destinations: BTreeMap::new() };
                        table.services.insert(report.id, entry);
                    }
                })
                .is_some()
        })?;
        for (id, entry) in &mut table.services {
            self.read_service(id, false, |seen| {
                if let Seen::Destination(report) = seen {
                    entry.destinations.insert(report.address, report.destination);
                }
            })?;
        }
        Ok(table)
    }

    fn read(&mut self, ids: &[ServiceId]) -> Result<BTreeMap<ServiceId, Reading>, IpvsError> {
        let mut found = BTreeMap::new();
        // Grown once for all services; what is kept is of the right size.
        let mut reports: Vec<DestinationReport> = Vec::new();
        for id in ids {
            let mut service = None;
            reports.clear();
            let there = self.read_service(id, true, |seen| match seen {
                Seen::Service(report) => service = Some(report),
                Seen::Destination(report) => reports.push(report),
            })?;
            let Some(ServiceReport { service, stats, .. }) = service.filter(|_| there) else { continue };
            // The kernel lists the newest first, and they were added in order.
            reports.reverse();
            reports.sort_unstable_by_key(|report| report.address);
            found.insert(*id, Reading { service, stats, destinations: reports.clone() });
        }
        Ok(found)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        // What the kernel would take although nobody can want it is not sent.
        let unsound: Vec<Option<IpvsError>> = ops.iter().map(IpvsError::of_unsound).collect();
        if unsound.iter().all(Option::is_none) {
            return self.send(ops);
        }
        let sound = ops.iter().zip(&unsound).filter(|(_, unsound)| unsound.is_none());
        let sound: Vec<Op> = sound.map(|(op, _)| op.clone()).collect();
        let mut sent = self.send(&sound).into_iter();
        unsound
            .into_iter()
            .map(|unsound| unsound.map_or_else(|| sent.next().unwrap_or(Ok(())), Err))
            .collect()
    }

    fn timeouts(&mut self) -> Result<Timeouts, IpvsError> {
        let mut timeouts = Timeouts::default();
        self.ask(
            "read the connection timeouts of IPVS",
            IpvsMessage::new(Command::GetConfig, vec![]),
            |message| {
                for attribute in message.attributes {
                    match attribute {
                        Attribute::TimeoutTcp(value) => timeouts.tcp = value,
                        Attribute::TimeoutTcpFin(value) => timeouts.tcp_fin = value,
                        Attribute::TimeoutUdp(value) => timeouts.udp = value,
                        _ => {}
                    }
                }
            },
        )?;
        Ok(timeouts)
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError> {
        let attributes = [
            Attribute::TimeoutTcp(timeouts.tcp),
            Attribute::TimeoutTcpFin(timeouts.tcp_fin),
            Attribute::TimeoutUdp(timeouts.udp),
        ];
        self.ask("set the timeouts", IpvsMessage::new(Command::SetConfig, attributes.into()), |_| {})
    }

    fn flush(&mut self) -> Result<(), IpvsError> {
        self.ask("remove all virtual services", IpvsMessage::new(Command::Flush, vec![]), |_| {})
    }
}

impl<T: Transport> SyncDaemons for Client<T> {
    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, IpvsError> {
        let mut daemons = Vec::new();
        self.dump_of("list the sync daemons", Command::GetDaemon, |octets| {
            let header = GenlHeader { cmd: Command::NewDaemon.into(), version: wire::FAMILY_VERSION };
            let message = IpvsMessage::parse_with_param(octets, header).ok();
            let found = message.as_ref().and_then(IpvsMessage::daemon).and_then(wire::daemon::daemon_report);
            daemons.extend(found.clone());
            found.is_some()
        })?;
        Ok(daemons)
    }

    fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), IpvsError> {
        let request = format!("start the {} sync daemon on {}", daemon.state, daemon.interface);
        let attributes = vec![Attribute::Daemon(wire::daemon::daemon_attributes(daemon))];
        match self.ask(&request, IpvsMessage::new(Command::NewDaemon, attributes), |_| {}) {
            Err(IpvsError::Refused { errno: Errno::EINVAL, request, detail }) => Err(IpvsError::Invalid {
                request,
                hint: detail.unwrap_or_else(|| {
                    "it excludes tunnels to real servers of another family than their virtual service; \
                     the multicast group must be one and its interface up"
                        .to_owned()
                }),
            }),
            other => other,
        }
    }

    fn stop_daemon(&mut self, state: SyncState) -> Result<(), IpvsError> {
        let request = format!("stop the {} sync daemon", state);
        let attributes = vec![Attribute::Daemon(wire::daemon::key_attributes(state))];
        // Stopped within milliseconds of its start, the kernel never answers (the handler returns
        // -EINTR, for which netlink sends nothing): the request behind it is the one acknowledged.
        let messages =
            [IpvsMessage::new(Command::DelDaemon, attributes), IpvsMessage::new(Command::GetInfo, vec![])];
        let mut failure = None;
        self.batch(&messages, |index, reply| match reply {
            Reply::Error { errno, detail } if index == 0 => {
                failure = Some(IpvsError::of_request(&request, errno, detail));
            }
            _ => {}
        })?;
        failure.map_or(Ok(()), Err)
    }
}

impl<T: Transport> Client<T> {
    fn send(&mut self, ops: &[Op]) -> Vec<Result<(), IpvsError>> {
        let mut results = Vec::with_capacity(ops.len());
        let mut rest = ops;
        while !rest.is_empty() {
            let (done, lost) = self.apply_batch(rest, &mut results);
            rest = rest.get(done..).unwrap_or_default();
            if let Some(lost) = lost {
                // What came before in this batch is as unknown as what was not sent: all is read back.
                results.resize(ops.len(), Err(lost));
                break;
            }
        }
        results
    }

    /// Applies as many of `ops` as fit into one send; appends their results, or says what was lost.
    fn apply_batch(
        &mut self,
        ops: &[Op],
        results: &mut Vec<Result<(), IpvsError>>,
    ) -> (usize, Option<IpvsError>) {
        let (family, limit) = match self.link() {
            Ok(link) => (link.family, link.transport.batch()),
            Err(error) => return (0, Some(error)),
        };
        let mut batch = Batch::new(self.sequence.wrapping_add(1));
        for op in ops {
            if batch.count == limit || batch.octets.len() > BATCH_OCTETS - MESSAGE_OCTETS {
                break;
            }
            batch.push(family, NLM_F_REQUEST, message_of(op));
        }
        batch.acknowledge_last();
        let mut outcome = vec![Ok(()); batch.count];
        let exchanged = self.exchange(&batch, |index, reply| {
            if let (Reply::Error { errno, detail }, Some(op), Some(result)) =
                (reply, ops.get(index), outcome.get_mut(index))
            {
                *result = Err(IpvsError::of_op(op, errno, detail));
            }
        });
        match exchanged {
            Ok(()) => {
                results.append(&mut outcome);
                (batch.count, None)
            }
            Err(lost) => (0, Some(lost)),
        }
    }
}

/// More than the longest operation: a name of 15 octets each for scheduler and persistence engine.
const MESSAGE_OCTETS: usize = 512;

/// What a reading of a service meets.
enum Seen {
    Service(ServiceReport),
    Destination(DestinationReport),
}

/// Requests for one send.
struct Batch {
    octets: Vec<u8>,
    first: u32,
    count: usize,
    last_at: usize,
}

impl Batch {
    fn new(first: u32) -> Self {
        Batch { octets: Vec::new(), first, count: 0, last_at: 0 }
    }

    /// Sequence number of the last request.
    fn last(&self) -> u32 {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.first.wrapping_add(count.saturating_sub(1))
    }

    fn push(&mut self, family: u16, flags: u16, message: IpvsMessage) {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(family);
        self.push_payload(flags, message);
    }

    fn push_payload<M>(&mut self, flags: u16, message: GenlMessage<M>)
    where
        M: std::fmt::Debug,
        GenlMessage<M>: NetlinkSerializable,
    {
        let mut message = NetlinkMessage::new(Default::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = flags;
        message.header.sequence_number =
            self.first.wrapping_add(u32::try_from(self.count).unwrap_or(u32::MAX));
        message.finalize();
        self.last_at = self.octets.len();
        // Attributes are padded to four octets, so the next message begins where it must.
        self.octets.resize(self.last_at + message.buffer_len(), 0);
        if let Some(room) = self.octets.get_mut(self.last_at..) {
            message.serialize(room);
        }
        self.count += 1;
    }

    fn acknowledge_last(&mut self) {
        if let Some(last) = self.octets.get_mut(self.last_at..)
            && let Ok(mut last) = NetlinkBuffer::new_checked(last)
        {
            let flags = last.flags();
            last.set_flags(flags | NLM_F_ACK);
        }
    }
}

/// Sends a batch and reads until the answer to its last request.
fn exchange<T: Transport>(
    transport: &mut T,
    buffer: &mut [u8],
    limit: Duration,
    batch: &Batch,
    mut each: impl FnMut(usize, Reply<'_>),
) -> Result<(), IpvsError> {
    let deadline = Instant::now() + limit;
    transport.send(&batch.octets).map_err(|error| socket_error("send", &error))?;
    loop {
        let length = match transport.receive(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted && Instant::now() < deadline => continue,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Err(IpvsError::TimedOut { limit_ms: limit.as_millis() });
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(IpvsError::Overrun),
            Err(error) => return Err(socket_error("receive", &error)),
        };
        let datagram = buffer.get(..length).ok_or_else(|| IpvsError::Malformed {
            reason: format!(
                "a datagram of {length} octets, more than the {RECEIVE_OCTETS} there is room for"
            ),
        })?;
        for reply in replies(datagram) {
            let (sequence, reply) = reply?;
            let index = usize::try_from(sequence.wrapping_sub(batch.first)).unwrap_or(usize::MAX);
            if index >= batch.count {
                continue; // an answer to what an earlier call gave up on
            }
            let end = index + 1 == batch.count && !matches!(reply, Reply::Message { .. });
            each(index, reply);
            if end {
                return Ok(());
            }
        }
        // The transport bounds each receive; this bounds a trickle of answers that are not the last.
        if Instant::now() >= deadline {
            return Err(IpvsError::TimedOut { limit_ms: limit.as_millis() });
        }
    }
}

/// The request for an operation.
pub(crate) fn message_of(op: &Op) -> IpvsMessage {
    let key = |id| Attribute::Service(wire::service::key_attributes(id));
    let whole = |id, service| vec![Attribute::Service(wire::service::service_attributes(id, service))];
    let dest = |id, address: &SocketAddr, destination: &Destination| {
        vec![
            key(id),
            Attribute::Destination(wire::destination::destination_attributes(*address, destination)),
        ]
    };
    match op {
        Op::NewService(id, service) => IpvsMessage::new(Command::NewService, whole(id, service)),
        Op::SetService(id, service) => IpvsMessage::new(Command::SetService, whole(id, service)),
        Op::DelService(id) => IpvsMessage::new(Command::DelService, vec![key(id)]),
        Op::NewDest(id, address, to) => IpvsMessage::new(Command::NewDestination, dest(id, address, to)),
        Op::SetDest(id, address, to) => IpvsMessage::new(Command::SetDestination, dest(id, address, to)),
        Op::DelDest(id, address) => IpvsMessage::new(
            Command::DelDestination,
            vec![key(id), Attribute::Destination(wire::destination::key_attributes(*address))],
        ),
    }
}

/// What a refused request that is not an operation means. None of these is answered with ENOENT unless nobody
/// has the family's number any more.
fn asked(request: &str, errno: Errno, detail: Option<String>) -> IpvsError {
    match errno {
        Errno::ENOENT => IpvsError::Unloaded,
        _ => IpvsError::of_request(request, errno, detail),
    }
}

/// What follows the generic netlink header.
fn attributes(payload: &[u8]) -> Option<&[u8]> {
    payload.get(GENL_HEADER..)
}

/// A message of the family from what follows the netlink header; `None` when it cannot be read.
fn decode(payload: &[u8]) -> Option<IpvsMessage> {
    let header = GenlHeader::parse(payload).ok()?;
    IpvsMessage::parse_with_param(payload.get(GENL_HEADER..)?, header).ok()
}

/// The family's number in the answer to `CTRL_CMD_GETFAMILY`. Only that attribute is read: the answer
/// also carries policies, which newer kernels extend.
fn family_id(payload: &[u8]) -> Option<u16> {
    NlasIterator::new(payload.get(GENL_HEADER..)?)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == CTRL_ATTR_FAMILY_ID)
        .and_then(|attribute| parse_u16(attribute.value()).ok())
}

fn socket_error(action: &'static str, error: &io::Error) -> IpvsError {
    IpvsError::Socket { action, errno: error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) }
}

impl<T> std::fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("connected", &self.link.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The client against a kernel that is a script: what it sends, and what it makes of each answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::types::{Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};

const FAMILY: u16 = 33;

/// A request as the kernel sees it.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    kind: u16,
    flags: u16,
    sequence: u32,
    command: u8,
}

/// What a scripted kernel does with one send.
type Answer = Box<dyn FnMut(&[Request]) -> Vec<io::Result<Vec<u8>>> + Send>;

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    sends: Vec<Vec<Request>>,
    connections: usize,
}

struct Scripted {
    script: Arc<Mutex<Script>>,
    incoming: VecDeque<io::Result<Vec<u8>>>,
    batch: usize,
}

impl Transport for Scripted {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut requests = Vec::new();
        let mut rest = datagram;
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).expect("whole messages");
            requests.push(Request {
                kind: message.message_type(),
                flags: message.flags(),
                sequence: message.sequence_number(),
                command: message.payload()[0],
            });
            let length = usize::try_from(message.length()).expect("length");
            assert_eq!(length % 4, 0, "the next message begins on four octets");
            rest = &rest[length..];
        }
        let mut script = self.script.lock().expect("script");
        script.sends.push(requests.clone());
        let mut answer = script.answers.pop_front().expect("an answer to this send");
        drop(script);
        self.incoming = answer(&requests).into();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.pop_front().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        let copied = datagram.len().min(buffer.len());
        buffer[..copied].copy_from_slice(&datagram[..copied]);
        Ok(datagram.len())
    }

    fn batch(&self) -> usize {
        self.batch
    }
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).expect("short");
    let mut octets = Vec::new();
    octets.extend(length.to_ne_bytes());
    octets.extend(kind.to_ne_bytes());
    octets.extend(flags.to_ne_bytes());
    octets.extend(sequence.to_ne_bytes());
    octets.extend([0; 4]);
    octets.extend(payload);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn error(sequence: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([0; 16]); // the request's header, capped
    message(NLMSG_ERROR, 0x100, sequence, &payload)
}

fn ack(requests: &[Request]) -> Vec<u8> {
    error(requests.last().expect("a request").sequence, 0)
}

fn look_up() -> Answer {
    Box::new(|requests| {
        assert_eq!(requests[0].kind, GENL_ID_CTRL);
        let [a, b] = FAMILY.to_ne_bytes();
        let payload = [1, 2, 0, 0, 6, 0, 1, 0, a, b, 0, 0];
        vec![Ok(message(GENL_ID_CTRL, 0, requests[0].sequence, &payload)), Ok(ack(requests))]
    })
}

fn client_of(
    batch: usize,
    answers: Vec<Answer>,
) -> (Result<Client<Scripted>, IpvsError>, Arc<Mutex<Script>>) {
    let script = Arc::new(Mutex::new(Script { answers: answers.into(), ..Script::default() }));
    let shared = script.clone();
    let client = Client::with_transport(Duration::from_secs(5), move || {
        shared.lock().expect("script").connections += 1;
        Ok(Scripted { script: shared.clone(), incoming: VecDeque::new(), batch })
    });
    (client, script)
}

fn id() -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: "10.0.0.1:80".parse().expect("address") }
}

fn ops(count: u16) -> Vec<Op> {
    let to =
        Destination { forwarding: Forwarding::Direct, weight: 1, upper_threshold: 0, lower_threshold: 0 };
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 80))
    };
    (0..count).map(|number| Op::NewDest(id(), address(number), to)).collect()
}

fn sends(script: &Mutex<Script>) -> Vec<Vec<Request>> {
    script.lock().expect("script").sends.clone()
}

#[test]
fn one_acknowledgement_for_a_batch_of_512() {
    let (client, script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(|requests| vec![Ok(ack(requests))]),
            Box::new(|requests| vec![Ok(ack(requests))]),
            Box::new(|requests| vec![Ok(ack(requests))]),
        ],
    );
    let results = client.expect("connects").apply(&ops(1200));
    assert_eq!(results.len(), 1200);
    assert!(results.iter().all(Result::is_ok));
    let sends = sends(&script);
    assert_eq!(sends.iter().map(Vec::len).collect::<Vec<_>>(), [1, 512, 512, 176]);
    for send in sends.iter().skip(1) {
        assert!(send.iter().all(|request| request.kind == FAMILY && request.command == 5));
        assert!(send.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
        let (last, others) = send.split_last().expect("requests");
        assert_eq!(last.flags, NLM_F_REQUEST | NLM_F_ACK);
        assert!(others.iter().all(|request| request.flags == NLM_F_REQUEST));
    }
}

#[test]
fn a_small_receive_buffer_means_small_batches() {
    let answer = || -> Answer { Box::new(|requests| vec![Ok(ack(requests))]) };
    let (client, script) = client_of(128, vec![look_up(), answer(), answer(), answer()]);
    assert_eq!(client.expect("connects").apply(&ops(300)).len(), 300);
    assert_eq!(sends(&script).iter().map(Vec::len).collect::<Vec<_>>(), [1, 128, 128, 44]);
}

#[test]
fn each_error_belongs_to_the_request_of_its_number() {
    let (client, script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(|requests| {
                let of = |index: usize| requests[index].sequence;
                vec![
                    Ok(error(of(0).wrapping_sub(1), libc::EPERM)), // of an earlier call: nobody waits for it
                    Ok([error(of(1), libc::EEXIST), error(of(2), libc::ESRCH)].concat()),
                    Ok(error(of(4), libc::ERANGE)), // the last one's error is its answer
                    Err(io::Error::other("nothing is read after the last answer")),
                ]
            }),
        ],
    );
    let results = client.expect("connects").apply(&ops(5));
    assert!(
        matches!(
            &results[..],
            [
                Ok(()),
                Err(IpvsError::Exists { .. }),
                Err(IpvsError::NoService { .. }),
                Ok(()),
                Err(IpvsError::OutOfRange { .. })
            ]
        ),
        "{results:?}"
    );
    assert_eq!(script.lock().expect("script").connections, 1);
}

#[test]
fn lost_answers_are_a_typed_error_and_a_new_socket() {
    type Loss = fn() -> Vec<io::Result<Vec<u8>>>;
    type Check = fn(&IpvsError) -> bool;
    let rows: [(&str, Loss, Check); 6] = [
        ("no answer", || vec![], |error| matches!(error, IpvsError::TimedOut { limit_ms: 5000 })),
        (
            "interrupted, then no answer",
            || vec![Err(io::ErrorKind::Interrupted.into())],
            |error| matches!(error, IpvsError::TimedOut { .. }),
        ),
        (
            "receive buffer full",
            || vec![Err(io::Error::from_raw_os_error(libc::ENOBUFS))],
            |error| *error == IpvsError::Overrun,
        ),
        (
            "socket broken",
            || vec![Err(io::Error::from_raw_os_error(libc::EBADF))],
            |error| matches!(error, IpvsError::Socket { errno: Errno::EBADF, .. }),
        ),
        ("not netlink", || vec![Ok(vec![9; 7])], |error| matches!(error, IpvsError::Malformed { .. })),
        (
            "cut off",
            || vec![Ok(vec![0; RECEIVE_OCTETS + 1])],
            |error| matches!(error, IpvsError::Malformed { .. }),
        ),
    ];
    for (name, loss, is) in rows {
        let (client, script) = client_of(
            2,
            vec![
                look_up(),
                Box::new(|requests| vec![Ok(ack(requests))]),
                Box::new(move |_| loss()),
                look_up(),
                Box::new(|requests| vec![Ok(ack(requests))]),
            ],
        );
        let mut client = client.expect("connects");
        let results = client.apply(&ops(6));
        assert_eq!(results.len(), 6, "{name}");
        assert!(results[..2].iter().all(Result::is_ok), "{name}: the first send was answered");
        for result in &results[2..] {
            let error = result.as_ref().expect_err(name);
            assert!(is(error) && error.is_lost(), "{name}: {error}");
        }
        assert_eq!(client.apply(&ops(1)), [Ok(())], "{name}: the next call works");
        assert_eq!(script.lock().expect("script").connections, 2, "{name}");
    }
}

#[test]
fn the_look_up_says_what_is_missing() {
    let refuse = |errno| -> Answer { Box::new(move |requests| vec![Ok(error(requests[0].sequence, errno))]) };
    let silent: Answer = Box::new(|requests| vec![Ok(ack(requests))]);
    for (name, answer, want) in [
        ("no module", refuse(libc::ENOENT), "modprobe ip_vs"),
        ("no right", refuse(libc::EPERM), "CAP_NET_ADMIN"),
        ("no number", silent, "family number"),
    ] {
        let text = client_of(512, vec![answer]).0.expect_err(name).to_string();
        assert!(text.contains(want), "{name}: {text}");
    }
}

#[test]
fn stopping_a_daemon_never_waits_for_an_answer_that_may_not_come() {
    let (client, script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(|requests| vec![Ok(ack(requests))]), // the first request is never answered
            Box::new(|requests| vec![Ok(error(requests[0].sequence, libc::ESRCH)), Ok(ack(requests))]),
        ],
    );
    let mut client = client.expect("connects");
    assert_eq!(client.stop_daemon(SyncState::Master), Ok(()));
    let refused = client.stop_daemon(SyncState::Backup).expect_err("none runs");
    assert!(matches!(refused, IpvsError::Refused { errno: Errno::ESRCH, .. }), "{refused}");
    for send in sends(&script).iter().skip(1) {
        assert_eq!(send.iter().map(|request| request.command).collect::<Vec<_>>(), [10, 15]);
        assert_eq!(send[0].flags & NLM_F_ACK, 0);
    }
}

#[test]
fn the_kernels_words_are_kept() {
    let (client, _script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(|requests| {
                let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
                payload.extend([0; 16]);
                payload.extend([12, 0, 1, 0]);
                payload.extend(b"so not\0\0");
                vec![Ok(message(NLMSG_ERROR, 0x300, requests[0].sequence, &payload))]
            }),
        ],
    );
    let results = client.expect("connects").apply(&ops(1));
    let text = results[0].as_ref().expect_err("refused").to_string();
    assert!(text.ends_with("so not"), "{text}");
}

#[test]
fn a_dump_leaves_out_what_it_cannot_express() {
    let service = Service {
        scheduler: Scheduler::new("rr").expect("name"),
        flags: ServiceFlags::default(),
        persistence_timeout: 0,
        netmask: Netmask::full(Family::Inet),
        persistence_engine: None,
    };
    let to = Destination { forwarding: Forwarding::Nat, weight: 1, upper_threshold: 0, lower_threshold: 0 };
    let real = SocketAddr::from(([10, 0, 0, 2], 80));
    let services = octets_of(&Op::NewService(id(), service.clone()));
    // Protocol 47 in the same message.
    let mut foreign = services.clone();
    foreign[4 + 4 + 8 + 4] = 47;
    let dests = octets_of(&Op::NewDest(id(), real, to));
    let done = |sequence, errno: i32| message(NLMSG_DONE, 2, sequence, &(-errno).to_ne_bytes());
    let (client, _script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(move |requests| {
                assert_eq!(requests[0].flags, NLM_F_REQUEST | NLM_F_DUMP);
                let sequence = requests[0].sequence;
                let part = |payload: &[u8]| message(FAMILY, 2, sequence, payload);
                vec![
                    Ok([part(&foreign), part(&services), part(&[1, 1, 0, 0, 9, 9])].concat()),
                    Ok(done(sequence, 0)),
                ]
            }),
            Box::new(move |requests| {
                let sequence = requests[0].sequence;
                vec![Ok(message(FAMILY, 2, sequence, &dests)), Ok(done(sequence, 0))]
            }),
            Box::new(move |requests| vec![Ok(done(requests[0].sequence, libc::EPERM))]),
        ],
    );
    let mut client = client.expect("connects");
    let table = client.dump(&|_| true).expect("a table");
    let entry = Entry { service, destinations: [(real, to)].into() };
    assert_eq!(table, Table { services: [(id(), entry)].into() });
    assert_eq!(client.unread(), 2);
    let refused = client.dump(&|_| true).expect_err("a dump that ends with an error");
    assert!(matches!(refused, IpvsError::NoRight { .. }), "{refused}");
}

/// Octets of an operation after the netlink header: as the kernel answers with services and destinations.
fn octets_of(op: &Op) -> Vec<u8> {
    let mut batch = Batch::new(1);
    batch.push(FAMILY, 0, message_of(op));
    batch.octets[16..].to_vec()
}

fn plain_service() -> Op {
    let service = Service {
        scheduler: Scheduler::new("rr").expect("name"),
        flags: ServiceFlags::default(),
        persistence_timeout: 0,
        netmask: Netmask::full(Family::Inet),
        persistence_engine: None,
    };
    Op::NewService(id(), service)
}

#[test]
fn a_service_is_read_with_one_send_and_may_be_absent() {
    let done = |sequence| message(NLMSG_DONE, 2, sequence, &[0; 4]);
    let (client, script) = client_of(
        512,
        vec![
            look_up(),
            Box::new(move |requests| {
                let of = |index: usize| requests[index].sequence;
                vec![
                    Ok(message(FAMILY, 0, of(0), &octets_of(&plain_service()))),
                    Ok(message(FAMILY, 2, of(1), &octets_of(&ops(1)[0]))),
                    Ok(done(of(1))),
                ]
            }),
            Box::new(move |requests| {
                vec![Ok(error(requests[0].sequence, libc::ESRCH)), Ok(done(requests[1].sequence))]
            }),
        ],
    );
    let mut client = client.expect("connects");
    let absent = ServiceId::Addr { protocol: Protocol::Udp, vip: "10.0.0.1:80".parse().expect("address") };
    let readings = client.read(&[id(), absent]).expect("readings");
    assert_eq!(readings.keys().collect::<Vec<_>>(), [&id()]);
    assert_eq!(readings[&id()].destinations.len(), 1);
    assert!(readings[&id()].is(&readings[&id()].entry()));
    for send in sends(&script).iter().skip(1) {
        assert_eq!(send.iter().map(|request| request.command).collect::<Vec<_>>(), [4, 8]);
        assert_eq!(send[1].flags, NLM_F_REQUEST | NLM_F_DUMP);
    }
}

#[test]
fn an_unloaded_module_is_looked_up_anew() {
    type Call = fn(&mut Client<Scripted>) -> Result<(), IpvsError>;
    let calls: [(&str, Call); 4] = [
        ("read", |client| client.read(&[id()]).map(drop)),
        ("dump", |client| client.dump(&|_| true).map(drop)),
        ("timeouts", |client| client.timeouts().map(drop)),
        ("daemons", |client| SyncDaemons::daemons(client).map(drop)),
    ];
    for (name, call) in calls {
        let (client, script) = client_of(
            512,
            vec![
                look_up(),
                // Nobody has the number: each request is answered so.
                Box::new(|requests| {
                    requests.iter().map(|request| Ok(error(request.sequence, libc::ENOENT))).collect()
                }),
                look_up(),
                Box::new(|requests| vec![Ok(ack(requests))]),
            ],
        );
        let mut client = client.expect("connects");
        let gone = call(&mut client).expect_err(name);
        assert_eq!(gone, IpvsError::Unloaded, "{name}");
        assert!(gone.is_lost(), "{name}");
        assert_eq!(client.apply(&ops(1)), [Ok(())], "{name}");
        assert_eq!(script.lock().expect("script").connections, 2, "{name}");
    }
}

#[test]
fn what_cannot_work_is_not_sent() {
    let (client, script) = client_of(512, vec![look_up(), Box::new(|requests| vec![Ok(ack(requests))])]);
    let mut wanted = ops(3);
    let to =
        Destination { forwarding: Forwarding::Direct, weight: 1, upper_threshold: 0, lower_threshold: 0 };
    wanted.insert(1, Op::NewDest(id(), SocketAddr::from(([10, 0, 9, 9], 8080)), to));
    let results = client.expect("connects").apply(&wanted);
    assert!(matches!(&results[..], [Ok(()), Err(IpvsError::Unsound { .. }), Ok(()), Ok(())]), "{results:?}");
    assert_eq!(sends(&script).iter().map(Vec::len).collect::<Vec<_>>(), [1, 3]);
}

proptest::proptest! {
    #[test]
    fn answers_of_any_octets_end_the_wait(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let count = replies(&octets).count();
        proptest::prop_assert!(count <= octets.len() / 16 + 1);
    }
}

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use lbd_integration::skip;
use proptest::prelude::*;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::echo::{Echo, Family, Heard, checksum, filter, law, parse};
use super::*;
use crate::namespace::{in_namespace, ip};
use crate::state::Verdict;

const ECHO: Echo = Echo { id: 0x1234, sequence: 0x0102, nonce: *b"a secret" };

/// An IPv4 packet with ICMP.
fn packet(destination: [u8; 4], options: usize, icmp: &[u8]) -> Vec<u8> {
    let length = 0x45 + u8::try_from(options / 4).unwrap();
    let mut packet = vec![length, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1];
    packet.extend_from_slice(&destination);
    packet.extend(vec![0; options]);
    packet.extend_from_slice(icmp);
    packet
}

fn packet_v6(destination: std::net::Ipv6Addr, next: u8, icmp: &[u8]) -> Vec<u8> {
    [&[0x60, 0, 0, 0, 0, 0, next, 64], &[0; 16][..], &destination.octets(), icmp].concat()
}

fn summed(mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// The reply to a request.
fn reply(family: Family, request: &[u8]) -> Vec<u8> {
    let kind = if family == Family::V4 { 0 } else { 129 };
    summed([&[kind], &request[1..]].concat())
}

fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    summed([&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat())
}

#[test]
fn request_octets() {
    let v4 = ECHO.request(Family::V4);
    assert_eq!(&v4[..2], [8, 0]);
    assert_eq!(checksum(&v4), 0);
    assert_eq!(&v4[4..24], b"\x12\x34\x01\x02a secretlbd PING");
    assert_eq!(v4.len(), 136);
    let v6 = ECHO.request(Family::V6);
    assert_eq!(&v6[..4], [128, 0, 0, 0]);
    assert_eq!(v6[4..], v4[4..]);
}

#[test]
fn checksums() {
    for (name, octets, want) in [
        ("RFC 1071 §3", &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7][..], !0xddf2),
        ("nothing", &[], 0xffff),
        ("odd", &[0xab], !0xab00),
        ("carries twice", &[0xff, 0xff, 0xff, 0xff, 0x00, 0x01], 0xfffe),
    ] {
        assert_eq!(checksum(octets), want, "{name}");
    }
}

#[test]
fn messages() {
    let request = ECHO.request(Family::V4);
    let quoted = packet([10, 0, 0, 2], 0, &request);
    let refused =
        |why: &str| Some(Heard::Refused { echo: ECHO, target: [10, 0, 0, 2].into(), why: why.into() });
    let v4 = |icmp: &[u8]| packet([10, 0, 0, 1], 0, icmp);
    let good = reply(Family::V4, &request);
    let mut bad_sum = good.clone();
    bad_sum[3] ^= 1;
    let mut udp = packet([10, 0, 0, 1], 0, &good);
    udp[9] = 17;
    for (name, octets, want) in [
        ("reply", v4(&good), Some(Heard::Reply(ECHO))),
        ("with IP options", packet([10, 0, 0, 1], 40, &good), Some(Heard::Reply(ECHO))),
        ("shortened reply", v4(&summed(good[..16].to_vec())), Some(Heard::Reply(ECHO))),
        ("a reply without data", v4(&summed(good[..8].to_vec())), None),
        ("wrong checksum", v4(&bad_sum), None),
        ("a request", v4(&request), None),
        ("no route", v4(&error(3, 0, &quoted)), refused("network unreachable")),
        ("no host", v4(&error(3, 1, &quoted)), refused("host unreachable")),
        ("no protocol", v4(&error(3, 2, &quoted)), refused("protocol unreachable")),
        ("no port", v4(&error(3, 3, &quoted)), refused("port unreachable")),
        ("filtered", v4(&error(3, 13, &quoted)), refused("prohibited by a router or filter")),
        ("unknown code", v4(&error(3, 77, &quoted)), refused("unreachable, code 77")),
        ("too many hops", v4(&error(11, 0, &quoted)), refused("lost on the way")),
        ("redirect", v4(&error(5, 1, &quoted)), None),
        ("about a reply", v4(&error(3, 1, &packet([10, 0, 0, 2], 0, &good))), None),
        ("about UDP", v4(&error(3, 1, &udp)), None),
        ("quotes too little", v4(&error(3, 1, &quoted[..35])), None),
        ("quotes just enough", v4(&error(3, 1, &quoted[..36])), refused("host unreachable")),
        ("quotes nothing", v4(&error(3, 1, &[])), None),
        ("not IPv4", packet_v6("::1".parse().unwrap(), 1, &good), None),
        ("not ICMP", udp.clone(), None),
        ("header shorter than it can be", [&[0x44], &v4(&good)[1..]].concat(), None),
        ("header longer than the packet", [&[0x4f], &v4(&[])[1..]].concat(), None),
        ("cut", v4(&good)[..19].to_vec(), None),
        ("empty", vec![], None),
    ] {
        assert_eq!(parse(Family::V4, &octets), want, "{name}");
    }
    let request = ECHO.request(Family::V6);
    let to = "2001:db8::2".parse().unwrap();
    let quoted = packet_v6(to, 58, &request);
    let refused = |why: &str| Some(Heard::Refused { echo: ECHO, target: to.into(), why: why.into() });
    for (name, octets, want) in [
        ("reply", reply(Family::V6, &request), Some(Heard::Reply(ECHO))),
        ("request", request.clone(), None),
        ("no route", error(1, 0, &quoted), refused("network unreachable")),
        ("prohibited", error(1, 1, &quoted), refused("prohibited by a router or filter")),
        ("no host", error(1, 3, &quoted), refused("host unreachable")),
        ("no port", error(1, 4, &quoted), refused("port unreachable")),
        ("too many hops", error(3, 0, &quoted), refused("lost on the way")),
        ("too big", error(2, 0, &quoted), None),
        ("about something else", error(1, 3, &packet_v6(to, 17, &request)), None),
        ("quotes too little", error(1, 3, &quoted[..55]), None),
        ("empty", vec![], None),
    ] {
        assert_eq!(parse(Family::V6, &octets), want, "IPv6 {name}");
    }
}

/// The kernel's own interpreter, on a socket that needs no right.
#[test]
fn the_filter_lets_through_what_is_about_our_echoes() {
    let other = Echo { id: 0x1235, ..ECHO };
    for family in [Family::V4, Family::V6] {
        let to = |icmp: &[u8]| match family {
            Family::V4 => packet([10, 0, 0, 2], 0, icmp),
            Family::V6 => icmp.to_vec(),
        };
        let quote = |echo: Echo| match family {
            Family::V4 => packet([10, 0, 0, 2], 0, &echo.request(family)),
            Family::V6 => packet_v6("::1".parse().unwrap(), 58, &echo.request(family)),
        };
        let (unreachable, exceeded) = if family == Family::V4 { (3, 11) } else { (1, 3) };
        let reply_to = |echo: Echo| to(&reply(family, &echo.request(family)));
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(&filter(family, ECHO.id)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        for (name, octets, want) in [
            ("our reply", reply_to(ECHO), true),
            ("another's reply", reply_to(other), false),
            ("our request", to(&ECHO.request(family)), false),
            ("about our request", to(&error(unreachable, 1, &quote(ECHO))), true),
            ("about another's", to(&error(unreachable, 1, &quote(other))), false),
            ("our request's hops", to(&error(exceeded, 0, &quote(ECHO))), true),
            ("another's hops", to(&error(exceeded, 0, &quote(other))), false),
            ("another error", to(&error(77, 0, &quote(ECHO))), false),
            ("cut", reply_to(ECHO)[..3].to_vec(), false),
            ("empty", vec![], false),
        ] {
            sender.send(&octets).unwrap();
            let got = receiver.recv(&mut [0; 512]).is_ok();
            assert_eq!(got, want, "{family:?} {name}");
        }
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(&filter(family, ECHO.id)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        if family == Family::V4 {
            sender.send(&packet([10, 0, 0, 2], 40, &reply(family, &ECHO.request(family)))).unwrap();
            assert!(receiver.recv(&mut [0; 512]).is_ok(), "IP options");
        }
    }
}

fn to(target: &str) -> Connection {
    Connection {
        target: SocketAddr::new(target.parse().unwrap(), 80),
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_millis(300),
        fwmark: None,
    }
}

fn slow(target: &str) -> Connection {
    Connection { timeout: Duration::from_secs(30), ..to(target) }
}

fn may_use_raw_sockets(test: &str) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4));
    if let Err(error) = &socket {
        skip::report(test, &format!("no raw sockets ({error})"));
    }
    socket.is_ok()
}

#[tokio::test]
async fn on_loopback() {
    let pings = Pings::default();
    if !may_use_raw_sockets("on_loopback") {
        let outcome = run(&to("127.0.0.1"), &pings).await;
        assert_eq!(outcome.verdict, Verdict::Unknown);
        let want = "cannot make a raw ICMP socket (needs CAP_NET_RAW): operation not permitted";
        assert_eq!(&*outcome.reason, want);
        return;
    }
    let bound = |target: &str, address: &str| Connection {
        bind_address: Some(address.parse().unwrap()),
        ..slow(target)
    };
    for (name, connection) in [
        ("IPv4", slow("127.0.0.1")),
        ("IPv6", slow("::1")),
        ("bindto", bound("127.0.0.1", "127.0.0.9")),
        ("bindto, IPv6", bound("::1", "::1")),
        ("bind_if", Connection { bind_interface: Some("lo".into()), ..slow("127.0.0.1") }),
        ("bind_if, IPv6", Connection { bind_interface: Some("lo".into()), ..slow("::1") }),
        (
            "bind_port means nothing",
            Connection { bind_port: std::num::NonZeroU16::new(9), ..slow("127.0.0.1") },
        ),
    ] {
        for _ in 0..3 {
            assert_eq!(run(&connection, &pings).await, Outcome::good("answered"), "{name}");
        }
    }
    for (name, connection, want) in [
        (
            "address that is not here",
            bound("127.0.0.1", "192.0.2.77"),
            "cannot bind to 192.0.2.77:0 (bindto): is the address on this host?: cannot assign requested address",
        ),
        (
            "interface that is not here",
            Connection { bind_interface: Some("nosuch0".into()), ..slow("127.0.0.1") },
            "cannot bind to interface nosuch0 (bind_if): no such device",
        ),
    ] {
        assert_eq!(run(&connection, &pings).await, Outcome::unknown(want), "{name}");
    }
}

#[tokio::test]
async fn many_at_once_share_a_socket() {
    if !may_use_raw_sockets("many_at_once_share_a_socket") {
        return;
    }
    let pings = Pings::default();
    let tasks: Vec<_> = (0..500)
        .map(|i| {
            let pings = pings.clone();
            let connection = slow(&format!("127.0.{}.{}", 1 + i / 200, 1 + i % 200));
            tokio::spawn(async move { run(&connection, &pings).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Outcome::good("answered"));
    }
    let (socket, shared) = pings.socket(&to("127.0.0.1")).unwrap();
    assert!(shared);
    assert_eq!(socket.under_way(), 0, "nothing is left behind");
}

#[tokio::test]
async fn what_is_under_way_is_bounded() {
    if !may_use_raw_sockets("what_is_under_way_is_bounded") {
        return;
    }
    let pings = Pings::default();
    let (socket, _) = pings.socket(&to("127.0.0.1")).unwrap();
    let target = [192, 0, 2, 1].into();
    let waiting: Vec<_> =
        (0..socket::MAX_OUTSTANDING).map(|_| socket.expect(target).expect("room")).collect();
    let Err(ConnectError::Ours(message)) = socket.expect(target) else { panic!("no room") };
    assert_eq!(message, "32768 echo requests are under way already");
    assert_eq!(run(&to("127.0.0.1"), &pings).await.verdict, Verdict::Unknown);
    drop(waiting);
    assert_eq!(socket.under_way(), 0);
    assert_eq!(run(&slow("127.0.0.1"), &pings).await, Outcome::good("answered"));
}

#[test]
fn unreachable() {
    in_namespace("unreachable", || async {
        ip(&["route", "add", "unreachable", "198.51.100.0/24"]);
        ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
        let pings = Pings::default();
        let through =
            |interface: &str| Connection { bind_interface: Some(interface.into()), ..slow("192.0.2.2") };
        assert_eq!(run(&slow("198.51.100.1"), &pings).await, Outcome::bad("no route to the host"));
        assert_eq!(run(&slow("192.0.2.1"), &pings).await, Outcome::bad("network unreachable"));
        assert_eq!(run(&slow("2001:db8::1"), &pings).await, Outcome::bad("network unreachable"));
        // As it was made again, the interface has another number: the old socket must not be kept.
        for _ in 0..2 {
            ip(&["addr", "add", "192.0.2.1/24", "dev", "one"]);
            ip(&["link", "set", "one", "up"]);
            ip(&["link", "set", "two", "up"]);
            ip(&["neigh", "replace", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "one"]);
            let silent = Connection { timeout: Duration::from_millis(100), ..through("one") };
            assert_eq!(run(&silent, &pings).await, Outcome::bad("no answer after 0.1 s"));
            ip(&["link", "del", "one"]);
            let gone = run(&silent, &pings).await;
            assert_eq!(gone.verdict, Verdict::Unknown, "{}", gone.reason);
            ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
        }
    });
}

/// A check that cannot send has the next one make a new socket; the old ones are not kept for long.
#[test]
fn sockets_that_cannot_send_are_closed() {
    in_namespace("sockets_that_cannot_send_are_closed", || async {
        let pings = Pings::default();
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let (socket, _) = pings.socket(&slow("192.0.2.1")).unwrap();
            sockets.push(std::sync::Arc::downgrade(&socket));
            drop(socket);
            assert_eq!(run(&slow("192.0.2.1"), &pings).await, Outcome::bad("network unreachable"));
        }
        let closed = async {
            while sockets.iter().any(|socket| socket.strong_count() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.expect("closed long before a minute");
    });
}

/// What a scripted host says to an echo request, of which it has the IP packet.
type Says = fn(&[u8]) -> Vec<Vec<u8>>;

#[test]
fn answers() {
    in_namespace("answers", || async {
        std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1").expect("in the namespace");
        let rows: [(&str, Says, Result<&str, &str>); 9] = [
            ("silence", |_| vec![], Err("no answer after 0.3 s")),
            ("the reply", |packet| vec![reply(Family::V4, &packet[20..])], Ok("answered")),
            (
                "another sequence number, then the reply",
                |packet| {
                    let mut other = reply(Family::V4, &packet[20..]);
                    other[7] ^= 1;
                    vec![summed(other), reply(Family::V4, &packet[20..])]
                },
                Ok("answered"),
            ),
            (
                "a guessed reply",
                |packet| {
                    let mut other = reply(Family::V4, &packet[20..]);
                    other[10] ^= 1;
                    vec![summed(other)]
                },
                Err("no answer after 0.3 s"),
            ),
            (
                "a wrong checksum",
                |packet| {
                    let mut other = reply(Family::V4, &packet[20..]);
                    other[100] ^= 1;
                    vec![other]
                },
                Err("no answer after 0.3 s"),
            ),
            ("twice", |packet| vec![reply(Family::V4, &packet[20..]); 2], Ok("answered")),
            (
                "unreachable",
                |packet| vec![error(3, 1, packet)],
                Err("host unreachable (ICMP from 127.0.0.1)"),
            ),
            (
                "unreachable, guessed",
                |packet| {
                    let mut packet = packet.to_vec();
                    packet[30] ^= 1;
                    vec![error(3, 1, &packet)]
                },
                Err("no answer after 0.3 s"),
            ),
            ("garbage", |_| vec![vec![0; 3], vec![0xff; 900]], Err("no answer after 0.3 s")),
        ];
        let host = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), Some(Protocol::ICMPV4)).unwrap();
        let host = UdpSocket::from_std(host.into()).unwrap();
        let pings = Pings::default();
        for (name, says, want) in rows {
            let mut connection = slow("127.0.0.1");
            if want == Err("no answer after 0.3 s") {
                connection.timeout = Duration::from_millis(300);
            }
            let serve = async {
                let mut buffer = [0; 2048];
                loop {
                    let (length, from) = host.recv_from(&mut buffer).await.unwrap();
                    if buffer[20] == 8 {
                        for message in says(&buffer[..length]) {
                            host.send_to(&message, from).await.unwrap();
                        }
                    }
                }
            };
            let outcome = tokio::select! { outcome = run(&connection, &pings) => outcome, () = serve => unreachable!() };
            assert_eq!(outcome, want.map_or_else(Outcome::bad, Outcome::good), "{name}");
        }
        // What comes from another address than the one that was asked.
        let connection = to("127.0.0.2");
        host.connect("127.0.0.3:0").await.unwrap();
        let outcome = run(&connection, &pings).await;
        assert_eq!(outcome, Outcome::bad("no answer after 0.3 s"));
    });
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_use_is_closed() {
    if !may_use_raw_sockets("a_socket_without_use_is_closed") {
        return;
    }
    let pings = Pings::default();
    let (socket, _) = pings.socket(&to("127.0.0.1")).unwrap();
    let weak = std::sync::Arc::downgrade(&socket);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(pings.socket(&to("127.0.0.1")).unwrap().1, "in use it stays");
    drop(socket);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(weak.strong_count(), 0);
    assert!(!pings.socket(&to("127.0.0.1")).unwrap().1, "a new one");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(law(&octets));
    }

    /// Nearly right packets: replies and errors with some octets changed, cut anywhere.
    #[test]
    fn nearly_right(
        v6: bool,
        of_error: bool,
        changes in prop::collection::vec((0_usize..180, any::<u8>()), 0..3),
        length in 0_usize..180,
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let request = ECHO.request(family);
        let quoted = if v6 {
            packet_v6("::1".parse().unwrap(), 58, &request)
        } else {
            packet([10, 0, 0, 2], 0, &request)
        };
        let message = match (of_error, v6) {
            (false, _) => reply(family, &request),
            (true, false) => error(3, 1, &quoted),
            (true, true) => error(1, 3, &quoted),
        };
        let mut octets = if v6 { message } else { packet([10, 0, 0, 1], 0, &message) };
        for (at, value) in changes {
            if let Some(octet) = octets.get_mut(at) {
                *octet = value;
            }
        }
        octets.truncate(length);
        prop_assert!(law(&octets));
    }

    #[test]
    fn replies_are_read(id: u16, sequence: u16, nonce: [u8; 8], v6: bool) {
        let echo = Echo { id, sequence, nonce };
        let family = if v6 { Family::V6 } else { Family::V4 };
        let message = reply(family, &echo.request(family));
        let octets = if v6 { message } else { packet([10, 0, 0, 1], 0, &message) };
        prop_assert_eq!(parse(family, &octets), Some(Heard::Reply(echo)));
    }
}

//! Who gets whom: clients that stay with their server, networks of clients that share one, ports that a mark joins, calls that
//! stay together, and datagrams that are scheduled one by one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::lan::{self, REALS, VIP, VIP6};
use super::quorum::mark;
use crate::client::distribution;
use crate::netns::Netns;
use crate::servers::udp::{Answer, Datagrams};
use crate::topology::Lab;
use crate::{step, table, wait};

/// VIPs beside [`VIP`] and [`VIP6`].
const MASKED: &str = "10.0.0.101";
const MARKED: &str = "10.0.0.102";
const MARKED6: &str = "fd00::102";
const EVERY_PORT: &str = "10.0.0.103";
/// UDP ports: scheduled by datagram, by connection.
const OPS: u16 = 53;
const PLAIN: u16 = 54;
/// And by call.
const SIP: u16 = 5060;

pub fn persistence(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let (_web, _other) = (lan::servers(&lab, 80)?, lan::servers(&lab, 8081)?);
    let mut datagrams = Vec::new();
    for name in REALS {
        for port in [OPS, PLAIN, SIP] {
            // The address is given: answers must come from it.
            let address = format!("{VIP}:{port}");
            datagrams.push(Datagrams::start(lab.host(name), &address, Answer::always(name))?);
        }
    }
    let ns = lab.host("a");
    for port in [80, 8081] {
        mark(ns, MARKED, port, 7)?;
        mark(ns, MARKED6, port, 7)?;
    }
    let mut director = ctx.director("a", ns, &config())?;
    director.start_and_wait()?;
    for (key, net, port) in [
        ("TCP 10.0.0.100:80", "10.0.0.2", 80),
        ("TCP 10.0.0.101:80", "10.0.0.2", 80),
        ("UDP 10.0.0.100:53", "10.0.0.2", 53),
        ("UDP 10.0.0.100:54", "10.0.0.2", 54),
        ("UDP 10.0.0.100:5060", "10.0.0.2", 5060),
        ("TCP 10.0.0.103:0", "10.0.0.2", 0),
        ("TCP [fd00::100]:80", "[fd00::2", 80),
    ] {
        let end = if net.starts_with('[') { "]" } else { "" };
        let dests = [1, 2, 3].map(|last| format!("{net}{last}{end}:{port}"));
        table::expect_dests(ns, key, &dests.each_ref().map(String::as_str), lan::START)?;
    }
    // Two services of this name: /proc does not say which family a mark is of.
    wait::until_ok("both services of the mark", lan::START, || {
        let text = ns.proc_net("ip_vs")?;
        let count = text.lines().filter(|line| line.starts_with("FWM")).count();
        let dests = text.lines().filter(|line| line.contains(":0000 ") && line.contains("->")).count();
        // The service for every port has three of these as well.
        ensure!(count == 2 && dests == 9, "{text}");
        Ok(())
    })?;
    clients_and_networks(&lab)?;
    joined_ports(&lab)?;
    by_datagram(lab.host("c"))?;
    by_call(&lab)?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

fn config() -> String {
    let service = |of: &str, lines: &str, port: &str, net: &str| {
        let reals: String =
            (21..=23).map(|last| format!("  real_server {net}{last} {port} {{\n  }}\n")).collect();
        format!("virtual_server {of} {{\n  lb_algo rr\n  lb_kind DR\n{lines}\n{reals}}}\n")
    };
    let (v4, v6) = ("10.0.0.", "fd00::");
    let tcp = "protocol TCP\npersistence_timeout 60\n";
    [
        service(&format!("{VIP} 80"), tcp, "80", v4),
        service(&format!("{MASKED} 80"), &format!("{tcp}persistence_granularity 255.255.255.0"), "80", v4),
        service(&format!("{VIP6} 80"), &format!("{tcp}persistence_granularity 112"), "80", v6),
        service("fwmark 7", "ip_family inet\npersistence_timeout 60", "", v4),
        service("fwmark 7", "ip_family inet6\npersistence_timeout 60", "", v6),
        service(EVERY_PORT, tcp, "", v4),
        service(&format!("{VIP} {OPS}"), "protocol UDP\nops", &OPS.to_string(), v4),
        service(&format!("{VIP} {PLAIN}"), "protocol UDP", &PLAIN.to_string(), v4),
        service(
            &format!("{VIP} {SIP}"),
            "protocol UDP\npersistence_timeout 60\npersistence_engine sip\npersistence_granularity 255.255.0.0",
            &SIP.to_string(),
            v4,
        ),
    ]
    .concat()
}

/// n is the neighbour of c, o is of another network. rr gives the next server to whom it does not know.
fn clients_and_networks(lab: &Lab) -> Result<()> {
    let who = |client: &str, address: &str| only(lab, client, address);
    let (of_c, of_n) = (who("c", "10.0.0.100:80")?, who("n", "10.0.0.100:80")?);
    ensure!(of_c != of_n, "two clients have one server, {of_c}");
    ensure!(of_c == who("c", "10.0.0.100:80")?, "the first client did not come back to {of_c}");
    step!("persistent: c stays with {of_c}, n with {of_n}");
    for (address, what) in [("10.0.0.101:80", "of one /24"), ("[fd00::100]:80", "of one /112")] {
        let (of_c, of_n, of_o) = (who("c", address)?, who("n", address)?, who("o", address)?);
        ensure!(of_c == of_n, "two clients {what} are with {of_c} and {of_n}");
        ensure!(of_c != of_o, "two networks have one server, {of_c}");
        step!("granularity: c and n, {what}, share {of_c}; o is with {of_o}");
    }
    Ok(())
}

fn joined_ports(lab: &Lab) -> Result<()> {
    for (address, what) in
        [(MARKED, "a mark"), ("[fd00::102]", "a mark of IPv6"), (EVERY_PORT, "a service for every port")]
    {
        let of_c = only(lab, "c", &format!("{address}:80"))?;
        let of_n = only(lab, "n", &format!("{address}:80"))?;
        ensure!(of_c != of_n, "two clients have one server, {of_c}");
        // In this order a service of its own would give the first server to n.
        for (client, want) in [("n", &of_n), ("c", &of_c)] {
            let got = only(lab, client, &format!("{address}:8081"))?;
            ensure!(got == *want, "{client} is with {want} on the one port and with {got} on the other");
        }
        step!("{what} joins two ports: c stays with {of_c}, n with {of_n}");
    }
    Ok(())
}

fn by_datagram(client: &Netns) -> Result<()> {
    let question: [&[u8]; 30] = [b"who?"; 30];
    let spread = one_socket(client, OPS, &question)?;
    step!("30 datagrams of one socket with ops: {spread:?}");
    ensure!(spread == BTreeMap::from(REALS.map(|name| (name.to_owned(), 10))), "{spread:?}");
    let spread = one_socket(client, PLAIN, &question)?;
    ensure!(spread.len() == 1, "without ops one socket has one server: {spread:?}");
    Ok(())
}

/// A call stays with its server, whoever of a network sends; another call of the same client has another.
fn by_call(lab: &Lab) -> Result<()> {
    let who = |client: &str, call: &str| -> Result<String> {
        let message = format!(
            "OPTIONS sip:bed SIP/2.0\r\nVia: SIP/2.0/UDP {client}\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        let answers = one_socket(lab.host(client), SIP, &[message.as_bytes()])?;
        answers.into_keys().next().context("no answer")
    };
    let (one, other) = (who("c", "one@bed")?, who("c", "other@bed")?);
    ensure!(one != other, "two calls have one server, {one}");
    for (client, call, want) in [
        ("n", "one@bed", &one),
        ("c", "one@bed", &one),
        ("o", "other@bed", &other),
        ("c", "other@bed", &other),
    ] {
        let got = who(client, call)?;
        ensure!(got == *want, "the call {call} is with {want}, and for {client} with {got}");
    }
    step!("calls of SIP: one stays with {one}, another with {other}, for all of 10.0.0.0/16");
    Ok(())
}

/// With `n` beside `c`, and `o` in 10.0.1.0/24 and fd00::1:0/112, which all reach without a router.
fn lab() -> Result<Lab> {
    let lab = lan::lab(&[("n", 3), ("o", 4)])?;
    lab.host("o").ip("address replace 10.0.1.2/16 dev eth0\naddress del 10.0.0.4/24 dev eth0\n\
                      address add fd00::1:2/64 dev eth0\naddress del fd00::4/64 dev eth0")?;
    lab.host("a").ip(&format!("address add {EVERY_PORT}/32 dev eth0\n{}", lan::vip6(MARKED6)))?;
    let mut vips = "route add 10.0.1.0/24 dev eth0\n".to_owned();
    for vip in [VIP, MASKED, MARKED, EVERY_PORT] {
        writeln!(vips, "address add {vip}/32 dev lo")?;
    }
    for vip in [VIP6, MARKED6] {
        writeln!(vips, "address add {vip}/128 dev lo")?;
    }
    for name in REALS {
        lab.host(name).ip(&vips)?;
    }
    Ok(lab)
}

/// The one server that answers six requests of a client.
fn only(lab: &Lab, client: &str, address: &str) -> Result<String> {
    let answers = distribution(lab.host(client), address, 6)?;
    let mut names = answers.keys();
    match (names.next(), names.next()) {
        (Some(name), None) if REALS.contains(&name.as_str()) => Ok(name.clone()),
        _ => anyhow::bail!("{client} asked {address} six times: {answers:?}, want one server"),
    }
}

/// Who answers datagrams of one socket, each sent after the answer to the last.
fn one_socket(ns: &Netns, port: u16, questions: &[&[u8]]) -> Result<BTreeMap<String, u32>> {
    let address: SocketAddr = format!("{VIP}:{port}").parse()?;
    ns.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut answers = BTreeMap::new();
        for question in questions {
            socket.send_to(question, address)?;
            let mut buffer = [0; 100];
            let (length, _) = socket
                .recv_from(&mut buffer)
                .with_context(|| format!("no answer from {address}, so far {answers:?}"))?;
            *answers.entry(String::from_utf8_lossy(&buffer[..length]).into_owned()).or_insert(0) += 1;
        }
        Ok(answers)
    })?
}

//! SCTP through a director: associations are spread evenly, address and port translated.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Ctx;
use super::behind::{self, VIP};
use crate::netns::Netns;
use crate::{step, table};

/// Of the service, and of the real servers.
const PORT: u16 = 3868;
const REAL_PORT: u16 = 3870;
/// The first port of the client: each of its associations has one of its own.
const FIRST: u16 = 20_000;

pub fn sctp(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(3)?;
    let names = ["r1", "r2", "r3"];
    let _servers =
        names.iter().map(|name| Greeter::start(lab.host(name), name)).collect::<Result<Vec<_>>>()?;
    let dests: Vec<String> = (21..=23).map(|last| format!("10.1.0.{last}:{REAL_PORT}")).collect();
    let reals: String = dests.iter().map(|dest| behind::real_server(dest, "")).collect();
    let config = behind::virtual_server(&format!("{VIP} {PORT}"), "SCTP", &reals);
    let ns = lab.host("a");
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    let all: Vec<&str> = dests.iter().map(String::as_str).collect();
    table::expect_dests(ns, &format!("SCTP {VIP}:{PORT}"), &all, behind::START)?;
    let mut split = BTreeMap::new();
    for number in 0..30 {
        *split.entry(greeting(lab.host("c"), FIRST + number)?).or_insert(0) += 1;
    }
    step!("30 associations: {split:?}");
    if split != BTreeMap::from(names.map(|name| (name.to_owned(), 10))) {
        bail!("30 associations are not spread evenly: {split:?}");
    }
    director.stop()?;
    Ok(())
}

fn socket() -> std::io::Result<Socket> {
    const SCTP: i32 = 132;
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(SCTP)))
}

/// Who is at the other end of an association.
fn greeting(client: &Netns, port: u16) -> Result<String> {
    let limit = Duration::from_secs(2);
    let (own, to): (SocketAddr, SocketAddr) = (([0, 0, 0, 0], port).into(), format!("{VIP}:{PORT}").parse()?);
    let mut socket = client.run(socket)?.context("SCTP (module sctp)")?;
    socket.bind(&own.into())?;
    socket.connect_timeout(&to.into(), limit).context("no association")?;
    socket.set_read_timeout(Some(limit))?;
    let mut buffer = [0; 100];
    let length = socket.read(&mut buffer).context("no greeting")?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A server that greets each association with its name. Dropping it closes the port.
struct Greeter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start(ns: &Netns, name: &str) -> Result<Self> {
        let socket = ns.run(socket)?.context("SCTP (module sctp)")?;
        socket.bind(&SockAddr::from(SocketAddr::from(([0, 0, 0, 0], REAL_PORT))))?;
        socket.listen(30)?;
        // Holds for accept as well.
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, name) = (Arc::clone(&stop), name.to_owned());
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                if let Ok((mut association, _)) = socket.accept() {
                    let _ = association.write_all(name.as_bytes());
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

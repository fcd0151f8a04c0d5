//! The bed itself: what it reports must be what happened, and nothing of it may stay behind.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lbd_integration::cell::Cell;
use lbd_integration::client::{Held, Probe, expect_split, get};
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::netns::Netns;
use lbd_integration::servers::{Mode, Server};
use lbd_integration::topology::{Lab, host};
use lbd_integration::uml::Uml;
use lbd_integration::{process, skip, vip, wait};

/// Whether namespaces can be made right here; says so when not.
fn native(test: &str) -> bool {
    let there = matches!(Kernel::pick(Need::Netns), Ok(Kernel::Host));
    if !there {
        skip::report(test, "needs root for network namespaces");
    }
    there
}

fn guest(uml: &Uml, script: &str, limit: Duration) -> (Option<i32>, String, Duration) {
    let command = ["sh", "-c", script].map(OsStr::new);
    let outcome =
        uml.run(&command, &[("WORD", OsStr::new("it's"))], 0, limit).expect("user-mode-linux starts");
    (outcome.status, outcome.output, outcome.took)
}

#[test]
fn a_guest_reports_status_and_output_and_cannot_write_here() {
    let uml = match Uml::find() {
        Ok(uml) => uml,
        Err(reason) => return skip::report("bed_uml", &reason),
    };
    let here = tempfile::tempdir().expect("a folder");
    let script = format!(
        "echo \"said $WORD\"; touch {}/x 2>/dev/null || echo kept; test -e /proc/net/ip_vs && exit 7",
        here.path().display()
    );
    let (status, output, _) = guest(&uml, &script, Duration::from_secs(60));
    assert_eq!((status, output.as_str()), (Some(7), "said it's\nkept\n"));
    assert!(!here.path().join("x").exists());
}

#[test]
fn a_guest_that_hangs_is_killed_and_one_that_dies_has_no_status() {
    let uml = match Uml::find() {
        Ok(uml) => uml,
        Err(reason) => return skip::report("bed_uml", &reason),
    };
    let (status, output, took) = guest(&uml, "echo here; sleep 1000", Duration::from_secs(8));
    assert_eq!(status, None);
    assert!(output.contains("here") && output.contains("killed at its limit"), "{output}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (status, _, took) = guest(&uml, "echo c >/proc/sysrq-trigger; sleep 1000", Duration::from_secs(60));
    assert_eq!(status, None, "a guest whose kernel panicked");
    assert!(took < Duration::from_secs(50), "{took:?}");
}

#[test]
fn a_namespace_goes_with_what_runs_in_it() {
    if !native("bed_netns") {
        return;
    }
    let ns = Netns::new("gone").expect("a namespace");
    let path = Path::new("/run/netns").join(ns.name());
    let mut sleeper = ns
        .run(|| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn())
        .expect("the namespace")
        .expect("sleep runs");
    assert!(path.exists());
    drop(ns);
    assert!(!path.exists());
    let status = process::ended(&mut sleeper, "sleep", Duration::from_secs(5)).expect("it was killed");
    assert_eq!(status.code(), None, "killed by a signal");
}

#[test]
fn servers_fail_as_they_are_told_and_clients_see_it() {
    if !native("bed_traffic") {
        return;
    }
    let lab = Lab::new(&[host("c", "10.0.0.2/24"), host("r1", "10.0.0.21/24")]).expect("a lab");
    let client = lab.host("c");
    let mut server = Server::start(lab.host("r1"), "r1", "10.0.0.21:80").expect("a server");
    let address = "10.0.0.21:80";
    let ask = || {
        client
            .run(|| get("10.0.0.21:80".parse().expect("an address"), Duration::from_millis(300)))
            .expect("the namespace")
    };
    expect_split(client, address, 3, &[("r1", 3)]).expect("it serves");
    server.set(Mode::Status(503));
    assert_eq!(ask().expect("an answer"), "status 503");
    for mode in [Mode::Hang, Mode::Reset] {
        server.set(mode);
        assert!(ask().is_err(), "{mode:?}");
    }
    server.set(Mode::Serve);

    let held = Held::open(client, address).expect("a connection");
    assert_eq!(held.server, "r1");
    let probe = Probe::start(client, address).expect("a probe");
    wait::pause(Duration::from_millis(200));
    let closed = Instant::now();
    server.close();
    assert_eq!(ask().expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
    wait::pause(Duration::from_millis(500));
    server.open().expect("the port opens again");
    let down = closed.elapsed();
    wait::pause(Duration::from_millis(200));
    let outage = probe.finish().expect("a report");
    assert!(
        outage.longest + Duration::from_millis(60) >= down
            && outage.longest <= down + Duration::from_millis(250),
        "{down:?} {outage:?}"
    );
    held.finish().expect("an open connection outlives the listening port");

    // A cable that is pulled breaks what is open.
    let held = Held::open(client, address).expect("a connection");
    lab.cable("r1", "eth0", false).expect("a cable");
    wait::pause(Duration::from_millis(100));
    assert!(held.finish().is_err());
}

#[test]
fn a_cell_shows_its_own_processes_only() {
    if !native("bed_cell") {
        return;
    }
    let ns = Netns::new("cell").expect("a namespace");
    let (one, other) = (Cell::new(&ns).expect("a cell"), Cell::new(&ns).expect("a cell"));
    let alive = |cell: &Cell| {
        let script = "for comm in /proc/[0-9]*/comm; do read name <$comm; test \"$name\" = nginx && exit 0; done; exit 1";
        cell.command(Path::new("/bin/sh")).args(["-c", script]).status().expect("sh runs").success()
    };
    let nginx = one.idle("nginx").expect("a process");
    assert!(alive(&one) && !alive(&other));
    drop(nginx);
    wait::until("its end", Duration::from_secs(2), || (!alive(&one)).then_some(())).expect("it is gone");
    one.script("x.sh", "#!/bin/sh\nexit 3\n").expect("a script");
    let run = |cell: &Cell| {
        cell.command(Path::new("/etc/keepalived/x.sh")).stderr(Stdio::null()).status().expect("nsenter")
    };
    assert_eq!((run(&one).code(), run(&other).success()), (Some(3), false));
}

/// It once ended before its last look, and an address that its asker had seen was not in the record.
#[test]
fn a_watch_has_what_was_there_when_it_was_ended() {
    if !native("bed_netns") {
        return;
    }
    let ns = Netns::new("watch").expect("a namespace");
    ns.ip("link set lo up").expect("loopback");
    let vip = std::net::Ipv4Addr::new(10, 9, 9, 9);
    // Slow enough that no look falls between the address and the end.
    let watch = vip::Watch::start(&ns, vip, Duration::from_millis(500)).expect("a watch");
    wait::pause(Duration::from_millis(50));
    ns.ip(&format!("address add {vip}/32 dev lo")).expect("an address");
    let held = watch.finish().expect("the record");
    assert!(matches!(held.as_slice(), [(_, None)]), "{held:?}");
}

//! Bad input at the level of the daemon: one clear message, the documented exit status (see `scenarios::faults`).

use std::fs;
use std::process::Command;

use lbd_integration::build::{self, Profile};

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn missing_interface() {
    run("missing_interface");
}

#[test]
fn kernel_without_ipvs() {
    run("no_ipvs");
}

#[test]
fn second_daemon_on_the_same_socket() {
    run("second_daemon");
}

#[test]
fn no_privileges() {
    run("no_privileges");
}

#[test]
fn lbctl_without_socket() {
    run("lbctl_without_socket");
}

#[test]
fn servers_that_hang_or_reset() {
    run("sick_servers");
}

/// Files with a mistake: what the message must contain, and the exit status of `lbd -t`.
#[test]
fn broken_files() {
    let lbd = build::binaries(Profile::Dev).expect("lbd is built").lbd;
    let service = |inside: &str| {
        format!("virtual_server 10.0.0.100 80 {{\n  protocol TCP\n  lb_kind DR\n  lb_algo rr\n{inside}\n}}\n")
    };
    let real = "  real_server 10.0.0.21 80 {\n  }";
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("broken.conf");
    for (name, text, codes, words) in [
        (
            "a block that is not closed",
            "vrrp_instance VI_1 {\n  interface eth0\n".to_owned(),
            [3, 3],
            ["broken.conf", "vrrp_instance"],
        ),
        (
            "unknown scheduler",
            service(real).replace("lb_algo rr", "lb_algo wrrr"),
            [3, 4],
            ["broken.conf:4:", "wrr"],
        ),
        (
            "port of 70000",
            service("  real_server 10.0.0.21 70000 {\n  }"),
            [3, 4],
            ["broken.conf:5:", "70000"],
        ),
        (
            "real server of the wrong family",
            service("  real_server 2001:db8::1 80 {\n  }"),
            [3, 4],
            ["broken.conf:5:", "2001:db8::1"],
        ),
        (
            "unknown keyword",
            service(&format!("  delay_lop 3\n{real}")),
            [4, 4],
            ["broken.conf:5:", "delay_loop"],
        ),
    ] {
        fs::write(&path, text).expect("a file");
        let output = Command::new(&lbd).arg("-f").arg(&path).arg("-t").output().expect("lbd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code().is_some_and(|code| codes.contains(&code)),
            "{name}: {:?}\n{said}",
            output.status
        );
        for word in words {
            assert!(said.contains(word), "{name}: no {word:?} in\n{said}");
        }
    }
    let missing = dir.path().join("missing.conf");
    let output = Command::new(&lbd).arg("-f").arg(&missing).arg("-t").output().expect("lbd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "missing file\n{said}");
    assert!(said.contains("missing.conf"), "the file is not named: {said}");
}

//! Bad input at the level of the daemon: one clear message, the documented exit status (see `scenarios::faults`).

use std::fs;
use std::path::Path;
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

/// Files with a mistake: the exit status of `lbd -t`, and what its message must contain, the first word being the mistake's own.
#[test]
fn broken_files() {
    let service = |inside: &str| {
        format!("virtual_server 10.0.0.100 80 {{\n  protocol TCP\n  lb_kind DR\n  lb_algo rr\n{inside}\n}}\n")
    };
    let real = "  real_server 10.0.0.21 80 {\n  }";
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("broken.conf");
    for (name, text, code, words) in [
        (
            "a block that is not closed",
            "vrrp_instance VI_1 {\n  interface eth0\n  virtual_router_id 51\n  virtual_ipaddress {\n    10.0.0.100\n  }\n"
                .to_owned(),
            3,
            ["not closed", "broken.conf:1:", "vrrp_instance"],
        ),
        (
            "unknown scheduler",
            service(real).replace("lb_algo rr", "lb_algo wrrr"),
            4,
            ["wrrr", "broken.conf:4:", "`wrr`"],
        ),
        (
            "port of 70000",
            service(&format!("  real_server 10.0.0.22 70000 {{\n  }}\n{real}")),
            4,
            ["70000", "broken.conf:5:", "1 to 65535"],
        ),
        (
            "the only port is 70000",
            service("  real_server 10.0.0.22 70000 {\n  }"),
            4,
            ["70000", "broken.conf:5:", "1 to 65535"],
        ),
        (
            "real server of the wrong family",
            service(&format!("  real_server 2001:db8::1 80 {{\n  }}\n{real}")),
            4,
            ["2001:db8::1", "broken.conf:5:", "inet"],
        ),
        (
            "the only real server is of the wrong family",
            service("  real_server 2001:db8::1 80 {\n  }"),
            4,
            ["2001:db8::1", "broken.conf:5:", "inet"],
        ),
        (
            "unknown keyword",
            service(&format!("  delay_lop 3\n{real}")),
            4,
            ["delay_lop", "broken.conf:5:", "delay_loop"],
        ),
    ] {
        fs::write(&path, text).expect("a file");
        expect_diagnostic(name, &path, code, &words);
    }
    expect_diagnostic("missing file", &dir.path().join("missing.conf"), 3, &["missing.conf", "-f"]);
}

/// `lbd -t` ends with `code`; it gives one message, which has all `words`, the first of them in its head line.
fn expect_diagnostic(name: &str, path: &Path, code: i32, words: &[&str]) {
    let lbd = build::binaries(Profile::Dev).expect("lbd is built").lbd;
    let output = Command::new(lbd).arg("-f").arg(path).arg("-t").output().expect("lbd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{name}: exit status\n{said}");
    for word in words {
        assert!(said.contains(word), "{name}: no {word:?} in\n{said}");
    }
    let heads: Vec<&str> =
        said.lines().filter(|line| line.starts_with("error: ") || line.starts_with("warning: ")).collect();
    assert!(
        matches!(heads.as_slice(), [head] if words.first().is_some_and(|word| head.contains(word))),
        "{name}: one message, about the mistake, in\n{said}"
    );
}

//! The configurations the project exists for: each loads, and does its job (see `scenarios::seed`).

use std::fs;
use std::process::Command;

use lbd_integration::build::{self, Profile};
use lbd_integration::{seeds, skip};

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn each_seed_loads() {
    if seeds::dir().is_none() {
        return skip::report("seeds_load", "no ../shared/seeds");
    }
    let lbd = build::binaries(Profile::Dev).expect("lbd is built").lbd;
    let files = seeds::all().expect("the seeds can be read");
    assert!(files.len() >= 16, "only {} seeds", files.len());
    for file in files {
        let output = Command::new(&lbd).arg("-f").arg(&file).arg("-t").output().expect("lbd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        // 4: an interface that is not here. 5: scripts without script security.
        let code = output.status.code();
        assert!(!said.contains("not supported yet"), "{}: {said}", file.display());
        assert!(matches!(code, Some(0 | 4 | 5)), "{}: exit status {code:?}\n{said}", file.display());
    }
}

#[test]
fn each_seed_without_a_word_is_refused_or_warned_about() {
    if seeds::dir().is_none() {
        return skip::report("seeds_broken", "no ../shared/seeds");
    }
    let lbd = build::binaries(Profile::Dev).expect("lbd is built").lbd;
    for file in seeds::all().expect("the seeds can be read") {
        let text = fs::read_to_string(&file).expect("a seed");
        let broken = text.replace("virtual_router_id", "virtual_ruoter_id");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("broken.conf");
        fs::write(&path, broken).expect("a file");
        let output = Command::new(&lbd).arg("-f").arg(&path).arg("-t").output().expect("lbd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(3 | 4)),
            "{}: {:?}\n{said}",
            file.display(),
            output.status
        );
        assert!(
            said.contains("virtual_router_id"),
            "{}: the keyword meant is not named\n{said}",
            file.display()
        );
    }
}

#[test]
fn docker_dr() {
    run("seed_docker_dr");
}

#[test]
fn lvs_http_get() {
    run("seed_lvs_http_get");
}

#[test]
fn nginx_ha_script() {
    run("seed_nginx_ha_script");
}

#[test]
fn vpc_unicast_notify() {
    run("seed_vpc_unicast_notify");
}

#[test]
fn dual_master() {
    run("seed_dual_master");
}

#[test]
fn gateway_pair() {
    run("seed_gateway_pair");
}

#[test]
fn havip_nopreempt() {
    run("seed_havip_nopreempt");
}

#[test]
fn floating_ip_notify() {
    run("seed_floating_ip_notify");
}

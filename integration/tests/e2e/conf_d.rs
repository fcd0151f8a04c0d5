//! The examples of `conf.d`, run as they stand (see `scenarios::examples`).

use std::collections::BTreeSet;
use std::fs;

use lbd_integration::scenarios::{self, examples};

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn each_example_is_run() {
    let here: BTreeSet<String> = fs::read_dir(examples::dir())
        .expect("conf.d")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".conf"))
        .collect();
    let run: BTreeSet<String> = examples::ALL
        .iter()
        .flat_map(|example| [Some(example.file), example.peer])
        .flatten()
        .map(str::to_owned)
        .collect();
    assert_eq!(run, here, "left: run by a scenario; right: in conf.d");
    for example in examples::ALL {
        assert!(scenarios::find(example.scenario).is_some(), "{}: {}", example.file, example.scenario);
    }
}

#[test]
fn dr_and_sorry() {
    run("examples_dr");
}

#[test]
fn nat_and_tun() {
    run("examples_nat_tun");
}

#[test]
fn checks() {
    run("examples_checks");
}

#[test]
fn vrrp() {
    run("examples_vrrp");
}

#[test]
fn tracking() {
    run("examples_tracking");
}

//! The examples of `conf.d`, read by both daemons' configuration tests where their interfaces exist.
//!
//! Here: that neither has anything to say about them. Not here: what they mean (`grammar/tests/conf_d.rs`), and running them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use lbd_integration::build::{self, Profile};
use lbd_integration::netns::Netns;
use lbd_integration::skip;
use nix::unistd::geteuid;

#[test]
fn keepalived_reads_every_example() -> Result<()> {
    if Command::new("keepalived").arg("--version").output().is_err() {
        skip::report("examples/keepalived", "the Debian package keepalived is not installed");
        return Ok(());
    }
    every_example("keepalived", || Command::new("keepalived"))
}

#[test]
fn lbd_reads_every_example() -> Result<()> {
    let lbd = build::binaries(Profile::Dev)?.lbd;
    every_example("lbd", || Command::new(&lbd))
}

/// `DAEMON -t` says nothing and ends with 0, for each file.
fn every_example(name: &str, daemon: impl Fn() -> Command + Sync) -> Result<()> {
    if !geteuid().is_root() {
        skip::report(&format!("examples/{name}"), "a network namespace needs root");
        return Ok(());
    }
    let host = Netns::new("examples")?;
    host.ip("link add eth0 type veth peer name eth1\n\
             address add 10.0.0.2/24 dev eth0\n\
             address add 10.1.0.2/24 dev eth1\n\
             link set eth0 up\n\
             link set eth1 up\n")?;
    for file in examples()? {
        let output = host.run(|| daemon().args(["-t", "-f"]).arg(&file).output())??;
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        ensure!(
            output.status.success() && said.is_empty(),
            "{name} -t -f {}: {}: {said}",
            file.display(),
            output.status
        );
    }
    Ok(())
}

fn examples() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(build::workspace().join("conf.d"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "conf.d is empty");
    Ok(files)
}

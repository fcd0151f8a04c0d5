//! `cargo demo`: installs what is missing, builds lbd, and plays [`lbd_integration::demo`] on a kernel that has IPVS.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use lbd_integration::build::{self, Profile};
use lbd_integration::director::Daemon;
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::run::GUEST;
use lbd_integration::scenarios::Ctx;
use lbd_integration::{demo, netns, process};

/// The word with which this program is run on the chosen kernel.
const PLAY: &str = "play";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => stage(),
        [PLAY] => demo::play(&Ctx { daemon: Daemon::Lbd, guest: std::env::var_os(GUEST).is_some() }),
        _ => {
            eprintln!("usage: cargo demo");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn stage() -> Result<()> {
    println!("building lbd and lbctl ...");
    let binaries = build::binaries(Profile::Dev)?;
    let kernel = match Kernel::pick(Need::Ipvs) {
        Ok(kernel) => kernel,
        Err(reason) => bail!("no kernel with IPVS to play it on: {reason}"),
    };
    let this = std::env::current_exe().context("this program")?;
    let env = [("LBD_BED_LBD", binaries.lbd.as_os_str()), ("LBD_BED_LBCTL", binaries.lbctl.as_os_str())];
    match kernel {
        Kernel::Host => {
            println!("on this host's kernel, in network namespaces of its own");
            // In this process's group, so that Ctrl-C ends it too; at the limit it ends with all its processes.
            let mut play = Command::new(this).arg(PLAY).envs(env).spawn()?;
            let status = process::within(&mut play, demo::LIMIT)?;
            netns::sweep(play.id());
            match status {
                Some(status) if status.success() => {}
                Some(status) => bail!("{status}"),
                None => bail!("{}", too_long()),
            }
        }
        Kernel::Uml(uml) => {
            println!("this host's kernel has no IPVS: on a kernel of its own, in user-mode-linux");
            let mut env = env.to_vec();
            env.push((GUEST, OsStr::new("1")));
            let outcome = uml.watch(&[this.as_os_str(), OsStr::new(PLAY)], &env, 0, demo::LIMIT, |line| {
                let mut out = std::io::stdout().lock();
                let _closed_pipe = out.write_all(line.as_bytes()).and_then(|()| out.flush());
            })?;
            match outcome.status {
                Some(0) => {}
                Some(status) => bail!("exit status {status}"),
                None => bail!("{}", too_long()),
            }
        }
    }
    Ok(())
}

fn too_long() -> String {
    format!("it did not end within {} s", demo::LIMIT.as_secs())
}

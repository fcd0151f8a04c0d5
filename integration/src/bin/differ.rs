//! Runs scenario files of `integration/differential` by hand, here and now, as root:
//! `differ [--daemon lbd|keepalived]… [--fake-ipvs LIBRARY] [--show] [FILE…]`.
//!
//! With one `--daemon` only that is driven and nothing is compared, with two these; `--show` prints what was seen after each step;
//! `--fake-ipvs` preloads a stand-in for the kernel's IPVS where the kernel has none. Without files: all of them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use lbd_integration::differential::file::Subject;
use lbd_integration::differential::{self, Bed};
use lbd_integration::director::Daemon;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("differ: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<()> {
    let mut bed = Bed { guest: false, fake_ipvs: None, daemons: Vec::new(), show: false };
    let mut files = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--daemon" => {
                let name = value()?;
                bed.daemons.push(Daemon::from_word(&name).with_context(|| format!("no daemon {name}"))?);
            }
            "--fake-ipvs" => bed.fake_ipvs = Some(PathBuf::from(value()?)),
            "--show" => bed.show = true,
            _ if word.starts_with('-') => bail!("unknown argument {word}"),
            _ => files.push(PathBuf::from(word)),
        }
    }
    if bed.daemons.is_empty() {
        bed.daemons = vec![Daemon::Keepalived, Daemon::Lbd];
    }
    if files.is_empty() {
        files = differential::files(Subject::Checkers)?;
        files.extend(differential::files(Subject::Vrrp)?);
    }
    let files = files.iter().map(|path| differential::read(path)).collect::<Result<Vec<_>>>()?;
    differential::run(&bed, &files)
}

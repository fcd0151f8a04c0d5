//! An lbd that finds its files by its names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::build::{self, Binaries, Profile};
use crate::process::{self, pid_of};
use crate::wait;

const LIMIT: Duration = Duration::from_secs(10);

/// An lbd that has its files where its names say, not where flags do; started outside of any lab.
pub(super) struct Named {
    binaries: Binaries,
    pub child: Child,
    pub dir: tempfile::TempDir,
    /// Where its files are.
    pub run: PathBuf,
    /// How lbctl finds it.
    names: Vec<String>,
}

impl Named {
    pub fn start(config: &str, flags: &[&str], names: &[(&str, &str)]) -> Result<Self> {
        let binaries = build::binaries(Profile::Dev)?;
        let dir = tempfile::Builder::new().prefix("lbd-named-").tempdir()?;
        fs::write(dir.path().join("lbd.conf"), config)?;
        let child = Command::new(&binaries.lbd)
            .args(["-n", "-D", "-f"])
            .arg(dir.path().join("lbd.conf"))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(File::create(dir.path().join("log"))?)
            .spawn()?;
        let folders = names.iter().map(|(kind, name)| match *kind {
            "--namespace" => format!("netns-{name}"),
            _ => format!("instance-{name}"),
        });
        let run = folders.fold(PathBuf::from("/run/lbd"), |path, folder| path.join(folder));
        let names = names.iter().flat_map(|(kind, name)| [(*kind).to_owned(), (*name).to_owned()]).collect();
        Ok(Self { binaries, child, dir, run, names })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn lbctl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.binaries.lbctl).args(&self.names).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lbctl {:?} {args:?}: {said}", self.names);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.lbctl(&["status", "--json"])?)?)
    }

    pub fn answers(&self) -> Result<()> {
        wait::until_ok("lbd answers", LIMIT, || self.status()).map(drop)
    }

    /// Its pid file is where its names say, and says who it is.
    pub fn has_its_pid_file(&self) -> Result<()> {
        let path = self.run.join("lbd.pid");
        let found = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        ensure!(found == format!("{}\n", self.child.id()), "{}: {found}", path.display());
        Ok(())
    }

    pub fn ended(&mut self) -> Result<ExitStatus> {
        process::ended(&mut self.child, "lbd", LIMIT)
    }

    /// An orderly stop, after which nothing of it is left.
    pub fn stop(&mut self) -> Result<()> {
        kill(pid_of(&self.child), Signal::SIGTERM)?;
        let status = self.ended()?;
        ensure!(status.success(), "{status}: {}", self.log());
        let left = fs::read_dir(&self.run).into_iter().flatten().flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        ensure!(!self.run.exists(), "left: {} with {left:?}", self.run.display());
        Ok(())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        process::crash(pid_of(&self.child));
        let _ = self.child.wait();
        if self.run != Path::new("/run/lbd") {
            let _ = fs::remove_dir_all(&self.run);
            // With both names the folder of the first is empty now.
            let _ = self.run.parent().map(fs::remove_dir);
        }
        eprintln!("=== log of lbd {:?}\n{}===", self.names, self.log());
    }
}

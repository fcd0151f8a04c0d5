//! Differential tests: the same configuration and the same events for Debian's keepalived and for lbd, and what both do compared
//! step by step.
//!
//! Here: which files there are (`integration/differential/*.scenario`, their format in the README beside them), and running many
//! of them at once. Not here: their format (`file`, `action`), the network and the processes (`network`, `world`, `services` with
//! `servers`, `routers` with `peer`), what is compared (`record`, `lines`), the steps (`drive`).

mod action;
mod drive;
pub mod file;
mod lines;
mod network;
mod peer;
pub mod record;
mod routers;
mod servers;
mod services;
mod world;

pub use world::programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use crate::build;
use crate::director::Daemon;
use crate::step;
use file::{File, Subject};

/// Into how many guests the files about checkers are divided.
pub const GROUPS: usize = 2;

/// How many files a guest, which has one processor, runs beside each other.
const IN_GUEST: usize = 5;

/// Where and with what the files are run.
#[derive(Clone, Debug)]
pub struct Bed {
    /// Whether this is a guest of user-mode-linux, where everything takes longer.
    pub guest: bool,
    /// A library that stands in for the kernel's IPVS, to be preloaded.
    pub fake_ipvs: Option<PathBuf>,
    /// Who is driven; two are compared.
    pub daemons: Vec<Daemon>,
    /// Whether each step's record is printed.
    pub show: bool,
}

/// The folder of the scenario files about `subject`.
pub fn dir(subject: Subject) -> PathBuf {
    build::workspace().join(match subject {
        Subject::Checkers => "integration/differential",
        Subject::Vrrp => "integration/differential/vrrp",
    })
}

/// All scenario files about `subject`, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(subject: Subject) -> Result<Vec<PathBuf>> {
    let dir = dir(subject);
    let mut files = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "scenario") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one file.
///
/// # Errors
/// What is wrong with it, with its name and the line.
pub fn read(path: &Path) -> Result<File> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    File::parse(&name, &text).with_context(|| format!("{}", path.display()))
}

/// The files about checkers of group `group` of [`GROUPS`].
///
/// # Errors
/// When one cannot be read.
pub fn group(group: usize) -> Result<Vec<File>> {
    files(Subject::Checkers)?
        .iter()
        .enumerate()
        .filter(|(number, _)| number % GROUPS == group)
        .map(|(_, path)| read(path))
        .collect()
}

/// The files about VRRP.
///
/// # Errors
/// When one cannot be read.
pub fn vrrp() -> Result<Vec<File>> {
    files(Subject::Vrrp)?.iter().map(|path| read(path)).collect()
}

/// Runs `files` beside each other, each in namespaces of its own.
///
/// # Errors
/// When a file's daemons differ otherwise than it lists: every step of every file that does.
pub fn run(bed: &Bed, files: &[File]) -> Result<()> {
    ensure!(!files.is_empty(), "no scenario files");
    let steps: usize = files.iter().map(|file| file.steps.len()).sum();
    let listed = files.iter().flat_map(|file| &file.steps).filter(|step| !step.differs.is_empty()).count();
    // The longest first: then they end at about the same time.
    let mut waiting: Vec<&File> = files.iter().collect();
    waiting.sort_by_key(|file| file.steps.len());
    let threads = if bed.guest { IN_GUEST.min(files.len()) } else { files.len() };
    let waiting = Mutex::new(waiting);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = take(&waiting) {
                    if let Err(error) = drive::drive(bed, file)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(format!("{}: {error:#}", file.name));
                    }
                }
            });
        }
    });
    step!("{} files, {steps} steps, {listed} of them with a difference that is listed", files.len());
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort();
    if !failures.is_empty() {
        bail!("{} of {} files\n{}", failures.len(), files.len(), failures.join("\n"));
    }
    Ok(())
}

fn take<'f>(waiting: &Mutex<Vec<&'f File>>) -> Option<&'f File> {
    waiting.lock().ok()?.pop()
}

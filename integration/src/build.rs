//! Builds the programs under test with the cargo that is running the test.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// Paths of the built binaries.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The daemon.
    pub lbd: PathBuf,
    /// Its command line tool.
    pub lbctl: PathBuf,
}

/// Which of cargo's profiles to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For tests.
    Dev,
    /// For benchmarks.
    Release,
}

/// The workspace's root folder.
pub fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Builds `lbd` and `lbctl`, once per process (cargo decides whether there is anything to do), and gives their paths.
///
/// Inside a guest the paths come from `LBD_BED_LBD` and `LBD_BED_LBCTL`: the host built them.
///
/// # Errors
/// When cargo fails; its own message is on stderr.
pub fn binaries(profile: Profile) -> Result<Binaries> {
    static DEV: OnceLock<Result<Binaries, String>> = OnceLock::new();
    static RELEASE: OnceLock<Result<Binaries, String>> = OnceLock::new();
    let cell = match profile {
        Profile::Dev => &DEV,
        Profile::Release => &RELEASE,
    };
    cell.get_or_init(|| {
        given().map_or_else(|| cargo_build(profile), Ok).map_err(|error| format!("{error:#}"))
    })
    .clone()
    .map_err(|error| anyhow!(error))
}

fn given() -> Option<Binaries> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    Some(Binaries { lbd: path("LBD_BED_LBD")?, lbctl: path("LBD_BED_LBCTL")? })
}

fn cargo_build(profile: Profile) -> Result<Binaries> {
    let mut args = vec!["build", "-p", "lbd", "--bins"];
    if profile == Profile::Release {
        args.push("--release");
    }
    let built = cargo(&args)?;
    Ok(Binaries { lbd: built.executable("lbd")?, lbctl: built.executable("lbctl")? })
}

/// Builds the program of an integration test, to be run on another kernel. (No two of the workspace have the same name.)
///
/// # Errors
/// When cargo fails; its own message is on stderr.
pub fn test_program(test: &str) -> Result<PathBuf> {
    // With the whole workspace's features: `cargo verify` has built it then, and nothing is left to do.
    cargo(&["test", "--no-run", "--workspace", "--test", test])?.executable(test)
}

/// What cargo built, as it says itself: one JSON message a line.
struct Built(String);

impl Built {
    fn executable(&self, name: &str) -> Result<PathBuf> {
        self.0
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .ok_or_else(|| anyhow!("cargo built no program {name}"))
    }
}

fn cargo(args: &[&str]) -> Result<Built> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(args)
        .args(["-q", "--message-format=json-render-diagnostics"])
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(Built(String::from_utf8_lossy(&output.stdout).into_owned()))
}

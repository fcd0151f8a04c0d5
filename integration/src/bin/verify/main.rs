//! `cargo verify`: formatting, lints, documentation and every test, with what they need installed first.
//!
//! Here: which steps there are, in which order, and the verdict. Not here: running one of them (`step`), counting what
//! tests print (`tally`), which skips are allowed (`skips`), what is installed (`lbd_integration::packages`).

mod skips;
mod step;
mod tally;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lbd_integration::{build, packages};

use skips::{Allowed, Skip};
use step::Step;
use tally::Tally;

const USAGE: &str = "\
usage: cargo verify [--full] [--fuzz-minutes N] [--limit MINUTES] [--no-install]

Installs the Debian packages that the tests need (as root; else it names them), then runs formatting, lints,
documentation and every test, lists the tests that were skipped, and ends with `N passed, M failed, K skipped`.
Exit status 0 if nothing failed and every skip is one of integration/skips.txt.

  --full            also long property tests, floods and delays, each fuzz target, and cargo deny
  --fuzz-minutes N  time for each fuzz target (default 5)
  --limit MINUTES   time for everything but the steps of --full (default 29)
  --no-install      install nothing";

/// Cases of each property test with `--full`; proptest's own default is 256.
const FULL_CASES: &str = "8192";

struct Options {
    full: bool,
    install: bool,
    fuzz_minutes: u64,
    limit: Duration,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)) {
        Ok(Some(options)) => match verify(&options) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("verify: {error:#}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("verify: {error:#}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options { full: false, install: true, fuzz_minutes: 5, limit: minutes(29) };
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64> {
            let word = args.next().with_context(|| format!("{arg} needs a number"))?;
            word.parse()
                .ok()
                .filter(|n| (1..=10_000).contains(n))
                .with_context(|| format!("{arg} {word}: not 1 to 10000"))
        };
        match arg.as_str() {
            "--full" => options.full = true,
            "--no-install" => options.install = false,
            "--fuzz-minutes" => options.fuzz_minutes = number()?,
            "--limit" => options.limit = minutes(number()?),
            "-h" | "--help" => return Ok(None),
            _ => bail!("unknown argument `{arg}`"),
        }
    }
    Ok(Some(options))
}

fn verify(options: &Options) -> Result<bool> {
    let root = build::workspace();
    let allowed = Allowed::read(&root.join("integration/skips.txt"))?;
    let log = skips::fresh_log(&target_dir(&root))?;
    let mut run = Run {
        root,
        log,
        tally: Tally::default(),
        failures: Vec::new(),
        skips: Vec::new(),
        times: Vec::new(),
    };

    if options.install {
        install(&mut run.times);
    }
    let end = Instant::now() + options.limit;
    for step in everyday() {
        run.step(step, Some(end));
    }
    if options.full {
        full(&mut run, options.fuzz_minutes);
    }
    run.verdict(&allowed)
}

/// What is not there after this is what the tests will report as skipped, with their reasons.
fn install(times: &mut Vec<(String, Duration)>) {
    let start = Instant::now();
    match packages::ensure(packages::ALL) {
        Ok(installed) if installed.is_empty() => {}
        Ok(installed) => {
            let names: Vec<&str> = installed.iter().map(|package| package.name).collect();
            println!("installed {}", names.join(" "));
            times.push(("packages".to_owned(), start.elapsed()));
        }
        Err(error) => eprintln!("verify: {error:#}"),
    }
}

fn everyday() -> Vec<Step> {
    vec![
        Step::cargo("formatting", minutes(1), &["fmt", "--all", "--check"]),
        Step::cargo(
            "lints",
            minutes(12),
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ),
        Step::cargo("documentation", minutes(4), &["doc", "--workspace", "--no-deps", "--lib"])
            // The programs' own readers see private items, too.
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"),
        Step::cargo("build", minutes(8), &["test", "--workspace", "--no-run"]),
        // As the bed asks for them, without what only tests need: not in the time of its first scenario.
        Step::cargo("programs", minutes(8), &["build", "-p", "lbd", "--bins"]),
        // The limit of everything ends it, not one of its own.
        Step::cargo("tests", minutes(10_000), &["test", "--workspace", "--no-fail-fast"]),
    ]
}

fn full(run: &mut Run, fuzz_minutes: u64) {
    // Seeds of their own: the property tests again, not the end-to-end tests.
    let properties =
        ["test", "--workspace", "--exclude", "lbd-integration", "--no-fail-fast", "--lib", "--tests"];
    run.step(
        Step::cargo("long property tests", minutes(60), &properties).env("PROPTEST_CASES", FULL_CASES),
        None,
    );

    let floods = ["test", "-p", "lbd-integration", "--test", "e2e", "floods"];
    run.step(Step::cargo("long floods", minutes(5), &floods).env("LBD_FLOOD_SECONDS", "10"), None);

    let delays = ["test", "-p", "lbd-integration", "--test", "e2e", "gateway_pair"];
    run.step(Step::cargo("whole delays", minutes(8), &delays).env("LBD_WHOLE_DELAYS", "1"), None);

    if works("cargo", &["+nightly", "fuzz", "--version"]) {
        let seconds = format!("-max_total_time={}", fuzz_minutes * 60);
        for (folder, target) in fuzz_targets(&run.root) {
            let corpus = format!("fuzz/corpus/{target}");
            let seeds = format!("fuzz/seeds/{target}");
            let mut folders = vec![corpus.as_str()];
            if folder.join(&seeds).is_dir() {
                // What is found goes into the first folder; the seeds stay as they are.
                folders.push(&seeds);
            }
            if let Err(error) = std::fs::create_dir_all(folder.join(&corpus)) {
                run.failures.push(format!("fuzz {target}: {corpus}: {error}"));
                continue;
            }
            let step = Step::new(&format!("fuzz {target}"), minutes(fuzz_minutes + 15), "cargo")
                .args(&["+nightly", "fuzz", "run", &target])
                .args(&folders)
                .args(&["--", &seconds])
                .folder(&folder);
            run.step(step, None);
        }
    } else {
        run.skip("fuzz", "needs a nightly toolchain and cargo-fuzz: cargo install cargo-fuzz");
    }
    if works("cargo", &["deny", "--version"]) {
        let step = Step::cargo("dependencies", minutes(5), &["deny", "check", "licenses", "bans", "sources"]);
        run.step(step, None);
    } else {
        run.skip("cargo-deny", "not installed: cargo install cargo-deny");
    }
}

/// The run so far.
struct Run {
    root: PathBuf,
    log: PathBuf,
    tally: Tally,
    /// Steps that failed, and why.
    failures: Vec<String>,
    skips: Vec<Skip>,
    times: Vec<(String, Duration)>,
}

impl Run {
    fn step(&mut self, step: Step, end: Option<Instant>) {
        let step = step.env("LBD_SKIP_LOG", &self.log.to_string_lossy());
        println!("\n=== {} ===", step.title());
        let start = Instant::now();
        let mut tally = Tally::default();
        let result = step.run(&self.root, end, |line| tally.line(line));
        self.times.push((step.title().to_owned(), start.elapsed()));
        if let Err(error) = result {
            // Failed tests say more than cargo's exit status does.
            if tally.failed() == 0 {
                self.failures.push(format!("{}: {error:#}", step.title()));
            } else {
                println!("{}: {error:#}", step.title());
            }
        }
        self.tally.add(tally);
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.skips.push(Skip { name: name.to_owned(), reason: reason.to_owned() });
    }

    /// Prints what came out; `true` if all is well.
    fn verdict(mut self, allowed: &Allowed) -> Result<bool> {
        let mut logged = skips::read_log(&self.log)?;
        logged.sort();
        logged.dedup();
        // To the harness a test that reported a skip has passed.
        let passed = self.tally.passed().saturating_sub(logged.len());
        self.skips.extend(logged);
        self.skips.extend(
            self.tally
                .ignored()
                .iter()
                .map(|name| Skip { name: name.clone(), reason: "#[ignore]".to_owned() }),
        );
        self.skips.sort();
        self.skips.dedup();

        println!("\n=== summary ===");
        for (title, time) in &self.times {
            println!("{:>7.1} s  {title}", time.as_secs_f64());
        }
        let total: Duration = self.times.iter().map(|(_, time)| *time).sum();
        println!("{:>7.1} s  in all", total.as_secs_f64());
        let mut unlisted = 0_usize;
        for skip in &self.skips {
            let note = if allowed.allows(&skip.name) {
                ""
            } else {
                unlisted += 1;
                " (not in integration/skips.txt)"
            };
            println!("skipped {}: {}{note}", skip.name, skip.reason);
        }
        for name in self.tally.failures() {
            println!("FAILED {name}");
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        if unlisted > 0 {
            println!("{unlisted} skipped that must not be: mend the cause, or list them with a reason");
        }
        let failed = self.tally.failed() + self.failures.len();
        println!("{passed} passed, {failed} failed, {} skipped", self.skips.len());
        Ok(failed == 0 && unlisted == 0)
    }
}

/// Folders that hold a `fuzz` crate, with the names of its targets.
fn fuzz_targets(root: &Path) -> Vec<(PathBuf, String)> {
    let crates = ["", "grammar", "ipvs", "vrrp", "health"].map(|name| root.join(name));
    let mut found = Vec::new();
    for folder in crates {
        let Ok(files) = std::fs::read_dir(folder.join("fuzz/fuzz_targets")) else { continue };
        let names = files.flatten().filter_map(|file| {
            let path = file.path();
            (path.extension()? == "rs")
                .then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
        });
        found.extend(names.map(|name| (folder.clone(), name)));
    }
    found.sort();
    found
}

fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

fn works(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |line: &str| options(line.split_whitespace().map(str::to_owned));
        let plain = parse("").expect("none").expect("a run");
        assert!(!plain.full && plain.install && plain.limit == minutes(29));
        let all = parse("--full --fuzz-minutes 1 --limit 45 --no-install").expect("all").expect("a run");
        assert!(all.full && !all.install && all.fuzz_minutes == 1 && all.limit == minutes(45));
        assert!(parse("--help").expect("help").is_none());
        for bad in ["--ful", "--limit", "--limit 0", "--fuzz-minutes x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

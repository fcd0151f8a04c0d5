//! Runs scenarios of the test bed by hand: `bed list`, `bed run NAME… [--daemon lbd|keepalived] [--kernel host|uml]`.
//! (`bed exec NAME` runs one here and now, in this process: what the other side of `run` does.)

use std::process::ExitCode;

use lbd_integration::director::Daemon;
use lbd_integration::run::{self, Verdict};
use lbd_integration::{scenarios, skip};

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let daemon =
        option(&mut words, "--daemon").map_or(Some(Daemon::from_env()), |word| Daemon::from_word(&word));
    let kernel = option(&mut words, "--kernel");
    let Some(daemon) = daemon else { return usage() };
    let Some((command, names)) = words.split_first() else { return usage() };
    match (command.as_str(), names) {
        ("list", []) => {
            for scenario in scenarios::ALL {
                eprintln!("{:<28} {:<10} {}", scenario.name, run::need_word(scenario.need), scenario.about);
            }
            ExitCode::SUCCESS
        }
        ("exec", [name]) => scenarios::exec(name, daemon),
        ("run", [_, ..]) => match kernel {
            // Kernel::pick reads the environment: hand it on through a process of its own.
            Some(kernel) => again(daemon, &kernel, names),
            None => run_all(daemon, names),
        },
        _ => usage(),
    }
}

fn run_all(daemon: Daemon, names: &[String]) -> ExitCode {
    let bed = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => {
            eprintln!("bed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let start = std::time::Instant::now();
        match run::run(&bed, name, daemon) {
            Ok(Verdict::Passed) => eprintln!("ok   {name} ({}) {:.1?}", daemon.word(), start.elapsed()),
            Ok(Verdict::Skipped(reason)) => skip::report(name, &reason),
            Err(error) => {
                eprintln!("FAIL {name} ({}) {:.1?}: {error:#}", daemon.word(), start.elapsed());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn again(daemon: Daemon, kernel: &str, names: &[String]) -> ExitCode {
    let Ok(bed) = std::env::current_exe() else { return ExitCode::FAILURE };
    let status = std::process::Command::new(bed)
        .arg("run")
        .args(names)
        .args(["--daemon", daemon.word()])
        .env("LBD_BED_KERNEL", kernel)
        .status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn option(words: &mut Vec<String>, name: &str) -> Option<String> {
    let at = words.iter().position(|word| word == name)?;
    words.remove(at);
    (at < words.len()).then(|| words.remove(at))
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: bed list | bed run NAME... [--daemon lbd|keepalived] [--kernel host|uml] | bed exec NAME"
    );
    ExitCode::from(2)
}

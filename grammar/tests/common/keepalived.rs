//! Debian's keepalived as a judge: what `keepalived -t` says of a configuration.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lbd_integration::netns::Netns;
use lbd_integration::{packages, process, skip};

/// What a program thinks of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say.
    Accepted,
    /// It would run, after something was ignored or put right.
    Repaired,
    /// It would not run.
    Refused,
}

/// One run of `keepalived -t`.
#[derive(Debug)]
pub struct Said {
    pub verdict: Verdict,
    /// Exit status; `None` when a signal or the time limit ended it.
    pub status: Option<i32>,
    pub output: String,
}

/// A network of its own, in which results do not depend on the host.
pub struct Judge(Netns);

impl Judge {
    /// A namespace with these interfaces, all of them up; `None` after a printed SKIP.
    pub fn new(test: &str, interfaces: &[&str]) -> Option<Self> {
        let keepalived = packages::ALL.iter().find(|package| package.name == "keepalived");
        if !keepalived.is_some_and(packages::Package::is_there) {
            skip::report(test, "the Debian package keepalived is not there");
            return None;
        }
        let netns = match Netns::new("keepalived") {
            Ok(netns) => netns,
            Err(error) => {
                skip::report(test, &format!("{error:#}"));
                return None;
            }
        };
        for (number, name) in interfaces.iter().enumerate() {
            netns
                .ip(&format!(
                    "link add {name} type veth peer name far{number}\nlink set {name} up\nlink set far{number} up"
                ))
                .expect("an interface");
        }
        netns.ip("addr add 192.0.2.1/24 dev eth0").expect("an address");
        Some(Self(netns))
    }

    /// Calls `job` for each of `items`, in as many threads as there are processors, all of them inside
    /// the namespace.
    pub fn each<T: Sync, R: Send>(&self, items: &[T], job: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * 2;
        let run = |first: usize| {
            let part = || {
                items
                    .iter()
                    .enumerate()
                    .skip(first)
                    .step_by(threads)
                    .map(|(n, item)| (n, job(item)))
                    .collect::<Vec<_>>()
            };
            self.0.run(part).expect("the namespace")
        };
        let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
            let run = &run;
            let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
        });
        results.sort_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Some texts hang it; a healthy run takes some hundredths of this.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs `keepalived -t` on a file; inside [`Judge::each`]. `scratch` is a folder for its output.
pub fn judge(file: &Path, config_id: Option<&str>, scratch: &Path) -> Said {
    let path = scratch.join("keepalived.out");
    let output = File::create(&path).expect("a file for the output");
    let mut command = Command::new("/usr/sbin/keepalived");
    command.arg("-t").arg("-f").arg(file).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(output.try_clone().expect("a second handle")).stderr(output);
    if let Some(id) = config_id {
        command.arg("-i").arg(id);
    }
    let mut child = command.spawn().expect("keepalived");
    let status = process::within(&mut child, LIMIT).expect("an end");
    let mut bytes = Vec::new();
    File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("its output");
    let output = String::from_utf8_lossy(&bytes).into_owned();
    let status = status.and_then(|status| status.code());
    Said { verdict: verdict(status, &output), status, output }
}

/// Debian's binary has 0 for clean, 4 for a file, an interface or a fatal mistake, 5 for any other, 6 for
/// scripts without script security and for a file that had to be there, 2 where it gave up while reading.
/// It keeps the largest only, so what stops it is known from its messages. Script security is not the
/// language: alone it counts as nothing.
fn verdict(status: Option<i32>, output: &str) -> Verdict {
    let says = |words: &str| output.contains(words);
    match status {
        Some(0) => Verdict::Accepted,
        Some(4 | 5) if !STOPS.iter().any(|words| says(words)) => Verdict::Repaired,
        Some(6) if output.lines().all(|line| line.contains(SECURITY)) => Verdict::Accepted,
        Some(6) if says(SECURITY) && !STOPS.iter().any(|words| says(words)) => Verdict::Repaired,
        _ => Verdict::Refused,
    }
}

const SECURITY: &str = "SECURITY VIOLATION";

/// Messages after which the daemon stops; it was run to see that, and that it runs after the others.
const STOPS: &[&str] = &[
    "Non-existent interface specified in configuration",
    "the virtual router id must be set",
    ") Unknown interface!",
    " both use VRID ",
    "No VIP specified; at least one is required",
];

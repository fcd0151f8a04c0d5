//! From a verdict to the kernel's weight: a tracked file changes, and with it the weight of a real server.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bed, Native, milliseconds};
use crate::checks;
use crate::checks::responder::PORT;
use crate::director::Daemon;
use crate::fakeipvs::{self, Request};
use crate::figures::{judge, median, most, percentile};
use crate::shape::Shape;
use crate::wait;

const SHAPE: Shape = Shape::unchecked(1, 3);
/// From the file to the table, at most.
const TIME: Duration = Duration::from_millis(5);
/// Time for a change before it counts as lost.
const LIMIT: Duration = Duration::from_secs(5);

/// Measures `changes` changes.
///
/// # Errors
/// When a change does not reach the table.
pub fn run(bed: &Bed, changes: usize) -> Result<bool> {
    println!("verdict: {} with a FILE_CHECK each", SHAPE.words());
    let folder = tempfile::Builder::new().prefix("lbd-files-").tempdir()?;
    for server in 0..SHAPE.real_servers {
        fs::write(folder.path().join(file(server)), "0\n")?;
    }
    let ns = checks::network()?;
    let mut native = bed.start(Daemon::Lbd, &ns, &SHAPE, &config(folder.path()))?;
    let mut times = Vec::new();
    for (change, number) in [10, 20].into_iter().cycle().take(changes).enumerate() {
        let took = one(&mut native, &folder.path().join(file(change % SHAPE.real_servers)), number + change)?;
        times.push(milliseconds(took));
    }
    let figure = |value: Option<f64>| value.context("no change");
    let middle = figure(median(times.iter().copied()))?;
    let late = figure(percentile(times.iter().copied(), 99))?;
    let last = figure(most(times.iter().copied()))?;
    Ok(judge(
        "verdict to weight",
        &format!("median {middle:.2} ms, p99 {late:.2} ms, most {last:.2} ms, of {changes}"),
        &format!("most {TIME:?}"),
        last < milliseconds(TIME),
    ))
}

fn file(server: usize) -> String {
    format!("health{server}")
}

/// The number in its file is added to each real server's weight.
fn config(folder: &Path) -> String {
    let (mut files, mut servers) = (String::new(), String::new());
    for server in 0..SHAPE.real_servers {
        let name = file(server);
        let path = folder.join(&name);
        let _ = writeln!(files, "track_file {name} {{\n  file {}\n  weight 1\n}}", path.display());
        let address = Shape::real(server);
        let _ = writeln!(
            servers,
            "  real_server {address} {PORT} {{\n    weight 1\n    FILE_CHECK {{\n      track_file {name}\n    }}\n  }}"
        );
    }
    let vip = Shape::vip(0);
    format!(
        "{files}virtual_server {vip} 80 {{\n  delay_loop 60\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n{servers}}}\n"
    )
}

/// Replaces a file, as programs do that want nobody to read half of it, and sees when the table has it.
fn one(native: &mut Native<'_>, file: &Path, number: usize) -> Result<Duration> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{number}\n"))?;
    // What is measured begins with the rename; its moment is none that the daemon could know.
    wait::pause(Duration::from_millis(fastrand::u64(20..60)));
    let before = native.log.more()?;
    ensure!(before.is_empty(), "it wrote although nothing had changed: {before:?}");
    let began = fakeipvs::clock()?;
    fs::rename(&new, file)?;
    let entries = native.log.wait("the weight", LIMIT, |entry| entry.request == Request::SetDest)?;
    let changed = entries.iter().find(|entry| entry.request == Request::SetDest);
    Ok(changed.context("no weight")?.at.saturating_sub(began))
}

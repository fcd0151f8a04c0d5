//! What comparing the kernel's table costs while nothing happens, and how soon it finds what another program changed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Bed, Native};
use crate::checks;
use crate::checks::responder::PORT;
use crate::fakeipvs::Request;
use crate::figures::{judge, most};
use crate::shape::Shape;
use crate::wait;

/// A table, and the time within which a change by another program is put right.
const TABLES: [(Shape, Duration); 2] = [
    (Shape::unchecked(2500, 40_000), Duration::from_secs(10)),
    (Shape::unchecked(100, 1000), Duration::from_secs(2)),
];
/// CPU time while nothing happens, in percent of a processor, at most.
const IDLE: f64 = 1.0;
/// Time for a change to be put right before it counts as never.
const LIMIT: Duration = Duration::from_secs(90);
/// After the start, before anything is measured.
const CALM: Duration = Duration::from_secs(2);

/// Measures both with each table: CPU time over `idle`, and `drifts` changes.
///
/// # Errors
/// When a daemon does not run, or ipvsadm fails.
pub fn run(bed: &Bed, idle: Duration, drifts: usize) -> Result<bool> {
    let mut good = true;
    for (shape, limit) in TABLES {
        println!("audit: {}", shape.words());
        let ns = checks::network()?;
        let mut native = bed.lbd(&ns, &shape)?;
        wait::pause(CALM);
        good &= cost(&native, &shape, idle)?;
        good &= drift(&mut native, &shape, limit, drifts)?;
    }
    Ok(good)
}

fn cost(native: &Native<'_>, shape: &Shape, time: Duration) -> Result<bool> {
    let (began, before) = (Instant::now(), native.cpu()?);
    wait::pause(time);
    let used = native.cpu()?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
    let percent = used * 100.0;
    Ok(judge(
        &format!("idle with {} destinations", shape.real_servers),
        &format!("{percent:.2} % of a processor over {time:?}"),
        &format!("{IDLE} %"),
        percent <= IDLE,
    ))
}

/// Takes one destination out again and again, and sees how long it is away.
fn drift(native: &mut Native<'_>, shape: &Shape, limit: Duration, drifts: usize) -> Result<bool> {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..drifts {
        // Not always the same time after the one before was put right.
        wait::pause(limit.mul_f64(0.2 * fastrand::f64()));
        let away = away(native, shape)?;
        println!("  back after {away:.2?}");
        times.push(away);
        if away > limit {
            // The worst of all is over the limit, whatever follows.
            break;
        }
    }
    let worst = most(times.iter().map(Duration::as_secs_f64)).context("no change")?;
    Ok(judge(
        &format!("drift of {} destinations", shape.real_servers),
        &format!("{worst:.2} s at most, of {}", times.len()),
        &format!("{limit:?}"),
        worst <= limit.as_secs_f64(),
    ))
}

/// How long one destination that another program takes out is away.
fn away(native: &mut Native<'_>, shape: &Shape) -> Result<Duration> {
    let server = fastrand::usize(..shape.real_servers);
    let service = shape.service_of(server).context("a real server of none")?;
    let output = Command::new("ipvsadm")
        .args(["-d", "-t", &format!("{}:80", Shape::vip(service))])
        .args(["-r", &format!("{}:{PORT}", Shape::real(server))])
        .envs(native.stand_in.env_with_log(&native.director.path("")))
        .stdin(Stdio::null())
        .output()
        .context("ipvsadm (Debian package ipvsadm)")?;
    ensure!(output.status.success(), "ipvsadm -d: {}", String::from_utf8_lossy(&output.stderr).trim());
    let entries = native.log.wait("the destination", LIMIT, |entry| entry.request == Request::NewDest)?;
    let at = |request| entries.iter().find(|entry| entry.request == request).map(|entry| entry.at);
    let (gone, back) = at(Request::DelDest).zip(at(Request::NewDest)).context("it was not taken out")?;
    Ok(back.saturating_sub(gone))
}

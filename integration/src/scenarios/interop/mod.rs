//! lbd and Debian's keepalived as a pair of one virtual router, in every dialect that both speak.
//!
//! Here: the rows and what is demanded of all of them together. Not here: configurations of a row (`row`), what happens in
//! one (`pair`).

mod pair;
mod row;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};

use self::row::{ROWS, Row, Sums};
use super::{Ctx, Skip};
use crate::director::Daemon;
use crate::tap::{self, Frame};
use crate::tshark::{self, Checksums};
use crate::{packages, run, step, wait};

/// All rows at once, each in networks of its own: they wait most of the time. Then all that was on the wire is shown to tshark.
pub fn interop(ctx: &Ctx) -> Result<()> {
    let keepalived = packages::ALL.iter().find(|package| package.name == "keepalived");
    if !keepalived.is_some_and(packages::Package::is_there) || !tshark::is_there() {
        bail!(Skip("needs the Debian packages keepalived and tshark".to_owned()));
    }
    let only = std::env::var("LBD_INTEROP_ROW").ok();
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| only.as_ref().is_none_or(|only| row.name.contains(only.as_str())))
        // With keepalived for both, what fails is the bed's own.
        .filter(|row| row.understood || ctx.daemon == Daemon::Lbd)
        .collect();
    ensure!(!rows.is_empty(), "LBD_INTEROP_ROW={only:?} names no row");
    let (stop, late) = (AtomicBool::new(false), AtomicU64::new(0));
    let results: Vec<Result<Vec<Frame>>> = std::thread::scope(|scope| {
        scope.spawn(|| wait::watch_machine(&stop, &late));
        let mut threads = Vec::new();
        for row in rows.iter().copied() {
            // Not all daemons start at one moment.
            wait::pause(Duration::from_millis(200));
            let late = &late;
            threads.push(scope.spawn(move || pair::run(ctx, row, late)));
        }
        let results =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("panicked"))));
        let results = results.collect();
        stop.store(true, Ordering::Relaxed);
        results
    });
    step!("this machine woke up to {:?} late", Duration::from_micros(late.load(Ordering::Relaxed)));

    let mut failures = String::new();
    let mut captures = Vec::new();
    for (row, result) in rows.into_iter().zip(results) {
        match result {
            Ok(frames) => captures.push((row, frames)),
            Err(error) => writeln!(failures, "{}: {error:#}", row.name)?,
        }
    }
    for checksums in [Checksums::PseudoHeader, Checksums::Message] {
        failures.push_str(&second_opinion(checksums, &captures)?);
    }
    ensure!(failures.is_empty(), "{failures}");
    Ok(())
}

/// What tshark complains about in frames of these checksums; empty if nothing.
fn second_opinion(checksums: Checksums, captures: &[(&Row, Vec<Frame>)]) -> Result<String> {
    let path = run::log_dir()?.join(format!("interop-{checksums:?}.pcap").to_lowercase());
    let frames: Vec<(&Row, &Frame)> = captures
        .iter()
        .flat_map(|(row, frames)| frames.iter().map(move |frame| (*row, frame)))
        .filter(|(row, frame)| row.sums.expected(row.side(frame.port)) == checksums)
        .collect();
    tap::write_pcap(&path, frames.iter().map(|(_, frame)| *frame))?;
    let opinion = tshark::examine(&path, checksums)?;
    let adverts = frames.iter().filter(|(_, frame)| frame.vrrp().is_some()).count();
    step!("tshark: {} adverts in {}", opinion.vrrp, path.display());
    let mut words = String::new();
    if opinion.vrrp != adverts {
        writeln!(words, "tshark sees {} adverts of {adverts} in {}", opinion.vrrp, path.display())?;
    }
    for (at, complaint) in opinion.complaints {
        let row = frames.get(at).map(|(row, _)| *row);
        // It knows no checksum with the group for the destination of unicast.
        let known =
            row.is_some_and(|row| row.sums == Sums::OldUnicast) && complaint.starts_with("Bad checksum");
        if !known {
            let name = row.map_or("no row", |row| row.name);
            writeln!(words, "{name}: tshark at frame {} of {}: {complaint}", at + 1, path.display())?;
        }
    }
    Ok(words)
}

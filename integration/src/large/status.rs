//! `GET /v1/status` on the control socket, and `lbctl status --json`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Bed, LARGE, milliseconds};
use crate::checks;
use crate::figures::{judge, median, most};

/// Reads of each kind.
const READS: usize = 20;
/// One read of the socket, at most.
const TIME: Duration = Duration::from_millis(200);

/// Measures both.
///
/// # Errors
/// When there is no status.
pub fn run(bed: &Bed) -> Result<bool> {
    println!("status: {}", LARGE.words());
    let ns = checks::network()?;
    let native = bed.lbd(&ns, &LARGE)?;
    let mut octets = 0;
    let mut socket = Vec::new();
    for _ in 0..READS {
        let began = Instant::now();
        octets = native.director.get("/v1/status")?.len();
        socket.push(began.elapsed());
    }
    let mut program = Vec::new();
    for _ in 0..READS {
        let began = Instant::now();
        native.director.lbctl(&["status", "--json"])?;
        program.push(began.elapsed());
    }
    let figures = |times: &[Duration]| -> Result<(f64, f64)> {
        let times = || times.iter().map(|time| milliseconds(*time));
        median(times()).zip(most(times())).context("no read")
    };
    let (middle, last) = figures(&program)?;
    println!("  lbctl status --json: median {middle:.0} ms, most {last:.0} ms, of {READS}");
    let (middle, last) = figures(&socket)?;
    Ok(judge(
        "status on the socket",
        &format!("median {middle:.0} ms, most {last:.0} ms, of {READS}, {:.1} MB", octets as f64 / 1e6),
        &format!("median {TIME:?}"),
        middle < milliseconds(TIME),
    ))
}

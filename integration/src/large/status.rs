//! `GET /v1/status` on the control socket, and `lbctl status --json`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Bed, LARGE, LARGE_CHECKED, Native, all_checked, milliseconds};
use crate::checks;
use crate::director::Daemon;
use crate::figures::{judge, median, most};

/// Reads of each kind.
const READS: usize = 20;
/// One read of the socket, at most.
const TIME: Duration = Duration::from_millis(200);

/// Measures both, and the same while each real server is checked.
///
/// # Errors
/// When there is no status.
pub fn run(bed: &Bed) -> Result<bool> {
    println!("status: {}", LARGE.words());
    let ns = checks::network()?;
    let reads = Reads::of(&bed.lbd(&ns, &LARGE)?)?;
    let middle = reads.median()?;
    let met = judge(
        "status on the socket",
        &format!("median {middle:.0} ms"),
        &format!("median {TIME:?}"),
        middle < milliseconds(TIME),
    );
    let ns = checks::network()?;
    let (native, mut responder) = bed.checked(Daemon::Lbd, &ns, &LARGE_CHECKED)?;
    all_checked(&mut responder, &LARGE_CHECKED)?;
    println!("status on the socket beside checks: median {:.0} ms", Reads::of(&native)?.median()?);
    Ok(met)
}

/// Times of reads of the socket.
struct Reads(Vec<Duration>);

impl Reads {
    /// Reads the socket and runs `lbctl`; tells what both took.
    fn of(native: &Native<'_>) -> Result<Self> {
        let (mut octets, mut socket) = (0, Vec::new());
        let before = native.cpu()?;
        for _ in 0..READS {
            let began = Instant::now();
            octets = native.director.get("/v1/status")?.len();
            socket.push(began.elapsed());
        }
        let cpu = milliseconds(native.cpu()?.saturating_sub(before)) / READS as f64;
        println!("  the socket: {}, {:.1} MB; CPU {cpu:.0} ms each", words(&socket)?, octets as f64 / 1e6);
        let mut program = Vec::new();
        for _ in 0..READS {
            let began = Instant::now();
            native.director.lbctl(&["status", "--json"])?;
            program.push(began.elapsed());
        }
        println!("  lbctl status --json: {}", words(&program)?);
        Ok(Self(socket))
    }

    /// In milliseconds.
    fn median(&self) -> Result<f64> {
        median(self.0.iter().map(|time| milliseconds(*time))).context("no read")
    }
}

fn words(times: &[Duration]) -> Result<String> {
    let times = || times.iter().map(|time| milliseconds(*time));
    let (middle, last) = median(times()).zip(most(times())).context("no read")?;
    Ok(format!("median {middle:.0} ms, most {last:.0} ms, of {READS}"))
}

//! What the daemon has in memory, without the stand-in's table, which is the kernel's otherwise.

use anyhow::Result;

use super::{Bed, LARGE, LARGE_CHECKED, Native, all_checked};
use crate::checks;
use crate::checks::usage::{self, Memory};
use crate::director::Daemon;
use crate::fakeipvs::TABLE;
use crate::figures::judge;
use crate::shape::Shape;

/// Resident memory, in octets, at most.
const RESIDENT: u64 = 150_000_000;
const RELOADS: usize = 3;
const READS: usize = 20;

/// Measures after the start, after reloads and after reads of the status; and the same while each real server is checked.
///
/// # Errors
/// When the daemon does not do what it is told.
pub fn run(bed: &Bed) -> Result<bool> {
    println!("memory: {}", LARGE.words());
    let ns = checks::network()?;
    let resident = most(&mut bed.lbd(&ns, &LARGE)?, &LARGE)?;
    let met = judge(
        "memory",
        &format!("{} resident at most", megabytes(resident)),
        &megabytes(RESIDENT),
        resident < RESIDENT,
    );
    let ns = checks::network()?;
    let (mut native, mut responder) = bed.checked(Daemon::Lbd, &ns, &LARGE_CHECKED)?;
    all_checked(&mut responder, &LARGE_CHECKED)?;
    println!("memory beside checks: {} resident at most", megabytes(most(&mut native, &LARGE_CHECKED)?));
    Ok(met)
}

/// The most that is resident after one thing or another.
fn most(native: &mut Native<'_>, shape: &Shape) -> Result<u64> {
    let mut resident = tell(native, "after the start")?;
    let middle = shape.real_servers / 2;
    for weight in (2..).take(RELOADS) {
        native.reload(&shape.config(Some((middle, weight))))?;
    }
    resident = resident.max(tell(native, &format!("after {RELOADS} reloads"))?);
    for _ in 0..READS {
        native.director.get("/v1/status")?;
    }
    Ok(resident.max(tell(native, &format!("after {READS} reads of the status"))?))
}

/// Prints how much it is, and gives what is resident.
fn tell(native: &Native<'_>, when: &str) -> Result<u64> {
    let pid = native.pid()?;
    let Memory { resident, proportional } = usage::memory(pid, TABLE)?;
    let table = usage::memory(pid, NO_FILE)?.resident.saturating_sub(resident);
    println!(
        "  {when}: {} resident, {} proportional; with the stand-in's table ({}) {} at its peak",
        megabytes(resident),
        megabytes(proportional),
        megabytes(table),
        megabytes(usage::peak(pid)?)
    );
    Ok(resident)
}

/// No mapping's name ends so.
const NO_FILE: &str = "\0";

fn megabytes(octets: u64) -> String {
    format!("{:.1} MB", octets as f64 / 1e6)
}

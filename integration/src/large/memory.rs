//! What the daemon has in memory, without the stand-in's table, which is the kernel's otherwise.

use anyhow::Result;

use super::{Bed, LARGE, Native};
use crate::checks;
use crate::checks::usage::{self, Memory};
use crate::fakeipvs::TABLE;
use crate::figures::judge;

/// Resident memory, in octets, at most.
const RESIDENT: u64 = 150_000_000;
const RELOADS: usize = 3;
const READS: usize = 20;

/// Measures after the start, after reloads and after reads of the status.
///
/// # Errors
/// When the daemon does not do what it is told.
pub fn run(bed: &Bed) -> Result<bool> {
    println!("memory: {}", LARGE.words());
    let ns = checks::network()?;
    let mut native = bed.lbd(&ns, &LARGE)?;
    let mut resident = tell(&native, "after the start")?;
    let middle = LARGE.real_servers / 2;
    for weight in (2..).take(RELOADS) {
        native.reload(&LARGE.config(Some((middle, weight))))?;
    }
    resident = resident.max(tell(&native, &format!("after {RELOADS} reloads"))?);
    for _ in 0..READS {
        native.director.get("/v1/status")?;
    }
    resident = resident.max(tell(&native, &format!("after {READS} reads of the status"))?);
    Ok(judge(
        "memory",
        &format!("{} resident at most", megabytes(resident)),
        &megabytes(RESIDENT),
        resident < RESIDENT,
    ))
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

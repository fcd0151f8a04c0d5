//! CPU time and memory of a process and all that descends from it, by /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::process;

/// CPU time that `pid` and its descendants have used so far, user and system together. Exact to a clock tick (10 ms).
///
/// # Errors
/// When `pid` has ended.
pub fn cpu(pid: Pid) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(100);
    let mut all = Duration::ZERO;
    for one in process::tree(pid) {
        let stat = match fs::read_to_string(format!("/proc/{one}/stat")) {
            Ok(stat) => stat,
            Err(_) if one != pid => continue,
            Err(error) => return Err(error).with_context(|| format!("process {pid}")),
        };
        let ticks = ticks(&stat).with_context(|| format!("/proc/{one}/stat: {stat}"))?;
        all += Duration::from_secs(ticks) / per_second;
    }
    Ok(all)
}

/// utime and stime (fields 14 and 15) of a line of /proc/PID/stat.
fn ticks(stat: &str) -> Option<u64> {
    // The name, in brackets, may have blanks and brackets of its own; after it comes field 3.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// CPU time that `pid` alone has used so far, in all its threads, those that have ended too. Exact to the nanosecond.
///
/// # Errors
/// When `pid` has ended.
pub fn exact_cpu(pid: Pid) -> Result<Duration> {
    Ok(clock_gettime(clock_getcpuclockid(pid)?)?.into())
}

/// Memory in use, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Pages in memory, counted for each process that has them.
    pub resident: u64,
    /// The same with shared pages divided among those that share them.
    pub proportional: u64,
}

/// Memory of `pid` and its descendants, without mappings of files whose name ends with `without`.
///
/// # Errors
/// When `pid` has ended.
pub fn memory(pid: Pid, without: &str) -> Result<Memory> {
    let mut all = Memory::default();
    for one in process::tree(pid) {
        match fs::read_to_string(format!("/proc/{one}/smaps")) {
            Ok(text) => {
                let one = sum(&text, without);
                all.resident += one.resident;
                all.proportional += one.proportional;
            }
            Err(_) if one != pid => {}
            Err(error) => return Err(error).with_context(|| format!("process {pid}")),
        }
    }
    Ok(all)
}

fn sum(smaps: &str, without: &str) -> Memory {
    let mut memory = Memory::default();
    let mut counts = true;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        let Some(key) = first.strip_suffix(':') else {
            // The head of a mapping: range, rights, offset, device, inode, name.
            counts = !line.ends_with(without);
            continue;
        };
        let size = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default() * 1024;
        match key {
            "Rss" if counts => memory.resident += { size }(),
            "Pss" if counts => memory.proportional += { size }(),
            _ => {}
        }
    }
    memory
}

/// The most that `pid` had in memory so far, in octets, mappings of files and all.
///
/// # Errors
/// When `pid` has ended.
pub fn peak(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    high_water(&status).with_context(|| format!("/proc/{pid}/status: {status}"))
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_process_with_an_odd_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 500 0 0 0 12 30 1 1 20 0 3 0 100 0 0";
        assert_eq!(ticks(line), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_without_the_table() {
        let text = "7f00-7f10 rw-p 00000000 00:01 1 /usr/bin/x\nSize: 8 kB\nRss: 4 kB\nPss: 2 kB\nPss_Dirty: 2 kB\n\
                    7f10-7f20 rw-s 00000000 00:01 2 /dev/shm/the-table\nRss: 100 kB\nPss: 100 kB\n\
                    7f20-7f30 rw-p 00000000 00:00 0\nRss: 8 kB\nPss: 8 kB\n";
        assert_eq!(sum(text, "the-table"), Memory { resident: 12 * 1024, proportional: 10 * 1024 });
    }

    #[test]
    fn the_peak_is_a_line() {
        assert_eq!(high_water("Name:\tx\nVmHWM:\t   25864 kB\nVmRSS:\t 1 kB\n"), Some(25_864 * 1024));
        assert_eq!(high_water("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_all() {
        let now = memory(Pid::this(), "no such file").expect("it runs").resident;
        assert!(now > 100_000 && peak(Pid::this()).expect("it runs") > 100_000);
        cpu(Pid::this()).expect("it runs");
        assert!(exact_cpu(Pid::this()).expect("it runs") > Duration::ZERO);
    }
}

//! Everything that a virtual service and a real server can be: one director with all of it, against what `ipvsadm` and
//! /proc/net/ip_vs show; changed in place by a reload, and taken over by the next process.

mod rows;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::rows::{LEFT, ROWS, Row, WITH_TWOS, WITHOUT_TWOS};
use super::Ctx;
use crate::director::{Daemon, Director};
use crate::netns::Netns;
use crate::table::endpoint;
use crate::{step, wait};

/// Time a start or a reload may take until the table is there.
const LIMIT: Duration = Duration::from_secs(10);

/// Real servers have no checker: they are up without being there.
pub fn services(ctx: &Ctx) -> Result<()> {
    let ns = Netns::new("a")?;
    let twos = ipvsadm(&ns, &["-A", "-t", "192.0.2.1:80", "-s", "twos"]).is_ok();
    if twos {
        ipvsadm(&ns, &["-C"])?;
    }
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    // keepalived 2.2.7 does not know it.
    if ctx.daemon == Daemon::Lbd {
        rows.push(if twos { &WITH_TWOS } else { &WITHOUT_TWOS });
    }
    let config = |which: fn(&Row) -> &str| -> String { rows.iter().map(|row| lines(which(row))).collect() };

    let mut director = ctx.director("a", &ns, &config(|row| row.first))?;
    let start = Instant::now();
    director.start_and_wait()?;
    expect(&ns, &rows, |row| row.rules).context("after the start")?;
    let count = |which: fn(&Row) -> &'static [&'static str]| rows.iter().flat_map(|row| which(row)).count();
    step!("{} rows, {} rules in the kernel after {:?}", rows.len(), count(|row| row.rules), start.elapsed());
    if ctx.daemon == Daemon::Lbd && !twos {
        refused(&director)?;
    }

    let before = if ctx.daemon == Daemon::Lbd { writes(&director)? } else { 0 };
    director.configure(&config(|row| row.second))?;
    let start = Instant::now();
    director.reload()?;
    let left = |row: &Row| ctx.daemon == Daemon::Keepalived && LEFT.contains(&row.name);
    expect(&ns, &rows, |row| if left(row) { row.rules } else { row.then }).context("after the reload")?;
    let changed =
        rows.iter().flat_map(|row| row.then.iter().filter(|rule| !row.rules.contains(rule))).count();
    step!("{changed} of {} rules are others {:?} after the reload", count(|row| row.then), start.elapsed());
    if ctx.daemon == Daemon::Lbd {
        director
            .expect_status("nothing is refused", LIMIT, |status| status["ipvs"]["last_error"].is_null())?;
        // A rule that was taken out and put in again would count twice.
        let took = writes(&director)? - before;
        ensure!(took == changed as u64, "{took} writes for {changed} rules that changed");
        taken_over(&ns, &mut director, &rows, &config(|row| row.second))?;
    }

    director.stop()?;
    let left = rules(&ns)?;
    ensure!(left.is_empty(), "after an orderly stop there is still {left:#?}");
    Ok(())
}

/// The scheduler that is not there is said with its remedy.
fn refused(director: &Director<'_>) -> Result<()> {
    let status =
        director.expect_status("a refusal", LIMIT, |status| status["ipvs"]["last_error"].is_string())?;
    let why = status["ipvs"]["last_error"].as_str().unwrap_or_default();
    for words in ["cannot add virtual service TCP 10.9.0.50:80", "`twos`", "`modprobe ip_vs_twos`"] {
        ensure!(why.contains(words), "no {words:?} in {why:?}");
    }
    step!("{why}");
    Ok(())
}

/// What the kernel tells is what was wanted, down to the last attribute: else the next process would write.
fn taken_over(ns: &Netns, director: &mut Director<'_>, rows: &[&Row], config: &str) -> Result<()> {
    director.kill();
    director.start_and_wait()?;
    let extra = "virtual_server 10.9.0.60 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\nreal_server 10.1.0.1 80 {\n}\n}\n";
    director.configure(&format!("{config}{extra}"))?;
    director.reload()?;
    let row = Row {
        name: "one more",
        first: "",
        rules: &[],
        second: "",
        then: &["-A -t 10.9.0.60:80 -s rr", "-a -t 10.9.0.60:80 -r 10.1.0.1:80 -g -w 1"],
    };
    let rows: Vec<&Row> = rows.iter().copied().chain([&row]).collect();
    expect(ns, &rows, |row| row.then).context("after kill -9, a start and a reload")?;
    director.expect_status("reloaded", LIMIT, |status| status["config"]["generation"] == 2)?;
    let took = writes(director)?;
    ensure!(took == 2, "{took} writes for a service and its real server, all else was there");
    step!("after kill -9 the next process wrote nothing but one new service");
    Ok(())
}

fn writes(director: &Director<'_>) -> Result<u64> {
    director.status()?["ipvs"]["writes"].as_u64().context("no ipvs.writes in the status")
}

/// A block of the table as lines of a configuration.
fn lines(block: &str) -> String {
    block.replace('{', "{\n").replace('}', "\n}\n").replace("; ", "\n")
}

/// Waits until the kernel has exactly these rules; what /proc shows has to agree.
fn expect(ns: &Netns, rows: &[&Row], which: impl Fn(&Row) -> &'static [&'static str]) -> Result<()> {
    let want: Vec<(&str, &str)> =
        rows.iter().flat_map(|row| which(row).iter().map(|rule| (row.name, *rule))).collect();
    wait::until_ok("the rules of all rows", LIMIT, || same(&rules(ns)?, &want))?;
    let want: Vec<(&str, String)> =
        want.into_iter().map(|(name, rule)| Ok((name, in_proc(rule)?))).collect::<Result<_>>()?;
    same(&proc_lines(&ns.proc_net("ip_vs")?), &want).context("/proc/net/ip_vs")
}

/// Fails with the difference where `have` is not just what the rows want, in any order.
fn same(have: &[String], want: &[(&str, impl AsRef<str>)]) -> Result<()> {
    let mut rest: Vec<&str> = have.iter().map(String::as_str).collect();
    let mut difference = String::new();
    for (name, rule) in want {
        match rest.iter().position(|have| *have == rule.as_ref()) {
            Some(at) => drop(rest.swap_remove(at)),
            None => write!(difference, "\n{name}: no {}", rule.as_ref())?,
        }
    }
    for rule in rest {
        write!(difference, "\nthere is {rule}")?;
    }
    ensure!(difference.is_empty(), "{difference}");
    Ok(())
}

/// The rules of the namespace's table: `ipvsadm -Sn`, and thresholds where there are any, which it leaves out.
fn rules(ns: &Netns) -> Result<Vec<String>> {
    let thresholds = thresholds(&ipvsadm(ns, &["-Ln", "--thresholds"])?);
    let rules = ipvsadm(ns, &["-Sn"])?
        .lines()
        .map(|line| {
            let mut rule = line.trim_end().to_owned();
            let key = rule.split_once(" -r ").map(|(service, rest)| {
                let dest = rest.split(' ').next().unwrap_or_default();
                format!("{} {dest}", service.trim_start_matches("-a "))
            });
            if let Some((upper, lower)) = key.and_then(|key| thresholds.get(&key)) {
                let _ = write!(rule, " -x {upper} -y {lower}");
            }
            rule
        })
        .collect();
    Ok(rules)
}

/// Upper and lower threshold by `-t SERVICE DEST`, of those that have any.
fn thresholds(listing: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    let mut service = String::new();
    // Three lines of header.
    for line in listing.lines().skip(3) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["->", _, "0", "0", ..] => {}
            ["->", dest, upper, lower, ..] => {
                found.insert(format!("{service} {dest}"), ((*upper).to_owned(), (*lower).to_owned()));
            }
            ["FWM", mark, "IPv6", ..] => service = format!("-f {mark} -6"),
            ["FWM", mark, ..] => service = format!("-f {mark}"),
            ["TCP", address, ..] => service = format!("-t {address}"),
            ["UDP", address, ..] => service = format!("-u {address}"),
            ["SCTP", address, ..] => service = format!("--sctp-service {address}"),
            _ => {}
        }
    }
    found
}

fn ipvsadm(ns: &Netns, args: &[&str]) -> Result<String> {
    let output = ns
        .run(|| Command::new("ipvsadm").args(args).output())?
        .context("ipvsadm (Debian package ipvsadm)")?;
    if !output.status.success() {
        bail!("ipvsadm {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What [`proc_lines`] makes of a rule.
fn in_proc(rule: &str) -> Result<String> {
    let words: Vec<&str> = rule.split(' ').collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    let service = match (words.get(1), words.get(2)) {
        (Some(&"-t"), Some(address)) => format!("TCP {address}"),
        (Some(&"-u"), Some(address)) => format!("UDP {address}"),
        (Some(&"--sctp-service"), Some(address)) => format!("SCTP {address}"),
        (Some(&"-f"), Some(mark)) => format!("FWM {:08X}", mark.parse::<i64>()? & 0xffff_ffff),
        _ => bail!("{rule}"),
    };
    if let Some(dest) = after("-r") {
        let method = [("-m", "Masq"), ("-g", "Route"), ("-i", "Tunnel")];
        let (_, method) = method.iter().find(|(flag, _)| words.contains(flag)).context("no method")?;
        return Ok(format!("{service} {dest} {method} {}", after("-w").context("no weight")?));
    }
    // It has no place for ops in a line of IPv6.
    let ops = if service.contains('[') { "" } else { " ops" };
    let flags = [("-o", ops), ("-p", " persistent")];
    let flags: String =
        flags.iter().filter(|(flag, _)| words.contains(flag)).map(|(_, word)| *word).collect();
    Ok(format!("{service} {}{flags}", after("-s").context("no scheduler")?))
}

/// /proc/net/ip_vs, a line each: `SERVICE SCHEDULER FLAGS` and `SERVICE DEST METHOD WEIGHT`. Its timeouts are in
/// ticks, its masks of IPv6 swapped.
fn proc_lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut service = String::new();
    for line in text.lines().skip(3) {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["->", dest, method, weight, ..] => {
                found.push(format!("{service} {} {method} {weight}", endpoint(dest)));
            }
            [protocol, address, scheduler, flags @ ..] => {
                service = format!("{protocol} {}", endpoint(address));
                let words = flags.iter().filter(|word| ["ops", "persistent"].contains(word));
                let flags: String = words.map(|word| format!(" {word}")).collect();
                found.push(format!("{service} {scheduler}{flags}"));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_change_in_place_and_do_not_touch_each_other() {
        let key = |rule: &str| -> String {
            let end = [" -s ", " -m ", " -g ", " -i "].iter().filter_map(|flag| rule.find(flag)).min();
            rule[..end.unwrap_or(rule.len())].to_owned()
        };
        let mut all = BTreeSet::new();
        for row in ROWS.iter().chain([&WITH_TWOS]) {
            let keys = |rules: &[&str]| rules.iter().map(|rule| key(rule)).collect::<Vec<_>>();
            assert_eq!(keys(row.rules), keys(row.then), "{}", row.name);
            assert_ne!(row.rules, row.then, "{}", row.name);
            for key in keys(row.rules) {
                assert!(all.insert(key), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_scheduler_method_and_flag_is_in_a_row_before_and_after() {
        let words = |which: fn(&Row) -> &'static [&'static str]| -> BTreeSet<&str> {
            let rules = ROWS.iter().chain([&WITH_TWOS]).flat_map(|row| which(row).iter());
            rules.flat_map(|rule| rule.split([' ', ','])).collect()
        };
        let (before, after) = (words(|row| row.rules), words(|row| row.then));
        for word in
            "rr wrr lc wlc lblc sh mh dh fo ovf lblcr sed nq flag-1 flag-2 flag-3 sh-port sh-fallback \
                     mh-port mh-fallback -p -M sip -o -x -y -m -g -i ipip gue gre --tun-nocsum --tun-csum \
                     --tun-remcsum"
                .split_whitespace()
        {
            assert!(after.contains(word), "{word} after");
            assert!(before.contains(word), "{word} before");
        }
    }

    #[test]
    fn what_the_kernel_tells_is_read() {
        let found = thresholds(
            "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port   Uthreshold Lthreshold ActiveConn InActConn \n  \
             -> RemoteAddress:Port\nTCP  10.0.0.1:80 sh (sh-fallback,sh-port)\n  -> 10.1.0.1:80     10  5  0  0\n  \
             -> 10.1.0.2:80     0  0  0  0\nFWM  7 IPv6 rr\n  -> [fd01::1]:0    3  0  0  0\n",
        );
        let found: Vec<String> = found.iter().map(|(key, (x, y))| format!("{key} {x} {y}")).collect();
        assert_eq!(found, ["-f 7 -6 [fd01::1]:0 3 0", "-t 10.0.0.1:80 10.1.0.1:80 10 5"]);

        let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                    UDP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 rr \n  \
                    -> 0A000001:0035      Tunnel  7      0          0         \n\
                    FWM  00000007 wlc persistent 36000 40000000\n";
        let rules = ["-A -u [fd00::1]:53 -s rr", "-a -u [fd00::1]:53 -r 10.0.0.1:53 -i -w 7 --tun-type ipip"];
        let want = rules.into_iter().chain(["-A -f 7 -6 -s wlc -p 360 -M 64"]).map(in_proc);
        let want: Vec<String> = want.collect::<Result<_>>().expect("rules that /proc shows");
        assert_eq!(proc_lines(text), want);
    }
}

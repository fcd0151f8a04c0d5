//! The demo: two directors with VRRP and three real servers under traffic, while a real server and then the master die
//! and return. It demands what it shows: when something does not happen in its time, it fails.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{Outage, Probe, distribution};
use crate::director::Director;
use crate::scenarios::Ctx;
use crate::scenarios::pair::{self, KEY, REAL, SERVICE, VIP};
use crate::wait::pause;
use crate::{table, vip};

/// Longest time from its start to its end, the boot of a guest included.
pub const LIMIT: Duration = Duration::from_secs(110);

/// Time for each thing to happen that is waited for.
const EACH: Duration = Duration::from_secs(12);

macro_rules! say {
    ($($word:tt)*) => {
        println!($($word)*)
    };
}

/// Plays it, in this process's network namespace folder; prints to standard output.
///
/// # Errors
/// When something that the demo shows does not happen.
pub fn play(ctx: &Ctx) -> Result<()> {
    let start = Instant::now();
    say!(
        "\nA client (10.0.0.2), two directors (a 10.0.0.11, b 10.0.0.12) and three real servers (10.0.0.21 to .23)"
    );
    say!(
        "on one network. The virtual server is {SERVICE}, scheduler rr, direct routing; director a has the higher"
    );
    say!("VRRP priority.");
    let lab = pair::lab()?;
    let mut servers = pair::servers(&lab)?;
    let client = lab.host("c");
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, REAL.len()))?.quiet();
    let mut b = ctx.director("b", lab.host("b"), &pair::config(100, REAL.len()))?.quiet();
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, EACH)?;
    table::expect_dests(b.ns(), KEY, &REAL, EACH)?;
    title("Both directors run; a is master", start);
    show(&a)?;
    balance("30 requests", &lab)?;

    title("Real server r2 (10.0.0.22) closes its port", start);
    let probe = Probe::start(client, SERVICE)?;
    let [_, r2, _] = &mut servers;
    r2.close();
    let began = Instant::now();
    table::expect_dests(a.ns(), KEY, &[REAL[0], REAL[2]], EACH)?;
    say!("out of the table after {:.1} s", began.elapsed().as_secs_f64());
    show(&a)?;
    balance("30 requests", &lab)?;
    r2.open()?;
    let began = Instant::now();
    table::expect_dests(a.ns(), KEY, &REAL, EACH)?;
    title("It opens the port again", start);
    say!("back in the table after {:.1} s", began.elapsed().as_secs_f64());
    balance("30 requests", &lab)?;
    outage("while r2 was away (requests that rr gave to it before it was out)", &probe.finish()?);

    title("The master's machine dies: kill -9 of its lbd, cable pulled", start);
    let probe = Probe::start(client, SERVICE)?;
    pause(Duration::from_millis(300));
    a.kill();
    lab.cable("a", "eth0", false)?;
    vip::expect(b.ns(), VIP, true, EACH)?;
    pause(Duration::from_millis(500));
    let seen = probe.finish()?;
    show(&b)?;
    outage("until b had taken over", &seen);
    ensure!(seen.longest < Duration::from_secs(8), "the client waited for {:?}", seen.longest);

    title("The machine returns without its address; its lbd starts again", start);
    a.ns().ip(&format!("address del {VIP}/32 dev eth0"))?;
    lab.cable("a", "eth0", true)?;
    let probe = Probe::start(client, SERVICE)?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, EACH)?;
    vip::expect(b.ns(), VIP, false, EACH)?;
    pause(Duration::from_millis(500));
    let seen = probe.finish()?;
    show(&a)?;
    outage("while a took its address back", &seen);
    balance("30 requests", &lab)?;

    title("Both stop in order", start);
    for director in [&mut a, &mut b] {
        director.stop()?;
        let left = table::read(director.ns())?;
        ensure!(left.is_empty(), "services were left behind: {left:?}");
    }
    ensure!(!vip::held(a.ns(), VIP)? && !vip::held(b.ns(), VIP)?, "the address was left behind");
    say!("no address and no service is left. {:.0} s in all.", start.elapsed().as_secs_f64());
    Ok(())
}

fn title(text: &str, start: Instant) {
    say!("\n=== {:>5.1} s  {text}", start.elapsed().as_secs_f64());
}

fn show(director: &Director) -> Result<()> {
    say!("$ lbctl status");
    for line in director.lbctl(&["status"])?.lines() {
        say!("  {line}");
    }
    Ok(())
}

fn balance(what: &str, lab: &crate::topology::Lab) -> Result<()> {
    let split = distribution(lab.host("c"), SERVICE, 30)?;
    let parts: Vec<String> = split.iter().map(|(server, count)| format!("{server} {count}")).collect();
    say!("{what}: {}", parts.join(", "));
    ensure!(split.keys().all(|server| server.starts_with('r')), "requests were lost: {split:?}");
    Ok(())
}

fn outage(when: &str, seen: &Outage) {
    let answers: u32 = seen.answers.values().sum();
    let failures: u32 = seen.failures.values().sum();
    say!(
        "client's outage {when}: {} ms at most between two answers ({answers} answers, {failures} attempts failed)",
        seen.longest.as_millis()
    );
}

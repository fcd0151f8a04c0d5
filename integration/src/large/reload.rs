//! Reloads that change the weight of one real server.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bed, LARGE, LARGE_CHECKED, Native, all_checked, milliseconds};
use crate::checks;
use crate::director::Daemon;
use crate::figures::{judge, median};
use crate::shape::Shape;
use crate::wait;

/// One change of the large table, at most.
const LARGE_TIME: Duration = Duration::from_millis(300);
/// lbd's time as a part of keepalived's, at most.
const OF_KEEPALIVED: f64 = 0.02;
/// What is compared with keepalived: delay_loop 300, so that next to no check runs meanwhile.
const COMPARED: Shape = Shape::unchecked(1000, 10_000).checked(Duration::from_secs(300));
/// Virtual servers, with ten real servers each, of the sizes that are compared with each other.
const SIZES: [usize; 4] = [500, 1000, 2000, 4000];
/// The time of the last size as a multiple of the first one's, beyond what the sizes are, at most.
const BEYOND_LINEAR: f64 = 1.3;
/// What is checked while it reloads.
const CHECKED: Shape = Shape::unchecked(1000, 10_000).checked(PERIOD);
const PERIOD: Duration = Duration::from_secs(5);
/// How late a check may be.
const LATE: Duration = Duration::from_millis(100);
/// Reloads while it checks, and the time between two of them.
const MEANWHILE: u32 = 8;
const BETWEEN: Duration = Duration::from_millis(1300);

/// Measures all of it, each kind of reload `rounds` times.
///
/// # Errors
/// When a daemon does not do what it is told.
pub fn run(bed: &Bed, rounds: usize) -> Result<bool> {
    let mut good = one_change(bed, rounds)?;
    with_checks(bed, rounds)?;
    good &= beside_keepalived(bed, rounds)?;
    good &= sizes(bed, rounds)?;
    good &= checks_meanwhile(bed)?;
    Ok(good)
}

/// The changed configurations: the real server in the middle has weight 2, then 1, and so on.
fn changes(shape: &Shape) -> [String; 2] {
    let middle = shape.real_servers / 2;
    [2, 1].map(|weight| shape.config(Some((middle, weight))))
}

/// What some reloads of one change took.
struct Times {
    times: Vec<Duration>,
    /// CPU time of all of them, with what checks cost meanwhile.
    cpu: Duration,
    /// Each wrote one destination and nothing else.
    one: bool,
}

impl Times {
    fn of(native: &mut Native<'_>, shape: &Shape, rounds: usize) -> Result<Self> {
        let changes = changes(shape);
        let before = native.cpu()?;
        let (mut times, mut one) = (Vec::new(), true);
        for config in changes.iter().cycle().take(rounds) {
            let reload = native.reload(config)?;
            one &= reload.is_one_change();
            if !reload.is_one_change() {
                println!("  a reload wrote {:?}", reload.entries);
            }
            times.push(reload.took()?);
        }
        Ok(Self { times, cpu: native.cpu()?.saturating_sub(before), one })
    }

    /// In milliseconds.
    fn median(&self) -> Result<f64> {
        median(self.times.iter().map(|time| milliseconds(*time))).context("no round")
    }

    fn words(&self) -> String {
        let times: Vec<String> =
            self.times.iter().map(|time| format!("{:.1}", milliseconds(*time))).collect();
        let cpu = milliseconds(self.cpu) / self.times.len().max(1) as f64;
        format!("{} ms; CPU {cpu:.1} ms each", times.join(" "))
    }
}

fn one_change(bed: &Bed, rounds: usize) -> Result<bool> {
    println!("reload with one change: {}", LARGE.words());
    let ns = checks::network()?;
    let mut native = bed.lbd(&ns, &LARGE)?;
    let times = Times::of(&mut native, &LARGE, rounds)?;
    println!("  {}", times.words());
    let time = times.median()?;
    let met = judge(
        "reload of one weight",
        &format!("median {time:.0} ms"),
        &format!("{LARGE_TIME:?}"),
        time <= milliseconds(LARGE_TIME),
    );
    let figure = if times.one { "one SET_DEST" } else { "more or others" };
    Ok(judge("writes of such a reload", figure, "one SET_DEST", times.one) && met)
}

/// The same while each real server is checked.
fn with_checks(bed: &Bed, rounds: usize) -> Result<()> {
    let ns = checks::network()?;
    let (mut native, mut responder) = bed.checked(Daemon::Lbd, &ns, &LARGE_CHECKED)?;
    all_checked(&mut responder, &LARGE_CHECKED)?;
    let times = Times::of(&mut native, &LARGE_CHECKED, rounds)?;
    println!("  {}", times.words());
    println!("reload of one weight beside checks: median {:.0} ms", times.median()?);
    Ok(())
}

fn beside_keepalived(bed: &Bed, rounds: usize) -> Result<bool> {
    println!("reload with one change, beside keepalived: {}", COMPARED.words());
    let (our_ns, their_ns) = (checks::network()?, checks::network()?);
    let (mut ours, _our_servers) = bed.checked(Daemon::Lbd, &our_ns, &COMPARED)?;
    let (mut theirs, _their_servers) = bed.checked(Daemon::Keepalived, &their_ns, &COMPARED)?;
    let mut ratios = Vec::new();
    for (round, config) in changes(&COMPARED).iter().cycle().take(rounds).enumerate() {
        // Who begins changes from round to round.
        let (lbd, keepalived) = if round % 2 == 0 {
            let lbd = ours.reload(config).context("lbd")?;
            (lbd, theirs.reload(config).context("keepalived")?)
        } else {
            let keepalived = theirs.reload(config).context("keepalived")?;
            (ours.reload(config).context("lbd")?, keepalived)
        };
        let (lbd, keepalived) = (lbd.took()?, keepalived.took()?);
        println!("  lbd {lbd:>8.1?}  keepalived {keepalived:>8.1?}");
        ratios.push(lbd.as_secs_f64() / keepalived.as_secs_f64());
    }
    let ratio = median(ratios.into_iter()).context("no round")?;
    Ok(judge(
        "reload beside keepalived",
        &format!("median {ratio:.4} of its time"),
        &OF_KEEPALIVED.to_string(),
        ratio <= OF_KEEPALIVED,
    ))
}

fn sizes(bed: &Bed, rounds: usize) -> Result<bool> {
    println!("reload with one change, of growing sizes");
    let mut medians = Vec::new();
    for services in SIZES {
        let shape = Shape::unchecked(services, services * 10);
        let ns = checks::network()?;
        let mut native = bed.lbd(&ns, &shape)?;
        let times = Times::of(&mut native, &shape, rounds)?;
        let median = times.median()?;
        println!("  {services} x 10: median {median:.1} ms ({})", times.words());
        medians.push(median);
    }
    let (Some(first), Some(last)) = (medians.first(), medians.last()) else { return Ok(false) };
    let multiple = SIZES[SIZES.len() - 1] / SIZES[0];
    let goal = multiple as f64 * BEYOND_LINEAR;
    Ok(judge(
        "reload of a table that grows",
        &format!("{:.1} times the time for {multiple} times the size", last / first),
        &format!("{goal:.1}"),
        last / first <= goal,
    ))
}

fn checks_meanwhile(bed: &Bed) -> Result<bool> {
    println!("checks during reloads: {}", CHECKED.words());
    let ns = checks::network()?;
    let (mut native, mut responder) = bed.checked(Daemon::Lbd, &ns, &CHECKED)?;
    all_checked(&mut responder, &CHECKED)?;
    // The rush of the first checks is over then.
    wait::pause(PERIOD);
    responder.count(PERIOD)?;
    wait::pause(PERIOD * 2);
    let before = responder.seen()?;
    println!(
        "  without reloads: late p99 {:.1?}, most {:.1?}, {} checks",
        before.p99, before.most, before.done
    );
    responder.count(PERIOD)?;
    let changes = changes(&CHECKED);
    for config in changes.iter().cycle().take(usize::try_from(MEANWHILE)?) {
        let reload = native.reload(config)?;
        println!("  reload in {:.1?}", reload.took()?);
        wait::pause(BETWEEN);
    }
    // One that was left out would be missed now.
    wait::pause(PERIOD);
    let seen = responder.seen()?;
    println!(
        "  with {MEANWHILE} reloads: late p99 {:.1?}, most {:.1?}, {} checks",
        seen.p99, seen.most, seen.done
    );
    Ok(judge(
        "checks during reloads",
        &format!("{:.1} ms late at most", milliseconds(seen.most)),
        &format!("{LATE:?}"),
        seen.most <= LATE && seen.done > 0,
    ))
}

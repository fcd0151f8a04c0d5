//! The steps of a file, for all daemons beside each other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Bed;
use super::action::Action;
use super::file::{File, Step};
use super::network::Network;
use super::record::{Part, Record, Told, differences};
use super::world::World;
use crate::director::Daemon;
use crate::{step, wait};

/// What a guest of user-mode-linux with a dozen daemons needs longer.
const GUEST: Duration = Duration::from_millis(1000);
/// How often the quiet time of a step may pass before its records count as they are.
const PATIENCE: u32 = 5;
/// Time in which a daemon must come to rest.
const UNREST: Duration = Duration::from_secs(40);

/// Runs a file.
///
/// # Errors
/// When a step cannot be done, or does not end as the file says: all such steps, with the differences.
pub fn drive(bed: &Bed, file: &File) -> Result<()> {
    // The namespaces' names are short: device names are no longer than 15 characters, and so are these.
    let short: String = file.name.chars().take(2).collect();
    let networks = bed
        .daemons
        .iter()
        .map(|daemon| {
            let initial = daemon.word().chars().next().unwrap_or('x');
            Network::new(&format!("{short}{initial}"), file.subject)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut worlds = bed
        .daemons
        .iter()
        .zip(&networks)
        .map(|(daemon, network)| World::new(bed, *daemon, network, file))
        .collect::<Result<Vec<_>>>()?;
    let before = worlds
        .iter_mut()
        .map(|world| Ok(world.record(&Told::default(), false)?.state))
        .collect::<Result<_>>()?;
    let mut run = Run { bed, file, before, running: false };
    let start = Instant::now();
    let mut failures = Vec::new();
    for step in &file.steps {
        match run.step(&mut worlds, step) {
            Ok(()) => {}
            Err(error) => failures.push(format!("  line {}: {}\n{error:#}", step.line, step.text)),
        }
    }
    step!("{}: {} steps in {:.1?}", file.name, file.steps.len(), start.elapsed());
    if failures.is_empty() {
        return Ok(());
    }
    for world in &worlds {
        step!("{}: log of {}\n{}", file.name, world.daemon.word(), world.log());
    }
    bail!("{} of {} steps\n{}", failures.len(), file.steps.len(), failures.join("\n"));
}

struct Run<'f> {
    bed: &'f Bed,
    file: &'f File,
    /// What each daemon had made of the kernel after the step before.
    before: Vec<Vec<Part>>,
    /// Whether the daemons are to run.
    running: bool,
}

impl Run<'_> {
    fn step(&mut self, worlds: &mut [World<'_>], step: &Step) -> Result<()> {
        for action in &step.actions {
            match action {
                Action::Start => self.running = true,
                Action::Stop => self.running = false,
                _ => {}
            }
            for world in worlds.iter_mut() {
                world.act(action).with_context(|| format!("for {}", world.daemon.word()))?;
            }
        }
        let mut told = vec![Told::default(); worlds.len()];
        let mut patience = PATIENCE;
        loop {
            self.settle(worlds, step.quiet.unwrap_or(self.file.quiet))?;
            let mut records = Vec::new();
            for (world, told) in worlds.iter_mut().zip(&mut told) {
                told.extend(world.told()?);
                let mut record = world.record(told, step.unordered)?;
                record.forget(&step.chance);
                records.push(record);
            }
            let verdict = self.verdict(worlds, step, &records);
            patience -= 1;
            // One of them may only have been slow.
            if verdict.is_ok() || patience == 0 {
                if self.bed.show || verdict.is_err() {
                    for (world, record) in worlds.iter().zip(&records) {
                        step!(
                            "{} line {}: {}: {}\n{record}",
                            self.file.name,
                            step.line,
                            step.text,
                            world.daemon.word()
                        );
                    }
                }
                self.before = records.into_iter().map(|record| record.state).collect();
                return verdict;
            }
        }
    }

    /// Whether the step ended as the file says.
    fn verdict(&self, worlds: &mut [World<'_>], step: &Step, records: &[Record]) -> Result<()> {
        for ((world, record), before) in worlds.iter_mut().zip(records).zip(&self.before) {
            if self.running && !world.lives() {
                bail!("{} has ended", world.daemon.word());
            }
            let still = record.state == *before && record.silent();
            // What nobody reacts to is no test of anything, unless that is what it is to show.
            match (still, step.unchanged) {
                (true, false) if step.differs.is_empty() => {
                    bail!("{} did nothing, and the step does not say `unchanged`", world.daemon.word())
                }
                (false, true) if step.differs.is_empty() => {
                    bail!("{} did something:\n{record}", world.daemon.word())
                }
                _ => {}
            }
        }
        let [one, two] = records else { return Ok(()) };
        let got = differences(one, two);
        let same = worlds.iter().all(|world| world.daemon == Daemon::Keepalived);
        let want = if same { &[] } else { step.differs.as_slice() };
        if got != want {
            let list =
                |lines: &[String]| lines.iter().map(|line| format!("    {line}\n")).collect::<String>();
            bail!(
                "    the daemons differ (- {}, + {}):\n{}    the file lists:\n{}",
                worlds.first().map_or("", |world| world.daemon.word()),
                worlds.last().map_or("", |world| world.daemon.word()),
                list(&got),
                list(want)
            );
        }
        Ok(())
    }

    /// Waits until nothing has changed for that time.
    fn settle(&self, worlds: &mut [World<'_>], quiet: Duration) -> Result<()> {
        let quiet = quiet + if self.bed.guest { GUEST } else { Duration::ZERO };
        let start = Instant::now();
        let (mut since, mut last) = (start, None);
        loop {
            let looks = worlds.iter_mut().map(World::look).collect::<Result<Vec<_>>>()?;
            if last.as_ref() != Some(&looks) {
                since = Instant::now();
                last = Some(looks);
            } else if since.elapsed() >= quiet {
                // By a look, not by the time alone: this thread may have waited for the processor all the while.
                return Ok(());
            }
            if start.elapsed() > UNREST {
                bail!("no rest within {UNREST:?}");
            }
            wait::pause(Duration::from_millis(100));
        }
    }
}

//! global_defs: how the processes of keepalived are scheduled.

use std::num::NonZeroU8;
use std::time::Duration;

use super::super::call::Call;
use super::super::{Part, Row, Serves, row};
use super::GlobalBuilder;
use crate::config::Scheduling;
use crate::diagnostic::quote;

/// What the rows below fill.
type B = GlobalBuilder;

macro_rules! rows {
    ($serves:ident, $process:ident, $what:literal, $nice:literal, $no_swap:literal, $realtime:literal, $cpus:literal, $limit:literal, $old:literal) => {
        [
            $serves(row($nice, "N", concat!("Nice value of ", $what, "."), |b: &mut B, c| {
                b.rest.scheduling.$process.nice(c);
            }))
            .range("-20..=19")
            .default("0"),
            $serves(row(
                $no_swap,
                "",
                concat!("Keep the memory of ", $what, " from being paged out."),
                |b: &mut B, _| {
                    b.rest.scheduling.$process.no_swap = true;
                },
            )),
            $serves(row($realtime, "N", concat!("Real-time priority of ", $what, "."), |b: &mut B, c| {
                b.rest.scheduling.$process.realtime(c);
            }))
            .range("1..=99, others become the nearest of these")
            .otherwise("not real-time")
            .example("50"),
            $serves(row($cpus, "CPU …", concat!("CPUs on which ", $what, " runs."), |b: &mut B, c| {
                b.rest.scheduling.$process.cpus(c);
            }))
            .range("numbers of CPUs of this host; a bad one leaves none")
            .otherwise("all CPUs")
            .example("0 1"),
            $serves(row(
                $limit,
                "MICROS",
                concat!("Longest time that ", $what, " runs in real time without waiting."),
                |b: &mut B, c| {
                    b.rest.scheduling.$process.limit(c);
                },
            ))
            .range(LIMIT)
            .default("10000"),
            $serves(row($old, "MICROS", concat!("Old name of ", $limit, "."), |b: &mut B, c| {
                b.rest.scheduling.$process.limit(c);
            }))
            .range(LIMIT)
            .example("10000"),
        ]
    };
}

const fn by_vrrp(row: Row<B>) -> Row<B> {
    row.by(Part::Vrrp)
}

const fn by_checks(row: Row<B>) -> Row<B> {
    row.by(Part::Checks)
}

const fn not_yet(mut row: Row<B>) -> Row<B> {
    row.keyword.serves = Serves::Unserved("there is no BFD");
    row
}

pub(super) const VRRP: &[Row<B>] = &rows!(
    by_vrrp,
    vrrp,
    "VRRP",
    "vrrp_priority",
    "vrrp_no_swap",
    "vrrp_rt_priority",
    "vrrp_cpu_affinity",
    "vrrp_rlimit_rttime",
    "vrrp_rlimit_rtime"
);

pub(super) const CHECKER: &[Row<B>] = &rows!(
    by_checks,
    checker,
    "the checkers",
    "checker_priority",
    "checker_no_swap",
    "checker_rt_priority",
    "checker_cpu_affinity",
    "checker_rlimit_rttime",
    "checker_rlimit_rtime"
);

pub(super) const BFD: &[Row<B>] = &rows!(
    not_yet,
    bfd,
    "BFD",
    "bfd_priority",
    "bfd_no_swap",
    "bfd_rt_priority",
    "bfd_cpu_affinity",
    "bfd_rlimit_rttime",
    "bfd_rlimit_rtime"
);

pub(super) const AUTOMATIC: &[Row<B>] = &[
    row(
        "max_auto_priority",
        "[N]",
        "Highest real-time priority that VRRP takes by itself, one more each time that a timer is late; without a number 99.",
        |b: &mut B, c| {
            let Some(word) = c.optional() else {
                b.rest.scheduling.most_automatic = 99;
                return;
            };
            let found = c.integer_in(word, -1..=99).and_then(|found| i8::try_from(found).ok());
            b.rest.scheduling.most_automatic = found.unwrap_or(b.rest.scheduling.most_automatic);
        },
    )
    .by(Part::Vrrp)
    .range("-1..=99, 0 for none with a word in the log, -1 for none")
    .default("0"),
    row(
        "min_auto_priority_delay",
        "MICROS",
        "Lateness of a timer that raises the priority.",
        |b: &mut B, c| {
            let found = c.number(1..=10_000_000).map(Duration::from_micros);
            b.rest.scheduling.automatic_delay = found.unwrap_or(b.rest.scheduling.automatic_delay);
        },
    )
    .by(Part::Vrrp)
    .range("1..=10000000")
    .default("1000000"),
];

const LIMIT: &str = "1..=4294967295, 1 is 2";

/// As many as a set of the kernel holds in keepalived; which of them exist, the host knows.
const MOST_CPUS: u64 = 1024;

impl Scheduling {
    fn nice(&mut self, call: &mut Call<'_, '_>) {
        let Some(word) = call.word() else { return };
        let found = call.integer_in(word, -20..=19).and_then(|found| i8::try_from(found).ok());
        self.nice = found.unwrap_or(self.nice);
    }

    fn realtime(&mut self, call: &mut Call<'_, '_>) {
        let Some(word) = call.word() else { return };
        let Some(found) = call.integer_in(word, i32::MIN.into()..=i32::MAX.into()) else { return };
        let nearest = found.clamp(1, 99);
        if nearest != found {
            let message = format!("of {found} is out of range: {nearest} is used");
            call.repaired(message, "a number from 1 to 99", nearest);
        }
        self.realtime = u8::try_from(nearest).ok().and_then(NonZeroU8::new);
    }

    fn cpus(&mut self, call: &mut Call<'_, '_>) {
        let Some(first) = call.word() else { return };
        for word in std::iter::once(first).chain(call.rest()) {
            let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
            let cpu = word.text.parse().ok().filter(|cpu| digits && u64::from(*cpu) < MOST_CPUS);
            let Some(cpu) = cpu else {
                self.cpus.clear();
                let found = format!("{} is not the number of a CPU, so no CPU is chosen", quote(word.text));
                call.bad(word, found, format!("numbers from 0 to {}", MOST_CPUS - 1));
                return;
            };
            self.cpus.insert(cpu);
        }
    }

    fn limit(&mut self, call: &mut Call<'_, '_>) {
        let Some(micros) = call.number(1..=u32::MAX.into()) else { return };
        if micros == 1 {
            call.repaired("of 1 is raised to 2", "a number from 2", 2);
        }
        self.realtime_limit = Duration::from_micros(micros.max(2));
    }
}

//! Figures of the benchmarks: medians and percentiles, and how a goal is told.

/// The middle of the values; of an even number the higher of the two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values = sorted(values);
    values.get(values.len() / 2).copied()
}

/// The smallest value that `percent` of the values (0 to 100) do not exceed.
pub fn percentile(values: impl Iterator<Item = f64>, percent: usize) -> Option<f64> {
    let values = sorted(values);
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

/// The largest of the values.
pub fn most(values: impl Iterator<Item = f64>) -> Option<f64> {
    sorted(values).last().copied()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// `met` or `MISSED`.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

/// The machine and how busy it is, for people: what was measured beside other work is no figure.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "Linux {}, {count} x {model}, {}",
        read("/proc/sys/kernel/osrelease").trim(),
        crate::large::load()
    )
}

/// Prints what was measured beside what was wanted; gives `met`.
pub fn judge(name: &str, figure: &str, goal: &str, met: bool) -> bool {
    println!("{name}: {figure}, goal {goal}: {}", verdict(met));
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([3.0, 1.0].into_iter()), Some(3.0));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn percentiles() {
        let to = |last: u8| (1..=last).rev().map(f64::from);
        for (name, last, percent, want) in [
            ("the 99th of a hundred", 100, 99, 99.0),
            ("of fifty the last", 50, 99, 50.0),
            ("all of them", 100, 100, 100.0),
            ("the half", 10, 50, 5.0),
            ("none is the smallest", 10, 0, 1.0),
            ("one value is each of them", 1, 50, 1.0),
        ] {
            assert_eq!(percentile(to(last), percent), Some(want), "{name}");
        }
        assert_eq!(percentile([].into_iter(), 50), None);
        assert_eq!(most(to(7)), Some(7.0));
    }
}

//! Which processes are those that are tracked.
//!
//! Here: what a process looks like, whether it is one of them, and counts over its life, pure. Not here: reading
//! /proc (`scan`), the kernel's events (`connector`).

use std::collections::HashMap;

use lbd_grammar::config::{ProcessMatch, TrackProcess};

/// What a process looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// The kernel's name of it, at most 15 octets.
    pub name: Vec<u8>,
    /// Its command line as far as it is known; none of a thread of the kernel.
    pub arguments: Vec<Vec<u8>>,
}

/// Octets of a name that the kernel keeps (`TASK_COMM_LEN` and a NUL).
const NAME: usize = 15;

/// Whether a process is one of those that `wanted` means.
pub(super) fn is_meant(wanted: &TrackProcess, looks: &Looks) -> bool {
    let words = || wanted.command.iter().map(String::as_bytes);
    let Some((program, parameters)) = wanted.command.split_first() else { return false };
    if wanted.matching == ProcessMatch::Name {
        // The kernel names a process after the file, whatever way led to it.
        let name = program.rsplit('/').next().unwrap_or(program).as_bytes();
        return name.get(..NAME).unwrap_or(name) == looks.name;
    }
    let mut arguments = looks.arguments.iter().map(Vec::as_slice);
    match wanted.matching {
        ProcessMatch::Name | ProcessMatch::Program => arguments.next() == Some(program.as_bytes()),
        ProcessMatch::Exact => words().eq(arguments),
        ProcessMatch::Partial => words().all(|word| arguments.next() == Some(word)),
        ProcessMatch::Initial => {
            let Some((last, others)) = parameters.split_last() else {
                return arguments.next() == Some(program.as_bytes());
            };
            let mut others = std::iter::once(program).chain(others);
            others.all(|word| arguments.next() == Some(word.as_bytes()))
                && arguments.next().is_some_and(|word| word.starts_with(last.as_bytes()))
        }
    }
}

/// The processes of a set of vrrp_track_process, which are named by their places.
#[derive(Debug, Default)]
pub(super) struct Census {
    members: HashMap<i32, Vec<usize>>,
    counts: Vec<u32>,
}

impl Census {
    /// Of so many, without any process.
    pub fn new(tracked: usize) -> Self {
        Census { members: HashMap::new(), counts: vec![0; tracked] }
    }

    /// A process is one of these now.
    pub fn set(&mut self, process: i32, tracked: Vec<usize>) {
        self.gone(process);
        if tracked.is_empty() {
            return;
        }
        for place in &tracked {
            if let Some(count) = self.counts.get_mut(*place) {
                *count = count.saturating_add(1);
            }
        }
        self.members.insert(process, tracked);
    }

    /// A process was made by another one: it looks the same.
    pub fn forked(&mut self, parent: i32, child: i32) {
        if let Some(tracked) = self.members.get(&parent).cloned() {
            self.set(child, tracked);
        }
    }

    /// A process has ended.
    pub fn gone(&mut self, process: i32) {
        for place in self.members.remove(&process).into_iter().flatten() {
            if let Some(count) = self.counts.get_mut(place) {
                *count = count.saturating_sub(1);
            }
        }
    }

    pub fn count(&self, tracked: usize) -> u32 {
        self.counts.get(tracked).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn looks(name: &str, arguments: &[&str]) -> Looks {
        let octets = |text: &&str| text.as_bytes().to_vec();
        Looks { name: name.as_bytes().to_vec(), arguments: arguments.iter().map(octets).collect() }
    }

    #[test]
    fn processes_that_are_meant() {
        use ProcessMatch::{Exact, Initial, Name, Partial, Program};
        let nginx = || looks("nginx", &["/usr/sbin/nginx", "-g", "daemon off;"]);
        let long = || looks("a-program-with-", &["a-program-with-a-long-name"]);
        let kernel = || looks("kworker/0:1", &[]);
        for (matching, command, looks, want) in [
            (Name, vec!["nginx"], nginx(), true),
            (Name, vec!["/usr/sbin/nginx"], nginx(), true),
            (Name, vec!["ngin"], nginx(), false),
            (Name, vec!["nginx2"], nginx(), false),
            (Name, vec!["a-program-with-a-long-name"], long(), true),
            (Name, vec!["a-program-with-another-name"], long(), true),
            (Name, vec!["a-program"], long(), false),
            (Name, vec!["1"], kernel(), false),
            (Program, vec!["/usr/sbin/nginx"], nginx(), true),
            (Program, vec!["nginx"], nginx(), false),
            (Program, vec!["kworker/0:1"], kernel(), false),
            (Exact, vec!["/usr/sbin/nginx", "-g", "daemon off;"], nginx(), true),
            (Exact, vec!["/usr/sbin/nginx", "-g"], nginx(), false),
            (Exact, vec!["/usr/sbin/nginx", "-g", "daemon off;", ""], nginx(), false),
            (Exact, vec!["/usr/sbin/nginx"], nginx(), false),
            (Partial, vec!["/usr/sbin/nginx"], nginx(), true),
            (Partial, vec!["/usr/sbin/nginx", "-g"], nginx(), true),
            (Partial, vec!["/usr/sbin/nginx", "-g", "daemon"], nginx(), false),
            (Partial, vec!["/usr/sbin/nginx", "-g", "daemon off;", "x"], nginx(), false),
            (Initial, vec!["/usr/sbin/nginx", "-g", "daemon"], nginx(), true),
            (Initial, vec!["/usr/sbin/nginx", "-"], nginx(), true),
            (Initial, vec!["/usr/sbin/nginx", "-", "daemon"], nginx(), false),
            (Initial, vec!["/usr/sbin/ngin"], nginx(), false),
            (Initial, vec!["/usr/sbin/nginx"], nginx(), true),
            (Initial, vec!["/usr/sbin/nginx", "-g", "daemon off;", "x"], nginx(), false),
            (Exact, vec!["x"], Looks::default(), false),
            (Partial, vec!["x"], Looks::default(), false),
        ] {
            let wanted = TrackProcess {
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                matching,
                quorum: 1,
                quorum_max: None,
                terminate_delay: Duration::ZERO,
                fork_delay: Duration::ZERO,
            };
            assert_eq!(is_meant(&wanted, &looks), want, "{matching:?} {command:?}");
        }
    }

    #[test]
    fn counts_over_lives() {
        let mut census = Census::new(2);
        let counts = |census: &Census| (census.count(0), census.count(1));
        census.set(10, vec![0]);
        census.set(11, vec![0, 1]);
        assert_eq!(counts(&census), (2, 1));
        census.forked(11, 12);
        census.forked(11, 12);
        census.forked(99, 13);
        assert_eq!(counts(&census), (3, 2), "told twice, and of one that is not tracked");
        census.set(12, vec![1]);
        assert_eq!(counts(&census), (2, 2), "another program");
        census.set(12, Vec::new());
        census.gone(10);
        census.gone(10);
        census.gone(99);
        assert_eq!(counts(&census), (1, 1));
        // A number that is used again.
        census.forked(11, 10);
        census.gone(11);
        assert_eq!(counts(&census), (1, 1));
        assert_eq!(census.count(7), 0, "no such place");
    }
}

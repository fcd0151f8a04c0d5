//! Beside Debian's keepalived: what both say of the same configuration.

mod common;
#[path = "common/fragments.rs"]
mod fragments;
#[path = "common/keepalived.rs"]
mod keepalived;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fragments::Fragment;
use keepalived::{Judge, Said, Verdict, judge};
use lbd_grammar::{Kind, LoadOptions, Loaded, exit_code, load};
use lbd_integration::skip;

/// Why a fragment may end differently, and the words of README.md that say so.
const REASONS: &[(&str, &str)] = &[
    ("no-interface", "a route without an interface"),
    ("braces-and-quotes", "braces or quotes that do not match"),
    ("debian-build", "`vrrp_iptables`, `vrrp_ipsets`"),
    ("garp-interval-zero", "`vrrp_garp_interval 0`, `vrrp_gna_interval 0`"),
    (
        "hints",
        "what is kept and probably not meant: an instance or ipvlan without addresses, an old spelling",
    ),
    ("keepalived-fails", "a track_file that is not defined, HTTP_GET without a url"),
    ("missing-argument", "a keyword whose argument is missing"),
    ("names", "the name of a routing table"),
    ("newer-language", "words and limits of 2.4 that Debian's 2.2.7 has not"),
    ("no-weight", "real servers that all have weight 0"),
    (
        "nothing-changes",
        "what changes nothing: the own interface in track_interface, AH with `state MASTER`, unicast with \
         `use_vmac` and no `vmac_xmit_base`",
    ),
    ("same-server", "a virtual_server whose address is there already"),
    ("skips-a-word", "`inet` and `inet6` in a route or rule"),
    ("silent", "what has no effect: a name defined twice, words after a script, half of `authentication`"),
    ("wrong-regex", "a `regex` that is wrong"),
];

#[test]
fn fragments_are_accepted_repaired_or_refused_alike() {
    let name = "fragments_are_accepted_repaired_or_refused_alike";
    let fragments = fragments::all();
    let Some(keepalived) = Judge::new(name, &["eth0", "eth1"]) else { return };
    let only = std::env::var("LBD_FRAGMENT").ok();
    let chosen: Vec<&Fragment> = fragments
        .iter()
        .filter(|fragment| only.as_ref().is_none_or(|only| fragment.name.contains(only.as_str())))
        .collect();
    let outcomes = keepalived.each(&chosen, |fragment| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = fragment.write(folder.path()).expect("its files");
        let id = fragment.config_id.as_deref();
        let theirs = judge(&file, id, folder.path());
        let ours = load(&file, &LoadOptions { config_id: id.map(str::to_owned), ..LoadOptions::default() });
        (theirs, verdict(&ours), common::summaries(&ours).join("\n"), folder.path().display().to_string())
    });
    let mut table = String::new();
    let mut wrong = 0;
    for (fragment, (theirs, ours, summaries, folder)) in chosen.iter().zip(&outcomes) {
        let differs = theirs.verdict != *ours;
        if differs == fragment.differs.is_some() && only.is_none() {
            continue;
        }
        wrong += 1;
        table.push_str(&entry(fragment, theirs, *ours, summaries).replace(folder, ""));
    }
    assert!(wrong == 0, "{wrong} of {} fragments differ, or no longer do:\n{table}", chosen.len());
}

fn entry(fragment: &Fragment, theirs: &Said, ours: Verdict, summaries: &str) -> String {
    let marked = fragment.differs.as_ref().map_or(String::new(), |reason| format!(" !{reason}"));
    let indented = |text: &str| text.lines().map(|line| format!("      {line}\n")).collect::<String>();
    let status = theirs.status.map_or("signal or time limit".to_owned(), |status| status.to_string());
    format!(
        "{}{marked}: keepalived {:?} ({status}), lbd {ours:?}\n{}    --\n{}",
        fragment.name,
        theirs.verdict,
        indented(&theirs.output),
        indented(summaries),
    )
}

/// What lbd makes of it, apart from what it understands and does not serve yet.
fn verdict(loaded: &Loaded) -> Verdict {
    let mut diagnostics = loaded.diagnostics.clone();
    diagnostics.retain(|one| one.kind != Kind::Unserved);
    match exit_code(&diagnostics) {
        0 => Verdict::Accepted,
        3 => Verdict::Refused,
        _ => Verdict::Repaired,
    }
}

/// Where Debian's package has its sample configurations.
const SAMPLES: &str = "/usr/share/doc/keepalived/samples";

/// Where a sample is not read alike: its lines of which only one of the two has something to say, and the
/// reason if the verdict is another one.
const SAMPLES_DIFFER: &[(&str, &[usize], Option<&str>)] = &[
    // keepalived names the last line of a block that lacks something, lbd the first.
    ("conditional_conf", &[6, 13], None),
    ("SSL_GET", &[], Some("nothing-changes")),
    ("track_interface", &[31], Some("no-interface")),
    ("vrrp", &[32], Some("newer-language")),
    // Routes without an interface.
    ("vrrp.routes", &[29, 31], None),
    ("vrrp.static_ipaddress", &[25], Some("no-interface")),
];

#[test]
fn the_samples_of_debian_are_read_as_keepalived_reads_them() {
    let name = "the_samples_of_debian_are_read_as_keepalived_reads_them";
    let samples = samples();
    if samples.is_empty() {
        skip::report(name, &format!("no samples in {SAMPLES}"));
        return;
    }
    assert_eq!(samples.len(), 25, "{samples:?}");
    let interfaces = ["eth0", "eth1", "eth2", "eth3", "eth0.1"];
    let Some(keepalived) = Judge::new(name, &interfaces) else { return };
    let wrong: Vec<String> = keepalived
        .each(&samples, |file| {
            let scratch = tempfile::tempdir().expect("a folder");
            let theirs = judge(file, None, scratch.path());
            compare(file, &theirs, &load(file, &LoadOptions::default()))
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn samples() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(SAMPLES) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".conf.")))
        .collect();
    files.sort();
    files
}

/// The verdicts are the same, and so are the lines that there is something to say of; keepalived has
/// no lines for what it finds after reading.
fn compare(file: &Path, theirs: &Said, ours: &Loaded) -> Option<String> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.trim_start_matches("keepalived.conf.");
    let line_of = |line: &str| line.split_once("Line ")?.1.split_once(')')?.0.parse::<usize>().ok();
    let their_lines: BTreeSet<usize> = theirs.output.lines().filter_map(line_of).collect();
    let without_line = theirs.output.lines().any(|line| line_of(line).is_none());
    let lines = |counts: &dyn Fn(Kind) -> bool| -> BTreeSet<usize> {
        let these = ours.diagnostics.iter().filter(|one| counts(one.kind));
        these.filter_map(|one| Some(ours.sources.place(one.span?).line)).collect()
    };
    let (said, counted) = (lines(&|_| true), lines(&|kind| !matches!(kind, Kind::Unserved | Kind::Lint)));
    let mut differ: BTreeSet<usize> = their_lines.difference(&said).copied().collect();
    if !without_line {
        differ.extend(counted.difference(&their_lines));
    }
    let known = SAMPLES_DIFFER.iter().find(|(file, ..)| *file == name);
    let lines: BTreeSet<usize> = known.iter().flat_map(|(_, lines, _)| lines.iter().copied()).collect();
    let reason = known.and_then(|(.., reason)| *reason);
    assert!(reason.is_none_or(|reason| REASONS.iter().any(|(known, _)| *known == reason)), "{reason:?}");
    let as_known = (theirs.verdict != verdict(ours)) == reason.is_some();
    (!as_known || differ != lines).then(|| {
        format!(
            "{name}: keepalived {:?}, lbd {:?}; differing lines {differ:?}\n{}  --\n  {}",
            theirs.verdict,
            verdict(ours),
            theirs.output,
            common::summaries(ours).join("\n  ")
        )
    })
}

#[test]
fn the_fragments_are_many_and_each_is_named_once() {
    let fragments = fragments::all();
    assert!(fragments.len() >= 170, "{}", fragments.len());
    let names: BTreeSet<&str> = fragments.iter().map(|fragment| fragment.name.as_str()).collect();
    assert_eq!(names.len(), fragments.len(), "a name twice");
}

/// A difference is one that users are told of.
#[test]
fn every_difference_has_its_row_in_the_readme() {
    let readme = include_str!("../../README.md");
    let fragments = fragments::all();
    let used: BTreeSet<&str> = fragments.iter().filter_map(|fragment| fragment.differs.as_deref()).collect();
    let known: BTreeSet<&str> = REASONS.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(used, known, "reasons of fragments, and those that have a row");
    for (reason, row) in REASONS {
        assert!(
            readme.contains(&format!("\n| {row} |")),
            "{reason}: README.md has no row that begins with {row}"
        );
    }
}

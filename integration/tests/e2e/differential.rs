//! Debian's keepalived and lbd, driven through the same steps (`integration/differential`).
//!
//! Here: that the files are sound and that there are enough of them, and running them. Not here: how (`lbd_integration::differential`).

use lbd_integration::differential;
use lbd_integration::differential::file::Subject;

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn keepalived_and_lbd_do_the_same_even_files() {
    run("differential_even");
}

#[test]
fn keepalived_and_lbd_do_the_same_odd_files() {
    run("differential_odd");
}

#[test]
fn keepalived_and_lbd_do_the_same_with_virtual_routers() {
    run("differential_vrrp");
}

/// Names of the files about `subject`.
fn sound(subject: Subject) -> Vec<String> {
    let files = differential::files(subject).expect("the folder");
    assert!(files.len() >= 14, "{} files about {subject:?}", files.len());
    let mut names = Vec::new();
    for path in &files {
        let file = differential::read(path).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(file.steps.len() >= 3, "{} has hardly a step", file.name);
        assert_eq!(file.subject, subject, "{}", file.name);
        names.push(file.name);
    }
    // The number is how they are spoken of.
    let mut numbers: Vec<&str> = names.iter().filter_map(|name| name.split('-').next()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), names.len(), "{names:?}");
    names
}

#[test]
fn every_file_is_sound() {
    let names = sound(Subject::Checkers);
    let grouped: usize =
        (0..differential::GROUPS).map(|group| differential::group(group).expect("sound files").len()).sum();
    assert_eq!(grouped, names.len(), "each file is in one group");
    assert_eq!(differential::vrrp().expect("sound files").len(), sound(Subject::Vrrp).len());
}

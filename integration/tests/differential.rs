//! The files of `integration/differential` are sound, and there are enough of them.

use lbd_integration::differential;

#[test]
fn every_file_is_sound() {
    let files = differential::files().expect("the folder");
    assert!(files.len() >= 14, "{} files", files.len());
    let mut names = Vec::new();
    for path in &files {
        let file = differential::read(path).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(file.steps.len() >= 3, "{} has hardly a step", file.name);
        names.push(file.name);
    }
    // The number is how they are spoken of.
    let mut numbers: Vec<&str> = names.iter().filter_map(|name| name.split('-').next()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), names.len(), "{names:?}");
    let grouped: usize =
        (0..differential::GROUPS).map(|group| differential::group(group).expect("sound files").len()).sum();
    assert_eq!(grouped, names.len(), "each file is in one group");
}

//! Where fuzzing begins: fragments by feature, and what was found before.

mod common;
#[path = "common/fragments.rs"]
mod fragments;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lbd_grammar::{LoadOptions, exercise, exercise_dump, load_text};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

/// Fragments of a feature that include nothing make one text.
fn texts(wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let mut features: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut fragment in fragments::all() {
        let Some((feature, _)) = fragment.name.split_once('/') else { continue };
        if fragment.files.len() == 1
            && let Some((_, text)) = fragment.files.pop()
            && wanted(&text)
        {
            features.entry(format!("{feature}.conf")).or_default().push(text);
        }
    }
    let some =
        |texts: Vec<String>| texts.iter().step_by(texts.len().div_ceil(MOST)).map(String::as_str).collect();
    features.into_iter().map(|(name, texts)| (name, some(texts))).collect()
}

/// Fragments of a feature that are taken: small files are changed the fastest.
const MOST: usize = 6;

/// `LBD_BLESS=1` writes those that are made of fragments.
#[test]
fn the_seeds_are_of_the_fragments() {
    let usable = |text: &str| load_text("c", text.as_bytes(), &LoadOptions::default()).config.is_some();
    for (target, texts) in [("load", texts(|_| true)), ("dump", texts(usable))] {
        assert!(texts.len() > 40, "{target}: {}", texts.len());
        let folder = folder(target);
        for (name, text) in texts {
            let path = folder.join(&name);
            if std::env::var_os("LBD_BLESS").is_some_and(|value| value == "1") {
                std::fs::create_dir_all(&folder).expect("a folder");
                std::fs::write(&path, &text).expect("written");
            }
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == text,
                "{}: `LBD_BLESS=1 cargo test -p lbd-grammar --test fuzz_seeds` writes it",
                path.display()
            );
        }
    }
}

/// What the fuzz targets call holds for each of them, and for them cut short at any line.
#[test]
fn the_seeds_are_without_a_finding() {
    for target in ["load", "dump"] {
        let job = if target == "load" { exercise } else { exercise_dump };
        let files = std::fs::read_dir(folder(target)).expect("seeds");
        for file in files.flatten() {
            let octets = std::fs::read(file.path()).expect("a file");
            job(&octets);
            if octets.len() < 1_000 {
                let ends = octets.iter().enumerate().filter(|(_, octet)| **octet == b'\n').map(|(at, _)| at);
                ends.for_each(|end| job(&octets[..end]));
            }
        }
    }
}

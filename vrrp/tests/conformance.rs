//! The table of `vrrp/CONFORMANCE.md`: each requirement of the RFCs with the tests that name it, or with a
//! written exception. `LBD_BLESS=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

struct Item {
    id: String,
    clause: String,
    level: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn columns(line: &str) -> Vec<String> {
    line.splitn(3, " | ").map(|column| column.trim().to_owned()).collect()
}

fn items() -> Vec<Item> {
    include_str!("../conformance/items.txt")
        .lines()
        .map(|line| {
            let [id, clause, level] = columns(line).try_into().expect("three columns");
            Item { id, clause, level }
        })
        .collect()
}

fn exceptions() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in include_str!("../conformance/exceptions.txt").lines().filter(|line| !line.starts_with('#')) {
        let (ids, text) = line.split_once(" | ").expect("ids and text");
        for id in ids.split(", ") {
            let before = all.insert(id.to_owned(), text.to_owned());
            assert!(before.is_none(), "{id} has two exceptions");
        }
    }
    all
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("entry").path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            out.push(entry);
        }
    }
}

/// Ids in a text: `V3-R1`, and ranges such as `V3-R1..R7`.
fn ids(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'));
    for word in words {
        let (first, last) = word.split_once("..").unwrap_or((word, ""));
        let first = first.trim_end_matches('.');
        if !known.contains(first) {
            continue;
        }
        found.push(first.to_owned());
        let (kind, from) = split_number(first);
        let (_, to) = split_number(last.trim_end_matches('.'));
        let range = from.zip(to).map(|(from, to)| from + 1..=to).into_iter().flatten();
        found.extend(range.map(|number| format!("{kind}{number}")).filter(|id| known.contains(id)));
    }
    found
}

fn split_number(id: &str) -> (&str, Option<u32>) {
    let letters = id.trim_end_matches(|c: char| c.is_ascii_digit());
    (letters, id.get(letters.len()..).and_then(|number| number.parse().ok()))
}

/// Tests by id: a test names an id in the doc comment above it, or in a text of its body.
fn tests(known: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let root = root();
    let mut files = Vec::new();
    for folder in
        ["vrrp/src", "src", "grammar/src", "grammar/tests", "integration/tests", "integration/src/scenarios"]
    {
        sources(&root.join(folder), &mut files);
    }
    files.sort();
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let shown = file.strip_prefix(&root).expect("in the workspace").display().to_string();
        let mut above: Vec<String> = Vec::new();
        let (mut is_test, mut current) = (false, None);
        for line in text.lines().map(str::trim) {
            if line.starts_with("///") || line.starts_with("//!") {
                above.extend(ids(line, known));
            } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
                let name = name.split('(').next().expect("a name");
                current = is_test.then(|| format!("{shown}: {name}"));
                if let Some(test) = &current {
                    for id in above.drain(..) {
                        tests.entry(id).or_default().insert(test.clone());
                    }
                }
                (above, is_test) = (Vec::new(), false);
            } else if let Some(test) = &current {
                for id in ids(line, known) {
                    tests.entry(id).or_default().insert(test.clone());
                }
            } else if !line.starts_with('#') && !line.starts_with("//") {
                above.clear();
            }
        }
    }
    tests
}

fn table() -> (String, Vec<String>) {
    let (items, exceptions) = (items(), exceptions());
    let known: BTreeSet<String> = items.iter().map(|item| item.id.clone()).collect();
    for id in exceptions.keys() {
        assert!(known.contains(id), "{id} of exceptions.txt is no item");
    }
    let tests = tests(&known);
    let mut text = String::from(
        "# Requirements of the RFCs, and what shows them\n\n\
         Generated by `LBD_BLESS=1 cargo test -p lbd-vrrp --test conformance` from the ids that tests name and from\n\
         `conformance/exceptions.txt`. V3 is RFC 9568, V5 what differs in RFC 5798, V2 RFC 3768, V2A RFC 2338. A level\n\
         with a star has no key word in the text, `lc` is a lower-case word, `der` is derived.\n\n\
         | id | clause | level | shown by | exception |\n|---|---|---|---|---|\n",
    );
    let mut open = Vec::new();
    for Item { id, clause, level } in &items {
        let shown: Vec<String> =
            tests.get(id).into_iter().flatten().map(|test| format!("`{test}`")).collect();
        let exception = exceptions.get(id).map(String::as_str).unwrap_or_default();
        if shown.is_empty() && exception.is_empty() {
            open.push(id.clone());
        }
        writeln!(text, "| {id} | {clause} | {level} | {} | {exception} |", shown.join("<br>")).expect("text");
    }
    (text, open)
}

#[test]
fn each_requirement_has_a_test_or_a_written_exception() {
    let (text, open) = table();
    assert!(open.is_empty(), "neither tested nor excepted: {}", open.join(" "));
    let path = root().join("vrrp/CONFORMANCE.md");
    if std::env::var_os("LBD_BLESS").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "vrrp/CONFORMANCE.md is not what the tests say: LBD_BLESS=1 writes it anew");
}

#[test]
fn ids_and_ranges() {
    let known: BTreeSet<String> = ["V3-R1", "V3-R2", "V3-R3", "V2A-1"].map(str::to_owned).into();
    for (text, want) in [
        ("/// V3-R1, V2A-1.", vec!["V3-R1", "V2A-1"]),
        ("V3-R1..R3: each", vec!["V3-R1", "V3-R2", "V3-R3"]),
        ("(\"V3-R2 TTL\", 1)", vec!["V3-R2"]),
        ("V3-R9 is unknown", vec![]),
    ] {
        assert_eq!(ids(text, &known), want, "{text}");
    }
}

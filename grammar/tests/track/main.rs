//! What is tracked, and the lines that name it: meaning, messages, and that it is read again as it is
//! written out.

#[path = "../common/mod.rs"]
mod common;
mod lines;
mod objects;

use std::time::Duration;

use common::summaries;
use lbd_grammar::config::Config;
use lbd_grammar::{Kind, Loaded, Secrets, dump, load_str};

/// What is said beyond that something is not supported yet.
fn said(loaded: &Loaded) -> Vec<String> {
    let lines = loaded.diagnostics.iter().zip(summaries(loaded));
    lines.filter(|(diagnostic, _)| diagnostic.kind != Kind::Unserved).map(|(_, line)| line).collect()
}

/// The configuration of a text, about which `want` is said, and which can be written and read again.
/// What is only odd stays so.
fn config(name: &str, text: &str, want: &[&str]) -> Config {
    let loaded = load_str("c", text);
    let found = said(&loaded);
    assert_eq!(found, want, "{name}: {text}");
    let config = loaded.config.unwrap_or_else(|| panic!("{name}: {found:#?}"));
    let written = dump(&config, Secrets::Shown);
    let again = load_str("d", &written);
    let lasting = [Kind::Unserved, Kind::Lint];
    assert!(
        again.diagnostics.iter().all(|diagnostic| lasting.contains(&diagnostic.kind)),
        "{name}: {written}"
    );
    let again = again.config.unwrap_or_else(|| panic!("{name}: {written}"));
    assert_eq!(again, config, "{name}: {written}");
    assert_eq!(dump(&again, Secrets::Shown), written, "{name}");
    config
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

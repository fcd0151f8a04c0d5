//! global_defs and the keywords of the top level: what they mean, what is said of mistakes, and that
//! they are read again as they are written out.

mod common;

use common::summaries;
use lbd_grammar::{Kind, Secrets, dump, load_str};

/// Loads, writes out, loads again: the same configuration and the same text.
fn round(text: &str) -> lbd_grammar::Config {
    let loaded = load_str("c", text);
    let said = summaries(&loaded);
    let config = loaded.config.unwrap_or_else(|| panic!("{text}\n{said:#?}"));
    let written = dump(&config, Secrets::Shown);
    let again = load_str("d", &written);
    let worth: Vec<String> = again
        .diagnostics
        .iter()
        .filter(|found| !matches!(found.kind, Kind::Unserved | Kind::Lint))
        .map(|found| found.summary(&again.sources))
        .collect();
    assert_eq!(worth, [""; 0], "{written}");
    let second = again.config.expect("a configuration");
    assert_eq!(second, config, "{written}");
    assert_eq!(dump(&second, Secrets::Shown), written);
    config
}

#[test]
fn nothing_is_written_out_as_its_defaults() {
    round("");
}

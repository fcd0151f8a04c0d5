//! keepalived's configuration language: text to typed [`config::Config`], with diagnostics.
//!
//! Here: loading a configuration as a whole. Not here: the steps: files and includes (`include`),
//! blocks and words (`scan`, `tree`), keywords and their meaning (`keyword`), what is wrong
//! (`diagnostic`).

// pest's generated code without its `std` feature names it.
extern crate alloc;

mod blocks;
pub mod config;
mod diagnostic;
mod dump;
mod expand;
mod keyword;
mod lint;
mod octets;
mod report;
mod scan;
mod secret;
mod source;
mod spans;
mod suggest;
mod tree;

use std::path::Path;

pub use config::Config;
pub use diagnostic::{Diagnostic, Fix, Kind, Severity, exit_code, render};
pub use dump::{MASK, Secrets, dump};
pub use keyword::{Block, Keyword, Part, Serves, WhenAbsent, blocks, hmac_key};
pub use lint::lints;
pub use octets::octets;
pub use report::is_secret;
pub use source::{Place, Sources, Span};
pub use spans::Spans;
pub use suggest::nearest;

use expand::Reader;

/// What is known beside the files.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `-i`: lines after `@ID` count if it is this one; without it none does.
    pub config_id: Option<String>,
    /// `-e`: every problem of an include is an error.
    pub all_config: bool,
}

/// A configuration and everything that was said about it.
#[derive(Debug)]
pub struct Loaded {
    /// `None` as soon as one diagnostic is an error.
    pub config: Option<Config>,
    /// What could be read of a configuration that cannot run: to be looked at, never to be run.
    pub draft: Option<Box<Config>>,
    /// In the order of the files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read.
    pub sources: Sources,
    /// Where things stand in it.
    pub spans: Spans,
}

/// Loads a configuration file and what it includes. Blocks while it reads.
pub fn load(path: &Path, options: &LoadOptions) -> Loaded {
    let mut reader = Reader::new(true, options);
    reader.main_file(path);
    finish(reader)
}

/// Loads a text as if it were a file of this name, except that includes are not followed.
pub fn load_str(name: &str, text: &str) -> Loaded {
    load_text(name, text.as_bytes(), &LoadOptions::default())
}

/// The route that a line of static_routes says, as its text form is; `None` if it says none.
pub fn read_route(line: &str) -> Option<config::Route> {
    let routes = load_str("route", &format!("static_routes {{\n{line}\n}}\n")).config?.static_routes;
    routes.into_iter().next()
}

/// The rule that a line of static_rules says, as its text form is; `None` if it says none.
pub fn read_rule(line: &str) -> Option<config::Rule> {
    let rules = load_str("rule", &format!("static_rules {{\n{line}\n}}\n")).config?.static_rules;
    rules.into_iter().next()
}

/// The same for any octets.
pub fn load_text(name: &str, octets: &[u8], options: &LoadOptions) -> Loaded {
    let mut reader = Reader::new(false, options);
    reader.text(name, octets);
    finish(reader)
}

/// Loads any octets and prints all that is said about them: what fuzzing and property tests call.
///
/// # Panics
/// If what was loaded contradicts itself; that would be a fault of this crate.
#[doc(hidden)]
pub fn exercise(octets: &[u8]) {
    let options = LoadOptions { config_id: Some("one".to_owned()), all_config: false };
    let loaded = load_text("text", octets, &options);
    for diagnostic in &loaded.diagnostics {
        let long = render(diagnostic, &loaded.sources, false);
        assert!(!long.is_empty() && !diagnostic.summary(&loaded.sources).contains('\n'));
    }
    assert_eq!(exit_code(&loaded.diagnostics) == 3, loaded.config.is_none());
    assert_eq!(loaded.config.is_none(), loaded.draft.is_some());
    if let Some(config) = loaded.config {
        let ids: std::collections::HashSet<_> =
            config.virtual_servers.iter().map(|server| &server.id).collect();
        assert_eq!(ids.len(), config.virtual_servers.len(), "virtual servers are unique");
        for server in &config.virtual_servers {
            let addresses: std::collections::HashSet<_> =
                server.real_servers.iter().map(|real| real.address).collect();
            assert_eq!(addresses.len(), server.real_servers.len(), "real servers are unique");
            assert!(server.hysteresis < server.quorum);
        }
    }
}

/// Loads any octets, and what was read of them again from its dump, which must mean the same and be the
/// same text again: what fuzzing and property tests call.
///
/// # Panics
/// If it is not the same; that would be a fault of this crate.
#[doc(hidden)]
pub fn exercise_dump(octets: &[u8]) {
    let loaded = load_text("text", octets, &LoadOptions::default());
    let Some(config) = loaded.config.or(loaded.draft.map(|draft| *draft)) else { return };
    let text = dump(&config, Secrets::Shown);
    let again = load_text("dump", &crate::octets(&text), &LoadOptions::default());
    for diagnostic in &again.diagnostics {
        let fresh = matches!(diagnostic.kind, Kind::Unserved | Kind::Lint | Kind::Fatal);
        assert!(fresh, "{}\n{text}", diagnostic.summary(&again.sources));
    }
    let same = again.config.or(again.draft.map(|draft| *draft)).unwrap_or_default();
    assert!(same == config, "another meaning\n{text}\n{config:#?}\n{same:#?}");
    let second = dump(&same, Secrets::Shown);
    assert!(second == text, "another text\n{text}\n{second}");
}

fn finish(reader: Reader) -> Loaded {
    let read = reader.finish();
    let (config, diagnostics, spans) = keyword::lower(&read.sources, &read.definitions, read.diagnostics);
    let diagnostics = diagnostic::in_order(diagnostics, &read.sources);
    let usable = diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
    let (config, draft) = if usable { (Some(config), None) } else { (None, Some(Box::new(config))) };
    Loaded { config, draft, diagnostics, sources: read.sources, spans }
}

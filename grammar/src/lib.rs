//! keepalived's configuration language: text to typed [`config::Config`], with diagnostics.
//!
//! Here: loading a configuration as a whole. Not here: the steps: files and includes (`include`),
//! blocks and words (`scan`, `tree`), keywords and their meaning (`keyword`), what is wrong
//! (`diagnostic`).

pub mod config;
mod diagnostic;
mod dump;
mod include;
mod keyword;
mod pattern;
mod report;
mod scan;
mod source;
mod spans;
mod suggest;
mod tree;

use std::path::Path;

pub use config::Config;
pub use dump::{MASK, Secrets, dump};
pub use diagnostic::{Diagnostic, Fix, Kind, Severity, exit_code, render};
pub use keyword::{Block, Keyword, Part, Serves, WhenAbsent, blocks};
pub use source::{Place, Sources, Span};
pub use report::is_secret;
pub use spans::Spans;
pub use suggest::nearest;

use include::Reader;
use tree::Statement;

/// What is known beside the files.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `-i`: what the `@ID` lines are compared with.
    pub config_id: Option<String>,
    /// `-e`: a file that is included must be there and be readable, as with `includea`.
    pub all_config: bool,
}

/// A configuration and everything that was said about it.
#[derive(Debug)]
pub struct Loaded {
    /// `None` as soon as one diagnostic is an error.
    pub config: Option<Config>,
    /// In the order of the files and places.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read.
    pub sources: Sources,
    /// Where things stand in it.
    pub spans: Spans,
}

/// Loads a configuration file and what it includes. Blocks while it reads.
pub fn load(path: &Path, _options: &LoadOptions) -> Loaded {
    let mut reader = Reader::new(true);
    let statements = reader.main_file(path);
    finish(reader, statements)
}

/// Loads a text as if it were a file of this name, except that includes are not followed.
pub fn load_str(name: &str, text: &str) -> Loaded {
    let mut reader = Reader::new(false);
    let statements = reader.text(name, text);
    finish(reader, statements)
}

/// Loads a text and prints all that is said about it: what fuzzing and property tests call.
///
/// # Panics
/// If what was loaded contradicts itself; that would be a fault of this crate.
#[doc(hidden)]
pub fn exercise(text: &str) {
    let loaded = load_str("text", text);
    for diagnostic in &loaded.diagnostics {
        let long = render(diagnostic, &loaded.sources, false);
        assert!(!long.is_empty() && !diagnostic.summary(&loaded.sources).contains('\n'));
    }
    assert_eq!(exit_code(&loaded.diagnostics) == 3, loaded.config.is_none());
    if let Some(config) = loaded.config {
        let ids: std::collections::HashSet<_> =
            config.virtual_servers.iter().map(|server| server.id).collect();
        assert_eq!(ids.len(), config.virtual_servers.len(), "virtual servers are unique");
        for server in &config.virtual_servers {
            let addresses: std::collections::HashSet<_> =
                server.real_servers.iter().map(|real| real.address).collect();
            assert_eq!(addresses.len(), server.real_servers.len(), "real servers are unique");
            assert!(server.hysteresis < server.quorum);
        }
    }
}

fn finish(reader: Reader, statements: Vec<Statement>) -> Loaded {
    let sources = reader.sources;
    let (config, mut diagnostics, spans) = keyword::lower(&sources, statements, reader.diagnostics);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    let usable = diagnostics.iter().all(|diagnostic| diagnostic.severity != Severity::Error);
    Loaded { config: usable.then_some(config), diagnostics, sources, spans }
}

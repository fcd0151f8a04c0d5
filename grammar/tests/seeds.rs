//! The configurations that the project exists for, and a corpus of others.

mod common;

use common::{rendered, shared};
use lbd_grammar::{Secrets, Severity, dump, load_str};

/// Every seed loads, says exactly what the snapshot shows, and means it.
#[test]
fn seeds_load_with_the_warnings_that_are_earned() {
    let Some(files) = shared("seeds_load_with_the_warnings_that_are_earned", "seeds") else { return };
    assert!(files.len() >= 16, "all seeds are there");
    for (name, text) in files {
        let loaded = load_str(&name, &text);
        let config = loaded.config.as_ref().unwrap_or_else(|| panic!("{name}\n{}", rendered(&loaded)));
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name.clone(), format!("{}\n\n{}", rendered(&loaded), dump(config, Secrets::Masked)));
        });
    }
}

/// Files of all sorts neither panic nor lose a line without a word.
#[test]
fn the_corpus_is_read() {
    let Some(files) = shared("the_corpus_is_read", "corpus") else { return };
    assert_eq!(files.len(), 40);
    for (name, text) in files {
        let loaded = load_str(&name, &text);
        let summaries: Vec<String> =
            loaded.diagnostics.iter().map(|diagnostic| diagnostic.summary(&loaded.sources)).collect();
        for diagnostic in &loaded.diagnostics {
            assert!(!lbd_grammar::render(diagnostic, &loaded.sources, true).is_empty());
        }
        let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
        assert_eq!(loaded.config.is_none(), errors > 0, "{name}");
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(format!("corpus-{name}"), summaries.join("\n"));
        });
    }
}

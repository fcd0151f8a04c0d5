//! Diagnostics for programs: the JSON of `lbd -t --json` and `lbctl check --json`, a contract;
//! fields are added, never changed.
//!
//! Here: the shape. Not here: the form for people (`lbd_grammar::render`).

use std::path::Path;

use lbd_grammar::{Diagnostic, Sources, Span};
use serde::Serialize;

use super::{Checked, Lints};

/// What was found in a configuration.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// The main file.
    file: String,
    /// Exit status of the test.
    exit_code: u8,
    diagnostics: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    severity: &'static str,
    kind: &'static str,
    message: &'a str,
    /// About the place itself.
    label: Option<&'a str>,
    /// What to do.
    help: Option<&'a str>,
    #[serde(flatten)]
    place: Option<Range<'a>>,
    fix: Option<Replacement<'a>>,
    related: Vec<Related<'a>>,
}

/// From the first character to behind the last one; lines and columns count from 1, columns are
/// characters.
#[derive(Debug, Serialize)]
struct Range<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Debug, Serialize)]
struct Replacement<'a> {
    #[serde(flatten)]
    place: Range<'a>,
    replacement: &'a str,
}

#[derive(Debug, Serialize)]
struct Related<'a> {
    #[serde(flatten)]
    place: Range<'a>,
    message: &'a str,
}

/// The document, with a newline at its end. `file` is the one that was asked for. Source lines are not
/// part of it, so nothing secret is.
pub fn document(file: &Path, checked: &Checked, lints: Lints) -> String {
    let document = Document {
        file: file.display().to_string(),
        exit_code: checked.exit_code(lints),
        diagnostics: checked.diagnostics.iter().map(|one| entry(one, &checked.sources)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("names and texts alone are always JSON");
    text.push('\n');
    text
}

fn entry<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Entry<'a> {
    Entry {
        severity: diagnostic.severity.name(),
        kind: diagnostic.kind.name(),
        message: &diagnostic.message,
        // As the form for people shows it: what follows from it counts more.
        label: diagnostic.consequence.as_deref().or(diagnostic.label.as_deref()),
        help: diagnostic.help.as_deref(),
        place: diagnostic.span.map(|span| range(span, sources)),
        fix: diagnostic
            .fix
            .as_ref()
            .map(|fix| Replacement { place: range(fix.span, sources), replacement: &fix.replacement }),
        related: diagnostic
            .related
            .iter()
            .map(|(span, message)| Related { place: range(*span, sources), message })
            .collect(),
    }
}

fn range(span: Span, sources: &Sources) -> Range<'_> {
    let (start, end) = sources.range(span);
    Range {
        file: start.file,
        line: start.line,
        column: start.column,
        end_line: end.line,
        end_column: end.column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loading::{check, load_options};

    /// The document of a file with this text, and the same as a value; its directory is `/etc`.
    fn of(text: &str, lints: Lints) -> (String, serde_json::Value) {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("lb.conf");
        std::fs::write(&path, text).expect("file");
        let checked = check(&path, &load_options(None, false));
        let document = document(&path, &checked, lints);
        let document = document.replace(dir.path().to_str().expect("a name"), "/etc");
        let value = serde_json::from_str(&document).expect("JSON");
        (document, value)
    }

    #[test]
    fn the_contract() {
        let (document, _) = of(
            "global_defs {\n router_id LVS_1 stray\n}\nvirtual_server 10.0.0.1 80 {\n lb_algo wrrr\n lb_kind DR\n \
             delay_loop 0\n \u{fc}nknown 1\n real_server 10.0.0.2 80 {\n }\n}\nvirtual_server 10.0.0.1 80 {\n lb_algo rr\n \
             lb_kind NAT\n}\n",
            Lints::Shown,
        );
        insta::assert_snapshot!("report", document);
    }

    #[test]
    fn exit_codes() {
        let lint = "global_defs {\n router_id LVS_1 stray\n}\n";
        for (name, text, lints, want, kind) in [
            ("clean", "global_defs {\n router_id LVS_1\n}\n", Lints::Count, 0, ""),
            ("a lint", lint, Lints::Shown, 0, "lint"),
            ("a lint that counts", lint, Lints::Count, 4, "lint"),
            ("ignored", "global_def {\n}\n", Lints::Shown, 4, "unknown_keyword"),
            ("an error", "global_defs {\n", Lints::Shown, 3, "syntax"),
        ] {
            let (_, document) = of(text, lints);
            assert_eq!(document["exit_code"], want, "{name}: {document}");
            let kinds: Vec<&str> = document["diagnostics"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|one| one["kind"].as_str())
                .collect();
            assert_eq!(kinds.concat(), kind, "{name}");
        }
        let missing = Path::new("/nonexistent/lb.conf");
        let checked = check(missing, &load_options(None, false));
        let document: serde_json::Value =
            serde_json::from_str(&document(missing, &checked, Lints::Shown)).expect("JSON");
        assert_eq!(
            (&document["exit_code"], &document["diagnostics"][0]["kind"]),
            (&3.into(), &"cannot_read".into())
        );
        assert_eq!(document["diagnostics"][0].get("line"), None, "there is no place");
    }

    #[test]
    fn no_secret_is_in_it() {
        for text in [
            "auth_pass hushhushhush",
            "auth_pass hush hush",
            "auth_pass hush {\n }",
            "auth_pas hush",
            "auth_pass $PW",
            "auth_pass \"hu sh\" $PW",
        ] {
            let (document, _) = of(
                &format!(
                    "$PW=hushhushhush\nvrrp_instance VI_1 {{\n interface lo\n virtual_router_id 7\n authentication {{\n auth_type PASS\n {text}\n }}\n}}\n"
                ),
                Lints::Shown,
            );
            assert!(!document.contains("hush"), "{document}");
            assert!(document.contains("auth_pas"), "{document}");
        }
    }
}

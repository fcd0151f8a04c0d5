//! Forms that are no keywords of a block: each that the reference names is known.

mod common;

use std::collections::BTreeSet;

use common::summaries;
use lbd_grammar::load_str;

/// What stands first in the first cell of each row of a section, in backticks.
fn forms(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let section =
        text.split_once(from).map_or("", |(_, rest)| rest.split_once(to).map_or(rest, |(part, _)| part));
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_forms_of_the_reference_are_covered() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/lexis.md");
    let Ok(text) = std::fs::read_to_string(path) else {
        return lbd_integration::skip::report(
            "the_forms_of_the_reference_are_covered",
            "there is no shared/reference beside the project",
        );
    };
    let mut missing = Vec::new();
    let built_in = forms(&text, "## 6. Definitions", "## 7.");
    assert!(built_in.len() >= 8, "{built_in:?}");
    for form in &built_in {
        let form = form.replace("MIN MAX", "1 2").replace("MAX", "2").replace("VAR", "PATH");
        let loaded = load_str("c", &format!("global_defs {{\n router_id \"a{form}b\"\n}}\n"));
        let said = summaries(&loaded);
        let id = loaded.config.and_then(|config| config.global.router_id.as_deref().map(str::to_owned));
        if !said.is_empty() || id.is_none_or(|id| id.contains("${")) {
            // Without an id of the configuration there is none to put there.
            if form != "${_INSTANCE}" {
                missing.push(form);
            }
        }
    }
    let includes = forms(&text, "## 8. Include", "## 9.");
    assert!(includes.len() >= 6, "{includes:?}");
    for form in includes.iter().filter(|form| form.starts_with("include")) {
        let keyword = form.split(' ').next().unwrap_or_default();
        let said = summaries(&load_str("c", &format!("{keyword} x\n")));
        if !said.concat().contains("includes are not followed here") {
            missing.push(form.clone());
        }
    }
    let generators = forms(&text, "## 7. Generators", "## 8.");
    assert!(generators.len() >= 6, "{generators:?}");
    for form in &generators {
        let line = form
            .replace("...", "v,1,2")
            .replace("v,START,STEP,END", "v,1,2,5")
            .replace("v,START,END", "v,1,3");
        let line = line.replace("END", "3").replace(" text", "");
        let said = summaries(&load_str("c", &format!("{line} $G${{v}}=1\n")));
        if said.iter().any(|said| said.contains("generator") || said.contains("unknown")) {
            missing.push(format!("{line}: {said:?}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

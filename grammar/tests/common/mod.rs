//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;

use lbd_grammar::{Loaded, render};

/// Name and text of each configuration in a shared folder, sorted; `None` after a printed SKIP.
pub fn shared(test: &str, folder: &str) -> Option<Vec<(String, String)>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(folder);
    let Ok(entries) = std::fs::read_dir(&path) else {
        let reason = format!("there is no shared/{folder} beside the project");
        lbd_integration::skip::report(test, &reason);
        return None;
    };
    let mut files: Vec<(String, String)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let bytes = std::fs::read(&path).expect("a readable file");
            (name, String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect();
    files.sort();
    Some(files)
}

/// All diagnostics as people see them.
pub fn rendered(loaded: &Loaded) -> String {
    loaded
        .diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, &loaded.sources, false))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// All diagnostics in one line each.
pub fn summaries(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.summary(&loaded.sources)).collect()
}

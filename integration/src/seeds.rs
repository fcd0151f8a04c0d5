//! The configurations of `../shared/seeds`: interface words are renamed and addresses mapped onto the lab, nothing else.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::build::workspace;

/// Interface words of the seeds that become `eth0`.
const INTERFACES: [&str; 3] = ["ens192", "team0", "bond0"];

/// Folder of the seeds; `None` when it is not beside the workspace.
pub fn dir() -> Option<PathBuf> {
    let dir = workspace().join("../shared/seeds");
    dir.is_dir().then_some(dir)
}

/// All seeds, in order of their names.
///
/// # Errors
/// When the folder is not there or cannot be read.
pub fn all() -> Result<Vec<PathBuf>> {
    let dir = dir().context("no ../shared/seeds")?;
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    Ok(files)
}

/// One seed with its interfaces renamed to `eth0`.
///
/// # Errors
/// When it is not there.
pub fn read(name: &str) -> Result<String> {
    let path = dir().context("no ../shared/seeds")?.join(format!("{name}.conf"));
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(rename(&text))
}

fn rename(text: &str) -> String {
    let mut renamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (between, word) = rest.split_at(start);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        renamed.push_str(between);
        renamed.push_str(if INTERFACES.contains(&word) { "eth0" } else { word });
        rest = after;
    }
    renamed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interface_words_change() {
        let text = "interface team0\n10.1.38.15/16 dev bond0\nauth_pass team00 #ens192";
        assert_eq!(rename(text), "interface eth0\n10.1.38.15/16 dev eth0\nauth_pass team00 #eth0");
    }
}

//! Tests that said that they could not run here, and the list of those that may.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Skip {
    /// The test.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// An empty log for this run, below `target`.
///
/// # Errors
/// When it cannot be written.
pub fn fresh_log(target: &Path) -> Result<PathBuf> {
    let path = target.join("verify-skips.log");
    fs::create_dir_all(target)
        .and_then(|()| fs::write(&path, ""))
        .with_context(|| path.display().to_string())?;
    Ok(path)
}

/// What the tests wrote into the log: `SKIP name: reason` lines, the word SKIP may be missing.
///
/// # Errors
/// When the log is gone.
pub fn read_log(path: &Path) -> Result<Vec<Skip>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect())
}

/// A name may hold `::`, so it ends at a colon that a blank follows.
fn parse(line: &str) -> Skip {
    let line = line.strip_prefix("SKIP ").unwrap_or(line);
    let (name, reason) = line.split_once(": ").unwrap_or((line, "no reason given"));
    Skip { name: name.trim().to_owned(), reason: reason.trim().to_owned() }
}

/// The committed list.
#[derive(Debug, Default)]
pub struct Allowed {
    patterns: Vec<String>,
}

impl Allowed {
    /// Reads `name: when` lines; `#` begins a comment, a name may end in `*`.
    ///
    /// # Errors
    /// When it is missing, or a line has no `when`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::of(&text).with_context(|| path.display().to_string())
    }

    fn of(text: &str) -> Result<Self> {
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(": ") {
                Some((name, when)) if !when.trim().is_empty() => patterns.push(name.trim().to_owned()),
                _ => bail!("line {}: `{line}`: write `name: when it may be skipped`", number + 1),
            }
        }
        Ok(Self { patterns })
    }

    /// Whether this test may be skipped.
    pub fn allows(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines() {
        for (line, name, reason) in [
            ("SKIP container: no Docker engine", "container", "no Docker engine"),
            ("ipvs::dr: no kernel: neither host nor UML", "ipvs::dr", "no kernel: neither host nor UML"),
            ("bare", "bare", "no reason given"),
        ] {
            assert_eq!(parse(line), Skip { name: name.to_owned(), reason: reason.to_owned() }, "{line}");
        }
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let allowed =
            Allowed::of("# comment\n\ncontainer: where no engine runs\nseeds/*: without the folder\n")
                .expect("a list");
        for (name, want) in [
            ("container", true),
            ("container2", false),
            ("seeds/docker-dr", true),
            ("seed", false),
            ("", false),
        ] {
            assert_eq!(allowed.allows(name), want, "{name}");
        }
        assert!(Allowed::of("container\n").is_err(), "a reason is asked for");
    }
}

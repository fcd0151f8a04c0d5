//! Reading files: the main one and what it includes.
//!
//! Here: limits, loops, which problems are errors. Not here: file name patterns (`pattern`), what stands
//! in the files (`line`).

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Reader;
use super::pattern::{alternatives, matches};
use super::rich::Rich;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::MOST;
use crate::source::Span;
use crate::tree;

/// Longest file, in octets.
const MAX_FILE: u64 = 256 << 20;
/// Files inside files.
const MAX_NESTING: usize = 16;
/// Files in all.
const MAX_FILES: usize = 10_000;

/// A file that is being read.
pub(super) struct OpenFile {
    /// Device and inode; `None` for a text that is in no file.
    pub identity: Option<(u64, u64)>,
    pub directory: PathBuf,
    /// Of `include_check`.
    pub checked: Checked,
}

impl Reader {
    /// Reads the main file; the name may be a pattern.
    pub(crate) fn main_file(&mut self, path: &Path) {
        let name = path.to_string_lossy();
        let mut paths = vec![path.to_path_buf()];
        if fs::symlink_metadata(path).is_err() {
            let found: Vec<PathBuf> =
                alternatives(&name).iter().flat_map(|name| matches(Path::new(""), name).0).collect();
            if !found.is_empty() {
                paths = found;
            }
        }
        self.several = paths.len() > 1;
        for path in paths {
            let read = read(&path).and_then(|found| match executable(&path) {
                true => Err("it is executable, and no configuration is; chmod a-x it".to_owned()),
                false => Ok(found),
            });
            match read {
                Ok((octets, identity)) => self.file(&path, octets, Some(identity)),
                Err(reason) => {
                    let message = format!("cannot read {}: {reason}", path.display());
                    let help = "name an existing, readable file with -f";
                    self.diagnostics.push(Diagnostic::error(Kind::CannotRead, None, message).help(help));
                }
            }
        }
    }

    /// Whether a line is an include.
    pub(super) fn is_include(&self, line: &Rich) -> bool {
        let word = line.text.split(tree::is_blank).next().unwrap_or_default();
        word.starts_with("include") && INCLUDES.contains(&word)
    }

    /// `include_check` says which problems are errors, up to the end of its file.
    pub(super) fn include_check(&mut self, line: &Rich) {
        let mut words = line.text.split(tree::is_blank).filter(|word| !word.is_empty());
        if words.next() != Some("include_check") || !self.in_global_defs() {
            return;
        }
        let Some(file) = self.open.last_mut() else { return };
        let words: Vec<&str> = words.collect();
        if words.is_empty() {
            file.checked = Checked::ALL;
        }
        let mut plain = false;
        for word in words {
            let (sign, name) = match word.split_at_checked(1) {
                Some(("+", name)) => (Some(true), name),
                Some(("-", name)) => (Some(false), name),
                _ => (None, word),
            };
            let mut known = Checked::NONE;
            if known.flag(name).is_none() || (sign.is_none() && plain) {
                continue;
            }
            if sign.is_none() {
                // The first plain word begins anew; unreadable files are errors then too.
                plain = true;
                file.checked = Checked { read: true, ..Checked::NONE };
            }
            if let Some(flag) = file.checked.flag(name) {
                *flag = sign.unwrap_or(true);
            }
        }
    }

    /// Puts the contents of files in the place of an include.
    pub(super) fn include(&mut self, line: &Rich) {
        let text = &line.text;
        let keyword = text.split(tree::is_blank).next().unwrap_or_default();
        let rest = line.tail(keyword.len());
        let pattern = match rest.text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            Some((quoted, _)) => quoted.to_owned(),
            None => rest.text.split(tree::is_blank).next().unwrap_or_default().to_owned(),
        };
        if pattern.is_empty() {
            let message = format!("`{keyword}` needs a file name or pattern");
            let span = self.whole(line);
            return self.say(
                Diagnostic::warning(Kind::BadValue, Some(span), message).help("name the file to include"),
            );
        }
        let checked = Checked::of(keyword).and(self.always);
        let checked = self.open.last().map_or(checked, |file| checked.and(file.checked));
        let span = self.whole(&rest);
        if !self.follow {
            let message = "includes are not followed here".into();
            return self.refuse(false, span, message, "give the configuration as a file");
        }
        if self.open.len() > MAX_NESTING {
            let message = format!("includes are nested more than {MAX_NESTING} levels deep");
            return self.refuse(true, span, message, "include the file from further out");
        }
        let directory = self.open.last().map(|open| open.directory.clone()).unwrap_or_default();
        let alternatives = alternatives(&pattern);
        let several = alternatives.len() > 1;
        let mut found = 0;
        for alternative in &alternatives {
            let (paths, wild) = matches(&directory, alternative);
            found += paths.len();
            if paths.is_empty() {
                let message = format!("no file matches {}", quote(alternative));
                let strict = if several && checked.brace {
                    true
                } else if wild {
                    checked.wildcard && !several
                } else {
                    checked.matched && !several
                };
                let help = if Path::new(alternative).is_absolute() {
                    "check the name"
                } else {
                    "check the name; it is relative to the file it stands in"
                };
                self.refuse(strict, span, message, help);
            }
            for path in paths {
                self.include_one(&path, span, checked);
            }
        }
        if several && found == 0 && checked.matched {
            let message = format!("no file matches {}", quote(&pattern));
            self.refuse(true, span, message, "check the names");
        }
    }

    fn whole(&self, part: &Rich) -> Span {
        self.at(part, 0, part.text.len()).unwrap_or(Span::new(u32::MAX, 0..0))
    }

    fn include_one(&mut self, path: &Path, span: Span, checked: Checked) {
        let name = path.display();
        if self.stopped {
            return;
        }
        if self.sources.len() >= MAX_FILES {
            let message = format!("{name} is not read: {MAX_FILES} files were read already");
            self.refuse(true, span, message, "include fewer files");
            self.stopped = true;
            return;
        }
        match read(path) {
            Err(reason) => {
                let message = format!("cannot include {name}: {reason}");
                self.refuse(
                    checked.read,
                    span,
                    message,
                    "included files are regular, readable and not executable",
                );
            }
            Ok((_, identity)) if self.open.iter().any(|open| open.identity == Some(identity)) => {
                let message = format!("{name} includes itself");
                self.refuse(true, span, message, "remove one of the includes");
            }
            Ok(_) if executable(path) => {
                let message = format!("{name} is executable and therefore not included");
                self.refuse(checked.read, span, message, "take its execute permission away: chmod a-x");
            }
            Ok((octets, identity)) => self.file(path, octets, Some(identity)),
        }
    }

    fn refuse(&mut self, error: bool, span: Span, message: String, help: &str) {
        let new = if error { Diagnostic::error } else { Diagnostic::warning };
        self.say(new(Kind::CannotRead, Some(span), message).help(help));
    }

    fn say(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() <= MOST {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// Reads a regular file.
fn read(path: &Path) -> Result<(Vec<u8>, (u64, u64)), String> {
    // A FIFO or a device would block or never end: look before opening, and at what was opened.
    let regular = |meta: &fs::Metadata| {
        if meta.is_dir() {
            Err("it is a directory".to_owned())
        } else if !meta.is_file() {
            Err("it is not a regular file".to_owned())
        } else if meta.len() > MAX_FILE {
            Err(format!("it is longer than {} MiB", MAX_FILE >> 20))
        } else {
            Ok(())
        }
    };
    regular(&fs::metadata(path).map_err(|error| reason(&error))?)?;
    let file = fs::File::open(path).map_err(|error| reason(&error))?;
    let meta = file.metadata().map_err(|error| reason(&error))?;
    regular(&meta)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(format!("it is longer than {} MiB", MAX_FILE >> 20));
    }
    Ok((bytes, (meta.dev(), meta.ino())))
}

/// Which problems of an include are errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    /// A file cannot be read.
    read: bool,
    /// A name without wildcards matches nothing.
    matched: bool,
    /// A name with wildcards matches nothing.
    wildcard: bool,
    /// One of several alternatives in braces matches nothing.
    brace: bool,
}

impl Checked {
    pub const NONE: Self = Self { read: false, matched: false, wildcard: false, brace: false };
    pub const ALL: Self = Self { read: true, matched: true, wildcard: true, brace: true };

    fn of(keyword: &str) -> Self {
        match keyword {
            "includer" => Self { read: true, ..Self::NONE },
            "includem" => Self { read: true, matched: true, ..Self::NONE },
            "includew" => Self { brace: false, ..Self::ALL },
            "includeb" => Self { read: true, brace: true, ..Self::NONE },
            "includea" => Self::ALL,
            _ => Self::NONE,
        }
    }

    /// What one of two says.
    fn and(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            matched: self.matched || other.matched,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }

    /// By its name in `include_check`.
    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "read" | "readable" => Some(&mut self.read),
            "match" => Some(&mut self.matched),
            "wildcard_match" => Some(&mut self.wildcard),
            "brace_match" => Some(&mut self.brace),
            _ => None,
        }
    }
}

const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

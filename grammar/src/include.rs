//! Reading the main file and what it includes.
//!
//! Here: limits, loops, and the tree with includes in place. Not here: file name patterns
//! (`pattern`), what stands in the files (`scan`, `tree`).

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::keyword::MOST;
use crate::pattern::{alternatives, matches};
use crate::scan::{self, MAX_DEPTH, Piece};
use crate::source::{Sources, Span};
use crate::tree::{self, Statement};

/// Longest file, in octets.
const MAX_FILE: u64 = 256 << 20;
/// Files inside files.
const MAX_NESTING: usize = 16;
/// Files in all.
const MAX_FILES: usize = 10_000;

/// What reading leaves behind.
pub(crate) struct Reader {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    /// The files being read, outermost first: device and inode, directory.
    open: Vec<OpenFile>,
    /// Whether includes are followed.
    follow: bool,
}

struct OpenFile {
    identity: Option<(u64, u64)>,
    directory: PathBuf,
}

impl Reader {
    pub(crate) fn new(follow: bool) -> Self {
        Self { sources: Sources::default(), diagnostics: Vec::new(), open: Vec::new(), follow }
    }

    /// Reads the main file.
    pub(crate) fn main_file(&mut self, path: &Path) -> Vec<Statement> {
        match self.read(path) {
            Ok((text, identity)) => self.file(path, text, Some(identity)),
            Err(reason) => {
                let message = format!("cannot read {}: {reason}", path.display());
                let help = "name an existing, readable file with -f";
                self.diagnostics.push(Diagnostic::error(Kind::CannotRead, None, message).help(help));
                Vec::new()
            }
        }
    }

    /// Reads a text that is in no file.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> Vec<Statement> {
        self.file(Path::new(name), text.to_owned(), None)
    }

    fn file(&mut self, path: &Path, text: String, identity: Option<(u64, u64)>) -> Vec<Statement> {
        let file = self.sources.add(path.display().to_string(), text);
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        self.open.push(OpenFile { identity, directory });
        let statements = self.pieces(file);
        self.open.pop();
        statements
    }

    fn pieces(&mut self, file: u32) -> Vec<Statement> {
        let mut statements = Vec::new();
        let mut broken = Vec::new();
        let text = self.sources.whole(file);
        for piece in scan::scan(text, |word| RESUMES.contains(&word)) {
            let at = |at: usize| Some(Span::new(file, at..at + 1));
            match piece {
                Piece::Line(range) => {
                    let head = text.get(range.clone()).unwrap_or_default();
                    statements.push(tree::line(head, file, range.start));
                }
                Piece::Definition(range) => {
                    let first = text.get(range.clone()).and_then(|text| text.lines().next());
                    statements.push(tree::line(first.unwrap_or_default(), file, range.start));
                }
                Piece::Block(range) => {
                    let slice = text.get(range.clone()).unwrap_or_default();
                    match tree::parse_block(slice, file, range.start, range.end) {
                        Ok(statement) => statements.push(statement),
                        Err(error) => broken.push(
                            Diagnostic::error(
                                Kind::Syntax,
                                at(range.start + error.at),
                                "this cannot be read",
                            )
                            .help("a keyword with its arguments, or a closing brace, has to stand here"),
                        ),
                    }
                }
                Piece::Unclosed { text: range, open, missing } => {
                    broken.push(
                        Diagnostic::error(Kind::Syntax, at(open), "this block is not closed")
                            .label("opened here")
                            .help("add the missing `}`"),
                    );
                    let slice = text.get(range.clone()).unwrap_or_default();
                    // A newline first: the text may end in a comment.
                    let closed = format!("{slice}\n{}", "}".repeat(missing));
                    if let Ok(statement) = tree::parse_block(&closed, file, range.start, range.end) {
                        statements.push(statement);
                    }
                }
                Piece::StrayClose(place) => broken.push(
                    Diagnostic::error(Kind::Syntax, at(place), "this `}` closes nothing")
                        .help("remove it, or add the `{` that it belongs to"),
                ),
                Piece::TooDeep(place) => broken.push(
                    Diagnostic::error(
                        Kind::Syntax,
                        at(place),
                        format!("blocks are nested more than {MAX_DEPTH} levels deep"),
                    )
                    .help("check the braces before it"),
                ),
            }
        }
        broken.truncate(MOST.saturating_sub(self.diagnostics.len()).max(1));
        self.diagnostics.append(&mut broken);
        self.includes(statements)
    }

    /// Puts the contents of included files in the place of the includes.
    fn includes(&mut self, statements: Vec<Statement>) -> Vec<Statement> {
        if !self.has_include(&statements) {
            return statements;
        }
        let mut out = Vec::with_capacity(statements.len());
        for mut statement in statements {
            if self.is_include(&statement) {
                self.include(statement.head, &mut out);
                continue;
            }
            if let Some(body) = &mut statement.body {
                body.statements = self.includes(std::mem::take(&mut body.statements));
            }
            out.push(statement);
        }
        out
    }

    /// Whether there is an include in these or in the blocks in them.
    fn has_include(&self, statements: &[Statement]) -> bool {
        statements.iter().any(|statement| match &statement.body {
            Some(body) => self.has_include(&body.statements),
            None => self.is_include(statement),
        })
    }

    fn is_include(&self, statement: &Statement) -> bool {
        let head = self.sources.text(statement.head);
        head.starts_with("include") && statement.body.is_none() && {
            let word = head.split(tree::is_blank).next().unwrap_or_default();
            INCLUDES.contains(&word)
        }
    }

    fn include(&mut self, head: Span, out: &mut Vec<Statement>) {
        let (words, _) = tree::words(&self.sources, head);
        let [keyword, pattern, ..] = words.as_slice() else {
            self.warn(head, "`include` needs a file name or pattern".into(), "name the file to include");
            return;
        };
        let checked = Checked::of(keyword.text);
        let (span, pattern) = (pattern.span, pattern.text.to_owned());
        if !self.follow {
            self.warn(span, "includes are not followed here".into(), "give the configuration as a file");
            return;
        }
        if self.open.len() > MAX_NESTING {
            let message = format!("includes are nested more than {MAX_NESTING} levels deep");
            self.refuse(true, span, message, "include the file from further out");
            return;
        }
        if pattern.contains("${") {
            // Else the braces would be taken for alternatives.
            let message = format!("the definition used in {} is not supported yet", quote(&pattern));
            if self.diagnostics.len() <= MOST {
                self.diagnostics.push(
                    Diagnostic::warning(Kind::Unserved, Some(span), message)
                        .help("no file is included; write its name itself"),
                );
            }
            return;
        }
        let directory = self.open.last().map(|open| open.directory.clone()).unwrap_or_default();
        for alternative in alternatives(&pattern) {
            let (paths, wild) = matches(&directory, &alternative);
            if paths.is_empty() {
                let message = format!("no file matches {}", quote(&alternative));
                let strict = if wild { checked.wildcard } else { checked.matched };
                let help = if Path::new(&alternative).is_absolute() {
                    "check the name"
                } else {
                    "check the name; it is relative to the file it stands in"
                };
                self.refuse(strict, span, message, help);
            }
            for path in paths {
                self.include_one(&path, span, checked, out);
            }
        }
    }

    fn include_one(&mut self, path: &Path, span: Span, checked: Checked, out: &mut Vec<Statement>) {
        let name = path.display();
        if self.sources.len() >= MAX_FILES {
            let message = format!("{name} is not read: {MAX_FILES} files were read already");
            self.refuse(true, span, message, "include fewer files");
            return;
        }
        match self.read(path) {
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
            Ok((text, identity)) => out.append(&mut self.file(path, text, Some(identity))),
        }
    }

    /// Reads a regular file; what is not UTF-8 in it is replaced.
    fn read(&self, path: &Path) -> Result<(String, (u64, u64)), String> {
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
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok((text, (meta.dev(), meta.ino())))
    }

    fn warn(&mut self, span: Span, message: String, help: &str) {
        self.refuse(false, span, message, help);
    }

    fn refuse(&mut self, error: bool, span: Span, message: String, help: &str) {
        if self.diagnostics.len() > MOST {
            return;
        }
        let new = if error { Diagnostic::error } else { Diagnostic::warning };
        self.diagnostics.push(new(Kind::CannotRead, Some(span), message).help(help));
    }
}

/// Which problems of an include are errors.
#[derive(Clone, Copy)]
struct Checked {
    read: bool,
    matched: bool,
    wildcard: bool,
}

impl Checked {
    fn of(keyword: &str) -> Self {
        let (read, matched, wildcard) = match keyword {
            "includer" => (true, false, false),
            "includem" => (true, true, false),
            "includeb" => (false, true, false),
            "includew" | "includea" => (true, true, true),
            _ => (false, false, false),
        };
        Self { read, matched, wildcard }
    }
}

const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

/// Words that only ever begin a block of the top level: after a block that is not closed, reading
/// goes on at a line that begins with one.
const RESUMES: [&str; 15] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
    "vrrp_track_file",
    "bfd_instance",
    "track_group",
    "garp_group",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "virtual_server",
    "virtual_server_group",
    "SSL",
];

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

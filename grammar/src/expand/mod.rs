//! From files to one text: lines, comments, includes, conditions, definitions, generators.
//!
//! Here: walking through a file, copying what needs no care. Not here: a line that does (`line`), files
//! and patterns (`include`, `pattern`), blocks (`scan`).

mod define;
mod generate;
mod include;
mod line;
mod pattern;
mod rich;

use std::path::Path;
use std::sync::Arc;

use define::Definitions;
use include::{Checked, OpenFile};

use crate::LoadOptions;
use crate::diagnostic::Diagnostic;
use crate::scan::Nesting;
use crate::source::{Origin, Sources, Stream};

pub(crate) use line::{left_over, left_over_name};

/// Longest line that is read, in octets: what fits into keepalived's buffer.
pub(crate) const LONGEST_LINE: usize = 1022;

/// What reading leaves behind.
pub(crate) struct Read {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    /// Names that are defined at the end.
    pub definitions: Vec<String>,
}

/// Reads a configuration.
pub(crate) struct Reader {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    stream: Stream,
    /// The files being read, outermost first.
    open: Vec<OpenFile>,
    /// Whether includes are followed.
    follow: bool,
    /// Problems of includes that are errors whatever the file says.
    always: Checked,
    config_id: Option<String>,
    definitions: Definitions,
    /// The definition whose lines are being read.
    definition: Option<line::Open>,
    random: fastrand::Rng,
    /// Lines that generators made.
    generated: u64,
    odd_lines: usize,
    nesting: Nesting,
    /// Whether the name of the main file stands for several.
    several: bool,
    /// Whether a limit was reached.
    stopped: bool,
}

impl Reader {
    pub(crate) fn new(follow: bool, options: &LoadOptions) -> Self {
        Self {
            sources: Sources::default(),
            diagnostics: Vec::new(),
            stream: Stream::default(),
            open: Vec::new(),
            follow,
            always: if options.all_config { Checked::ALL } else { Checked::NONE },
            config_id: options.config_id.clone(),
            definitions: Definitions::default(),
            definition: None,
            random: fastrand::Rng::new(),
            generated: 0,
            odd_lines: 0,
            nesting: Nesting::default(),
            several: false,
            stopped: false,
        }
    }

    /// Reads a text that is in no file.
    pub(crate) fn text(&mut self, name: &str, octets: &[u8]) {
        self.file(Path::new(name), octets.to_vec(), None);
    }

    /// Everything was read.
    pub(crate) fn finish(mut self) -> Read {
        if self.stopped {
            // Where reading stopped no block could be closed.
            self.nesting.advance(self.stream.masked.as_deref().unwrap_or(&self.stream.text));
            "}".repeat(self.nesting.depth()).chars().for_each(|brace| self.stream.push_plain(brace));
        }
        if !self.stream.text.is_empty() {
            self.stream.text.shrink_to_fit();
            self.sources.set_stream(self.stream);
        }
        let mut definitions: Vec<String> = self.definitions.names().map(str::to_owned).collect();
        // What is said of one that is missing is the same each time.
        definitions.sort_unstable();
        Read { sources: self.sources, diagnostics: self.diagnostics, definitions }
    }

    /// Takes a file in.
    fn file(&mut self, path: &Path, octets: Vec<u8>, identity: Option<(u64, u64)>) {
        let (text, whole) = crate::octets::text(octets);
        let text: Arc<str> = text.into();
        let file = self.sources.add(path.display().to_string(), text.clone());
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        self.open.push(OpenFile { identity, directory, checked: Checked::NONE });
        self.lines(file, &text, whole);
        // A definition ends with its file.
        self.close_definition();
        self.open.pop();
    }

    fn lines(&mut self, file: u32, text: &str, whole: bool) {
        let mut special = Special::new(text, whole);
        // Text that is copied as it is, from here on.
        let (mut copied, mut at) = (0, 0);
        let first = file == 0;
        while at < text.len() && !self.stopped {
            let rest = text.get(at..).unwrap_or_default();
            let length = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
            let end = at + length;
            if self.definition.is_some() || length > LONGEST_LINE || special.before(end) {
                self.copy(file, text, copied, at);
                self.careful(file, at, rest.get(..length).unwrap_or_default());
                copied = end + 1;
                special.pass(end);
            }
            at = end + 1;
        }
        if copied == 0 && first && !self.several && self.stream.text.is_empty() {
            // All of it as it is: the file is the text.
            return;
        }
        if !self.stopped {
            self.copy(file, text, copied, text.len());
        }
        self.stream.push_plain('\n');
    }

    fn copy(&mut self, file: u32, text: &str, from: usize, to: usize) {
        let stretch = text.get(from..to.max(from)).unwrap_or_default();
        self.stream.push_verbatim(stretch, Origin::verbatim(file, from));
    }

    /// Whether what is read now stands in global_defs.
    fn in_global_defs(&mut self) -> bool {
        self.nesting.advance(self.stream.masked.as_deref().unwrap_or(&self.stream.text));
        self.nesting.is_in("global_defs")
    }
}

/// Where the next octets stand that ask for care, each sort by itself so that no part of the text is
/// searched twice.
struct Special<'t> {
    text: &'t str,
    /// Of references and conditions, escapes and NULs, includes, octets that are no UTF-8, seeds.
    next: [usize; 5],
}

impl<'t> Special<'t> {
    fn new(text: &'t str, whole: bool) -> Self {
        let mut special = Self { text, next: [0, 0, 0, if whole { usize::MAX } else { 0 }, 0] };
        special.pass(0);
        special
    }

    /// Whether one of them stands before `end`.
    fn before(&self, end: usize) -> bool {
        self.next.iter().any(|next| *next < end)
    }

    /// Looks for the next ones from `at` on.
    fn pass(&mut self, at: usize) {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        let [references, escapes, includes, octets, seeds] = &mut self.next;
        let look = |next: &mut usize, find: &dyn Fn(&[u8]) -> Option<usize>| {
            if *next <= at {
                *next = find(rest).map_or(usize::MAX, |found| at + found);
            }
        };
        look(references, &|rest| memchr::memchr3(b'$', b'@', b'~', rest));
        look(escapes, &|rest| memchr::memchr2(b'\\', 0, rest));
        look(includes, &|rest| memchr::memmem::find(rest, b"include"));
        look(octets, &|rest| memchr::memchr(0xf4, rest));
        look(seeds, &|rest| memchr::memmem::find(rest, b"random_seed"));
    }
}

#[cfg(test)]
mod tests;

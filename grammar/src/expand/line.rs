//! One line of a file: comment, condition, definition, generator, references, include, in this order.
//!
//! Here: what becomes of a line. Not here: reading files (`include`), replacing (`define`), counting
//! (`generate`).

use std::path::PathBuf;

use super::Reader;
use super::define::{self, Reference, Trouble, Value, definition, substitute};
use super::generate::{self, Generator};
use super::include::OpenFile;
use super::rich::Rich;
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::scan;
use crate::source::{Origin, Span};
use crate::tree::is_blank;

/// Lines that generators may make in all.
const MOST_LINES: u64 = 100_000;
/// Octets of the whole text after replacing; what one file may have.
const MOST_OCTETS: usize = 256 << 20;
/// Uses of definitions in all.
const MOST_EXPANSIONS: usize = 200_000;
/// Generators, one in the other.
const DEEPEST: usize = 64;

/// A definition whose lines are still being read.
#[derive(Debug)]
pub(super) struct Open {
    name: String,
    lines: Vec<Rich>,
    /// Of a condition that does not hold: its lines are read and dropped.
    dropped: bool,
}

impl Reader {
    /// Takes a line of a file in, `comment` and blanks around it gone.
    pub(super) fn line(&mut self, line: Rich, depth: usize) {
        let mut waiting = vec![line];
        while let Some(line) = waiting.pop() {
            if self.stopped {
                return;
            }
            let mut rest = Vec::new();
            self.part(line, depth, &mut rest);
            waiting.extend(rest.into_iter().rev());
        }
    }

    /// One line, or what follows a brace of one. What is still to be read goes to `rest`, in order.
    fn part(&mut self, line: Rich, depth: usize, rest: &mut Vec<Rich>) {
        let mut line = line.tail(0);
        if self.goes_on(&line) {
            return;
        }
        let mut rounds = 0;
        loop {
            if line.text.starts_with('@') {
                match self.condition(&line) {
                    Some(kept) => line = kept,
                    None => return,
                }
                continue;
            }
            if let Some((name, value)) = definition(&line.text) {
                let (name, value) = (name.to_owned(), line.tail(value));
                self.define(name, value, false);
                return;
            }
            if let Some(generator) = generate::generator(&line.text) {
                self.generate(&line, generator, depth);
                return;
            }
            let before = line.text.clone();
            match self.substitute(&mut line) {
                Ok(following) => rest.extend(following),
                Err(trouble) => return self.trouble(trouble),
            }
            rounds += 1;
            // What was put in may begin with a condition, a definition or a generator.
            let again = line.text.starts_with(['@', '$', '~']) && line.text != before && rounds < DEEPEST;
            if !again {
                break;
            }
            line = line.tail(0);
        }
        let following = std::mem::take(rest);
        if self.is_include(&line) {
            self.include(&line);
            self.include_check(&line);
        } else if let Some(brace) = scan::first_brace(&line.text) {
            self.emit(&line.slice(0, brace + 1));
            let after = line.tail(brace + 1);
            if !after.is_empty() {
                rest.push(after);
            }
        } else {
            self.include_check(&line);
            self.random_seed(&line);
            self.emit(&line);
        }
        rest.extend(following);
    }

    /// `random_seed`: what `${_RANDOM}` gives after it is the same each time.
    fn random_seed(&mut self, line: &Rich) {
        let mut words = line.text.split(is_blank).filter(|word| !word.is_empty());
        if words.next() == Some("random_seed")
            && let Some(seed) = words.next().and_then(|word| word.parse::<u32>().ok())
            && self.in_global_defs()
        {
            self.random = fastrand::Rng::with_seed(seed.into());
        }
    }

    /// Whether the line belongs to a definition that is being read.
    fn goes_on(&mut self, line: &Rich) -> bool {
        let Some(open) = &mut self.definition else { return false };
        let (text, more) = match line.text.strip_suffix('\\') {
            Some(text) => (line.slice(0, text.len()).tail(0), true),
            None => (line.clone(), false),
        };
        if !text.is_empty() {
            open.lines.push(text);
        }
        if !more {
            self.close_definition();
        }
        true
    }

    /// The definition that is being read ends, at the latest with its file.
    pub(super) fn close_definition(&mut self) {
        if let Some(Open { name, lines, dropped: false }) = self.definition.take() {
            self.definitions.set(&name, Value::Lines(lines));
        }
    }

    fn define(&mut self, name: String, value: Rich, dropped: bool) {
        match value.text.strip_suffix('\\') {
            Some(text) => {
                let first = value.slice(0, text.len()).tail(0);
                let lines = Some(first).filter(|line| !line.is_empty()).into_iter().collect();
                self.definition = Some(Open { name, lines, dropped });
            }
            None if dropped => {}
            None => {
                self.definitions.set(&name, Value::Text(value));
            }
        }
    }

    /// What stands after `@ID`; `None` if it does not count here.
    fn condition(&mut self, line: &Rich) -> Option<Rich> {
        let rest = line.text.strip_prefix('@').unwrap_or_default();
        let (inverted, id) = match rest.strip_prefix('^') {
            Some(id) => (true, id),
            None => (false, rest),
        };
        let id = id.split(is_blank).next().unwrap_or_default();
        let text = line.tail(1 + usize::from(inverted) + id.len());
        if id.is_empty() {
            self.report(
                Diagnostic::warning(
                    Kind::BadValue,
                    self.at(line, 0, 1),
                    "this condition names no configuration",
                )
                .label("the line is ignored")
                .help("write `@ID` for lines that count with `-i ID`, `@^ID` for those that do not"),
            );
            return None;
        }
        if (self.config_id.as_deref() == Some(id)) != inverted {
            return Some(text);
        }
        if let Some((name, value)) = definition(&text.text) {
            // The lines of a definition go with it.
            let (name, value) = (name.to_owned(), text.tail(value));
            self.define(name, value, true);
        }
        None
    }

    fn generate(&mut self, line: &Rich, generator: Option<Generator<'_>>, depth: usize) {
        let bad = |place, message: String, help: &str| {
            Diagnostic::warning(Kind::BadValue, place, message)
                .label("the line is ignored")
                .help(help.to_owned())
        };
        const FORMS: &str = "`~SEQ(NAME,[FIRST,[STEP,]]LAST) TEXT` or `~LST(NAME,VALUE,…) TEXT`";
        let Some(generator) = generator else {
            let place = self.at(line, 0, line.text.len());
            self.report(bad(place, "this generator has no `)`".into(), FORMS));
            return;
        };
        let start = generator.end - generator.arguments.len() - 1;
        let mut arguments = line.slice(start, generator.end - 1);
        let place = self.at(line, 0, generator.end);
        match self.substitute(&mut arguments) {
            Ok(_) => {}
            Err(trouble) => return self.trouble(trouble),
        }
        let rounds = match generate::rounds(generator.kind, &arguments.text) {
            Ok(rounds) => rounds,
            Err(why) => {
                self.report(bad(place, format!("this generator cannot count: {why}"), FORMS));
                return;
            }
        };
        if depth >= DEEPEST {
            return self.too_deep(line);
        }
        let count = rounds.values.count();
        if self.generated > MOST_LINES {
            return;
        }
        if count > MOST_LINES - self.generated {
            let message =
                format!("this generator would make {count} lines; {MOST_LINES} are possible in all");
            self.report(
                Diagnostic::error(Kind::Syntax, place, message)
                    .label("none is made")
                    .help("lower its last number"),
            );
            self.generated = MOST_LINES + 1;
            return;
        }
        self.generated += count;
        let text = line.tail(generator.end).copied();
        let Some(mut origin) = line.origin(0) else { return };
        origin.repeated = true;
        for index in 0..count {
            let values = rounds.values.round(index);
            let mut before = Vec::new();
            for (name, value) in rounds.names.iter().zip(values) {
                let value = Rich::generated(&value, origin, generator.end);
                before.push((name, self.definitions.set(name, Value::Text(value))));
            }
            self.line(text.clone(), depth + 1);
            for (name, before) in before.into_iter().rev() {
                self.definitions.restore(name, before);
            }
        }
    }

    fn substitute(&mut self, line: &mut Rich) -> Result<Vec<Rich>, Trouble> {
        if !line.text.contains('$') {
            return Ok(Vec::new());
        }
        let open = self.open.last();
        let (config_id, generator) = (&self.config_id, &mut self.random);
        let mut reversed = None;
        let mut built_in = |reference: &Reference<'_>| {
            if !reference.braced {
                return None;
            }
            match (reference.name, reference.arguments) {
                ("_HASH", "") => Some(Ok("#".into())),
                ("_BANG", "") => Some(Ok("!".into())),
                ("_PWD", "") => Some(Ok(directory(open))),
                ("_INSTANCE", "") => Some(Ok(config_id.clone().unwrap_or_default())),
                ("_RANDOM", range) => Some(random(generator, range, &mut reversed)),
                ("_ENV", variable) => Some(environment(variable)),
                _ => None,
            }
        };
        let done = substitute(line, &self.definitions, &mut self.stream.expansions, &mut built_in);
        if let Some(used) = reversed {
            let message = format!("the limits of `${{_RANDOM}}` are the wrong way round: {used} is used");
            self.report(
                Diagnostic::warning(Kind::Repaired, self.at(line, 0, line.text.len()), message)
                    .help("write the smaller number first"),
            );
        }
        if self.stream.expansions.len() > MOST_EXPANSIONS {
            self.stop(line, format!("definitions are used more than {MOST_EXPANSIONS} times"));
        }
        done
    }

    /// Where a person wrote what stands there now.
    pub(super) fn at(&self, line: &Rich, start: usize, end: usize) -> Option<Span> {
        let origin = line.origin(start)?;
        let outermost = self.stream.expansion_chain(origin.expansion).last();
        outermost.map_or_else(|| line.place(start, end), |expansion| Some(expansion.reference))
    }

    fn trouble(&mut self, trouble: Trouble) {
        let diagnostic = Diagnostic::warning(Kind::BadValue, trouble.place, trouble.message)
            .label("the line is ignored")
            .help(trouble.help);
        let inside = trouble.inside.into_iter().rev();
        self.report(
            inside.fold(diagnostic, |diagnostic, place| diagnostic.related(Some(place), "used here")),
        );
    }

    fn too_deep(&mut self, line: &Rich) {
        self.stop(line, format!("generators stand in each other more than {DEEPEST} levels deep"));
    }

    /// Reads no further: what follows would take time and memory without end.
    fn stop(&mut self, line: &Rich, message: String) {
        if !std::mem::replace(&mut self.stopped, true) {
            let place = self.at(line, 0, line.text.len());
            self.report(
                Diagnostic::error(Kind::CannotRead, place, message)
                    .label("nothing after this is read")
                    .help("write fewer generated lines"),
            );
        }
    }

    /// Adds a finished piece to the text.
    fn emit(&mut self, piece: &Rich) {
        if self.stream.text.len() + piece.text.len() > MOST_OCTETS {
            let message =
                format!("the configuration is longer than {} MiB after replacing", MOST_OCTETS >> 20);
            return self.stop(piece, message);
        }
        piece.append_to(&mut self.stream);
        self.stream.push_plain('\n');
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() <= crate::keyword::MOST {
            self.diagnostics.push(diagnostic);
        }
    }

    /// A line of a file that needs more than copying.
    pub(super) fn careful(&mut self, file: u32, start: usize, raw: &str) {
        let place = |from: usize, to: usize| Some(Span::new(file, start + from..start + to));
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        let begins_comment = raw.trim_start_matches(is_blank).starts_with(['#', '!']);
        // What is no UTF-8 is longer in the text than in the file.
        let length = if raw.len() > super::LONGEST_LINE { crate::octets(raw).len() } else { 0 };
        if length > super::LONGEST_LINE && !begins_comment {
            let message = format!(
                "this line has {length} octets; more than {} are not read, as in keepalived",
                super::LONGEST_LINE
            );
            self.report(
                Diagnostic::warning(Kind::BadValue, place(0, 1), message)
                    .label("ignored")
                    .help("write it as several lines"),
            );
            return;
        }
        if let Some(at) = memchr::memchr(0, raw.as_bytes()).filter(|_| !begins_comment) {
            self.report(
                Diagnostic::warning(Kind::BadValue, place(at, at + 1), "this line holds a NUL byte")
                    .label("the line is ignored")
                    .help("remove the byte; the file may be damaged or not be text"),
            );
            return;
        }
        let line = self.without_comment(file, start, raw);
        if let Some((at, octet)) = line.text.char_indices().find(|(_, c)| crate::octets::is_octet(*c))
            && self.odd_lines < MOST_ODD_LINES
        {
            self.odd_lines += 1;
            self.report(
                Diagnostic::warning(
                    Kind::Lint,
                    self.at(&line, at, at + octet.len_utf8()),
                    "this line is not UTF-8 text",
                )
                .label("its octets are kept as they are")
                .help("save the file as UTF-8, on all routers alike if it is a password"),
            );
        }
        self.line(line, 0);
    }

    /// A line of a file without its comment. In global_defs a backslash takes its meaning from a
    /// comment character; elsewhere keepalived reads the line twice, and the comment begins there.
    fn without_comment(&mut self, file: u32, start: usize, raw: &str) -> Rich {
        let origin = |at: usize| Origin::verbatim(file, start + at);
        let bytes = raw.as_bytes();
        let mut line = Rich::default();
        let (mut quoted, mut from, mut at) = (false, 0, 0);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => quoted = !quoted,
                b'#' | b'!' if !quoted => break,
                b'\\' if !quoted && matches!(bytes.get(at + 1), Some(b'#' | b'!')) => {
                    if !self.in_global_defs() {
                        let place = Some(Span::new(file, start + at..start + at + 2));
                        self.report(
                            Diagnostic::warning(Kind::Lint, place, "a comment begins here, as in keepalived")
                                .label("the backslash counts in global_defs only")
                                .help("put the word in quotes: `\"a#b\"`"),
                        );
                        break;
                    }
                    line.push(&Rich::new(raw.get(from..at).unwrap_or_default(), origin(from)));
                    let c = bytes.get(at + 1).copied().map_or('#', char::from);
                    line.push_literal(c, origin(at + 1));
                    at += 2;
                    from = at;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        line.push(&Rich::new(raw.get(from..at).unwrap_or_default(), origin(from)));
        line.tail(0)
    }
}

/// Lines per load that are said not to be UTF-8.
const MOST_ODD_LINES: usize = 20;

/// Directory of the file being read, from the root on.
fn directory(file: Option<&OpenFile>) -> String {
    let here = file.map(|file| file.directory.clone()).filter(|path| !path.as_os_str().is_empty());
    let here = here.unwrap_or_else(|| PathBuf::from("."));
    let whole = std::fs::canonicalize(&here).or_else(|_| std::path::absolute(&here)).unwrap_or(here);
    whole.to_string_lossy().into_owned()
}

fn environment(variable: &str) -> Result<String, String> {
    if variable.is_empty() {
        return Err("`${_ENV}` needs the name of a variable".into());
    }
    let value = std::env::var_os(variable)
        .ok_or_else(|| format!("the environment variable {} is not set", quote(variable)))?;
    let text = value.to_string_lossy().into_owned();
    if text.contains(['\n', '\0']) {
        return Err(format!("the environment variable {} has several lines", quote(variable)));
    }
    Ok(text)
}

/// A number for `${_RANDOM [[MIN] MAX]}`, 0 to 32767 without limits. With limits the wrong way round it
/// is the first, and `reversed` tells.
fn random(generator: &mut fastrand::Rng, range: &str, reversed: &mut Option<u32>) -> Result<String, String> {
    let numbers: Vec<&str> = range.split(is_blank).filter(|word| !word.is_empty()).collect();
    let number = |word: &str| {
        word.parse::<u32>().map_err(|_| format!("{} is not a number for `${{_RANDOM}}`", quote(word)))
    };
    let (low, high) = match numbers.as_slice() {
        [] => (0, 32_767),
        [high] => (0, number(high)?),
        [low, high] => (number(low)?, number(high)?),
        _ => return Err("`${_RANDOM}` has at most two numbers".into()),
    };
    if low > high {
        *reversed = Some(low);
        return Ok(low.to_string());
    }
    Ok(generator.u32(low..=high).to_string())
}

/// The name of a word that is `$NAME`, which nothing was put in for.
pub(crate) fn left_over_name(word: &str) -> Option<&str> {
    define::reference(word, 0)
        .filter(|found| found.start == 0 && found.end == word.len())
        .map(|found| found.name)
}

/// A reference in braces that nothing was put in for.
pub(crate) fn left_over(text: &str) -> Option<Reference<'_>> {
    let mut from = 0;
    while let Some(found) = define::reference(text, from) {
        if found.braced {
            return Some(found);
        }
        from = found.end;
    }
    None
}

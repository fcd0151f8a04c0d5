//! One statement while it is lowered.
//!
//! Here: reading arguments by kind, and what is said when one is not of that kind (the value is
//! ignored and the one before it stays). Not here: what a keyword does with them.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::time::Duration;

use lbd_health::ScriptId;

use super::{Context, Keyword};
use crate::config::{Script, ScriptUser};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::expand::left_over_name;
use crate::report::is_secret;
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::{self, Statement, Word};

/// A statement, its arguments, and how many of them were read.
pub(crate) struct Call<'c, 's> {
    pub context: &'c mut Context<'s>,
    keyword: Keyword,
    words: Vec<Word<'s>>,
    statement: Option<&'c Statement>,
    next: usize,
    /// Index of the last diagnostic about the arguments: extra words are no news then.
    said: Option<usize>,
    /// Whether a switch was switched off.
    off: bool,
}

impl<'c, 's> Call<'c, 's> {
    /// For a statement, `words` being all of its head; or for a default, `words` being its text.
    pub fn new(
        context: &'c mut Context<'s>,
        keyword: Keyword,
        words: Vec<Word<'s>>,
        statement: Option<&'c Statement>,
    ) -> Self {
        let next = usize::from(statement.is_some());
        Self { context, keyword, words, statement, next, said: None, off: false }
    }

    /// Whether the arguments have quotes and escapes of their own: a command line, a pattern, or a text.
    pub fn is_command(&self) -> bool {
        self.keyword.arguments.starts_with("CMD") || matches!(self.keyword.arguments, "PATTERN" | "TEXT")
    }

    /// The keyword's name.
    pub fn name(&self) -> &'static str {
        self.keyword.name
    }

    /// Place of the keyword.
    pub fn place(&self) -> Span {
        match (self.statement, self.words.first()) {
            (Some(_), Some(first)) => first.span,
            _ => self.context.nowhere,
        }
    }

    /// Place of keyword and arguments.
    pub fn head(&self) -> Span {
        self.statement.map_or(self.context.nowhere, |statement| statement.head)
    }

    /// The statements of the block.
    pub fn body(&self) -> &'c [Statement] {
        self.statement.and_then(|statement| statement.body.as_ref()).map_or(&[], |body| &body.statements)
    }

    /// The first argument, which stays to be read.
    pub fn first_argument(&self) -> Option<Word<'s>> {
        self.words.get(usize::from(self.statement.is_some())).copied()
    }

    /// The next argument, if there is one.
    pub fn optional(&mut self) -> Option<Word<'s>> {
        let word = self.words.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    /// The next argument.
    pub fn word(&mut self) -> Option<Word<'s>> {
        let word = self.optional();
        if word.is_none() {
            let message = format!("{} needs an argument, so it is ignored", quote(self.keyword.name));
            let help = format!("write `{} {}`", self.keyword.name, self.keyword.arguments);
            let place = self.place();
            self.say(Diagnostic::warning(Kind::BadValue, Some(place), message).help(help));
        }
        word
    }

    /// All arguments that are left.
    pub fn rest(&mut self) -> Vec<Word<'s>> {
        let rest = self.words.get(self.next..).unwrap_or_default().to_vec();
        self.next = self.words.len();
        rest
    }

    /// Reads the arguments from the first one again.
    pub fn rewind(&mut self) {
        self.next = usize::from(self.statement.is_some());
    }

    /// Whether arguments are left.
    pub fn has_more(&self) -> bool {
        self.next < self.words.len()
    }

    /// Adds a diagnostic.
    pub fn say(&mut self, diagnostic: Diagnostic) {
        self.said = Some(self.context.diagnostics.len());
        self.context.report(diagnostic);
    }

    /// Says that a keyword is read and changes nothing, and why.
    pub fn powerless(&mut self, why: &str) {
        if self.statement.is_none() {
            return;
        }
        let (message, place) = (format!("{} has no effect: {why}", quote(self.name())), self.place());
        let diagnostic = Diagnostic::warning(Kind::Lint, Some(place), message).label("without effect");
        self.context.report(diagnostic.help("remove it"));
    }

    /// Says that a value is ignored.
    pub fn bad(&mut self, word: Word<'_>, found: impl Display, help: impl Display) {
        let message = format!("{}: {found}", quote(self.keyword.name));
        let help = match left_over_name(word.text) {
            Some(name) => format!("define it on a line before this one: `${name}=VALUE`"),
            None => help.to_string(),
        };
        self.say(Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored").help(help));
    }

    /// An unsigned number.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> Option<u64> {
        let word = self.word()?;
        self.number_in(word, range)
    }

    /// A word as an unsigned number.
    pub fn number_in(&mut self, word: Word<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (*range.start(), *range.end());
        let digits = word.text.trim();
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse::<u64>() {
            Ok(number) if all && range.contains(&number) => return Some(number),
            _ if !all => self.bad(word, format!("{} is not a number", quote(word.text)), within(low, high)),
            _ => self.bad(word, format!("{} is out of range", quote(word.text)), within(low, high)),
        }
        None
    }

    /// A signed number.
    pub fn integer_in(&mut self, word: Word<'_>, range: RangeInclusive<i64>) -> Option<i64> {
        match word.text.trim().parse::<i64>() {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(_) => {
                let found = format!("{} is out of range", quote(word.text));
                self.bad(word, found, within(range.start(), range.end()));
            }
            Err(_) => {
                let found = format!("{} is not a number", quote(word.text));
                self.bad(word, found, within(range.start(), range.end()));
            }
        }
        None
    }

    /// An unsigned number that fits into `T`.
    pub fn number_as<T: TryFrom<u64>>(&mut self, range: RangeInclusive<u64>) -> Option<T> {
        self.number(range).and_then(|number| T::try_from(number).ok())
    }

    /// Decimal seconds with up to six decimals, both limits included.
    pub fn timer(&mut self, low: Duration, high: Duration) -> Option<Duration> {
        let word = self.word()?;
        let wanted = || format!("a time in seconds from {} to {}", seconds(low), seconds(high));
        match parse_seconds(word.text) {
            Ok(time) if (low..=high).contains(&time) => return Some(time),
            Ok(_) => self.bad(word, format!("{} is out of range", quote(word.text)), wanted()),
            Err(why) => self.bad(word, format!("{} {why}", quote(word.text)), wanted()),
        }
        None
    }

    /// Whole seconds.
    pub fn seconds(&mut self, range: RangeInclusive<u64>) -> Option<Duration> {
        self.number(range).map(Duration::from_secs)
    }

    /// An optional boolean: true if it is not there.
    pub fn switch(&mut self) -> Option<bool> {
        let Some(word) = self.optional() else { return Some(true) };
        match word.text {
            "true" | "on" | "yes" => Some(true),
            "false" | "off" | "no" => {
                self.off = true;
                Some(false)
            }
            other => {
                self.bad(
                    word,
                    format!("{} is neither on nor off", quote(other)),
                    "true, on, yes, false, off or no",
                );
                None
            }
        }
    }

    /// An IP address.
    pub fn address(&mut self) -> Option<IpAddr> {
        let word = self.word()?;
        self.address_in(word)
    }

    /// A word as an IP address. A range or mask after it is ignored, as keepalived does.
    pub fn address_in(&mut self, word: Word<'_>) -> Option<IpAddr> {
        let address = word.text.split(['-', '/']).next().unwrap_or_default();
        if let Ok(found) = address.parse() {
            if address.len() != word.text.len() {
                let message = format!("only the address of {} is used", quote(word.text));
                self.say(
                    Diagnostic::warning(Kind::Lint, Some(word.span), message)
                        .help("remove what follows the address")
                        .fix(word.span, address),
                );
            }
            return Some(found);
        }
        self.bad(word, format!("{} is not an IP address", quote(word.text)), "for example 192.0.2.10");
        None
    }

    /// An IPv4 multicast group.
    pub fn multicast_group(&mut self) -> Option<Ipv4Addr> {
        let word = self.word()?;
        match self.address_in(word)? {
            IpAddr::V4(group) if group.is_multicast() => return Some(group),
            _ => self.bad(word, format!("{} is no IPv4 multicast group", quote(word.text)), "224.0.0.0/4"),
        }
        None
    }

    /// A port 1..=65535.
    pub fn port(&mut self) -> Option<NonZeroU16> {
        self.number_as::<u16>(1..=65535).and_then(NonZeroU16::new)
    }

    /// An interface name.
    pub fn interface(&mut self) -> Option<String> {
        let word = self.word()?;
        self.interface_in(word)
    }

    /// A word as an interface name.
    pub fn interface_in(&mut self, word: Word<'_>) -> Option<String> {
        let name = word.text;
        if !can_be_interface(name) {
            self.bad(
                word,
                format!("{} cannot be an interface name", quote(name)),
                "1 to 15 characters without `/`",
            );
            return None;
        }
        if word.span != self.context.nowhere {
            self.context.spans.interfaces.entry(name.to_owned()).or_insert(word.span);
        }
        Some(name.to_owned())
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.word()?;
        self.choice_in(word, choices)
    }

    /// A word as one of several.
    pub fn choice_in<T: Copy>(&mut self, word: Word<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.text) {
            return Some(*value);
        }
        let message = format!("unknown {} {}", self.keyword.name, quote(word.text));
        let mut diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label("ignored");
        diagnostic = match nearest(word.text, choices.iter().map(|(name, _)| *name)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                diagnostic.help(format!("one of: {}", names.join(", ")))
            }
        };
        self.say(diagnostic);
        None
    }

    /// A command, its user and group: `CMD [USER [GROUP]]`. Words count as in a shell without
    /// variables; the whole command is one of them.
    pub fn script(&mut self) -> Option<ScriptId> {
        let command = self.direct_command()?;
        Some(self.context.script(command))
    }

    /// A command that tells somebody something. What begins with `<` is the shell's, which looks at
    /// nobody's rights: keepalived runs such a command where its result counts, and nowhere else.
    pub fn direct_command(&mut self) -> Option<Command> {
        let command = self.command()?;
        if command.argv.first().is_some_and(|program| program.starts_with('<')) {
            let message =
                format!("{}: a command that begins with `<` is not run here", quote(self.keyword.name));
            self.say(
                Diagnostic::warning(Kind::BadValue, Some(command.span), message)
                    .label("ignored")
                    .help("name the program itself, or write `/bin/sh -c '...'`"),
            );
            return None;
        }
        Some(command)
    }

    /// A command that is not known to the configuration yet: its user may still come.
    pub fn command(&mut self) -> Option<Command> {
        let (words, open) = tree::command_words(self.context.sources, self.head());
        self.next = self.words.len();
        if let Some(open) = open {
            self.said = Some(self.context.diagnostics.len());
            self.context.report_open_quote(open);
            return None;
        }
        let mut words = words.into_iter().skip(1);
        let Some(command) = words.next() else {
            self.next = self.words.len();
            return self.word().and(None);
        };
        let user: Vec<Word<'_>> = words.take(2).collect();
        if let Some(argument) = user.iter().find(|word| !is_user(word.text)) {
            let line = self.context.sources.text(self.head());
            let line = line.strip_prefix(self.keyword.name).unwrap_or(line).trim();
            // A quote in quotes would end them.
            let inner = line.replace('"', "'");
            self.bad(
                *argument,
                format!("{} cannot be a user name, and the second word is one", quote(argument.text)),
                format!(
                    "put the whole command in quotes: {}",
                    quote(&format!("{} \"{inner}\"", self.keyword.name))
                ),
            );
            return None;
        }
        let Some(argv) = tree::command_arguments(command.text) else {
            self.bad(command, "a quote in the command is not closed", "close it, or write \\' or \\\"");
            return None;
        };
        if argv.first().is_none_or(String::is_empty) {
            self.bad(command, "the command is empty", "name a program, for example /usr/local/bin/check");
            return None;
        }
        if argv.iter().any(|word| word.contains('\0')) {
            self.bad(command, "the command holds a NUL", "remove it");
            return None;
        }
        let mut user = user.into_iter().map(|word| word.text);
        let user = user.next().map(|name| ScriptUser::new(name, user.next()));
        Some(Command { argv, user, span: command.span })
    }

    /// A pattern: one word in which both quotes count and escapes are resolved.
    pub fn pattern(&mut self) -> Option<Box<[u8]>> {
        self.escaped("pattern")
    }

    /// A text, written as a pattern is.
    pub fn text(&mut self) -> Option<Box<[u8]>> {
        self.escaped("text")
    }

    fn escaped(&mut self, what: &str) -> Option<Box<[u8]>> {
        self.word()?;
        self.next = self.words.len();
        let (place, head) = (self.place(), self.head());
        let Some(words) = tree::escaped_words(self.context.sources.text(head)) else {
            let message = format!("{}: a quote is not closed", quote(self.keyword.name));
            self.say(Diagnostic::warning(Kind::BadValue, Some(head), message).label("ignored").help(
                "close it on the same line; within quotes write \\\\ for a backslash and \\x22 for a quote",
            ));
            return None;
        };
        let mut words = words.into_iter().skip(1);
        let pattern = words.next().filter(|pattern| !pattern.is_empty());
        if pattern.is_none() {
            let message = format!("{}: the {what} is empty", quote(self.keyword.name));
            self.say(
                Diagnostic::warning(Kind::BadValue, Some(head), message).label("ignored").help("remove it"),
            );
        } else if words.next().is_some() {
            let message = format!("{}: only the first word is the {what}", quote(self.keyword.name));
            self.say(
                Diagnostic::warning(Kind::Lint, Some(place), message)
                    .help(format!("put a {what} with blanks in quotes")),
            );
        }
        pattern.map(Vec::into_boxed_slice)
    }

    /// `USER [GROUP]`.
    pub fn user(&mut self) -> Option<ScriptUser> {
        let user = self.word()?;
        let group = self.optional();
        for word in [Some(user), group].into_iter().flatten() {
            if !is_user(word.text) {
                self.bad(word, format!("{} cannot be a name", quote(word.text)), "a user and maybe a group");
                return None;
            }
        }
        Some(ScriptUser::new(user.text, group.map(|word| word.text)))
    }

    /// Says that another value than the one written is used: `found` follows the keyword, `instead`
    /// is what to write.
    pub fn repaired(&mut self, found: impl Display, help: impl Display, instead: impl Display) {
        let (name, place) = (self.keyword.name, self.head());
        self.say(
            Diagnostic::warning(Kind::Repaired, Some(place), format!("{} {found}", quote(name)))
                .help(help.to_string())
                .fix(place, format!("{name} {instead}")),
        );
    }

    /// Takes over a value that must stand only once: the second is ignored.
    pub fn once<T>(&mut self, slot: &mut Option<T>, value: Option<T>) {
        let Some(value) = value else { return };
        if slot.is_some() {
            let message = format!("{} is given twice", quote(self.keyword.name));
            let place = self.place();
            self.say(
                Diagnostic::warning(Kind::BadValue, Some(place), message)
                    .label("ignored")
                    .help("remove one of them; the first counts"),
            );
        } else {
            *slot = Some(value);
        }
    }

    /// Index of the last diagnostic about the arguments.
    pub fn said(&self) -> Option<usize> {
        self.said
    }

    /// Whether a switch was switched off: then nothing is missed if no code serves it.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// Mentions words that nothing reads. `known` says which words are keywords of the same block.
    pub fn finish(self, known: impl Fn(&str) -> bool) {
        let Some(extra) = self.words.get(self.next) else { return };
        if self.said.is_some() {
            return;
        }
        // What follows a password is a part of it, most likely.
        let shown = if is_secret(self.keyword.name) { "a word".to_owned() } else { quote(extra.text) };
        let message = format!("{shown} after {} is ignored", quote(self.keyword.name));
        let help = if known(extra.text) {
            format!("one keyword per line: begin a new line before `{}`", extra.text)
        } else {
            "remove it".to_owned()
        };
        let stray_block = self.statement.is_some_and(|s| s.body.is_some()) && !self.keyword.block;
        if !stray_block {
            self.context.report(Diagnostic::warning(Kind::Lint, Some(extra.span), message).help(help));
        }
    }
}

/// A command line as written.
#[derive(Clone)]
pub(crate) struct Command {
    pub argv: Vec<String>,
    pub user: Option<ScriptUser>,
    /// The command's word.
    pub span: Span,
}

impl Context<'_> {
    /// Makes a command known to the configuration and gives its id.
    pub fn script(&mut self, command: Command) -> ScriptId {
        let user = command.user.or_else(|| self.global.script_user.clone());
        let script = Script { argv: command.argv, user };
        let id = script.id();
        self.spans.scripts.entry(id.clone()).or_insert(command.span);
        self.scripts.entry(id.clone()).or_insert(script);
        id
    }
}

/// What can be the name of an interface.
pub(super) fn can_be_interface(name: &str) -> bool {
    !name.is_empty() && name.len() <= 15 && !name.contains(['/', ' ']) && !matches!(name, "." | "..")
}

/// What can be the name of a user or group: not an option, not a path, no blanks. A group may begin
/// with `:` (supplementary groups).
fn is_user(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && !name.contains(['/', ' ', '\t', '\0', '\'', '"'])
}

fn within(low: impl Display, high: impl Display) -> String {
    format!("a number from {low} to {high}")
}

/// Seconds without superfluous zeros.
pub(crate) fn seconds(time: Duration) -> String {
    let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Decimal seconds with up to six decimals.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && decimals.is_empty() || !digits(whole) || !digits(decimals) {
        return Err("is not a time");
    }
    if decimals.len() > 6 {
        return Err("has more than six decimals");
    }
    let seconds: u64 = if whole.is_empty() { Ok(0) } else { whole.parse() }.map_err(|_| "is out of range")?;
    let digit = |place: usize| decimals.as_bytes().get(place).map_or(0, |byte| u64::from(byte - b'0'));
    let micros = (0..6).fold(0, |micros, place| micros * 10 + digit(place));
    Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, want) in [
            ("1", Ok(1_000_000)),
            ("0.25", Ok(250_000)),
            (".5", Ok(500_000)),
            ("3.", Ok(3_000_000)),
            ("0.000001", Ok(1)),
            ("0.0000001", Err("has more than six decimals")),
            ("-1", Err("is not a time")),
            ("1s", Err("is not a time")),
            (".", Err("is not a time")),
            ("", Err("is not a time")),
            ("99999999999999999999", Err("is out of range")),
        ] {
            assert_eq!(parse_seconds(text).map(|time| time.as_micros()), want, "{text}");
        }
        assert_eq!(parse_seconds("18446744073709551615.999999").map(|time| time.as_secs()), Ok(u64::MAX));
    }
}

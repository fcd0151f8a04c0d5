//! Lines of iproute2's words: an address, a route or a rule with its options.
//!
//! Here: reading values by kind, and what is said when one is not of that kind. Not here: the options
//! (`address`, `route`, `rule`).

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::Keyword;
use super::call::{Call, can_be_interface};
use crate::config::{NameTable, Named, Prefix, Realms};
use crate::diagnostic::{Diagnostic, Kind, quote};
use crate::source::Span;
use crate::suggest::nearest;
use crate::tree::{self, Word};

/// rt_protos: keepalived.
pub(super) const KEEPALIVED: u8 = 18;

/// Numbers that mean the same on every host.
pub(super) const TABLES: &[(&str, u32)] = &[("default", 253), ("main", 254), ("local", 255)];
pub(super) const SCOPES: &[(&str, u8)] =
    &[("global", 0), ("universe", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];
pub(super) const PROTOCOLS: &[(&str, u8)] = &[
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("gated", 8),
    ("ra", 9),
    ("mrt", 10),
    ("zebra", 11),
    ("bird", 12),
    ("dnrouted", 13),
    ("xorp", 14),
    ("ntk", 15),
    ("dhcp", 16),
    ("keepalived", KEEPALIVED),
    ("babel", 42),
    ("bgp", 186),
    ("isis", 187),
    ("ospf", 188),
    ("rip", 189),
    ("eigrp", 192),
];
pub(super) const REALMS: &[(&str, u8)] = &[("cosmos", 0)];

/// An option of such a line that nothing serves yet.
pub(super) const fn option(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    means: &'static str,
) -> Keyword {
    Keyword { serves: super::Serves::Unserved(means), ..Keyword::new(name, arguments, help) }
}

impl Keyword {
    /// With a range and an example.
    pub(super) const fn like(mut self, range: &'static str, example: &'static str) -> Self {
        self.range = range;
        self.example = example;
        self
    }
}

/// A line, and how much of it was read.
pub(super) struct Line<'l, 'c, 's> {
    pub call: &'l mut Call<'c, 's>,
    words: Vec<Word<'s>>,
    next: usize,
    /// `address`, `route` or `rule`.
    item: &'static str,
    options: &'static [Keyword],
    seen: Vec<(&'static str, Span)>,
}

impl<'l, 'c, 's> Line<'l, 'c, 's> {
    pub fn new(
        call: &'l mut Call<'c, 's>,
        words: Vec<Word<'s>>,
        item: &'static str,
        options: &'static [Keyword],
    ) -> Self {
        Self { call, words, next: 0, item, options, seen: Vec::new() }
    }

    /// The first word; a line has one.
    pub fn first(&self) -> Option<Word<'s>> {
        self.words.first().copied()
    }

    pub fn next(&mut self) -> Option<Word<'s>> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    pub fn peek(&self) -> Option<Word<'s>> {
        self.words.get(self.next).copied()
    }

    /// Reads the next word if it is this one.
    pub fn took(&mut self, text: &str) -> bool {
        let took = self.peek().is_some_and(|word| word.text == text);
        self.next += usize::from(took);
        took
    }

    /// Whether a word is an option of such lines.
    pub fn is_option(&self, word: Word<'_>) -> bool {
        self.options.iter().any(|known| known.name == word.text)
    }

    /// Says why the item is left out.
    pub fn left_out<T>(&mut self, word: Word<'_>, found: impl Display, help: impl Display) -> Option<T> {
        self.out(word.span, found, help);
        None
    }

    fn out(&mut self, span: Span, found: impl Display, help: impl Display) {
        let message = format!("{}: {found}", quote(self.call.name()));
        let label = format!("{} left out", self.item);
        self.call.say(
            Diagnostic::warning(Kind::BadValue, Some(span), message).label(label).help(help.to_string()),
        );
    }

    /// Says that something works and is probably not meant.
    pub fn lint(&mut self, word: Word<'_>, message: impl Display, help: impl Display) {
        let diagnostic = Diagnostic::warning(Kind::Lint, Some(word.span), message.to_string());
        self.call.say(diagnostic.help(help.to_string()));
    }

    /// Says that another value is used.
    pub fn repaired(&mut self, word: Word<'_>, message: impl Display, help: impl Display) {
        let diagnostic = Diagnostic::warning(Kind::Repaired, Some(word.span), message.to_string());
        self.call.say(diagnostic.help(help.to_string()));
    }

    /// Says that there is no such option; `label` is what becomes of it.
    pub fn unknown(&mut self, word: Word<'_>, label: &str) {
        let article = if self.item.starts_with('a') { "an" } else { "a" };
        let message = format!("unknown option {} of {article} {}", quote(word.text), self.item);
        let diagnostic = Diagnostic::warning(Kind::BadValue, Some(word.span), message).label(label);
        let near = nearest(word.text, self.options.iter().map(|known| known.name));
        self.call.say(match near {
            _ if split(word.text).is_some() => {
                diagnostic.help(format!("one {} per line: begin a new line before it", self.item))
            }
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")).fix(word.span, near),
            None => diagnostic.help("remove it"),
        });
    }

    /// Notes an option under the one name that its spellings share: the last one counts.
    pub fn note(&mut self, name: &'static str, option: Word<'_>) {
        let before = self.seen.iter().find(|(seen, _)| *seen == name).map(|(_, span)| *span);
        if let Some(before) = before {
            let message = format!("{} is given twice in one line: the last one counts", quote(name));
            self.call.say(
                Diagnostic::warning(Kind::Lint, Some(option.span), message)
                    .related(Some(before), "first here")
                    .help("remove one of them"),
            );
        } else {
            self.seen.push((name, option.span));
        }
    }

    /// The word after an option.
    pub fn value(&mut self, option: Word<'_>) -> Option<Word<'s>> {
        let value = self.next();
        if value.is_none() {
            let found = format!("{} needs a value", quote(option.text));
            self.out(option.span, found, "add it, or remove the option");
        }
        value
    }

    /// A decimal number after an option.
    pub fn number(&mut self, option: Word<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let word = self.value(option)?;
        self.number_in(option, word, range)
    }

    /// A word as a decimal number.
    pub fn number_in(&mut self, option: Word<'_>, word: Word<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        match decimal(word.text) {
            Some(Ok(number)) if range.contains(&number) => Some(number),
            found => {
                let what = if found.is_some() { "is out of range" } else { "is not a number" };
                let help =
                    format!("{} is a number from {} to {}", quote(option.text), range.start(), range.end());
                self.left_out(word, format!("{} {what}", quote(word.text)), help)
            }
        }
    }

    /// A decimal number of this type after an option.
    pub fn whole<T: TryFrom<u64>>(&mut self, option: Word<'_>, range: RangeInclusive<u64>) -> Option<T> {
        self.number(option, range).and_then(|number| T::try_from(number).ok())
    }

    /// A number, also in hexadecimal or octal, or a name of the host's tables.
    pub fn named<T>(
        &mut self,
        option: Word<'_>,
        table: NameTable,
        known: &[(&'static str, T)],
        range: RangeInclusive<u64>,
    ) -> Option<Named<T>>
    where
        T: TryFrom<u64> + Copy,
    {
        let word = self.value(option)?;
        match named(word.text, known, &range) {
            Some(found) => {
                self.place(table, &found, word);
                Some(found)
            }
            None => {
                let found = format!("{} is neither a number nor a name", quote(word.text));
                let (name, low, high) = (quote(option.text), range.start(), range.end());
                self.left_out(word, found, format!("{name} is a number from {low} to {high}, or a name"))
            }
        }
    }

    /// Notes where a name of a host's table first stands.
    fn place<T>(&mut self, table: NameTable, named: &Named<T>, word: Word<'_>) {
        if let Named::Name(name) = named {
            self.call.context.spans.names.entry((table, name.clone())).or_insert(word.span);
        }
    }

    /// Says that an option does nothing yet, if that is so.
    pub fn unserved(&mut self, option: Word<'_>) {
        let known = self.options.iter().find(|known| known.name == option.text);
        if let Some(super::Serves::Unserved(means)) = known.map(|known| known.serves) {
            self.call.context.unserved(option.span, &quote(option.text), means);
        }
    }

    /// `[SOURCE/]DESTINATION` after an option.
    pub fn realms(&mut self, option: Word<'_>) -> Option<Realms> {
        let word = self.value(option)?;
        let realm = |text: &str| named(text, REALMS, &(0..=255));
        let realms = match word.text.split_once('/') {
            None => realm(word.text).map(|destination| Realms { source: None, destination }),
            Some((source, destination)) => realm(source)
                .zip(realm(destination))
                .map(|(source, destination)| Realms { source: Some(source), destination }),
        };
        if realms.is_none() {
            let found = format!("{} is neither a realm nor two", quote(word.text));
            return self.left_out(word, found, "write [SOURCE/]DESTINATION, each a number to 255 or a name");
        }
        for realm in realms.iter().flat_map(|realms| realms.source.iter().chain([&realms.destination])) {
            self.place(NameTable::Realms, realm, word);
        }
        realms
    }

    /// An interface after an option.
    pub fn interface(&mut self, option: Word<'_>) -> Option<String> {
        let word = self.value(option)?;
        if !can_be_interface(word.text) {
            let found = format!("{} cannot be an interface name", quote(word.text));
            return self.left_out(word, found, "1 to 15 characters without `/`");
        }
        self.call.interface_in(word)
    }

    /// One of several words after an option.
    pub fn choice<T: Copy>(&mut self, option: Word<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let word = self.value(option)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word.text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let found = format!("{} is no value of {}", quote(word.text), quote(option.text));
        let help = match nearest(word.text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", names.join(", ")),
        };
        self.left_out(word, found, help)
    }

    /// A single address after an option.
    pub fn address(&mut self, option: Word<'_>) -> Option<IpAddr> {
        let word = self.value(option)?;
        self.address_in(option, word)
    }

    /// A word as a single address.
    pub fn address_in(&mut self, option: Word<'_>, word: Word<'_>) -> Option<IpAddr> {
        let address = word.text.parse().ok();
        if address.is_none() {
            let found = format!("{} is not an address", quote(word.text));
            let help = match split(word.text) {
                Some((address, _)) => {
                    format!("{} takes an address without prefix length: {address}", quote(option.text))
                }
                None => format!("{} takes an address, for example 192.0.2.1", quote(option.text)),
            };
            return self.left_out(word, found, help);
        }
        address
    }

    /// A word as a prefix; without length it is a single address. A length that cannot be is put right,
    /// and host bits go.
    pub fn prefix_in(&mut self, word: Word<'_>) -> Option<Prefix> {
        let Some((address, length)) = split(word.text) else {
            let found = format!("{} is not an address", quote(word.text));
            return self.left_out(word, found, "for example 192.0.2.0/24");
        };
        let valid = length.is_ok();
        let length = self.length(word, address, length);
        let prefix = Prefix { address: Prefix { address, length }.network(), length };
        // The kernel refuses such a route, and does not look at these bits in a rule.
        if valid && prefix.address != address {
            let message = format!("{} has host bits: {prefix} is used", quote(word.text));
            self.call.say(
                Diagnostic::warning(Kind::Lint, Some(word.span), message)
                    .help(format!("write {prefix}, or {address} if this one address is meant"))
                    .fix(word.span, prefix.to_string()),
            );
        }
        Some(prefix)
    }

    /// The prefix length of an address; instead of one that cannot be the longest.
    pub fn length(&mut self, word: Word<'_>, address: IpAddr, length: Result<u8, u8>) -> u8 {
        length.unwrap_or_else(|longest| {
            let message = format!("{} has no valid prefix length: {longest} is used", quote(word.text));
            self.call.say(
                Diagnostic::warning(Kind::Repaired, Some(word.span), message)
                    .help(format!("a number from 0 to {longest}"))
                    .fix(word.span, format!("{address}/{longest}")),
            );
            longest
        })
    }
}

/// Decimal digits; `Err` if they are too many.
fn decimal(text: &str) -> Option<Result<u64, ()>> {
    let text = text.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().map_err(|_| ()))
}

/// A number as C reads it: hexadecimal after 0x, octal after 0.
pub(super) fn c_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, radix) = match text.strip_prefix('0') {
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16),
            None if rest.is_empty() => (text, 10),
            None => (rest, 8),
        },
        None => (text, 10),
    };
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if all { u64::from_str_radix(digits, radix).ok() } else { None }
}

fn named<T>(text: &str, known: &[(&'static str, T)], range: &RangeInclusive<u64>) -> Option<Named<T>>
where
    T: TryFrom<u64> + Copy,
{
    if let Some((_, number)) = known.iter().find(|(name, _)| *name == text) {
        return Some(Named::Number(*number));
    }
    if let Some(number) = c_number(text) {
        return T::try_from(number).ok().filter(|_| range.contains(&number)).map(Named::Number);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    name.then(|| Named::Name(text.to_owned()))
}

/// `ADDR[/LEN]`; instead of a length that cannot be the longest, which keepalived takes then.
pub(super) fn split(text: &str) -> Option<(IpAddr, Result<u8, u8>)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = longest(address);
    let length = match length {
        None => Ok(longest),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| longest),
        Some(_) => Err(longest),
    };
    Some((address, length.and_then(|length| if length <= longest { Ok(length) } else { Err(longest) })))
}

/// The prefix length of a single address.
pub(super) fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The words of a line that is an item of a block.
pub(super) fn words<'s>(call: &mut Call<'_, 's>, head: Span) -> Vec<Word<'s>> {
    let (words, open) = tree::words(call.context.sources, head);
    match open {
        Some(open) => {
            call.context.report_open_quote(open);
            Vec::new()
        }
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        for (text, want) in [
            ("main", Some(Named::Number(254))),
            ("0", Some(Named::Number(0))),
            ("0x10", Some(Named::Number(16))),
            ("010", Some(Named::Number(8))),
            ("300", Some(Named::Number(300))),
            ("4294967296", None),
            ("0x", None),
            ("08", None),
            ("-1", None),
            ("1a", None),
            ("", None),
            ("blue-1.x", Some(Named::Name("blue-1.x".into()))),
            ("a/b", None),
            ("\u{e4}", None),
        ] {
            assert_eq!(named::<u32>(text, TABLES, &(0..=u32::MAX.into())), want, "{text}");
        }
        assert_eq!(named::<u8>("256", PROTOCOLS, &(0..=255)), None);
    }
}

//! A configuration as text again: one form for everything, nothing left to inherit.
//!
//! Here: how lines, words, commands and blocks are written, so that reading the text gives the same
//! configuration. Not here: what a block writes (one file for each family of blocks).

mod check;
mod global;
mod long;
mod network;
mod track;
mod virtual_server;
mod vrrp;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use lbd_health::ScriptId;

use crate::config::{Config, Script, ScriptUser};
use crate::expand::LONGEST_LINE;

/// What becomes of passwords and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Written as they are: the text can be read again.
    Shown,
    /// Written as [`MASK`].
    Masked,
}

/// What stands for a secret.
pub const MASK: &str = "********";

/// The whole configuration, blocks in a fixed order, every value written out. To be read again it has to
/// become [`octets`](crate::octets()) first: not all of them need be UTF-8.
pub fn dump(config: &Config, secrets: Secrets) -> String {
    let mut writer = Writer { config, secrets, text: String::new(), depth: 0, start: 0, pieces: 0 };
    global::process(&mut writer, &config.process);
    global::global(&mut writer, &config.global);
    track::write(&mut writer, config);
    vrrp::write(&mut writer, config);
    // Static entries name groups of instances.
    network::write(&mut writer, config);
    virtual_server::write(&mut writer, config);
    writer.text
}

/// Writes lines and blocks.
pub(crate) struct Writer<'c> {
    /// For what is referred to by an id.
    config: &'c Config,
    secrets: Secrets,
    text: String,
    depth: usize,
    /// Where the line that is being written begins.
    start: usize,
    /// Definitions that long lines needed so far.
    pieces: usize,
}

impl Writer<'_> {
    /// A line: the keyword and its words, each quoted where it must be.
    pub fn line<W: Display>(&mut self, keyword: &str, words: impl IntoIterator<Item = W>) {
        self.indent();
        self.text.push_str(keyword);
        for shown in words {
            self.text.push(' ');
            self.text.push_str(&word(&shown.to_string()));
        }
        self.end_line();
    }

    /// A line with one value.
    pub fn value(&mut self, keyword: &str, value: impl Display) {
        self.line(keyword, [value]);
    }

    /// A line with one value, if there is one.
    pub fn maybe(&mut self, keyword: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.value(keyword, value);
        }
    }

    /// A keyword without arguments, if `on`.
    pub fn flag(&mut self, keyword: &str, on: bool) {
        if on {
            self.line::<&str>(keyword, []);
        }
    }

    /// A keyword with `true` or `false`.
    pub fn switch(&mut self, keyword: &str, on: bool) {
        self.value(keyword, on);
    }

    /// A time in decimal seconds.
    pub fn seconds(&mut self, keyword: &str, time: Duration) {
        self.value(keyword, seconds(time));
    }

    /// A password or key.
    pub fn secret(&mut self, keyword: &str, words: &[&str], secret: &str) {
        let shown = match self.secrets {
            Secrets::Shown => secret,
            Secrets::Masked => MASK,
        };
        self.line(keyword, words.iter().copied().chain([shown]));
    }

    /// The line of a program, with its user.
    pub fn script(&mut self, keyword: &str, id: Option<&ScriptId>) {
        let Some(script) = id.and_then(|id| self.config.scripts.get(id)) else { return };
        self.command(keyword, script);
    }

    fn command(&mut self, keyword: &str, script: &Script) {
        self.indent();
        let _infallible = write!(self.text, "{keyword} {}", command(&script.argv));
        for name in script.user.iter().flat_map(ScriptUser::words) {
            self.text.push(' ');
            self.text.push_str(&word(&name));
        }
        self.end_line();
    }

    /// A line with a pattern: in quotes, everything that means something there as an escape.
    pub fn pattern(&mut self, keyword: &str, pattern: &[u8]) {
        self.indent();
        let _infallible = write!(self.text, "{keyword} \"");
        for &octet in pattern {
            match octet {
                b'\\' => self.text.push_str(r"\\"),
                b'"' | b'\'' | b'$' | 0..=0x1f | 0x7f.. => {
                    let _infallible = write!(self.text, "\\x{octet:02x}");
                }
                _ => self.text.push(char::from(octet)),
            }
        }
        self.text.push('"');
        self.end_line();
    }

    /// A block: its head and what `inner` writes.
    pub fn block<W: Display>(
        &mut self,
        keyword: &str,
        words: impl IntoIterator<Item = W>,
        inner: impl FnOnce(&mut Self),
    ) {
        self.line(keyword, words);
        // The brace belongs on the line of the head.
        self.text.pop();
        self.text.push_str(" {\n");
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.indent();
        self.text.push_str("}\n");
    }

    fn end_line(&mut self) {
        // The brace of a block may still come.
        if self.text.len() - self.start + " {".len() > LONGEST_LINE {
            let line = self.text.split_off(self.start);
            self.text.push_str(&long::defined(line.trim_start(), &mut self.pieces));
        }
        self.text.push('\n');
    }

    /// A block of lines, each of words; nothing if there are none.
    pub fn lines(&mut self, keyword: &str, lines: impl IntoIterator<Item = Vec<String>>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return;
        }
        self.block::<&str>(keyword, [], |writer| {
            for words in lines {
                let Some((first, rest)) = words.split_first() else { continue };
                writer.line(&word(first), rest);
            }
        });
    }

    fn indent(&mut self) {
        self.start = self.text.len();
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
    }
}

/// A word as the reader takes it for one: in quotes where something in it means something else.
pub(crate) fn word(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '#' | '!' | '{' | '}' | '\'' | '\\');
    if text.is_empty() || text.contains(special) || text.starts_with(['@', '~', '$']) {
        format!("\"{text}\"")
    } else {
        text.to_owned()
    }
}

/// Program and arguments as one quoted word. Nothing in it means anything outside: what could is
/// written as an escape.
fn command(argv: &[String]) -> String {
    let mut text = String::from("\"");
    for (index, argument) in argv.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        if argument.is_empty() {
            text.push_str("''");
        }
        for c in argument.chars() {
            match c {
                '\\' => text.push_str(r"\\"),
                ' ' => text.push_str(r"\ "),
                '"' | '\'' | '$' => {
                    let _infallible = write!(text, "\\x{:02x}", u32::from(c));
                }
                c if c.is_ascii_control() => {
                    let _infallible = write!(text, "\\x{:02x}", u32::from(c));
                }
                c => text.push(c),
            }
        }
    }
    text.push('"');
    text
}

/// A time in seconds with as many decimals as it needs, at most six.
pub(crate) fn seconds(time: Duration) -> String {
    match time.subsec_micros() {
        0 => time.as_secs().to_string(),
        micros => format!("{}.{micros:06}", time.as_secs()).trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::command_arguments;

    #[test]
    fn a_command_is_read_as_it_was() {
        for argv in [
            &["/bin/sh", "-c", "exit 0; # \"x\" 'y' {z} $HOME !"][..],
            &["/x", "", "a\\b", "a\nb\tc\u{7}", "\u{fc}"],
        ] {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            let text = command(&argv);
            let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quoted");
            assert!(!inner.contains(['"', '\n']), "{text}");
            assert_eq!(command_arguments(inner), Some(argv));
        }
    }

    #[test]
    fn times() {
        for (micros, want) in [(0, "0"), (1_000_000, "1"), (1, "0.000001"), (2_500_000, "2.5")] {
            assert_eq!(seconds(Duration::from_micros(micros)), want);
        }
    }
}

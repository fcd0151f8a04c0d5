//! What programs are told of a diagnostic.
//!
//! Here: stable names, and which keywords hold secrets. Not here: the document (the daemon's crate),
//! the form for people (`diagnostic`).

use crate::diagnostic::{Diagnostic, Kind, Severity, quote};
use crate::dump::MASK;
use crate::secret::{SECRETS, secret};
use crate::source::{Sources, Span};

impl Severity {
    /// A name that does not change.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl Kind {
    /// A name that does not change.
    pub fn name(self) -> &'static str {
        match self {
            Kind::CannotRead => "cannot_read",
            Kind::Syntax => "syntax",
            Kind::Fatal => "fatal",
            Kind::UnknownKeyword => "unknown_keyword",
            Kind::Unserved => "unserved",
            Kind::BadValue => "bad_value",
            Kind::Repaired => "repaired",
            Kind::MissingInterface => "missing_interface",
            Kind::ScriptSecurity => "script_security",
            Kind::Lint => "lint",
        }
    }
}

/// Whether the value of a keyword is a secret: it is in no message, no log and no document.
pub fn is_secret(keyword: &str) -> bool {
    SECRETS.contains(&keyword)
}

/// The same without what stands after a secret keyword on the line it is about: a message quotes what
/// it found, and that may be the secret or a part of it.
pub(crate) fn without_secrets(mut diagnostic: Diagnostic, sources: &Sources) -> Diagnostic {
    let Some(line) = diagnostic.span.map(|span| line_of(span, sources)) else { return diagnostic };
    let Some((before, after)) = secret(line).and_then(|at| line.split_at_checked(at)) else {
        return diagnostic;
    };
    let separates = |c: char| c.is_whitespace() || matches!(c, '"' | '{' | '}');
    // The first word after `key` is a number or a file.
    let named = usize::from(before.ends_with("key"));
    for word in after.split(separates).filter(|word| !word.is_empty()).skip(named) {
        let (quoted, mask) = (quote(word), quote(MASK));
        let texts = [&mut diagnostic.label, &mut diagnostic.help, &mut diagnostic.consequence];
        for text in texts.into_iter().flatten().chain([&mut diagnostic.message]) {
            if text.contains(&quoted) {
                *text = text.replace(&quoted, &mask);
            }
        }
        diagnostic.fix = diagnostic.fix.filter(|fix| !fix.replacement.contains(word));
    }
    diagnostic
}

/// The line that a span begins in, after substitution.
fn line_of(span: Span, sources: &Sources) -> &str {
    let (all, file) = sources.everything();
    let text = if span.file() == file { all } else { sources.whole(span.file()) };
    let at = span.range().start;
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let end = text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| at + newline);
    sources.text(Span::new(span.file(), start..end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_str;

    #[test]
    fn what_is_quoted_is_not_a_secret() {
        let mut sources = Sources::default();
        let file = sources.add("a.conf".into(), "key 300 hush\nauth_pass \"hu sh\" x\nplain hush\n".into());
        let about = |range: std::ops::Range<usize>, message: &str| {
            let span = Span::new(file, range);
            let found = Diagnostic::warning(Kind::BadValue, Some(span), message).fix(span, message);
            let found = without_secrets(found, &sources);
            (found.message, found.fix.is_some())
        };
        for (name, range, message, want) in [
            ("a key", 8..12, "`hush` is no key", ("`********` is no key", false)),
            ("its number", 4..7, "`300` is out of range", ("`300` is out of range", true)),
            ("a part", 24..28, "`sh` is ignored", ("`********` is ignored", false)),
            ("no secret", 36..40, "`hush` is ignored", ("`hush` is ignored", true)),
        ] {
            assert_eq!(about(range, message), (want.0.to_owned(), want.1), "{name}");
        }
    }

    #[test]
    fn a_password_of_two_words_is_in_no_message() {
        let loaded = load_str(
            "a.conf",
            "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 7\n authentication {\n auth_type PASS\n \
             auth_pass hush hushhush\n }\n}\n",
        );
        let said: Vec<String> = loaded.diagnostics.iter().map(|one| one.summary(&loaded.sources)).collect();
        assert!(said.iter().any(|line| line.contains("a word after `auth_pass` is ignored")), "{said:?}");
        assert!(said.iter().all(|line| !line.contains("hush")), "{said:?}");
    }
}

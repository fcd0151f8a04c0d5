//! What programs are told of a diagnostic.
//!
//! Here: stable names, and which keywords hold secrets. Not here: the document (the daemon's crate),
//! the form for people (`diagnostic`).

use crate::diagnostic::{Kind, Severity};

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
    matches!(keyword, "auth_pass" | "password" | "key")
}

#[cfg(test)]
mod tests {
    use crate::load_str;

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

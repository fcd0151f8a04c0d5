//! What an instance is configured to authenticate with. Secrets never appear in `Debug`.
//!
//! Here: passwords, keys and how they are used. Not here: what is put on the wire (`auth`).

use std::fmt;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroize;

/// Authentication of adverts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Type 0.
    None,
    /// Type 1 of version 2 (RFC 2338 §5.3.6; removed by RFC 3768, used by everybody): a password in
    /// clear text, zero padded.
    Pass([u8; 8]),
    /// Type 2 of version 2: an IPsec authentication header whose key is this password.
    Ah([u8; 8]),
    /// auth_hmac: keepalived's signed trailer.
    Hmac(Box<Hmac>),
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authentication::None => f.write_str("None"),
            Authentication::Pass(_) => f.write_str("Pass(********)"),
            Authentication::Ah(_) => f.write_str("Ah(********)"),
            Authentication::Hmac(hmac) => hmac.fmt(f),
        }
    }
}

/// auth_hmac
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hmac {
    /// Keys by number, in file order; numbers are unique, `active` is among them.
    pub keys: Vec<(NonZeroU8, HmacKey)>,
    /// active_key: signs what is sent.
    pub active: NonZeroU8,
    /// anti_replay
    pub anti_replay: AntiReplay,
    /// mode
    pub mode: HmacMode,
}

/// A key of auth_hmac.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum HmacKey {
    /// 32 to 64 octets, given as text.
    Text(Vec<u8>),
    /// 32 to 64 octets, given as `hex:`.
    Hex(Vec<u8>),
    /// `file:`: a file that holds one of these forms.
    File(PathBuf),
}

impl HmacKey {
    /// The octets that sign; `None` for a file, whose content takes its place before the engine gets it.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            HmacKey::Text(octets) | HmacKey::Hex(octets) => Some(octets),
            HmacKey::File(_) => None,
        }
    }
}

/// Octets do not stay in memory that is given back.
impl Drop for HmacKey {
    fn drop(&mut self) {
        match self {
            HmacKey::Text(octets) | HmacKey::Hex(octets) => octets.zeroize(),
            HmacKey::File(_) => {}
        }
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HmacKey::Text(_) | HmacKey::Hex(_) => f.write_str("********"),
            HmacKey::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// How an advert is told from an old one that somebody sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AntiReplay {
    /// By the time in it, which may differ from the own clock by so much (time_window).
    Time {
        /// Whole seconds.
        window: Duration,
    },
    /// By a counter that only grows.
    Monotonic,
}

/// What is signed and what is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HmacMode {
    /// All that is sent is signed; nothing else is accepted.
    #[default]
    Enforce,
    /// All that is sent is signed; what is not signed is accepted too.
    Permissive,
    /// Nothing that is sent is signed; both are accepted.
    ReceiveOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_of_keys() {
        for (name, key, want) in [
            ("text", HmacKey::Text(b"SECRET".to_vec()), Some(&b"SECRET"[..])),
            ("hex", HmacKey::Hex(vec![1, 2]), Some(&[1, 2])),
            ("file", HmacKey::File("/etc/key".into()), None),
        ] {
            assert_eq!(key.octets(), want, "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let id = NonZeroU8::MIN;
        let keys = vec![
            (id, HmacKey::Text(b"SECRET".to_vec())),
            (id, HmacKey::Hex(b"SECRET".to_vec())),
            (id, HmacKey::File("/etc/key".into())),
        ];
        let hmac = Hmac { keys, active: id, anti_replay: AntiReplay::Monotonic, mode: HmacMode::Enforce };
        for (authentication, want) in [
            (Authentication::Pass(*b"SECRET\0\0"), "Pass(********)"),
            (Authentication::Ah(*b"SECRET\0\0"), "Ah(********)"),
            (Authentication::Hmac(Box::new(hmac)), "Hmac {"),
        ] {
            let shown = format!("{authentication:?}");
            assert!(shown.starts_with(want), "{shown}");
            assert!(!shown.contains("SECRET") && !shown.contains("83, 69"), "{shown}");
        }
    }
}

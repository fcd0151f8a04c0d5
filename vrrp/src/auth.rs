//! Authentication of version 2: what is sent and what is accepted (RFC 2338 §5.3.6).
//!
//! A password in clear text guards against mistakes, not against people.

use crate::receive::Refusal;
use crate::types::Authentication;
use crate::wire::advert::{AUTHENTICATION, Advert};

const NONE: u8 = 0;
const PASS: u8 = 1;
const AH: u8 = 2;

impl Authentication {
    /// Authentication type on the wire.
    pub fn wire_type(&self) -> u8 {
        match self {
            // AH and signed trailers are not sent: adverts go without authentication.
            Authentication::None | Authentication::Ah(_) | Authentication::Hmac(_) => NONE,
            Authentication::Pass(_) => PASS,
        }
    }

    /// Authentication data on the wire; zeros with none.
    pub fn wire_data(&self) -> [u8; AUTHENTICATION] {
        match self {
            Authentication::Pass(password) => *password,
            Authentication::None | Authentication::Ah(_) | Authentication::Hmac(_) => [0; AUTHENTICATION],
        }
    }

    /// Compares a received advertisement with the configuration. With type 0 the data is ignored
    /// (RFC 3768 §5.3.10).
    ///
    /// # Errors
    /// Unknown type, another type than ours, another password.
    pub fn check(&self, advert: &Advert) -> Result<(), Refusal> {
        if ![NONE, PASS, AH].contains(&advert.authentication_type) {
            return Err(Refusal::InvalidAuthenticationType);
        }
        if advert.authentication_type != self.wire_type() {
            return Err(Refusal::AuthenticationTypeMismatch);
        }
        match self {
            Authentication::None | Authentication::Ah(_) | Authentication::Hmac(_) => Ok(()),
            Authentication::Pass(password) if equal(password, &advert.authentication) => Ok(()),
            Authentication::Pass(_) => Err(Refusal::AuthenticationFailure),
        }
    }
}

/// Compares in a time that does not tell where the first difference is.
fn equal(left: &[u8; AUTHENTICATION], right: &[u8; AUTHENTICATION]) -> bool {
    left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Priority;

    fn advert(authentication_type: u8, authentication: [u8; 8]) -> Advert {
        Advert {
            version: 2,
            kind: 1,
            vrid: 1,
            priority: Priority(1),
            authentication_type,
            interval: 1,
            addresses: vec![],
            authentication,
        }
    }

    #[test]
    fn types_and_passwords() {
        let none = Authentication::None;
        let pass = Authentication::Pass(*b"secret\0\0");
        let full = Authentication::Pass(*b"12345678");
        let empty = Authentication::Pass([0; 8]);
        for (name, own, kind, data, want) in [
            ("none", &none, 0, [0; 8], Ok(())),
            ("data of type 0 is ignored", &none, 0, [7; 8], Ok(())),
            ("none, password received", &none, 1, *b"secret\0\0", Err(Refusal::AuthenticationTypeMismatch)),
            ("none, AH type received", &none, 2, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("unknown type", &none, 3, [0; 8], Err(Refusal::InvalidAuthenticationType)),
            ("unknown type 255", &pass, 255, *b"secret\0\0", Err(Refusal::InvalidAuthenticationType)),
            ("password", &pass, 1, *b"secret\0\0", Ok(())),
            ("password of 8", &full, 1, *b"12345678", Ok(())),
            ("password of 0", &empty, 1, [0; 8], Ok(())),
            ("password, none received", &pass, 0, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("password, AH type received", &pass, 2, [0; 8], Err(Refusal::AuthenticationTypeMismatch)),
            ("first octet differs", &pass, 1, *b"Secret\0\0", Err(Refusal::AuthenticationFailure)),
            ("last octet differs", &pass, 1, *b"secret\0x", Err(Refusal::AuthenticationFailure)),
        ] {
            assert_eq!(own.check(&advert(kind, data)), want, "{name}");
        }
    }
}

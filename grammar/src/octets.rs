//! Text that is not UTF-8: its octets live on as characters that nobody writes.
//!
//! An octet that is no UTF-8 becomes the character `U+10FF00` + octet, of the last private plane. Where
//! octets matter (a password on the wire, a path), [`octets`] gives them back.

use std::borrow::Cow;

const BASE: u32 = 0x0010_ff00;

/// Whether a character stands for an octet that is no UTF-8.
pub(crate) fn is_octet(c: char) -> bool {
    (BASE + 0x80..=BASE + 0xff).contains(&u32::from(c))
}

/// The octets that a text of a configuration stands for.
pub fn octets(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(is_octet) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut octets = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c).wrapping_sub(BASE)) {
            Ok(octet) if is_octet(c) => octets.push(octet),
            _ => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(octets)
}

/// Octets as text, and whether all of them are UTF-8.
pub(crate) fn text(octets: Vec<u8>) -> (String, bool) {
    let octets = match String::from_utf8(octets) {
        Ok(text) if !text.contains(is_octet) => return (text, true),
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(octets.len());
    let escape = |text: &mut String, octets: &[u8]| {
        text.extend(octets.iter().filter_map(|octet| char::from_u32(BASE + u32::from(*octet))));
    };
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_octet(c) {
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    (text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_comes_back() {
        let all: Vec<u8> = (0..=255).chain("\u{fc}\u{10ff80}\u{10ffff}\u{10ff7f}".bytes()).collect();
        let (text, whole) = text(all.clone());
        assert!(!whole);
        assert_eq!(*octets(&text), *all);
        assert_eq!(super::text(b"plain \xc3\xbc".to_vec()), ("plain \u{fc}".to_owned(), true));
        assert!(matches!(octets("plain"), Cow::Borrowed(_)));
    }
}

//! FILE_CHECK: what the number in a file says about the server.
//!
//! Here: the number in a file's octets, its product with the weight. Not here: watching the file (the
//! caller's [`Files`](crate::runner::Files)).

use crate::state::{Contribution, Outcome};
use crate::types::FileCheck;

/// Octets of a file that are looked at, as keepalived does.
pub const MAX_FILE: usize = 127;

/// The number is outside -2³¹..=2³¹: the one before it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// The number at the beginning of a file, as C's strtol reads it with base 0: blanks, a sign, then
/// decimal, `0x` and hexadecimal, or `0` and octal digits. What follows does not matter; 0 is the number
/// of a file without one. Only the first [`MAX_FILE`] octets are looked at.
///
/// # Errors
/// [`OutOfRange`]
pub fn number(octets: &[u8]) -> Result<i64, OutOfRange> {
    let octets = octets.get(..MAX_FILE).unwrap_or(octets);
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t'..=b'\r');
    let start = octets.iter().position(|octet| !blank(octet)).unwrap_or(octets.len());
    let (negative, digits) = match octets.get(start..).unwrap_or_default() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (radix, digits): (u32, &[u8]) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let mut number: i64 = 0;
    for digit in digits.iter().map_while(|octet| char::from(*octet).to_digit(radix)) {
        number = number.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit));
    }
    let number = if negative { -number } else { number };
    if (-LIMIT..=LIMIT).contains(&number) { Ok(number) } else { Err(OutOfRange) }
}

const LIMIT: i64 = 1 << 31;

/// What a file's number means for a server.
pub fn judge(check: &FileCheck, number: i64) -> Outcome {
    let file = &check.file;
    if check.weight == 0 {
        let bad = (number != 0) != check.reverse;
        let reason = format!("{file}: number {number}");
        return if bad {
            let wanted = if check.reverse { "another than 0" } else { "0" };
            Outcome::bad(format!("{reason}, wanted {wanted}"))
        } else {
            Outcome::good(reason)
        };
    }
    let sign = if check.reverse { -1 } else { 1 };
    let product = number.saturating_mul(i64::from(check.weight)).saturating_mul(sign);
    if product <= -LIMIT {
        return Outcome::bad(format!("{file}: number {number} comes to {product}, which is a failure"));
    }
    Outcome::good(format!("{file}: number {number}, weight {product:+}"))
        .contributing(Contribution::Add(product))
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;

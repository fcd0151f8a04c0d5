//! A pattern with options and offsets over a body: it ends, and a match lies where it may.
#![no_main]

use lbd_health::check::regex::stays_within;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((numbers, rest)) = octets.split_first_chunk::<8>() else { return };
    let [options @ .., first, length, pattern] = *numbers;
    let options = options.iter().rev().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let (pattern, body) = rest.split_at(usize::from(pattern).min(rest.len()));
    assert!(stays_within(pattern, options, usize::from(first), usize::from(length), body));
});

//! A text looked for in octets that are cut in two.
#![no_main]

use lbd_health::check::dialogue::agrees_when_cut;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let [length, cut_low, cut_high, repeat, rest @ ..] = octets else { return };
    let (text, octets) = rest.split_at(usize::from(*length % 16).min(rest.len()));
    // Also what is longer than what is kept.
    let octets = octets.repeat(1 + usize::from(*repeat) * usize::from(*repeat) / 16);
    assert!(agrees_when_cut(text, &octets, usize::from(u16::from_le_bytes([*cut_low, *cut_high]))));
});

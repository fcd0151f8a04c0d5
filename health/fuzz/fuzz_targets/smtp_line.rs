//! Octets of an SMTP server, cut in two at a place that the first octets choose.
#![no_main]

use lbd_health::check::smtp::line::agrees_when_cut;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((cut, lines)) = octets.split_first_chunk::<2>() else { return };
    assert!(agrees_when_cut(lines, usize::from(u16::from_le_bytes(*cut))));
});

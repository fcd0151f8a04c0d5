//! An HTTP answer cut in two at a place that the first octets choose.
#![no_main]

use lbd_health::check::answer::agrees_when_cut;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((cut, answer)) = octets.split_first_chunk::<2>() else { return };
    assert!(agrees_when_cut(answer, usize::from(u16::from_le_bytes(*cut))));
});

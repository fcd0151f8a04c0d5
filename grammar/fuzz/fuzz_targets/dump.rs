//! `cargo +nightly fuzz run dump`: what is read from a dump must be what was dumped.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| lbd_grammar::exercise_dump(octets));

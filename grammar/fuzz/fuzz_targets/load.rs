//! `cargo +nightly fuzz run load`: any octets must load without a panic, and everything said about them
//! must be printable.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| lbd_grammar::exercise(octets));

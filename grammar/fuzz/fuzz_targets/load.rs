//! `cargo +nightly fuzz run load`: any text must load without a panic, and everything said about it
//! must be printable.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| lbd_grammar::exercise(text));

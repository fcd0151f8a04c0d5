//! The first octets of a server that was asked for TLS.
#![no_main]

use lbd_health::check::hello::settles;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| assert!(settles(octets)));

//! What a raw ICMP socket receives.
#![no_main]

use lbd_health::check::ping::echo::law;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| assert!(law(octets)));

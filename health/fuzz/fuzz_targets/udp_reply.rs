//! A UDP service's answer, compared with wanted octets, both made of the input.
#![no_main]

use lbd_health::check::udp::reply::law;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| assert!(law(octets)));

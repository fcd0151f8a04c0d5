//! Files of certificates and keys.
#![no_main]

use lbd_health::pem::law;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| assert!(law(octets)));

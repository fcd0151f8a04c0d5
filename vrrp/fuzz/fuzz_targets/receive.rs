//! Any datagram through header, advertisement and checks; a property test calls the same function.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| lbd_vrrp::receive::exercise_any(datagram));

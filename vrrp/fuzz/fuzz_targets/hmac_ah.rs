//! Any octets as a signed message and as a datagram with an Authentication Header; property tests call the
//! same functions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    lbd_vrrp::hmac::exercise_any(octets);
    lbd_vrrp::wire::ah::exercise_any(octets);
});

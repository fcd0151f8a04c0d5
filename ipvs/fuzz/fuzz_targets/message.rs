//! Any octets as a message of the family: the entry point that the property tests call as well.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Some((command, octets)) = octets.split_first() {
        lbd_ipvs::wire::exercise(*command, octets);
    }
});

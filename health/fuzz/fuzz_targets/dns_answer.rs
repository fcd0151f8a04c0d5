//! Datagrams that a name server, or somebody else, answers a query with.
#![no_main]

use lbd_health::check::dns::message::law;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| assert!(law(octets)));

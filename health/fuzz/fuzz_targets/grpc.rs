//! The answer of a gRPC health check, and the text of its status.
#![no_main]

use lbd_health::check::grpc::message::{answer, percent_decoded};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    if answer(octets).is_ok() {
        let (_, start) = octets.split_last().expect("an empty answer is none");
        assert!(answer(start).is_err());
        assert!(answer(&[octets, &[0]].concat()).is_err());
    }
    assert!(percent_decoded(octets).len() <= octets.len());
});

//! As many wrong adverts as one thread can send (see `scenarios::strangers`): each kind for 2 s, or for `LBD_FLOOD_SECONDS`;
//! `cargo verify-full` gives each 10 s.

/// V3-R1, V3-R3, V3-R6, V3-R12, V3-R13, V3-R14, V3-X2, V2-R1, V2-R2, V2-R4, V2-R7, V2-R8, V2A-5.
#[test]
fn nothing_comes_of_them() {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), "vrrp_floods");
}

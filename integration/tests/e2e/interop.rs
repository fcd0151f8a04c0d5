//! VRRP on the wire: with keepalived as the peer, field by field, and with a stranger on the link (see `scenarios::interop`,
//! `scenarios::wire` and `scenarios::strangers`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

/// Each dialect that lbd and keepalived share, mastership going to and fro by priority, stop and crash. `LBD_INTEROP_ROW`
/// picks rows by a part of their name.
#[test]
fn with_keepalived_in_every_dialect() {
    run("vrrp_interop");
}

/// V3-H1, V3-H2, V3-H4, V3-H5, V3-H6, V3-H7, V3-H9, V3-H10, V3-S5, V3-S6, V3-S9, V3-F4.
/// V3-I1, V3-I2, V3-I3, V3-I5, V3-T4, V3-B1, V3-B2, V3-B3, V3-B5, V3-B6, V3-B7, V3-B8, V3-B9.
/// V3-A1, V3-A2, V3-A3, V3-A9, V3-ND8, V3-ND14, V3-B11.
/// V2-H1, V2-H2, V2-H4, V2-H5, V2-F4, V2-T2, V2-I1, V2-I2, V2-B1, V2-B3, V2-B4, V2-B5, V2-A1, V2-A5.
#[test]
fn fields_and_times_of_what_is_sent() {
    run("vrrp_wire");
}

#[test]
fn signatures_are_rolled_out_and_guard() {
    run("vrrp_signatures");
}

/// By the protocol somebody on the link who says 255 is believed; with auth_hmac he is not.
#[test]
fn a_forged_owner() {
    run("vrrp_forged_owner");
}

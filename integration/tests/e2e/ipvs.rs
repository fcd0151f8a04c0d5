//! A kernel with IPVS: its table through our client (`ipvs/tests/kernel.rs`), and one director with three real servers and
//! traffic: DR, NAT, TUN (see `scenarios::balance`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn dr() {
    run("dr");
}

#[test]
fn nat() {
    run("nat");
}

#[test]
fn tun() {
    run("tun");
}

#[test]
fn client_round_trip() {
    lbd_integration::run::kernel_test("kernel", "kernel_round_trip");
}

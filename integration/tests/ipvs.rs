//! One director, three real servers, traffic: DR, NAT, TUN (see `scenarios::balance`).

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

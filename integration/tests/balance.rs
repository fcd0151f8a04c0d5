//! One director, three real servers, traffic: DR, NAT, TUN (see `scenarios::balance`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn direct_routing() {
    run("dr");
}

#[test]
fn address_translation() {
    run("nat");
}

#[test]
fn ip_in_ip() {
    run("tun");
}

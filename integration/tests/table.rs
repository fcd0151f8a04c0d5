//! All that IPVS has, in a kernel that has it: what is in its table, and traffic by each of its ways (see
//! `scenarios::services`, `persistence`, `ipv6`, `tunnels`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn services() {
    run("services");
}

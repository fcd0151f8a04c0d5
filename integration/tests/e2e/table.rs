//! All that IPVS has, in a kernel that has it: what is in its table, and traffic by each of its ways (see
//! `scenarios::services`, `persistence`, `thresholds`, `ipv6`, `tunnels`, `mixed`, `sctp`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn every_attribute_of_services_and_real_servers() {
    run("services");
}

#[test]
fn persistence_marks_and_single_datagrams() {
    run("persistence");
}

#[test]
fn weights_and_thresholds() {
    run("thresholds");
}

#[test]
fn ipv6_dr() {
    run("ipv6_dr");
}

#[test]
fn ipv6_nat() {
    run("ipv6_nat");
}

#[test]
fn ipv6_tun() {
    run("ipv6_tun");
}

#[test]
fn gue_and_gre() {
    run("tunnels");
}

#[test]
fn ipv4_by_ipv6_and_the_other_way_round() {
    run("mixed_family");
}

#[test]
fn sctp() {
    run("sctp");
}

//! Directors under traffic in an IPVS kernel: failover, restart, reload (see `scenarios`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn failover_under_traffic() {
    run("failover");
}

#[test]
fn kill_and_restart_under_traffic() {
    run("restart");
}

#[test]
fn reload_writes_what_changed() {
    run("reload");
}

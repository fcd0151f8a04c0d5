//! Checkers, and the virtual servers that act on them, in a kernel with IPVS (see `scenarios::checkers`, `weights`, `quorum`,
//! `telling`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn misc_dynamic() {
    run("misc_dynamic");
}

#[test]
fn inhibited_server_and_held_connection() {
    run("inhibit");
}

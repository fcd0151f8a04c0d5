//! Checkers, and the virtual servers that act on them, in a kernel with IPVS (see `scenarios::checkers`, `weights`, `quorum`,
//! `telling`, `own_rules`, `hostile`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn checkers() {
    run("checkers");
}

#[test]
fn misc_dynamic() {
    run("misc_dynamic");
}

#[test]
fn quorum_and_sorry_server() {
    run("quorum");
}

#[test]
fn inhibited_server_and_held_connection() {
    run("inhibit");
}

#[test]
fn virtual_server_group() {
    run("group");
}

#[test]
fn lines_scripts_and_mails() {
    run("telling");
}

#[test]
fn mails_and_lines_of_two_checkers() {
    run("checkers_told");
}

#[test]
fn rules_that_keepalived_does_not_have() {
    run("own_rules");
}

#[test]
fn hostile_servers_beside_healthy_ones() {
    run("hostile");
}

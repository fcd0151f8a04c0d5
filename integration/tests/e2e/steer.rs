//! The table beside other programs, and a director that is steered, reloaded, replaced (see `scenarios::drift`, `foreign_many`,
//! `unloaded`, `namespace`, `no_right`, `drain`, `reload_traffic`, `plan`, `successor`, `synchronised`,
//! `preempt_sync`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn another_program_changes_the_table() {
    run("drift");
}

#[test]
fn handover_to_a_new_lbd() {
    run("handover");
}

#[test]
fn take_over_from_keepalived() {
    run("take_over");
}

#[test]
fn connection_synchronisation() {
    run("sync");
}

#[test]
fn preemption_waits_for_connections() {
    run("preempt_sync");
}

#[test]
fn preemption_waits_no_longer_than_its_limit() {
    run("preempt_sync_limit");
}

#[test]
fn servers_that_leave_with_open_connections() {
    run("drain");
}

#[test]
fn reloads_under_traffic() {
    run("reload_traffic");
}

#[test]
fn plan_and_reload_do_the_same() {
    run("plan");
}

#[test]
fn module_is_unloaded() {
    run("unloaded");
}

#[test]
fn table_in_another_namespace() {
    run("namespace");
}

#[test]
fn beside_many_entries_of_others() {
    run("foreign_many");
}

#[test]
fn start_without_rights() {
    run("no_right");
}

//! VRRP alone: two directors to the millisecond (see `scenarios::vrrp`), what is told (see `scenarios::notifications`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn crash_of_the_master() {
    run("vrrp_crash");
}

#[test]
fn orderly_stop_of_the_master() {
    run("vrrp_stop");
}

#[test]
fn never_two_masters() {
    run("vrrp_one_master");
}

#[test]
fn an_ipvlan_of_its_own_and_a_vrf() {
    run("own_links");
}

#[test]
fn what_is_tracked() {
    run("vrrp_tracking");
}

#[test]
fn what_routers_take_from_global_defs() {
    run("vrrp_defaults");
}

#[test]
fn what_routers_do_by_global_defs() {
    run("vrrp_inherited");
}

#[test]
fn interfaces_that_share_a_gap() {
    run("vrrp_garp_group");
}

#[test]
fn what_groups_track() {
    run("vrrp_group_tracking");
}

#[test]
fn which_processes_are_tracked() {
    run("vrrp_process_words");
}

#[test]
fn every_notify_script_and_line_in_order() {
    run("notifications");
}

#[test]
fn who_does_not_accept_and_what_is_removed() {
    run("packet_filter");
}

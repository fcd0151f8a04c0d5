//! The life of the process (see `scenarios::life`, `scenarios::keywords`).

fn run(name: &str) {
    lbd_integration::run::test(env!("CARGO_BIN_EXE_bed"), name);
}

#[test]
fn namespaces_and_instance_names() {
    run("life_namespace");
}

#[test]
fn programs_around_it() {
    run("life_scripts");
}

#[test]
fn reloads_at_a_time_and_their_files() {
    run("life_reload");
}

#[test]
fn other_keywords() {
    run("life_keywords");
}

#[test]
fn files_limits_and_buffers() {
    run("life_rest");
}

#[test]
fn what_is_asked_of_the_machine() {
    run("life_machine");
}

#[test]
fn room_for_events_about_processes() {
    run("life_process_events");
}

#[test]
fn names_and_scheduling_of_threads() {
    run("life_threads");
}

#[test]
fn what_the_host_is_given() {
    run("host_keywords");
}

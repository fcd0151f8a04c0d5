//! The examples that the repository ships: each loads without a diagnostic, and means what its comments say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lbd_grammar::{Config, LoadOptions, load, render};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf.d")
}

fn example(name: &str) -> Config {
    let loaded = load(&folder().join(name), &LoadOptions::default());
    let said: Vec<String> =
        loaded.diagnostics.iter().map(|found| render(found, &loaded.sources, false)).collect();
    assert!(said.is_empty(), "{name}:\n{}", said.join("\n"));
    loaded.config.unwrap_or_else(|| panic!("{name}: no diagnostic and no configuration"))
}

#[test]
fn every_example_loads_without_a_diagnostic_and_is_explained() {
    let explained = fs::read_to_string(folder().join("README.md")).expect("conf.d/README.md");
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("conf.d")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".conf"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 9, "{names:?}");
    for name in names {
        let config = example(&name);
        assert_eq!(config.vrrp_instances.len(), 1, "{name}");
        assert!(explained.contains(&format!("[{name}]({name})")), "{name} is not in conf.d/README.md");
    }
}

/// Apart from the others, which keepalived reads too.
#[test]
fn own_checks() {
    let name = "lbd-only/own-checks.conf";
    let explained = fs::read_to_string(folder().join("README.md")).expect("conf.d/README.md");
    assert!(explained.contains(&format!("[{name}]({name})")));
    assert_eq!(fs::read_dir(folder().join("lbd-only")).expect("lbd-only").count(), 2);
    let config = example(name);
    let servers = &config.virtual_servers.first().expect("a virtual server").real_servers;
    let kinds: Vec<Vec<&str>> = servers
        .iter()
        .map(|server| server.checks.iter().map(|check| check.kind.keyword()).collect())
        .collect();
    assert_eq!(kinds, [&["AGENT_CHECK", "TCP_CHECK"][..], &["GRPC_CHECK"], &["TCP_CHECK"]]);
}

#[test]
fn own_rules() {
    let name = "lbd-only/own-rules.conf";
    let explained = fs::read_to_string(folder().join("README.md")).expect("conf.d/README.md");
    assert!(explained.contains(&format!("[{name}]({name})")));
    let config = example(name);
    let server = config.virtual_servers.first().expect("a virtual server");
    assert_eq!(server.keep_at_least, 2);
    let slow: Vec<u64> = server.real_servers.iter().map(|real| real.slow_start.as_secs()).collect();
    assert_eq!(slow, [60, 60, 0]);
    let held = server.real_servers.iter().filter_map(|real| real.flap_damping);
    let held: Vec<(u32, u64, u64)> =
        held.map(|one| (one.changes, one.within.as_secs(), one.hold.as_secs())).collect();
    assert_eq!(held, [(3, 300, 60); 3]);
}

#[test]
fn each_deployment_is_what_it_says() {
    // name, VRID, forwarding, scheduler, real servers in the table, checks in all, sorry server
    let rows = [
        ("dr.conf", 51, "DR", "rr", 3, 3, false),
        ("nat.conf", 52, "NAT", "rr", 3, 3, false),
        ("tun.conf", 53, "TUN", "rr", 3, 3, false),
        ("http.conf", 54, "DR", "wlc", 3, 3, false),
        ("misc.conf", 55, "DR", "wrr", 3, 4, false),
        ("sorry.conf", 56, "DR", "rr", 3, 3, true),
    ];
    for (name, vrid, forwarding, scheduler, servers, checks, sorry) in rows {
        let config = example(name);
        let router = &config.vrrp_instances.first().expect("an instance").router;
        assert_eq!(router.vrid.get(), vrid, "{name}");
        assert_eq!(config.virtual_servers.len(), 1, "{name}");
        let server = config.virtual_servers.first().expect("a virtual server");
        assert_eq!(server.forwarding.to_string(), forwarding, "{name}");
        assert_eq!(server.service.scheduler.as_str(), scheduler, "{name}");
        assert_eq!(server.real_servers.len(), servers, "{name}");
        assert_eq!(server.real_servers.iter().map(|real| real.checks.len()).sum::<usize>(), checks, "{name}");
        assert_eq!(server.sorry_server.is_some(), sorry, "{name}");
        let addresses: BTreeSet<_> = server.real_servers.iter().map(|real| real.address).collect();
        assert_eq!(addresses.len(), servers, "{name}: a server twice");
    }
}

#[test]
fn the_pair_fits_together() {
    let (master, backup) = (example("vrrp-pair-master.conf"), example("vrrp-pair-backup.conf"));
    let (master, backup) = (&master.vrrp_instances[0], &backup.vrrp_instances[0]);
    assert!(master.router.priority > backup.router.priority);
    assert_eq!(master.router.vrid, backup.router.vrid);
    assert_eq!(master.router.addresses, backup.router.addresses);
    for scripts in [&master.notify, &backup.notify] {
        assert!(
            [&scripts.master, &scripts.backup, &scripts.fault, &scripts.any]
                .iter()
                .all(|script| script.is_some())
        );
    }
}

#[test]
fn scripts_of_the_tracking_example() {
    let config = example("script-tracking.conf");
    assert_eq!(
        config.vrrp_scripts.keys().map(AsRef::as_ref).collect::<Vec<_>>(),
        ["web_answers", "not_in_maintenance"]
    );
    let program = |name: &str| config.scripts[&config.vrrp_scripts[name].script].argv.clone();
    assert_eq!(program("web_answers"), ["/usr/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"]);
    assert_eq!(program("not_in_maintenance"), ["/usr/bin/test", "!", "-e", "/run/maintenance"]);
}

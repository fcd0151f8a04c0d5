//! What is told of virtual routers and sync groups: every notify script in its order with arguments, environment and user, and
//! the lines of the FIFOs beside them.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use crate::fifo::{Fifo, executable};
use crate::forge::{Forged, Sender};
use crate::topology::{Lab, host};
use crate::{step, vip};

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const LIMIT: Duration = Duration::from_secs(8);
/// What a script does not inherit.
const REMOVED: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];

/// An instance that is known by the last octet of its address.
fn instance(number: u8, more: &str) -> String {
    format!(
        "vrrp_instance VI_{number} {{\n  interface eth0\n  virtual_router_id 5{number}\n  priority 100\n  advert_int 0.1\n  \
         virtual_ipaddress {{\n    10.0.0.{}/32\n  }}\n{more}}}\n",
        99 + number
    )
}

/// `keyword "script object word" user` for each.
fn told(script: &Path, object: &str, words: &[(&str, &str, &str)]) -> String {
    let line = |(keyword, word, user): &(&str, &str, &str)| {
        format!("  {keyword} \"{} {object} {word}\" {user}\n", script.display())
    };
    words.iter().map(line).collect()
}

/// The file with every instance, and that of the reload, which lacks two of them.
fn configs(dir: &Path, script: &Path, reader: &Path) -> (String, String) {
    let at = dir.display();
    let globals = format!(
        "global_defs {{\n  vrrp_version 3\n  enable_script_security\n  script_user nobody\n  notify_fifo {at}/all\n  \
         notify_fifo_script \"{} first\"\n  vrrp_notify_fifo {at}/vrrp\n  vrrp_notify_priority_changes\n  \
         fifo_write_vrrp_states_on_reload\n}}\n\
         vrrp_script weigh {{\n  script \"/bin/sh -c 'test -e {at}/up'\"\n  interval 1\n  fall 1\n  rise 1\n}}\n",
        reader.display()
    );
    let all = |object, more: &[(&str, &str, &str)]| {
        let common = [
            ("notify_master", "master", ""),
            ("notify_backup", "backup", ""),
            ("notify_fault", "fault", "root"),
            ("notify_stop", "stop", ""),
            ("notify", "any", ""),
        ];
        told(script, object, &[&common, more].concat())
    };
    let one = instance(1, &all("VI_1", &[("notify_master_rx_lower_pri", "low", "root nogroup")]));
    let two = instance(2, &told(script, "VI_2", &[("notify", "fails", "")]));
    let group =
        format!("vrrp_sync_group VG_1 {{\n  group {{\n    VI_1\n    VI_2\n  }}\n{}}}\n", all("VG_1", &[]));
    let tracks = "  track_script {\n    weigh weight -10\n  }\n";
    let deleted = told(script, "VI_3", &[("notify_deleted", "deleted", ""), ("notify", "any", "")]);
    let three = instance(3, &format!("{tracks}{deleted}"));
    let four = instance(4, &told(script, "VI_4", &[("notify_fault", "fault", ""), ("notify", "any", "")]));
    let kept = format!("{globals}{one}{two}{group}");
    (format!("{kept}{three}{four}"), kept)
}

/// Appends arguments, user, group and, of a stop, how often the address is there; keeps its environment of one run.
fn teller(dir: &Path) -> Result<std::path::PathBuf> {
    let at = dir.display();
    let body = format!(
        "case \"$2\" in\n\
         stop) left=\" $(ip -o address show to {VIP} | wc -l)\";;\n\
         fails) status=7;;\n\
         low) cat /proc/$$/environ >{at}/environ;;\n\
         esac\n\
         echo \"$*$left, $(id -un) $(id -gn)\" >>{at}/told\n\
         exit $status"
    );
    fs::write(dir.join("told"), "")?;
    fs::set_permissions(dir.join("told"), fs::Permissions::from_mode(0o666))?;
    executable(dir, "tell", &body)
}

pub fn notifications(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let dir = tempfile::Builder::new().prefix("lbd-notify-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let file = |name: &str| dir.path().join(name);
    let script = teller(dir.path())?;
    let reader =
        executable(dir.path(), "read", &format!("exec cat \"$2\" >>{}", file("read.log").display()))?;
    fs::write(file("read.log"), "")?;
    fs::set_permissions(file("read.log"), fs::Permissions::from_mode(0o666))?;
    fs::write(file("up"), "")?;
    let (before, after) = configs(dir.path(), &script, &reader);
    let fifo = Fifo::new(&file("vrrp"))?;
    let mut a = ctx
        .director("a", lab.host("a"), &before)?
        .env("IFS", "x")
        .env("LD_PRELOAD", "")
        .env("LD_LIBRARY_PATH", "/nowhere")
        .env("LBD_TEST_STAYS", "yes");
    let line = |object: &str, rest: &str| match object {
        "VG_1" => format!("GROUP \"VG_1\" {rest} 0"),
        _ => format!("INSTANCE \"{object}\" {rest}"),
    };
    let expect = |object, rest, count| fifo.expect(&line(object, rest), count, LIMIT + ctx.slack());
    a.start_and_wait()?;
    for (object, rest) in [("VG_1", "MASTER"), ("VI_3", "MASTER 100"), ("VI_4", "MASTER 100")] {
        expect(object, rest, 1)?;
    }
    let made = fs::symlink_metadata(file("all"))?;
    let nobody = nix::unistd::User::from_name("nobody")?.context("no user nobody")?;
    ensure!(
        (made.mode() & 0o777, made.uid(), made.gid()) == (0o600, nobody.uid.as_raw(), nobody.gid.as_raw()),
        "the FIFO that lbd made: {made:?}"
    );

    let lower = Forged { priority: 50, ..Forged::new(3, PEER, 51, VIP) };
    Sender::new(lab.host("b"), PEER)?.send(&lower.datagram())?;
    expect("VI_1", "MASTER_RX_LOWER_PRI 100", 1)?;
    fs::remove_file(file("up"))?;
    expect("VI_3", "MASTER_PRIORITY 90", 1)?;

    lab.cable("a", "eth0", false)?;
    expect("VG_1", "FAULT", 1)?;
    expect("VI_3", "FAULT 90", 1)?;
    fs::write(file("up"), "")?;
    expect("VI_3", "BACKUP_PRIORITY 100", 1)?;
    lab.cable("a", "eth0", true)?;
    for (object, rest) in [("VG_1", "MASTER"), ("VI_3", "MASTER 100"), ("VI_4", "MASTER 100")] {
        expect(object, rest, 2)?;
    }
    let environment = fs::read(format!("/proc/{}/environ", a.pid()?))?;

    a.configure(&after)?;
    a.reload()?;
    expect("VI_3", "DELETED 100", 1)?;
    expect("VI_4", "FAULT 100", 2)?;
    // As they are.
    expect("VG_1", "MASTER", 3)?;
    ensure!(a.stop()?.success(), "the stop failed");
    expect("VG_1", "STOP", 1)?;

    let lines = fifo.lines();
    step!("lines: {lines:#?}");
    for (object, want) in [
        (
            "VI_1",
            &[
                "BACKUP 100",
                "MASTER 100",
                "MASTER_RX_LOWER_PRI 100",
                "FAULT 100",
                "BACKUP 100",
                "MASTER 100",
                "MASTER 100",
                "STOP 100",
            ][..],
        ),
        (
            "VI_2",
            &["BACKUP 100", "MASTER 100", "FAULT 100", "BACKUP 100", "MASTER 100", "MASTER 100", "STOP 100"],
        ),
        (
            "VI_3",
            &[
                "BACKUP 100",
                "MASTER 100",
                "MASTER_PRIORITY 90",
                "FAULT 90",
                "BACKUP_PRIORITY 100",
                "BACKUP 100",
                "MASTER 100",
                "DELETED 100",
            ],
        ),
        ("VI_4", &["BACKUP 100", "MASTER 100", "FAULT 100", "BACKUP 100", "MASTER 100", "FAULT 100"]),
        ("VG_1", &["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "MASTER", "STOP"]),
    ] {
        let have: Vec<&String> =
            lines.iter().filter(|line| line.contains(&format!("\"{object}\""))).collect();
        let want: Vec<String> = want.iter().map(|rest| line(object, rest)).collect();
        ensure!(have.iter().copied().eq(&want), "{object}: {have:#?}, want {want:#?}");
    }
    let last = [line("VI_1", "STOP 100"), line("VI_2", "STOP 100"), line("VG_1", "STOP")];
    ensure!(lines.ends_with(&last), "instances stop before groups: {lines:#?}");
    let read = fs::read_to_string(file("read.log"))?;
    ensure!(read.lines().eq(lines.iter()), "through the script of notify_fifo: {read}");
    ensure!(!file("all").exists() && file("vrrp").exists(), "only the FIFO that lbd made goes with it");

    scripts(&fs::read_to_string(file("told"))?)?;

    // What stays in the kernel is told of, too.
    let mut leaves = ctx.director("leaves", lab.host("a"), &after)?.args(&["-V"]);
    leaves.start_and_wait()?;
    expect("VG_1", "MASTER", 4)?;
    vip::expect(leaves.ns(), VIP, true, LIMIT)?;
    ensure!(leaves.stop()?.success(), "the stop failed");
    expect("VG_1", "STOP", 2)?;
    ensure!(vip::held(leaves.ns(), VIP)?, "-V removed the address");
    ensure!(fifo.lines().ends_with(&last), "stops with -V: {:#?}", fifo.lines());

    let log = a.log();
    ensure!(
        log.contains("notify script: exit status 7") && log.contains("vrrp_instance VI_2"),
        "an exit status is not logged"
    );
    let names = |octets: &[u8]| -> BTreeSet<String> {
        octets.split(|octet| *octet == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
    };
    let (own, had) = (names(&environment), names(&fs::read(file("environ"))?));
    let removed = |one: &&String| REMOVED.iter().any(|name| one.starts_with(&format!("{name}=")));
    let want: BTreeSet<String> = own.iter().filter(|one| !removed(one)).cloned().collect();
    ensure!(want.len() + REMOVED.len() == own.len(), "the daemon had all three: {own:#?}");
    ensure!(had == want, "environment {had:#?}, want {want:#?}");
    Ok(())
}

/// What the scripts said, of each object in its order.
fn scripts(told: &str) -> Result<()> {
    step!("told:\n{told}");
    let state = |kind: &str, name: &str, state: &str, priority: u8| {
        let word = state.to_lowercase();
        let left = if word == "stop" { " 0" } else { "" };
        let user = if word == "fault" { "root root" } else { "nobody nogroup" };
        [
            format!("{name} {word}{left}, {user}"),
            format!("{name} any {kind} {name} {state} {priority}, nobody nogroup"),
        ]
    };
    let one = |word: &str| state("INSTANCE", "VI_1", word, 100);
    let group = |word: &str| state("GROUP", "VG_1", word, 0);
    let any = |name: &str, state: &str, priority: u8| {
        format!("{name} any INSTANCE {name} {state} {priority}, nobody nogroup")
    };
    let mut three: Vec<String> =
        [("BACKUP", 100), ("MASTER", 100), ("FAULT", 90), ("BACKUP", 100), ("MASTER", 100), ("DELETED", 100)]
            .map(|(state, priority)| any("VI_3", state, priority))
            .into();
    // Its end by the reload: notify_deleted.
    three.insert(5, "VI_3 deleted, nobody nogroup".to_owned());
    let mut four: Vec<String> = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "FAULT"]
        .map(|state| any("VI_4", state, 100))
        .into();
    // Its end by the reload: told as FAULT, but notify_fault runs for a fault alone.
    four.insert(2, "VI_4 fault, nobody nogroup".to_owned());
    for (object, want) in [
        (
            "VI_1",
            [
                &[one("BACKUP"), one("MASTER")].concat()[..],
                &["VI_1 low, root nogroup".to_owned()],
                &[one("FAULT"), one("BACKUP"), one("MASTER"), one("STOP")].concat(),
            ]
            .concat(),
        ),
        ("VG_1", ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"].map(group).concat()),
        ("VI_3", three),
        ("VI_4", four),
    ] {
        let have: Vec<&str> = told.lines().filter(|line| line.starts_with(&format!("{object} "))).collect();
        ensure!(have == want, "{object}: {have:#?}, want {want:#?}");
    }
    Ok(())
}

//! The corpus: configurations that others wrote. Each is read without losing a line, counts as a count
//! without the parser does, and is the same after a dump.

mod common;
#[path = "common/count.rs"]
mod count;
#[path = "common/fragments.rs"]
mod fragments;
#[path = "common/keepalived.rs"]
mod keepalived;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use count::{Count, count, ids};
use keepalived::{Judge, judge};
use lbd_grammar::config::RealServer;
use lbd_grammar::{Config, Kind, LoadOptions, Loaded, Secrets, dump, load, load_str};

/// What is wrong with these by its lines: not configurations of keepalived.
const NEGATIVE: [&str; 2] = ["28-broken-pseudo.conf", "29-dpvs-dialect.conf"];

/// What a file earns a message for: file, beginning of the message, lines. keepalived has the same to
/// say of each.
const EARNED: &[(&str, &str, &[usize])] = &[
    ("01-linuxgateway.conf", "unknown keyword `garp_master_delay`", &[9]),
    ("02-gridftp-dr-v4v6.conf", "unknown keyword `group`", &[133, 217, 301]),
    ("05-nat-sorry-sync.conf", "unknown keyword `lvs_id`", &[9]),
    ("05-nat-sorry-sync.conf", "unknown keyword `nat_mask`", &[41]),
    ("06-dr-sync-lvssync.conf", "unknown keyword `lvs_sync_daemon_inteface`", &[28, 46]),
    ("06-dr-sync-lvssync.conf", "unknown keyword `nat_mask`", &[64, 90]),
    ("06-dr-sync-lvssync.conf", "unknown keyword `nb_get_retry`", &[71, 79, 97, 106]),
    ("10-nat-misc-ssl.conf", "unknown keyword `nat_mask`", &[40]),
    ("10-nat-misc-ssl.conf", "unknown keyword `SMTP_CHEKC`", &[55]),
    ("13-dr-many-rs.conf", "unknown keyword `nb_get_retry`", &[87]),
    ("13-dr-many-rs.conf", "unknown keyword `connetc_port`", &[91]),
    ("16-sorry-sync-small.conf", "unknown keyword `lvs_id`", &[10]),
    ("18-inhibit-dr.conf", "unknown keyword `nb_get_retry`", &[34, 43]),
    ("19-dr-strict.conf", "unknown keyword `nat_mask`", &[38]),
    ("19-dr-strict.conf", "unknown keyword `nb_get_retry`", &[46, 55]),
    ("20-nat-http-udp.conf", "this block is not closed", &[52]),
    ("26-include-tree-vs.conf", "unknown keyword `nat_mask`", &[8]),
    // Includes that are not there.
    (
        "31-issue1446-includes.conf",
        "no file matches",
        &[31, 60, 92, 122, 146, 169, 188, 218, 238, 258, 278, 280],
    ),
    // Marks of a preprocessor.
    (
        "40-v3-ipv6-vmac-static.conf",
        "unknown keyword `%",
        &[
            6, 9, 10, 11, 38, 39, 40, 43, 66, 70, 75, 101, 102, 103, 104, 108, 113, 114, 119, 131, 132, 133,
            134, 138, 142, 147, 156, 157, 158, 159, 162, 184,
        ],
    ),
];

/// The members of a file that includes a folder.
const MEMBERS: &[(&str, &[&str])] = &[
    ("23-include-only.conf", &[]),
    ("24-include-tree-main.conf", &["25-include-tree-instance.conf", "26-include-tree-vs.conf"]),
];

/// Every configuration of the corpus with the id it is read for: name, text with that of its members,
/// id, file.
fn each(test: &str, mut job: impl FnMut(&str, &str, &str, &Path)) {
    let Some(files) = common::shared(test, "corpus") else { return };
    assert_eq!(files.len(), 40);
    for (name, text) in files.iter().filter(|(name, _)| !NEGATIVE.contains(&name.as_str())) {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, below) = (folder.path().join(name), folder.path().join("conf.d"));
        // What is included is beside it, not in the folders of this host.
        let text = text.replace("include /etc/keepalived/conf.d/", "include conf.d/");
        std::fs::write(&file, &text).expect("a file");
        let mut whole = text.clone();
        if let Some((_, members)) = MEMBERS.iter().find(|(with, _)| with == name) {
            std::fs::create_dir(&below).expect("a folder");
            std::fs::write(below.join("empty.conf"), "").expect("a file");
            for (member, text) in files.iter().filter(|(name, _)| members.contains(&name.as_str())) {
                std::fs::write(below.join(member), text).expect("a file");
                whole.push_str(text);
            }
        }
        for id in ids(&text) {
            job(name, &whole, &id, &file);
        }
    }
}

fn read(file: &Path, id: &str) -> Loaded {
    load(file, &LoadOptions { config_id: Some(id.to_owned()), ..LoadOptions::default() })
}

/// What it means, also where it cannot run.
fn configuration(loaded: &Loaded) -> Option<&Config> {
    loaded.config.as_ref().or(loaded.draft.as_deref())
}

#[test]
fn no_line_of_the_corpus_is_lost() {
    let mut wrong = Vec::new();
    let mut earned = BTreeSet::new();
    each("no_line_of_the_corpus_is_lost", |name, _, id, file| {
        let loaded = read(file, id);
        for one in &loaded.diagnostics {
            if !matches!(one.kind, Kind::UnknownKeyword | Kind::Syntax | Kind::CannotRead) {
                continue;
            }
            let place = one.span.map(|span| loaded.sources.place(span));
            let line = place.as_ref().map_or(0, |place| place.line);
            let of = |row: &(&str, &str, &[usize])| {
                place.as_ref().is_some_and(|place| place.file.ends_with(row.0))
                    && one.message.starts_with(row.1)
                    && row.2.contains(&line)
            };
            match EARNED.iter().find(|row| of(row)) {
                Some((file, message, _)) => drop(earned.insert((*file, *message, line))),
                None => wrong.push(format!("{name} @{id} {:?} {}", one.kind, one.summary(&loaded.sources))),
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows =
        EARNED.iter().flat_map(|(file, message, lines)| lines.iter().map(|line| (*file, *message, *line)));
    let unsaid: Vec<_> = rows.filter(|row| !earned.is_empty() && !earned.contains(row)).collect();
    assert!(unsaid.is_empty(), "no longer said: {unsaid:?}");
}

#[test]
fn the_corpus_counts_as_without_the_parser() {
    let mut wrong = Vec::new();
    each("the_corpus_counts_as_without_the_parser", |name, text, id, file| {
        let loaded = read(file, id);
        let mut expected = count(text, id);
        for (_, left_out) in LEFT_OUT.iter().filter(|(file, _)| *file == name) {
            expected.checks -= left_out;
        }
        let got = configuration(&loaded).map(counted);
        if got != Some(expected) {
            let said = mistakes(&loaded);
            wrong.push(format!("{name} @{id}: {expected:?}\n  got {got:?}\n  {said}"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that mean nothing, by file: what they lack has a warning.
const LEFT_OUT: &[(&str, usize)] = &[
    // MISC_CHECK and SSL_GET are empty, TCP_CHECK of a server without a port names none.
    ("10-nat-misc-ssl.conf", 3),
];

fn counted(config: &Config) -> Count {
    let servers = &config.virtual_servers;
    let real_servers: Vec<&RealServer> = servers.iter().flat_map(|server| &server.real_servers).collect();
    Count {
        instances: config.vrrp_instances.len(),
        virtual_servers: servers.len(),
        real_servers: real_servers.len(),
        checks: real_servers.iter().map(|real| real.checks.len()).sum(),
    }
}

#[test]
fn the_corpus_is_the_same_after_a_dump() {
    let mut wrong = Vec::new();
    each("the_corpus_is_the_same_after_a_dump", |name, _, id, file| {
        if let Some(found) = dumped(&read(file, id)) {
            wrong.push(format!("{name} @{id}: {found}"));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fragment_is_the_same_after_a_dump() {
    let mut wrong = Vec::new();
    for fragment in fragments::all().into_iter().chain(fragments::host()) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = fragment.write(folder.path()).expect("its files");
        let id = fragment.config_id.as_deref().unwrap_or("anyone");
        if let Some(found) = dumped(&read(&file, id)) {
            wrong.push(format!("{}: {found}", fragment.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a dump loses or changes.
fn dumped(loaded: &Loaded) -> Option<String> {
    let Some(config) = configuration(loaded) else { return Some("nothing to dump".to_owned()) };
    let text = dump(config, Secrets::Shown);
    let again = load_str("dump", &text);
    let Some(same) = configuration(&again) else {
        return Some(format!("does not load\n  {}", mistakes(&again)));
    };
    let found = if same != config {
        difference(&format!("{config:#?}"), &format!("{same:#?}"))
    } else {
        difference(&text, &dump(same, Secrets::Shown))
    };
    found.map(|found| format!("{found}\n  {}", mistakes(&again)))
}

/// What was said but for what no code serves yet.
fn mistakes(loaded: &Loaded) -> String {
    let mistakes = loaded.diagnostics.iter().filter(|one| one.kind != Kind::Unserved);
    mistakes.map(|one| one.summary(&loaded.sources)).collect::<Vec<_>>().join("\n  ")
}

/// The first line in which two texts differ.
fn difference(one: &str, other: &str) -> Option<String> {
    let pairs = one.lines().zip(other.lines().chain(std::iter::repeat("nothing")));
    let (number, (one, other)) = pairs.enumerate().find(|(_, (one, other))| one != other)?;
    Some(format!("line {number}: {} / {}", one.trim(), other.trim()))
}

/// What the table calls earned, keepalived does not know either.
#[test]
fn keepalived_has_the_same_to_say_of_the_corpus() {
    let name = "keepalived_has_the_same_to_say_of_the_corpus";
    let Some(keepalived) = Judge::new(name, &["eth0"]) else { return };
    let mut files: Vec<(String, String, PathBuf, tempfile::TempDir)> = Vec::new();
    each(name, |name, _, id, file| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = std::fs::read_to_string(file).expect("the file");
        // There is no such namespace.
        let text = text.replace("net_namespace", "#");
        let copy = folder.path().join(name);
        std::fs::write(&copy, text).expect("a copy");
        files.push((name.to_owned(), id.to_owned(), copy, folder));
    });
    let missing: Vec<String> = keepalived
        .each(&files, |(name, id, file, folder)| {
            let said = judge(file, Some(id), folder.path()).output;
            let rows =
                EARNED.iter().filter(|(file, message, _)| file == name && message.starts_with("unknown"));
            let lines = rows.flat_map(|(_, _, lines)| lines.iter());
            let unsaid: Vec<&usize> =
                lines.filter(|line| !said.contains(&format!("Line {line}) Unknown keyword"))).collect();
            (!unsaid.is_empty()).then(|| format!("{name}: lines {unsaid:?}\n{said}"))
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// What is no configuration of keepalived has a message for each thing that is foreign, by how they begin, and
/// no others.
#[test]
fn a_foreign_dialect_is_no_flood() {
    let Some(files) = common::shared("a_foreign_dialect_is_no_flood", "corpus") else { return };
    for (name, text) in files.iter().filter(|(name, _)| NEGATIVE.contains(&name.as_str())) {
        let loaded = load_str(name, text);
        let said: Vec<String> = loaded
            .diagnostics
            .iter()
            .filter(|one| one.kind != Kind::Unserved)
            .map(|one| one.summary(&loaded.sources))
            .collect();
        let want = if name.starts_with("28") { PSEUDO } else { DIALECT };
        let same =
            said.len() == want.len() && said.iter().zip(want).all(|(said, want)| said.starts_with(want));
        assert!(same, "{name}: {said:#?}");
    }
}

const PSEUDO: &[&str] = &[
    "28-broken-pseudo.conf:19:15: vrrp_instance `VI_1` has neither addresses nor scripts; add `virtual_ipaddress { … }`, or say `no_virtual_ipaddress`",
    "28-broken-pseudo.conf:20:8: unknown state `MASTER|BACKUP`; one of: MASTER, BACKUP",
    "28-broken-pseudo.conf:22:15: `mcast_src_ip`: `@ip` is not an IP address; for example 192.0.2.10",
    "28-broken-pseudo.conf:23:2: `lvs_sync_daemon_interface` is an old way to say `lvs_sync_daemon`",
    "28-broken-pseudo.conf:26:2: `nopreempt` leaves a living master alone",
    "28-broken-pseudo.conf:29:3: `auth_type PASS` sends its password in clear text",
    "28-broken-pseudo.conf:40:1: unknown keyword `vrrp_server`; remove it, or check the braces before it",
];
const DIALECT: &[&str] = &[
    "29-dpvs-dialect.conf:6:1: unknown keyword `local_address_group`; remove it",
    "29-dpvs-dialect.conf:14:5: unknown keyword `dpdk_interface`; did you mean `track_interface`?",
    "29-dpvs-dialect.conf:25:9: `auth_type PASS` sends its password in clear text",
    "29-dpvs-dialect.conf:44:13: unknown lb_kind `FNAT`; did you mean `NAT`? (ignored: NAT is used)",
    "29-dpvs-dialect.conf:47:5: unknown keyword `establish_timeout`; remove it",
    "29-dpvs-dialect.conf:48:5: unknown keyword `daddr_group_name`; remove it",
    "29-dpvs-dialect.conf:49:5: unknown keyword `laddr_group_name`; remove it",
    "29-dpvs-dialect.conf:79:13: unknown lb_algo `conhash`; one of: rr, wrr, lc,",
    "29-dpvs-dialect.conf:80:13: unknown lb_kind `FNAT`; did you mean `NAT`? (ignored: NAT is used)",
    "29-dpvs-dialect.conf:83:5: unknown keyword `daddr_group_name`; remove it",
    "29-dpvs-dialect.conf:84:5: unknown keyword `laddr_group_name`; remove it",
    "29-dpvs-dialect.conf:86:5: real_server 192.168.88.30 is inet, the virtual server inet6: NAT cannot join them",
    "29-dpvs-dialect.conf:96:5: real_server 192.168.88.130 is inet, the virtual server inet6: NAT cannot join them",
    "29-dpvs-dialect.conf:106:5: real_server 192.168.88.30 is inet, the virtual server inet6: NAT cannot join them",
    "29-dpvs-dialect.conf:117:1: unknown keyword `deny_address_group`; remove it",
    "29-dpvs-dialect.conf:120:1: unknown keyword `deny_address_group`; remove it",
];

//! `lbd -t` as a process: which stream, which exit status, which form. Needs no rights.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `lbd -f FILE` with further flags in a directory.
fn lbd(dir: &Path, file: &str, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lbd"))
        .current_dir(dir)
        .args(["-f", file])
        .args(flags)
        .env_remove("NO_COLOR")
        .output()
        .expect("lbd runs")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (name, text) in [
        ("clean.conf", "global_defs {\n router_id LVS_1\n}\n"),
        ("lint.conf", "global_defs {\n router_id LVS_1 stray\n}\n"),
        ("wrong.conf", "global_def {\n}\n"),
        ("broken.conf", "global_defs {\n"),
    ] {
        fs::write(dir.path().join(name), text).expect("file");
    }
    dir
}

#[test]
fn exit_status_and_standard_error() {
    let dir = folder();
    for (file, flags, status, says) in [
        ("clean.conf", &["-t"][..], 0, ""),
        ("lint.conf", &["-t"], 0, "lint.conf:2:18"),
        ("lint.conf", &["-t", "--strict"], 4, "lint.conf:2:18"),
        ("wrong.conf", &["--config-test", "-i", "lb1"], 4, "did you mean `global_defs`?"),
        ("broken.conf", &["-nlt", "-e"], 3, "broken.conf:1:"),
        ("missing.conf", &["-t"], 3, "cannot read missing.conf"),
    ] {
        let output = lbd(dir.path(), file, flags);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{file} {flags:?}: {said}");
        assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{file} {flags:?}: {said}");
        assert!(!said.contains('\x1b'), "no colours off a terminal: {said}");
        assert_eq!(text(&output.stdout), "");
    }
}

/// A script that everybody can write, and no script security: 5.
#[test]
fn scripts_without_security_have_their_own_status() {
    let dir = folder();
    let script = dir.path().join("check");
    fs::write(&script, "#!/bin/sh\n").expect("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).expect("mode");
    let text = format!(
        "virtual_server 192.0.2.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n quorum_up \"{}\"\n \
         real_server 192.0.2.10 80 {{\n }}\n}}\n",
        script.display()
    );
    fs::write(dir.path().join("script.conf"), text).expect("file");
    let output = lbd(dir.path(), "script.conf", &["-t", "--json"]);
    let kinds = kinds(&output.stdout);
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| kind == "script_security"), "{kinds:?}");
    assert_eq!(output.status.code(), Some(5));
}

/// The kinds of a document's diagnostics.
fn kinds(document: &[u8]) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_slice(document).expect("JSON");
    let found = document.get("diagnostics").and_then(|found| found.as_array()).expect("diagnostics");
    let kind =
        |one: &serde_json::Value| one.get("kind").and_then(|kind| kind.as_str()).expect("a kind").to_owned();
    found.iter().map(kind).collect()
}

#[test]
fn json_goes_to_standard_output() {
    let dir = folder();
    for (file, status) in [("clean.conf", 0), ("wrong.conf", 4), ("broken.conf", 3)] {
        let output = lbd(dir.path(), file, &["-t", "--json"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(status), String::new()));
        assert_eq!((&document["file"], &document["exit_code"]), (&file.into(), &status.into()));
        assert_eq!(document["diagnostics"].as_array().map(Vec::is_empty), Some(status == 0));
    }
}

#[test]
fn a_log_file_is_appended_to_in_all_its_forms() {
    let dir = folder();
    let log = dir.path().join("log");
    for (flags, count) in [(&["-tlog"][..], 1), (&["-t=log"], 2), (&["--config-test=log"], 3)] {
        let output = lbd(dir.path(), "wrong.conf", flags);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(4), String::new()), "{flags:?}");
        let said = fs::read_to_string(&log).expect("a log");
        assert_eq!(said.matches("unknown keyword `global_def`").count(), count, "{flags:?}: {said}");
    }
    fs::remove_file(&log).expect("removed");
    let output = lbd(dir.path(), "wrong.conf", &["-tlog", "--json"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    let said = fs::read(&log).expect("a log");
    assert!(serde_json::from_slice::<serde_json::Value>(&said).is_ok(), "{}", text(&said));
    // A link could lead anywhere.
    std::os::unix::fs::symlink(&log, dir.path().join("link")).expect("link");
    let output = lbd(dir.path(), "clean.conf", &["-tlink"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("lbd: link: "), "{}", text(&output.stderr));
}

/// A file that the one who asks may not read: root may read all, so the test asks as nobody then.
#[test]
fn an_unreadable_file_is_said() {
    const NOBODY: u32 = 65_534;
    let dir = folder();
    let mode = |name: &str, mode| {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).expect("permissions");
    };
    fs::write(dir.path().join("main.conf"), "include clean.conf\n").expect("file");
    mode("clean.conf", 0o000);
    mode("", 0o755);
    // Where nobody can get at it.
    let program = dir.path().join("lbd");
    fs::copy(env!("CARGO_BIN_EXE_lbd"), &program).expect("a copy");
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    for (file, status, says) in [
        ("clean.conf", 3, "error: cannot read clean.conf: permission denied"),
        ("main.conf", 0, "warning: cannot include clean.conf: permission denied"),
    ] {
        let mut command = Command::new(&program);
        command.current_dir(dir.path()).args(["-t", "-f", file]);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let Ok(output) = command.output() else {
            let reason = "root without CAP_SETUID, or a folder for temporary files that others cannot enter";
            return lbd_integration::skip::report("an_unreadable_file_is_said", reason);
        };
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{file}: {said}");
        assert!(said.contains(says), "{file}: {said}");
    }
}

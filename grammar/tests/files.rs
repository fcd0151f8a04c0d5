//! Files: includes, and what cannot be read.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::summaries;
use lbd_grammar::{Kind, LoadOptions, Loaded, Severity, exit_code, load, load_str};
use tempfile::TempDir;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    directory
}

fn load_main(directory: &TempDir) -> Loaded {
    load(&directory.path().join("main.conf"), &LoadOptions::default())
}

/// Summaries with the directory cut off.
fn said(directory: &TempDir, loaded: &Loaded) -> Vec<String> {
    let prefix = format!("{}/", directory.path().display());
    summaries(loaded).into_iter().map(|line| line.replace(&prefix, "")).collect()
}

/// As in keepalived the name of the main file is a pattern.
#[test]
fn the_main_file_may_be_several() {
    let directory = directory(&[
        ("1.conf", "global_defs {\n router_id here\n}\n"),
        ("2.conf", "global_defs {\n vrrp_version 3\n bad\n}\n"),
        ("3.conf", "$X=4\nglobal_defs {\n vrrp_garp_master_delay $X\n}\n"),
    ]);
    let load_as = |name: &str| load(&directory.path().join(name), &LoadOptions::default());
    let loaded = load_as("[12].conf");
    assert_eq!(
        said(&directory, &loaded),
        ["2.conf:3:2: unknown keyword `bad`; remove it; `global_defs` has no such keyword"]
    );
    let config = loaded.config.expect("a configuration");
    let version = config.global.vrrp.version;
    assert_eq!((config.global.router_id.as_deref(), version), (Some("here"), lbd_vrrp::Version::V3));
    let config = load_as("{3,1}.conf").config.expect("a configuration");
    assert_eq!(config.global.router_id.as_deref(), Some("here"));
    let missing = said(&directory, &load_as("[89].conf"));
    assert_eq!(
        missing,
        ["cannot read [89].conf: there is no such file; name an existing, readable file with -f"]
    );
}

#[test]
fn includes_are_relative_to_the_file_and_sorted() {
    let directory = directory(&[
        ("main.conf", "include conf.d/*.conf\nglobal_defs {\n include name\n}\n"),
        ("name", "router_id here\n"),
        (
            "conf.d/b.conf",
            "vrrp_instance B {\n include ../eth\n virtual_router_id 2\n no_virtual_ipaddress\n}",
        ),
        (
            "conf.d/a.conf",
            "vrrp_instance A {\n include ../eth\n virtual_router_id 1\n no_virtual_ipaddress\n}",
        ),
        ("conf.d/.hidden.conf", "nonsense"),
        ("conf.d/c.txt", "nonsense"),
        ("eth", "interface eth0 # own"),
    ]);
    let loaded = load_main(&directory);
    assert_eq!(said(&directory, &loaded), Vec::<String>::new());
    let config = loaded.config.expect("a configuration");
    assert_eq!(config.global.router_id.as_deref(), Some("here"));
    let names: Vec<&str> = config.vrrp_instances.iter().map(|found| &*found.router.name).collect();
    assert_eq!(names, ["A", "B"]);
    let place = loaded.spans.interface("eth0").map(|span| loaded.sources.place(span).to_string());
    assert!(place.is_some_and(|place| place.ends_with("eth:1:1") || place.ends_with("eth:1:11")));
}

#[test]
fn brace_alternatives_are_included() {
    let directory = directory(&[
        ("main.conf", "include {x,y}.conf"),
        ("x.conf", "nonsense_x"),
        ("y.conf", "\n nonsense_y"),
    ]);
    let said = said(&directory, &load_main(&directory));
    assert_eq!(
        said,
        [
            "x.conf:1:1: unknown keyword `nonsense_x`; remove it, or check the braces before it",
            "y.conf:2:2: unknown keyword `nonsense_y`; remove it, or check the braces before it",
        ]
    );
}

#[test]
fn an_include_that_cannot_be_read_is_said() {
    for (keyword, severity, code) in [("include", Severity::Warning, 0), ("includea", Severity::Error, 3)] {
        for (name, pattern, want) in [
            ("missing", "nothing.conf", "no file matches `nothing.conf`"),
            ("no match", "nothing*.conf", "no file matches `nothing*.conf`"),
            ("directory", "sub", "cannot include sub: it is a directory"),
            ("executable", "run.conf", "run.conf is executable and therefore not included"),
            ("device", "/dev/zero", "cannot include /dev/zero: it is not a regular file"),
        ] {
            let directory = directory(&[
                ("main.conf", &format!("{keyword} {pattern}\n")),
                ("run.conf", "x"),
                ("sub/x", ""),
            ]);
            let run = directory.path().join("run.conf");
            fs::set_permissions(run, fs::Permissions::from_mode(0o755)).expect("permissions");
            let loaded = load_main(&directory);
            let said = said(&directory, &loaded);
            let at = keyword.len() + 2;
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            assert!(said[0].starts_with(&format!("main.conf:1:{at}: {want}; ")), "{name}: {said:?}");
            assert_eq!(loaded.diagnostics[0].severity, severity, "{name}");
            assert_eq!(exit_code(&loaded.diagnostics), code, "{name}");
        }
    }
}

#[test]
fn an_include_loop_ends() {
    let directory = directory(&[("main.conf", "include b.conf\n"), ("b.conf", "\ninclude main.conf\n")]);
    let loaded = load_main(&directory);
    assert_eq!(
        said(&directory, &loaded),
        ["b.conf:2:9: main.conf includes itself; remove one of the includes"]
    );
    assert!(loaded.config.is_none());
}

#[test]
fn includes_are_limited_in_depth() {
    let names: Vec<String> = (0..40).map(|n| format!("{n}.conf")).collect();
    let texts: Vec<String> = (1..41).map(|n| format!("include {n}.conf")).collect();
    let mut files: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    files.push(("main.conf", "include 0.conf"));
    let directory = directory(&files);
    let said = said(&directory, &load_main(&directory));
    assert_eq!(
        said,
        ["15.conf:1:9: includes are nested more than 16 levels deep; include the file from further out"]
    );
}

#[test]
fn a_main_file_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let missing = directory.path().join("missing.conf");
    for (path, why) in [
        (missing.as_path(), "there is no such file"),
        (directory.path(), "it is a directory"),
        (Path::new("/dev/null"), "it is not a regular file"),
    ] {
        let loaded = load(path, &LoadOptions::default());
        let want = format!("cannot read {}: {why}; name an existing, readable file with -f", path.display());
        assert_eq!(summaries(&loaded), [want]);
        assert_eq!(loaded.diagnostics[0].kind, Kind::CannotRead);
        assert!(loaded.config.is_none());
        assert_eq!(exit_code(&loaded.diagnostics), 3);
    }
}

#[test]
fn other_bytes_than_utf8_do_not_matter() {
    let directory = directory(&[]);
    fs::write(directory.path().join("main.conf"), b"global_defs {\n router_id a # \xd6\xd0\n bad\n}")
        .expect("a file");
    let loaded = load_main(&directory);
    assert_eq!(
        said(&directory, &loaded),
        ["main.conf:3:2: unknown keyword `bad`; remove it; `global_defs` has no such keyword"]
    );
}

#[test]
fn depth_and_length_are_limited() {
    let deep = format!("global_defs {} {}", "{\n".repeat(100_000), "}\n".repeat(100_000));
    let loaded = load_str("c", &deep);
    assert_eq!(
        summaries(&loaded),
        ["c:65:1: blocks are nested more than 64 levels deep; check the braces before it"]
    );
    let unclosed = "a {\n".repeat(100_000);
    assert_eq!(load_str("c", &unclosed).diagnostics.len(), 1);
    let quotes = "\"".repeat(1 << 20);
    assert!(load_str("c", &quotes).diagnostics.len() <= 2);
}

#[test]
fn an_include_that_finds_nothing_names_the_remedy_that_helps() {
    let directory = directory(&[(
        "main.conf",
        "include ${_PWD}/a.conf\ninclude /nonexistent/*.conf\ninclude b/*.conf\n",
    )]);
    assert_eq!(
        said(&directory, &load_main(&directory)),
        [
            "main.conf:1:9: no file matches `a.conf`; check the name",
            "main.conf:2:9: no file matches `/nonexistent/*.conf`; check the name",
            "main.conf:3:9: no file matches `b/*.conf`; check the name; it is relative to the file it stands in",
        ]
    );
}

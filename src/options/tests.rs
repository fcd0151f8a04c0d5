use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Long flags of `command` and its subcommands are those that the page speaks of.
pub(crate) fn in_the_man_page(command: &clap::Command, page: &str) {
    let commands = || std::iter::once(command).chain(command.get_subcommands());
    let defined: BTreeSet<String> = commands()
        .flat_map(|command| command.get_arguments())
        .filter_map(clap::Arg::get_long)
        .map(Into::into)
        .collect();
    let page = page.replace('\\', "");
    let ends = |character: char| !(character.is_ascii_alphanumeric() || "-_".contains(character));
    let told: BTreeSet<String> = page
        .split("--")
        .skip(1)
        .filter_map(|rest| rest.split(ends).next())
        .filter(|name| !name.is_empty() && !["help", "version"].contains(name))
        .map(Into::into)
        .collect();
    let defined: BTreeSet<String> =
        defined.into_iter().filter(|name| !["help", "version"].contains(&name.as_str())).collect();
    assert_eq!(told, defined, "told in the man page, and defined");
    for name in ["--help", "--version"].iter().chain(&["EXIT STATUS", "FILES", "SEE ALSO"]) {
        assert!(page.contains(name), "{name}");
    }
}

fn options(line: &str) -> Options {
    match parse(["lbd"].into_iter().chain(line.split_whitespace())) {
        Ok(Request::Run(options)) => *options,
        other => panic!("`{line}` gave {other:?}"),
    }
}

fn defaults() -> Options {
    Options {
        config: None,
        parts: Parts { vrrp: true, checkers: true },
        config_test: None,
        strict: false,
        json: false,
        config_id: None,
        all_config: false,
        dump_config: false,
        detail: 0,
        keep_vrrp: false,
        keep_ipvs: false,
        take_over: false,
        umask: None,
        ignore_sigint: false,
        namespace: None,
        core_dumps: false,
        address_monitoring: false,
        pid_file: None,
        control_socket: None,
        state_file: None,
        notices: Vec::new(),
    }
}

#[test]
fn the_definition_is_consistent_and_in_the_man_page() {
    command().debug_assert();
    in_the_man_page(&command(), include_str!("../../man/lbd.8"));
}

#[test]
fn lines_as_keepalived_users_type_them() {
    let file = |name: &str| Some(PathBuf::from(name));
    let vrrp_only = Parts { vrrp: true, checkers: false };
    let check_only = Parts { vrrp: false, checkers: true };
    for (line, want) in [
        ("", defaults()),
        ("-n -l", defaults()),
        ("-nlD", Options { detail: 1, ..defaults() }),
        ("-lnDDG", Options { detail: 2, ..defaults() }),
        ("--log-detail --dont-fork --log-console --no-syslog -D", Options { detail: 2, ..defaults() }),
        ("-n -n -l -l -G -G", defaults()),
        ("-f lb.conf", Options { config: file("lb.conf"), ..defaults() }),
        ("-flb.conf", Options { config: file("lb.conf"), ..defaults() }),
        ("-nlDf lb.conf", Options { config: file("lb.conf"), detail: 1, ..defaults() }),
        ("--use-file=lb.conf", Options { config: file("lb.conf"), ..defaults() }),
        ("--use-file lb.conf", Options { config: file("lb.conf"), ..defaults() }),
        ("--use lb.conf", Options { config: file("lb.conf"), ..defaults() }),
        ("-f a -f b", Options { config: file("b"), ..defaults() }),
        ("-P", Options { parts: vrrp_only, ..defaults() }),
        ("--vrrp", Options { parts: vrrp_only, ..defaults() }),
        ("-C", Options { parts: check_only, ..defaults() }),
        ("--check -B", Options { parts: check_only, ..defaults() }),
        ("-P -C", defaults()),
        ("--no_bfd --all", defaults()),
        ("-t", Options { config_test: Some(ConfigTest::Stderr), ..defaults() }),
        ("-t -t", Options { config_test: Some(ConfigTest::Stderr), ..defaults() }),
        ("-t/tmp/log", Options { config_test: Some(ConfigTest::File("/tmp/log".into())), ..defaults() }),
        (
            "-ntlog -f a",
            Options { config_test: Some(ConfigTest::File("log".into())), config: file("a"), ..defaults() },
        ),
        ("--config-test=log", Options { config_test: Some(ConfigTest::File("log".into())), ..defaults() }),
        (
            "--config-test -f a",
            Options { config_test: Some(ConfigTest::Stderr), config: file("a"), ..defaults() },
        ),
        ("--use-file=-tlog", Options { config: file("-tlog"), ..defaults() }),
        ("--strict", Options { strict: true, ..defaults() }),
        ("-t --json", Options { config_test: Some(ConfigTest::Stderr), json: true, ..defaults() }),
        ("-i lb1", Options { config_id: Some("lb1".into()), ..defaults() }),
        ("--config-id=lb1 -ilb2", Options { config_id: Some("lb2".into()), ..defaults() }),
        ("-e", Options { all_config: true, ..defaults() }),
        ("--all-config -D", Options { all_config: true, detail: 1, ..defaults() }),
        ("--take-over", Options { take_over: true, ..defaults() }),
        ("-d -VI", Options { dump_config: true, keep_vrrp: true, keep_ipvs: true, ..defaults() }),
        (
            "--dump-conf --dont-release-vrrp --dont-release-ipvs",
            Options { dump_config: true, keep_vrrp: true, keep_ipvs: true, ..defaults() },
        ),
        ("-u 022", Options { umask: Some(0o22), ..defaults() }),
        ("--umask=18", Options { umask: Some(0o22), ..defaults() }),
        ("-u0x1f", Options { umask: Some(0o37), ..defaults() }),
        ("-u 0", Options { umask: Some(0), ..defaults() }),
        ("--ignore-sigint", Options { ignore_sigint: true, ..defaults() }),
        ("-p /run/x.pid", Options { pid_file: file("/run/x.pid"), ..defaults() }),
        (
            "--pid=/x --control-socket /y --state-file /z",
            Options {
                pid_file: file("/x"),
                control_socket: file("/y"),
                state_file: file("/z"),
                ..defaults()
            },
        ),
        ("-s blue", Options { namespace: Some("blue".into()), ..defaults() }),
        ("-nsblue --namespace=red", Options { namespace: Some("red".into()), ..defaults() }),
        ("-ma", Options { core_dumps: true, address_monitoring: true, ..defaults() }),
    ] {
        assert_eq!(options(line), want, "`{line}`");
    }
}

#[test]
fn what_has_no_effect_is_said_once() {
    for (line, want) in [
        ("-S 7", &["-S (--log-facility) is not supported yet"][..]),
        ("--log-facility=local3", &["-S (--log-facility) is not supported yet"]),
        ("-g", &["-g (--log-file) is not supported yet"]),
        ("-g/tmp/log --flush-log-file", &["-g (--log-file)", "--flush-log-file is not"]),
        ("-X -R -R", &["-X (--release-vips)", "-R (--dont-respawn)"]),
        ("-xa", &["-x (--snmp)"]),
        ("-A tcp:127.0.0.1:705", &["-A (--snmp-agent-socket)"]),
        ("-m -Mcore.%p", &["the pattern of -M (--core-dump-pattern) is not"]),
        ("-M -n", &["the pattern of -M (--core-dump-pattern)"]),
        (
            "-r /a -c /b -b /c -p /d",
            &["-r (--vrrp_pid) has no effect", "-c (--checkers_pid)", "-b (--bfd_pid)"],
        ),
        ("--perf=run --debug=DvE --no-mem-check", &["--perf", "--debug"]),
        ("stray -n words", &["`stray` is no option and was ignored", "`words` is no option"]),
    ] {
        let got = options(line).notices;
        assert_eq!(got.len(), want.len(), "`{line}`: {got:?}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want), "`{line}`: {got}");
        }
    }
}

#[test]
fn signal_numbers() {
    for (name, want) in [
        ("STOP", 15),
        ("RELOAD", 1),
        ("DATA", 10),
        ("STATS", 12),
        ("STATS_CLEAR", 63),
        ("JSON", 36),
        ("TDATA", 37),
    ] {
        let got = parse(["lbd".to_owned(), format!("--signum={name}")]);
        assert_eq!(got.expect("a signal"), Request::SignalNumber(want), "{name}");
    }
}

#[test]
fn mistakes_have_exit_status_2_and_name_the_word() {
    for (line, word) in [
        ("-Z", "'-Z'"),
        ("--nonsense", "--nonsense"),
        ("--d", "--d"), // dont-fork, dump-conf, …
        ("-f", "FILE"),
        ("-f -tlog", "FILE"), // getopt takes `-tlog` for the file
        ("--signum=KILL", "STATS_CLEAR"),
        ("-u 1000", "0777"),
        ("-u 08", "0777"),
        ("-T", "genhash"),
        ("-s a/b", "ip netns list"),
        ("-s ..", "ip netns list"),
    ] {
        let error = parse(["lbd"].into_iter().chain(line.split_whitespace())).expect_err(line);
        assert_eq!(error.exit_code(), i32::from(EXIT_USAGE), "`{line}`");
        assert!(error.use_stderr(), "`{line}`");
        let text = error.to_string();
        assert!(text.contains(word), "`{line}`: {text}");
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    for flag in ["-v", "--version"] {
        let answer = parse(["lbd", "-n", flag]).expect_err("an answer");
        assert_eq!(answer.to_string(), "lbd 0.1.0\n");
        assert!(!answer.use_stderr());
        assert_eq!(answer.exit_code(), 0);
    }
    let help = parse(["lbd", "--help"]).expect_err("an answer");
    assert!(help.to_string().contains("--control-socket <PATH>"));
    assert_eq!(help.exit_code(), 0);
}

#[test]
fn names_need_not_be_utf8() {
    let name = OsString::from_vec(b"lb\xff.conf".to_vec());
    let attached = OsString::from_vec(b"-tlog\xff".to_vec());
    let line = ["lbd".into(), "-f".into(), name.clone(), attached];
    let Ok(Request::Run(options)) = parse(line) else { panic!("a line that runs") };
    assert_eq!(options.config, Some(PathBuf::from(name)));
    let log = OsString::from_vec(b"log\xff".to_vec());
    assert_eq!(options.config_test, Some(ConfigTest::File(PathBuf::from(log))));
}

#[test]
fn a_file_that_was_asked_for_is_taken_even_if_it_is_missing() {
    assert_eq!(options("-f /nonexistent").config_path(), PathBuf::from("/nonexistent"));
}

/// Words near what is typed: flags, bundles, values, and any octets.
fn word() -> impl Strategy<Value = OsString> {
    prop_oneof![
        "-[nlDGPCBVIdtfipuSgXRaxAsmMercbTvh]{1,4}[=a-z/0-9]{0,4}".prop_map(OsString::from),
        "--[a-z_-]{0,20}(=[a-z0-9]{0,4})?".prop_map(OsString::from),
        proptest::sample::select(
            command().get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect::<Vec<_>>()
        )
        .prop_map(|long| OsString::from(format!("--{long}"))),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(OsString::from_vec),
    ]
}

proptest! {
    #[test]
    fn any_line_is_answered(words in proptest::collection::vec(word(), 0..8)) {
        let line = || std::iter::once(OsString::from("lbd")).chain(words.iter().cloned());
        let once = with_equals(&command(), line().collect());
        prop_assert_eq!(once.len(), words.len() + 1);
        prop_assert_eq!(&with_equals(&command(), once.clone()), &once);
        if let Err(answer) = parse(line()) {
            prop_assert!([0, 2].contains(&answer.exit_code()));
            prop_assert!(!answer.to_string().is_empty());
        }
    }
}

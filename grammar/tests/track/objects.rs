//! vrrp_script, vrrp_track_process, track_file, bfd_instance.

use std::time::Duration;

use lbd_grammar::config::{
    BfdConsumers, BfdInstance, InitFile, ProcessMatch, TrackFile, TrackProcess, VrrpScript,
};
use lbd_grammar::{WhenAbsent, blocks, load_str};

use super::{config, millis, said};

#[test]
fn processes() {
    let plain = TrackProcess {
        command: vec!["foo".to_owned()],
        matching: ProcessMatch::Name,
        quorum: 1,
        quorum_max: None,
        terminate_delay: Duration::ZERO,
        fork_delay: Duration::ZERO,
    };
    let with = |change: fn(&mut TrackProcess)| {
        let mut process = plain.clone();
        change(&mut process);
        process
    };
    for (name, lines, want, messages) in [
        ("defaults", "process foo", plain.clone(), &[][..]),
        ("its path", "process foo\nfull_command", with(|p| p.matching = ProcessMatch::Program), &[]),
        ("no parameters", "process foo\nparam_match", with(|p| p.matching = ProcessMatch::Exact), &[]),
        (
            "parameters",
            "process foo \"a b\"",
            with(|p| {
                p.command = ["foo", "a b"].map(str::to_owned).to_vec();
                p.matching = ProcessMatch::Exact;
            }),
            &[],
        ),
        ("initial", "param_match initial\nprocess foo", with(|p| p.matching = ProcessMatch::Initial), &[]),
        ("partial", "param_match partial\nprocess foo", with(|p| p.matching = ProcessMatch::Partial), &[]),
        (
            "another match",
            "process foo\nparam_match some",
            plain.clone(),
            &["c:3:13: unknown param_match `some`; one of: initial, partial"],
        ),
        (
            "a second process",
            "process foo\nprocess bar",
            plain.clone(),
            &["c:3:1: `process` is given twice; remove one of them; the first counts"],
        ),
        (
            "quorum",
            "process foo\nquorum 65535\nquorum_max 65535",
            with(|p| (p.quorum, p.quorum_max) = (65535, Some(65535))),
            &[],
        ),
        ("none at all", "process foo\nquorum_max 0", with(|p| (p.quorum, p.quorum_max) = (0, Some(0))), &[]),
        (
            "none at all after the default",
            "process foo\nquorum 1\nquorum_max 0",
            with(|p| (p.quorum, p.quorum_max) = (0, Some(0))),
            &[],
        ),
        (
            "a maximum below the quorum",
            "process foo\nquorum 5\nquorum_max 4",
            with(|p| p.quorum = 5),
            &[
                "c:4:1: `quorum_max` 4 is less than `quorum` 5 (the first counts: c:3:1); `quorum` must not be more than `quorum_max`",
            ],
        ),
        (
            "a quorum above the maximum",
            "process foo\nquorum_max 4\nquorum 5",
            with(|p| p.quorum_max = Some(4)),
            &[
                "c:4:1: `quorum` 5 is more than `quorum_max` 4 (the first counts: c:3:1); `quorum` must not be more than `quorum_max`",
            ],
        ),
        (
            "out of range",
            "process foo\nquorum 0\nquorum_max 65536\nweight 255\ndelay 0\nfork_delay 3600.1",
            plain.clone(),
            &[
                "c:3:8: `quorum`: `0` is out of range; a number from 1 to 65535",
                "c:4:12: `quorum_max`: `65536` is out of range; a number from 0 to 65535",
                "c:5:8: `weight`: `255` is out of range; a number from -254 to 254",
                "c:6:7: `delay`: `0` is out of range; a time in seconds from 0.000001 to 3600",
                "c:7:12: `fork_delay`: `3600.1` is out of range; a time in seconds from 0.000001 to 3600",
            ],
        ),
        (
            "both delays",
            "process foo\ndelay 0.000001",
            with(|p| {
                (p.terminate_delay, p.fork_delay) = (Duration::from_micros(1), Duration::from_micros(1));
            }),
            &[],
        ),
        (
            "each delay",
            "process foo\nterminate_delay 3600\nfork_delay 1.5",
            with(|p| (p.terminate_delay, p.fork_delay) = (Duration::from_secs(3600), millis(1500))),
            &[],
        ),
        (
            "a second weight",
            "process foo\nweight 0\nweight -254 reverse\nweight 7",
            plain.clone(),
            &["c:5:1: `weight` is given twice (the first counts: c:4:1); remove one of them"],
        ),
    ] {
        let config = config(name, &format!("vrrp_track_process P {{\n{lines}\n}}\n"), messages);
        assert_eq!(config.track_processes["P"], want, "{name}");
    }
}

#[test]
fn files() {
    let file = |init| TrackFile { path: "/run/f".to_owned(), init };
    let init = |value, overwrite| Some(InitFile { value, overwrite });
    for (name, lines, want, messages) in [
        ("defaults", "file /run/f", file(None), &[][..]),
        ("created", "file /run/f\ninit_file", file(init(0, false)), &[]),
        ("created with a value", "file /run/f\ninit_file -254", file(init(-254, false)), &[]),
        ("written always", "file /run/f\ninit_file overwrite", file(init(0, true)), &[]),
        ("in any order", "file /run/f\ninit_file overwrite 5", file(init(5, true)), &[]),
        (
            "more than a priority",
            "file /run/f\ninit_file 255",
            file(init(255, false)),
            &["c:3:11: `init_file`: 255 is more than a priority can change; a number from -254 to 254"],
        ),
        (
            "no number of the kernel's",
            "file /run/f\ninit_file 2147483648",
            file(init(0, false)),
            &["c:3:11: `init_file`: `2147483648` is out of range; a number from -2147483648 to 2147483647"],
        ),
        (
            "another word",
            "file /run/f\ninit_file overwite 5",
            file(init(5, false)),
            &["c:3:11: unknown init_file `overwite`; did you mean `overwrite`?"],
        ),
        (
            "a second file",
            "file /run/f\nfile /run/g",
            file(None),
            &["c:3:1: `file` is given twice; remove one of them; the first counts"],
        ),
        (
            "a second weight",
            "file /run/f\nweight 1\nweight 2 revers\nweight 3",
            file(None),
            &[
                "c:4:10: unknown weight `revers`; did you mean `reverse`?",
                "c:5:1: `weight` is given twice (the first counts: c:4:1); remove one of them",
            ],
        ),
        (
            "a weight out of range",
            "file /run/f\nweight -255",
            file(None),
            &["c:3:8: `weight`: `-255` is out of range; a number from -254 to 254"],
        ),
    ] {
        for keyword in ["track_file", "vrrp_track_file"] {
            let config = config(name, &format!("{keyword} F {{\n{lines}\n}}\n"), messages);
            assert_eq!(config.track_files["F"], want, "{name}");
        }
    }
}

#[test]
fn bfd() {
    let plain = BfdInstance {
        neighbor: "192.0.2.1".parse().expect("an address"),
        source: None,
        min_rx: millis(10),
        min_tx: millis(10),
        idle_tx: millis(1000),
        multiplier: 5.try_into().expect("not 0"),
        passive: false,
        ttl: 255.try_into().expect("not 0"),
        max_hops: Some(0),
        multihop: false,
        consumers: BfdConsumers::Both,
    };
    let with = |change: fn(&mut BfdInstance)| {
        let mut bfd = plain.clone();
        change(&mut bfd);
        bfd
    };
    let interval = "milliseconds from 1 to 4294967, with at most three decimals";
    for (name, lines, want, messages) in [
        ("defaults", "neighbor_ip 192.0.2.1", plain.clone(), vec![]),
        ("the other spelling", "neighbour_ip 192.0.2.1", plain.clone(), vec![]),
        (
            "IPv6",
            "neighbor_ip 2001:db8::1\nsource_ip 2001:db8::2",
            with(|b| {
                b.neighbor = "2001:db8::1".parse().expect("an address");
                b.source = Some("2001:db8::2".parse().expect("an address"));
                b.ttl = 64.try_into().expect("not 0");
            }),
            vec![],
        ),
        (
            "intervals",
            "neighbor_ip 192.0.2.1\nmin_rx 1\nmin_tx 1.001\nidle_tx 4294967",
            with(|b| {
                (b.min_rx, b.min_tx, b.idle_tx) = (millis(1), Duration::from_micros(1001), millis(4_294_967));
            }),
            vec![],
        ),
        (
            "long intervals",
            "neighbor_ip 192.0.2.1\nmin_rx 10000\nmin_tx 10000.001",
            with(|b| (b.min_rx, b.min_tx) = (millis(10_000), Duration::from_micros(10_000_001))),
            vec!["c:4:1: `min_tx` is longer than 10 seconds; 10000 or less: the number counts milliseconds".into()],
        ),
        (
            "intervals that cannot be",
            "neighbor_ip 192.0.2.1\nmin_rx 0.999\nmin_tx 4294967.001\nidle_tx 999\nmin_rx 1.0001\nmin_rx x",
            plain.clone(),
            vec![
                format!("c:3:8: `min_rx`: `0.999` is out of range; {interval}"),
                format!("c:4:8: `min_tx`: `4294967.001` is out of range; {interval}"),
                "c:5:9: `idle_tx`: `999` is out of range; milliseconds from 1000 to 4294967, with at most three decimals".into(),
                format!("c:6:8: `min_rx`: `1.0001` has more than three decimals; {interval}"),
                format!("c:7:8: `min_rx`: `x` is not a time; {interval}"),
            ],
        ),
        (
            "many missed packets",
            "neighbor_ip 192.0.2.1\nmultiplier 10\nmultiplier 11",
            with(|b| b.multiplier = 11.try_into().expect("not 0")),
            vec!["c:4:1: `multiplier` 11 makes a failure show late; 10 or less, and longer intervals if packets get lost".into()],
        ),
        (
            "numbers that cannot be",
            "neighbor_ip 192.0.2.1\nmultiplier 0\nttl 256\nhoplimit 0\nmax_hops -2\nweight 254\nmultihop 2",
            plain.clone(),
            vec![
                "c:3:12: `multiplier`: `0` is out of range; a number from 1 to 255".into(),
                "c:4:5: `ttl`: `256` is out of range; a number from 1 to 255".into(),
                "c:5:10: `hoplimit`: `0` is out of range; a number from 1 to 255".into(),
                "c:6:10: `max_hops`: `-2` is out of range; a number from -1 to 255".into(),
                "c:7:8: `weight`: `254` is out of range; a number from -253 to 253".into(),
                "c:8:10: `multihop`: `2` is neither on nor off; true, on, yes, false, off or no".into(),
            ],
        ),
        (
            "flags",
            "neighbor_ip 192.0.2.1\npassive\nmultihop\nvrrp",
            with(|b| (b.passive, b.multihop, b.consumers) = (true, true, BfdConsumers::Vrrp)),
            vec![],
        ),
        (
            "for checks",
            "neighbor_ip 192.0.2.1\nchecker",
            with(|b| b.consumers = BfdConsumers::Checkers),
            vec![],
        ),
        ("for both", "neighbor_ip 192.0.2.1\nchecker\nvrrp", plain.clone(), vec![]),
        ("any distance", "neighbor_ip 192.0.2.1\nmax_hops -1", with(|b| b.max_hops = None), vec![]),
        (
            "farther than packets go",
            "neighbor_ip 192.0.2.1\nmax_hops 11\nhoplimit 10",
            with(|b| (b.max_hops, b.ttl) = (Some(10), 10.try_into().expect("not 0"))),
            vec!["c:3:1: `max_hops` is more than the TTL of 10: 10 is used; a number that is at most `ttl`, or -1".into()],
        ),
    ] {
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let config = config(name, &format!("bfd_instance B {{\n{lines}\n}}\n"), &messages);
        assert_eq!(config.bfd_instances["B"], want, "{name}");
    }
}

#[test]
fn scripts() {
    let tracked = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n track_script {\n S\n }\n}\n";
    let secs = Duration::from_secs;
    for (name, lines, (interval, timeout, rise, fall), messages) in [
        ("defaults", "", (secs(1), secs(1), 1, 1), &[][..]),
        ("the timeout is the interval's", "interval 4294", (secs(4294), secs(4294), 1, 1), &[]),
        ("milliseconds count", "interval 0.0019\ntimeout .5", (millis(1), millis(500), 1, 1), &[]),
        (
            "zero",
            "interval 0\ntimeout 0",
            (secs(1), secs(1), 1, 1),
            &[
                "c:3:1: `interval` is below a millisecond: 1 second is used; a time in seconds from 0.001",
                "c:4:1: `timeout` is below a millisecond: 1 second is used; a time in seconds from 0.001",
            ],
        ),
        ("rise and fall", "rise 4294967295\nfall 2", (secs(1), secs(1), u32::MAX, 2), &[]),
        (
            "out of range",
            "interval 4294.1\nrise 0\nfall x\nweight 254",
            (secs(1), secs(1), 1, 1),
            &[
                "c:3:10: `interval`: `4294.1` is out of range; a time in seconds from 0 to 4294",
                "c:4:6: `rise`: `0` is out of range; a number from 1 to 4294967295",
                "c:5:6: `fall`: `x` is not a number; a number from 1 to 4294967295",
                "c:6:8: `weight`: `254` is out of range; a number from -253 to 253",
            ],
        ),
        (
            "no effect",
            "init_fail",
            (secs(1), secs(1), 1, 1),
            &[
                "c:3:1: `init_fail` has no effect: the first result of a script that is tracked is waited for, here as in keepalived; remove it",
            ],
        ),
    ] {
        let text = format!("vrrp_script S {{\nscript \"/bin/s 'a b'\"\n{lines}\n}}\n{tracked}");
        let config = config(name, &text, messages);
        let script = config.vrrp_scripts["S"].script.clone();
        assert_eq!(config.scripts[&script].argv, ["/bin/s", "a b"], "{name}");
        assert_eq!(config.vrrp_scripts["S"], VrrpScript { script, interval, timeout, rise, fall }, "{name}");
    }
    let text = format!("vrrp_script S {{\nscript /bin/s me\nuser you yours\n}}\n{tracked}");
    let config = config("its user", &text, &[]);
    let user = config.scripts[&config.vrrp_scripts["S"].script].user.clone().expect("a user");
    assert_eq!((user.user.as_str(), user.group.as_deref()), ("you", Some("yours")));
}

#[test]
fn what_is_not_complete_is_left_out() {
    for (name, text, want) in [
        (
            "no script",
            "vrrp_script S {\n}\n",
            "c:1:1: vrrp_script `S` has no usable `script`, so it is left out; add `script \"COMMAND\"`",
        ),
        (
            "an empty script",
            "vrrp_script S {\n script \"\"\n}\n",
            "c:2:9: `script`: the command is empty; name a program, for example /usr/local/bin/check (so vrrp_script `S` is left out)",
        ),
        (
            "no process",
            "vrrp_track_process P {\n weight 5\n}\n",
            "c:1:1: vrrp_track_process `P` has no usable `process`, so it is left out; add `process PROGRAM`",
        ),
        (
            "an empty process",
            "vrrp_track_process P {\n process \"\" x\n}\n",
            "c:2:10: `process`: the name is empty; name a program, for example nginx (so vrrp_track_process `P` is left out)",
        ),
        (
            "no file",
            "vrrp_track_file F {\n init_file\n}\n",
            "c:1:1: vrrp_track_file `F` has no usable `file`, so it is left out; add `file PATH`",
        ),
        (
            "a file that cannot be watched",
            "track_file F {\n file /proc/loadavg\n}\n",
            "c:2:7: `file`: the kernel does not tell when a file in /proc/ changes; have a program write the number to another file, or use a vrrp_script (so track_file `F` is left out)",
        ),
        (
            "no neighbour",
            "bfd_instance B {\n}\n",
            "c:1:1: bfd_instance `B` has no usable `neighbor_ip`, so it is left out; add `neighbor_ip ADDR`",
        ),
        (
            "a neighbour that cannot be",
            "bfd_instance B {\n neighbour_ip x\n}\n",
            "c:2:15: `neighbour_ip`: `x` is not an IP address; for example 192.0.2.10 (so bfd_instance `B` is left out)",
        ),
        (
            "a source of the other family",
            "bfd_instance B {\n neighbor_ip 192.0.2.1\n source_ip 2001:db8::1\n}\n",
            "c:3:2: the source 2001:db8::1 and the neighbour 192.0.2.1 are of different families (the neighbour: c:2:2); give both as IPv4 or both as IPv6",
        ),
        (
            "a long name",
            "bfd_instance B2345678901234567890123456789012 {\n neighbor_ip 192.0.2.1\n}\n",
            "c:1:14: the name `B2345678901234567890123456789012` is longer than 31 characters; shorten it, also where it is tracked",
        ),
    ] {
        let config = config(name, text, &[want]);
        assert!(config.vrrp_scripts.is_empty() && config.track_processes.is_empty(), "{name}");
        assert!(config.track_files.is_empty() && config.bfd_instances.is_empty(), "{name}");
    }
    for keyword in ["vrrp_script", "vrrp_track_process", "track_file", "bfd_instance"] {
        let said = said(&load_str("c", &format!("{keyword} {{\n}}\n")));
        let want =
            format!("c:1:1: `{keyword}` needs an argument, so it is ignored; write `{keyword} NAME {{ … }}`");
        assert_eq!(said, [want]);
    }
}

#[test]
fn a_second_block_of_a_name_is_left_out() {
    for (keyword, first, second) in [
        ("vrrp_track_process", "process a", "process b"),
        ("track_file", "file /a", "file /b"),
        ("bfd_instance", "neighbor_ip 192.0.2.1", "neighbor_ip 192.0.2.2"),
    ] {
        let text = format!("{keyword} X {{\n{first}\n}}\n{keyword} X {{\n{second}\n}}\n");
        let place = keyword.len() + 2;
        let want = format!(
            "c:4:{place}: {keyword} `X` is defined twice (first here: c:1:{place}); rename or remove one"
        );
        let alone = load_str("c", &format!("{keyword} X {{\n{first}\n}}\n")).config.expect("a configuration");
        assert_eq!(config(keyword, &text, &[&want]), alone);
    }
    let text = "vrrp_script X {\nscript /a\n}\nvrrp_script X {\nscript /b\n}\n";
    let said = said(&load_str("c", text));
    assert_eq!(
        said.last().map(String::as_str),
        Some("c:4:13: vrrp_script `X` is defined twice (first here: c:1:13); rename or remove one")
    );
}

#[test]
fn sessions_between_the_same_ends() {
    let one =
        |name: &str, lines: &str| format!("bfd_instance {name} {{\nneighbor_ip 192.0.2.1\n{lines}\n}}\n");
    for (name, first, second, both) in [
        ("no sources", "", "", false),
        ("the same source", "source_ip 192.0.2.8", "source_ip 192.0.2.8", false),
        ("other sources", "source_ip 192.0.2.8", "source_ip 192.0.2.9", true),
        ("only the first has a source", "source_ip 192.0.2.8", "", false),
        ("only the second has a source", "", "source_ip 192.0.2.8", false),
        ("other ports", "multihop", "", true),
        ("other consumers", "vrrp", "checker", false),
    ] {
        let text = format!("{}{}", one("A", first), one("B", second));
        let want = "c:6:1: bfd_instance `A` has the same ends (it is here: c:1:14); remove one of them, or give each its own `source_ip`";
        let config = config(name, &text, if both { &[] } else { std::slice::from_ref(&want) });
        assert_eq!(config.bfd_instances.len(), if both { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn places_are_known() {
    let text = "vrrp_track_process p {\nprocess a\n}\ntrack_file f {\nfile /a\n}\nbfd_instance b {\nneighbor_ip 192.0.2.1\n}\n\
                linkbeat_interfaces {\n eth8\n}\ninterface_up_down_delays {\n eth9 1\n}\n";
    let loaded = load_str("c", text);
    let place = |span: Option<lbd_grammar::Span>| loaded.sources.place(span.expect("a place")).to_string();
    let spans = &loaded.spans;
    assert_eq!(place(spans.track_process("p")), "c:1:20");
    assert_eq!(place(spans.track_file("f")), "c:4:12");
    assert_eq!(place(spans.bfd_instance("b")), "c:7:14");
    assert_eq!(place(spans.interface("eth8")), "c:11:2");
    assert_eq!(place(spans.interface("eth9")), "c:14:2");
}

#[test]
fn examples_are_right() {
    for (block, required) in [
        ("vrrp_script", "script /bin/x"),
        ("vrrp_track_process", "process x"),
        ("track_file", "file /run/x"),
        ("bfd_instance", "neighbor_ip 192.0.2.1"),
    ] {
        let found = blocks().find(|found| found.name == block).expect("a block");
        for keyword in &found.keywords {
            let arguments = match keyword.default {
                _ if !keyword.example.is_empty() || keyword.arguments.is_empty() => keyword.example,
                WhenAbsent::Text(text) => text,
                _ => panic!("{} has no example", keyword.name),
            };
            let required =
                if keyword.name == required.split(' ').next().unwrap_or_default() { "" } else { required };
            let text = format!("{block} X {{\n{required}\n{} {arguments}\n}}\n", keyword.name);
            let mut said = said(&load_str("c", &text));
            said.retain(|line| {
                !line.contains("so it does not run") && !line.contains("`init_fail` has no effect")
            });
            assert_eq!(said, Vec::<String>::new(), "{text}");
        }
    }
    let top = blocks().find(|block| block.name.is_empty()).expect("the top level");
    for name in [
        "vrrp_script",
        "vrrp_track_process",
        "track_file",
        "vrrp_track_file",
        "bfd_instance",
        "linkbeat_interfaces",
        "interface_up_down_delays",
    ] {
        let keyword = top.keywords.iter().find(|keyword| keyword.name == name).expect("a keyword");
        assert!(!keyword.example.is_empty(), "{name}");
        let head = if keyword.arguments.starts_with("NAME") { "X" } else { "" };
        let mut said = said(&load_str("c", &format!("{name} {head} {{\n{}\n}}\n", keyword.example)));
        said.retain(|line| !line.contains("so it does not run"));
        assert_eq!(said, Vec::<String>::new(), "{name}");
    }
}

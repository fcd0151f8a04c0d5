//! Links, and lines that name what is tracked.

use std::time::Duration;

use lbd_grammar::config::{LinkDelay, LinkbeatInterface, LinkbeatMethod};
use lbd_grammar::{Secrets, blocks, dump, load_str};

use super::{config, millis, said};

#[test]
fn links() {
    let beat = |interface: &str, method| LinkbeatInterface { interface: interface.to_owned(), method };
    let text = "linkbeat_interfaces {\n a\n b MII\n c ETHTOOL\n d IOCTL\n}\n";
    let config_of = config("every method", text, &[]);
    assert_eq!(
        config_of.linkbeat_interfaces,
        [
            beat("a", None),
            beat("b", Some(LinkbeatMethod::Mii)),
            beat("c", Some(LinkbeatMethod::Ethtool)),
            beat("d", Some(LinkbeatMethod::Ioctl)),
        ]
    );
    let delay = |interface: &str, down, up| LinkDelay {
        interface: interface.to_owned(),
        down: millis(down),
        up: millis(up),
    };
    let text = "interface_up_down_delays {\n a 0\n b 255 0.001\n c 1.5 255\n}\n";
    let config_of = config("delays", text, &[]);
    assert_eq!(config_of.link_delays, [delay("a", 0, 0), delay("b", 255_000, 1), delay("c", 1_500, 255_000)]);
    for (name, line, want) in [
        (
            "method",
            "linkbeat_interfaces {\n a mii\n}",
            "c:2:4: unknown linkbeat_interfaces `mii`; did you mean `MII`?",
        ),
        (
            "two in a line",
            "linkbeat_interfaces {\n a MII b\n}",
            "c:2:8: `linkbeat_interfaces`: `b` is one word too many; one interface per line: begin a new line before it, or remove it",
        ),
        (
            "twice",
            "linkbeat_interfaces {\n a\n a MII\n}",
            "c:3:2: `linkbeat_interfaces`: `a` is listed twice (first here: c:2:2); remove one of them",
        ),
        (
            "no delay",
            "interface_up_down_delays {\n a\n}",
            "c:2:2: `interface_up_down_delays`: `a` has no delay; write `a DOWN [UP]`, both in seconds",
        ),
        (
            "too long",
            "interface_up_down_delays {\n a 255.1\n}",
            "c:2:4: `interface_up_down_delays`: `255.1` is out of range; a time in seconds from 0 to 255",
        ),
        (
            "no time",
            "interface_up_down_delays {\n a 1 x\n}",
            "c:2:6: `interface_up_down_delays`: `x` is not a time; a time in seconds from 0 to 255",
        ),
        (
            "a third number",
            "interface_up_down_delays {\n a 1 2 3\n}",
            "c:2:8: `interface_up_down_delays`: `3` is one word too many; one interface per line: begin a new line before it, or remove it",
        ),
        (
            "delays twice",
            "interface_up_down_delays {\n a 1 2\n}\ninterface_up_down_delays {\n a 3\n}",
            "c:5:2: `interface_up_down_delays`: `a` is listed twice (first here: c:2:2); remove one of them",
        ),
        (
            "no interface",
            "interface_up_down_delays {\n a/b 1\n}",
            "c:2:2: `interface_up_down_delays`: `a/b` cannot be an interface name; 1 to 15 characters without `/`",
        ),
    ] {
        config(name, line, &[want]);
    }
}

#[test]
fn delays_end_before_an_instance_acts() {
    let secs = Duration::from_secs_f64;
    for (name, lines, delays, want) in [
        ("short enough", "", "1.996094 1.996094", Some((1.996_094, 1.996_094))),
        ("too long", "", "200 250", None),
        ("only up is too long", "", "1 2", None),
        ("one advert", "down_timer_adverts 1", "10", None),
        ("slow adverts", "advert_int 2\n down_timer_adverts 2", "1.99 5", None),
    ] {
        let text = format!(
            "interface_up_down_delays {{\n eth0 {delays}\n eth1 200\n}}\n\
             vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n {lines}\n}}\n"
        );
        let message = |most: &str, help: &str| {
            format!(
                "c:2:2: delays on `eth0` are too long for vrrp_instance `V`: at most {most} s is used (the instance: c:5:15); {help}"
            )
        };
        let shorten = "shorten them, or make `advert_int` or `down_timer_adverts` larger";
        let remove = "remove them, or set `down_timer_adverts` to more than 1";
        let (down, up, messages) = match (want, name) {
            (Some((down, up)), _) => (down, up, vec![]),
            (None, "one advert") => (0.0, 0.0, vec![message("0", remove)]),
            (None, "slow adverts") => (1.99, 1.992_188, vec![message("1.992188", shorten)]),
            (None, "too long") => (1.996_094, 1.996_094, vec![message("1.996094", shorten)]),
            (None, _) => (1.0, 1.996_094, vec![message("1.996094", shorten)]),
        };
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let config = config(name, &text, &messages);
        let [first, second] = config.link_delays.as_slice() else { panic!("{name}") };
        assert_eq!((first.down, first.up), (secs(down), secs(up)), "{name}");
        assert_eq!(second.down, secs(200.0), "{name}: nothing runs on it");
    }
}

/// What is tracked by lines of an instance.
const OBJECTS: &str = "vrrp_script S {\nscript /a\nweight -10 reverse\n}\nvrrp_track_process P {\nprocess a\nweight 7\n}\n\
    track_file F {\nfile /a\n}\nbfd_instance B {\nneighbor_ip 192.0.2.1\nweight 9\n}\n\
    bfd_instance C {\nneighbor_ip 192.0.2.2\nchecker\n}\n";

#[test]
fn lines_that_track() {
    let kept = |value, reverse| Some((value, reverse));
    for (name, block, line, want, message) in [
        ("an interface", "interface", "eth1", kept(0, false), None),
        ("its weight", "interface", "eth1 weight -253 reverse", kept(-253, true), None),
        (
            "one too many",
            "interface",
            "eth1 weight 254",
            kept(253, false),
            Some("13: weight 254 is reduced to 253; a number from -253 to 253"),
        ),
        (
            "an interface has no own reverse",
            "interface",
            "eth1 weight 5 noreverse",
            kept(5, false),
            Some("15: `track_interface`: unknown option `noreverse`; did you mean `reverse`?"),
        ),
        (
            "a direction without weight",
            "interface",
            "eth1 reverse",
            None,
            Some("6: `track_interface`: `reverse` has to follow `weight N`; write `eth1 weight N [reverse]`"),
        ),
        ("the script's own", "script", "S", kept(-10, true), None),
        ("its reverse stays", "script", "S weight 5", kept(5, true), None),
        ("its reverse undone", "script", "S weight 5 noreverse", kept(5, false), None),
        (
            "one too few",
            "script",
            "S weight -254",
            kept(-253, true),
            Some("10: weight -254 is reduced to -253; a number from -253 to 253"),
        ),
        (
            "out of range",
            "script",
            "S weight 255 noreverse",
            kept(-10, false),
            Some("10: `track_script`: `255` is out of range; a number from -254 to 254"),
        ),
        (
            "no number",
            "script",
            "S weight",
            None,
            Some("3: `track_script`: `weight` needs a number; a number from -253 to 253"),
        ),
        (
            "misspelt",
            "script",
            "S wieght 5",
            None,
            Some("3: `track_script`: unknown option `wieght`; did you mean `weight`?"),
        ),
        (
            "a misspelt direction",
            "script",
            "S weight 5 noreverze",
            kept(5, true),
            Some("12: `track_script`: unknown option `noreverze`; did you mean `noreverse`?"),
        ),
        (
            "another word",
            "script",
            "S weight 5 always",
            kept(5, true),
            Some("12: `track_script`: unknown option `always`; write `S weight N [reverse|noreverse]`"),
        ),
        (
            "more words",
            "script",
            "S weight 5 reverse now",
            kept(5, true),
            Some("20: `now` after `reverse` is ignored; remove it"),
        ),
        (
            "two in a line",
            "script",
            "S S",
            None,
            Some("3: `track_script`: `S` is an item of its own; begin a new line before it"),
        ),
        (
            "unknown",
            "script",
            "other",
            None,
            Some(
                "1: no usable vrrp_script `other` is defined before this line; add a block `vrrp_script other { … }` before it",
            ),
        ),
        ("the process's own", "process", "P", kept(7, false), None),
        ("the largest of a process", "process", "P weight 254 reverse", kept(254, true), None),
        (
            "out of range of a process",
            "process",
            "P weight 255",
            kept(7, false),
            Some("10: `track_process`: `255` is out of range; a number from -254 to 254"),
        ),
        ("the file's own", "file", "F", kept(1, false), None),
        ("the smallest of a file", "file", "F weight -254", kept(-254, false), None),
        ("the session's own", "bfd", "B", kept(9, false), None),
        (
            "out of range of a session",
            "bfd",
            "B weight 254",
            kept(9, false),
            Some("10: `track_bfd`: `254` is out of range; a number from -253 to 253"),
        ),
        (
            "for checks alone",
            "bfd",
            "C",
            None,
            Some(
                "1: bfd_instance `C` is for BFD_CHECK alone (it says `checker`: c:16:14); add `vrrp` to it, or remove `checker`",
            ),
        ),
    ] {
        let text = format!(
            "{OBJECTS}vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nno_virtual_ipaddress\n\
             track_{block} {{\n{line}\n}}\n}}\n"
        );
        let loaded = load_str("c", &text);
        // What a weight is good for is another test's.
        let other = |line: &String| line.contains("does not run") || line.contains("254 is the highest");
        let said: Vec<String> = said(&loaded).into_iter().filter(|line| !other(line)).collect();
        let want_said: Vec<String> = message.iter().map(|message| format!("c:25:{message}")).collect();
        assert_eq!(said, want_said, "{name}");
        let config = loaded.config.unwrap_or_else(|| panic!("{name}"));
        let again = load_str("d", &dump(&config, Secrets::Shown)).config;
        assert_eq!(again.as_ref(), Some(&config), "{name}");
        let router = &config.vrrp_instances.first().unwrap_or_else(|| panic!("{name}")).router;
        let weights = match block {
            "interface" => router.track_interfaces.first().map(|(_, weight)| *weight),
            "script" => router.trackers.first().map(|(_, weight)| *weight),
            "process" => router.track_processes.first().map(|(_, weight)| *weight),
            "file" => router.track_files.first().map(|(_, weight)| *weight),
            _ => router.track_bfd.first().map(|(_, weight)| *weight),
        };
        assert_eq!(weights.map(|weight| (weight.value, weight.reverse)), want, "{name}");
    }
}

#[test]
fn names_must_stand_before() {
    for (keyword, block, inner) in [
        ("vrrp_script", "track_script", "script /a"),
        ("vrrp_track_process", "track_process", "process a"),
        ("track_file", "track_file", "file /a"),
        ("bfd_instance", "track_bfd", "neighbor_ip 192.0.2.1"),
    ] {
        let tracking = format!(
            "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nno_virtual_ipaddress\n{block} {{\nchk_a\n}}\n}}\n"
        );
        let object = |name: &str| format!("{keyword} {name} {{\n{inner}\n}}\n");
        let after = said(&load_str("c", &format!("{tracking}{}", object("chk_a"))));
        let place = keyword.len() + 2;
        let to_say = match keyword {
            "vrrp_script" => {
                "a script has to be complete and to stand before the instance that tracks it".to_owned()
            }
            _ => format!("a {keyword} has to be complete and to stand before the block that refers to it"),
        };
        let want = format!(
            "c:6:1: no usable {keyword} `chk_a` is defined before this line (it is here: c:9:{place}); {to_say}"
        );
        assert_eq!(after, [want], "{keyword}");
        let misspelt = said(&load_str("c", &format!("{}{tracking}", object("chk_b"))));
        let want =
            format!("c:9:1: no usable {keyword} `chk_a` is defined before this line; did you mean `chk_b`?");
        assert!(misspelt.contains(&want), "{misspelt:#?}");
    }
}

/// `track_file` is a block of the top level as well, with other keywords.
#[test]
fn lines_have_the_words_of_lines() {
    for block in ["vrrp_instance", "vrrp_sync_group"] {
        let found = blocks().find(|found| found.name == block).expect("a block");
        for name in ["track_interface", "track_script", "track_file", "track_process", "track_bfd"] {
            let keyword = found.keywords.iter().find(|keyword| keyword.name == name).expect("a keyword");
            let opened = if keyword.opens.is_empty() { keyword.name } else { keyword.opens };
            let words = blocks().find(|found| found.name == opened).expect("its words");
            assert!(words.is_of_lines(), "{name} of {block}");
            assert_eq!(words.keywords.iter().any(|word| word.name == "noreverse"), name != "track_interface");
        }
    }
}

#[test]
fn a_session_for_vrrp_alone_is_no_check() {
    let text = |consumers: &str| {
        format!(
            "bfd_instance B {{\nneighbor_ip 192.0.2.1\n{consumers}\n}}\nvirtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\n\
             protocol TCP\nreal_server 10.0.0.2 80 {{\nBFD_CHECK {{\nname B\n}}\n}}\n}}\n"
        )
    };
    for sound in ["checker", "", "vrrp\nchecker"] {
        assert_eq!(said(&load_str("c", &text(sound))), Vec::<String>::new(), "{sound}");
    }
    let said = said(&load_str("c", &text("vrrp")));
    let want = "c:11:6: bfd_instance `B` is for VRRP alone (it says `vrrp`: c:1:14); add `checker` to it, or remove `vrrp`";
    assert!(said.len() == 1 && said.iter().all(|line| line.starts_with(want)), "{said:#?}");
}

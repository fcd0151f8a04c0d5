//! Any text loads: nothing panics.

mod common;

use lbd_grammar::{Diagnostic, Kind, blocks, exercise, load_str};
use proptest::prelude::*;

/// A text in the shape of a configuration, with words that mean something in places where they may not.
fn configuration() -> impl Strategy<Value = String> {
    let keywords: Vec<String> =
        blocks().flat_map(|block| block.keywords.iter().map(|keyword| keyword.name.to_owned())).collect();
    let values = [
        "1",
        "0",
        "255",
        "70000",
        "-5",
        "1.5",
        "99999999999999999999",
        "10.0.0.1",
        "10.0.0.1/24",
        "2001:db8::1",
        "eth0",
        "DR",
        "NAT",
        "TUN",
        "TCP",
        "rr",
        "weight",
        "fwmark",
        "group",
        "\"a b\"",
        "\"open",
        "'x",
        "true",
        "$X",
        "${_PWD}",
        "@id",
        "~SEQ(a,1,2)",
        "\\#",
        "include",
        "\u{0}",
        "\u{feff}",
        "\u{4e2d}",
    ];
    let word = prop_oneof![
        5 => prop::sample::select(keywords.clone()),
        5 => prop::sample::select(values.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    let line = (prop::sample::select(keywords), prop::collection::vec(word, 0..4), "[ \t{}#!\n\r]{0,3}")
        .prop_map(|(keyword, words, end)| format!("{keyword} {}{end}\n", words.join(" ")));
    prop::collection::vec(line, 0..60).prop_map(|lines| lines.concat())
}

/// Texts that load without fault, to be damaged.
const SOUND: [&str; 4] = [
    "global_defs {\n router_id a\n vrrp_garp_interval 0.1\n script_user nobody nogroup\n enable_script_security\n}\n\
     vrrp_script chk {\n script \"/bin/chk 'a b'\"\n interval 2\n weight -5\n}\n\
     vrrp_instance V {\n state MASTER\n interface eth0\n virtual_router_id 7\n priority 100\n unicast_peer {\n 10.0.0.2\n }\n\
     authentication {\n auth_type PASS\n auth_pass 1111\n }\n virtual_ipaddress {\n 10.0.0.9/24 dev eth1 label eth1:0\n }\n\
     track_script {\n chk weight 10\n }\n notify \"/bin/n\" nobody\n}\n",
    "virtual_server 10.0.0.1 80 {\n lb_algo wrr\n lb_kind TUN type gue port 99 csum\n protocol TCP\n quorum 2\n hysteresis 1\n\
     sorry_server 10.0.0.9 80\n real_server 10.0.0.2 80 {\n weight 3\n HTTP_GET {\n url {\n path /\n status_code 200-299 301\n\
     digest 00112233445566778899aabbccddeeff\n }\n connect_timeout 3\n }\n }\n\
     real_server 2001:db8::1 80 {\n MISC_CHECK {\n misc_path \"/bin/m a\" nobody\n misc_dynamic\n }\n }\n}\n",
    "virtual_server fwmark 7 {\n ip_family inet6\n lb_algo mh\n mh-port\n lb_kind DR\n persistence_timeout\n\
     persistence_granularity 64\n real_server fe80::1 {\n TCP_CHECK {\n connect_port 80\n bind_if eth0\n }\n }\n}\n",
    "linkbeat_interfaces {\n eth0\n eth1 MII\n}\ninterface_up_down_delays {\n eth0 1.5 0.5\n}\n\
     vrrp_track_process p {\n process nginx -g \"a b\"\n param_match initial\n quorum 2\n quorum_max 5\n delay 0.5\n weight 5 reverse\n}\n\
     track_file f {\n file /run/f\n init_file 5 overwrite\n weight -2\n}\n\
     bfd_instance b {\n neighbor_ip 192.0.2.1\n source_ip 192.0.2.2\n min_rx 50.5\n ttl 64\n max_hops -1\n checker\n}\n",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        exercise(text.as_bytes());
    }

    #[test]
    fn arbitrary_braces_and_quotes(text in "[a{}\"#!$\\\\\n '@~=]{0,200}") {
        exercise(text.as_bytes());
    }

    #[test]
    fn configuration_like_text(text in configuration()) {
        exercise(text.as_bytes());
    }

    #[test]
    fn damaged_text(
        which in 0..SOUND.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[{}\"#!\n 0-9a-z.:/$-]{0,3}"), 1..8),
    ) {
        let mut text: Vec<char> = SOUND[which].chars().collect();
        for (at, removed, inserted) in damage {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        exercise(text.into_iter().collect::<String>().as_bytes());
    }
}

#[test]
fn the_sound_texts_are_sound() {
    for text in SOUND {
        let mut loaded = load_str("c", text);
        let sound = |one: &Diagnostic| one.kind == Kind::Unserved || one.message.contains("auth_type PASS");
        loaded.diagnostics.retain(|diagnostic| !sound(diagnostic));
        assert_eq!(common::summaries(&loaded), Vec::<String>::new());
    }
}

/// Read on several processors: order, first of two, and what is said are those of the file.
#[test]
fn many_servers_are_read_as_a_few_are() {
    let block = |index: usize, weight: &str| {
        format!(
            "virtual_server 10.0.{}.{} 80 {{\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n quorum_up \"/bin/up {}\"\n\
             real_server 10.9.0.1 80 {{\n weight {weight}\n }}\n}}\n",
            index / 200,
            index % 200,
            index % 7
        )
    };
    let blocks: Vec<String> = (0..500)
        .map(|index| match index {
            // Defined twice, the second on another processor than the first; a mistake here and there.
            490 => block(3, "5"),
            _ if index % 50 == 49 => block(index, "many"),
            _ => block(index, "2"),
        })
        .collect();
    let whole = load_str("c", &blocks.concat());
    let config = whole.config.as_ref().expect("a configuration");
    let few: Vec<_> = blocks.chunks(20).map(|blocks| load_str("c", &blocks.concat())).collect();
    let mut servers: Vec<_> =
        few.iter().flat_map(|few| few.config.as_ref().expect("a part").virtual_servers.clone()).collect();
    servers.remove(490);
    assert_eq!(config.virtual_servers, servers);
    assert_eq!(config.scripts.len(), 7);
    let said: Vec<String> = whole.diagnostics.iter().map(|found| found.message.clone()).collect();
    let mut want: Vec<String> =
        few.iter().flat_map(|few| &few.diagnostics).map(|found| found.message.clone()).collect();
    want.insert(9, "virtual_server TCP 10.0.0.3:80 is defined twice".into());
    assert_eq!(said, want);
    let first = config.virtual_servers[0].id.clone();
    assert!(
        whole.spans.virtual_server(&first).is_some()
            && whole.spans.real_server(&first, "10.9.0.1:80".parse().expect("an address")).is_some()
    );
}

//! Small configurations, written for this, in compact tables: one fragment a line.
//!
//! ```text
//! [FEATURE] WRAPPER
//! NAME [!REASON] [@CONFIG-ID] = TEXT | NEXT LINE | …
//! NAME [!REASON] [@CONFIG-ID] <<
//! lines, and after `-- FILE` those of a file beside it
//! >>
//! ```
//!
//! A wrapper is what stands around the text, so that a fragment shows one thing only.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

/// Where a fragment's own text stands in a wrapper.
const HERE: &str = "%";

/// A configuration and what is to be known about it.
pub struct Fragment {
    /// `FEATURE/NAME`
    pub name: String,
    /// Why lbd may differ from keepalived.
    pub differs: Option<String>,
    /// For `-i`.
    pub config_id: Option<String>,
    /// Files by their path; the main one comes first.
    pub files: Vec<(String, String)>,
}

impl Fragment {
    /// Writes its files below a folder.
    pub fn write(&self, folder: &Path) -> std::io::Result<std::path::PathBuf> {
        for (path, text) in &self.files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(path, text)?;
        }
        Ok(folder.join(MAIN))
    }
}

/// Name of the main file.
const MAIN: &str = "main.conf";

/// Fragments whose meaning depends on the host.
pub fn host() -> Vec<Fragment> {
    table(include_str!("../fragments/host.txt"))
}

/// Fragments of the language.
pub fn all() -> Vec<Fragment> {
    let tables = [
        include_str!("../fragments/lexis.txt"),
        include_str!("../fragments/global.txt"),
        include_str!("../fragments/vrrp.txt"),
        include_str!("../fragments/track.txt"),
        include_str!("../fragments/network.txt"),
        include_str!("../fragments/servers.txt"),
    ];
    tables.into_iter().flat_map(table).collect()
}

fn table(text: &str) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let (mut feature, mut around) = ("", HERE);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((name, wrapper)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            (feature, around) = (name, wrapped(wrapper));
            continue;
        }
        let (head, text) = match line.split_once(" = ").or_else(|| Some((line.strip_suffix(" =")?, ""))) {
            Some((head, text)) => (head, text.split(" | ").collect::<Vec<_>>().join("\n")),
            None => {
                let head =
                    line.trim_end().strip_suffix(" <<").unwrap_or_else(|| panic!("a fragment: {line}"));
                let text: Vec<&str> = lines.by_ref().take_while(|line| *line != ">>").collect();
                (head, text.join("\n"))
            }
        };
        let text = around.replace(HERE, &format!("{text}\n"));
        let files = format!("{MAIN}\n{text}")
            .split("\n-- ")
            .map(|part| part.split_once('\n').unwrap_or((part, "")))
            .map(|(path, text)| (path.to_owned(), format!("{}\n", text.trim_end_matches('\n'))))
            .collect();
        let mut words = head.split(' ');
        let name = format!("{feature}/{}", words.next().unwrap_or_default());
        let marked = |sign| head.split(' ').find_map(|word| word.strip_prefix(sign)).map(str::to_owned);
        fragments.push(Fragment { name, differs: marked('!'), config_id: marked('@'), files });
    }
    fragments
}

fn wrapped(name: &str) -> &'static str {
    WRAPPERS
        .iter()
        .find(|(wrapper, _)| *wrapper == name)
        .unwrap_or_else(|| panic!("a wrapper named {name}"))
        .1
}

const WRAPPERS: &[(&str, &str)] = &[
    ("whole", "%"),
    ("global", "global_defs {\n%}\n"),
    (
        "instance",
        "global_defs {\nenable_script_security\nscript_user root\n}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}\n%}\n",
    ),
    ("bare", "vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\n%}\n"),
    (
        "pair",
        "global_defs {\nenable_script_security\nscript_user root\n}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}\n}
vrrp_instance W {\ninterface eth1\nvirtual_router_id 52\nvirtual_ipaddress {\n192.0.2.101\n}\n}\n%",
    ),
    (
        "tracked",
        "global_defs {\nenable_script_security\nscript_user root\n}
vrrp_script s {\nscript /usr/bin/true\n}
track_file f {\nfile /tmp/lbd-track\n}
vrrp_track_process p {\nprocess nginx\n}
vrrp_instance U {\ninterface eth1\nvirtual_router_id 50\nvirtual_ipaddress {\n192.0.2.99\n}
track_script {\ns\n}\ntrack_file {\nf\n}\ntrack_process {\np\n}\n}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}\n%}\n",
    ),
    (
        "script",
        "global_defs {\nenable_script_security\nscript_user root\n}
vrrp_script s {\n%}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}
track_script {\ns\n}\n}\n",
    ),
    (
        "process",
        "vrrp_track_process p {\n%}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}
track_process {\np\n}\n}\n",
    ),
    (
        "file",
        "track_file f {\n%}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}
track_file {\nf\n}\n}\n",
    ),
    (
        "bfd",
        "bfd_instance b {\n%}
vrrp_instance V {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.100\n}
track_bfd {\nb\n}\n}\n",
    ),
    ("addresses", "static_ipaddress {\n%}\n"),
    ("routes", "static_routes {\n%}\n"),
    ("rules", "static_rules {\n%}\n"),
    (
        "virtual",
        "global_defs {\nenable_script_security\nscript_user root\n}
virtual_server 192.0.2.80 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n%real_server 192.0.2.11 80 {\n}\n}\n",
    ),
    (
        "real",
        "global_defs {\nenable_script_security\nscript_user root\n}\ntrack_file f {\nfile /tmp/lbd-track\n}
virtual_server 192.0.2.80 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 192.0.2.11 80 {\n%}\n}\n",
    ),
    (
        "group6",
        "virtual_server_group g {\n%}
virtual_server group g {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 2001:db8::11 80 {\n}\n}\n",
    ),
    (
        "group",
        "virtual_server_group g {\n%}
virtual_server group g {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\npersistence_timeout 50\nreal_server 192.0.2.11 80 {\n}\n}\n",
    ),
];

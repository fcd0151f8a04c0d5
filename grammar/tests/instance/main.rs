//! vrrp_instance and its groups: what each keyword means, what is said of it, and that it is written
//! out again.

#[path = "../common/mod.rs"]
mod common;
mod groups;
mod law;
mod said;
mod values;

use common::summaries;
use lbd_grammar::config::{Config, VrrpInstance};
use lbd_grammar::{Kind, Loaded, Secrets, dump, load_str};

/// What is said besides what is not supported yet, without related places.
fn said(loaded: &Loaded) -> Vec<String> {
    let said = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.kind != Kind::Unserved);
    said.map(|diagnostic| {
        let place = diagnostic.span.map(|span| loaded.sources.place(span).to_string());
        let help = diagnostic.help.as_deref().unwrap_or_default();
        format!("{}: {}; {help}", place.unwrap_or_default(), diagnostic.message)
    })
    .collect()
}

fn config(text: &str) -> Config {
    let loaded = load_str("c", text);
    let said = summaries(&loaded);
    loaded.config.unwrap_or_else(|| panic!("{text}\n{said:#?}"))
}

/// An instance on eth0 with an address and these lines.
fn with(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n 10.0.0.9\n }}\n}}\n"
    )
}

fn with6(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n{lines}\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{\n fe80::9\n }}\n}}\n"
    )
}

fn one(text: &str) -> VrrpInstance {
    config(text).vrrp_instances.remove(0)
}

/// What a text means is what its dump means, and nothing is said of the dump but what lbd does not
/// serve and what is lawful though odd.
fn law(text: &str) {
    let config = config(text);
    let written = dump(&config, Secrets::Shown);
    let again = load_str("dump", &written);
    for diagnostic in &again.diagnostics {
        let lawful = matches!(diagnostic.kind, Kind::Unserved | Kind::Lint);
        assert!(lawful, "{text}\n{written}\n{:#?}", summaries(&again));
    }
    assert_eq!(again.config.as_ref(), Some(&config), "{text}\n{written}");
    assert_eq!(dump(&config, Secrets::Shown), dump(&again.config.expect("loads"), Secrets::Shown));
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

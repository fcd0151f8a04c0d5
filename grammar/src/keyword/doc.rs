//! The tables as documentation sees them.
//!
//! Here: every block with its keywords, without the functions. Not here: the rows.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{
    Keyword, Part, Table, address, bfd, checker, file, global, group, instance, options, process,
    real_server, root, script, server_group, tls, tracking, virtual_server,
};

/// A block and its keywords.
#[derive(Clone, Debug)]
pub struct Block {
    /// The keyword that begins it; empty for the top level of a file.
    pub name: &'static str,
    /// What serves its keywords, unless they say otherwise.
    pub part: Part,
    /// What may stand in it.
    pub keywords: Vec<&'static Keyword>,
}

/// Every block that has keywords of its own, the top level first.
pub fn blocks() -> impl Iterator<Item = &'static Block> {
    BLOCKS.iter()
}

static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    vec![
        block(&root::TABLE),
        block(&global::TABLE),
        block(&instance::TABLE),
        block(&instance::AUTHENTICATION),
        block(&instance::AUTH_HMAC),
        block(&group::SYNC_GROUP),
        block(&group::TRACK_GROUP),
        block(&group::GARP_GROUP),
        block(&script::TABLE),
        block(&process::TABLE),
        block(&file::TABLE),
        block(&bfd::TABLE),
        block(&virtual_server::TABLE),
        block(&real_server::TABLE),
        block(&checker::TCP_CHECK),
        block(&checker::HTTP_GET),
        block(&checker::SSL_GET),
        block(&checker::URL),
        block(&checker::SMTP_CHECK),
        block(&checker::HOST),
        block(&checker::DNS_CHECK),
        block(&checker::UDP_CHECK),
        block(&checker::PING_CHECK),
        block(&checker::MISC_CHECK),
        block(&checker::FILE_CHECK),
        block(&checker::BFD_CHECK),
        block(&checker::AGENT_CHECK),
        block(&checker::GRPC_CHECK),
        block(&tls::TABLE),
        Block { name: "virtual_ipaddress", part: Part::Network, keywords: address::OPTIONS.iter().collect() },
        Block {
            name: "track_interface",
            part: Part::Vrrp,
            keywords: tracking::OPTIONS.iter().take(2).collect(),
        },
        Block { name: "unicast_peer", part: Part::Vrrp, keywords: instance::PEER_OPTIONS.iter().collect() },
        Block { name: "virtual_routes", part: Part::Network, keywords: options::ROUTE.iter().collect() },
        Block { name: "virtual_rules", part: Part::Network, keywords: options::RULE.iter().collect() },
        Block { name: "track_script", part: Part::Vrrp, keywords: tracking::OPTIONS.iter().collect() },
        Block {
            name: "virtual_server_group",
            part: Part::Director,
            keywords: server_group::OPTIONS.iter().collect(),
        },
    ]
});

fn block<B: Default>(table: &'static Table<B>) -> Block {
    Block { name: table.name, part: table.part, keywords: table.rows().map(|row| &row.keyword).collect() }
}

impl Block {
    /// Whether its keywords are words of lines: options that follow an address, a name or the like.
    pub fn is_of_lines(&self) -> bool {
        LINES.contains(&self.name)
    }
}

/// Blocks whose keywords are words of lines.
const LINES: &[&str] = &[
    "virtual_ipaddress",
    "virtual_routes",
    "virtual_rules",
    "unicast_peer",
    "track_interface",
    "track_script",
    "virtual_server_group",
];

/// Blocks that know a keyword; not the words of lines, which are no keywords elsewhere.
pub(super) fn homes(keyword: &str) -> &'static [&'static str] {
    HOMES.get(keyword).map_or(&[], Vec::as_slice)
}

static HOMES: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let mut homes: HashMap<&str, Vec<&str>> = HashMap::new();
    for block in blocks().filter(|block| !block.is_of_lines()) {
        for keyword in &block.keywords {
            homes.entry(keyword.name).or_default().push(block.name);
        }
    }
    homes
});

/// Whether a word begins a block somewhere.
pub(super) fn is_block(word: &str) -> bool {
    blocks().any(|block| block.keywords.iter().any(|known| known.block && known.name == word))
}

/// Blocks' names in a sentence; what most checkers have belongs in a check.
pub(super) fn shown_all(names: &[&str]) -> String {
    let is_check = |name: &&&str| name.ends_with("_CHECK") || name.ends_with("_GET");
    let checks = names.iter().filter(is_check).count() > 2;
    let others = names.iter().filter(|name| !(checks && (is_check(name) || **name == "host")));
    let mut places: Vec<String> = others.map(|name| shown(name)).collect();
    if checks {
        places.push("in a check".to_owned());
    }
    places.join(" or ")
}

/// A block's name in a sentence.
fn shown(name: &str) -> String {
    if name.is_empty() { "at the top level of the file".into() } else { format!("in `{name}`") }
}

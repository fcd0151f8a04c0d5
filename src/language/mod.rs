//! The configuration language as its tables tell it: `lbctl explain`, lbd.conf(5) and the README's
//! table are made from here, so that they say what the reader does.
//!
//! Here: where a block may stand, and what serves a keyword. Not here: the tables (`lbd_grammar`).

mod anywhere;
pub mod compatibility;
mod example;
pub mod explain;
pub mod man;

use lbd_grammar::{Block, Keyword, Part, Serves, WhenAbsent, blocks};

/// The keywords that open a block, the outermost first; empty for the top level.
type Path = Vec<&'static Keyword>;

/// What serves a keyword in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This part does what it says.
    Served(Part),
    /// No code does yet: what that means.
    NotYet {
        /// The block around it that is not supported, where it is not the keyword itself.
        because: Option<&'static str>,
        means: &'static str,
    },
}

fn state(block: &Block, paths: &[Path], keyword: &Keyword) -> State {
    let part = match keyword.serves {
        Serves::Unserved(means) => return State::NotYet { because: None, means },
        Serves::Served => block.part,
        Serves::By(part) => part,
    };
    // Served somewhere is served.
    let blocked: Option<Vec<State>> = paths.iter().map(unserved_block).collect();
    blocked.and_then(|states| states.first().copied()).unwrap_or(State::Served(part))
}

/// The block of a path that is not supported, if one is.
fn unserved_block(path: &Path) -> Option<State> {
    path.iter().find_map(|opener| match opener.serves {
        Serves::Unserved(means) => Some(State::NotYet { because: Some(opener.name), means }),
        _ => None,
    })
}

/// Every way to a block; none if nothing opens it.
fn paths(block: &Block) -> Vec<Path> {
    let mut found = Vec::new();
    let top = blocks().find(|block| block.name.is_empty());
    if let Some(top) = top {
        walk(top, &mut Vec::new(), block.name, &mut found);
    }
    found
}

fn walk(from: &Block, path: &mut Path, wanted: &str, found: &mut Vec<Path>) {
    if from.name == wanted {
        found.push(path.clone());
    }
    for keyword in from.keywords.iter().filter(|keyword| keyword.block) {
        let Some(inner) = opened(keyword) else { continue };
        // A block in itself is entered once.
        if !path.iter().any(|outer| outer.name == keyword.name) {
            path.push(keyword);
            walk(inner, path, wanted, found);
            path.pop();
        }
    }
}

/// The table of what may stand in a keyword's block, if it has one.
fn opened(keyword: &Keyword) -> Option<&'static Block> {
    let named = |name: &str| blocks().find(|block| keyword.block && block.name == name);
    if !keyword.opens.is_empty() {
        return named(keyword.opens);
    }
    // The lines of a track_file block have nothing of the object that is named so.
    let elsewhere = || blocks().flat_map(|block| &block.keywords).any(|other| other.opens == keyword.name);
    named(keyword.name).filter(|block| block.is_of_lines() || !elsewhere())
}

/// A path in words: `virtual_server > real_server`.
fn shown(path: &Path) -> String {
    let names: Vec<&str> = path.iter().map(|keyword| keyword.name).collect();
    if names.is_empty() { TOP.to_owned() } else { names.join(" > ") }
}

/// The top level in words.
const TOP: &str = "top level of the file";

/// The keyword with its arguments.
fn synopsis(keyword: &Keyword) -> String {
    format!("{} {}", keyword.name, keyword.arguments).trim_end().to_owned()
}

/// What holds where the keyword is absent; `None` for one that is a block, since its own keywords say.
fn default(keyword: &Keyword) -> Option<&'static str> {
    match keyword.default {
        WhenAbsent::Text("") => Some("on"),
        WhenAbsent::Text(text) | WhenAbsent::Said(text) => Some(text),
        WhenAbsent::Nothing if keyword.block => None,
        WhenAbsent::Nothing if ["", "[BOOL]"].contains(&keyword.arguments) => Some("off"),
        WhenAbsent::Nothing => Some("none"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Compares a file of the project with what is made for it; `LBD_BLESS=1` writes it instead.
    pub(super) fn is_generated(name: &str, made: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("LBD_BLESS").is_some_and(|value| value == "1") {
            std::fs::write(&path, made).expect("written");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let line = there.lines().zip(made.lines()).position(|(there, made)| there != made);
        assert!(
            there == made,
            "{name} is not what the tables say (line {}): `LBD_BLESS=1 INSTA_UPDATE=always cargo test -p lbd --lib language` writes it",
            line.unwrap_or(there.lines().count().min(made.lines().count())) + 1
        );
    }

    pub(super) fn block(name: &str) -> &'static Block {
        blocks().find(|block| block.name == name).expect("a block")
    }

    #[test]
    fn every_block_can_be_reached() {
        for block in blocks() {
            assert!(!paths(block).is_empty(), "nothing opens {}", block.name);
        }
    }

    #[test]
    fn ways_to_a_block() {
        for (name, want) in [
            ("", TOP),
            ("vrrp_instance", "vrrp_instance"),
            ("real_server", "virtual_server > real_server"),
            ("url", "virtual_server > real_server > HTTP_GET > url"),
        ] {
            let found: Vec<String> = paths(block(name)).iter().map(shown).collect();
            assert!(found.iter().any(|path| path == want), "{name}: {found:?}");
        }
    }

    #[test]
    fn what_stands_in_a_block_that_is_not_served_is_not_served_either() {
        const OPENER: Keyword = Keyword {
            name: "outer",
            arguments: "{ … }",
            range: "",
            default: WhenAbsent::Nothing,
            help: "A block.",
            example: "",
            serves: Serves::Unserved("it has no effect"),
            block: true,
            opens: "inner",
        };
        static LATER: Keyword = OPENER;
        static SERVED: Keyword = Keyword { name: "other", serves: Serves::Served, ..OPENER };
        static BY: Keyword =
            Keyword { name: "leaf", serves: Serves::By(Part::Notify), block: false, ..OPENER };
        let inner = Block { name: "inner", part: Part::Vrrp, keywords: vec![&BY] };
        let because = State::NotYet { because: Some("outer"), means: "it has no effect" };
        for (name, paths, keyword, want) in [
            ("by another part", vec![vec![]], &BY, State::Served(Part::Notify)),
            ("by its block's", vec![vec![&SERVED]], &SERVED, State::Served(Part::Vrrp)),
            ("in a block that is not", vec![vec![&LATER]], &BY, because),
            ("in two of which one is", vec![vec![&LATER], vec![&SERVED]], &BY, State::Served(Part::Notify)),
            ("itself", vec![vec![]], &LATER, State::NotYet { because: None, means: "it has no effect" }),
        ] {
            assert_eq!(state(&inner, &paths, keyword), want, "{name}");
        }
    }
}

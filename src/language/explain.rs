//! `lbctl explain`: what a keyword does, where it may stand, what it takes.
//!
//! Here: what is said, as text and as JSON. Not here: the command (`crate::lbctl`).

use lbd_grammar::{Block, Keyword, blocks, nearest};
use serde::Serialize;

use super::anywhere;
use super::example::{example, holds};
use super::{Path, State, TOP, default, paths, shown, state, synopsis};

/// A keyword as programs are told of it: fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The word.
    pub keyword: &'static str,
    /// Where it may stand, each as the blocks from the outermost, joined by ` > `; empty for the top
    /// level of a file, `anywhere` for what every block may have.
    pub places: Vec<String>,
    /// The word with its arguments.
    pub synopsis: String,
    /// What it does.
    pub help: &'static str,
    /// What a value may be, where there is a limit.
    pub range: Option<&'static str>,
    /// What holds without it.
    pub default: Option<&'static str>,
    /// Whether lbd does what it says.
    pub served: bool,
    /// The part of lbd that does.
    pub part: Option<String>,
    /// What its not being served means.
    pub means: Option<String>,
    /// How it could be written.
    pub example: String,
    /// What may stand in its block, where it has one.
    pub holds: Option<Vec<&'static str>>,
}

/// A block as programs are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Where it may stand, with its own name, joined by ` > `; empty for the top level.
    pub places: Vec<String>,
    /// Whether its keywords are words of its lines.
    pub of_lines: bool,
    /// What may stand in it.
    pub keywords: Vec<&'static str>,
}

/// Every block that has keywords.
pub fn list() -> Vec<Listed> {
    let anywhere =
        Listed { places: vec![anywhere::PLACE.to_owned()], of_lines: false, keywords: anywhere::names() };
    blocks()
        .map(|block| Listed {
            places: places(&paths(block)),
            of_lines: block.is_of_lines(),
            keywords: block.keywords.iter().map(|keyword| keyword.name).collect(),
        })
        .chain([anywhere])
        .collect()
}

/// A keyword in each block that has it, or in one.
///
/// # Errors
/// There is none of that name; the text says which one may be meant.
pub fn explain(keyword: &str, block: Option<&str>) -> Result<Vec<Explained>, String> {
    if let Some(form) = anywhere::explain(keyword) {
        return Ok(vec![form]);
    }
    let homes: Vec<(&Block, &'static Keyword)> = blocks()
        .flat_map(|block| block.keywords.iter().map(move |known| (block, *known)))
        .filter(|(_, known)| known.name == keyword)
        .collect();
    if homes.is_empty() {
        let near = nearest(keyword, blocks().flat_map(|block| block.keywords.iter().map(|known| known.name)));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`lbctl explain` lists the blocks with their keywords".to_owned(),
        };
        return Err(format!("there is no keyword `{keyword}`; {help}"));
    }
    let mut found: Vec<Explained> = Vec::new();
    for (home, known) in &homes {
        if block.is_some_and(|wanted| !is_called(home, wanted)) {
            continue;
        }
        let one = explained(home, known);
        // Blocks share keywords: said once, with all places.
        match found.iter_mut().find(|other| same(other, &one)) {
            Some(other) => other.places.extend(one.places),
            None => found.push(one),
        }
    }
    let Some(block) = block.filter(|_| found.is_empty()) else { return Ok(found) };
    Err(not_there(keyword, block, &homes))
}

fn not_there(keyword: &str, block: &str, homes: &[(&Block, &Keyword)]) -> String {
    if !blocks().any(|known| is_called(known, block)) {
        let names = blocks().flat_map(|block| block.keywords.iter().filter(|inner| inner.block));
        let help = match nearest(block, names.map(|opener| opener.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`lbctl explain` lists the blocks".to_owned(),
        };
        return format!("there is no block `{block}` with keywords; {help}");
    }
    let names: Vec<String> = homes
        .iter()
        .map(|(home, _)| match home.name {
            "" => format!("the {TOP}"),
            name => format!("`{name}`"),
        })
        .collect();
    format!("`{block}` has no keyword `{keyword}`; it belongs in {}", names.join(" or "))
}

/// Whether a block goes by a name: its own, or that of another keyword that opens it.
fn is_called(block: &Block, name: &str) -> bool {
    let opens = |path: &Path| path.last().is_some_and(|opener| opener.name == name);
    block.name == name || paths(block).iter().any(opens)
}

fn explained(block: &Block, keyword: &Keyword) -> Explained {
    let paths = paths(block);
    let (part, means) = match state(block, &paths, keyword) {
        State::Served(part) => (Some(part.to_string()), None),
        State::NotYet { because: None, means } => (None, Some(means.to_owned())),
        State::NotYet { because: Some(outer), means } => (None, Some(format!("nor is `{outer}`: {means}"))),
    };
    Explained {
        keyword: keyword.name,
        places: places(&paths),
        synopsis: synopsis(keyword),
        help: keyword.help,
        range: Some(keyword.range).filter(|range| !range.is_empty()),
        default: default(keyword),
        served: part.is_some(),
        part,
        means,
        example: example(&paths, keyword, block.is_of_lines()),
        holds: holds(keyword),
    }
}

fn places(paths: &[Path]) -> Vec<String> {
    paths.iter().map(|path| if path.is_empty() { String::new() } else { shown(path) }).collect()
}

/// Whether two blocks have the same keyword; its example may stand in either.
fn same(one: &Explained, other: &Explained) -> bool {
    let bare = |it: &Explained| Explained { places: Vec::new(), example: String::new(), ..it.clone() };
    bare(one) == bare(other)
}

/// For people.
pub fn text(found: &[Explained]) -> String {
    let entries: Vec<String> = found.iter().map(entry).collect();
    entries.join("\n")
}

fn entry(one: &Explained) -> String {
    let mut text = format!("{}\n    {}\n", one.synopsis, one.help);
    let mut say = |name: &str, value: &str| text.push_str(&format!("    {name:<9}{value}\n"));
    for (index, place) in one.places.iter().enumerate() {
        let name = if index == 0 { "in" } else { "" };
        say(name, if place.is_empty() { TOP } else { place });
    }
    if let Some(range) = one.range {
        say("range", range);
    }
    if let Some(default) = one.default {
        say("default", default);
    }
    match (&one.part, &one.means) {
        (Some(part), _) => say("served", &format!("yes ({part})")),
        (None, means) => say("served", &format!("not yet: {}", means.as_deref().unwrap_or_default())),
    }
    if let Some(names) = &one.holds {
        for (index, row) in wrapped(names).iter().enumerate() {
            say(if index == 0 { "holds" } else { "" }, row);
        }
    }
    text.push_str("    example\n");
    for line in one.example.lines() {
        text.push_str(&format!("        {line}\n"));
    }
    text
}

/// For people: every block with its keywords.
pub fn listing(blocks: &[Listed]) -> String {
    let mut text = String::new();
    for block in blocks {
        let places: Vec<&str> =
            block.places.iter().map(|place| if place.is_empty() { TOP } else { place }).collect();
        text.push_str(&places.join("\n"));
        text.push_str(if block.of_lines { " (words of its lines)\n" } else { "\n" });
        for row in wrapped(&block.keywords) {
            text.push_str(&format!("    {row}\n"));
        }
        text.push('\n');
    }
    text.push_str("`lbctl explain KEYWORD [BLOCK]` says what one of them does.\n");
    text
}

/// Names as rows of a readable length.
fn wrapped(names: &[&str]) -> Vec<String> {
    const WIDTH: usize = 90;
    let mut rows: Vec<String> = Vec::new();
    for name in names {
        match rows.last_mut().filter(|row| row.len() + 1 + name.len() <= WIDTH) {
            Some(row) => {
                row.push(' ');
                row.push_str(name);
            }
            None => rows.push((*name).to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_each_kind() {
        let mut said = String::new();
        for (keyword, block) in [
            ("virtual_router_id", None),
            ("hysteresis", None),
            ("connect_port", None),
            ("MISC_CHECK", None),
            ("include", None),
        ] {
            said.push_str(&format!("$ lbctl explain {keyword}\n"));
            said.push_str(&text(&explain(keyword, block).expect(keyword)));
            said.push('\n');
        }
        insta::assert_snapshot!("explain", said);
        insta::assert_json_snapshot!("explain_json", explain("hysteresis", None).expect("known"));
    }

    #[test]
    fn every_keyword_is_explained() {
        assert!(
            blocks().flat_map(|block| &block.keywords).all(|known| anywhere::explain(known.name).is_none())
        );
        for block in blocks() {
            for keyword in &block.keywords {
                let one = explain(keyword.name, Some(block.name)).expect(keyword.name);
                assert!(text(&one).contains(keyword.help), "{}", keyword.name);
                assert!(
                    one.iter()
                        .all(|one| one.served == one.part.is_some() && one.served == one.means.is_none())
                );
            }
        }
        let listing = listing(&list());
        assert!(listing.contains("virtual_server > real_server > HTTP_GET > url\n"), "{listing}");
    }

    #[test]
    fn what_is_not_known() {
        for (keyword, block, want) in [
            ("advert_imt", None, "there is no keyword `advert_imt`; did you mean `advert_int`?"),
            (
                "nonsense_word",
                None,
                "there is no keyword `nonsense_word`; `lbctl explain` lists the blocks with their keywords",
            ),
            (
                "advert_int",
                Some("real_server"),
                "`real_server` has no keyword `advert_int`; it belongs in `vrrp_instance`",
            ),
            (
                "advert_int",
                Some("vrrp_instanc"),
                "there is no block `vrrp_instanc` with keywords; did you mean `vrrp_instance`?",
            ),
            (
                "advert_int",
                Some("backend"),
                "there is no block `backend` with keywords; `lbctl explain` lists the blocks",
            ),
        ] {
            assert_eq!(explain(keyword, block), Err(want.to_owned()));
        }
    }
}

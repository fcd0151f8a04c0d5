//! Examples of keywords, each inside its blocks.

use lbd_grammar::{Keyword, WhenAbsent};

use super::{Path, opened, paths};

/// The keyword as it could be written, in the blocks of `path`. `of_line`: it is a word of the lines of
/// the innermost block.
pub(super) fn example(path: &Path, keyword: &Keyword, of_line: bool) -> String {
    let mut text = String::new();
    for (depth, outer) in path.iter().enumerate() {
        line(&mut text, depth, &format!("{} {{", head(outer)));
    }
    let depth = path.len();
    match path.last().filter(|_| of_line) {
        Some(block) => line(&mut text, depth, &of_block(block, keyword)),
        None if keyword.block => {
            line(&mut text, depth, &format!("{} {{", head(keyword)));
            for inner in keyword.example.lines() {
                line(&mut text, depth + 1, inner);
            }
            line(&mut text, depth, "}");
        }
        None => line(&mut text, depth, &with_arguments(keyword)),
    }
    for depth in (0..path.len()).rev() {
        line(&mut text, depth, "}");
    }
    text
}

fn line(text: &mut String, depth: usize, line: &str) {
    text.push_str(&"    ".repeat(depth));
    text.push_str(line.trim_end());
    text.push('\n');
}

/// The keyword with its example, else its default, else its arguments as they are named.
fn with_arguments(keyword: &Keyword) -> String {
    let arguments = match keyword.default {
        _ if !keyword.example.is_empty() => keyword.example,
        WhenAbsent::Text(text) => text,
        _ => keyword.arguments,
    };
    format!("{} {arguments}", keyword.name)
}

/// A line of a block in which the keyword is one of the words: that of the block's own example, if it
/// has one with it.
fn of_block(block: &Keyword, keyword: &Keyword) -> String {
    let has = |line: &&str| line.split_whitespace().any(|word| word == keyword.name);
    if let Some(line) = block.example.lines().find(has) {
        return line.to_owned();
    }
    let inner = block.arguments.split_once('{').map_or("", |(_, inner)| inner);
    let named = inner.split_whitespace().next().and_then(|word| {
        let name = word.split(['[', '|', '/']).next().unwrap_or_default();
        VALUES.iter().find(|(from, _)| *from == name).map(|(_, value)| *value)
    });
    let item = block.example.split_whitespace().next().or(named).unwrap_or("one");
    format!("{item} {}", with_arguments(keyword))
}

/// The head of a block, with names and addresses in place of its arguments' names.
fn head(block: &Keyword) -> String {
    let arguments = block.arguments.split('{').next().unwrap_or_default();
    let first = arguments.split('|').next().unwrap_or_default();
    let mut words = vec![block.name.to_owned()];
    for word in first.split_whitespace() {
        let name = word.trim_matches(['[', ']']);
        match VALUES.iter().find(|(from, _)| *from == name) {
            Some(("NAME", other)) => words.push(name_of(block.name).unwrap_or(other).to_owned()),
            Some((_, value)) => words.push((*value).to_owned()),
            None if word.starts_with('[') => {}
            None => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

/// What stands for the arguments of heads.
const VALUES: &[(&str, &str)] =
    &[("NAME", "one"), ("ADDR", "192.0.2.10"), ("PORT", "80"), ("IF", "eth0"), ("N", "1")];

fn name_of(block: &str) -> Option<&'static str> {
    match block {
        "vrrp_instance" => Some("VI_1"),
        "vrrp_sync_group" => Some("VG_1"),
        "vrrp_script" => Some("check_web"),
        _ => None,
    }
}

/// What may stand in the block of a keyword, in a few words: `None` if it has none with a table.
pub(super) fn holds(keyword: &Keyword) -> Option<Vec<&'static str>> {
    let block = opened(keyword)?;
    debug_assert!(!paths(block).is_empty());
    Some(block.keywords.iter().map(|inner| inner.name).collect())
}

#[cfg(test)]
mod tests {
    use lbd_grammar::{Kind, blocks, load_str};

    use super::*;

    /// Only what the blocks around it lack may be said of an example: it has one keyword.
    #[test]
    fn examples_are_read_as_what_they_are_of() {
        for block in blocks() {
            for path in paths(block) {
                for keyword in &block.keywords {
                    let text = example(&path, keyword, block.is_of_lines());
                    assert!(text.contains(keyword.name), "{text}");
                    let loaded = load_str("example", &text);
                    for diagnostic in &loaded.diagnostics {
                        let wrong = matches!(diagnostic.kind, Kind::UnknownKeyword | Kind::Syntax);
                        assert!(!wrong, "{}\n{text}", diagnostic.summary(&loaded.sources));
                    }
                }
            }
        }
    }

    #[test]
    fn heads() {
        let head_of = |block: &str, name: &str| {
            let block = super::super::tests::block(block);
            head(block.keywords.iter().find(|keyword| keyword.name == name).expect("a keyword"))
        };
        assert_eq!(head_of("", "global_defs"), "global_defs");
        assert_eq!(head_of("", "vrrp_instance"), "vrrp_instance VI_1");
        assert_eq!(head_of("", "virtual_server"), "virtual_server 192.0.2.10 80");
        assert_eq!(head_of("virtual_server", "real_server"), "real_server 192.0.2.10 80");
        assert_eq!(head_of("real_server", "HTTP_GET"), "HTTP_GET");
    }
}

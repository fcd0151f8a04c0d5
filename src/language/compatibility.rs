//! The README's table of what is served: made from the rows, so that it says what the reader does.

use lbd_grammar::{Block, Keyword, blocks};

use super::{State, paths, state};

/// Lines around the generated part of the README.
pub const BEGIN: &str = "<!-- generated: compatibility -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- /generated -->";

/// The text with its generated part made anew; `None` if it has no such part.
pub fn renewed(readme: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", table()))
}

/// What a block has, and what of it is not served.
struct Count {
    name: String,
    served: usize,
    known: usize,
    /// Who serves, in the order of the rows.
    parts: Vec<String>,
    /// What is lacking, by what that means, in the order of the rows.
    lacking: Vec<(String, Vec<&'static str>)>,
}

/// The table of counts, and what is not served below it.
pub fn table() -> String {
    let counts: Vec<Count> = blocks().map(count).collect();
    let sum = |of: fn(&Count) -> usize| counts.iter().map(of).sum::<usize>();
    let (served, known) = (sum(|count| count.served), sum(|count| count.known));
    let mut text = format!(
        "{served} of the {known} keywords and options are served. Each of the others is read, checked and kept in the configuration;\n\
         one warning with its place says that it has no effect yet.\n\n\
         | in | served | by |\n|---|---|---|\n"
    );
    for count in &counts {
        let parts = if count.parts.is_empty() { "-".to_owned() } else { count.parts.join(", ") };
        text.push_str(&format!("| {} | {} of {} | {parts} |\n", count.name, count.served, count.known));
    }
    if served < known {
        text.push_str("\n<details>\n<summary>Not yet served, and what that means</summary>\n\n");
        for count in counts.iter().filter(|count| !count.lacking.is_empty()) {
            if count.served == 0 {
                text.push_str(&format!("- {}: nothing in it\n", count.name));
                continue;
            }
            text.push_str(&format!("- {}\n", count.name));
            for (means, names) in &count.lacking {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                text.push_str(&format!("  - {}: {means}\n", names.join(", ")));
            }
        }
        text.push_str("\n</details>\n");
    }
    text
}

fn count(block: &Block) -> Count {
    let paths = paths(block);
    let mut count = Count { name: name(block), served: 0, known: 0, parts: Vec::new(), lacking: Vec::new() };
    for keyword in &block.keywords {
        count.known += 1;
        match state(block, &paths, keyword) {
            State::Served(part) => {
                count.served += 1;
                let part = part.to_string();
                if !count.parts.contains(&part) {
                    count.parts.push(part);
                }
            }
            State::NotYet { because: None, means } => lacking(&mut count, means.to_owned(), keyword),
            State::NotYet { because: Some(outer), .. } => {
                lacking(&mut count, format!("`{outer}` is not served"), keyword);
            }
        }
    }
    count
}

fn lacking(count: &mut Count, means: String, keyword: &Keyword) {
    match count.lacking.iter_mut().find(|(known, _)| *known == means) {
        Some((_, names)) => names.push(keyword.name),
        None => count.lacking.push((means, vec![keyword.name])),
    }
}

fn name(block: &Block) -> String {
    match block.name {
        "" => "the file itself".to_owned(),
        name if block.is_of_lines() => format!("lines of `{name}`"),
        name => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::is_generated;
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
        is_generated("README.md", &renewed(&readme).expect("the lines around the table"));
    }

    #[test]
    fn each_keyword_is_counted_and_each_that_lacks_is_named() {
        for (block, count) in blocks().map(|block| (block, count(block))) {
            let lacking: usize = count.lacking.iter().map(|(_, names)| names.len()).sum();
            assert_eq!(
                (count.known, count.served + lacking),
                (block.keywords.len(), count.known),
                "{}",
                count.name
            );
            assert_eq!(count.served == 0, count.parts.is_empty(), "{}", count.name);
        }
    }

    #[test]
    fn only_what_is_between_the_lines_is_made_anew() {
        let made = renewed(&format!("a\n{BEGIN}\nold\n{END}\nb\n")).expect("both lines");
        assert_eq!(made, format!("a\n{BEGIN}\n{}{END}\nb\n", table()));
        assert_eq!(renewed(&made), Some(made));
        assert_eq!(renewed("no lines"), None);
    }
}

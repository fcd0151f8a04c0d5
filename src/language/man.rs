//! The man page lbd.conf(5): an introduction, and every keyword from its row.

use lbd_grammar::{Block, Keyword, blocks, lints};

use super::{State, default, paths, shown, state};

const INTRODUCTION: &str = include_str!("man_intro.roff");

/// The page as roff.
pub fn man_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for block in blocks() {
        section(&mut page, block);
    }
    page.push_str(LINTS);
    for (what, why) in lints() {
        page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(what), guarded(&prose(why))));
    }
    page.push_str(include_str!("man_end.roff"));
    page
}

const LINTS: &str = ".SH LINTS\nWhat works and is probably not meant is said too. It does not count in the exit status \
                     of the configuration\ntest, unless\n.B \\-\\-strict\nis given.\n";

fn section(page: &mut String, block: &Block) {
    let paths = paths(block);
    let title = if block.name.is_empty() { "Top level of the file" } else { block.name };
    page.push_str(&format!(".SS {}\n", escaped(title)));
    if !block.name.is_empty() {
        let places: Vec<String> =
            paths.iter().map(|path| format!("\\fB{}\\fR", escaped(&shown(path)))).collect();
        let what = if block.is_of_lines() { "Words of the lines in " } else { "In " };
        page.push_str(&format!("{what}{}.\n", places.join(",\n")));
    }
    // A block that is not served is said to be so once.
    let states: Vec<State> = block.keywords.iter().map(|keyword| state(block, &paths, keyword)).collect();
    let outer = states.iter().find_map(|state| match state {
        State::NotYet { because: Some(outer), means } => Some((outer, means)),
        _ => None,
    });
    if let Some((outer, means)) = outer {
        page.push_str(&format!("\\fB{}\\fR is not supported yet: {}.\n", escaped(outer), prose(means)));
    }
    for (keyword, state) in block.keywords.iter().zip(states) {
        entry(page, keyword, state);
    }
}

fn entry(page: &mut String, keyword: &Keyword, state: State) {
    page.push_str(&format!(".TP\n\\fB{}\\fR", escaped(keyword.name)));
    if !keyword.arguments.is_empty() {
        page.push_str(&format!(" {}", escaped(keyword.arguments)));
    }
    page.push('\n');
    page.push_str(&format!("{}\n", guarded(&prose(keyword.help))));
    let mut facts = Vec::new();
    if !keyword.range.is_empty() {
        facts.push(format!("Range: {}.", prose(keyword.range)));
    }
    if let Some(default) = default(keyword) {
        facts.push(format!("Default: {}.", prose(default)));
    }
    if let State::NotYet { because: None, means } = state {
        facts.push(format!("Not supported yet: {}.", prose(means)));
    }
    for fact in facts {
        page.push_str(&fact);
        page.push('\n');
    }
}

/// Text of which the part between backticks is bold.
fn prose(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escaped).collect();
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let mut marked = String::new();
    for (index, part) in parts.iter().enumerate() {
        match index % 2 {
            0 => marked.push_str(part),
            _ => marked.push_str(&format!("\\fB{part}\\fR")),
        }
    }
    marked
}

/// A line that cannot be taken for a request.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '\\' => safe.push_str("\\e"),
            '-' => safe.push_str("\\-"),
            '~' => safe.push_str("\\(ti"),
            '^' => safe.push_str("\\(ha"),
            '`' => safe.push_str("\\(ga"),
            '\'' => safe.push_str("\\(aq"),
            '"' => safe.push_str("\\(dq"),
            '\u{2026}' => safe.push_str("..."),
            c if c.is_ascii() && !c.is_ascii_control() => safe.push(c),
            c => safe.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::super::tests::is_generated;
    use super::*;

    #[test]
    fn the_page_is_what_the_tables_say() {
        is_generated("man/lbd.conf.5", &man_page());
    }

    #[test]
    fn every_keyword_is_in_it() {
        let page = man_page();
        for block in blocks() {
            for keyword in &block.keywords {
                let head = format!(".TP\n\\fB{}\\fR", escaped(keyword.name));
                assert!(page.contains(&head), "{} of {}", keyword.name, block.name);
            }
        }
        for (what, _) in lints() {
            assert!(page.contains(&escaped(what)), "{what}");
        }
        assert!(page.is_ascii());
    }

    #[test]
    fn the_example_of_the_introduction_is_read() {
        let (_, rest) = INTRODUCTION.split_once(".EX\n").expect("an example");
        let (example, _) = rest.split_once(".EE\n").expect("its end");
        let loaded = lbd_grammar::load_str("example", example);
        let said: Vec<String> = loaded.diagnostics.iter().map(|one| one.summary(&loaded.sources)).collect();
        assert_eq!(said, [""; 0]);
        let config = loaded.config.expect("it can run");
        assert_eq!((config.vrrp_instances.len(), config.virtual_servers.len()), (1, 1));
    }

    #[test]
    fn text_is_text() {
        for (text, want) in [
            ("a-b", "a\\-b"),
            ("write `x` or `y_z`", "write \\fBx\\fR or \\fBy_z\\fR"),
            ("a lone ` mark", "a lone \\(ga mark"),
            ("\\.\u{2026}\u{fc}", "\\e....\\[u00FC]"),
        ] {
            assert_eq!(prose(text), want);
        }
        assert_eq!(guarded(".x"), "\\&.x");
    }

    #[test]
    fn the_formatter_has_no_complaint() {
        for (name, page) in [
            ("lbd.conf.5", man_page()),
            ("lbd.8", include_str!("../../man/lbd.8").to_owned()),
            ("lbctl.1", include_str!("../../man/lbctl.1").to_owned()),
        ] {
            let formatter = Command::new("groff")
                .args(["-man", "-ww", "-Tutf8", "-z"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut formatter) = formatter else {
                lbd_integration::skip::report("man_pages_are_formatted", "needs groff");
                return;
            };
            let mut input = formatter.stdin.take().expect("piped");
            input.write_all(page.as_bytes()).expect("taken");
            drop(input);
            let output = formatter.wait_with_output().expect("it ends");
            let complaints = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && complaints.is_empty(), "{name}: {complaints}");
        }
    }
}

//! Examples of keywords, each inside its blocks.

use lbd_grammar::{Keyword, Kind, WhenAbsent, load_str};

use super::{Path, opened, paths};

/// The keyword as it could be written, in the blocks of one of `paths`. `of_line`: it is a word of the
/// lines of the innermost block. Words of lines depend on each other and on the block, so the first
/// line is taken of which the reader has nothing to say.
pub(super) fn example(paths: &[Path], keyword: &Keyword, of_line: bool) -> String {
    let mut lines = paths.iter().flat_map(|path| {
        let block = path.last().filter(|_| of_line);
        let lines = block.map_or_else(|| vec![with_arguments(keyword)], |block| of_block(block, keyword));
        lines.into_iter().map(move |line| (path, line))
    });
    let first = lines.next().map(|(path, line)| (in_blocks(path, keyword, of_line, &line), path.len()));
    let Some((first, depth)) = first else { return in_blocks(&Path::new(), keyword, false, keyword.name) };
    if !of_line || is_fine(&first, depth + 1) {
        return first;
    }
    lines
        .map(|(path, line)| (in_blocks(path, keyword, true, &line), path.len()))
        .find_map(|(text, depth)| is_fine(&text, depth + 1).then_some(text))
        .unwrap_or(first)
}

/// Whether nothing is wrong with a line of a text.
fn is_fine(text: &str, line: usize) -> bool {
    let loaded = load_str("example", text);
    let about = |span| loaded.sources.place(span).line == line;
    loaded.diagnostics.iter().all(|found| found.kind == Kind::Unserved || !found.span.is_some_and(about))
}

fn in_blocks(path: &Path, keyword: &Keyword, of_line: bool, written: &str) -> String {
    let mut text = String::new();
    for (depth, outer) in path.iter().enumerate() {
        line(&mut text, depth, &format!("{} {{", head(outer)));
    }
    let depth = path.len();
    if keyword.block && !of_line {
        line(&mut text, depth, &format!("{} {{", head(keyword)));
        for inner in keyword.example.lines() {
            line(&mut text, depth + 1, inner);
        }
        line(&mut text, depth, "}");
    } else {
        line(&mut text, depth, written);
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

/// The keyword with its example, else its default, else values in place of its arguments' names.
fn with_arguments(keyword: &Keyword) -> String {
    let arguments = match keyword.default {
        _ if !keyword.example.is_empty() => keyword.example.to_owned(),
        WhenAbsent::Text(text) => text.to_owned(),
        _ => values(keyword, keyword.arguments),
    };
    format!("{} {arguments}", keyword.name)
}

/// Lines of a block with the keyword, the likeliest first: one of the block's own example that has it,
/// else the first of them with it added, also with some of its words left out, also of IPv6.
fn of_block(block: &Keyword, keyword: &Keyword) -> Vec<String> {
    let has = |line: &&str| line.split_whitespace().any(|word| word == keyword.name);
    let own = block.example.lines().find(has).map(str::to_owned);
    let inner = block.arguments.split_once('{').map_or("", |(_, inner)| inner);
    let written = with_arguments(keyword);
    // It may be another form of the line.
    let form = inner.split('|').any(|form| form.split_whitespace().next() == Some(keyword.name));
    let form = form.then(|| written.clone());
    let item = match block.example.lines().next() {
        Some(line) => line.to_owned(),
        None => values(block, inner.split_whitespace().next().unwrap_or_default()),
    };
    let words: Vec<&str> = item.split_whitespace().collect();
    let without = |from: usize, count: usize| -> String {
        let kept = words.iter().enumerate().filter(|(index, _)| !(from..from + count).contains(index));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
    };
    let shorter =
        (0..words.len()).flat_map(|count| (0..=words.len() - count).rev().map(move |from| (from, count)));
    let shorter: Vec<String> = shorter.map(|(from, count)| without(from, count)).collect();
    let ipv6 = shorter.iter().map(|item| {
        item.replace("192.0.2.0/24", "2001:db8::/64")
            .replace("198.51.100.1", "fe80::1")
            .replace("192.0.2.1/24", "2001:db8::1/64")
    });
    let added = shorter.iter().cloned().chain(ipv6).map(|item| format!("{item} {written}"));
    own.into_iter().chain(form).chain(added).collect()
}

/// The head of a block.
fn head(block: &Keyword) -> String {
    let arguments = block.arguments.split('{').next().unwrap_or_default();
    let form = arguments.split(" | ").next().unwrap_or_default();
    // A server has a port.
    let form = form.replace("[PORT]", "PORT");
    format!("{} {}", block.name, values(block, &form)).trim_end().to_owned()
}

/// Values in place of the names of arguments, the first of alternatives, without what may be left out.
fn values(keyword: &Keyword, arguments: &str) -> String {
    let mut depth = 0_u32;
    let needed: String = arguments
        .chars()
        .filter(|c| {
            let outside = depth == 0 && *c != '[';
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            outside
        })
        .collect();
    let value = |word: &str| -> String {
        let name = word.split('|').next().unwrap_or_default();
        let lowest = keyword.range.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        match name {
            "NAME" => name_of(keyword.name).to_owned(),
            // Another one than its real servers have.
            "ADDR" if keyword.name == "virtual_server" => "192.0.2.1".to_owned(),
            "N" | "SECS" if !matches!(lowest, "" | "0") => lowest.to_owned(),
            name => match VALUES.iter().find(|(from, _)| *from == name) {
                Some((_, value)) => (*value).to_owned(),
                None => name.to_owned(),
            },
        }
    };
    let words: Vec<String> = needed.split_whitespace().filter(|word| *word != "…").map(value).collect();
    words.join(" ")
}

/// What stands for arguments.
const VALUES: &[(&str, &str)] = &[
    ("ADDR", "192.0.2.10"),
    ("PORT", "80"),
    ("IF", "eth0"),
    ("N", "1"),
    ("SECS", "1"),
    ("MASK", "255.255.255.0"),
];

fn name_of(keyword: &str) -> &'static str {
    match keyword {
        "vrrp_instance" => "VI_1",
        "vrrp_sync_group" => "VG_1",
        "vrrp_script" | "track_script" => "check_web",
        _ => "one",
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
    use lbd_grammar::blocks;

    use super::*;

    /// Only what the blocks around it lack may be said of an example: it has one keyword.
    #[test]
    fn examples_are_read_as_what_they_are_of() {
        for block in blocks() {
            for path in paths(block) {
                for keyword in &block.keywords {
                    let text = example(std::slice::from_ref(&path), keyword, block.is_of_lines());
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
        assert_eq!(head_of("", "virtual_server"), "virtual_server 192.0.2.1 80");
        assert_eq!(head_of("virtual_server", "real_server"), "real_server 192.0.2.10 80");
        assert_eq!(head_of("real_server", "HTTP_GET"), "HTTP_GET");
    }

    #[test]
    fn arguments_without_an_example() {
        let keyword = |arguments, range| Keyword {
            name: "it",
            arguments,
            range,
            default: WhenAbsent::Nothing,
            help: "",
            example: "",
            serves: lbd_grammar::Serves::Served,
            block: false,
            opens: "",
        };
        for (arguments, range, want) in [
            ("", "", "it "),
            ("N", "1..=255", "it 1"),
            ("N", "0..=255", "it 1"),
            ("N", "32..=64", "it 32"),
            ("N", "-253..=253", "it 1"),
            ("NAT|DR|TUN [type ipip|gue [x]] [port N]", "", "it NAT"),
            ("ADDR [PORT]", "", "it 192.0.2.10"),
            ("NAME … ", "", "it one"),
            ("CMD [USER [GROUP]]", "", "it CMD"),
        ] {
            assert_eq!(with_arguments(&keyword(arguments, range)), want, "{arguments}");
        }
    }

    #[test]
    fn words_of_lines_stand_in_a_line() {
        for (block, name, want) in [
            ("unicast_peer", "min_ttl", "192.0.2.2 min_ttl 1"),
            ("virtual_server_group", "fwmark", "fwmark 7 inet"),
            ("virtual_ipaddress", "-nodad", "2001:db8::1/64 -nodad"),
            ("virtual_rules", "blackhole", "from 192.0.2.0/24 preference 100 blackhole"),
        ] {
            let block = super::super::tests::block(block);
            let keyword = block.keywords.iter().find(|keyword| keyword.name == name).expect("a word");
            let text = example(&paths(block), keyword, true);
            assert!(text.lines().any(|line| line.trim() == want), "{name}: {text}");
        }
    }
}

//! How many instances, virtual servers, real servers and checks a text has, counted without the parser:
//! line by line, with comments, conditions and definitions as keepalived.conf(5) has them.

use std::collections::{BTreeMap, VecDeque};

/// Blocks of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub instances: usize,
    pub virtual_servers: usize,
    pub real_servers: usize,
    pub checks: usize,
}

const CHECKS: &[&str] = &[
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "SMTP_CHECK",
    "DNS_CHECK",
    "MISC_CHECK",
    "BFD_CHECK",
    "UDP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
    "AGENT_CHECK",
    "GRPC_CHECK",
];

/// Counts the blocks of a text as the host of this id reads it.
pub fn count(text: &str, id: &str) -> Count {
    let mut count = Count::default();
    let mut path: Vec<String> = Vec::new();
    let mut last = String::new();
    for token in tokens(text, id) {
        match token.as_str() {
            "{" => {
                let word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
                let keyword = word(&last);
                let path_is = |wanted: &[&str]| path.iter().map(String::as_str).eq(wanted.iter().copied());
                match keyword.as_str() {
                    "vrrp_instance" if path_is(&[]) => count.instances += 1,
                    "virtual_server" if path_is(&[]) => count.virtual_servers += 1,
                    "real_server" if path_is(&["virtual_server"]) => count.real_servers += 1,
                    check if CHECKS.contains(&check) && path_is(&["virtual_server", "real_server"]) => {
                        count.checks += 1;
                    }
                    _ => {}
                }
                path.push(keyword);
            }
            "}" => drop(path.pop()),
            line => last = line.to_owned(),
        }
    }
    count
}

/// Lines, and braces as lines of their own.
fn tokens(text: &str, id: &str) -> Vec<String> {
    let mut lines: VecDeque<String> = text.lines().map(without_comment).collect();
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut tokens = Vec::new();
    while let Some(line) = lines.pop_front() {
        let Some(line) = condition(&line, id) else { continue };
        if let Some((name, value)) = definition(line) {
            let mut value = vec![value.to_owned()];
            while let Some(start) = value.last().and_then(|line| line.strip_suffix('\\')) {
                let start = start.trim().to_owned();
                value.pop();
                value.push(start);
                value.push(lines.pop_front().unwrap_or_default().trim().to_owned());
            }
            value.retain(|line| !line.is_empty());
            definitions.insert(name.to_owned(), value);
            continue;
        }
        if let Some(expanded) = expand(line, &definitions) {
            for line in expanded.into_iter().rev() {
                lines.push_front(line);
            }
            continue;
        }
        let (mut rest, mut quoted) = (String::new(), false);
        for c in line.chars() {
            quoted ^= c == '"';
            if !quoted && (c == '{' || c == '}') {
                tokens.extend([rest.trim().to_owned(), c.to_string()]);
                rest.clear();
            } else {
                rest.push(c);
            }
        }
        tokens.push(rest.trim().to_owned());
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

fn without_comment(line: &str) -> String {
    let mut quoted = false;
    let end = line.find(|c| {
        quoted ^= c == '"';
        !quoted && (c == '#' || c == '!')
    });
    line[..end.unwrap_or(line.len())].trim().to_owned()
}

/// The line without its condition; `None` if it is for another host.
fn condition<'l>(line: &'l str, id: &str) -> Option<&'l str> {
    let Some(rest) = line.strip_prefix('@') else { return Some(line) };
    let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let met = name.strip_prefix('^').map_or(name == id, |other| other != id);
    met.then_some(rest.trim())
}

fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some((name, value.trim()))
}

/// The line with its first defined name replaced, as lines.
fn expand(line: &str, definitions: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    for (name, value) in definitions {
        for reference in [format!("${{{name}}}"), format!("${name}")] {
            let Some((before, after)) = line.split_once(&reference) else { continue };
            if !reference.ends_with('}') && after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let mut lines = value.clone();
            match lines.as_mut_slice() {
                [] => return Some(vec![format!("{before}{after}")]),
                [only] => *only = format!("{before}{only}{after}"),
                [first, ..] => *first = format!("{before}{first}"),
            }
            return Some(lines);
        }
    }
    None
}

/// The ids that the conditions of a text name, or one that none does.
pub fn ids(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('@'))
        .filter_map(|rest| rest.trim_start_matches('^').split_whitespace().next())
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { vec!["anyone".to_owned()] } else { ids }
}

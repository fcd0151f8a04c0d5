//! The tables against themselves and against the reference.

use std::collections::{BTreeSet, HashSet};

use super::*;
use crate::source::Sources;

#[test]
fn every_default_is_a_value_of_its_keyword() {
    let sources = Sources::default();
    let mut context = Context::new(&sources, &[]);
    root::TABLE.defaults(&mut context);
    global::TABLE.defaults(&mut context);
    instance::TABLE.defaults(&mut context);
    instance::AUTHENTICATION.defaults(&mut context);
    instance::AUTH_HMAC.defaults(&mut context);
    group::SYNC_GROUP.defaults(&mut context);
    group::TRACK_GROUP.defaults(&mut context);
    group::GARP_GROUP.defaults(&mut context);
    script::TABLE.defaults(&mut context);
    process::TABLE.defaults(&mut context);
    file::TABLE.defaults(&mut context);
    bfd::TABLE.defaults(&mut context);
    virtual_server::TABLE.defaults(&mut context);
    real_server::TABLE.defaults(&mut context);
    checker::check_defaults(&mut context);
    checker::FILE_CHECK.defaults(&mut context);
    checker::BFD_CHECK.defaults(&mut context);
    checker::TCP_CHECK.defaults(&mut context);
    checker::SSL_GET.defaults(&mut context);
    checker::HOST.defaults(&mut context);
    checker::URL.defaults(&mut context);
    tls::TABLE.defaults(&mut context);
    assert_eq!(context.diagnostics, []);
}

#[test]
fn rows_are_unique_and_documented() {
    for block in blocks() {
        let mut seen = HashSet::new();
        for keyword in &block.keywords {
            assert!(seen.insert(keyword.name), "{} twice in {}", keyword.name, block.name);
            assert!(keyword.help.ends_with('.') && keyword.help.len() > 4, "{}", keyword.name);
            assert_eq!(keyword.block, keyword.arguments.contains('{'), "{}", keyword.name);
            if let Serves::Unserved(means) = keyword.serves {
                assert!(!means.is_empty(), "{}", keyword.name);
            }
        }
    }
}

/// Every keyword of the reference is known somewhere, in the block where the reference has it as
/// far as that block has a table.
#[test]
fn the_reference_is_covered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let (Some(global), Some(vrrp), Some(lvs)) = (read("global_defs.md"), read("vrrp.md"), read("lvs.md"))
    else {
        lbd_integration::skip::report(
            "the_reference_is_covered",
            "there is no shared/reference beside the project",
        );
        return;
    };
    let section = |text: &str, from: &str, to: &str| -> BTreeSet<String> {
        let start = text.find(from).expect("the section begins");
        let end = text.get(start..).and_then(|rest| rest.find(to)).map_or(text.len(), |at| start + at);
        let rows = text.get(start..end).unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
        rows.flat_map(|row| {
            let cell = row.split('|').nth(1).unwrap_or_default().to_owned();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
    };
    let check = |block: &str, wanted: BTreeSet<String>, least: usize| {
        assert!(wanted.len() >= least, "{block}: only {} keywords found", wanted.len());
        let known: HashSet<&str> = blocks()
            .filter(|known| known.name == block)
            .flat_map(|known| known.keywords.iter().map(|keyword| keyword.name))
            .collect();
        let missing: Vec<&String> =
            wanted.iter().filter(|name| *name != block && !known.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{block} lacks {missing:?}");
    };
    check("global_defs", section(&global, "## 2. Inside", "TMP = "), 140);
    check("", section(&global, "## 1. Root", "## 2."), 8);
    check("", section(&vrrp, "## 1. Root", "## 2."), 14);
    check("vrrp_instance", section(&vrrp, "### 4.1", "### Authentication"), 68);
    check("vrrp_sync_group", section(&vrrp, "## 2. vrrp_sync_group", "## 3."), 15);
    check("garp_group", section(&vrrp, "## 3. garp_group", "## 4."), 4);
    let mut secrets = section(&vrrp, "### Authentication", "### 4.6");
    let blocks_of_it: BTreeSet<String> =
        ["authentication", "auth_hmac"].into_iter().map(str::to_owned).collect();
    check("vrrp_instance", blocks_of_it.clone(), 2);
    secrets.retain(|name| !blocks_of_it.contains(name));
    let plain: BTreeSet<String> = secrets.iter().filter(|name| name.starts_with("auth_")).cloned().collect();
    check("auth_hmac", secrets.difference(&plain).cloned().collect(), 5);
    check("authentication", plain, 2);
    // One table of the reference has three blocks; each row belongs to the block named last before it.
    let start = vrrp.find("## 5. ").expect("the section begins");
    let rows = vrrp.get(start..).unwrap_or_default().lines();
    let rows =
        rows.skip_while(|row| !row.starts_with("| vrrp_script")).take_while(|row| row.starts_with("| "));
    let mut of_block: std::collections::BTreeMap<String, BTreeSet<String>> = Default::default();
    let mut block = String::new();
    for row in rows {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (name, keyword) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if !name.is_empty() {
            block = name.to_owned();
        }
        of_block.entry(block.clone()).or_default().insert(keyword.trim_matches('`').to_owned());
    }
    for (block, least) in [("vrrp_script", 8), ("vrrp_track_process", 9), ("track_file", 3)] {
        check(block, of_block.remove(block).unwrap_or_default(), least);
    }
    assert!(of_block.is_empty(), "{of_block:?}");
    check("bfd_instance", section(&vrrp, "## 6. ", "\n## 7."), 15);
    // Of these the reference also has words of other columns: the types of routes.
    check("virtual_ipaddress", section(&vrrp, "## 7. ", "## 8."), 15);
    let mut routes = section(&vrrp, "## 8. ", "## 9.");
    let types = vrrp.split_once("TYPE: ").map(|(_, types)| types.lines().next().unwrap_or_default());
    let types = types.unwrap_or_default().split([' ', '/', '.']).filter(|word| !word.is_empty());
    routes.extend(types.map(str::to_owned));
    check("virtual_routes", routes, 57);
    check("virtual_rules", section(&vrrp, "## 9. ", "## Coverage"), 35);
    check("virtual_server", section(&lvs, "## 3. ", "### Post-parse"), 39);
    check("real_server", section(&lvs, "## 4. ", "## 5."), 16);
    check("SSL", section(&lvs, "## 1. ", "## 2."), 5);
    check("", ["SSL", "virtual_server_group", "virtual_server"].map(str::to_owned).into(), 3);
    let connection = section(&lvs, "Connection group", "Scheduling group");
    let scheduling = section(&lvs, "Scheduling group", "## 6.");
    check("host", connection.clone(), 7);
    // One table has all checkers: the block in the first cell holds until the next one.
    let start = lvs.find("## 6. ").expect("the section begins");
    let rows = lvs.get(start..).unwrap_or_default().lines().filter(|row| row.starts_with("| "));
    let words =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut of_block: std::collections::BTreeMap<String, BTreeSet<String>> = Default::default();
    let mut at: Vec<String> = Vec::new();
    for row in rows.skip(1) {
        let mut cells = row.split('|').skip(1);
        let (first, second) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if first.trim() == "url" {
            at = vec!["url".to_owned()];
        } else if !first.trim().is_empty() {
            at = words(first);
        }
        for block in &at {
            of_block.entry(block.clone()).or_default().extend(words(second));
        }
    }
    assert_eq!(of_block.len(), 11, "{of_block:?}");
    for (block, own) in of_block {
        let shared: &[&BTreeSet<String>] = match block.as_str() {
            "FILE_CHECK" | "BFD_CHECK" | "url" => &[],
            "MISC_CHECK" => &[&scheduling],
            _ => &[&connection, &scheduling],
        };
        let wanted: BTreeSet<String> = own.iter().chain(shared.iter().copied().flatten()).cloned().collect();
        check(&block, wanted, 2);
    }
}

/// Each option with its example can stand in one of these lines; what has a new name or no use says so.
#[test]
fn examples_of_lines_are_read() {
    const GROUP: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n}\n\
         track_group G {\n group {\n V\n }\n}\n";
    const OLD: [&str; 5] = ["as", "gw", "nat", "or", "xresolve"];
    for (name, block, lines) in [
        ("virtual_ipaddress", "static_ipaddress", &["192.0.2.1/24 X", "192.0.2.1 X", "2001:db8::1/64 X"][..]),
        ("virtual_ipaddress", "virtual_ipaddress", &["192.0.2.1/24 X"]),
        (
            "virtual_routes",
            "static_routes",
            &[
                "no_track 192.0.2.0/24 X",
                "no_track X",
                "X 192.0.2.0/24 dev a",
                "2001:db8::/48 dev a X",
                "192.0.2.0/24 dev a X",
            ],
        ),
        (
            "virtual_rules",
            "static_rules",
            &[
                "order 1 X table 7",
                "X table 7",
                "order 1 X",
                "no_track order 1 X table 7",
                "no_track inet6 order 1 table 7",
            ],
        ),
    ] {
        let known = blocks().find(|known| known.name == name).expect("a block");
        for keyword in &known.keywords {
            // Of an instance only.
            if OLD.contains(&keyword.name) || (keyword.name == "use_vmac") != (name == block) {
                continue;
            }
            assert!(keyword.arguments.is_empty() || !keyword.example.is_empty(), "{}", keyword.name);
            let option = format!("{} {}", keyword.name, keyword.example);
            let fits = |line: &&str| {
                let lines = format!("{block} {{\n{}\n}}\n", line.replace('X', &option));
                let text = match name == block {
                    true => GROUP.replace("no_virtual_ipaddress\n", &lines),
                    false => format!("{GROUP}{lines}"),
                };
                let said = crate::load_str("example", &text).diagnostics;
                said.iter().all(|said| said.kind == Kind::Unserved)
            };
            assert!(lines.iter().any(fits), "{option} in {block}");
        }
    }
}

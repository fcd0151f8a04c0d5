//! Files that are damaged, hostile or not text: each kind has a diagnostic of its own. How much work they are is
//! counted elsewhere (`growth`).

mod common;

use common::{rendered, summaries};
use lbd_grammar::{LoadOptions, Loaded, Secrets, dump, load, load_text, octets};

const INSTANCE: &str =
    "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n  192.0.2.9\n }\n}\n";

/// Loads octets, and shows all that is said.
fn read(octets: &[u8]) -> Loaded {
    let loaded = load_text("c", octets, &LoadOptions::default());
    rendered(&loaded);
    loaded
}

#[test]
fn each_kind_has_its_message() {
    let million = |text: &str| text.repeat(1_000_000 / text.len());
    for (name, text, want) in [
        (
            "truncated in a block",
            INSTANCE[..INSTANCE.len() - 4].to_owned(),
            "c:4:20: this block is not closed; add the missing `}`",
        ),
        (
            "truncated in a quote",
            format!("{INSTANCE}global_defs {{\n router_id \"ab\n}}\n"),
            "c:9:12: this quote is not closed; close it on the same line",
        ),
        (
            "a missing brace",
            INSTANCE.replace(" }\n", ""),
            "c:4:20: this block is not closed; add the missing `}`",
        ),
        (
            "an extra brace",
            format!("{INSTANCE}}}\n{}", INSTANCE.replace('V', "W").replace('7', "8")),
            "c:8:1: this `}` closes nothing; remove it, or add the `{` that it belongs to",
        ),
        (
            "a NUL",
            format!("{INSTANCE}global_defs {{\n router_id a\0b\n}}\n"),
            "c:9:13: this line holds a NUL byte; remove the byte; the file may be damaged or not be text",
        ),
        (
            "a line of a megabyte",
            format!("global_defs {{\n router_id {}\n}}\n", million("x")),
            "c:2:1: this line has 1000011 octets; more than 1022 are not read, as in keepalived; write it as several lines",
        ),
        (
            "a megabyte of NULs",
            million("\0"),
            "c:1:1: this line has 1000000 octets; more than 1022 are not read, as in keepalived; write it as several lines",
        ),
        (
            "a megabyte of quotes",
            million("\""),
            "c:1:1: this line has 1000000 octets; more than 1022 are not read, as in keepalived; write it as several lines",
        ),
        (
            "blocks without end",
            million("a {\n"),
            "c:65:3: blocks are nested more than 64 levels deep; check the braces before it",
        ),
        (
            "a definition that grows",
            format!(
                "$A0={}\n{}global_defs {{\n router_id ${{A59}}\n}}\n",
                "x".repeat(500),
                (1..60).map(|n| format!("$A{n}=${{A{m}}}${{A{m}}}\n", m = n - 1)).collect::<String>()
            ),
            "c:62:12: this line becomes longer than 65536 octets",
        ),
        (
            "a definition of itself",
            "$A=${B}x\n$B=${A}y\nglobal_defs {\n router_id ${A}\n}\n".to_owned(),
            "c:4:12: the definition `$A` refers to itself",
        ),
        (
            "a sequence of millions",
            "~SEQ(v,9000000) a $v\n".to_owned(),
            "c:1:1: this generator would make 9000000 lines; 100000 are possible in all; lower its last number",
        ),
        (
            "a sequence beyond numbers",
            "~SEQ(v,99999999999999999999999) a $v\n".to_owned(),
            "c:1:1: this generator cannot count: `99999999999999999999999` is not a number",
        ),
        (
            "a number that overflows",
            INSTANCE.replace("}\n}", "}\n priority 99999999999999999999999999\n}"),
            "c:7:11: `priority`: `99999999999999999999999999` is out of range; a number from 1 to 255",
        ),
        (
            "a time that overflows",
            INSTANCE.replace("}\n}", "}\n advert_int 99999999999999999999999999\n}"),
            "c:7:13: `advert_int`: `99999999999999999999999999` is out of range",
        ),
    ] {
        let said = summaries(&read(text.as_bytes()));
        assert!(said.len() == 1 && said[0].starts_with(want), "{name}: {said:#?}");
    }
}

/// Octets that are no UTF-8 can be shown wherever something is said of their line, and are kept.
#[test]
fn octets_that_are_no_text_can_be_shown_and_are_kept() {
    let odd = "this line is not UTF-8 text; save the file as UTF-8, on all routers alike if it is a password";
    for (name, octets, want) in [
        ("a comment", &b"global_defs {\n router_id a # \xd6\xd0\n}\n# \xff\n"[..], &[][..]),
        ("a string", b"global_defs {\n router_id \"caf\xe9\"\n}\n", &[format!("c:2:16: {odd}")]),
        (
            "a keyword",
            b"glob\xe9l_defs {\n}\n",
            &[
                format!("c:1:5: {odd}"),
                "c:1:1: unknown keyword `glob\u{fffd}l_defs`; did you mean `global_defs`?".to_owned(),
            ],
        ),
        (
            "a line with more to say",
            b"global_defs {\n router_id caf\xe9 \xff\xfe\n}\n",
            &[format!("c:2:15: {odd}"), "c:2:17: `\u{fffd}\u{fffd}` after `router_id` is ignored".to_owned()],
        ),
    ] {
        let loaded = read(octets);
        let said = summaries(&loaded);
        let mut missing = want.to_vec();
        missing.retain(|want| !said.iter().any(|said| said.starts_with(want.as_str())));
        assert!(missing.is_empty() && said.len() == want.len(), "{name}: {said:#?}");
        assert!(!rendered(&loaded).contains('\u{10ffe9}'), "{name}: octets as people see them");
    }
    let loaded = read(b"global_defs {\n router_id \"caf\xe9\"\n}\n");
    let config = loaded.config.expect("a configuration");
    assert_eq!(*octets(config.global.router_id.as_deref().expect("an id")), *b"caf\xe9");
    assert!(octets(&dump(&config, Secrets::Shown)).windows(4).any(|part| part == b"caf\xe9"));
}

/// Any octets at all.
#[test]
fn octets_of_all_sorts_are_read() {
    let mut random = 1_u32;
    for round in 0..40 {
        let octets: Vec<u8> = (0..5_000)
            .map(|at| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [octet, ..] = random.to_be_bytes();
                if at % (2 + round) == 0 { b'\n' } else { octet }
            })
            .collect();
        lbd_grammar::exercise(&octets);
        lbd_grammar::exercise_dump(&octets);
    }
}

#[test]
fn a_flood_of_includes_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let many = |name: &str| format!("include {name}\n").repeat(50);
    for (name, text) in
        [("0", many("1")), ("1", many("2")), ("2", many("3")), ("3", many("4")), ("4", String::new())]
    {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let loaded = load(&folder.path().join("0"), &LoadOptions::default());
    let said = summaries(&loaded);
    assert!(
        said.len() == 1
            && said[0].contains(" is not read: 10000 files were read already; include fewer files"),
        "{said:?}"
    );
}

#[test]
fn a_file_that_fails_while_it_is_read_is_said() {
    let loaded = load("/proc/self/mem".as_ref(), &LoadOptions::default());
    let said = summaries(&loaded);
    assert!(said.len() == 1 && said[0].starts_with("cannot read /proc/self/mem: "), "{said:?}");
}

/// Hundreds of mistakes in a file, what it includes, its definitions and generators: each is said once,
/// in the order of the text.
#[test]
fn hundreds_of_mistakes_are_each_said_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut main, mut below) = (String::new(), String::new());
    let (mut want_main, mut want_below) = (Vec::new(), Vec::new());
    for n in 0..70_usize {
        let at = main.lines().count() + 1;
        main.push_str(&format!(
            "$BAD{n}=999\nvrrp_instance V{n} {{\n interface eth{n}\n virtual_router_id 7\n virtual_ipaddress {{\n  192.0.2.999\n }}\n \
             prioriti {n}\n priority ${{BAD{n}}}\n stat BACKUP\n advert_int x{n}\n}}\n"
        ));
        want_main.push((at + 5, "`virtual_ipaddress`: `192.0.2.999` is not an address".to_owned()));
        want_main.push((at + 7, "unknown keyword `prioriti`".to_owned()));
        want_main.push((at + 8, format!("`priority`: `999` is out of range (`$BAD{n}` is defined here: ")));
        want_main.push((at + 9, "unknown keyword `stat`".to_owned()));
        want_main.push((at + 10, format!("`advert_int`: `x{n}` is not a time")));
        let at = below.lines().count() + 1;
        below.push_str(&format!(
            "virtual_server 192.0.2.{n} 80 {{\n lb_algo wrrr\n lb_kind DR\n protocol TCP\n \
             real_server 198.51.100.1 80 {{\n wieght 1\n TCP_CHECK {{\n connect_timeout y{n}\n }}\n }}\n}}\n"
        ));
        want_below.push((at + 1, "unknown lb_algo `wrrr`".to_owned()));
        want_below.push((at + 5, "unknown keyword `wieght`".to_owned()));
        want_below.push((at + 7, format!("`connect_timeout`: `y{n}` is not a time")));
    }
    main.push_str("include below\n");
    let path = folder.path().join("main");
    std::fs::write(&path, main).expect("a file");
    std::fs::write(folder.path().join("below"), below).expect("a file");
    let loaded = load(&path, &LoadOptions::default());
    let got = loaded.diagnostics.iter().zip(summaries(&loaded)).map(|(found, said)| {
        let place = loaded.sources.place(found.span.expect("a place"));
        let rest =
            said.split_once(&format!(":{}:{}: ", place.line, place.column)).map(|(_, rest)| rest.to_owned());
        (place.file.ends_with("below"), place.line, rest.unwrap_or_default())
    });
    let want = want_main.iter().map(|row| (false, row)).chain(want_below.iter().map(|row| (true, row)));
    let (got, want): (Vec<_>, Vec<_>) = (got.collect(), want.collect());
    for (got, (file, (line, said))) in got.iter().zip(&want) {
        assert!(
            (got.0, got.1) == (*file, *line) && got.2.starts_with(said.as_str()),
            "{got:?}, not {line} {said}"
        );
    }
    assert_eq!((got.len(), want.len()), (560, 560));
}

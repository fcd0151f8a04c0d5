//! From texts to one text.

use super::*;
use crate::diagnostic::{Diagnostic, in_order};

fn read(text: &str, id: &str) -> (String, Vec<String>) {
    let options = LoadOptions { config_id: Some(id.to_owned()), all_config: false };
    let mut reader = Reader::new(false, &options);
    reader.text("t", text.as_bytes());
    let read = reader.finish();
    let said = in_order(read.diagnostics, &read.sources);
    let said = said.iter().map(|one: &Diagnostic| one.summary(&read.sources)).collect();
    let (text, _) = read.sources.everything();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    (lines.collect::<Vec<_>>().join("\n"), said)
}

#[test]
fn a_seed_makes_numbers_the_same() {
    let text = |seed: &str| format!("global_defs {{\n random_seed {seed}\n}}\na ${{_RANDOM 1 4000000000}}\n");
    let number = |seed: &str| read(&text(seed), "one").0;
    assert_eq!(number("1"), number("1"));
    assert_ne!(number("1"), number("2"));
    assert_ne!(number("x"), number("x"));
    let elsewhere = text("1").replace("global_defs", "vrrp_instance");
    assert_ne!(read(&elsewhere, "one").0, read(&elsewhere, "one").0);
}

#[test]
fn lines_become_others() {
    for (name, text, want) in [
        ("nothing to do", "a\n  b # c\n", "a\nb # c"),
        ("a definition and its use", "$X=1\na $X\nb ${X}c", "a 1\nb 1c"),
        ("blanks around a value", "$X=  1 2  # c\na $X", "a 1 2"),
        ("an empty value", "$X=\na ${X}b", "a b"),
        ("the value when it is used", "$X=1\n$Y=$X\n$X=2\na $Y", "a 2"),
        ("defined anew", "$X=1\na $X\n$X=2\na $X", "a 1\na 2"),
        ("used before", "a ${X}\n$X=1", "a ${X}"),
        ("no end of a word", "$X=1\na $X.b $X", "a $X.b 1"),
        ("in quotes", "$X=1\na \"$X ${X}\"", "a \"1 1\""),
        ("a quote ends no name", "$X=1\na \"$X\"", "a \"$X\""),
        ("in a comment", "$X=1\na # $X", "a"),
        ("braces in a value", "$X={ b }\na $X", "a {\nb }"),
        ("a comment character in a value", "$X=\"a#b\"\na $X", "a \"a#b\""),
        ("lines", "$X=a \\\n  b 1\\\n \\\n c\nd {\n $X\n}", "d {\na\nb 1\nc\n}"),
        ("lines after a word", "$X=1\\\n b\na $X", "a 1\nb"),
        ("lines end with an empty one", "$X=a\\\nb\\\n\nc\n$X", "c\na\nb"),
        ("lines in lines", "$X=a\\\n $Y\\\n b\n$Y=1\\\n 2\n$X", "a\n1\n2\nb"),
        (
            "lines and what follows on the line of a brace",
            "$X=a {\\\n b\\\n }\nc { $X\n}",
            "c {\na {\nb\n}\n}",
        ),
        ("this host", "@one a\n@two b", "a"),
        ("another host", "@^one a\n@^two b", "b"),
        ("nothing for this host", "@one\n@one  \na", "a"),
        ("a condition after a brace", "a { @two b }\n}\nc { @one d }", "a {\n}\nc {\nd }"),
        ("a condition on a definition", "@two $X=1\n@one $X=2\na $X", "a 2"),
        ("a condition on lines", "@two $X=a\\\n b\\\n c\n@one $X=d\\\n e\n$X", "d\ne"),
        ("a condition from a definition", "$X=@two a\n$Y=@one b\n$X\n$Y", "b"),
        ("two conditions", "@one @^two a\n@one @two b", "a"),
        ("numbers", "~SEQ(v,3) a $v", "a 1\na 2\na 3"),
        ("with blocks", "~SEQ(v,2) a { b ${v} }", "a {\nb 1 }\na {\nb 2 }"),
        ("one in the other", "~SEQ(v,2) ~LST(w,x,y) a $v$w ${v}$w", "a $vx 1x\na $vy 1y\na $vx 2x\na $vy 2y"),
        ("arguments by definition", "$N=2\n~SEQ(v,$N) a ${v}\n~SEQ(v,${N},3) b ${v}", "a 1\na 2\nb 2\nb 3"),
        ("a name is free again", "$v=0\n~SEQ(v,1) a $v\nb $v", "a 1\nb 0"),
        ("after a condition", "@one ~SEQ(v,1) a $v\n@two ~SEQ(v,1) b", "a 1"),
        ("a generator by definition", "$G=~SEQ(v,2) a\n$G", "a\na"),
        ("tuples", "~LST({v,w},{1,2},{3}) a ${v}-${w}", "a 1-2\na 3-"),
        ("built in", "a ${_INSTANCE} ${_RANDOM 7 7}", "a one 7"),
        ("built in, defined anew", "$_INSTANCE=x\na ${_INSTANCE}", "a x"),
        ("not built in", "a ${_NOTHING} $_HASH", "a ${_NOTHING} $_HASH"),
        ("comment characters", "a${_HASH}b ${_BANG} # c", "a\u{1}b \u{1}"),
        (
            "an escape in global_defs",
            "global_defs {\n router_id a\\#b\\!c # d\n}",
            "global_defs {\nrouter_id a\u{1}b\u{1}c\n}",
        ),
        ("other escapes", "a \\b \\\"", "a \\b \\\""),
        ("carriage returns", "$X=1\r\na $X\r\n", "a 1"),
        ("a mail address", "a { b@one.c @two }\n", "a {\nb@one.c @two }"),
        ("not the first word", "a @two\n", "a @two"),
    ] {
        let (got, said) = read(text, "one");
        assert_eq!(got, want, "{name}");
        assert_eq!(said, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let long = format!("b\n  a {}\nc", "x".repeat(2000));
    for (name, text, left, want) in [
        (
            "itself",
            "$X=a${X}\n\nb $X",
            "",
            "t:3:3: the definition `$X` refers to itself (used here: t:1:5); write its value without it; a definition is read where it is used",
        ),
        (
            "a ring",
            "$X=$Y\n$Y=$X\na $X",
            "",
            "t:3:3: the definition `$X` refers to itself (used here: t:1:4) (used here: t:2:4); write its value without it; a definition is read where it is used",
        ),
        (
            "no id",
            "@ a\nb",
            "b",
            "t:1:1: this condition names no configuration; write `@ID` for lines that count with `-i ID`, `@^ID` for those that do not",
        ),
        (
            "a sequence that counts nowhere",
            "~SEQ(v,1,0,2) a",
            "",
            "t:1:1: this generator cannot count: a step of 0 never gets from 1 to 2; `~SEQ(NAME,[FIRST,[STEP,]]LAST) TEXT` or `~LST(NAME,VALUE,…) TEXT`",
        ),
        (
            "an open generator",
            "~LST(v,1 a",
            "",
            "t:1:1: this generator has no `)`; `~SEQ(NAME,[FIRST,[STEP,]]LAST) TEXT` or `~LST(NAME,VALUE,…) TEXT`",
        ),
        (
            "a sequence without end",
            "b\n~SEQ(v,5000000) a",
            "b",
            "t:2:1: this generator would make 5000000 lines; 100000 are possible in all; lower its last number",
        ),
        (
            "a long line",
            &long,
            "b\nc",
            "t:2:1: this line has 2004 octets; more than 1022 are not read, as in keepalived; write it as several lines",
        ),
        (
            "a NUL",
            "a\nb\0\nc",
            "a\nc",
            "t:2:2: this line holds a NUL byte; remove the byte; the file may be damaged or not be text",
        ),
        (
            "an escape elsewhere",
            "a {\n b c\\#d\n}",
            "a {\nb c\n}",
            "t:2:5: a comment begins here, as in keepalived; put the word in quotes: `\"a#b\"`",
        ),
        (
            "bad limits",
            "a ${_RANDOM 2 1}",
            "a 2",
            "t:1:1: the limits of `${_RANDOM}` are the wrong way round: 2 is used; write the smaller number first",
        ),
        (
            "no variable",
            "a ${_ENV lbd_no_such}",
            "",
            "t:1:3: the environment variable `lbd_no_such` is not set; see lbd.conf(5), Definitions",
        ),
        (
            "an include",
            "$X=y\ninclude ${X}/z",
            "",
            "t:2:9: includes are not followed here; give the configuration as a file",
        ),
    ] {
        let (got, said) = read(text, "one");
        assert_eq!(got, left, "{name}");
        assert_eq!(said, [want.to_owned()], "{name}");
    }
}

/// Generators in generators stay within the limits, and say so once.
#[test]
fn generated_text_is_bounded() {
    for text in [
        "~SEQ(a,300) ~SEQ(b,300) ~SEQ(c,300) x ${a}${b}${c}".to_owned(),
        format!("{} x", "~SEQ(a,2) ".repeat(100)),
        "$A=x\\\n$B\\\n$B\n".to_owned()
            + &('B'..'Z')
                .map(|c| {
                    format!(
                        "${c}=${n}\\\n${n}\\\n${n}\n",
                        n = char::from(u8::try_from(c).expect("ASCII") + 1)
                    )
                })
                .collect::<String>()
            + "$A\n",
        format!("$A={}\n{}", "x".repeat(900), "${A}".repeat(250)),
    ] {
        let (left, said) = read(&text, "one");
        assert!(said.len() <= 3, "{said:?}");
        assert!(left.len() <= 2 << 20, "{} octets are left", left.len());
    }
}

#[test]
fn octets_that_are_no_text_are_kept() {
    let mut reader = Reader::new(false, &LoadOptions::default());
    reader.text("t", b"# \xff\na \xe4b # \xff\n");
    let read = reader.finish();
    let (text, _) = read.sources.everything();
    assert_eq!(*crate::octets(text.lines().nth(1).expect("a line").trim()), *b"a \xe4b");
    let said: Vec<String> = read.diagnostics.iter().map(|one| one.summary(&read.sources)).collect();
    assert_eq!(
        said,
        [
            "t:2:3: this line is not UTF-8 text; save the file as UTF-8, on all routers alike if it is a password"
        ]
    );
}

/// A file without anything to replace is not copied.
#[test]
fn a_plain_file_is_the_text_itself() {
    let mut reader = Reader::new(false, &LoadOptions::default());
    reader.text("t", b"a {\n b # c\n}\n");
    let read = reader.finish();
    assert_eq!(read.sources.everything(), ("a {\n b # c\n}\n", 0));
}

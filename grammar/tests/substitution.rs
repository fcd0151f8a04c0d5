//! Definitions, conditions and generators mean what writing their text out means, and positions survive.

mod common;

use common::{rendered, summaries};
use lbd_grammar::{LoadOptions, Loaded, load_str, load_text};
use proptest::prelude::*;

fn load_as(id: &str, text: &str) -> Loaded {
    let options = LoadOptions { config_id: Some(id.to_owned()), all_config: false };
    load_text("c", text.as_bytes(), &options)
}

fn instance(lines: &str) -> String {
    format!("vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n no_virtual_ipaddress\n{lines}\n}}\n")
}

#[test]
fn a_message_names_the_use_and_the_definition() {
    for (name, text, want) in [
        (
            "a value",
            format!("$PRIO=300\n{}", instance(" priority $PRIO")),
            "c:6:11: `priority`: `300` is out of range (`$PRIO` is defined here: c:1:7); a number from 1 to 255",
        ),
        (
            "a definition of definitions",
            format!("$A=30\n$B=${{A}}0\n{}", instance(" priority $B")),
            "c:7:11: `priority`: `300` is out of range (`$B` is defined here: c:2:4) (`$A` is defined here: c:1:4); \
             a number from 1 to 255",
        ),
        (
            "part of a word",
            format!("$A=0\n{}", instance(" priority 30${A}")),
            "c:6:11: `priority`: `300` is out of range (`$A` is defined here: c:1:4); a number from 1 to 255",
        ),
        (
            "a line of a definition",
            format!("$L=nopreempt \\\n priority 300\n{}", instance(" $L")),
            "c:7:2: `priority`: `300` is out of range (`$L` is defined here: c:2:11); a number from 1 to 255",
        ),
        (
            "every round of a generator",
            instance(" ~SEQ(n,300,310) priority $n"),
            "c:5:27: `priority`: `300` is out of range (`$n` is counted here: c:5:2); a number from 1 to 255",
        ),
        (
            "a keyword after a condition",
            instance(" @one prioritty 5\n @two prioritty 5"),
            "c:5:7: unknown keyword `prioritty`; did you mean `priority`?",
        ),
        (
            "text of a generator",
            "~LST(n,A,B) vrrp_instance $n { interface eth0; }\n".replace(';', ""),
            "c:1:27: vrrp_instance `A` has no usable `virtual_router_id` (`$n` is counted here: c:1:1); \
             add `virtual_router_id N`, N from 1 to 255, the same on all its routers",
        ),
    ] {
        let loaded = load_as("one", &text);
        assert_eq!(summaries(&loaded), [want], "{name}");
    }
}

#[test]
fn the_line_that_was_written_is_shown_with_the_definition() {
    let loaded = load_str("lb.conf", &format!("$PRIO=300 # high\n{}", instance(" priority ${PRIO}")));
    insta::assert_snapshot!(rendered(&loaded), @r"
    warning: `priority`: `300` is out of range
     --> lb.conf:6:11
      |
    6 |  priority ${PRIO}
      |           ^^^^^^^ ignored
      |
     ::: lb.conf:1:7
      |
    1 | $PRIO=300 # high
      |       --- `$PRIO` is defined here
      |
      = help: a number from 1 to 255
    ");
}

/// The definition of a password is not shown.
#[test]
fn a_password_by_definition_stays_secret() {
    let text = "$PW=hush-hush-hush\n".to_owned()
        + &instance(" authentication {\n auth_type PASS\n auth_pass $PW\n }");
    let loaded = load_str("c", &text);
    assert!(!loaded.diagnostics.is_empty());
    assert!(!rendered(&loaded).contains("hush") && !summaries(&loaded).concat().contains("hush"));
}

/// What a fix would replace must be what was written.
#[test]
fn text_of_definitions_has_no_fix() {
    let loaded = load_str("c", &format!("$S=BAKUP\n{}", instance(" state $S\n stat BACKUP")));
    let fixes: Vec<bool> = loaded.diagnostics.iter().map(|found| found.fix.is_some()).collect();
    assert_eq!((summaries(&loaded).len(), fixes), (2, vec![false, true]));
}

/// A name, and text that refers to names before it.
fn definitions() -> impl Strategy<Value = Vec<(String, String)>> {
    let piece = prop_oneof![
        3 => "[0-9]{1,2}".prop_map(|text| (text, None)),
        1 => any::<prop::sample::Index>().prop_map(|index| (String::new(), Some(index))),
    ];
    prop::collection::vec(prop::collection::vec(piece, 0..3), 1..12).prop_map(|values| {
        let name = |index: usize| format!("V_{index}");
        let values = values.into_iter().enumerate().map(|(at, pieces)| {
            let text = pieces.into_iter().map(|(text, refers)| match refers {
                Some(index) if at > 0 => format!("${{{}}}", name(index.index(at))),
                _ => text,
            });
            (name(at), text.collect::<String>())
        });
        values.collect()
    })
}

/// References replaced by hand.
fn written_out(text: &str, definitions: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (name, value) in definitions.iter().rev() {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_definition_is_as_good_as_its_text(
        definitions in definitions(),
        uses in prop::collection::vec((0..6_usize, any::<prop::sample::Index>()), 0..20),
        order in any::<bool>(),
    ) {
        let lines: String = uses
            .iter()
            .map(|(keyword, index)| {
                let keyword = ["priority", "advert_int", "garp_master_repeat", "preempt_delay", "unicast_ttl", "debug"][*keyword];
                format!(" {keyword} ${{{}}}\n", definitions[index.index(definitions.len())].0)
            })
            .collect();
        let mut defined: Vec<String> = definitions.iter().map(|(name, value)| format!("${name}={value}\n")).collect();
        // A definition is read where it is used.
        if order {
            defined.reverse();
        }
        let with = load_str("c", &(defined.concat() + &instance(&lines)));
        let without = load_str("c", &instance(&written_out(&lines, &definitions)));
        prop_assert_eq!(&with.config, &without.config);
        let mut kinds: Vec<_> = with.diagnostics.iter().map(|found| found.kind.name()).collect();
        let mut others: Vec<_> = without.diagnostics.iter().map(|found| found.kind.name()).collect();
        kinds.sort_unstable();
        others.sort_unstable();
        // Equal mistakes of one definition are said once.
        kinds.dedup();
        others.dedup();
        prop_assert_eq!(kinds, others);
    }

    #[test]
    fn conditions_choose_lines(
        lines in prop::collection::vec((0..4_usize, 1..255_u8), 0..20),
        id in prop::sample::select(vec!["one", "two", "three"]),
    ) {
        let (mut with, mut without) = (String::new(), String::new());
        for (condition, priority) in lines {
            let line = format!("priority {priority}\n");
            let (prefix, holds) = [("", true), ("@one ", id == "one"), ("@^one ", id != "one"), ("@two @^three ", id == "two")][condition];
            with.push_str(&format!(" {prefix}{line}"));
            if holds {
                without.push_str(&line);
            }
        }
        prop_assert_eq!(load_as(id, &instance(&with)).config, load_as(id, &instance(&without)).config);
    }

    #[test]
    fn a_sequence_is_as_good_as_its_lines(first in -5..30_i32, step in 1..7_i32, count in 0..12_i32) {
        let last = first + step * count;
        let with = format!(" virtual_ipaddress_excluded {{\n ~SEQ(n,{},{step},{last}) 10.0.0.${{n}}\n }}\n", first);
        let lines: String = (0..=count).map(|index| format!(" 10.0.0.{}\n", first + step * index)).collect();
        let without = format!(" virtual_ipaddress_excluded {{\n{lines} }}\n");
        let (with, without) = (load_str("c", &instance(&with)), load_str("c", &instance(&without)));
        prop_assert_eq!(with.config, without.config);
    }

    /// A mistake in a definition's value is found at its use, and shown where it is written.
    #[test]
    fn places_survive(before in 0..5_usize, depth in 1..6_usize, blanks in 0..9_usize) {
        let mut text = "\n".repeat(before);
        let pad = " ".repeat(blanks);
        text.push_str("$D0=bad\n");
        for level in 1..depth {
            text.push_str(&format!("$D{level}={pad}${{D{}}}\n", level - 1));
        }
        let head = text.lines().count();
        text.push_str(&instance(&format!("{pad}priority ${{D{}}}", depth - 1)));
        let loaded = load_str("c", &text);
        prop_assert_eq!(loaded.diagnostics.len(), 1);
        let found = &loaded.diagnostics[0];
        let place = loaded.sources.place(found.span.expect("a place"));
        prop_assert_eq!((place.line, place.column), (head + 5, blanks + 10));
        let via: Vec<(usize, usize)> = found
            .related
            .iter()
            .map(|(span, _)| loaded.sources.place(*span))
            .map(|place| (place.line, place.column))
            .collect();
        let want: Vec<(usize, usize)> = (0..depth)
            .rev()
            .map(|level| (before + level + 1, if level == 0 { 5 } else { 5 + blanks }))
            .collect();
        prop_assert_eq!(via, want);
    }
}

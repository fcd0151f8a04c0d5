use proptest::prelude::*;

use super::*;

fn regex(pattern: &str) -> Regex {
    Regex { pattern: pattern.as_bytes().into(), ..Regex::default() }
}

fn with(pattern: &str, options: &str) -> Regex {
    let mut regex = regex(pattern);
    for name in options.split_whitespace() {
        assert!(regex.options.insert(name), "{name}");
    }
    regex
}

fn within(pattern: &str, min_offset: usize, max_offset: Option<usize>) -> Regex {
    Regex { min_offset, max_offset, ..regex(pattern) }
}

fn search(regex: &Regex, body: &[u8]) -> Search {
    Compiled::new(regex).expect("a pattern").search(body)
}

/// Each option changes what a pattern means, so that none can be lost.
#[test]
fn options() {
    use Search::{Found, NotFound};
    // option, pattern, body, without, with
    for (option, pattern, body, without, want) in [
        ("caseless", "ABC", "xabc", NotFound, Found(1)),
        ("multiline", "^abc", "x\nabc", NotFound, Found(2)),
        ("dotall", "a.b", "a\nb", NotFound, Found(0)),
        ("extended", "a b", "ab", NotFound, Found(0)),
        ("dollar_endonly", "c$", "abc\n", Found(2), NotFound),
        ("firstline", "abc", "x\nabc", Found(2), NotFound),
        ("match_unset_backref", "(a)?\\1b", "b", NotFound, Found(0)),
        ("ungreedy", "a+$|a+b", "aab", Found(0), Found(0)),
        ("alt_bsux", "\\u0041", "A", NotFound, Found(0)),
        ("alt_circumflex", "(?m)^$", "a\n", NotFound, Found(2)),
        ("ucp utf", "^\\w$", "é", NotFound, Found(0)),
        ("utf", "^.$", "é", NotFound, Found(0)),
    ] {
        let plain = Compiled::new(&regex(pattern)).map(|compiled| compiled.search(body.as_bytes()));
        assert_eq!(plain.unwrap_or(NotFound), without, "without {option}");
        assert_eq!(search(&with(pattern, option), body.as_bytes()), want, "{option}");
    }
    // These decide what a pattern may say.
    for (option, pattern, without, want) in [
        ("allow_empty_class", "[]", false, true),
        ("dupnames", "(?<n>a)(?<n>b)", false, true),
        ("never_utf", "(*UTF)a", true, false),
        ("never_ucp", "(*UCP)a", true, false),
        ("never_backslash_c", "\\C", true, false),
        ("no_auto_capture", "(a)\\1", true, false),
        ("alt_verbnames", "(*MARK:a\\)b)", false, true),
    ] {
        assert_eq!(Compiled::new(&regex(pattern)).is_ok(), without, "without {option}");
        assert_eq!(Compiled::new(&with(pattern, option)).is_ok(), want, "{option}");
    }
    // These change only how the library works.
    for option in
        ["auto_callout", "no_auto_possess", "no_dotstar_anchor", "no_start_optimize", "use_offset_limit"]
    {
        assert_eq!(search(&with("a+b", option), b"xaab"), Found(1), "{option}");
    }
    assert_eq!(BITS.iter().fold(0, |all, bit| all | bit).count_ones(), 24, "each has a bit of its own");
}

/// Places as Debian's keepalived takes them for a body in a segment of its own: X at octet 10.
#[test]
fn places() {
    use Search::{Found, NotFound};
    let body = b"0123456789X\nabc\n";
    for (name, regex, want) in [
        ("none", regex("X"), Found(10)),
        ("first place is the match's", within("X", 10, None), Found(10)),
        ("first place behind", within("X", 11, None), NotFound),
        ("last place is the match's", within("X", 0, Some(10)), Found(10)),
        ("last place before", within("X", 0, Some(9)), NotFound),
        ("what is before is seen", within("(?<=9)X", 10, None), Found(10)),
        ("it is not the beginning", within("^X", 10, None), NotFound),
        ("behind the end", within("X", 500, None), NotFound),
        ("empty at the end", within("$", 16, None), Found(16)),
        ("in the last line", regex("c$"), Found(14)),
        ("the body is the beginning", regex("^0"), Found(0)),
        ("over lines", regex("X\nab"), Found(10)),
    ] {
        assert_eq!(search(&regex, body), want, "{name}");
    }
}

#[test]
fn wrong_patterns_are_told_with_their_place() {
    for (pattern, offset, message) in [
        ("[a-", 3, "missing terminating ] for character class"),
        ("a(b", 3, "missing closing parenthesis"),
        ("*a", 0, "quantifier does not follow a repeatable item"),
    ] {
        let want = BadPattern { offset, message: message.to_owned() };
        assert_eq!(Compiled::new(&regex(pattern)).expect_err(pattern), want);
    }
}

#[tokio::test]
async fn verdicts() {
    let unwanted = |pattern: &str| Regex { no_match: true, ..regex(pattern) };
    let big = vec![b'x'; MAX_BODY];
    for (name, regex, body, cut, want) in [
        ("found", regex("up"), &b"all up"[..], false, Ok("pattern found")),
        ("not found", regex("up"), b"down", false, Err("pattern \"up\" not found in the body of 4 octets")),
        ("empty body", regex("up"), b"", false, Err("pattern \"up\" not found in the body of 0 octets")),
        ("unwanted and not there", unwanted("up"), b"down", false, Ok("pattern not found, as wanted")),
        ("unwanted", unwanted("down"), b"x down", false, Err("unwanted pattern \"down\" found at octet 2")),
        (
            "in what was not kept",
            regex("y"),
            &big,
            true,
            Err("pattern \"y\" not found in the first 1024 KiB of the body; more is not searched"),
        ),
        (
            "unwanted in what was not kept",
            unwanted("y"),
            &big,
            true,
            Err("pattern \"y\" not found in the first 1024 KiB of the body; more is not searched"),
        ),
        ("found in what was kept", regex("x$"), &big, true, Ok("pattern found")),
        (
            "it may not be further on",
            Regex { no_match: true, ..within("y", 0, Some(9)) },
            &big,
            true,
            Ok("pattern not found, as wanted"),
        ),
        (
            "no UTF-8",
            with("x", "utf"),
            b"ab\xffc",
            false,
            Err("pattern \"x\" not decided: UTF-8 error: illegal byte (0xfe or 0xff)"),
        ),
        (
            "wrong pattern",
            regex("[a-"),
            b"",
            false,
            Err("pattern \"[a-\" is wrong at octet 3: missing terminating ] for character class"),
        ),
        (
            "control octets are shown",
            regex("\x1b"),
            b"",
            false,
            Err("pattern \"\\x1b\" not found in the body of 0 octets"),
        ),
    ] {
        let got = check(&regex, body.to_vec(), cut).await;
        assert_eq!(got, want.map_err(Outcome::bad), "{name}");
    }
}

/// A body made to cost: it ends, nothing else waits, and the reason says so.
#[tokio::test]
async fn what_takes_long_ends_elsewhere() {
    let ticks = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let before = Instant::now();
            tokio::time::sleep(Duration::from_millis(10)).await;
            longest = longest.max(before.elapsed());
        }
        longest
    });
    let mut body = vec![b'a'; 100_000];
    body.push(b'!');
    for pattern in ["(a+)+$", "(a|aa)+$", "[^b]*+b"] {
        let began = Instant::now();
        let got = check(&regex(pattern), body.clone(), false).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{pattern}: {:?}", began.elapsed());
        if let Err(why) = got {
            let shown = format!("pattern \"{pattern}\" not ");
            assert!(why.reason.starts_with(&shown), "{}", why.reason);
        }
    }
    let longest = ticks.await.expect("ticks");
    assert!(longest < Duration::from_secs(2), "the runtime stood still for {longest:?}");
}

/// What a large body may cost: nothing that depends on its size is done again for each part of it.
#[test]
fn large_bodies_are_searched_to_their_end() {
    let mut body = vec![b'a'; MAX_BODY - 1];
    body.push(b'z');
    for (name, regex) in [
        ("octets", regex("z")),
        ("characters", with("z", "utf")),
        ("characters, said by the pattern", regex("(*UTF)z")),
        ("from the start", regex("(*UCP)z")),
        ("the first line", with("z", "firstline")),
    ] {
        assert_eq!(search(&regex, &body), Search::Found(MAX_BODY - 1), "{name}");
    }
}

/// Also where the search cannot be cut into parts.
#[test]
fn a_search_from_the_start_ends() {
    let half = vec![b'x'; MAX_BODY / 2];
    let costly = [half, vec![b'a'; MAX_BODY / 2]].concat();
    for body in [vec![b'a'; MAX_BODY], costly] {
        let compiled = Compiled::new(&regex("(*UCP)(?:a|q){1,150}[bc]")).expect("a pattern");
        assert_eq!(compiled.glance(&body), None);
        let began = Instant::now();
        let Search::Failed(why) = compiled.search(&body) else { panic!("not so fast") };
        assert_eq!(why, "matching takes too long; simplify the pattern");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn steps_are_limited() {
    let mut body = vec![b'a'; 40];
    body.push(b'!');
    assert_eq!(
        search(&regex("^(a+)+$"), &body),
        Search::Failed("matching takes too long; simplify the pattern".to_owned())
    );
    assert_eq!(Compiled::new(&regex("^(a+)+$")).expect("a pattern").glance(&body), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Part by part it is found where it is, wherever parts end.
    #[test]
    fn literals_are_found_where_they_are(
        body in "[ab]{0,600}", text in "[ab]{1,8}", first in 0_usize..700, length in 0_usize..700,
    ) {
        let last = first + length;
        let regex = within(&text, first, Some(last.max(1)));
        let want = (first..=last.max(1)).find(|at| body.get(*at..).is_some_and(|rest| rest.starts_with(&text)));
        let want = want.map_or(Search::NotFound, Search::Found);
        prop_assert_eq!(search(&regex, body.as_bytes()), want);
    }

    /// So are characters of several octets.
    #[test]
    fn characters_too(body in "[aé€]{0,300}", text in "[aé€]{1,3}") {
        let want = body.find(&text).map_or(Search::NotFound, Search::Found);
        prop_assert_eq!(search(&with(&text, "utf"), body.as_bytes()), want);
    }

    #[test]
    fn any_pattern_and_body(
        pattern in prop_oneof![prop::collection::vec(any::<u8>(), 0..20), "[ab(|)*+?.^$\\\\]{0,12}".prop_map(String::into_bytes)],
        options in any::<u64>(), first in 0_usize..50, length in 0_usize..50, body in prop::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..200),
    ) {
        prop_assert!(stays_within(&pattern, options & (options >> 7), first, length, &body));
    }
}

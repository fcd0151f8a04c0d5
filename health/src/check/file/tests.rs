use super::*;
use crate::state::Verdict;
use proptest::prelude::*;

#[test]
fn numbers() {
    for (name, text, want) in [
        ("nothing", "", Ok(0)),
        ("decimal", "10\n", Ok(10)),
        ("negative", "-101", Ok(-101)),
        ("plus", " +3\n", Ok(3)),
        ("hexadecimal", "0x10", Ok(16)),
        ("hexadecimal, large", "0XfF", Ok(255)),
        ("0x without digits is the 0 before it", "0x", Ok(0)),
        ("0x and no digit", "0xg", Ok(0)),
        ("octal", "010", Ok(8)),
        ("octal ends at a 9", "019", Ok(1)),
        ("text after it", " 12abc", Ok(12)),
        ("no exponent", "1e3", Ok(1)),
        ("junk", "junk", Ok(0)),
        ("a sign alone", "-", Ok(0)),
        ("two signs", "--1", Ok(0)),
        ("a blank after the sign", "- 1", Ok(0)),
        ("lines before it", "\n\n 8\n", Ok(8)),
        ("NUL ends it", "8\u{0}9", Ok(8)),
        ("highest", "2147483648", Ok(1 << 31)),
        ("above", "2147483649", Err(OutOfRange)),
        ("lowest", "-2147483648", Ok(-(1 << 31))),
        ("below", "-2147483649", Err(OutOfRange)),
        ("far above", "99999999999999999999999999", Err(OutOfRange)),
        ("far below", "-0xffffffffffffffffffffffff", Err(OutOfRange)),
    ] {
        assert_eq!(number(text.as_bytes()), want, "{name}");
    }
    assert_eq!(number(b"\xff\xfe1"), Ok(0), "no text");
    // As observed with keepalived 2.2.7: the 127th octet counts, the 128th does not.
    assert_eq!(number(format!("{:0126}7", 0).as_bytes()), Ok(7));
    assert_eq!(number(format!("{:0127}7", 0).as_bytes()), Ok(0));
}

fn check(weight: i32, reverse: bool) -> FileCheck {
    FileCheck { file: "f".into(), weight, reverse }
}

#[test]
fn what_a_number_means() {
    let add = |value| Verdict::Good(Contribution::Add(value));
    let none = Verdict::Good(Contribution::None);
    for (name, weight, reverse, number, verdict, reason) in [
        ("weight 1", 1, false, 5, add(5), "f: number 5, weight +5"),
        ("weight 3", 3, false, -1, add(-3), "f: number -1, weight -3"),
        ("reverse", 2, true, 200, add(-400), "f: number 200, weight -400"),
        ("reverse of a negative", 2, true, -40, add(80), "f: number -40, weight +80"),
        ("0", 1, false, 0, add(0), "f: number 0, weight +0"),
        ("weight 0 and 0", 0, false, 0, none, "f: number 0"),
        ("weight 0 and 1", 0, false, 1, Verdict::Bad, "f: number 1, wanted 0"),
        ("weight 0 and -1", 0, false, -1, Verdict::Bad, "f: number -1, wanted 0"),
        ("weight 0 reverse and 0", 0, true, 0, Verdict::Bad, "f: number 0, wanted another than 0"),
        ("weight 0 reverse and 7", 0, true, 7, none, "f: number 7"),
        (
            "just above the failure",
            1,
            false,
            -2_147_483_647,
            add(-2_147_483_647),
            "f: number -2147483647, weight -2147483647",
        ),
        (
            "the failure",
            1,
            false,
            -2_147_483_648,
            Verdict::Bad,
            "f: number -2147483648 comes to -2147483648, which is a failure",
        ),
        (
            "far below",
            i32::MAX,
            false,
            -(1 << 31),
            Verdict::Bad,
            "f: number -2147483648 comes to -4611686016279904256, which is a failure",
        ),
        (
            "far above",
            i32::MAX,
            false,
            1 << 31,
            add(4_611_686_016_279_904_256),
            "f: number 2147483648, weight +4611686016279904256",
        ),
        (
            "reverse turns it into a failure",
            -1,
            true,
            -(1 << 31),
            Verdict::Bad,
            "f: number -2147483648 comes to -2147483648, which is a failure",
        ),
    ] {
        let outcome = judge(&check(weight, reverse), number);
        assert_eq!((outcome.verdict, &*outcome.reason), (verdict, reason), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let found = number(&octets);
        prop_assert!(found.is_err() || found.is_ok_and(|found| found.abs() <= 1 << 31));
        let start = octets.get(..MAX_FILE).unwrap_or(&octets);
        prop_assert_eq!(found, number(start), "what is behind does not count");
    }

    #[test]
    fn a_number_is_read_as_it_was_written(
        value in -(1_i64 << 31)..=1 << 31, blanks in "[ \t\n]{0,9}", rest in "([^0-9].*)?",
    ) {
        let rest = if value == 0 { "" } else { &rest };
        prop_assert_eq!(number(format!("{blanks}{value}{rest}").as_bytes()), Ok(value));
        let (sign, absolute) = (if value < 0 { "-" } else { "" }, value.abs());
        prop_assert_eq!(number(format!("{blanks}{sign}{absolute:#x}").as_bytes()), Ok(value));
        prop_assert_eq!(number(format!("{blanks}{sign}0{absolute:o}").as_bytes()), Ok(value));
    }

    #[test]
    fn no_product_overflows(number in -(1_i64 << 31)..=1 << 31, weight in any::<i32>(), reverse: bool) {
        let outcome = judge(&check(weight, reverse), number);
        let exact = i128::from(number) * i128::from(weight) * if reverse { -1 } else { 1 };
        let want = match weight {
            0 if (number != 0) != reverse => Verdict::Bad,
            0 => Verdict::Good(Contribution::None),
            _ if exact <= -(1 << 31) => Verdict::Bad,
            _ => Verdict::Good(Contribution::Add(i64::try_from(exact).expect("fits"))),
        };
        prop_assert_eq!(outcome.verdict, want);
    }
}

//! The number in a file, and what it means with a weight.
#![no_main]

use lbd_health::check::file::{judge, number};
use lbd_health::{Contribution, FileCheck, Verdict};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let Some((weight, rest)) = octets.split_first_chunk::<4>() else { return };
    let Some((flags, text)) = rest.split_first() else { return };
    let Ok(found) = number(text) else { return };
    assert!(found.abs() <= 1 << 31);
    let (weight, reverse) = (i32::from_le_bytes(*weight), flags % 2 == 1);
    let exact = i128::from(found) * i128::from(weight) * if reverse { -1 } else { 1 };
    let want = match weight {
        0 if (found != 0) != reverse => Verdict::Bad,
        0 => Verdict::Good(Contribution::None),
        _ if exact <= -(1 << 31) => Verdict::Bad,
        _ => Verdict::Good(Contribution::Add(i64::try_from(exact).expect("fits"))),
    };
    assert_eq!(judge(&FileCheck { file: "f".into(), weight, reverse }, found).verdict, want);
});

//! Lines of an agent, cut at line ends: what they add up to.
#![no_main]

use lbd_health::Verdict;
use lbd_health::check::agent::{Agent, Answer};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut agent = Agent::default();
    for line in octets.split(|octet| *octet == b'\n') {
        let before = agent.clone();
        let answer = Answer::read(line);
        assert!(answer.percent.is_none_or(|percent| percent <= Answer::MOST));
        let outcome = agent.take(line);
        assert!(outcome.reason.len() < 1000 && !outcome.reason.contains(char::is_control));
        assert_eq!(outcome.verdict == Verdict::Silent, !answer.says_something());
        assert!(outcome.verdict != Verdict::Silent || agent == before);
        if answer.up == Some(false) {
            assert_eq!(outcome.verdict, Verdict::Bad);
        }
    }
});

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;
use crate::types::{Connection, HttpCheck, HttpProtocol, MiscCheck, Schedule, ScriptId, Url};

const LOOP: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
const ZERO: Duration = Duration::ZERO;

fn connection() -> Connection {
    Connection {
        target: ([127, 0, 0, 1], 80).into(),
        bind_address: None,
        bind_port: NonZeroU16::new(7),
        bind_interface: None,
        timeout: RETRY,
        fwmark: None,
    }
}

fn check(kind: CheckKind, retry: u32, alpha: bool) -> Check {
    let schedule = Schedule {
        delay_loop: LOOP,
        retry,
        delay_before_retry: RETRY,
        warmup: ZERO,
        alpha,
        log_all_failures: false,
    };
    Check { schedule, kind }
}

fn tcp(retry: u32, alpha: bool) -> Check {
    check(CheckKind::Tcp(connection()), retry, alpha)
}

fn misc(dynamic: bool) -> Check {
    let misc = MiscCheck { script: ScriptId("x".into()), timeout: LOOP, dynamic };
    check(CheckKind::Misc(misc), 0, false)
}

fn http(urls: usize, retry: u32, alpha: bool, fast_recovery: bool) -> Check {
    let url = Url { path: "/".into(), ..Url::default() };
    let http = HttpCheck {
        connection: connection(),
        urls: vec![url; urls],
        protocol: HttpProtocol::V1_0,
        fast_recovery,
        tls: None,
    };
    check(CheckKind::Http(Box::new(http)), retry, alpha)
}

/// Runs `outcomes` (`+` good, `-` bad, `?` no verdict) and writes each step as
/// `URL` `outcome` → state `U`/`D`, `!` changed, `1` first, `t` failed try, `@` delay in seconds.
fn trace(check: &Check, outcomes: &str) -> String {
    let mut state = CheckerState::new(check);
    let mut steps = Vec::new();
    for outcome in outcomes.chars() {
        let url = state.url();
        let step = state.on_outcome(
            check,
            &match outcome {
                '+' => Outcome::good("g"),
                '-' => Outcome::bad("b"),
                _ => Outcome::unknown("u"),
            },
        );
        let (Next::AfterEnd(delay) | Next::AfterStart(delay)) = step.next;
        steps.push(format!(
            "{url}{outcome}{}{}{}{}@{}",
            if step.up { 'U' } else { 'D' },
            if step.changed { "!" } else { "" },
            if step.first { "1" } else { "" },
            if step.failed_try { "t" } else { "" },
            delay.as_secs(),
        ));
        assert_eq!(step.up, state.is_up());
    }
    steps.join(" ")
}

#[test]
fn retry_rules() {
    for (name, check, outcomes, want) in [
        ("good from the start", tcp(2, false), "++", "0+U1@10 0+U@10"),
        ("first failure counts at once", tcp(2, false), "--", "0-D!1@10 0-Dt@10"),
        ("retries while up", tcp(2, false), "+----", "0+U1@10 0-Ut@2 0-Ut@2 0-D!@10 0-Dt@10"),
        ("a success gives the retries back", tcp(1, false), "+-+--", "0+U1@10 0-Ut@2 0+U@10 0-Ut@2 0-D!@10"),
        ("no retries", tcp(0, false), "+-+", "0+U1@10 0-D!@10 0+U!@10"),
        ("recovery is at once, with retries", tcp(1, false), "-+--", "0-D!1@10 0+U!@10 0-Ut@2 0-D!@10"),
        ("alpha starts down", tcp(1, true), "+", "0+U!1@10"),
        ("alpha and bad: nothing changes", tcp(1, true), "--+", "0-D1t@10 0-Dt@10 0+U!@10"),
        ("our problem is no verdict", tcp(1, false), "?-?+", "0?U@10 0-D!1@10 0?D@10 0+U!@10"),
        ("our problem uses no retry", tcp(1, false), "+?-?-", "0+U1@10 0?U@10 0-Ut@2 0?U@10 0-D!@10"),
        ("misc retries as others", misc(false), "+-+", "0+U1@10 0-D!@10 0+U!@10"),
    ] {
        assert_eq!(trace(&check, outcomes), want, "{name}");
    }
}

#[test]
fn http_rules() {
    for (name, check, outcomes, want) in [
        ("one url", http(1, 1, false, false), "+--+", "0+U1@10 0-Ut@2 0-D!@10 0+D@10"),
        ("up needs a whole pass", http(2, 0, true, false), "+++", "0+D@10 1+U!1@10 0+U@10"),
        ("first failure counts at once", http(2, 3, false, false), "-", "0-D!1@10"),
        ("the failed url alone", http(3, 0, false, false), "+---", "0+U@10 1-D!1@10 1-Dt@10 1-Dt@10"),
        (
            "once it answers, all from the first",
            http(2, 0, false, false),
            "+-+++",
            "0+U@10 1-D!1@10 1+D@10 0+D@10 1+U!@10",
        ),
        (
            "no retries while recovering",
            http(2, 3, true, false),
            "+-+-++",
            "0+D@10 1-D1t@10 1+D@10 0-Dt@10 0+D@10 0+D@10",
        ),
        ("fast recovery after start", http(2, 0, false, true), "+++", "0+U@0 1+U1@10 0+U@10"),
        (
            "fast recovery after failure",
            http(2, 0, false, true),
            "+--+++",
            "0+U@0 1-D!1@10 1-Dt@10 1+D@0 0+D@0 1+U!@10",
        ),
    ] {
        assert_eq!(trace(&check, outcomes), want, "{name}");
    }
    let mut slow = http(1, 0, false, false);
    slow.schedule.delay_before_retry = LOOP * 2;
    assert_eq!(trace(&slow, "-"), "0-D!1@20", "down: the longer of delay_loop and delay_before_retry");
    assert_eq!(
        trace(&http(2, 2, false, false), "++-+-"),
        "0+U@10 1+U1@10 0-Ut@2 0+U@10 1-Ut@2",
        "a failed try asks the same url again"
    );
}

#[test]
fn misc_counts_from_the_start() {
    let check = misc(true);
    let mut state = CheckerState::new(&check);
    let step = state.on_outcome(&check, &Outcome::good("x"));
    assert_eq!(step.next, Next::AfterStart(LOOP));
    let tcp = tcp(0, false);
    let step = CheckerState::new(&tcp).on_outcome(&tcp, &Outcome::good("x"));
    assert_eq!(step.next, Next::AfterEnd(LOOP));
}

#[test]
fn known_states_are_resumed() {
    let check = tcp(1, false);
    let mut up = CheckerState::resume(&check, view(true, Contribution::None), 0);
    let step = up.on_outcome(&check, &Outcome::bad("x"));
    assert!(step.up && step.failed_try && !step.first, "a server known to be up is retried");
    let mut down = CheckerState::resume(&check, view(false, Contribution::None), 0);
    let step = down.on_outcome(&check, &Outcome::good("x"));
    assert!(step.changed && step.up && !step.first);
}

#[test]
fn contributions() {
    let check = misc(true);
    let mut state = CheckerState::new(&check);
    let good = |weight| Outcome::good("exit").contributing(Contribution::Weight(weight));
    assert_eq!(state.on_outcome(&check, &good(5)).contribution, Contribution::Weight(5));
    assert_eq!(
        state.on_outcome(&check, &Outcome::unknown("x")).contribution,
        Contribution::Weight(5),
        "no verdict leaves it"
    );
    assert_eq!(state.on_outcome(&check, &Outcome::good("0")).contribution, Contribution::None);
    state.on_outcome(&check, &good(7));
    assert_eq!(state.on_outcome(&check, &Outcome::bad("1")).contribution, Contribution::None);
}

fn view(up: bool, contribution: Contribution) -> CheckerView {
    CheckerView { up, has_run: true, contribution }
}

#[test]
fn server_goes_with_the_first_and_returns_with_the_last() {
    let mut server = ServerState::new(&[tcp(0, false), tcp(0, false), tcp(0, true)]);
    let none = Contribution::None;
    assert!(!server.is_up(), "alpha");
    for (name, index, up, want, failed) in [
        ("alpha is good", 2, true, Some(true), 0),
        ("first failure", 0, false, Some(false), 1),
        ("second failure", 1, false, None, 2),
        ("one recovers", 0, true, None, 1),
        ("last recovers", 1, true, Some(true), 0),
        ("again good", 1, true, None, 0),
        ("no such checker", 9, false, None, 0),
    ] {
        let change = server.set(index, view(up, none));
        assert_eq!((change.up, server.failed()), (want, failed), "{name}");
    }
    assert!(ServerState::new(&[]).is_up(), "without checkers");
}

#[test]
fn effective_weights() {
    use Contribution::{Add, None, Percent, Weight};
    for (name, configured, contributions, want) in [
        ("none", 100, vec![None, None], 100),
        ("dynamic", 100, vec![Weight(3)], 3),
        ("dynamic 0", 100, vec![Weight(0)], 0),
        ("dynamic above", 1, vec![Weight(253)], 253),
        ("two dynamic ones add their differences", 100, vec![Weight(60), Weight(70)], 30),
        ("below zero", 10, vec![Weight(0), Weight(0)], 0),
        ("a file", 10, vec![Add(-4), Weight(12)], 8),
        ("half", 100, vec![Percent(50)], 50),
        ("a part is rounded down", 5, vec![Percent(50)], 2),
        ("and at least 1", 1, vec![Percent(1)], 1),
        ("of nothing", 0, vec![Percent(50)], 0),
        ("more than all", 100, vec![Percent(150)], 150),
        ("far more than all", u32::MAX >> 1, vec![Percent(25_600)], u32::MAX >> 1),
        ("none", 100, vec![Percent(0)], 0),
        ("none, whatever others add", 100, vec![Add(50), Percent(0)], 0),
        ("a part and a file", 100, vec![Add(5), Percent(50)], 55),
        ("largest", 2_147_483_647, vec![Add(1)], 2_147_483_647),
        ("no overflow", 1, vec![Add(i64::MAX), Add(i64::MAX)], 2_147_483_647),
        ("no underflow", 1, vec![Add(i64::MIN), Add(i64::MIN)], 0),
    ] {
        let server = ServerState::resume(contributions.iter().map(|c| view(true, *c)).collect());
        assert_eq!(server.effective_weight(configured), want, "{name}");
    }
    let mut server = ServerState::resume(vec![view(true, None)]);
    assert!(server.set(0, view(true, Weight(3))).weight);
    assert!(!server.set(0, view(true, Weight(3))).weight);
}

fn outcome() -> impl Strategy<Value = char> {
    prop::sample::select(vec!['+', '-', '?'])
}

proptest! {
    /// A slow model for the generic rule: down when the last retry+1 verdicts were bad (or the very first).
    #[test]
    fn generic_rule_agrees_with_a_model(retry in 0_u32..4, alpha: bool,
                                        outcomes in prop::collection::vec(outcome(), 0..40)) {
        let check = tcp(retry, alpha);
        let mut state = CheckerState::new(&check);
        let mut up = !alpha;
        let mut verdicts: Vec<char> = Vec::new();
        for outcome in outcomes {
            let value = match outcome { '+' => Outcome::good(""), '-' => Outcome::bad(""), _ => Outcome::unknown("") };
            let step = state.on_outcome(&check, &value);
            let before = up;
            if outcome != '?' {
                verdicts.push(outcome);
                let bad_in_a_row = verdicts.iter().rev().take_while(|v| **v == '-').count();
                let first = verdicts.len() == 1;
                up = match outcome {
                    '+' => true,
                    _ if !up => false,
                    _ => !(first || bad_in_a_row > usize::try_from(retry).unwrap()),
                };
            }
            prop_assert_eq!(step.up, up);
            prop_assert_eq!(step.changed, up != before);
        }
    }

    /// Down to up for HTTP only after every url answered in a row; up to down only on a failure.
    #[test]
    fn http_up_is_a_whole_pass(urls in 1_usize..4, retry in 0_u32..3, alpha: bool, fast: bool,
                               outcomes in prop::collection::vec(outcome(), 0..60)) {
        let check = http(urls, retry, alpha, fast);
        let mut state = CheckerState::new(&check);
        let mut answered = Vec::new();
        for outcome in outcomes {
            let url = state.url();
            prop_assert!(url < urls);
            let value = match outcome { '+' => Outcome::good(""), '-' => Outcome::bad(""), _ => Outcome::unknown("") };
            let step = state.on_outcome(&check, &value);
            match outcome { '+' => answered.push(url), '-' => answered.clear(), _ => {} }
            if step.changed && step.up {
                let pass: Vec<usize> = (0..urls).collect();
                prop_assert!(answered.ends_with(&pass));
            }
            if step.changed && !step.up {
                prop_assert_eq!(outcome, '-');
            }
        }
    }

    #[test]
    fn server_is_up_when_no_checker_fails(n in 0_usize..5, sets in prop::collection::vec((0_usize..5, any::<bool>()), 0..40)) {
        let mut server = ServerState::resume(vec![view(true, Contribution::None); n]);
        let mut model = vec![true; n];
        for (index, up) in sets {
            let before = model.iter().all(|up| *up);
            if let Some(checker) = model.get_mut(index) { *checker = up; }
            let after = model.iter().all(|up| *up);
            let change = server.set(index, view(up, Contribution::None));
            prop_assert_eq!(server.is_up(), after);
            prop_assert_eq!(change.up, (before != after).then_some(after));
        }
    }
}

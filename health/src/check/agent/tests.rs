use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::duplex;
use tokio::net::TcpListener;

use super::*;
use crate::state::{CheckerState, Contribution, Verdict};
use crate::types::{Check, CheckKind, Connection, Schedule};

fn agent_check(target: SocketAddr, send: &[u8]) -> AgentCheck {
    let connection = Connection {
        target,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Duration::from_secs(3),
        fwmark: None,
    };
    AgentCheck { connection, send: send.into() }
}

fn none() -> AgentCheck {
    agent_check("192.0.2.1:9777".parse().unwrap(), b"")
}

fn weight(percent: u32) -> Verdict {
    Verdict::Good(Contribution::Percent(percent))
}

const GOOD: Verdict = Verdict::Good(Contribution::None);

#[test]
fn a_word_at_a_time() {
    for (name, line, verdict, reason) in [
        ("up", "up", GOOD, "up (agent)"),
        ("any case", "UP", GOOD, "up (agent)"),
        ("down", "down", Verdict::Bad, "down (agent)"),
        ("down and why", "down # disk  full ", Verdict::Bad, "down (agent): disk  full"),
        ("failed", "failed #x", Verdict::Bad, "down (agent): x"),
        ("fail", "fail", Verdict::Bad, "down (agent)"),
        ("stopped", "stopped", Verdict::Bad, "down (agent)"),
        ("drain", "drain", weight(0), "drain (agent)"),
        ("maint", "maint", Verdict::Bad, "maintenance (agent)"),
        ("maint and why", "maint # kernel", Verdict::Bad, "maintenance (agent): kernel"),
        ("ready", "ready", GOOD, "up (agent)"),
        ("half", "50%", weight(50), "up (agent), weight 50%"),
        ("nothing of it", "0%", weight(0), "up (agent), weight 0%"),
        ("more than all", "150%", weight(150), "up (agent), weight 150%"),
        ("far too much", "99999999999999%", weight(25_600), "up (agent), weight 25600%"),
        ("blanks and commas", ",, up\t,75%  ready,", weight(75), "up (agent), weight 75%"),
        ("the last one counts", "up down 10% 20% up", weight(20), "up (agent), weight 20%"),
        (
            "a hash within a word",
            "up#x",
            Verdict::Silent,
            "no answer of the agent: \"up#x\" says nothing about the server; the server stays as it is",
        ),
        ("maxconn", "up maxconn:30", GOOD, "up (agent) (maxconn ignored)"),
        ("something else", "up whatever", GOOD, "up (agent) (\"whatever\" ignored)"),
        (
            "all at once",
            "maint down 10% #x y",
            Verdict::Bad,
            "maintenance (agent), weight 10%, down (agent): x y",
        ),
        (
            "only a text",
            "# hello",
            Verdict::Silent,
            "no answer of the agent: \"# hello\" says nothing about the server; the server stays as it is",
        ),
        (
            "only maxconn",
            "maxconn:3",
            Verdict::Silent,
            "no answer of the agent: \"maxconn:3\" says nothing about the server; the server stays as it is",
        ),
        (
            "nothing",
            "  ",
            Verdict::Silent,
            "no answer of the agent: an empty line says nothing about the server; the server stays as it is",
        ),
        (
            "no percentage",
            "% 5 -5% 5%% x%",
            Verdict::Silent,
            "no answer of the agent: \"% 5 -5% 5%% x%\" says nothing about the server; the server stays as it is",
        ),
    ] {
        let outcome = Agent::default().take(line.as_bytes());
        assert_eq!((outcome.verdict, &*outcome.reason), (verdict, reason), "{name}");
    }
    let outcome = Agent::default().take(b"\xff\x00\x1b[2J up");
    assert_eq!(&*outcome.reason, "up (agent) (\"\\xff\\x00\\x1b[2J\" ignored)");
}

#[test]
fn what_a_line_does_not_mention_stays() {
    let mut agent = Agent::default();
    for (line, verdict, reason) in [
        ("50%", weight(50), "up (agent), weight 50%"),
        ("up", weight(50), "up (agent), weight 50%"),
        ("drain", weight(0), "drain (agent), weight 50%"),
        ("80%", weight(0), "drain (agent), weight 80%"),
        ("up", weight(0), "drain (agent), weight 80%"),
        ("ready", weight(80), "up (agent), weight 80%"),
        ("maint", Verdict::Bad, "maintenance (agent), weight 80%"),
        ("up 100%", Verdict::Bad, "maintenance (agent), weight 100%"),
        ("down #a", Verdict::Bad, "maintenance (agent), weight 100%, down (agent): a"),
        ("ready", Verdict::Bad, "down (agent): a, weight 100%"),
        (
            "",
            Verdict::Silent,
            "no answer of the agent: an empty line says nothing about the server; the server stays as it is",
        ),
        ("90%", Verdict::Bad, "down (agent): a, weight 90%"),
        ("up", weight(90), "up (agent), weight 90%"),
    ] {
        let outcome = agent.take(line.as_bytes());
        assert_eq!((outcome.verdict, &*outcome.reason), (verdict, reason), "{line}");
    }
}

fn whole(kind: CheckKind) -> Check {
    let schedule = Schedule {
        delay_loop: Duration::from_secs(10),
        retry: 3,
        delay_before_retry: Duration::from_secs(1),
        warmup: Duration::ZERO,
        alpha: true,
        log_all_failures: false,
    };
    Check { schedule, kind }
}

/// With alpha, or after another process found it down, for a reason that is not known.
#[test]
fn who_begins_down_stays_so_until_up_or_ready() {
    let check = whole(CheckKind::Agent(Box::new(none())));
    for (line, want) in [("50%", false), ("drain", false), ("up", true), ("ready", true), ("down", false)] {
        let mut agent = Agent::of(&check, false, Contribution::None).unwrap();
        assert_eq!(agent.take(line.as_bytes()).verdict != Verdict::Bad, want, "{line}");
    }
    assert_eq!(
        &*Agent::of(&check, false, Contribution::None).unwrap().take(b"50%").reason,
        "down until the agent says up or ready, weight 50%"
    );
    assert_eq!(Agent::of(&whole(CheckKind::Tcp(none().connection)), false, Contribution::None), None);
}

/// After a restart, and after a reload that changes the checker.
#[test]
fn what_was_said_before_holds_until_something_else_is_said() {
    let check = whole(CheckKind::Agent(Box::new(none())));
    let (drained, half) = (Contribution::Percent(0), Contribution::Percent(50));
    for (before, line, want) in [
        (Contribution::None, "up", Contribution::None),
        (half, "up", half),
        (half, "ready", half),
        (half, "drain", drained),
        (half, "70%", Contribution::Percent(70)),
        (drained, "up", drained),
        (drained, "ready", Contribution::None),
        (drained, "50%", half),
        (drained, "up 100%", Contribution::Percent(100)),
    ] {
        let mut agent = Agent::of(&check, true, before).unwrap();
        assert_eq!(agent.take(line.as_bytes()).verdict, Verdict::Good(want), "{before:?} {line}");
    }
    let mut agent = Agent::of(&check, true, drained).unwrap();
    assert_eq!(&*agent.take(b"up").reason, "drain, as before (agent)");
}

#[test]
fn the_word_of_an_agent_counts_at_once_and_silence_changes_nothing() {
    let check = whole(CheckKind::Agent(Box::new(none())));
    let mut state = CheckerState::new(&check);
    let mut agent = Agent::of(&check, state.is_up(), Contribution::None).unwrap();
    let steps: Vec<_> = ["up 50%", "", "down", "", "up"]
        .into_iter()
        .map(|line| {
            let step = state.on_outcome(&check, &agent.take(line.as_bytes()));
            (step.up, step.changed, step.contribution)
        })
        .collect();
    let half = Contribution::Percent(50);
    assert_eq!(
        steps,
        [
            (true, true, half),
            (true, false, half),
            (false, true, Contribution::None),
            (false, false, Contribution::None),
            (true, true, half),
        ]
    );
}

/// What an agent does on a connection.
enum Act {
    Send(Vec<u8>),
    Slowly(&'static [u8], Duration),
    Expect(&'static [u8]),
    Hang,
    Endless(u8),
}

async fn asked(check: AgentCheck, acts: Vec<Act>) -> Outcome {
    let (ours, mut theirs) = duplex(8 * 1024);
    let server = async move {
        for act in acts {
            match act {
                Act::Send(octets) => {
                    if theirs.write_all(&octets).await.is_err() {
                        return;
                    }
                }
                Act::Slowly(octets, pause) => {
                    for octet in octets {
                        tokio::time::sleep(pause).await;
                        if theirs.write_u8(*octet).await.is_err() {
                            return;
                        }
                    }
                }
                Act::Expect(wanted) => {
                    let mut got = vec![0; wanted.len()];
                    theirs.read_exact(&mut got).await.unwrap();
                    assert_eq!(got, wanted);
                }
                Act::Hang => std::future::pending().await,
                Act::Endless(octet) => while theirs.write_all(&[octet; 1000]).await.is_ok() {},
            }
        }
    };
    let asking = async {
        match ask(&check, ours).await {
            Ok(line) => Agent::default().take(&line),
            Err(reason) => Agent::default().silent(&reason),
        }
    };
    tokio::select! {
        outcome = asking => outcome,
        outcome = async { server.await; std::future::pending::<Outcome>().await } => outcome,
    }
}

#[tokio::test(start_paused = true)]
async fn agents_of_every_kind() {
    let second = Duration::from_secs(1);
    let send = |text: &str| Act::Send(text.as_bytes().to_vec());
    let silent =
        |why: &str| (Verdict::Silent, format!("no answer of the agent: {why}; the server stays as it is"));
    type Row = (&'static str, AgentCheck, Vec<Act>, (Verdict, String));
    let rows: Vec<Row> = vec![
        ("LF", none(), vec![send("up 50%\n")], (weight(50), "up (agent), weight 50%".into())),
        ("CR LF", none(), vec![send("drain\r\n")], (weight(0), "drain (agent)".into())),
        ("the first line only", none(), vec![send("up\ndown\n")], (GOOD, "up (agent)".into())),
        ("in pieces", none(), vec![Act::Slowly(b"up\n", second / 2)], (GOOD, "up (agent)".into())),
        (
            "asked",
            agent_check(none().connection.target, b"web1\n"),
            vec![Act::Expect(b"web1\n"), send("maint\n")],
            (Verdict::Bad, "maintenance (agent)".into()),
        ),
        ("no line end", none(), vec![send("up")], silent("no end of the line \"up\" after 3 s")),
        ("hangs", none(), vec![Act::Hang], silent("no answer after 3 s")),
        (
            "an octet a second",
            none(),
            vec![Act::Slowly(b"up up up up up", second * 9 / 10)],
            silent("no end of the line \"up \" after 3 s"),
        ),
        ("no end", none(), vec![Act::Endless(b'u')], silent("the line is longer than 4096 octets")),
        (
            "binary",
            none(),
            vec![Act::Send(vec![0, 255, 27, 10])],
            silent("\"\\x00\\xff\\x1b\" says nothing about the server"),
        ),
    ];
    for (name, check, mut acts, want) in rows {
        acts.push(Act::Hang);
        let outcome = asked(check, acts).await;
        assert_eq!((outcome.verdict, outcome.reason.to_string()), want, "{name}");
    }
}

#[tokio::test]
async fn over_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = agent_check(listener.local_addr().unwrap(), b"");
    let mut agent = Agent::default();
    let serve = |octets: &'static [u8]| {
        let listener = &listener;
        async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(octets).await.unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(run(&check, &mut agent), serve(b"ready 25%\n"));
    assert_eq!((outcome.verdict, &*outcome.reason), (weight(25), "up (agent), weight 25%"));
    let (outcome, ()) = tokio::join!(run(&check, &mut agent), serve(b""));
    let closed = "no answer of the agent: connection closed without an answer; the server stays as it is";
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Silent, closed));
    let (outcome, ()) = tokio::join!(run(&check, &mut agent), serve(b"dow"));
    let cut = "no answer of the agent: connection closed within the line \"dow\"; the server stays as it is";
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Silent, cut));
    drop(listener);
    let outcome = run(&check, &mut agent).await;
    let refused = "no answer of the agent: connection refused; the server stays as it is";
    assert_eq!((outcome.verdict, &*outcome.reason), (Verdict::Silent, refused));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_is_taken(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut agent = Agent::default();
        for line in &lines {
            let before = agent.clone();
            let outcome = agent.take(line);
            prop_assert!(outcome.reason.len() < 1000 && !outcome.reason.contains(char::is_control));
            prop_assert!(outcome.verdict != Verdict::Silent || agent == before);
            prop_assert!(outcome.verdict != Verdict::Unknown);
        }
    }

    /// Against a plain account of the last word of each kind.
    #[test]
    fn the_last_word_of_each_kind_counts(
        words in proptest::collection::vec(
            proptest::sample::select(vec!["up", "down", "ready", "drain", "maint", "0%", "40%", "x", "maxconn:1"]), 1..30),
        cuts in proptest::collection::vec(any::<bool>(), 30),
    ) {
        let mut agent = Agent::default();
        let mut line = String::new();
        let mut last = Verdict::Silent;
        for (word, cut) in words.iter().zip(cuts.iter().chain(std::iter::repeat(&true))) {
            line.push_str(word);
            line.push(' ');
            if *cut {
                let verdict = agent.take(line.as_bytes()).verdict;
                if verdict != Verdict::Silent {
                    last = verdict;
                }
                line.clear();
            }
        }
        let verdict = agent.take(line.as_bytes()).verdict;
        if verdict != Verdict::Silent {
            last = verdict;
        }
        let of = |kinds: &[&str]| words.iter().rfind(|word| kinds.contains(word)).copied();
        let (health, admin) = (of(&["up", "down"]), of(&["ready", "drain", "maint"]));
        let percent = of(&["0%", "40%"]);
        let want = if health.is_none() && admin.is_none() && percent.is_none() {
            Verdict::Silent
        } else if health == Some("down") || admin == Some("maint") {
            Verdict::Bad
        } else if admin == Some("drain") || percent == Some("0%") {
            weight(0)
        } else if percent.is_some() {
            weight(40)
        } else {
            GOOD
        };
        prop_assert_eq!(last, want);
    }
}

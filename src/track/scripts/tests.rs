use std::future::Future;
use std::pin::Pin;

use lbd_health::ScriptId;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;

/// Verdict after each result: `g`ood or `b`ad, capital where it changed.
fn trace(rise: u32, fall: u32, results: &str) -> String {
    let mut state = ScriptState::new(rise, fall);
    results
        .chars()
        .map(|result| {
            let changed = state.on_result(result == '+');
            match (state.good(), changed) {
                (Some(true), None) => 'g',
                (Some(true), Some(_)) => 'G',
                (Some(false), None) => 'b',
                (Some(false), Some(_)) => 'B',
                (None, _) => '?',
            }
        })
        .collect()
}

#[test]
fn rise_and_fall() {
    for (name, rise, fall, results, want) in [
        ("first good", 3, 3, "+", "G"),
        ("first bad counts at once", 3, 3, "-", "B"),
        ("defaults", 1, 1, "+-+", "GBG"),
        ("fall 3", 1, 3, "+---", "GggB"),
        ("rise 3", 3, 1, "-+++", "BbbG"),
        ("a success starts falling anew", 1, 3, "+--+---", "GgggggB"),
        ("a failure starts rising anew", 3, 1, "-++-+++", "BbbbbbG"),
        ("0 counts as 1", 0, 0, "+-+", "GBG"),
    ] {
        assert_eq!(trace(rise, fall, results), want, "{name}");
    }
}

proptest! {
    /// keepalived's one counter over 0..rise+fall, written down as its users' manual explains it.
    #[test]
    fn agrees_with_one_counter(rise in 1_u32..5, fall in 1_u32..5, results in prop::collection::vec(any::<bool>(), 1..60)) {
        let mut state = ScriptState::new(rise, fall);
        let mut counter = None;
        for success in results {
            counter = Some(match (counter, success) {
                (None, true) => rise + fall - 1,
                (None, false) => 0,
                (Some(c), true) if c + 1 < rise => c + 1,
                (Some(_), true) => rise + fall - 1,
                (Some(c), false) if c > rise => c - 1,
                (Some(_), false) => 0,
            });
            state.on_result(success);
            prop_assert_eq!(state.good(), counter.map(|c| c >= rise));
        }
    }
}

/// Runs that take a time and end with a status; the last one repeats.
struct Fake {
    runs: Mutex<Vec<(u64, u8)>>,
    started: Mutex<Vec<Instant>>,
}

impl Programs for Fake {
    fn run(&self, _: &ScriptId, limit: Duration) -> Pin<Box<dyn Future<Output = ScriptOutcome> + Send>> {
        self.started.lock().unwrap().push(Instant::now());
        let mut runs = self.runs.lock().unwrap();
        let (ms, status) = if runs.len() > 1 { runs.remove(0) } else { runs[0] };
        Box::pin(async move {
            match tokio::time::timeout(limit, tokio::time::sleep(Duration::from_millis(ms))).await {
                Ok(()) => ScriptOutcome::Exited(status),
                Err(_) => ScriptOutcome::TimedOut(limit),
            }
        })
    }
}

impl Fake {
    fn new(runs: &[(u64, u8)]) -> Arc<Self> {
        Arc::new(Fake { runs: Mutex::new(runs.to_vec()), started: Mutex::default() })
    }

    fn seconds(&self, base: Instant) -> Vec<u64> {
        self.started.lock().unwrap().iter().map(|at| (*at - base).as_secs()).collect()
    }
}

fn script(id: &str, interval: u64, timeout: u64) -> VrrpScript {
    VrrpScript {
        script: ScriptId(id.into()),
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(timeout),
        fall: 1,
        rise: 1,
    }
}

struct Bench {
    tracker: Tracker,
    published: mpsc::UnboundedReceiver<(String, bool)>,
    events: mpsc::Receiver<Event>,
}

fn bench(programs: &Arc<Fake>, scripts: &[(&str, VrrpScript)]) -> Bench {
    let (publish, published) = mpsc::unbounded_channel();
    let (sender, events) = EventSender::channel();
    let tracker = Tracker::start(
        programs.clone(),
        scripts.iter().map(|(name, script)| (Arc::from(*name), script.clone())).collect(),
        move |tracker, good| publish.send((tracker.to_string(), good)).unwrap(),
        sender,
    );
    Bench { tracker, published, events }
}

#[tokio::test(start_paused = true)]
async fn at_once_and_every_interval() {
    let fake = Fake::new(&[(100, 0), (100, 0), (100, 1), (100, 0)]);
    let base = Instant::now();
    let mut bench = bench(&fake, &[("chk", script("a", 5, 5))]);
    for good in [true, false, true] {
        assert_eq!(bench.published.recv().await, Some(("chk".to_owned(), good)));
    }
    assert_eq!(fake.seconds(base), [0, 5, 10, 15]);
    let Some(Event::Script { name, good, reason }) = bench.events.recv().await else { panic!("no event") };
    assert_eq!((&*name, good, &*reason), ("chk", true, "exit status 0"));
    let Some(Event::Script { good, reason, .. }) = bench.events.recv().await else { panic!("no event") };
    assert_eq!((good, &*reason), (false, "exit status 1"));
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_due_while_one_runs_are_skipped() {
    let fake = Fake::new(&[(2500, 0), (0, 0)]);
    let base = Instant::now();
    let _bench = bench(&fake, &[("chk", script("a", 1, 10))]);
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(fake.seconds(base), [0, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_bad() {
    let fake = Fake::new(&[(60_000, 0)]);
    let mut bench = bench(&fake, &[("chk", script("a", 10, 3))]);
    assert_eq!(bench.published.recv().await, Some(("chk".to_owned(), false)));
    let Some(Event::Script { reason, .. }) = bench.events.recv().await else { panic!("no event") };
    assert_eq!(reason, "timed out after 3 s");
}

#[tokio::test(start_paused = true)]
async fn reload() {
    let fake = Fake::new(&[(0, 0)]);
    let base = Instant::now();
    let mut bench = bench(&fake, &[("chk", script("a", 10, 3))]);
    assert_eq!(bench.published.recv().await, Some(("chk".to_owned(), true)));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let name: Arc<str> = "chk".into();
    // Unchanged: same rhythm, known verdict told again.
    bench.tracker.reload(vec![(name.clone(), script("a", 10, 3))]);
    assert_eq!(bench.published.try_recv(), Ok(("chk".to_owned(), true)));
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(fake.seconds(base), [0, 10]);
    // Other times: the verdict stays.
    bench.tracker.reload(vec![(name.clone(), script("a", 2, 2))]);
    assert_eq!(bench.published.try_recv(), Ok(("chk".to_owned(), true)));
    assert_eq!(bench.tracker.good("chk"), Some(true));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(fake.seconds(base), [0, 10, 13]);
    // Another program: no verdict until it has run.
    bench.tracker.reload(vec![(name, script("b", 2, 2))]);
    assert!(bench.published.try_recv().is_err());
    assert_eq!(bench.tracker.good("chk"), None);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.published.try_recv(), Ok(("chk".to_owned(), true)));
    // Gone: nothing runs any more.
    let runs = fake.seconds(base).len();
    bench.tracker.reload(Vec::new());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.seconds(base).len(), runs);
}

#[test]
fn skipping() {
    let base = Instant::now();
    let ms = Duration::from_millis;
    for (name, late, want_skipped, want_due) in [
        ("ended at once", 0, 0, 1000),
        ("within the period", 300, 0, 1000),
        ("exactly one period", 1000, 0, 1000),
        ("a little more", 1001, 1, 2000),
        ("several", 3500, 3, 4000),
    ] {
        let mut due = base;
        assert_eq!(skip(&mut due, base + ms(late), ms(1000)), want_skipped, "{name}");
        assert_eq!(due - base, ms(want_due), "{name}");
    }
}

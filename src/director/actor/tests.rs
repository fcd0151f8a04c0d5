//! The director with MISC_CHECKs whose outcomes the test decides, and a kernel's table in memory.

use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;

use lbd_health::{Programs, ScriptId, ScriptOutcome};
use lbd_ipvs::Op;
use lbd_ipvs::fake::FakeIpvs;

use super::*;
use crate::control::status::RealServerState;
use crate::control::{ServerAction, ServerOrder};
use crate::director::owner::{OwnerOptions, Settings, TableOwner};
use crate::state_file::{Owned, SavedLeaving, StateFile};

const LIMIT: Duration = Duration::from_secs(10);

/// Programs by their first argument: the exit status the test wants.
#[derive(Default)]
struct Answers(Mutex<HashMap<String, u8>>);

impl Answers {
    fn set(&self, server: &str, status: u8) {
        self.0.lock().expect("lock").insert(server.to_owned(), status);
    }
}

impl Programs for Answers {
    fn run(&self, script: &ScriptId, _: Duration) -> Pin<Box<dyn Future<Output = ScriptOutcome> + Send>> {
        let server = script.0.split('\0').nth(1).unwrap_or_default().to_owned();
        let status = self.0.lock().expect("lock").get(&server).copied().unwrap_or(0);
        Box::pin(async move { ScriptOutcome::Exited(status) })
    }
}

struct Bed {
    kernel: FakeIpvs,
    answers: Arc<Answers>,
    owner: OwnerHandle,
    director: DirectorHandle,
    remembered: Arc<Mutex<Verdicts>>,
    leaving: Arc<Mutex<Vec<SavedLeaving>>>,
    events: mpsc::Receiver<Event>,
    /// Addresses of the host.
    local: watch::Sender<HashSet<IpAddr>>,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn start(text: &str, saved: Verdicts, dead: &[&str]) -> Bed {
        Bed::after(FakeIpvs::new(), Owned::new(), text, saved, dead).await
    }

    /// On a kernel that holds what an earlier process left.
    async fn after(kernel: FakeIpvs, owned: Owned, text: &str, saved: Verdicts, dead: &[&str]) -> Bed {
        Bed::resumed(kernel, owned, text, (saved, Vec::new()), dead).await
    }

    async fn resumed(
        kernel: FakeIpvs,
        owned: Owned,
        text: &str,
        (saved, saved_leaving): (Verdicts, Vec<SavedLeaving>),
        dead: &[&str],
    ) -> Bed {
        let dir = tempfile::tempdir().expect("directory");
        let connection = kernel.clone();
        let owner = TableOwner::start(OwnerOptions {
            connect: Box::new(move || Ok(Box::new(connection.clone()))),
            state: Arc::new(StateFile::open(&dir.path().join("state"), 0).0),
            owned,
            timeouts_before: None,
            flush: false,
            settings: Settings::default(),
            events: EventSender::channel().0,
            processor: || Duration::ZERO,
        })
        .expect("a table owner");
        let answers = Arc::new(Answers::default());
        for server in dead {
            answers.set(server, 1);
        }
        // As the file: it says what the earlier process wrote until it is written anew.
        let remembered = Arc::new(Mutex::new(saved.clone()));
        let memory = remembered.clone();
        let leaving: Arc<Mutex<Vec<SavedLeaving>>> = Arc::default();
        let waiting = leaving.clone();
        let (events, received) = EventSender::channel();
        let local = watch::Sender::new(HashSet::new());
        let options = DirectorOptions {
            owner: owner.clone(),
            tools: Arc::new(Tools::new(answers.clone())),
            events,
            saved,
            remember: Box::new(move |verdicts| *memory.lock().expect("lock") = verdicts),
            saved_leaving,
            remember_leaving: Box::new(move |leaving| *waiting.lock().expect("lock") = leaving),
            local_addresses: local.subscribe(),
        };
        let director = DirectorHandle::start(options, &config(text));
        assert!(owner.flush_wait(LIMIT).await, "the table converges");
        Bed { kernel, answers, owner, director, remembered, leaving, events: received, local, _dir: dir }
    }

    async fn reload(&self, text: &str) -> Vec<Op> {
        self.kernel.take_record();
        self.director.reload(Arc::new(config(text))).await.expect("an answer");
        assert!(self.owner.flush_wait(LIMIT).await, "the table converges");
        self.kernel.take_record()
    }

    /// The weights in the kernel's table by the last octet of the address.
    fn table(&self) -> BTreeMap<String, u32> {
        let table = self.kernel.table();
        let destinations = table.services.values().flat_map(|entry| &entry.destinations);
        destinations.map(|(address, dest)| (address.ip().to_string(), dest.weight)).collect()
    }

    async fn until(&self, what: &str, want: &[(&str, u32)]) {
        let want: BTreeMap<String, u32> =
            want.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        let deadline = tokio::time::Instant::now() + LIMIT;
        while self.table() != want {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}, wanted {want:?}", self.table());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn event(&mut self, what: &str, matches: impl Fn(&Event) -> bool) -> Event {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the queue stays open");
                if matches(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("no event: {what}"))
    }
}

fn config(text: &str) -> Config {
    let loaded = lbd_grammar::load_str("test.conf", text);
    // Short times are odd, and some checks are not served.
    let odd = [lbd_grammar::Kind::Lint, lbd_grammar::Kind::Unserved];
    let problems = loaded.diagnostics.iter().filter(|one| !odd.contains(&one.kind));
    let problems: Vec<String> = problems.map(|one| one.summary(&loaded.sources)).collect();
    assert_eq!(problems, [""; 0], "no diagnostics");
    loaded.config.expect("a configuration")
}

/// A virtual server with these real servers (last octets), checked every 20 ms.
fn text(servers: &[u8], extra: &str) -> String {
    let mut text = format!(
        "virtual_server 10.0.0.100 80 {{\n delay_loop 0.02\n warmup 0\n lb_algo rr\n lb_kind DR\n protocol TCP\n {extra}\n"
    );
    for last in servers {
        text.push_str(&format!(
            " real_server 10.0.0.{last} 80 {{\n  weight 3\n  MISC_CHECK {{\n   misc_path \"/check 10.0.0.{last}\"\n   misc_timeout 1\n   misc_dynamic\n  }}\n }}\n"
        ));
    }
    text + "}\n"
}

fn down(event: &Event, last: u8) -> bool {
    matches!(event, Event::RealServer { address, up: false, .. } if address.ip().to_string() == format!("10.0.0.{last}"))
}

#[tokio::test]
async fn servers_leave_and_return_and_the_sorry_server_stands_in() {
    let mut bed = Bed::start(&text(&[1, 2], "sorry_server 10.0.0.9 80"), Verdicts::new(), &[]).await;
    assert_eq!(bed.table().len(), 2, "all servers are in before any check ran");
    bed.answers.set("10.0.0.1", 1);
    bed.until("one is out", &[("10.0.0.2", 3)]).await;
    let event = bed.event("down", |event| down(event, 1)).await;
    assert!(matches!(event, Event::RealServer { reason, .. } if reason.starts_with("MISC_CHECK: ")));
    bed.answers.set("10.0.0.2", 1);
    bed.until("sorry server", &[("10.0.0.9", 1)]).await;
    bed.event("quorum lost", |event| matches!(event, Event::Quorum { up: false, sorry_server: Some(_), .. }))
        .await;
    bed.answers.set("10.0.0.2", 0);
    bed.until("back", &[("10.0.0.2", 3)]).await;
    bed.event("quorum gained", |event| matches!(event, Event::Quorum { up: true, .. })).await;
    bed.answers.set("10.0.0.2", 9);
    bed.until("weight from the exit status", &[("10.0.0.2", 7)]).await;
    let status = bed.director.status().await.expect("an answer").servers;
    let states: Vec<_> =
        status[0].status.real_servers.iter().map(|one| (one.state, one.effective_weight)).collect();
    assert_eq!(states, [(RealServerState::Down, 3), (RealServerState::Up, 7)]);
    let remembered = bed.remembered.lock().expect("lock").len();
    assert_eq!(remembered, 2, "the dead one, and the one with a weight of its own");
}

#[tokio::test]
async fn ha_suspend_checks_only_while_the_address_is_on_the_host() {
    let other = text(&[2], "").replace("10.0.0.100 80", "10.0.0.101 80");
    let both = text(&[1], "ha_suspend") + &other;
    let bed = Bed::start(&both, Verdicts::new(), &["10.0.0.1", "10.0.0.2"]).await;
    // The other virtual server's checks are the clock.
    let turns = async |kept: &[(&str, u32)]| {
        for _ in 0..3 {
            bed.answers.set("10.0.0.2", 0);
            bed.until("checked", &[kept, &[("10.0.0.2", 3)]].concat()).await;
            bed.answers.set("10.0.0.2", 1);
            bed.until("checked", kept).await;
        }
    };
    turns(&[("10.0.0.1", 3)]).await;
    bed.local.send_replace(HashSet::from([IpAddr::from([10, 0, 0, 100])]));
    bed.until("checked with the address", &[]).await;
    bed.local.send_replace(HashSet::from([IpAddr::from([10, 0, 0, 101])]));
    turns(&[]).await;
    bed.answers.set("10.0.0.1", 0);
    turns(&[]).await;
    bed.local.send_replace(HashSet::from([IpAddr::from([10, 0, 0, 100])]));
    bed.until("checked again", &[("10.0.0.1", 3)]).await;
}

#[tokio::test]
async fn a_reload_writes_what_changed_and_nothing_else() {
    let bed = Bed::start(&text(&[1, 2], ""), Verdicts::new(), &["10.0.0.2"]).await;
    bed.until("one is out", &[("10.0.0.1", 3)]).await;
    assert_eq!(bed.reload(&text(&[1, 2], "")).await, [], "an unchanged file");
    let ops = bed.reload(&text(&[1, 2, 3], "")).await;
    assert!(
        matches!(ops.as_slice(), [Op::NewDest(_, address, _)] if address.to_string() == "10.0.0.3:80"),
        "{ops:?}"
    );
    let ops = bed.reload(&text(&[2, 3], "")).await;
    assert!(
        matches!(ops.as_slice(), [Op::DelDest(_, address)] if address.to_string() == "10.0.0.1:80"),
        "{ops:?}"
    );
    let ops = bed.reload(&text(&[2, 3], "persistence_timeout 60")).await;
    assert!(matches!(ops.as_slice(), [Op::SetService(..)]), "{ops:?}");
    let ops = bed.reload(&text(&[2, 3], "persistence_timeout 60").replace("lb_kind DR", "lb_kind TUN")).await;
    assert!(
        matches!(ops.as_slice(), [Op::SetDest(_, address, _)] if address.to_string() == "10.0.0.3:80"),
        "{ops:?}"
    );
    let ops = bed.reload(&text(&[4], "").replace("10.0.0.100 80", "10.0.0.101 80")).await;
    assert!(matches!(ops.as_slice(), [Op::NewService(..), Op::NewDest(..), Op::DelService(_)]), "{ops:?}");
}

#[tokio::test]
async fn another_schedule_keeps_the_checkers_state() {
    let bed = Bed::start(&text(&[1, 2], ""), Verdicts::new(), &["10.0.0.2"]).await;
    bed.until("one is out", &[("10.0.0.1", 3)]).await;
    let slower = text(&[1, 2], "").replace("delay_loop 0.02", "delay_loop 0.03");
    assert_eq!(bed.reload(&slower).await, [], "the dead one stays out");
    let status = bed.director.status().await.expect("an answer").servers;
    assert_eq!(status[0].status.real_servers[1].state, RealServerState::Down);
}

#[tokio::test]
async fn a_server_that_was_down_before_the_restart_starts_as_down_and_is_checked_at_once() {
    let first = Bed::start(&text(&[1, 2], ""), Verdicts::new(), &["10.0.0.2"]).await;
    first.until("one is out", &[("10.0.0.1", 3)]).await;
    let saved = first.remembered.lock().expect("lock").clone();
    let slow = text(&[1, 2], "").replace("delay_loop 0.02", "delay_loop 30");
    let bed = Bed::start(&slow, saved, &[]).await;
    let record = bed.kernel.take_record();
    let added: BTreeSet<String> = record
        .iter()
        .filter_map(|op| match op {
            Op::NewDest(_, address, _) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(added, BTreeSet::from(["10.0.0.1:80".to_owned()]), "the dead one was never in");
    bed.until("checked at once, it answers again", &[("10.0.0.1", 3), ("10.0.0.2", 3)]).await;
}

#[tokio::test]
async fn omega_announces_the_end() {
    let mut bed = Bed::start(&text(&[1], "omega"), Verdicts::new(), &[]).await;
    bed.director.stop(Stop::Empty).await.expect("an answer");
    bed.event("down", |event| down(event, 1)).await;
    bed.event("quorum lost", |event| matches!(event, Event::Quorum { up: false, .. })).await;
}

#[tokio::test]
async fn omega_announces_no_end_of_what_goes_on_in_the_kernel() {
    let mut bed = Bed::start(&text(&[1], "omega"), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.director.stop(Stop::Keep).await.expect("an answer");
    let next = tokio::time::timeout(LIMIT, bed.events.recv()).await;
    assert_eq!(next, Ok(None), "keepalived -I says nothing either");
}

#[tokio::test]
async fn an_empty_configuration_removes_what_an_earlier_process_left() {
    let first = Bed::start(&text(&[1], ""), Verdicts::new(), &[]).await;
    let owned = first
        .kernel
        .table()
        .services
        .iter()
        .map(|(id, entry)| (*id, entry.destinations.keys().copied().collect()))
        .collect();
    let bed = Bed::after(first.kernel.clone(), owned, "", Verdicts::new(), &[]).await;
    assert_eq!(bed.kernel.table().services.len(), 0);
}

#[tokio::test]
async fn the_end_of_the_director_is_seen() {
    let bed = Bed::start(&text(&[1], ""), Verdicts::new(), &[]).await;
    bed.director.stop(Stop::Empty).await.expect("an answer");
    tokio::time::timeout(LIMIT, bed.director.ended()).await.expect("it has ended");
}

/// What a first process ends with and what the second one starts with, without a check in between.
async fn restarted(text: &str, answers: &[(&str, u8)], ends: &[(&str, u32)]) -> BTreeMap<String, u32> {
    let first = Bed::start(text, Verdicts::new(), &[]).await;
    for (server, status) in answers {
        first.answers.set(server, *status);
    }
    first.until("before the restart", ends).await;
    let saved = first.remembered.lock().expect("lock").clone();
    let slow = text.replace("delay_loop 0.02", "delay_loop 30");
    let bed = Bed::start(&slow, saved, &[]).await;
    let mut table = BTreeMap::new();
    for op in bed.kernel.take_record() {
        if let Op::NewDest(_, address, destination) = op {
            table.insert(address.ip().to_string(), destination.weight);
        }
    }
    table
}

#[tokio::test]
async fn a_restart_starts_alpha_servers_and_dynamic_weights_as_they_were() {
    let alpha = text(&[1, 2], "alpha");
    let ends = [("10.0.0.1", 3), ("10.0.0.2", 3)];
    assert_eq!(restarted(&alpha, &[], &ends).await.len(), 2, "checked alpha servers go on serving");
    let ends = [("10.0.0.1", 0), ("10.0.0.2", 7)];
    let table = restarted(&text(&[1, 2], ""), &[("10.0.0.1", 2), ("10.0.0.2", 9)], &ends).await;
    let want = BTreeMap::from([("10.0.0.1".to_owned(), 0), ("10.0.0.2".to_owned(), 7)]);
    assert_eq!(table, want, "a drained server stays drained");
}

#[tokio::test]
async fn another_question_keeps_the_verdict_until_it_is_answered() {
    let bed = Bed::start(&text(&[1, 2], ""), Verdicts::new(), &["10.0.0.2"]).await;
    bed.until("one is out", &[("10.0.0.1", 3)]).await;
    let other = text(&[1, 2], "").replace("misc_timeout 1", "misc_timeout 2");
    assert_eq!(bed.reload(&other).await, [], "the dead one stays out, the live one in");
    bed.answers.set("10.0.0.2", 0);
    bed.until("it answers again", &[("10.0.0.1", 3), ("10.0.0.2", 3)]).await;
    let alpha =
        other.replace("misc_timeout 2", "misc_timeout 3").replace("protocol TCP", "protocol TCP\n alpha");
    assert_eq!(bed.reload(&alpha).await, [], "alpha is for servers that were never checked");
    let more = alpha.replace(
        "  MISC_CHECK",
        "  MISC_CHECK {\n   misc_path \"/more 10.0.0.5\"\n   misc_timeout 1\n  }\n  MISC_CHECK",
    );
    assert_eq!(bed.reload(&more).await, [], "one check more takes no server out that serves");
}

#[tokio::test]
async fn checkers_are_matched_best_first() {
    let check = |path: &str, seconds: u64| {
        let config = config(
            &text(&[1], "")
                .replace("/check 10.0.0.1", path)
                .replace("misc_timeout 1", &format!("misc_timeout {seconds}")),
        );
        config.virtual_servers[0].real_servers[0].checks[0].clone()
    };
    let kept = |checks: &[Arc<Check>]| -> Kept {
        let checker = |check: &Arc<Check>| Checker {
            key: 0,
            check: check.clone(),
            last: None,
            task: Task::Waiting(Start::new(check)),
        };
        checks.iter().map(|check| (checker(check), CheckerView::new(check))).collect()
    };
    let (a, b, other_b) = (check("/a", 1), check("/b", 1), check("/b", 2));
    let mut before = kept(&[a.clone(), b.clone()]);
    let found = matched(&[other_b, a.clone()], &mut before, |(checker, _)| &checker.check);
    let found: Vec<_> = found.into_iter().map(|one| one.map(|(checker, _)| checker.check)).collect();
    assert_eq!(found, [Some(b), Some(a)], "the changed one does not take the unchanged one's place");
    assert!(before.is_empty());
}

#[test]
fn a_server_is_as_if_it_were_without_checks_that_are_not_served() {
    let real = |checks: &str| {
        let text = format!(
            "bfd_instance b {{\nneighbor_ip 10.0.0.9\nsource_ip 10.0.0.8\n}}\nvirtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\nreal_server 10.0.0.2 80 {{\n{checks}\n}}\n}}\n"
        );
        config(&text).virtual_servers[0].real_servers[0].checks.clone()
    };
    let bfd = "BFD_CHECK {\nname b\n}\n";
    let tcp = "TCP_CHECK {\n}\n";
    for (name, checks, want) in [
        ("all are", tcp.repeat(2), vec!["TCP_CHECK", "TCP_CHECK"]),
        ("some are", format!("{bfd}{tcp}"), vec!["TCP_CHECK"]),
        ("none is", bfd.to_owned(), vec![]),
    ] {
        let checks = real(&checks);
        let found: Vec<_> = served(&checks).iter().map(|check| check.kind.keyword()).collect();
        assert_eq!(found, want, "{name}");
    }
}

/// A group of these lines, and its virtual server with one real server.
fn group(lines: &str) -> String {
    let server = text(&[1], "").replace("virtual_server 10.0.0.100 80", "virtual_server group g");
    format!("virtual_server_group g {{\n{lines}\n}}\n{server}")
}

fn names(bed: &Bed) -> Vec<String> {
    bed.kernel
        .table()
        .services
        .iter()
        .map(|(id, entry)| format!("{id} {}", entry.destinations.len()))
        .collect()
}

#[tokio::test]
async fn a_group_drives_each_of_its_services() {
    let mut bed = Bed::start(&group("10.0.0.100-101 80\nfwmark 7"), Verdicts::new(), &[]).await;
    assert_eq!(names(&bed), ["TCP 10.0.0.100:80 1", "TCP 10.0.0.101:80 1", "FWM 7 inet 1"]);
    let ops = bed.reload(&group("10.0.0.100-101 80\nfwmark 7\n10.0.0.102 80")).await;
    assert!(
        matches!(ops.as_slice(), [Op::NewService(..), Op::NewDest(..)]),
        "a new entry has all present servers: {ops:?}"
    );
    let ops = bed.reload(&group("10.0.0.100 80\nfwmark 7\n10.0.0.102 80")).await;
    assert!(matches!(ops.as_slice(), [Op::DelService(_)]), "an entry that has gone: {ops:?}");
    bed.answers.set("10.0.0.1", 1);
    let event = bed.event("down, once for all services", |event| down(event, 1)).await;
    assert!(matches!(event, Event::RealServer { service: VirtualServerId::Group(_), .. }), "{event:?}");
    bed.until("out of every service", &[]).await;
    assert_eq!(names(&bed), ["TCP 10.0.0.100:80 0", "TCP 10.0.0.102:80 0", "FWM 7 inet 0"]);
    let shown = bed.director.status().await.expect("an answer").servers;
    assert_eq!((shown[0].status.id.as_str(), shown[0].services.len()), ("GROUP g", 3));
}

#[tokio::test]
async fn a_service_that_several_groups_share_goes_with_its_last_user() {
    let one = |name: &str, last: u8| {
        group("10.0.0.100 80")
            .replace("group g", &format!("group {name}"))
            .replace("10.0.0.1 80", &format!("10.0.0.{last} 80"))
    };
    let both = one("a", 1) + &one("b", 2);
    let both = both.replace("virtual_server_group g", "virtual_server_group a").replacen(
        "virtual_server_group a {\n10.0.0.100 80\n}\nvirtual_server group b",
        "virtual_server_group b {\n10.0.0.100 80\n}\nvirtual_server group b",
        1,
    );
    let bed = Bed::start(&both, Verdicts::new(), &[]).await;
    assert_eq!(names(&bed), ["TCP 10.0.0.100:80 2"], "both groups' servers");
    let ops = bed.reload(&one("b", 2).replace("virtual_server_group g", "virtual_server_group b")).await;
    assert!(matches!(ops.as_slice(), [Op::DelDest(..)]), "the other one's server goes: {ops:?}");
    let ops = bed.reload("").await;
    assert!(matches!(ops.as_slice(), [Op::DelService(_)]), "{ops:?}");
}

/// The next events, in short, until as many as wanted have come.
async fn told(bed: &mut Bed, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = bed.event("one more", |_| true).await;
        let sign = |up: bool| if up { "up" } else { "down" };
        found.push(match event {
            Event::RealServer { address, up, cause, .. } => {
                format!("RS {} {} {cause:?}", address.ip(), sign(up))
            }
            Event::Quorum { up, cause, .. } => format!("VS {} {cause:?}", sign(up)),
            Event::Weight { address, from, to, .. } => format!("weight {} {from} {to}", address.ip()),
            Event::Checker { address, check, up, server_up, server_changed, .. } => {
                let changed = if server_changed { ", changed" } else { "" };
                format!("{check} {} {}, server {}{changed}", address.ip(), sign(up), sign(server_up))
            }
            other => format!("{other:?}"),
        });
    }
    found
}

#[tokio::test]
async fn events_come_as_keepalived_tells_them_server_quorum_and_the_checker_last() {
    let mut bed = Bed::start(&text(&[1], ""), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.answers.set("10.0.0.1", 1);
    let want =
        ["RS 10.0.0.1 down Result", "VS down Result", "MISC_CHECK 10.0.0.1 down, server down, changed"];
    assert_eq!(told(&mut bed, 3).await, want);
    bed.answers.set("10.0.0.1", 9);
    let want = [
        "RS 10.0.0.1 up Result",
        "weight 10.0.0.1 3 7",
        "VS up Result",
        "MISC_CHECK 10.0.0.1 up, server up, changed",
    ];
    assert_eq!(told(&mut bed, 4).await, want);
}

#[tokio::test]
async fn a_checker_of_several_changes_and_the_server_does_not() {
    let second = "  MISC_CHECK {\n   misc_path \"/more 10.0.0.5\"\n   misc_timeout 1\n  }\n  MISC_CHECK";
    let two = text(&[1], "").replace("  MISC_CHECK", second);
    let mut bed = Bed::start(&two, Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.answers.set("10.0.0.1", 1);
    let want =
        ["RS 10.0.0.1 down Result", "VS down Result", "MISC_CHECK 10.0.0.1 down, server down, changed"];
    assert_eq!(told(&mut bed, 3).await, want);
    bed.answers.set("10.0.0.5", 1);
    assert_eq!(told(&mut bed, 1).await, ["MISC_CHECK 10.0.0.1 down, server down"]);
    bed.answers.set("10.0.0.1", 0);
    assert_eq!(told(&mut bed, 1).await, ["MISC_CHECK 10.0.0.1 up, server down"]);
    bed.answers.set("10.0.0.5", 0);
    let want = ["RS 10.0.0.1 up Result", "VS up Result", "MISC_CHECK 10.0.0.1 up, server up, changed"];
    assert_eq!(told(&mut bed, 3).await, want);
}

#[tokio::test]
async fn a_first_result_that_was_assumed_is_told_with_alpha() {
    let mut bed = Bed::start(&text(&[1], "alpha"), Verdicts::new(), &["10.0.0.1"]).await;
    assert_eq!(told(&mut bed, 1).await, ["RS 10.0.0.1 down Result"], "and no change of the checker");
    bed.answers.set("10.0.0.1", 0);
    assert_eq!(told(&mut bed, 1).await, ["RS 10.0.0.1 up Result"]);
}

#[tokio::test]
async fn each_failed_try_is_told_with_log_all_failures() {
    for (name, global, first, second) in [
        ("of the checker", "", "log_all_failures", ""),
        ("of global_defs", "global_defs {\nchecker_log_all_failures\n}\n", "", "log_all_failures no"),
    ] {
        let [first, second] = [(1, first), (2, second)].map(|(last, word)| {
            let text = text(&[last], "").replace("misc_dynamic\n", &format!("misc_dynamic\n{word}\n"));
            text.replace("10.0.0.100", &format!("10.0.0.10{last}"))
        });
        let all = format!("{global}{first}{second}");
        let mut bed = Bed::start(&all, Verdicts::new(), &["10.0.0.1", "10.0.0.2"]).await;
        // The second is checked as often.
        for _ in 0..5 {
            let event = bed.event("a failed try", |event| matches!(event, Event::CheckFailed { .. })).await;
            let Event::CheckFailed { address, check, reason, .. } = event else { unreachable!() };
            let found = (address.ip().to_string(), check, reason);
            assert_eq!(found, ("10.0.0.1".to_owned(), "MISC_CHECK", "exit status 1".to_owned()), "{name}");
        }
    }
}

#[tokio::test]
async fn rs_init_notifies_announces_servers_that_are_up_from_the_start() {
    let with = |servers: &[u8]| format!("global_defs {{\nrs_init_notifies\n}}\n{}", text(servers, ""));
    let mut bed = Bed::start(&with(&[1, 2]), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 3).await, ["RS 10.0.0.1 up Start", "RS 10.0.0.2 up Start", "VS up Start"]);
    bed.reload(&with(&[1, 2, 3])).await;
    assert_eq!(told(&mut bed, 1).await, ["RS 10.0.0.3 up Start"], "new ones of a reload too");
}

#[tokio::test]
async fn what_a_reload_takes_away_is_told() {
    let mut bed = Bed::start(&text(&[1, 2, 3], ""), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.reload(&text(&[2, 3], "")).await;
    assert_eq!(told(&mut bed, 1).await, ["RS 10.0.0.1 down Removed"]);
    bed.reload("").await;
    let want = ["RS 10.0.0.2 down Removed", "RS 10.0.0.3 down Removed", "VS down Removed"];
    assert_eq!(told(&mut bed, 3).await, want);
}

#[tokio::test]
async fn omega_tells_each_server_and_the_quorum_when_it_is_lost() {
    let mut bed = Bed::start(&text(&[1, 2], "omega"), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.director.stop(Stop::Empty).await.expect("an answer");
    assert_eq!(told(&mut bed, 3).await, ["RS 10.0.0.1 down Stop", "RS 10.0.0.2 down Stop", "VS down Stop"]);
}

#[tokio::test]
async fn a_slow_start_reaches_its_weight_by_the_clock() {
    let slow = text(&[1, 2], "slow_start 1").replace("weight 3", "weight 30");
    let mut bed = Bed::start(&slow, Verdicts::new(), &[]).await;
    bed.until("at once at the start", &[("10.0.0.1", 30), ("10.0.0.2", 30)]).await;
    bed.answers.set("10.0.0.1", 1);
    bed.until("out", &[("10.0.0.2", 30)]).await;
    bed.kernel.take_record();
    bed.answers.set("10.0.0.1", 0);
    let event = bed.event("up", |event| matches!(event, Event::RealServer { up: true, .. })).await;
    assert!(
        matches!(event, Event::RealServer { ref reason, .. } if reason.contains("slow_start")),
        "{event:?}"
    );
    bed.until("the whole weight", &[("10.0.0.1", 30), ("10.0.0.2", 30)]).await;
    let weights: Vec<u32> = bed
        .kernel
        .take_record()
        .iter()
        .filter_map(|op| match op {
            Op::NewDest(_, _, one) | Op::SetDest(_, _, one) => Some(one.weight),
            _ => None,
        })
        .collect();
    assert_eq!((weights.first(), weights.last()), (Some(&3), Some(&30)), "{weights:?}");
    assert!(weights.is_sorted(), "{weights:?}");
}

#[tokio::test]
async fn a_server_that_is_kept_is_told_of_by_its_checker_and_shown() {
    let mut bed = Bed::start(&text(&[1], "keep_at_least 1"), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.answers.set("10.0.0.1", 1);
    let event = bed.event("fails", |_| true).await;
    let Event::Checker { up: false, server_up: true, server_changed: false, reason, .. } = event else {
        panic!("{event:?}");
    };
    assert!(reason.ends_with("; the server is kept (keep_at_least 1)"), "{reason}");
    assert_eq!(bed.table().len(), 1);
    let shown = bed.director.status().await.expect("an answer").servers;
    assert!(shown[0].status.real_servers[0].kept);
}

#[tokio::test]
async fn what_no_checker_tells_of_has_a_cause_of_its_own() {
    let extra = "flap_damping 1 60 1";
    let damped = text(&[1], "").replace("weight 3", &format!("weight 3\n  {extra}"));
    let mut bed = Bed::start(&damped, Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    bed.answers.set("10.0.0.1", 1);
    bed.event("it fails", |event| down(event, 1)).await;
    bed.answers.set("10.0.0.1", 0);
    let event = bed.event("it holds out", |event| matches!(event, Event::RealServer { up: true, .. })).await;
    assert!(matches!(event, Event::RealServer { cause: Cause::Rule, .. }), "{event:?}");
}

/// A second process that starts with another configuration, then a third one with the first again.
#[tokio::test]
async fn what_an_earlier_process_knew_of_others_is_forgotten_at_the_start() {
    let saved = [(
        (
            ServiceId::Addr { protocol: lbd_ipvs::Protocol::Tcp, vip: "10.0.0.100:80".parse().unwrap() }
                .into(),
            "10.0.0.1:80".parse().unwrap(),
        ),
        crate::state_file::SavedServer { order: Some(Order::Drain.into()), ..Default::default() },
    )];
    let saved = Verdicts::from(saved);
    let bed = Bed::start(&text(&[2], ""), saved, &[]).await;
    assert_eq!(bed.remembered.lock().expect("lock").len(), 0, "the file says so no more");
}

fn order(action: ServerAction) -> ServerOrder {
    ServerOrder { virtual_server: "10.0.0.100:80".into(), real_server: "10.0.0.1".into(), action }
}

#[tokio::test]
async fn the_operator_steers_servers_over_reloads_and_restarts() {
    let mut bed = Bed::start(&text(&[1, 2], ""), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    let done = bed.director.operate(order(ServerAction::Drain)).await.expect("an answer").expect("done");
    assert_eq!(done.message, "it stays in the table with weight 0");
    bed.until("drained", &[("10.0.0.1", 0), ("10.0.0.2", 3)]).await;
    assert_eq!(bed.reload(&text(&[2, 1], "")).await, [], "kept over a reload");
    let saved = bed.remembered.lock().expect("lock").clone();
    let second = Bed::start(&text(&[1, 2], ""), saved, &[]).await;
    assert_eq!(second.table()["10.0.0.1"], 0, "and over a restart");
    bed.director.operate(order(ServerAction::Maint)).await.expect("an answer").expect("done");
    bed.until("out", &[("10.0.0.2", 3)]).await;
    let shown = bed.director.status().await.expect("an answer").servers;
    let real = &shown[0].status.real_servers[1];
    assert_eq!((real.order.as_deref(), real.state), (Some("maint"), RealServerState::Down));
    bed.director.operate(order(ServerAction::Weight { weight: 5 })).await.expect("an answer").expect("done");
    bed.until("weight", &[("10.0.0.1", 5), ("10.0.0.2", 3)]).await;
    bed.director.operate(order(ServerAction::Ready)).await.expect("an answer").expect("done");
    bed.until("ready", &[("10.0.0.1", 3), ("10.0.0.2", 3)]).await;
    assert_eq!(bed.remembered.lock().expect("lock").len(), 0, "nothing is to be remembered");
    let want = [
        "weight 10.0.0.1 3 0",
        "RS 10.0.0.1 down Operator",
        "weight 10.0.0.1 0 3",
        "RS 10.0.0.1 up Operator",
        "weight 10.0.0.1 3 5",
        "weight 10.0.0.1 5 3",
    ];
    assert_eq!(told(&mut bed, 6).await, want);
    let wrong = ServerOrder { real_server: "10.0.0.7".into(), ..order(ServerAction::Drain) };
    let error = bed.director.operate(wrong).await.expect("an answer").expect_err("no such server");
    assert!(error.contains("there is no real server in TCP 10.0.0.100:80 `10.0.0.7`"), "{error}");
}

/// Lets the fake kernel say how many connections the first server has; they are counted with the next round.
fn connected(bed: &Bed, active: u32) {
    let counters = lbd_ipvs::DestinationStats { active_connections: active, ..Default::default() };
    let service =
        ServiceId::Addr { protocol: lbd_ipvs::Protocol::Tcp, vip: "10.0.0.100:80".parse().unwrap() };
    let first: SocketAddr = "10.0.0.1:80".parse().unwrap();
    bed.kernel.kernel().counters.insert((service, first), counters);
}

#[tokio::test]
async fn a_server_that_leaves_the_file_waits_for_its_connections() {
    let mut bed = Bed::start(&text(&[1, 2], "drain_timeout 60"), Verdicts::new(), &[]).await;
    assert_eq!(told(&mut bed, 1).await, ["VS up Start"]);
    connected(&bed, 1);
    bed.reload(&text(&[2], "drain_timeout 60")).await;
    bed.until("it stays without new ones", &[("10.0.0.1", 0), ("10.0.0.2", 3)]).await;
    let shown = bed.director.status().await.expect("an answer");
    let leaving = &shown.leaving[0];
    assert_eq!(
        (leaving.virtual_server.as_str(), leaving.real_server.as_str()),
        ("TCP 10.0.0.100:80", "10.0.0.1:80")
    );
    assert_eq!(shown.servers[0].status.real_servers.len(), 1);
    // Another reload changes nothing for it.
    bed.reload(&text(&[2, 3], "drain_timeout 60")).await;
    bed.until("it stays", &[("10.0.0.1", 0), ("10.0.0.2", 3), ("10.0.0.3", 3)]).await;
    connected(&bed, 0);
    let left = bed.event("it leaves", |event| matches!(event, Event::Left { .. })).await;
    assert!(matches!(left, Event::Left { connections: 0, .. }), "{left:?}");
    bed.until("it is gone", &[("10.0.0.2", 3), ("10.0.0.3", 3)]).await;
    assert!(bed.director.status().await.expect("an answer").leaving.is_empty());
}

#[tokio::test]
async fn a_server_that_comes_back_while_it_leaves_serves_again() {
    let bed = Bed::start(&text(&[1, 2], "drain_timeout 60"), Verdicts::new(), &[]).await;
    connected(&bed, 1);
    bed.reload(&text(&[2], "drain_timeout 60")).await;
    bed.until("it leaves", &[("10.0.0.1", 0), ("10.0.0.2", 3)]).await;
    let ops = bed.reload(&text(&[1, 2], "drain_timeout 60")).await;
    assert!(matches!(&ops[..], [Op::SetDest(_, _, one)] if one.weight == 3), "{ops:?}");
    assert!(bed.director.status().await.expect("an answer").leaving.is_empty());
}

#[tokio::test]
async fn a_virtual_server_that_leaves_waits_too_and_no_longer_than_its_time() {
    let mut bed = Bed::start(&text(&[1], "drain_timeout 2"), Verdicts::new(), &[]).await;
    connected(&bed, 5);
    bed.reload("").await;
    bed.until("it stays", &[("10.0.0.1", 0)]).await;
    let left = bed.event("its time is over", |event| matches!(event, Event::Left { .. })).await;
    assert!(matches!(left, Event::Left { connections: 5, .. }), "{left:?}");
    bed.until("it is gone", &[]).await;
    assert!(bed.kernel.table().services.is_empty());
    // Without the keyword it goes at once.
    let bed = Bed::start(&text(&[1], ""), Verdicts::new(), &[]).await;
    connected(&bed, 5);
    bed.reload("").await;
    assert!(bed.kernel.table().services.is_empty());
}

#[tokio::test]
async fn a_server_that_leaves_goes_on_leaving_in_the_next_process() {
    let first = Bed::start(&text(&[1, 2], "drain_timeout 60"), Verdicts::new(), &[]).await;
    connected(&first, 1);
    first.reload(&text(&[2], "drain_timeout 60")).await;
    first.until("it leaves", &[("10.0.0.1", 0), ("10.0.0.2", 3)]).await;
    let saved = first.leaving.lock().expect("lock").clone();
    assert_eq!(saved.len(), 1);
    let owned: Owned = first
        .kernel
        .table()
        .services
        .into_iter()
        .map(|(id, entry)| (id, entry.destinations.into_keys().collect()))
        .collect();
    let next = |text: String, saved: Vec<SavedLeaving>| {
        let (kernel, owned) = (first.kernel.clone(), owned.clone());
        async move { Bed::resumed(kernel, owned, &text, (Verdicts::new(), saved), &[]).await }
    };
    first.kernel.take_record();
    let mut second = next(text(&[2], "drain_timeout 60"), saved.clone()).await;
    assert_eq!(second.kernel.take_record(), [], "nothing is touched");
    assert_eq!(second.director.status().await.expect("an answer").leaving.len(), 1);
    connected(&second, 0);
    second.event("it leaves", |event| matches!(event, Event::Left { .. })).await;
    second.until("it is gone", &[("10.0.0.2", 3)]).await;
    assert_eq!(second.leaving.lock().expect("lock").len(), 0, "and is forgotten");
    // Its time is over; it is configured again.
    let over = saved.iter().cloned().map(|one| SavedLeaving { until_ms: 0, ..one }).collect();
    let late = next(text(&[2], ""), over).await;
    assert!(late.director.status().await.expect("an answer").leaving.is_empty());
    let back = next(text(&[1, 2], ""), saved).await;
    back.until("it serves", &[("10.0.0.1", 3), ("10.0.0.2", 3)]).await;
    assert!(back.director.status().await.expect("an answer").leaving.is_empty());
}

/// Virtual servers of groups, with the same service and real servers.
fn groups(names: &[&str], servers: &[u8]) -> String {
    let reals: String =
        servers.iter().map(|last| format!("real_server 10.0.0.{last} 80 {{\nweight 3\n}}\n")).collect();
    let one = |name: &&str| {
        format!(
            "virtual_server_group {name} {{\n10.0.0.100 80\n}}\nvirtual_server group {name} {{\nprotocol TCP\nlb_algo rr\nlb_kind DR\n\
             drain_timeout 60\n{reals}}}\n"
        )
    };
    names.iter().map(one).collect()
}

#[tokio::test]
async fn what_another_virtual_server_drives_does_not_leave() {
    let serving = [("10.0.0.1", 3), ("10.0.0.2", 3)];
    let bed = Bed::start(&groups(&["web"], &[1, 2]), Verdicts::new(), &[]).await;
    connected(&bed, 1);
    assert_eq!(bed.reload(&groups(&["www"], &[1, 2])).await, [], "renamed");
    bed.reload(&groups(&["www", "zzz"], &[1, 2])).await;
    assert_eq!(bed.reload(&groups(&["zzz"], &[1, 2])).await, [], "one of two goes");
    let by_address = text(&[1, 2], "drain_timeout 60");
    bed.reload(&by_address).await;
    bed.until("by address", &serving).await;
    bed.reload(&groups(&["web"], &[1, 2])).await;
    bed.until("in a group again", &serving).await;
    assert!(bed.director.status().await.expect("an answer").leaving.is_empty());
    // One that the others do not have leaves.
    bed.reload(&(groups(&["web"], &[1, 2]) + &groups(&["abc"], &[2, 3]))).await;
    bed.reload(&groups(&["web"], &[1, 2])).await;
    bed.until("its own leaves", &[("10.0.0.1", 3), ("10.0.0.2", 3), ("10.0.0.3", 0)]).await;
    let leaving = bed.director.status().await.expect("an answer").leaving;
    assert_eq!(leaving.iter().map(|one| one.real_server.as_str()).collect::<Vec<_>>(), ["10.0.0.3:80"]);
    assert_eq!(bed.kernel.table().services.len(), 1);
}

#[tokio::test]
async fn many_virtual_servers_leave_in_time() {
    let server = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let reals: String = (1..=20).map(|last| format!("real_server 10.2.0.{last} 80 {{\n}}\n")).collect();
        format!(
            "virtual_server 10.1.{high}.{low} 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind DR\ndrain_timeout 60\n{reals}}}\n"
        )
    };
    let many: String = (0..1000).map(server).collect();
    let bed = Bed::start(&many, Verdicts::new(), &[]).await;
    // Ten seconds are the limit of an answer; all of it is one pass.
    bed.reload("").await;
    let leaving = bed.director.status().await.expect("an answer").leaving;
    assert_eq!((leaving.len(), bed.leaving.lock().expect("lock").len()), (20_000, 20_000));
}

#[tokio::test]
async fn a_plan_is_what_the_reload_does() {
    let bed = Bed::start(&text(&[1, 2, 3], ""), Verdicts::new(), &["10.0.0.3"]).await;
    bed.until("the dead one is out", &[("10.0.0.1", 3), ("10.0.0.2", 3)]).await;
    for (name, wanted, checks) in [
        ("the same", text(&[1, 2, 3], ""), (0, 0, 3)),
        ("one more", text(&[1, 2, 3, 4], ""), (1, 0, 3)),
        ("one less, and another weight", text(&[1, 3, 4], "").replace("weight 3", "weight 9"), (0, 1, 3)),
        ("drained", text(&[3, 4], "drain_timeout 60"), (0, 1, 2)),
        (
            "another scheduler",
            text(&[3, 4], "drain_timeout 60").replace("lb_algo rr", "lb_algo wlc"),
            (0, 0, 2),
        ),
        ("nothing", String::new(), (0, 2, 0)),
    ] {
        bed.kernel.take_record();
        let before = bed.kernel.table();
        let plan = bed.director.plan(Arc::new(config(&wanted))).await.expect("an answer");
        let settings = Settings::default();
        let preview = bed.owner.preview(plan.parts.clone(), settings).await.expect("a preview");
        assert_eq!(
            (bed.kernel.take_record(), bed.kernel.table()),
            (vec![], before),
            "{name}: nothing is done"
        );
        let got = (plan.checks.started, plan.checks.ended, plan.checks.kept + plan.checks.changed);
        assert_eq!(got, checks, "{name}: checks");
        assert_eq!(bed.reload(&wanted).await, preview.ops, "{name}");
    }
}

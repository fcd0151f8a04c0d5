//! A slow and obvious model of a pool, written apart from it, and the property that both agree.
//!
//! The model keeps what was ever said of each server and works out everything anew from that, with plain
//! loops over plain numbers; its clock counts milliseconds.

use lbd_grammar::config::FlapDamping;
use proptest::prelude::*;
use proptest::test_runner::Config as Runner;

use super::rules::{address, real_server, sorry_server, virtual_server};
use super::*;

/// A server as the model's configuration has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Given {
    number: u8,
    weight: u32,
    inhibit: bool,
    /// Seconds; 0 is off.
    slow: u64,
    /// Changes, seconds and hold in seconds; no changes is off.
    damping: (u64, u64, u64),
}

#[derive(Clone, Debug)]
struct Setting {
    quorum: u32,
    hysteresis: u32,
    keep: u32,
    /// Number and inhibit.
    sorry: Option<(u8, bool)>,
    servers: Vec<Given>,
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Verdict { pick: usize, good: bool },
    Weight { pick: usize, weight: u32 },
    Command { pick: usize, order: Option<Order> },
    Time { ms: u64 },
    Reload(Setting),
}

/// All that the model remembers of a server.
#[derive(Clone, Debug)]
struct History {
    good: bool,
    weight: u32,
    order: Option<Order>,
    /// Each time it went down.
    downs: Vec<u64>,
    /// Held out, and since when it has been up again.
    damped: bool,
    up_since: u64,
    /// The number of its last failure while it fails.
    failed: Option<u64>,
    /// It was out for a reason since it last served.
    was_out: bool,
    serves: bool,
    /// When it came back slowly.
    slow_since: Option<u64>,
}

struct Model {
    ms: u64,
    setting: Setting,
    histories: BTreeMap<u8, History>,
    quorum: bool,
    failures: u64,
}

impl Model {
    fn new(setting: Setting) -> Self {
        let mut model = Model { ms: 0, setting, histories: BTreeMap::new(), quorum: false, failures: 0 };
        model.add_servers();
        model.work();
        model
    }

    fn add_servers(&mut self) {
        for given in &self.setting.servers {
            self.histories.entry(given.number).or_insert(History {
                good: true,
                weight: given.weight,
                order: None,
                downs: Vec::new(),
                damped: false,
                up_since: 0,
                failed: None,
                was_out: false,
                serves: false,
                slow_since: None,
            });
        }
    }

    fn number(&self, pick: usize) -> Option<u8> {
        let servers = &self.setting.servers;
        servers.get(pick % servers.len().max(1)).map(|given| given.number)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Verdict { pick, good } => {
                let Some(number) = self.number(*pick) else { return };
                let given = *self.setting.servers.iter().find(|one| one.number == number).expect("it");
                let history = self.histories.get_mut(&number).expect("a history");
                let (changes, within, _) = given.damping;
                if history.good && !good {
                    self.failures += 1;
                    history.failed = Some(self.failures);
                    if changes > 0 {
                        history.downs.push(self.ms);
                        let recent =
                            history.downs.iter().filter(|down| self.ms - **down <= within * 1000).count();
                        history.damped |= u64::try_from(recent).expect("a count") >= changes;
                    }
                } else if !history.good && *good {
                    history.failed = None;
                    history.up_since = self.ms;
                }
                history.good = *good;
            }
            Step::Weight { pick, weight } => {
                let Some(number) = self.number(*pick) else { return };
                self.histories.get_mut(&number).expect("a history").weight = *weight;
            }
            Step::Command { pick, order } => {
                let Some(number) = self.number(*pick) else { return };
                self.histories.get_mut(&number).expect("a history").order = *order;
            }
            Step::Time { ms } => self.ms += ms,
            Step::Reload(setting) => {
                self.setting = setting.clone();
                let numbers: Vec<u8> = setting.servers.iter().map(|one| one.number).collect();
                self.histories.retain(|number, _| numbers.contains(number));
                self.add_servers();
                for given in &setting.servers {
                    let history = self.histories.get_mut(&given.number).expect("a history");
                    history.weight = given.weight;
                    if given.damping.0 == 0 {
                        history.damped = false;
                        history.downs.clear();
                    }
                    if given.slow == 0 {
                        history.slow_since = None;
                    }
                }
            }
        }
        self.work();
    }

    fn held(&self, given: &Given) -> bool {
        let history = &self.histories[&given.number];
        history.good && history.damped && self.ms < history.up_since + given.damping.2 * 1000
    }

    fn sound(&self, given: &Given) -> bool {
        self.histories[&given.number].good && !self.held(given)
    }

    fn counted(&self, given: &Given) -> u32 {
        let history = &self.histories[&given.number];
        match history.order {
            Some(Order::Drain) => 0,
            Some(Order::Weight(weight)) => weight,
            _ => history.weight,
        }
    }

    fn takes(&self, given: &Given) -> bool {
        self.histories[&given.number].order != Some(Order::Maint) && self.counted(given) > 0
    }

    /// Is it one of those that keep_at_least keeps?
    fn kept(&self, given: &Given) -> bool {
        let servers = &self.setting.servers;
        let sound = servers.iter().filter(|one| self.takes(one) && self.sound(one)).count();
        if self.sound(given) || !self.takes(given) || self.rank(given).is_none() {
            return false;
        }
        let before = servers
            .iter()
            .filter(|one| self.takes(one) && !self.sound(one) && self.rank(one) > self.rank(given))
            .count();
        sound + before < usize::try_from(self.setting.keep).expect("a count")
    }

    /// Which one of those out is the first to be kept: the greatest.
    fn rank(&self, given: &Given) -> Option<(bool, u64, usize)> {
        let place = self.setting.servers.iter().position(|one| one == given)?;
        if self.held(given) {
            return Some((true, 0, place));
        }
        self.histories[&given.number].failed.map(|number| (false, number, place))
    }

    fn work(&mut self) {
        let servers = self.setting.servers.clone();
        for given in &servers {
            let (held, ms) = (self.held(given), self.ms);
            let history = self.histories.get_mut(&given.number).expect("a history");
            if history.good && history.damped && !held {
                history.damped = false;
                history.downs.clear();
            }
            if history.slow_since.is_some_and(|since| ms >= since + given.slow * 1000) {
                history.slow_since = None;
            }
        }
        let kept: Vec<bool> = servers.iter().map(|given| self.kept(given)).collect();
        let sound: Vec<bool> = servers.iter().map(|given| self.sound(given)).collect();
        for ((given, kept), sound) in servers.iter().zip(kept).zip(sound) {
            let ms = self.ms;
            let history = self.histories.get_mut(&given.number).expect("a history");
            let maint = history.order == Some(Order::Maint);
            let serves = !maint && (sound || kept);
            if !history.serves && serves {
                history.slow_since = (history.was_out && !kept && given.slow > 0).then_some(ms);
                history.was_out = false;
            }
            if !serves {
                history.slow_since = None;
                history.was_out |= maint || !history.good;
            }
            history.serves = serves;
        }
        let live = self.live();
        let (quorum, hysteresis) = (u64::from(self.setting.quorum), u64::from(self.setting.hysteresis));
        self.quorum = match self.quorum {
            false => live >= quorum + hysteresis,
            true => live != 0 && live >= quorum - hysteresis,
        };
    }

    fn live(&self) -> u64 {
        let serving = self.setting.servers.iter().filter(|one| self.histories[&one.number].serves);
        serving.map(|given| u64::from(self.counted(given))).sum()
    }

    fn table(&self) -> BTreeMap<SocketAddr, u32> {
        let mut table = BTreeMap::new();
        let sorry = if self.quorum { None } else { self.setting.sorry };
        for given in &self.setting.servers {
            let history = &self.histories[&given.number];
            let mut weight = self.counted(given);
            if let Some(since) = history.slow_since {
                let tenths = 1 + (self.ms - since) * 9 / (given.slow * 1000);
                weight = u32::try_from(u64::from(weight) * tenths.min(10) / 10)
                    .expect("a weight")
                    .max(weight.min(1));
            }
            let entry = if history.order == Some(Order::Maint) {
                None
            } else if history.serves && history.order == Some(Order::Drain) {
                Some(0)
            } else if history.serves && sorry.is_none() {
                Some(weight)
            } else if given.inhibit {
                Some(0)
            } else {
                None
            };
            if let Some(weight) = entry {
                table.insert(address(given.number), weight);
            }
        }
        match (sorry, self.setting.sorry) {
            (Some((number, _)), _) => {
                table.insert(address(number), 1);
            }
            (None, Some((number, true))) => {
                table.entry(address(number)).or_insert(0);
            }
            _ => {}
        }
        table
    }
}

fn configuration(setting: &Setting) -> Arc<VirtualServer> {
    let servers = setting.servers.iter().map(|given| {
        let (changes, within, hold) = given.damping;
        lbd_grammar::config::RealServer {
            inhibit_on_failure: given.inhibit,
            slow_start: Duration::from_secs(given.slow),
            flap_damping: (changes > 0).then(|| FlapDamping {
                changes: u32::try_from(changes).expect("a count"),
                within: Duration::from_secs(within),
                hold: Duration::from_secs(hold),
            }),
            ..real_server(given.number, given.weight)
        }
    });
    let server = VirtualServer {
        quorum: setting.quorum,
        hysteresis: setting.hysteresis,
        keep_at_least: setting.keep,
        drain_timeout: Duration::ZERO,
        sorry_server: setting.sorry.map(|(number, inhibit)| sorry_server(number, inhibit)),
        ..virtual_server(servers.collect())
    };
    Arc::new(server)
}

/// The pool does what the steps say, and after each of them is as the model is.
fn agree(first: Setting, steps: &[Step]) -> Result<(), TestCaseError> {
    let begin = Instant::now();
    let config = configuration(&first);
    let up = |weight| Standing { alive: true, failed: false, weight };
    let standings: Vec<Standing> = first.servers.iter().map(|given| up(given.weight)).collect();
    let mut pool = Pool::new(begin, config, &standings, &[]).0;
    let mut model = Model::new(first);
    same(&pool, &model)?;
    for step in steps {
        let (before, quorum) = (pool.wanted(), pool.has_quorum());
        // Whatever is due by then has its tick in time, as the actor sees to it.
        if let Step::Time { ms } = step {
            let target = model.ms + ms;
            let mut now = begin + Duration::from_millis(model.ms);
            while let Some(due) =
                pool.deadline(now).filter(|due| *due <= begin + Duration::from_millis(target))
            {
                prop_assert!(due > now, "a deadline in the past");
                now = due;
                pool.tick(due);
                let ms = u64::try_from((due - begin).as_millis()).expect("milliseconds");
                model.step(&Step::Time { ms: ms.saturating_sub(model.ms) });
                let whole = (due - begin).as_nanos().is_multiple_of(1_000_000);
                if whole {
                    same(&pool, &model)?;
                }
            }
            model.step(&Step::Time { ms: target - model.ms });
            pool.tick(begin + Duration::from_millis(target));
            same(&pool, &model)?;
            continue;
        }
        let now = begin + Duration::from_millis(model.ms);
        let index = |pick: usize| pick % model.setting.servers.len().max(1);
        let changes = match step {
            Step::Verdict { pick, good } => {
                let index = index(*pick);
                let standing = pool.standing(index).expect("a server");
                pool.update(now, index, Standing { alive: *good, failed: !good, ..standing })
            }
            Step::Weight { pick, weight } => {
                let index = index(*pick);
                let standing = pool.standing(index).expect("a server");
                pool.update(now, index, Standing { weight: *weight, ..standing })
            }
            Step::Command { pick, order } => pool.order(now, index(*pick), *order),
            Step::Reload(setting) => {
                let old = pool.config().clone();
                let known = |number: u8| {
                    let place = old.real_servers.iter().position(|one| one.address == address(number));
                    place.and_then(|index| pool.standing(index))
                };
                let standings: Vec<Standing> = setting
                    .servers
                    .iter()
                    .map(|given| Standing { weight: given.weight, ..known(given.number).unwrap_or(up(0)) })
                    .collect();
                pool.reconfigure(now, configuration(setting), &standings)
            }
            Step::Time { .. } => Changes::default(),
        };
        model.step(step);
        same(&pool, &model)?;
        let told = changes.list.iter().filter(|change| matches!(change, Change::Quorum(_))).count();
        prop_assert_eq!(told == 1, pool.has_quorum() != quorum, "the quorum's changes are told");
        prop_assert!(changes.table || pool.wanted() == before, "a changed table is said to be");
    }
    Ok(())
}

fn same(pool: &Pool, model: &Model) -> Result<(), TestCaseError> {
    let wanted = pool.wanted().destinations;
    let table: BTreeMap<SocketAddr, u32> =
        wanted.iter().map(|(address, one)| (*address, one.weight)).collect();
    prop_assert_eq!(table, model.table(), "the table");
    prop_assert_eq!(pool.has_quorum(), model.quorum, "the quorum");
    prop_assert_eq!(pool.alive_weight(), model.live(), "the live weight");
    Ok(())
}

fn setting(own: bool) -> impl Strategy<Value = Setting> {
    let damping = prop_oneof![2 => Just((0, 0, 0)), 1 => (1_u64..4, 1_u64..9, 1_u64..9)];
    let given = (1_u8..7, 0_u32..12, any::<bool>(), prop_oneof![Just(0_u64), 1_u64..12], damping);
    let servers = proptest::collection::vec(given, 1..6).prop_map(move |rows| {
        let mut seen = Vec::new();
        let servers = rows.into_iter().map(|(number, weight, inhibit, slow, damping)| match own {
            true => Given { number, weight, inhibit, slow, damping },
            false => Given { number, weight, inhibit, slow: 0, damping: (0, 0, 0) },
        });
        servers
            .filter(|given| {
                let new = !seen.contains(&given.number);
                seen.push(given.number);
                new
            })
            .collect::<Vec<_>>()
    });
    let sorry = proptest::option::of((prop_oneof![Just(9_u8), 1_u8..7], any::<bool>()));
    (1_u32..12, 0_u32..5, 0_u32..4, sorry, servers.prop_shuffle()).prop_map(
        move |(quorum, hysteresis, keep, sorry, servers)| Setting {
            quorum,
            hysteresis: hysteresis.min(quorum - 1),
            keep: if own { keep } else { 0 },
            sorry,
            servers,
        },
    )
}

fn step(own: bool) -> impl Strategy<Value = Step> {
    let pick = 0_usize..8;
    let order = prop_oneof![
        Just(None),
        Just(Some(Order::Drain)),
        Just(Some(Order::Maint)),
        (0_u32..12).prop_map(|weight| Some(Order::Weight(weight))),
    ];
    prop_oneof![
        6 => (pick.clone(), any::<bool>()).prop_map(|(pick, good)| Step::Verdict { pick, good }),
        2 => (pick.clone(), 0_u32..12).prop_map(|(pick, weight)| Step::Weight { pick, weight }),
        2 => (pick, order).prop_map(|(pick, order)| Step::Command { pick, order }),
        3 => prop_oneof![0_u64..400, 0_u64..6000].prop_map(|ms| Step::Time { ms }),
        1 => setting(own).prop_map(Step::Reload),
    ]
}

fn runner() -> Runner {
    Runner { cases: 2000, failure_persistence: None, ..Runner::default() }
}

proptest! {
    #![proptest_config(runner())]

    #[test]
    fn a_pool_is_as_keepalived_rules_say(
        first in setting(false), steps in proptest::collection::vec(step(false), 0..40),
    ) {
        agree(first, &steps)?;
    }

    #[test]
    fn a_pool_with_own_keywords_is_as_they_say(
        first in setting(true), steps in proptest::collection::vec(step(true), 0..40),
    ) {
        agree(first, &steps)?;
    }
}

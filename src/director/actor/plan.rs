//! What a reload would make of the virtual servers: wanted parts and checks, without touching anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use lbd_grammar::config::{Config, VirtualServer, VirtualServerId};
use lbd_health::{ServerState, Tools};

use super::leaving::{Driver, Leavers};
use super::{Checker, Director, Managed, Server, fresh_start, matched, now, served, standing_of};
use crate::control::plan::ChecksPlan;
use crate::director::owner::{Part, PartId};
use crate::director::parts::{self, Services, Shared};
use crate::director::pool::Pool;

/// What would change.
#[derive(Clone, Debug, Default)]
pub struct DirectorPlan {
    /// Parts that would be others.
    pub parts: Vec<(PartId, Option<Part>)>,
    /// Checks.
    pub checks: ChecksPlan,
    /// Destinations that would stay with weight 0 for their connections (drain_timeout).
    pub draining: usize,
}

impl Director {
    /// What [`Director::apply`] would do with `config`.
    pub(super) fn plan(&self, config: &Config) -> DirectorPlan {
        let running =
            self.services.iter().map(|managed| (managed.pool.config().id.clone(), managed)).collect();
        plan(config, &running, &self.leaving, &self.options.tools)
    }
}

/// What a first start would want: without virtual servers that run.
pub fn plan_start(config: &Config, tools: &Tools) -> DirectorPlan {
    plan(config, &HashMap::new(), &Leavers::default(), tools)
}

fn plan(
    config: &Config,
    running: &HashMap<VirtualServerId, &Managed>,
    leaving: &Leavers,
    tools: &Tools,
) -> DirectorPlan {
    let now = now();
    let mut plan = DirectorPlan::default();
    let mut leaving = leaving.clone();
    let (already, left_before) = (leaving.count(), leaving.servers());
    let mut rest: HashMap<&VirtualServerId, &&Managed> = running.iter().collect();
    let mut wanted: BTreeMap<PartId, Option<Part>> = BTreeMap::new();
    let services: Vec<Services> =
        config.virtual_servers.iter().map(|server| parts::services(&server.id, config)).collect();
    let shared = parts::shared(config, &services);
    for (server, driven) in config.virtual_servers.iter().zip(services.iter().zip(&shared)) {
        let managed = rest.remove(&server.id).copied();
        let before = managed.map(|managed| managed.part()).unwrap_or_default();
        let after = of_server(&mut plan.checks, server, driven, managed, tools, now);
        leaving.add(&server.id, (&before, &after), server.drain_timeout, now);
        if managed.is_none() || after != before || left_before.contains(&server.id) {
            wanted.insert(server.id.clone(), Some(after));
        }
    }
    for (id, managed) in rest {
        plan.checks.ended += managed.servers.iter().map(|server| server.checkers.len()).sum::<usize>();
        leaving.add(id, (&managed.part(), &Part::new()), managed.pool.config().drain_timeout, now);
        wanted.insert(id.clone(), None);
    }
    let drivers = config.virtual_servers.iter().zip(services.iter().zip(&shared));
    leaving.settle(drivers.map(|(config, (services, shared))| Driver { config, services, shared }));
    for id in left_before.into_iter().chain(leaving.servers()) {
        wanted.entry(id).or_insert(None);
    }
    plan.draining = leaving.count().saturating_sub(already);
    plan.parts = wanted
        .into_iter()
        .map(|(id, part)| {
            let part = leaving.with(&id, part.unwrap_or_default());
            (id, (!part.is_empty()).then_some(part))
        })
        .collect();
    plan
}

/// The part that a virtual server would want.
fn of_server(
    checks_plan: &mut ChecksPlan,
    server: &Arc<VirtualServer>,
    (services, shared): (&Services, &Shared),
    managed: Option<&Managed>,
    tools: &Tools,
    now: Instant,
) -> Part {
    let old: HashMap<_, &Server> =
        managed.into_iter().flat_map(|managed| &managed.servers).map(|one| (one.address, one)).collect();
    let mut standings = Vec::with_capacity(server.real_servers.len());
    for real in &server.real_servers {
        let checks = served(&real.checks);
        let old = old.get(&real.address);
        let was_up = old.is_some_and(|old| old.state.checkers().iter().all(|view| view.up));
        let mut kept: Vec<(&Checker, _)> = old
            .map(|old| old.checkers.iter().zip(old.state.checkers().iter().copied()).collect())
            .unwrap_or_default();
        let mut views = Vec::with_capacity(checks.len());
        for (check, same) in checks.iter().zip(matched(&checks, &mut kept, |(checker, _)| &checker.check)) {
            match same {
                Some((checker, view)) => {
                    if checker.check == *check {
                        checks_plan.kept += 1
                    } else {
                        checks_plan.changed += 1
                    }
                    views.push(view);
                }
                None => {
                    checks_plan.started += 1;
                    views.push(fresh_start(check, was_up, tools).view());
                }
            }
        }
        checks_plan.ended += kept.len();
        standings.push(standing_of(&ServerState::resume(views), real));
    }
    let gone = old.values().filter(|one| !server.real_servers.iter().any(|real| real.address == one.address));
    checks_plan.ended += gone.map(|one| one.checkers.len()).sum::<usize>();
    let wanted = match managed {
        None => Pool::new(now, server.clone(), &standings, &[]).0.wanted(),
        Some(managed) => {
            let mut pool = managed.pool.clone();
            let _untold = pool.reconfigure(now, server.clone(), &standings);
            pool.wanted()
        }
    };
    parts::part(services, shared, wanted)
}

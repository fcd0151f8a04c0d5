//! What a reload would make of the virtual servers: wanted parts and checks, without touching anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use lbd_grammar::config::{Config, VirtualServer, VirtualServerId};
use lbd_health::{ServerState, Tools};

use super::{Checker, Director, Managed, Server, fresh_start, leaving, matched, now, served, standing_of};
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
        let mut plan = plan(config, &running, &self.options.tools);
        // What leaves already goes on leaving.
        for (id, part) in &mut plan.parts {
            let with = leaving::with(&self.leaving, id, part.take().unwrap_or_default());
            *part = (!with.is_empty()).then_some(with);
        }
        plan
    }
}

/// What a first start would want: without virtual servers that run.
pub fn plan_start(config: &Config, tools: &Tools) -> DirectorPlan {
    plan(config, &HashMap::new(), tools)
}

fn plan(config: &Config, running: &HashMap<VirtualServerId, &Managed>, tools: &Tools) -> DirectorPlan {
    let now = now();
    let mut plan = DirectorPlan::default();
    let mut rest: HashMap<&VirtualServerId, &&Managed> = running.iter().collect();
    let services: Vec<Services> =
        config.virtual_servers.iter().map(|server| parts::services(&server.id, config)).collect();
    let shared = parts::shared(config, &services);
    for (server, driven) in config.virtual_servers.iter().zip(services.iter().zip(&shared)) {
        let managed = rest.remove(&server.id).copied();
        of_server(&mut plan, server, driven, managed, tools, now);
    }
    for (id, managed) in rest {
        plan.checks.ended += managed.servers.iter().map(|server| server.checkers.len()).sum::<usize>();
        let before = managed.part();
        let limit = managed.pool.config().drain_timeout;
        let left = leaving::left(id, (&before, &Part::new()), |_, _| true, limit, now);
        plan.draining += left.len();
        let part = leaving::with(&left, id, Part::new());
        plan.parts.push((id.clone(), (!part.is_empty()).then_some(part)));
    }
    plan
}

fn of_server(
    plan: &mut DirectorPlan,
    server: &Arc<VirtualServer>,
    (services, shared): (&Services, &Shared),
    managed: Option<&Managed>,
    tools: &Tools,
    now: Instant,
) {
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
                        plan.checks.kept += 1
                    } else {
                        plan.checks.changed += 1
                    }
                    views.push(view);
                }
                None => {
                    plan.checks.started += 1;
                    views.push(fresh_start(check, was_up, tools).view());
                }
            }
        }
        plan.checks.ended += kept.len();
        standings.push(standing_of(&ServerState::resume(views), real));
    }
    let gone = old.values().filter(|one| !server.real_servers.iter().any(|real| real.address == one.address));
    plan.checks.ended += gone.map(|one| one.checkers.len()).sum::<usize>();
    let Some(managed) = managed else {
        let (pool, _) = Pool::new(now, server.clone(), &standings, &[]);
        plan.parts.push((server.id.clone(), Some(parts::part(services, shared, pool.wanted()))));
        return;
    };
    let mut pool = managed.pool.clone();
    let _untold = pool.reconfigure(now, server.clone(), &standings);
    let (before, after) = (managed.part(), parts::part(services, shared, pool.wanted()));
    let stays = leaving::configured(server, services);
    let gone = |id: &_, address: &_| !stays(id, address);
    let left = leaving::left(&server.id, (&before, &after), gone, server.drain_timeout, now);
    plan.draining += left.len();
    let after = leaving::with(&left, &server.id, after);
    if after != before {
        plan.parts.push((server.id.clone(), Some(after)));
    }
}

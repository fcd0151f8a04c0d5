//! Sync groups: virtual routers that are master together or not at all.
//!
//! Here: who is of which group, what members mean for each other, a group's state. Pure functions of the
//! members. Not here: what a member does (`router`).

use std::sync::Arc;

use crate::router::{Fault, Router, Situation};
use crate::types::{GroupConfig, InstanceConfig, Priority, State};

/// A group at work.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) config: GroupConfig,
    /// Places of its members among the routers.
    pub(super) members: Vec<usize>,
    pub(super) state: State,
}

impl Group {
    /// Configuration.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// State, told after its members'.
    pub fn state(&self) -> State {
        self.state
    }
}

/// The groups of `wanted` that have members among `configs`, with their places.
pub(super) fn groups(
    wanted: Vec<GroupConfig>,
    configs: &[Arc<InstanceConfig>],
    before: &[Group],
) -> Vec<Group> {
    let place = |name: &Arc<str>| configs.iter().position(|config| config.name == *name);
    let group = |config: GroupConfig| {
        let members: Vec<usize> = config.members.iter().filter_map(place).collect();
        let known = before.iter().find(|group| group.config.name == config.name);
        let state = known.map_or(State::Initialize, |group| group.state);
        (!members.is_empty()).then_some(Group { config, members, state })
    };
    wanted.into_iter().filter_map(group).collect()
}

/// Whether a member of `group` begins as master: only if all of them own their addresses.
pub(super) fn begins_as_master(group: &Group, configs: &[Arc<InstanceConfig>]) -> bool {
    let mut members = group.members.iter().filter_map(|at| configs.get(*at));
    members.all(|config| config.priority == Priority::OWNER)
}

/// Gives each member the faults of the others.
pub(super) fn share_faults(group: &Group, configs: &[Arc<InstanceConfig>], situations: &mut [Situation]) {
    let mut found: Vec<(usize, Fault)> = Vec::new();
    for at in &group.members {
        let (Some(situation), Some(config)) = (situations.get(*at), configs.get(*at)) else { continue };
        let name = Arc::clone(&config.name);
        if situation.faults.is_empty() {
            continue;
        }
        let fault = if situation.waits_only() { Fault::MemberWaits(name) } else { Fault::Member(name) };
        found.push((*at, fault));
    }
    for at in &group.members {
        let Some(situation) = situations.get_mut(*at) else { continue };
        let of_others = found.iter().filter(|(of, _)| of != at).map(|(_, fault)| fault.clone());
        situation.faults.extend(of_others);
        situation.faults.sort();
    }
}

/// The order in which the routers hear of their situations: that of the configuration, but whose fault begins or
/// ends that of its group goes first, and the group with it (as keepalived has it).
pub(super) fn order(
    groups: &[Group],
    group_of: &[Option<usize>],
    routers: &[Router],
    situations: &[Situation],
) -> Vec<usize> {
    let causes: Vec<Option<usize>> = groups.iter().map(|group| cause(group, routers, situations)).collect();
    let mut order = Vec::with_capacity(situations.len());
    for place in 0..situations.len() {
        let at = group_of.get(place).copied().flatten();
        let first = at.and_then(|at| causes.get(at).copied().flatten());
        match (first, at.and_then(|at| groups.get(at))) {
            (Some(first), Some(group)) if first == place => {
                order.push(place);
                order.extend(group.members.iter().copied().filter(|member| *member != place));
            }
            (Some(_), Some(_)) => {}
            _ => order.push(place),
        }
    }
    order
}

/// The first member of a group that goes into FAULT that has a fault of its own, the last one that had one of a
/// group that comes out of it.
fn cause(group: &Group, routers: &[Router], situations: &[Situation]) -> Option<usize> {
    let before = |at: &usize| routers.get(*at).map(Router::faults).unwrap_or_default();
    let after = |at: &usize| situations.get(*at).map(|one| one.faults.as_slice()).unwrap_or_default();
    let mut members = group.members.iter();
    let began = |fault: &Fault| fault.is_own() && !fault.waits();
    if group.members.iter().all(|at| after(at).is_empty()) {
        return members.rfind(|at| before(at).iter().any(Fault::is_own)).copied();
    }
    if group.members.iter().any(|at| before(at).iter().any(began)) {
        return None;
    }
    members.find(|at| after(at).iter().any(began)).copied()
}

/// Whether another member than the one at `place` is master.
pub(super) fn other_master(group: &Group, place: usize, routers: &[Router]) -> bool {
    let mut others = group.members.iter().filter(|at| **at != place).filter_map(|at| routers.get(*at));
    others.any(|router| router.state() == State::Master)
}

/// Whether all members are master or would be.
pub(super) fn all_wish(group: &Group, routers: &[Router]) -> bool {
    let mut members = group.members.iter().filter_map(|at| routers.get(*at));
    members.all(|router| router.state() == State::Master || router.wishes())
}

/// The state that the members make: `None` while they are on their way.
pub(super) fn state(group: &Group, routers: &[Router]) -> Option<State> {
    let mut states = group.members.iter().filter_map(|at| routers.get(*at)).map(Router::state);
    let first = states.next()?;
    states.all(|state| state == first).then_some(first)
}

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

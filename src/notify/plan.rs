//! Which scripts an event runs.
//!
//! Here: what a configuration says of the object that an event names, and its scripts. Pure. Not here:
//! order and running (`queue`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use lbd_grammar::config::{Config, RealServer, VirtualServer, VirtualServerId, VrrpNotify};
use lbd_health::ScriptId;
use lbd_vrrp::{Identity, State};

use super::line::{Facts, way};
use crate::event::{Cause, Event};

/// What scripts are run for, one after the other for the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// vrrp_instance
    Instance(Arc<str>),
    /// vrrp_sync_group
    Group(Arc<str>),
    /// real_server of a virtual_server
    Server(VirtualServerId, SocketAddr),
    /// virtual_server
    Service(VirtualServerId),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Instance(name) => write!(f, "vrrp_instance {name}"),
            Object::Group(name) => write!(f, "vrrp_sync_group {name}"),
            Object::Server(service, address) => write!(f, "real_server {address} of {service}"),
            Object::Service(service) => write!(f, "virtual_server {service}"),
        }
    }
}

/// One run of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The program.
    pub script: ScriptId,
    /// Appended to its arguments.
    pub extra: Vec<String>,
    /// Time after which it is ended.
    pub limit: Duration,
    /// What it is told, in the word of FIFO lines.
    pub state: &'static str,
    /// It tells of the stop: what still runs must not keep it from being run.
    pub last: bool,
}

impl Job {
    /// It tells of something that may come again and again, and of no state.
    pub fn is_remark(&self) -> bool {
        self.state == LOWER_PRIORITY
    }
}

/// What a master is told that heard a router of a lower priority.
pub const LOWER_PRIORITY: &str = "MASTER_RX_LOWER_PRI";

/// Without notify_script_timeout: a script that takes longer is ended. keepalived never waits for them, so
/// that they overlap and overtake each other; here they run in order, and none may hold up the next one for
/// ever.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Scripts that announce the stop get this much, as from keepalived.
pub const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Scripts by object, of the running configuration and the one before.
#[derive(Debug, Default)]
pub struct Plans {
    now: Plan,
    before: Plan,
    /// State and effective priority of virtual routers as they were told.
    states: HashMap<Arc<str>, (State, u8)>,
    /// States of sync groups as they were told.
    group_states: HashMap<Arc<str>, State>,
    down: HashSet<(VirtualServerId, SocketAddr)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    /// In the order of the file.
    instances: IndexMap<Arc<str>, Instance>,
    /// In the order of the file.
    groups: IndexMap<Arc<str>, Group>,
    services: HashMap<VirtualServerId, Arc<VirtualServer>>,
    /// Places among the virtual servers of the same group.
    sequences: HashMap<VirtualServerId, usize>,
    /// fifo_write_vrrp_states_on_reload
    states_on_reload: bool,
    /// log_unknown_vrids
    log_unknown_vrids: bool,
    /// notify_script_timeout
    limit: Duration,
}

#[derive(Clone, Debug, PartialEq)]
struct Instance {
    /// By which a reload knows it.
    identity: Identity,
    notify: VrrpNotify,
    tells_deleted: bool,
    tells_priority: bool,
    mail: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Group {
    notify: VrrpNotify,
    mail: bool,
}

impl Plan {
    fn new(config: &Config) -> Self {
        let instances = config.vrrp_instances.iter().map(|one| {
            let instance = Instance {
                identity: Identity::of(&one.router),
                notify: one.notify.clone(),
                tells_deleted: one.tells_deleted,
                tells_priority: one.tells_priority,
                mail: one.mail,
            };
            (one.router.name.clone(), instance)
        });
        let groups = config.sync_groups.iter().map(|(name, one)| {
            let group = Group { notify: one.notify.clone(), mail: one.mail };
            (name.clone(), group)
        });
        let mut of_groups: HashMap<Arc<str>, usize> = HashMap::new();
        let mut sequences = HashMap::new();
        for server in &config.virtual_servers {
            if let VirtualServerId::Group(key) = &server.id {
                let next = of_groups.entry(key.group.clone()).or_default();
                sequences.insert(server.id.clone(), *next);
                *next += 1;
            }
        }
        Plan {
            instances: instances.collect(),
            groups: groups.collect(),
            services: config.virtual_servers.iter().map(|one| (one.id.clone(), one.clone())).collect(),
            sequences,
            states_on_reload: config.global.fifos.states_on_reload,
            log_unknown_vrids: config.global.vrrp.log_unknown_vrids,
            limit: config.global.notify_timeout.unwrap_or(LIMIT),
        }
    }

    fn server(&self, service: &VirtualServerId, address: SocketAddr) -> Option<&RealServer> {
        self.services.get(service)?.real_servers.iter().find(|real| real.address == address)
    }
}

impl Plans {
    /// Takes a configuration; the one before it stays for objects that are gone.
    pub fn update(&mut self, config: &Config) {
        let plan = Plan::new(config);
        // Told twice of the same configuration, the one before is still the one before.
        if plan != self.now {
            self.follow_names(&plan);
            self.before = std::mem::replace(&mut self.now, plan);
        }
        let now = &self.now;
        self.down.retain(|(service, address)| now.server(service, *address).is_some());
    }

    /// Virtual routers that a reload gives another name keep what was told of them.
    fn follow_names(&mut self, plan: &Plan) {
        let now = &self.now.instances;
        let left = |name: &Arc<str>, one: &Instance| {
            plan.instances.get(name).is_none_or(|kept| kept.identity != one.identity)
        };
        let named_anew = plan
            .instances
            .iter()
            .filter(|(name, one)| now.get(*name).is_none_or(|old| old.identity != one.identity));
        let moved: Vec<_> = named_anew
            .filter_map(|(name, one)| {
                let was = |(old, other): &(&Arc<str>, &Instance)| {
                    other.identity == one.identity && left(old, other)
                };
                let (old, _) = now.iter().find(was)?;
                Some((name.clone(), old.clone(), *self.states.get(old)?))
            })
            .collect();
        for (_, old, _) in &moved {
            self.states.remove(old);
        }
        self.states.extend(moved.into_iter().map(|(name, _, state)| (name, state)));
    }

    /// What is known besides the event. To be asked before [`jobs`](Self::jobs), which notes what is new.
    pub fn facts(&self, event: &Event) -> Facts {
        match event {
            Event::Vrrp { instance, .. }
            | Event::VrrpStopped { instance, .. }
            | Event::VrrpLowerPriority { instance, .. }
            | Event::VrrpPriority { instance, .. } => {
                let removed = matches!(event, Event::VrrpStopped { deleted: true, .. });
                let known = if removed { self.removed(instance) } else { self.instance(instance) };
                Facts {
                    state: self.states.get(instance).map(|(state, _)| *state),
                    mail: known.is_some_and(|one| one.mail),
                    tells_deleted: known.is_some_and(|one| one.tells_deleted),
                    tells_priority: known.is_some_and(|one| one.tells_priority),
                    ..Facts::default()
                }
            }
            Event::VrrpGroup { group, .. } | Event::VrrpGroupStopped { group, .. } => Facts {
                state: self.group_states.get(group).copied(),
                mail: self.group(group).is_some_and(|one| one.mail),
                ..Facts::default()
            },
            Event::VrrpForeign { .. } => {
                Facts { warns_foreign: self.now.log_unknown_vrids, ..Facts::default() }
            }
            Event::Quorum { service, .. } => {
                let known = self.now.services.get(service).or(self.before.services.get(service));
                Facts {
                    quorum: known.map(|one| (one.quorum, one.hysteresis)),
                    mail: known.is_some_and(|one| one.smtp_alert),
                    sequence: self.sequence(service),
                    ..Facts::default()
                }
            }
            Event::Checker { service, address, .. }
            | Event::RealServer { service, address, .. }
            | Event::Weight { service, address, .. }
            | Event::CheckFailed { service, address, .. }
            | Event::CheckWarning { service, address, .. }
            | Event::Left { service, address, .. } => Facts {
                down: self.down.contains(&(service.clone(), *address)),
                mail: self.server(service, *address).is_some_and(|one| one.smtp_alert),
                sequence: self.sequence(service),
                ..Facts::default()
            },
            Event::VrrpCondition { .. }
            | Event::Script { .. }
            | Event::TrackedProcess { .. }
            | Event::Drift { .. }
            | Event::DriftUntold { .. }
            | Event::Repaired { .. }
            | Event::Sync { .. } => Facts::default(),
        }
    }

    /// What a reload did not change: state and priority of each virtual router that was there before,
    /// if the configuration wants them told (fifo_write_vrrp_states_on_reload).
    pub fn kept_states(&self) -> Vec<(Arc<str>, State, u8)> {
        let names = self.now.instances.keys().filter(|_| self.now.states_on_reload);
        names
            .filter_map(|name| {
                self.states.get(name).map(|(state, priority)| (name.clone(), *state, *priority))
            })
            .collect()
    }

    /// The same of each sync group.
    pub fn kept_group_states(&self) -> Vec<(Arc<str>, State)> {
        let names = self.now.groups.keys().filter(|_| self.now.states_on_reload);
        names.filter_map(|name| self.group_states.get(name).map(|state| (name.clone(), *state))).collect()
    }

    /// The stops of all that was told of, instances before groups: for a daemon that leaves their addresses.
    pub fn stops(&self) -> Vec<Event> {
        let instances = self.now.instances.keys().filter_map(|name| {
            let (_, priority) = *self.states.get(name)?;
            Some(Event::VrrpStopped { instance: name.clone(), priority, deleted: false })
        });
        let groups = self.now.groups.keys().filter(|name| self.group_states.contains_key(*name));
        let groups = groups.map(|name| Event::VrrpGroupStopped { group: name.clone(), deleted: false });
        instances.chain(groups).collect()
    }

    fn sequence(&self, service: &VirtualServerId) -> usize {
        self.now.sequences.get(service).or(self.before.sequences.get(service)).copied().unwrap_or_default()
    }

    fn server(&self, service: &VirtualServerId, address: SocketAddr) -> Option<&RealServer> {
        self.now.server(service, address).or_else(|| self.before.server(service, address))
    }

    /// The scripts that `event` runs, in order, for the object whose queue they join.
    pub fn jobs(&mut self, event: &Event) -> Vec<(Object, Job)> {
        match event {
            Event::Vrrp { instance, to, priority, .. } => {
                self.states.insert(instance.clone(), (*to, *priority));
                let Some(Instance { notify, .. }) = self.instance(instance) else { return Vec::new() };
                let Some(own) = on_state(notify, *to) else { return Vec::new() };
                Vrrp::instance(instance, *priority).jobs(
                    own.as_ref(),
                    notify.any.as_ref(),
                    to.as_str(),
                    self.now.limit,
                )
            }
            Event::VrrpStopped { instance, priority, deleted } => {
                let last = self.states.remove(instance);
                let known = if *deleted { self.removed(instance) } else { self.instance(instance) };
                let Some(Instance { notify, tells_deleted, .. }) = known else { return Vec::new() };
                let (told, any) = (Vrrp::instance(instance, *priority), notify.any.as_ref());
                let limit = self.now.limit;
                match (deleted, last) {
                    (false, _) => told.jobs(notify.stop.as_ref(), any, STOP, STOP_LIMIT),
                    (true, _) if *tells_deleted => told.jobs(notify.deleted.as_ref(), any, "DELETED", limit),
                    // Told as FAULT, unless that was told already; notify_fault itself does not run.
                    (true, Some((State::Fault, _))) => Vec::new(),
                    (true, _) => told.jobs(None, any, "FAULT", limit),
                }
            }
            Event::VrrpGroup { group, to, .. } => {
                self.group_states.insert(group.clone(), *to);
                let Some(Group { notify, .. }) = self.group(group) else { return Vec::new() };
                let Some(own) = on_state(notify, *to) else { return Vec::new() };
                Vrrp::group(group).jobs(own.as_ref(), notify.any.as_ref(), to.as_str(), self.now.limit)
            }
            Event::VrrpGroupStopped { group, deleted } => {
                self.group_states.remove(group);
                let known = self.group(group).filter(|_| !deleted);
                let Some(Group { notify, .. }) = known else { return Vec::new() };
                Vrrp::group(group).jobs(notify.stop.as_ref(), notify.any.as_ref(), STOP, STOP_LIMIT)
            }
            Event::VrrpLowerPriority { instance, .. } => {
                let script =
                    self.instance(instance).and_then(|one| one.notify.master_rx_lower_priority.clone());
                self.plain(Object::Instance(instance.clone()), script, LOWER_PRIORITY, false)
            }
            Event::RealServer { service, address, up, cause, .. } => {
                let key = (service.clone(), *address);
                if *up {
                    self.down.remove(&key);
                } else {
                    self.down.insert(key);
                }
                let known = self.server(service, *address);
                let script =
                    known.and_then(|one| if *up { &one.notify_up } else { &one.notify_down }.clone());
                self.plain(Object::Server(service.clone(), *address), script, way(*up), *cause == Cause::Stop)
            }
            Event::Quorum { service, up, cause, .. } => {
                let known = self.now.services.get(service).or(self.before.services.get(service));
                let script =
                    known.and_then(|one| if *up { &one.quorum_up } else { &one.quorum_down }.clone());
                self.plain(Object::Service(service.clone()), script, way(*up), *cause == Cause::Stop)
            }
            Event::VrrpPriority { instance, to, .. } => {
                if let Some((_, priority)) = self.states.get_mut(instance) {
                    *priority = *to;
                }
                Vec::new()
            }
            Event::VrrpCondition { .. }
            | Event::VrrpForeign { .. }
            | Event::Script { .. }
            | Event::TrackedProcess { .. }
            | Event::Weight { .. }
            | Event::Checker { .. }
            | Event::CheckWarning { .. }
            | Event::CheckFailed { .. }
            | Event::Left { .. }
            | Event::Drift { .. }
            | Event::DriftUntold { .. }
            | Event::Repaired { .. }
            | Event::Sync { .. } => Vec::new(),
        }
    }

    fn instance(&self, name: &Arc<str>) -> Option<&Instance> {
        self.now.instances.get(name).or(self.before.instances.get(name))
    }

    /// As it was before the reload that removed it: its name may be another's by now.
    fn removed(&self, name: &Arc<str>) -> Option<&Instance> {
        self.before.instances.get(name).or(self.now.instances.get(name))
    }

    /// A script that is run as it is written.
    fn plain(
        &self,
        object: Object,
        script: Option<ScriptId>,
        state: &'static str,
        last: bool,
    ) -> Vec<(Object, Job)> {
        let job = |script| Job { script, extra: Vec::new(), limit: self.now.limit, state, last };
        script.map(|script| (object, job(script))).into_iter().collect()
    }

    fn group(&self, name: &Arc<str>) -> Option<&Group> {
        self.now.groups.get(name).or(self.before.groups.get(name))
    }
}

const STOP: &str = "STOP";

/// The script of a state; `None` for a state that is told to nobody.
fn on_state(notify: &VrrpNotify, state: State) -> Option<&Option<ScriptId>> {
    match state {
        State::Master => Some(&notify.master),
        State::Backup => Some(&notify.backup),
        State::Fault => Some(&notify.fault),
        State::Initialize => None,
    }
}

/// What scripts of VRRP are told of.
struct Vrrp<'n> {
    object: Object,
    kind: &'static str,
    name: &'n Arc<str>,
    /// 0 of groups.
    priority: u8,
}

impl<'n> Vrrp<'n> {
    fn instance(name: &'n Arc<str>, priority: u8) -> Self {
        Vrrp { object: Object::Instance(name.clone()), kind: "INSTANCE", name, priority }
    }

    fn group(name: &'n Arc<str>) -> Self {
        Vrrp { object: Object::Group(name.clone()), kind: "GROUP", name, priority: 0 }
    }

    /// notify_STATE as it is written, then notify with `INSTANCE NAME STATE PRIORITY` or
    /// `GROUP NAME STATE 0`.
    fn jobs(
        &self,
        own: Option<&ScriptId>,
        any: Option<&ScriptId>,
        state: &'static str,
        limit: Duration,
    ) -> Vec<(Object, Job)> {
        let told = [self.kind, self.name, state, &self.priority.to_string()].map(str::to_owned).to_vec();
        let last = state == STOP;
        let job = |script: &ScriptId, extra| Job { script: script.clone(), extra, limit, state, last };
        let own = own.map(|script| job(script, Vec::new()));
        let any = any.map(|script| job(script, told));
        own.into_iter().chain(any).map(|job| (self.object.clone(), job)).collect()
    }
}

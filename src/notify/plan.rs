//! Which scripts an event runs.
//!
//! Here: the scripts of a configuration by the object that events name. Pure. Not here: order and
//! running (`queue`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lbd_grammar::config::{Config, RealServer, VirtualServer, VirtualServerId, VrrpNotify};
use lbd_health::ScriptId;
use lbd_vrrp::State;

use super::line::Facts;
use crate::event::Event;

/// What scripts are run for, one after the other for the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// vrrp_instance
    Instance(Arc<str>),
    /// real_server of a virtual_server
    Server(VirtualServerId, SocketAddr),
    /// virtual_server
    Service(VirtualServerId),
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
}

/// A notify script that takes longer is ended. keepalived never waits for them, so that they overlap
/// and overtake each other; here they run in order, and none may hold up the next one for ever.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Scripts that announce the stop get this much, as from keepalived.
pub const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Scripts by object, of the running configuration and the one before.
#[derive(Debug, Default)]
pub struct Plans {
    now: Plan,
    before: Plan,
    states: HashMap<Arc<str>, State>,
    down: HashSet<(VirtualServerId, SocketAddr)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    instances: HashMap<Arc<str>, VrrpNotify>,
    services: HashMap<VirtualServerId, Arc<VirtualServer>>,
}

impl Plan {
    fn new(config: &Config) -> Self {
        let instances = config.served_instances();
        Plan {
            instances: instances.map(|one| (one.router.name.clone(), one.notify.clone())).collect(),
            services: config.virtual_servers.iter().map(|one| (one.id.clone(), one.clone())).collect(),
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
            self.before = std::mem::replace(&mut self.now, plan);
        }
        let now = &self.now;
        self.down.retain(|(service, address)| now.server(service, *address).is_some());
    }

    /// What is known besides the event.
    pub fn facts(&self, event: &Event) -> Facts {
        match event {
            Event::Quorum { service, .. } => {
                let service = self.now.services.get(service).or(self.before.services.get(service));
                Facts { quorum: service.map(|one| (one.quorum, one.hysteresis)), down: false }
            }
            Event::Weight { service, address, .. } => {
                Facts { quorum: None, down: self.down.contains(&(service.clone(), *address)) }
            }
            _ => Facts::default(),
        }
    }

    /// The scripts that `event` runs, in order, for the object whose queue they join.
    pub fn jobs(&mut self, event: &Event) -> Vec<(Object, Job)> {
        match event {
            Event::Vrrp { instance, to, priority, .. } => {
                self.states.insert(instance.clone(), *to);
                let Some(notify) = self.instance(instance) else { return Vec::new() };
                let own = match to {
                    State::Master => &notify.master,
                    State::Backup => &notify.backup,
                    State::Fault => &notify.fault,
                    State::Initialize => return Vec::new(),
                };
                vrrp(instance, own.as_ref(), notify.any.as_ref(), to.as_str(), *priority, LIMIT)
            }
            Event::VrrpStopped { instance, priority, deleted } => {
                let last = self.states.remove(instance);
                let Some(notify) = self.instance(instance) else { return Vec::new() };
                match (deleted, last) {
                    (false, _) => vrrp(
                        instance,
                        notify.stop.as_ref(),
                        notify.any.as_ref(),
                        "STOP",
                        *priority,
                        STOP_LIMIT,
                    ),
                    // Told as FAULT, unless that was told already; notify_fault itself does not run.
                    (true, Some(State::Fault)) => Vec::new(),
                    (true, _) => vrrp(instance, None, notify.any.as_ref(), "FAULT", *priority, LIMIT),
                }
            }
            Event::VrrpLowerPriority { instance, .. } => {
                let script = self.instance(instance).and_then(|one| one.master_rx_lower_priority.clone());
                plain(Object::Instance(instance.clone()), script)
            }
            Event::RealServer { service, address, up, .. } => {
                let key = (service.clone(), *address);
                if *up {
                    self.down.remove(&key);
                } else {
                    self.down.insert(key);
                }
                let known =
                    self.now.server(service, *address).or_else(|| self.before.server(service, *address));
                let script =
                    known.and_then(|one| if *up { &one.notify_up } else { &one.notify_down }.clone());
                plain(Object::Server(service.clone(), *address), script)
            }
            Event::Quorum { service, up, .. } => {
                let known = self.now.services.get(service).or(self.before.services.get(service));
                let script =
                    known.and_then(|one| if *up { &one.quorum_up } else { &one.quorum_down }.clone());
                plain(Object::Service(service.clone()), script)
            }
            Event::VrrpPriority { .. }
            | Event::Script { .. }
            | Event::Weight { .. }
            | Event::Checker { .. }
            | Event::CheckWarning { .. }
            | Event::CheckFailed { .. } => Vec::new(),
        }
    }

    fn instance(&self, name: &Arc<str>) -> Option<&VrrpNotify> {
        self.now.instances.get(name).or(self.before.instances.get(name))
    }
}

fn plain(object: Object, script: Option<ScriptId>) -> Vec<(Object, Job)> {
    script.map(|script| (object, Job { script, extra: Vec::new(), limit: LIMIT })).into_iter().collect()
}

/// notify_STATE as it is written, then notify with `INSTANCE NAME STATE PRIORITY`.
fn vrrp(
    instance: &Arc<str>,
    own: Option<&ScriptId>,
    any: Option<&ScriptId>,
    state: &str,
    priority: u8,
    limit: Duration,
) -> Vec<(Object, Job)> {
    let told = ["INSTANCE", instance, state, &priority.to_string()].map(str::to_owned).to_vec();
    let own = own.map(|script| Job { script: script.clone(), extra: Vec::new(), limit });
    let any = any.map(|script| Job { script: script.clone(), extra: told, limit });
    own.into_iter().chain(any).map(|job| (Object::Instance(instance.clone()), job)).collect()
}

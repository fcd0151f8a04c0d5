//! Which scripts an event runs.
//!
//! Here: the scripts of a configuration by the object that events name. Pure. Not here: order and
//! running (`queue`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lbd_grammar::config::{Config, VrrpNotify};
use lbd_health::ScriptId;
use lbd_ipvs::ServiceId;
use lbd_vrrp::State;

use super::line::Facts;
use crate::event::Event;

/// What scripts are run for, one after the other for the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// vrrp_instance
    Instance(Arc<str>),
    /// real_server of a virtual_server
    Server(ServiceId, SocketAddr),
    /// virtual_server
    Service(ServiceId),
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
    down: HashSet<(ServiceId, SocketAddr)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Plan {
    instances: HashMap<Arc<str>, VrrpNotify>,
    servers: HashMap<(ServiceId, SocketAddr), Pair>,
    services: HashMap<ServiceId, Service>,
}

/// Scripts for up and down.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pair {
    up: Option<ScriptId>,
    down: Option<ScriptId>,
}

#[derive(Clone, Debug, PartialEq)]
struct Service {
    scripts: Pair,
    quorum: u32,
    hysteresis: u32,
}

impl Plan {
    fn new(config: &Config) -> Self {
        let mut plan = Plan::default();
        for instance in &config.vrrp_instances {
            plan.instances.insert(instance.router.name.clone(), instance.notify.clone());
        }
        for server in &config.virtual_servers {
            let scripts = Pair { up: server.quorum_up.clone(), down: server.quorum_down.clone() };
            let service = Service { scripts, quorum: server.quorum, hysteresis: server.hysteresis };
            plan.services.insert(server.id, service);
            for real in &server.real_servers {
                let pair = Pair { up: real.notify_up.clone(), down: real.notify_down.clone() };
                plan.servers.insert((server.id, real.address), pair);
            }
        }
        plan
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
        let servers = &self.now.servers;
        self.down.retain(|server| servers.contains_key(server));
    }

    /// What is known besides the event.
    pub fn facts(&self, event: &Event) -> Facts {
        match event {
            Event::Quorum { service, .. } => {
                let service = self.now.services.get(service).or(self.before.services.get(service));
                Facts { quorum: service.map(|one| (one.quorum, one.hysteresis)), down: false }
            }
            Event::Weight { service, address, .. } => {
                Facts { quorum: None, down: self.down.contains(&(*service, *address)) }
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
                let key = (*service, *address);
                if *up {
                    self.down.remove(&key);
                } else {
                    self.down.insert(key);
                }
                let pair = self.now.servers.get(&key).or(self.before.servers.get(&key));
                plain(Object::Server(*service, *address), pair.and_then(|pair| pair.script(*up)))
            }
            Event::Quorum { service, up, .. } => {
                let known = self.now.services.get(service).or(self.before.services.get(service));
                plain(Object::Service(*service), known.and_then(|one| one.scripts.script(*up)))
            }
            Event::VrrpPriority { .. }
            | Event::Script { .. }
            | Event::Weight { .. }
            | Event::CheckFailed { .. } => Vec::new(),
        }
    }

    fn instance(&self, name: &Arc<str>) -> Option<&VrrpNotify> {
        self.now.instances.get(name).or(self.before.instances.get(name))
    }
}

impl Pair {
    fn script(&self, up: bool) -> Option<ScriptId> {
        if up { self.up.clone() } else { self.down.clone() }
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

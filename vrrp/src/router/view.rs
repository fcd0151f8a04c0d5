//! What others see of a virtual router.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Condition, Contribution, Counters, Fault, Heard, Phase, Router, Standing};
use crate::engine::{DeviceAddress, RouterId};
use crate::types::{IfIndex, InstanceConfig, Priority, State};

impl Router {
    /// Handle of this virtual router; stays over a reload that keeps it.
    pub fn id(&self) -> RouterId {
        self.id
    }

    /// Configuration.
    pub fn config(&self) -> &InstanceConfig {
        &self.config
    }

    pub(crate) fn shared_config(&self) -> Arc<InstanceConfig> {
        Arc::clone(&self.config)
    }

    /// State.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Initialize | Phase::Stopped => State::Initialize,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
            Phase::Fault => State::Fault,
        }
    }

    /// Priority with the trackers' contributions, 1..=254; 255 for the owner.
    pub fn effective_priority(&self) -> Priority {
        self.effective
    }

    /// The master's address and priority as far as known; our own while we are.
    pub fn master(&self) -> Option<(IpAddr, Priority)> {
        match self.phase {
            Phase::Master(_) => self.situation.source.map(|source| (source, self.effective)),
            Phase::Backup(_) => self.master,
            _ => None,
        }
    }

    /// When the last acceptable advertisement came.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Why it takes no part.
    pub fn faults(&self) -> &[Fault] {
        &self.situation.faults
    }

    /// What is tracked and what it does to the priority.
    pub fn contributions(&self) -> &[Contribution] {
        &self.situation.contributions
    }

    /// Numbers.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What is wrong around it.
    pub fn conditions(&self) -> impl Iterator<Item = (Condition, &Standing)> {
        self.conditions.standing()
    }

    /// Other routers of this virtual router, at most 8.
    pub fn heard(&self) -> &[Heard] {
        self.conditions.heard()
    }

    /// Goes up with every change that a reader of this value can see.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes up with each change of state, priority, faults, configuration or conditions.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Index of the interface, if it is there.
    pub fn interface(&self) -> Option<IfIndex> {
        self.situation.interface
    }

    /// Index of the interface below its own one, if it is there.
    pub fn parent(&self) -> Option<IfIndex> {
        self.situation.parent
    }

    /// Whether a master of a lower priority is let be for now.
    pub(crate) fn is_preemption_held(&self) -> bool {
        self.preemption_held
    }

    /// Source address of the adverts.
    pub fn source(&self) -> Option<IpAddr> {
        self.situation.source
    }

    /// Its addresses with their interfaces, advertised ones first.
    pub fn addresses(&self) -> &Arc<[DeviceAddress]> {
        &self.addresses
    }

    /// Addresses it holds now: all while master, else none.
    pub fn held(&self) -> Arc<[DeviceAddress]> {
        match self.phase {
            Phase::Master(_) => Arc::clone(&self.addresses),
            _ => Arc::default(),
        }
    }
}

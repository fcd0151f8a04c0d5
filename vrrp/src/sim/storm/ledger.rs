//! What one node may do, whatever the others do: its notifications, addresses, adverts and groups.
//!
//! Here: the actions of each event against what was told before. Not here: what nodes mean for each other
//! (`segments`).

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::plan::MOST_SEGMENTS;
use super::{Rule, Violation};

/// Actions that one event may cause, besides a round of gratuitous ARP: adverts to each peer and all that
/// leaving and entering states takes, for each router.
const MOST_ACTIONS: usize = 64 + 40;

/// What a node told.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub state: [State; MOST_SEGMENTS],
    stopped: [bool; MOST_SEGMENTS],
    /// With priority 0, by this event.
    released: [bool; MOST_SEGMENTS],
    group: State,
    group_stopped: bool,
    pub held: [Arc<[DeviceAddress]>; MOST_SEGMENTS],
    /// Notifications so far.
    pub transitions: u64,
    pub became_master: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            state: [State::Initialize; MOST_SEGMENTS],
            stopped: [false; MOST_SEGMENTS],
            released: [false; MOST_SEGMENTS],
            group: State::Initialize,
            group_stopped: false,
            held: [Arc::default(), Arc::default()],
            transitions: 0,
            became_master: 0,
        }
    }
}

impl Ledger {
    /// Checks what an event caused, action by action; `engine` has done with the event.
    pub fn check(&mut self, engine: &Engine, actions: &[Action], unchanged: bool) -> Result<(), Violation> {
        if actions.len() > MOST_ACTIONS {
            return Err(Rule::Bounded.broken(|| format!("{} actions", actions.len())));
        }
        let before = self.state;
        self.released = [false; MOST_SEGMENTS];
        for action in actions {
            self.note(engine, action, &before)?;
            let acts = matches!(
                action,
                Action::Transition { .. } | Action::SendAdvert { .. } | Action::SetAddresses { .. }
            );
            if unchanged && acts {
                return Err(Rule::Reload.broken(|| format!("{action:?}")));
            }
        }
        self.agrees(engine)
    }

    fn note(
        &mut self,
        engine: &Engine,
        action: &Action,
        before: &[State; MOST_SEGMENTS],
    ) -> Result<(), Violation> {
        let place = |id: &RouterId| engine.routers().iter().position(|router| router.id() == *id);
        match action {
            Action::Transition { router, from, to, .. } => {
                let at = place(router).expect("a router of this node");
                self.transitions += 1;
                self.became_master += u64::from(*to == State::Master);
                let known = std::mem::replace(&mut self.state[at], *to);
                self.leaves(at, known, *to == State::Fault)?;
                if known != *from || from == to || self.stopped[at] {
                    return Err(Rule::Chain.broken(|| format!("eth{at}: {known}, then {from} -> {to}")));
                }
            }
            Action::Stopped { router, .. } => {
                let at = place(router).expect("a router of this node");
                let known = std::mem::replace(&mut self.state[at], State::Initialize);
                self.leaves(at, known, true)?;
                if std::mem::replace(&mut self.stopped[at], true) {
                    return Err(Rule::Chain.broken(|| format!("eth{at}: stopped twice")));
                }
            }
            Action::GroupTransition { from, to, .. } => {
                let known = std::mem::replace(&mut self.group, *to);
                let members = self.state[..engine.routers().len()].iter().all(|state| state == to);
                if known != *from || from == to || !members || self.group_stopped {
                    let text = || format!("group {known}, then {from} -> {to} with members {:?}", self.state);
                    return Err(Rule::GroupChain.broken(text));
                }
            }
            Action::GroupStopped { .. } => {
                self.group_stopped = true;
                if !self.stopped[..engine.routers().len()].iter().all(|stopped| *stopped) {
                    return Err(Rule::GroupChain.broken(|| "group stopped before its members".into()));
                }
            }
            Action::SetAddresses { router, hold, .. } => {
                self.held[place(router).expect("a router of this node")] = Arc::clone(hold);
            }
            Action::SendAdvert { router, packet, interface, .. } => {
                let at = place(router).expect("a router of this node");
                let (was, is) = (before[at] == State::Master, engine.routers()[at].state() == State::Master);
                let (_, priority, _) = advert_of(packet);
                let own = engine.routers()[at].effective_priority().0;
                self.released[at] |= priority == 0;
                let right = match priority {
                    0 => was && !is,
                    _ => (was || is) && priority == own,
                };
                let segment = interface.map(|index| index.get() - 2);
                if !right || segment != u32::try_from(at).ok() {
                    let text = || {
                        format!("eth{at}: priority {priority}, own {own}, master before {was}, after {is}")
                    };
                    return Err(Rule::Adverts.broken(text));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A master that takes no part any more has said so before.
    fn leaves(&self, at: usize, known: State, for_good: bool) -> Result<(), Violation> {
        if known == State::Master && for_good && !self.released[at] {
            return Err(Rule::Releases.broken(|| format!("eth{at}")));
        }
        Ok(())
    }

    /// After an event, what was told and done is what is.
    fn agrees(&self, engine: &Engine) -> Result<(), Violation> {
        for (at, router) in engine.routers().iter().enumerate() {
            let state = router.state();
            if state != self.state[at] {
                return Err(Rule::Chain.broken(|| format!("eth{at}: is {state}, told {}", self.state[at])));
            }
            let wanted: &[DeviceAddress] = if state == State::Master { router.addresses() } else { &[] };
            if *self.held[at] != *wanted {
                let text = || format!("eth{at}: {state} and holds {} addresses", self.held[at].len());
                return Err(Rule::Addresses.broken(text));
            }
        }
        let Some(group) = engine.groups().first() else { return Ok(()) };
        let states = &self.state[..engine.routers().len()];
        let together =
            |state| states.iter().all(|one| *one == state) || states.iter().all(|one| *one != state);
        if !together(State::Master) || !together(State::Fault) {
            return Err(Rule::Together.broken(|| format!("{states:?}")));
        }
        let told = states[0] == State::Initialize || states[0] == self.group || !together(states[0]);
        if group.state() != self.group || !told {
            return Err(Rule::GroupChain.broken(|| format!("group told {}, members {states:?}", self.group)));
        }
        Ok(())
    }

    /// A process that ended without a word leaves addresses to its successor.
    pub fn restarted(&self) -> Self {
        let (transitions, became_master) = (self.transitions, self.became_master);
        Ledger { transitions, became_master, ..Ledger::default() }
    }

    /// After an orderly stop everybody was told, and nothing is left to do.
    pub fn ended(&self, engine: &Engine) -> Result<(), Violation> {
        let routers = engine.routers().len();
        if !self.stopped[..routers].iter().all(|stopped| *stopped) {
            return Err(Rule::Chain.broken(|| "a router did not tell that it stopped".into()));
        }
        if let Some(at) = engine.deadline() {
            return Err(Rule::Bounded.broken(|| format!("a deadline after the stop: {at:?}")));
        }
        Ok(())
    }
}

/// Time since the start, in words.
pub fn clock(at: Duration) -> String {
    format!("{:>10.4} s", at.as_secs_f64())
}

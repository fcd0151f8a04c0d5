//! Another configuration by difference: who stays is changed in place, who is new begins, who is gone
//! releases.

use std::sync::Arc;
use std::time::Instant;

use super::identity::{Identity, Kin};
use super::{Action, Engine, sync};
use crate::router::{Effect, Event as RouterEvent, Router, Situation};
use crate::types::{InstanceConfig, Setup};

impl Engine {
    pub(super) fn reload(&mut self, now: Instant, setup: Setup, out: &mut Vec<Action>) {
        let told_before = out.len();
        self.transitions += 1;
        let Setup { instances, groups, garp_intervals, log_unknown_vrids, startup_delay: _ } = setup;
        let (changed, removed) = self.place(instances);
        self.garp_intervals = garp_intervals;
        self.strangers.tell_all = log_unknown_vrids;
        // All routers are in their places with their new addresses before the first one acts: a source is
        // never taken from another's virtual addresses.
        let configs: Vec<Arc<InstanceConfig>> = self
            .routers
            .iter()
            .zip(&changed)
            .map(|(router, new)| new.clone().unwrap_or_else(|| router.shared_config()))
            .collect();
        let before = std::mem::take(&mut self.groups);
        self.groups = sync::groups(groups, &configs, &before);
        self.arrange(&configs);
        let situations = self.situations(&configs);
        for (place, (new, situation)) in changed.into_iter().zip(situations).enumerate() {
            self.change(now, place, new, situation, out);
        }
        // Removed ones come last: an address that moved to a kept master never leaves. That they are gone is
        // told first: a new one may have the name.
        let mut stopped = Vec::new();
        for mut router in removed {
            let moment = self.moment(now);
            router.on_event(moment, RouterEvent::Stop { deleted: true }, &mut self.effects);
            let id = router.id();
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Act(action @ Action::Stopped { .. }) => stopped.push(action),
                    Effect::Act(action) => out.push(action),
                    _ => self.announcements.silence(id),
                }
            }
        }
        out.splice(told_before..told_before, stopped);
        let gone = before
            .into_iter()
            .filter(|old| !self.groups.iter().any(|group| group.config.name == old.config.name));
        out.extend(gone.map(|old| Action::GroupStopped { group: old.config.name, deleted: true }));
        for at in 0..self.groups.len() {
            self.tell_group(at, out);
        }
        self.forget_trackers();
        self.number();
    }

    /// Puts the routers in the order of `instances`; gives the new configurations of those that stay, and
    /// those that are gone.
    fn place(&mut self, instances: Vec<InstanceConfig>) -> (Vec<Option<Arc<InstanceConfig>>>, Vec<Router>) {
        let mut old: Vec<Option<Router>> = std::mem::take(&mut self.routers).into_iter().map(Some).collect();
        let mut find = |matches: &dyn Fn(&InstanceConfig) -> bool| {
            let found = old.iter_mut().find(|one| one.as_ref().is_some_and(|one| matches(one.config())));
            found.and_then(Option::take)
        };
        let identities: Vec<Identity> = instances.iter().map(Identity::of).collect();
        let mut kept: Vec<Option<Router>> =
            identities.iter().map(|wanted| find(&|config| Identity::of(config) == *wanted)).collect();
        for (slot, config) in kept.iter_mut().zip(&instances) {
            if slot.is_none() {
                let wanted = Kin::of(config);
                *slot = find(&|config| Kin::of(config) == wanted);
            }
        }
        let mut changed = Vec::with_capacity(instances.len());
        for (kept, config) in kept.into_iter().zip(instances) {
            let config = Arc::new(config);
            match kept {
                Some(router) => {
                    self.routers.push(router);
                    changed.push(Some(config));
                }
                None => {
                    let id = self.new_id();
                    self.routers.push(Router::new(id, config));
                    changed.push(None);
                }
            }
        }
        (changed, old.into_iter().flatten().collect())
    }

    fn change(
        &mut self,
        now: Instant,
        place: usize,
        new: Option<Arc<InstanceConfig>>,
        situation: Situation,
        out: &mut Vec<Action>,
    ) {
        let moment = self.moment(now);
        match new {
            Some(config) => {
                let Some(router) = self.routers.get_mut(place) else { return };
                router.reconfigure(moment, config, situation, &mut self.effects);
                self.settle(now, place, out);
            }
            None => {
                self.tell(now, place, RouterEvent::Situation(situation, "reload".into()), out);
                if self.begun {
                    let hold = self
                        .held_until
                        .map_or(std::time::Duration::ZERO, |until| until.saturating_duration_since(now));
                    self.tell(now, place, RouterEvent::Begin { resume: false, hold }, out);
                }
            }
        }
    }

    fn forget_trackers(&mut self) {
        let Engine { routers, groups, surroundings, .. } = self;
        let of_routers = routers.iter().flat_map(|router| &router.config().trackers);
        let of_groups = groups.iter().flat_map(|group| &group.config.trackers);
        let named: std::collections::BTreeSet<_> = of_routers.chain(of_groups).map(|(id, _)| id).collect();
        surroundings.trackers.retain(|id, _| named.contains(id));
    }
}

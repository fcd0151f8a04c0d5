//! Another configuration of the same virtual router, in place.
//!
//! Here: what goes on and what begins anew. Not here: which router is the same (`engine::identity`), what a
//! master does about its addresses (`master`).

use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Moment, Phase, Router, Situation};
use crate::auth::Session;
use crate::engine::DeviceAddress;
use crate::receive;
use crate::timers;
use crate::types::{InstanceConfig, Priority, Version};

impl Router {
    /// Goes on with another configuration of the same identity. What did not change goes on: the rhythm of
    /// the adverts, the timer of a Backup.
    pub(crate) fn reconfigure(
        &mut self,
        now: Moment,
        config: Arc<InstanceConfig>,
        situation: Situation,
        out: &mut Vec<Effect>,
    ) {
        if *self.config != *config {
            self.step_back_after_pause(now, out);
        }
        let old = std::mem::replace(&mut self.config, config);
        self.revision += 1;
        if *old == *self.config {
            self.adapt(now, situation, "reload", out);
            return;
        }
        self.transitions += 1;
        let before = Arc::clone(&self.addresses);
        let old_octets = std::mem::take(&mut self.address_octets);
        let old_down = self.down_interval_of(&old);
        self.address_octets = receive::address_octets(&self.config);
        let after = DeviceAddress::all_of(&self.config);
        if *before != *after {
            self.addresses = after.into();
        }
        let priority = self.effective;
        // What a master that is heard said of its interval holds on.
        let heard = self.master.is_some() && self.listens();
        if old.version != self.config.version || !heard {
            self.learnt = self.config.advert_interval;
        }
        if old.authentication != self.config.authentication {
            self.session = Session::default();
        }
        self.adapt(now, situation, "reload", out);
        let on_wire = old.advert_interval != self.config.advert_interval
            || old_octets != self.address_octets
            || old.authentication != self.config.authentication
            || old.delivery != self.config.delivery
            || old.version != self.config.version
            || priority != self.effective;
        let down_at = self.waits_from(now) + self.master_down_interval();
        let heard = heard && self.config.version == Version::V3;
        let other_adverts = old.down_timer_adverts != self.config.down_timer_adverts;
        let other_wait = old_down != self.down_interval_of(&self.config) && (!heard || other_adverts);
        match &mut self.phase {
            Phase::Master(_) => self.reconfigure_master(now, &old, &before, on_wire, out),
            // The priority's part was moved by `adapt`.
            Phase::Backup(backup) if other_wait => {
                backup.down_at = down_at;
            }
            _ => {}
        }
    }

    /// What a configuration makes of the wait, priority aside.
    fn down_interval_of(&self, config: &InstanceConfig) -> Duration {
        timers::master_down_interval(
            config.version,
            config.advert_interval,
            config.down_timer_adverts,
            Priority::OWNER,
        )
    }
}

//! How an event moves a virtual router, and with it the members of its sync group.
//!
//! Here: the order in which members act. Not here: what they mean for each other (`sync`), what one does
//! (`router`).

use std::sync::Arc;
use std::time::Instant;

use super::{Action, Engine, sync};
use crate::router::{Event as RouterEvent, Yield};
use crate::types::State;

/// What a member's event means for its sync group.
pub(super) enum Moved {
    Wishes,
    HearsMaster,
    AnnouncesLower,
    Yielded(Yield),
}

impl Engine {
    /// Feeds an event to the router at `place`, does what it wants, and moves its group along.
    pub(super) fn tell(&mut self, now: Instant, place: usize, event: RouterEvent, out: &mut Vec<Action>) {
        self.feed(now, place, event);
        self.settle(now, place, out);
    }

    fn feed(&mut self, now: Instant, place: usize, event: RouterEvent) {
        let moment = self.moment(now);
        let Some(router) = self.routers.get_mut(place) else { return };
        let before = router.transitions();
        router.on_event(moment, event, &mut self.effects);
        self.transitions += router.transitions() - before;
    }

    pub(super) fn settle(&mut self, now: Instant, place: usize, out: &mut Vec<Action>) {
        let moved = self.carry_out(now, place, out);
        let Some(at) = self.group_of.get(place).copied().flatten() else { return };
        match moved {
            Some(Moved::Wishes) => self.elect(now, at, place, out),
            Some(Moved::Yielded(how)) => self.yield_all(now, at, place, &how, out),
            Some(Moved::HearsMaster) => self.let_go(now, at, place, out),
            Some(Moved::AnnouncesLower) => self.announce_others(now, at, place, out),
            None => {}
        }
        self.tell_group(at, out);
    }

    /// A member hears a master that it lets be: the others must not stay masters without it.
    fn let_go(&mut self, now: Instant, at: usize, place: usize, out: &mut Vec<Action>) {
        if self.groups.get(at).is_some_and(|group| sync::other_master(group, place, &self.routers)) {
            let how = Yield { release: false, soon: None, reason: "it hears another master".into() };
            self.yield_all(now, at, place, &how, out);
        }
    }

    /// Where a member has a rival the others' links may have one too.
    fn announce_others(&mut self, now: Instant, at: usize, place: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get(at) else { return };
        for member in group.members.clone().into_iter().filter(|member| *member != place) {
            self.feed(now, member, RouterEvent::AnnounceLower);
            self.carry_out(now, member, out);
        }
    }

    /// All members go together, as soon as all of them would; `last` wished last, and goes first.
    fn elect(&mut self, now: Instant, at: usize, last: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get(at) else { return };
        if !sync::all_wish(group, &self.routers) {
            return;
        }
        let others = group.members.clone().into_iter().filter(|member| *member != last);
        for member in std::iter::once(last).chain(others) {
            self.feed(now, member, RouterEvent::Elect);
            self.carry_out(now, member, out);
        }
    }

    fn yield_all(&mut self, now: Instant, at: usize, first: usize, how: &Yield, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get(at) else { return };
        let name = self.routers.get(first).map(|router| Arc::clone(&router.config().name));
        let reason = format!("sync group: {} left: {}", name.as_deref().unwrap_or_default(), how.reason);
        for member in group.members.clone().into_iter().filter(|member| *member != first) {
            let how = Yield { reason: reason.clone(), ..how.clone() };
            self.feed(now, member, RouterEvent::Yield(how));
            self.carry_out(now, member, out);
        }
    }

    pub(super) fn tell_group(&mut self, at: usize, out: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(at) else { return };
        let Some(to) = sync::state(group, &self.routers) else { return };
        if to == State::Initialize || to == group.state {
            return;
        }
        let from = std::mem::replace(&mut group.state, to);
        out.push(Action::GroupTransition { group: Arc::clone(&group.config.name), from, to });
    }
}

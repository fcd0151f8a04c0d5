//! When the routers' deadlines are, the earliest at hand.
//!
//! A tree of winners in one piece of memory: each advert that a Backup hears moves a deadline, thousands in a second.

use std::time::Instant;

/// A deadline or none for each place.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    /// Places that there is room for, a power of two.
    room: usize,
    /// From 1 on the root, then the children 2 n and 2 n + 1 of each n: the earlier one of both. From `room` on
    /// the places.
    tree: Vec<Option<Instant>>,
}

impl Deadlines {
    /// Of all places from 0 on.
    pub fn of(all: impl ExactSizeIterator<Item = Option<Instant>>) -> Self {
        let room = all.len().next_power_of_two();
        let mut tree = vec![None; room];
        tree.extend(all);
        let mut deadlines = Deadlines { room, tree };
        for node in (1..room).rev() {
            deadlines.play(node);
        }
        deadlines
    }

    /// The earliest of all.
    pub fn first(&self) -> Option<Instant> {
        self.get(1)
    }

    /// Moves the deadline of `place`, if that is one of those that there are.
    pub fn set(&mut self, place: usize, at: Option<Instant>) {
        let mut node = self.room.saturating_add(place);
        let Some(slot) = self.tree.get_mut(node) else { return };
        if std::mem::replace(slot, at) == at {
            return;
        }
        while node > 1 {
            node /= 2;
            if !self.play(node) {
                return;
            }
        }
    }

    /// Places whose deadline is not after `now`, the earliest first.
    pub fn due(&self, now: Instant) -> Vec<usize> {
        let (mut due, mut nodes) = (Vec::new(), vec![1]);
        while let Some(node) = nodes.pop() {
            let Some(at) = self.get(node).filter(|at| *at <= now) else { continue };
            match node.checked_sub(self.room) {
                Some(place) => due.push((at, place)),
                None => nodes.extend([2 * node, 2 * node + 1]),
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, place)| place).collect()
    }

    fn get(&self, node: usize) -> Option<Instant> {
        self.tree.get(node).copied().flatten()
    }

    /// Whether the winner at `node` is another than before.
    fn play(&mut self, node: usize) -> bool {
        let winner = match (self.get(2 * node), self.get(2 * node + 1)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.tree.get_mut(node).is_some_and(|slot| std::mem::replace(slot, winner) != winner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_none_and_of_one() {
        let now = Instant::now();
        let mut none = Deadlines::default();
        none.set(0, Some(now));
        assert_eq!((none.first(), none.due(now)), (None, vec![]), "no place");
        let none = Deadlines::of(std::iter::empty());
        assert_eq!((none.first(), none.due(now)), (None, vec![]));
        let mut one = Deadlines::of([Some(now)].into_iter());
        assert_eq!((one.first(), one.due(now)), (Some(now), vec![0]));
        one.set(0, None);
        assert_eq!((one.first(), one.due(now)), (None, vec![]));
    }

    proptest! {
        /// As a sorted set has it.
        #[test]
        fn the_earliest_is_first(
            before in prop::collection::vec(prop::option::of(0u64..50), 1..40),
            moves in prop::collection::vec((0usize..40, prop::option::of(0u64..50)), 0..80),
            now in 0u64..60,
        ) {
            let start = Instant::now();
            let at = |ms: Option<u64>| ms.map(|ms| start + Duration::from_millis(ms));
            let mut all: Vec<Option<Instant>> = before.into_iter().map(at).collect();
            let mut deadlines = Deadlines::of(all.clone().into_iter());
            for (place, ms) in moves {
                deadlines.set(place, at(ms));
                if let Some(slot) = all.get_mut(place) {
                    *slot = at(ms);
                }
            }
            let now = start + Duration::from_millis(now);
            let sorted: BTreeSet<(Instant, usize)> =
                (0..).zip(&all).filter_map(|(place, at)| Some(((*at)?, place))).collect();
            prop_assert_eq!(deadlines.first(), sorted.first().map(|(at, _)| *at));
            let due: Vec<usize> = sorted.iter().filter(|(at, _)| *at <= now).map(|(_, place)| *place).collect();
            prop_assert_eq!(deadlines.due(now), due);
        }
    }
}

//! What another program did to our services, in words, and how often that is said.

use std::time::{Duration, Instant};

use lbd_ipvs::{Op, Table};

/// So many are told one by one within [`WINDOW`]; of the others their number.
const TOLD: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// What was found, of the operation that puts it right; `have` is the table as it was found.
pub(super) fn words(op: &Op, have: &Table) -> String {
    let weight = |id, address| have.services.get(id)?.destinations.get(address).map(|dest| dest.weight);
    match op {
        Op::NewService(id, _) => format!("virtual service {id} was removed: added again"),
        Op::SetService(id, service) => {
            let was = have.services.get(id).map(|entry| &entry.service.scheduler);
            match was.filter(|was| **was != service.scheduler) {
                Some(was) => format!(
                    "virtual service {id} was given scheduler {}: set back to {}",
                    was.as_str(),
                    service.scheduler.as_str()
                ),
                None => format!("virtual service {id} was changed: set back"),
            }
        }
        Op::DelService(id) => format!("virtual service {id} was added again: removed"),
        Op::NewDest(id, address, _) => format!("real server {address} of {id} was removed: added again"),
        Op::SetDest(id, address, wanted) => match weight(id, address) {
            Some(was) if was != wanted.weight => {
                format!("real server {address} of {id} was given weight {was}: set back to {}", wanted.weight)
            }
            _ => format!("real server {address} of {id} was changed: set back"),
        },
        Op::DelDest(id, address) => format!("real server {address} was added to {id}: removed"),
    }
}

/// How much was said lately.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// When the window began, what was said in it, what was not.
    window: Option<(Instant, usize, u64)>,
}

impl Limiter {
    /// Whether this one may be said.
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        let (_, said, untold) = self.window.get_or_insert((now, 0, 0));
        if *said < TOLD {
            *said += 1;
            return true;
        }
        *untold += 1;
        false
    }

    /// When [`Limiter::over`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.window.map(|(began, ..)| began + WINDOW)
    }

    /// How many were not said in a window that is over.
    pub(super) fn over(&mut self, now: Instant) -> Option<u64> {
        let (began, _, untold) = self.window?;
        if now < began + WINDOW {
            return None;
        }
        self.window = None;
        (untold > 0).then_some(untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_in_a_minute_are_said_and_the_others_counted() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut limiter = Limiter::default();
        assert_eq!((limiter.due(), limiter.over(start)), (None, None));
        let said = (0..25).filter(|second| limiter.may_say(at(*second))).count();
        assert_eq!((said, limiter.due()), (10, Some(at(60))));
        assert_eq!(limiter.over(at(59)), None);
        assert_eq!(limiter.over(at(60)), Some(15));
        assert_eq!((limiter.due(), limiter.over(at(61))), (None, None));
        assert!(limiter.may_say(at(61)));
        assert_eq!((limiter.due(), limiter.over(at(121))), (Some(at(121)), None));
    }
}

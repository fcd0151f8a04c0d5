//! What is wrong around a virtual router although it works: noticed, named, and over again.
//!
//! Here: which conditions hold and since when. Not here: what makes them (`router`). Each change is told
//! once; a condition ends when it was not seen for [`QUIET`], so that a flood tells it at most that often.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::receive::Received;
use crate::types::Priority;

/// A condition that was not seen for so long is over.
pub(crate) const QUIET: Duration = Duration::from_secs(60);
/// Senders that are remembered; beyond that the one that was silent longest is forgotten.
const HEARD: usize = 8;

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Master, and another master goes on sending.
    SplitBrain,
    /// Became master without having heard any other router.
    NoPeer,
    /// Another router advertises our priority (RFC 9568 §8.3.2).
    EqualPriority,
    /// Another router lists other addresses.
    AddressList,
    /// Another router has another interval (version 3: it is used all the same).
    Interval,
    /// Unicast from a sender that is no unicast_peer is used.
    UnlistedPeer,
    /// Several routers own the addresses (priority 255, RFC 9568 §8.3.2).
    Owners,
    /// Another router's clock is further from ours than half of what auth_hmac accepts.
    ClockSkew,
    /// A master of a lower priority is let be until its connections are known here.
    PreemptionHeld,
}

impl Condition {
    /// Every one of them.
    pub const ALL: [Condition; 9] = [
        Condition::SplitBrain,
        Condition::NoPeer,
        Condition::EqualPriority,
        Condition::AddressList,
        Condition::Interval,
        Condition::UnlistedPeer,
        Condition::Owners,
        Condition::ClockSkew,
        Condition::PreemptionHeld,
    ];

    /// Name in status and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::SplitBrain => "split_brain",
            Condition::NoPeer => "no_peer",
            Condition::EqualPriority => "equal_priority",
            Condition::AddressList => "address_list_differs",
            Condition::Interval => "interval_differs",
            Condition::UnlistedPeer => "unlisted_peer",
            Condition::Owners => "several_owners",
            Condition::ClockSkew => "clock_skew",
            Condition::PreemptionHeld => "preemption_held",
        }
    }
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Since when.
    pub since: Instant,
    /// Seen last.
    pub last: Instant,
    /// Who and what, in words.
    pub detail: String,
}

/// Another router of the same virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its address.
    pub address: IpAddr,
    /// Its priority, as it said last.
    pub priority: Priority,
    /// Its interval, as it said last.
    pub interval: Duration,
    /// Advertisements accepted from it.
    pub adverts: u64,
    /// When the last came.
    pub last: Instant,
}

/// What became of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub condition: Condition,
    pub active: bool,
    pub detail: String,
}

/// Conditions and senders of one virtual router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    standing: BTreeMap<Condition, Standing>,
    heard: Vec<Heard>,
}

impl Conditions {
    pub fn standing(&self) -> impl Iterator<Item = (Condition, &Standing)> {
        self.standing.iter().map(|(condition, standing)| (*condition, standing))
    }

    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// The condition was seen.
    pub fn raise(
        &mut self,
        now: Instant,
        condition: Condition,
        detail: impl FnOnce() -> String,
    ) -> Option<Change> {
        if let Some(standing) = self.standing.get_mut(&condition) {
            standing.last = now;
            return None;
        }
        let detail = detail();
        let standing = Standing { since: now, last: now, detail: detail.clone() };
        self.standing.insert(condition, standing);
        Some(Change { condition, active: true, detail })
    }

    /// The condition is known to be over.
    pub fn clear(&mut self, condition: Condition) -> Option<Change> {
        let standing = self.standing.remove(&condition)?;
        Some(Change { condition, active: false, detail: standing.detail })
    }

    /// Ends what was not seen for [`QUIET`]. `NoPeer` and `SplitBrain` end by what happens.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<Change>) {
        if self.standing.is_empty() {
            return;
        }
        self.standing.retain(|condition, standing| {
            let lasting = matches!(condition, Condition::NoPeer | Condition::SplitBrain);
            let over = !lasting && now.saturating_duration_since(standing.last) >= QUIET;
            if over {
                let detail = standing.detail.clone();
                out.push(Change { condition: *condition, active: false, detail });
            }
            !over
        });
    }

    /// Notes a sender.
    pub fn hear(&mut self, now: Instant, advert: &Received) {
        let Received { source, priority, interval, .. } = *advert;
        let new = Heard { address: source, priority, interval, adverts: 1, last: now };
        if let Some(known) = self.heard.iter_mut().find(|known| known.address == source) {
            *known = Heard { adverts: known.adverts + 1, ..new };
        } else if self.heard.len() < HEARD {
            self.heard.push(new);
        } else if let Some(oldest) = self.heard.iter_mut().min_by_key(|known| known.last) {
            *oldest = new;
        }
    }

    pub fn heard_any(&self) -> bool {
        !self.heard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::ChecksumForm;
    use std::net::Ipv4Addr;

    #[test]
    fn told_once_and_over_after_quiet() {
        let (mut conditions, start, mut out) = (Conditions::default(), Instant::now(), Vec::new());
        let at = |s| start + Duration::from_secs(s);
        let raise = |conditions: &mut Conditions, s| {
            conditions.raise(at(s), Condition::EqualPriority, || "10.0.0.2".into()).is_some()
        };
        assert!(raise(&mut conditions, 0));
        assert!(!raise(&mut conditions, 50), "it was told");
        conditions.expire(at(109), &mut out);
        assert_eq!(out, [], "seen 59 s ago");
        conditions.expire(at(110), &mut out);
        assert_eq!(out.len(), 1);
        assert!(!out[0].active);
        assert!(raise(&mut conditions, 111), "again");
    }

    #[test]
    fn senders_are_bounded() {
        let (mut conditions, start) = (Conditions::default(), Instant::now());
        for host in 0..20 {
            let advert = Received {
                source: Ipv4Addr::new(10, 0, 0, host).into(),
                priority: Priority(1),
                interval: Duration::from_secs(1),
                same_addresses: true,
                listed: true,
                form: ChecksumForm::Usual,
                unsigned: false,
                skew: None,
            };
            conditions.hear(start + Duration::from_secs(host.into()), &advert);
            conditions.hear(start + Duration::from_secs(host.into()), &advert);
        }
        assert_eq!(conditions.heard().len(), HEARD);
        assert!(conditions.heard().iter().all(|one| one.adverts == 2));
        let oldest = conditions.heard().iter().map(|one| one.address).min();
        assert_eq!(oldest, Some(Ipv4Addr::new(10, 0, 0, 12).into()));
    }
}

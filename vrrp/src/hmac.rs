//! auth_hmac: the signed trailer of keepalived 2.4.2 and later (draft-cassen-vrrp-auth-hmac).
//!
//! Here: signing what is sent, checking what is received, the sequence numbers of both. Not here:
//! finding the end of the message before the trailer (`receive`), reading keys from files, the clock
//! (the caller's).
//!
//! Who knows a key can sign as any sender. The IP header is not covered except for the source address,
//! so an advertisement can be sent on to somebody else within the window.

mod marks;
mod sequence;
mod trailer;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use ::hmac::Mac;

use crate::types::{AntiReplay, Hmac, HmacMode};
use marks::Marks;
use sequence::Sequence;
pub use trailer::{LENGTH, Trailer};

/// What surrounds a message and is signed with it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Version: 2 or 3.
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Source of the datagram.
    pub source: IpAddr,
    /// Where in the message its checksum is, which counts as zero: 6 in both versions.
    pub checksum_at: usize,
    /// The peers with unicast, `None` with multicast.
    pub peers: Option<&'a [IpAddr]>,
}

/// A received message that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it was signed; if not, the mode accepts that.
    pub signed: bool,
    /// Difference of the clocks, if it is more than half the time window: to be warned of before
    /// messages are refused.
    pub skew: Option<Duration>,
}

/// Why a received message is not used; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HmacRefusal {
    /// Unicast from an address that is no peer.
    UnknownSender,
    /// Not signed.
    Missing,
    /// No trailer of this kind.
    Malformed,
    /// Its time is outside the time window.
    Stale,
    /// No key has its number.
    UnknownKey,
    /// Another key, or something was altered.
    InvalidHmac,
    /// Not newer than the last one of this sender.
    Replay,
}

impl HmacRefusal {
    /// Name of the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            HmacRefusal::UnknownSender => "auth_ext_unknown_sender",
            HmacRefusal::Missing => "auth_ext_missing",
            HmacRefusal::Malformed => "auth_ext_malformed",
            HmacRefusal::Stale => "auth_ext_stale",
            HmacRefusal::UnknownKey => "auth_ext_unknown_key",
            HmacRefusal::InvalidHmac => "auth_ext_invalid_hmac",
            HmacRefusal::Replay => "auth_ext_replay",
        }
    }

    /// Cause and remedy for people.
    pub fn explain(self) -> &'static str {
        match self {
            HmacRefusal::UnknownSender => "signed by an address that is no unicast_peer",
            HmacRefusal::Missing => {
                "not signed: give the sender the same auth_hmac, or use mode permissive until it has it"
            }
            HmacRefusal::Malformed => {
                "trailer of another kind: give both routers the same version (keepalived before 2.4.2 signs otherwise)"
            }
            HmacRefusal::Stale => {
                "its time is outside time_window: synchronise the clocks, or it was replayed"
            }
            HmacRefusal::UnknownKey => "signed with a key that is not configured here",
            HmacRefusal::InvalidHmac => "wrong signature: give both routers the same key, or it was forged",
            HmacRefusal::Replay => "not newer than the last one of this sender: it was replayed",
        }
    }
}

/// Sequence numbers of a virtual router: the last one that it sent, and the last one of each sender.
///
/// Nothing of it is kept over a restart: with [`AntiReplay::Monotonic`] old messages are accepted
/// again then, until the sender is heard.
#[derive(Clone, Debug, Default)]
pub struct Session {
    sent: Option<Sequence>,
    marks: Marks,
}

impl Session {
    /// The trailer of a message that is about to be sent, the same one for all peers; `unix` is the
    /// time since 1970.
    ///
    /// `None` when it is not to be signed: in receive-only mode, or while the active key was not read
    /// from its file.
    pub fn seal(
        &mut self,
        hmac: &Hmac,
        unix: Duration,
        context: &Context,
        pdu: &[u8],
    ) -> Option<[u8; LENGTH]> {
        if hmac.mode == HmacMode::ReceiveOnly {
            return None;
        }
        let key = key(hmac, hmac.active.get())?;
        let sequence = self.next(hmac.anti_replay, Sequence::of_clock(unix));
        self.sent = Some(sequence);
        let unsigned = Trailer { key: hmac.active.get(), sequence: sequence.0, mac: [0; 16] };
        let mac = trailer::mac(key, context, pdu, &unsigned.signed_part()).finalize().into_bytes();
        let mac = mac.first_chunk().copied()?;
        Some(Trailer { mac, ..unsigned }.emit())
    }

    /// Checks a received message, whose `trailer` is what follows it, if anything does.
    ///
    /// # Errors
    /// [`HmacRefusal`]
    pub fn check(
        &mut self,
        hmac: &Hmac,
        unix: Duration,
        context: &Context,
        pdu: &[u8],
        trailer: Option<&[u8]>,
    ) -> Result<Checked, HmacRefusal> {
        if trailer.is_none() && hmac.mode != HmacMode::Enforce {
            return Ok(Checked { signed: false, skew: None });
        }
        if context.peers.is_some_and(|peers| !peers.contains(&context.source)) {
            return Err(HmacRefusal::UnknownSender);
        }
        let trailer = Trailer::parse(trailer.ok_or(HmacRefusal::Missing)?).ok_or(HmacRefusal::Malformed)?;
        let (sequence, clock) = (Sequence(trailer.sequence), Sequence::of_clock(unix));
        if let AntiReplay::Time { window } = hmac.anti_replay
            && !sequence.is_within(window, clock)
        {
            return Err(HmacRefusal::Stale);
        }
        let key = key(hmac, trailer.key).ok_or(HmacRefusal::UnknownKey)?;
        trailer::mac(key, context, pdu, &trailer.signed_part())
            .verify_truncated_left(&trailer.mac)
            .map_err(|_| HmacRefusal::InvalidHmac)?;
        if let Some(mark) = self.marks.of(context.source)
            && holds(hmac.anti_replay, mark, clock)
            && !sequence.is_after(mark)
        {
            return Err(HmacRefusal::Replay);
        }
        self.marks.set(context.source, sequence, context.peers);
        Ok(Checked { signed: true, skew: skew(hmac.anti_replay, sequence, clock) })
    }

    /// The clock, or one more than the last one where the clock stands still or was set back.
    fn next(&self, anti_replay: AntiReplay, clock: Sequence) -> Sequence {
        let Some(last) = self.sent else { return clock };
        // Receivers would refuse what is that far in the future, and no longer hold our mark there.
        let refused = matches!(anti_replay, AntiReplay::Time { window } if !last.is_within(window, clock));
        if refused || clock.is_after(last) { clock } else { last.next() }
    }
}

/// Whether a mark still counts. The freshness check refuses what one outside of the window would, but
/// for one in the future: it is from before the clock was set back, and would shut its sender out until
/// the clock shows that time again.
fn holds(anti_replay: AntiReplay, mark: Sequence, clock: Sequence) -> bool {
    match anti_replay {
        AntiReplay::Time { window } => mark.is_within(window, clock),
        AntiReplay::Monotonic => true,
    }
}

/// Difference of the clocks beyond half the window.
fn skew(anti_replay: AntiReplay, sequence: Sequence, clock: Sequence) -> Option<Duration> {
    let AntiReplay::Time { window } = anti_replay else { return None };
    let skew = sequence.distance(clock);
    (skew > window / 2).then_some(skew)
}

/// The octets of a key.
fn key(hmac: &Hmac, id: u8) -> Option<&[u8]> {
    let id = NonZeroU8::new(id)?;
    hmac.keys.iter().find(|(known, _)| *known == id).and_then(|(_, key)| key.octets())
}

/// Does with any octets what a receiver does: for the fuzz target and the property tests.
///
/// # Panics
/// When a message that was signed is not accepted once, and once only.
pub fn exercise_any(octets: &[u8]) {
    let (key, rest) = octets.split_at_checked(octets.len() / 4).unwrap_or((octets, &[]));
    let (pdu, trailer) = rest.split_at_checked(rest.len().saturating_sub(LENGTH)).unwrap_or((rest, &[]));
    if let Some(trailer) = Trailer::parse(trailer) {
        assert_eq!(Trailer::parse(&trailer.emit()), Some(trailer), "emit and parse are inverse");
    }
    let unix = Duration::from_secs(1_795_000_000);
    let source = IpAddr::from([192, 0, 2, 1]);
    let keys = vec![(NonZeroU8::MIN, crate::types::HmacKey::Hex(key.to_vec()))];
    for anti_replay in [AntiReplay::Time { window: Duration::from_secs(5) }, AntiReplay::Monotonic] {
        for peers in [None, Some(&[source][..])] {
            let context = Context { version: 2, vrid: 1, source, checksum_at: 6, peers };
            let mode = HmacMode::Enforce;
            let hmac = Hmac { keys: keys.clone(), active: NonZeroU8::MIN, anti_replay, mode };
            let mut session = Session::default();
            let received = session.check(&hmac, unix, &context, pdu, Some(trailer));
            assert!(received.is_err() || trailer.len() == LENGTH, "accepted without a trailer");

            let mut sender = Session::default();
            let sealed = sender.seal(&hmac, unix, &context, pdu).expect("a mode that signs");
            let mut receiver = Session::default();
            let mut check = || receiver.check(&hmac, unix, &context, pdu, Some(&sealed));
            assert_eq!(check(), Ok(Checked { signed: true, skew: None }), "signed, so accepted");
            assert_eq!(check(), Err(HmacRefusal::Replay), "accepted once only");
        }
    }
}

#[cfg(test)]
mod tests;

//! What a virtual router counts.

use std::collections::BTreeMap;

use crate::receive::Refusal;

/// Numbers since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts sent (one for all unicast peers).
    pub sent: u64,
    /// Adverts accepted.
    pub received: u64,
    /// Times it became master.
    pub became_master: u64,
    /// Times it left MASTER.
    pub released_master: u64,
    /// Priority-0 adverts sent.
    pub priority_zero_sent: u64,
    /// Priority-0 adverts accepted.
    pub priority_zero_received: u64,
    /// Times it stepped back after a pause of the process.
    pub pauses: u64,
    /// Used although the address list was another one.
    pub address_list: u64,
    /// Used although the interval was another one (version 3).
    pub interval: u64,
    /// Used although from no unicast_peer.
    pub unlisted_peer: u64,
    /// Used although not signed (auth_hmac, mode permissive or receive-only).
    pub unsigned: u64,
    /// Version 3 over IPv4 with a checksum without pseudo header.
    pub checksum_without_pseudo_header: u64,
    /// Version 3 over IPv4 with the checksum of old unicast peers.
    pub old_unicast_checksum: u64,
    /// Refusals by cause.
    pub refused: BTreeMap<Refusal, u64>,
}

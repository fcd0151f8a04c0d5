//! Datagrams that are for no virtual router of ours: counted, and the virtual routers of others named.
//!
//! Bounded: at most [`MOST`] are remembered, and each is told once. Not here: refused adverts of our own
//! virtual routers (`router`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::types::{Family, IfIndex};
use crate::wire::datagram::Datagram;

/// Virtual routers of others that are remembered; a flood of further ones is only counted.
const MOST: usize = 64;

/// A virtual router that is not configured here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Interface it was heard on; its number where the name is not known.
    pub interface: String,
    /// Its number.
    pub vrid: u8,
    /// Family.
    pub family: Family,
    /// Who sent the last advertisement.
    pub source: IpAddr,
    /// Advertisements heard; of a flood only a part is.
    pub adverts: u64,
    /// When the last came.
    pub last: Instant,
    /// log_unknown_vrids asks for it to be told as a warning.
    pub wanted: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers {
    count: u64,
    foreign: BTreeMap<(IfIndex, Family, u8), Foreign>,
    /// log_unknown_vrids
    pub tell_all: bool,
}

impl Strangers {
    /// Counts a datagram; the virtual router that it is of when it is heard for the first time.
    pub fn note(
        &mut self,
        now: Instant,
        interface: IfIndex,
        name: impl FnOnce() -> Option<String>,
        vrid: Option<u8>,
        datagram: &Datagram<'_>,
    ) -> Option<Foreign> {
        self.count += 1;
        let (source, family) = (datagram.source, Family::of(datagram.source));
        let vrid = vrid.filter(|vrid| *vrid != 0)?;
        if let Some(known) = self.foreign.get_mut(&(interface, family, vrid)) {
            (known.adverts, known.last, known.source) = (known.adverts + 1, now, source);
            return None;
        }
        if self.foreign.len() >= MOST {
            return None;
        }
        let interface_name = name().unwrap_or_else(|| interface.to_string());
        let foreign = Foreign {
            interface: interface_name,
            vrid,
            family,
            source,
            adverts: 1,
            last: now,
            wanted: self.tell_all,
        };
        self.foreign.insert((interface, family, vrid), foreign.clone());
        Some(foreign)
    }

    /// What is configured here by now is foreign no more.
    pub fn adopt(&mut self, is_own: impl Fn(IfIndex, Family, u8) -> bool) {
        self.foreign.retain(|(interface, family, vrid), _| !is_own(*interface, *family, *vrid));
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn foreign(&self) -> impl Iterator<Item = &Foreign> {
        self.foreign.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn told_once_and_bounded() {
        let mut strangers = Strangers::default();
        let payload = [0; 8];
        let datagram = Datagram {
            source: Ipv4Addr::new(10, 0, 0, 9).into(),
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            hop_limit: 255,
            protocol: 112,
            header: None,
            payload: &payload,
        };
        let now = Instant::now();
        let mut note = |index: u32, vrid: Option<u8>| {
            let interface = IfIndex::new(index).expect("index");
            strangers.note(now, interface, || Some("eth0".into()), vrid, &datagram).is_some()
        };
        assert!(note(2, Some(7)));
        assert!(!note(2, Some(7)), "told");
        assert!(note(3, Some(7)), "another interface");
        assert!(!note(2, Some(0)) && !note(2, None), "no virtual router");
        let told = (1..=255).filter(|vrid| note(2, Some(*vrid))).count();
        assert_eq!(told, MOST - 2);
        assert_eq!((strangers.count(), strangers.foreign().count()), (260, MOST));
    }
}

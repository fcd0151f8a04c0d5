//! The newest sequence number of each sender.

use std::net::IpAddr;

use super::sequence::Sequence;

/// Senders with multicast that are remembered: the master, and those that contend with it.
pub(super) const SLOTS: usize = 4;

/// Marks, the one that was set last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<(IpAddr, Sequence)>);

impl Marks {
    /// The mark of a sender.
    pub fn of(&self, sender: IpAddr) -> Option<Sequence> {
        self.0.iter().find(|(known, _)| *known == sender).map(|(_, sequence)| *sequence)
    }

    /// Sets the mark of a sender whose signature was right. A new one replaces with multicast that
    /// which was silent longest, with unicast those that are no peers any more.
    pub fn set(&mut self, sender: IpAddr, sequence: Sequence, peers: Option<&[IpAddr]>) {
        match self.0.iter().position(|(known, _)| *known == sender) {
            Some(at) => drop(self.0.remove(at)),
            None => match peers {
                Some(peers) => self.0.retain(|(known, _)| peers.contains(known)),
                None => drop(self.0.drain(..(self.0.len() + 1).saturating_sub(SLOTS))),
            },
        }
        self.0.push((sender, sequence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn senders(marks: &Marks) -> Vec<IpAddr> {
        marks.0.iter().map(|(sender, _)| *sender).collect()
    }

    #[test]
    fn the_longest_silent_sender_of_multicast_is_forgotten() {
        let mut marks = Marks::default();
        for (name, last, want) in [
            ("first", 1, &[1][..]),
            ("second", 2, &[1, 2]),
            ("third", 3, &[1, 2, 3]),
            ("fourth", 4, &[1, 2, 3, 4]),
            ("one that is known", 1, &[2, 3, 4, 1]),
            ("fifth", 5, &[3, 4, 1, 5]),
            ("forgotten one", 2, &[4, 1, 5, 2]),
        ] {
            marks.set(sender(last), Sequence(7), None);
            assert_eq!(senders(&marks), want.iter().map(|last| sender(*last)).collect::<Vec<_>>(), "{name}");
        }
        assert_eq!(marks.of(sender(3)), None);
        assert_eq!(marks.of(sender(2)), Some(Sequence(7)));
    }

    #[test]
    fn all_peers_of_unicast_are_remembered_and_no_others() {
        let peers: Vec<IpAddr> = (0..200).map(sender).collect();
        let mut marks = Marks::default();
        for peer in &peers {
            marks.set(*peer, Sequence(1), Some(&peers));
        }
        assert_eq!(senders(&marks), peers);
        let fewer = [sender(5), sender(201)];
        marks.set(fewer[1], Sequence(2), Some(&fewer));
        assert_eq!(senders(&marks), fewer, "after peers were removed");
        assert_eq!(marks.of(sender(5)), Some(Sequence(1)), "a peer that stays keeps its mark");
        (0..4).for_each(|last| marks.set(sender(last), Sequence(3), None));
        assert_eq!(senders(&marks), [0, 1, 2, 3].map(sender), "unicast became multicast");
    }
}

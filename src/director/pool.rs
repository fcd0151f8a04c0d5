//! One virtual server's pool: quorum, sorry server, weights → the wanted IPVS entry.
//!
//! Pure. Here: what follows for the virtual server from its servers' standings (keepalived's rules for
//! quorum, hysteresis, sorry server and inhibit_on_failure). Not here: how one is reached
//! (`lbd_health`), the kernel's table (`owner`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lbd_grammar::config::VirtualServer;
use lbd_ipvs::{Destination, Entry};

/// What the checkers say of one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// No checker fails.
    pub alive: bool,
    /// Configured weight with the checkers' contributions, 0..=2^31-1.
    pub weight: u32,
}

/// The quorum came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumChange {
    /// It is there now.
    pub up: bool,
    /// Live weight.
    pub weight: u64,
    /// quorum + hysteresis when gained, quorum - hysteresis when lost.
    pub needed: u64,
    /// The sorry server that leaves (gained) or takes over (lost).
    pub sorry_server: Option<SocketAddr>,
}

/// A virtual server and its servers' standings.
#[derive(Clone, Debug)]
pub struct Pool {
    config: Arc<VirtualServer>,
    standings: Vec<Standing>,
    quorum: bool,
}

impl Pool {
    /// A pool as it starts: without quorum until its servers show otherwise. `standings` are in the
    /// order of the configuration's real servers; missing ones count as dead.
    ///
    /// The change is reported when the quorum is there, and when it is not and a sorry server takes
    /// over; a start without either is silent.
    pub fn new(config: Arc<VirtualServer>, standings: Vec<Standing>) -> (Self, Option<QuorumChange>) {
        let mut pool = Pool { config, standings, quorum: false };
        pool.standings.resize(pool.config.real_servers.len(), Standing { alive: false, weight: 0 });
        let change = pool.evaluate().or_else(|| {
            pool.sorry_active().then(|| QuorumChange {
                up: false,
                weight: pool.alive_weight(),
                needed: pool.needed_to_keep(),
                sorry_server: pool.sorry_address(),
            })
        });
        (pool, change)
    }

    /// Takes over a changed configuration; the quorum is judged from where it stood.
    pub fn reconfigure(
        &mut self,
        config: Arc<VirtualServer>,
        standings: Vec<Standing>,
    ) -> Option<QuorumChange> {
        self.config = config;
        self.standings = standings;
        self.standings.resize(self.config.real_servers.len(), Standing { alive: false, weight: 0 });
        self.evaluate()
    }

    /// Takes over the standing on the real server at `index`; an index out of range changes nothing.
    pub fn update(&mut self, index: usize, standing: Standing) -> Option<QuorumChange> {
        *self.standings.get_mut(index)? = standing;
        self.evaluate()
    }

    /// The standing on the real server at `index`.
    pub fn standing(&self, index: usize) -> Option<Standing> {
        self.standings.get(index).copied()
    }

    /// Its configuration.
    pub fn config(&self) -> &Arc<VirtualServer> {
        &self.config
    }

    /// Sum of the live servers' weights.
    pub fn alive_weight(&self) -> u64 {
        self.standings
            .iter()
            .filter(|standing| standing.alive)
            .map(|standing| u64::from(standing.weight))
            .sum()
    }

    /// Whether the quorum is there.
    pub fn has_quorum(&self) -> bool {
        self.quorum
    }

    /// Whether the sorry server answers.
    pub fn sorry_active(&self) -> bool {
        !self.quorum && self.config.sorry_server.is_some()
    }

    /// What the kernel should hold.
    ///
    /// While the sorry server answers, live real servers are out of the table (at weight 0 with
    /// inhibit_on_failure). A sorry server that is also a real server has one entry.
    pub fn wanted(&self) -> Entry {
        let mut destinations: BTreeMap<SocketAddr, Destination> = BTreeMap::new();
        let sorry_active = self.sorry_active();
        for (server, standing) in self.config.real_servers.iter().zip(&self.standings) {
            if standing.alive && !sorry_active {
                destinations
                    .insert(server.address, Destination { weight: standing.weight, ..server.destination });
            } else if server.inhibit_on_failure {
                destinations.insert(server.address, Destination { weight: 0, ..server.destination });
            }
        }
        if let Some(sorry) = &self.config.sorry_server {
            if sorry_active {
                destinations.insert(sorry.address, sorry.destination);
            } else if sorry.inhibit {
                destinations.entry(sorry.address).or_insert(Destination { weight: 0, ..sorry.destination });
            }
        }
        Entry { service: self.config.service.clone(), destinations }
    }

    fn evaluate(&mut self) -> Option<QuorumChange> {
        let weight = self.alive_weight();
        let (up, needed) = if self.quorum {
            let needed = self.needed_to_keep();
            (weight > 0 && weight >= needed, needed)
        } else {
            let needed = u64::from(self.config.quorum) + u64::from(self.config.hysteresis);
            (weight >= needed, needed)
        };
        if up == self.quorum {
            return None;
        }
        self.quorum = up;
        Some(QuorumChange { up, weight, needed, sorry_server: self.sorry_address() })
    }

    fn needed_to_keep(&self) -> u64 {
        u64::from(self.config.quorum.saturating_sub(self.config.hysteresis))
    }

    fn sorry_address(&self) -> Option<SocketAddr> {
        self.config.sorry_server.as_ref().map(|sorry| sorry.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_grammar::config::{RealServer, SorryServer};
    use lbd_ipvs::{Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId};
    use proptest::prelude::*;

    const UP: Standing = Standing { alive: true, weight: 1 };
    const DOWN: Standing = Standing { alive: false, weight: 1 };

    fn address(last: usize) -> SocketAddr {
        format!("10.0.0.{last}:80").parse().expect("address")
    }

    fn destination(weight: u32) -> Destination {
        Destination { forwarding: Forwarding::Direct, weight, upper_threshold: 0, lower_threshold: 0 }
    }

    fn virtual_server(servers: usize, quorum: u32, hysteresis: u32, sorry: Option<usize>) -> VirtualServer {
        VirtualServer {
            id: ServiceId::Addr { protocol: Protocol::Tcp, vip: address(100) }.into(),
            service: Service {
                scheduler: Scheduler::new("rr").expect("name"),
                flags: ServiceFlags::default(),
                persistence_timeout: 0,
                netmask: Netmask::full(Family::Inet),
                persistence_engine: None,
            },
            forwarding: Forwarding::Direct,
            quorum,
            hysteresis,
            delay_loop: std::time::Duration::from_secs(60),
            ha_suspend: false,
            smtp_alert: false,
            snmp_name: None,
            omega: false,
            quorum_up: None,
            quorum_down: None,
            sorry_server: sorry.map(|last| SorryServer {
                address: address(last),
                destination: destination(1),
                inhibit: false,
            }),
            real_servers: (1..=servers)
                .map(|last| RealServer {
                    address: address(last),
                    destination: destination(1),
                    inhibit_on_failure: false,
                    notify_up: None,
                    notify_down: None,
                    smtp_alert: true,
                    snmp_name: None,
                    checks: Vec::new(),
                })
                .collect(),
        }
    }

    fn weights(pool: &Pool) -> Vec<(SocketAddr, u32)> {
        pool.wanted().destinations.iter().map(|(address, dest)| (*address, dest.weight)).collect()
    }

    #[test]
    fn the_last_one_out_brings_the_sorry_server_in() {
        let (mut pool, change) = Pool::new(virtual_server(2, 1, 0, Some(9)).into(), vec![UP, UP]);
        assert!(change.is_some_and(|change| change.up && change.weight == 2 && change.needed == 1));
        assert_eq!(weights(&pool), [(address(1), 1), (address(2), 1)]);
        assert_eq!(pool.update(0, DOWN), None);
        assert_eq!(weights(&pool), [(address(2), 1)]);
        let lost = pool.update(1, DOWN).expect("quorum lost");
        assert_eq!(lost, QuorumChange { up: false, weight: 0, needed: 1, sorry_server: Some(address(9)) });
        assert_eq!(weights(&pool), [(address(9), 1)]);
        assert!(pool.update(0, UP).is_some_and(|change| change.up));
        assert_eq!(weights(&pool), [(address(1), 1)]);
    }

    #[test]
    fn quorum_with_hysteresis() {
        // quorum 3, hysteresis 1: gained at 4, lost below 2.
        let (mut pool, change) = Pool::new(virtual_server(4, 3, 1, Some(9)).into(), vec![UP, UP, UP, DOWN]);
        assert_eq!(
            change,
            Some(QuorumChange { up: false, weight: 3, needed: 2, sorry_server: Some(address(9)) })
        );
        assert!(pool.sorry_active());
        for (name, index, standing, change, quorum) in [
            ("four of four", 3, UP, Some(true), true),
            ("three", 3, DOWN, None, true),
            ("two", 2, DOWN, None, true),
            ("one", 1, DOWN, Some(false), false),
            ("two again is not enough", 1, UP, None, false),
            ("three again is not enough", 2, UP, None, false),
            ("four again", 3, UP, Some(true), true),
        ] {
            assert_eq!(pool.update(index, standing).map(|change| change.up), change, "{name}");
            assert_eq!(pool.has_quorum(), quorum, "{name}");
        }
    }

    #[test]
    fn without_sorry_server_the_rest_stays_when_the_quorum_is_lost() {
        let (mut pool, _) = Pool::new(virtual_server(3, 2, 0, None).into(), vec![UP, UP, UP]);
        pool.update(0, DOWN);
        assert!(pool.update(1, DOWN).is_some_and(|change| !change.up && change.sorry_server.is_none()));
        assert_eq!(weights(&pool), [(address(3), 1)]);
    }

    #[test]
    fn a_start_without_servers_and_without_sorry_server_is_silent() {
        let (pool, change) = Pool::new(virtual_server(2, 1, 0, None).into(), vec![DOWN, DOWN]);
        assert_eq!(change, None);
        assert_eq!(weights(&pool), []);
    }

    #[test]
    fn inhibited_servers_stay_at_weight_0() {
        let mut config = virtual_server(2, 1, 0, Some(9));
        for server in &mut config.real_servers {
            server.inhibit_on_failure = true;
        }
        config.sorry_server.as_mut().expect("sorry server").inhibit = true;
        let (mut pool, _) = Pool::new(config.into(), vec![UP, UP]);
        assert_eq!(weights(&pool), [(address(1), 1), (address(2), 1), (address(9), 0)]);
        pool.update(0, DOWN);
        assert_eq!(weights(&pool), [(address(1), 0), (address(2), 1), (address(9), 0)]);
        pool.update(1, DOWN);
        assert_eq!(weights(&pool), [(address(1), 0), (address(2), 0), (address(9), 1)]);
    }

    #[test]
    fn a_sorry_server_that_is_a_real_server_has_one_entry() {
        let (mut pool, _) = Pool::new(virtual_server(2, 2, 0, Some(1)).into(), vec![UP, UP]);
        assert_eq!(weights(&pool), [(address(1), 1), (address(2), 1)]);
        pool.update(0, DOWN);
        assert_eq!(weights(&pool), [(address(1), 1)], "as sorry server");
    }

    #[test]
    fn a_weight_of_zero_is_alive_but_no_quorum() {
        let (mut pool, _) = Pool::new(virtual_server(1, 1, 0, None).into(), vec![UP]);
        assert!(pool.update(0, Standing { alive: true, weight: 0 }).is_some_and(|change| !change.up));
        assert_eq!(weights(&pool), [(address(1), 0)]);
    }

    #[test]
    fn a_reload_keeps_the_quorum_flag_within_the_hysteresis() {
        let (mut pool, _) = Pool::new(virtual_server(3, 2, 1, None).into(), vec![UP, UP, UP]);
        let change = pool.reconfigure(virtual_server(2, 2, 1, None).into(), vec![UP, UP]);
        assert_eq!(change, None);
        assert!(pool.has_quorum());
    }

    proptest! {
        #[test]
        fn wanted_follows_the_standings(
            quorum in 1u32..6, hysteresis in 0u32..3, sorry in any::<bool>(),
            steps in proptest::collection::vec((0usize..5, any::<bool>(), 0u32..4), 0..40),
        ) {
            let config = virtual_server(5, quorum, hysteresis.min(quorum - 1), sorry.then_some(9));
            let (mut pool, _) = Pool::new(config.into(), vec![UP; 5]);
            for (index, alive, weight) in steps {
                let before = pool.has_quorum();
                let change = pool.update(index, Standing { alive, weight });
                prop_assert_eq!(change.is_some(), before != pool.has_quorum());
                let wanted = pool.wanted().destinations;
                prop_assert_eq!(wanted.contains_key(&address(9)), pool.sorry_active());
                for server in 0..5 {
                    let standing = pool.standing(server).expect("in range");
                    let want = (standing.alive && !pool.sorry_active()).then_some(standing.weight);
                    prop_assert_eq!(wanted.get(&address(server + 1)).map(|dest| dest.weight), want);
                }
            }
        }
    }
}

//! The namespaces of one daemon, linked, with nothing in them yet.

use anyhow::Result;

use super::file::Subject;
use crate::netns::Netns;

/// Both namespaces of a daemon.
#[derive(Debug)]
pub struct Network {
    /// Where the daemon is.
    pub director: Netns,
    /// What is at the other end: servers, or routers.
    pub beyond: Netns,
}

impl Network {
    /// Makes what a file about that needs.
    ///
    /// # Errors
    /// Without the rights of root.
    pub fn new(name: &str, subject: Subject) -> Result<Self> {
        let this =
            Self { director: Netns::new(&format!("{name}d"))?, beyond: Netns::new(&format!("{name}s"))? };
        for ns in [&this.director, &this.beyond] {
            ns.sysctl(&[
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                // Ports that are closed say so, however often they are asked.
                ("ipv4/icmp_ratelimit", "0"),
                ("ipv6/icmp/ratelimit", "0"),
                ("ipv4/ping_group_range", "0 2147483647"),
                // The servers' addresses are on no interface.
                ("ipv6/ip_nonlocal_bind", "1"),
            ])?;
        }
        match subject {
            Subject::Checkers => this.servers()?,
            Subject::Vrrp => this.routers()?,
        }
        Ok(this)
    }

    /// `10.0.0.1` is the director, all of `10.1.0.0/16` and `fd00:1::/64` the servers'; addresses of `10.2.0.0/16` are there when
    /// a host has them.
    fn servers(&self) -> Result<()> {
        self.director.ip(&format!(
            "link add name eth0 type veth peer name eth0 netns {}\n\
             address add 10.0.0.1/24 dev eth0\n\
             address add fd00::1/64 dev eth0 nodad\n\
             link set eth0 up\n",
            self.beyond.name()
        ))?;
        self.beyond.ip("address add 10.0.0.2/24 dev eth0\n\
             address add fd00::2/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add local 10.1.0.0/16 dev lo\n\
             route add local fd00:1::/64 dev lo\n")?;
        self.director.ip("route add 10.1.0.0/16 via 10.0.0.2\n\
             route add 10.2.0.0/16 via 10.0.0.2\n\
             route add fd00:1::/64 via fd00::2\n")
    }

    /// Two links, `eth0` and `eth1`; `.1` is the daemon's, `.2` the peers'. Hardware addresses are said, for what is made of them
    /// must be the same for both daemons.
    fn routers(&self) -> Result<()> {
        let beyond = self.beyond.name();
        self.director.ip(&format!(
            "link add name eth0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns {beyond}\n\
             link add name eth1 address 02:00:00:00:01:01 type veth peer name eth1 address 02:00:00:00:01:02 netns {beyond}\n\
             address add 10.0.0.1/24 dev eth0\n\
             address add 10.0.1.1/24 dev eth1\n\
             address add fd00::1/64 dev eth0 nodad\n\
             link set eth0 up\n\
             link set eth1 up\n"
        ))?;
        self.beyond.ip("address add 10.0.0.2/24 dev eth0\n\
             address add 10.0.1.2/24 dev eth1\n\
             address add fd00::2/64 dev eth0 nodad\n\
             link set eth0 up\n\
             link set eth1 up\n")
    }
}

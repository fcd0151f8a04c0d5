//! A configuration of very many servers, generated: the same text for each daemon, the same table for `ipvsadm -R`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use crate::checks::responder::{self, PORT};

/// How much is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Virtual servers.
    pub services: usize,
    /// Real servers of all together. Where they do not divide evenly, the first virtual servers have one more.
    pub real_servers: usize,
    /// delay_loop of a TCP_CHECK of each real server; without, they have no checkers.
    pub checked: Option<Duration>,
}

impl Shape {
    /// Without checkers.
    pub const fn unchecked(services: usize, real_servers: usize) -> Self {
        Self { services, real_servers, checked: None }
    }

    /// With a TCP_CHECK for each real server.
    pub const fn checked(self, delay_loop: Duration) -> Self {
        Self { checked: Some(delay_loop), ..self }
    }

    /// As people say it.
    pub fn words(&self) -> String {
        let checks =
            self.checked.map_or(String::new(), |period| format!(", a TCP_CHECK each every {period:?}"));
        if self.services > 0 && self.real_servers.is_multiple_of(self.services) {
            format!("{} x {} real servers{checks}", self.services, self.real_servers / self.services)
        } else {
            format!("{} virtual servers with {} real servers{checks}", self.services, self.real_servers)
        }
    }

    /// Address of a virtual server; its port is 80.
    pub fn vip(service: usize) -> String {
        format!("10.100.{}.{}", service / 250, service % 250 + 1)
    }

    /// Address of a real server; its port is [`PORT`].
    pub fn real(server: usize) -> Ipv4Addr {
        responder::address(server)
    }

    /// The real servers of each virtual server, by their numbers.
    pub fn pools(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { services, real_servers, .. } = *self;
        let each = real_servers / services.max(1);
        let longer = real_servers % services.max(1);
        (0..services).map(move |service| {
            let first = service * each + service.min(longer);
            first..first + each + usize::from(service < longer)
        })
    }

    /// The virtual server of a real server.
    pub fn service_of(&self, server: usize) -> Option<usize> {
        self.pools().position(|pool| pool.contains(&server))
    }

    /// The configuration with weight 1 everywhere but at `other`, a real server and its weight.
    pub fn config(&self, other: Option<(usize, u32)>) -> String {
        let mut text = String::new();
        let check = self.checked.map_or("", |_| "    TCP_CHECK {\n      connect_timeout 3\n    }\n");
        // keepalived wants one even where nothing is checked.
        let delay_loop = self.checked.unwrap_or(Duration::from_secs(60)).as_secs_f64();
        for (service, pool) in self.pools().enumerate() {
            let vip = Self::vip(service);
            let _ = writeln!(
                text,
                "virtual_server {vip} 80 {{\n  delay_loop {delay_loop}\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP"
            );
            for server in pool {
                let weight = other.filter(|(at, _)| *at == server).map_or(1, |(_, weight)| weight);
                let address = Self::real(server);
                let _ = writeln!(text, "  real_server {address} {PORT} {{\n    weight {weight}\n{check}  }}");
            }
            text.push_str("}\n");
        }
        text
    }

    /// The same table for `ipvsadm -R`.
    pub fn rules(&self) -> String {
        let mut rules = String::new();
        for (service, pool) in self.pools().enumerate() {
            let vip = Self::vip(service);
            let _ = writeln!(rules, "-A -t {vip}:80 -s rr");
            for server in pool {
                let _ = writeln!(rules, "-a -t {vip}:80 -r {}:{PORT} -m -w 1", Self::real(server));
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_real_server_is_in_one_pool() {
        for (name, services, real_servers, first, last) in [
            ("even", 1000, 10_000, 10, 10),
            ("uneven", 2284, 37_298, 17, 16),
            ("fewer than virtual servers", 3, 2, 1, 0),
            ("none", 0, 0, 0, 0),
        ] {
            let shape = Shape::unchecked(services, real_servers);
            let pools: Vec<Range<usize>> = shape.pools().collect();
            assert_eq!(pools.len(), services, "{name}");
            assert_eq!(pools.iter().map(Range::len).sum::<usize>(), real_servers, "{name}");
            assert!(pools.windows(2).all(|two| two[0].end == two[1].start), "{name}: without gaps");
            assert_eq!(pools.first().map_or(0, Range::len), first, "{name}");
            assert_eq!(pools.last().map_or(0, Range::len), last, "{name}");
        }
        let longer = Shape::unchecked(2284, 37_298).pools().filter(|pool| pool.len() == 17).count();
        assert_eq!(longer, 754);
        assert_eq!(Shape::unchecked(2284, 37_298).service_of(17), Some(1));
        assert_eq!(Shape::unchecked(2284, 37_298).service_of(37_298), None);
    }

    #[test]
    fn addresses_are_different() {
        let mut all = BTreeSet::new();
        for service in 0..4000 {
            assert!(all.insert(Shape::vip(service)));
        }
        for server in 0..50_000 {
            assert!(all.insert(Shape::real(server).to_string()));
        }
    }

    #[test]
    fn a_configuration_and_its_table() {
        let shape = Shape::unchecked(2, 3);
        let text = shape.config(Some((2, 7)));
        assert_eq!(
            text,
            "virtual_server 10.100.0.1 80 {\n  delay_loop 60\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  \
             real_server 10.8.0.1 8000 {\n    weight 1\n  }\n  real_server 10.8.0.2 8000 {\n    weight 1\n  }\n}\n\
             virtual_server 10.100.0.2 80 {\n  delay_loop 60\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  \
             real_server 10.8.0.3 8000 {\n    weight 7\n  }\n}\n"
        );
        assert_eq!(
            shape.rules(),
            "-A -t 10.100.0.1:80 -s rr\n-a -t 10.100.0.1:80 -r 10.8.0.1:8000 -m -w 1\n\
             -a -t 10.100.0.1:80 -r 10.8.0.2:8000 -m -w 1\n-A -t 10.100.0.2:80 -s rr\n\
             -a -t 10.100.0.2:80 -r 10.8.0.3:8000 -m -w 1\n"
        );
        let checked = shape.checked(Duration::from_millis(1500));
        let text = checked.config(None);
        assert_eq!(text.matches("TCP_CHECK").count(), 3);
        assert!(text.contains("delay_loop 1.5\n") && !text.contains("weight 7"), "{text}");
        assert_eq!(shape.words(), "2 virtual servers with 3 real servers");
        assert_eq!(Shape::unchecked(10, 20).words(), "10 x 2 real servers");
    }
}

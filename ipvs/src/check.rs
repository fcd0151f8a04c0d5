//! What the kernel takes without a word although it cannot work: our own errors.
//!
//! Pure. Seen on Linux 6.1; what the kernel refuses by itself is not looked for here.

use crate::types::{
    Destination, Forwarding, Op, Protocol, Service, ServiceFlags, ServiceId, Tunnel, TunnelChecksum,
};

/// Why `op` must not be sent, in words that go after "because"; `None` when nothing speaks against it.
pub fn objection(op: &Op) -> Option<String> {
    match op {
        Op::NewService(id, service) | Op::SetService(id, service) => of_service(id, service),
        Op::NewDest(id, address, destination) | Op::SetDest(id, address, destination) => {
            of_destination(id, address.port(), destination)
        }
        Op::DelService(_) | Op::DelDest(..) => None,
    }
}

fn of_service(id: &ServiceId, service: &Service) -> Option<String> {
    let ServiceId::Addr { protocol, vip } = id else { return None };
    if vip.port() == 0 && !service.flags.contains(ServiceFlags::PERSISTENT) {
        return Some("a service for every port (port 0) works only with persistence".to_owned());
    }
    if *protocol != Protocol::Udp && service.flags.contains(ServiceFlags::ONE_PACKET) {
        return Some(format!("one-packet scheduling is for UDP, and the service is {protocol}"));
    }
    None
}

fn of_destination(id: &ServiceId, port: u16, destination: &Destination) -> Option<String> {
    if let Forwarding::Direct | Forwarding::Tunnel(_) = destination.forwarding {
        // The port is not rewritten: the real server gets the packets as they came.
        match id {
            ServiceId::Addr { vip, .. } if vip.port() != port => {
                let method = destination.forwarding;
                return Some(format!(
                    "{method} leaves the port as it is, so the real server's must be {}, not {port}",
                    vip.port()
                ));
            }
            ServiceId::FwMark { .. } if port != 0 => {
                let method = destination.forwarding;
                return Some(format!(
                    "{method} leaves the port as it is, so a real server of a firewall mark has port 0, not {port}"
                ));
            }
            _ => {}
        }
    }
    match destination.forwarding {
        Forwarding::Tunnel(Tunnel::Other { kind, port, flags }) => Some(format!(
            "there is no tunnel of type {kind} with port {port} and flags {flags}: the types are ipip (0), gue (1, with \
             a port) and gre (2)"
        )),
        Forwarding::Tunnel(Tunnel::Gre { checksum: TunnelChecksum::Remote }) => {
            Some("gre has no remote checksum".to_owned())
        }
        Forwarding::Other(code) => Some(format!("there is no forwarding method {code}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Family, Netmask, Scheduler};
    use std::net::SocketAddr;
    use std::num::{NonZeroU16, NonZeroU32};

    #[test]
    fn what_the_kernel_would_take_silently() {
        let by = |protocol, vip: &str| ServiceId::Addr { protocol, vip: vip.parse().expect("address") };
        let (tcp, any) = (by(Protocol::Tcp, "10.0.0.1:80"), by(Protocol::Tcp, "10.0.0.1:0"));
        let udp = by(Protocol::Udp, "10.0.0.1:53");
        let mark = ServiceId::FwMark { mark: NonZeroU32::MIN, family: Family::Inet };
        let service = |flags| Service {
            scheduler: Scheduler::new("rr").expect("name"),
            flags,
            persistence_timeout: 0,
            netmask: Netmask::full(Family::Inet),
            persistence_engine: None,
        };
        let dest = |id, port, forwarding| {
            let to = Destination { forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 };
            Op::NewDest(id, SocketAddr::from(([10, 0, 0, 2], port)), to)
        };
        let gue = Tunnel::Gue { port: NonZeroU16::MIN, checksum: TunnelChecksum::Remote };
        let tunnel = Forwarding::Tunnel;
        let other = |kind, port, flags| tunnel(Tunnel::Other { kind, port, flags });
        for (name, op, want) in [
            ("TCP", Op::NewService(tcp, service(ServiceFlags::default())), None),
            ("every port", Op::NewService(any, service(ServiceFlags::default())), Some("persistence")),
            ("every port, persistent", Op::SetService(any, service(ServiceFlags::PERSISTENT)), None),
            ("one-packet TCP", Op::SetService(tcp, service(ServiceFlags::ONE_PACKET)), Some("for UDP")),
            ("one-packet UDP", Op::NewService(udp, service(ServiceFlags::ONE_PACKET)), None),
            ("one-packet mark", Op::NewService(mark, service(ServiceFlags::ONE_PACKET)), None),
            ("DR, another port", dest(tcp, 8080, Forwarding::Direct), Some("must be 80, not 8080")),
            ("DR, the same", dest(tcp, 80, Forwarding::Direct), None),
            ("TUN, another port", dest(tcp, 81, tunnel(Tunnel::Ipip)), Some("must be 80, not 81")),
            ("NAT, another port", dest(tcp, 8080, Forwarding::Nat), None),
            ("DR to a mark with a port", dest(mark, 80, Forwarding::Direct), Some("port 0, not 80")),
            ("DR to a mark", dest(mark, 0, Forwarding::Direct), None),
            ("NAT to a mark with a port", dest(mark, 80, Forwarding::Nat), None),
            ("GUE", dest(tcp, 80, tunnel(gue)), None),
            (
                "GRE remote",
                dest(tcp, 80, tunnel(Tunnel::Gre { checksum: TunnelChecksum::Remote })),
                Some("gre"),
            ),
            ("unknown tunnel", dest(tcp, 80, other(7, 0, 0)), Some("type 7")),
            ("GUE without port", dest(tcp, 80, other(1, 0, 0)), Some("with a port")),
            ("unknown method", dest(tcp, 80, Forwarding::Other(6)), Some("method 6")),
            ("to remove is allowed", Op::DelDest(mark, SocketAddr::from(([10, 0, 0, 2], 80))), None),
        ] {
            let got = objection(&op);
            assert_eq!(got.is_some(), want.is_some(), "{name}: {got:?}");
            assert!(got.unwrap_or_default().contains(want.unwrap_or_default()), "{name}");
        }
    }
}

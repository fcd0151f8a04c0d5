//! What can go wrong between us and the kernel's table: meaning and remedy instead of a number.

use nix::errno::Errno;

use crate::types::{Family, Forwarding, Op, Tunnel};

/// Why a request to IPVS failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpvsError {
    /// Generic netlink has no family `IPVS` (ENOENT from the look-up).
    #[error("no IPVS in this kernel: load its module ip_vs with `modprobe ip_vs`")]
    NoIpvs,
    /// EPERM.
    #[error("no right to {request}: CAP_NET_ADMIN is needed (run as root, or grant the capability)")]
    NoRight {
        /// What was asked.
        request: String,
    },
    /// EEXIST: service, destination or daemon is there already.
    #[error("cannot {request}: it exists already")]
    Exists {
        /// What was asked.
        request: String,
    },
    /// ESRCH: the service is not there.
    #[error("cannot {request}: there is no such virtual service")]
    NoService {
        /// What was asked.
        request: String,
    },
    /// ENOENT: the service is there, the destination is not.
    #[error("cannot {request}: there is no such real server")]
    NoDestination {
        /// What was asked.
        request: String,
    },
    /// ENOENT when adding or changing a service.
    #[error(
        "cannot {request}: scheduler `{scheduler}` is not in this kernel: load it with \
         `modprobe ip_vs_{scheduler}`, or choose another"
    )]
    UnknownScheduler {
        /// What was asked.
        request: String,
        /// The scheduler.
        scheduler: String,
    },
    /// ENOENT when adding or changing a service with a persistence engine: the kernel does not say
    /// which of the two it lacks.
    #[error(
        "cannot {request}: scheduler `{scheduler}` or persistence engine `{engine}` is not in this kernel: \
         load them with `modprobe -a ip_vs_{scheduler} ip_vs_pe_{engine}`"
    )]
    UnknownSchedulerOrEngine {
        /// What was asked.
        request: String,
        /// The scheduler.
        scheduler: String,
        /// The persistence engine.
        engine: String,
    },
    /// ERANGE.
    #[error(
        "cannot {request}: out of range: a weight is 0..=2147483647 and the lower threshold at most the upper"
    )]
    OutOfRange {
        /// What was asked.
        request: String,
    },
    /// EINVAL.
    #[error("cannot {request}: the kernel calls it invalid: {hint}")]
    Invalid {
        /// What was asked.
        request: String,
        /// What to look at.
        hint: String,
    },
    /// The kernel would take it, and it could not work: it was not sent ([`crate::check`]).
    #[error("cannot {request}: {reason}")]
    Unsound {
        /// What was asked.
        request: String,
        /// Why not.
        reason: String,
    },
    /// Another error number.
    #[error("cannot {request}: {errno}{}", .detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// What was asked.
        request: String,
        /// The kernel's number.
        #[source]
        errno: Errno,
        /// The kernel's own words, where it gives some.
        detail: Option<String>,
    },
    /// No answer within the time limit.
    #[error("the kernel did not answer within {limit_ms} ms: the table is read again over a new socket")]
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u128,
    },
    /// ENOBUFS: answers did not fit into the receive buffer and are lost.
    #[error(
        "answers of the kernel were lost (receive buffer full): the table is read again over a new socket"
    )]
    Overrun,
    /// ENOENT for a request that every IPVS knows: nobody has the family's number any more.
    #[error(
        "the kernel's IPVS has gone (module ip_vs unloaded?): it is looked up again, which loads the module where it can"
    )]
    Unloaded,
    /// The netlink socket itself failed.
    #[error("netlink socket: cannot {action}: {errno}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// An answer that is not netlink.
    #[error("the kernel's answer cannot be read: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The table's owner is not there to answer.
    #[error("the table cannot be read now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl IpvsError {
    /// The connection is gone, and with it the answers to what was asked: reconnect, read the table
    /// back, plan again.
    pub fn is_lost(&self) -> bool {
        matches!(
            self,
            IpvsError::TimedOut { .. }
                | IpvsError::Overrun
                | IpvsError::Unloaded
                | IpvsError::Socket { .. }
                | IpvsError::Malformed { .. }
        )
    }

    /// Rights are missing.
    pub fn is_permission(&self) -> bool {
        matches!(
            self,
            IpvsError::NoRight { .. } | IpvsError::Socket { errno: Errno::EPERM | Errno::EACCES, .. }
        )
    }

    /// The table is not as it was thought to be: someone else changed it.
    pub fn is_stale(&self) -> bool {
        matches!(
            self,
            IpvsError::Exists { .. } | IpvsError::NoService { .. } | IpvsError::NoDestination { .. }
        )
    }

    /// Why `op` must not be sent, if it must not.
    pub fn of_unsound(op: &Op) -> Option<Self> {
        let reason = crate::check::objection(op)?;
        Some(IpvsError::Unsound { request: op.to_string(), reason })
    }

    /// What the kernel's `errno` means for `op`; `detail` is its own text, where it gave one.
    pub fn of_op(op: &Op, errno: Errno, detail: Option<String>) -> Self {
        let request = op.to_string();
        match (errno, op) {
            (Errno::ENOENT, Op::NewService(_, service) | Op::SetService(_, service)) => {
                let scheduler = service.scheduler.as_str().to_owned();
                match service.persistence_engine.clone() {
                    None => IpvsError::UnknownScheduler { request, scheduler },
                    Some(engine) => IpvsError::UnknownSchedulerOrEngine { request, scheduler, engine },
                }
            }
            (Errno::ENOENT, _) => IpvsError::NoDestination { request },
            (Errno::ESRCH, _) => IpvsError::NoService { request },
            (Errno::EINVAL, _) => IpvsError::Invalid { request, hint: detail.unwrap_or_else(|| hint(op)) },
            _ => Self::of_request(&request, errno, detail),
        }
    }

    /// What the kernel's `errno` means for a request that is not an [`Op`].
    pub fn of_request(request: &str, errno: Errno, detail: Option<String>) -> Self {
        let request = request.to_owned();
        match errno {
            Errno::EPERM => IpvsError::NoRight { request },
            Errno::EEXIST => IpvsError::Exists { request },
            Errno::ERANGE => IpvsError::OutOfRange { request },
            _ => IpvsError::Refused { request, errno, detail },
        }
    }
}

/// What the kernel most likely objects to.
fn hint(op: &Op) -> String {
    match op {
        Op::NewDest(id, address, destination) | Op::SetDest(id, address, destination) => {
            let mixed = Family::of(address.ip()) != id.family();
            match destination.forwarding {
                Forwarding::Tunnel(Tunnel::Other { kind, port, .. }) => {
                    format!("tunnel type {kind} to port {port} is not one it takes (GUE needs a port)")
                }
                Forwarding::Tunnel(_) if mixed => "a real server of another family than its virtual service \
                    and the connection sync daemon exclude each other: stop the daemon"
                    .to_owned(),
                _ if mixed => {
                    "a real server of another family than its virtual service needs forwarding TUN".to_owned()
                }
                _ => {
                    "its address must be a unicast address that is not out of reach of this network namespace"
                        .to_owned()
                }
            }
        }
        _ => "look at the netmask (IPv6: 1 to 128), at flags that the scheduler lacks, and at one-packet \
              scheduling, which UDP alone has"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Destination, Netmask, Scheduler, Service, ServiceFlags, ServiceId};

    fn id() -> ServiceId {
        ServiceId::Addr {
            protocol: crate::types::Protocol::Tcp,
            vip: "10.0.0.1:80".parse().expect("address"),
        }
    }

    fn service(scheduler: &str, engine: Option<&str>) -> Service {
        Service {
            scheduler: Scheduler::new(scheduler).expect("name"),
            flags: ServiceFlags::default(),
            persistence_timeout: 0,
            netmask: Netmask::full(Family::Inet),
            persistence_engine: engine.map(str::to_owned),
        }
    }

    #[test]
    fn each_number_has_a_meaning_and_a_remedy() {
        let real = "10.0.0.2:80".parse().expect("address");
        let real6 = "[2001:db8::2]:80".parse().expect("address");
        let nat =
            Destination { forwarding: Forwarding::Nat, weight: 1, upper_threshold: 0, lower_threshold: 0 };
        for (name, op, errno, parts) in [
            (
                "scheduler",
                Op::NewService(id(), service("wrrr", None)),
                Errno::ENOENT,
                vec!["`wrrr`", "modprobe ip_vs_wrrr"],
            ),
            (
                "engine",
                Op::SetService(id(), service("rr", Some("sip"))),
                Errno::ENOENT,
                vec!["ip_vs_pe_sip", "ip_vs_rr"],
            ),
            (
                "service",
                Op::NewDest(id(), real, nat),
                Errno::ESRCH,
                vec!["10.0.0.2:80", "no such virtual service"],
            ),
            ("destination", Op::DelDest(id(), real), Errno::ENOENT, vec!["no such real server"]),
            ("right", Op::DelService(id()), Errno::EPERM, vec!["CAP_NET_ADMIN", "TCP 10.0.0.1:80"]),
            ("exists", Op::NewDest(id(), real, nat), Errno::EEXIST, vec!["exists already"]),
            ("range", Op::NewDest(id(), real, nat), Errno::ERANGE, vec!["2147483647"]),
            ("mixed", Op::NewDest(id(), real6, nat), Errno::EINVAL, vec!["needs forwarding TUN"]),
            ("other", Op::NewDest(id(), real, nat), Errno::ENOMEM, vec!["ENOMEM"]),
        ] {
            let text = IpvsError::of_op(&op, errno, None).to_string();
            for part in parts {
                assert!(text.contains(part), "{name}: {text}");
            }
        }
        let refused = IpvsError::of_request("start", Errno::ENODEV, Some("why".to_owned())).to_string();
        assert!(refused.contains("ENODEV") && refused.contains("(why)"), "{refused}");
    }
}

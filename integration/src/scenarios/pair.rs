//! What scenarios with DR and one or two directors share: hosts `c`, `a`, `b`, `r1`..`r3`, one VIP, one service, rr.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::servers::Server;
use crate::topology::{Forwarding, Lab, host};

/// The virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The virtual service as a client sees it.
pub const SERVICE: &str = "10.0.0.100:80";
/// Its key in the table.
pub const KEY: &str = "TCP 10.0.0.100:80";
/// The real servers, in order.
pub const REAL: [&str; 3] = ["10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80"];

/// The hosts, with the VIP on the real servers.
pub fn lab() -> Result<Lab> {
    let lab = Lab::new(&[
        host("c", "10.0.0.2/24"),
        host("a", "10.0.0.11/24"),
        host("b", "10.0.0.12/24"),
        host("r1", "10.0.0.21/24"),
        host("r2", "10.0.0.22/24"),
        host("r3", "10.0.0.23/24"),
    ])?;
    for server in ["r1", "r2", "r3"] {
        lab.accept_vip(server, &VIP.to_string(), Forwarding::Dr)?;
    }
    Ok(lab)
}

/// Port 80 of the three real servers.
pub fn servers(lab: &Lab) -> Result<[Server<'_>; 3]> {
    let start = |name: &str| Server::start(lab.host(name), name, "0.0.0.0:80");
    Ok([start("r1")?, start("r2")?, start("r3")?])
}

/// A director's file: VRRP with that priority and the service with the first `real_servers` of [`REAL`].
pub fn config(priority: u32, real_servers: usize) -> String {
    let mut text = format!(
        "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 1\n  \
         virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n\
         virtual_server {VIP} 80 {{\n  delay_loop 1\n  lb_algo rr\n  lb_kind DR\n  protocol TCP\n"
    );
    for server in REAL.iter().take(real_servers) {
        text.push_str(&format!(
            "  real_server {} {{\n    weight 1\n    TCP_CHECK {{\n      connect_timeout 1\n      retry 1\n      \
             delay_before_retry 1\n    }}\n  }}\n",
            server.replace(':', " ")
        ));
    }
    text + "}\n"
}

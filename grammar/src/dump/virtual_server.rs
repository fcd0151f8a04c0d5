//! Blocks of `config::virtual_server` as text.

use std::fmt::Display;
use std::net::SocketAddr;

use lbd_ipvs::{Destination, Forwarding, Netmask, Service, ServiceFlags, ServiceId, Tunnel, TunnelChecksum};

use super::{Writer, check};
use crate::config::{
    ClientTls, Config, FlapDamping, GroupMember, RealServer, SorryServer, VirtualServer, VirtualServerId,
};

pub(super) fn write(writer: &mut Writer<'_>, config: &Config) {
    if let Some(tls) = &config.tls {
        writer.block::<&str>("SSL", [], |writer| client_tls(writer, tls));
    }
    for (name, members) in &config.virtual_server_groups {
        writer.block("virtual_server_group", [name], |writer| {
            members.iter().for_each(|one| member(writer, one));
        });
    }
    for server in &config.virtual_servers {
        let words = match &server.id {
            VirtualServerId::Service(ServiceId::Addr { vip, .. }) => endpoint(*vip),
            VirtualServerId::Service(ServiceId::FwMark { mark, .. }) => {
                vec!["fwmark".to_owned(), mark.to_string()]
            }
            VirtualServerId::Group(key) => vec!["group".to_owned(), key.group.to_string()],
        };
        writer.block("virtual_server", words, |writer| {
            writer.value("ip_family", server.id.family());
            writer.maybe("protocol", server.id.protocol());
            body(writer, server);
        });
    }
}

fn client_tls(writer: &mut Writer<'_>, tls: &ClientTls) {
    if let Some(password) = &tls.password {
        writer.secret("password", &[], password);
    }
    writer.maybe("ca", tls.ca.as_ref());
    writer.maybe("certificate", tls.certificate.as_ref());
    writer.maybe("key", tls.key.as_ref());
}

fn member(writer: &mut Writer<'_>, member: &GroupMember) {
    match *member {
        GroupMember::Addresses { range, port } => {
            let first = range.first().to_string();
            let addresses =
                if range.first() == range.last() { first } else { format!("{first}-{}", range.last()) };
            writer.line(&addresses, port);
        }
        GroupMember::Mark { mark, family } => {
            let words = std::iter::once(mark.to_string()).chain(family.map(|family| family.to_string()));
            writer.line("fwmark", words);
        }
    }
}

/// Address, and the port if there is one.
fn endpoint(address: SocketAddr) -> Vec<String> {
    let port = Some(address.port()).filter(|port| *port != 0);
    std::iter::once(address.ip().to_string()).chain(port.map(|port| port.to_string())).collect()
}

fn body(writer: &mut Writer<'_>, server: &VirtualServer) {
    service(writer, &server.service);
    forwarding(writer, "lb_kind", server.forwarding);
    writer.seconds("delay_loop", server.delay_loop);
    writer.flag("ha_suspend", server.ha_suspend);
    writer.switch("smtp_alert", server.smtp_alert);
    writer.maybe("snmp_name", server.snmp_name.as_ref());
    let mut checks = server.real_servers.iter().flat_map(|real| &real.checks);
    let inherited = checks.find_map(|check| check::inherited(check));
    writer.maybe("virtualhost", inherited.and_then(|url| url.server_name.as_ref()));
    writer.flag("omega", server.omega);
    writer.value("quorum", server.quorum);
    writer.value("hysteresis", server.hysteresis);
    // Words of our own are written only where they say something.
    writer.maybe("keep_at_least", Some(server.keep_at_least).filter(|keep| *keep > 0));
    writer.maybe("drain_timeout", Some(server.drain_timeout.as_secs()).filter(|time| *time > 0));
    writer.script("quorum_up", server.quorum_up.as_ref());
    writer.script("quorum_down", server.quorum_down.as_ref());
    if let Some(SorryServer { address, destination, inhibit }) = &server.sorry_server {
        writer.line("sorry_server", endpoint(*address));
        writer.flag("sorry_server_inhibit", *inhibit);
        forwarding(writer, "sorry_server_lvs_method", destination.forwarding);
    }
    for real in &server.real_servers {
        writer.block("real_server", endpoint(real.address), |writer| real_server(writer, real));
    }
}

fn service(writer: &mut Writer<'_>, service: &Service) {
    writer.value("lb_algo", service.scheduler.as_str());
    // The flags of sh and mh are the same bits.
    writer.flag("flag-1", service.flags.contains(ServiceFlags::SCHED_1));
    writer.flag("flag-2", service.flags.contains(ServiceFlags::SCHED_2));
    writer.flag("flag-3", service.flags.contains(ServiceFlags::SCHED_3));
    writer.flag("ops", service.flags.contains(ServiceFlags::ONE_PACKET));
    writer.maybe("persistence_engine", service.persistence_engine.as_ref());
    // Either of the two makes it persistent.
    if service.persistence_timeout > 0 {
        writer.value("persistence_timeout", service.persistence_timeout);
        match service.netmask {
            Netmask::V4(mask) => writer.value("persistence_granularity", mask),
            Netmask::V6(length) => writer.value("persistence_granularity", length),
        }
    }
}

fn forwarding(writer: &mut Writer<'_>, keyword: &str, forwarding: Forwarding) {
    let checksum = |checksum| match checksum {
        TunnelChecksum::None => "nocsum",
        TunnelChecksum::Checksum => "csum",
        TunnelChecksum::Remote => "remcsum",
    };
    let shown: &dyn Display = &forwarding;
    match forwarding {
        Forwarding::Tunnel(Tunnel::Ipip) => writer.line(keyword, ["TUN", "type", "ipip"]),
        Forwarding::Tunnel(Tunnel::Gue { port, checksum: kind }) => {
            let port = port.to_string();
            writer.line(keyword, ["TUN", "type", "gue", "port", &port, checksum(kind)]);
        }
        Forwarding::Tunnel(Tunnel::Gre { checksum: kind }) => {
            writer.line(keyword, ["TUN", "type", "gre", checksum(kind)]);
        }
        // The other methods are none that a configuration can ask for.
        _ => writer.value(keyword, shown),
    }
}

fn real_server(writer: &mut Writer<'_>, real: &RealServer) {
    let Destination { forwarding: method, weight, upper_threshold, lower_threshold } = real.destination;
    writer.value("weight", weight);
    forwarding(writer, "lvs_method", method);
    writer.value("uthreshold", upper_threshold);
    writer.value("lthreshold", lower_threshold);
    writer.switch("inhibit_on_failure", real.inhibit_on_failure);
    if !real.slow_start.is_zero() {
        writer.value("slow_start", real.slow_start.as_secs());
    }
    if let Some(FlapDamping { changes, within, hold }) = real.flap_damping {
        writer.line("flap_damping", [u64::from(changes), within.as_secs(), hold.as_secs()]);
    }
    writer.script("notify_up", real.notify_up.as_ref());
    writer.script("notify_down", real.notify_down.as_ref());
    writer.switch("smtp_alert", real.smtp_alert);
    writer.maybe("snmp_name", real.snmp_name.as_ref());
    let inherited = real.checks.iter().find_map(|check| check::inherited(check));
    writer.maybe("virtualhost", inherited.and_then(|url| url.host.as_ref()));
    for check in &real.checks {
        check::write(writer, check);
    }
}

//! What a reload would do, in words: operations on the table, virtual routers, the rest.
//!
//! Pure: two configurations and what the parts say they would do. Not here: asking the parts (`daemon`).

use std::collections::HashSet;

use lbd_grammar::config::{Config, Route, Rule, SyncDaemon};
use lbd_ipvs::{Destination, Forwarding, Op, Table, Timeouts};
use lbd_vrrp::{Identity, InstanceConfig, VirtualAddress};

use crate::control::plan::{PlannedOperation, PlannedRouter};

/// An operation; `have` is the table before it.
pub fn operation(op: &Op, have: &Table) -> PlannedOperation {
    let (name, real_server) = match op {
        Op::NewService(..) => ("add-service", None),
        Op::SetService(..) => ("change-service", None),
        Op::DelService(..) => ("remove-service", None),
        Op::NewDest(_, address, _) => ("add-server", Some(address)),
        Op::SetDest(_, address, _) => ("change-server", Some(address)),
        Op::DelDest(_, address) => ("remove-server", Some(address)),
    };
    PlannedOperation {
        operation: name.to_owned(),
        service: op.service().to_string(),
        real_server: real_server.map(ToString::to_string),
        text: match details(op, have) {
            details if details.is_empty() => op.to_string(),
            details => format!("{op}: {details}"),
        },
    }
}

/// What an operation sets, or changes from what to what.
fn details(op: &Op, have: &Table) -> String {
    match op {
        Op::NewService(_, service) => format!("scheduler {}", service.scheduler.as_str()),
        Op::SetService(id, service) => {
            let Some(was) = have.services.get(id).map(|entry| &entry.service) else { return String::new() };
            let mut changes = Vec::new();
            let mut changed = |what: &str, from: String, to: String| {
                if from != to {
                    changes.push(format!("{what} {from} -> {to}"));
                }
            };
            changed("scheduler", was.scheduler.as_str().to_owned(), service.scheduler.as_str().to_owned());
            changed("flags", format!("{:#x}", was.flags.0), format!("{:#x}", service.flags.0));
            let seconds = |timeout: u32| format!("{timeout} s");
            changed("persistence", seconds(was.persistence_timeout), seconds(service.persistence_timeout));
            changed("granularity", was.netmask.to_string(), service.netmask.to_string());
            let engine = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
            changed("engine", engine(&was.persistence_engine), engine(&service.persistence_engine));
            changes.join(", ")
        }
        Op::NewDest(_, _, to) => {
            let mut words = format!("{}, weight {}", method(to.forwarding), to.weight);
            if to.upper_threshold > 0 {
                words += &format!(", thresholds {} and {}", to.lower_threshold, to.upper_threshold);
            }
            words
        }
        Op::SetDest(id, address, to) => {
            let entry = have.services.get(id).and_then(|entry| entry.destinations.get(address));
            entry.map(|was| changes(was, to)).unwrap_or_default()
        }
        Op::DelService(id) => match have.services.get(id).map_or(0, |entry| entry.destinations.len()) {
            0 => String::new(),
            servers => format!("with {servers} real servers"),
        },
        Op::DelDest(..) => String::new(),
    }
}

fn changes(was: &Destination, to: &Destination) -> String {
    let mut changes = Vec::new();
    if was.weight != to.weight {
        changes.push(format!("weight {} -> {}", was.weight, to.weight));
    }
    if was.forwarding != to.forwarding {
        changes.push(format!("{} -> {}", method(was.forwarding), method(to.forwarding)));
    }
    let thresholds = |of: &Destination| (of.lower_threshold, of.upper_threshold);
    if thresholds(was) != thresholds(to) {
        let ((a, b), (c, d)) = (thresholds(was), thresholds(to));
        changes.push(format!("thresholds {a} and {b} -> {c} and {d}"));
    }
    changes.join(", ")
}

fn method(forwarding: Forwarding) -> String {
    match forwarding {
        Forwarding::Tunnel(tunnel) => format!("{forwarding} {tunnel}"),
        _ => forwarding.to_string(),
    }
}

/// Virtual routers that come, go and change, by the identity that a reload goes by.
pub fn routers<'a>(
    running: impl Iterator<Item = &'a InstanceConfig>,
    wanted: impl Iterator<Item = &'a InstanceConfig>,
) -> Vec<PlannedRouter> {
    let planned = |operation: &str, of: &InstanceConfig, text: String| PlannedRouter {
        operation: operation.to_owned(),
        name: of.name.to_string(),
        text: format!(
            "{operation} vrrp_instance {} (VRID {} on {}){text}",
            of.name,
            of.vrid.get(),
            of.interface_name()
        ),
    };
    let mut old: Vec<&InstanceConfig> = running.collect();
    let mut plan = Vec::new();
    for new in wanted {
        match old.iter().position(|old| Identity::of(old) == Identity::of(new)) {
            None => plan.push(planned("add", new, String::new())),
            Some(index) => {
                let old = old.swap_remove(index);
                if old != new {
                    plan.push(planned("change", new, format!(": {}", differences(old, new))));
                }
            }
        }
    }
    plan.extend(old.into_iter().map(|old| planned("remove", old, String::new())));
    plan
}

fn differences(old: &InstanceConfig, new: &InstanceConfig) -> String {
    let mut words = Vec::new();
    if old.name != new.name {
        words.push(format!("its name was {}", old.name));
    }
    if old.priority != new.priority {
        words.push(format!("priority {} -> {}", old.priority.0, new.priority.0));
    }
    if old.advert_interval != new.advert_interval {
        words.push(format!("advert_int {:?} -> {:?}", old.advert_interval, new.advert_interval));
    }
    let addresses = |of: &InstanceConfig| -> Vec<VirtualAddress> {
        of.addresses.iter().chain(&of.excluded_addresses).cloned().collect()
    };
    let (before, after) = (addresses(old), addresses(new));
    for (sign, these, others) in [("+", &after, &before), ("-", &before, &after)] {
        let more = these.iter().filter(|one| !others.contains(one));
        words.extend(more.map(|one| format!("{sign}{}/{}", one.address, one.prefix)));
    }
    if words.is_empty() { "other parameters".to_owned() } else { words.join(", ") }
}

/// What else of two configurations differs and concerns the kernel.
pub fn others(running: &Config, wanted: &Config, timeouts: Option<Timeouts>) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(timeouts.map(|timeouts| format!("set the connection timeouts: {timeouts}")));
    let sync = |daemon: &Option<SyncDaemon>| match daemon {
        None => "none".to_owned(),
        Some(SyncDaemon { interface, instance, id, .. }) => match instance {
            Some(instance) => format!("on {interface}, id {id}, following {instance}"),
            None => format!("on {interface}, id {id}"),
        },
    };
    let (before, after) = (&running.global.sync_daemon, &wanted.global.sync_daemon);
    if before != after {
        words.push(format!("connection synchronisation: {} -> {}", sync(before), sync(after)));
    }
    let fixed = |config: &Config| {
        let addresses = config.static_addresses.iter().map(|one| &one.address);
        let address = |one: &VirtualAddress| {
            let device = one.device.as_deref().unwrap_or_default();
            format!("address {}/{} on {device}", one.address, one.prefix)
        };
        addresses.map(address).chain(entries(&config.static_routes, &config.static_rules)).collect()
    };
    words.extend(more_and_less("static", fixed(running), fixed(wanted)));
    let of = |config: &Config, name: &str| {
        let instance = config.vrrp_instances.iter().find(|one| *one.router.name == *name);
        instance.map(|one| entries(&one.routes, &one.rules).collect()).unwrap_or_default()
    };
    for name in wanted.vrrp_instances.iter().map(|instance| &*instance.router.name) {
        words.extend(more_and_less(name, of(running, name), of(wanted, name)));
    }
    words
}

/// Routes and rules in words.
fn entries<'a>(routes: &'a [Route], rules: &'a [Rule]) -> impl Iterator<Item = String> + 'a {
    let routes = routes.iter().map(|route| format!("route {route}"));
    routes.chain(rules.iter().map(|rule| format!("rule {rule}")))
}

/// What comes and what goes.
fn more_and_less(whose: &str, before: Vec<String>, after: Vec<String>) -> Vec<String> {
    let mut words = Vec::new();
    for (sign, these, others) in [("+", &after, &before), ("-", &before, &after)] {
        let others: HashSet<&String> = others.iter().collect();
        let more = these.iter().filter(|one| !others.contains(one));
        words.extend(more.map(|one| format!("{whose}: {sign}{one}")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let loaded = lbd_grammar::load_str("c", text);
        loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics))
    }

    fn table(text: &str) -> Table {
        let config = config(text);
        let entry = |server: &lbd_grammar::config::VirtualServer| {
            let destinations =
                server.real_servers.iter().map(|real| (real.address, real.destination)).collect();
            let id = server.id.service().expect("by address");
            (id, lbd_ipvs::Entry { service: server.service.clone(), destinations })
        };
        Table { services: config.virtual_servers.iter().map(|server| entry(server)).collect() }
    }

    #[test]
    fn operations_in_words() {
        let server = |inside: &str, real: &str| {
            format!(
                "virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{inside}\n{real}\n}}\n"
            )
        };
        let one = "real_server 10.0.1.1 80 {\n}\n";
        for (name, have, want, words) in [
            (
                "new",
                String::new(),
                server("", one),
                vec![
                    "add virtual service TCP 10.0.0.1:80: scheduler rr",
                    "add real server 10.0.1.1:80 to TCP 10.0.0.1:80: NAT, weight 1",
                ],
            ),
            (
                "gone",
                server("", one),
                String::new(),
                vec!["remove virtual service TCP 10.0.0.1:80: with 1 real servers"],
            ),
            (
                "weight, method, thresholds",
                server("", one),
                server(
                    "lvs_method TUN type gue port 6080 csum",
                    "real_server 10.0.1.1 80 {\nweight 5\nuthreshold 9\n}\n",
                ),
                vec![
                    "change real server 10.0.1.1:80 of TCP 10.0.0.1:80: weight 1 -> 5, NAT -> TUN gue port 6080 csum, \
                     thresholds 0 and 0 -> 0 and 9",
                ],
            ),
            (
                "the service",
                server("", one),
                server("lb_algo wlc\npersistence_timeout 60\npersistence_granularity 255.255.255.0", one),
                vec![
                    "change virtual service TCP 10.0.0.1:80: scheduler rr -> wlc, flags 0x0 -> 0x1, persistence 0 s -> \
                     60 s, granularity 255.255.255.255 -> 255.255.255.0",
                ],
            ),
            (
                "one for another",
                server("", one),
                server("", "real_server 10.0.1.2 80 {\n}\n"),
                vec![
                    "add real server 10.0.1.2:80 to TCP 10.0.0.1:80: NAT, weight 1",
                    "remove real server 10.0.1.1:80 from TCP 10.0.0.1:80",
                ],
            ),
        ] {
            let (have, want) = (table(&have), table(&want));
            let got: Vec<String> =
                lbd_ipvs::plan(&have, &want).iter().map(|op| operation(op, &have).text).collect();
            assert_eq!(got, words, "{name}");
        }
    }

    #[test]
    fn virtual_routers_in_words() {
        let of = |text: &str| -> Vec<InstanceConfig> {
            config(text).vrrp_instances.iter().map(|instance| instance.router.clone()).collect()
        };
        let router = |name: &str, vrid: u8, inside: &str| {
            format!(
                "vrrp_instance {name} {{\ninterface eth9\nvirtual_router_id {vrid}\npriority 100\nadvert_int 1\n{inside}\n}}\n"
            )
        };
        let addresses = |one: &str| format!("virtual_ipaddress {{\n10.9.0.1\n{one}\n}}");
        let running = of(&(router("A", 1, &addresses("10.9.0.2"))
            + &router("B", 2, &addresses(""))
            + &router("D", 4, &addresses(""))));
        let wanted = of(&(router("A", 1, &format!("priority 150\n{}", addresses("10.9.0.3")))
            + &router("C", 3, &addresses(""))
            + &router("E", 4, &addresses(""))));
        let texts: Vec<String> =
            routers(running.iter(), wanted.iter()).into_iter().map(|one| one.text).collect();
        assert_eq!(
            texts,
            [
                "change vrrp_instance A (VRID 1 on eth9): priority 100 -> 150, +10.9.0.3/32, -10.9.0.2/32",
                "add vrrp_instance C (VRID 3 on eth9)",
                "change vrrp_instance E (VRID 4 on eth9): its name was D",
                "remove vrrp_instance B (VRID 2 on eth9)",
            ]
        );
        assert_eq!(routers(running.iter(), running.iter()), []);
    }
}

//! Routes, rules and static entries of virtual routers: order, reload, the next process.

use super::*;

/// What `ip monitor` prints while something is done.
struct Monitor(Child);

impl Monitor {
    fn start(net: &Net) -> Self {
        let mut command = Command::new("ip");
        command.args(["-n", &net.ns(1), "monitor", "route", "rule", "address"]);
        let child = command.stdout(Stdio::piped()).spawn().expect("ip monitor");
        let monitor = Monitor(child);
        // Until it listens: two sockets of netlink are there then, ours and its.
        until("ip monitor", seconds(2), || {
            let path = "/proc/thread-self/net/netlink";
            let table = net.inside(1, || std::fs::read_to_string(path)).expect("table");
            let pid = monitor.0.id().to_string();
            let listens = |line: &&str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(2) == Some(&pid.as_str())
                    && words.get(3).is_some_and(|groups| *groups != "00000000")
            };
            if table.lines().any(|line| listens(&line)) { Ok(()) } else { Err(table) }
        });
        monitor
    }

    fn stop(mut self) -> String {
        self.0.kill().expect("its end");
        let output = self.0.wait_with_output().expect("output");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn static_and_virtual(net: &Net, text: &str, saved: Vec<SavedInstance>) -> Running {
    let mut instance = config(254);
    instance.addresses = vec![vip(VIP)];
    net.start_with(1, instance, saved, network(text))
}

const TEXT: &str = "static_routes {\n 198.18.1.0/24 dev eth0\n}\nstatic_rules {\n nop preference 50\n}\n\
                    vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 77\n virtual_ipaddress {\n 10.77.0.100/24\n }\n \
                    virtual_routes {\n 198.18.2.0/24 via 10.77.0.99 dev eth0 src 10.77.0.100\n 198.18.3.0/24 dev eth0\n }\n \
                    virtual_rules {\n from 10.77.0.100 table 100 preference 60\n }\n}\n";

/// In which order lines stand that have these words.
fn order(text: &str, words: &[&str]) -> Vec<usize> {
    let at = |word: &&str| {
        text.lines().position(|line| line.contains(*word)).unwrap_or_else(|| panic!("{word}: {text}"))
    };
    words.iter().map(at).collect()
}

#[test]
fn masters_have_routes_and_rules_in_their_order() {
    if skip("masters_have_routes_and_rules_in_their_order") {
        return;
    }
    let net = Net::new("rh");
    let ns = net.ns(1);
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, TEXT, vec![]);
    one.router.begin();
    until_route(&net, "198.18.1.0/24", true, seconds(1));
    one.wait_state("BACKUP", seconds(1));
    assert!(!ip_of(&net, 1, "route").contains("198.18.2.0"), "only masters have them");
    let status = one.router.status();
    assert!(!status.instances[0].routes[0].present, "{status:?}");
    net.wait(1, VIP, true, seconds(5));
    until_route(&net, "198.18.3.0/24", true, seconds(1));
    let told = monitor.stop();
    let places = order(&told, &["198.18.1.0", "50:", "10.77.0.100/24", "198.18.2.0", "198.18.3.0", "60:"]);
    assert!(places.is_sorted(), "{told}");
    until("status", seconds(1), || {
        let status = one.router.status();
        let instance = &status.instances[0];
        let all = instance.routes.iter().chain(&instance.rules).chain(&status.static_entries.routes);
        let mut all = all.chain(&status.static_entries.rules);
        if all.all(|entry| entry.present) && instance.missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });

    // Reload with a route more and one less: the others are not touched.
    let monitor = Monitor::start(&net);
    let mut instance = config(254);
    instance.addresses = vec![vip(VIP)];
    let text = TEXT
        .replace("198.18.3.0/24 dev eth0", "198.18.4.0/24 dev eth0")
        .replace("nop preference 50", "nop preference 51");
    one.router.reload(Setup::of(vec![instance]), Scheduling::default(), network(&text));
    until_route(&net, "198.18.4.0/24", true, seconds(1));
    until_route(&net, "198.18.3.0/24", false, seconds(1));
    let told = monitor.stop();
    assert!(
        !["198.18.1.0", "198.18.2.0", "10.77.0.100", "60:"].iter().any(|one| told.contains(one)),
        "{told}"
    );
    assert!(order(&told, &["198.18.4.0", "198.18.3.0"]).is_sorted(), "{told}");
    assert_eq!(one.instance().status.state, "MASTER");

    // A route that someone removes again and again makes the master step back.
    for _ in 0..repair::REPAIRS {
        ip(&format!("-n {ns} route del 198.18.4.0/24 proto 18"));
        until_route(&net, "198.18.4.0/24", true, seconds(2));
    }
    assert_eq!(one.instance().status.state, "MASTER");
    ip(&format!("-n {ns} route del 198.18.4.0/24 proto 18"));
    one.wait_state("BACKUP", seconds(1));
    one.wait_state("MASTER", seconds(2));
    until_route(&net, "198.18.4.0/24", true, seconds(1));
    assert_eq!(one.router.status().instances[0].repaired, 5);

    let monitor = Monitor::start(&net);
    one.router.stop(true, seconds(5));
    let told = monitor.stop();
    let places = order(&told, &["60:", "198.18.4.0", "198.18.2.0", "10.77.0.100/24", "51:", "198.18.1.0"]);
    assert!(places.is_sorted(), "{told}");
    assert_eq!(ip_of(&net, 1, "route show table all proto 18"), "", "all is gone");
    assert_eq!(rules(&net).lines().count(), 3, "all is gone");
}

#[test]
fn the_next_process_takes_over_what_was_left() {
    if skip("the_next_process_takes_over_what_was_left") {
        return;
    }
    let net = Net::new("ri");
    let one = static_and_virtual(&net, TEXT, vec![]);
    one.router.begin();
    net.wait(1, VIP, true, seconds(5));
    until_route(&net, "198.18.3.0/24", true, seconds(1));
    one.wait_state("MASTER", seconds(1));
    let saved = one.router.snapshot().borrow().saved();
    assert_eq!(saved.len(), 2, "the virtual router, and what is static");
    one.router.stop(false, seconds(5));
    assert_eq!(ip_of(&net, 1, "route show table all proto 18").lines().count(), 3, "left as it was");

    // The same again: nothing is touched.
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, TEXT, saved.clone());
    one.router.begin();
    one.wait_state("MASTER", seconds(1));
    until("adopted", seconds(1), || {
        let status = one.router.status();
        if status.instances[0].rules[0].present { Ok(()) } else { Err(format!("{status:?}")) }
    });
    assert_eq!(monitor.stop(), "");
    // What is static goes with every orderly stop, what virtual routers hold stays where that is asked for.
    one.router.end(Leave::Instances, seconds(5));
    let routes = ip_of(&net, 1, "route show table all proto 18");
    assert!(
        routes.contains("198.18.2.0") && routes.contains("198.18.3.0") && !routes.contains("198.18.1.0"),
        "{routes}"
    );
    let rules = ip_of(&net, 1, "rule show");
    assert!(rules.contains("60:\t") && !rules.contains("50:\t"), "{rules}");

    // Another configuration: what it does not want is removed, what it wants stays.
    let text = "static_routes {\n 198.18.3.0/24 dev eth0\n}\n";
    let mut old = saved;
    old[0].last_advert_ms = 0;
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, text, old);
    one.router.begin();
    until_route(&net, "198.18.2.0/24", false, seconds(1));
    let rule = || ip_of(&net, 1, "rule show");
    until("rule", seconds(1), || if rule().contains("60:\t") { Err(rule()) } else { Ok(()) });
    let told = monitor.stop();
    assert!(!told.contains("198.18.3.0"), "{told}");
    assert!(ip_of(&net, 1, "route").contains("198.18.3.0"));
    one.router.stop(true, seconds(5));
}

#[test]
fn static_entries_need_no_virtual_router() {
    if skip("static_entries_need_no_virtual_router") {
        return;
    }
    let net = Net::new("rj");
    let ns = net.ns(1);
    let text = "static_ipaddress {\n 10.70.0.1/24 dev eth9\n fd70::1/64 dev eth9\n}\nstatic_routes {\n \
                198.18.1.0/24 via 10.70.0.9 dev eth9\n 2001:db8:1::/48 dev eth9\n}\nstatic_rules {\n nop preference 50\n}\n";
    let (events, _received) = EventSender::channel();
    let options = RouterOptions {
        setup: Setup::default(),
        network: network(text),
        scheduling: Scheduling::default(),
        saved: Vec::new(),
        take_over: false,
        host: HostWants::default(),
        state: "/nonexistent/state".into(),
        events,
    };
    let router = net.inside(1, || Router::start(options)).expect("router");
    assert_eq!(rules(&net).lines().count(), 3, "not before the beginning");
    router.begin();
    let missing = |count: usize| {
        move |fixed: &crate::control::status::StaticStatus| {
            let all = fixed.addresses.iter().chain(&fixed.routes).chain(&fixed.rules);
            all.filter(|entry| !entry.present).count() == count
        }
    };
    let wait = |what: &str, wanted: &dyn Fn(&crate::control::status::StaticStatus) -> bool| {
        until(what, seconds(4), || {
            let fixed = router.status().static_entries;
            if wanted(&fixed) { Ok(()) } else { Err(format!("{fixed:?}")) }
        });
    };
    wait("the rule alone", &missing(4));
    let fixed = router.status().static_entries;
    assert_eq!(fixed.addresses[0].error.as_deref(), Some("interface eth9 does not exist"));
    for _ in 0..2 {
        ip(&format!("-n {ns} link add eth9 type veth peer name eth8"));
        ip(&format!("-n {ns} link set eth8 up"));
        ip(&format!("-n {ns} link set eth9 up"));
        wait("all", &missing(0));
        let routes = ip_of(&net, 1, "route") + &ip_of(&net, 1, "-6 route");
        assert!(
            routes.contains("198.18.1.0/24 via 10.70.0.9") && routes.contains("2001:db8:1::/48"),
            "{routes}"
        );
        ip(&format!("-n {ns} link del eth9"));
        wait("gone with the interface", &missing(4));
    }
    router.reload(
        Setup::default(),
        Scheduling::default(),
        network("static_rules {\n nop preference 51\n}\n"),
    );
    until("another", seconds(1), || {
        let rules = ip_of(&net, 1, "rule show");
        if rules.contains("51:\t") && !rules.contains("50:\t") { Ok(()) } else { Err(rules) }
    });
    router.stop(true, seconds(5));
    assert_eq!(rules(&net).lines().count(), 3);
}

/// Instances that have nothing to hold, or routes only.
#[test]
fn instances_without_addresses() {
    if skip("instances_without_addresses") {
        return;
    }
    let net = Net::new("rk");
    for (name, text) in [
        ("nothing", ""),
        (
            "a route",
            "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 77\n no_virtual_ipaddress\n virtual_routes {\n \
             198.18.2.0/24 dev eth0\n }\n}\n",
        ),
    ] {
        let mut instance = config(255);
        instance.addresses = Vec::new();
        let one = net.start_with(1, instance, vec![], network(text));
        one.router.begin();
        one.wait_state("MASTER", seconds(2));
        if !text.is_empty() {
            until_route(&net, "198.18.2.0/24", true, seconds(1));
            one.router.reload(
                Setup::of(vec![InstanceConfig { addresses: vec![], ..config(255) }]),
                Scheduling::default(),
                Network::default(),
            );
            until_route(&net, "198.18.2.0/24", false, seconds(1));
        }
        assert_eq!(one.instance().status.state, "MASTER", "{name}");
        one.router.stop(true, seconds(5));
    }
}

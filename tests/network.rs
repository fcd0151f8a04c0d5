//! Addresses, routes and rules in the kernel, as lbd and Debian's keepalived make them of the same file. In network
//! namespaces of their own; needs root, iproute2 and keepalived, otherwise a printed `SKIP`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lbd_integration::netns::Netns;
use lbd_integration::{process, skip};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;

const LIMIT: Duration = Duration::from_secs(10);

const CONFIGURATION: &str = "
static_ipaddress {
    10.50.0.1/24 dev eth0
    fd50::1/64 dev eth0
    10.50.1.1/24 dev eth1 scope link
}
static_routes {
    198.18.0.0/24 dev eth0
    198.18.1.0/24 via 10.50.0.9 dev eth0 metric 7 mtu lock 1400
    198.18.2.0/24 via 10.50.0.9
    blackhole 198.18.3.0/24 no_track
    198.18.4.0/24 nexthop via 10.50.0.9 dev eth0 weight 2 nexthop via 10.50.0.8 dev eth0 weight 256
    2001:db8:1::/48 via fd50::9 dev eth0
    2001:db8:2::/48 dev eth0 pref high
    unreachable 2001:db8:3::/48 no_track
}
static_rules {
    to 192.0.2.0/24 table 101 preference 50
    from 2001:db8::/32 table 101 preference 51
    not from 192.0.2.0/24 table 101 preference 52
    fwmark 5/0xff table 100 preference 60
    iif eth0 nop preference 61
    goto 80 preference 62
    blackhole preference 63 from 192.0.2.9
    uidrange 1000-1999 table 100 preference 67
    ipproto tcp sport 80-80 dport 80-443 table 100 preference 68
    suppress_prefixlength 0 suppress_ifgroup 5 table main preference 69
    table 100 preference 80
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 77
    priority 200
    advert_int 1
    virtual_ipaddress {
        10.77.0.100/24
        10.77.0.101/32 dev eth1 label eth1:v scope link
    }
    virtual_ipaddress_excluded {
        fd77::100/64
        fd77::101
    }
    virtual_routes {
        198.18.10.0/24 via 10.77.0.99 dev eth0 src 10.77.0.100
        198.18.11.0/24 dev eth1 table 110 tos 0x10 realms 3/4
        198.18.12.0/24 via 10.99.0.9 dev eth0 onlink advmss 1300 hoplimit 9 initcwnd 5 features ecn quickack 1
        2001:db8:10::/48 via fd77::9 dev eth0 metric 5 table 110
    }
    virtual_rules {
        from 10.77.0.100 table 110 preference 100
        from fd77::100 to 2001:db8::/32 table 110 preference 101
        tos 0x10 oif eth1 prohibit preference 102
    }
}
";

/// A host with two interfaces.
fn host(role: &str) -> Netns {
    let netns = Netns::new(role).expect("namespace");
    netns
        .ip("link add eth0 type veth peer name peer0\nlink add eth1 type veth peer name peer1\nlink set peer0 up\n\
             link set peer1 up\nlink set eth0 up\nlink set eth1 up\naddr add 10.77.0.1/24 dev eth0\n")
        .expect("interfaces");
    netns
}

/// All that is in the kernel beside what the host itself has.
fn state(netns: &Netns) -> String {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        for what in ["route show table all proto 18", "rule show", "addr show"] {
            let arguments: Vec<&str> = ["-details", family].into_iter().chain(what.split(' ')).collect();
            let text = netns.ip_show(&arguments).expect("ip");
            // The ways of a route stand on lines of their own.
            let text = text.replace("\n\t", " ").replace("\n       valid_lft", " valid_lft");
            let lines = text.lines().map(str::trim).filter(|line| {
                let of_link = line.contains("mtu") && line.contains("qdisc") || line.starts_with("link/");
                let own =
                    line.contains("fe80::") || line.starts_with("veth ") || line.contains("proto kernel");
                !of_link && !own && !line.is_empty()
            });
            all.extend(lines.map(str::to_owned));
        }
    }
    all.sort();
    all.join("\n")
}

fn start(netns: &Netns, program: &str, arguments: &[&str], dir: &Path) -> Child {
    let files = ["-f", "conf", "-p", "pid"];
    let mut command = Command::new(program);
    command.args(files.map(|one| if one.starts_with('-') { one.into() } else { dir.join(one) }));
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    netns.run(move || command.spawn().expect("it starts")).expect("namespace")
}

#[test]
fn the_kernel_holds_what_keepalived_puts_there() {
    let name = "the_kernel_holds_what_keepalived_puts_there";
    if !Uid::effective().is_root() {
        return skip::report(name, "needs root");
    }
    if Command::new("keepalived").arg("-v").stderr(Stdio::null()).status().is_err() {
        return skip::report(name, "needs keepalived");
    }
    let (ours, theirs) = (host("n"), host("k"));
    let before = state(&ours);
    assert_eq!(before, state(&theirs));
    let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
    for dir in &dirs {
        fs::write(dir.path().join("conf"), CONFIGURATION).expect("configuration");
    }
    let path = |dir: &tempfile::TempDir, name: &str| dir.path().join(name).display().to_string();
    let (socket, saved) = (path(&dirs[0], "s"), path(&dirs[0], "state"));
    let arguments = ["-P", "--control-socket", &socket, "--state-file", &saved];
    let lbd = start(&ours, env!("CARGO_BIN_EXE_lbd"), &arguments, dirs[0].path());
    let pid = path(&dirs[1], "vrrp.pid");
    let keepalived = start(&theirs, "keepalived", &["-n", "-l", "-P", "-r", &pid], dirs[1].path());

    // Both as masters, with everything.
    let end = Instant::now() + LIMIT;
    let complete = loop {
        let (our_state, their_state) = (state(&ours), state(&theirs));
        let complete = ["10.77.0.100/24", "fd77::101", "198.18.12.0", "2001:db8:10::", "102:"];
        if our_state == their_state && complete.iter().all(|one| our_state.contains(one)) {
            break our_state;
        }
        assert!(Instant::now() < end, "ours:\n{our_state}\n\ntheirs:\n{their_state}");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    for what in CONFIGURATION
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("/24 ") || line.contains("preference"))
    {
        let word = what.split(' ').find(|word| word.contains("/24") && !word.contains("192.0.2"));
        assert!(
            word.is_none_or(|word| complete.contains(word.trim_end_matches("/32"))),
            "{what}: {complete}"
        );
    }

    // After an orderly stop there is what was there before.
    for mut daemon in [lbd, keepalived] {
        kill(process::pid_of(&daemon), Signal::SIGTERM).expect("a daemon");
        process::ended(&mut daemon, "daemon", LIMIT).expect("it ends");
    }
    assert_eq!(state(&ours), before);
    assert_eq!(state(&theirs), before);
}

//! Beside Debian's keepalived; without it a printed `SKIP`.

use super::*;

struct Keepalived(Child);

impl Keepalived {
    fn start(net: &Net, host: u8, priority: u8, directory: &Path) -> Option<Self> {
        let file = |name: &str| directory.join(name).to_str().expect("path").to_owned();
        let text = format!(
            "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 77\n priority {priority}\n advert_int 1\n \
             authentication {{\n auth_type PASS\n auth_pass secret\n }}\n virtual_ipaddress {{\n {VIP}/24\n }}\n}}\n"
        );
        std::fs::write(file("keepalived.conf"), text).expect("configuration");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net.ns(host), "keepalived", "-n", "-l", "-P"]);
        command.args(["-f", &file("keepalived.conf"), "-p", &file("pid"), "-r", &file("vrrp.pid")]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        run("which", &["keepalived"]).then(|| Keepalived(command.spawn().expect("keepalived")))
    }

    fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).expect("pid"));
        if kill(pid, Signal::SIGTERM).is_ok() {
            self.0.wait().expect("keepalived ends");
        }
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn beside_keepalived_in_both_roles() {
    if skip("beside_keepalived_in_both_roles") {
        return;
    }
    for (test, ours, theirs) in [("h", 150, 100), ("l", 100, 150)] {
        let net = Net::new(test);
        let directory = tempfile::tempdir().expect("directory");
        let Some(mut keepalived) = Keepalived::start(&net, 2, theirs, directory.path()) else {
            lbd_integration::skip::report("beside_keepalived_in_both_roles", "needs keepalived");
            return;
        };
        let mut one = net.start(1, config(ours), vec![]);
        one.router.begin();
        if ours > theirs {
            net.wait(1, VIP, true, seconds(6));
            net.wait(2, VIP, false, seconds(3));
            let stopped = Instant::now();
            one.router.stop(true, seconds(5));
            let taken = net.wait(2, VIP, true, seconds(5)) - stopped;
            assert!(taken <= SKEW_100 + GRACE, "keepalived takes over from us: {taken:?}");
        } else {
            net.wait(2, VIP, true, seconds(6));
            net.wait(1, VIP, false, seconds(3));
            one.wait_state("BACKUP", seconds(3));
            let stopped = Instant::now();
            keepalived.stop();
            let taken = net.wait(1, VIP, true, seconds(5)) - stopped;
            // It goes on for up to a second after its priority 0.
            assert!(taken <= seconds(2) + SKEW_100 + GRACE, "we take over from keepalived: {taken:?}");
            one.wait_state("MASTER", seconds(1));
            let status = one.instance().status.clone();
            assert!(status.adverts_received > 0 && status.adverts_dropped.is_empty(), "{status:?}");
            assert_eq!(one.states().last().map(String::as_str), Some("MASTER"));
            one.router.stop(true, seconds(5));
        }
    }
}

//! The daemon as a process: what it does with what an earlier one left, and with reloads that it must
//! refuse. In a network namespace of its own; needs root and iproute2, otherwise a printed `SKIP`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lbd::control::ReloadOutcome;
use lbd::control::client::Client;
use lbd_grammar::Secrets;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

const LIMIT: Duration = Duration::from_secs(20);

fn run(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next()?).args(words).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ip(arguments: &str) -> String {
    run(&format!("ip {arguments}")).unwrap_or_else(|| panic!("ip {arguments}"))
}

/// A network namespace with eth0 (10.77.0.1/24), a directory, and the daemon in both.
struct Host {
    namespace: String,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    /// `None`, with the reason printed, where there can be none.
    fn new(test: &str) -> Option<Self> {
        let reason = if !Uid::effective().is_root() {
            "needs root"
        } else if run("ip netns list").is_none() {
            "needs iproute2 and network namespaces"
        } else {
            let host = Host {
                namespace: format!("lbd{test}{}", std::process::id()),
                dir: tempfile::tempdir().expect("directory"),
                daemon: None,
            };
            let namespace = &host.namespace;
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link add eth0 type veth peer name eth1"));
            ip(&format!("-n {namespace} addr add 10.77.0.1/24 dev eth0"));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} link set eth1 up"));
            return Some(host);
        };
        lbd_integration::skip::report(test, reason);
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("conf"), text).expect("configuration");
    }

    /// Starts the daemon by way of `wrapper` and waits until it serves its socket.
    fn start(&mut self, wrapper: &str) {
        self.daemon = Some(self.spawn(wrapper));
        let client = Client::new(&self.path("s"));
        wait("the daemon answers", || block_on(client.status()).is_ok());
    }

    fn spawn(&self, wrapper: &str) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).args(wrapper.split_whitespace());
        command.arg(env!("CARGO_BIN_EXE_lbd"));
        for (flag, name) in
            [("-f", "conf"), ("-p", "pid"), ("--control-socket", "s"), ("--state-file", "state")]
        {
            command.arg(flag).arg(self.path(name));
        }
        command.stderr(fs::File::create(self.path("log")).expect("log"));
        command.spawn().expect("lbd")
    }

    fn reload(&self) -> ReloadOutcome {
        block_on(Client::new(&self.path("s")).reload()).expect("an answer")
    }

    /// Stops the daemon in order.
    fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("running");
        let pid = i32::try_from(daemon.id()).expect("pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("signal");
        let status = daemon.wait().expect("ended");
        assert!(status.success(), "{status}: {}", read(&self.path("log")));
    }

    fn addresses(&self) -> String {
        ip(&format!("-n {} -4 -o addr show dev eth0", self.namespace))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ended = daemon.kill();
            let _ended = daemon.wait();
        }
        let _gone = run(&format!("ip netns del {}", self.namespace));
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < until, "not within {LIMIT:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn addresses_of_a_crashed_master_go_when_the_configuration_has_no_virtual_router_any_more() {
    let Some(mut host) = Host::new("left") else { return };
    ip(&format!("-n {} addr add 10.77.0.9/24 dev eth0", host.namespace));
    let boot = read(Path::new("/proc/sys/kernel/random/boot_id"));
    let left = format!(
        r#"{{"boot_id":"{}","instances":[{{"interface":"eth0","vrid":7,"master":true,"last_advert_ms":1,
            "addresses":[["10.77.0.9/24","eth0"]]}}]}}"#,
        boot.trim()
    );
    fs::write(host.path("state.vrrp"), &left).expect("state");
    host.configure("");
    host.start("env");
    assert!(host.path("state.vrrp").exists());
    wait("the address is gone", || !host.addresses().contains("10.77.0.9/"));
    assert!(host.addresses().contains("10.77.0.1/"), "{}", host.addresses());
    host.stop();
    assert!(!host.path("state.vrrp").exists());
}

#[test]
fn a_refused_reload_takes_no_script_away() {
    let Some(mut host) = Host::new("keep") else { return };
    let (script, told) = (host.path("told.sh"), host.path("told"));
    fs::write(&script, format!("#!/bin/sh\necho \"$*\" >> {}\n", told.display())).expect("script");
    assert!(run(&format!("chmod 755 {}", script.display())).is_some());
    host.configure(&format!(
        "global_defs {{\n script_user root\n}}\nvrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 7\n \
         priority 100\n notify {}\n}}\n",
        script.display()
    ));
    // Without this right there is no table to be written, whether the kernel has IPVS or not.
    if run("setpriv --version").is_none() {
        lbd_integration::skip::report("a_refused_reload_takes_no_script_away", "needs setpriv (util-linux)");
        return;
    }
    host.start("setpriv --inh-caps=-net_admin --bounding-set=-net_admin");
    wait("the first state is told", || read(&told).contains("INSTANCE VI_1 BACKUP 100"));
    host.configure(
        "virtual_server 10.77.0.9 80 {\n lb_algo rr\n lb_kind NAT\n real_server 10.77.0.2 80 {\n  weight 1\n }\n}\n",
    );
    for _again in 0..2 {
        let outcome = host.reload();
        assert!(!outcome.ok && outcome.generation == 1, "{outcome:?}");
    }
    host.stop();
    assert!(read(&told).contains("INSTANCE VI_1 STOP 100"), "{}", read(&told));
}

#[test]
fn a_reload_refuses_new_mistakes_and_lives_with_old_ones() {
    let Some(mut host) = Host::new("wrong") else { return };
    // One that keepalived ignores too, so a start does.
    let text = |extra: &str| {
        format!(
            "vrrp_instance VI_1 {{\n{extra} interface eth0\n virtual_router_id 7\n priority 100\n garp_master_delay x\n}}\n"
        )
    };
    host.configure(&text(""));
    host.start("env");
    let status = || block_on(Client::new(&host.path("s")).status()).expect("an answer");
    for (name, extra, ok, generation) in [
        ("unchanged", "", true, 2),
        ("the old mistake on another line", "\n\n", true, 3),
        ("a bad value", " advert_int 0\n", false, 3),
        ("an unknown keyword", " prioritty 120\n", false, 3),
        ("another good value", " advert_int 2\n", true, 4),
    ] {
        host.configure(&text(extra));
        let outcome = host.reload();
        assert_eq!((outcome.ok, outcome.generation), (ok, generation), "{name}: {outcome:?}");
        let error = status().config.last_error;
        assert_eq!(error.is_none(), ok, "{name}: {error:?}");
        if let Some(error) = error {
            let place = format!("{}:2:", host.path("conf").display());
            assert!(error.contains(&place), "{name}: only the new one, with its place: {error}");
            assert!(!error.contains("garp_master_delay"), "{name}: {error}");
        }
    }
    host.stop();
}

/// What `lbctl config` shows is what runs, and with its secrets it can be read again.
#[test]
fn the_running_configuration_is_shown() {
    let Some(mut host) = Host::new("shown") else { return };
    let text = |advert_int: &str| {
        format!(
            "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 7\n advert_int {advert_int}\n \
             authentication {{\n auth_type PASS\n auth_pass hush\n }}\n}}\n\
             vrrp_instance VI_2 {{\n interface eth0\n virtual_router_id 8\n version 3\n virtual_ipaddress {{\n 10.77.0.8\n }}\n \
             auth_hmac {{\n key 1 hushhushhushhushhushhushhushhush\n active_key 1\n }}\n}}\n\
             SSL {{\n password hush\n}}\n"
        )
    };
    let client = Client::new(&host.path("s"));
    let shown = |secrets| {
        let text = block_on(client.config(secrets)).expect("an answer");
        String::from_utf8(text.to_vec()).expect("text")
    };
    host.configure(&text("1"));
    host.start("env");
    let masked = shown(Secrets::Masked);
    assert!(masked.contains(lbd_grammar::MASK) && !masked.contains("hush"), "{masked}");
    for (advert_int, ok) in [("2", true), ("x", false)] {
        host.configure(&text(advert_int));
        assert_eq!(host.reload().ok, ok, "{advert_int}");
        let runs = shown(Secrets::Shown);
        assert!(runs.contains("advert_int 2\n") && runs.contains("auth_pass hush\n"), "{advert_int}: {runs}");
    }
    let again = lbd_grammar::load_str("shown", &shown(Secrets::Shown));
    let config = again.config.expect("it can run");
    assert_eq!(lbd_grammar::dump(&config, Secrets::Shown), shown(Secrets::Shown));
    // Octets that are no UTF-8 come out of lbctl as they went in.
    fs::write(host.path("conf"), [text("2").as_bytes(), b"global_defs {\n router_id a\xffb\n}\n"].concat())
        .expect("configuration");
    assert!(host.reload().ok);
    let lbctl = env!("CARGO_BIN_EXE_lbctl");
    let out =
        Command::new(lbctl).arg("--socket").arg(host.path("s")).arg("config").output().expect("lbctl runs");
    assert!(
        out.stdout.windows(15).any(|part| part == b" router_id a\xffb\n"),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
    host.stop();
}

/// Where the kernel has no IPVS: an address without its table is worse than none.
#[test]
fn a_start_that_fails_leaves_no_address_of_a_crashed_run() {
    if Path::new("/proc/net/ip_vs").exists() {
        return lbd_integration::skip::report("no_ipvs_left_address", "the host's kernel has IPVS");
    }
    let Some(host) = Host::new("noipvs") else { return };
    ip(&format!("-n {} addr add 10.77.0.9/24 dev eth0", host.namespace));
    let boot = read(Path::new("/proc/sys/kernel/random/boot_id"));
    let left = format!(
        r#"{{"boot_id":"{}","instances":[{{"interface":"eth0","vrid":7,"master":true,"last_advert_ms":1,
            "addresses":[["10.77.0.9/24","eth0"]]}}]}}"#,
        boot.trim()
    );
    fs::write(host.path("state.vrrp"), &left).expect("state");
    host.configure(
        "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 7\n priority 100\n virtual_ipaddress {\n  10.77.0.9/24\n }\n}\n\
         virtual_server 10.77.0.9 80 {\n lb_algo rr\n lb_kind NAT\n real_server 10.77.0.2 80 {\n  weight 1\n }\n}\n",
    );
    let status = host.spawn("env").wait().expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", read(&host.path("log")));
    assert!(!host.addresses().contains("10.77.0.9/"), "{}", host.addresses());
}

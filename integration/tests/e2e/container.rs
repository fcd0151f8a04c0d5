//! lbd as PID 1 of containers: the repository's Dockerfile, built and run with the Docker engine of this machine.
//!
//! Here: what a container adds (PID 1, signals of `docker stop`, few capabilities, the health check). Not here: VRRP and
//! balancing as such. The containers get a network of their own; nothing touches this machine's interfaces.

use std::fs::{self, File};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lbd_integration::build::{self, Profile};
use lbd_integration::{packages, process, skip, wait};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

const NAME: &str = "container";
/// All that VRRP and IPVS need.
const LEAST: [&str; 6] = ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
/// What a process writes that the notify script left behind.
const ORPHAN: &str = "/run/orphan";
/// For anything that only has to happen at all.
const SOON: Duration = Duration::from_secs(30);
/// Longest take-over after an orderly stop: the backup's skew time of 0.61 s, and a slow machine.
const HANDED_OVER: Duration = Duration::from_secs(3);
/// Longest take-over after a death: 3 × 1 s + 0.61 s, and a slow machine.
const TAKEN_OVER: Duration = Duration::from_secs(7);

#[test]
fn master_and_backup_in_containers() -> Result<()> {
    if let Err(error) = docker(&["version", "--format", "{{.Server.Version}}"]) {
        skip::report(NAME, &format!("no Docker engine: {error:#}"));
        return Ok(());
    }
    let suite = suite()?;
    let base = format!("lbd-test-base:{suite}");
    if docker(&["image", "inspect", &base]).is_err() {
        if !geteuid().is_root() {
            skip::report(NAME, &format!("image {base} is missing, and making it needs root"));
            return Ok(());
        }
        make_base(&base, &suite)?;
    }

    let lab = Lab::new(&base)?;
    let (a, b) = (lab.director("a", 2, 150)?, lab.director("b", 3, 100)?);
    lab.holds(&a, &b, SOON).context("after the start")?;
    starts_as_pid_1(&a)?;

    let asked = Instant::now();
    docker(&["stop", "--time", "20", &a])?;
    ensure!(
        asked.elapsed() < Duration::from_secs(10),
        "docker stop took {:?}: SIGTERM had no effect",
        asked.elapsed()
    );
    is_master(&b, HANDED_OVER.saturating_sub(asked.elapsed())).context("after docker stop")?;
    lab.address_is_at(&b, SOON)?;
    let status = docker(&["inspect", "--format", "{{.State.ExitCode}}", &a])?;
    ensure!(status == "0", "an orderly stop ended with status {status}: {}", logs(&a));

    docker(&["start", &a])?;
    lab.holds(&a, &b, SOON).context("after docker start")?;

    docker(&["kill", &a])?;
    let died = Instant::now();
    is_master(&b, TAKEN_OVER.saturating_sub(died.elapsed())).context("after docker kill")?;
    lab.address_is_at(&b, SOON)?;
    docker(&["start", &a])?;
    lab.holds(&a, &b, SOON).context("after the second docker start")?;

    no_zombies(&a)?;
    no_zombies(&b)?;
    wait::until_ok("HEALTHCHECK", Duration::from_secs(60), || {
        match docker(&["inspect", "--format", "{{.State.Health.Status}}", &b])?.as_str() {
            "healthy" => Ok(()),
            other => Err(anyhow!("{other}")),
        }
    })?;

    virtual_servers_need_the_kernel(&lab, &b)
}

/// PID 1 is lbd itself, without a shell around it, and holds no more than it was given.
fn starts_as_pid_1(container: &str) -> Result<()> {
    let pid = pid_1(container)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    ensure!(name.trim() == "lbd", "PID 1 is {name}");
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("CapBnd")?;
    // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
    ensure!(u64::from_str_radix(bounding.trim(), 16)? == 0b11 << 12, "capabilities {bounding}");
    Ok(())
}

/// The notify script leaves an orphan behind: it becomes a child of PID 1, which has to collect it.
fn no_zombies(container: &str) -> Result<()> {
    wait::until_ok(&format!("{container}: end of the orphan"), SOON, || {
        docker(&["exec", container, "cat", ORPHAN])
    })?;
    let pid = pid_1(container)?;
    wait::until_ok(&format!("{container} collects its orphans"), SOON, || {
        let zombies: Vec<Pid> =
            process::children(pid).into_iter().filter(|child| is_zombie(*child)).collect();
        if zombies.is_empty() { Ok(()) } else { Err(format!("zombies: {zombies:?}")) }
    })
}

/// A privileged container in another's network, as with `--net=host`: it balances where the kernel has IPVS, and else says
/// which module is missing and ends with 1, without having taken the virtual address.
fn virtual_servers_need_the_kernel(lab: &Lab, host: &str) -> Result<()> {
    let conf = format!(
        "virtual_server {vip} 80 {{\n protocol TCP\n lb_algo rr\n lb_kind DR\n delay_loop 2\n \
         real_server {real} 80 {{\n  TCP_CHECK {{\n   connect_timeout 1\n  }}\n }}\n}}\n",
        vip = lab.address(200),
        real = lab.address(11),
    );
    let network = format!("container:{host}");
    let container = match lab.container("c", &["--privileged", "--network", &network], &conf) {
        // An engine that has fewer rights than root itself cannot hand them on.
        Err(error) if format!("{error:#}").contains("operation not permitted") => {
            skip::report(
                "container/privileged",
                "this engine starts no privileged containers; tried with two capabilities",
            );
            docker(&["rm", "--force", &lab.name("c")])?;
            lab.container("c", &[&LEAST[..], &["--network", &network]].concat(), &conf)?
        }
        container => container?,
    };
    enum End {
        Balances,
        Ended(String),
    }
    let end = wait::until_ok("a virtual server, or a refusal", SOON, || {
        if let Ok(status) = status(&container)
            && status["virtual_servers"][0]["real_servers"][0]["state"] == "down"
        {
            return Ok(End::Balances);
        }
        match docker(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", &container])?
            .split_once(' ')
        {
            Some(("exited", code)) => Ok(End::Ended(code.to_owned())),
            _ => Err(anyhow!("neither yet: {}", logs(&container))),
        }
    })?;
    match end {
        End::Balances => Ok(()),
        End::Ended(code) => {
            let logs = logs(&container);
            ensure!(!Path::new("/proc/net/ip_vs").exists(), "this kernel has IPVS, and yet: {logs}");
            ensure!(
                code == "1" && logs.contains("modprobe ip_vs"),
                "status {code}, want 1 and the remedy: {logs}"
            );
            Ok(())
        }
    }
}

/// An image, a network and the containers of one test run, all gone with it.
struct Lab {
    id: String,
    image: String,
    /// First three octets.
    net: [u8; 3],
}

impl Lab {
    fn new(base: &str) -> Result<Self> {
        let pid = std::process::id();
        let id = format!("lbd-test-{pid}");
        let mut lab = Self { image: format!("{id}:latest"), id, net: [10, 0, 0] };
        lab.build(base)?;
        let [_, _, high, low] = pid.to_be_bytes();
        // Another network of this machine may have the numbers already.
        for second in 201..=209 {
            lab.net = [10, second ^ (high & 7), low];
            if docker(&["network", "create", "--subnet", &format!("{}/24", lab.address(0)), &lab.id]).is_ok()
            {
                return Ok(lab);
            }
        }
        bail!("no free network for the containers")
    }

    fn build(&self, base: &str) -> Result<()> {
        let binaries = build::binaries(Profile::Dev)?;
        let context = tempfile::tempdir()?;
        fs::copy(&binaries.lbd, context.path().join("lbd"))?;
        fs::copy(&binaries.lbctl, context.path().join("lbctl"))?;
        fs::copy(build::workspace().join("Dockerfile"), context.path().join("Dockerfile"))?;
        let base = format!("BASE={base}");
        let path = context.path().to_string_lossy();
        docker(&[
            "build",
            "-q",
            "--force-rm",
            "--build-arg",
            &base,
            "--build-arg",
            "BIN=.",
            "-t",
            &self.image,
            &path,
        ])?;
        Ok(())
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, host)
    }

    fn name(&self, role: &str) -> String {
        format!("{}-{role}", self.id)
    }

    /// Starts one of the pair, with VRRP alone and two capabilities.
    fn director(&self, role: &str, host: u8, priority: u8) -> Result<String> {
        let conf = format!(
            "global_defs {{\n script_user root\n}}\n\
             vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n priority {priority}\n advert_int 1\n \
             virtual_ipaddress {{\n  {vip}/32 dev eth0\n }}\n \
             notify \"/bin/sh -c '(sleep 0.2; echo ended >>{ORPHAN}) &'\"\n}}\n",
            vip = self.address(100),
        );
        let ip = self.address(host).to_string();
        self.container(role, &[&LEAST[..], &["--network", &self.id, "--ip", &ip]].concat(), &conf)
    }

    /// Starts a container with this configuration. Copied, not mounted: the engine may see other files than this process.
    fn container(&self, role: &str, options: &[&str], conf: &str) -> Result<String> {
        let name = self.name(role);
        let mut create = vec!["create", "--name", &name];
        create.extend(options);
        create.push(&self.image);
        docker(&create)?;
        let files = tempfile::tempdir()?;
        let folder = files.path().join("lbd");
        fs::create_dir(&folder)?;
        fs::write(folder.join("lbd.conf"), conf)?;
        docker(&["cp", &folder.to_string_lossy(), &format!("{name}:/etc/")])?;
        docker(&["start", &name])?;
        Ok(name)
    }

    /// Waits until `master` is master with the address and `backup` is backup without it.
    fn holds(&self, master: &str, backup: &str, limit: Duration) -> Result<()> {
        is_master(master, limit)?;
        wait::until_ok(&format!("{backup} is BACKUP"), limit, || in_state(backup, "BACKUP"))?;
        self.address_is_at(master, limit)?;
        ensure!(!self.has_address(backup)?, "{backup} is BACKUP and has the address");
        Ok(())
    }

    fn address_is_at(&self, container: &str, limit: Duration) -> Result<()> {
        let what = format!("{container} has {}", self.address(100));
        wait::until(&what, limit, || self.has_address(container).unwrap_or(false).then_some(()))
    }

    /// An address is there if a socket can be bound to it.
    fn has_address(&self, container: &str) -> Result<bool> {
        let network = File::open(format!("/proc/{}/ns/net", pid_1(container)?))?;
        let vip = self.address(100);
        let thread = std::thread::spawn(move || -> Result<bool> {
            setns(network, CloneFlags::CLONE_NEWNET)?;
            Ok(UdpSocket::bind((vip, 0)).is_ok())
        });
        thread.join().map_err(|_| anyhow!("the thread in the container's network panicked"))?
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for role in ["c", "b", "a"] {
            let _ = docker(&["rm", "--force", "--volumes", &self.name(role)]);
        }
        let _ = docker(&["network", "rm", &self.id]);
        let _ = docker(&["image", "rm", "--force", &self.image]);
    }
}

fn is_master(container: &str, limit: Duration) -> Result<()> {
    wait::until_ok(&format!("{container} is MASTER"), limit, || in_state(container, "MASTER"))
}

fn in_state(container: &str, want: &str) -> Result<()> {
    let status = status(container)?;
    let state = status["vrrp"]["instances"][0]["state"].as_str().context("no VRRP instance in the status")?;
    ensure!(state == want, "{container} is {state}; {}", logs(container));
    Ok(())
}

/// What `lbctl status --json` says inside.
fn status(container: &str) -> Result<Value> {
    let text = docker(&["exec", container, "/usr/sbin/lbctl", "status", "--json"])?;
    serde_json::from_str(&text).with_context(|| format!("lbctl status --json: {text}"))
}

fn pid_1(container: &str) -> Result<Pid> {
    let pid: i32 = docker(&["inspect", "--format", "{{.State.Pid}}", container])?.parse()?;
    ensure!(pid > 0, "{container} does not run: {}", logs(container));
    Ok(Pid::from_raw(pid))
}

fn is_zombie(pid: Pid) -> bool {
    // `pid (name) state …`; the name may hold anything, so look behind its end.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// The end of what a container has printed, for messages.
fn logs(container: &str) -> String {
    let output = Command::new("docker").args(["logs", "--tail", "20", container]).output();
    output.map_or_else(
        |error| error.to_string(),
        |output| {
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
        },
    )
}

/// Runs the Docker client for two minutes at most and gives what it prints, trimmed.
fn docker(args: &[&str]) -> Result<String> {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "docker"])
        .args(args)
        // The engine's own builder: the client's plug-in may be missing.
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .context("timeout")?;
    if !output.status.success() {
        bail!("docker {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Code name of this machine's distribution: the binaries built here fit its C library.
fn suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release has no VERSION_CODENAME: is this Debian?")?.trim_matches('"').to_owned())
}

/// Makes the base image. Its files stay below the target folder, so that it is made once only.
fn make_base(image: &str, suite: &str) -> Result<()> {
    packages::ensure(packages::ALL)?;
    let folder = target()?.join("bed");
    fs::create_dir_all(&folder)?;
    let tar = folder.join(format!("base-{suite}.tar"));
    if !tar.exists() {
        let work = tempfile::tempdir_in(&folder)?;
        let root = work.path().join("root");
        let made = work.path().join("base.tar");
        let mut debootstrap = Command::new("timeout");
        debootstrap.args(["--kill-after=5", "600", "debootstrap", "--variant=minbase", suite]).arg(&root);
        debootstrap.args(mirror(suite));
        run(&mut debootstrap)?;
        run(Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("--exclude=./var/cache/apt/archives/*.deb")
            .arg("-cf")
            .arg(&made)
            .arg("."))?;
        fs::rename(&made, &tar)?;
    }
    docker(&["import", &tar.to_string_lossy(), image])?;
    Ok(())
}

/// Where apt gets this suite from; debootstrap knows a place of its own otherwise.
fn mirror(suite: &str) -> Option<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CODENAME) $(REPO_URI)"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(|line| line.strip_prefix(suite)?.strip_prefix(' ').map(str::to_owned))
}

/// The target folder, from the place of this test: `TARGET/PROFILE/deps/NAME`.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.ancestors().nth(3).context("a test outside a target folder")?.to_owned())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{:?}", command.get_program()))?;
    if !output.status.success() {
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let end: Vec<&str> = said.lines().rev().take(10).collect();
        bail!("{command:?}: {}: {}", output.status, end.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

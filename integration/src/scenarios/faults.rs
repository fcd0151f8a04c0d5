//! A surrounding that does not let the daemon work: each gives one clear message and the documented exit status.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Ctx;
use super::pair;
use crate::build::{self, Profile};
use crate::client::expect_split;
use crate::director::Director;
use crate::step;
use crate::table;
use crate::topology::{Lab, host};
use crate::vip;
use crate::wait;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Time in which a start that must fail has failed.
const REFUSED: Duration = Duration::from_secs(10);

fn vrrp_on(interface: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n  state BACKUP\n  interface {interface}\n  virtual_router_id 51\n  priority 100\n  advert_int 1\n  \
         virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    )
}

/// FAULT with the interface named; MASTER when it appears; FAULT again when it goes.
pub fn missing_interface(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let mut a = ctx.director("a", lab.host("a"), &vrrp_on("late0"))?;
    let state = |a: &Director<'_>, want: &str| {
        a.expect_status(want, Duration::from_secs(8), |status| {
            status["vrrp"]["instances"][0]["state"] == want
        })
    };
    a.start_and_wait()?;
    let status = state(&a, "FAULT")?;
    let reasons = status["vrrp"]["instances"][0]["fault_reasons"].to_string();
    step!("fault reasons: {reasons}");
    ensure!(reasons.contains("late0"), "the reason does not name the interface: {reasons}");

    a.ns().ip("link add late0 type veth peer name late1\nlink set late1 up\naddress add 10.9.0.11/24 dev late0\nlink set late0 up\n")?;
    state(&a, "MASTER").context("the interface appeared")?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(1))?;

    a.ns().ip("link set late1 down")?;
    let status = state(&a, "FAULT").context("carrier lost")?;
    step!("fault reasons: {}", status["vrrp"]["instances"][0]["fault_reasons"]);
    vip::expect(a.ns(), VIP, false, Duration::from_secs(2))?;
    a.ns().ip("link set late1 up")?;
    state(&a, "MASTER").context("carrier back")?;

    a.ns().ip("link del late0")?;
    state(&a, "FAULT").context("interface deleted")?;
    ensure!(a.stop()?.success(), "stopping in FAULT failed");
    Ok(())
}

/// Virtual servers and a kernel without IPVS: exit status 1, the module and the command named, no address left.
pub fn no_ipvs(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, 1))?;
    let watch = vip::Watch::start(a.ns(), VIP, ctx.poll())?;
    let (status, log) = a.run_to_end(REFUSED)?;
    let seen = watch.finish()?;
    expect_refusal(status.code(), &log, 1, &["ip_vs", "modprobe"])?;
    ensure!(seen.is_empty(), "the address was there without a table");

    // VRRP alone works there.
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, 1))?.args(&["-P"]);
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8)).context("with -P")?;
    Ok(())
}

/// A second daemon on the same socket and pid file: refused, the first is not disturbed. A stale socket is no obstacle.
pub fn second_daemon(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let mut a = ctx.director("a", lab.host("a"), &vrrp_on("eth0"))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    let output = finished(&lab, a.command())?;
    let text = said(&output);
    step!("second daemon: {:?}\n{text}", output.status.code());
    ensure!(output.status.code() == Some(1), "the second daemon ended with {}: {text}", output.status);
    let (socket, pid_file) = (a.socket(), a.path("daemon.pid"));
    let names = |path: &std::path::Path| text.contains(&path.display().to_string());
    ensure!(names(&socket) || names(&pid_file), "neither socket nor pid file is named: {text}");
    ensure!(a.running() && vip::held(a.ns(), VIP)?, "the first daemon was disturbed");
    a.status().context("the first daemon's socket was disturbed")?;

    a.kill();
    ensure!(socket.exists(), "a killed daemon cannot have removed its socket");
    a.start_and_wait().context("a stale socket must not hinder a start")?;
    Ok(())
}

/// Without rights: exit status 4 and a missing capability named.
pub fn no_privileges(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let a = ctx.director("a", lab.host("a"), &vrrp_on("eth0"))?;
    // Somewhere that `nobody` can read and write, the binary included: only the rights are to be missing.
    let dir = tempfile::Builder::new().prefix("lbd-nobody-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    let binary = dir.path().join("lbd");
    fs::copy(build::binaries(Profile::Dev)?.lbd, &binary)?;
    let config = dir.path().join("lbd.conf");
    fs::copy(a.config(), &config)?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644))?;
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    command.arg(&binary).args(["-n", "-l", "-f"]).arg(&config);
    for (flag, file) in [("--control-socket", "socket"), ("-p", "pid"), ("--state-file", "state")] {
        command.arg(flag).arg(dir.path().join(file));
    }
    let output = finished(&lab, command)?;
    expect_refusal(output.status.code(), &said(&output), 4, &["CAP_NET_"])
}

/// lbctl where no daemon listens: one message with the path and what to do, status 1.
pub fn lbctl_without_socket(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let a = ctx.director("a", lab.host("a"), &vrrp_on("eth0"))?;
    let binaries = build::binaries(Profile::Dev)?;
    for (what, prepare) in [("no file", false), ("a file that nobody listens on", true)] {
        if prepare {
            drop(std::os::unix::net::UnixListener::bind(a.socket())?);
        }
        for args in [["status", "--json"].as_slice(), &["status"], &["reload"]] {
            let output = Command::new(&binaries.lbctl).arg("--socket").arg(a.socket()).args(args).output()?;
            let text = said(&output);
            step!("{what}, {args:?}: {:?} {}", output.status.code(), text.trim());
            ensure!(output.status.code() == Some(1), "{what}: {args:?} ended with {}", output.status);
            ensure!(
                text.contains(&a.socket().display().to_string()),
                "{what}: the socket is not named: {text}"
            );
            ensure!(text.lines().count() <= 4, "{what}: more than a message: {text}");
        }
    }
    Ok(())
}

/// Real servers that hang or reset instead of refusing are dead too; one that is slow to die takes no others along.
pub fn sick_servers(ctx: &Ctx) -> Result<()> {
    use crate::servers::Mode;
    let lab = pair::lab()?;
    let [r1, r2, _r3] = pair::servers(&lab)?;
    let check = "HTTP_GET {\n      url {\n        path /\n        status_code 200\n      }\n      connect_timeout 1\n      retry 1\n      \
                 delay_before_retry 1\n    }";
    let tcp = "TCP_CHECK {\n      connect_timeout 1\n      retry 1\n      delay_before_retry 1\n    }";
    let config = pair::config(150, 3);
    ensure!(config.contains(tcp), "the shared configuration changed");
    let mut a = ctx.director("a", lab.host("a"), &config.replace(tcp, check))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    table::expect_dests(a.ns(), pair::KEY, &pair::REAL, Duration::from_secs(8))?;
    wait::pause(Duration::from_secs(2));
    r1.set(Mode::Hang);
    r2.set(Mode::Reset);
    // delay_loop 1, two attempts of up to 1 s each, 1 s between.
    let took =
        table::expect_dests(a.ns(), pair::KEY, &pair::REAL[2..], Duration::from_secs(4) + ctx.slack())?;
    step!("hanging and resetting servers out after {took:?}");
    expect_split(lab.host("c"), pair::SERVICE, 6, &[("r3", 6)])?;
    r1.set(Mode::Serve);
    r2.set(Mode::Serve);
    table::expect_dests(a.ns(), pair::KEY, &pair::REAL, Duration::from_secs(3) + ctx.slack())?;
    Ok(())
}

/// Runs a command in host `a` to its end.
fn finished(lab: &Lab, mut command: Command) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = lab.host("a").run(|| command.spawn())?.context("starting")?;
    if let Err(error) = crate::process::ended(&mut child, "the refused daemon", REFUSED) {
        let _ = child.kill();
        let output = child.wait_with_output()?;
        bail!("{error:#}: {}", said(&output));
    }
    Ok(child.wait_with_output()?)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn expect_refusal(code: Option<i32>, text: &str, want: i32, words: &[&str]) -> Result<()> {
    step!("refused with {code:?}\n{text}");
    ensure!(code == Some(want), "exit status {code:?}, want {want}: {text}");
    for word in words {
        ensure!(text.contains(word), "the message does not say {word:?}: {text}");
    }
    Ok(())
}

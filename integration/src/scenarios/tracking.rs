//! What a virtual router, a sync group and a track_group track: files, processes, scripts, interfaces with delays; priority and
//! state as the status shows them.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Ctx;
use crate::director::Director;
use crate::fifo::executable;
use crate::step;
use crate::topology::{BACK, Lab, host};
use crate::wait;

/// A change of a link counts after so long: down, up.
const DOWN: Duration = Duration::from_secs(1);
/// Processes are counted every second where the kernel tells no events.
const COUNTED: Duration = Duration::from_secs(3);

/// A process that is killed with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory with what is tracked: a file with a number, a program of a name that nothing else has.
struct Tracked {
    dir: tempfile::TempDir,
    program: String,
}

impl Tracked {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lbd-track-").tempdir()?;
        let program = format!("lbdt{}", std::process::id());
        symlink("/bin/sleep", dir.path().join(&program))?;
        Ok(Self { dir, program })
    }

    fn write(&self, number: i32) -> Result<()> {
        Ok(fs::write(self.dir.path().join("number"), format!("{number}\n"))?)
    }

    fn start(&self, parameters: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.dir.path().join(&self.program));
        command.args(parameters).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Running(command.spawn().context("a program to track")?))
    }

    /// One instance whose priority changes, one in FAULT as soon as anything is bad.
    fn config(&self) -> String {
        let (dir, program) = (self.dir.path().display(), &self.program);
        let instance = |name: &str, vrid: u8, tracked: &str| {
            format!(
                "vrrp_instance {name} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {vrid}\n  priority 100\n  \
                 advert_int 1\n{tracked}  virtual_ipaddress {{\n    10.0.0.{vrid}/32\n  }}\n}}\n"
            )
        };
        format!(
            "vrrp_track_file number {{\n  file {dir}/number\n  weight 2\n}}\nvrrp_track_process web {{\n  process {program}\n  weight 20\n}}\n\
             interface_up_down_delays {{\n  eth1 {} 0\n}}\nlinkbeat_interfaces {{\n  eth0\n}}\n{}{}",
            DOWN.as_secs(),
            instance(
                "WEIGHTS",
                51,
                "  track_file {\n    number\n  }\n  track_process {\n    web\n  }\n  track_interface {\n    eth1 weight -30\n  }\n"
            ),
            instance(
                "FAULTS",
                52,
                "  track_file {\n    number weight 0\n  }\n  track_process {\n    web weight 0\n  }\n  track_interface {\n    eth1\n  }\n"
            ),
        )
    }
}

fn instance<'v>(status: &'v Value, name: &str) -> &'v Value {
    let all = status["vrrp"]["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null)
}

/// Effective priority of the one, and why the other is in FAULT.
fn seen(status: &Value) -> (u64, Vec<String>) {
    let reasons = instance(status, "FAULTS")["fault_reasons"].as_array().cloned().unwrap_or_default();
    let reasons = reasons.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (instance(status, "WEIGHTS")["effective_priority"].as_u64().unwrap_or_default(), reasons)
}

fn expect(a: &Director<'_>, what: &str, limit: Duration, priority: u64, faults: &[&str]) -> Result<Value> {
    let want = (priority, faults.iter().map(|fault| (*fault).to_owned()).collect::<Vec<_>>());
    wait::until_ok(what, limit, || {
        let status = a.peek()?;
        let seen = seen(&status);
        ensure!(seen == want, "{seen:?}, wanted {want:?}");
        let state = instance(&status, "FAULTS")["state"].clone();
        ensure!((state == "FAULT") != faults.is_empty(), "{state}");
        Ok(status)
    })
}

pub fn tracking(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.11/24")])?;
    let tracked = Tracked::new()?;
    tracked.write(5)?;
    let mut a = ctx.director("a", lab.host("a"), &tracked.config())?;
    a.start_and_wait()?;
    let (file, few) = ("file number: value 5", "process web: 0 of 1 running");
    let soon = ctx.slack() + Duration::from_secs(1);
    expect(&a, "at the start", soon, 110, &[file, few])?;

    let running = tracked.start(&["1000"])?;
    let status = expect(&a, "the program runs", COUNTED + soon, 130, &[file])?;
    let parts: Vec<(&str, &str, i64, &str, i64)> = instance(&status, "WEIGHTS")["priority_contributions"]
        .as_array()
        .context("contributions")?
        .iter()
        .filter_map(|one| {
            let text = |key: &str| one[key].as_str();
            Some((
                text("kind")?,
                text("name")?,
                one["weight"].as_i64()?,
                text("state")?,
                one["contribution"].as_i64()?,
            ))
        })
        .collect();
    let want = [
        ("interface", "eth1", -30, "up", 0),
        ("file", "number", 2, "5", 10),
        ("process", "web", 20, "runs", 20),
    ];
    ensure!(parts == want, "contributions {parts:?}, wanted {want:?}");
    let shown = a.lbctl(&["status"])?;
    let sum = "priority 100 + 10 (file number 5) + 20 (process web runs) = 130";
    ensure!(shown.contains(sum), "lbctl status without `{sum}`:\n{shown}");

    tracked.write(0)?;
    expect(&a, "0 in the file", soon, 120, &[])?;
    tracked.write(-200)?;
    let status = expect(&a, "the file takes more than there is", soon, 120, &["file number: value -200"])?;
    let reasons = &instance(&status, "WEIGHTS")["fault_reasons"];
    ensure!(reasons[0] == "file number: value -200 times weight 2", "{reasons}");
    tracked.write(0)?;
    expect(&a, "0 in the file again", soon, 120, &[])?;

    // A link that is back in time never was away.
    lab.cable("a", "eth1", false)?;
    wait::throughout("a short loss", DOWN / 2, || {
        let seen = seen(&a.peek()?);
        ensure!(seen == (120, Vec::new()), "{seen:?}");
        Ok(())
    })?;
    lab.cable("a", "eth1", true)?;
    wait::throughout("after a short loss", DOWN, || {
        let seen = seen(&a.peek()?);
        ensure!(seen == (120, Vec::new()), "{seen:?}");
        Ok(())
    })?;
    let cut = Instant::now();
    lab.cable("a", "eth1", false)?;
    expect(&a, "a link lost", DOWN + soon, 90, &["tracked interface eth1 is down"])?;
    let after = cut.elapsed();
    step!("a lost link counts after {after:?}");
    ensure!(after >= DOWN, "it counts after {after:?}, before its delay");
    lab.cable("a", "eth1", true)?;
    expect(&a, "the link is back", soon, 120, &[])?;

    drop(running);
    expect(&a, "the program ended", COUNTED + soon, 100, &[few])?;
    ensure!(a.log().contains("link of eth0 is polled by Ethtool"), "linkbeat_interfaces is not heard of");
    let status = a.stop()?;
    ensure!(status.success(), "an orderly stop ended with {status}");
    Ok(())
}

/// Waits for states, effective priorities and what the reasons of a fault name, by instance.
fn expect_all(a: &Director<'_>, what: &str, limit: Duration, want: &[(&str, &str, u64, &str)]) -> Result<()> {
    wait::until_ok(what, limit, || {
        let status = a.peek()?;
        for (name, state, priority, reason) in want {
            let one = instance(&status, name);
            let found = (one["state"].as_str(), one["effective_priority"].as_u64());
            let reasons = one["fault_reasons"].to_string();
            ensure!(found == (Some(*state), Some(*priority)), "{name}: {found:?} {reasons}");
            ensure!(reasons.contains(reason) && (reasons == "[]") == reason.is_empty(), "{name}: {reasons}");
        }
        Ok(())
    })
}

/// What a sync group tracks, and what a static track_group does; rise and fall; a weight that is reversed.
pub fn groups(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24").nic(BACK, "eth1", "10.1.0.11/24")])?;
    let dir = tempfile::Builder::new().prefix("lbd-groups-").tempdir()?;
    let at = |name: &str| dir.path().join(name);
    for name in ["whole", "weighs", "turned"] {
        fs::write(at(name), "")?;
    }
    let check = executable(
        dir.path(),
        "check",
        &format!("echo $1 >>{0}/runs\ntest -e {0}/$1", dir.path().display()),
    )?;
    let script = |name: &str, more: &str| {
        format!("vrrp_script {name} {{\n  script \"{} {name}\"\n  interval 1\n{more}}}\n", check.display())
    };
    let router = |name: &str, vrid: u8, tracked: &str| {
        format!(
            "vrrp_instance {name} {{\n  interface eth0\n  virtual_router_id {vrid}\n  priority 100\n  advert_int 0.1\n{tracked}  \
             virtual_ipaddress {{\n    10.0.0.{vrid}/32\n  }}\n}}\n"
        )
    };
    let config = format!(
        "global_defs {{\n  script_user root\n  enable_script_security\n  vrrp_version 3\n}}\n{}{}{}\
         vrrp_sync_group BOTH {{\n  group {{\n    ONE\n    TWO\n  }}\n  sync_group_tracking_weight\n  track_script {{\n    whole\n    \
         weighs\n  }}\n}}\ntrack_group STATIC {{\n  group {{\n    ALONE\n  }}\n}}\n\
         static_ipaddress {{\n  10.1.0.50/32 dev eth1 track_group STATIC\n}}\n{}{}{}",
        script("whole", "  rise 3\n  fall 2\n"),
        script("weighs", "  weight 10\n"),
        script("turned", "  weight 20 reverse\n"),
        router("ONE", 61, ""),
        router("TWO", 62, ""),
        router("ALONE", 63, "  track_script {\n    turned\n  }\n"),
    );
    let mut a = ctx.director("a", lab.host("a"), &config)?;
    a.start_and_wait()?;
    // An interval and the run itself.
    let soon = Duration::from_secs(2) + ctx.slack();
    let good =
        |alone| [("ONE", "MASTER", 110, ""), ("TWO", "MASTER", 110, ""), ("ALONE", "MASTER", alone, "")];
    expect_all(&a, "all scripts are good", soon * 2, &good(80))?;
    let shown = a.lbctl(&["status"])?;
    ensure!(shown.contains("priority 100 - 20 (script turned"), "lbctl status: {shown}");

    fs::remove_file(at("turned"))?;
    expect_all(&a, "reversed: bad takes nothing away", soon, &good(100))?;
    fs::remove_file(at("weighs"))?;
    let weighed =
        |alone| [("ONE", "MASTER", 100, ""), ("TWO", "MASTER", 100, ""), ("ALONE", "MASTER", alone, "")];
    expect_all(&a, "the group's weight is its members'", soon, &weighed(100))?;
    fs::write(at("weighs"), "")?;
    expect_all(&a, "and back", soon, &good(100))?;

    let runs = || -> Result<usize> {
        Ok(fs::read_to_string(at("runs"))?.lines().filter(|line| *line == "whole").count())
    };
    for (what, whole, times) in [("fall", false, 2), ("rise", true, 3)] {
        if whole {
            fs::write(at("whole"), "")?;
        } else {
            fs::remove_file(at("whole"))?;
        }
        let before = runs()?;
        let (state, reason) = if whole { ("MASTER", "") } else { ("FAULT", "whole") };
        let want = [("ONE", state, 110, reason), ("TWO", state, 110, reason), ("ALONE", "MASTER", 100, "")];
        expect_all(&a, what, soon * times, &want)?;
        // One may have begun before the file changed.
        let needed = runs()? - before;
        ensure!(needed + 1 >= usize::try_from(times)?, "{what} after {needed} runs");
        step!("{what}: {needed} runs");
    }

    lab.cable("a", "eth1", false)?;
    let want = [("ONE", "MASTER", 110, ""), ("TWO", "MASTER", 110, ""), ("ALONE", "FAULT", 100, "eth1")];
    expect_all(&a, "the interface of a static address of the track_group", soon, &want)?;
    lab.cable("a", "eth1", true)?;
    expect_all(&a, "and back", soon, &good(100))?;
    ensure!(a.stop()?.success(), "the stop failed");
    Ok(())
}

/// The words of vrrp_track_process: each that matches has a weight of its own, so that the priority tells which.
pub fn processes(ctx: &Ctx) -> Result<()> {
    const LATE: Duration = Duration::from_secs(3);
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let tracked = Tracked::new()?;
    let path = tracked.dir.path().join(&tracked.program);
    let (name, path) = (&tracked.program, path.display());
    let trackers = [
        ("name", format!("process {name}"), 1),
        ("whole", format!("process {path}\n  full_command"), 2),
        ("exact", format!("process {path} 1000"), 4),
        // The last one may go on.
        ("initial", format!("process {path} 10\n  param_match initial"), 8),
        ("partial", format!("process {path} 1000\n  param_match partial"), 16),
        ("late", format!("process {name}\n  fork_delay 3\n  terminate_delay 3"), 32),
        ("at_most", format!("process {name}\n  quorum_max 1"), 64),
        // None of these is running.
        ("without", format!("process {path}\n  param_match"), 7),
        ("begins", format!("process {path} 10\n  param_match partial"), 7),
        ("cut", format!("process {name}\n  quorum 3"), 7),
    ];
    let mut config = "global_defs {\n  vrrp_version 3\n}\n".to_owned();
    let mut names = String::new();
    for (name, lines, weight) in &trackers {
        config += &format!("vrrp_track_process {name} {{\n  {lines}\n  weight {weight}\n}}\n");
        names += &format!("    {name}\n");
    }
    config += &format!(
        "vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 51\n  priority 50\n  advert_int 0.1\n  track_process {{\n\
         {names}  }}\n  virtual_ipaddress {{\n    10.0.0.51/32\n  }}\n}}\n"
    );
    let mut a = ctx.director("a", lab.host("a"), &config)?;
    a.start_and_wait()?;
    let soon = COUNTED + ctx.slack();
    let reaches = |what: &str, limit: Duration, priority: u64| -> Result<Instant> {
        expect_all(&a, what, limit, &[("VI_1", "MASTER", priority, "")])?;
        Ok(Instant::now())
    };
    reaches("nothing runs", soon, 50)?;
    let one = tracked.start(&["1000"])?;
    let found = reaches("one runs", soon, 50 + 1 + 2 + 4 + 8 + 16 + 64)?;
    let later = reaches("fork_delay", LATE + soon, 50 + 1 + 2 + 4 + 8 + 16 + 32 + 64)?;
    ensure!(later - found >= LATE / 2, "fork_delay: {:?}", later - found);
    let two = tracked.start(&["1000", "5"])?;
    reaches("quorum_max", soon, 50 + 1 + 2 + 4 + 8 + 16 + 32)?;
    drop(one);
    reaches("another parameter", soon, 50 + 1 + 2 + 8 + 16 + 32 + 64)?;
    drop(two);
    let found = reaches("nothing runs again", soon, 50 + 32)?;
    let later = reaches("terminate_delay", LATE + soon, 50)?;
    ensure!(later - found >= LATE / 2, "terminate_delay: {:?}", later - found);
    ensure!(a.stop()?.success(), "the stop failed");
    Ok(())
}

//! The life of the process: the namespace and the name that it has, programs around it, reloads at a time, its threads, its files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::Pid;

use super::Ctx;
use super::behind;
use super::named::Named;
use super::steering::generation;
use crate::director::Director;
use crate::fifo::executable;
use crate::topology::{Lab, host};
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(10);
const VIP: [u8; 4] = [10, 0, 0, 100];
/// Master within a fifth of a second.
const INSTANCE: &str = "\
vrrp_instance VI_1 {
  version 3
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int 0.05
  virtual_ipaddress {
    10.0.0.100/32
  }
}
";

/// Files of /etc that a network namespace has of its own.
struct Etc(PathBuf);

impl Etc {
    /// The host's groups, and one more.
    fn with_group(namespace: &str, line: &str) -> Result<Self> {
        let folder = Etc(Path::new("/etc/netns").join(namespace));
        fs::create_dir_all(&folder.0)?;
        let groups = fs::read_to_string("/etc/group")?;
        fs::write(folder.0.join("group"), format!("{groups}{line}\n"))?;
        Ok(folder)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // Unless others are in it.
        let _ = fs::remove_dir("/etc/netns");
    }
}

pub fn namespace(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let (ns, other) = (lab.host("a"), lab.host("b"));
    let name = ns.name();
    let inside = fs::metadata(Path::new("/run/netns").join(name))?.ino();
    let _etc = Etc::with_group(name, "lbd-extra:x:4711:nobody")?;
    let seen = open_folder()?;
    let at = seen.path().display();
    let script =
        executable(seen.path(), "look", &format!("ls /sys/class/net >{at}/net\nid -G >{at}/groups"))?;
    let text = |namespace: &str, groups: &str| {
        format!(
            "{namespace}\nglobal_defs {{\n  script_user nobody\n  enable_script_security\n  startup_script {}\n  {groups}\n}}\n\
             {INSTANCE}",
            script.display()
        )
    };
    let keyword = format!("net_namespace {name}");
    let elsewhere = format!("net_namespace {}", other.name());
    let supplementary = "set_supplementary_groups";
    // Flags of the command line count more than the keyword.
    for (way, config, flags) in [
        ("by keyword", text(&keyword, supplementary), vec![]),
        ("by -s", text("", ""), vec!["-s", name]),
        ("by -s against the keyword", text(&elsewhere, supplementary), vec!["-s", name]),
    ] {
        step!("{way}");
        let mut lbd = Named::start(&config, &flags, &[("--namespace", name)])?;
        lbd.answers()?;
        lbd.has_its_pid_file()?;
        vip::expect(ns, VIP, true, LIMIT)?;
        for task in fs::read_dir(format!("/proc/{}/task", lbd.child.id()))? {
            let task = task?.path();
            let found = fs::metadata(task.join("ns/net"))?.ino();
            ensure!(found == inside, "{} is in namespace {found}", task.display());
        }
        let interfaces = fs::read_to_string(seen.path().join("net"))?;
        ensure!(
            interfaces.split_whitespace().collect::<Vec<_>>() == ["eth0", "lo"],
            "/sys of scripts: {interfaces}"
        );
        let groups = fs::read_to_string(seen.path().join("groups"))?;
        ensure!(
            groups.split_whitespace().any(|one| one == "4711") == config.contains(supplementary),
            "{supplementary}, with the namespace's /etc/group: {groups}"
        );
        ensure!(
            !lbd.log().contains("interface eth0 does not exist"),
            "looked for on the host: {}",
            lbd.log()
        );
        if way == "by keyword" {
            fs::write(lbd.dir.path().join("lbd.conf"), text(&elsewhere, supplementary))?;
            let refused = lbd.lbctl(&["reload"]).expect_err("a reload into another namespace");
            ensure!(refused.to_string().contains("net_namespace is another"), "{refused}");
        }
        lbd.stop()?;
        vip::expect(ns, VIP, false, ctx.slack())?;
    }
    for (flags, config) in [(vec![], "net_namespace lbd-no-such\n"), (vec!["-s", "lbd-no-such"], "")] {
        let mut lbd =
            Named::start(&format!("{config}{INSTANCE}"), &flags, &[("--namespace", "lbd-no-such")])?;
        let (status, log) = (lbd.ended()?, lbd.log());
        ensure!(status.code() == Some(3), "{status}: {log}");
        ensure!(log.contains("`ip netns add lbd-no-such`"), "{log}");
    }
    instances(name)
}

/// Two of one namespace, with names, and lbctl finds each.
fn instances(namespace: &str) -> Result<()> {
    let names = ["one", "two"].map(|name| format!("{name}-{}", std::process::id()));
    let config = |name: &str| format!("net_namespace {namespace}\ninstance {name}\nuse_pid_dir\n");
    let mut both = Vec::new();
    for name in &names {
        let lbd = Named::start(&config(name), &[], &[("--namespace", namespace), ("--instance", name)])?;
        lbd.answers()?;
        lbd.has_its_pid_file()?;
        both.push(lbd);
    }
    for (lbd, name) in both.iter().zip(&names) {
        let shown = lbd.lbctl(&["config"])?;
        ensure!(shown.contains(&format!("instance {name}\n")), "{name}: {shown}");
        let path = lbd.status()?["config"]["path"].clone();
        let own = lbd.dir.path().join("lbd.conf");
        ensure!(path.as_str() == own.to_str(), "{name}: another answers, of {path}");
    }
    // The same name again is another one's.
    let mut third =
        Named::start(&config(&names[0]), &[], &[("--namespace", namespace), ("--instance", "none")])?;
    let (status, log) = (third.ended()?, third.log());
    ensure!(status.code() == Some(1) && log.contains("running already"), "{status}: {log}");
    fs::write(both[0].dir.path().join("lbd.conf"), config("three"))?;
    let refused = both[0].lbctl(&["reload"]).expect_err("a reload with another name");
    ensure!(refused.to_string().contains("instance is another"), "{refused}");
    let shared = both[0].run.parent().context("a folder")?.to_owned();
    for lbd in &mut both {
        ensure!(shared.exists(), "{} is in use", shared.display());
        lbd.stop()?;
    }
    ensure!(!shared.exists(), "{} is left", shared.display());
    Ok(())
}

/// A folder that a script's user may use.
fn open_folder() -> Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("lbd-life-").tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
    Ok(dir)
}

pub fn scripts(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let ns = lab.host("a");
    let dir = open_folder()?;
    let told = dir.path().join("told");
    // One after the other, by several users.
    fs::write(&told, "")?;
    fs::set_permissions(&told, fs::Permissions::from_mode(0o666))?;
    let say = |name: &str, more: &str| {
        let body = format!("echo {name} \"$(id -un)\" \"$(id -G)\" $* >>{}\n{more}", told.display());
        executable(dir.path(), name, &body)
    };
    let (before, after, notify) = (say("before", "sleep 60")?, say("after", "")?, say("notify", "")?);
    let config = format!(
        "global_defs {{\n  script_user root\n  startup_script {} nobody\n  startup_script_timeout 1\n  shutdown_script \"{} \
         last\" nobody :\n}}\n{}",
        before.display(),
        after.display(),
        INSTANCE.replace("  version 3", &format!("  version 3\n  notify {}", notify.display()))
    );
    let mut director = ctx.director("a", ns, &config)?;
    let began = Instant::now();
    director.start_and_wait()?;
    let took = began.elapsed();
    ensure!(took >= Duration::from_secs(1), "startup_script was not waited for: {took:?}");
    ensure!(director.log().contains("startup_script: timed out after 1 s"), "no word of its limit");
    vip::expect(ns, VIP, true, LIMIT)?;
    let lines = || -> Vec<String> {
        fs::read_to_string(&told).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    wait::until("the master is told", LIMIT, || {
        lines().iter().any(|one| one.contains("MASTER")).then_some(())
    })?;
    ensure!(lines()[0].starts_with("before nobody "), "{:?}", lines());
    ensure!(lines()[1].starts_with("notify root "), "VRRP began before: {:?}", lines());
    director.stop()?;
    let lines = lines();
    let [.., stop, last] = lines.as_slice() else { bail!("{lines:?}") };
    ensure!(stop.starts_with("notify root ") && stop.contains("STOP"), "{lines:?}");
    ensure!(last.starts_with("after nobody ") && last.ends_with(" last"), "{lines:?}");
    let group = process_output(Command::new("id").args(["-g", "nobody"]))?;
    ensure!(lines[0] == format!("before nobody {}", group.trim()), "without supplementary groups: {lines:?}");
    step!("{lines:?}");

    // A handover undoes nothing.
    let config = config
        .replace("startup_script_timeout 1", "")
        .replace(&format!("  startup_script {} nobody\n", before.display()), "");
    director.configure(&config)?;
    director.start_and_wait()?;
    vip::expect(ns, VIP, true, LIMIT)?;
    director.lbctl(&["handover"])?;
    director.ended(LIMIT)?;
    let now = fs::read_to_string(&told)?;
    ensure!(now.lines().filter(|line| line.starts_with("after ")).count() == 1, "{now}");
    Ok(())
}

fn process_output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The time of day in so many seconds, as date(1) writes it.
fn in_seconds(seconds: u64, form: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let zone = if form.ends_with('Z') { ["-u"].as_slice() } else { &[] };
    process_output(
        Command::new("date").args(zone).arg(format!("-d@{}", now + seconds)).arg(format!("+{form}")),
    )
}

fn reaches(director: &Director<'_>, wanted: u64) -> Result<()> {
    wait::until_ok("the reload", LIMIT, || match generation(director) {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) => Err(format!("generation {found}")),
        Err(error) => Err(error.to_string()),
    })
}

/// Files of a folder with their permissions.
fn listed(dir: &Path) -> Result<BTreeMap<String, u32>> {
    fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.mode() & 0o7777))
        })
        .collect()
}

pub fn reload(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let dir = tempfile::Builder::new().prefix("lbd-life-").tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let config = |router: &str, more: &str| {
        let path = dir.path().display();
        format!(
            "global_defs {{\n  router_id {router}\n  umask 0137\n  reload_file {path}/reading\n  config_save_dir {path}/saved\n  \
             reload_check_config {path}/check\n  notify_fifo {path}/fifo\n  reload_time_file {path}/time\n  {more}\n}}\n"
        )
    };
    let mut director = ctx.director("a", lab.host("a"), &config("r1", ""))?;
    fs::write(at("reading"), "")?;
    director.start_and_wait()?;
    ensure!(!at("reading").exists(), "a reload_file that a crash left is there still");
    ensure!(
        fs::metadata(at("fifo"))?.mode() & 0o777 == 0o640,
        "umask: {:o}",
        fs::metadata(at("fifo"))?.mode()
    );
    ensure!(fs::metadata(at("saved"))?.mode() & 0o7777 == 0o700, "config_save_dir is not its owner's alone");
    ensure!(fs::metadata(director.path("daemon.pid"))?.mode() & 0o777 == 0o644, "the pid file is for all");

    step!("a reload, with its file");
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(dir.path(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE)?;
    director.configure(&config("r2", "umask 0177"))?;
    director.lbctl(&["reload"])?;
    let events = inotify.read_events()?;
    let reading: Vec<_> =
        events.iter().filter(|event| event.name.as_deref() == Some("reading".as_ref())).collect();
    let masks: Vec<_> = reading.iter().map(|event| event.mask).collect();
    ensure!(masks == [AddWatchFlags::IN_CREATE, AddWatchFlags::IN_DELETE], "reload_file: {events:?}");
    let name = format!("lbd.conf.{}.1", director.pid()?);
    let saved = listed(&at("saved"))?;
    let both = [format!("{name}.post"), format!("{name}.pre")];
    ensure!(
        saved.iter().map(|(name, mode)| (name.clone(), *mode)).eq(both.map(|name| (name, 0o600))),
        "{saved:?}"
    );
    for (ending, router) in [("pre", "r1"), ("post", "r2")] {
        let text = fs::read_to_string(at("saved").join(format!("{name}.{ending}")))?;
        ensure!(text.contains(&format!("router_id {router}\n")), "{ending}: {text}");
    }

    step!("one that is refused");
    director.configure(&config("r3", "disable_local_igmp"))?;
    ensure!(director.lbctl(&["reload"]).is_err(), "disable_local_igmp cannot be changed");
    director.configure(&config("r3", "no_such_keyword"))?;
    ensure!(director.lbctl(&["reload"]).is_err(), "a new mistake");
    let check = fs::read_to_string(at("check"))?;
    ensure!(check.lines().next().is_some_and(|line| line.ends_with(": taken")), "{check}");
    ensure!(check.contains("refused: disable_local_igmp is another"), "{check}");
    ensure!(check.contains("unknown keyword `no_such_keyword`"), "{check}");
    ensure!(listed(&at("saved"))?.len() == 2, "only what runs is kept");

    step!("at a time, once");
    director.configure(&config("r4", ""))?;
    fs::write(at("time"), in_seconds(2, "%Y-%m-%d %H:%M:%SZ")?)?;
    reaches(&director, 3)?;
    ensure!(!at("time").exists(), "the file is removed");
    step!("at a time each day, and the file comes by rename");
    director.configure(&config("r5", "reload_repeat"))?;
    director.lbctl(&["reload"])?;
    fs::write(at("new"), in_seconds(2, "%H:%M:%S")?)?;
    fs::rename(at("new"), at("time"))?;
    reaches(&director, 5)?;
    ensure!(at("time").exists(), "the file stays");
    fs::write(at("time"), "soon\n")?;
    wait::until("what is wrong with it is said", LIMIT, || {
        director.log().contains("not of the form").then_some(())
    })?;
    director.stop()?;
    ensure!(!at("fifo").exists() && generation(&director).is_err(), "it has ended");
    Ok(())
}

pub fn threads(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(1)?;
    let ns = lab.host("a");
    let server = behind::virtual_server(
        "10.0.0.99 80",
        "TCP",
        &behind::real_server("10.1.0.21:80", "TCP_CHECK {\n    }"),
    );
    let config = |global: &str| format!("global_defs {{\n{global}\n}}\n{INSTANCE}{server}");
    let igmp = "/proc/sys/net/ipv4/igmp_link_local_mcast_reports";
    let reports = || ns.run(|| fs::read_to_string(igmp).map(|text| text.trim().to_owned()));
    let mut director = ctx.director(
        "a",
        ns,
        &config(
            "process_names\nprocess_name lb\nvrrp_process_name lb_vrrp\nchecker_priority -3\nchecker_rt_priority 2\nvrrp_rt_priority 4\n\
             vrrp_rx_bufs_policy 9000000\ndisable_local_igmp",
        ),
    )?;
    director.start_and_wait()?;
    let pid = director.pid()?;
    ensure!(fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "lb", "process_name");
    let normal = Scheduled { nice: 0, priority: 0, policy: 0 };
    let reset = Scheduled { nice: -3, priority: 2, policy: 2 };
    for (name, want) in [
        ("lb", normal),
        ("lb_vrrp", Scheduled { nice: 0, priority: 4, policy: 2 }),
        ("keepalived_lvs", reset),
        ("ipvs", reset),
        ("netconf", normal),
    ] {
        wait::until_ok(&format!("thread {name}"), LIMIT, || match scheduled(pid.as_raw())?.get(name) {
            Some(found) if *found == want => Ok(()),
            found => bail!("{found:?}, want {want:?}"),
        })?;
    }
    ensure!(reports()?? == "0", "disable_local_igmp");
    director.configure(&config(
        "checker_process_name lb_checks\nchecker_no_swap\nvrrp_priority -5\nvrrp_rt_priority 6\nvrrp_rlimit_rttime 50000\n\
         disable_local_igmp",
    ))?;
    director.lbctl(&["reload"])?;
    for (name, want) in
        [("vrrp", Scheduled { nice: -5, priority: 6, policy: 2 }), ("lb_checks", normal), ("ipvs", normal)]
    {
        wait::until_ok(&format!("thread {name} after a reload"), LIMIT, || {
            match scheduled(pid.as_raw())?.get(name) {
                Some(found) if *found == want => Ok(()),
                found => bail!("{found:?}, want {want:?}"),
            }
        })?;
    }
    let limit = || real_time_limit(pid);
    ensure!(limit()? == "50000", "vrrp_rlimit_rttime: {}", limit()?);
    let locked = || field(pid.as_raw(), "vrrp", "VmLck");
    ensure!(locked()? != "0 kB", "checker_no_swap: {} are locked", locked()?);
    director.configure(&config("disable_local_igmp"))?;
    director.lbctl(&["reload"])?;
    let before = scheduled(pid.as_raw())?;
    for name in ["lbd", "vrrp", "checkers", "ipvs"] {
        wait::until_ok(&format!("thread {name} as it was"), LIMIT, || {
            match scheduled(pid.as_raw())?.get(name) {
                Some(found) if *found == normal => Ok(()),
                found => bail!("{found:?} of {before:?}"),
            }
        })?;
    }
    ensure!(limit()? != "50000", "the limit of real time stays");
    let locked = field(pid.as_raw(), "vrrp", "VmLck")?;
    ensure!(locked == "0 kB", "{locked} stay locked");
    director.stop()?;
    ensure!(reports()?? == "1", "igmp_link_local_mcast_reports is put back");
    director.start_and_wait()?;
    director.kill();
    ensure!(reports()?? == "0", "after a crash it stays");
    director.configure(&server)?;
    director.start_and_wait()?;
    wait::until_ok("the next start puts it back, which has no virtual router", LIMIT, || {
        let reports = reports()??;
        ensure!(reports == "1", "{reports}");
        Ok::<_, anyhow::Error>(())
    })?;
    director.stop()?;
    Ok(())
}

/// Of a thread (proc_pid_stat(5)): nice value, real-time priority, policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheduled {
    pub nice: i64,
    pub priority: i64,
    policy: i64,
}

/// The threads of a process, by name.
pub(super) fn scheduled(pid: i32) -> Result<BTreeMap<String, Scheduled>> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // It may have ended.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
        let (_, rest) = stat.rsplit_once(") ").context("stat")?;
        // The third field is the first here.
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |number: usize| -> Result<i64> {
            Ok(fields.get(number - 3).context("a field of stat")?.parse()?)
        };
        let one = Scheduled { nice: field(19)?, priority: field(40)?, policy: field(41)? };
        found.insert(name.trim_end().to_owned(), one);
    }
    Ok(found)
}

/// The soft limit of a process in microseconds, or `unlimited` (proc_pid_limits(5)).
pub(super) fn real_time_limit(pid: Pid) -> Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let values = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout"));
    Ok(values.and_then(|values| values.split_whitespace().next()).context("no such limit")?.to_owned())
}

/// Of a thread's status (proc_pid_status(5)).
pub(super) fn field(pid: i32, thread: &str, name: &str) -> Result<String> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if read("comm").trim_end() == thread {
            let status = read("status");
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            return Ok(value.with_context(|| format!("no {name} of thread {thread}"))?.trim().to_owned());
        }
    }
    bail!("no thread {thread}")
}

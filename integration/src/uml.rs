//! user-mode-linux: a kernel with IPVS as an ordinary process, in about 2.5 s, whatever the host's kernel has.
//!
//! The guest's root is the host's `/`, read-only, so the same program runs on both sides. What a guest says comes out of its
//! console; its exit status is a line with a random word, as UML's own says nothing.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};

use crate::packages::{self, Package};
use crate::process::pid_of;
use crate::xstate;

const MODULES: &str = "ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_dh ip_vs_mh ip_vs_sed ip_vs_nq ip_vs_fo \
    ip_vs_ovf ip_vs_lblc ip_vs_lblcr ip_vs_pe_sip veth bridge dummy macvlan ipvlan vrf ipv6 ipip ip6_tunnel sit fou gre ip_gre \
    nf_conntrack iptable_mangle iptable_nat iptable_filter xt_mark xt_multiport";

/// Debian packages a guest needs.
const PACKAGES: [&str; 4] = ["user-mode-linux", "iproute2", "kmod", "psmisc"];

/// An installed user-mode-linux.
#[derive(Clone, Debug)]
pub struct Uml {
    program: PathBuf,
    modules: PathBuf,
    /// In MiB.
    memory: u32,
}

/// Memory of a guest in MiB, unless [`Uml::with_memory`] says otherwise.
const MEMORY: u32 = 512;

/// How a guest ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit status of the program; `None` when the guest crashed or ran into its limit.
    pub status: Option<i32>,
    /// All that came out of the console.
    pub output: String,
    /// Time from boot to end.
    pub took: Duration,
}

impl Uml {
    /// Finds it (`LBD_UML`, `LBD_UML_MODULES`, else where Debian puts it), installing Debian's packages when they are missing
    /// and this is root.
    ///
    /// # Errors
    /// Why there is none: the reason for a skip.
    pub fn find() -> Result<Self, String> {
        static FOUND: OnceLock<Result<Uml, String>> = OnceLock::new();
        FOUND.get_or_init(Self::search).clone()
    }

    fn search() -> Result<Self, String> {
        let path = |name: &str, default: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(default), PathBuf::from)
        };
        let given = std::env::var_os("LBD_UML").is_some();
        let needed: Vec<Package> = packages::ALL
            .iter()
            .filter(|package| {
                PACKAGES.contains(&package.name) && !(given && package.name == "user-mode-linux")
            })
            .copied()
            .collect();
        packages::ensure(&needed).map_err(|error| format!("{error:#}"))?;
        let program = path("LBD_UML", "/usr/bin/linux.uml");
        if !program.exists() {
            return Err(format!(
                "no user-mode-linux at {} (Debian package user-mode-linux; LBD_UML)",
                program.display()
            ));
        }
        let modules = path("LBD_UML_MODULES", "/usr/lib/uml/modules");
        let versions = fs::read_dir(&modules)
            .map_err(|error| format!("{}: {error} (LBD_UML_MODULES)", modules.display()))?;
        let has_index = |dir: &Path| dir.join("modules.dep").exists() || dir.join("modules.dep.bin").exists();
        let modules = if has_index(&modules) {
            modules
        } else {
            let inside = versions.flatten().map(|entry| entry.path()).find(|dir| has_index(dir));
            inside.ok_or_else(|| format!("no modules below {} (LBD_UML_MODULES)", modules.display()))?
        };
        Ok(Self { program, modules, memory: MEMORY })
    }

    /// The same whose guests have so many MiB of memory.
    #[must_use]
    pub fn with_memory(self, memory: u32) -> Self {
        Self { memory, ..self }
    }

    /// Boots a guest that runs `command` (program and arguments, with the same paths as here) and powers off.
    ///
    /// `core` is the processor it is pinned to; after `limit` the whole guest is killed.
    ///
    /// # Errors
    /// When it cannot be started at all. How the command ended is in the outcome.
    pub fn run(
        &self,
        command: &[&OsStr],
        env: &[(&str, &OsStr)],
        core: usize,
        limit: Duration,
    ) -> Result<Outcome> {
        self.watch(command, env, core, limit, |_| {})
    }

    /// [`run`](Self::run), with each line of the guest's output handed to `seen` as it comes.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn watch(
        &self,
        command: &[&OsStr],
        env: &[(&str, &OsStr)],
        core: usize,
        limit: Duration,
        mut seen: impl FnMut(&str),
    ) -> Result<Outcome> {
        let dir = tempfile::Builder::new().prefix("lbd-uml-").tempdir()?;
        let token = format!("guest-{:016x}", fastrand::u64(..));
        let init = dir.path().join("init");
        fs::write(&init, self.init(&token, command, env))?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        let start = Instant::now();
        let memory_in = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
        // A session of its own: every guest process is a host process of the group.
        let mut command = Command::new("setsid");
        command
            .args(["taskset", "-c", &core.to_string()])
            .arg(&self.program)
            .args(["rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1"])
            .args(["quiet", "loglevel=1", "panic=1", "umid=guest"])
            .arg(format!("mem={}M", self.memory))
            .arg(format!("init={}", init.display()))
            .arg(format!("uml_dir={}", dir.path().display()))
            .env("TMPDIR", memory_in)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut guest = xstate::spawn(&mut command).with_context(|| format!("{}", self.program.display()))?;
        let console = guest.stdout.take().context("console")?;
        let (lines, incoming) = channel();
        let reader = std::thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut line = Vec::new();
            while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let mut output = String::new();
        let mut status = None;
        let marker = format!("{token}:");
        while status.is_none() {
            match incoming.recv_timeout(limit.saturating_sub(start.elapsed())) {
                // The marker may follow a last line without a newline.
                Ok(line) => match line.split_once(&marker) {
                    Some((before, code)) => {
                        output.push_str(before);
                        status = code.trim().parse().ok();
                        break;
                    }
                    None => {
                        seen(&line);
                        output.push_str(&line);
                    }
                },
                Err(RecvTimeoutError::Timeout) => {
                    output.push_str(&format!("\nguest: killed at its limit of {limit:?}\n"));
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let took = start.elapsed();
        let _ = killpg(pid_of(&guest), Signal::SIGKILL);
        let _ = guest.wait();
        drop(incoming);
        let _ = reader.join();
        Ok(Outcome { status, output, took })
    }

    /// The guest's first program. /tmp stays the host's (read-only): the build may be there.
    fn init(&self, token: &str, command: &[&OsStr], env: &[(&str, &OsStr)]) -> String {
        let words: Vec<String> = command.iter().map(|word| quote(word)).collect();
        let exported = |(name, value): (&str, &OsStr)| format!("export {name}={}\n", quote(value));
        let tunables = xstate::TUNABLES.into_iter().filter(|_| xstate::is_too_large());
        // The kernel starts modprobe with an environment of its own.
        let tunables: String = tunables.map(|(name, value)| exported((name, OsStr::new(value)))).collect();
        let exports: String = env.iter().copied().map(exported).chain([tunables.clone()]).collect();
        format!(
            "#!/bin/sh\n\
             export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/mnt/tmp\n\
             mount -t proc proc /proc; mount -t sysfs sysfs /sys\n\
             for dir in /mnt /run /root /var/log; do mount -t tmpfs tmpfs $dir; done\n\
             mkdir -p /dev/pts /dev/shm /run/netns /mnt/tmp /mnt/lib/modules\n\
             mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm\n\
             stty -opost -echo\n\
             ln -s {modules} /mnt/lib/modules/$(uname -r)\n\
             cat >/mnt/modprobe <<'EOF'\n\
             #!/bin/sh\n\
             {tunables}\
             exec /sbin/modprobe -d /mnt \"$@\"\n\
             EOF\n\
             chmod 755 /mnt/modprobe\n\
             echo /mnt/modprobe >/proc/sys/kernel/modprobe\n\
             modprobe -a -q -d /mnt {MODULES}\n\
             ip link set lo up\n\
             {exports}\
             {command} </dev/null 2>&1\n\
             echo \"{token}:$?\"\n\
             sync; echo o >/proc/sysrq-trigger; sleep 20\n",
            modules = quote(self.modules.as_os_str()),
            command = words.join(" "),
        )
    }
}

fn quote(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

//! What one daemon lives in: its namespace with the director, one with the servers, a folder with what its configuration names.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Bed;
use super::file::{self, Action};
use super::servers::Server;
use crate::director::{Daemon, Director};
use crate::netns::Netns;

/// What a FIFO may hold that nobody has asked for: more is a flood.
const FLOOD: usize = 1 << 20;

/// A check's script: some failures, then what it is to end with.
const SCRIPT: &str = "read fail <@DIR@/NAME.fail
if [ \"$fail\" -gt 0 ]; then echo $((fail - 1)) >@DIR@/NAME.fail; exit 1; fi
read code <@DIR@/NAME.exit
exit $code";

/// Both namespaces of a daemon, linked.
#[derive(Debug)]
pub struct Network {
    director: Netns,
    servers: Netns,
}

impl Network {
    /// `10.0.0.1` is the director, all of `10.1.0.0/16` and `fd00:1::/64` the servers'; addresses of `10.2.0.0/16` are there when
    /// a host has them.
    ///
    /// # Errors
    /// Without the rights of root.
    pub fn new(name: &str) -> Result<Self> {
        let this =
            Self { director: Netns::new(&format!("{name}d"))?, servers: Netns::new(&format!("{name}s"))? };
        for ns in [&this.director, &this.servers] {
            ns.sysctl(&[
                ("ipv6/conf/all/accept_dad", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                // Ports that are closed say so, however often they are asked.
                ("ipv4/icmp_ratelimit", "0"),
                ("ipv6/icmp/ratelimit", "0"),
                ("ipv4/ping_group_range", "0 2147483647"),
                // The servers' addresses are on no interface.
                ("ipv6/ip_nonlocal_bind", "1"),
            ])?;
        }
        this.director.ip(&format!(
            "link add name eth0 type veth peer name eth0 netns {}\n\
             address add 10.0.0.1/24 dev eth0\n\
             address add fd00::1/64 dev eth0 nodad\n\
             link set eth0 up\n",
            this.servers.name()
        ))?;
        this.servers.ip("address add 10.0.0.2/24 dev eth0\n\
             address add fd00::2/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add local 10.1.0.0/16 dev lo\n\
             route add local fd00:1::/64 dev lo\n")?;
        this.director.ip("route add 10.1.0.0/16 via 10.0.0.2\n\
             route add 10.2.0.0/16 via 10.0.0.2\n\
             route add fd00:1::/64 via fd00::2\n")?;
        Ok(this)
    }
}

/// One daemon with all that the steps can change for it.
pub struct World<'w> {
    /// Who lives here.
    pub daemon: Daemon,
    bed: &'w Bed,
    file: &'w file::File,
    ns: &'w Netns,
    director: Director<'w>,
    servers: BTreeMap<String, Server<'w>>,
    fifo: File,
    /// The namespace's /proc/net/ip_vs, opened there; `None` without a kernel's IPVS.
    proc: Option<File>,
    /// What has come out of the FIFO since the last [`told`](Self::told).
    read: Vec<u8>,
    /// How much of the calls' file an earlier step has seen.
    calls: usize,
}

impl<'w> World<'w> {
    /// Servers, scripts and files as `file` has them; the daemon does not run yet.
    ///
    /// # Errors
    /// When something of it cannot be made.
    pub fn new(bed: &'w Bed, daemon: Daemon, network: &'w Network, file: &'w file::File) -> Result<Self> {
        let mut director = Director::new(daemon, &file.name, &network.director, "")?;
        if let Some(library) = &bed.fake_ipvs {
            let table = director.path("table");
            director = director.env("LD_PRELOAD", library).env("FAKEIPVS_TABLE", table);
        }
        let fifo = director.path("fifo");
        mkfifo(&fifo, Mode::from_bits_truncate(0o600)).with_context(|| format!("{}", fifo.display()))?;
        let servers = file
            .servers
            .iter()
            .map(|spec| Ok((spec.name.clone(), Server::new(&network.servers, spec)?)))
            .collect::<Result<_>>()?;
        let this = Self {
            daemon,
            bed,
            file,
            ns: &network.director,
            // Open for writing too: then it never ends, whoever comes and goes.
            fifo: OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(&fifo)?,
            proc: match bed.fake_ipvs {
                Some(_) => None,
                None => Some(
                    network
                        .director
                        .run(|| File::open("/proc/thread-self/net/ip_vs"))?
                        .context("/proc/net/ip_vs")?,
                ),
            },
            director,
            servers,
            read: Vec::new(),
            calls: 0,
        };
        this.script("notify", "echo \"$*\" >>@DIR@/calls")?;
        for name in &file.scripts {
            fs::write(this.director.path(&format!("{name}.exit")), "0\n")?;
            fs::write(this.director.path(&format!("{name}.fail")), "0\n")?;
            this.script(name, &SCRIPT.replace("NAME", name))?;
        }
        for (name, value) in &file.files {
            fs::write(this.director.path(name), value)?;
        }
        Ok(this)
    }

    fn script(&self, name: &str, body: &str) -> Result<()> {
        let path = self.director.path(name);
        fs::write(&path, format!("#!/bin/sh\n{}\n", self.here(body)))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// `@DIR@` stands for the daemon's own folder.
    fn here(&self, text: &str) -> String {
        text.replace("@DIR@", &self.dir())
    }

    fn dir(&self) -> String {
        self.director.path("").to_string_lossy().trim_end_matches('/').to_owned()
    }

    /// The configuration of that name, after what all begin with.
    fn config(&self, name: &str) -> Result<String> {
        let text = self.file.configs.get(name).with_context(|| format!("no configuration {name}"))?;
        let common =
            "global_defs {\n  script_user root\n  enable_script_security\n  lvs_notify_fifo @DIR@/fifo\n}\n";
        Ok(self.here(&format!("{common}{text}")))
    }

    /// Does one thing.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Start => {
                self.director.configure(&self.config("")?)?;
                self.director.start_and_wait()
            }
            Action::Stop => self.director.stop().map(drop),
            Action::Reload(name) => {
                self.director.configure(&self.config(name)?)?;
                self.director.reload()
            }
            Action::Down(name) => self.server(name)?.down(),
            Action::Up(name) => self.server(name)?.up(),
            Action::Status(name, status, path) => {
                self.server(name)?.status(*status, path.as_deref());
                Ok(())
            }
            Action::Body(name, body, path) => {
                self.server(name)?.body(body, path.as_deref());
                Ok(())
            }
            Action::Mute(name) => {
                self.server(name)?.mute(true);
                Ok(())
            }
            Action::Unmute(name) => {
                self.server(name)?.mute(false);
                Ok(())
            }
            // By rename: nobody reads half of it.
            Action::Exit(name, code) => self.write(&format!("{name}.exit"), &code.to_string()),
            Action::Fail(name, runs) => self.write(&format!("{name}.fail"), &runs.to_string()),
            Action::Write(name, value) => Ok(fs::write(self.director.path(name), value)?),
            Action::AddAddress(address) => self.ns.ip(&format!("address add {address} dev lo")),
            Action::RemoveAddress(address) => self.ns.ip(&format!("address del {address} dev lo")),
            Action::Wait => Ok(()),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let new = self.director.path("new");
        fs::write(&new, format!("{text}\n"))?;
        Ok(fs::rename(new, self.director.path(name))?)
    }

    fn server(&mut self, name: &str) -> Result<&mut Server<'w>> {
        self.servers.get_mut(name).with_context(|| format!("no server {name}"))
    }

    /// Whether the daemon, when it is to run, still does.
    pub fn lives(&mut self) -> bool {
        self.director.running()
    }

    /// All that has been seen of it so far, to notice that it changed. Cheap where the kernel has IPVS.
    ///
    /// # Errors
    /// When the table cannot be read, or the daemon floods its FIFO.
    pub fn look(&mut self) -> Result<(String, usize, u64)> {
        let table = match &mut self.proc {
            None => self.table()?,
            Some(proc) => {
                let mut text = String::new();
                proc.rewind()?;
                proc.read_to_string(&mut text)?;
                // No traffic passes, so nothing is counted.
                text
            }
        };
        self.drain()?;
        let calls = fs::metadata(self.director.path("calls")).map_or(0, |meta| meta.len());
        Ok((table, self.read.len(), calls))
    }

    /// The table as ipvsadm sees it.
    ///
    /// # Errors
    /// When ipvsadm fails.
    pub fn table(&self) -> Result<String> {
        let mut command = Command::new("ipvsadm");
        command.args(["--save", "--numeric"]).stdin(Stdio::null());
        if let Some(library) = &self.bed.fake_ipvs {
            command.env("LD_PRELOAD", library).env("FAKEIPVS_TABLE", self.director.path("table"));
        }
        let output = self.ns.run(|| command.output())?.context("ipvsadm (Debian package ipvsadm)")?;
        ensure!(output.status.success(), "ipvsadm: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The lines that came out of the FIFO, and the calls of notify scripts, since this was asked last.
    ///
    /// # Errors
    /// When the daemon floods its FIFO.
    pub fn told(&mut self) -> Result<(Vec<String>, String)> {
        self.drain()?;
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
        // keepalived 2.4 puts a NUL behind each line, Debian's does not.
        let fifo =
            text.split_inclusive('\n').map(|line| line.replace('\0', "").trim_end_matches('\n').to_owned());
        let all = fs::read(self.director.path("calls")).unwrap_or_default();
        let new = String::from_utf8_lossy(all.get(self.calls..).unwrap_or_default()).into_owned();
        self.calls = all.len();
        Ok((fifo.collect(), new))
    }

    fn drain(&mut self) -> Result<()> {
        let mut part = [0; 4096];
        loop {
            match self.fifo.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(length) => self.read.extend(part.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("reading the FIFO"),
            }
            if self.read.len() > FLOOD {
                bail!("more than {FLOOD} octets in the FIFO");
            }
        }
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        self.director.log()
    }
}

/// Whether Debian's keepalived and ipvsadm are there.
pub fn programs() -> Result<(), String> {
    let missing: Vec<&str> = ["/usr/sbin/keepalived", "/usr/sbin/ipvsadm"]
        .into_iter()
        .filter(|path| !Path::new(path).exists())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
}

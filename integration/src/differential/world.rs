//! What one daemon lives in: its folder with what its configuration names, and its surroundings.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::Bed;
use super::action::Action;
use super::file::{self, Subject};
use super::network::Network;
use super::record::{Order, Part, Record, Told};
use super::routers::Routers;
use super::services::Services;
use crate::director::{Daemon, Director};

/// What a FIFO may hold that nobody has asked for: more is a flood.
const FLOOD: usize = 1 << 20;

/// A check's script: some failures, then what it is to end with.
const SCRIPT: &str = "read fail <@DIR@/NAME.fail
if [ \"$fail\" -gt 0 ]; then echo $((fail - 1)) >@DIR@/NAME.fail; exit 1; fi
read code <@DIR@/NAME.exit
exit $code";

/// What the file is about: things that happen beside the daemon, and what it makes of the kernel.
pub trait Surroundings {
    /// Does one thing that is none of the daemon's own.
    ///
    /// # Errors
    /// When it cannot be done.
    fn act(&mut self, action: &Action) -> Result<()>;

    /// Something that changes when the state does. Cheap: it is asked for many times a second.
    ///
    /// # Errors
    /// When it cannot be read.
    fn look(&mut self) -> Result<String>;

    /// All that is compared.
    ///
    /// # Errors
    /// When it cannot be read.
    fn state(&mut self) -> Result<Vec<Part>>;
}

/// One daemon with all that the steps can change for it.
pub struct World<'w> {
    /// Who lives here.
    pub daemon: Daemon,
    file: &'w file::File,
    director: Director<'w>,
    surroundings: Box<dyn Surroundings + 'w>,
    fifos: Vec<Fifo>,
    /// How much of the calls' file an earlier step has seen.
    calls: usize,
}

impl<'w> World<'w> {
    /// Surroundings, scripts and files as `file` has them; the daemon does not run yet.
    ///
    /// # Errors
    /// When something of it cannot be made.
    pub fn new(bed: &Bed, daemon: Daemon, network: &'w Network, file: &'w file::File) -> Result<Self> {
        let mut director = Director::new(daemon, &file.name, &network.director, "")?;
        let surroundings: Box<dyn Surroundings + 'w> = match file.subject {
            Subject::Checkers => {
                let fake = bed.fake_ipvs.clone().map(|library| (library, director.path("table")));
                if let Some((library, table)) = &fake {
                    director = director.env("LD_PRELOAD", library).env("FAKEIPVS_TABLE", table);
                }
                Box::new(Services::new(network, file, fake)?)
            }
            Subject::Vrrp => Box::new(Routers::new(network, file)?),
        };
        let fifos = fifos(file.subject)
            .iter()
            .map(|(_, name)| Fifo::new(name, &director.path(name)))
            .collect::<Result<_>>()?;
        let this = Self { daemon, file, director, surroundings, fifos, calls: 0 };
        this.script("notify", "echo \"$$ $*\" >>@DIR@/calls")?;
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
        let mut common = "global_defs {\n  script_user root\n  enable_script_security\n".to_owned();
        if self.file.subject == Subject::Vrrp {
            // Intervals are short: a daemon that waits for the processor while others are busy would look like one that failed.
            common.push_str("  vrrp_priority -20\n");
        }
        for (keyword, name) in fifos(self.file.subject) {
            common.push_str(&format!("  {keyword} @DIR@/{name}\n"));
        }
        Ok(self.here(&format!("{common}}}\n{text}")))
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
            // By rename: nobody reads half of it.
            Action::Exit(name, code) => self.write(&format!("{name}.exit"), &code.to_string()),
            Action::Fail(name, runs) => self.write(&format!("{name}.fail"), &runs.to_string()),
            Action::Write(name, value) => Ok(fs::write(self.director.path(name), value)?),
            Action::Wait => Ok(()),
            _ => self.surroundings.act(action),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let new = self.director.path("new");
        fs::write(&new, format!("{text}\n"))?;
        Ok(fs::rename(new, self.director.path(name))?)
    }

    /// Whether the daemon, when it is to run, still does.
    pub fn lives(&mut self) -> bool {
        self.director.running()
    }

    /// All that has been seen of it so far, to notice that it changed.
    ///
    /// # Errors
    /// When its surroundings cannot be read, or the daemon floods a FIFO.
    pub fn look(&mut self) -> Result<(String, usize, u64)> {
        let seen = self.surroundings.look()?;
        let mut read = 0;
        for fifo in &mut self.fifos {
            fifo.drain()?;
            read += fifo.read.len();
        }
        let calls = fs::metadata(self.director.path("calls")).map_or(0, |meta| meta.len());
        Ok((seen, read, calls))
    }

    /// What is to be compared after a step in which it told `told`.
    ///
    /// # Errors
    /// When its surroundings cannot be read.
    pub fn record(&mut self, told: &Told, unordered: bool) -> Result<Record> {
        let order = match self.file.subject {
            Subject::Checkers => Order::Sorted,
            Subject::Vrrp => Order::Started,
        };
        Ok(Record::new(self.surroundings.state()?, told, order, unordered))
    }

    /// What came out of the FIFOs, and the calls of notify scripts, since this was asked last.
    ///
    /// # Errors
    /// When the daemon floods a FIFO.
    pub fn told(&mut self) -> Result<Told> {
        let fifos = self.fifos.iter_mut().map(Fifo::told).collect::<Result<_>>()?;
        let all = fs::read(self.director.path("calls")).unwrap_or_default();
        let new = String::from_utf8_lossy(all.get(self.calls..).unwrap_or_default()).into_owned();
        self.calls = all.len();
        Ok(Told { fifos, calls: new.lines().map(str::to_owned).collect() })
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        self.director.log()
    }
}

/// Keywords and names of FIFOs.
fn fifos(subject: Subject) -> &'static [(&'static str, &'static str)] {
    match subject {
        Subject::Checkers => &[("lvs_notify_fifo", "fifo")],
        Subject::Vrrp => &[("vrrp_notify_fifo", "fifo"), ("notify_fifo", "all")],
    }
}

/// A FIFO, read as it fills.
struct Fifo {
    name: &'static str,
    file: File,
    /// What has come out of it since the last [`told`](Self::told).
    read: Vec<u8>,
}

impl Fifo {
    fn new(name: &'static str, path: &Path) -> Result<Self> {
        mkfifo(path, Mode::from_bits_truncate(0o600)).with_context(|| format!("{}", path.display()))?;
        // Open for writing too: then it never ends, whoever comes and goes.
        let file = OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path)?;
        Ok(Self { name, file, read: Vec::new() })
    }

    fn told(&mut self) -> Result<Part> {
        self.drain()?;
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
        // keepalived 2.4 puts a NUL behind each line of LVS, Debian's does not.
        let lines =
            text.split_inclusive('\n').map(|line| line.replace('\0', "").trim_end_matches('\n').to_owned());
        Ok(Part { name: self.name, lines: lines.collect() })
    }

    fn drain(&mut self) -> Result<()> {
        let mut part = [0; 4096];
        loop {
            match self.file.read(&mut part) {
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
}

/// Whether Debian's programs are there that a file about `subject` needs.
pub fn programs(subject: Subject) -> Result<(), String> {
    let needed: &[&str] = match subject {
        Subject::Checkers => &["/usr/sbin/keepalived", "/usr/sbin/ipvsadm"],
        Subject::Vrrp => &["/usr/sbin/keepalived"],
    };
    let missing: Vec<&str> = needed.iter().copied().filter(|path| !Path::new(path).exists()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
}

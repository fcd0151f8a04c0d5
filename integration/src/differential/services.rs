//! A daemon's virtual servers: the servers that it checks, and the kernel's table as it leaves it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::action::Action;
use super::file;
use super::network::Network;
use super::record::Part;
use super::servers::Server;
use super::world::Surroundings;
use crate::netns::Netns;

/// Servers and table.
pub struct Services<'w> {
    ns: &'w Netns,
    servers: BTreeMap<String, Server<'w>>,
    table: Table,
}

enum Table {
    /// The namespace's /proc/net/ip_vs, opened there.
    Kernel(File),
    /// The stand-in's library and its file.
    Fake { library: PathBuf, file: PathBuf },
}

impl<'w> Services<'w> {
    /// Starts the file's servers. `fake`: library and file of a stand-in for the kernel's table.
    ///
    /// # Errors
    /// When a server cannot be started, or the kernel has no IPVS.
    pub fn new(network: &'w Network, file: &file::File, fake: Option<(PathBuf, PathBuf)>) -> Result<Self> {
        let servers = file
            .servers
            .iter()
            .map(|spec| Ok((spec.name.clone(), Server::new(&network.beyond, spec)?)))
            .collect::<Result<_>>()?;
        let table = match fake {
            Some((library, file)) => Table::Fake { library, file },
            None => Table::Kernel(
                network
                    .director
                    .run(|| File::open("/proc/thread-self/net/ip_vs"))?
                    .context("/proc/net/ip_vs")?,
            ),
        };
        Ok(Self { ns: &network.director, servers, table })
    }

    fn server(&mut self, name: &str) -> Result<&mut Server<'w>> {
        self.servers.get_mut(name).with_context(|| format!("no server {name}"))
    }

    /// The table as ipvsadm sees it.
    fn saved(&self) -> Result<String> {
        let mut command = Command::new("ipvsadm");
        command.args(["--save", "--numeric"]).stdin(Stdio::null());
        if let Table::Fake { library, file } = &self.table {
            command.env("LD_PRELOAD", library).env("FAKEIPVS_TABLE", file);
        }
        let output = self.ns.run(|| command.output())?.context("ipvsadm (Debian package ipvsadm)")?;
        ensure!(output.status.success(), "ipvsadm: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Surroundings for Services<'_> {
    fn act(&mut self, action: &Action) -> Result<()> {
        match action {
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
            Action::AddAddress(address) => self.ns.ip(&format!("address add {address} dev lo")),
            Action::RemoveAddress(address) => self.ns.ip(&format!("address del {address} dev lo")),
            _ => bail!("{action:?} is not about virtual servers"),
        }
    }

    fn look(&mut self) -> Result<String> {
        match &mut self.table {
            Table::Fake { .. } => self.saved(),
            Table::Kernel(proc) => {
                let mut text = String::new();
                proc.rewind()?;
                proc.read_to_string(&mut text)?;
                // No traffic passes, so nothing is counted.
                Ok(text)
            }
        }
    }

    fn state(&mut self) -> Result<Vec<Part>> {
        Ok(vec![Part::sorted("table", self.saved()?.lines().map(|line| line.trim_end().to_owned()))])
    }
}

//! Where in the files the objects of a configuration stand.
//!
//! Here: places by the objects' own identities. Not here: the objects (`config`).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use lbd_health::ScriptId;

use crate::config::{NameTable, VirtualServerId};
use crate::source::Span;

/// Places of objects.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    pub(crate) interfaces: HashMap<String, Span>,
    pub(crate) scripts: HashMap<ScriptId, Span>,
    pub(crate) instances: HashMap<String, Span>,
    pub(crate) vrrp_scripts: HashMap<String, Span>,
    pub(crate) track_processes: HashMap<String, Span>,
    pub(crate) track_files: HashMap<String, Span>,
    pub(crate) bfd_instances: HashMap<String, Span>,
    pub(crate) virtual_servers: HashMap<VirtualServerId, Span>,
    pub(crate) server_groups: HashMap<Arc<str>, Span>,
    /// Names of the host's tables.
    pub(crate) names: HashMap<(NameTable, String), Span>,
    pub(crate) tls: Option<Span>,
    pub(crate) namespace: Option<Span>,
    /// Of each virtual server, ordered by address.
    pub(crate) real_servers: HashMap<VirtualServerId, Box<[(SocketAddr, Span)]>>,
}

impl Spans {
    /// Takes over the places of what can be named several times; the earlier one stays.
    pub(crate) fn append(&mut self, later: Spans) {
        for (name, span) in later.interfaces {
            self.interfaces.entry(name).or_insert(span);
        }
        for (id, span) in later.scripts {
            self.scripts.entry(id).or_insert(span);
        }
        for (name, span) in later.names {
            self.names.entry(name).or_insert(span);
        }
    }

    /// The word by which an interface is first named.
    pub fn interface(&self, name: &str) -> Option<Span> {
        self.interfaces.get(name).copied()
    }

    /// The command of a script, where it first stands.
    pub fn script(&self, id: &ScriptId) -> Option<Span> {
        self.scripts.get(id).copied()
    }

    /// The word by which a name of a host's table first stands.
    pub fn name(&self, table: NameTable, name: &str) -> Option<Span> {
        self.names.get(&(table, name.to_owned())).copied()
    }

    /// The head of the `SSL` block.
    pub fn tls(&self) -> Option<Span> {
        self.tls
    }

    /// The keyword net_namespace.
    pub fn namespace(&self) -> Option<Span> {
        self.namespace
    }

    /// The head of a vrrp_instance.
    pub fn instance(&self, name: &str) -> Option<Span> {
        self.instances.get(name).copied()
    }

    /// The head of a vrrp_script.
    pub fn vrrp_script(&self, name: &str) -> Option<Span> {
        self.vrrp_scripts.get(name).copied()
    }

    /// The name of a vrrp_track_process.
    pub fn track_process(&self, name: &str) -> Option<Span> {
        self.track_processes.get(name).copied()
    }

    /// The name of a track_file.
    pub fn track_file(&self, name: &str) -> Option<Span> {
        self.track_files.get(name).copied()
    }

    /// The name of a bfd_instance.
    pub fn bfd_instance(&self, name: &str) -> Option<Span> {
        self.bfd_instances.get(name).copied()
    }

    /// The head of a virtual_server.
    pub fn virtual_server(&self, id: &VirtualServerId) -> Option<Span> {
        self.virtual_servers.get(id).copied()
    }

    /// The keyword of a virtual_server_group.
    pub fn server_group(&self, name: &str) -> Option<Span> {
        self.server_groups.get(name).copied()
    }

    /// The head of a real_server.
    pub fn real_server(&self, id: &VirtualServerId, address: SocketAddr) -> Option<Span> {
        let servers = self.real_servers.get(id)?;
        let index = servers.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        servers.get(index).map(|(_, span)| *span)
    }
}

//! Virtual routers and their groups.

use lbd_health::ScriptId;
use lbd_vrrp::InstanceConfig;

/// vrrp_instance
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpInstance {
    /// The virtual router.
    pub router: InstanceConfig,
    /// What is run on its transitions.
    pub notify: VrrpNotify,
}

/// Scripts of a vrrp_instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrrpNotify {
    /// notify_master
    pub master: Option<ScriptId>,
    /// notify_backup
    pub backup: Option<ScriptId>,
    /// notify_fault
    pub fault: Option<ScriptId>,
    /// notify_stop
    pub stop: Option<ScriptId>,
    /// notify: gets `INSTANCE NAME STATE PRIORITY` appended.
    pub any: Option<ScriptId>,
    /// notify_master_rx_lower_pri
    pub master_rx_lower_priority: Option<ScriptId>,
}

/// vrrp_sync_group
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {}

/// garp_group
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GarpGroup {}

//! Checks as values: what to ask, how often, what counts as good.
//!
//! Here: configuration types, already resolved (nothing is inherited any more). Not here: running
//! them (`check`, `runner`), what results mean (`state`).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

/// A checker of one real server. Two equal values are the same checker: it keeps its state on reload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// When it runs and how often a failure is retried.
    pub schedule: Schedule,
    /// What it does.
    pub kind: CheckKind,
}

/// When a checker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Time between checks, > 0.
    pub delay_loop: Duration,
    /// Retries before a server that is up counts as down.
    pub retry: u32,
    /// Wait before each retry.
    pub delay_before_retry: Duration,
    /// The first check runs after a random part of this.
    pub warmup: Duration,
    /// Start as down until checked.
    pub alpha: bool,
    /// Log every failed try, not only the one that changes the state.
    pub log_all_failures: bool,
}

/// What a checker does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// TCP_CHECK: a connection can be made.
    Tcp(Connection),
    /// HTTP_GET: every url answers as it should.
    Http(HttpCheck),
    /// MISC_CHECK: a program says so by its exit status.
    Misc(MiscCheck),
}

impl CheckKind {
    /// The configuration keyword.
    pub fn keyword(&self) -> &'static str {
        match self {
            CheckKind::Tcp(_) => "TCP_CHECK",
            CheckKind::Http(_) => "HTTP_GET",
            CheckKind::Misc(_) => "MISC_CHECK",
        }
    }
}

/// How a checker reaches the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// connect_ip and connect_port; the real server's own by default.
    pub target: SocketAddr,
    /// bindto: local address.
    pub bind_address: Option<IpAddr>,
    /// bind_port: local port.
    pub bind_port: Option<NonZeroU16>,
    /// bind_if: local interface.
    pub bind_interface: Option<String>,
    /// connect_timeout: limit of the connect and of each read, > 0.
    pub timeout: Duration,
    /// fwmark of the check's packets (`SO_MARK`).
    pub fwmark: Option<NonZeroU32>,
}

/// HTTP version of a request (http_protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpProtocol {
    /// `1.0`: HTTP/1.0 without `Connection`.
    #[default]
    V1_0,
    /// `1.0C`: HTTP/1.0 with `Connection: close`.
    V1_0Close,
    /// `1.1`: HTTP/1.1 with `Connection: close`.
    V1_1,
}

/// HTTP_GET.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// Where to connect.
    pub connection: Connection,
    /// At least one; one is asked per run, up needs a whole pass.
    pub urls: Vec<Url>,
    /// HTTP version.
    pub protocol: HttpProtocol,
    /// No delay between checks while recovering.
    pub fast_recovery: bool,
}

/// One url of an HTTP_GET.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Request target as configured, not encoded.
    pub path: String,
    /// `Host`, literally; `None` sends the connect address with its port (virtualhost of url,
    /// checker, real server, virtual server, in this order).
    pub host: Option<String>,
    /// Wanted status codes; `None` is 200..=299.
    pub status: Option<StatusSet>,
    /// Wanted MD5 of the raw octets after the header.
    pub digest: Option<[u8; 16]>,
}

/// Set of status codes 100..=599.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatusSet(pub BTreeSet<u16>);

/// Names a program that `src` can run for this crate; equal ids mean the same command and user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScriptId(pub Arc<str>);

/// MISC_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MiscCheck {
    /// The program.
    pub script: ScriptId,
    /// misc_timeout, or the virtual server's delay_loop: then TERM, KILL and a failure.
    pub timeout: Duration,
    /// misc_dynamic: exit status 2..=255 is good and sets the weight to status - 2.
    pub dynamic: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptOutcome {
    /// By itself, with this exit status.
    Exited(u8),
    /// By a signal that was not ours.
    Signalled(i32),
    /// By our TERM or KILL after the time limit.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(ScriptError),
}

/// Why a program could not be started; the text names the path and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// Not found or not executable for its user.
    NotExecutable,
    /// Refused by the script security rules.
    Insecure,
    /// The system refused (processes, memory).
    Resources,
}

//! Checks as values: what to ask, how often, what counts as good.
//!
//! Here: configuration types, already resolved (nothing is inherited any more), also of checks that
//! nothing runs yet ([`CheckKind::is_served`]). Not here: running
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

impl Check {
    /// Whether it starts as down. A FILE_CHECK never does: its file is there to be asked.
    pub fn starts_down(&self) -> bool {
        self.schedule.alpha && !matches!(self.kind, CheckKind::File(_))
    }
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

/// What a checker does. Large kinds are boxed: most checks of a large configuration are TCP_CHECKs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// TCP_CHECK: a connection can be made.
    Tcp(Connection),
    /// HTTP_GET, or SSL_GET: every url answers as it should.
    Http(Box<HttpCheck>),
    /// SMTP_CHECK: a mail server answers.
    Smtp(Box<SmtpCheck>),
    /// DNS_CHECK: a name server answers.
    Dns(Box<DnsCheck>),
    /// UDP_CHECK: a UDP service answers, or at least does not refuse.
    Udp(Box<UdpCheck>),
    /// PING_CHECK: the host answers an ICMP echo request. The port of the target is not used.
    Ping(Connection),
    /// MISC_CHECK: a program says so by its exit status.
    Misc(MiscCheck),
    /// FILE_CHECK: the number in a file says so.
    File(FileCheck),
    /// BFD_CHECK: a BFD session is up.
    Bfd(BfdCheck),
    /// TCP_CHECK with `send` and `expect`: a dialogue goes as it should.
    Dialogue(Box<DialogueCheck>),
    /// AGENT_CHECK: a program on the server says how it is.
    Agent(Box<AgentCheck>),
    /// GRPC_CHECK: a gRPC server says that a service is served.
    Grpc(Box<GrpcCheck>),
}

impl CheckKind {
    /// The configuration keyword.
    pub fn keyword(&self) -> &'static str {
        match self {
            CheckKind::Tcp(_) | CheckKind::Dialogue(_) => "TCP_CHECK",
            CheckKind::Http(http) if http.tls.is_some() => "SSL_GET",
            CheckKind::Http(_) => "HTTP_GET",
            CheckKind::Smtp(_) => "SMTP_CHECK",
            CheckKind::Dns(_) => "DNS_CHECK",
            CheckKind::Udp(_) => "UDP_CHECK",
            CheckKind::Ping(_) => "PING_CHECK",
            CheckKind::Misc(_) => "MISC_CHECK",
            CheckKind::File(_) => "FILE_CHECK",
            CheckKind::Bfd(_) => "BFD_CHECK",
            CheckKind::Agent(_) => "AGENT_CHECK",
            CheckKind::Grpc(_) => "GRPC_CHECK",
        }
    }

    /// Whether this crate can run it. The others are plain configuration so far: a real server is as
    /// if it were without them.
    pub fn is_served(&self) -> bool {
        match self {
            CheckKind::Tcp(_)
            | CheckKind::Http(_)
            | CheckKind::Smtp(_)
            | CheckKind::Dns(_)
            | CheckKind::Udp(_)
            | CheckKind::Ping(_)
            | CheckKind::Misc(_)
            | CheckKind::File(_)
            | CheckKind::Dialogue(_)
            | CheckKind::Agent(_)
            | CheckKind::Grpc(_) => true,
            CheckKind::Bfd(_) => false,
        }
    }

    /// How it reaches the server, if it does so itself.
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            CheckKind::Tcp(connection) | CheckKind::Ping(connection) => Some(connection),
            CheckKind::Http(http) => Some(&http.connection),
            CheckKind::Smtp(smtp) => Some(&smtp.connection),
            CheckKind::Dns(dns) => Some(&dns.connection),
            CheckKind::Udp(udp) => Some(&udp.connection),
            CheckKind::Dialogue(dialogue) => Some(&dialogue.connection),
            CheckKind::Agent(agent) => Some(&agent.connection),
            CheckKind::Grpc(grpc) => Some(&grpc.connection),
            CheckKind::Misc(_) | CheckKind::File(_) | CheckKind::Bfd(_) => None,
        }
    }

    /// The program it runs, if it does.
    pub fn script(&self) -> Option<&ScriptId> {
        match self {
            CheckKind::Misc(misc) => Some(&misc.script),
            _ => None,
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

/// HTTP_GET, or SSL_GET.
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
    /// SSL_GET: over TLS.
    pub tls: Option<TlsCheck>,
}

/// What an SSL_GET wants of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsCheck {
    /// verify: the server's certificate must be for its name (server name, else host, else address) and
    /// signed by an authority of `ca` (else of the system). Otherwise any certificate is taken.
    pub verify: bool,
    /// certificate_expiry_warning: a certificate that expires within so many days is worth a warning.
    pub expiry_warning: Option<u32>,
}

/// One url of an HTTP_GET or SSL_GET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Url {
    /// Request target as configured, not encoded.
    pub path: String,
    /// `Host`, literally; `None` sends the connect address with its port (virtualhost of url,
    /// checker, real server, virtual server, in this order).
    pub host: Option<String>,
    /// Server name sent in TLS (RFC 6066 §3): sni_name, or with enable_sni the host of url, checker or
    /// virtual server; that of the real server never, as in keepalived.
    pub server_name: Option<Box<str>>,
    /// Wanted status codes; `None` is 200..=299.
    pub status: Option<StatusSet>,
    /// Wanted MD5 of the raw octets after the header.
    pub digest: Option<[u8; 16]>,
    /// What the answer's body must hold, or must not.
    pub regex: Option<Box<Regex>>,
    /// tls_compliant, of SSL_GET: an answer that ends without close_notify is an error (RFC 8446 §6.1).
    pub tls_compliant: bool,
}

/// regex and its parameters (PCRE2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Regex {
    /// The pattern's octets, escapes of the configuration language resolved.
    pub pattern: Box<[u8]>,
    /// regex_no_match: it must not match.
    pub no_match: bool,
    /// regex_options
    pub options: RegexOptions,
    /// regex_min_offset: a match begins at this octet of the body or after it.
    pub min_offset: usize,
    /// regex_max_offset: a match begins at this octet or before it; above `min_offset`.
    pub max_offset: Option<usize>,
    /// regex_stack: first and greatest size of the matcher's stack in octets; the greatest is room for
    /// going back.
    pub stack: Option<(usize, usize)>,
}

/// Set of options of a [`Regex`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegexOptions(u32);

impl RegexOptions {
    /// Every option that there is, as the configuration writes it: those of PCRE2 without their prefix.
    pub const NAMES: [&'static str; 24] = [
        "allow_empty_class",
        "alt_bsux",
        "auto_callout",
        "caseless",
        "dollar_endonly",
        "dotall",
        "dupnames",
        "extended",
        "firstline",
        "match_unset_backref",
        "multiline",
        "never_ucp",
        "never_utf",
        "no_auto_capture",
        "no_auto_possess",
        "no_dotstar_anchor",
        "no_start_optimize",
        "ucp",
        "ungreedy",
        "utf",
        "never_backslash_c",
        "alt_circumflex",
        "alt_verbnames",
        "use_offset_limit",
    ];

    /// Adds an option; false if there is none of this name.
    pub fn insert(&mut self, name: &str) -> bool {
        let found = Self::NAMES.iter().zip(0..).find(|(known, _)| **known == name);
        if let Some((_, bit)) = found {
            self.0 |= 1_u32 << bit;
        }
        found.is_some()
    }

    /// Whether an option is in it.
    pub fn contains(self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Its options, in the order of [`Self::NAMES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let set = move |bit: u32| self.0 >> bit & 1 == 1;
        Self::NAMES.into_iter().zip(0..).filter(move |(_, bit)| set(*bit)).map(|(name, _)| name)
    }
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

/// SMTP_CHECK; each `host` of one is a check of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmtpCheck {
    /// Where to connect.
    pub connection: Connection,
    /// helo_name: the name given in HELO.
    pub helo: Box<str>,
}

/// DNS_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsCheck {
    /// Where to ask, by UDP.
    pub connection: Connection,
    /// What to ask for.
    pub record: DnsType,
    /// Of which name: labels of 1 to 63 octets, at most 253 in all, without the last dot; empty for the root.
    pub name: Box<str>,
}

/// Type of a DNS record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DnsType {
    /// 1
    A,
    /// 2
    Ns,
    /// 5
    Cname,
    /// 6
    #[default]
    Soa,
    /// 15
    Mx,
    /// 16
    Txt,
    /// 28
    Aaaa,
    /// 46
    Rrsig,
    /// 48
    Dnskey,
}

impl DnsType {
    /// Every type that a DNS_CHECK knows, with the name it has in the configuration.
    pub const ALL: [(&'static str, DnsType); 9] = [
        ("A", DnsType::A),
        ("NS", DnsType::Ns),
        ("CNAME", DnsType::Cname),
        ("SOA", DnsType::Soa),
        ("MX", DnsType::Mx),
        ("TXT", DnsType::Txt),
        ("AAAA", DnsType::Aaaa),
        ("RRSIG", DnsType::Rrsig),
        ("DNSKEY", DnsType::Dnskey),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("SOA", |(name, _)| name)
    }
}

/// UDP_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UdpCheck {
    /// Where to send.
    pub connection: Connection,
    /// What to send; `None` is 32 octets of the checker's own.
    pub payload: Option<Box<[u8]>>,
    /// require_reply: without an answer that begins so the server is down; no octets: any answer.
    pub reply: Option<Box<[MaskedOctet]>>,
    /// Shortest answer, in octets; looked at where `reply` has octets.
    pub min_reply_length: u16,
    /// Longest answer, in octets; looked at where `reply` has octets.
    pub max_reply_length: u16,
}

/// An octet of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskedOctet {
    /// Its value; 0 where the mask is.
    pub value: u8,
    /// 0xf in each half that counts.
    pub mask: u8,
}

/// FILE_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileCheck {
    /// Name of the track_file.
    pub file: Arc<str>,
    /// The file's number is multiplied by this, ±2147483647; 0: any number but 0 is a failure.
    pub weight: i32,
    /// `reverse`: the other sign, and 0 is the failure.
    pub reverse: bool,
}

/// BFD_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BfdCheck {
    /// Name of the bfd_instance.
    pub session: Arc<str>,
}

/// TCP_CHECK with `send` and `expect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogueCheck {
    /// Where to connect.
    pub connection: Connection,
    /// At least one, in order; each may take connect_timeout.
    pub steps: Box<[DialogueStep]>,
}

/// A line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DialogueStep {
    /// send: these octets.
    Send(Box<[u8]>),
    /// expect: what the server sends after the last step must hold these octets.
    Expect(Box<[u8]>),
}

/// AGENT_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentCheck {
    /// Where the agent is.
    pub connection: Connection,
    /// send: what it is told before it answers, maybe nothing.
    pub send: Box<[u8]>,
}

/// GRPC_CHECK.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrpcCheck {
    /// Where to connect; HTTP/2 without TLS and without asking first.
    pub connection: Connection,
    /// service: its name; empty for the server as a whole.
    pub service: Box<str>,
    /// authority: `:authority` of the request; the address and port by default.
    pub authority: Option<Box<str>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Large configurations have tens of thousands of TCP_CHECKs.
    #[test]
    fn a_check_is_small() {
        assert!(size_of::<Check>() <= 176, "{}", size_of::<Check>());
    }

    #[test]
    fn options_of_a_regex() {
        let mut options = RegexOptions::default();
        assert!(options.insert("utf") && options.insert("alt_bsux") && !options.insert("Utf"));
        assert!(options.contains("utf") && !options.contains("ucp"));
        assert_eq!(options.names().collect::<Vec<_>>(), ["alt_bsux", "utf"]);
    }
}

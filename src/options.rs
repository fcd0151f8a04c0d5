//! The command line of `lbd`: keepalived's flags as its users type them, and lbd's own.
//!
//! Here: what may be typed, and what it means ([`Options`]). Not here: what is done about it
//! (`bin/lbd.rs`, `daemon`), nor the exit codes of a run.
//!
//! keepalived reads its line with getopt_long: short flags may be bundled (`-nlD`), values attached
//! (`-fFILE`), long flags shortened while unambiguous (`--use FILE`), repeated flags are harmless
//! and the last value counts, left-over words are ignored. clap does all of that but one: an
//! optional value attached to a short flag (`-tLOG`), which [`with_equals`] rewrites beforehand.
//! Departure: a value that begins with `-` needs the form `--use-file=-FILE`, since `-f -n` is a
//! forgotten file name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

/// Configuration files tried in this order when `-f` is not given.
pub const CONFIG_FILES: [&str; 2] = ["/etc/lbd/lbd.conf", "/etc/keepalived/keepalived.conf"];
/// Exit status after an orderly stop.
pub const EXIT_STOPPED: u8 = 0;
/// Exit status after a failure while running.
pub const EXIT_FAILED: u8 = 1;
/// Exit status after a mistake on the command line.
pub const EXIT_USAGE: u8 = 2;
/// Exit status when the configuration cannot run.
pub const EXIT_CONFIG: u8 = 3;
/// Exit status when rights are missing.
pub const EXIT_RIGHTS: u8 = 4;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run the daemon, or test its configuration ([`Options::config_test`]).
    Run(Box<Options>),
    /// `--signum`: print this number on standard output, and nothing else.
    SignalNumber(i32),
}

/// Which parts run: all, unless `-P` or `-C` narrow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// VRRP.
    pub vrrp: bool,
    /// Health checks and the IPVS table.
    pub checkers: bool,
}

/// Where the diagnostics of `-t` go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigTest {
    /// `-t`: standard error; standard output with [`Options::json`].
    Stderr,
    /// `-t=FILE`: appended to it.
    File(PathBuf),
}

/// The command line as lbd understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-f`; see [`Options::config_path`].
    pub config: Option<PathBuf>,
    /// `-P`, `-C`
    pub parts: Parts,
    /// `-t`: read the configuration, say what is wrong, and exit.
    pub config_test: Option<ConfigTest>,
    /// `--strict`: lints that only lbd has count for `-t`'s exit status.
    pub strict: bool,
    /// `--json`: `-t` writes a JSON document.
    pub json: bool,
    /// `-i`: what `@ID` lines are compared with; `None` for the host's name.
    pub config_id: Option<String>,
    /// `-e`: every included file must be there.
    pub all_config: bool,
    /// `-d`: log the configuration as it was understood.
    pub dump_config: bool,
    /// How often `-D` was given.
    pub detail: u8,
    /// `-V`: leave addresses when stopping.
    pub keep_vrrp: bool,
    /// `-I`: leave the IPVS table when stopping.
    pub keep_ipvs: bool,
    /// `--take-over`: go on where another program left addresses and table.
    pub take_over: bool,
    /// `-u`: umask for the files the daemon makes; before the keyword's.
    pub umask: Option<u32>,
    /// `--ignore-sigint`
    pub ignore_sigint: bool,
    /// `-s`: the network namespace to run in; before net_namespace. The name of a file.
    pub namespace: Option<String>,
    /// `-m`, `-M`: allow core dumps.
    pub core_dumps: bool,
    /// `-a`: log each address that comes or goes on this host.
    pub address_monitoring: bool,
    /// `-p`; see [`crate::paths`] for these three.
    pub pid_file: Option<PathBuf>,
    /// `--control-socket`
    pub control_socket: Option<PathBuf>,
    /// `--state-file`
    pub state_file: Option<PathBuf>,
    /// One line for each thing that was accepted and has no effect; to be logged as warnings.
    pub notices: Vec<String>,
}

impl Options {
    /// See [`config_path`].
    pub fn config_path(&self) -> PathBuf {
        config_path(self.config.as_deref())
    }
}

/// The configuration file: the one that was given, else the first of [`CONFIG_FILES`] that exists,
/// else the first.
pub fn config_path(given: Option<&Path>) -> PathBuf {
    let [own, keepalived] = CONFIG_FILES.map(Path::new);
    match given {
        Some(path) => path.to_owned(),
        None if !own.exists() && keepalived.exists() => keepalived.to_owned(),
        None => own.to_owned(),
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// The text for the user: a mistake (`exit_code()` is [`EXIT_USAGE`], `print()` writes to standard
/// error), or the answer to `--help` and `--version` (exit code 0, standard output).
pub fn parse<I>(line: I) -> Result<Request, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let line = with_equals(&command(), line.into_iter().map(Into::into).collect());
    let matches = command().try_get_matches_from(line)?;
    let typed = Arguments::from_arg_matches(&matches)?;
    if let Some(number) = typed.signum {
        return Ok(Request::SignalNumber(number));
    }
    if typed.genhash {
        return Err(command().error(
            clap::error::ErrorKind::InvalidValue,
            "genhash mode is not supported yet: use keepalived's or the program genhash; its digests \
             are the ones that lbd expects",
        ));
    }
    Ok(Request::Run(Box::new(typed.understood())))
}

/// The definition of the command line, for the man page's test and for completion.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// What is typed.
#[derive(Parser, Debug)]
#[command(
    name = "lbd",
    version,
    about = "LVS/IPVS load-balancer manager with VRRP that reads keepalived's configuration",
    after_help = "Exit status: 0 stopped in order, 1 failed while running, 2 wrong usage, 3 configuration, 4 missing rights.\n\
                  With -t: 0 clean, 3 cannot run, 4 runs after something was ignored, 5 scripts without script security.",
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true
)]
struct Arguments {
    /// Configuration file [default: /etc/lbd/lbd.conf, else /etc/keepalived/keepalived.conf]
    #[arg(short = 'f', long = "use-file", value_name = "FILE")]
    use_file: Option<PathBuf>,
    /// Run VRRP only (with -C: both)
    #[arg(short = 'P', long)]
    vrrp: bool,
    /// Run health checks and IPVS only (with -P: both)
    #[arg(short = 'C', long)]
    check: bool,
    /// Test the configuration and exit; diagnostics go to standard error or to LOGFILE
    #[arg(short = 't', long, value_name = "LOGFILE", num_args = 0..=1, require_equals = true)]
    config_test: Option<Option<PathBuf>>,
    /// Findings that only lbd makes count for the exit status of -t
    #[arg(long)]
    strict: bool,
    /// The diagnostics of -t as one JSON document, on standard output or in LOGFILE
    #[arg(long)]
    json: bool,
    /// Name that @ID lines of the configuration are compared with [default: the host's, up to the first dot]
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// A file that is included must be there and be readable
    #[arg(short = 'e', long)]
    all_config: bool,
    /// Log the configuration as it was understood
    #[arg(short = 'd', long)]
    dump_conf: bool,
    /// Log in detail; twice for more
    #[arg(short = 'D', long, action = ArgAction::Count)]
    log_detail: u8,
    /// Leave the addresses of VRRP when stopping
    #[arg(short = 'V', long)]
    dont_release_vrrp: bool,
    /// Leave the IPVS table when stopping
    #[arg(short = 'I', long)]
    dont_release_ipvs: bool,
    /// Be master at once of each instance whose addresses are all on this host: after `keepalived -I -V` was stopped
    #[arg(long)]
    take_over: bool,
    /// umask for files the daemon makes: 022 octal, 0x12 hexadecimal, 18 decimal
    #[arg(short = 'u', long, value_name = "MASK", value_parser = umask)]
    umask: Option<u32>,
    /// Don't stop on SIGINT
    #[arg(long)]
    ignore_sigint: bool,
    /// Network namespace to run in, as `ip netns` names it [default: what net_namespace says]
    #[arg(short = 's', long, value_name = "NAME", value_parser = file_name)]
    namespace: Option<String>,
    /// File for the process id [default: lbd.pid in /run/lbd, or below it in a namespace or with an instance name]
    #[arg(short = 'p', long, value_name = "FILE")]
    pid: Option<PathBuf>,
    /// Unix socket on which lbctl finds this daemon [default: control.sock, there too]
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// File for what survives the process [default: state, there too]
    #[arg(long, value_name = "PATH")]
    state_file: Option<PathBuf>,
    /// Allow core dumps
    #[arg(short = 'm', long)]
    core_dump: bool,
    /// Log each address that comes or goes on this host
    #[arg(short = 'a', long)]
    address_monitoring: bool,
    /// Print the number of a signal and exit: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON, TDATA
    #[arg(long, value_name = "NAME", value_parser = signal_number)]
    signum: Option<i32>,
    /// Print the version and exit
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,

    /// Stay in the foreground (lbd always does)
    #[arg(short = 'n', long, help_heading = KEEPALIVED)]
    dont_fork: bool,
    /// Log to the console (lbd always does: to standard error, which systemd puts into the journal)
    #[arg(short = 'l', long, help_heading = KEEPALIVED)]
    log_console: bool,
    /// Don't log to syslog (lbd never does)
    #[arg(short = 'G', long, help_heading = KEEPALIVED)]
    no_syslog: bool,
    /// Don't run BFD (lbd has none yet)
    #[arg(short = 'B', long = "no_bfd", help_heading = KEEPALIVED)]
    no_bfd: bool,
    /// Run all parts even without configuration (lbd's are one process)
    #[arg(long, help_heading = KEEPALIVED)]
    all: bool,
    /// Not supported yet: syslog facility
    #[arg(short = 'S', long, value_name = "FACILITY", help_heading = KEEPALIVED)]
    log_facility: Option<OsString>,
    /// Not supported yet: log to a file
    #[arg(short = 'g', long, value_name = "FILE", num_args = 0..=1, require_equals = true, help_heading = KEEPALIVED)]
    log_file: Option<Option<PathBuf>>,
    /// Not supported yet: flush the log file after each line
    #[arg(long, help_heading = KEEPALIVED)]
    flush_log_file: bool,
    /// Not supported yet: drop addresses that an earlier run left
    #[arg(short = 'X', long, help_heading = KEEPALIVED)]
    release_vips: bool,
    /// Not supported yet: stop when a part dies (lbd starts it again)
    #[arg(short = 'R', long, help_heading = KEEPALIVED)]
    dont_respawn: bool,
    /// Not supported yet: SNMP
    #[arg(short = 'x', long, help_heading = KEEPALIVED)]
    snmp: bool,
    /// Not supported yet: socket of the SNMP agent
    #[arg(short = 'A', long, value_name = "SPEC", help_heading = KEEPALIVED)]
    snmp_agent_socket: Option<OsString>,
    /// As -m; the host's pattern for core dumps stays
    #[arg(short = 'M', long, value_name = "PATTERN", num_args = 0..=1, require_equals = true, help_heading = KEEPALIVED)]
    core_dump_pattern: Option<Option<OsString>>,

    // One process has one pid file.
    /// Without effect: pid file of the VRRP process
    #[arg(short = 'r', long = "vrrp_pid", value_name = "FILE", hide = true)]
    vrrp_pid: Option<PathBuf>,
    /// Without effect: pid file of the checker process
    #[arg(short = 'c', long = "checkers_pid", value_name = "FILE", hide = true)]
    checkers_pid: Option<PathBuf>,
    /// Without effect: pid file of the BFD process
    #[arg(short = 'b', long = "bfd_pid", value_name = "FILE", hide = true)]
    bfd_pid: Option<PathBuf>,
    /// Refused: genhash mode
    #[arg(short = 'T', long, hide = true)]
    genhash: bool,
    /// Without effect: profiling of a build option
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, hide = true)]
    perf: Option<Option<OsString>>,
    /// Without effect: debugging of a build option
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, require_equals = true, hide = true)]
    debug: Option<Option<OsString>>,
    /// Without effect: memory checks of a build option
    #[arg(long, hide = true)]
    no_mem_check: bool,
    /// Ignored, as keepalived ignores them
    #[arg(hide = true)]
    words: Vec<OsString>,
}

const KEEPALIVED: &str = "Accepted as keepalived's, without effect";

impl Arguments {
    fn understood(self) -> Options {
        let notices = self.notices();
        let all = self.vrrp == self.check;
        Options {
            config: self.use_file,
            parts: Parts { vrrp: self.vrrp || all, checkers: self.check || all },
            config_test: self.config_test.map(|log| log.map_or(ConfigTest::Stderr, ConfigTest::File)),
            strict: self.strict,
            json: self.json,
            config_id: self.config_id,
            all_config: self.all_config,
            dump_config: self.dump_conf,
            detail: self.log_detail,
            keep_vrrp: self.dont_release_vrrp,
            keep_ipvs: self.dont_release_ipvs,
            take_over: self.take_over,
            umask: self.umask,
            ignore_sigint: self.ignore_sigint,
            namespace: self.namespace,
            core_dumps: self.core_dump || self.core_dump_pattern.is_some(),
            address_monitoring: self.address_monitoring,
            pid_file: self.pid,
            control_socket: self.control_socket,
            state_file: self.state_file,
            notices,
        }
    }

    fn notices(&self) -> Vec<String> {
        let unserved = [
            (self.log_facility.is_some(), "-S (--log-facility)", "the log goes to standard error"),
            (self.log_file.is_some(), "-g (--log-file)", "the log goes to standard error"),
            (self.flush_log_file, "--flush-log-file", "each line is written at once anyway"),
            (self.release_vips, "-X (--release-vips)", "only addresses that lbd set are dropped"),
            (self.dont_respawn, "-R (--dont-respawn)", "a part that fails is started again"),
            (self.snmp, "-x (--snmp)", "no SNMP agent is contacted"),
            (self.snmp_agent_socket.is_some(), "-A (--snmp-agent-socket)", "no SNMP agent is contacted"),
            (
                self.core_dump_pattern.is_some(),
                "the pattern of -M (--core-dump-pattern)",
                "core dumps are allowed, and go where the host's says (`sysctl kernel.core_pattern`)",
            ),
            (self.perf.is_some(), "--perf", "use perf(1) on the running process"),
            (self.debug.is_some(), "--debug", "use -D, or LBD_LOG=lbd=trace"),
        ];
        let pid_files = [
            (self.vrrp_pid.is_some(), "-r (--vrrp_pid)"),
            (self.checkers_pid.is_some(), "-c (--checkers_pid)"),
            (self.bfd_pid.is_some(), "-b (--bfd_pid)"),
        ];
        let unserved = unserved
            .into_iter()
            .filter(|(given, ..)| *given)
            .map(|(_, flag, instead)| format!("{flag} is not supported yet: {instead}"));
        let pid_files = pid_files
            .into_iter()
            .filter(|(given, _)| *given)
            .map(|(_, flag)| format!("{flag} has no effect: lbd is one process, with one pid file (-p)"));
        let words = self
            .words
            .iter()
            .map(|word| format!("`{}` is no option and was ignored", word.to_string_lossy().escape_debug()));
        unserved.chain(pid_files).chain(words).collect()
    }
}

/// Number of the signal for what is to be done, as keepalived(8) names it.
fn signal_number(name: &str) -> Result<i32, String> {
    match name {
        "STOP" => Ok(libc::SIGTERM),
        "RELOAD" => Ok(libc::SIGHUP),
        "DATA" => Ok(libc::SIGUSR1),
        "STATS" => Ok(libc::SIGUSR2),
        "STATS_CLEAR" => Ok(libc::SIGRTMAX() - 1),
        "JSON" => Ok(libc::SIGRTMIN() + 2),
        "TDATA" => Ok(libc::SIGRTMIN() + 3),
        _ => Err("one of STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON, TDATA is needed".to_owned()),
    }
}

/// A name of a network namespace or an instance, which is also that of a file.
pub(crate) fn file_name(word: &str) -> Result<String, String> {
    match lbd_grammar::config::is_file_name(word) {
        true => Ok(word.to_owned()),
        false => Err("a name without `/` is needed, as `ip netns list` shows those of namespaces".to_owned()),
    }
}

/// A number as C writes it, 0 to 0777.
fn umask(text: &str) -> Result<u32, String> {
    let number = match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
        _ => text.parse(),
    };
    number
        .ok()
        .filter(|mask| *mask <= 0o777)
        .ok_or_else(|| "a number from 0 to 0777 is needed, such as 022 (octal)".to_owned())
}

/// What follows a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Optional,
    Needed,
}

/// Rewrites the optional value attached to a short flag, `-tLOG`, as `-t=LOG`, as clap wants it; no
/// other word is changed.
fn with_equals(command: &clap::Command, line: Vec<OsString>) -> Vec<OsString> {
    let mut words = line.into_iter();
    let mut done: Vec<OsString> = words.by_ref().take(1).collect();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let mut next_is_value = false;
        let mut rewritten = None;
        if bytes == b"--" {
            done.push(word);
            break;
        } else if let Some(name) = bytes.strip_prefix(b"--") {
            next_is_value = value_of_long(command, name) == Value::Needed;
        } else if let Some(flags) = bytes.strip_prefix(b"-") {
            let found = flags.iter().enumerate().find_map(|(index, flag)| {
                let value = value_of_short(command, *flag);
                (value != Value::None).then_some((index, value))
            });
            if let Some((index, value)) = found {
                let (head, attached) = flags.split_at(index + 1);
                match value {
                    Value::Needed => next_is_value = attached.is_empty(),
                    Value::Optional if !attached.is_empty() && !attached.starts_with(b"=") => {
                        rewritten = Some([b"-", head, b"=", attached].concat());
                    }
                    Value::Optional | Value::None => {}
                }
            }
        }
        done.push(rewritten.map_or(word, OsString::from_vec));
        if next_is_value {
            done.extend(words.next());
        }
    }
    done.extend(words);
    done
}

fn value_of_short(command: &clap::Command, flag: u8) -> Value {
    let wanted = char::from(flag);
    command.get_arguments().find(|arg| arg.get_short() == Some(wanted)).map_or(Value::None, value_of)
}

fn value_of_long(command: &clap::Command, name: &[u8]) -> Value {
    let Some(name) = OsStr::from_bytes(name).to_str().filter(|name| !name.contains('=')) else {
        return Value::None;
    };
    let exact = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let shortened =
        || command.get_arguments().find(|arg| arg.get_long().is_some_and(|long| long.starts_with(name)));
    exact.or_else(shortened).map_or(Value::None, value_of)
}

fn value_of(arg: &clap::Arg) -> Value {
    match (arg.get_action().takes_values(), arg.is_require_equals_set()) {
        (false, _) => Value::None,
        (true, true) => Value::Optional,
        (true, false) => Value::Needed,
    }
}

#[cfg(test)]
pub(crate) mod tests;

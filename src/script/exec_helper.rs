//! Between fork and exec: `lbd exec-helper …` takes the identity of a script's user and becomes the
//! script.
//!
//! A process of its own because a daemon with much memory and many threads starts one in 0.5 ms by
//! posix_spawn, while setting user and groups in std's `Command` makes it fork, 20 ms at 500 MB.
//! Not here: choosing user and program (`security`), time limits (`process`).

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use lbd_health::ScriptError;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, dup2_stderr, getegid, geteuid, setgid, setgroups, setuid};

use super::{security, sys};

/// The hidden first argument.
pub const WORD: &str = "exec-helper";

/// Stands for a group list, or a limit, that leaves them as they are.
pub const KEEP: &str = "-";

/// A program that others than root can change is not to be run as root (enable_script_security); in its
/// place [`KEEP`].
pub const SECURE: &str = "secure";

/// `UID GID GROUPS DESCRIPTORS REALTIME SECURITY PATH ARGV0 [ARGUMENT]…`; GROUPS is a list with commas, empty
/// for none, or [`KEEP`]; DESCRIPTORS the soft limit of open files, REALTIME that of microseconds in real time
/// (`RLIMIT_RTTIME`), or [`KEEP`]; SECURITY is [`SECURE`] or [`KEEP`].
///
/// Returns only when the program could not be executed; what went wrong is written to standard error
/// then, which is a pipe to the daemon until exec.
pub fn main(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().map(|one| one.as_ref().to_owned()).collect();
    let Err(text) = become_program(&arguments);
    // Descriptor 2 may be /dev/null by now: the pipe's copy is what is written to.
    let _daemon_gone = text.1.map(|mut pipe| pipe.write_all(text.0.as_bytes()));
    ExitCode::from(FAILED)
}

/// As a shell says that a command could not be executed; the daemon looks at the pipe, not at this.
const FAILED: u8 = 126;

type Failure = (String, Option<File>);

fn become_program(arguments: &[OsString]) -> Result<std::convert::Infallible, Failure> {
    // Close-on-exec: the daemon reads the end of file as "executed".
    let pipe = io::stderr().as_fd().try_clone_to_owned().map(File::from).ok();
    match prepare(arguments) {
        Ok(mut command) => {
            let mut error = command.exec();
            if error.raw_os_error() == Some(libc::ENOEXEC) {
                // A text without `#!`: the shell's.
                error = through_shell(arguments).exec();
            }
            let path = command.get_program().to_string_lossy().into_owned();
            let kind = if is_resource(&error) { RESOURCES } else { "" };
            Err((format!("{kind}{path}: {error}"), pipe))
        }
        Err(text) => Err((text, pipe)),
    }
}

/// Begins the text of a failure that is the host's, not the program's.
pub const RESOURCES: &str = "!";
/// Begins the text of a refusal by enable_script_security.
pub const INSECURE: &str = "?";

fn is_resource(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::ENFILE | libc::EMFILE))
}

fn prepare(arguments: &[OsString]) -> Result<Command, String> {
    let [uid, gid, groups, descriptors, real_time, security, path, argv0, rest @ ..] = arguments else {
        return Err("exec-helper is for lbd's own use: \
                    UID GID GROUPS DESCRIPTORS REALTIME SECURITY PATH ARGV0 [ARGUMENT]..."
            .into());
    };
    let uid = Uid::from_raw(number(uid)?);
    let gid = Gid::from_raw(number(gid)?);
    soft_limit(Resource::RLIMIT_NOFILE, descriptors, "limit of open files")?;
    soft_limit(Resource::RLIMIT_RTTIME, real_time, "limit of real time")?;
    if security == SECURE {
        // As who may look everywhere.
        security::look_again(Path::new(path), (uid.as_raw(), gid.as_raw())).map_err(|(error, text)| {
            let kind = if error == ScriptError::Insecure { INSECURE } else { "" };
            format!("{kind}{text}")
        })?;
    }
    identity(uid, gid, groups)?;
    // After the change of user, which clears it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(failed("parent-death signal"))?;
    sys::default_signals().map_err(failed("signals"))?;
    umask(Mode::from_bits_truncate(0o022));
    let null = OpenOptions::new().write(true).open("/dev/null").map_err(failed("/dev/null"))?;
    dup2_stderr(null.as_fd()).map_err(failed("standard error"))?;
    sys::close_on_exec_from(3);
    let mut command = Command::new(path);
    command.arg0(argv0).args(rest);
    Ok(command)
}

fn soft_limit(resource: Resource, soft: &OsStr, what: &str) -> Result<(), String> {
    if soft == KEEP {
        return Ok(());
    }
    let soft: u64 = soft.to_string_lossy().parse().map_err(failed(what))?;
    let (_, hard) = getrlimit(resource).map_err(failed(what))?;
    setrlimit(resource, soft.min(hard), hard).map_err(failed(what))
}

fn through_shell(arguments: &[OsString]) -> Command {
    let mut command = Command::new("/bin/sh");
    if let [_, _, _, _, _, _, path, _, rest @ ..] = arguments {
        command.arg(path).args(rest);
    }
    command
}

fn identity(uid: Uid, gid: Gid, groups: &OsStr) -> Result<(), String> {
    if !geteuid().is_root() && (uid, gid) == (geteuid(), getegid()) {
        return Ok(());
    }
    if groups != KEEP {
        let groups: Vec<Gid> = groups
            .to_string_lossy()
            .split(',')
            .filter(|one| !one.is_empty())
            .map(|one| one.parse().map(Gid::from_raw).map_err(failed("group list")))
            .collect::<Result<_, _>>()?;
        match setgroups(&groups) {
            // Without CAP_SETGID, as in a container of few rights: the groups stay, the user does too.
            Err(Errno::EPERM) if (uid, gid) == (geteuid(), getegid()) => {}
            result => result.map_err(failed("supplementary groups"))?,
        }
    }
    setgid(gid).map_err(failed(&format!("group {gid}")))?;
    setuid(uid).map_err(|error| {
        // RLIMIT_NPROC of that user.
        let kind = if error == Errno::EAGAIN { RESOURCES } else { "" };
        format!("{kind}user {uid}: {error}")
    })
}

fn number(word: &OsStr) -> Result<u32, String> {
    word.to_string_lossy().parse().map_err(failed("user or group"))
}

fn failed<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

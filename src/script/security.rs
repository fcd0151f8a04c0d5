//! Who may be run as whom: finding a program, its user, and everybody who could exchange it.
//!
//! Here: rules, pure over [`Files`] and [`Users`], and what they say about a configuration. Not here:
//! running. Differs from keepalived in one point: it takes a symbolic link to a directory on the way
//! (`/bin` on today's systems) for a wrong file type and always drops the script. Here every component
//! is walked, those of each link's target too, and judged by its owner and mode: `/bin/true` is as
//! good as `/usr/bin/true`, and a link through a directory of somebody else is not.

mod host;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use lbd_grammar::config::{Config, Global, Script, ScriptUser};
use lbd_health::{ScriptError, ScriptId};
use nix::errno::Errno;

pub use host::{HostFiles, HostUsers};

/// Something about the scripts of a configuration that its operator has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which script; `None` for all of them.
    pub script: Option<ScriptId>,
    /// What was found, and where.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The script is not run.
    pub disabled: bool,
    /// Kind of finding.
    pub kind: FindingKind,
}

/// Kind of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Scripts are configured, enable_script_security is not.
    NoScriptSecurity,
    /// Somebody else than root could exchange what root runs.
    Insecure,
    /// The program is missing, or its user may not execute it.
    NotExecutable,
    /// Its user or group does not exist, or cannot be changed to.
    User,
    /// Its name has no `/`; it was found in PATH.
    PathSearch,
}

/// What the rules say about the scripts of `config` on this host. Blocking: users and files are
/// looked up.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !config.scripts.is_empty() && !config.global.script_security {
        findings.push(Finding {
            script: None,
            message: "scripts are configured without enable_script_security: programs that others than root \
                      can exchange are run as root"
                .into(),
            remedy: "add `enable_script_security` to global_defs".into(),
            disabled: false,
            kind: FindingKind::NoScriptSecurity,
        });
    }
    let judge = Judge::new(&HostFiles, &HostUsers, &config.global);
    for (id, script) in &config.scripts {
        findings.extend(judge.judge(id, script).1);
    }
    findings
}

/// A program that may be run, with nothing left to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runnable {
    /// File to execute: without symbolic links, or as written (use_symlink_paths).
    pub path: PathBuf,
    /// Argument vector, `argv[0]` as written.
    pub argv: Vec<OsString>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups: none, or those of the user where the configuration wants them; `None` leaves
    /// those of lbd.
    pub groups: Option<Vec<u32>>,
    /// enable_script_security: to be looked at again whenever it is run.
    pub secure: bool,
}

/// Just before a program is run as a user and a group: whether others than root have become able to change
/// what root runs.
///
/// Each component is looked at after the one that holds it. When all are root's alone, nobody else can
/// exchange one any more, so that what is executed by this path is what was looked at. Executing an open
/// descriptor would say no more, and a script would not find its own name.
///
/// # Errors
/// Why it is not to be run, and that in words.
pub fn look_again(path: &Path, (uid, gid): (u32, u32)) -> Result<(), (ScriptError, String)> {
    let missing = |(at, error): (PathBuf, io::Error)| {
        (ScriptError::NotExecutable, format!("{}: {error}", at.display()))
    };
    let walk = walk(&HostFiles, path).map_err(missing)?;
    match walk.first_unsafe() {
        Some((culprit, _)) if uid == 0 || gid == 0 || walk.raises_to_root() => {
            Err((ScriptError::Insecure, format!("{} is not secure any more: {culprit}", path.display())))
        }
        _ => Ok(()),
    }
}

/// What `lstat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Type and permissions (`st_mode`).
    pub mode: u32,
}

/// The file system, as far as the rules look at it.
pub trait Files {
    /// About the file itself, not what a link leads to.
    ///
    /// # Errors
    /// As `lstat`.
    fn lstat(&self, path: &Path) -> io::Result<Stat>;
    /// Where a link leads.
    ///
    /// # Errors
    /// As `readlink`.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// Directories to search for programs.
    fn search_path(&self) -> Vec<PathBuf>;
}

/// A user as the name service knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

/// Why a user is not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUser {
    /// There is no such user or group.
    #[error("{0} does not exist")]
    Missing(String),
    /// The name service does not say whether there is.
    #[error("{0} cannot be looked up: {1}")]
    Unknown(String, Errno),
}

impl NoUser {
    fn remedy(&self) -> &'static str {
        match self {
            NoUser::Missing(_) => {
                "create the user or group, or name another one with `script_user` or `user`"
            }
            NoUser::Unknown(..) => "see to the name service (/etc/nsswitch.conf) and reload",
        }
    }
}

/// The name service, and who lbd is.
pub trait Users {
    /// A user with its groups; the primary one is `group` where given.
    ///
    /// # Errors
    /// Which name is none, or could not be looked up.
    fn find(&self, user: &ScriptUser) -> Result<Identity, NoUser>;
    /// User and group of this process.
    fn own(&self) -> (u32, u32);
    /// Whether root here has the rights to become another user and group.
    fn may_change(&self) -> bool;
}

/// Judges scripts under the global settings.
pub struct Judge<'a> {
    files: &'a dyn Files,
    users: &'a dyn Users,
    enforce: bool,
    /// use_symlink_paths
    as_written: bool,
    /// set_supplementary_groups
    supplementary: bool,
    script_user: Option<&'a ScriptUser>,
}

type Verdict = (Result<Runnable, ScriptError>, Vec<Finding>);

impl<'a> Judge<'a> {
    /// A judge of one configuration.
    pub fn new(files: &'a dyn Files, users: &'a dyn Users, global: &'a Global) -> Self {
        Judge {
            files,
            users,
            enforce: global.script_security,
            as_written: global.symlink_paths,
            supplementary: global.supplementary_groups,
            script_user: global.script_user.as_ref(),
        }
    }

    /// Whether and how a script is run, and what is to be said about it.
    pub fn judge(&self, id: &ScriptId, script: &Script) -> Verdict {
        let mut findings = Vec::new();
        let verdict = self.examine(script, &mut |kind, message, remedy| {
            let disabled = match kind {
                FindingKind::NotExecutable | FindingKind::User => true,
                FindingKind::Insecure => self.enforce,
                FindingKind::NoScriptSecurity | FindingKind::PathSearch => false,
            };
            findings.push(Finding { script: Some(id.clone()), message, remedy, disabled, kind });
        });
        (verdict, findings)
    }

    fn examine(
        &self,
        script: &Script,
        find: &mut dyn FnMut(FindingKind, String, String),
    ) -> Result<Runnable, ScriptError> {
        let Some(name) = script.argv.first() else {
            find(FindingKind::NotExecutable, "a script without a command".into(), "name a program".into());
            return Err(ScriptError::NotExecutable);
        };
        let identity = match self.identity(script) {
            Ok(identity) => identity,
            Err((text, remedy)) => {
                find(FindingKind::User, format!("script `{name}` is disabled: {text}"), remedy);
                return Err(ScriptError::NotExecutable);
            }
        };
        if name.starts_with('<') {
            // keepalived hands such a command to system() as it stands, without any check.
            let line = script.argv.join(" ");
            let argv = ["sh", "-c", &line].map(OsString::from).to_vec();
            return Ok(Runnable { secure: false, ..self.runnable("/bin/sh".into(), argv, identity) });
        }
        let walk = match self.locate(name, &identity, find) {
            Ok(walk) => walk,
            Err(problem) => {
                find(
                    FindingKind::NotExecutable,
                    format!("script `{name}` is disabled: {}", problem.0),
                    problem.1,
                );
                return Err(ScriptError::NotExecutable);
            }
        };
        // As root, or as root in effect, a program that others can exchange gives them root.
        let privileged = identity.uid == 0 || identity.gid == 0 || walk.raises_to_root();
        if privileged && let Some((culprit, remedy)) = walk.first_unsafe() {
            let end =
                if self.enforce { "the script is disabled" } else { "others can make root run anything" };
            find(FindingKind::Insecure, format!("script `{name}` is not secure: {culprit}; {end}"), remedy);
            if self.enforce {
                return Err(ScriptError::Insecure);
            }
        }
        let path = if self.as_written { walk.written } else { walk.resolved };
        Ok(self.runnable(path, script.argv.iter().map(OsString::from).collect(), identity))
    }

    /// The user that a script is run as; else what is wrong and the remedy.
    fn identity(&self, script: &Script) -> Result<Identity, (String, String)> {
        let default = ScriptUser::new(DEFAULT_USER, None);
        let own = self.users.own();
        let as_lbd = Identity { uid: own.0, gid: own.1, groups: Vec::new() };
        let named = script.user.as_ref().or(self.script_user);
        let found = match named {
            Some(user) => self.users.find(user),
            // Who is not root cannot become the default user: scripts run as lbd does.
            None if own.0 != 0 => return Ok(as_lbd),
            // Root where the default user does not exist; not where nobody knows whether it does.
            None => match self.users.find(&default) {
                Err(NoUser::Missing(_)) => Ok(as_lbd),
                found => found,
            },
        };
        let mut identity = found.map_err(|none| (none.to_string(), none.remedy().to_owned()))?;
        if !(own.0 == 0 && self.users.may_change()) && (identity.uid, identity.gid) != own {
            let text = format!("lbd runs as user {} and cannot become user {}", own.0, identity.uid);
            let rights =
                "run lbd as root with CAP_SETUID and CAP_SETGID (`CapabilityBoundingSet=` of its unit)";
            return Err((text, format!("{rights}, or name no other user for the script")));
        }
        // A group with a colon asks for them for one script.
        if !(self.supplementary || named.is_some_and(|user| user.supplementary)) {
            identity.groups.clear();
        }
        Ok(identity)
    }

    fn runnable(&self, path: PathBuf, argv: Vec<OsString>, identity: Identity) -> Runnable {
        let groups = (self.users.own().0 == 0).then_some(identity.groups);
        Runnable { path, argv, uid: identity.uid, gid: identity.gid, groups, secure: self.enforce }
    }

    /// The file that `name` stands for, and the way to it; else what is wrong and the remedy.
    fn locate(
        &self,
        name: &str,
        identity: &Identity,
        find: &mut dyn FnMut(FindingKind, String, String),
    ) -> Result<Walk, (String, String)> {
        if name.contains('/') {
            let path = Path::new("/").join(name);
            let walk = walk(self.files, &path).map_err(|(at, error)| {
                let found = match error.kind() {
                    io::ErrorKind::NotFound => format!("{} does not exist", at.display()),
                    io::ErrorKind::NotADirectory => format!("{} is in no directory", at.display()),
                    _ => format!("{}: {error}", at.display()),
                };
                (found, "install the program or correct its path".to_owned())
            })?;
            return match walk.obstacle(identity) {
                None => Ok(walk),
                Some(problem) => Err(problem),
            };
        }
        for directory in self.files.search_path() {
            let Ok(walk) = walk(self.files, &directory.join(name)) else { continue };
            if walk.obstacle(identity).is_none() {
                find(
                    FindingKind::PathSearch,
                    format!("script `{name}` was found in PATH as {}", walk.resolved.display()),
                    format!("write the whole path: {}", directory.join(name).display()),
                );
                return Ok(walk);
            }
        }
        Err((
            "not found in PATH, or not executable for its user".into(),
            "install the program, or write its whole path".into(),
        ))
    }
}

/// Every component from `/` on, links followed by hand so that those of their targets are in it.
fn walk(files: &dyn Files, path: &Path) -> Result<Walk, (PathBuf, io::Error)> {
    let mut at = PathBuf::from("/");
    let mut way = vec![(at.clone(), files.lstat(&at).map_err(|error| (at.clone(), error))?)];
    let mut ahead: VecDeque<OsString> = components(path);
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let stat = files.lstat(&next).map_err(|error| (next.clone(), error))?;
        way.push((next.clone(), stat));
        if stat.mode & libc::S_IFMT != libc::S_IFLNK {
            at = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err((next, io::Error::from_raw_os_error(libc::ELOOP)));
        }
        let target = files.read_link(&next).map_err(|error| (next.clone(), error))?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for component in components(&target).into_iter().rev() {
            ahead.push_front(component);
        }
    }
    Ok(Walk { written: path.to_owned(), resolved: at, way })
}

/// Its own user for scripts, if the system has it.
pub const DEFAULT_USER: &str = "keepalived_script";

/// As the kernel (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// The way to a program.
struct Walk {
    written: PathBuf,
    resolved: PathBuf,
    /// Components in the order in which they were passed, `/` first, the program last.
    way: Vec<(PathBuf, Stat)>,
}

impl Walk {
    fn program(&self) -> Option<&Stat> {
        self.way.last().map(|(_, stat)| stat)
    }

    /// The program changes to root, whoever runs it.
    fn raises_to_root(&self) -> bool {
        self.program().is_some_and(|stat| {
            (stat.mode & libc::S_ISUID != 0 && stat.uid == 0)
                || (stat.mode & libc::S_ISGID != 0 && stat.gid == 0)
        })
    }

    /// What keeps `identity` from executing the program, and the remedy.
    fn obstacle(&self, identity: &Identity) -> Option<(String, String)> {
        let program = self.program()?;
        for (path, stat) in &self.way {
            if kind(stat) == libc::S_IFDIR && !may_execute(stat, identity) && identity.uid != 0 {
                let text = format!("user {} may not pass the directory {}", identity.uid, path.display());
                return Some((text, format!("chmod o+x {}", path.display())));
            }
        }
        let path = self.resolved.display();
        if kind(program) != libc::S_IFREG {
            return Some((format!("{path} is not a regular file"), "name a program".into()));
        }
        (!may_execute(program, identity))
            .then(|| (format!("user {} may not execute {path}", identity.uid), format!("chmod a+rx {path}")))
    }

    /// The first component that others than root can change, with the remedy.
    fn first_unsafe(&self) -> Option<(String, String)> {
        self.way.iter().find_map(|(path, stat)| {
            let path = path.display();
            if stat.uid != 0 {
                let remedy = if kind(stat) == libc::S_IFDIR {
                    // Somebody lives there.
                    format!("move the program to a directory of root's, or have user {} run it", stat.uid)
                } else {
                    format!("chown -h root {path}")
                };
                return Some((format!("{path} belongs to user {}, not to root", stat.uid), remedy));
            }
            // A link's mode means nothing; in a sticky directory others cannot rename or remove.
            let sticky = kind(stat) == libc::S_IFDIR && stat.mode & libc::S_ISVTX != 0;
            if kind(stat) == libc::S_IFLNK || sticky {
                return None;
            }
            if stat.mode & libc::S_IWOTH != 0 {
                return Some((format!("{path} can be written by everybody"), format!("chmod o-w {path}")));
            }
            (stat.mode & libc::S_IWGRP != 0 && stat.gid != 0).then(|| {
                (format!("{path} can be written by group {}", stat.gid), format!("chmod g-w {path}"))
            })
        })
    }
}

fn kind(stat: &Stat) -> u32 {
    stat.mode & libc::S_IFMT
}

/// By the mode bits alone, as the kernel picks them: owner, else group, else others.
fn may_execute(stat: &Stat, identity: &Identity) -> bool {
    let bits = if identity.uid == 0 {
        libc::S_IXUSR | libc::S_IXGRP | libc::S_IXOTH
    } else if identity.uid == stat.uid {
        libc::S_IXUSR
    } else if identity.gid == stat.gid || identity.groups.contains(&stat.gid) {
        libc::S_IXGRP
    } else {
        libc::S_IXOTH
    };
    stat.mode & bits != 0
}

#[cfg(test)]
#[path = "security/tests.rs"]
mod tests;

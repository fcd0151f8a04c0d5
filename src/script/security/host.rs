//! The host that the rules are held against: its files and its name service.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lbd_grammar::config::ScriptUser;
use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::{Files, Identity, NoUser, Stat, Users};
use crate::limits::has_capability;

/// The file system of this host.
pub struct HostFiles;

impl Files for HostFiles {
    fn lstat(&self, path: &Path) -> io::Result<Stat> {
        let meta = std::fs::symlink_metadata(path)?;
        Ok(Stat { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() })
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::read_link(path)
    }

    fn search_path(&self) -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
        // Relative entries depend on where lbd was started.
        std::env::split_paths(&path.unwrap_or_else(|| DEFAULT_PATH.into()))
            .filter(|one| one.is_absolute())
            .collect()
    }
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The name service of this host.
pub struct HostUsers;

impl Users for HostUsers {
    fn find(&self, user: &ScriptUser) -> Result<Identity, NoUser> {
        let name = &user.user;
        let found = looked_up(User::from_name(name), || format!("user `{name}`"))?;
        let gid = match &user.group {
            None => found.gid,
            Some(group) => looked_up(Group::from_name(group), || format!("group `{group}`"))?.gid,
        };
        let groups = CString::new(OsStr::new(name).as_bytes())
            .ok()
            .and_then(|name| getgrouplist(&name, gid).ok())
            .unwrap_or_default();
        Ok(Identity {
            uid: found.uid.as_raw(),
            gid: gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        })
    }

    fn own(&self) -> (u32, u32) {
        (Uid::effective().as_raw(), Gid::effective().as_raw())
    }

    fn may_change(&self) -> bool {
        has_capability(CAP_SETGID) && has_capability(CAP_SETUID)
    }
}

/// What the name service says of a name.
fn looked_up<T>(answer: nix::Result<Option<T>>, who: impl Fn() -> String) -> Result<T, NoUser> {
    match answer {
        Ok(Some(found)) => Ok(found),
        // As some of its sources say it (getpwnam(3)).
        Ok(None) | Err(Errno::ENOENT | Errno::ESRCH) => Err(NoUser::Missing(who())),
        Err(errno) => Err(NoUser::Unknown(who(), errno)),
    }
}

/// Bits in the capability sets (linux/capability.h).
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missing_and_who_could_not_be_asked_for() {
        let missing = NoUser::Missing("user `x`".into());
        let unknown = NoUser::Unknown("user `x`".into(), Errno::EIO);
        for (answer, want) in [
            (Ok(Some(7)), Ok(7)),
            (Ok(None), Err(missing.clone())),
            (Err(Errno::ENOENT), Err(missing.clone())),
            (Err(Errno::EIO), Err(unknown.clone())),
        ] {
            assert_eq!(looked_up(answer, || "user `x`".into()), want, "{answer:?}");
        }
        assert_eq!(missing.to_string(), "user `x` does not exist");
        assert!(unknown.to_string().starts_with("user `x` cannot be looked up: "), "{unknown}");
        let nobody = HostUsers.find(&ScriptUser::new("lbd-no-such-user", None));
        assert_eq!(nobody, Err(NoUser::Missing("user `lbd-no-such-user`".into())));
        let group = HostUsers.find(&ScriptUser::new("root", Some("lbd-no-such-group")));
        assert_eq!(group, Err(NoUser::Missing("group `lbd-no-such-group`".into())));
    }
}

//! Network namespaces: that of the whole process (net_namespace), and that of the kernel's IPVS table
//! (net_namespace_ipvs).
//!
//! A socket is of the namespace in which it was made, and stays so: for the table only its making goes there,
//! on a thread of its own, so that no other thread ever changes its place. The process goes into its own one
//! before it has any other thread ([`Namespace::enter`]). Here: finding and entering. Not here: when
//! (`daemon::begin`).

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lbd_grammar::config::IpvsNamespace;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` keeps its namespaces.
const NAMED: &str = "/run/netns";
/// Where it keeps what stands in the place of files of /etc, in a folder for each.
const ETC: &str = "/etc/netns";

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The process's own.
    Own,
    /// That of a file.
    Of(PathBuf),
}

/// Why a namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// It is not there.
    #[error("there is no network namespace {}: `ip netns add {}` makes it", .0.display(), name(.0).display())]
    Missing(PathBuf),
    /// It is, and cannot be opened or entered.
    #[error("network namespace {}: {source}{}", .path.display(), remedy(source))]
    Io {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl NamespaceError {
    /// Whether rights are missing (exit status 4).
    pub fn is_rights(&self) -> bool {
        matches!(self, NamespaceError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether it is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, NamespaceError::Missing(_))
    }
}

impl Namespace {
    /// The namespace that net_namespace_ipvs names.
    pub fn of(configured: Option<&IpvsNamespace>) -> Self {
        match configured {
            None => Namespace::Own,
            Some(IpvsNamespace::Initial) => Namespace::Of("/proc/1/ns/net".into()),
            Some(IpvsNamespace::Named(name)) => Namespace::named(name),
        }
    }

    /// That of a name of `ip netns`.
    pub fn named(name: &str) -> Self {
        Namespace::Of(Path::new(NAMED).join(name))
    }

    /// A number that no other namespace of this boot has while this one lives; 0 where it is not known.
    pub fn number(&self) -> u64 {
        let path = match self {
            Namespace::Own => "/proc/thread-self/ns/net".as_ref(),
            Namespace::Of(path) => path.as_path(),
        };
        std::fs::metadata(path).map_or(0, |found| found.ino())
    }

    /// Does `job` in it. Sockets that it makes stay there.
    ///
    /// # Errors
    /// When the namespace is not there or cannot be entered.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        let Some((path, file)) = self.open()? else { return Ok(job()) };
        let entered = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                Ok(job())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        entered.map_err(|source| NamespaceError::Io { path: path.to_owned(), source })
    }

    /// Moves the calling thread there, and so each that it starts from now on: to be called before there is
    /// another one. They see its interfaces in /sys, and the files of /etc that it has of its own, as with
    /// `ip netns exec`; what is mounted on the host later is seen too, nothing that is mounted here is seen
    /// there.
    ///
    /// Returns what could not be had of that.
    ///
    /// # Errors
    /// When the namespace is not there or cannot be entered; nothing has changed then.
    pub fn enter(&self) -> Result<Vec<String>, NamespaceError> {
        let Some((path, file)) = self.open()? else { return Ok(Vec::new()) };
        setns(&file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NamespaceError::Io { path: path.to_owned(), source: errno.into() })?;
        Ok(own_view(name(path)))
    }

    fn open(&self) -> Result<Option<(&Path, File)>, NamespaceError> {
        let Namespace::Of(path) = self else { return Ok(None) };
        match File::open(path) {
            Ok(file) => Ok(Some((path, file))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(NamespaceError::Missing(path.clone()))
            }
            Err(source) => Err(NamespaceError::Io { path: path.clone(), source }),
        }
    }
}

/// A view of the file system for this process: /sys of its network namespace, and files of /etc.
fn own_view(namespace: &OsStr) -> Vec<String> {
    let private = unshare(CloneFlags::CLONE_NEWNS).and_then(|()| {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
    });
    if let Err(errno) = private {
        return vec![format!("/sys and /etc stay those of the host: {}", errno.desc())];
    }
    let mut complaints = Vec::new();
    // Where it is read-only (containers) it stays so.
    let read_only = nix::sys::statvfs::statvfs("/sys")
        .is_ok_and(|found| found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
    let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    if let Err(errno) = mount(Some(namespace), "/sys", Some("sysfs"), flags, None::<&str>) {
        complaints.push(format!("/sys shows the interfaces of the host: {}", errno.desc()));
    }
    let entries = std::fs::read_dir(Path::new(ETC).join(namespace)).into_iter().flatten().flatten();
    for entry in entries {
        let place = Path::new("/etc").join(entry.file_name());
        if let Err(errno) = mount(Some(&entry.path()), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            let (of, at) = (entry.path(), place.display());
            complaints.push(format!(
                "{} does not stand in the place of {at}: {}",
                of.display(),
                errno.desc()
            ));
        }
    }
    complaints
}

fn name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": CAP_SYS_ADMIN is needed to enter it",
        io::ErrorKind::InvalidInput => ": it is no network namespace",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let named = Namespace::of(Some(&IpvsNamespace::Named("lbd-no-such".into())));
        assert_eq!(named, Namespace::Of("/run/netns/lbd-no-such".into()));
        assert_eq!(named.number(), 0);
        let missing = named.run(|| ()).expect_err("it is not there");
        assert!(missing.to_string().contains("`ip netns add lbd-no-such`"), "{missing}");
        assert!(missing.is_missing() && !missing.is_rights());
        assert!(named.enter().is_err_and(|error| error.is_missing()));
        assert_eq!(Namespace::Own.enter().expect("here"), [""; 0]);
        assert_eq!(Namespace::of(Some(&IpvsNamespace::Initial)), Namespace::Of("/proc/1/ns/net".into()));
        assert_eq!(Namespace::of(None).run(|| 7).expect("here"), 7);
        assert_ne!(Namespace::Own.number(), 0);
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("file");
        let error = Namespace::Of(file).run(|| ()).expect_err("no namespace");
        assert!(error.to_string().contains("no network namespace") || error.is_rights(), "{error}");
    }
}

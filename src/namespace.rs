//! The network namespace of the kernel's IPVS table.
//!
//! A socket is of the namespace in which it was made, and stays so: only its making goes there, on a thread of
//! its own, so that no other thread ever changes its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use lbd_grammar::config::IpvsNamespace;
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps its namespaces.
const NAMED: &str = "/run/netns";

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
    #[error("net_namespace_ipvs: there is no network namespace {}: `ip netns add {}` makes it", .0.display(), name(.0))]
    Missing(PathBuf),
    /// It is, and cannot be opened or entered.
    #[error("net_namespace_ipvs {}: {source}{}", .path.display(), remedy(source))]
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
}

impl Namespace {
    /// The namespace that net_namespace_ipvs names.
    pub fn of(configured: Option<&IpvsNamespace>) -> Self {
        match configured {
            None => Namespace::Own,
            Some(IpvsNamespace::Initial) => Namespace::Of("/proc/1/ns/net".into()),
            Some(IpvsNamespace::Named(name)) => Namespace::Of(PathBuf::from(NAMED).join(name)),
        }
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
        let Namespace::Of(path) = self else { return Ok(job()) };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => NamespaceError::Missing(path.clone()),
            _ => NamespaceError::Io { path: path.clone(), source },
        };
        let file = File::open(path).map_err(failed)?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                Ok(job())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed)
        })
    }
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
        assert!(!missing.is_rights());
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

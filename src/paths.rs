//! Where lbd has its files when no flag says so: one folder for each network namespace and instance name, so
//! that several run beside each other, and lbctl finds each by the same names.
//!
//! Here: names to paths, and the removal of folders that are empty. Not here: the files themselves ([`crate::pid_file`], [`crate::control`],
//! [`crate::state_file`]).

use std::fs;
use std::path::{Path, PathBuf};

use crate::options::Options;

/// The folder of the only lbd of a host.
pub const DIRECTORY: &str = "/run/lbd";

/// What tells the lbds of a host apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// net_namespace or `-s`: the name of a file.
    pub namespace: Option<String>,
    /// instance: the name of a file.
    pub instance: Option<String>,
}

impl Identity {
    /// `/run/lbd`, `/run/lbd/instance-I`, `/run/lbd/netns-N`, `/run/lbd/netns-N/instance-I`.
    pub fn directory(&self) -> PathBuf {
        let namespace = self.namespace.iter().map(|name| format!("netns-{name}"));
        let instance = self.instance.iter().map(|name| format!("instance-{name}"));
        namespace.chain(instance).fold(PathBuf::from(DIRECTORY), |path, name| path.join(name))
    }

    /// Where lbctl finds it.
    pub fn control_socket(&self) -> PathBuf {
        self.directory().join("control.sock")
    }
}

/// The folders of an lbd with a name. What of them is empty when this is dropped is removed: a host of which
/// namespaces come and go would fill with them.
#[derive(Debug)]
pub struct Folders(PathBuf);

impl Folders {
    /// To be dropped after all that is in them.
    pub fn of(identity: &Identity) -> Self {
        Folders(identity.directory())
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        remove_empty(&self.0, Path::new(DIRECTORY));
    }
}

/// Removes empty folders from `innermost` up to `all`, which stays.
fn remove_empty(innermost: &Path, all: &Path) {
    for folder in innermost.ancestors().take_while(|folder| *folder != all && folder.starts_with(all)) {
        // Another lbd is in it, or it was never made.
        if fs::remove_dir(folder).is_err() && folder.exists() {
            return;
        }
    }
}

/// The files of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Its process id.
    pub pid_file: PathBuf,
    /// Where lbctl finds it.
    pub control_socket: PathBuf,
    /// What survives the process ([`crate::state_file`]).
    pub state_file: PathBuf,
}

impl Paths {
    /// What the flags say, else what the names do.
    pub fn of(options: &Options, identity: &Identity) -> Self {
        let directory = identity.directory();
        let given = |path: &Option<PathBuf>, name| path.clone().unwrap_or_else(|| directory.join(name));
        Paths {
            pid_file: given(&options.pid_file, "lbd.pid"),
            control_socket: given(&options.control_socket, "control.sock"),
            state_file: given(&options.state_file, "state"),
        }
    }

    /// reload_file without a path: the pid file's name with another ending.
    pub fn reload_file(&self) -> PathBuf {
        self.pid_file.with_extension("reload")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Request, parse};

    fn paths(line: &str, namespace: Option<&str>, instance: Option<&str>) -> Paths {
        let line = std::iter::once("lbd").chain(line.split_whitespace());
        let Ok(Request::Run(options)) = parse(line) else { panic!("a line that runs") };
        let own = |name: Option<&str>| name.map(str::to_owned);
        Paths::of(&options, &Identity { namespace: own(namespace), instance: own(instance) })
    }

    #[test]
    fn each_namespace_and_instance_has_its_own() {
        for (name, namespace, instance, directory) in [
            ("the only one", None, None, "/run/lbd"),
            ("an instance", None, Some("lb1"), "/run/lbd/instance-lb1"),
            ("a namespace", Some("blue"), None, "/run/lbd/netns-blue"),
            ("a namespace of an instance's name", Some("lb1"), None, "/run/lbd/netns-lb1"),
            ("both", Some("blue"), Some("lb1"), "/run/lbd/netns-blue/instance-lb1"),
            ("a name with the other's prefix", None, Some("netns-x"), "/run/lbd/instance-netns-x"),
        ] {
            let found = paths("", namespace, instance);
            let at = |file: &str| Path::new(directory).join(file);
            assert_eq!(found.pid_file, at("lbd.pid"), "{name}");
            assert_eq!(found.control_socket, at("control.sock"), "{name}");
            assert_eq!(found.state_file, at("state"), "{name}");
            assert_eq!(found.reload_file(), at("lbd.reload"), "{name}");
        }
    }

    #[test]
    fn folders_go_when_they_are_empty() {
        let all = tempfile::tempdir().expect("directory");
        let (namespace, instance) = (all.path().join("netns-n"), all.path().join("netns-n/instance-i"));
        let make = || fs::create_dir_all(&instance).expect("folders");
        for (name, file, want) in [
            ("empty", None, (false, false)),
            ("another's of the namespace", Some("netns-n/lbd.pid"), (true, false)),
            ("its own is not empty", Some("netns-n/instance-i/state"), (true, true)),
        ] {
            make();
            if let Some(file) = file {
                fs::write(all.path().join(file), "").expect("file");
            }
            remove_empty(&instance, all.path());
            assert_eq!((namespace.exists(), instance.exists()), want, "{name}");
            if let Some(file) = file {
                fs::remove_file(all.path().join(file)).expect("file");
            }
        }
        // The inner one was never made, where flags name other files.
        fs::remove_dir(&instance).expect("it is empty");
        remove_empty(&instance, all.path());
        assert!(!namespace.exists() && all.path().exists());
        remove_empty(all.path(), all.path());
        remove_empty(Path::new("/elsewhere"), all.path());
        assert!(all.path().exists());
    }

    #[test]
    fn a_flag_counts_more() {
        let found = paths("-p /x/a.b --state-file /y", Some("blue"), Some("lb1"));
        assert_eq!(
            (found.pid_file.as_path(), found.state_file.as_path()),
            (Path::new("/x/a.b"), Path::new("/y"))
        );
        assert_eq!(found.control_socket, Path::new("/run/lbd/netns-blue/instance-lb1/control.sock"));
        assert_eq!(found.reload_file(), Path::new("/x/a.reload"));
    }
}

//! Where lbd has its files when no flag says so: one folder for each network namespace and instance name, so
//! that several run beside each other, and lbctl finds each by the same names.
//!
//! Here: names to paths. Not here: the files themselves ([`crate::pid_file`], [`crate::control`],
//! [`crate::state_file`]).

use std::path::PathBuf;

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
    use std::path::Path;

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

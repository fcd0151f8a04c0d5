//! Which kernel a scenario runs on: the host's when it can, user-mode-linux when that can, else none and a counted skip.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};

use crate::uml::Uml;

/// What a scenario needs of its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Network namespaces, veth, bridges: any kernel, as root.
    Netns,
    /// IPVS as well.
    Ipvs,
    /// A kernel **without** IPVS, as root.
    NoIpvs,
}

/// Where to run.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// This machine's own.
    Host,
    /// user-mode-linux.
    Uml(Uml),
}

impl Kernel {
    /// Chooses; `LBD_BED_KERNEL` (`host`, `uml`) decides when it is set.
    ///
    /// # Errors
    /// The reason for a skip.
    pub fn pick(need: Need) -> Result<Self, String> {
        match std::env::var("LBD_BED_KERNEL").as_deref() {
            Ok("host") => return Ok(Self::Host),
            Ok("uml") if need != Need::NoIpvs => return Uml::find().map(Self::Uml),
            _ => {}
        }
        match need {
            Need::Netns if host_has_namespaces() => Ok(Self::Host),
            Need::Ipvs if host_has_namespaces() && host_has_ipvs() => Ok(Self::Host),
            Need::Netns | Need::Ipvs => Uml::find().map(Self::Uml),
            Need::NoIpvs if !host_has_namespaces() => Err("needs root for network namespaces".to_owned()),
            Need::NoIpvs if host_has_ipvs() => {
                Err("this kernel has IPVS; the test is about one without".to_owned())
            }
            Need::NoIpvs => Ok(Self::Host),
        }
    }
}

fn host_has_namespaces() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let unshared =
            std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_ok());
        nix::unistd::geteuid().is_root() && unshared.join().unwrap_or(false)
    })
}

fn host_has_ipvs() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let modprobe = |modules: &[&str]| {
            Command::new("modprobe")
                .args(["-a", "-q"])
                .args(modules)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        if !Path::new("/proc/net/ip_vs").exists() && !modprobe(&["ip_vs"]) {
            return false;
        }
        // What is built in makes modprobe fail: only the result counts.
        let _ = modprobe(&["ip_vs_rr", "ip_vs_wlc", "ipip", "veth", "bridge"]);
        Path::new("/proc/net/ip_vs").exists()
    })
}

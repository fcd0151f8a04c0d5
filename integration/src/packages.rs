//! Debian packages that the tests and the demo need: the one list, and how what is missing gets installed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// A package and a file by which its presence is seen, whoever put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Debian's name.
    pub name: &'static str,
    /// Files of which one is enough.
    pub files: &'static [&'static str],
    /// What it is for.
    pub purpose: &'static str,
}

/// Everything that any test or the demo uses.
pub const ALL: &[Package] = &[
    Package {
        name: "user-mode-linux",
        files: &["/usr/bin/linux.uml"],
        purpose: "a kernel with IPVS that runs as a process",
    },
    Package {
        name: "iproute2",
        files: &["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"],
        purpose: "links and addresses of the test networks",
    },
    Package {
        name: "kmod",
        files: &["/usr/sbin/modprobe", "/sbin/modprobe"],
        purpose: "loading ip_vs on this host or in user-mode-linux",
    },
    Package {
        name: "iptables",
        files: &["/usr/sbin/iptables-legacy"],
        purpose: "firewall marks in user-mode-linux",
    },
    Package {
        name: "nftables",
        files: &["/usr/sbin/nft", "/sbin/nft"],
        purpose: "the packet filter of no_accept and use_vmac",
    },
    Package {
        name: "ipvsadm",
        files: &["/usr/sbin/ipvsadm", "/sbin/ipvsadm"],
        purpose: "a second opinion on the IPVS table",
    },
    Package {
        name: "keepalived",
        files: &["/usr/sbin/keepalived"],
        purpose: "the program that lbd replaces, to compare with",
    },
    Package { name: "psmisc", files: &["/usr/bin/killall"], purpose: "scripts of the tested configurations" },
    Package { name: "procps", files: &["/usr/bin/pgrep"], purpose: "scripts of the tested configurations" },
    Package {
        name: "tshark",
        files: &["/usr/bin/tshark"],
        purpose: "a second opinion on the octets of VRRP",
    },
    Package {
        name: "debootstrap",
        files: &["/usr/sbin/debootstrap"],
        purpose: "the base image of the container test",
    },
];

/// What only `cargo bench-vrrp load` uses.
pub const STRESS_NG: Package = Package {
    name: "stress-ng",
    files: &["/usr/bin/stress-ng"],
    purpose: "busy processors while adverts are measured",
};

impl Package {
    /// Whether one of its files is there.
    pub fn is_there(&self) -> bool {
        self.files.iter().any(|file| Path::new(file).exists())
    }
}

/// Those of `wanted` that are not there.
pub fn missing(wanted: &[Package]) -> Vec<Package> {
    wanted.iter().filter(|package| !package.is_there()).copied().collect()
}

/// Installs what is missing with apt-get and gives what it installed; nothing missing, nothing run.
///
/// # Errors
/// Without root, where there is no apt-get, and when it fails; the message names the packages and the command.
pub fn ensure(wanted: &[Package]) -> Result<Vec<Package>> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(missing);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let remedy = format!("apt-get install {}", names.join(" "));
    if !geteuid().is_root() {
        bail!("not root, so nothing was installed; as root: {remedy}");
    }
    apt(&["update", "-q"]).with_context(|| remedy.clone())?;
    let mut install = vec!["install", "-q", "-y", "--no-install-recommends"];
    install.extend(&names);
    apt(&install).with_context(|| remedy.clone())?;
    if let Some(still) = missing.iter().find(|package| !package.is_there()) {
        bail!("{remedy}: done, but none of {:?} is there", still.files);
    }
    Ok(missing)
}

fn apt(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("apt-get: is this Debian?")?;
    if !status.success() {
        bail!("apt-get {}: {status}", args.join(" "));
    }
    Ok(())
}

//! Settings below /proc/sys/net that virtual routers need, with what was there before.
//!
//! Here: which, and setting them back. Not here: when.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Settings that were changed, by their path below /proc/sys, with their values before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub before: BTreeMap<String, String>,
}

impl Settings {
    /// Sets `key` unless it is so, and keeps what it was, if that is to be set back at the end.
    ///
    /// # Errors
    /// What the system says; in a container /proc/sys may be read-only.
    pub fn set(&mut self, key: &str, value: &str, set_back: bool) -> io::Result<()> {
        let path = place(key);
        let now = read(&path)?;
        if now == value {
            return Ok(());
        }
        fs::write(&path, value)?;
        if set_back {
            self.before.entry(key.to_owned()).or_insert(now);
        }
        Ok(())
    }

    /// Sets everything back; what is gone with its interface is no matter. The first error, after all were tried.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_back(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for (key, value) in std::mem::take(&mut self.before) {
            match fs::write(place(&key), value) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && result.is_ok() => {
                    result = Err(io::Error::new(error.kind(), format!("{key}: {error}")));
                }
                _ => {}
            }
        }
        result
    }
}

/// The key of an interface's setting; a name may have a dot, which is no separator here.
pub(super) fn of_interface(family: &str, interface: &str, name: &str) -> String {
    format!("net/{family}/conf/{interface}/{name}")
}

/// For a macvlan with a virtual hardware address, which shares its link with its parent: each answers only for
/// its own addresses, and packets from the parent's addresses may come in.
pub(super) const MACVLAN: [(&str, &str); 4] =
    [("arp_ignore", "1"), ("accept_local", "1"), ("rp_filter", "0"), ("promote_secondaries", "1")];
/// The same where the virtual router is of IPv6.
pub(super) const MACVLAN_SIX: [(&str, &str); 1] = [("arp_ignore", "1")];
/// For the parent of a macvlan: it neither answers for the virtual addresses nor asks in their name, which would
/// have hosts learn its hardware address for them.
pub(super) const PARENT: [(&str, &str); 3] =
    [("arp_ignore", "1"), ("arp_filter", "1"), ("arp_announce", "2")];

/// The kernel takes the stricter of an interface's and of `all`'s rp_filter, so that no macvlan could be without:
/// moves what `all` says to each interface, and to those that are still to come.
///
/// # Errors
/// What the system says.
pub(super) fn loosen_all_rp_filter(settings: &mut Settings) -> io::Result<()> {
    let all = of_interface("ipv4", "all", "rp_filter");
    let value = read(&place(&all))?;
    if value == "0" {
        return Ok(());
    }
    for entry in fs::read_dir("/proc/sys/net/ipv4/conf")? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name == "all" {
            continue;
        }
        let key = of_interface("ipv4", &name, "rp_filter");
        // 2 is looser than 1, and the kernel takes the larger.
        match read(&place(&key)) {
            Ok(own) if own.as_str() < value.as_str() => settings.set(&key, &value, true)?,
            _ => {}
        }
    }
    settings.set(&all, "0", true)
}

fn read(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn place(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

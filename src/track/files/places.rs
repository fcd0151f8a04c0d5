//! Where a path leads: each entry of a directory that can change which file it names.
//!
//! keepalived resolves links once, when it reads the configuration. Here they are followed at each
//! change, so that a file in a directory that is replaced as a whole (by a link to it) is noticed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub directory: PathBuf,
    pub name: OsString,
}

/// Most links on one way, as in the kernel.
const MOST_LINKS: usize = 40;
/// Most entries on one way.
const MOST_PLACES: usize = 256;

/// The entries on the way to an absolute path, as far as they exist and one more.
pub(super) fn places(path: &Path) -> Vec<Place> {
    let mut left: VecDeque<OsString> = names(path).collect();
    let mut at = PathBuf::from("/");
    let mut found = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        if found.len() >= MOST_PLACES {
            break;
        }
        let here = at.join(&name);
        found.push(Place { directory: at.clone(), name });
        match here.symlink_metadata() {
            Err(_) => break,
            Ok(entry) if entry.is_symlink() => {
                links += 1;
                let Ok(target) = here.read_link() else { break };
                if links > MOST_LINKS {
                    break;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(name);
                }
            }
            Ok(_) => at = here,
        }
    }
    found
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

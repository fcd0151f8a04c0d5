//! How many descriptors lbd may have open: a check under way has one, and a director may have tens of
//! thousands of checks that hang.
//!
//! Here: raising the limit for this process, and what it was before, which programs that lbd runs get
//! back. Not here: setting it for them (`script::exec_helper`).

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

static INHERITED: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of descriptors (`RLIMIT_NOFILE`) to the hard one.
pub fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let _called_once = INHERITED.set(soft);
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    });
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is (RLIMIT_NOFILE)");
    }
}

/// The soft limit of descriptors before [`raise_descriptors`]; `None` if that was not called.
pub fn inherited_descriptors() -> Option<u64> {
    INHERITED.get().copied()
}

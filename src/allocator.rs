//! glibc's allocator, set up for this daemon.
//!
//! By default each thread gets an arena of its own, up to eight for each processor, that grows page by
//! page with a system call each: 2,300 calls at the start of 10,000 real servers on one processor, and what
//! the thread that read the configuration gave back serves few others. Here there are as many arenas as
//! processors, at most eight: a large configuration is read on all of them at once, and one lock for all
//! would cost what that gains. The first arena grows in steps; on one processor it is the only one.

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "mallopt and malloc_trim have no safe form")]
mod glibc {
    /// The heap grows by this much at a time, in octets.
    const STEP: libc::c_int = 1 << 20;

    /// This much that is free stays with the process: the next step of the start needs it again.
    const KEEP: libc::c_int = 16 << 20;
    /// Pieces from this size on get a mapping of their own, which is given back at once.
    const LARGE: libc::c_int = 4 << 20;

    /// Most arenas: as many as processors that read a configuration.
    const MOST: usize = 8;

    pub(super) fn configure() {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let arenas = libc::c_int::try_from(processors.min(MOST)).unwrap_or(1);
        // SAFETY: mallopt takes two numbers, may be called at any time, and is called before any other
        // thread exists; a value it refuses changes nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
            libc::mallopt(libc::M_TOP_PAD, STEP);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }

    pub(super) fn trim() {
        // SAFETY: malloc_trim gives back pages that nobody has; it locks one arena after the other and may be called
        // on any thread at any time.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// To be called first thing in `main`.
pub fn configure() {
    #[cfg(target_env = "gnu")]
    glibc::configure();
}

/// Gives free memory back to the system: after a configuration was read and an older one dropped. Takes up to tens
/// of milliseconds, in which other threads may wait for memory a moment: not on one that must not wait.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    glibc::trim();
}

//! init_file: a file with a number is written at start.
//!
//! Here: writing it, once, before it is read. Not here: reload and the configuration's test, which
//! write nothing, as with keepalived.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use lbd_grammar::config::{InitFile, TrackFile};
use tracing::{info, warn};

/// Writes each file that says init_file: if there is none, or with `overwrite` in any case. Blocks.
pub fn initialize<'f>(files: impl IntoIterator<Item = &'f TrackFile>) {
    for file in files {
        let Some(init) = file.init else { continue };
        match write(Path::new(&file.path), init) {
            Ok(()) => info!("track_file {}: initialised with {}", file.path, init.value),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !init.overwrite => {}
            Err(error) => warn!("track_file {}: init_file could not be written: {error}", file.path),
        }
    }
}

/// With keepalived's mode. Links are not followed: in a directory of many users one could lead anywhere.
fn write(path: &Path, init: InitFile) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut file = match init.overwrite {
        true => options.create(true).truncate(false).open(path),
        false => options.create_new(true).open(path),
    }?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    file.set_len(0)?;
    writeln!(file, "{}", init.value)
}

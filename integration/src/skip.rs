//! Skips: a test that cannot run here says so, in one line and in a counted log, and never looks like a pass unseen.

use std::fs::OpenOptions;
use std::io::Write;

/// Reports that `test` did not run, and why: one line on both outputs, and one in the file named by `LBD_SKIP_LOG`.
pub fn report(test: &str, reason: &str) {
    let line = format!("SKIP {test}: {reason}");
    // Past the test harness's capture: a skip is to be seen without --nocapture.
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = writeln!(std::io::stderr(), "{line}");
    if let Some(path) = std::env::var_os("LBD_SKIP_LOG") {
        let log = OpenOptions::new().create(true).append(true).open(path);
        if let Ok(mut log) = log {
            let _ = writeln!(log, "{line}");
        }
    }
}

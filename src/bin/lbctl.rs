//! `lbctl`: shows and steers a running lbd. Streams and exit status; the rest is in `lbd::lbctl`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use lbd::lbctl::{self, Look};

fn main() -> ExitCode {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _unwritable = writeln!(io::stderr(), "lbctl: the system gives no event queue: {error}");
            return ExitCode::from(lbctl::EXIT_FAILED);
        }
    };
    let outcome = runtime.block_on(lbctl::run(std::env::args_os(), Look { colour, now: SystemTime::now() }));
    // A reader that has gone (`| head`) is no failure.
    // Octets of a configuration that are no UTF-8 come out as they went in.
    let _gone =
        io::stdout().write_all(&lbd_grammar::octets(&outcome.out)).and_then(|()| io::stdout().flush());
    let _gone = io::stderr().write_all(outcome.err.as_bytes());
    ExitCode::from(outcome.status)
}

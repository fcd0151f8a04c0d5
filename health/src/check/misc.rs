//! MISC_CHECK: what a program's end says about the server.
//!
//! Here: exit statuses to outcomes. Not here: starting and ending programs (the caller's [`Programs`]).

use crate::connect::seconds;
use crate::runner::Programs;
use crate::state::{Contribution, Outcome};
use crate::types::{MiscCheck, ScriptError, ScriptOutcome};

/// Runs the program within its time limit.
pub async fn run(misc: &MiscCheck, programs: &dyn Programs) -> Outcome {
    judge(misc.dynamic, programs.run(&misc.script, misc.timeout).await)
}

/// Exit 0 is good, 1 is bad, 2..=255 is bad or, with misc_dynamic, good with the weight status - 2.
pub fn judge(dynamic: bool, outcome: ScriptOutcome) -> Outcome {
    match outcome {
        ScriptOutcome::Exited(0) => Outcome::good("exit status 0"),
        ScriptOutcome::Exited(status @ 2..) if dynamic => {
            let weight = status - 2;
            Outcome::good(format!("exit status {status}, weight {weight}"))
                .contributing(Contribution::Weight(u32::from(weight)))
        }
        ScriptOutcome::Exited(status) => Outcome::bad(format!("exit status {status}")),
        ScriptOutcome::Signalled(signal) => Outcome::bad(format!("killed by signal {signal}")),
        ScriptOutcome::TimedOut(limit) => Outcome::bad(format!("timed out after {}", seconds(limit))),
        ScriptOutcome::NotStarted(ScriptError::NotExecutable) => {
            Outcome::bad("not run: the program is not there or not executable for its user")
        }
        ScriptOutcome::NotStarted(ScriptError::Insecure) => {
            Outcome::bad("not run: refused by enable_script_security")
        }
        // Like a socket that cannot be made: this host's problem.
        ScriptOutcome::NotStarted(ScriptError::Resources) => {
            Outcome::unknown("not run: this host has no processes or memory left")
        }
    }
}

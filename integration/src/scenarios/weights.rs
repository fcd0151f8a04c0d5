//! MISC_CHECK with misc_dynamic: the weight in the kernel follows the exit status.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::director::Daemon;
use crate::fifo::executable;
use crate::step;

pub fn misc_dynamic(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(2)?;
    let dir = tempfile::Builder::new().prefix("lbd-weights-").tempdir()?;
    let status = dir.path().join("status");
    let tell = |code: u8| -> Result<()> {
        fs::write(dir.path().join("new"), format!("{code}\n"))?;
        Ok(fs::rename(dir.path().join("new"), &status)?)
    };
    tell(0)?;
    let script = executable(dir.path(), "weigh", &format!("read code <{}; exit $code", status.display()))?;
    let check = format!(
        "MISC_CHECK {{\n      misc_path {}\n      misc_timeout 2\n      misc_dynamic\n    }}",
        script.display()
    );
    let (dest, other, key) = ("10.1.0.21:80", "10.1.0.22:80", format!("TCP {VIP}:80"));
    let servers =
        behind::real_server(dest, &check).replace("weight 1", "weight 10") + &behind::real_server(other, "");
    let config = format!(
        "global_defs {{\n  script_user root\n  enable_script_security\n}}\n{}",
        behind::virtual_server(&format!("{VIP} 80"), "TCP", &servers)
    );
    let ns = lab.host("a");
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    behind::expect_weight(ns, &key, dest, Some(10), behind::START)?;
    crate::wait::pause(Duration::from_millis(1500));
    let limit = behind::found_out(ctx, Duration::from_secs(1));
    // 2..255 is a weight of two less, 0 the configured one, 1 a failure.
    for (code, want) in [
        (6, Some(4)),
        (255, Some(253)),
        (2, Some(0)),
        (12, Some(10)),
        (0, Some(10)),
        (1, None),
        (7, Some(5)),
        (0, Some(10)),
    ] {
        tell(code)?;
        behind::expect_weight(ns, &key, dest, want, limit)?;
        behind::expect_weight(ns, &key, other, Some(1), limit)?;
        if ctx.daemon == Daemon::Lbd {
            let state = if want.is_some() { "up" } else { "down" };
            let reason =
                behind::expect_check(&director, &key, dest, (state, &format!("exit status {code}")), limit)?;
            let status = director.status()?;
            let effective = &behind::server(&status, &key, dest)?["effective_weight"];
            ensure!(
                want.is_none_or(|want| *effective == want),
                "effective weight {effective}, want {want:?}"
            );
            step!("exit {code}: {reason}, weight {want:?}");
        }
    }
    director.stop()?;
    Ok(())
}

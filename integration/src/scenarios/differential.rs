//! The files of `integration/differential`: those about checkers divided among guests, those about VRRP on the host.

use anyhow::{Result, bail};

use super::{Ctx, Skip};
use crate::differential::file::{File, Subject};
use crate::differential::{self, Bed};
use crate::director::Daemon;

pub fn even(ctx: &Ctx) -> Result<()> {
    group(ctx, 0)
}

pub fn odd(ctx: &Ctx) -> Result<()> {
    group(ctx, 1)
}

fn group(ctx: &Ctx, number: usize) -> Result<()> {
    if let Err(reason) = differential::programs(Subject::Checkers) {
        bail!(Skip(reason));
    }
    compare(ctx, ctx.daemon, &differential::group(number)?)
}

/// Intervals are less than a fifth of a second: too short for user-mode-linux.
pub fn vrrp(ctx: &Ctx) -> Result<()> {
    if ctx.guest {
        bail!(Skip("needs the host's own kernel: its times are too short for user-mode-linux".to_owned()));
    }
    if let Err(reason) = differential::programs(Subject::Vrrp) {
        bail!(Skip(reason));
    }
    compare(ctx, ctx.daemon, &differential::vrrp()?)
}

/// keepalived and another; with keepalived for both, what fails is the bed's own.
fn compare(ctx: &Ctx, daemon: Daemon, files: &[File]) -> Result<()> {
    let bed =
        Bed { guest: ctx.guest, fake_ipvs: None, daemons: vec![Daemon::Keepalived, daemon], show: false };
    differential::run(&bed, files)
}

//! The files of `integration/differential`, divided among guests.

use anyhow::{Result, bail};

use super::{Ctx, Skip};
use crate::differential::{self, Bed};
use crate::director::Daemon;

pub fn even(ctx: &Ctx) -> Result<()> {
    group(ctx, 0)
}

pub fn odd(ctx: &Ctx) -> Result<()> {
    group(ctx, 1)
}

fn group(ctx: &Ctx, number: usize) -> Result<()> {
    if let Err(reason) = differential::programs() {
        bail!(Skip(reason));
    }
    let bed = Bed {
        guest: ctx.guest,
        fake_ipvs: None,
        // With keepalived for both, what fails is the bed's own.
        daemons: vec![Daemon::Keepalived, ctx.daemon],
        show: false,
    };
    differential::run(&bed, &differential::group(number)?)
}

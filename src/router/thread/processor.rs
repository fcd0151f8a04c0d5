//! How soon the thread gets the processor, and what is told of its being late.

use std::ffi::CString;
use std::time::Instant;

use super::{Driver, NAME};
use crate::router::ThreadWishes;

impl Driver {
    pub(super) fn schedule(&mut self) {
        for complaint in self.scheduled.apply(&self.wishes) {
            tracing::warn!("{complaint}");
        }
    }

    pub(super) fn take_wishes(&mut self, wishes: ThreadWishes) {
        let ThreadWishes { name, automatic, receive_buffer } = wishes;
        if let Err(error) = self.sockets.receive_buffer(receive_buffer) {
            tracing::warn!(%error, "vrrp_rx_bufs_policy, kernel_rx_buf_size: the receive buffer stays as it is");
        }
        // What was taken by itself is given back.
        if std::mem::replace(&mut self.automatic, automatic) != automatic {
            self.schedule();
        }
        if let Ok(name) = CString::new(name.as_deref().unwrap_or(NAME)) {
            let _kept = nix::sys::prctl::set_name(&name);
        }
    }

    /// max_auto_priority: who is late gets the processor sooner.
    pub(super) fn mind_lateness(&mut self, due: Instant) {
        let late = self.clock.now().saturating_duration_since(due);
        if late <= self.automatic.delay {
            return;
        }
        let late_us = late.as_micros();
        match self.automatic.most {
            Some(most) => match self.scheduled.raise(&self.wishes, most) {
                Some(Ok(done)) => tracing::info!(late_us, "a timer of VRRP was late: it has {done} now"),
                Some(Err(complaint)) => tracing::warn!(late_us, "a timer of VRRP was late: {complaint}"),
                None => {}
            },
            None if std::mem::take(&mut self.automatic.told) => tracing::info!(
                late_us,
                "a timer of VRRP was late; vrrp_rt_priority or max_auto_priority would give it the processor sooner \
                 (said once; max_auto_priority -1: never)"
            ),
            None => {}
        }
    }
}

//! Signals of keepalived's users, and what they ask for (reference: keepalived(8)).
//!
//! All of them are caught: the default action of those that are not served yet would end the daemon.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub enum Command {
    /// An orderly stop.
    Stop,
    /// Read the configuration again.
    Reload,
    /// VRRP ran in real time for longer than it may.
    RealTimeExceeded,
    /// Something of keepalived's that is not served yet.
    Unserved(&'static str),
}

/// The signals, caught.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
    json: Signal,
    templates: Signal,
    clear: Signal,
    exceeded: Signal,
}

impl Signals {
    /// Catches them, on the current runtime.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            json: signal(SignalKind::from_raw(libc::SIGRTMIN() + 2))?,
            templates: signal(SignalKind::from_raw(libc::SIGRTMIN() + 3))?,
            clear: signal(SignalKind::from_raw(libc::SIGRTMAX() - 1))?,
            exceeded: signal(SignalKind::from_raw(libc::SIGXCPU))?,
        })
    }

    /// Ends when the daemon is to stop; other signals stay for [`Signals::next`].
    pub async fn stop(&mut self, ignore_interrupt: bool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => if !ignore_interrupt { return },
            }
        }
    }

    /// The next of any.
    pub async fn next(&mut self, ignore_interrupt: bool) -> Command {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return Command::Reload,
                _ = self.terminate.recv() => return Command::Stop,
                _ = self.interrupt.recv() => if !ignore_interrupt { return Command::Stop },
                _ = self.exceeded.recv() => return Command::RealTimeExceeded,
                _ = self.user1.recv() => return Command::Unserved("SIGUSR1 (data dump)"),
                _ = self.user2.recv() => return Command::Unserved("SIGUSR2 (statistics)"),
                _ = self.json.recv() => return Command::Unserved("SIGRTMIN+2 (JSON dump)"),
                _ = self.templates.recv() => return Command::Unserved("SIGRTMIN+3 (thread dump)"),
                _ = self.clear.recv() => return Command::Unserved("SIGRTMAX-1 (statistics and clear)"),
            }
        }
    }
}

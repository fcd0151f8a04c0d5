//! The log of a test.

use std::io;
use std::sync::{Arc, Mutex};

/// What is logged while the test's own thread runs.
#[derive(Clone)]
pub struct Log {
    octets: Arc<Mutex<Vec<u8>>>,
    about: &'static str,
}

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.octets.lock().expect("no panic").extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Of lines with these words, until the guard is dropped.
    pub fn start(about: &'static str) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Log { octets: Arc::default(), about };
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.octets.lock().expect("no panic")).into_owned();
        text.lines().filter(|line| line.contains(self.about)).map(str::to_owned).collect()
    }
}

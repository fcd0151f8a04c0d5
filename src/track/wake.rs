//! A thread that polls is woken up, and ends with who wakes it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Wakes a thread up; its end is the thread's.
#[derive(Debug)]
pub(super) struct Wake(UnixStream);

/// The thread's side.
#[derive(Debug)]
pub(super) struct Woken(UnixStream);

impl Wake {
    /// Both sides, neither of which waits.
    pub fn pair() -> io::Result<(Wake, Woken)> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        Ok((Wake(wake), Woken(woken)))
    }

    pub fn wake(&mut self) {
        // A full socket wakes it up as well.
        let _full = self.0.write(&[0]);
    }
}

impl Woken {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes the bytes that woke the thread up; whether the other side is gone.
    pub fn is_over(&self) -> bool {
        let (mut socket, mut bytes) = (&self.0, [0; 64]);
        loop {
            match socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

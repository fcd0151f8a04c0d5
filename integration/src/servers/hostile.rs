//! Servers that no client deserves: each is one of the ways in which a real server is broken or means ill.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use super::stream::Behaviour;
use super::talk::drain;
use crate::wait;

/// Accepts, reads, never says a word.
pub fn hangs() -> Behaviour {
    Behaviour::new(|mut stream| drain(&mut stream))
}

/// Ends each connection with a reset.
pub fn resets() -> Behaviour {
    Behaviour::new(|stream| SockRef::from(&stream).set_linger(Some(Duration::ZERO)))
}

/// Waits for a request, then says `octets` with `pause` after each one, again and again.
pub fn trickles(octets: impl Into<Vec<u8>>, pause: Duration) -> Behaviour {
    let octets = octets.into();
    Behaviour::new(move |mut stream| {
        let _request = stream.read(&mut [0; 4096])?;
        for octet in octets.iter().cycle() {
            stream.write_all(std::slice::from_ref(octet))?;
            wait::pause(pause);
        }
        Ok(())
    })
}

/// Waits for a request, says `start`, then `more` without an end, with `pause` after each.
pub fn floods(start: impl Into<Vec<u8>>, more: impl Into<Vec<u8>>, pause: Duration) -> Behaviour {
    let (start, more) = (start.into(), more.into());
    Behaviour::new(move |mut stream| {
        let _request = stream.read(&mut [0; 4096])?;
        stream.write_all(&start)?;
        loop {
            stream.write_all(&more)?;
            wait::pause(pause);
        }
    })
}

/// Greets at once with `octets` without an end: for protocols in which the server speaks first.
pub fn greets_for_ever(octets: impl Into<Vec<u8>>) -> Behaviour {
    let octets = octets.into();
    Behaviour::new(move |mut stream| {
        loop {
            stream.write_all(&octets)?;
        }
    })
}

/// Waits for a request, says `octets` and closes.
pub fn answers_with(octets: impl Into<Vec<u8>>) -> Behaviour {
    let octets = octets.into();
    Behaviour::new(move |mut stream| {
        let _request = stream.read(&mut [0; 4096])?;
        stream.write_all(&octets)
    })
}

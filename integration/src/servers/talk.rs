//! Servers of protocols of lines: one that says something, one that answers what it is asked, a mail server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::stream::Behaviour;

/// Longest line that is taken.
const MAX_LINE: u64 = 4096;

/// Says `octets`, then closes: what an agent of HAProxy's agent check does.
pub fn says(octets: impl Into<Vec<u8>>) -> Behaviour {
    let octets = octets.into();
    Behaviour::new(move |mut stream| stream.write_all(&octets))
}

/// Says `octets`, then reads on until the client closes.
pub fn says_and_stays(octets: impl Into<Vec<u8>>) -> Behaviour {
    let octets = octets.into();
    Behaviour::new(move |mut stream| {
        stream.write_all(&octets)?;
        drain(&mut stream)
    })
}

/// Answers the line `question` with `answer` and every other one with `?`.
pub fn answers(question: &'static str, answer: impl Into<Vec<u8>>) -> Behaviour {
    let answer = answer.into();
    Behaviour::new(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone()?);
        while let Some(line) = line(&mut lines)? {
            stream.write_all(if line == question { &answer } else { b"?\r\n" })?;
        }
        Ok(())
    })
}

/// A mail server that greets with `banner` and answers HELO and EHLO with `helo` (both without their line end).
pub fn smtp(banner: &'static str, helo: &'static str) -> Behaviour {
    Behaviour::new(move |mut stream| {
        write!(stream, "{banner}\r\n")?;
        let mut lines = BufReader::new(stream.try_clone()?);
        while let Some(line) = line(&mut lines)? {
            match line.split_whitespace().next() {
                Some("HELO" | "EHLO") => write!(stream, "{helo}\r\n")?,
                Some("QUIT") => return stream.write_all(b"221 bye\r\n"),
                _ => stream.write_all(b"502 what?\r\n")?,
            }
        }
        Ok(())
    })
}

/// The next line without its end; `None` where the client closed.
pub(super) fn line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut octets = Vec::new();
    reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut octets)?;
    Ok((!octets.is_empty())
        .then(|| String::from_utf8_lossy(&octets).trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads and forgets until the client closes.
pub(super) fn drain(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

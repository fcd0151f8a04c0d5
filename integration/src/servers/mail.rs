//! A mail server that keeps what it is given, and can refuse for a while.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::stream::{Behaviour, Stream};
use super::talk::line;
use crate::netns::Netns;
use crate::wait;

/// A mail as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The name given in HELO or EHLO.
    pub helo: String,
    /// The address in MAIL FROM, without its brackets.
    pub from: String,
    /// The addresses in RCPT TO, without their brackets.
    pub to: Vec<String>,
    /// Lines of the header, each unfolded.
    pub header: Vec<String>,
    /// Lines of the body.
    pub body: Vec<String>,
}

impl Mail {
    /// The value of a header field, empty where there is none.
    pub fn field(&self, name: &str) -> &str {
        self.header
            .iter()
            .filter_map(|line| line.split_once(':'))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    }

    /// Its subject.
    pub fn subject(&self) -> &str {
        self.field("Subject")
    }
}

#[derive(Debug, Default)]
struct Kept {
    mails: Mutex<Vec<Mail>>,
    /// Connections still to be turned away.
    refusals: AtomicU64,
}

/// A mail server on one port of one host.
#[derive(Debug)]
pub struct Mailbox<'lab> {
    stream: Stream<'lab>,
    kept: Arc<Kept>,
}

impl<'lab> Mailbox<'lab> {
    /// Opens `address` in the host's namespace.
    ///
    /// # Errors
    /// When the port is taken or the address is not there.
    pub fn start(ns: &'lab Netns, address: &str) -> Result<Self> {
        let kept = Arc::new(Kept::default());
        let shared = Arc::clone(&kept);
        let stream = Stream::start(ns, address, Behaviour::new(move |stream| receive(stream, &shared)))?;
        Ok(Self { stream, kept })
    }

    /// Turns the next `count` connections away with 421.
    pub fn refuse(&self, count: u64) {
        self.kept.refusals.store(count, Ordering::Relaxed);
    }

    /// Connections it had, the refused ones included.
    pub fn connections(&self) -> u64 {
        self.stream.accepted()
    }

    /// All it was given, in order.
    pub fn mails(&self) -> Vec<Mail> {
        self.kept.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The subjects of all it was given, in order.
    pub fn subjects(&self) -> Vec<String> {
        self.mails().iter().map(|mail| mail.subject().to_owned()).collect()
    }

    /// Waits for a mail with this subject.
    ///
    /// # Errors
    /// When `limit` passes first; the message has the subjects that came.
    pub fn expect(&self, subject: &str, limit: Duration) -> Result<Mail> {
        self.mail(&format!("mail with subject {subject:?}"), limit, |have| have == subject)
    }

    /// Waits for a mail whose subject ends so: after the name of the node.
    ///
    /// # Errors
    /// When `limit` passes first; the message has the subjects that came.
    pub fn ending(&self, end: &str, limit: Duration) -> Result<Mail> {
        self.mail(&format!("mail with a subject that ends with {end:?}"), limit, |have| have.ends_with(end))
    }

    fn mail(&self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<Mail> {
        wait::until_ok(what, limit, || {
            let found = self.mails().into_iter().find(|mail| wanted(mail.subject()));
            found.ok_or_else(|| anyhow!("have {:?}", self.subjects()))
        })
    }
}

fn receive(mut stream: TcpStream, kept: &Kept) -> io::Result<()> {
    let refuse = kept.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    if refuse.is_ok() {
        return stream.write_all(b"421 4.3.2 not now\r\n");
    }
    stream.write_all(b"220 mail.test ESMTP\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut mail = Mail::default();
    while let Some(said) = line(&mut lines)? {
        let upper = said.to_ascii_uppercase();
        let answer: &[u8] = if upper.starts_with("HELO ") || upper.starts_with("EHLO ") {
            mail.helo = said[5..].to_owned();
            b"250 mail.test\r\n"
        } else if upper.starts_with("MAIL FROM:") {
            mail.from = address(&said);
            b"250 2.1.0 ok\r\n"
        } else if upper.starts_with("RCPT TO:") {
            mail.to.push(address(&said));
            b"250 2.1.5 ok\r\n"
        } else if upper == "DATA" {
            stream.write_all(b"354 go on\r\n")?;
            let Some(text) = text(&mut lines)? else { return Ok(()) };
            (mail.header, mail.body) = parts(text);
            let next = Mail { helo: mail.helo.clone(), ..Mail::default() };
            kept.mails
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(std::mem::replace(&mut mail, next));
            b"250 2.0.0 kept\r\n"
        } else if upper == "QUIT" {
            return stream.write_all(b"221 2.0.0 bye\r\n");
        } else if upper == "RSET" || upper == "NOOP" {
            b"250 2.0.0 ok\r\n"
        } else {
            b"502 5.5.1 what?\r\n"
        };
        stream.write_all(answer)?;
    }
    Ok(())
}

/// What stands between the brackets of a command.
fn address(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(line, |(address, _)| address).to_owned()
}

/// Lines up to the single dot, dots doubled by the client made single (RFC 5321 §4.5.2).
fn text(lines: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<String>>> {
    let mut text = Vec::new();
    while let Some(said) = line(lines)? {
        if said == "." {
            return Ok(Some(text));
        }
        text.push(said.strip_prefix('.').map_or(said.clone(), str::to_owned));
    }
    Ok(None)
}

/// Header lines, unfolded (RFC 5322 §2.2.3), and body.
fn parts(text: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mut header: Vec<String> = Vec::new();
    let mut text = text.into_iter();
    for line in text.by_ref().take_while(|line| !line.is_empty()) {
        match header.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(&line),
            _ => header.push(line),
        }
    }
    (header, text.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_taken_apart() {
        let lines = ["Subject: one", " two", "To: a@b.test, c@d.test", "", "first", "", "last"];
        let (header, body) = parts(lines.map(str::to_owned).to_vec());
        let mail = Mail { header, body, ..Mail::default() };
        assert_eq!(mail.subject(), "one two");
        assert_eq!((mail.field("to"), mail.field("cc")), ("a@b.test, c@d.test", ""));
        assert_eq!(mail.body, ["first", "", "last"]);
    }
}

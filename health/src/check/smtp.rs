//! SMTP_CHECK: a mail server greets, takes HELO and answers QUIT (RFC 5321 §3).
//!
//! Here: the conversation and its time limits. Not here: what a line is and what it says (`line`).

pub mod line;
#[cfg(test)]
mod tests;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use self::line::{LineTooLong, Lines, MAX_LINE, is_reply};
use super::shown::shown;
use crate::connect::{connect, seconds, words};
use crate::state::Outcome;
use crate::types::SmtpCheck;

/// The whole conversation may take this many times connect_timeout. keepalived gives each read
/// connect_timeout anew, and so half an hour to a server that sends an octet at a time.
pub const CONVERSATION_TIMEOUTS: u32 = 10;

/// Connects and converses.
pub async fn run(smtp: &SmtpCheck) -> Outcome {
    match connect(&smtp.connection).await {
        Ok(stream) => converse(smtp, stream).await.unwrap_or_else(Outcome::bad),
        Err(error) => error.into(),
    }
}

/// Greeting to QUIT on a connection; the error is the reason.
async fn converse<S>(smtp: &SmtpCheck, stream: S) -> Result<Outcome, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(smtp, stream);
    expect(&talk.hear("greeting").await?, "220")?;
    talk.say(&format!("HELO {}\r\n", smtp.helo)).await?;
    expect(&talk.hear("answer to HELO").await?, "250")?;
    talk.say("QUIT\r\n").await?;
    // Of any code, as keepalived takes it; that there is an answer shows that the server still reads.
    talk.hear("answer to QUIT").await?;
    Ok(Outcome::good("greeted, took HELO, answered QUIT"))
}

fn expect(line: &[u8], code: &str) -> Result<(), String> {
    if is_reply(line, code) { Ok(()) } else { Err(format!("{code} wanted, got \"{}\"", shown(line))) }
}

/// A conversation of lines.
struct Talk<S> {
    stream: S,
    lines: Lines,
    limit: std::time::Duration,
    whole: std::time::Duration,
    end: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(smtp: &SmtpCheck, stream: S) -> Self {
        let limit = smtp.connection.timeout;
        let whole = limit.saturating_mul(CONVERSATION_TIMEOUTS);
        Talk { stream, lines: Lines::default(), limit, whole, end: Instant::now() + whole }
    }

    /// Says a line, when the server has nothing more to say.
    async fn say(&mut self, line: &str) -> Result<(), String> {
        // It does not wait for what it answers, so its next lines would answer nothing.
        if !self.lines.rest().is_empty() {
            return Err(format!("spoke before {}: \"{}\"", line.trim_end(), shown(self.lines.rest())));
        }
        match timeout(self.limit, self.stream.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err(format!("{} not taken after {}", line.trim_end(), seconds(self.limit))),
        }
    }

    /// The next line; `what` it is, for the reason.
    async fn hear(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let mut buffer = [0; MAX_LINE];
        loop {
            match self.lines.take() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(LineTooLong) => return Err(format!("{what} is no line of up to {MAX_LINE} octets")),
            }
            let until = self.end.min(Instant::now() + self.limit);
            let heard = self.lines.rest().len();
            let read = match timeout_at(until, self.stream.read(&mut buffer)).await {
                Ok(Ok(0)) if heard == 0 => return Err(format!("connection closed, no {what}")),
                Ok(Ok(0)) => {
                    return Err(format!("connection closed within the {what}, after {heard} octets"));
                }
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return Err(format!("{}, no {what}", words(&error))),
                Err(_) if Instant::now() >= self.end => {
                    return Err(format!("{what} not complete, {} after the connect", seconds(self.whole)));
                }
                Err(_) if heard == 0 => return Err(format!("no {what} after {}", seconds(self.limit))),
                Err(_) => {
                    let limit = seconds(self.limit);
                    return Err(format!("{what} stopped after {heard} octets, nothing for {limit}"));
                }
            };
            self.lines.feed(buffer.get(..read).unwrap_or_default());
        }
    }
}

//! TCP_CHECK with `send` and `expect`: a dialogue line by line.
//!
//! Here: looking for a text in what arrives ([`Search`], pure), sending and reading within bounds. Not
//! here: the connection.

use std::collections::VecDeque;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::shown::shown;
use crate::connect::{connect, seconds, words};
use crate::state::Outcome;
use crate::types::{DialogueCheck, DialogueStep};

/// Octets that a server may send before an expected text is complete.
pub const MAX_WAIT: usize = 64 * 1024;

/// Connects and goes through the dialogue.
pub async fn run(check: &DialogueCheck) -> Outcome {
    match connect(&check.connection).await {
        Ok(stream) => converse(check, stream).await,
        Err(error) => error.into(),
    }
}

async fn converse(check: &DialogueCheck, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Outcome {
    let mut search = Search::default();
    for step in &check.steps {
        let done = match step {
            DialogueStep::Send(text) => send(check, text, &mut stream).await,
            DialogueStep::Expect(text) => expect(check, text, &mut search, &mut stream).await,
        };
        if let Err(reason) = done {
            return Outcome::bad(reason);
        }
    }
    match check.steps.iter().rfind(|step| matches!(step, DialogueStep::Expect(_))) {
        Some(DialogueStep::Expect(text)) => Outcome::good(format!("got \"{}\"", shown(text))),
        _ => Outcome::good("connected, text sent"),
    }
}

async fn send(
    check: &DialogueCheck,
    text: &[u8],
    stream: &mut (impl AsyncWrite + Unpin),
) -> Result<(), String> {
    let limit = check.connection.timeout;
    match timeout(limit, stream.write_all(text)).await {
        Ok(Ok(())) => Ok(()),
        // A server that answers and closes before it has read: its answer is still to be read.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ok(Err(error)) => Err(format!("sending \"{}\": {}", shown(text), words(&error))),
        Err(_) => Err(format!("\"{}\" not taken after {}", shown(text), seconds(limit))),
    }
}

async fn expect(
    check: &DialogueCheck,
    text: &[u8],
    search: &mut Search,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(), String> {
    let limit = check.connection.timeout;
    let end = Instant::now() + limit;
    let mut buffer = [0; READ_BUFFER];
    // What came with the last text may hold this one too.
    let mut found = search.look_for(text);
    loop {
        match found {
            Found::Yes => return Ok(()),
            Found::TooLong => {
                let size = MAX_WAIT / 1024;
                return Err(format!("no \"{}\" in the first {size} KiB{}", shown(text), search.got()));
            }
            Found::NotYet => {}
        }
        let why = match timeout_at(end, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => "connection closed".to_owned(),
            Ok(Ok(read)) => {
                found = search.feed(text, buffer.get(..read).unwrap_or_default());
                continue;
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("nothing like it for {}", seconds(limit)),
        };
        return Err(format!("no \"{}\": {why}{}", shown(text), search.got()));
    }
}

const READ_BUFFER: usize = 2048;

/// What was received and belongs to no text yet, and where in it a text may still begin.
#[derive(Debug, Default)]
pub struct Search {
    waiting: VecDeque<u8>,
    /// No text begins before this octet.
    from: usize,
}

/// Whether a text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is; what stood before it and itself are gone.
    Yes,
    /// It may still come.
    NotYet,
    /// It is not in [`MAX_WAIT`] octets.
    TooLong,
}

impl Search {
    /// Begins with another text: looks for it in what is left.
    pub fn look_for(&mut self, text: &[u8]) -> Found {
        self.from = 0;
        self.look(text)
    }

    /// Takes more octets and goes on looking for the same text. How they are cut into pieces makes no
    /// difference; at most [`MAX_WAIT`] of them are kept.
    pub fn feed(&mut self, text: &[u8], octets: &[u8]) -> Found {
        let room = MAX_WAIT.saturating_sub(self.waiting.len());
        let kept = octets.get(..room).unwrap_or(octets);
        self.waiting.extend(kept);
        match self.look(text) {
            Found::Yes => {
                // What did not fit belongs to the texts after this one.
                let room = MAX_WAIT.saturating_sub(self.waiting.len());
                self.waiting.extend(octets.get(kept.len()..).unwrap_or_default().iter().take(room));
                Found::Yes
            }
            other => other,
        }
    }

    /// Octets that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn look(&mut self, text: &[u8]) -> Found {
        let waiting: &[u8] = self.waiting.make_contiguous();
        let rest = waiting.get(self.from..).unwrap_or_default();
        let at = match text.first() {
            None => Some(0),
            Some(_) => memchr::memmem::find(rest, text),
        };
        if let Some(at) = at {
            self.waiting.drain(..self.from + at + text.len());
            self.from = 0;
            return Found::Yes;
        }
        // The text may have begun in the last octets.
        self.from = waiting.len().saturating_sub(text.len().saturating_sub(1));
        if self.waiting.len() >= MAX_WAIT { Found::TooLong } else { Found::NotYet }
    }

    /// The octets that wait, for a reason.
    fn got(&mut self) -> String {
        if self.waiting.is_empty() {
            return String::new();
        }
        format!(", got \"{}\"", shown(self.waiting.make_contiguous()))
    }
}

/// Whether texts are found the same in one piece, cut in two, and by a slow look: the property that the
/// fuzz target and a property test share.
pub fn agrees_when_cut(text: &[u8], octets: &[u8], cut: usize) -> bool {
    let (start, rest) = octets.split_at(cut.min(octets.len()));
    let (mut whole, mut pieces) = (Search::default(), Search::default());
    let in_whole = whole.feed(text, octets);
    let in_pieces = match pieces.feed(text, start) {
        Found::NotYet => pieces.feed(text, rest),
        done => {
            let room = MAX_WAIT.saturating_sub(pieces.waiting.len());
            pieces.waiting.extend(rest.iter().take(room));
            done
        }
    };
    let kept = octets.get(..MAX_WAIT).unwrap_or(octets);
    let slowly = text.is_empty() || kept.windows(text.len()).any(|window| window == text);
    let want = if slowly {
        Found::Yes
    } else if kept.len() >= MAX_WAIT {
        Found::TooLong
    } else {
        Found::NotYet
    };
    in_whole == want
        && in_pieces == want
        && whole.waiting() <= MAX_WAIT
        && (want != Found::Yes || whole.waiting == pieces.waiting)
}

#[cfg(test)]
#[path = "dialogue/tests.rs"]
mod tests;

//! Talking with the kernel over rtnetlink: requests with their answers, lists, and what it says meanwhile.
//!
//! Here: who waits for what, and how long. Not here: the socket (`route`), what is asked for and what is made of the
//! answers (`netconf`, `host`).

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;

use super::route::{self, Answer, DATAGRAM, Incoming, Refusal, Request, RouteSocket};

/// Time limit of the answers to a batch; they are there when it was sent.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a list.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// Datagrams taken before anything else is looked at.
pub(super) const DATAGRAMS: usize = 4096;

/// A socket with room for what comes in.
#[derive(Debug)]
pub(super) struct Line {
    pub socket: RouteSocket,
    buffer: Vec<u8>,
    /// Messages were lost. Whoever has made up for that takes it back.
    pub overrun: bool,
}

impl Line {
    /// In the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Line { socket: RouteSocket::open()?, buffer: Vec::new(), overrun: false })
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Refused(Refusal),
    /// The answer was lost.
    Unknown,
}

/// What became of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    Whole,
    /// It changed while it was read, or some of it was lost.
    Torn,
    Refused(Refusal),
}

/// Why something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is an entry of the list.
    Asked,
    /// Something changed.
    Unasked,
}

/// Who has a line.
pub(super) trait Talk {
    fn line(&mut self) -> &mut Line;

    /// Takes in what the kernel says unasked.
    fn hear(&mut self, incoming: &Incoming<'_>);

    /// Takes in what has arrived, without waiting.
    fn listen(&mut self) -> io::Result<()> {
        self.receive(Instant::now(), DATAGRAMS, |this, incoming| {
            this.hear(incoming);
            false
        })?;
        Ok(())
    }

    /// Receives at most so many datagrams, until `each` says that it was the last message, or until `until`. After a
    /// loss it does not wait: what it would wait for may be lost.
    ///
    /// Whether the last message came.
    fn receive(
        &mut self,
        until: Instant,
        datagrams: usize,
        mut each: impl FnMut(&mut Self, &Incoming<'_>) -> bool,
    ) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.line().buffer);
        buffer.resize(DATAGRAM, 0);
        let mut taken = 0;
        let result = loop {
            if taken == datagrams {
                break Ok(false);
            }
            match self.line().socket.receive(&mut buffer) {
                Ok(Some(datagram)) => {
                    taken += 1;
                    let mut last = false;
                    for incoming in route::messages(datagram) {
                        last |= each(self, &incoming);
                    }
                    if last {
                        break Ok(true);
                    }
                }
                Ok(None) if self.line().overrun || Instant::now() >= until => break Ok(false),
                Ok(None) => {
                    if let Err(error) = self.line().socket.wait(until) {
                        break Err(error);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.line().overrun = true,
                Err(error) => break Err(error),
            }
        };
        self.line().buffer = buffer;
        result
    }

    /// Sends requests, not more than a batch, and takes in what else the kernel says until all are answered.
    ///
    /// # Errors
    /// What the system says; that there was no answer in time.
    fn ask(&mut self, requests: Vec<Request>) -> io::Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Unknown; requests.len()];
        if requests.is_empty() {
            return Ok(outcomes);
        }
        let sent = self.line().socket.send(requests)?;
        let ended = self.receive(Instant::now() + REQUEST_LIMIT, usize::MAX, |this, incoming| {
            let Some(answer) = sent.answer(incoming) else {
                this.hear(incoming);
                return false;
            };
            let last = match answer {
                Answer::End => true,
                Answer::Refused(index, refusal) => {
                    if let Some(outcome) = outcomes.get_mut(index) {
                        *outcome = Outcome::Refused(refusal);
                    }
                    sent.is_last(index)
                }
                Answer::Entry { .. } => false,
            };
            // Those without an answer of their own, unless it may be among what was lost.
            if last && !this.line().overrun {
                outcomes
                    .iter_mut()
                    .filter(|one| **one == Outcome::Unknown)
                    .for_each(|one| *one = Outcome::Done);
            }
            last
        })?;
        if !ended && !self.line().overrun {
            let error = format!("no answer of the kernel within {} s", REQUEST_LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, error));
        }
        Ok(outcomes)
    }

    /// Asks for a list, and takes each of its entries and what else the kernel says until it is there.
    ///
    /// # Errors
    /// What the system says; that the list did not end in time.
    fn list(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(&mut Self, &Incoming<'_>, Said),
    ) -> io::Result<List> {
        let sent = self.line().socket.dump(request)?;
        let (mut whole, mut refused) = (true, None);
        let ended = self.receive(Instant::now() + LIST_LIMIT, usize::MAX, |this, incoming| {
            match sent.answer(incoming) {
                Some(Answer::Entry { interrupted }) => {
                    whole &= !interrupted;
                    each(this, incoming, Said::Asked);
                    false
                }
                Some(Answer::Refused(_, refusal)) => {
                    refused = Some(refusal);
                    true
                }
                Some(Answer::End) => true,
                None => {
                    each(this, incoming, Said::Unasked);
                    false
                }
            }
        })?;
        let overrun = self.line().overrun;
        if !ended && !overrun {
            let error = format!("the kernel's list did not end within {} s", LIST_LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, error));
        }
        Ok(match refused {
            Some(refusal) => List::Refused(refusal),
            None if whole && ended && !overrun => List::Whole,
            None => List::Torn,
        })
    }

    /// Asks for a list of which only the entries matter; what else the kernel says is heard.
    ///
    /// # Errors
    /// As [`Talk::list`].
    fn entries(
        &mut self,
        request: RouteNetlinkMessage,
        mut entry: impl FnMut(&Incoming<'_>),
    ) -> io::Result<List> {
        self.list(request, |this, incoming, said| match said {
            Said::Asked => entry(incoming),
            Said::Unasked => this.hear(incoming),
        })
    }
}

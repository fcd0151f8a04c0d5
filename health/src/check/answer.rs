//! An HTTP answer read the way keepalived reads it: as raw octets, whatever the framing.
//!
//! Here: where the header ends, status, `Content-Length`, digest of what follows. Not here: reading
//! (`http`). Chunked bodies are not decoded: users' digests were made over the octets as received,
//! chunk sizes included. Any octets are taken, memory is bounded by [`MAX_HEADER`].

use md5::{Digest, Md5};

/// Longest header, in octets. keepalived fails a server whose header is longer than 4,096.
pub const MAX_HEADER: usize = 64 * 1024;

/// An answer as far as it was received.
#[derive(Debug)]
pub struct Answer {
    header: Vec<u8>,
    header_done: bool,
    content_length: Option<u64>,
    body: u64,
    digest: Option<Md5>,
    /// The first octets of the body, as many as are wanted.
    kept: Vec<u8>,
    keep: usize,
}

/// The header is longer than [`MAX_HEADER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderTooLong;

impl Answer {
    /// Nothing received yet; the digest is computed only where it is wanted, and of the body at most
    /// `keep` octets are kept.
    pub fn new(digest: bool, keep: usize) -> Self {
        Answer {
            header: Vec::new(),
            header_done: false,
            content_length: None,
            body: 0,
            digest: digest.then(Md5::new),
            kept: Vec::new(),
            keep,
        }
    }

    /// Takes the next octets. How they are cut into pieces makes no difference.
    ///
    /// # Errors
    /// [`HeaderTooLong`], after which no more is taken.
    pub fn feed(&mut self, octets: &[u8]) -> Result<(), HeaderTooLong> {
        if self.header_done {
            self.feed_body(octets);
            return Ok(());
        }
        // The end may have begun in what came before.
        let from = self.header.len().saturating_sub(HEADER_END.len() - 1);
        let room = (MAX_HEADER + HEADER_END.len()).saturating_sub(self.header.len());
        let (now, later) = octets.split_at(octets.len().min(room));
        self.header.extend_from_slice(now);
        let Some(end) = header_end(self.header.get(from..).unwrap_or_default()) else {
            return if self.header.len() > MAX_HEADER { Err(HeaderTooLong) } else { Ok(()) };
        };
        let body = self.header.split_off(from + end);
        self.header_done = true;
        self.content_length = content_length(&self.header);
        self.feed_body(&body);
        self.feed_body(later);
        Ok(())
    }

    fn feed_body(&mut self, octets: &[u8]) {
        if let Some(digest) = &mut self.digest {
            // Octets beyond Content-Length do not count.
            let left = self.content_length.map_or(u64::MAX, |length| length.saturating_sub(self.body));
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(octets.len());
            digest.update(octets.get(..wanted).unwrap_or_default());
        }
        let room = self.keep.saturating_sub(self.kept.len()).min(octets.len());
        self.kept.extend_from_slice(octets.get(..room).unwrap_or_default());
        self.body = self.body.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
    }

    /// The end of the header was seen.
    pub fn has_header(&self) -> bool {
        self.header_done
    }

    /// Header with its end, or what was received of it.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Octets received in all.
    pub fn length(&self) -> u64 {
        u64::try_from(self.header.len()).unwrap_or(u64::MAX).saturating_add(self.body)
    }

    /// Octets after the header.
    pub fn body_length(&self) -> u64 {
        self.body
    }

    /// The octets of the body that were kept, and whether there were more.
    pub fn take_body(&mut self) -> (Vec<u8>, bool) {
        let kept = std::mem::take(&mut self.kept);
        let cut = u64::try_from(kept.len()).unwrap_or(u64::MAX) < self.body;
        (kept, cut)
    }

    /// What the header says about them.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Status code, if the first line has one.
    pub fn status(&self) -> Option<u16> {
        status(&self.header)
    }

    /// MD5 of what followed the header, up to `Content-Length`; `None` when it was not wanted.
    pub fn digest(self) -> Option<[u8; 16]> {
        self.digest.map(|digest| digest.finalize().into())
    }
}

const HEADER_END: &[u8; 4] = b"\r\n\r\n";

/// Offset of the first octet after the header: after the first empty line, CRLF only.
pub fn header_end(octets: &[u8]) -> Option<usize> {
    find(octets, HEADER_END).map(|at| at + HEADER_END.len())
}

/// Status code: exactly three digits between the first blank of the first line and another one. So
/// `HTTP/1.1 200` without the blank after the code has none, as for keepalived (RFC 9112 §4 asks
/// servers for that blank too).
pub fn status(header: &[u8]) -> Option<u16> {
    let line = first_line(header);
    let after = line.iter().position(|octet| *octet == b' ')? + 1;
    let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] = line.get(after..)? else {
        return None;
    };
    Some([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0')))
}

/// The header up to its first CR or LF.
pub fn first_line(header: &[u8]) -> &[u8] {
    let end = header.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(header.len());
    header.get(..end).unwrap_or_default()
}

/// Number after the first `Content-Length:` (in exactly this case), if CR or LF follows it directly.
///
/// keepalived also finds it in the part of the body that arrived together with the header; that
/// depends on how the network cuts the answer, so only the header is searched here.
pub fn content_length(header: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"Content-Length:";
    let value = header.get(find(header, NAME)? + NAME.len()..)?;
    let digits = value.iter().position(|octet| !matches!(octet, b' ' | b'\t'))?;
    let value = value.get(digits..)?;
    let end = value.iter().position(|octet| !octet.is_ascii_digit())?;
    if end == 0 || !matches!(value.get(end), Some(b'\r' | b'\n')) {
        return None;
    }
    value
        .get(..end)?
        .iter()
        .try_fold(0_u64, |length, digit| length.checked_mul(10)?.checked_add(u64::from(*digit - b'0')))
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// Whether an answer reads the same in one piece and cut in two: the property that the fuzz target and
/// a property test share.
pub fn agrees_when_cut(octets: &[u8], cut: usize) -> bool {
    let (start, rest) = octets.split_at(cut.min(octets.len()));
    let (mut whole, mut pieces) = (Answer::new(true, KEPT), Answer::new(true, KEPT));
    let fits = whole.feed(octets).is_ok();
    if (pieces.feed(start).is_ok() && pieces.feed(rest).is_ok()) != fits {
        return false;
    }
    !fits
        || (pieces.header == whole.header
            && pieces.status() == whole.status()
            && pieces.content_length == whole.content_length
            && pieces.length() == whole.length()
            && pieces.take_body() == whole.take_body()
            && pieces.digest() == whole.digest())
}

/// What [`agrees_when_cut`] keeps of a body.
const KEPT: usize = 16;

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;

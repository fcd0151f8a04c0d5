//! Lines of an SMTP server, from its octets (RFC 5321 §4.2).
//!
//! Here: where a line ends, what code it has; any octets are taken. Not here: reading them (`smtp`).

/// Longest line with its end, in octets (RFC 5321 §4.5.3.1.5).
pub const MAX_LINE: usize = 512;

/// Octets received, cut into lines. How they were cut into pieces makes no difference.
///
/// Keeps at most [`MAX_LINE`] octets more than one piece, if [`Self::take`] is asked after each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    octets: Vec<u8>,
}

/// No line ends within [`MAX_LINE`] octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

impl Lines {
    /// Takes the next octets.
    pub fn feed(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Takes out the next line, without its end: CR LF, or LF alone as keepalived 2.2.7 takes it too.
    /// `None` if it is not complete.
    ///
    /// # Errors
    /// [`LineTooLong`]
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let within = self.octets.get(..MAX_LINE).unwrap_or(&self.octets);
        let Some(end) = within.iter().position(|octet| *octet == b'\n') else {
            return if within.len() < MAX_LINE { Ok(None) } else { Err(LineTooLong) };
        };
        let later = self.octets.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.octets, later);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    /// What was received of the lines to come.
    pub fn rest(&self) -> &[u8] {
        &self.octets
    }
}

/// Whether a line is an answer with this code: the code, then a blank or the end. The first of several
/// lines (`250-`) is none, as for keepalived, and neither is one with a NUL in it.
pub fn is_reply(line: &[u8], code: &str) -> bool {
    match line.strip_prefix(code.as_bytes()) {
        Some([] | [b' ', ..]) => !line.contains(&0),
        _ => false,
    }
}

/// The law of [`Lines`]: octets cut in two at `cut` give the same lines as uncut. For property tests and fuzzing.
pub fn agrees_when_cut(octets: &[u8], cut: usize) -> bool {
    let all = |pieces: &[&[u8]]| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece);
            loop {
                match lines.take() {
                    Ok(Some(line)) => found.push(line),
                    Ok(None) => break,
                    // Then no more is taken.
                    Err(LineTooLong) => return (found, None),
                }
            }
        }
        (found, Some(lines.rest().to_vec()))
    };
    let (start, end) = octets.split_at(cut.min(octets.len()));
    let whole = all(&[octets]);
    let bounded = whole.0.iter().all(|line| line.len() < MAX_LINE && !line.contains(&b'\n'));
    let codes = whole.0.iter().all(|line| !(is_reply(line, "220") && is_reply(line, "250")));
    bounded && codes && whole == all(&[start, end])
}

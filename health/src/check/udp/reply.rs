//! Whether a UDP service's answer is the wanted one.
//!
//! Here: lengths and leading octets, of any datagram. Not here: receiving it (`udp`).

use std::fmt;
use std::ops::RangeInclusive;

use crate::types::MaskedOctet;

/// Why an answer is not the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Shorter than min_reply_length.
    Short {
        /// Its length.
        length: usize,
        /// min_reply_length
        least: u16,
    },
    /// Longer than max_reply_length, which is this.
    Long(u16),
    /// An octet is another one.
    Octet {
        /// Which, from 1.
        at: usize,
        /// The octet.
        got: u8,
        /// The wanted one.
        want: MaskedOctet,
    },
}

/// Compares an answer, of which octets after the one that follows the longest may be missing.
/// `lengths` are min_reply_length and max_reply_length, which may be the wrong way round.
///
/// Of an answer shorter than the wanted octets those that it has are compared, as keepalived does: say
/// min_reply_length where that is not enough. Without wanted octets any answer is good.
///
/// # Errors
/// The first difference: lengths, then octets.
pub fn judge(
    wanted: Option<&[MaskedOctet]>,
    lengths: RangeInclusive<u16>,
    answer: &[u8],
) -> Result<(), Mismatch> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let (least, most) = lengths.into_inner();
    if answer.len() < usize::from(least) {
        return Err(Mismatch::Short { length: answer.len(), least });
    }
    if answer.len() > usize::from(most) {
        return Err(Mismatch::Long(most));
    }
    match (1..).zip(answer.iter().zip(wanted)).find(|(_, (got, want))| (*got ^ want.value) & want.mask != 0) {
        Some((at, (&got, &want))) => Err(Mismatch::Octet { at, got, want }),
        None => Ok(()),
    }
}

/// What holds for any octets; the first ones say lengths and which octets are wanted, the rest is the
/// answer. An answer is good when it has a wanted length and no octet of its beginning differs, and the
/// reason of a bad one names the first that does. For property tests and fuzzing.
pub fn law(octets: &[u8]) -> bool {
    let Some((&[least, most, count], rest)) = octets.split_first_chunk::<3>() else { return true };
    let (wanted, answer) = rest.split_at(rest.len().min(usize::from(count) * 2));
    let wanted: Box<[MaskedOctet]> = wanted
        .chunks_exact(2)
        .filter_map(|pair| match *pair {
            [value, mask] => Some(MaskedOctet { value: value & mask, mask }),
            _ => None,
        })
        .collect();
    let differs = |(got, want): (&u8, &MaskedOctet)| got & want.mask != want.value;
    let first = answer.iter().zip(&wanted).position(differs);
    let length = answer.len();
    let (short, long) = (length < usize::from(least), length > usize::from(most));
    let any = wanted.is_empty();
    match judge(Some(&wanted), u16::from(least)..=u16::from(most), answer) {
        Ok(()) => any || !short && !long && first.is_none(),
        Err(Mismatch::Short { .. }) => !any && short,
        Err(Mismatch::Long(_)) => !any && !short && long,
        Err(Mismatch::Octet { at, .. }) => {
            !any && !short && !long && first.map(|first| first + 1) == Some(at)
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Mismatch::Short { length, least } => {
                write!(f, "answer of {length} octets, at least {least} wanted")
            }
            Mismatch::Long(most) => write!(f, "answer longer than {most} octets"),
            Mismatch::Octet { at, got, want } => {
                let digit = |value: u8, mask: u8| match mask {
                    0 => 'X',
                    _ => char::from_digit(value.into(), 16).unwrap_or('X'),
                };
                let high = digit(want.value >> 4, want.mask >> 4);
                let low = digit(want.value & 0xf, want.mask & 0xf);
                write!(f, "octet {at} of the answer is {got:02x}, {high}{low} wanted")
            }
        }
    }
}

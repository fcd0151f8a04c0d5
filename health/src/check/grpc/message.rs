//! The two messages of gRPC's health check, and the words of its status.
//!
//! Here: protobuf's octets, plain values. Not here: HTTP/2. The request has one field, the service's name;
//! the answer has one, a number. Other fields are passed over, as protobuf asks for.

use std::fmt;

/// Longest answer, in octets. One with the field alone has 7.
pub const MAX_ANSWER: usize = 4096;

/// What a server says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// 0
    Unknown,
    /// 1
    Serving,
    /// 2
    NotServing,
    /// 3
    ServiceUnknown,
    /// Any other number.
    Other(u64),
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Serving::Unknown => "UNKNOWN",
            Serving::Serving => "SERVING",
            Serving::NotServing => "NOT_SERVING",
            Serving::ServiceUnknown => "SERVICE_UNKNOWN",
            Serving::Other(number) => return write!(f, "{number}"),
        })
    }
}

/// An answer that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No message at all.
    Empty,
    /// The message ends before its length, or a field before its own.
    Cut,
    /// The message is compressed, which was not asked for.
    Compressed,
    /// Octets after the message.
    More,
    /// Not protobuf.
    Malformed,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::Empty => "the answer has no message",
            Broken::Cut => "the answer's message is cut off",
            Broken::Compressed => "the answer's message is compressed",
            Broken::More => "the answer has more than one message",
            Broken::Malformed => "the answer's message is not protobuf",
        })
    }
}

/// The request with its prefix: not compressed, length.
pub fn request(service: &str) -> Vec<u8> {
    let mut field = Vec::new();
    if !service.is_empty() {
        field.push(FIELD_1 | LENGTH);
        write_varint(u64::try_from(service.len()).unwrap_or(u64::MAX), &mut field);
        field.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    message.append(&mut field);
    message
}

/// What an answer with its prefix says. Without the field the number is 0; of several the last counts.
///
/// # Errors
/// [`Broken`]
pub fn answer(octets: &[u8]) -> Result<Serving, Broken> {
    let (&compressed, rest) = octets.split_first().ok_or(Broken::Empty)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(Broken::Cut)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let message = rest.get(..length).ok_or(Broken::Cut)?;
    if compressed != 0 {
        return Err(Broken::Compressed);
    }
    if rest.len() > length {
        return Err(Broken::More);
    }
    let mut left = message;
    let mut status = 0;
    while !left.is_empty() {
        let tag = varint(&mut left)?;
        let (field, kind) = (tag >> 3, u8::try_from(tag & 7).unwrap_or_default());
        if field == 0 {
            return Err(Broken::Malformed);
        }
        match kind {
            VARINT => {
                let value = varint(&mut left)?;
                if field == 1 {
                    status = value;
                }
            }
            EIGHT => skip(&mut left, 8)?,
            LENGTH => {
                let length = usize::try_from(varint(&mut left)?).map_err(|_| Broken::Cut)?;
                skip(&mut left, length)?;
            }
            FOUR => skip(&mut left, 4)?,
            _ => return Err(Broken::Malformed),
        }
    }
    Ok(match status {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        other => Serving::Other(other),
    })
}

const FIELD_1: u8 = 1 << 3;
const VARINT: u8 = 0;
const EIGHT: u8 = 1;
const LENGTH: u8 = 2;
const FOUR: u8 = 5;

fn skip(left: &mut &[u8], length: usize) -> Result<(), Broken> {
    *left = left.get(length..).ok_or(Broken::Cut)?;
    Ok(())
}

/// At most ten octets, 64 bits.
fn varint(left: &mut &[u8]) -> Result<u64, Broken> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&octet, rest) = left.split_first().ok_or(Broken::Cut)?;
        *left = rest;
        let bits = u64::from(octet & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Broken::Malformed);
        }
        value |= bits << shift;
        if octet & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Broken::Malformed)
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let bits = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return out.push(bits);
        }
        out.push(bits | 0x80);
    }
}

/// Names of grpc-status, by number.
pub const STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// grpc-message: `%XX` stands for an octet; what is no such escape stays.
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(first);
        }
    }
    out
}

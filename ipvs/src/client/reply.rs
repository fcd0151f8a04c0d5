//! Answers in a datagram: what netlink itself says about a request, or a message of the family.

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer,
    NlasIterator,
};
use nix::errno::Errno;

use crate::IpvsError;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// A message: its type, and what follows the netlink header.
    Message { kind: u16, payload: &'a [u8] },
    /// `NLMSG_ERROR` with 0.
    Ack,
    /// `NLMSG_ERROR`, or the end of a dump that failed.
    Error { errno: Errno, detail: Option<String> },
    /// The end of a dump.
    Done,
}

/// `NLMSGERR_ATTR_MSG`
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `struct nlmsghdr`
const HEADER: usize = 16;

/// The answers in a datagram with their sequence numbers; an error ends the iteration.
pub(super) fn replies(datagram: &[u8]) -> impl Iterator<Item = Result<(u32, Reply<'_>), IpvsError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let message = match NetlinkBuffer::new_checked(rest) {
                Ok(message) => message,
                Err(error) => {
                    rest = &[];
                    return Some(Err(IpvsError::Malformed { reason: error.to_string() }));
                }
            };
            let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let payload = message.payload();
            let reply = match message.message_type() {
                NLMSG_NOOP => continue,
                NLMSG_OVERRUN => return Some(Err(IpvsError::Overrun)),
                NLMSG_DONE => match code(payload).unwrap_or(0) {
                    number if number < 0 => {
                        Reply::Error { errno: Errno::from_raw(number.saturating_neg()), detail: None }
                    }
                    _ => Reply::Done,
                },
                NLMSG_ERROR => match code(payload) {
                    None => {
                        rest = &[];
                        let reason = "an error message without its number".to_owned();
                        return Some(Err(IpvsError::Malformed { reason }));
                    }
                    Some(0) => Reply::Ack,
                    Some(number) => Reply::Error {
                        errno: Errno::from_raw(number.saturating_abs()),
                        detail: detail(message.flags(), payload),
                    },
                },
                kind => Reply::Message { kind, payload },
            };
            return Some(Ok((message.sequence_number(), reply)));
        }
    })
}

fn code(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().map(|octets| i32::from_ne_bytes(*octets))
}

/// The kernel's words (extended acknowledgement), which follow the copy of the request's header and,
/// unless capped, of the request.
fn detail(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let copy = payload.get(4..)?;
    let skip = if flags & NLM_F_CAPPED == 0 {
        let length = u32::from_ne_bytes(*copy.first_chunk()?);
        usize::try_from(length).ok()?.checked_next_multiple_of(4)?.max(HEADER)
    } else {
        HEADER
    };
    let text = NlasIterator::new(copy.get(skip..)?)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)?;
    let text = text.value().split(|octet| *octet == 0).next().unwrap_or_default();
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

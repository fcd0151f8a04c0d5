//! UDP_CHECK: a UDP service answers, or at least does not refuse.
//!
//! Here: sending, waiting, what silence means. Not here: whether an answer is the wanted one (`reply`).

pub mod reply;
#[cfg(test)]
mod tests;

use tokio::time::{Instant, timeout_at};

use self::reply::Mismatch;
use crate::connect::{datagram, icmp_words, seconds};
use crate::state::Outcome;
use crate::types::UdpCheck;

/// What is sent where no payload is configured.
pub const PAYLOAD: [u8; 32] = *b"lbd UDP_CHECK: is anybody there?";

/// Asks once. The answer may take connect_timeout; the first datagram counts, as for keepalived.
pub async fn run(udp: &UdpCheck) -> Outcome {
    let limit = udp.connection.timeout;
    let until = Instant::now() + limit;
    let socket = match datagram(&udp.connection) {
        Ok(socket) => socket,
        Err(error) => return error.into(),
    };
    match timeout_at(until, socket.send(udp.payload.as_deref().unwrap_or(&PAYLOAD))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.into(),
        Err(_) => return Outcome::unknown(format!("not sent after {}", seconds(limit))),
    }
    // One octet more than wanted shows that there is more.
    let mut buffer = vec![0; usize::from(udp.max_reply_length) + 1];
    match timeout_at(until, socket.receive(&mut buffer)).await {
        Ok(Ok(length)) => match judge(udp, buffer.get(..length).unwrap_or_default()) {
            Ok(()) if udp.reply.is_none() => Outcome::good("answered"),
            Ok(()) => Outcome::good("answered as wanted"),
            Err(mismatch) => Outcome::bad(mismatch.to_string()),
        },
        Ok(Err(error)) => Outcome::bad(icmp_words(&error)),
        Err(_) if udp.reply.is_none() => {
            Outcome::good(format!("not refused; no answer after {}, none needed", seconds(limit)))
        }
        Err(_) => Outcome::bad(format!("no answer after {}", seconds(limit))),
    }
}

fn judge(udp: &UdpCheck, answer: &[u8]) -> Result<(), Mismatch> {
    reply::judge(udp.reply.as_deref(), udp.min_reply_length..=udp.max_reply_length, answer)
}

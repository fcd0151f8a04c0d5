//! DNS_CHECK: a name server answers a query over UDP.
//!
//! Here: sending, waiting for the answer. Not here: what the octets are (`message`).

pub mod message;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

use tokio::time::{Instant, timeout_at};

use self::message::{NotOurs, Query, rcode_name};
use crate::connect::{datagram, icmp_words, seconds};
use crate::state::Outcome;
use crate::types::DnsCheck;

/// Datagrams that are no answer to the query, before the server is given up.
pub const MAX_IGNORED: u32 = 1000;

/// Asks once. The answer may take connect_timeout.
pub async fn run(dns: &DnsCheck) -> Outcome {
    let until = Instant::now() + dns.connection.timeout;
    let socket = match datagram(&dns.connection) {
        Ok(socket) => socket,
        Err(error) => return error.into(),
    };
    let query = Query::new(random_id(), dns.record, &dns.name);
    match timeout_at(until, socket.send(&query.octets())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.into(),
        Err(_) => {
            return Outcome::unknown(format!("query not sent after {}", seconds(dns.connection.timeout)));
        }
    }
    let (mut ignored, mut last) = (0, None);
    let mut buffer = [0; BUFFER];
    while ignored < MAX_IGNORED {
        let length = match timeout_at(until, socket.receive(&mut buffer)).await {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => return Outcome::bad(icmp_words(&error)),
            Err(_) => {
                return Outcome::bad(format!(
                    "no answer after {}{}",
                    seconds(dns.connection.timeout),
                    told(ignored, last)
                ));
            }
        };
        match query.rcode_in(buffer.get(..length).unwrap_or_default()) {
            Ok(0) => return Outcome::good("rcode NOERROR"),
            Ok(rcode) => return Outcome::bad(format!("rcode {}", rcode_name(rcode))),
            Err(why) => {
                ignored += 1;
                last = Some(why);
            }
        }
    }
    Outcome::bad(format!("no answer{}", told(ignored, last)))
}

/// A query with its question has at most 271 octets, and no more than that is read of an answer.
const BUFFER: usize = 512;

/// ` (3 datagrams ignored, the last: other id)`
fn told(ignored: u32, last: Option<NotOurs>) -> String {
    let mut text = String::new();
    if let Some(why) = last {
        let datagrams = if ignored == 1 { "datagram" } else { "datagrams" };
        let _infallible = write!(text, " ({ignored} {datagrams} ignored, the last: {})", why.words());
    }
    text
}

/// Cannot be guessed from earlier ones: the hash of nothing under a random key.
fn random_id() -> u16 {
    let [a, b, ..] = RandomState::new().hash_one(()).to_le_bytes();
    u16::from_le_bytes([a, b])
}

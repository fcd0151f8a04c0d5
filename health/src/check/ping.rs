//! PING_CHECK: the host answers an ICMP echo request.
//!
//! Here: one echo and its outcome. Not here: the octets (`echo`), the sockets that all checks share
//! (`socket`).
//!
//! Raw sockets, not the datagram ones that keepalived uses: those need `net.ipv4.ping_group_range`, which
//! keepalived changes for the whole host and which most hosts keep closed, while a daemon that speaks VRRP
//! has CAP_NET_RAW anyway.

pub mod echo;
pub mod socket;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

pub use self::socket::Pings;
use crate::connect::{ConnectError, judge, seconds};
use crate::state::Outcome;
use crate::types::Connection;

/// Sends an echo request and waits connect_timeout for its reply.
pub async fn run(connection: &Connection, pings: &Pings) -> Outcome {
    ask(connection, pings).await.unwrap_or_else(Outcome::from)
}

async fn ask(connection: &Connection, pings: &Pings) -> Result<Outcome, ConnectError> {
    let until = Instant::now() + connection.timeout;
    // The port of a raw socket's address is the protocol, which the socket has already.
    let target = SocketAddr::new(connection.target.ip(), 0);
    loop {
        let (socket, shared) = pings.socket(connection)?;
        let mut waiting = socket.expect(target.ip())?;
        match timeout_at(until, socket.send(&waiting.request(), target)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // Its interface or address may be another one by now, so the next check has a new one.
                pings.forget(connection, &socket);
                if shared {
                    continue;
                }
                return Err(judge(connection, &error));
            }
            Err(_) => {
                let limit = seconds(connection.timeout);
                return Err(ConnectError::Ours(format!("echo request not sent after {limit}")));
            }
        }
        return match timeout_at(until, waiting.answer()).await {
            Ok(Some(Ok(()))) => Ok(Outcome::good("answered")),
            Ok(Some(Err(why))) => Err(ConnectError::Theirs(why)),
            Ok(None) => Err(ConnectError::Ours("nobody listens for the reply any more".into())),
            Err(_) => Err(ConnectError::Theirs(format!("no answer after {}", seconds(connection.timeout)))),
        };
    }
}

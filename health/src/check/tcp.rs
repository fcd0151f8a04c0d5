//! TCP_CHECK: a connection can be made; it is closed at once.

use crate::connect::connect;
use crate::state::Outcome;
use crate::types::Connection;

/// Connects and closes.
pub async fn run(connection: &Connection) -> Outcome {
    match connect(connection).await {
        Ok(_closed_here) => Outcome::good("connected"),
        Err(error) => error.into(),
    }
}

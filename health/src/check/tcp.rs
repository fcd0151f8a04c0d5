//! TCP_CHECK: a connection can be made; it is closed at once.

use std::sync::{Arc, LazyLock};

use crate::connect::reach;
use crate::state::Outcome;
use crate::types::Connection;

/// Connects and closes.
pub async fn run(connection: &Connection) -> Outcome {
    match reach(connection).await {
        Ok(()) => Outcome::good(CONNECTED.clone()),
        Err(error) => error.into(),
    }
}

/// Shared by all: what is said most is not made anew each time.
static CONNECTED: LazyLock<Arc<str>> = LazyLock::new(|| "connected".into());

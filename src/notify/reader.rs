//! The script that reads a notify FIFO: started again whenever it ends, until it is told otherwise.
//!
//! Not here: which FIFO has one (`fifos`), running a program (`crate::script`).

use std::sync::Arc;
use std::time::Duration;

use lbd_health::ScriptId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::script::{ScriptRoom, describe};

/// A reader that ends by itself is started again after this, twice as long each time ...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ... up to this; one that ran for longer begins anew. keepalived starts it again with the next reload.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A reader that runs or is about to.
pub struct Reader {
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// What a reader is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To run.
    Go,
    /// Not to be started again.
    Last,
    /// To be ended.
    End,
}

impl Reader {
    /// Starts the script with the FIFO's path as its last argument.
    pub fn start(room: Arc<ScriptRoom>, script: ScriptId, path: String) -> Self {
        let (order, orders) = watch::channel(Order::Go);
        Reader { order, task: tokio::spawn(keep_reading(room, script, path, orders)) }
    }

    /// Tells it what to do.
    pub fn order(&self, order: Order) {
        self.order.send_replace(order);
    }

    /// Tells all of them and waits for their ends.
    pub async fn end(readers: Vec<Reader>, order: Order, limit: Duration) {
        for reader in &readers {
            reader.order(order);
        }
        let all = async {
            for reader in readers {
                let _panicked = reader.task.await;
            }
        };
        let _limit = tokio::time::timeout(limit, all).await;
    }
}

async fn keep_reading(
    room: Arc<ScriptRoom>,
    script: ScriptId,
    path: String,
    mut orders: watch::Receiver<Order>,
) {
    let mut pause = FIRST_PAUSE;
    while *orders.borrow_and_update() == Order::Go {
        let began = Instant::now();
        let mut end = orders.clone();
        let ordered = async move {
            let _gone = end.wait_for(|order| *order == Order::End).await;
        };
        let outcome = room.run_until(&script, std::slice::from_ref(&path), ordered).await;
        if *orders.borrow() != Order::Go {
            return;
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        let after = pause.as_secs_f64();
        warn!(fifo = path, "FIFO script: {}; started again in {after} s", describe(outcome));
        let _elapsed = tokio::time::timeout(pause, orders.wait_for(|order| *order != Order::Go)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

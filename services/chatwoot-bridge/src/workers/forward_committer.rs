//! Takes events off the queues of the ingress in groups and commits them.

use std::time::Duration;

use database::Database;
use tokio::sync::mpsc;

use crate::flows::forward::Bell;
use crate::flows::forward::accept::{Waiting, commit};

/// Events of one commit.
const BATCH: usize = 256;

/// Commits until the queue is closed and empty: a group gathers while the one before it is committed. The queue closes
/// when the last request handler is gone, so nothing that was taken in is left behind.
pub async fn run(db: Database, bell: Bell, window: Duration, mut jobs: mpsc::Receiver<Waiting>) {
    let mut group = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut group, BATCH).await > 0 {
        commit(&db, &bell, window, std::mem::take(&mut group)).await;
    }
}

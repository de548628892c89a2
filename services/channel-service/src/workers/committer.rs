//! Takes messages off the ingest queue in groups and commits them.

use std::sync::Arc;

use database::Database;
use messaging::outbox::Signal;
use tokio::sync::{Mutex, mpsc};

use crate::flows::ingest_message::{Waiting, commit};

/// The queue that the committers of a process share.
pub type Jobs = Arc<Mutex<mpsc::Receiver<Waiting>>>;

/// Commits groups of at most `batch` messages until the queue is closed and empty. The queue closes when the last
/// request handler is gone, so nothing that was taken in is left behind.
pub async fn run(db: Database, relay: Signal, jobs: Jobs, batch: usize) {
    let mut group = Vec::with_capacity(batch);
    loop {
        // Whoever waits here holds the lock; the others are committing, which is when a group gathers.
        let taken = jobs.lock().await.recv_many(&mut group, batch).await;
        if taken == 0 {
            return;
        }
        commit(&db, &relay, std::mem::take(&mut group)).await;
    }
}

//! Takes messages, and reports about messages, off their queues in groups and commits them.

use database::Database;
use messaging::outbox::Signal;
use tokio::sync::mpsc;

use crate::flows::chat_picture::{PictureWishes, Wish};
use crate::flows::ingest_message::{Waiting, commit};
use crate::flows::record_status;
use crate::media::MediaLinks;
use crate::traffic::Traffic;

/// Reports of one commit: a group takes no more jobs in when it has so many. Locks are held as long as it takes.
const REPORTS: usize = 500;

/// Commits groups of at most `batch` messages until the queue is closed and empty: a group gathers while the one before
/// it is committed. The queue closes when the last request handler is gone, so nothing that was taken in is left behind.
pub async fn run(
    db: Database,
    links: MediaLinks,
    relay: Signal,
    traffic: Traffic,
    pictures: Option<PictureWishes>,
    mut jobs: mpsc::Receiver<Waiting>,
    batch: usize,
) {
    let mut group = Vec::with_capacity(batch);
    loop {
        let taken = jobs.recv_many(&mut group, batch).await;
        if taken == 0 {
            return;
        }
        let written_in = commit(&db, &links, &relay, &traffic, std::mem::take(&mut group)).await;
        if let Some(pictures) = &pictures {
            for (scope, chat) in written_in {
                pictures.wrote(Wish { scope, chat });
            }
        }
    }
}

/// As [`run`], for reports.
pub async fn run_reports(
    db: Database,
    relay: Signal,
    traffic: Traffic,
    mut jobs: mpsc::Receiver<record_status::Waiting>,
) {
    while let Some(first) = jobs.recv().await {
        let mut reports = first.0.reports.len();
        let mut group = vec![first];
        while reports < REPORTS
            && let Ok(next) = jobs.try_recv()
        {
            reports += next.0.reports.len();
            group.push(next);
        }
        record_status::record(&db, &relay, &traffic, group).await;
    }
}

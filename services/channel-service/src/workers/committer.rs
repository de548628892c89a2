//! Takes messages off an ingest queue in groups and commits them.

use database::Database;
use messaging::outbox::Signal;
use tokio::sync::mpsc;

use crate::flows::chat_picture::{PictureWishes, Wish};
use crate::flows::ingest_message::{Waiting, commit};
use crate::media::MediaLinks;
use crate::traffic::Traffic;

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

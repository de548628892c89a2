//! Pages that show news by themselves: a stream of events whose data is a piece of the page (`hx-sse:connect`).
//!
//! A stream has a place among those of its user, and ends with the session of its reader: a browser then comes again by
//! itself, and is told whether it is still welcome. It also ends when its reader has left, and when the process ends.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use database::Database;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::visit::Visit;
use crate::config::PageSettings;
use crate::flows::sign_in::{self, SessionSecret};

/// Pieces that wait for a slow reader.
const WAITING: usize = 8;
/// After how much time a reader gets a line that says nothing: who has left is noticed by it, and no proxy cuts the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The event after which a page does not come again by itself; pages name it in `hx-sse:close`.
const LAST: &str = "event: last\ndata: -\n\n";

/// The streams of this process.
#[derive(Debug)]
pub(crate) struct LivePages {
    settings: PageSettings,
    stop: CancellationToken,
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
}

/// A stream's place among those of its user.
struct Place {
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
    user: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
        metrics::gauge!("kanal_page_streams_open").decrement(1);
    }
}

/// Tells a page its news.
pub(crate) struct Teller {
    events: mpsc::Sender<Bytes>,
}

impl Teller {
    /// A piece that takes the place of the one before.
    pub(crate) async fn part(&self, html: &str) {
        self.write(Bytes::from(event(html))).await;
    }

    /// Nothing more will come: the page stays as it is.
    pub(crate) async fn last(&self) {
        self.write(Bytes::from_static(LAST.as_bytes())).await;
    }

    async fn write(&self, bytes: Bytes) {
        // Nobody is there to take it: the stream ends.
        drop(self.events.send(bytes).await);
    }

    async fn beat(&self) {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            self.write(Bytes::from_static(b": still here\n\n")).await;
        }
    }
}

impl LivePages {
    /// Streams that end with the process.
    pub(crate) fn new(settings: PageSettings, stop: CancellationToken) -> Self {
        Self {
            settings,
            stop,
            open: Arc::default(),
        }
    }

    fn take_place(&self, user: Uuid) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user).or_default();
        if *count >= self.settings.streams {
            return None;
        }
        *count += 1;
        metrics::gauge!("kanal_page_streams_open").increment(1);
        Some(Place {
            open: Arc::clone(&self.open),
            user,
        })
    }

    /// Begins a stream that lasts as long as `watch` and its reader. `None`: the user has as many as they may have.
    pub(crate) fn begin<W, F>(&self, db: &Database, visit: &Visit, watch: W) -> Option<HttpResponse>
    where
        W: FnOnce(Arc<Teller>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let place = self.take_place(visit.who.id)?;
        let (events, taken) = mpsc::channel(WAITING);
        let teller = Arc::new(Teller { events });
        let watching = watch(Arc::clone(&teller));
        let signed_out = until_signed_out(db.clone(), visit.secret.clone(), self.settings.check);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = signed_out => {}
                () = teller.beat() => {}
                () = teller.events.closed() => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
        Some(streaming(StatusCode::OK).streaming(ReceiverStream::new(taken).map(Ok::<_, std::io::Error>)))
    }
}

/// A stream that says one thing and ends. With another status than 200 a browser that has seen the page live tries again,
/// ever more rarely.
pub(crate) fn last_words(status: StatusCode, html: &str) -> HttpResponse {
    streaming(status).body(format!("{}{LAST}", event(html)))
}

fn streaming(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // A proxy that waits for more would hold news back until they are none.
        .insert_header(("x-accel-buffering", "no"));
    answer
}

fn event(html: &str) -> String {
    let mut event = String::with_capacity(html.len() + 64);
    for line in html.lines().filter(|line| !line.trim().is_empty()) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

/// A database that is away says nothing about the session.
async fn until_signed_out(db: Database, secret: SessionSecret, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if matches!(sign_in::find(&db, &secret).await, Ok(None)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn a_piece_is_one_event_whatever_lines_it_has() {
        assert_eq!(
            event("<p>\n\n a\r\n</p>\n"),
            "data: <p>\ndata:  a\ndata: </p>\n\n"
        );
        assert_eq!(event("<p>event: last</p>"), "data: <p>event: last</p>\n\n");
    }
}

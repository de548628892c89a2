//! What changes in the list and in a chat while somebody looks: server-sent events that put new HTML into the page.
//!
//! Other processes commit messages too, so a stream looks at the tables: one statement over an index, each two seconds, which
//! says whether anything is another. Only then is anything rendered and sent. Streams have places, and end by themselves after
//! a while; the browser comes again and is asked again who it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::web::{ApiError, Query};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use database::DatabaseError;
use domain::ids::{ChatId, TenantId};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::chat_id;
use super::part::Part;
use super::view::{Draft, ListView, ThreadView};
use crate::app::State;
use crate::flows::chat_list;
use crate::flows::thread::{self, Marks, Opened};
use crate::store::chat_list::{Among, Place as InList};
use crate::store::thread::End;
use crate::ui::errors::PageError;
use crate::ui::visit::TenantVisit;

/// How often a stream looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long a stream goes on.
const LENGTH: Duration = Duration::from_secs(600);
/// After so long a silence something is said, so that nobody in between takes the stream for dead.
const SILENCE: Duration = Duration::from_secs(20);
/// Looks in a row that fail before a stream ends.
const TROUBLES: u32 = 5;
/// Streams of one tenant, and of all together, in this process.
const MOST_OF_TENANT: usize = 40;
const MOST: usize = 400;
/// Events that wait for a slow reader.
const WAITING: usize = 4;
/// When somebody for whom there is no place should come again.
const COME_BACK: Duration = Duration::from_secs(10);

/// The streams of this process.
#[derive(Debug)]
pub(crate) struct ChatStreams {
    stop: CancellationToken,
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// A stream's place among the others.
struct Place {
    open: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
        metrics::gauge!("kanal_chat_streams_open").decrement(1);
    }
}

impl ChatStreams {
    /// Streams that end with the process.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            open: Arc::default(),
        }
    }

    fn take_place(&self, tenant: &TenantId) -> Result<Place, ApiError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let count = open.entry(tenant.clone()).or_default();
        if *count >= MOST_OF_TENANT || all >= MOST {
            if *count == 0 {
                open.remove(tenant);
            }
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "As many streams are open as there may be",
            )
            .retry_after(COME_BACK));
        }
        *count += 1;
        metrics::gauge!("kanal_chat_streams_open").increment(1);
        Ok(Place {
            open: Arc::clone(&self.open),
            tenant: tenant.clone(),
        })
    }
}

/// Where a page is told what changes; empty where it is not: an older page, or what was looked for.
pub(super) fn address(list: &ListView, thread: Option<&ThreadView>) -> String {
    match thread {
        Some(thread) if thread.is_newest => {
            let (base, id) = (&thread.base, thread.id);
            format!("{base}/{id}/live?thread={}&list={}", thread.mark, list.mark)
        }
        None if list.is_live() => format!("{}/live?list={}", list.base, list.mark),
        _ => String::new(),
    }
}

pub(super) async fn of_list(
    visit: Result<TenantVisit, PageError>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    begin(visit, None, &query, state)
}

pub(super) async fn of_chat(
    visit: Result<TenantVisit, PageError>,
    path: web::Path<(String, String)>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let chat = chat_id(&path.1)?;
    if let Ok(visit) = &visit {
        // One that is another by now, or nobody's, ends the coming again.
        let marks = thread::marks(&state.db, &visit.scope, Some(chat)).await?;
        if marks.thread.is_empty() {
            return Err(PageError::NotFound);
        }
    }
    begin(visit, Some(chat), &query, state)
}

fn begin(
    visit: Result<TenantVisit, PageError>,
    chat: Option<ChatId>,
    query: &Query,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let visit = match visit {
        Ok(visit) => visit,
        // Not sent to the page of signing in: a stream that was would be asked for again at once.
        Err(PageError::SignIn) => {
            return Ok(ApiError::unauthorized("not_signed_in", "Unauthorized").error_response());
        }
        Err(error) => return Err(error),
    };
    let place = match state.chat_streams.take_place(visit.scope.tenant()) {
        Ok(place) => place,
        Err(error) => return Ok(error.error_response()),
    };
    let mark = |name| query.get(name).unwrap_or_default().to_owned();
    let seen = Marks {
        thread: mark("thread"),
        list: mark("list"),
    };
    let (events, taken) = mpsc::channel(WAITING);
    let stop = state.chat_streams.stop.clone();
    let watcher = Watcher {
        state,
        visit,
        chat,
        events,
    };
    tokio::spawn(async move {
        // Whoever has left is noticed when nothing can be written any more.
        tokio::select! {
            () = watcher.watch(seen) => {}
            () = watcher.events.closed() => {}
            () = stop.cancelled() => {}
        }
        drop(place);
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(ReceiverStream::new(taken).map(Ok::<_, std::io::Error>)))
}

struct Watcher {
    state: Data<State>,
    visit: TenantVisit,
    chat: Option<ChatId>,
    events: mpsc::Sender<Bytes>,
}

#[derive(Template)]
#[template(path = "chats/live.html")]
struct Changed {
    list: Option<ListView>,
    thread: Option<ThreadView>,
}

impl Watcher {
    async fn watch(&self, mut seen: Marks) {
        let until = Instant::now() + LENGTH;
        let mut silent_since = Instant::now();
        let mut troubles = 0;
        while Instant::now() < until && troubles < TROUBLES {
            match self.look(&seen).await {
                Ok(Look::Same) => troubles = 0,
                Ok(Look::Gone) => return,
                Ok(Look::Changed(marks, html)) => {
                    troubles = 0;
                    seen = marks;
                    silent_since = Instant::now();
                    self.write(event(&html)).await;
                }
                Err(error) => {
                    troubles += 1;
                    tracing::warn!(error = %crate::error::chain(&error), "chats could not be looked at");
                }
            }
            if silent_since.elapsed() >= SILENCE {
                silent_since = Instant::now();
                self.write(Bytes::from_static(b": still here\n\n")).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self, seen: &Marks) -> Result<Look, DatabaseError> {
        let (state, visit) = (&self.state, &self.visit);
        let mut marks = thread::marks(&state.db, &visit.scope, self.chat).await?;
        if marks == *seen {
            return Ok(Look::Same);
        }
        let mut changed = Changed {
            list: None,
            thread: None,
        };
        if let Some(chat) = self.chat.filter(|_| marks.thread != seen.thread) {
            // Whoever looks at it reads what comes.
            let references = &state.gate.sender.references;
            let opened = thread::open(&state.db, &visit.scope, references, chat, End::Newest, true).await?;
            let Opened::Here(thread) = opened else {
                return Ok(Look::Gone);
            };
            marks.thread.clone_from(&thread.mark);
            let links = &state.media.links;
            let draft = Draft::default();
            changed.thread = Some(ThreadView::new(
                visit,
                links,
                state.govconnect,
                &thread,
                None,
                draft,
            ));
        }
        // Reading a chat has just changed its line in the list.
        if marks.list != seen.list || changed.thread.is_some() {
            let page = chat_list::page(&state.db, &visit.scope, None, Among::All, InList::TOP).await?;
            marks.list.clone_from(&page.mark);
            let open = self.chat.map(|chat| chat.as_uuid());
            changed.list = Some(ListView::new(visit, &page, Among::All, None, InList::TOP, open));
        }
        let html = changed.render();
        let html = html.map_err(|error| DatabaseError::Refused(Box::new(error)))?;
        Ok(Look::Changed(marks, html))
    }

    async fn write(&self, bytes: Bytes) {
        // Nobody is there to take it: the watch ends.
        drop(self.events.send(bytes).await);
    }
}

enum Look {
    Same,
    Gone,
    Changed(Marks, String),
}

/// An event without a name, whose HTML is put into the page. A line end of any sort ends a line of the stream.
fn event(html: &str) -> Bytes {
    let mut text = String::with_capacity(html.len() + html.len() / 16 + 16);
    for line in html.replace("\r\n", "\n").split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_of_a_message_can_end_an_event() {
        let bytes = event("<p>a\r\n\r\nevent: x\rdata: y\n\n</p>");
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.ends_with("\n\n"));
        for line in text.trim_end().split('\n') {
            assert!(line.starts_with("data: ") || line == "data:", "{line:?}");
            assert!(!line.contains('\r'));
        }
    }

    #[test]
    fn streams_have_a_bound_and_give_their_places_back() {
        let streams = ChatStreams::new(CancellationToken::new());
        let tenant = |id: usize| TenantId::parse(format!("desa-{id}")).unwrap();
        let held: Vec<_> = (0..MOST_OF_TENANT)
            .map(|_| streams.take_place(&tenant(0)).unwrap())
            .collect();
        assert!(streams.take_place(&tenant(0)).is_err());
        let others: Vec<_> = (0..MOST - MOST_OF_TENANT)
            .map(|at| streams.take_place(&tenant(1 + at / MOST_OF_TENANT)).unwrap())
            .collect();
        assert!(streams.take_place(&tenant(999)).is_err());
        drop(held);
        assert!(streams.take_place(&tenant(0)).is_ok());
        drop(others);
        assert!(streams.open.lock().unwrap().is_empty());
    }
}

//! Conversations and their messages: the list with its search, and one of them opened, read, answered and taken over.
//!
//! | file | what it does |
//! |---|---|
//! | `view` | what the templates show |
//! | `bubble` | a message in the thread |
//! | `part` | what it holds, whatever kind it is |
//! | `words` | stable codes in words |
//! | `send` | a form with words, a file, or both |
//! | `live` | what changes while somebody looks |
//!
//! What somebody looks for is sent by POST: people's names and numbers stand in no address.

mod bubble;
pub(crate) mod live;
mod part;
mod send;
mod view;
mod words;

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, Tone, page, see_other};
use domain::ids::{ChatId, MessageId};
use uuid::Uuid;

use self::part::Part;
use self::view::{Draft, ListView, ThreadView, base, read_filter, read_place};
use super::errors::PageError;
use super::frame::Said;
use super::visit::{TenantPosted, TenantVisit};
use crate::app::State;
use crate::flows::chat_list::{self, Sought};
use crate::flows::takeover;
use crate::flows::thread::{self, Opened, Thread};
use crate::store::chat_list::{Among, Place};
use crate::store::takeover::NewTakeover;
use crate::store::thread::End;

const SAID: &[Said] = &[
    (
        "taken",
        Tone::Ok,
        "You answer here now. The AI is silent until you hand the chat back.",
        "Sekarang Anda yang menjawab. AI diam sampai percakapan dikembalikan.",
    ),
    (
        "handed-back",
        Tone::Ok,
        "The chat is handed back.",
        "Percakapan sudah dikembalikan.",
    ),
    (
        "merged",
        Tone::Ok,
        "WhatsApp told us the person's number: this is their chat now.",
        "WhatsApp memberi tahu nomor orang ini: inilah percakapannya sekarang.",
    ),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    let chats = "/t/{tenant}/chats";
    config
        .route(chats, web::get().to(list))
        .route(&format!("{chats}/search"), web::get().to(list))
        .route(&format!("{chats}/search"), web::post().to(search))
        .route(&format!("{chats}/live"), web::get().to(live::of_list))
        .route(&format!("{chats}/{{chat}}"), web::get().to(open))
        .route(&format!("{chats}/{{chat}}/live"), web::get().to(live::of_chat))
        .route(&format!("{chats}/{{chat}}/send"), web::post().to(send::send))
        // Whoever switches the language on the page that a refused form brought comes here.
        .route(&format!("{chats}/{{chat}}/send"), web::get().to(back_to_chat))
        .route(&format!("{chats}/{{chat}}/takeover"), web::post().to(take_over))
        .route(&format!("{chats}/{{chat}}/hand-back"), web::post().to(hand_back));
}

#[derive(Template)]
#[template(path = "chats/page.html")]
struct Page {
    frame: Frame,
    list: ListView,
    thread: Option<ThreadView>,
    /// Where what changes is told; empty where nothing does.
    live: String,
}

impl Page {
    fn new(visit: &TenantVisit, list: ListView, thread: Option<ThreadView>) -> Self {
        let live = live::address(&list, thread.as_ref());
        Self {
            frame: visit.frame_saying("chats", SAID),
            list,
            thread,
            live,
        }
    }
}

async fn list(visit: TenantVisit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    let among = read_filter(query.get("filter"));
    let after = read_place(query.get("after")).unwrap_or(Place::TOP);
    let found = chat_list::page(&state.db, &visit.scope, None, among, after).await?;
    let list = ListView::new(&visit, &found, among, None, after, None);
    Ok(page(StatusCode::OK, &Page::new(&visit, list, None)))
}

async fn search(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let TenantPosted { visit, fields } = posted;
    let among = read_filter(fields.text("filter")?);
    let after = read_place(fields.text("after")?).unwrap_or(Place::TOP);
    let sought = fields.text("words")?.and_then(Sought::parse);
    let found = chat_list::page(&state.db, &visit.scope, sought.as_ref(), among, after).await?;
    let list = ListView::new(&visit, &found, among, sought.as_ref(), after, None);
    Ok(page(StatusCode::OK, &Page::new(&visit, list, None)))
}

fn chat_id(text: &str) -> Result<ChatId, PageError> {
    let id = Uuid::try_parse(text).map_err(|_| PageError::NotFound)?;
    Ok(ChatId::from_uuid(id))
}

fn uuid_of(text: Option<&str>) -> Option<Uuid> {
    text.and_then(|text| Uuid::try_parse(text).ok())
}

async fn open(
    visit: TenantVisit,
    path: web::Path<(String, String)>,
    query: Query,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let chat = chat_id(&path.1)?;
    let id = |name| uuid_of(query.get(name)).map(MessageId::from_uuid);
    let end = match (id("before"), id("with")) {
        (Some(before), _) => End::Before(before),
        (None, Some(with)) => End::With(with),
        (None, None) => End::Newest,
    };
    let draft = Draft {
        to: uuid_of(query.get("answer")),
        ..Draft::default()
    };
    let whole = uuid_of(query.get("whole"));
    let references = &state.gate.sender.references;
    let opened = thread::open(&state.db, &visit.scope, references, chat, end, true).await?;
    match opened {
        Opened::Here(thread) => {
            let shown = shown(&visit, &state, &thread, whole, draft).await?;
            Ok(page(StatusCode::OK, &shown))
        }
        Opened::Became(other) => Ok(see_other(format!("{}/{other}?said=merged", base(&visit.scope)))),
        Opened::Nothing => Err(PageError::NotFound),
    }
}

async fn back_to_chat(
    visit: TenantVisit,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, PageError> {
    let chat = chat_id(&path.1)?;
    Ok(see_other(format!("{}/{chat}", base(&visit.scope))))
}

/// The page of an opened chat, with the list beside it.
async fn shown(
    visit: &TenantVisit,
    state: &State,
    thread: &Thread,
    whole: Option<Uuid>,
    draft: Draft,
) -> Result<Page, PageError> {
    let beside = chat_list::page(&state.db, &visit.scope, None, Among::All, Place::TOP).await?;
    let list = ListView::new(visit, &beside, Among::All, None, Place::TOP, Some(thread.chat.id));
    let links = &state.media.links;
    let thread = ThreadView::new(visit, links, state.govconnect, thread, whole, draft);
    Ok(Page::new(visit, list, Some(thread)))
}

async fn take_over(
    posted: TenantPosted,
    path: web::Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    let chat = chat_id(&path.1)?;
    let new = NewTakeover {
        admin_id: visit.who.id.to_string(),
        admin_name: Some(visit.who.name.clone().unwrap_or_else(|| visit.who.email.clone())),
        reason: None,
    };
    let is_there = takeover::start_in(&state.db, &visit.scope, chat, &new, &visit.actor())
        .await
        .map_err(crate::error::ServiceError::from)?;
    if !is_there {
        return Err(PageError::NotFound);
    }
    Ok(see_other(format!("{}/{chat}?said=taken", base(&visit.scope))))
}

async fn hand_back(
    posted: TenantPosted,
    path: web::Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    let chat = chat_id(&path.1)?;
    takeover::end_in(&state.db, &visit.scope, chat, &visit.actor())
        .await
        .map_err(crate::error::ServiceError::from)?;
    Ok(see_other(format!(
        "{}/{chat}?said=handed-back",
        base(&visit.scope)
    )))
}

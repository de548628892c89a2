//! One message's journey as a timeline, what can be done about it, and finding it by any id.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, ServiceConfig};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language, Tone, page, see_other};
use domain::ids::MessageId;

use super::errors::PageError;
use super::frame::Said;
use super::visit::{Posted, TenantPosted, TenantVisit, Visit};
use super::{HOME, reasons, words};
use crate::app::State;
use crate::flows::dead_letter::{self, Replayed, Wake};
use crate::flows::journey::{self, AnyId, Hop, Journey, What};
use crate::store::message_search::HitRow;

/// Where an id is looked up.
pub(super) const FIND: &str = "/dashboard/find";

const SAID: &[Said] = &[
    (
        "queued",
        Tone::Ok,
        "The message is queued again, in its old place in its chat.",
        "Pesan kembali antre, di tempatnya semula dalam percakapan.",
    ),
    (
        "settled",
        Tone::Ok,
        "The message counts as sent and is not sent again.",
        "Pesan dianggap terkirim dan tidak dikirim lagi.",
    ),
    (
        "went_out",
        Tone::Warn,
        "It turned out meanwhile that the message went out: it is not sent again.",
        "Ternyata pesan sudah terkirim: tidak dikirim lagi.",
    ),
    (
        "not_there",
        Tone::Warn,
        "The message is not put aside any more: somebody was faster.",
        "Pesan tidak lagi disisihkan: sudah ditangani orang lain.",
    ),
    (
        "elsewhere",
        Tone::Bad,
        "The message may have gone out through an endpoint that was left: write it anew.",
        "Pesan mungkin sudah terkirim lewat endpoint yang ditinggalkan: tulis pesan baru.",
    ),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/find", web::get().to(find_form))
        .route("/find", web::post().to(find))
        .route("/t/{tenant}/messages/{id}", web::get().to(show))
        .route("/t/{tenant}/messages/{id}/replay", web::post().to(replay))
        .route("/t/{tenant}/messages/{id}/settle", web::post().to(settle));
}

#[derive(Template)]
#[template(path = "messages/journey.html")]
struct MessagePage {
    frame: Frame,
    /// The page's own address.
    here: String,
    deliveries: String,
    chat: String,
    kind: String,
    tone: &'static str,
    status: String,
    why: Option<reasons::Words>,
    facts: Vec<(String, String)>,
    hops: Vec<HopView>,
    now: Vec<String>,
    can_replay: bool,
    is_unknown: bool,
}

struct HopView {
    at: DateTime<Utc>,
    tone: &'static str,
    what: String,
    details: Vec<String>,
}

async fn show(
    visit: TenantVisit,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let id: MessageId = path.1.parse().map_err(|_| PageError::NotFound)?;
    let found = journey::journey(&state.db, &visit.scope, id).await?;
    let found = found.ok_or(PageError::NotFound)?;
    let frame = visit.frame_saying("deliveries", SAID);
    Ok(page(StatusCode::OK, &message_page(frame, &found)))
}

fn message_page(frame: Frame, found: &Journey) -> MessagePage {
    let (l, message) = (frame.l, &found.message);
    let (tone, status) = words::status(l, &message.status);
    let is_inbound = message.direction == "inbound";
    let place = found.place.as_ref();
    let code = message
        .reason
        .as_deref()
        .or_else(|| place.and_then(|place| place.last_error.as_deref()))
        .filter(|code| !code.is_empty());
    let is_aside = place.is_some_and(|place| place.parked)
        && ["parked", "failed", "unknown"].contains(&message.status.as_str());
    let own = format!("{HOME}/t/{}", message.tenant_id);
    MessagePage {
        here: format!("{own}/messages/{}", message.message_id),
        deliveries: format!("{own}/deliveries"),
        chat: format!("{own}/chats/{}", message.chat_id),
        kind: words::kind(l, &message.kind),
        tone: if is_inbound { "ok" } else { tone },
        status: if is_inbound {
            l.t("Received", "Diterima").to_owned()
        } else {
            status
        },
        why: code.map(|code| reasons::words(l, code)),
        facts: facts(l, found),
        hops: found.hops.iter().map(|hop| hop_view(l, hop)).collect(),
        now: now(l, found),
        can_replay: is_aside,
        is_unknown: is_aside && message.status == "unknown",
        frame,
    }
}

fn facts(l: Language, found: &Journey) -> Vec<(String, String)> {
    let message = &found.message;
    let direction = match message.direction.as_str() {
        "inbound" => l.t("from a person", "dari seseorang"),
        _ => l.t("to a person", "kepada seseorang"),
    };
    let mut facts = vec![
        (l.t("Direction", "Arah").to_owned(), direction.to_owned()),
        (
            l.t("Message id", "Id pesan").to_owned(),
            message.message_id.to_string(),
        ),
        (
            l.t("WhatsApp id", "Id WhatsApp").to_owned(),
            message.provider_message_id.clone(),
        ),
    ];
    for (label, value) in [
        (l.t("Ordered as", "Dipesan sebagai"), message.ordered_as.clone()),
        (
            l.t("Message in Chatwoot", "Pesan di Chatwoot"),
            message.chatwoot_message.clone(),
        ),
        (
            l.t("Request", "Permintaan"),
            found.place.as_ref().and_then(|place| place.caused_by.clone()),
        ),
        (
            "Endpoint",
            Some(format!("{} ({})", message.endpoint, message.provider)),
        ),
    ] {
        if let Some(value) = value {
            facts.push((label.to_owned(), value));
        }
    }
    facts
}

fn hop_view(l: Language, hop: &Hop) -> HopView {
    let class = hop.class.as_deref().unwrap_or_default();
    let (tone, what) = match hop.what {
        What::Written => (
            "idle",
            l.t("Written on WhatsApp", "Ditulis di WhatsApp").to_owned(),
        ),
        What::Accepted => (
            "ok",
            l.t("A webhook brought it", "Datang lewat webhook").to_owned(),
        ),
        What::Ordered => (
            "ok",
            l.t(
                "Ordered, and put on its chat's lane",
                "Dipesan, dan masuk antrean percakapan",
            )
            .to_owned(),
        ),
        What::Kept => ("ok", l.t("Stored", "Tersimpan").to_owned()),
        What::File => ("idle", l.t("It has a file", "Ada berkasnya").to_owned()),
        What::FileSettled => (
            "idle",
            format!("{}: {}", l.t("The file", "Berkasnya"), class.replace('_', " ")),
        ),
        What::Replayed => (
            "idle",
            l.t("Somebody replayed it", "Dikirim ulang oleh seseorang")
                .to_owned(),
        ),
        What::Settled => (
            "ok",
            l.t("Somebody marked it as sent", "Ditandai terkirim oleh seseorang")
                .to_owned(),
        ),
        What::Shown => (
            "idle",
            l.t("Somebody read it", "Dibaca oleh seseorang").to_owned(),
        ),
        What::Attempt => attempt(l, class),
        What::Stands => words::status(l, class),
        What::Reported => {
            let (tone, status) = words::status(l, class);
            (tone, format!("{}: {status}", l.t("Reported", "Dilaporkan")))
        }
        What::HandedOver if class == "handed_over" => {
            ("ok", l.t("Handed over to the AI", "Diserahkan ke AI").to_owned())
        }
        What::HandedOver => (
            "idle",
            format!(
                "{}: {}",
                l.t("Not handed over to the AI", "Tidak diserahkan ke AI"),
                class.replace('_', " ")
            ),
        ),
        What::Answer => (
            "idle",
            format!(
                "{}: {}",
                l.t("The AI's answer", "Jawaban AI"),
                class.replace('_', " ")
            ),
        ),
        What::Edited => ("idle", l.t("Edited", "Disunting").to_owned()),
        What::Revoked => (
            "idle",
            l.t("Deleted for everybody", "Dihapus untuk semua").to_owned(),
        ),
    };
    let mut details = Vec::new();
    if let Some(code) = &hop.code {
        details.push(format!("{} ({code})", reasons::words(l, code).what));
    }
    if let Some(number) = hop.attempt {
        let words = match hop.what {
            What::Attempt => l.t("attempt", "percobaan"),
            _ => l.t("failures", "kegagalan"),
        };
        details.push(format!("{words} {}", l.number(number)));
    }
    if let Some(endpoint) = &hop.endpoint {
        details.push(format!("{} {endpoint}", l.t("through", "lewat")));
    }
    if let Some(took) = hop.took_ms {
        details.push(format!("{} ms", l.number(took)));
    }
    if let Some(by) = &hop.by {
        let by = match hop.what {
            What::Ordered => source(l, by),
            _ => by,
        };
        details.push(format!("{} {by}", l.t("by", "oleh")));
    }
    HopView {
        at: hop.at,
        tone,
        what,
        details,
    }
}

/// Who orders messages.
fn source(l: Language, source: &str) -> &str {
    match source {
        "api" => l.t("the API or an agent", "API atau agen"),
        "ai" => l.t("the AI", "AI"),
        "admin" => l.t("a person at the dashboard", "seseorang di dasbor"),
        "system" => l.t("another service", "layanan lain"),
        other => other,
    }
}

fn attempt(l: Language, outcome: &str) -> (&'static str, String) {
    let (tone, words) = match outcome {
        "accepted" => ("ok", l.t("WhatsApp took it", "WhatsApp menerimanya")),
        "retry_later" => ("warn", l.t("It did not go out", "Belum terkirim")),
        "rate_limited" => (
            "warn",
            l.t("WhatsApp asks to slow down", "WhatsApp meminta lebih lambat"),
        ),
        "rejected" => ("bad", l.t("WhatsApp refused it", "WhatsApp menolaknya")),
        "unknown" => (
            "warn",
            l.t(
                "Nobody knows whether it went out",
                "Tidak diketahui apakah terkirim",
            ),
        ),
        other => return ("idle", other.replace('_', " ")),
    };
    (tone, words.to_owned())
}

/// What is still to come.
fn now(l: Language, found: &Journey) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(place) = &found.place {
        if place.parked {
            lines.push(
                l.t(
                    "It is put aside and not tried again by itself.",
                    "Pesan disisihkan dan tidak dicoba lagi dengan sendirinya.",
                )
                .to_owned(),
            );
        } else if let Some(until) = place.leased_until {
            lines.push(format!(
                "{} {}",
                l.t(
                    "A worker has its chat in hand until",
                    "Percakapannya sedang dikerjakan sampai",
                ),
                l.exactly(until)
            ));
        } else if let Some(due) = place.due_at {
            lines.push(format!(
                "{} {}",
                l.t("Its chat's turn is at", "Giliran percakapannya pada"),
                l.exactly(due)
            ));
        }
        if !place.parked && place.ahead > 0 {
            lines.push(l.count(
                place.ahead,
                "message of the chat goes first",
                "messages of the chat go first",
                "pesan lain di percakapan ini didahulukan",
            ));
        }
    }
    for event in &found.waiting_events {
        lines.push(format!(
            "{} {} ({})",
            l.t("The broker has not confirmed", "Broker belum menerima"),
            event.event_type,
            l.ago(event.since)
        ));
    }
    if found.waiting_events.is_empty() {
        lines.push(
            l.t(
                "Every event about it was published.",
                "Semua kabar tentang pesan ini sudah diumumkan.",
            )
            .to_owned(),
        );
    }
    lines
}

async fn replay(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let id: MessageId = path.1.parse().map_err(|_| PageError::NotFound)?;
    let visit = &posted.visit;
    let actor = visit.actor();
    let done = dead_letter::replay(&state.db, wake(&state), &visit.scope, id, &actor).await?;
    let said = match done {
        Replayed::Queued => "queued",
        Replayed::WentOut => "went_out",
        Replayed::MayBeOutElsewhere => "elsewhere",
        Replayed::NotThere => return gone(visit, id, &state).await,
    };
    Ok(back(visit, id, said))
}

async fn settle(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let id: MessageId = path.1.parse().map_err(|_| PageError::NotFound)?;
    let visit = &posted.visit;
    let actor = visit.actor();
    if dead_letter::settle_as_sent(&state.db, wake(&state), &visit.scope, id, &actor).await? {
        return Ok(back(visit, id, "settled"));
    }
    gone(visit, id, &state).await
}

/// Somebody was faster, unless the tenant has no such message.
async fn gone(visit: &TenantVisit, id: MessageId, state: &State) -> Result<HttpResponse, PageError> {
    match journey::journey(&state.db, &visit.scope, id).await? {
        Some(_) => Ok(back(visit, id, "not_there")),
        None => Err(PageError::NotFound),
    }
}

fn back(visit: &TenantVisit, id: MessageId, said: &str) -> HttpResponse {
    see_other(format!(
        "{HOME}/t/{}/messages/{id}?said={said}",
        visit.scope.tenant()
    ))
}

fn wake(state: &State) -> Wake<'_> {
    Wake {
        relay: &state.relay,
        senders: &state.senders,
    }
}

#[derive(Template)]
#[template(path = "messages/found.html")]
struct FoundPage {
    frame: Frame,
    asked: String,
    hits: Vec<Hit>,
    ask: Vec<String>,
    is_all: bool,
    is_new: bool,
}

struct Hit {
    href: String,
    tenant: String,
    kind: String,
    tone: &'static str,
    status: String,
    found_by: &'static str,
    at: DateTime<Utc>,
}

async fn find_form(visit: Visit) -> Result<HttpResponse, PageError> {
    Ok(page(StatusCode::OK, &found_page(&visit, String::new(), true)))
}

fn found_page(visit: &Visit, asked: String, is_new: bool) -> FoundPage {
    FoundPage {
        frame: visit.frame("find"),
        asked,
        hits: Vec::new(),
        ask: Vec::new(),
        is_all: visit.is_superadmin(),
        is_new,
    }
}

async fn find(posted: Posted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Posted { visit, fields } = posted;
    let asked = fields.filled("id")?.unwrap_or_default();
    let Some(id) = AnyId::parse(asked) else {
        return Ok(see_other(FIND));
    };
    let found = match visit.who.own_tenant() {
        Some(own) => journey::find(&state.db, own, &id).await?,
        None => journey::find_everywhere(&state.db, &id).await?,
    };
    if let [only] = found.messages.as_slice() {
        return Ok(see_other(address(only)));
    }
    let l = visit.l();
    let mut shown = found_page(&visit, id.as_str().to_owned(), false);
    shown.hits = found.messages.iter().map(|hit| hit_view(l, hit)).collect();
    shown.ask = found.ask.iter().map(|service| (*service).to_owned()).collect();
    let status = match shown.hits.is_empty() {
        true => StatusCode::NOT_FOUND,
        false => StatusCode::OK,
    };
    Ok(page(status, &shown))
}

fn address(hit: &HitRow) -> String {
    format!("{HOME}/t/{}/messages/{}", hit.tenant_id, hit.message_id)
}

fn hit_view(l: Language, hit: &HitRow) -> Hit {
    let (tone, status) = match hit.direction.as_str() {
        "inbound" => ("ok", l.t("Received", "Diterima").to_owned()),
        _ => words::status(l, &hit.status),
    };
    Hit {
        href: address(hit),
        tenant: hit.tenant_id.clone(),
        kind: words::kind(l, &hit.kind),
        tone,
        status,
        found_by: match hit.found_by.as_str() {
            "message" => l.t("our id", "id kami"),
            "provider" => l.t("WhatsApp's id", "id WhatsApp"),
            "ordered_as" => l.t("the id it was ordered under", "id saat dipesan"),
            "request" => l.t("the order's id or key", "id atau kunci permintaan"),
            _ => l.t("Chatwoot's id", "id Chatwoot"),
        },
        at: hit.created_at,
    }
}

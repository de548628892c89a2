//! What we depend on, and how it is.

use std::time::Instant;

use ::web::health::Health;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language, page};
use futures_util::future::join_all;

use super::errors::PageError;
use super::visit::Visit;
use super::wording;
use crate::app::State;
use crate::flows::system::{self, SystemView};
use crate::store::system::{Backlog, COUNTED};
use crate::workers::replicas::SILENT;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/system", web::get().to(show))
        .route("/system/now", web::get().to(now));
}

/// What we depend on: its name in the health checks, and what its absence means.
const DEPENDENCIES: [(&str, &str, &str, &str); 3] = [
    (
        "postgres",
        "PostgreSQL",
        "Away, nothing is accepted: senders are told to come back.",
        "Bila tidak ada, tidak ada yang diterima: pengirim diminta datang lagi.",
    ),
    (
        "redis",
        "Redis",
        "Away, everything works, but slower.",
        "Bila tidak ada, semuanya tetap berjalan, hanya lebih lambat.",
    ),
    (
        "rabbitmq",
        "RabbitMQ",
        "Away, events wait in the outbox and nothing is lost.",
        "Bila tidak ada, kejadian menunggu di outbox dan tidak ada yang hilang.",
    ),
];

struct Dependency {
    name: &'static str,
    is_up: bool,
    took: String,
    meaning: &'static str,
}

struct Waiting {
    words: &'static str,
    meaning: &'static str,
    many: String,
    oldest: Option<DateTime<Utc>>,
    is_ahead: bool,
    tone: &'static str,
}

/// What is looked at anew every few seconds.
struct Parts {
    dependencies: Vec<Dependency>,
    waiting: Vec<Waiting>,
    leases: Vec<(&'static str, String)>,
    replicas: Vec<Process>,
    /// Postgres did not tell.
    is_blind: bool,
    at: DateTime<Utc>,
}

struct Process {
    host: String,
    version: String,
    started_at: DateTime<Utc>,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "system/system.html")]
struct Page {
    frame: Frame,
    parts: Parts,
}

#[derive(Template)]
#[template(path = "system/now.html")]
struct Now {
    frame: Frame,
    parts: Parts,
}

async fn show(visit: Visit, state: Data<State>, health: Data<Health>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let parts = look(visit.l(), &state, &health).await;
    let frame = visit.frame("system");
    Ok(page(StatusCode::OK, &Page { frame, parts }))
}

/// The part that changes, for the page that stands already.
async fn now(visit: Visit, state: Data<State>, health: Data<Health>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let parts = look(visit.l(), &state, &health).await;
    let frame = visit.frame("system");
    Ok(page(StatusCode::OK, &Now { frame, parts }))
}

async fn look(l: Language, state: &State, health: &Health) -> Parts {
    let asked = DEPENDENCIES.map(|(key, name, en, id)| async move {
        let begun = Instant::now();
        let is_up = health.is_up(key).await.unwrap_or(false);
        Dependency {
            name,
            is_up,
            // The connection to the broker is watched all the time: nobody waits for an answer.
            took: match key {
                "rabbitmq" => "–".to_owned(),
                _ => console::plot::duration(l, begun.elapsed().as_secs_f64() * 1e3),
            },
            meaning: l.t(en, id),
        }
    });
    let (dependencies, view) = futures_util::join!(join_all(asked), system::show(&state.db, SILENT));
    let view = match view {
        Ok(view) => Some(view),
        Err(error) => {
            tracing::warn!(error = %crate::error::chain(&error), "the system could not be looked at");
            None
        }
    };
    Parts {
        dependencies,
        waiting: view.as_ref().map(|view| waiting(l, view)).unwrap_or_default(),
        leases: view.as_ref().map(|view| leases(l, view)).unwrap_or_default(),
        is_blind: view.is_none(),
        replicas: view.map(|view| processes(state, view)).unwrap_or_default(),
        at: Utc::now(),
    }
}

fn waiting(l: Language, view: &SystemView) -> Vec<Waiting> {
    let backlogs = &view.backlogs;
    let row = |words, meaning, backlog: &Backlog, tone| Waiting {
        words,
        meaning,
        many: wording::bounded(l, backlog.many, COUNTED),
        // Of more than were counted, the oldest of all is only known where they were counted in their order.
        oldest: backlog.oldest,
        is_ahead: false,
        tone: if backlog.many > 0 { tone } else { "" },
    };
    let mut later = row(
        l.t(
            "Chats that wait for a retry",
            "Percakapan yang menunggu percobaan ulang",
        ),
        l.t("Their turn comes by itself.", "Gilirannya datang sendiri."),
        &backlogs.lanes_later,
        "",
    );
    later.is_ahead = true;
    let mut parked = row(
        l.t("Put aside (dead letters)", "Disisihkan (dead letter)"),
        l.t(
            "Work that is not tried again by itself. Look at it in Deliveries.",
            "Pekerjaan yang tidak dicoba lagi sendiri. Lihat di Pengiriman.",
        ),
        &backlogs.parked,
        "warn",
    );
    if backlogs.parked.many > COUNTED {
        parked.oldest = None;
    }
    let mut quarantine = row(
        l.t("Quarantine", "Karantina"),
        l.t(
            "Webhooks that are nobody's or cannot be used.",
            "Webhook yang bukan milik siapa pun atau tidak bisa dipakai.",
        ),
        &backlogs.quarantine,
        "warn",
    );
    if backlogs.quarantine.many > COUNTED {
        quarantine.oldest = None;
    }
    vec![
        row(
            l.t("Outbox", "Outbox"),
            l.t(
                "Events that RabbitMQ has to take. Nearly empty is healthy.",
                "Kejadian yang harus diambil RabbitMQ. Hampir kosong berarti sehat.",
            ),
            &backlogs.outbox,
            "",
        ),
        row(
            l.t("Chats whose turn it is", "Percakapan yang mendapat giliran"),
            l.t(
                "Lanes with work that may be done now; the oldest tells how far sending is behind.",
                "Jalur dengan pekerjaan yang bisa dikerjakan sekarang; yang tertua menunjukkan keterlambatan.",
            ),
            &backlogs.lanes_due,
            "",
        ),
        later,
        parked,
        row(
            l.t("Too large for RabbitMQ", "Terlalu besar untuk RabbitMQ"),
            l.t("Events that stay for people.", "Kejadian yang harus ditangani."),
            &backlogs.outbox_parked,
            "warn",
        ),
        quarantine,
    ]
}

fn leases(l: Language, view: &SystemView) -> Vec<(&'static str, String)> {
    let words = |name: &str| match name {
        "outbox relay" => Some(l.t("Publishes events", "Menerbitkan kejadian")),
        "endpoint health" => Some(l.t("Checks endpoints", "Memeriksa endpoint")),
        _ => None,
    };
    let known = view.leases.iter();
    known
        .filter_map(|lease| Some((words(&lease.name)?, lease.name.clone())))
        .collect()
}

fn processes(state: &State, view: SystemView) -> Vec<Process> {
    let process = |replica: crate::store::system::Replica| Process {
        is_this: replica.id == state.process.id,
        host: replica.host,
        version: replica.version,
        started_at: replica.started_at,
    };
    view.replicas.into_iter().map(process).collect()
}

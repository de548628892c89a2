//! What is on its way, what waits, what was put aside: of one tenant, and of all of them for superadmins.

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use console::{Frame, Language, address, page, see_other};
use domain::ids::TenantId;
use domain::message::MessageKind;
use uuid::Uuid;

use super::errors::PageError;
use super::visit::{TenantVisit, Visit};
use super::{HOME, reasons, words};
use crate::app::State;
use crate::flows::{delivery, replay_job};
use crate::store::delivery::{
    DeliveryCounts, DeliveryFilter, DeliveryPage, DeliveryRow, DeliveryState, MOST_COUNTED,
};
use crate::store::replay_job::JobRow;

/// Newest orders that a page shows.
const ORDERS: i64 = 5;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/deliveries", web::get().to(of_all))
        .route("/t/{tenant}/deliveries", web::get().to(of_tenant));
}

/// How long ago a message was ordered at least: the word in the address, hours, and the words.
const AGES: [(&str, i64, &str, &str); 4] = [
    ("1h", 1, "older than an hour", "lebih dari satu jam"),
    ("1d", 24, "older than a day", "lebih dari sehari"),
    ("7d", 168, "older than a week", "lebih dari seminggu"),
    ("30d", 720, "older than a month", "lebih dari sebulan"),
];

/// What somebody wants to see.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    state: DeliveryState,
    filter: DeliveryFilter,
    age: String,
    after: Option<Uuid>,
}

impl Wish {
    fn read(query: &Query) -> Self {
        let text = |name: &str| {
            // No code and no kind holds a NUL, and Postgres takes none.
            let text = query.get(name).map(|text| text.replace('\0', ""));
            text.filter(|text| (1..=100).contains(&text.len()))
        };
        let age = text("age").unwrap_or_default();
        let hours = AGES
            .iter()
            .find(|(word, ..)| *word == age)
            .map(|(_, hours, ..)| *hours);
        Self {
            state: text("state")
                .and_then(|state| DeliveryState::parse(&state))
                .unwrap_or(DeliveryState::Parked),
            filter: DeliveryFilter {
                account: text("account").and_then(|id| Uuid::try_parse(&id).ok()),
                kind: text("kind"),
                reason: text("reason"),
                ordered_before: hours.map(|hours| Utc::now() - TimeDelta::hours(hours)),
            },
            age: if hours.is_some() { age } else { String::new() },
            after: text("after").and_then(|id| Uuid::try_parse(&id).ok()),
        }
    }

    /// The address of another state or another page of the same.
    fn address(&self, base: &str, state: DeliveryState, after: Option<Uuid>) -> String {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let filter = &self.filter;
        address(
            base,
            &[
                ("state", state.as_str()),
                ("account", &text(filter.account)),
                ("kind", filter.kind.as_deref().unwrap_or_default()),
                ("reason", filter.reason.as_deref().unwrap_or_default()),
                ("age", &self.age),
                ("after", &text(after)),
            ],
        )
    }
}

struct Tab {
    href: String,
    label: &'static str,
    count: String,
    active: bool,
}

struct Choice {
    value: String,
    label: String,
    selected: bool,
}

struct Row {
    id: Uuid,
    href: String,
    tenant: String,
    kind: String,
    tone: &'static str,
    status: String,
    what: String,
    remedy: String,
    ordered: DateTime<Utc>,
    attempts: i64,
    due: Option<DateTime<Utc>>,
}

struct Order {
    href: String,
    asked: DateTime<Utc>,
    by: String,
    state: String,
    turned: i64,
    total: i64,
}

#[derive(Template)]
#[template(path = "deliveries/list.html")]
struct List {
    frame: Frame,
    /// Whose list it is, without the query.
    base: String,
    /// Where a replay is looked at.
    look: String,
    is_all: bool,
    state: DeliveryState,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    accounts: Vec<Choice>,
    kinds: Vec<Choice>,
    reasons: Vec<Choice>,
    ages: Vec<Choice>,
    ordered_before: String,
    is_filtered: bool,
    first: String,
    next: String,
    orders: Vec<Order>,
}

impl List {
    fn can_replay(&self) -> bool {
        matches!(self.state, DeliveryState::Parked | DeliveryState::Unknown)
    }

    fn meaning(&self) -> &'static str {
        let l = self.frame.l;
        match self.state {
            DeliveryState::InFlight => l.t(
                "On their way, and nothing went wrong so far. Oldest first.",
                "Sedang berjalan, dan sejauh ini tidak ada masalah. Yang terlama lebih dulu.",
            ),
            DeliveryState::Retrying => l.t(
                "They are tried again by themselves, or wait for something to end. Oldest first.",
                "Dicoba lagi dengan sendirinya, atau menunggu sesuatu selesai. Yang terlama lebih dulu.",
            ),
            DeliveryState::Parked => l.t(
                "They did not go out and are not tried again by themselves. Mend the cause, then replay them. Oldest first.",
                "Tidak terkirim dan tidak dicoba lagi dengan sendirinya. Perbaiki penyebabnya, lalu kirim ulang. Yang terlama lebih dulu.",
            ),
            DeliveryState::Unknown => l.t(
                "Nobody knows whether they went out. Look on the phone before you replay them. Oldest first.",
                "Tidak diketahui apakah sudah terkirim. Lihat di ponsel sebelum mengirim ulang. Yang terlama lebih dulu.",
            ),
        }
    }

    fn nothing(&self) -> (&'static str, &'static str) {
        let l = self.frame.l;
        if self.is_filtered || !self.first.is_empty() {
            return (
                l.t("Nothing fits", "Tidak ada yang cocok"),
                l.t(
                    "Choose another filter, or look further if there is more.",
                    "Pilih saringan lain, atau lihat berikutnya bila masih ada.",
                ),
            );
        }
        match self.state {
            DeliveryState::InFlight => (
                l.t("Nothing is on its way", "Tidak ada yang sedang berjalan"),
                l.t(
                    "Write to somebody under Chats and watch it go out here.",
                    "Tulis pesan di Percakapan dan lihat pesannya berjalan di sini.",
                ),
            ),
            DeliveryState::Retrying => (
                l.t("Nothing waits", "Tidak ada yang menunggu"),
                l.t(
                    "Messages that meet an obstacle appear here while they are tried again.",
                    "Pesan yang terhalang muncul di sini selama dicoba lagi.",
                ),
            ),
            DeliveryState::Parked | DeliveryState::Unknown => (
                l.t("Nothing needs you", "Tidak ada yang perlu ditangani"),
                l.t(
                    "Messages that cannot go out by themselves appear here, with what to do about them.",
                    "Pesan yang tidak dapat terkirim sendiri muncul di sini, dengan cara menanganinya.",
                ),
            ),
        }
    }
}

async fn of_tenant(visit: TenantVisit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    let wish = Wish::read(&query);
    let found = delivery::list(&state.db, &visit.scope, wish.state, &wish.filter, wish.after).await?;
    let accounts = delivery::accounts(&state.db, &visit.scope).await?;
    let orders = replay_job::newest(&state.db, &visit.scope, ORDERS).await?;
    let own = format!("{HOME}/t/{}", visit.scope.tenant());
    let mut list = list(
        visit.frame("deliveries"),
        format!("{own}/deliveries"),
        &wish,
        found,
    );
    list.look = format!("{own}/replays/look");
    list.accounts = accounts
        .into_iter()
        .map(|(id, name)| Choice {
            selected: wish.filter.account == Some(id),
            value: id.to_string(),
            label: name,
        })
        .collect();
    list.orders = orders.iter().map(|job| order(visit.l(), &own, job)).collect();
    Ok(page(StatusCode::OK, &list))
}

async fn of_all(visit: Visit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    if let Some(own) = visit.who.own_tenant() {
        return Ok(see_other(format!("{HOME}/t/{}/deliveries", own.tenant())));
    }
    visit.superadmin()?;
    let wish = Wish::read(&query);
    if let Some(tenant) = query.get("tenant").and_then(|id| TenantId::parse(id.trim()).ok()) {
        let base = format!("{HOME}/t/{tenant}/deliveries");
        return Ok(see_other(wish.address(&base, wish.state, None)));
    }
    let found = delivery::list_all(&state.db, wish.state, &wish.filter, wish.after).await?;
    let mut list = list(
        visit.frame("deliveries"),
        format!("{HOME}/deliveries"),
        &wish,
        found,
    );
    list.look = format!("{HOME}/replays/look");
    list.is_all = true;
    Ok(page(StatusCode::OK, &list))
}

fn list(frame: Frame, base: String, wish: &Wish, found: (DeliveryPage, DeliveryCounts)) -> List {
    let (found, counts) = found;
    let (l, filter) = (frame.l, &wish.filter);
    let tabs = DeliveryState::ALL.map(|state| Tab {
        href: wish.address(&base, state, None),
        label: tab(l, state),
        count: count(l, &counts, state),
        active: state == wish.state,
    });
    let choice = |value: &str, label: String, chosen: Option<&str>| Choice {
        selected: chosen == Some(value),
        value: value.to_owned(),
        label,
    };
    let mut reasons: Vec<Choice> = reasons::choices(l)
        .into_iter()
        .map(|(code, label)| choice(code, label.to_owned(), filter.reason.as_deref()))
        .collect();
    reasons.sort_by(|a, b| a.label.cmp(&b.label));
    let kinds = MessageKind::ALL.iter().map(|kind| kind.as_str());
    List {
        look: String::new(),
        is_all: false,
        state: wish.state,
        tabs: tabs.into(),
        rows: found.rows.iter().map(|found| row(l, found)).collect(),
        accounts: Vec::new(),
        kinds: kinds
            .map(|kind| choice(kind, words::kind(l, kind), filter.kind.as_deref()))
            .collect(),
        reasons,
        ages: AGES
            .iter()
            .map(|(word, _, en, id)| choice(word, l.t(en, id).to_owned(), Some(&wish.age)))
            .collect(),
        ordered_before: filter
            .ordered_before
            .map(|time| time.to_rfc3339())
            .unwrap_or_default(),
        is_filtered: *filter != DeliveryFilter::default(),
        first: match wish.after {
            Some(_) => wish.address(&base, wish.state, None),
            None => String::new(),
        },
        next: match found.next {
            Some(next) => wish.address(&base, wish.state, Some(next)),
            None => String::new(),
        },
        orders: Vec::new(),
        base,
        frame,
    }
}

fn row(l: Language, found: &DeliveryRow) -> Row {
    let (tone, status) = words::status(l, &found.status);
    let code = found.reason.as_deref().unwrap_or_default();
    let known = (!code.is_empty()).then(|| reasons::words(l, code));
    let (what, remedy) = known.map(|known| (known.what, known.remedy)).unwrap_or_default();
    Row {
        id: found.message_id,
        href: format!("{HOME}/t/{}/messages/{}", found.tenant_id, found.message_id),
        tenant: found.tenant_id.clone(),
        kind: words::kind(l, &found.kind),
        tone,
        status,
        what,
        remedy,
        ordered: found.created_at,
        attempts: found.attempts,
        due: found.due_at.filter(|due| *due > Utc::now()),
    }
}

fn order(l: Language, own: &str, job: &JobRow) -> Order {
    Order {
        href: format!("{own}/replays/{}", job.id),
        asked: job.received_at,
        by: job.asked_by.clone(),
        state: job_state(l, &job.state).to_owned(),
        turned: job.replayed + job.skipped + job.failed,
        total: job.total,
    }
}

/// Where an order to replay many stands.
pub(super) fn job_state(l: Language, state: &str) -> &'static str {
    match state {
        "done" => l.t("Done", "Selesai"),
        "cancelled" => l.t("Cancelled", "Dibatalkan"),
        _ => l.t("Running", "Berjalan"),
    }
}

const fn tab(l: Language, state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::InFlight => l.t("In flight", "Berjalan"),
        DeliveryState::Retrying => l.t("Retrying", "Dicoba lagi"),
        DeliveryState::Parked => l.t("Put aside", "Disisihkan"),
        DeliveryState::Unknown => l.t("Unknown", "Tidak diketahui"),
    }
}

fn count(l: Language, counts: &DeliveryCounts, state: DeliveryState) -> String {
    match counts.of(state) {
        (count, false) => l.number(count),
        (count, true) if count >= MOST_COUNTED => {
            format!("{} {}", l.t("more than", "lebih dari"), l.number(MOST_COUNTED))
        }
        (count, true) => format!("{} {}", l.t("at least", "setidaknya"), l.number(count)),
    }
}

//! Which WhatsApp endpoint a tenant has, and how it is used for it. Keys and addresses of endpoints are never shown: they stand
//! in the configuration, and here are names.

use ::web::Fields;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use chrono::{DateTime, Utc};
use console::{Frame, Language, Tone, page, see_other};
use domain::tenant_config::{
    HEALTH_CHECK_INTERVAL, MESSAGE_TIMEOUT, RECONNECT_INTERVAL, Setting, SettingsChange, TenantSettings,
    WEBHOOK_RETRIES,
};

use super::endpoints::{CHECKED, check_now, kind};
use super::errors::PageError;
use super::frame::Said;
use super::visit::{TenantPosted, TenantVisit};
use super::wording::{self, Health};
use crate::api::tenant_config::{give, take_away};
use crate::app::State;
use crate::endpoints::LiveEndpoint;
use crate::flows::session::{AssignError, Assignment, Foreseen};
use crate::flows::tenant_config::{self, ConfigView};
use crate::store::endpoint_health::HealthStatus;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(
        web::scope("/tenants/{tenant}/setup")
            .route("", web::get().to(show))
            .route("", web::post().to(save))
            .route("/check", web::post().to(check))
            .route("/unassign", web::post().to(unassign)),
    );
}

const SAID: &[Said] = &[
    CHECKED[0],
    CHECKED[1],
    CHECKED[2],
    (
        "given",
        Tone::Ok,
        "The tenant has its endpoint.",
        "Tenant sudah mendapat endpoint.",
    ),
    (
        "moved",
        Tone::Warn,
        "The tenant has moved. Its phones have to be linked anew, and what was on its way waits in Deliveries.",
        "Tenant sudah pindah. Ponselnya perlu dihubungkan ulang, dan pesan yang belum terkirim menunggu di Pengiriman.",
    ),
    (
        "taken",
        Tone::Ok,
        "The tenant has no endpoint of its own any more.",
        "Tenant tidak lagi punya endpoint sendiri.",
    ),
    (
        "devices",
        Tone::Bad,
        "The tenant still has phones on its endpoint. Tick the box if they may stay there.",
        "Tenant masih punya ponsel di endpoint ini. Centang kotaknya bila boleh tetap di sana.",
    ),
];

/// One number that can be chosen.
struct Number {
    name: &'static str,
    label: &'static str,
    hint: String,
    value: String,
    error: String,
    least: i32,
    most: i32,
}

/// An entry of the dropdown.
struct Choice {
    name: String,
    words: String,
    is_chosen: bool,
}

/// How the tenant's endpoint is now.
struct Now {
    name: String,
    kind: &'static str,
    badge: &'static str,
    state: &'static str,
    reason: &'static str,
    checked_at: Option<DateTime<Utc>>,
    latency: String,
}

#[derive(Template)]
#[template(path = "setup/setup.html")]
struct Page {
    frame: Frame,
    here: String,
    /// It was given one of its own.
    is_assigned: bool,
    /// Its endpoint, where it is configured.
    now: Option<Now>,
    /// Its endpoint, where it is not configured any more.
    missing: String,
    choices: Vec<Choice>,
    choice_error: String,
    auto_reconnect: bool,
    numbers: Vec<Number>,
    left: Vec<Left>,
}

/// A session that it left elsewhere.
struct Left {
    name: String,
    endpoint: String,
    left_at: DateTime<Utc>,
    next_try: DateTime<Utc>,
}

/// What somebody filled in, as text.
#[derive(Default)]
struct Filled {
    endpoint: String,
    auto_reconnect: bool,
    numbers: [String; 4],
}

const SETTINGS: [Setting; 4] = [
    RECONNECT_INTERVAL,
    HEALTH_CHECK_INTERVAL,
    WEBHOOK_RETRIES,
    MESSAGE_TIMEOUT,
];

impl Filled {
    fn of(settings: &TenantSettings, endpoint: String) -> Self {
        Self {
            endpoint,
            auto_reconnect: settings.auto_reconnect,
            numbers: [
                settings.reconnect_interval.to_string(),
                settings.health_check_interval.to_string(),
                settings.webhook_retries.to_string(),
                settings.message_timeout.to_string(),
            ],
        }
    }

    fn read(fields: &Fields) -> Result<Self, PageError> {
        let text = |name| -> Result<String, PageError> {
            let text = fields.text(name)?.unwrap_or_default();
            // As long as the longest name of an endpoint.
            Ok(text.trim().chars().take(64).collect())
        };
        let [first, second, third, fourth] = SETTINGS.map(|setting| text(setting.name));
        Ok(Self {
            endpoint: text("endpoint_name")?,
            auto_reconnect: fields.text("auto_reconnect")?.is_some(),
            numbers: [first?, second?, third?, fourth?],
        })
    }

    /// The settings, or for each number whether it is wrong.
    fn settings(&self) -> Result<SettingsChange, [bool; 4]> {
        let mut read = [None; 4];
        for ((into, text), setting) in read.iter_mut().zip(&self.numbers).zip(SETTINGS) {
            *into = text.parse().ok().and_then(|number| setting.check(number).ok());
        }
        if read.iter().any(Option::is_none) {
            return Err(read.map(|number| number.is_none()));
        }
        let [
            reconnect_interval,
            health_check_interval,
            webhook_retries,
            message_timeout,
        ] = read;
        Ok(SettingsChange {
            auto_reconnect: Some(self.auto_reconnect),
            reconnect_interval,
            health_check_interval,
            webhook_retries,
            message_timeout,
        })
    }
}

/// What is wrong with what was filled in.
#[derive(Default)]
struct Wrong {
    endpoint: bool,
    numbers: [bool; 4],
}

async fn show(visit: TenantVisit, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    shown(&visit, &state, StatusCode::OK, None, &Wrong::default()).await
}

async fn shown(
    visit: &TenantVisit,
    state: &State,
    status: StatusCode,
    filled: Option<Filled>,
    wrong: &Wrong,
) -> Result<HttpResponse, PageError> {
    let view = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let view = view.ok_or(PageError::NotFound)?;
    let l = visit.l();
    let settings = view.row.as_ref().map(|row| row.settings()).unwrap_or_default();
    let current = view.endpoint.clone().unwrap_or_default();
    let filled = filled.unwrap_or_else(|| Filled::of(&settings, current));
    let out_of_list = l.t("Choose one of the endpoints.", "Pilih salah satu endpoint.");
    let template = Page {
        frame: visit.frame_saying("setup", SAID),
        here: here(visit),
        is_assigned: view.row.is_some(),
        now: now(l, state, &view),
        missing: match &view.endpoint {
            Some(name) if !view.is_available => name.clone(),
            _ => String::new(),
        },
        choices: choices(l, state, &filled.endpoint),
        choice_error: if wrong.endpoint {
            out_of_list.to_owned()
        } else {
            String::new()
        },
        auto_reconnect: filled.auto_reconnect,
        numbers: numbers(l, &filled, wrong),
        left: view
            .left
            .iter()
            .map(|row| Left {
                name: row.session_name.clone(),
                endpoint: row.endpoint.clone(),
                left_at: row.left_at,
                next_try: row.next_try,
            })
            .collect(),
    };
    Ok(page(status, &template))
}

fn here(visit: &TenantVisit) -> String {
    format!("/dashboard/tenants/{}/setup", visit.scope.tenant())
}

fn now(l: Language, state: &State, view: &ConfigView) -> Option<Now> {
    let endpoint = state.endpoints.find(view.endpoint.as_deref()?)?;
    let health = view.health.as_ref();
    let shown = Health::of(l, health.map_or(HealthStatus::Unknown, |health| health.status));
    let latency = health.and_then(|health| health.latency);
    Some(Now {
        name: endpoint.name.to_string(),
        kind: kind(l, endpoint.provider),
        badge: shown.badge,
        state: shown.words,
        reason: health
            .and_then(|health| health.reason.as_deref())
            .map_or("", |code| wording::reason(l, code)),
        checked_at: health.and_then(|health| health.checked_at),
        latency: latency.map_or_else(String::new, |took| {
            console::plot::duration(l, took.as_secs_f64() * 1e3)
        }),
    })
}

fn choices(l: Language, state: &State, chosen: &str) -> Vec<Choice> {
    let choice = |endpoint: &LiveEndpoint| Choice {
        words: format!("{} – {}", endpoint.name, kind(l, endpoint.provider)),
        is_chosen: endpoint.name.as_str() == chosen,
        name: endpoint.name.to_string(),
    };
    state
        .endpoints
        .all()
        .iter()
        .map(|endpoint| choice(endpoint))
        .collect()
}

fn numbers(l: Language, filled: &Filled, wrong: &Wrong) -> Vec<Number> {
    let words = |setting: Setting| {
        if setting == RECONNECT_INTERVAL {
            (
                l.t("Seconds until the first reconnect", "Detik sampai menyambung kembali"),
                l.t(
                    "How long to wait before a phone that dropped is connected again; each further try waits twice as long.",
                    "Lama menunggu sebelum ponsel yang terputus disambung lagi; tiap percobaan berikutnya menunggu dua kali lebih lama.",
                ),
            )
        } else if setting == HEALTH_CHECK_INTERVAL {
            (
                l.t("Seconds between two checks", "Detik di antara dua pemeriksaan"),
                l.t(
                    "How often the endpoint is checked. The shortest wish of all its tenants counts.",
                    "Seberapa sering endpoint diperiksa. Yang berlaku adalah jarak terpendek di antara semua tenantnya.",
                ),
            )
        } else if setting == WEBHOOK_RETRIES {
            (
                l.t("Retries of a message", "Percobaan ulang sebuah pesan"),
                l.t(
                    "How often a message that failed is tried again before it is put aside for a person.",
                    "Berapa kali pesan yang gagal dicoba lagi sebelum disisihkan untuk ditangani.",
                ),
            )
        } else {
            (
                l.t("Seconds for one send", "Detik untuk satu pengiriman"),
                l.t(
                    "How long the endpoint may take for one message.",
                    "Waktu paling lama bagi endpoint untuk satu pesan.",
                ),
            )
        }
    };
    let number = |(place, setting): (usize, Setting)| {
        let (label, meaning) = words(setting);
        let bounds = format!("{} – {}", setting.least, setting.most);
        let error = l.t(
            "A whole number within these bounds:",
            "Bilangan bulat dalam batas ini:",
        );
        Number {
            name: setting.name,
            label,
            hint: format!("{meaning} ({bounds})"),
            value: filled.numbers[place].clone(),
            error: if wrong.numbers[place] {
                format!("{error} {bounds}")
            } else {
                String::new()
            },
            least: setting.least,
            most: setting.most,
        }
    };
    SETTINGS.into_iter().enumerate().map(number).collect()
}

#[derive(Template)]
#[template(path = "setup/confirm.html")]
struct Confirm {
    frame: Frame,
    here: String,
    tenant: String,
    from: String,
    to: String,
    devices: String,
    messages: String,
    has_devices: bool,
    has_messages: bool,
    error: String,
    /// What was filled in, to be sent once more.
    kept: Vec<(&'static str, String)>,
    crumbs: Vec<(String, String)>,
}

/// Saves; where the tenant would leave an endpoint with phones or messages on it, asks first and says what that means.
async fn save(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let TenantPosted { visit, fields } = posted;
    visit.superadmin()?;
    let filled = Filled::read(&fields)?;
    let endpoint = state.endpoints.find(&filled.endpoint);
    let settings = filled.settings();
    let (endpoint, change) = match (endpoint, settings) {
        (Some(endpoint), Ok(change)) => (endpoint, change),
        (endpoint, settings) => {
            let wrong = Wrong {
                endpoint: endpoint.is_none(),
                numbers: settings.err().unwrap_or_default(),
            };
            return shown(
                &visit,
                &state,
                StatusCode::UNPROCESSABLE_ENTITY,
                Some(filled),
                &wrong,
            )
            .await;
        }
    };
    let confirmed = fields.text("confirm")?.map(str::trim);
    let is_sure = confirmed == Some(visit.scope.tenant().as_str());
    let foreseen = state
        .sessions
        .foresee(&visit.scope, &endpoint.name, endpoint.provider)
        .await
        .map_err(refused)?;
    let moves = foreseen.devices > 0 || foreseen.in_flight.total() > 0;
    if moves && !is_sure {
        return ask(&visit, &state, &endpoint, &filled, foreseen, confirmed.is_some()).await;
    }
    let assignment = Assignment {
        endpoint: endpoint.name.clone(),
        provider: endpoint.provider,
        change,
        // Whoever typed the tenant's id has read what becomes of its messages.
        force: is_sure,
    };
    match give(&state, &visit.scope, &assignment, &visit.actor()).await {
        Ok(_) => {
            let said = if moves { "moved" } else { "given" };
            Ok(see_other(format!("{}?said={said}", here(&visit))))
        }
        // One was ordered in between.
        Err(AssignError::InFlight(in_flight)) => {
            let foreseen = Foreseen {
                in_flight,
                ..foreseen
            };
            ask(&visit, &state, &endpoint, &filled, foreseen, false).await
        }
        Err(error) => Err(refused(error)),
    }
}

async fn ask(
    visit: &TenantVisit,
    state: &State,
    to: &LiveEndpoint,
    filled: &Filled,
    foreseen: Foreseen,
    was_wrong: bool,
) -> Result<HttpResponse, PageError> {
    let view = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let from = view.and_then(|view| view.endpoint).unwrap_or_default();
    let l = visit.l();
    let mut kept = vec![("endpoint_name", filled.endpoint.clone())];
    if filled.auto_reconnect {
        kept.push(("auto_reconnect", "on".to_owned()));
    }
    let numbers = SETTINGS.iter().zip(&filled.numbers);
    kept.extend(numbers.map(|(setting, text)| (setting.name, text.clone())));
    let wrong = l.t("That is not the tenant's id.", "Itu bukan ID tenant ini.");
    let template = Confirm {
        frame: visit.frame("setup"),
        here: here(visit),
        tenant: visit.scope.tenant().to_string(),
        from,
        to: to.name.to_string(),
        devices: l.count(foreseen.devices, "phone", "phones", "ponsel"),
        messages: l.count(foreseen.in_flight.total(), "message", "messages", "pesan"),
        has_devices: foreseen.devices > 0,
        has_messages: foreseen.in_flight.total() > 0,
        error: if was_wrong {
            wrong.to_owned()
        } else {
            String::new()
        },
        kept,
        crumbs: vec![
            (here(visit), l.t("WhatsApp setup", "Setelan WhatsApp").to_owned()),
            (
                String::new(),
                l.t("Change of endpoint", "Ganti endpoint").to_owned(),
            ),
        ],
    };
    let status = if was_wrong {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    Ok(page(status, &template))
}

async fn unassign(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let TenantPosted { visit, fields } = posted;
    visit.superadmin()?;
    let force = fields.text("force")?.is_some();
    let said = match take_away(&state, &visit.scope, force, &visit.actor()).await {
        Ok(_) => "taken",
        Err(AssignError::HasSessions(_)) => "devices",
        Err(error) => return Err(refused(error)),
    };
    Ok(see_other(format!("{}?said={said}", here(&visit))))
}

async fn check(posted: TenantPosted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    visit.superadmin()?;
    let view = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let endpoint = view
        .filter(|view| view.is_available)
        .and_then(|view| view.endpoint);
    let endpoint = endpoint.ok_or(PageError::NotFound)?;
    let said = check_now(&state, &endpoint).await?;
    Ok(see_other(format!("{}?said={said}", here(&visit))))
}

fn refused(error: AssignError) -> PageError {
    match error {
        AssignError::NoSuchTenant => PageError::NotFound,
        AssignError::TooMany(_) => PageError::said(
            StatusCode::CONFLICT,
            "More messages are on their way than can be put aside at once. Suspend the tenant, wait until they are fewer, and try again.",
            "Terlalu banyak pesan yang sedang dikirim. Tangguhkan tenant, tunggu sampai berkurang, lalu coba lagi.",
        ),
        other => PageError::Service(other.into()),
    }
}

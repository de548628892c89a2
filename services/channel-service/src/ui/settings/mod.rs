//! A tenant's own settings, a form for each subject, and who the spam guard keeps from the AI.

mod programs;

use std::time::Duration;

use ::web::Fields;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use cache::{Ban, SpamRules};
use chrono::{DateTime, TimeDelta};
use console::{Frame, Language, Tone, page, see_other};
use domain::endpoint::Provider;
use tenant_isolation::TenantScope;

use super::errors::PageError;
use super::frame::Said;
use super::visit::{TenantPosted, TenantVisit};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::courtesies::{self, Courtesies};
use crate::flows::identifier::read_identifier;
use crate::flows::session::Which;
use crate::flows::spam_ban::{self, SpamBanError};
use crate::flows::tenant::{self, KeptPlacesChange};
use crate::flows::{channel_account, tenant_config};
use crate::store::channel_account::ChannelAccountChange;

/// Longest number that people are shown, in digits.
const LONGEST_NUMBER: usize = 32;

const SAID: &[Said] = &[
    (
        "lifted",
        Tone::Ok,
        "This person reaches the AI again.",
        "Orang ini bisa menghubungi AI lagi.",
    ),
    (
        "no-ban",
        Tone::Ok,
        "There was no block any more.",
        "Pemblokirannya sudah tidak ada.",
    ),
];

pub(super) fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| format!("/t/{{tenant}}/settings{path}");
    config
        .route(&at(""), web::get().to(show))
        .route(&at("/reading"), web::post().to(set_reading))
        .route(&at("/channels"), web::post().to(set_channels))
        .route(&at("/kept"), web::post().to(set_kept))
        .route(&at("/bans"), web::post().to(lift));
    programs::routes(config);
}

type Answered = Result<HttpResponse, PageError>;

fn base(scope: &TenantScope) -> String {
    format!("/dashboard/t/{}/settings", scope.tenant())
}

/// Which channels are on.
struct Channels {
    whatsapp: bool,
    webchat: bool,
    number: String,
    /// What is wrong with the number.
    error: String,
}

/// How the tenant's server is used for it; chosen by a superadmin.
struct ServerFacts {
    name: Option<String>,
    is_available: bool,
    /// A name, what it is, and what it means.
    rows: Vec<(&'static str, String, &'static str)>,
    /// Where Meta posts, for who sets it up there.
    callback: Option<String>,
}

/// What the spam guard does.
enum Guard {
    /// Its memory cannot be read.
    Away,
    /// Nothing.
    Off,
    /// Its rules, and whom it keeps off.
    On { rules: String, bans: Vec<BanLine> },
}

struct BanLine {
    person: String,
    why: String,
    since: String,
    until: String,
}

#[derive(Template)]
#[template(path = "settings/settings.html")]
struct SettingsPage {
    frame: Frame,
    base: String,
    superadmin: bool,
    /// Where a superadmin changes what the tenant cannot.
    setup: String,
    reading: Courtesies,
    channels: Channels,
    keep_groups: bool,
    keep_broadcasts: bool,
    keep_status: bool,
    server: ServerFacts,
    guard: Guard,
}

async fn show(visit: TenantVisit, state: Data<State>) -> Answered {
    let frame = visit.frame_saying("settings", SAID);
    settings_page(&visit, &state, frame, StatusCode::OK, None).await
}

/// The page; with what was filled in where that was not taken.
async fn settings_page(
    visit: &TenantVisit,
    state: &State,
    frame: Frame,
    status: StatusCode,
    refused: Option<Channels>,
) -> Answered {
    let scope = &visit.scope;
    let channels = match refused {
        Some(refused) => refused,
        None => {
            let row = channel_account::find(&state.db, scope).await?;
            match row {
                Some(row) => Channels {
                    whatsapp: row.enabled_wa,
                    webchat: row.enabled_webchat,
                    number: row.wa_number,
                    error: String::new(),
                },
                // Never set: everything is on, and the number is that of the first phone.
                None => Channels {
                    whatsapp: true,
                    webchat: true,
                    number: first_number(state, scope).await?,
                    error: String::new(),
                },
            }
        }
    };
    Ok(page(
        status,
        &SettingsPage {
            base: base(scope),
            superadmin: visit.is_superadmin(),
            setup: format!("/dashboard/tenants/{}/setup", scope.tenant()),
            reading: courtesies::find(&state.db, scope).await?,
            channels,
            keep_groups: visit.tenant.keep_groups,
            keep_broadcasts: visit.tenant.keep_broadcasts,
            keep_status: visit.tenant.keep_status,
            server: server(visit, state).await?,
            guard: guard(visit.l(), state, scope).await?,
            frame,
        },
    ))
}

/// The number of the tenant's first phone; empty without one.
async fn first_number(state: &State, scope: &TenantScope) -> Result<String, PageError> {
    let session = state.sessions.find(scope, Which::Primary).await;
    let session = session.map_err(ServiceError::from)?;
    Ok(session.and_then(|row| row.phone).unwrap_or_default())
}

async fn server(visit: &TenantVisit, state: &State) -> Result<ServerFacts, PageError> {
    let l = visit.l();
    let view = tenant_config::show(&state.db, &state.endpoints, &visit.scope)
        .await?
        .ok_or(PageError::NotFound)?;
    let settings = view.row.as_ref().map(|row| row.settings());
    let seconds = |time: Duration| l.count(time.as_secs(), "second", "seconds", "detik");
    let rows = settings.map_or_else(Vec::new, |settings| {
        vec![
            (
                l.t("Connect again by itself", "Menyambung lagi sendiri"),
                l.t("yes", "ya").to_owned(),
                l.t(
                    "A number whose connection was lost is connected again without anybody asking.",
                    "Nomor yang sambungannya putus disambungkan lagi tanpa diminta.",
                ),
            ),
            (
                l.t("First try after", "Percobaan pertama setelah"),
                seconds(settings.reconnect_interval()),
                l.t(
                    "Later tries come at longer distances.",
                    "Percobaan berikutnya makin jarang.",
                ),
            ),
            (
                l.t("The server is checked every", "Server diperiksa setiap"),
                seconds(settings.health_check_interval()),
                l.t(
                    "So that trouble is seen before people notice it.",
                    "Agar gangguan terlihat sebelum warga merasakannya.",
                ),
            ),
            (
                l.t("Sending is tried again", "Pengiriman diulang"),
                l.count(settings.webhook_retries(), "time", "times", "kali"),
                l.t(
                    "After that the message is put aside and shown under Deliveries.",
                    "Setelah itu pesan disisihkan dan tampil di Pengiriman.",
                ),
            ),
            (
                l.t("One try may take", "Satu percobaan paling lama"),
                seconds(settings.message_timeout()),
                l.t(
                    "An answer that comes later counts as none.",
                    "Jawaban yang datang setelah itu dianggap tidak ada.",
                ),
            ),
        ]
    });
    let mut rows = rows;
    if let (Some(settings), Some(first)) = (settings, rows.first_mut())
        && !settings.auto_reconnect
    {
        first.1 = l.t("no", "tidak").to_owned();
    }
    let endpoint = view
        .endpoint
        .as_deref()
        .and_then(|name| state.endpoints.find(name));
    let is_meta = endpoint.is_some_and(|endpoint| endpoint.provider == Provider::Cloud);
    let callback = (is_meta && visit.is_superadmin())
        .then_some(state.webhook_url.as_deref())
        .flatten()
        .and_then(|url| url.strip_suffix("/webhook"))
        .map(|url| format!("{url}/api/whatsapp/webhook"));
    Ok(ServerFacts {
        name: view.endpoint,
        is_available: view.is_available,
        rows,
        callback,
    })
}

async fn guard(l: Language, state: &State, scope: &TenantScope) -> Result<Guard, PageError> {
    let rules = state.spam_guard.rules();
    if !rules.enabled {
        return Ok(Guard::Off);
    }
    match spam_ban::of_tenant(&state.spam_guard, scope).await {
        Ok(known) => Ok(Guard::On {
            rules: rules_in_words(l, rules),
            bans: known.bans.iter().map(|ban| line(l, ban)).collect(),
        }),
        Err(SpamBanError::Away(_)) => Ok(Guard::Away),
        Err(SpamBanError::Database(error)) => Err(error.into()),
    }
}

fn rules_in_words(l: Language, rules: &SpamRules) -> String {
    let lasting = |time: Duration| l.lasting(TimeDelta::from_std(time).unwrap_or_default());
    let (window, ban) = (lasting(rules.rate_window), lasting(rules.ban));
    let (most, same) = (l.number(rules.rate_max), l.number(rules.max_identical));
    match l {
        Language::En => format!(
            "Whoever writes more than {most} messages within {window}, or the same text more than {same} times before an answer comes, is not passed on to the AI for {ban}. Everything they write is kept and can be read under Chats."
        ),
        Language::Id => format!(
            "Siapa pun yang menulis lebih dari {most} pesan dalam {window}, atau teks yang sama lebih dari {same} kali sebelum dijawab, tidak diteruskan ke AI selama {ban}. Semua pesannya tetap disimpan dan bisa dibaca di Percakapan."
        ),
    }
}

fn line(l: Language, ban: &Ban) -> BanLine {
    let when = |at: i64| DateTime::from_timestamp_millis(at).map_or_else(String::new, |at| l.exactly(at));
    let messages = l.count(ban.messages, "message", "messages", "pesan");
    let why = match (ban.is_of_text, l) {
        (true, Language::En) => format!("the same text {} times: “{}”", ban.messages, ban.text),
        (true, Language::Id) => format!("teks yang sama {} kali: “{}”", ban.messages, ban.text),
        (false, Language::En) => format!("{messages} in a short time"),
        (false, Language::Id) => format!("{messages} dalam waktu singkat"),
    };
    BanLine {
        person: ban.user.clone(),
        why,
        since: when(ban.banned_at),
        until: when(ban.expires_at),
    }
}

/// A box of a form: ticked, or not there at all.
fn ticked(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_some()
}

fn saved(visit: &TenantVisit) -> HttpResponse {
    see_other(format!("{}?said=saved", base(&visit.scope)))
}

async fn set_reading(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    courtesies::set(
        &state.db,
        &state.endpoints,
        &visit.scope,
        Some(ticked(&fields, "auto_read")),
        Some(ticked(&fields, "typing")),
        &visit.actor(),
    )
    .await?;
    Ok(saved(&visit))
}

async fn set_channels(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let typed = fields.text("number")?.unwrap_or_default();
    let (whatsapp, webchat) = (ticked(&fields, "whatsapp"), ticked(&fields, "webchat"));
    let number: String = typed
        .trim()
        .trim_start_matches('+')
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.'))
        .collect();
    if number.len() > LONGEST_NUMBER || !number.chars().all(|c| c.is_ascii_digit()) {
        let l = visit.l();
        let refused = Channels {
            whatsapp,
            webchat,
            number: typed.to_owned(),
            error: l
                .t(
                    "Type the number in digits with the country code, for example 6281234567890, or leave it empty.",
                    "Ketik nomor dengan angka dan kode negara, misalnya 6281234567890, atau kosongkan.",
                )
                .to_owned(),
        };
        let frame = visit.frame("settings");
        return settings_page(&visit, &state, frame, StatusCode::BAD_REQUEST, Some(refused)).await;
    }
    let change = ChannelAccountChange {
        wa_number: Some(&number),
        enabled_wa: Some(whatsapp),
        enabled_webchat: Some(webchat),
    };
    channel_account::set(&state.db, &state.endpoints, &visit.scope, change, &visit.actor()).await?;
    Ok(saved(&visit))
}

/// What is kept besides conversations with one person is decided by whoever answers for the data.
async fn set_kept(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    visit.superadmin()?;
    let change = KeptPlacesChange {
        groups: Some(ticked(&fields, "groups")),
        broadcasts: Some(ticked(&fields, "broadcasts")),
        status: Some(ticked(&fields, "status")),
    };
    let found =
        tenant::set_kept_places(&state.db, &state.routes, &visit.scope, change, &visit.actor()).await?;
    if !found {
        return Err(PageError::NotFound);
    }
    Ok(saved(&visit))
}

async fn lift(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let person = fields.text("person")?.unwrap_or_default();
    let lifted = match read_identifier(person) {
        Ok(person) => {
            spam_ban::lift(
                &state.db,
                &state.spam_guard,
                &visit.scope,
                &person,
                &visit.actor(),
            )
            .await
        }
        Err(_) => Ok(false),
    };
    let said = match lifted {
        Ok(true) => "lifted",
        Ok(false) => "no-ban",
        Err(SpamBanError::Database(error)) => return Err(error.into()),
        Err(SpamBanError::Away(_)) => {
            return Err(PageError::said(
                StatusCode::SERVICE_UNAVAILABLE,
                "The block cannot be lifted right now. Try again in a few seconds.",
                "Pemblokiran belum bisa dicabut saat ini. Coba lagi beberapa detik lagi.",
            ));
        }
    };
    Ok(see_other(format!("{}?said={said}", base(&visit.scope))))
}

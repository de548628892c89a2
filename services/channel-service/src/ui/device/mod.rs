//! A tenant's WhatsApp numbers: what is there, how each stands, linking a phone, and ending it.
//!
//! | page | |
//! |---|---|
//! | `/device` | all numbers; the only one at once, where there may be no other |
//! | `/device/add` | another one ([`acts`]) |
//! | `/device/{device}` | one number, live |
//! | `/device/{device}/link` | the code to scan, live ([`pairing`]) |
//! | `/device/{device}/code` | the code to type instead ([`pairing`]) |
//! | `/device/{device}/{disconnect, logout, delete, duplicate}` | what will happen, and the button for it ([`acts`]) |

mod acts;
mod code_picture;
mod pairing;
mod words;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, ServiceConfig};
use askama::Template;
use console::{Frame, Language, Tone, page};
use domain::endpoint::Provider;
use domain::ids::AccountId;
use tenant_isolation::TenantScope;
use tokio::time::Instant;
use uuid::Uuid;

use self::words::{Act, Now, badge, name_of, now, number_of, trouble};
use super::errors::PageError;
use super::frame::Said;
use super::live::{Teller, last_words};
use super::visit::TenantVisit;
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::session::{DeviceView, Duplicate, SessionError, Sessions, Standing};
use crate::flows::tenant_config;

/// How often a page looks where a device stands.
const EVERY: Duration = Duration::from_secs(3);
/// How long it does so before the browser has to come again.
const LASTING: Duration = Duration::from_secs(600);

const SAID: &[Said] = &[
    (
        "connecting",
        Tone::Ok,
        "It is being connected.",
        "Sedang disambungkan.",
    ),
    (
        "disconnected",
        Tone::Ok,
        "It is disconnected. The phone stays linked.",
        "Sudah diputuskan. Ponsel tetap tertaut.",
    ),
    (
        "logged-out",
        Tone::Ok,
        "The phone is unlinked.",
        "Tautan ponsel sudah dilepas.",
    ),
    (
        "removed",
        Tone::Ok,
        "The number is deleted. Its chats are kept.",
        "Nomor sudah dihapus. Percakapannya tetap tersimpan.",
    ),
    (
        "removing",
        Tone::Warn,
        "The number is being deleted. Its server does not answer yet; it disappears by itself.",
        "Nomor sedang dihapus. Servernya belum menjawab; nomor akan hilang sendiri.",
    ),
    (
        "renamed",
        Tone::Ok,
        "It has its new name.",
        "Namanya sudah diganti.",
    ),
    (
        "ended",
        Tone::Ok,
        "The other connection of this number was ended.",
        "Sambungan lain dari nomor ini sudah diakhiri.",
    ),
];

pub(super) fn routes(config: &mut ServiceConfig) {
    let at = |path: &str| format!("/t/{{tenant}}/device{path}");
    config
        .route(&at(""), web::get().to(show_all))
        .route(&at("/add"), web::get().to(acts::ask_name))
        .route(&at("/add"), web::post().to(acts::add))
        .route(&at("/{device}"), web::get().to(show))
        .route(&at("/{device}/live"), web::get().to(live))
        .route(&at("/{device}/link"), web::get().to(pairing::link))
        .route(&at("/{device}/link/live"), web::get().to(pairing::live))
        .route(&at("/{device}/code"), web::get().to(pairing::ask_number))
        .route(&at("/{device}/code"), web::post().to(pairing::make_code))
        .route(&at("/{device}/name"), web::post().to(acts::rename))
        .route(&at("/{device}/connect"), web::post().to(acts::connect));
    for path in ["disconnect", "logout", "delete", "duplicate"] {
        config.route(&at(&format!("/{{device}}/{path}")), web::get().to(acts::ask));
    }
    config
        .route(&at("/{device}/disconnect"), web::post().to(acts::disconnect))
        .route(&at("/{device}/logout"), web::post().to(acts::log_out))
        .route(&at("/{device}/delete"), web::post().to(acts::delete))
        .route(&at("/{device}/duplicate"), web::post().to(acts::end_duplicates));
}

type Answered = Result<HttpResponse, PageError>;

/// Where a tenant's numbers are.
fn base(scope: &TenantScope) -> String {
    format!("/dashboard/t/{}/device", scope.tenant())
}

/// The device that the path names. What is no id is no device's.
fn device_in(path: &Path<(String, String)>) -> Result<AccountId, PageError> {
    Uuid::parse_str(&path.1)
        .map(AccountId::from_uuid)
        .map_err(|_| PageError::NotFound)
}

/// A device's trouble as the page that says so.
fn failed(error: SessionError) -> PageError {
    if matches!(error, SessionError::NoDevice | SessionError::NoTenant) {
        return PageError::NotFound;
    }
    match trouble(&error) {
        Some((status, en, id)) => PageError::said(status, en, id),
        None => ServiceError::Device(error).into(),
    }
}

/// The part of a device's page that changes by itself.
#[derive(Template)]
#[template(path = "device/now.html")]
struct NowPart<'a> {
    l: Language,
    csrf: &'a str,
    /// Where the device is.
    at: &'a str,
    now: &'a Now,
}

#[derive(Template)]
#[template(path = "device/device.html")]
struct DevicePage {
    frame: Frame,
    base: String,
    at: String,
    name: String,
    /// A [`NowPart`].
    part: String,
    /// There may be others, so one can go back to all.
    is_one_of_many: bool,
    can_disconnect: bool,
    can_log_out: bool,
    is_number: bool,
    is_going: bool,
}

/// A device among others.
struct Line {
    at: String,
    name: String,
    tone: &'static str,
    word: &'static str,
    number: Option<String>,
    endpoint: String,
}

/// What a tenant without any number is told.
#[derive(PartialEq, Eq)]
enum Begin {
    /// Link a phone.
    Phone,
    /// A number at Meta has to be entered.
    Meta,
    /// No server was chosen, or it is not configured.
    NoServer,
}

#[derive(Template)]
#[template(path = "device/all.html")]
struct AllPage {
    frame: Frame,
    base: String,
    /// Where a server is chosen; for superadmins.
    setup: Option<String>,
    begin: Begin,
    list: Vec<Line>,
    /// How many there may be.
    limit: i32,
    may_add: bool,
}

async fn show_all(visit: TenantVisit, state: Data<State>) -> Answered {
    let devices = state.sessions.devices(&visit.scope).await.map_err(failed)?;
    let count = i32::try_from(devices.list.len()).unwrap_or(i32::MAX);
    if devices.limit <= 1
        && let [only] = devices.list.as_slice()
    {
        return one(
            &visit,
            &state,
            only,
            false,
            visit.frame_saying("device", SAID),
            StatusCode::OK,
        )
        .await;
    }
    let base = base(&visit.scope);
    let l = visit.l();
    let list = devices.list.iter().map(|view| {
        let (tone, word) = badge(l, view);
        Line {
            at: format!("{base}/{}", view.row.id),
            name: name_of(&view.row).to_owned(),
            tone,
            word,
            number: number_of(view),
            endpoint: view.row.endpoint.clone(),
        }
    });
    let list = list.collect();
    let begin = begin(&visit, &state).await?;
    Ok(page(
        StatusCode::OK,
        &AllPage {
            frame: visit.frame_saying("device", SAID),
            setup: visit
                .is_superadmin()
                .then(|| format!("/dashboard/tenants/{}/setup", visit.scope.tenant())),
            may_add: count < devices.limit && begin != Begin::NoServer,
            limit: devices.limit,
            base,
            begin,
            list,
        },
    ))
}

/// What another number of the tenant's would be.
async fn begin(visit: &TenantVisit, state: &State) -> Result<Begin, PageError> {
    let config = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let name = config.and_then(|config| config.endpoint);
    let endpoint = name.and_then(|name| state.endpoints.find(&name));
    Ok(match endpoint.map(|endpoint| endpoint.provider) {
        None => Begin::NoServer,
        Some(Provider::Cloud) => Begin::Meta,
        Some(Provider::Genfity | Provider::Gowa) => Begin::Phone,
    })
}

async fn show(visit: TenantVisit, path: Path<(String, String)>, state: Data<State>) -> Answered {
    let device = device_in(&path)?;
    let frame = visit.frame_saying("device", SAID);
    show_with(&visit, &state, device, frame, StatusCode::OK).await
}

/// The page of one device, with something said on top.
async fn show_with(
    visit: &TenantVisit,
    state: &State,
    device: AccountId,
    frame: Frame,
    status: StatusCode,
) -> Answered {
    let view = state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let others = visit.tenant.session_limit > 1 || !view.row.is_primary;
    one(visit, state, &view, others, frame, status).await
}

async fn one(
    visit: &TenantVisit,
    state: &State,
    view: &DeviceView,
    is_one_of_many: bool,
    frame: Frame,
    status: StatusCode,
) -> Answered {
    let at = format!("{}/{}", base(&visit.scope), view.row.id);
    let part = Watching::of(visit, state, view.row.account())
        .part(view)
        .await
        .map_err(failed)?;
    let is_number = words::is_number(&view.row);
    let (is_connected, is_linked) = match &view.standing {
        Standing::Known {
            connected,
            logged_in,
            jid,
            ..
        } => (*connected, *logged_in || jid.is_some()),
        // Who cannot be asked may be told nevertheless.
        Standing::Unknown => (true, true),
        Standing::Begun | Standing::WithoutSession => (false, false),
    };
    Ok(page(
        status,
        &DevicePage {
            frame,
            base: base(&visit.scope),
            name: name_of(&view.row).to_owned(),
            part,
            is_one_of_many,
            // A GoWA cannot take a device off the network and keep its pairing.
            can_disconnect: is_connected && view.row.provider == Provider::Genfity.as_str(),
            can_log_out: is_linked && !is_number,
            is_number,
            is_going: view.row.is_going,
            at,
        },
    ))
}

/// Everything that is needed to draw the part that changes by itself.
struct Watching {
    sessions: Arc<Sessions>,
    scope: TenantScope,
    device: AccountId,
    l: Language,
    csrf: String,
}

impl Watching {
    fn of(visit: &TenantVisit, state: &State, device: AccountId) -> Self {
        Self {
            sessions: Arc::clone(&state.sessions),
            scope: visit.scope.clone(),
            device,
            l: visit.l(),
            csrf: visit.secret.csrf_token(),
        }
    }

    fn at(&self) -> String {
        format!("{}/{}", base(&self.scope), self.device)
    }

    async fn part(&self, view: &DeviceView) -> Result<String, SessionError> {
        let background = self.sessions.background(&self.scope, &view.row).await?;
        let duplicate = self.duplicate_of(view).await?;
        let now = now(self.l, view, &background, &duplicate);
        Ok(rendered(&NowPart {
            l: self.l,
            csrf: &self.csrf,
            at: &self.at(),
            now: &now,
        }))
    }

    /// Numbers at Meta are given out by hand, and once.
    async fn duplicate_of(&self, view: &DeviceView) -> Result<Duplicate, SessionError> {
        if words::is_number(&view.row) {
            return Ok(Duplicate::None);
        }
        self.sessions.duplicate_of(&self.scope, view).await
    }

    /// Tells what is news for as long as somebody looks.
    async fn watch(self, teller: Arc<Teller>) {
        let until = Instant::now() + LASTING;
        let mut told = String::new();
        while Instant::now() < until {
            let part = match self.sessions.device(&self.scope, self.device).await {
                Ok(view) => self.part(&view).await,
                Err(error) => Err(error),
            };
            match part {
                Ok(part) if part == told => {}
                Ok(part) => {
                    teller.part(&part).await;
                    told = part;
                }
                Err(SessionError::NoDevice) => {
                    teller.part(&gone(self.l, &base(&self.scope))).await;
                    return teller.last().await;
                }
                // Our own trouble: what is shown stays, and is looked at again.
                Err(error) => {
                    tracing::warn!(error = %crate::error::chain(&error), "a device could not be looked at");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn live(
    visit: Result<TenantVisit, PageError>,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let visit = match visit {
        Ok(visit) => visit,
        Err(error) => return refused(error),
    };
    let device = device_in(&path)?;
    // Seen by whoever may see it.
    state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let watching = Watching::of(&visit, &state, device);
    Ok(state
        .live
        .begin(&state.db, &visit, |teller| watching.watch(teller))
        .unwrap_or_else(|| too_many(visit.l())))
}

/// Whoever is not signed in any more is told so in the page, once; anything else is an error like any other.
fn refused(error: PageError) -> Answered {
    match error {
        PageError::SignIn => Ok(last_words(StatusCode::OK, &signed_out())),
        error => Err(error),
    }
}

/// A piece of a page that only says something.
#[derive(Template)]
#[template(path = "device/note.html")]
struct Note<'a> {
    text: &'a str,
    href: &'a str,
    action: &'a str,
}

/// Said beside what is shown, which stays.
#[derive(Template)]
#[template(path = "device/stale.html")]
struct Stale<'a> {
    text: &'a str,
}

/// Who it was cannot be known any more, so it is said in both languages.
fn signed_out() -> String {
    rendered(&Note {
        text: "Anda sudah keluar. / You are signed out.",
        href: "/login",
        action: "Masuk / Log in",
    })
}

fn gone(l: Language, base: &str) -> String {
    rendered(&Note {
        text: l.t("This number is deleted.", "Nomor ini sudah dihapus."),
        href: base,
        action: l.t("To all numbers", "Ke semua nomor"),
    })
}

/// The page stays as it is and says that it has to be asked for news.
fn too_many(l: Language) -> HttpResponse {
    let stale = rendered(&Stale {
        text: l.t(
            "You have many pages open, so this one does not show news by itself. Press “Refresh”, or close some.",
            "Anda membuka banyak halaman, jadi halaman ini tidak berubah sendiri. Tekan “Segarkan”, atau tutup beberapa.",
        ),
    });
    last_words(StatusCode::TOO_MANY_REQUESTS, &stale)
}

/// A piece of a page. One that cannot be made is left out, and noted.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a piece of a page cannot be made");
        String::new()
    })
}

//! What people do with a number: add it, connect it, end it. Ending anything has a page of its own that says what will happen.

use ::web::Fields;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use console::{Frame, Language, Tone, page, see_other};
use domain::device::DeviceName;
use domain::ids::{AccountId, PhoneNumberId, WabaId};

use super::words::{is_number, name_of, trouble};
use super::{Answered, Begin, SAID, base, begin, device_in, failed, show_with};
use crate::app::State;
use crate::endpoints::LiveEndpoint;
use crate::error::ServiceError;
use crate::flows::session::{DeviceView, NewNumber, Removed, SessionError, Standing, Which};
use crate::flows::tenant_config;
use crate::ui::errors::PageError;
use crate::ui::visit::{TenantPosted, TenantVisit};

#[derive(Template)]
#[template(path = "device/add.html")]
struct AddPage {
    frame: Frame,
    base: String,
    begin: Begin,
    superadmin: bool,
    /// Numbers at the tenant's endpoint.
    numbers: Vec<String>,
    device_name: String,
    number: String,
    waba: String,
    errors: AddErrors,
}

#[derive(Default)]
struct AddErrors {
    name: String,
    number: String,
    waba: String,
}

impl AddErrors {
    const fn is_empty(&self) -> bool {
        self.name.is_empty() && self.number.is_empty() && self.waba.is_empty()
    }
}

pub(super) async fn ask_name(visit: TenantVisit, state: Data<State>) -> Answered {
    let frame = visit.frame_saying("device", SAID);
    add_page(
        &visit,
        &state,
        frame,
        StatusCode::OK,
        &Fields::default(),
        AddErrors::default(),
    )
    .await
}

async fn add_page(
    visit: &TenantVisit,
    state: &State,
    frame: Frame,
    status: StatusCode,
    fields: &Fields,
    errors: AddErrors,
) -> Answered {
    let text = |name| fields.text(name).ok().flatten().unwrap_or_default().to_owned();
    let superadmin = visit.is_superadmin();
    Ok(page(
        status,
        &AddPage {
            base: base(&visit.scope),
            begin: begin(visit, state).await?,
            superadmin,
            // Which numbers an endpoint has is no tenant's business.
            numbers: match superadmin {
                true => numbers(visit, state).await?,
                false => Vec::new(),
            },
            device_name: text("name"),
            number: text("phone_number_id"),
            waba: text("waba_id"),
            frame,
            errors,
        },
    ))
}

/// The numbers of the tenant's endpoint.
async fn numbers(visit: &TenantVisit, state: &State) -> Result<Vec<String>, PageError> {
    let config = tenant_config::show(&state.db, &state.endpoints, &visit.scope).await?;
    let name = config.and_then(|config| config.endpoint);
    let endpoint = name.and_then(|name| state.endpoints.find(&name));
    let numbers = |endpoint: &LiveEndpoint| {
        let cloud = endpoint.cloud.as_ref()?;
        Some(cloud.phone_number_ids.iter().map(ToString::to_string).collect())
    };
    Ok(endpoint
        .and_then(|endpoint| numbers(&endpoint))
        .unwrap_or_default())
}

/// What a form says of a new number, or what is wrong with it.
struct NewDevice {
    name: Option<DeviceName>,
    number: Option<NewNumber>,
}

fn read_new(l: Language, fields: &Fields) -> Result<NewDevice, AddErrors> {
    let mut errors = AddErrors::default();
    let read = |name: &'static str| fields.filled(name).ok().flatten().map(str::trim);
    let name = read("name")
        .map(DeviceName::parse)
        .transpose()
        .unwrap_or_else(|_| {
            errors.name = l
                .t(
                    "A name has at most 100 characters, on one line.",
                    "Nama paling banyak 100 karakter, dalam satu baris.",
                )
                .to_owned();
            None
        });
    let number = read("phone_number_id");
    let waba = read("waba_id")
        .map(WabaId::parse)
        .transpose()
        .unwrap_or_else(|_| {
            errors.waba = l
                .t("This id has digits only.", "Id ini hanya berisi angka.")
                .to_owned();
            None
        });
    let number = number.map(PhoneNumberId::parse).transpose().unwrap_or_else(|_| {
        errors.number = l
            .t("This id has digits only.", "Id ini hanya berisi angka.")
            .to_owned();
        None
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(NewDevice {
        name,
        number: number.map(|number| NewNumber { number, waba }),
    })
}

pub(super) async fn add(posted: TenantPosted, state: Data<State>) -> Answered {
    let TenantPosted { visit, fields } = posted;
    let l = visit.l();
    let new = match read_new(l, &fields) {
        Ok(new) => new,
        Err(errors) => {
            let frame = visit.frame("device");
            return add_page(&visit, &state, frame, StatusCode::BAD_REQUEST, &fields, errors).await;
        }
    };
    let (scope, actor) = (&visit.scope, visit.actor());
    let made = match &new.number {
        Some(number) => {
            // An endpoint's numbers are several tenants', and nothing here proves whose one is.
            visit.superadmin()?;
            state
                .sessions
                .add_number(scope, new.name.as_ref(), number, &actor)
                .await
        }
        None => state.sessions.add_device(scope, new.name.as_ref(), &actor).await,
    };
    match made {
        Ok(view) if is_number(&view.row) => Ok(see_other(format!("{}/{}", base(scope), view.row.id))),
        Ok(view) => Ok(see_other(format!("{}/{}/link", base(scope), view.row.id))),
        Err(error) => {
            let Some((status, en, id)) = trouble(&error) else {
                return Err(failed(error));
            };
            let mut errors = AddErrors::default();
            let frame = visit.frame("device");
            let frame = match error {
                SessionError::UnknownNumber | SessionError::NumberTaken => {
                    errors.number = l.t(en, id).to_owned();
                    frame
                }
                _ => frame.saying(Tone::Bad, l.t(en, id)),
            };
            add_page(&visit, &state, frame, status, &fields, errors).await
        }
    }
}

pub(super) async fn rename(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let device = device_in(&path)?;
    let TenantPosted { visit, fields } = posted;
    let name = fields.text("name")?.unwrap_or_default();
    let Ok(name) = DeviceName::parse(name) else {
        let l = visit.l();
        let words = l.t(
            "A name has 1 to 100 characters, on one line.",
            "Nama terdiri dari 1 sampai 100 karakter, dalam satu baris.",
        );
        let frame = visit.frame("device").saying(Tone::Bad, words);
        return show_with(&visit, &state, device, frame, StatusCode::BAD_REQUEST).await;
    };
    let renamed = state
        .sessions
        .rename_device(&visit.scope, device, &name, &visit.actor())
        .await;
    after(&visit, &state, device, renamed.map(drop), "renamed").await
}

/// Connects it. One that no phone is linked with shows its code next.
pub(super) async fn connect(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let device = device_in(&path)?;
    let visit = posted.visit;
    let connected = state
        .sessions
        .connect_device(&visit.scope, device, &visit.actor())
        .await;
    if connected.is_ok() {
        let view = state
            .sessions
            .device(&visit.scope, device)
            .await
            .map_err(failed)?;
        if wants_phone(&view) {
            return Ok(see_other(format!("{}/{device}/link", base(&visit.scope))));
        }
    }
    after(&visit, &state, device, connected.map(drop), "connecting").await
}

/// It runs, and waits for a phone.
fn wants_phone(view: &DeviceView) -> bool {
    let is_paired = match &view.standing {
        Standing::Known { logged_in, jid, .. } => *logged_in || jid.is_some(),
        Standing::Unknown => true,
        Standing::Begun | Standing::WithoutSession => false,
    };
    !is_number(&view.row) && !is_paired
}

/// Back to the device with the word for what was done, or with what went wrong.
async fn after(
    visit: &TenantVisit,
    state: &State,
    device: AccountId,
    outcome: Result<(), SessionError>,
    said: &str,
) -> Answered {
    let error = match outcome {
        Ok(()) => return Ok(see_other(format!("{}/{device}?said={said}", base(&visit.scope)))),
        Err(error) => error,
    };
    let Some((status, en, id)) = trouble(&error) else {
        return Err(failed(error));
    };
    let frame = visit.frame("device").saying(Tone::Bad, visit.l().t(en, id));
    show_with(visit, state, device, frame, status).await
}

/// The page before something is ended.
#[derive(Template)]
#[template(path = "device/confirm.html")]
struct ConfirmPage {
    frame: Frame,
    at: String,
    heading: String,
    /// What will happen.
    lines: Vec<&'static str>,
    action: &'static str,
    button: &'static str,
    /// The way out of a number that is held twice.
    or_log_out: bool,
}

/// What is asked: heading, what will happen, the button.
type Question = (&'static str, Vec<&'static str>, &'static str);

fn question(l: Language, what: &str, is_number: bool) -> Option<Question> {
    Some(match what {
        "disconnect" => (
            l.t("Disconnect this number?", "Putuskan nomor ini?"),
            vec![
                l.t(
                    "Until it is connected again, no new messages come in here. WhatsApp keeps them and hands them over later.",
                    "Sampai disambungkan lagi, tidak ada pesan baru yang masuk ke sini. WhatsApp menyimpannya dan menyerahkannya nanti.",
                ),
                l.t(
                    "What you send meanwhile waits.",
                    "Pesan yang Anda kirim sementara itu menunggu.",
                ),
                l.t(
                    "The phone stays linked: to connect again, one press is enough.",
                    "Ponsel tetap tertaut: untuk menyambung lagi cukup sekali tekan.",
                ),
            ],
            l.t("Disconnect", "Putuskan"),
        ),
        "logout" => (
            l.t("Unlink the phone?", "Lepas tautan ponsel?"),
            vec![
                l.t(
                    "WhatsApp on the phone goes on as before and forgets this connection.",
                    "WhatsApp di ponsel tetap berjalan seperti biasa dan melupakan sambungan ini.",
                ),
                l.t(
                    "Nothing comes in or goes out here until a phone is linked with a new QR code.",
                    "Tidak ada pesan masuk atau keluar di sini sampai ponsel ditautkan dengan kode QR baru.",
                ),
                l.t("All chats are kept.", "Semua percakapan tetap tersimpan."),
            ],
            l.t("Unlink the phone", "Lepas tautan"),
        ),
        "delete" => (
            l.t("Delete this number here?", "Hapus nomor ini dari sini?"),
            vec![
                match is_number {
                    true => l.t(
                        "At Meta nothing changes: the number stays registered there.",
                        "Di Meta tidak ada yang berubah: nomor tetap terdaftar di sana.",
                    ),
                    false => l.t(
                        "The phone is unlinked. WhatsApp on the phone goes on as before.",
                        "Tautan ponsel dilepas. WhatsApp di ponsel tetap berjalan seperti biasa.",
                    ),
                },
                l.t(
                    "Nothing comes in or goes out through it any more; what still waits to be sent is put aside.",
                    "Tidak ada lagi pesan masuk atau keluar lewat nomor ini; yang masih menunggu dikirim disisihkan.",
                ),
                l.t(
                    "Its chats can still be read, and another number may take its place.",
                    "Percakapannya tetap bisa dibaca, dan tempatnya bisa diisi nomor lain.",
                ),
            ],
            l.t("Delete the number", "Hapus nomor"),
        ),
        "duplicate" => (
            l.t(
                "This number is connected twice",
                "Nomor ini terhubung di dua tempat",
            ),
            vec![
                l.t(
                    "The same WhatsApp number is also connected somewhere else in this system. Both receive every message, and people may get two answers.",
                    "Nomor WhatsApp yang sama juga terhubung di tempat lain dalam sistem ini. Keduanya menerima setiap pesan, dan warga bisa menerima dua jawaban.",
                ),
                l.t(
                    "If the number is yours, end the other connection: it is removed there, and only this one goes on.",
                    "Bila nomor ini milik Anda, akhiri sambungan yang lain: sambungan itu dihapus di sana, dan hanya yang di sini yang berjalan.",
                ),
                l.t(
                    "If you linked the wrong phone, unlink it here; the other connection stays as it is.",
                    "Bila Anda salah menautkan ponsel, lepas tautannya di sini; sambungan yang lain tetap seperti semula.",
                ),
            ],
            l.t("End the other connection", "Akhiri sambungan yang lain"),
        ),
        _ => return None,
    })
}

pub(super) async fn ask(
    request: HttpRequest,
    visit: TenantVisit,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let device = device_in(&path)?;
    let view = state
        .sessions
        .device(&visit.scope, device)
        .await
        .map_err(failed)?;
    let what = request.path().rsplit('/').next().unwrap_or_default();
    let l = visit.l();
    let number = is_number(&view.row);
    let (heading, lines, button) = question(l, what, number).ok_or(PageError::NotFound)?;
    let action = match what {
        "disconnect" => "disconnect",
        "logout" => "logout",
        "delete" => "delete",
        _ => "duplicate",
    };
    Ok(page(
        StatusCode::OK,
        &ConfirmPage {
            frame: visit.frame("device"),
            at: format!("{}/{device}", base(&visit.scope)),
            heading: match action {
                "duplicate" => heading.to_owned(),
                _ => format!("{heading} ({})", name_of(&view.row)),
            },
            lines,
            action,
            button,
            or_log_out: action == "duplicate",
        },
    ))
}

pub(super) async fn disconnect(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let (device, visit) = (device_in(&path)?, posted.visit);
    let done = state
        .sessions
        .disconnect(&visit.scope, Which::Device(device), &visit.actor())
        .await;
    after(&visit, &state, device, done.map(drop), "disconnected").await
}

pub(super) async fn log_out(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let (device, visit) = (device_in(&path)?, posted.visit);
    let done = state
        .sessions
        .logout(&visit.scope, Which::Device(device), &visit.actor())
        .await;
    after(&visit, &state, device, done.map(drop), "logged-out").await
}

pub(super) async fn delete(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Answered {
    let (device, visit) = (device_in(&path)?, posted.visit);
    let removed = state
        .sessions
        .remove_device(&visit.scope, device, &visit.actor())
        .await;
    let said = match removed.map_err(failed)? {
        Removed::Gone => "removed",
        Removed::Later => "removing",
    };
    Ok(see_other(format!("{}?said={said}", base(&visit.scope))))
}

pub(super) async fn end_duplicates(
    posted: TenantPosted,
    path: Path<(String, String)>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let (device, visit) = (device_in(&path)?, posted.visit);
    let ended = state
        .sessions
        .end_duplicates(&visit.scope, device, &visit.actor())
        .await;
    if let Ok(count) = &ended {
        tracing::info!(tenant = %visit.scope.tenant(), count, "other sessions of a number were ended");
    }
    if let Err(SessionError::Database(error)) = ended {
        return Err(ServiceError::from(error).into());
    }
    after(&visit, &state, device, ended.map(drop), "ended").await
}

//! `/api/whatsapp/devices`: a tenant's devices, for its own people.

use std::pin::Pin;

use ::web::openapi::{
    Api, Doc, Schema, fields, flag, list, nullable, object, one_of, text, text_up_to, time, whole,
};
use ::web::{ApiError, Fields, Query, wire_time};
use actix_web::dev::Payload;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use domain::address::PhoneNumber;
use domain::device::DeviceName;
use domain::ids::{AccountId, InvalidId, PhoneNumberId, WabaId};
use domain::user::Role;
use serde_json::{Value, json};
use tenant_isolation::TenantScope;
use uuid::Uuid;
use whatsapp::session::FailureReason;

use super::tenants::superadmin_role;
use super::{dashboard_group, signed_in, village};
use crate::app::State;
use crate::error::{ServiceError, of_device};
use crate::flows::session::{DeviceView, NewNumber, QrView, Removed, SessionError, Standing, Which};
use crate::flows::tenant::Actor;
use crate::webhooks::cloud_replay::{self, Replayed};

/// Every word for where a device stands.
const STATUSES: [&str; 8] = [
    "unknown",
    "qr_waiting",
    "connected",
    "disconnected",
    "logged_out",
    "creating",
    "no_session",
    "removing",
];

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("WhatsApp devices"));
    let shown = || object([("device", schema())]);
    let all = object([
        ("devices", list(schema())),
        ("count", whole()),
        ("limit", whole()),
    ]);
    api.get(
        "/whatsapp/devices",
        doc("A tenant's devices, oldest first").answers(200, "The devices", all),
        show_all,
    )
    .post(
        "/whatsapp/devices",
        doc(
            "Make another device and begin to connect it; where the village's endpoint is one of the WhatsApp Cloud API, \
             take one of its numbers",
        )
            .takes(fields([
                ("name", text_up_to(DeviceName::MAX_LENGTH)),
                ("phone_number_id", text_up_to(PhoneNumberId::MAX_LENGTH)),
                ("waba_id", text_up_to(WabaId::MAX_LENGTH)),
            ]))
            .answers(201, "The device", shown())
            .refuses(&[
                (
                    409,
                    "As many devices as the tenant may have, or none can be made on its endpoint, or the number is taken",
                ),
                PROVIDER_AWAY,
            ]),
        create,
    )
    .get(
        "/whatsapp/devices/{device_id}",
        one("One device").answers(200, "The device", shown()),
        show,
    )
    .patch(
        "/whatsapp/devices/{device_id}",
        one("Give a device another name")
            .takes(fields([("name", text_up_to(DeviceName::MAX_LENGTH))]))
            .answers(200, "The device", shown()),
        rename,
    )
    .delete(
        "/whatsapp/devices/{device_id}",
        one("Remove a device; its chats stay")
            .answers(200, "It is gone", removal())
            .answers(
                202,
                "It could not be removed at the provider yet, and will be",
                removal(),
            ),
        remove,
    );
    acts(api);
}

fn acts(api: &mut Api) {
    let act = |summary: &'static str| {
        one(summary)
            .answers(200, "Done", object([("success", flag()), ("details", text())]))
            .refuses(&[
                (409, "The device is not in a state for that"),
                TOO_OFTEN,
                PROVIDER_AWAY,
            ])
    };
    let qr = one("The code to scan; with `Accept: text/event-stream` a stream of them until one was scanned")
        .header(
            "accept",
            text(),
            "`text/event-stream` for events `qr`, `connected`, `logged_in`, `expired` and `error`",
        )
        .answers(
            200,
            "The code, empty until the first one is there and once the device is paired",
            object([("qr", text()), ("status", text())]),
        )
        .or_as("text/event-stream", text())
        .refuses(&[
            (409, "The device is not in a state for that"),
            (429, "Too many streams, or the provider is asked too often"),
            PROVIDER_AWAY,
        ]);
    let pair = one("A code to type on the phone")
        .takes(fields([("phone", text())]))
        .answers(200, "The code", object([("code", text())]))
        .refuses(&[
            (409, "The device is not in a state for that"),
            TOO_OFTEN,
            PROVIDER_AWAY,
        ]);
    api.post(
        "/whatsapp/devices/{device_id}/connect",
        act("Connect a device; one that is not paired begins to show codes"),
        connect,
    )
    .get("/whatsapp/devices/{device_id}/qr", qr, show_qr)
    .post("/whatsapp/devices/{device_id}/pair", pair, pair_phone)
    .post(
        "/whatsapp/devices/{device_id}/disconnect",
        act("Take a device off the network; its pairing stays"),
        disconnect,
    )
    .post(
        "/whatsapp/devices/{device_id}/logout",
        act("Unlink a device from the phone"),
        logout,
    )
    .post(
        "/whatsapp/devices/{device_id}/replay",
        one("Take in what WhatsApp told of this number of the Cloud API before it was a device here")
            .answers(
                200,
                "How many updates were taken in, and how many are kept as nobody's still",
                object([("success", flag()), ("taken", whole()), ("kept", whole())]),
            )
            .refuses(&[(409, "The device is no number of the Cloud API")]),
        replay,
    );
}

const PROVIDER_AWAY: (u16, &str) = (502, "The provider is away, or does not answer in its way");
const TOO_OFTEN: (u16, &str) = (429, "The provider is asked too often");

fn schema() -> Schema {
    object([
        ("id", text()),
        ("name", text()),
        ("provider", one_of(&["genfity", "gowa", "cloud"])),
        ("endpoint", text()),
        ("status", one_of(&STATUSES)),
        ("connected", nullable(flag())),
        ("logged_in", nullable(flag())),
        ("phone", nullable(text())),
        ("jid", nullable(text())),
        ("last_connected_at", nullable(time())),
        ("created_at", time()),
        ("is_primary", flag()),
    ])
}

fn removal() -> Schema {
    object([("success", flag()), ("status", one_of(&["removed", "removing"]))])
}

/// A superadmin names the tenant.
fn doc(summary: &'static str) -> Doc {
    Doc::new(summary)
        .query("village_id", text(), "the tenant, for a superadmin")
        .query("tenant_id", text(), "the same by another name")
        .refuses(&[(404, "No such tenant")])
}

fn one(summary: &'static str) -> Doc {
    Doc::new(summary)
        .query("village_id", text(), "the tenant, for a superadmin")
        .query("tenant_id", text(), "the same by another name")
        .refuses(&[(404, "The tenant has no such device")])
}

type Answered = Result<HttpResponse, ServiceError>;

/// Who asks, for which tenant and, where the path names one, about which device.
struct Asked {
    scope: TenantScope,
    actor: Actor,
    role: Role,
    device: Option<AccountId>,
}

impl FromRequest for Asked {
    type Error = ServiceError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ServiceError>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let user = signed_in::recognise(&request).await?;
            let query = Query::parse(request.query_string());
            let named = named(&request, &query)?;
            let scope = user.scope(named)?;
            // What is no id is no device's.
            let device = request.match_info().get("device_id");
            let device = device
                .map(|id| Uuid::parse_str(id).map_err(|_| ServiceError::Device(SessionError::NoDevice)))
                .transpose()?;
            Ok(Self {
                scope,
                actor: user.actor(&request),
                role: user.who.role,
                device: device.map(AccountId::from_uuid),
            })
        })
    }
}

fn named<'a>(request: &'a HttpRequest, query: &'a Query) -> Result<Option<&'a str>, ApiError> {
    let village = village::named_in(request, Some(query), None)?;
    match (village, query.get("tenant_id")) {
        (Some(village), Some(tenant)) if village != tenant => Err(ApiError::bad_request(
            "two_villages",
            "village_id and tenant_id name two villages",
        )),
        (village, tenant) => Ok(village.or(tenant)),
    }
}

impl Asked {
    fn device(&self) -> Result<AccountId, ServiceError> {
        self.device.ok_or(ServiceError::Device(SessionError::NoDevice))
    }

    fn which(&self) -> Result<Which, ServiceError> {
        self.device().map(Which::Device)
    }
}

async fn show_all(asked: Asked, state: Data<State>) -> Answered {
    let devices = state.sessions.devices(&asked.scope).await;
    let devices = devices.map_err(ServiceError::Device)?;
    let list: Vec<Value> = devices.list.iter().map(wire).collect();
    Ok(HttpResponse::Ok().json(json!({"count": list.len(), "limit": devices.limit, "devices": list})))
}

async fn create(asked: Asked, body: Fields, state: Data<State>) -> Answered {
    body.only(&["name", "phone_number_id", "waba_id"])?;
    let name = device_name(&body)?;
    let (sessions, scope) = (&state.sessions, &asked.scope);
    let made = match number_in(&body)? {
        Some(new) => {
            // An endpoint's numbers are several tenants', and nothing here proves whose one is.
            superadmin_role(asked.role)?;
            sessions
                .add_number(scope, name.as_ref(), &new, &asked.actor)
                .await
        }
        None => sessions.add_device(scope, name.as_ref(), &asked.actor).await,
    };
    Ok(HttpResponse::Created().json(shown(&made.map_err(ServiceError::Device)?)))
}

async fn show(asked: Asked, state: Data<State>) -> Answered {
    let device = state.sessions.device(&asked.scope, asked.device()?).await;
    Ok(HttpResponse::Ok().json(shown(&device.map_err(ServiceError::Device)?)))
}

async fn rename(asked: Asked, body: Fields, state: Data<State>) -> Answered {
    let name = name_in(&body)?
        .ok_or_else(|| ApiError::bad_request("name_required", "name is required").with("field", "name"))?;
    let renamed = state
        .sessions
        .rename_device(&asked.scope, asked.device()?, &name, &asked.actor)
        .await;
    Ok(HttpResponse::Ok().json(shown(&renamed.map_err(ServiceError::Device)?)))
}

async fn remove(asked: Asked, state: Data<State>) -> Answered {
    let removed = state
        .sessions
        .remove_device(&asked.scope, asked.device()?, &asked.actor)
        .await;
    Ok(match removed.map_err(ServiceError::Device)? {
        Removed::Gone => HttpResponse::Ok().json(json!({"success": true, "status": "removed"})),
        Removed::Later => HttpResponse::Accepted().json(json!({"success": true, "status": "removing"})),
    })
}

async fn connect(asked: Asked, state: Data<State>) -> Answered {
    let connected = state
        .sessions
        .connect_device(&asked.scope, asked.device()?, &asked.actor)
        .await;
    Ok(done(&connected.map_err(ServiceError::Device)?.0))
}

async fn disconnect(asked: Asked, state: Data<State>) -> Answered {
    let done_with = state
        .sessions
        .disconnect(&asked.scope, asked.which()?, &asked.actor)
        .await;
    Ok(done(&done_with.map_err(ServiceError::Device)?.0))
}

async fn logout(asked: Asked, state: Data<State>) -> Answered {
    let done_with = state
        .sessions
        .logout(&asked.scope, asked.which()?, &asked.actor)
        .await;
    Ok(done(&done_with.map_err(ServiceError::Device)?.0))
}

async fn replay(asked: Asked, state: Data<State>) -> Answered {
    let Replayed { taken, kept } = cloud_replay::replay(&state, &asked.scope, asked.device()?).await?;
    tracing::info!(tenant = %asked.scope.tenant(), taken, kept, "updates of a number were taken out of quarantine");
    Ok(HttpResponse::Ok().json(json!({"success": true, "taken": taken, "kept": kept})))
}

async fn show_qr(asked: Asked, request: HttpRequest, state: Data<State>) -> Answered {
    let device = asked.device()?;
    let accepted = request.headers().get(ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let as_stream = accepted
        .split(',')
        .any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/event-stream");
    // Seen by whoever may see it, whichever way it is shown.
    let view = state.sessions.qr(&asked.scope, Which::Device(device)).await;
    let view = view.map_err(ServiceError::Device)?;
    if as_stream {
        let sessions = std::sync::Arc::clone(&state.sessions);
        return Ok(state.qr_streams.begin(sessions, &asked.scope, device)?);
    }
    let (qr, status) = match view {
        QrView::Code(code) if code.is_empty() => (code, "connecting"),
        QrView::Code(code) => (code, "qr_waiting"),
        QrView::AlreadyLoggedIn => (String::new(), "logged_in"),
        QrView::NoSession => return Err(of_device(FailureReason::NoSession, "").into()),
        QrView::Failed { code, said } => {
            let reason = FailureReason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == code);
            return Err(of_device(reason.unwrap_or(FailureReason::Unreadable), &said).into());
        }
    };
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"qr": qr, "status": status})))
}

async fn pair_phone(asked: Asked, body: Fields, state: Data<State>) -> Answered {
    body.only(&["phone"])?;
    let wrong = |code, text: &str| ApiError::bad_request(code, text).with("field", "phone");
    let phone = body
        .filled("phone")?
        .ok_or_else(|| wrong("phone_required", "phone is required"))?
        .trim();
    let phone = PhoneNumber::parse(phone.strip_prefix('+').unwrap_or(phone))
        .map_err(|_| wrong("phone_invalid", "phone must be digits with the country code"))?;
    let code = state
        .sessions
        .pair_phone(&asked.scope, asked.which()?, &phone, &asked.actor)
        .await;
    let code = code.map_err(ServiceError::Device)?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({"code": code.0})))
}

fn number_in(body: &Fields) -> Result<Option<NewNumber>, ApiError> {
    fn wrong(field: &'static str) -> impl Fn(InvalidId) -> ApiError {
        move |error| ApiError::bad_request("invalid_field", error.to_string()).with("field", field)
    }
    let number = body.filled("phone_number_id")?;
    let waba = body.filled("waba_id")?;
    let number = number.map(PhoneNumberId::parse).transpose();
    let waba = waba.map(WabaId::parse).transpose().map_err(wrong("waba_id"))?;
    match (number.map_err(wrong("phone_number_id"))?, waba) {
        (Some(number), waba) => Ok(Some(NewNumber { number, waba })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ApiError::bad_request(
            "phone_number_id_required",
            "waba_id says something about a phone_number_id only",
        )
        .with("field", "phone_number_id")),
    }
}

fn name_in(body: &Fields) -> Result<Option<DeviceName>, ApiError> {
    body.only(&["name"])?;
    device_name(body)
}

fn device_name(body: &Fields) -> Result<Option<DeviceName>, ApiError> {
    body.text("name")?
        .map(DeviceName::parse)
        .transpose()
        .map_err(|error| ApiError::bad_request("invalid_field", error.to_string()).with("field", "name"))
}

fn done(details: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"success": true, "details": details}))
}

fn shown(view: &DeviceView) -> Value {
    json!({"device": wire(view)})
}

/// A device as people read it.
pub(super) fn wire(view: &DeviceView) -> Value {
    let row = &view.row;
    let (status, connected, logged_in) = match &view.standing {
        Standing::Known {
            status,
            connected,
            logged_in,
            ..
        } => (status.as_str(), Some(*connected), Some(*logged_in)),
        Standing::Unknown => ("unknown", None, None),
        Standing::Begun => ("creating", Some(false), Some(false)),
        Standing::WithoutSession => ("no_session", Some(false), Some(false)),
    };
    let (jid, phone) = match &view.standing {
        Standing::Known { jid, phone, .. } => (jid.as_deref(), phone.as_deref()),
        _ => (None, row.phone.as_deref()),
    };
    json!({
        "id": row.id,
        "name": row.display_name.as_ref().unwrap_or(&row.instance_name),
        "provider": row.provider,
        "endpoint": row.endpoint,
        "status": if row.is_going { "removing" } else { status },
        "connected": connected,
        "logged_in": logged_in,
        "phone": phone,
        "jid": jid,
        "last_connected_at": row.last_connected_at.map(wire_time),
        "created_at": wire_time(row.created_at),
        "is_primary": row.is_primary,
    })
}

//! Who may use the dashboard, for superadmins: found, made, kept out, given another password.

use std::fmt::Write as _;

use ::web::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use askama::Template;
use console::{Frame, Language, Tone, address, page, see_other};
use domain::ids::TenantId;
use domain::text::Text;
use domain::user::{EmailAddress, Role};
use secrecy::SecretString;
use uuid::Uuid;

use super::errors::PageError;
use super::frame::{Said, role};
use super::visit::{Posted, Visit};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::password::PasswordError;
use crate::flows::user::{self, UserError, made_password};
use crate::store::user::UserRow;

const HERE: &str = "/dashboard/users";
/// Users of one page.
const PAGE: usize = 50;
/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Longest text that is looked for, in characters.
const MAX_QUERY: usize = 200;

const SAID: &[Said] = &[
    (
        "disabled",
        Tone::Ok,
        "They are kept out, and every session of theirs has ended.",
        "Pengguna diblokir, dan semua sesinya berakhir.",
    ),
    (
        "enabled",
        Tone::Ok,
        "They may log in again.",
        "Pengguna boleh masuk lagi.",
    ),
    (
        "ended",
        Tone::Ok,
        "Every session of theirs has ended.",
        "Semua sesinya berakhir.",
    ),
];

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/users", web::get().to(list))
        .route("/users", web::post().to(create))
        .route("/users/new", web::get().to(new))
        .route("/users/{user}", web::get().to(show))
        .route("/users/{user}/disable", web::post().to(disable))
        .route("/users/{user}/enable", web::post().to(enable))
        .route("/users/{user}/password", web::post().to(set_password))
        .route("/users/{user}/end-sessions", web::post().to(end_sessions));
}

/// A user as pages show one.
struct Shown {
    id: Uuid,
    email: String,
    name: String,
    role: &'static str,
    works_for: Option<String>,
    disabled: bool,
    since: chrono::DateTime<chrono::Utc>,
}

impl Shown {
    fn of(l: Language, user: UserRow) -> Self {
        Self {
            id: user.id,
            // What a later release wrote is shown as what may do the least.
            role: role(l, user.role.parse().unwrap_or(Role::TenantAdmin)),
            email: user.email,
            name: user.name.unwrap_or_default(),
            works_for: user.works_for,
            disabled: user.disabled,
            since: user.created_at,
        }
    }
}

#[derive(Template)]
#[template(path = "users/list.html")]
struct List {
    frame: Frame,
    q: String,
    users: Vec<Shown>,
    first: String,
    next: String,
}

async fn list(visit: Visit, query: Query, state: Data<State>) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let q: String = query
        .get("q")
        .unwrap_or_default()
        .chars()
        .take(MAX_QUERY)
        .collect();
    let after = query.get("after").map(|after| after.replace('\0', ""));
    let most = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut users = user::search(&state.db, &q, after.as_deref(), most).await?;
    let more = users.len() > PAGE;
    users.truncate(PAGE);
    let last = users.last().filter(|_| more);
    let next = last.map(|last| address(HERE, &[("q", &q), ("after", &last.email)]));
    let first = after.map(|_| address(HERE, &[("q", &q)]));
    Ok(page(
        StatusCode::OK,
        &List {
            frame: visit.frame("users"),
            users: users.into_iter().map(|user| Shown::of(visit.l(), user)).collect(),
            first: first.unwrap_or_default(),
            next: next.unwrap_or_default(),
            q,
        },
    ))
}

#[derive(Template, Default)]
#[template(path = "users/new.html")]
struct New {
    frame: Frame,
    email: String,
    name: String,
    superadmin: bool,
    tenant: String,
    wrong_email: String,
    wrong_tenant: String,
    wrong_password: String,
}

async fn new(visit: Visit, query: Query) -> Result<HttpResponse, PageError> {
    visit.superadmin()?;
    let new = New {
        frame: visit.frame("users"),
        tenant: query.get("tenant").unwrap_or_default().to_owned(),
        ..New::default()
    };
    Ok(page(StatusCode::OK, &new))
}

/// A password that was made, shown this once.
#[derive(Template)]
#[template(path = "users/password.html")]
struct MadePassword {
    frame: Frame,
    id: Uuid,
    email: String,
    password: String,
    is_new: bool,
}

async fn create(posted: Posted, state: Data<State>) -> Result<HttpResponse, PageError> {
    let Posted { visit, fields } = posted;
    visit.superadmin()?;
    let l = visit.l();
    let mut form = New {
        frame: visit.frame("users"),
        email: fields.text("email")?.unwrap_or_default().trim().to_owned(),
        name: fields.text("name")?.unwrap_or_default().to_owned(),
        superadmin: fields.text("role")? == Some(Role::Superadmin.as_str()),
        tenant: fields.text("tenant")?.unwrap_or_default().trim().to_owned(),
        ..New::default()
    };
    let email = EmailAddress::parse(&form.email);
    let tenant = (!form.superadmin).then(|| TenantId::parse(form.tenant.as_str()));
    if email.is_err() {
        form.wrong_email = l
            .t(
                "An e-mail address has the form name@host.",
                "Alamat email berbentuk nama@host.",
            )
            .to_owned();
    }
    if matches!(tenant, Some(Err(_))) {
        form.wrong_tenant = l
            .t(
                "Give the id of the tenant they work for.",
                "Isi id tenant tempatnya bekerja.",
            )
            .to_owned();
    }
    let (Ok(email), Ok(tenant)) = (email, tenant.transpose()) else {
        return Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &form));
    };
    let given = fields.filled("password")?.map(str::to_owned);
    let made = given.is_none().then(made_password);
    let password = SecretString::from(given.or_else(|| made.clone()).unwrap_or_default());
    let name = Text::label(&form.name, MAX_NAME);
    let name = name.as_ref().map(Text::as_str);
    let role = match form.superadmin {
        true => Role::Superadmin,
        false => Role::TenantAdmin,
    };
    let created = user::create_as(&state.db, &email, name, (role, tenant), &password, &visit.actor()).await;
    let (field, words) = match created {
        Ok(id) => {
            return Ok(match made {
                Some(password) => page(
                    StatusCode::OK,
                    &MadePassword {
                        frame: visit.frame("users"),
                        id,
                        email: email.to_string(),
                        password,
                        is_new: true,
                    },
                ),
                None => see_other(format!("{HERE}/{id}?said=created")),
            });
        }
        Err(UserError::Taken) => (
            &mut form.wrong_email,
            l.t(
                "Somebody has this address already.",
                "Alamat ini sudah dipakai orang lain.",
            ),
        ),
        Err(UserError::NoSuchTenant | UserError::RoleAndTenant) => (
            &mut form.wrong_tenant,
            l.t(
                "There is no tenant with this id. Make the tenant first.",
                "Tidak ada tenant dengan id ini. Buat dulu tenantnya.",
            ),
        ),
        Err(UserError::Password(PasswordError::Length)) => (
            &mut form.wrong_password,
            l.t(
                "Take at least 10 characters, and at most 256.",
                "Gunakan paling sedikit 10 huruf, dan paling banyak 256.",
            ),
        ),
        Err(error) => return Err(refusal(error)),
    };
    words.clone_into(field);
    Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &form))
}

#[derive(Template)]
#[template(path = "users/show.html")]
struct Show {
    frame: Frame,
    user: Shown,
    sessions: i64,
    is_self: bool,
}

async fn show(visit: Visit, path: web::Path<String>, state: Data<State>) -> Result<HttpResponse, PageError> {
    let (user, sessions) = named(&visit, &path, &state).await?;
    Ok(page(
        StatusCode::OK,
        &Show {
            frame: visit.frame_saying("users", SAID),
            is_self: user.id == visit.who.id,
            user: Shown::of(visit.l(), user),
            sessions,
        },
    ))
}

async fn disable(
    posted: Posted,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    set_disabled(&posted.visit, &path, &state, true).await
}

async fn enable(
    posted: Posted,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    set_disabled(&posted.visit, &path, &state, false).await
}

async fn set_disabled(
    visit: &Visit,
    id: &str,
    state: &State,
    disabled: bool,
) -> Result<HttpResponse, PageError> {
    let (user, _) = named(visit, id, state).await?;
    if disabled && user.id == visit.who.id {
        return Err(PageError::said(
            StatusCode::CONFLICT,
            "You cannot keep yourself out. Another superadmin can.",
            "Anda tidak bisa memblokir diri sendiri. Superadmin lain bisa.",
        ));
    }
    user::set_disabled_as(&state.db, &address_of(&user)?, disabled, &visit.actor())
        .await
        .map_err(refusal)?;
    let said = if disabled { "disabled" } else { "enabled" };
    Ok(back(user.id, said))
}

/// Makes another password and shows it, once.
async fn set_password(
    posted: Posted,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    let (user, _) = named(&visit, &path, &state).await?;
    if user.id == visit.who.id {
        return Ok(see_other("/dashboard/account"));
    }
    let password = made_password();
    let secret = SecretString::from(password.as_str());
    user::set_password_as(&state.db, &address_of(&user)?, &secret, &visit.actor())
        .await
        .map_err(refusal)?;
    Ok(page(
        StatusCode::OK,
        &MadePassword {
            frame: visit.frame("users"),
            id: user.id,
            email: user.email,
            password,
            is_new: false,
        },
    ))
}

async fn end_sessions(
    posted: Posted,
    path: web::Path<String>,
    state: Data<State>,
) -> Result<HttpResponse, PageError> {
    let visit = posted.visit;
    let (user, _) = named(&visit, &path, &state).await?;
    user::end_sessions_as(&state.db, &address_of(&user)?, &visit.actor())
        .await
        .map_err(refusal)?;
    Ok(back(user.id, "ended"))
}

async fn named(visit: &Visit, id: &str, state: &State) -> Result<(UserRow, i64), PageError> {
    visit.superadmin()?;
    let id = Uuid::try_parse(id).map_err(|_| PageError::NotFound)?;
    user::find(&state.db, id).await?.ok_or(PageError::NotFound)
}

fn address_of(user: &UserRow) -> Result<EmailAddress, PageError> {
    EmailAddress::parse(&user.email).map_err(|_| PageError::NotFound)
}

fn back(id: Uuid, said: &str) -> HttpResponse {
    let mut to = String::from(HERE);
    // Writing into a text cannot fail.
    let _ = write!(to, "/{id}?said={said}");
    see_other(to)
}

fn refusal(error: UserError) -> PageError {
    match error {
        UserError::Database(error) => error.into(),
        UserError::Password(_) => ServiceError::Overloaded.into(),
        UserError::NoSuchUser | UserError::NoSuchTenant | UserError::Taken | UserError::RoleAndTenant => {
            PageError::NotFound
        }
    }
}

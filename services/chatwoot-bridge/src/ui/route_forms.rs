//! Routes are made, changed, switched and taken away.

use ::web::openapi::Api;
use ::web::{ApiError, Fields, Query};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, ResponseError as _};
use askama::Template;
use console::Frame;
use serde_json::{Map, Value, json};

use super::visit::Visit;
use super::words::Refusal;
use super::{form, page};
use crate::api::fields::{Body, invalid};
use crate::api::{self, Admin, not_edited};
use crate::flows::edit_route::{self, RouteChange};
use crate::store::routes::{OwnedRoute, Target};

#[derive(Template)]
#[template(path = "routes/form.html")]
struct Form {
    frame: Frame,
    /// The route that is changed.
    number: Option<i64>,
    is_url: bool,
    values: Values,
    refusal: Refusal,
    problem: String,
    routes_tenant: String,
}

/// What stands in the form. Secrets never do.
#[derive(Default)]
struct Values {
    inbox: String,
    url: String,
    name: String,
    account: String,
    installation: String,
    tenant: String,
    events: String,
    private: bool,
    retry_unknown: bool,
    auto_restore: bool,
    enabled: bool,
    has_signing_secret: bool,
    has_token: bool,
    inbox_secrets: usize,
    account_secrets: usize,
}

impl Form {
    fn error(&self, field: &str) -> String {
        self.refusal.field(self.frame.l, field)
    }

    const fn signing_hint(&self) -> &'static str {
        let l = self.frame.l;
        if self.values.has_signing_secret {
            l.t(
                "One is stored; empty leaves it",
                "Sudah ada; kosong berarti tetap",
            )
        } else {
            l.t("None is stored", "Belum ada")
        }
    }

    fn stored_hint(&self, stored: &usize) -> String {
        let l = self.frame.l;
        match *stored {
            0 => l
                .t(
                    "None is stored: webhooks are believed without a signature",
                    "Belum ada: webhook dipercaya tanpa tanda tangan",
                )
                .to_owned(),
            stored => l.count(
                stored,
                "is stored; empty leaves it",
                "are stored; empty leaves them",
                "tersimpan; kosong berarti tetap",
            ),
        }
    }

    const fn token_hint(&self) -> &'static str {
        let l = self.frame.l;
        if self.values.has_token {
            l.t(
                "One is stored; empty leaves it",
                "Sudah ada; kosong berarti tetap",
            )
        } else {
            l.t(
                "At least 16 characters, behind ?token= in Chatwoot's webhook; for Chatwoot versions that sign nothing",
                "Minimal 16 karakter, setelah ?token= pada webhook Chatwoot; untuk versi Chatwoot yang tidak menandatangani",
            )
        }
    }
}

#[derive(Template)]
#[template(path = "routes/delete.html")]
struct Delete {
    frame: Frame,
    number: i64,
    place: String,
    target: String,
    is_account: bool,
    error: String,
}

impl Delete {
    fn action(&self) -> String {
        format!("/admin/panel/routes/{}/delete", self.number)
    }

    /// What has to be typed.
    fn word(&self) -> String {
        self.number.to_string()
    }
}

pub(super) fn routes(api: &mut Api) {
    api.get("/panel/routes/new", page("The form for a new route"), new_form)
        .post("/panel/routes", form("Make a route"), create)
        .get(
            "/panel/routes/{id}/edit",
            page("The form that changes a route"),
            edit_form,
        )
        .post("/panel/routes/{id}", form("Change a route"), update)
        .post(
            "/panel/routes/{id}/switch",
            form("Switch a route on or off"),
            switch,
        )
        .get(
            "/panel/routes/{id}/delete",
            page("Whether a route is to be taken away"),
            delete_form,
        )
        .post("/panel/routes/{id}/delete", form("Take a route away"), delete);
}

async fn new_form(visit: Visit, query: Query, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let given = |name: &str| query.get(name).unwrap_or_default().chars().take(100).collect();
    let values = Values {
        inbox: given("inboxId"),
        account: given("accountId"),
        installation: given("installation"),
        ..Values::default()
    };
    Ok(shown_form(
        StatusCode::OK,
        &visit,
        &admin,
        None,
        values,
        Refusal::default(),
    ))
}

fn shown_form(
    status: StatusCode,
    visit: &Visit,
    admin: &Admin,
    changed: Option<&OwnedRoute>,
    mut values: Values,
    refusal: Refusal,
) -> HttpResponse {
    let l = visit.l();
    if let Some(owned) = changed {
        let route = &owned.route;
        values.inbox_secrets = route.inbox_secrets_sealed.len();
        values.account_secrets = route.account_secrets_sealed.len();
        values.has_token = route.path_token_sha256.is_some();
        values.tenant = owned.tenant.to_string();
        if let Target::Url {
            signing_secret_sealed,
            ..
        } = &route.target
        {
            values.has_signing_secret = signing_secret_sealed.is_some();
        }
    }
    let problem = if status.is_success() {
        String::new()
    } else {
        refusal.line(l)
    };
    console::page(
        status,
        &Form {
            frame: visit.frame("routes"),
            number: changed.map(|owned| owned.route.number),
            is_url: changed.is_none_or(|owned| owned.route.link().is_none()),
            values,
            refusal,
            problem,
            routes_tenant: admin.routes_tenant.to_string(),
        },
    )
}

/// What somebody typed, so that nobody types it twice.
fn typed(form: &Fields) -> Values {
    let text = |name: &'static str| form.text(name).ok().flatten().unwrap_or_default().to_owned();
    let flag = |name: &str| form.get(name).is_some();
    let url = text("webhookUrl");
    Values {
        inbox: text("inboxId"),
        // A password in it is not shown again.
        url: match url.is_empty() {
            true => url,
            false => crate::flows::target_url::shown_of(&url),
        },
        name: text("name"),
        account: text("accountId"),
        installation: text("installation"),
        tenant: text("tenantId"),
        events: text("events"),
        private: flag("private"),
        retry_unknown: flag("retryUnknown"),
        auto_restore: flag("autoRestore"),
        enabled: flag("enabled"),
        ..Values::default()
    }
}

async fn create(visit: Visit, form: Fields, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    match create_route(&visit, &form, &admin).await {
        Ok(number) => Ok(console::see_other(format!(
            "/admin/panel/routes/{number}?said=created"
        ))),
        Err(error) => again(&visit, &form, &admin, None, &error),
    }
}

/// The form once more, with what is wrong in it; what no other entry would mend is an error of the page.
fn again(
    visit: &Visit,
    form: &Fields,
    admin: &Admin,
    changed: Option<&OwnedRoute>,
    error: &ApiError,
) -> Result<HttpResponse, ApiError> {
    let status = error.status_code();
    let refusal = Refusal::of(error);
    let status = match status {
        StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
        status => status,
    };
    Ok(shown_form(status, visit, admin, changed, typed(form), refusal))
}

async fn create_route(visit: &Visit, form: &Fields, admin: &Admin) -> Result<i64, ApiError> {
    let names = [
        "inboxId",
        "webhookUrl",
        "name",
        "installation",
        "tenantId",
        "accountId",
        "signingSecret",
        "pathToken",
    ];
    let mut fields = filled(form, &names);
    let mut missing = Vec::new();
    for name in ["inboxId", "webhookUrl"] {
        if !fields.contains_key(name) {
            missing.push((name, "is needed".to_owned()));
        }
    }
    if !missing.is_empty() {
        return Err(invalid(missing));
    }
    more_fields(form, &mut fields)?;
    let mut body = Body::of(fields);
    let read = api::routes::read_change(&mut body)?;
    let scope = admin.scope(body.tenant("tenantId"));
    body.finish()?;
    let made = edit_route::create(admin.editor(), &scope, &read, &visit.actor).await;
    Ok(made.map_err(|error| not_edited(&error))?.route.number)
}

/// What only routes to URLs have, and secrets of webhooks.
fn more_fields(form: &Fields, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    for flag in ["private", "retryUnknown"] {
        fields.insert(flag.to_owned(), json!(form.get(flag).is_some()));
    }
    let events = form.text("events")?.unwrap_or_default();
    let events = events.split(',').map(str::trim).filter(|name| !name.is_empty());
    fields.insert("events".to_owned(), events.collect());
    secrets(form, fields)
}

fn secrets(form: &Fields, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    let mut secrets = Map::new();
    for (of, name) in [("inbox", "inboxSecret"), ("account", "accountSecret")] {
        if let Some(secret) = form.filled(name)? {
            secrets.insert(of.to_owned(), json!([secret]));
        }
    }
    if !secrets.is_empty() {
        fields.insert("webhookSecrets".to_owned(), Value::Object(secrets));
    }
    Ok(())
}

async fn edit_form(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let report = api::routes::report(&admin, &owned).await;
    let report = report.map_err(|error| crate::error::answer(&error))?;
    let route = &owned.route;
    let (url, retry_unknown) = match &route.target {
        Target::Account { .. } => (String::new(), false),
        Target::Url {
            url_shown,
            retry_unknown,
            ..
        } => (url_shown.clone(), *retry_unknown),
    };
    let values = Values {
        inbox: route.inbox_id.to_string(),
        url,
        name: route.name.clone().unwrap_or_default(),
        account: route.account_id.map(|id| id.to_string()).unwrap_or_default(),
        installation: route.installation.clone(),
        events: route.wants.events.join(", "),
        private: route.wants.private,
        retry_unknown,
        auto_restore: report.is_some_and(|report| report.auto_restore),
        enabled: route.enabled,
        ..Values::default()
    };
    Ok(shown_form(
        StatusCode::OK,
        &visit,
        &admin,
        Some(&owned),
        values,
        Refusal::default(),
    ))
}

async fn update(
    visit: Visit,
    id: Path<String>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    match update_route(&visit, &form, &admin, owned.route.number).await {
        Ok(()) => Ok(console::see_other(format!(
            "{}?said=saved",
            page_of(owned.route.number)
        ))),
        Err(error) => again(&visit, &form, &admin, Some(&owned), &error),
    }
}

async fn update_route(visit: &Visit, form: &Fields, admin: &Admin, number: i64) -> Result<(), ApiError> {
    let names = [
        "inboxId",
        "webhookUrl",
        "installation",
        "signingSecret",
        "pathToken",
    ];
    let mut fields = filled(form, &names);
    fields.insert("name".to_owned(), json!(form.text("name")?.unwrap_or_default()));
    for flag in ["enabled", "autoRestore"] {
        fields.insert(flag.to_owned(), json!(form.get(flag).is_some()));
    }
    // Only the form of a route to a URL has these.
    if form.get("webhookUrl").is_some() {
        let account = form.filled("accountId")?.map_or(Value::Null, |text| json!(text));
        fields.insert("accountId".to_owned(), account);
        more_fields(form, &mut fields)?;
    } else {
        secrets(form, &mut fields)?;
    }
    for (flag, secret) in [("noSigningSecret", "signingSecret"), ("noPathToken", "pathToken")] {
        if form.get(flag).is_some() {
            fields.insert(secret.to_owned(), Value::Null);
        }
    }
    let mut body = Body::of(fields);
    let read = api::routes::read_change(&mut body)?;
    body.finish()?;
    // Nobody can change a secret here and in Chatwoot in the same moment.
    let change = RouteChange {
        rotates: true,
        ..read
    };
    let changed = edit_route::update(admin.editor(), number, &change, &visit.actor).await;
    changed.map(drop).map_err(|error| not_edited(&error))
}

async fn switch(
    visit: Visit,
    id: Path<String>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let number = api::routes::number_of(&id)?;
    let enabled = form.text("enabled")? == Some("yes");
    let change = RouteChange {
        enabled: Some(enabled),
        ..RouteChange::default()
    };
    let changed = edit_route::update(admin.editor(), number, &change, &visit.actor).await;
    changed.map_err(|error| not_edited(&error))?;
    let said = if enabled { "on" } else { "off" };
    Ok(console::see_other(format!("{}?said={said}", page_of(number))))
}

async fn delete_form(visit: Visit, id: Path<String>, admin: Data<Admin>) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    Ok(shown_delete(StatusCode::OK, &visit, &owned, String::new()))
}

fn shown_delete(status: StatusCode, visit: &Visit, owned: &OwnedRoute, error: String) -> HttpResponse {
    let route = &owned.route;
    console::page(
        status,
        &Delete {
            frame: visit.frame("routes"),
            number: route.number,
            place: format!("{} ({})", route.inbox_id, route.installation),
            target: match &route.target {
                Target::Account { .. } => String::new(),
                Target::Url { url_shown, .. } => url_shown.clone(),
            },
            is_account: route.link().is_some(),
            error,
        },
    )
}

async fn delete(
    visit: Visit,
    id: Path<String>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let number = owned.route.number;
    if form.text("confirm")?.map(str::trim) != Some(number.to_string().as_str()) {
        let error = visit.l().t(
            "That is another number. Nothing was deleted.",
            "Itu nomor lain. Tidak ada yang dihapus.",
        );
        return Ok(shown_delete(
            StatusCode::UNPROCESSABLE_ENTITY,
            &visit,
            &owned,
            error.to_owned(),
        ));
    }
    let deleted = edit_route::delete(&admin.tools, number, &visit.actor).await;
    deleted.map_err(|error| not_edited(&error))?;
    Ok(console::see_other("/admin/panel/routes?said=deleted"))
}

/// The fields of a form that somebody filled in, as a body would have them.
pub(super) fn filled(form: &Fields, names: &[&'static str]) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in names {
        if let Ok(Some(text)) = form.filled(name) {
            fields.insert((*name).to_owned(), json!(text.trim()));
        }
    }
    fields
}

/// The page of a route.
pub(super) fn page_of(number: i64) -> String {
    format!("/admin/panel/routes/{number}")
}

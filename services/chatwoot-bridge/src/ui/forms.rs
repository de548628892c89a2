//! What the pages' forms do: the same as the calls beside them, told in pages.

use ::web::{ApiError, Fields};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, ResponseError as _};
use serde_json::{Map, Value, json};

use super::{message, see_other};
use crate::api::basic_auth::Operator;
use crate::api::fields::Body;
use crate::api::{self, Admin, not_done, not_edited};
use crate::flows::drift;
use crate::flows::edit_route::{self, NotEdited, RouteChange};
use crate::flows::self_test::{Leg, Warning};
use crate::flows::set_up::set_up;
use crate::flows::test_route::test_route;

const HOME: &str = "/admin";

pub(super) async fn create(
    operator: Operator,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = filled(
        &form,
        &[
            "inboxId",
            "webhookUrl",
            "name",
            "installation",
            "tenantId",
            "accountId",
        ],
    );
    fields.entry("webhookUrl").or_insert(Value::Null);
    let mut body = Body::of(fields);
    let read = api::routes::read_change(&mut body);
    let scope = admin.scope(body.tenant("tenantId"));
    let change = match read.and_then(|change| body.finish().map(|()| change)) {
        Ok(change) if change.inbox.is_some() && change.target.is_some() => change,
        Ok(_) => {
            return refused(
                vec!["An inbox id and a URL are needed.".to_owned()],
                HOME.to_owned(),
            );
        }
        Err(error) => return said(&error, HOME.to_owned()),
    };
    match edit_route::create(admin.editor(), &scope, &change, &operator.0).await {
        Ok(made) => Ok(see_other(format!(
            "/admin/panel/routes/{}?said=created",
            made.route.number
        ))),
        Err(error) => not_changed(&error, HOME.to_owned()),
    }
}

pub(super) async fn update(
    operator: Operator,
    id: web::Path<String>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let number = api::routes::number_of(&id)?;
    let back = page_of(number);
    let mut fields = filled(&form, &["inboxId", "webhookUrl", "installation", "signingSecret"]);
    fields.insert("name".to_owned(), json!(form.text("name")?.unwrap_or_default()));
    for flag in ["enabled", "autoRestore"] {
        fields.insert(flag.to_owned(), json!(form.get(flag).is_some()));
    }
    // Only the form of a route to a URL has these.
    if form.get("webhookUrl").is_some() {
        for flag in ["private", "retryUnknown"] {
            fields.insert(flag.to_owned(), json!(form.get(flag).is_some()));
        }
        let account = form.filled("accountId")?.map_or(Value::Null, |text| json!(text));
        fields.insert("accountId".to_owned(), account);
        let events = form.text("events")?.unwrap_or_default();
        let events = events.split(',').map(str::trim).filter(|name| !name.is_empty());
        fields.insert("events".to_owned(), events.collect());
    }
    let mut secrets = Map::new();
    for (of, name) in [("inbox", "inboxSecret"), ("account", "accountSecret")] {
        if let Some(secret) = form.filled(name)? {
            secrets.insert(of.to_owned(), json!([secret]));
        }
    }
    if !secrets.is_empty() {
        fields.insert("webhookSecrets".to_owned(), Value::Object(secrets));
    }
    let mut body = Body::of(fields);
    let read = api::routes::read_change(&mut body);
    let change = match read.and_then(|change| body.finish().map(|()| change)) {
        // Nobody can change a secret here and in Chatwoot in the same moment.
        Ok(change) => RouteChange {
            rotates: true,
            ..change
        },
        Err(error) => return said(&error, back),
    };
    match edit_route::update(admin.editor(), number, &change, &operator.0).await {
        Ok(_) => Ok(see_other(format!("{back}?said=saved"))),
        Err(error) => not_changed(&error, back),
    }
}

pub(super) async fn delete(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let number = api::routes::number_of(&id)?;
    match edit_route::delete(&admin.tools, number, &operator.0).await {
        Ok(()) => Ok(see_other("/admin?said=deleted".to_owned())),
        Err(error) => not_changed(&error, HOME.to_owned()),
    }
}

pub(super) async fn test(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let tested = test_route(
        (&admin.tools, &admin.targets),
        &owned,
        &operator.0,
        admin.patience,
    )
    .await;
    let tested = tested.map_err(|error| not_done(&error))?;
    let mut lines = vec![format!(
        "Its events go to {} {}.",
        tested.target.kind, tested.target.who
    )];
    if let Some(answer) = &tested.target.answer {
        lines.push(match &answer.reason {
            None => format!("It took a test event, after {} ms.", answer.took_ms),
            Some(reason) => format!("It did not take a test event: {reason}."),
        });
    }
    if let Some(both) = &tested.chatwoot {
        lines.push(format!("A message into Chatwoot: {}", leg(&both.to_chatwoot)));
        lines.push(format!(
            "Chatwoot's webhook of a message: {}",
            leg(&both.from_chatwoot)
        ));
    }
    if let Some(state) = tested.drift {
        lines.push(format!("Chatwoot's webhook address: {state}."));
    }
    lines.extend(tested.warnings.iter().map(warning));
    let heading = if tested.works {
        "It works"
    } else {
        "It does not work"
    };
    message(StatusCode::OK, heading, lines, page_of(owned.route.number))
}

pub(super) async fn check(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let back = page_of(owned.route.number);
    match drift::check(&admin.tools, &owned).await {
        Ok(Some(_)) => Ok(see_other(back)),
        Ok(None) => no_token(back),
        Err(error) => said(&not_done(&error), back),
    }
}

pub(super) async fn restore(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = api::routes::find(&admin, &id).await?;
    let back = page_of(owned.route.number);
    match drift::restore(&admin.tools, &owned, &operator.0).await {
        Ok(Some(_)) => Ok(see_other(back)),
        Ok(None) => no_token(back),
        Err(error) => said(&not_done(&error), back),
    }
}

pub(super) async fn replay(
    operator: Operator,
    id: web::Path<String>,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let back = match form.filled("routeId")? {
        Some(route) => page_of(api::routes::number_of(route)?),
        None => HOME.to_owned(),
    };
    match api::deliveries::again(&admin, form.filled("tenantId")?, &id, &operator.0).await {
        Ok(done) => Ok(see_other(format!("{back}?said={}", replayed(done)))),
        Err(error) => said(&error, back),
    }
}

pub(super) async fn replay_all(
    operator: Operator,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let route = form.filled("routeId")?.unwrap_or_default();
    let back = page_of(api::routes::number_of(route)?);
    match api::deliveries::all_again(&admin, route, &operator.0).await {
        Ok(events) => Ok(see_other(format!("{back}?said={}", replayed(events > 0)))),
        Err(error) => said(&error, back),
    }
}

const fn replayed(something: bool) -> &'static str {
    if something { "replayed" } else { "nothing" }
}

pub(super) async fn set_up_inbox(
    operator: Operator,
    form: Fields,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let back = "/admin/panel/setup".to_owned();
    let names = [
        "url",
        "apiToken",
        "tenantId",
        "whatsappAccountId",
        "accountId",
        "inboxId",
        "inboxName",
        "installation",
        "conversationPolicy",
    ];
    let (scope, wanted) = match api::setup::read(Body::of(filled(&form, &names)), &admin).await {
        Ok(read) => read,
        Err(error) => return said(&error, back),
    };
    let done = match set_up(&admin.tools, &scope, &wanted, &operator.0).await {
        Ok(done) => done,
        Err(error) => return said(&api::setup::not_set_up(&error), back),
    };
    let made = if done.inbox_created {
        "a new inbox"
    } else {
        "inbox"
    };
    let mut lines = vec![
        format!("Connected {made} {} as route {}.", done.inbox_id, done.route_id),
        format!("A message into Chatwoot: {}", leg(&done.test.to_chatwoot)),
        format!(
            "Chatwoot's webhook of a message: {}",
            leg(&done.test.from_chatwoot)
        ),
    ];
    if let Some(was) = &done.webhook_was {
        lines.push(format!("Its events went to {was} before."));
    }
    lines.extend(done.warnings.iter().map(warning));
    let heading = if done.test.works() {
        "Connected, and it works"
    } else {
        "Connected, but the test failed"
    };
    message(StatusCode::OK, heading, lines, page_of(done.route_id))
}

/// The fields of a form that somebody filled in, as a body would have them.
fn filled(form: &Fields, names: &[&'static str]) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in names {
        if let Ok(Some(text)) = form.filled(name) {
            fields.insert((*name).to_owned(), json!(text));
        }
    }
    fields
}

fn page_of(number: i64) -> String {
    format!("/admin/panel/routes/{number}")
}

fn leg(leg: &Leg) -> String {
    match (&leg.reason, leg.took_ms) {
        (Some(reason), _) => format!("no ({reason})"),
        (None, Some(took)) => format!("yes, after {took} ms"),
        (None, None) => "yes".to_owned(),
    }
}

fn warning(warning: &Warning) -> String {
    format!("Mind: {}", warning.text)
}

fn no_token(back: String) -> Result<HttpResponse, ApiError> {
    refused(
        vec!["No API token of this Chatwoot account is known, or PUBLIC_BRIDGE_URL is not set.".to_owned()],
        back,
    )
}

fn refused(lines: Vec<String>, back: String) -> Result<HttpResponse, ApiError> {
    message(StatusCode::UNPROCESSABLE_ENTITY, "That did not work", lines, back)
}

fn not_changed(error: &NotEdited, back: String) -> Result<HttpResponse, ApiError> {
    said(&not_edited(error), back)
}

/// A refusal of a call, as a page.
fn said(error: &ApiError, back: String) -> Result<HttpResponse, ApiError> {
    message(
        error.status_code(),
        "That did not work",
        api::fields::lines(error),
        back,
    )
}

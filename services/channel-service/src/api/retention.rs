//! `/api/tenants/{village_id}/retention`: for how long a tenant keeps things. For superadmins and the tenant's own admin.

use ::web::openapi::{Api, Doc, fields, nullable, object, whole};
use ::web::{ApiError, Fields};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::signed_in::User;
use super::{dashboard_group, data, village};
use crate::app::State;
use crate::error::ServiceError;
use crate::flows::retention::{self, DaysChange, MOST_DAYS};
use crate::store::retention::DaysRow;

const NAMES: [&str; 3] = ["text_days", "media_days", "raw_days"];

pub(crate) fn routes(api: &mut Api) {
    api.group(dashboard_group("Tenants"));
    const UNKNOWN: &[(u16, &str)] = &[(404, "No village is registered under this id")];
    let days = || data(object(NAMES.map(|name| (name, nullable(whole())))));
    let look = Doc::new("For how many days a tenant keeps words, files and raw events; null is the default")
        .answers(200, "The days", days())
        .refuses(UNKNOWN);
    let change = Doc::new("Change it; what is left out stays, null is back to the default")
        .takes(fields(NAMES.map(|name| (name, whole()))))
        .answers(200, "What holds now", days())
        .refuses(UNKNOWN);
    api.get("/tenants/{village_id}/retention", look, find).put(
        "/tenants/{village_id}/retention",
        change,
        set,
    );
}

fn days_in(body: &Fields, name: &'static str) -> Result<Option<Option<i32>>, ApiError> {
    // Null is given, and means something.
    let Some(value) = body.raw().get(name) else {
        return Ok(None);
    };
    if value == &Value::Null {
        return Ok(Some(None));
    }
    let days = value.as_i64().and_then(|days| i32::try_from(days).ok());
    match days.filter(|days| (1..=MOST_DAYS).contains(days)) {
        Some(days) => Ok(Some(Some(days))),
        None => Err(ApiError::bad_request(
            "invalid_days",
            format!("{name} must be a whole number between 1 and {MOST_DAYS}, or null for the default"),
        )),
    }
}

fn answer(days: Option<DaysRow>) -> Result<HttpResponse, ServiceError> {
    let days = days.ok_or_else(village::unknown)?;
    Ok(HttpResponse::Ok().json(json!({"success": true, "data": days})))
}

async fn find(user: User, path: web::Path<String>, state: Data<State>) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(Some(&path))?;
    answer(retention::find(&state.db, &scope).await?)
}

async fn set(
    user: User,
    request: HttpRequest,
    path: web::Path<String>,
    body: Fields,
    state: Data<State>,
) -> Result<HttpResponse, ServiceError> {
    let scope = user.scope(Some(&path))?;
    body.only(&NAMES)?;
    let change = DaysChange {
        text_days: days_in(&body, "text_days")?,
        media_days: days_in(&body, "media_days")?,
        raw_days: days_in(&body, "raw_days")?,
    };
    answer(retention::set(&state.db, &scope, change, &user.actor(&request)).await?)
}

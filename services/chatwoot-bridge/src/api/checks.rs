//! What operators do with a route besides changing it: try it out, look where Chatwoot sends its events, put that right.

use ::web::ApiError;
use ::web::openapi::{Api, Doc, Schema, flag, list, nullable, object, one_of, text, whole};
use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use super::basic_auth::Operator;
use super::routes::find;
use super::{Admin, group, not_done};
use crate::flows::drift::{self, Drift};
use crate::flows::test_route::test_route;

pub(crate) fn routes(api: &mut Api) {
    api.group(group("Checks"));
    let test = Doc::new("Try a route out: who gets its events, and whether they get them").answers(
        200,
        "What was found",
        object([("test", test_schema())]),
    );
    let look = || {
        object([(
            "drift",
            nullable(object([
                (
                    "state",
                    one_of(&[
                        "ok",
                        "changed",
                        "missing",
                        "inbox_gone",
                        "token_refused",
                        "unreachable",
                    ]),
                ),
                ("found", nullable(text())),
            ])),
        )])
    };
    let check = Doc::new("Look where Chatwoot sends the route's events").answers(
        200,
        "What was found; nothing where no token is known",
        look(),
    );
    let restore = Doc::new("Make Chatwoot send the route's events here again")
        .answers(200, "Where they go now; nothing where no token is known", look())
        .refuses(&[(502, "Chatwoot did not do it")]);
    api.post("/routes/{id}/test", test, test_one)
        .post("/routes/{id}/check", check, check_one)
        .post("/routes/{id}/restore", restore, restore_one);
}

fn test_schema() -> Schema {
    let mut answer = object([("works", flag()), ("tookMs", whole())]);
    answer["properties"]["reason"] = text();
    let mut target = object([("kind", one_of(&["url", "account"])), ("who", text())]);
    target["properties"]["answer"] = answer;
    object([
        ("works", flag()),
        ("target", target),
        ("chatwoot", nullable(both_ways_schema())),
        ("drift", nullable(text())),
        ("warnings", list(warning_schema())),
    ])
}

pub(super) fn both_ways_schema() -> Schema {
    let mut leg = object([("works", flag())]);
    leg["properties"]["reason"] = text();
    leg["properties"]["tookMs"] = whole();
    object([("toChatwoot", leg.clone()), ("fromChatwoot", leg)])
}

pub(super) fn warning_schema() -> Schema {
    object([("code", text()), ("text", text())])
}

async fn test_one(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = find(&admin, &id).await?;
    let tested = test_route(
        (&admin.tools, &admin.targets),
        &owned,
        &operator.0,
        admin.patience,
    )
    .await;
    let tested = tested.map_err(|error| not_done(&error))?;
    Ok(HttpResponse::Ok().json(json!({"test": tested})))
}

async fn check_one(
    _operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = find(&admin, &id).await?;
    let found = drift::check(&admin.tools, &owned).await;
    Ok(looked(found.map_err(|error| not_done(&error))?))
}

async fn restore_one(
    operator: Operator,
    id: web::Path<String>,
    admin: Data<Admin>,
) -> Result<HttpResponse, ApiError> {
    let owned = find(&admin, &id).await?;
    let found = drift::restore(&admin.tools, &owned, &operator.0).await;
    Ok(looked(found.map_err(|error| not_done(&error))?))
}

fn looked(found: Option<Drift>) -> HttpResponse {
    let drift = found.map(|drift| json!({"state": drift.state.as_str(), "found": drift.found}));
    HttpResponse::Ok().json(json!({"drift": drift}))
}

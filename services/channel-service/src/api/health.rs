//! `/health/db`, `/health/rabbitmq` and `/health/circuit-breakers`: whether one dependency answers, for whoever watches
//! the service by its predecessor's paths (channel-service contract 1.2). Anybody may ask, so nobody hears why not.

use ::web::health::Health;
use ::web::openapi::{Api, Doc, Group, nullable, object, one_of, text, time, whole};
use ::web::{ApiError, wire_time};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::{Value, json};

pub(crate) fn routes(api: &mut Api) {
    api.group(Group {
        tag: "Health",
        security: None,
        refusals: &[(404, "No such route")],
    });
    let asks = |summary, field| {
        let connected = object([("status", one_of(&["ok"])), (field, one_of(&["connected"]))]);
        Doc::new(summary)
            .answers(200, "It answers", connected)
            .refuses(&[(503, "It does not answer")])
    };
    let breaker = object([
        ("state", text()),
        ("failures", whole()),
        ("successes", whole()),
        ("totalRequests", whole()),
        ("totalFailures", whole()),
        ("totalSuccesses", whole()),
        ("successRate", text()),
        ("lastFailureTime", nullable(time())),
        ("lastSuccessTime", nullable(time())),
    ]);
    let breakers = object([
        ("circuitBreakers", object([("caseService", breaker)])),
        ("timestamp", time()),
    ]);
    api.get("/health/db", asks("Does the database answer?", "database"), db)
        .get(
            "/health/rabbitmq",
            asks("Does the broker answer?", "rabbitmq"),
            rabbitmq,
        )
        .get(
            "/health/circuit-breakers",
            Doc::new("Calls of the case service, of which there are none").answers(
                200,
                "Its counters",
                breakers,
            ),
            circuit_breakers,
        );
}

async fn db(health: Data<Health>) -> Result<HttpResponse, ApiError> {
    answer("database", health.is_up("postgres").await)
}

async fn rabbitmq(health: Data<Health>) -> Result<HttpResponse, ApiError> {
    answer("rabbitmq", health.is_up("rabbitmq").await)
}

fn answer(field: &'static str, up: Option<bool>) -> Result<HttpResponse, ApiError> {
    if up == Some(true) {
        return Ok(HttpResponse::Ok().json(json!({"status": "ok", field: "connected"})));
    }
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "disconnected", "Not connected");
    Err(error.with("status", "error").with(field, "disconnected"))
}

/// The case service is never called, by the predecessor no more than by us: nothing was counted.
async fn circuit_breakers() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "circuitBreakers": {"caseService": {
            "state": "CLOSED", "failures": 0, "successes": 0, "totalRequests": 0, "totalFailures": 0,
            "totalSuccesses": 0, "successRate": "N/A", "lastFailureTime": Value::Null, "lastSuccessTime": Value::Null,
        }},
        "timestamp": wire_time(chrono::Utc::now()),
    }))
}

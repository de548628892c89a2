//! `GET /`: who answers here (contract §5.1).

use actix_web::HttpResponse;
use serde_json::json;

pub(crate) async fn root() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({"service": "genfity-wa-support", "status": "running", "mode": "subscription-gateway"}))
}

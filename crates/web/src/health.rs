//! `/health` (cheap, with the predecessor's body), `/health/live` and `/health/ready`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, http::StatusCode};
use futures_util::future::{BoxFuture, join_all};
use runtime::shutdown::Shutdown;
use serde_json::{Value, json};

/// What the service loses when a dependency is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It cannot do its work: not ready.
    Vital,
    /// It works, slower or later: ready, and says so.
    Helpful,
}

type Probe = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What is asked when somebody wants to know whether the service is ready. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    health_body: Value,
    checks: Vec<(&'static str, Need, Probe)>,
}

/// A dependency that takes longer is as good as away.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked for the metrics, also when nobody asks for `/health/ready`.
const EVERY: Duration = Duration::from_secs(15);

impl Health {
    /// Health of a service whose `/health` always answers `health_body`.
    #[must_use]
    pub const fn new(health_body: Value) -> Self {
        Self {
            health_body,
            checks: Vec::new(),
        }
    }

    /// Adds a dependency.
    #[must_use]
    pub fn check<F>(mut self, name: &'static str, need: Need, probe: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static,
    {
        self.checks.push((name, need, Arc::new(probe)));
        self
    }

    /// Adds the routes.
    pub fn routes(&self, config: &mut ServiceConfig) {
        config
            .app_data(web::Data::new(self.clone()))
            .service(
                web::resource("/health")
                    .route(web::get().to(health))
                    .route(web::head().to(health)),
            )
            .service(
                web::resource("/health/live")
                    .route(web::get().to(live))
                    .route(web::head().to(live)),
            )
            .service(
                web::resource("/health/ready")
                    .route(web::get().to(ready))
                    .route(web::head().to(ready)),
            );
    }

    /// Asks one dependency. `None`: there is none of that name.
    pub async fn is_up(&self, name: &str) -> Option<bool> {
        let (_, _, probe) = self.checks.iter().find(|(known, ..)| *known == name)?;
        Some(answers(probe).await)
    }

    /// Keeps the metrics true until the end.
    pub(crate) async fn watch(self, shutdown: Shutdown) {
        loop {
            self.report().await;
            if !shutdown.sleep(EVERY).await {
                return;
            }
        }
    }

    async fn report(&self) -> (StatusCode, Value) {
        let answers = join_all(
            self.checks
                .iter()
                .map(|(name, need, probe)| async { (*name, *need, answers(probe).await) }),
        )
        .await;
        let down = |need| answers.iter().any(|(_, n, up)| *n == need && !up);
        let status = if down(Need::Vital) {
            "unavailable"
        } else if down(Need::Helpful) {
            "degraded"
        } else {
            "ready"
        };
        for (name, _, up) in &answers {
            metrics::gauge!("kanal_dependency_up", "dependency" => *name).set(f64::from(u8::from(*up)));
        }
        metrics::gauge!("kanal_ready").set(f64::from(u8::from(!down(Need::Vital))));
        let checks: serde_json::Map<String, Value> = answers
            .iter()
            .map(|(name, _, up)| ((*name).to_owned(), Value::from(if *up { "up" } else { "down" })))
            .collect();
        let code = if down(Need::Vital) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        (code, json!({"status": status, "checks": checks}))
    }
}

async fn answers(probe: &Probe) -> bool {
    tokio::time::timeout(PROBE_TIMEOUT, probe())
        .await
        .unwrap_or(false)
}

async fn health(health: web::Data<Health>) -> HttpResponse {
    let mut body = health.health_body.clone();
    if let Some(timestamp) = body.get_mut("timestamp") {
        *timestamp = Value::from(chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    }
    HttpResponse::Ok().json(body)
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "alive"}))
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    let (status, body) = health.report().await;
    HttpResponse::build(status).json(body)
}

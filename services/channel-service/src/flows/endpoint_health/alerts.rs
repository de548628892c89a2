//! The operators' webhook is told of an alert: posted as JSON, signed where there is a key, again until it was taken, a
//! bounded number of times.

use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use database::{Database, DatabaseError};
use domain::retry::{InvalidSchedule, RetrySchedule};
use outbound_url::{CheckedResolver, OutboundPolicy, OutboundRefusal};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, redirect};
use serde_json::json;
use tenant_isolation::{PlatformScope, PlatformTransaction};
use whatsapp::genfity::sign;

use crate::config::AlertSettings;
use crate::store::endpoint_alert::{self, DueAlert};

/// Longest wait for the receiver.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than one post takes: whoever dies in the middle is followed by somebody who posts again.
const LEASE: Duration = Duration::from_secs(30);
/// Ten tries within some two hours.
const TRIES: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(30 * 60), 10);
/// Most alerts that are told in one go.
const AT_ONCE: usize = 20;

const SIGNATURE: HeaderName = HeaderName::from_static("x-kanal-signature");
const ALERT_ID: HeaderName = HeaderName::from_static("x-kanal-alert-id");

/// The way to the operators. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    db: Database,
    http: Client,
    settings: AlertSettings,
    retries: RetrySchedule,
}

/// The operators cannot be told as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum AlertsUnusable {
    /// The address must not be dialled.
    #[error(transparent)]
    Refused(#[from] OutboundRefusal),
    /// TLS is not set up.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The waits make no sense.
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
}

impl Alerts {
    /// Prepares the client: no redirects, no proxy, and no address but those that may be dialled.
    ///
    /// # Errors
    /// [`AlertsUnusable`].
    pub fn new(
        db: Database,
        settings: AlertSettings,
        policy: OutboundPolicy,
    ) -> Result<Self, AlertsUnusable> {
        policy.check_link(settings.url.expose())?;
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver::new(policy)))
            .build()?;
        let (first, longest, tries) = TRIES;
        Ok(Self {
            db,
            http,
            settings,
            retries: RetrySchedule::new(first, longest, tries, 0.2)?,
        })
    }

    /// Tells what is due, in order for each endpoint.
    ///
    /// # Errors
    /// [`DatabaseError`]: then it is told again.
    pub async fn tell_due(&self) -> Result<(), DatabaseError> {
        for _ in 0..AT_ONCE {
            let mut tx = self.platform("claim endpoint alert").await?;
            let due = endpoint_alert::claim(&mut tx, LEASE).await?;
            tx.commit().await?;
            let Some(alert) = due else {
                return Ok(());
            };
            self.tell(&alert).await?;
        }
        Ok(())
    }

    async fn tell(&self, alert: &DueAlert) -> Result<(), DatabaseError> {
        let posted = self.post(alert).await;
        let mut tx = self.platform("record endpoint alert").await?;
        let outcome = match &posted {
            Ok(()) => {
                endpoint_alert::told(&mut tx, alert.id).await?;
                "told"
            }
            Err(reason) => {
                let tries = u32::try_from(alert.attempts).unwrap_or(u32::MAX);
                let wait = self.retries.wait_after(tries, rand::random());
                endpoint_alert::not_told(&mut tx, alert.id, wait, reason).await?;
                if wait.is_some() { "again" } else { "given_up" }
            }
        };
        tx.commit().await?;
        metrics::counter!("kanal_endpoint_alert_posts_total", "outcome" => outcome).increment(1);
        match (posted, outcome) {
            (Ok(()), _) => {}
            (Err(reason), "given_up") => {
                tracing::error!(
                    endpoint = alert.endpoint,
                    kind = alert.kind,
                    reason,
                    "the alert webhook was not reached in the last try"
                );
            }
            (Err(reason), _) => {
                tracing::warn!(
                    endpoint = alert.endpoint,
                    kind = alert.kind,
                    reason,
                    tries = alert.attempts,
                    "the alert webhook was not reached"
                );
            }
        }
        Ok(())
    }

    /// What is said of a failure never holds the address: some have a secret in them.
    async fn post(&self, alert: &DueAlert) -> Result<(), String> {
        let body = json!({
            "id": alert.id,
            "type": format!("endpoint.{}", alert.kind),
            "service": "channel-service",
            "endpoint": alert.endpoint,
            "status": if alert.kind == "recovered" { "recovered" } else { "unhealthy" },
            "reason": alert.reason,
            "unhealthy_since": alert.since.to_rfc3339_opts(SecondsFormat::Millis, true),
            "at": alert.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        })
        .to_string();
        let mut request = self
            .http
            .post(self.settings.url.expose().clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ALERT_ID, alert.id.to_string());
        if let Some(key) = &self.settings.key {
            request = request.header(SIGNATURE, format!("sha256={}", sign(key, body.as_bytes())));
        }
        let answer = request.body(body).send().await.map_err(|error| {
            let reason = if error.is_timeout() {
                "timeout"
            } else if error.is_connect() {
                "unreachable"
            } else {
                "connection_broken"
            };
            reason.to_owned()
        })?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("http_{}", answer.status().as_u16()))
        }
    }

    async fn platform(&self, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose(purpose)).await
    }
}

//! How the WhatsApp API servers are: each is checked once an interval, however many tenants share it and however many
//! processes there are, and who runs them is told when one stays away.
//!
//! | rule | where |
//! |---|---|
//! | what a finding means | [`rules`] |
//! | one check an interval: whoever moves the row's time forward makes it, and its fence says that the result counts | [`EndpointHealth::due`], [`EndpointHealth::check`] |
//! | told once an episode, and once when it is over, whoever leads and however often that changes | [`EndpointHealth::raise`], `alerted_at` |
//! | told again until it was heard, a bounded number of times | [`alerts`] |

pub mod alerts;
pub mod rules;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use database::{Database, DatabaseError};
use tenant_isolation::{PlatformScope, PlatformTransaction};
use whatsapp::probe::ProbeReason;

use self::rules::{Finding, HealthRules};
use crate::config::CheckSettings;
use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::store::endpoint_alert::{self, AlertKind, NewAlert};
use crate::store::endpoint_health::{self, Before, CheckPlan, DueCheck, HealthStatus};

/// How long tenants' intervals are believed before they are read again.
const INTERVALS_FRESH: Duration = Duration::from_secs(5);
/// A check comes up to this share of its interval early, lest all endpoints are checked at the same moment.
const JITTER: f64 = 0.1;

/// Looks after all endpoints. Cheap to clone.
#[derive(Clone)]
pub struct EndpointHealth {
    db: Database,
    endpoints: Endpoints,
    settings: CheckSettings,
    /// Somebody is to be told besides the log and the metrics.
    is_told: bool,
    intervals: Arc<Mutex<Intervals>>,
}

#[derive(Default)]
struct Intervals {
    read_at: Option<Instant>,
    of: HashMap<String, Duration>,
}

impl EndpointHealth {
    /// Looks after `endpoints`, and has somebody told if `is_told`.
    #[must_use]
    pub fn new(db: Database, endpoints: Endpoints, settings: CheckSettings, is_told: bool) -> Self {
        Self {
            db,
            endpoints,
            settings,
            is_told,
            intervals: Arc::default(),
        }
    }

    /// Takes the checks that are due now, but for endpoints in `under_way`: one that hangs longer than its interval is not
    /// asked a second time meanwhile. The checks are this process' to make.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn due(&self, under_way: &HashSet<String>) -> Result<Vec<DueCheck>, DatabaseError> {
        let mut endpoints = self.endpoints.names();
        endpoints.retain(|endpoint| !under_way.contains(endpoint.as_str()));
        if endpoints.is_empty() {
            return Ok(Vec::new());
        }
        self.read_intervals().await?;
        let plans: Vec<CheckPlan> = endpoints
            .iter()
            .map(|endpoint| {
                let interval = self.interval(endpoint.as_str());
                CheckPlan {
                    endpoint: endpoint.to_string(),
                    interval,
                    next: interval.mul_f64(1.0 - JITTER * rand::random::<f64>()),
                }
            })
            .collect();
        let mut tx = self.platform("claim endpoint checks").await?;
        let due = endpoint_health::claim(&mut tx, &plans).await?;
        tx.commit().await?;
        Ok(due)
    }

    async fn read_intervals(&self) -> Result<(), DatabaseError> {
        let fresh = INTERVALS_FRESH.min(self.settings.usual);
        let is_fresh = |known: &Intervals| known.read_at.is_some_and(|at| at.elapsed() < fresh);
        if is_fresh(&self.intervals.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut tx = self.platform("read health check intervals").await?;
        let read = endpoint_health::intervals(&mut tx, self.settings.usual).await?;
        tx.commit().await?;
        *self.intervals.lock().unwrap_or_else(PoisonError::into_inner) = Intervals {
            read_at: Some(Instant::now()),
            of: read.into_iter().collect(),
        };
        Ok(())
    }

    /// The shortest that one of the endpoint's tenants has chosen, within bounds.
    fn interval(&self, endpoint: &str) -> Duration {
        let intervals = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = intervals.of.get(endpoint).copied();
        chosen.unwrap_or(self.settings.usual).max(self.settings.shortest)
    }

    /// Makes a check and writes down what it found.
    ///
    /// # Errors
    /// [`DatabaseError`]: then the check is lost, and the next one comes an interval later.
    pub async fn check(&self, due: &DueCheck) -> Result<(), DatabaseError> {
        let Some(endpoint) = self.endpoints.find(&due.endpoint) else {
            return Ok(());
        };
        let finding = self.ask(&endpoint).await;
        let rules = HealthRules {
            slow: self.settings.slow,
            failures: self.settings.failures,
            again: self.settings.again,
        };
        let mut tx = self.platform("record endpoint check").await?;
        let Some(before) = endpoint_health::hold(&mut tx, due).await? else {
            tx.commit().await?;
            tracing::warn!(
                endpoint = due.endpoint,
                "a check took so long that another one counts"
            );
            return Ok(());
        };
        let after = rules.judge(before.failures, finding);
        endpoint_health::record(&mut tx, &due.endpoint, &after).await?;
        let recovered = before.is_alerted && after.status != HealthStatus::Unhealthy;
        if recovered {
            let alert = NewAlert {
                endpoint: &due.endpoint,
                kind: AlertKind::Recovered,
                reason: None,
                since: before.unhealthy_since.unwrap_or_else(chrono::Utc::now),
            };
            endpoint_alert::insert(&mut tx, &alert, self.is_told).await?;
        }
        tx.commit().await?;
        tell(&due.endpoint, &before, after.status, after.reason);
        if recovered {
            count_alert(&due.endpoint, AlertKind::Recovered);
            tracing::warn!(
                endpoint = due.endpoint,
                status = after.status.as_str(),
                "an endpoint that was unhealthy is back"
            );
        }
        Ok(())
    }

    async fn ask(&self, endpoint: &LiveEndpoint) -> Finding {
        let asked = Instant::now();
        match tokio::time::timeout(self.settings.timeout, endpoint.probe.probe()).await {
            Ok(Ok(report)) => Finding::Answered(report.took),
            Ok(Err(failure)) => {
                tracing::info!(endpoint = %endpoint.name, reason = failure.reason.as_str(),
                    detail = failure.detail.as_str(), "an endpoint did not answer a check as it should");
                Finding::Failed(failure.reason)
            }
            Err(_) => {
                tracing::info!(endpoint = %endpoint.name, waited = ?asked.elapsed(),
                    "an endpoint did not answer a check in time");
                Finding::Failed(ProbeReason::NoAnswer)
            }
        }
    }

    /// Raises an alert for every endpoint that has been unhealthy for too long and of which nobody was told.
    ///
    /// # Errors
    /// [`DatabaseError`]: then it is raised next time.
    pub async fn raise(&self) -> Result<(), DatabaseError> {
        let names = self.endpoints.names();
        let names: Vec<&str> = names.iter().map(domain::endpoint::EndpointName::as_str).collect();
        let mut tx = self.platform("raise endpoint alerts").await?;
        let raised = endpoint_health::raise(&mut tx, &names, self.settings.alert_after).await?;
        for alarm in &raised {
            let alert = NewAlert {
                endpoint: &alarm.endpoint,
                kind: AlertKind::Unhealthy,
                reason: alarm.reason.as_deref(),
                since: alarm.since,
            };
            endpoint_alert::insert(&mut tx, &alert, self.is_told).await?;
        }
        tx.commit().await?;
        for alarm in raised {
            count_alert(&alarm.endpoint, AlertKind::Unhealthy);
            tracing::error!(endpoint = alarm.endpoint, reason = alarm.reason, since = %alarm.since,
                "an endpoint stays unhealthy");
        }
        Ok(())
    }

    /// Shows in the metrics how the configured endpoints are, the same in every process.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn show(&self) -> Result<(), DatabaseError> {
        let mut tx = self.platform("show endpoint health").await?;
        let standings = endpoint_health::standings(&mut tx).await?;
        tx.commit().await?;
        let mut distribution = HashMap::new();
        for endpoint in self.endpoints.names() {
            let known = standings.iter().find(|known| known.endpoint == endpoint.as_str());
            let status = known.map_or(HealthStatus::Unknown, |known| known.status);
            *distribution.entry(status).or_insert(0_u32) += 1;
            for one in HealthStatus::ALL {
                metrics::gauge!("kanal_endpoint_health", "endpoint" => endpoint.to_string(), "status" => one.as_str())
                    .set(if one == status { 1.0 } else { 0.0 });
            }
            metrics::gauge!("kanal_endpoint_alerting", "endpoint" => endpoint.to_string()).set(
                if known.is_some_and(|known| known.is_alerted) {
                    1.0
                } else {
                    0.0
                },
            );
        }
        for status in HealthStatus::ALL {
            metrics::gauge!("kanal_endpoints", "status" => status.as_str())
                .set(distribution.get(&status).copied().unwrap_or(0));
        }
        Ok(())
    }

    /// Lets go of old results and alerts, in small batches.
    ///
    /// # Errors
    /// [`DatabaseError`]; what was deleted until then stays deleted.
    pub async fn trim(&self) -> Result<(), DatabaseError> {
        const BATCH: i64 = 1_000;
        loop {
            let mut tx = self.platform("trim endpoint history").await?;
            let (age, most) = (self.settings.history_age, self.settings.history_most);
            let checks = endpoint_health::trim(&mut tx, age, most, BATCH).await?;
            let alerts = endpoint_alert::trim(&mut tx, age.max(ALERTS_KEPT), BATCH).await?;
            tx.commit().await?;
            if i64::try_from(checks.max(alerts)).unwrap_or(BATCH) < BATCH {
                return Ok(());
            }
        }
    }

    async fn platform(&self, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
        PlatformTransaction::begin(&self.db, PlatformScope::for_purpose(purpose)).await
    }
}

/// Alerts are few, and people ask for them later than for single checks.
const ALERTS_KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

fn tell(endpoint: &str, before: &Before, status: HealthStatus, reason: Option<&str>) {
    metrics::counter!("kanal_endpoint_checks_total", "endpoint" => endpoint.to_owned(), "status" => status.as_str())
        .increment(1);
    if before.status != status {
        tracing::warn!(
            endpoint,
            before = before.status.as_str(),
            status = status.as_str(),
            reason,
            "an endpoint's health changed"
        );
    }
}

fn count_alert(endpoint: &str, kind: AlertKind) {
    metrics::counter!("kanal_endpoint_alerts_total", "endpoint" => endpoint.to_owned(), "kind" => kind.as_str())
        .increment(1);
}

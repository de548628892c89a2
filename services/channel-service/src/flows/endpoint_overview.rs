//! The WhatsApp API servers as operators look at them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::endpoints::{Endpoints, LiveEndpoint};
use crate::store::endpoint_history::{self, AssignedTenant, Standing};

/// An endpoint of the configuration.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// Its name.
    pub name: String,
    /// Which kind of API it is.
    pub provider: Provider,
    /// Who was given none is here.
    pub is_usual: bool,
    /// How it is. `None`: nobody has looked.
    pub standing: Option<Standing>,
    /// How many tenants were given it; more than [`endpoint_history::COUNTED`] is that and one.
    pub tenants: i64,
}

/// Every endpoint of the configuration, in its order.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(db: &Database, endpoints: &Endpoints) -> Result<Vec<EndpointView>, DatabaseError> {
    view(
        db,
        endpoints,
        &endpoints.all().iter().map(AsRef::as_ref).collect::<Vec<_>>(),
    )
    .await
}

async fn view(
    db: &Database,
    endpoints: &Endpoints,
    of: &[&LiveEndpoint],
) -> Result<Vec<EndpointView>, DatabaseError> {
    let names: Vec<&str> = of.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let mut tx = platform(db, "show endpoints").await?;
    let standings = endpoint_history::standings(&mut tx, &names).await?;
    let tenants = endpoint_history::tenants(&mut tx, &names).await?;
    tx.commit().await?;
    let mut standings: HashMap<String, Standing> = standings
        .into_iter()
        .map(|standing| (standing.endpoint.clone(), standing))
        .collect();
    let tenants: HashMap<String, i64> = tenants.into_iter().collect();
    let usual = endpoints.fallback();
    let view = of.iter().map(|endpoint| EndpointView {
        name: endpoint.name.to_string(),
        provider: endpoint.provider,
        is_usual: usual.as_ref().is_some_and(|usual| usual.name == endpoint.name),
        standing: standings.remove(endpoint.name.as_str()),
        tenants: tenants.get(endpoint.name.as_str()).copied().unwrap_or(0),
    });
    Ok(view.collect())
}

/// One endpoint from near.
#[derive(Debug, Clone)]
pub struct EndpointDetail {
    /// As in the list.
    pub view: EndpointView,
    /// When a check last found it not healthy, and why.
    pub trouble: Option<(DateTime<Utc>, String)>,
    /// Who was given it, some of them.
    pub tenants: Vec<AssignedTenant>,
    /// Behind which of them the next ones are.
    pub next: Option<String>,
}

/// Tenants on one page.
const PAGE: usize = 50;

/// One endpoint, with the tenants behind one of them. `None`: it is not configured.
///
/// # Errors
/// [`DatabaseError`].
pub async fn show(
    db: &Database,
    endpoints: &Endpoints,
    name: &str,
    after: Option<&str>,
) -> Result<Option<EndpointDetail>, DatabaseError> {
    let Some(endpoint) = endpoints.find(name) else {
        return Ok(None);
    };
    let Some(view) = view(db, endpoints, &[&endpoint]).await?.pop() else {
        return Ok(None);
    };
    let mut tx = platform(db, "show endpoint").await?;
    let trouble = endpoint_history::last_trouble(&mut tx, name).await?;
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut tenants = endpoint_history::tenants_of(&mut tx, name, after, limit).await?;
    tx.commit().await?;
    let has_more = tenants.len() > PAGE;
    tenants.truncate(PAGE);
    let next = tenants
        .last()
        .filter(|_| has_more)
        .map(|last| last.tenant_id.clone());
    Ok(Some(EndpointDetail {
        view,
        trouble,
        tenants,
        next,
    }))
}

/// How long somebody waits for a check that they asked for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often it is looked whether it is done.
const LOOK: Duration = Duration::from_millis(100);

/// Has an endpoint checked now, by whoever leads the checks. True when the result is there.
///
/// # Errors
/// [`DatabaseError`].
pub async fn check_now(db: &Database, name: &str) -> Result<bool, DatabaseError> {
    let mut tx = platform(db, "check endpoint now").await?;
    let before = checked_at(&mut tx, name).await?;
    endpoint_history::check_soon(&mut tx, name).await?;
    tx.commit().await?;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
        let mut tx = platform(db, "wait for endpoint check").await?;
        let now = checked_at(&mut tx, name).await?;
        tx.commit().await?;
        if now > before {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn checked_at(
    tx: &mut PlatformTransaction,
    name: &str,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let standing = endpoint_history::standings(tx, &[name]).await?;
    Ok(standing
        .into_iter()
        .next()
        .and_then(|standing| standing.checked_at))
}

async fn platform(db: &Database, purpose: &'static str) -> Result<PlatformTransaction, DatabaseError> {
    PlatformTransaction::begin(db, PlatformScope::for_purpose(purpose)).await
}

//! Webhooks that are nobody's: kept for people, never given to a tenant.

use database::{Database, DatabaseError};
use domain::endpoint::Provider;
use tenant_isolation::{PlatformScope, PlatformTransaction};

use crate::store;

/// Keeps a webhook for people to look at.
///
/// # Errors
/// [`DatabaseError`].
pub async fn keep(
    db: &Database,
    provider: Provider,
    reason: &'static str,
    instance: Option<&str>,
    body: &[u8],
) -> Result<(), DatabaseError> {
    metrics::counter!("kanal_webhooks_quarantined_total", "reason" => reason).increment(1);
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("quarantine webhook")).await?;
    let kept = store::quarantine::insert(&mut tx, provider, reason, instance, body).await?;
    tx.commit().await?;
    if !kept {
        metrics::counter!("kanal_quarantine_full_total").increment(1);
        tracing::error!(reason, "the quarantine is full, a webhook was only counted");
    }
    Ok(())
}

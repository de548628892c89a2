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
    let one = Stray {
        reason,
        instance,
        body,
    };
    keep_all(db, provider, &[], &[one]).await
}

/// A webhook that is nobody's, or a part of one.
#[derive(Clone, Copy)]
pub struct Stray<'a> {
    /// Why it is nobody's, as a stable code.
    pub reason: &'static str,
    /// What it says whose it is.
    pub instance: Option<&'a str>,
    /// Its bytes.
    pub body: &'a [u8],
}

/// As [`keep`], for many that came together, signed with a secret of each of these endpoints.
///
/// # Errors
/// [`DatabaseError`]; none of them is kept then.
pub async fn keep_all(
    db: &Database,
    provider: Provider,
    signed_by: &[String],
    strays: &[Stray<'_>],
) -> Result<(), DatabaseError> {
    let mut tx = PlatformTransaction::begin(db, PlatformScope::for_purpose("quarantine webhook")).await?;
    let mut full = 0_u64;
    for stray in strays {
        metrics::counter!("kanal_webhooks_quarantined_total", "reason" => stray.reason).increment(1);
        let kept = store::quarantine::insert(
            &mut tx,
            provider,
            stray.reason,
            stray.instance,
            signed_by,
            stray.body,
        )
        .await?;
        full += u64::from(!kept);
    }
    tx.commit().await?;
    if full > 0 {
        metrics::counter!("kanal_quarantine_full_total").increment(full);
        tracing::error!(full, "the quarantine is full, webhooks were only counted");
    }
    Ok(())
}

//! Noting acts.

use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Who acts, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// A user, the name of an internal caller, `operator` on the command line, a service's name for what it does by itself.
    pub name: String,
    /// From which address.
    pub source: Option<String>,
}

impl Actor {
    /// Somebody on the machine that holds the database's credentials.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            name: "operator".to_owned(),
            source: None,
        }
    }

    /// A service by itself.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: None,
        }
    }

    /// An act of this actor.
    #[must_use]
    pub fn act(&self, action: &'static str, subject: Option<String>) -> Act<'_> {
        Act {
            actor: &self.name,
            action,
            subject,
            detail: None,
            source: self.source.clone(),
        }
    }
}

/// One administrative act. Holds no words of people and no secrets.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Who; see [`Actor::name`].
    pub actor: &'a str,
    /// What, as a stable name: `takeover.start`, `session.delete`.
    pub action: &'static str,
    /// To which thing.
    pub subject: Option<String>,
    /// What else matters, in a few words.
    pub detail: Option<String>,
    /// From which address.
    pub source: Option<String>,
}

impl Act<'_> {
    /// The same, with what else matters.
    #[must_use]
    pub fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Notes an act about the tenant, in the transaction that does it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note(tx: &mut TenantTransaction, act: &Act<'_>) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    database::sql(
        "INSERT INTO audit_log (tenant_id, id, actor, action, subject, detail, source) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(act.actor)
    .bind::<Text, _>(act.action)
    .bind::<Nullable<Text>, _>(&act.subject)
    .bind::<Nullable<Text>, _>(&act.detail)
    .bind::<Nullable<Text>, _>(&act.source)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes an act that is about no tenant, in the transaction that does it.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_platform(tx: &mut PlatformTransaction, act: &Act<'_>) -> Result<(), DatabaseError> {
    database::sql(
        "INSERT INTO platform_acts (id, actor, action, subject, detail, source) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind::<SqlUuid, _>(Uuid::now_v7())
    .bind::<Text, _>(act.actor)
    .bind::<Text, _>(act.action)
    .bind::<Nullable<Text>, _>(&act.subject)
    .bind::<Nullable<Text>, _>(&act.detail)
    .bind::<Nullable<Text>, _>(&act.source)
    .execute(tx.connection())
    .await?;
    Ok(())
}

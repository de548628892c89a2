//! Writing to the outbox.

use std::sync::Arc;

use database::DatabaseError;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tenant_isolation::{GroupTransaction, TenantTransaction};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::ledger::{Book, Step, note};

/// Wakes the relay of this process after a commit; a relay elsewhere finds the rows by looking.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// There is something to do.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// One event for the outbox.
#[derive(Debug)]
pub struct NewRow {
    /// Events of one lane stay in order: the chat's id, or whatever else they are about.
    pub lane: String,
    /// The event.
    pub envelope: Envelope,
}

/// Adds one tenant's events.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn enqueue(tx: &mut TenantTransaction, rows: Vec<NewRow>) -> Result<(), DatabaseError> {
    let many = rows.len();
    insert(tx.connection(), rows).await?;
    note(tx, Book::Outbox, Step::Accepted, many);
    Ok(())
}

/// Adds events of the several tenants of a group.
///
/// # Errors
/// [`DatabaseError`]; the whole transaction is void then.
pub async fn enqueue_group(tx: &mut GroupTransaction, rows: Vec<NewRow>) -> Result<(), DatabaseError> {
    let many = rows.len();
    insert(tx.connection(), rows).await?;
    note(tx, Book::Outbox, Step::Accepted, many);
    Ok(())
}

async fn insert(connection: &mut AsyncPgConnection, rows: Vec<NewRow>) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut tenants: Vec<String> = Vec::with_capacity(rows.len());
    let mut lanes: Vec<String> = Vec::with_capacity(rows.len());
    let mut ids: Vec<Uuid> = Vec::with_capacity(rows.len());
    let mut kinds: Vec<String> = Vec::with_capacity(rows.len());
    let mut envelopes: Vec<String> = Vec::with_capacity(rows.len());
    for row in rows {
        envelopes.push(
            row.envelope
                .to_json()
                .map_err(|error| DatabaseError::Refused(Box::new(error)))?,
        );
        tenants.push(row.envelope.tenant_id.into());
        lanes.push(row.lane);
        ids.push(row.envelope.id.as_uuid());
        kinds.push(row.envelope.kind);
    }
    database::sql(
        "INSERT INTO outbox (tenant_id, lane, event_id, event_type, envelope) \
         SELECT * FROM unnest($1, $2, $3, $4, $5)",
    )
    .bind::<Array<Text>, _>(tenants)
    .bind::<Array<Text>, _>(lanes)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<Text>, _>(kinds)
    .bind::<Array<Text>, _>(envelopes)
    .execute(connection)
    .await?;
    Ok(())
}

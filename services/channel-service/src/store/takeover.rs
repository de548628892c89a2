//! `takeovers`: who answers a chat in the AI's place.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::ChatId;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A row of `takeovers`.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub struct TakeoverRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// Who has it, by the dashboard's id.
    #[diesel(sql_type = Text)]
    pub admin_id: String,
    /// Who has it, by name.
    #[diesel(sql_type = Nullable<Text>)]
    pub admin_name: Option<String>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// Since when.
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    /// Until when; none while it is active.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
}

/// Who has the chat now. `None`: the AI.
///
/// # Errors
/// [`DatabaseError`].
pub async fn active(tx: &mut TenantTransaction, chat: ChatId) -> Result<Option<TakeoverRow>, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut rows: Vec<TakeoverRow> = diesel::sql_query(
        "SELECT id, chat_id, admin_id, admin_name, reason, started_at, ended_at FROM takeovers \
         WHERE tenant_id = $1 AND chat_id = $2 AND ended_at IS NULL",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(chat.as_uuid())
    .load(tx.connection())
    .await?;
    Ok(rows.pop())
}

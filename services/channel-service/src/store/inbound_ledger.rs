//! `inbound_ledger`: which messages were accepted, so that none is let in twice.

use std::collections::HashMap;

use database::DatabaseError;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::address::PhoneNumber;
use domain::ids::{AccountId, MessageId, ProviderMessageId, TenantId};
use tenant_isolation::GroupTransaction;
use uuid::Uuid;

use super::contact_lid::HiddenId;

/// One line of the dedup ledger.
#[derive(Debug, Clone)]
pub struct LedgerEntry {
    /// Whose.
    pub tenant: TenantId,
    /// On which account.
    pub account: AccountId,
    /// The provider's id.
    pub provider_message_id: ProviderMessageId,
    /// The id the message will have.
    pub message: MessageId,
    /// The partner's hidden id, where the message tells it.
    pub hidden: Option<HiddenId>,
}

/// A message that was not accepted before, and which number its partner's hidden id was known to have.
pub type Noted = HashMap<MessageId, Option<PhoneNumber>>;

#[derive(diesel::QueryableByName)]
struct NotedRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
}

/// Notes messages as accepted; returns those that had not been. Entries must be sorted by their key, so that two
/// groups wait for each other in one order. A concurrent group with the same message is waited for.
///
/// # Errors
/// [`DatabaseError`].
pub async fn note_new(tx: &mut GroupTransaction, entries: &[LedgerEntry]) -> Result<Noted, DatabaseError> {
    let hidden = |entry: &LedgerEntry| entry.hidden.as_ref().map(|id| id.as_stored().to_owned());
    // What is known of the hidden ids comes along, so that messages that teach nothing new cost no question of their own.
    let rows: Vec<NotedRow> = database::sql(
        "WITH noted AS (INSERT INTO inbound_ledger (tenant_id, account_id, provider_message_id, message_id) \
                SELECT * FROM unnest($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING message_id) \
         SELECT noted.message_id AS id, l.phone FROM noted \
         JOIN unnest($1, $2, $4, $5) AS e (tenant_id, account_id, message_id, lid) USING (message_id) \
         LEFT JOIN contact_lids l ON l.tenant_id = e.tenant_id AND l.account_id = e.account_id AND l.lid = e.lid",
    )
    .bind::<Array<Text>, _>(entries.iter().map(|e| e.tenant.as_str()).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(entries.iter().map(|e| e.account.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(
        entries
            .iter()
            .map(|e| e.provider_message_id.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<SqlUuid>, _>(entries.iter().map(|e| e.message.as_uuid()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(entries.iter().map(hidden).collect::<Vec<_>>())
    .load(tx.connection())
    .await?;
    let known = |phone: Option<String>| phone.and_then(|phone| PhoneNumber::parse(&phone).ok());
    Ok(rows
        .into_iter()
        .map(|row| (MessageId::from_uuid(row.id), known(row.phone)))
        .collect())
}

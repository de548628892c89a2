//! Which contact and conversation in Chatwoot an address has.

use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A row of `contacts`.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct ContactLink {
    /// Chatwoot's contact id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_contact_id: i64,
    /// The conversation's display id.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_conversation_id: i64,
    /// Under which the contact is in the inbox; the address, unless that was taken.
    #[diesel(sql_type = Text)]
    pub source_id: String,
}

/// The link of an address.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    address: &str,
) -> Result<Option<ContactLink>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<ContactLink> = database::sql(
        "SELECT chatwoot_contact_id, chatwoot_conversation_id, source_id FROM contacts \
         WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(address)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Remembers a link, in place of an older one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    address: &str,
    link: &ContactLink,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO contacts (tenant_id, inbox_id, address, chatwoot_contact_id, chatwoot_conversation_id, source_id) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, inbox_id, address) DO UPDATE \
         SET chatwoot_contact_id = excluded.chatwoot_contact_id, source_id = excluded.source_id, \
             chatwoot_conversation_id = excluded.chatwoot_conversation_id, updated_at = now()",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(address)
    .bind::<BigInt, _>(link.chatwoot_contact_id)
    .bind::<BigInt, _>(link.chatwoot_conversation_id)
    .bind::<Text, _>(&link.source_id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The address `from` is the person's no longer, it is `into` now: the conversation goes on under that, unless it has one
/// of its own. What agents write under `from` goes there, see [`surviving`]. False when nothing was known of `from`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn merge(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    from: &str,
    into: &str,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut marked = 0;
    for statement in [
        "INSERT INTO contacts (tenant_id, inbox_id, address, chatwoot_contact_id, chatwoot_conversation_id, source_id) \
             SELECT tenant_id, inbox_id, $4, chatwoot_contact_id, chatwoot_conversation_id, source_id FROM contacts \
             WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3 \
         ON CONFLICT (tenant_id, inbox_id, address) DO NOTHING",
        "UPDATE contacts SET merged_into = $4, updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3",
    ] {
        marked = database::sql(statement)
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(inbox)
            .bind::<Text, _>(from)
            .bind::<Text, _>(into)
            .execute(tx.connection())
            .await?;
    }
    Ok(marked > 0)
}

/// The address under which the person behind `address` is known now. `None`: still under this one.
///
/// # Errors
/// [`DatabaseError`].
pub async fn surviving(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    address: &str,
) -> Result<Option<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        merged_into: Option<String>,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(
        "SELECT merged_into FROM contacts WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(address)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next().and_then(|row| row.merged_into))
}

/// Forgets a link that Chatwoot does not know any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(tx: &mut TenantTransaction, inbox: Uuid, address: &str) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("DELETE FROM contacts WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(inbox)
        .bind::<Text, _>(address)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Forgets every link of an inbox.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_all(tx: &mut TenantTransaction, inbox: Uuid) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql("DELETE FROM contacts WHERE tenant_id = $1 AND inbox_id = $2")
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(inbox)
        .execute(tx.connection())
        .await?;
    Ok(())
}

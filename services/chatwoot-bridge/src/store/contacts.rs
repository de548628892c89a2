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
    /// The name that we gave the contact. `None`: somebody chose one, and it is not ours to change.
    #[diesel(sql_type = Nullable<Text>)]
    pub name_by_us: Option<String>,
}

/// Who somebody is in an inbox.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    /// The address that the message names.
    pub address: &'a str,
    /// The number's digits where it is known, else the address: the same for whatever address they write from.
    pub canonical: &'a str,
}

/// The link of a person: of the address, or of another one of the same person.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    person: Person<'_>,
) -> Result<Option<ContactLink>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<ContactLink> = database::sql(
        "SELECT chatwoot_contact_id, chatwoot_conversation_id, source_id, name_by_us FROM contacts \
         WHERE tenant_id = $1 AND inbox_id = $2 AND (address = $3 OR canonical = $4) \
         ORDER BY address = $3 DESC, updated_at DESC LIMIT 1",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<Text, _>(person.address)
    .bind::<Text, _>(person.canonical)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().next())
}

/// Remembers a link, in place of an older one, for all addresses of the person.
///
/// # Errors
/// [`DatabaseError`].
pub async fn put(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    person: Person<'_>,
    link: &ContactLink,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    for statement in [
        "INSERT INTO contacts (tenant_id, inbox_id, address, canonical, chatwoot_contact_id, chatwoot_conversation_id, \
             source_id, name_by_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (tenant_id, inbox_id, address) DO UPDATE \
         SET chatwoot_contact_id = excluded.chatwoot_contact_id, source_id = excluded.source_id, \
             chatwoot_conversation_id = excluded.chatwoot_conversation_id, canonical = excluded.canonical, \
             name_by_us = excluded.name_by_us, updated_at = now()",
        "UPDATE contacts SET chatwoot_contact_id = $5, chatwoot_conversation_id = $6, source_id = $7, name_by_us = $8, \
             updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND address <> $3 AND canonical = $4",
    ] {
        database::sql(statement)
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(inbox)
            .bind::<Text, _>(person.address)
            .bind::<Text, _>(person.canonical)
            .bind::<BigInt, _>(link.chatwoot_contact_id)
            .bind::<BigInt, _>(link.chatwoot_conversation_id)
            .bind::<Text, _>(&link.source_id)
            .bind::<Nullable<Text>, _>(&link.name_by_us)
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}

/// Notes which name we gave a contact, or that its name is somebody's choice.
///
/// # Errors
/// [`DatabaseError`].
pub async fn named(
    tx: &mut TenantTransaction,
    inbox: Uuid,
    contact: i64,
    name_by_us: Option<&str>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "UPDATE contacts SET name_by_us = $4 WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_contact_id = $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(inbox)
    .bind::<BigInt, _>(contact)
    .bind::<Nullable<Text>, _>(name_by_us)
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
    into: Person<'_>,
) -> Result<bool, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let mut marked = 0;
    for statement in [
        "INSERT INTO contacts (tenant_id, inbox_id, address, canonical, chatwoot_contact_id, chatwoot_conversation_id, \
                 source_id, name_by_us) \
             SELECT tenant_id, inbox_id, $4, $5, chatwoot_contact_id, chatwoot_conversation_id, source_id, name_by_us \
             FROM contacts WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3 \
         ON CONFLICT (tenant_id, inbox_id, address) DO NOTHING",
        "UPDATE contacts SET merged_into = $4, canonical = $5, updated_at = now() \
         WHERE tenant_id = $1 AND inbox_id = $2 AND address = $3",
    ] {
        marked = database::sql(statement)
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(inbox)
            .bind::<Text, _>(from)
            .bind::<Text, _>(into.address)
            .bind::<Text, _>(into.canonical)
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

/// Forgets the links to a conversation that Chatwoot does not know any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(tx: &mut TenantTransaction, inbox: Uuid, conversation: i64) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let statement =
        "DELETE FROM contacts WHERE tenant_id = $1 AND inbox_id = $2 AND chatwoot_conversation_id = $3";
    database::sql(statement)
        .bind::<Text, _>(tenant)
        .bind::<SqlUuid, _>(inbox)
        .bind::<BigInt, _>(conversation)
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
    for statement in [
        "DELETE FROM contacts WHERE tenant_id = $1 AND inbox_id = $2",
        "DELETE FROM contact_pictures WHERE tenant_id = $1 AND inbox_id = $2",
    ] {
        database::sql(statement)
            .bind::<Text, _>(&tenant)
            .bind::<SqlUuid, _>(inbox)
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}

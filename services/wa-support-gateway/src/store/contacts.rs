//! People a session knows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::OptionalExtension as _;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use messaging::leases;
use serde_json::Value;
use tenant_isolation::TenantTransaction;
use uuid::Uuid;

/// A session as it is asked for by the WA server's id.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct Owner {
    #[diesel(sql_type = SqlUuid)]
    pub(crate) id: Uuid,
    #[diesel(sql_type = Text)]
    pub(crate) token_sealed: String,
}

/// The customer's session with this id, if it has one.
pub(crate) async fn owner(
    tx: &mut TenantTransaction,
    session_id: &str,
) -> Result<Option<Owner>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT id, token_sealed FROM sessions WHERE tenant_id = $1 AND session_id = $2 AND phase <> 'removing'",
    )
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(session_id)
    .get_result(tx.connection())
    .await
    .optional()?)
}

/// A contact of the wire.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct Contact {
    #[diesel(sql_type = BigInt)]
    pub(crate) number: i64,
    #[diesel(sql_type = Text)]
    pub(crate) jid: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) phone: String,
    #[diesel(sql_type = Jsonb)]
    pub(crate) raw: Value,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) removed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) last_synced_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// Which contacts are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Part of a name, a number or an address.
    pub(crate) search: Option<String>,
    /// Also those whom the WA server does not list any more?
    pub(crate) removed: bool,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

#[derive(diesel::QueryableByName)]
struct Total {
    #[diesel(sql_type = BigInt)]
    total: i64,
}

const WANTED: &str = "c.tenant_id = $1 AND c.session = $2 AND ($3 OR c.removed_at IS NULL) \
                      AND ($4 IS NULL OR c.name ILIKE $4 OR c.phone LIKE $4 OR c.jid LIKE $4)";

/// A page of the session's contacts, by name, and how many there are on all pages.
pub(crate) async fn page(
    tx: &mut TenantTransaction,
    session: Uuid,
    wanted: &Wanted,
) -> Result<(Vec<Contact>, i64), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let pattern = wanted.search.as_deref().map(pattern);
    let Total { total } = database::sql(format!("SELECT count(*) AS total FROM contacts c WHERE {WANTED}"))
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(session)
        .bind::<Bool, _>(wanted.removed)
        .bind::<Nullable<Text>, _>(&pattern)
        .get_result(tx.connection())
        .await?;
    // An unchanged row is left alone by a sync that confirmed it; the session knows when that was.
    let contacts = database::sql(format!(
        "SELECT c.number, c.jid, c.name, c.phone, c.raw, c.removed_at, c.created_at, c.updated_at, \
                CASE WHEN c.removed_at IS NULL THEN GREATEST(c.last_synced_at, s.contacts_synced_at) \
                     ELSE c.last_synced_at END AS last_synced_at \
         FROM contacts c JOIN sessions s ON s.tenant_id = c.tenant_id AND s.id = c.session \
         WHERE {WANTED} ORDER BY c.name, c.jid LIMIT $5 OFFSET $6"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Bool, _>(wanted.removed)
    .bind::<Nullable<Text>, _>(&pattern)
    .bind::<BigInt, _>(wanted.limit)
    .bind::<BigInt, _>(wanted.offset)
    .load(tx.connection())
    .await?;
    Ok((contacts, total))
}

/// A text that is looked for as it is, anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A contact as a sync has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) jid: &'a str,
    pub(crate) name: &'a str,
    pub(crate) phone: &'a str,
    /// JSON.
    pub(crate) raw: &'a str,
}

/// Takes over some of a list: what is new is added, what has changed is changed, and no other row is touched.
pub(crate) async fn take_over(
    tx: &mut TenantTransaction,
    session: Uuid,
    listed: &[Listed<'_>],
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    database::sql(
        "INSERT INTO contacts AS c (tenant_id, session, jid, name, phone, raw, last_synced_at, created_at, updated_at) \
         SELECT $1, $2, n.jid, n.name, n.phone, n.raw, $7, $7, $7 \
         FROM (SELECT jid, name, phone, raw::jsonb AS raw FROM unnest($3, $4, $5, $6) AS l (jid, name, phone, raw)) n \
         LEFT JOIN contacts k ON k.tenant_id = $1 AND k.session = $2 AND k.jid = n.jid \
         WHERE k.jid IS NULL OR k.removed_at IS NOT NULL \
            OR (k.name, k.phone, k.raw) IS DISTINCT FROM (n.name, n.phone, n.raw) \
         ON CONFLICT (tenant_id, session, jid) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone, \
             raw = EXCLUDED.raw, removed_at = NULL, last_synced_at = EXCLUDED.last_synced_at, \
             updated_at = EXCLUDED.updated_at",
    )
    .bind::<Text, _>(tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Array<Text>, _>(listed.iter().map(|it| it.jid).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(listed.iter().map(|it| it.name).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(listed.iter().map(|it| it.phone).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(listed.iter().map(|it| it.raw).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(at)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Marks everybody who is not on the whole list, and notes when it came.
pub(crate) async fn finish(
    tx: &mut TenantTransaction,
    session: Uuid,
    jids: &[&str],
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    // `NOT IN` looks each row up in a hash of the list. A join would be planned for a short list, and compare all with all.
    database::sql(
        "UPDATE contacts c SET removed_at = $4, updated_at = $4 \
         WHERE c.tenant_id = $1 AND c.session = $2 AND c.removed_at IS NULL \
           AND c.jid NOT IN (SELECT unnest($3))",
    )
    .bind::<Text, _>(&tenant)
    .bind::<SqlUuid, _>(session)
    .bind::<Array<Text>, _>(jids)
    .bind::<Timestamptz, _>(at)
    .execute(tx.connection())
    .await?;
    database::sql("UPDATE sessions SET contacts_synced_at = $3 WHERE tenant_id = $1 AND id = $2")
        .bind::<Text, _>(&tenant)
        .bind::<SqlUuid, _>(session)
        .bind::<Timestamptz, _>(at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Takes the session for a sync, unless another process has it. A lease ends by itself.
pub(crate) async fn lease(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
    length: Duration,
) -> Result<bool, DatabaseError> {
    leases::hold(tx.connection(), &lease_name(session), holder, length).await
}

/// Is the session still this holder's? Until the end of the transaction nobody else gets it.
pub(crate) async fn still_leased(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
) -> Result<bool, DatabaseError> {
    let held =
        database::sql("SELECT FROM leases WHERE name = $1 AND holder = $2 AND until > now() FOR UPDATE")
            .bind::<Text, _>(lease_name(session))
            .bind::<SqlUuid, _>(holder)
            .execute(tx.connection())
            .await?;
    Ok(held == 1)
}

/// Lets the session go.
pub(crate) async fn release(
    tx: &mut TenantTransaction,
    session: Uuid,
    holder: Uuid,
) -> Result<(), DatabaseError> {
    leases::release(tx.connection(), &lease_name(session), holder).await
}

fn lease_name(session: Uuid) -> String {
    format!("contacts/{session}")
}

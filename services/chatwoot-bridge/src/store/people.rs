//! One person of a tenant, whatever table holds something of theirs. What forwarded events hold of them is in
//! [`forward_events`](super::forward_events).

use chores::person::Names;
use database::{DatabaseError, quote_literal};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::ids::TenantId;
use messaging::ledger::{self, Book, Step};
use tenant_isolation::{PlatformTransaction, TenantScope, TenantTransaction};
use uuid::Uuid;

/// Most contacts, and most conversations, of one person. Nobody has as many; a mistake in the data shall not reach further.
const MOST: i64 = 1_000;

/// Something of Chatwoot's in one of the tenant's inboxes: a contact or a conversation.
pub type InInbox = (Uuid, i64);

/// A row of `contacts` that is the person's.
#[derive(diesel::QueryableByName)]
pub struct TheirContact {
    /// Our inbox row.
    #[diesel(sql_type = SqlUuid)]
    pub inbox_id: Uuid,
    /// Under which they wrote.
    #[diesel(sql_type = Text)]
    pub address: String,
    /// Their number's digits, or the address.
    #[diesel(sql_type = Nullable<Text>)]
    pub canonical: Option<String>,
    /// Under which they are known now.
    #[diesel(sql_type = Nullable<Text>)]
    pub merged_into: Option<String>,
    /// Chatwoot's contact.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_contact_id: i64,
    /// Chatwoot's conversation.
    #[diesel(sql_type = BigInt)]
    pub chatwoot_conversation_id: i64,
    /// Our name for the Chatwoot server; none where the inbox is gone.
    #[diesel(sql_type = Nullable<Text>)]
    pub installation: Option<String>,
    /// Chatwoot's account.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub chatwoot_account_id: Option<i64>,
}

/// What Chatwoot has of somebody with one of these names.
///
/// # Errors
/// [`DatabaseError`].
pub async fn contacts(tx: &mut TenantTransaction, names: &Names) -> Result<Vec<TheirContact>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    Ok(database::sql(
        "SELECT c.inbox_id, c.address, c.canonical, c.merged_into, c.chatwoot_contact_id, c.chatwoot_conversation_id, \
             i.installation, i.chatwoot_account_id \
         FROM contacts c LEFT JOIN inboxes i ON i.tenant_id = c.tenant_id AND i.id = c.inbox_id \
         WHERE c.tenant_id = $1 AND (c.address = ANY ($2) OR c.canonical = ANY ($3) OR c.merged_into = ANY ($2)) \
         ORDER BY c.inbox_id, c.address LIMIT $4",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(names.addresses())
    .bind::<Array<Text>, _>(names.identifiers())
    .bind::<BigInt, _>(MOST)
    .load(tx.connection())
    .await?)
}

/// The conversations in which agents wrote to these addresses.
///
/// # Errors
/// [`DatabaseError`].
pub async fn conversations(tx: &mut TenantTransaction, names: &Names) -> Result<Vec<InInbox>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        inbox_id: Uuid,
        #[diesel(sql_type = BigInt)]
        conversation: i64,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql(
        "SELECT DISTINCT inbox_id, chatwoot_conversation_id AS conversation FROM agent_messages \
         WHERE tenant_id = $1 AND recipient = ANY ($2) LIMIT $3",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(names.addresses())
    .bind::<BigInt, _>(MOST)
    .load(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.inbox_id, row.conversation))
        .collect())
}

/// A task or an order that may name the person.
#[derive(diesel::QueryableByName)]
pub struct Written {
    /// Its place.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Its lane.
    #[diesel(sql_type = Text)]
    pub lane: String,
    /// Its kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What is in it.
    #[diesel(sql_type = Text)]
    pub text: String,
}

/// Where written work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Tasks of lanes, those put aside included.
    Tasks,
    /// Orders that the broker has not taken yet.
    Orders,
}

/// Up to `most` of the tenant's tasks or orders behind `after` in which one of the names stands, be it in somebody else's words.
///
/// # Errors
/// [`DatabaseError`].
pub async fn naming(
    tx: &mut TenantTransaction,
    work: Work,
    names: &Names,
    after: i64,
    most: i64,
) -> Result<Vec<Written>, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let (table, kind, text) = match work {
        Work::Tasks => ("lane_tasks", "kind", "payload"),
        Work::Orders => ("outbox", "event_type", "envelope"),
    };
    Ok(database::sql(format!(
        "SELECT seq, lane, {kind} AS kind, {text} AS text FROM {table} \
         WHERE tenant_id = $1 AND {text} ~ $2 AND seq > $3 ORDER BY seq LIMIT $4"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(most)
    .load(tx.connection())
    .await?)
}

/// What is known of a person, by which their rows are found.
pub struct Holdings<'a> {
    /// Every name.
    pub names: &'a Names,
    /// Chatwoot's contacts.
    pub contacts: Vec<InInbox>,
    /// Chatwoot's conversations.
    pub conversations: Vec<InInbox>,
    /// Lanes of their work.
    pub lanes: Vec<String>,
    /// Places of orders.
    pub orders: Vec<i64>,
    /// Events for URLs, of no conversation.
    pub events: Vec<Uuid>,
    /// Conversations of routes, whose events all are theirs.
    pub conversations_of_routes: Vec<InInbox>,
}

impl Holdings<'_> {
    /// The tables that hold something of the person, in the order in which they are given out, each with the condition that
    /// says which rows are theirs.
    #[must_use]
    pub fn conditions(&self, tenant: &TenantId) -> Vec<(&'static str, String)> {
        let addresses = array("text", self.names.addresses());
        let identifiers = array("text", self.names.identifiers());
        let conversations = pairs(&self.conversations);
        let replies = format!(
            "recipient = ANY ({addresses}) OR (inbox_id, chatwoot_conversation_id) IN ({conversations})"
        );
        let of_replies = format!(
            "(inbox_id, chatwoot_message_id) IN (SELECT inbox_id, chatwoot_message_id FROM agent_messages \
                WHERE tenant_id = {} AND ({replies}))",
            quote_literal(tenant.as_str())
        );
        vec![
            (
                "contacts",
                format!(
                    "address = ANY ({addresses}) OR canonical = ANY ({identifiers}) OR merged_into = ANY ({addresses})"
                ),
            ),
            (
                "contact_pictures",
                format!("(inbox_id, chatwoot_contact_id) IN ({})", pairs(&self.contacts)),
            ),
            (
                "message_links",
                format!("(inbox_id, chatwoot_conversation_id) IN ({conversations})"),
            ),
            ("agent_messages", replies),
            ("agent_parts", of_replies.clone()),
            ("agent_files", of_replies),
            (
                "lane_tasks",
                format!("lane = ANY ({})", array("text", &self.lanes)),
            ),
            (
                "outbox",
                format!(
                    "seq = ANY ({}) OR lane = ANY ({})",
                    array("bigint", &self.orders),
                    array("text", &self.lanes)
                ),
            ),
            (
                "forward_events",
                format!(
                    "id = ANY ({}) OR (route_id, conversation) IN ({})",
                    array("uuid", &self.events),
                    pairs(&self.conversations_of_routes)
                ),
            ),
        ]
    }
}

/// A list of values, as it is written into a statement.
fn array<T: ToString>(kind: &str, values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values
        .into_iter()
        .map(|value| quote_literal(&value.to_string()))
        .collect();
    format!("ARRAY[{}]::{kind}[]", values.join(", "))
}

fn pairs(all: &[InInbox]) -> String {
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = all.iter().copied().unzip();
    format!(
        "SELECT * FROM unnest({}, {})",
        array("uuid", ids),
        array("bigint", numbers)
    )
}

/// Deletes orders that were not published yet: those of these places, and all of these lanes. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_orders(
    tx: &mut TenantTransaction,
    places: &[i64],
    lanes: &[String],
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let deleted =
        database::sql("DELETE FROM outbox WHERE tenant_id = $1 AND (seq = ANY ($2) OR lane = ANY ($3))")
            .bind::<Text, _>(tenant)
            .bind::<Array<BigInt>, _>(places)
            .bind::<Array<Text>, _>(lanes)
            .execute(tx.connection())
            .await?;
    ledger::note(tx, Book::Outbox, Step::Expired, deleted);
    Ok(deleted)
}

/// Deletes up to `batch` links of messages in these conversations. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_links(
    tx: &mut TenantTransaction,
    conversations: &[InInbox],
    batch: i64,
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let (inboxes, numbers): (Vec<Uuid>, Vec<i64>) = conversations.iter().copied().unzip();
    let deleted = database::sql(
        "DELETE FROM message_links WHERE tenant_id = $1 AND ctid IN (SELECT ctid FROM message_links \
             WHERE tenant_id = $1 AND (inbox_id, chatwoot_conversation_id) IN (SELECT * FROM unnest($2, $3)) LIMIT $4)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(inboxes)
    .bind::<Array<BigInt>, _>(numbers)
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Takes out of agents' messages to the person what tells of them: to whom, where its files lie, what it is in WhatsApp.
/// The ids stay, so that a webhook that is repeated does not send it again. Returns how many there were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn empty_replies(
    tx: &mut TenantTransaction,
    names: &Names,
    conversations: &[InInbox],
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let (inboxes, numbers): (Vec<Uuid>, Vec<i64>) = conversations.iter().copied().unzip();
    // Messages before their parts, and in the order of their ids, as everybody locks them.
    let emptied = database::sql(
        "WITH theirs AS (SELECT inbox_id, chatwoot_message_id FROM agent_messages \
                WHERE tenant_id = $1 AND (recipient = ANY ($2) \
                  OR (inbox_id, chatwoot_conversation_id) IN (SELECT * FROM unnest($3, $4))) \
                ORDER BY inbox_id, chatwoot_message_id FOR UPDATE), \
              files AS (DELETE FROM agent_files f USING theirs t WHERE f.tenant_id = $1 AND f.inbox_id = t.inbox_id \
                AND f.chatwoot_message_id = t.chatwoot_message_id), \
              parts AS (UPDATE agent_parts p SET provider_message_id = NULL FROM theirs t \
                WHERE p.tenant_id = $1 AND p.inbox_id = t.inbox_id AND p.chatwoot_message_id = t.chatwoot_message_id) \
         UPDATE agent_messages m SET recipient = NULL, deleted = true, marked_failed = false, updated_at = now() \
         FROM theirs t WHERE m.tenant_id = $1 AND m.inbox_id = t.inbox_id \
           AND m.chatwoot_message_id = t.chatwoot_message_id",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(names.addresses())
    .bind::<Array<SqlUuid>, _>(inboxes)
    .bind::<Array<BigInt>, _>(numbers)
    .execute(tx.connection())
    .await?;
    Ok(emptied)
}

/// Forgets the person: contacts with their pictures, and rules of inboxes that name them. Returns how many contacts and rules
/// there were.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget(
    tx: &mut TenantTransaction,
    names: &Names,
    contacts: &[InInbox],
) -> Result<(usize, usize), DatabaseError> {
    let tenant = tx.scope().tenant().as_str().to_owned();
    let (inboxes, numbers): (Vec<Uuid>, Vec<i64>) = contacts.iter().copied().unzip();
    database::sql(
        "DELETE FROM contact_pictures WHERE tenant_id = $1 \
           AND (inbox_id, chatwoot_contact_id) IN (SELECT * FROM unnest($2, $3))",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(inboxes)
    .bind::<Array<BigInt>, _>(numbers)
    .execute(tx.connection())
    .await?;
    let forgotten = database::sql(
        "DELETE FROM contacts WHERE tenant_id = $1 AND (address = ANY ($2) OR canonical = ANY ($3) OR merged_into = ANY ($2))",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<Text>, _>(names.addresses())
    .bind::<Array<Text>, _>(names.identifiers())
    .execute(tx.connection())
    .await?;
    let names_them = "(entry = ANY ($2) OR (strpos(entry, '@') = 0 AND regexp_replace(entry, '[^0-9]', '', 'g') = ANY ($3)))";
    let rules = database::sql(format!(
        "UPDATE inboxes SET ignored = ARRAY(SELECT entry FROM unnest(ignored) WITH ORDINALITY AS i (entry, place) \
                WHERE NOT {names_them} ORDER BY place), updated_at = now() \
         WHERE tenant_id = $1 AND EXISTS (SELECT FROM unnest(ignored) AS entry WHERE {names_them})"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Array<Text>, _>(names.addresses())
    .bind::<Array<Text>, _>(names.phones())
    .execute(tx.connection())
    .await?;
    Ok((forgotten, rules))
}

/// Our names for the Chatwoot servers that the tenant's routes are of.
///
/// # Errors
/// [`DatabaseError`].
pub async fn installations(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        installation: String,
    }
    let tenant = tx.scope().tenant().as_str().to_owned();
    let rows: Vec<Row> = database::sql("SELECT DISTINCT installation FROM routes WHERE tenant_id = $1")
        .bind::<Text, _>(tenant)
        .load(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|row| row.installation).collect())
}

/// Deletes up to `batch` bodies in quarantine that name the person and came from one of these servers, or from one that is
/// nobody's. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_quarantined(
    tx: &mut PlatformTransaction,
    installations: &[String],
    names: &Names,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM quarantine WHERE id IN (SELECT q.id FROM quarantine q \
             WHERE (q.installation = ANY ($1) OR NOT EXISTS (SELECT FROM route_places p WHERE p.installation = q.installation)) \
               AND encode(q.body, 'escape') ~ $2 LIMIT $3)",
    )
    .bind::<Array<Text>, _>(installations)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Deletes locks on places of the person's that a worker left behind. They are named by the number.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_locks(
    tx: &mut PlatformTransaction,
    scope: &TenantScope,
    names: &Names,
) -> Result<(), DatabaseError> {
    let who: Vec<String> = names.identifiers().into_iter().chain(names.addresses()).collect();
    database::sql(
        "DELETE FROM leases WHERE starts_with(name, 'place:' || $1 || '/') \
           AND EXISTS (SELECT FROM unnest($2) AS who WHERE right(name, length(who) + 1) = ':' || who)",
    )
    .bind::<Text, _>(scope.tenant().as_str())
    .bind::<Array<Text>, _>(who)
    .execute(tx.connection())
    .await?;
    Ok(())
}

//! One person of a tenant, whatever table holds something of theirs: finding it, for giving it out and for taking it away.

use chores::person::Names;
use database::{DatabaseError, quote_literal};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use domain::address::ChatAddress;
use domain::ids::{ChatId, TenantId};
use messaging::ledger;
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Most names, and most chats, of one person. Nobody has as many; a mistake in the data shall not reach further.
const MOST: i64 = 1_000;
/// How often names lead to further names. Two are usual: a number to a hidden id, and that one to an older number.
const ROUNDS: usize = 8;

#[derive(diesel::QueryableByName)]
struct ChatNames {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    address: String,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    lid: Option<String>,
}

#[derive(diesel::QueryableByName)]
struct IdNames {
    #[diesel(sql_type = Text)]
    lid: String,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
}

#[derive(diesel::QueryableByName)]
struct Former {
    #[diesel(sql_type = SqlUuid)]
    merged_id: Uuid,
}

/// A person: every name, and every chat with them.
#[derive(Clone)]
pub struct Person {
    /// The names.
    pub names: Names,
    /// The chats.
    pub chats: Vec<Uuid>,
    /// Chats that became one with these: caches may still name them.
    pub former: Vec<Uuid>,
}

impl Person {
    /// The chats, and those that they once were, as ids.
    pub fn all_chats(&self) -> impl Iterator<Item = ChatId> {
        self.chats
            .iter()
            .chain(&self.former)
            .copied()
            .map(ChatId::from_uuid)
    }
}

/// Everything the tenant knows a person by: names lead to further names until there are no more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn find(tx: &mut TenantTransaction, first: &ChatAddress) -> Result<Person, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let mut person = Person {
        names: Names::of(first),
        chats: Vec::new(),
        former: Vec::new(),
    };
    for _ in 0..ROUNDS {
        let known = person.names.count();
        let chats: Vec<ChatNames> = database::sql(
            "SELECT id, address, phone, lid FROM chats \
             WHERE tenant_id = $1 AND (address = ANY ($2) OR phone = ANY ($3) OR lid = ANY ($4)) ORDER BY id LIMIT $5",
        )
        .bind::<Text, _>(&tenant)
        .bind::<Array<Text>, _>(person.names.addresses())
        .bind::<Array<Text>, _>(person.names.phones())
        .bind::<Array<Text>, _>(person.names.hidden())
        .bind::<BigInt, _>(MOST)
        .load(tx.connection())
        .await?;
        person.chats = chats.iter().map(|chat| chat.id).collect();
        for chat in chats {
            person.names.add_address(&chat.address);
            person.names.phones.extend(chat.phone);
            person.names.hidden.extend(chat.lid);
        }
        let ids: Vec<IdNames> = database::sql(
            "SELECT DISTINCT lid, phone FROM contact_lids \
             WHERE tenant_id = $1 AND (lid = ANY ($2) OR phone = ANY ($3)) LIMIT $4",
        )
        .bind::<Text, _>(&tenant)
        .bind::<Array<Text>, _>(person.names.hidden())
        .bind::<Array<Text>, _>(person.names.phones())
        .bind::<BigInt, _>(MOST)
        .load(tx.connection())
        .await?;
        for id in ids {
            person.names.hidden.insert(id.lid);
            person.names.phones.extend(id.phone);
        }
        if person.names.count() == known {
            break;
        }
    }
    let former: Vec<Former> = database::sql(
        "SELECT merged_id FROM merged_chats WHERE tenant_id = $1 AND chat_id = ANY ($2) ORDER BY merged_id LIMIT $3",
    )
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(&person.chats)
    .bind::<BigInt, _>(MOST)
    .load(tx.connection())
    .await?;
    person.former = former.into_iter().map(|row| row.merged_id).collect();
    Ok(person)
}

/// The tables that hold something of one person, in the order in which they are given out, each with the condition that
/// says which rows are theirs.
#[must_use]
pub fn holdings(tenant: &TenantId, person: &Person) -> Vec<(&'static str, String)> {
    let texts = |all: &mut dyn Iterator<Item = String>| {
        let all: Vec<String> = all.map(|text| quote_literal(&text)).collect();
        format!("ARRAY[{}]::text[]", all.join(", "))
    };
    let chats: Vec<String> = person
        .chats
        .iter()
        .map(|id| quote_literal(&id.to_string()))
        .collect();
    let chats = format!("ARRAY[{}]::uuid[]", chats.join(", "));
    let addresses = texts(&mut person.names.addresses().into_iter());
    let phones = texts(&mut person.names.phones.iter().cloned());
    let hidden = texts(&mut person.names.hidden.iter().cloned());
    let pattern = quote_literal(&person.names.pattern());
    let tenant = format!("tenant_id = {}", quote_literal(tenant.as_str()));
    let messages = format!(
        "SELECT id FROM messages WHERE {tenant} AND (chat_id = ANY ({chats}) OR sender = ANY ({addresses}))"
    );
    let of_messages = format!("message_id IN ({messages})");
    vec![
        ("chats", format!("id = ANY ({chats})")),
        (
            "contact_lids",
            format!("lid = ANY ({hidden}) OR phone = ANY ({phones})"),
        ),
        ("merged_chats", format!("chat_id = ANY ({chats})")),
        ("chat_pictures", format!("chat_id = ANY ({chats})")),
        ("takeovers", format!("chat_id = ANY ({chats})")),
        (
            "messages",
            format!("chat_id = ANY ({chats}) OR sender = ANY ({addresses})"),
        ),
        ("media", of_messages.clone()),
        ("pending_messages", of_messages.clone()),
        ("send_attempts", of_messages.clone()),
        ("message_standings", of_messages),
        (
            "message_status_details",
            format!(
                "provider_message_id IN (SELECT provider_message_id FROM messages WHERE {tenant} AND chat_id = ANY ({chats}))"
            ),
        ),
        ("provider_events", format!("payload ~ {pattern}")),
        (
            "cloud_updates",
            format!("subject ~ {pattern} OR payload ~ {pattern}"),
        ),
    ]
}

#[derive(diesel::QueryableByName)]
struct Gone {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    account_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    chat_id: Uuid,
    #[diesel(sql_type = Text)]
    provider_message_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    ordered_as: Option<String>,
}

/// Which of a person's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In their own chats, both directions.
    Chats,
    /// In groups and lists that the tenant keeps: what they wrote.
    Groups,
}

/// Deletes up to `batch` messages of a person with everything that hangs on them: files, attempts, standings, what waits
/// at the outbox or at the gate about them. The dedup ledger stays, which holds a provider's ids only: what was accepted
/// once is not let in again. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_messages(
    tx: &mut TenantTransaction,
    person: &Person,
    place: Where,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    // In the order of their ids, as receipts lock them.
    let chosen = match place {
        Where::Chats => "chat_id = ANY ($2) AND $3 IS NOT NULL",
        Where::Groups => "sender = ANY ($3) AND $2 IS NOT NULL",
    };
    let gone: Vec<Gone> = database::sql(format!(
        "WITH chosen AS (SELECT id FROM messages WHERE tenant_id = $1 AND {chosen} ORDER BY id LIMIT $4 FOR UPDATE) \
         DELETE FROM messages m USING chosen WHERE m.tenant_id = $1 AND m.id = chosen.id \
         RETURNING m.id, m.account_id, m.chat_id, m.provider_message_id, m.ordered_as"
    ))
    .bind::<Text, _>(&tenant)
    .bind::<Array<SqlUuid>, _>(&person.chats)
    .bind::<Array<Text>, _>(person.names.addresses())
    .bind::<BigInt, _>(batch)
    .load(tx.connection())
    .await?;
    if gone.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = gone.iter().map(|row| row.id).collect();
    for table in ["send_attempts", "message_standings", "replay_items"] {
        database::sql(format!(
            "DELETE FROM {table} WHERE tenant_id = $1 AND message_id = ANY ($2)"
        ))
        .bind::<Text, _>(&tenant)
        .bind::<Array<SqlUuid>, _>(&ids)
        .execute(tx.connection())
        .await?;
    }
    delete_about(tx, &tenant, &gone).await?;
    let mut chats: Vec<Uuid> = gone.iter().map(|row| row.chat_id).collect();
    chats.sort_unstable();
    chats.dedup();
    if place == Where::Groups {
        delete_waiting(tx, &tenant, &chats, &ids).await?;
    }
    tell_newest(tx, &tenant, &chats).await?;
    Ok(gone.len())
}

/// What is known of these messages by the provider's ids.
async fn delete_about(tx: &mut TenantTransaction, tenant: &str, gone: &[Gone]) -> Result<(), DatabaseError> {
    let told = |row: &Gone| {
        let ids = [Some(row.provider_message_id.clone()), row.ordered_as.clone()];
        ids.into_iter()
            .flatten()
            .map(move |id| (row.account_id, id))
            .collect::<Vec<_>>()
    };
    let (accounts, ids): (Vec<Uuid>, Vec<String>) = gone.iter().flat_map(told).unzip();
    for table in ["message_status_details", "early_receipts"] {
        database::sql(format!(
            "DELETE FROM {table} d USING unnest($2, $3) AS g (account_id, id) \
             WHERE d.tenant_id = $1 AND d.account_id = g.account_id AND d.provider_message_id = g.id"
        ))
        .bind::<Text, _>(tenant)
        .bind::<Array<SqlUuid>, _>(&accounts)
        .bind::<Array<Text>, _>(&ids)
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// What of a group's waits about messages that are gone. What is about others of the group stays.
async fn delete_waiting(
    tx: &mut TenantTransaction,
    tenant: &str,
    chats: &[Uuid],
    ids: &[Uuid],
) -> Result<(), DatabaseError> {
    let lanes: Vec<String> = chats.iter().flat_map(|chat| lanes_of(*chat)).collect();
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    for (table, message) in [
        ("outbox", "envelope::jsonb #>> '{data,message_id}'"),
        ("lane_tasks", "payload::jsonb #>> '{event,message_id}'"),
    ] {
        let deleted = database::sql(format!(
            "DELETE FROM {table} WHERE tenant_id = $1 AND lane = ANY ($2) AND {message} = ANY ($3)"
        ))
        .bind::<Text, _>(tenant)
        .bind::<Array<Text>, _>(&lanes)
        .bind::<Array<Text>, _>(&ids)
        .execute(tx.connection())
        .await?;
        ledger::note_deleted(tx, table, deleted);
    }
    Ok(())
}

/// The list of chats shows what is the newest now.
async fn tell_newest(tx: &mut TenantTransaction, tenant: &str, chats: &[Uuid]) -> Result<(), DatabaseError> {
    database::sql(
        "UPDATE chats c SET last_text = coalesce((SELECT left(m.body, 500) FROM messages m \
             WHERE m.tenant_id = c.tenant_id AND m.chat_id = c.id ORDER BY m.sent_at DESC, m.id DESC LIMIT 1), '') \
         WHERE c.tenant_id = $1 AND c.id = ANY ($2)",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<SqlUuid>, _>(chats)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The lanes on which work of a chat stands: sending, the AI, the gate.
fn lanes_of(chat: Uuid) -> [String; 3] {
    [chat.to_string(), format!("ai:{chat}"), format!("gate:{chat}")]
}

/// Deletes what waits at the outbox about these chats: nobody is told any more.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_outbox(tx: &mut TenantTransaction, chats: &[Uuid]) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let lanes: Vec<String> = chats.iter().flat_map(|chat| lanes_of(*chat)).collect();
    let deleted = database::sql("DELETE FROM outbox WHERE tenant_id = $1 AND lane = ANY ($2)")
        .bind::<Text, _>(tenant)
        .bind::<Array<Text>, _>(lanes)
        .execute(tx.connection())
        .await?;
    ledger::note_deleted(tx, "outbox", deleted);
    Ok(deleted)
}

/// A table of the tenant's that keeps what providers told as it came, and its columns that may name a person.
#[derive(Debug, Clone, Copy)]
pub enum Raw {
    /// Events that could not be used.
    ProviderEvents,
    /// What Meta told of accounts, templates, numbers and people.
    CloudUpdates,
    /// The same, while it waits to be published.
    Outbox,
}

impl Raw {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ProviderEvents, Self::CloudUpdates, Self::Outbox];

    const fn table_and_condition(self) -> (&'static str, &'static str) {
        match self {
            Self::ProviderEvents => ("provider_events", "payload ~ $2"),
            Self::CloudUpdates => ("cloud_updates", "(subject ~ $2 OR payload ~ $2)"),
            // Words of others may hold the number: only what Meta told is looked through here.
            Self::Outbox => ("outbox", "event_type = 'whatsapp.update' AND envelope ~ $2"),
        }
    }
}

/// Deletes up to `batch` rows that name the person. Returns how many.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_raw(
    tx: &mut TenantTransaction,
    raw: Raw,
    names: &Names,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let (table, condition) = raw.table_and_condition();
    let deleted = database::sql(format!(
        "DELETE FROM {table} WHERE tenant_id = $1 AND ctid IN \
            (SELECT ctid FROM {table} WHERE tenant_id = $1 AND {condition} LIMIT $3)"
    ))
    .bind::<Text, _>(tenant)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    ledger::note_deleted(tx, table, deleted);
    Ok(deleted)
}

/// The names under which webhooks of the tenant's accounts stand in the quarantine.
///
/// # Errors
/// [`DatabaseError`].
pub async fn instances(tx: &mut TenantTransaction) -> Result<Vec<String>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let tenant = tx.scope().tenant().to_string();
    let rows: Vec<Row> = database::sql(
        "SELECT DISTINCT value FROM (SELECT instance_name AS value FROM accounts WHERE tenant_id = $1 \
             UNION ALL SELECT session_id FROM accounts WHERE tenant_id = $1 \
             UNION ALL SELECT phone_number_id FROM cloud_numbers WHERE tenant_id = $1 \
             UNION ALL SELECT waba_id FROM cloud_numbers WHERE tenant_id = $1 \
             UNION ALL SELECT external_id FROM tenant_directory WHERE tenant_id = $1 \
             UNION ALL SELECT $1) AS names WHERE value IS NOT NULL",
    )
    .bind::<Text, _>(tenant)
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// Deletes up to `batch` webhooks in quarantine that name the person and came under one of these names, or that nobody will
/// ever get: only what Meta told becomes somebody's later.
///
/// # Errors
/// [`DatabaseError`].
pub async fn delete_quarantined(
    tx: &mut PlatformTransaction,
    instances: &[String],
    names: &Names,
    batch: i64,
) -> Result<usize, DatabaseError> {
    let deleted = database::sql(
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine \
            WHERE (provider <> 'cloud' OR instance IS NULL OR instance = ANY ($1)) AND encode(body, 'escape') ~ $2 LIMIT $3)",
    )
    .bind::<Array<Text>, _>(instances)
    .bind::<Text, _>(names.pattern())
    .bind::<BigInt, _>(batch)
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

/// Forgets which number is behind which hidden id of the person's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn forget_names(tx: &mut TenantTransaction, names: &Names) -> Result<usize, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    let deleted = database::sql(
        "DELETE FROM contact_lids WHERE tenant_id = $1 AND (lid = ANY ($2) OR phone = ANY ($3))",
    )
    .bind::<Text, _>(tenant)
    .bind::<Array<Text>, _>(names.hidden())
    .bind::<Array<Text>, _>(names.phones())
    .execute(tx.connection())
    .await?;
    Ok(deleted)
}

//! Messages of ours that are not done: tasks of `lane_tasks`, with their rows of `messages`. Oldest first, by ids that grow
//! with time; a page looks at a bounded number of tasks and says where the next one begins.

use chrono::{DateTime, Utc};
use database::DatabaseError;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tenant_isolation::{PlatformTransaction, TenantTransaction};
use uuid::Uuid;

/// Most messages of one state that are counted; where there are more, it is said that there are more.
pub const MOST_COUNTED: i64 = 10_000;
/// Most tasks that are looked at for one page.
const MOST_LOOKED_AT: i64 = 20_000;

/// Where a message is that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// On its way, and nothing went wrong.
    InFlight,
    /// It waits for another try, or for something that has to end first.
    Retrying,
    /// Put aside: it did not go out.
    Parked,
    /// Put aside: nobody knows whether it went out.
    Unknown,
}

impl DeliveryState {
    /// All of them, as they are shown.
    pub const ALL: [Self; 4] = [Self::InFlight, Self::Retrying, Self::Parked, Self::Unknown];

    /// The name in addresses and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Retrying => "retrying",
            Self::Parked => "parked",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Which tasks. The words are those of the indexes.
    pub(super) const fn tasks(self) -> &'static str {
        match self {
            Self::InFlight => {
                "NOT t.parked AND t.last_error IS NULL AND t.kind IN ('send_text', 'send_ai_reply')"
            }
            Self::Retrying => {
                "NOT t.parked AND t.last_error IS NOT NULL AND t.kind IN ('send_text', 'send_ai_reply')"
            }
            Self::Parked | Self::Unknown => {
                "t.parked AND t.last_error IS NOT NULL AND t.kind IN ('send_text', 'send_ai_reply')"
            }
        }
    }

    /// Which of their messages: what is done meanwhile is none of them.
    const fn messages(self) -> &'static str {
        match self {
            Self::InFlight | Self::Retrying => "m.status IN ('queued', 'unknown')",
            Self::Parked => "m.status IN ('parked', 'failed')",
            Self::Unknown => "m.status = 'unknown'",
        }
    }
}

/// Which messages are meant. `None` leaves a side open.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeliveryFilter {
    /// On this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Uuid>,
    /// Of this sort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ordered before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered_before: Option<DateTime<Utc>>,
}

impl DeliveryFilter {
    /// The first id that is too young.
    pub(super) fn end(&self) -> Uuid {
        let Some(time) = self.ordered_before else {
            return Uuid::max();
        };
        // Nothing was ordered before 1970.
        u64::try_from(time.timestamp_millis()).map_or(Uuid::nil(), |millis| {
            uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
        })
    }
}

/// A message that is not done, without its words.
#[derive(Debug, Clone, serde::Serialize, diesel::QueryableByName)]
pub struct DeliveryRow {
    /// Whose.
    #[diesel(sql_type = Text)]
    pub tenant_id: String,
    /// Our id.
    #[diesel(sql_type = SqlUuid)]
    pub message_id: Uuid,
    /// The sender.
    #[diesel(sql_type = SqlUuid)]
    pub account_id: Uuid,
    /// The chat.
    #[diesel(sql_type = SqlUuid)]
    pub chat_id: Uuid,
    /// What sort of message.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Where it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why, as a stable code.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// How often the provider was called, up to a bound.
    #[diesel(sql_type = BigInt)]
    pub attempts: i64,
    /// When it was ordered.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// Since when it stands there.
    #[diesel(sql_type = Timestamptz)]
    pub since: DateTime<Utc>,
    /// When its chat's turn is.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub due_at: Option<DateTime<Utc>>,
}

/// Some of them.
#[derive(Debug)]
pub struct DeliveryPage {
    /// Oldest first.
    pub rows: Vec<DeliveryRow>,
    /// The next page begins behind this id. `None`: there is no more.
    pub next: Option<Uuid>,
}

/// Messages of one state of the tenant's, behind an id, at most `most`.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list(
    tx: &mut TenantTransaction,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
    most: i64,
) -> Result<DeliveryPage, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    select(tx.connection(), Some(tenant), state, filter, after, most).await
}

/// Messages of one state of everybody's.
///
/// # Errors
/// [`DatabaseError`].
pub async fn list_all(
    tx: &mut PlatformTransaction,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
    most: i64,
) -> Result<DeliveryPage, DatabaseError> {
    select(tx.connection(), None, state, filter, after, most).await
}

/// The tasks that are looked at. A tenant's tasks on their way are found among all of its tasks, for which it takes its own
/// key: the bound is on what is looked at. `$1` is the tenant or null, and what is looked
/// at lies between `$2` and `$3`.
fn looked_at(state: DeliveryState, is_tenants: bool) -> String {
    let columns = "t.tenant_id, t.id, t.lane, t.last_error";
    let range = "t.id > $2 AND t.id < $3";
    let tasks = state.tasks();
    match (is_tenants, state) {
        (true, DeliveryState::InFlight) => format!(
            "SELECT {columns} FROM (SELECT tenant_id, id, lane, last_error, parked, kind FROM lane_tasks t \
                WHERE t.tenant_id = $1 AND {range} ORDER BY t.id LIMIT {MOST_LOOKED_AT}) t WHERE {tasks}"
        ),
        (true, _) => format!(
            "SELECT {columns} FROM lane_tasks t WHERE t.tenant_id = $1 AND {tasks} AND {range} \
             ORDER BY t.id LIMIT {MOST_LOOKED_AT}"
        ),
        (false, _) => format!(
            "SELECT {columns} FROM lane_tasks t WHERE $1 IS NULL AND {tasks} AND {range} \
             ORDER BY t.id LIMIT {MOST_LOOKED_AT}"
        ),
    }
}

async fn select(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
    most: i64,
) -> Result<DeliveryPage, DatabaseError> {
    let (tasks, messages) = (looked_at(state, tenant.is_some()), state.messages());
    let mut rows: Vec<DeliveryRow> = database::sql(format!(
        "SELECT m.tenant_id, m.id AS message_id, m.account_id, m.chat_id, m.kind, m.status, \
                coalesce(m.reason, t.last_error) AS reason, m.created_at, m.updated_at AS since, \
                (SELECT count(*) FROM (SELECT 1 FROM send_attempts s WHERE s.tenant_id = m.tenant_id \
                     AND s.message_id = m.id LIMIT 1000) a) AS attempts, \
                (SELECT l.ready_at FROM lanes l WHERE l.tenant_id = t.tenant_id AND l.lane = t.lane) AS due_at \
         FROM ({tasks}) t JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id \
         WHERE {messages} AND ($4 IS NULL OR m.account_id = $4) AND ($5 IS NULL OR m.kind = $5) \
           AND ($6 IS NULL OR coalesce(m.reason, t.last_error) = $6) ORDER BY t.id LIMIT $7"
    ))
    .bind::<Nullable<Text>, _>(&tenant)
    .bind::<SqlUuid, _>(after.unwrap_or_default())
    .bind::<SqlUuid, _>(filter.end())
    .bind::<Nullable<SqlUuid>, _>(filter.account)
    .bind::<Nullable<Text>, _>(&filter.kind)
    .bind::<Nullable<Text>, _>(&filter.reason)
    .bind::<BigInt, _>(most + 1)
    .load(&mut *connection)
    .await?;
    let most = usize::try_from(most).unwrap_or_default();
    if rows.len() > most {
        rows.truncate(most);
        let next = rows.last().map(|row| row.message_id);
        return Ok(DeliveryPage { rows, next });
    }
    // All that were looked at are on this page; there may be more behind them.
    let next = last_looked_at(connection, tenant, state, filter, after).await?;
    Ok(DeliveryPage { rows, next })
}

/// The last of as many tasks as are looked at for a page. `None`: there were fewer.
async fn last_looked_at(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
    state: DeliveryState,
    filter: &DeliveryFilter,
    after: Option<Uuid>,
) -> Result<Option<Uuid>, DatabaseError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let range = "t.id > $2 AND t.id < $3";
    let tasks = match (tenant.is_some(), state) {
        (true, DeliveryState::InFlight) => "t.tenant_id = $1".to_owned(),
        (true, _) => format!("t.tenant_id = $1 AND {}", state.tasks()),
        (false, _) => format!("$1 IS NULL AND {}", state.tasks()),
    };
    let mut rows: Vec<Row> = database::sql(format!(
        "SELECT t.id FROM lane_tasks t WHERE {tasks} AND {range} ORDER BY t.id OFFSET {} LIMIT 1",
        MOST_LOOKED_AT - 1
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<SqlUuid, _>(after.unwrap_or_default())
    .bind::<SqlUuid, _>(filter.end())
    .load(connection)
    .await?;
    Ok(rows.pop().map(|row| row.id))
}

/// How many there are, each up to [`MOST_COUNTED`]; one more than that means that there are more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, diesel::QueryableByName)]
pub struct DeliveryCounts {
    /// On their way.
    #[diesel(sql_type = BigInt)]
    pub in_flight: i64,
    /// Waiting for another try.
    #[diesel(sql_type = BigInt)]
    pub retrying: i64,
    /// Put aside.
    #[diesel(sql_type = BigInt)]
    pub parked: i64,
    /// Put aside with an outcome that nobody knows.
    #[diesel(sql_type = BigInt)]
    pub unknown: i64,
    /// Put aside that were looked at.
    #[diesel(sql_type = BigInt)]
    pub put_aside: i64,
}

impl DeliveryCounts {
    /// How many of a state, and whether there are more than that.
    #[must_use]
    pub const fn of(&self, state: DeliveryState) -> (i64, bool) {
        let (count, looked_at) = match state {
            DeliveryState::InFlight => (self.in_flight, self.in_flight),
            DeliveryState::Retrying => (self.retrying, self.retrying),
            DeliveryState::Parked => (self.parked, self.put_aside),
            DeliveryState::Unknown => (self.unknown, self.put_aside),
        };
        let shown = if count > MOST_COUNTED { MOST_COUNTED } else { count };
        (shown, looked_at > MOST_COUNTED)
    }
}

/// How many the tenant has.
///
/// # Errors
/// [`DatabaseError`].
pub async fn counts(tx: &mut TenantTransaction) -> Result<DeliveryCounts, DatabaseError> {
    let tenant = tx.scope().tenant().to_string();
    count(tx.connection(), Some(tenant)).await
}

/// How many everybody has.
///
/// # Errors
/// [`DatabaseError`].
pub async fn counts_of_all(tx: &mut PlatformTransaction) -> Result<DeliveryCounts, DatabaseError> {
    count(tx.connection(), None).await
}

async fn count(
    connection: &mut AsyncPgConnection,
    tenant: Option<String>,
) -> Result<DeliveryCounts, DatabaseError> {
    let whose = if tenant.is_some() {
        "t.tenant_id = $1"
    } else {
        "$1 IS NULL"
    };
    let [in_flight, retrying, parked] = [
        DeliveryState::InFlight,
        DeliveryState::Retrying,
        DeliveryState::Parked,
    ]
    .map(DeliveryState::tasks);
    let counts = database::sql(format!(
        "WITH aside AS MATERIALIZED (SELECT t.tenant_id, t.id FROM lane_tasks t WHERE {whose} AND {parked} LIMIT $2), \
              standing AS MATERIALIZED (SELECT m.status FROM aside t \
                   JOIN messages m ON m.tenant_id = t.tenant_id AND m.id = t.id) \
         SELECT (SELECT count(*) FROM (SELECT 1 FROM lane_tasks t WHERE {whose} AND {in_flight} LIMIT $2) q) AS in_flight, \
                (SELECT count(*) FROM (SELECT 1 FROM lane_tasks t WHERE {whose} AND {retrying} LIMIT $2) q) AS retrying, \
                (SELECT count(*) FROM standing WHERE status IN ('parked', 'failed')) AS parked, \
                (SELECT count(*) FROM standing WHERE status = 'unknown') AS unknown, \
                (SELECT count(*) FROM aside) AS put_aside"
    ))
    .bind::<Nullable<Text>, _>(tenant)
    .bind::<BigInt, _>(MOST_COUNTED + 1)
    .get_result(connection)
    .await?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_id_before_which_all_are_older() {
        let time = DateTime::from_timestamp_millis(1_772_000_000_000).unwrap();
        let filter = DeliveryFilter {
            ordered_before: Some(time),
            ..DeliveryFilter::default()
        };
        let end = filter.end();
        let (seconds, _) = end.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds, 1_772_000_000);
        assert!(end < Uuid::now_v7());
        assert_eq!(DeliveryFilter::default().end(), Uuid::max());
        let long_ago = DeliveryFilter {
            ordered_before: DateTime::from_timestamp(-1, 0),
            ..DeliveryFilter::default()
        };
        assert_eq!(long_ago.end(), Uuid::nil());
    }

    #[test]
    fn a_state_has_one_name() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
        }
        assert_eq!(DeliveryState::parse("sent"), None);
    }
}

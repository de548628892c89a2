//! The original's tables (contract §13), read as they are found: no keys hold them together, columns may be null, rows may
//! be there twice.

use chrono::{DateTime, Utc};
use database::{DatabaseError, DatabaseUrl, read_elsewhere};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The original's database, at one moment.
pub(crate) struct Original {
    connection: AsyncPgConnection,
    /// Older databases have two switches per session.
    switches: bool,
}

#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct UserRow {
    #[diesel(sql_type = Text)]
    pub(crate) id: String,
    #[diesel(sql_type = Text)]
    pub(crate) source: String,
    #[diesel(sql_type = Text)]
    pub(crate) key_hash: String,
    #[diesel(sql_type = Text)]
    pub(crate) created_by: String,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct SubscriptionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) provider: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) max_sessions: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) max_messages: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) expires_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Clone, diesel::QueryableByName)]
pub(crate) struct SessionRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) provider: String,
    #[diesel(sql_type = Text)]
    pub(crate) session_id: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) token: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) webhook_url: Option<String>,
    #[diesel(sql_type = Bool)]
    pub(crate) connected: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) logged_in: bool,
    #[diesel(sql_type = Text)]
    pub(crate) jid: String,
    #[diesel(sql_type = Text)]
    pub(crate) status: String,
    #[diesel(sql_type = Bool)]
    pub(crate) auto_read: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) typing: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) last_synced_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) last_activity_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    pub(crate) sent: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) failed: i64,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) updated_at: DateTime<Utc>,
}

/// What was counted for one type of message, all rows of it together.
#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct StatisticRow {
    #[diesel(sql_type = Text)]
    pub(crate) message_type: String,
    #[diesel(sql_type = BigInt)]
    pub(crate) rows: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) sent: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) failed: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) last_sent_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub(crate) last_failed_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, diesel::QueryableByName)]
pub(crate) struct ContactRow {
    #[diesel(sql_type = Text)]
    pub(crate) jid: String,
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) phone: String,
    #[diesel(sql_type = Text)]
    pub(crate) raw: String,
    #[diesel(sql_type = Timestamptz)]
    pub(crate) last_synced_at: DateTime<Utc>,
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

impl Original {
    /// Opens the database.
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let connection = read_elsewhere(url).await?;
        let mut original = Self {
            connection,
            switches: false,
        };
        let query = "SELECT count(*) AS number FROM pg_attribute WHERE attrelid = 'wa_sessions'::regclass \
             AND attname IN ('auto_read_enabled', 'typing_enabled') AND NOT attisdropped";
        original.switches = original.number(query).await? == 2;
        Ok(original)
    }

    /// How many rows a table has.
    pub(crate) async fn rows(&mut self, table: &'static str) -> Result<i64, DatabaseError> {
        self.number(&format!("SELECT count(*) AS number FROM {table}"))
            .await
    }

    /// How many rows of a table belong to no user.
    pub(crate) async fn orphans(&mut self, table: &'static str) -> Result<i64, DatabaseError> {
        let query = format!(
            "SELECT count(*) AS number FROM {table} o \
             WHERE NOT EXISTS (SELECT 1 FROM wa_service_users u WHERE u.id = o.user_id)"
        );
        self.number(&query).await
    }

    async fn number(&mut self, query: &str) -> Result<i64, DatabaseError> {
        let row: Number = database::sql(query).get_result(&mut self.connection).await?;
        Ok(row.number)
    }

    /// Users behind `after` in the order of their ids, at most `most`.
    pub(crate) async fn users(&mut self, after: &str, most: i64) -> Result<Vec<UserRow>, DatabaseError> {
        Ok(database::sql(
            "SELECT id, source_service AS source, customer_api_key AS key_hash, COALESCE(created_by, '') AS created_by, \
                    COALESCE(status, 'active') AS status, COALESCE(created_at, now()) AS created_at, \
                    COALESCE(updated_at, created_at, now()) AS updated_at \
             FROM wa_service_users WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind::<Text, _>(after)
        .bind::<BigInt, _>(most)
        .load(&mut self.connection)
        .await?)
    }

    /// A user's subscriptions; of one provider the one that counts first.
    pub(crate) async fn subscriptions(&mut self, user: &str) -> Result<Vec<SubscriptionRow>, DatabaseError> {
        Ok(database::sql(
            "SELECT id, COALESCE(NULLIF(provider, ''), 'genfity-wa') AS provider, \
                    COALESCE(max_sessions, 1) AS max_sessions, COALESCE(max_messages, 0) AS max_messages, expires_at, \
                    COALESCE(status, 'active') AS status, COALESCE(created_at, now()) AS created_at, \
                    COALESCE(updated_at, created_at, now()) AS updated_at \
             FROM wa_user_subscriptions WHERE user_id = $1 \
             ORDER BY (COALESCE(status, 'active') = 'active') DESC, updated_at DESC NULLS LAST, id DESC",
        )
        .bind::<Text, _>(user)
        .load(&mut self.connection)
        .await?)
    }

    /// A user's sessions, the newest first.
    pub(crate) async fn sessions(&mut self, user: &str) -> Result<Vec<SessionRow>, DatabaseError> {
        let switches = if self.switches {
            "COALESCE(auto_read_enabled, false) AS auto_read, COALESCE(typing_enabled, false) AS typing"
        } else {
            "false AS auto_read, false AS typing"
        };
        Ok(database::sql(format!(
            "SELECT id, COALESCE(NULLIF(provider, ''), 'genfity-wa') AS provider, session_id, \
                    COALESCE(session_name, '') AS name, COALESCE(session_token, '') AS token, \
                    NULLIF(webhook_url, '') AS webhook_url, COALESCE(connected, false) AS connected, \
                    COALESCE(logged_in, false) AS logged_in, COALESCE(j_id, '') AS jid, COALESCE(status, '') AS status, \
                    {switches}, last_synced_at, last_activity_at, COALESCE(last_message_sent, 0) AS sent, \
                    COALESCE(last_message_fail, 0) AS failed, COALESCE(created_at, now()) AS created_at, \
                    COALESCE(updated_at, created_at, now()) AS updated_at \
             FROM wa_sessions WHERE user_id = $1 ORDER BY updated_at DESC NULLS LAST, id DESC"
        ))
        .bind::<Text, _>(user)
        .load(&mut self.connection)
        .await?)
    }

    /// What was counted for a session.
    pub(crate) async fn statistics(
        &mut self,
        user: &str,
        session_id: &str,
    ) -> Result<Vec<StatisticRow>, DatabaseError> {
        Ok(database::sql(
            "SELECT COALESCE(message_type, '') AS message_type, count(*) AS rows, \
                    COALESCE(sum(total_sent), 0)::bigint AS sent, COALESCE(sum(total_failed), 0)::bigint AS failed, \
                    max(last_success_at) FILTER (WHERE last_success_at > '1970-01-02') AS last_sent_at, \
                    max(last_failed_at) FILTER (WHERE last_failed_at > '1970-01-02') AS last_failed_at, \
                    COALESCE(min(created_at), now()) AS created_at \
             FROM wa_session_message_stats WHERE user_id = $1 AND session_id = $2 GROUP BY 1 ORDER BY 1",
        )
        .bind::<Text, _>(user)
        .bind::<Text, _>(session_id)
        .load(&mut self.connection)
        .await?)
    }

    /// How many contacts a session has, each counted as often as it is there.
    pub(crate) async fn contact_rows(&mut self, user: &str, session_id: &str) -> Result<i64, DatabaseError> {
        let row: Number = database::sql(
            "SELECT count(*) AS number FROM wa_session_contacts WHERE user_id = $1 AND session_id = $2",
        )
        .bind::<Text, _>(user)
        .bind::<Text, _>(session_id)
        .get_result(&mut self.connection)
        .await?;
        Ok(row.number)
    }

    /// Contacts of a session behind `after` in the order of their jids, at most `most`, each once as it was seen last.
    pub(crate) async fn contacts(
        &mut self,
        user: &str,
        session_id: &str,
        after: &str,
        most: i32,
    ) -> Result<Vec<ContactRow>, DatabaseError> {
        Ok(database::sql(
            "SELECT DISTINCT ON (j_id) j_id AS jid, COALESCE(name, '') AS name, COALESCE(phone, '') AS phone, \
                    COALESCE(raw, '{}')::text AS raw, COALESCE(last_synced_at, updated_at, now()) AS last_synced_at \
             FROM wa_session_contacts WHERE user_id = $1 AND session_id = $2 AND j_id > $3 \
             ORDER BY j_id, updated_at DESC NULLS LAST, id DESC LIMIT $4",
        )
        .bind::<Text, _>(user)
        .bind::<Text, _>(session_id)
        .bind::<Text, _>(after)
        .bind::<Integer, _>(most)
        .load(&mut self.connection)
        .await?)
    }
}

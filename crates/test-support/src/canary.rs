//! Looking for words wherever a service may keep something: every column of every table, every key and value in Redis. What
//! is sealed is looked at as it lies there, which is how a thief would find it.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl as _;
use redis::Client;
use redis::aio::MultiplexedConnection;

use crate::{TestDatabase, redis_url};

/// Fewer columns than every service has: that few mean that nothing was looked through.
const LEAST_COLUMNS: usize = 120;

/// Whose things are looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// Everybody's.
    All,
    /// One tenant's, and what is no tenant's.
    Tenant(&'a str),
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Bool)]
    is_bytes: bool,
    #[diesel(sql_type = Bool)]
    has_tenant: bool,
}

#[derive(QueryableByName)]
struct Place {
    #[diesel(sql_type = Text)]
    place: String,
}

impl TestDatabase {
    /// The columns (`table.column`) in which these words are, in the order of names. Bytes are looked through as bytes.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn columns_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        self.columns_with_but(words, None, of).await
    }

    /// As [`columns_with`](Self::columns_with), without values that hold the words `but` as well.
    ///
    /// # Panics
    /// When Postgres is not there.
    pub async fn columns_with_but(&self, words: &str, but: Option<&str>, of: Of<'_>) -> Vec<String> {
        let mut connection = self.admin().await;
        let columns: Vec<Column> = diesel::sql_query(
            "SELECT c.table_name::text, c.column_name::text, c.data_type = 'bytea' AS is_bytes, \
                 EXISTS (SELECT FROM information_schema.columns t WHERE t.table_schema = c.table_schema \
                     AND t.table_name = c.table_name AND t.column_name = 'tenant_id') AS has_tenant \
             FROM information_schema.columns c JOIN information_schema.tables b USING (table_schema, table_name) \
             WHERE c.table_schema = current_schema() AND b.table_type = 'BASE TABLE'",
        )
        .load(&mut connection)
        .await
        .expect("the catalogue can be read");
        assert!(
            columns.len() > LEAST_COLUMNS,
            "the schema is looked through: {}",
            columns.len()
        );
        let questions: Vec<String> = columns
            .iter()
            .map(|column| column.question(words, but, of))
            .collect();
        let found: Vec<Place> = diesel::sql_query(questions.join(" UNION ALL "))
            .load(&mut connection)
            .await
            .expect("every column can be looked through");
        let mut places: Vec<String> = found.into_iter().map(|found| found.place).collect();
        places.sort();
        places
    }
}

impl Column {
    fn question(&self, words: &str, but: Option<&str>, of: Of<'_>) -> String {
        let (table, name) = (&self.table_name, &self.column_name);
        let holds = |words: &str| match self.is_bytes {
            true => format!("position(convert_to('{words}', 'UTF8') IN \"{name}\") > 0"),
            false => format!("strpos(\"{name}\"::text, '{words}') > 0"),
        };
        let mut condition = holds(words);
        if let Some(but) = but {
            condition = format!("{condition} AND NOT {}", holds(but));
        }
        if let Of::Tenant(tenant) = of
            && self.has_tenant
        {
            condition = format!("tenant_id = '{tenant}' AND {condition}");
        }
        format!("SELECT '{table}.{name}' AS place WHERE EXISTS (SELECT FROM \"{table}\" WHERE {condition})")
    }
}

/// The keys that begin like this and hold these words, in their names or values.
///
/// # Panics
/// When Redis is not there.
pub async fn keys_with(prefix: &str, words: &str) -> Vec<String> {
    let client = Client::open(redis_url()).expect("the URL of Redis is one");
    let mut redis = client
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut redis)
        .await
        .expect("Redis answers");
    let mut found = Vec::new();
    for key in keys {
        if key.contains(words) || value_of(&mut redis, &key).await.contains(words) {
            found.push(format!("redis {key}"));
        }
    }
    found
}

/// A value of whatever type, as one text.
async fn value_of(redis: &mut MultiplexedConnection, key: &str) -> String {
    let kind: String = redis::cmd("TYPE")
        .arg(key)
        .query_async(redis)
        .await
        .expect("Redis answers");
    let question = match kind.as_str() {
        "hash" => redis::cmd("HGETALL").arg(key).to_owned(),
        "zset" => redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).to_owned(),
        "set" => redis::cmd("SMEMBERS").arg(key).to_owned(),
        "list" => redis::cmd("LRANGE").arg(key).arg(0).arg(-1).to_owned(),
        "string" => redis::cmd("GET").arg(key).to_owned(),
        // It ended since it was listed.
        "none" => return String::new(),
        other => panic!("a key of type {other} is not looked into"),
    };
    let value: redis::Value = question.query_async(redis).await.expect("Redis answers");
    flat(&value)
}

fn flat(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::Array(values) | redis::Value::Set(values) => {
            values.iter().map(flat).collect::<Vec<_>>().join(" ")
        }
        redis::Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| format!("{} {}", flat(key), flat(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => format!("{other:?}"),
    }
}

//! Looking for words wherever the service may keep something: every column of every table, every key and value in Redis.
//! What is sealed is looked at as it lies there, which is how a thief would find it.

use redis::Client;
use redis::aio::MultiplexedConnection;

use super::Gateway;

/// Whose things are looked through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    /// Everybody's.
    All,
    /// One customer's, and what is no customer's.
    Customer(&'a str),
}

impl Gateway {
    /// The columns in which these words are. Bytes are looked through as bytes.
    pub(crate) async fn columns_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let columns = self
            .rows(
                "SELECT concat_ws(' ', c.table_name, c.column_name, c.data_type = 'bytea', \
                     EXISTS (SELECT FROM information_schema.columns t WHERE t.table_schema = c.table_schema \
                         AND t.table_name = c.table_name AND t.column_name = 'tenant_id')) AS text \
                 FROM information_schema.columns c JOIN information_schema.tables b USING (table_schema, table_name) \
                 WHERE c.table_schema = current_schema() AND b.table_type = 'BASE TABLE'",
            )
            .await;
        assert!(
            columns.len() > 120,
            "the schema is looked through: {}",
            columns.len()
        );
        let questions: Vec<String> = columns
            .iter()
            .map(|column| {
                let parts: Vec<&str> = column.split(' ').collect();
                let [table, name, is_bytes, has_tenant] = parts[..] else {
                    panic!("{column}");
                };
                let is_in = if is_bytes == "t" {
                    format!("position(convert_to('{words}', 'UTF8') IN \"{name}\") > 0")
                } else {
                    format!("strpos(\"{name}\"::text, '{words}') > 0")
                };
                let whose = match of {
                    Of::Customer(customer) if has_tenant == "t" => format!("tenant_id = '{customer}'"),
                    Of::Customer(_) | Of::All => "true".to_owned(),
                };
                format!(
                    "SELECT '{table}.{name}' AS text WHERE EXISTS (SELECT FROM \"{table}\" WHERE {whose} AND {is_in})"
                )
            })
            .collect();
        let mut places = self.rows(&questions.join(" UNION ALL ")).await;
        places.sort();
        places
    }
}

/// The keys below a prefix that hold these words, in their names or values.
pub(crate) async fn keys_with(prefix: &str, words: &str) -> Vec<String> {
    let client = Client::open(test_support::redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut redis)
        .await
        .unwrap();
    let mut found = Vec::new();
    for key in keys {
        if key.contains(words) || value_of(&mut redis, &key).await.contains(words) {
            found.push(key);
        }
    }
    found
}

/// A value of whatever type, as one text.
async fn value_of(redis: &mut MultiplexedConnection, key: &str) -> String {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(redis).await.unwrap();
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
    let value: redis::Value = question.query_async(redis).await.unwrap();
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

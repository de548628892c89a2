//! Looking for words wherever the service may keep something: every column of every table, every key and value in Redis,
//! every file. What is sealed is looked at as it lies there, which is how a thief would find it.

use std::path::{Path, PathBuf};

use redis::Client;
use redis::aio::MultiplexedConnection;

use crate::harness::TestApp;

/// Whose things are looked through.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    /// Everybody's.
    All,
    /// One tenant's, and what is no tenant's.
    Tenant(&'a str),
}

impl TestApp {
    /// The places where these words are. What is logged stays logged: `logs::hold` tells.
    pub(crate) async fn places_of(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let mut places = self.columns_with(words, of).await;
        places.extend(self.keys_with(words, of).await);
        places.extend(self.files_with(words, of));
        places
    }

    async fn columns_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let columns = self
            .rows(
                "SELECT c.table_name, c.column_name, c.data_type, EXISTS (SELECT 1 FROM information_schema.columns t \
                     WHERE t.table_schema = c.table_schema AND t.table_name = c.table_name \
                       AND t.column_name = 'tenant_id') AS has_tenant \
                 FROM information_schema.columns c \
                 JOIN information_schema.tables b USING (table_schema, table_name) \
                 WHERE c.table_schema = current_schema() AND b.table_type = 'BASE TABLE'",
            )
            .await;
        assert!(
            columns.len() > 300,
            "the schema is looked through: {}",
            columns.len()
        );
        let questions: Vec<String> = columns
            .iter()
            .map(|column| {
                let (table, name) = (
                    column["table_name"].as_str().unwrap(),
                    column["column_name"].as_str().unwrap(),
                );
                let text = match column["data_type"].as_str().unwrap() {
                    "bytea" => format!("encode(\"{name}\", 'escape')"),
                    _ => format!("\"{name}\"::text"),
                };
                let whose = match of {
                    Of::Tenant(tenant) if column["has_tenant"] == true => format!("tenant_id = '{tenant}'"),
                    Of::Tenant(_) | Of::All => "true".to_owned(),
                };
                format!(
                    "SELECT '{table}.{name}' AS value WHERE EXISTS \
                        (SELECT 1 FROM \"{table}\" WHERE {whose} AND strpos({text}, '{words}') > 0)"
                )
            })
            .collect();
        let found = self.values(&questions.join(" UNION ALL ")).await;
        found
            .iter()
            .map(|place| place.as_str().unwrap().to_owned())
            .collect()
    }

    async fn keys_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let client = Client::open(test_support::redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let pattern = match of {
            Of::All => format!("{}*", self.redis_prefix()),
            Of::Tenant(tenant) => format!("{}t/{tenant}/*", self.redis_prefix()),
        };
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg(pattern)
            .query_async(&mut redis)
            .await
            .unwrap();
        let mut places = Vec::new();
        for key in keys {
            let value = value_of(&mut redis, &key).await;
            if key.contains(words) || value.contains(words) {
                places.push(format!("redis {key}"));
            }
        }
        places
    }

    fn files_with(&self, words: &str, of: Of<'_>) -> Vec<String> {
        let all = files_below(self.uploads.path()).into_iter();
        all.filter(|path| match of {
            Of::All => true,
            Of::Tenant(tenant) => path.iter().any(|part| *part == *format!("t-{tenant}")),
        })
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap();
            let named = path.to_string_lossy().contains(words);
            named
                || bytes
                    .windows(words.len())
                    .any(|window| window == words.as_bytes())
        })
        .map(|path| format!("file {}", path.display()))
        .collect()
    }
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

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

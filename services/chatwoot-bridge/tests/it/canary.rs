//! Looking for words wherever the bridge may keep something: every column of every table, every key and value in Redis.

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl as _;
use redis::Client;
use redis::aio::MultiplexedConnection;

use crate::world::World;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
    #[diesel(sql_type = Bool)]
    has_tenant: bool,
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Text)]
    value: String,
}

/// Texts of one column over all tables.
pub(crate) async fn values(world: &World, question: &str) -> Vec<String> {
    let mut connection = world.database.admin().await;
    let rows: Vec<Value> = diesel::sql_query(question).load(&mut connection).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

/// The columns that hold these words, of one tenant's rows and of rows that are nobody's, or of all; but for rows that hold
/// `but`, too, where some words are given.
pub(crate) async fn columns_with(world: &World, words: &str, tenant: Option<&str>, but: &str) -> Vec<String> {
    let mut connection = world.database.admin().await;
    let columns: Vec<Column> = diesel::sql_query(
        "SELECT c.table_name::text, c.column_name::text, c.data_type::text, \
             EXISTS (SELECT 1 FROM information_schema.columns t WHERE t.table_schema = c.table_schema \
                 AND t.table_name = c.table_name AND t.column_name = 'tenant_id') AS has_tenant \
         FROM information_schema.columns c JOIN information_schema.tables b USING (table_schema, table_name) \
         WHERE c.table_schema = current_schema() AND b.table_type = 'BASE TABLE'",
    )
    .load(&mut connection)
    .await
    .unwrap();
    assert!(
        columns.len() > 200,
        "the schema is looked through: {}",
        columns.len()
    );
    let questions: Vec<String> = columns
        .iter()
        .map(|column| {
            let (table, name) = (&column.table_name, &column.column_name);
            let text = match column.data_type.as_str() {
                "bytea" => format!("encode(\"{name}\", 'escape')"),
                _ => format!("\"{name}\"::text"),
            };
            let whose = match tenant {
                Some(tenant) if column.has_tenant => format!("tenant_id = '{tenant}'"),
                _ => "true".to_owned(),
            };
            let other = match but {
                "" => String::new(),
                but => format!("AND strpos({text}, '{but}') = 0"),
            };
            format!(
                "SELECT '{table}.{name}' AS value WHERE EXISTS \
                    (SELECT 1 FROM \"{table}\" WHERE {whose} AND strpos({text}, '{words}') > 0 {other})"
            )
        })
        .collect();
    let mut places = values(world, &questions.join(" UNION ALL ")).await;
    places.sort();
    places
}

/// The keys with this prefix that hold these words, in their names or values.
pub(crate) async fn keys_with(prefix: &str, words: &str) -> Vec<String> {
    let client = Client::open(test_support::redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut redis)
        .await
        .unwrap();
    let mut places = Vec::new();
    for key in keys {
        if key.contains(words) || value_of(&mut redis, &key).await.contains(words) {
            places.push(format!("redis {key}"));
        }
    }
    places
}

/// A value of whatever type, as one text.
async fn value_of(redis: &mut MultiplexedConnection, key: &str) -> String {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(redis).await.unwrap();
    let question = match kind.as_str() {
        "hash" => redis::cmd("HGETALL").arg(key).to_owned(),
        // It ended since it was listed.
        "none" => return String::new(),
        kind => {
            assert_eq!(kind, "string", "keys of this type are not looked into");
            redis::cmd("GET").arg(key).to_owned()
        }
    };
    let value: redis::Value = question.query_async(redis).await.unwrap();
    format!("{value:?} {}", flat(&value))
}

fn flat(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::Array(values) => values.iter().map(flat).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

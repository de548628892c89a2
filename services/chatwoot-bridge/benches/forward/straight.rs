//! The same rows without anything around them: what Postgres takes on this machine when it is only asked to keep them.

use std::time::{Duration, Instant};

use test_support::TestProcessDatabase;
use uuid::Uuid;

/// Rows of one statement.
const GROUP: usize = 256;
/// Bytes of a body, as an agent's message has them.
const BODY: &str = include_str!("payload.json");

/// Rows a second.
pub(crate) async fn insert(database: &TestProcessDatabase, time: Duration) -> f64 {
    let (client, connection) = tokio_postgres::connect(&database.admin_url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let serving = tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE bare_rows (id uuid PRIMARY KEY, body bytea NOT NULL)")
        .await
        .unwrap();
    let statement = client
        .prepare("INSERT INTO bare_rows SELECT id::uuid, body FROM unnest($1::text[], $2::bytea[]) AS b (id, body)")
        .await
        .unwrap();
    let (started, mut rows) = (Instant::now(), 0);
    while started.elapsed() < time {
        // As text: the driver knows nothing of the type.
        let ids: Vec<String> = (0..GROUP).map(|_| Uuid::now_v7().to_string()).collect();
        let bodies: Vec<&[u8]> = vec![BODY.as_bytes(); GROUP];
        client.execute(&statement, &[&ids, &bodies]).await.unwrap();
        rows += GROUP;
    }
    let per_second = rows as f64 / started.elapsed().as_secs_f64();
    client.batch_execute("DROP TABLE bare_rows").await.unwrap();
    drop(client);
    serving.await.unwrap().unwrap();
    per_second
}
